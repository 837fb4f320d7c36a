"""What guards training: a stop that loses nothing, and what goes wrong, with its remedy."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch

from augforge.errors import TrainError


class StopRequest:
    """Whether somebody asked the run to stop."""

    pending = False


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Ctrl-C and SIGTERM ask for a stop, so that the current step is finished and saved; a second one stops at once.

    Python delivers signals to the main thread alone: in any other thread nothing is watched.
    """
    stop = StopRequest()

    def request(number: int, frame: FrameType | None) -> None:
        if stop.pending:
            raise KeyboardInterrupt
        stop.pending = True

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_finite(losses: Mapping[str, float], step: int, names: Sequence[str]) -> None:
    """Raise TrainError if the loss became NaN or infinite.

    Args:
        losses: by name, ``loss`` is their sum.
        step: optimizer step, from 1.
        names: samples of the batch.
    """
    if not math.isfinite(losses["loss"]):
        values = ", ".join(f"{name} {value}" for name, value in losses.items())
        raise TrainError(
            f"the loss is not finite in step {step} ({values}; samples {', '.join(names[:3])} ...). "
            "Lower optimizer.lr, set optimizer.clip, or compute with precision=fp32"
        )


def check_processes(folder: Path, before: int, now: int) -> None:
    """Raise TrainError if a run is to go on with another number of processes."""
    if before != now:
        raise TrainError(
            f"{folder} was trained by {before} processes and cannot go on with {now}: a step would take another number "
            "of samples. Start as many as then"
        )


@contextmanager
def explain_torch_errors(folder: Path) -> Iterator[None]:
    """Raise TrainError with a remedy when torch runs out of memory, or finds a batch or an image too small."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainError(f"{_OUT_OF_MEMORY.format(folder=folder)} ({str(error).splitlines()[0]})") from None
    except (RuntimeError, ValueError) as error:
        text = str(error)
        if "can't allocate memory" in text or "out of memory" in text:
            raise TrainError(f"{_OUT_OF_MEMORY.format(folder=folder)} ({text.splitlines()[0]})") from None
        if "more than 1 value per channel" in text or "Output size is too small" in text:
            raise TrainError(_TOO_SMALL) from None
        raise


_OUT_OF_MEMORY = (
    "memory ran out. Begin a run with a smaller data.batch_size (optimizer.accumulate makes up for it), data.size "
    "or data.crop; precision=bf16 halves it too. If other programs took the memory, --resume goes on with {folder}"
)
_TOO_SMALL = (
    "the batch or the image is too small for this network: its batch norm sees one value per channel. "
    "Set data.batch_size to 2 or more, or a larger data.size"
)
