"""The journal of a run: ``metrics.jsonl`` and TensorBoard's events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from augforge.errors import TrainError


class Journal:
    """Writes rows of ``metrics.jsonl``, whose ``kind`` is ``step`` or ``validation``; nothing in them depends on time.

    Args:
        folder: the run's.
        size: bytes to keep of an interrupted run's journal; the rest belongs to steps that are repeated.
        step: optimizer steps that are done.
    """

    def __init__(self, folder: Path, size: int = 0, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._stream = (folder / "metrics.jsonl").open("ab")
        self._stream.truncate(size)
        self._stream.seek(0, 2)
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._stream.tell()

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Write a row; its numbers, nested ones too, become TensorBoard's scalars."""
        row = {"kind": kind, "step": step, **values}
        self._stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        self._stream.flush()
        for name, value in _numbers(values, kind):
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Finish both files."""
        self._stream.close()
        self._events.close()


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's journal; TrainError if there is none."""
    try:
        text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    except OSError:
        raise TrainError(f"{folder} has no metrics.jsonl; expected a run of augforge train") from None
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def _numbers(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        name = f"{prefix}/{key}"
        if isinstance(value, Mapping):
            yield from _numbers(value, name)
        elif isinstance(value, (int, float)):
            yield name, value
