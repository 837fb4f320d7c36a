"""What is learned of a sample's pixels once: facts for the index, features for filters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from augforge import bitmask
from augforge.keys import Id, digest
from augforge.ops.core import BoundOp, Context
from augforge.sample import Sample
from augforge.store.codec import pixel_digest


class StepError(Exception):
    """Carries the op's name past the generators to the failure."""


@contextmanager
def reported(where: str) -> Iterator[None]:
    """Whatever fails inside is reported with the op's name, or with what was being done."""
    try:
        yield
    except Exception as error:
        raise StepError(where) from error


def measure(bound: BoundOp, sample: Sample, ctx: Context) -> Mapping[str, Any]:
    """Features of a sample; `measure` sees only the params it declared to read."""
    assert bound.op.measure is not None
    with reported(f"{bound.label} (measure)"):
        return bound.op.measure(sample, SimpleNamespace(**bound.measured_params()), ctx)


def features_key(bound: BoundOp, sample_id: Id) -> str:
    return digest("features", str(bound.op), bound.measured_params(), sample_id)


def facts(sample: Sample, classes: int) -> dict[str, Any]:
    """What the index says of a sample's pixels, JSON-like."""
    areas, boxes = bitmask.areas_and_boxes(sample.masks, classes)
    return {
        "known": sample.known.tobytes().hex(),
        "label": None if sample.label is None else sample.label.tolist(),
        "channels": 1 if sample.image.ndim == 2 else sample.image.shape[2],
        "dtype": str(sample.image.dtype),
        "areas": areas.tolist(),
        "boxes": boxes.tolist(),
        "pixels": pixel_digest(sample.image, sample.masks),
    }
