"""What the ops of several inputs share: tiles, pasting, joint knowledge, mixed labels, who is drawn as partner."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.ops.core import Candidate, Context, Op
from augforge.ops.filters.select import class_areas
from augforge.sample import IGNORE, Box, Label, Sample

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
ClassWeights = Literal["uniform", "rare", "small"] | dict[str, Weight]


def match_channels(inputs: Sequence[Sample]) -> list[Sample]:
    """The inputs, gray images as RGB where another is RGB. ValueError unless all have one dtype and channel count."""
    colour = any(sample.image.shape[2:] == (3,) for sample in inputs)
    found = [_to_rgb(sample) if colour and sample.image.ndim == 2 else sample for sample in inputs]
    kinds = {(str(sample.image.dtype), sample.image.shape[2:]) for sample in found}
    if len(kinds) > 1:
        raise ValueError(
            f"images of different kinds cannot share a picture: {sorted(map(str, kinds))}. "
            "Convert them to one dtype and channel count first"
        )
    return found


def _to_rgb(sample: Sample) -> Sample:
    return replace(sample, image=np.repeat(sample.image[..., None], 3, axis=2))


def tile_boxes(rows: Sequence[int], columns: Sequence[int]) -> list[Box]:
    """Boxes between borders, row by row."""
    return [(x0, y0, x1, y1) for y0, y1 in pairwise(rows) for x0, x1 in pairwise(columns)]


def paste(target: Any, source: Any, clip: Box, offset: tuple[int, int]) -> None:
    """Copy into the box `clip` what lies there of a source whose left top corner is at `offset`."""
    x0, y0, x1, y1 = clip
    target[y0:y1, x0:x1] = source[y0 - offset[1] : y1 - offset[1], x0 - offset[0] : x1 - offset[0]]


def keep_jointly_known(inputs: Sequence[Sample], masks: Planes) -> tuple[Planes, NDArray[np.uint8]]:
    """Masks without the classes that some input does not know, and what all know."""
    known = np.bitwise_and.reduce([sample.known for sample in inputs])
    if any((sample.known != known).any() for sample in inputs):
        masks = bitmask.keep(masks, known)
    return masks, known


def mix_labels(inputs: Sequence[Sample], shares: Sequence[float]) -> Label | None:
    """Label vectors mixed by the share each input has; None if any input has none."""
    labels = [sample.label for sample in inputs if sample.label is not None]
    if len(labels) < len(inputs):
        return None
    return (np.array(shares, np.float32) @ np.stack(labels)).astype(np.float32, copy=False)


def fit_class_weights(rule: ClassWeights, candidates: Sequence[Candidate]) -> dict[str, float] | None:
    """Weight of each class for a rule, from the training split; powers of two, so that few draws change with the data.

    ``rare``: one over the share of samples that hold the class, of those that know it. ``small``: one over its median
    share of the picture, where present, relative to the largest class.
    """
    if not isinstance(rule, str):
        return dict(rule)
    if rule == "uniform":
        return None
    shares: dict[str, list[float]] = {}
    known: Counter[str] = Counter()
    train = [candidate for candidate in candidates if candidate.split == "train"]
    for candidate in train:
        for name, area in candidate.features["area"].items():
            known[name] += area is not None
            if area and name != IGNORE:
                shares.setdefault(name, []).append(area / (candidate.width * candidate.height))
    if rule == "rare":
        return {name: _power_of_two(known[name] / len(found)) for name, found in sorted(shares.items())}
    largest = max((median(found) for found in shares.values()), default=1.0)
    return {name: _power_of_two(largest / median(found)) for name, found in sorted(shares.items())}


def register_class_weights(op: Op[Any]) -> None:
    """Let an op whose param `weights` names a rule measure areas and fit them; see `fit_class_weights`."""

    @op.measures(reads=(), when=lambda params: params.weights in ("rare", "small"))
    def measure_class_areas(sample: Sample, params: Any, ctx: Context) -> dict[str, Any]:
        return {"area": class_areas(sample, ctx)}

    @op.fits
    def fit_weights(candidates: Sequence[Candidate], params: Any, ctx: Context) -> dict[str, float] | None:
        return fit_class_weights(params.weights, candidates)


def resolve_weights(rule: ClassWeights, ctx: Context) -> Mapping[str, float]:
    """The weights to go by: fitted for a rule, or those given."""
    return (ctx.fitted or {}) if isinstance(rule, str) else rule


def heaviest_weight(weights: Mapping[str, float] | None, candidate: Candidate) -> float:
    """Weight of a sample: that of its heaviest class; 1 where no class counts."""
    if weights is None:
        return 1.0
    area = candidate.features["area"]
    return max((weights[name] for name in weights if area.get(name)), default=1.0)


def check_weighted_classes(rule: ClassWeights, ctx: Context) -> None:
    """Raise PlanError if a rule weighs a class that does not exist."""
    for name in rule if isinstance(rule, dict) else ():
        ctx.class_index(name)


def _power_of_two(x: float) -> float:
    return float(2 ** round(math.log2(x)))
