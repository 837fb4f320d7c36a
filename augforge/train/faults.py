"""What goes wrong in training, told with its remedy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from augforge.errors import TrainError


def not_finite(step: int, losses: Mapping[str, float], names: Sequence[str]) -> TrainError:
    """The error of a loss that became NaN or infinite."""
    parts = ", ".join(f"{name} {value}" for name, value in losses.items())
    return TrainError(
        f"the loss is not finite in step {step} ({parts}; samples {', '.join(names[:3])} ...). "
        "Lower optimizer.lr, set optimizer.clip, or compute with precision=fp32"
    )


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """What torch says of memory and of batches too small, told with a remedy."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainError(f"{_OUT_OF_MEMORY.format(folder=folder)} ({str(error).splitlines()[0]})") from None
    except (RuntimeError, ValueError) as error:
        text = str(error)
        if "can't allocate memory" in text or "out of memory" in text:
            raise TrainError(f"{_OUT_OF_MEMORY.format(folder=folder)} ({text.splitlines()[0]})") from None
        if "more than 1 value per channel" in text or "Output size is too small" in text:
            raise TrainError(_ONE_VALUE) from None
        raise


_OUT_OF_MEMORY = (
    "memory ran out. Begin a run with a smaller data.batch_size (optimizer.accumulate makes up for it), data.size "
    "or data.crop; precision=bf16 halves it too. Where other programs took the memory, --resume goes on with {folder}"
)
_ONE_VALUE = (
    "the batch or the picture is too small for this network: its batch norm sees one value a channel. "
    "Set data.batch_size to 2 or more, or a larger data.size"
)
