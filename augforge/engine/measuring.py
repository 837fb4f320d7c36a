"""What is learned of a sample's pixels once: facts for the index, features for filters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from augforge import bitmask
from augforge.keys import Id, digest
from augforge.ops.bound import BoundOp
from augforge.ops.core import Context
from augforge.sample import Sample, weights_or_none
from augforge.store.codec import pixel_digest


class StepError(Exception):
    """Carries the failing step's label up through the generators that run a task; its cause is the exception itself."""


@contextmanager
def failing_in(step: str) -> Iterator[None]:
    """An exception inside becomes the cause of a StepError that names the step, or work such as `encode`."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise StepError(step) from error


def measure_features(bound: BoundOp, sample: Sample, ctx: Context) -> Mapping[str, Any]:
    """Features of a sample; an exception names the step."""
    with failing_in(f"{bound.label} (measure)"):
        return bound.measure(sample, ctx)


def features_key(bound: BoundOp, sample_id: Id) -> str:
    """The key under which the ledger keeps a sample's features."""
    return digest("features", str(bound.op), bound.measured_params(), sample_id)


def describe_pixels(sample: Sample, classes: int) -> dict[str, Any]:
    """What the index says of a sample's pixels, JSON-like."""
    areas, boxes = bitmask.areas_and_boxes(sample.masks, classes)
    return {
        "known": sample.known.tobytes().hex(),
        "label": None if sample.label is None else weights_or_none(sample.label),
        "channels": 1 if sample.image.ndim == 2 else sample.image.shape[2],
        "dtype": str(sample.image.dtype),
        "areas": areas.tolist(),
        "boxes": boxes.tolist(),
        "pixels": pixel_digest(sample.image, sample.masks),
    }
