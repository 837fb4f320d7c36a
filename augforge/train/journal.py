"""The journal of a run: ``metrics.jsonl`` and TensorBoard's events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from augforge.errors import TrainError, first_line
from augforge.files import make_folder, open_named, writing
from augforge.train.events import Events


class Journal:
    """Writes rows of ``metrics.jsonl``, whose ``kind`` is ``step`` or ``validation``; nothing in them depends on time.

    All methods raise StorageError if a file cannot be written.

    Args:
        folder: the run's.
        size: bytes to keep of an interrupted run's journal; the rest belongs to steps that are repeated.
        step: optimizer steps that are done.
    """

    def __init__(self, folder: Path, size: int = 0, step: int = 0) -> None:
        self._folder = folder
        with writing(folder):
            make_folder(folder / "tensorboard")
            self._stream = open_named(folder / "metrics.jsonl", "a")
            self._stream.truncate(size)
            self._stream.seek(0, 2)
            self._events = Events(folder / "tensorboard", step)

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._stream.tell()

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Write a row; its numbers, nested ones too, become TensorBoard's scalars."""
        row = {"kind": kind, "step": step, **values}
        with writing(self._folder):
            self._stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            self._stream.flush()
            self._events.write(dict(_numbers(values, kind)), step)

    def close(self) -> None:
        """Finish both files."""
        with writing(self._folder):
            self._stream.close()
            self._events.close()


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's journal; TrainError if there is none, or a line is damaged. A last line may be unfinished."""
    try:
        text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    except OSError:
        raise TrainError(f"{folder} has no metrics.jsonl; expected a run of augforge train") from None
    path, lines = folder / "metrics.jsonl", text.rpartition("\n")[0].splitlines()
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise TrainError(f"{path} is damaged ({first_line(error)}); expected a row of JSON in each line") from None


def _numbers(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        name = f"{prefix}/{key}"
        if isinstance(value, Mapping):
            yield from _numbers(value, name)
        elif isinstance(value, (int, float)):
            yield name, value
