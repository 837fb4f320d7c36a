"""What ops of several inputs share: tiles, pasting, jointly known classes, mixed labels, and weights of classes."""

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
from augforge.errors import PlanError
from augforge.ops.core import Candidate, Context, Features, Op
from augforge.ops.filters.select import measure_contents
from augforge.sample import IGNORE, Box, Label, Sample

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
FEWER_DESCRIPTION = (
    "if a split holds fewer images than there are tiles: refuse: stop the build; repeat: let images come again once "
    "all have; skip: pass the images on as they are, with a warning"
)
ClassWeights = Literal["uniform", "rare", "small"] | dict[str, Weight]


def match_channels(inputs: Sequence[Sample]) -> list[Sample]:
    """The inputs, with gray images turned to RGB if another one is RGB.

    Raises:
        ValueError: they still differ in dtype or channels.
    """
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
    """The boxes between the borders, row by row."""
    return [(x0, y0, x1, y1) for y0, y1 in pairwise(rows) for x0, x1 in pairwise(columns)]


def paste(target: Any, source: Any, clip: Box, offset: tuple[int, int]) -> None:
    """Copy into the box `clip` the part of a source that lies there if its top left corner is at `offset`."""
    x0, y0, x1, y1 = clip
    target[y0:y1, x0:x1] = source[y0 - offset[1] : y1 - offset[1], x0 - offset[0] : x1 - offset[0]]


def keep_jointly_known(inputs: Sequence[Sample], masks: Planes) -> tuple[Planes, NDArray[np.uint8]]:
    """The masks with only the classes that all inputs know, and those classes as a bit vector."""
    known = np.bitwise_and.reduce([sample.known for sample in inputs])
    if any((sample.known != known).any() for sample in inputs):
        masks = bitmask.keep(masks, known)
    return masks, known


def mix_labels(inputs: Sequence[Sample], shares: Sequence[float]) -> Label | None:
    """Label vectors mixed by each input's share; None if an input has none."""
    labels = [sample.label for sample in inputs if sample.label is not None]
    if len(labels) < len(inputs):
        return None
    return (np.array(shares, np.float32) @ np.stack(labels)).astype(np.float32, copy=False)


def fit_class_weights(rule: ClassWeights, candidates: Sequence[Candidate]) -> dict[str, float] | None:
    """Weight of each class for a rule, from the training split.

    ``rare``: the number of samples that know the class over the number of those that hold it. ``small``: the largest
    class's median share of the picture over this class's. Data without classes has weights of its labels, which a
    sample holds if they are at least 0.5. Weights are powers of two, so that few draws change with the data.
    """
    if not isinstance(rule, str):
        return dict(rule)
    if rule == "uniform":
        return None
    shares: dict[str, list[float]] = {}
    known: Counter[str] = Counter()
    train = [candidate for candidate in candidates if candidate.split == "train"]
    for candidate in train:
        areas = {name: area for name, area in candidate.features["area"].items() if name != IGNORE}
        for name, area in (areas or shown_labels(candidate.features)).items():
            known[name] += area is not None
            if area:
                shares.setdefault(name, []).append(area / (candidate.width * candidate.height))
    if rule == "rare":
        return {name: _power_of_two(known[name] / len(found)) for name, found in sorted(shares.items())}
    largest = max((median(found) for found in shares.values()), default=1.0)
    return {name: _power_of_two(largest / median(found)) for name, found in sorted(shares.items())}


def register_class_weights(op: Op[Any]) -> None:
    """Let an op whose parameter `weights` names a rule measure areas and fit weights; see `fit_class_weights`."""

    @op.measures(reads=("weights",), when=lambda params: params.weights in ("rare", "small"))
    def measure_what_weighs(sample: Sample, params: Any, ctx: Context) -> dict[str, Any]:
        """Measure the pixels of each class, and take the labels."""
        return measure_contents(sample, ctx)

    @op.fits
    def fit_weights(candidates: Sequence[Candidate], params: Any, ctx: Context) -> dict[str, float] | None:
        """Fit a weight for each class."""
        return fit_class_weights(params.weights, candidates)


def resolve_weights(rule: ClassWeights, ctx: Context) -> Mapping[str, float]:
    """The weights of the classes: those fitted for a rule, or those given."""
    return (ctx.fitted or {}) if isinstance(rule, str) else rule


def heaviest_weight(weights: Mapping[str, float] | None, candidate: Candidate) -> float:
    """Weight of a sample: that of its heaviest class; 1 if it holds none that has a weight."""
    if weights is None:
        return 1.0
    held = {**shown_labels(candidate.features), **candidate.features["area"]}
    return max((weights[name] for name in weights if held.get(name)), default=1.0)


def shown_labels(features: Features) -> dict[str, bool | None]:
    """Which labels a sample holds, of at least 0.5; None for all of them if it has no label vector."""
    return {name: None if value is None else value >= 0.5 for name, value in features.get("label", {}).items()}


def check_weighted_classes(rule: ClassWeights, ctx: Context) -> None:
    """Raise PlanError if what is given a weight is neither a class nor a label, or a rule needs classes."""
    if isinstance(rule, dict):
        ctx.check_classes(name for name in rule if name not in ctx.labels)
    elif rule == "small" and not ctx.content and ctx.labels:
        raise PlanError("'small' compares areas of classes, and the data has labels alone. Write rare, or weights")


def _power_of_two(x: float) -> float:
    return float(2 ** round(math.log2(x)))
