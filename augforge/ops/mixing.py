"""Ops that put two images into one: cutmix and mixup."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from pydantic import Field

from augforge.ops.combine import keep_jointly_known, match_channels, mix_labels
from augforge.ops.core import Context, Examples, OpParams, op
from augforge.sample import IDENTITY, Box, Placement, Sample


def require_same_size(inputs: Sequence[Sample], name: str) -> list[Sample]:
    """The inputs with equal channels. Raises ValueError unless all have one size."""
    sizes = sorted({(sample.width, sample.height) for sample in inputs})
    if len(sizes) > 1:
        raise ValueError(
            f"{name} takes images of one size, got {' and '.join(f'{w}x{h}' for w, h in sizes)}. "
            "Add a step {op: resize, size: ...} before it"
        )
    return match_channels(inputs)


def count_two_images(params: Any) -> int:
    """Take two images: the anchor and a partner."""
    return 2


def whole_box(sample: Sample) -> Box:
    """The box of all pixels."""
    return (0, 0, sample.width, sample.height)


class CutMix(OpParams):
    """Paste a box of another image of the split (Yun et al. 2019, arXiv:1905.04899).

    The share that is kept is drawn from Beta(alpha, alpha). The box has the picture's proportions and an evenly drawn
    centre, and is clipped at the border. Image and masks are taken from the same place in the partner. Label vectors
    are mixed by the areas that really show; a class is known if it is known in both images.
    """

    alpha: float = Field(1.0, gt=0, le=100, description="alpha of the Beta distribution; 1 draws evenly")


@op("cutmix", CutMix, version=1, role="augment", examples=Examples(one_size=True))
def cutmix(inputs: Sequence[Sample], drawn: dict[str, Any], params: CutMix, ctx: Context) -> Iterator[Sample]:
    """Paste the drawn box of the partner at the same place."""
    anchor, partner = require_same_size(inputs, "cutmix")
    x0, y0, x1, y1 = box = _cutmix_box(drawn, anchor.width, anchor.height)
    image, masks = anchor.image.copy(), np.array(anchor.masks, order="C")
    image[y0:y1, x0:x1] = partner.image[y0:y1, x0:x1]
    masks[y0:y1, x0:x1] = partner.masks[y0:y1, x0:x1]
    masks, known = keep_jointly_known(inputs, masks)
    share = (x1 - x0) * (y1 - y0) / (anchor.width * anchor.height)
    placements = (Placement(IDENTITY, whole_box(anchor)), Placement(IDENTITY, box, 1))
    label = mix_labels(inputs, (1 - share, share))
    yield anchor.derive(image, masks, placements=placements, known=known, label=label)


cutmix.counts_inputs(count_two_images)


@cutmix.draws
def draw_box(rng: np.random.Generator, inputs: Sequence[Sample], params: CutMix, ctx: Context) -> dict[str, Any]:
    """Draw the share of the anchor that is kept, and the centre of the box."""
    return {"kept": float(rng.beta(params.alpha, params.alpha)), "centre": rng.random(2).tolist()}


def _cutmix_box(drawn: dict[str, Any], width: int, height: int) -> Box:
    side = (1 - drawn["kept"]) ** 0.5
    spans = []
    for length, centre in ((width, drawn["centre"][0]), (height, drawn["centre"][1])):
        middle, half = int(centre * length), int(side * length) // 2
        spans.append((max(0, middle - half), min(length, middle + half)))
    return (spans[0][0], spans[1][0], spans[0][1], spans[1][1])


class MixUp(OpParams):
    """Blend with another image of the split (Zhang et al. 2018, arXiv:1710.09412).

    The first image's weight is drawn from Beta(alpha, alpha); pixels and label vectors are mixed by it. Masks cannot be
    soft: an image's masks count if its weight is at least `mask_weight`, and the masks that count are united. So a
    ghost that can hardly be seen is not labelled. A class is known if it is known in both images.
    """

    alpha: float = Field(0.4, gt=0, le=100, description="alpha of the Beta distribution; small values mix little")
    mask_weight: float = Field(0.3, gt=0, le=0.5, description="weight from which an image's masks count")


@op(
    "mixup",
    MixUp,
    version=1,
    role="augment",
    examples=Examples([{}, {"alpha": 5, "mask_weight": 0.5}], picture={"alpha": 5}, one_size=True),
)
def mixup(inputs: Sequence[Sample], drawn: dict[str, Any], params: MixUp, ctx: Context) -> Iterator[Sample]:
    """Blend both images by the drawn weight and unite the masks that count."""
    anchor, partner = require_same_size(inputs, "mixup")
    weights = (drawn["weight"], 1 - drawn["weight"])
    image = cv2.addWeighted(anchor.image, weights[0], partner.image, weights[1], 0)
    counted = [s.masks for s, weight in zip(inputs, weights, strict=True) if weight >= params.mask_weight]
    masks, known = keep_jointly_known(inputs, np.bitwise_or.reduce(counted))
    placements = (Placement(IDENTITY, whole_box(anchor)), Placement(IDENTITY, whole_box(anchor), 1))
    label = mix_labels(inputs, weights)
    yield anchor.derive(image, np.ascontiguousarray(masks), placements=placements, known=known, label=label)


mixup.counts_inputs(count_two_images)


@mixup.draws
def draw_weight(rng: np.random.Generator, inputs: Sequence[Sample], params: MixUp, ctx: Context) -> dict[str, Any]:
    """Draw the anchor's weight."""
    return {"weight": float(rng.beta(params.alpha, params.alpha))}
