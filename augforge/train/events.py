"""TensorBoard's file of events, written here and now: TensorBoard's own writer hides a full disk in a thread."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augforge.files import open_named


class Events:
    """Writes scalars to a new file of events. An OSError of a write names it.

    Args:
        folder: TensorBoard's; it must exist.
        done: optimizer steps that are done. What earlier files say of later steps is hidden, since they are repeated.
    """

    def __init__(self, folder: Path, done: int = 0) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        name = f"events.out.tfevents.{time.time():010.0f}.{platform.node()}.{os.getpid()}"
        self._stream = open_named(folder / name)
        self._writer = RecordWriter(self._stream)
        self._add(file_version="brain.Event:2")
        self._add(step=done + 1, session_log={"status": "START"})

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Write values by name, at once."""
        self._add(step=step, summary={"value": [{"tag": name, "simple_value": n} for name, n in scalars.items()]})
        self._stream.flush()

    def _add(self, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.write(Event(wall_time=time.time(), **content).SerializeToString())

    def close(self) -> None:
        """Finish the file."""
        self._stream.close()
