"""Mutations of files for hypothesis: bytes changed, and JSON and YAML with values and keys changed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from ruamel.yaml import YAML

ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    10**12,
    0.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../../x",
    "\0",
    "\ud800",
    "é" * 40,
    [],
    {},
    [[]],
    [1, 2],
    {"a": 1},
]


def mutated_bytes(data: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with a part replaced, left out or cut off."""

    def change(at: int, length: int, new: bytes, cut: bool) -> bytes:
        return data[:at] if cut else data[:at] + new + data[at + length :]

    return st.builds(change, st.integers(0, len(data)), st.integers(0, 8), st.binary(max_size=6), st.booleans())


def mutated_file(path: Path) -> st.SearchStrategy[bytes]:
    """A file's bytes with several changed, or, where it has keys, with those and their values changed."""
    data = path.read_bytes()
    if path.suffix not in (".json", ".yaml"):
        return _mauled(data)
    return _mauled(data) | mutated_json(YAML(typ="safe").load(data))  # JSON is YAML, and back


@st.composite
def _mauled(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with some replaced, put in or cut off."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(changed)))
        piece = draw(
            st.binary(max_size=3) | st.sampled_from([b"\n", b",", b'"', b"../", b"nan", b"1e999", b"\0", b": ["])
        )
        changed[at : at + draw(st.integers(0, 4))] = piece
    return bytes(changed[: draw(st.integers(0, len(changed)))] if draw(st.booleans()) else changed)


def mutated_json(document: Any) -> st.SearchStrategy[bytes]:
    """The document as JSON with one to three places changed: odd values, keys renamed or gone, items gone or twice."""
    return st.randoms(use_true_random=False).map(lambda random: _mutated(document, random))


def _mutated(document: Any, random: Any) -> bytes:
    changed = {"": copy.deepcopy(document)}
    for _ in range(random.randint(1, 3)):
        if slots := list(_slots(changed)):
            random.choice(_CHANGES)(*random.choice(slots), random)
    return json.dumps(changed.get("", next(iter(changed.values()), None))).encode()


def _slots(node: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        yield node, key
        yield from _slots(node[key])


def _replace(holder: Any, key: Any, random: Any) -> None:
    holder[key] = copy.deepcopy(random.choice(ODD))


def _remove(holder: Any, key: Any, random: Any) -> None:
    del holder[key]


def _rename(holder: Any, key: Any, random: Any) -> None:
    if isinstance(holder, dict):
        holder[random.choice(["", "x", f"{key}s"])] = holder.pop(key)


def _double(holder: Any, key: Any, random: Any) -> None:
    if isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))


_CHANGES: list[Callable[[Any, Any, Any], None]] = [_replace, _replace, _replace, _remove, _rename, _double]
