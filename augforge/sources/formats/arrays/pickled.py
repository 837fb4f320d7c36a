"""Reading CIFAR's pickles without unpickling them: a machine for the few opcodes that plain data need.

Nothing is imported and nothing is called. The names of functions in the file are only looked up in a table of what
numpy writes for an array of bytes; any other name, or opcode, is an error.
"""

from __future__ import annotations

import io
import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge.errors import SourceError
from augforge.sources.scan.images import read_bytes


class _Refused(Exception):
    """The file holds something that no CIFAR file does."""


@dataclass
class _Array:
    """An array that is being read."""

    values: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class _Name:
    """The name of a function or class, which is never looked up."""

    name: str


_MARK = object()
_BYTE_TYPES = {"u1", "|u1", "uint8"}


def read_pickle(path: Path) -> dict[str, Any]:
    """The dict in a pickle file of texts, numbers, lists and arrays of bytes. Raises SourceError naming the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in texts that Python does not know
            found = _Machine().run(read_bytes(path))
    except (
        _Refused,
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        UnicodeError,
        OverflowError,
    ) as error:
        raise SourceError(
            f"{path} is no pickle of plain data ({str(error)[:100]}); expected one of CIFAR's batches, which is read "
            "without running what it holds. Copy it again from the original."
        ) from error
    if not isinstance(found, dict):
        raise SourceError(f"{path} holds no dict; expected one of CIFAR's batches. Copy it again from the original.")
    return {_text(key): value for key, value in found.items()}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


@dataclass
class _Machine:
    """The stack and the memory of pickle's machine."""

    stack: list[Any] = field(default_factory=list)
    memory: dict[int, Any] = field(default_factory=dict)

    def run(self, data: bytes) -> Any:
        """The object in a pickle."""
        for opcode, argument, _ in pickletools.genops(io.BytesIO(data)):
            if opcode.name == "STOP":
                return _value(self.stack[-1])
            if opcode.name in _IGNORED:
                continue
            if opcode.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[opcode.name](argument))
            elif opcode.name in _ACTIONS:
                _ACTIONS[opcode.name](self, argument)
            else:
                raise _Refused(f"opcode {opcode.name}")
        raise _Refused("it has no end")

    def pop_to_mark(self) -> list[Any]:
        at = len(self.stack) - 1 - self.stack[::-1].index(_MARK)
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise _Refused("its stack is empty")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def put(self, key: Any) -> None:
        self.memory[len(self.memory) if key is None else int(key)] = self.stack[-1]

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise _Refused("items are set in what is no dict")
        target.update((key, _value(value)) for key, value in zip(items[::2], items[1::2], strict=True))

    def append(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise _Refused("items are appended to what is no list")
        self.stack[-1].extend(map(_value, items))

    def name(self, argument: Any) -> None:
        module, name = self.pop(2) if argument is None else str(argument).split(" ", 1)
        self.stack.append(_Name(f"{module}.{name}".replace("numpy._core.", "numpy.core.")))

    def call(self, _: Any) -> None:
        """Make what numpy's own names stand for; refuse all others."""
        called, arguments = self.pop(2)
        made = _CALLS.get(called.name) if isinstance(called, _Name) else None
        if made is None:
            raise _Refused(f"it calls {called.name if isinstance(called, _Name) else 'something'}")
        self.stack.append(made(*arguments))

    def build(self, _: Any) -> None:
        """Fill an array with its state; the state of a dtype says nothing more than its name."""
        (state,) = self.pop(1)
        if isinstance(self.stack[-1], _Array):
            _, shape, kind, fortran, values = state
            self.stack[-1].values = _array(values, kind, shape, "F" if fortran else "C")
        elif not isinstance(self.stack[-1], _Name):
            raise _Refused("it sets the state of an object")


def _value(value: Any) -> Any:
    return value.values if isinstance(value, _Array) else value


def _array(values: Any, kind: Any, shape: Any, order: Any) -> NDArray[np.uint8]:
    if not isinstance(kind, _Name) or kind.name not in _BYTE_TYPES or order not in ("C", "F"):
        raise _Refused("an array is not of bytes")
    raw = values.encode("latin-1") if isinstance(values, str) else values
    return np.frombuffer(raw, np.uint8).reshape(tuple(map(int, shape)), order=order)


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise _Refused(f"a text in {encoding}")
    return text.encode("latin-1")


_CALLS: dict[str, Callable[..., Any]] = {
    "numpy.core.multiarray._reconstruct": lambda *_: _Array(),
    "numpy.core.numeric._frombuffer": lambda raw, kind, shape, order: _Array(_array(raw, kind, shape, order)),
    "numpy.dtype": lambda kind, *_: _Name(_text(kind)),
    "_codecs.encode": _encode,
}
_IGNORED = frozenset({"PROTO", "FRAME"})
_TEXTS = ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
_BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
_CONSTANTS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys((*_TEXTS, *_BYTES, *_NUMBERS), lambda argument: argument),
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "MARK": lambda _: _MARK,
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
}


def _push(machine: _Machine, value: Any) -> None:
    machine.stack.append(value)


_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, key: _push(machine, machine.memory[int(key)])),
    "TUPLE": lambda machine, _: _push(machine, tuple(machine.pop_to_mark())),
    "TUPLE1": lambda machine, _: _push(machine, tuple(machine.pop(1))),
    "TUPLE2": lambda machine, _: _push(machine, tuple(machine.pop(2))),
    "TUPLE3": lambda machine, _: _push(machine, tuple(machine.pop(3))),
    "LIST": lambda machine, _: _push(machine, machine.pop_to_mark()),
    "DICT": lambda machine, _: _push(machine, _pairs(machine.pop_to_mark())),
    "SETITEM": lambda machine, _: machine.set_items(machine.pop(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
    "APPEND": lambda machine, _: machine.append(machine.pop(1)),
    "APPENDS": lambda machine, _: machine.append(machine.pop_to_mark()),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
}


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))
