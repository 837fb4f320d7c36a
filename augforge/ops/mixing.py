"""Ops that put two images into one: cutmix, mixup, copy_paste."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from augforge import bitmask
from augforge.ops.combine import keep_jointly_known, match_channels, mix_labels
from augforge.ops.core import Candidate, Context, Examples, OpParams, op
from augforge.ops.filters.select import class_areas
from augforge.sample import IDENTITY, Box, Image, Placement, Sample


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


def _whole_box(sample: Sample) -> Box:
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
    placements = (Placement(IDENTITY, _whole_box(anchor)), Placement(IDENTITY, box, 1))
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
    placements = (Placement(IDENTITY, _whole_box(anchor)), Placement(IDENTITY, _whole_box(anchor), 1))
    label = mix_labels(inputs, weights)
    yield anchor.derive(image, np.ascontiguousarray(masks), placements=placements, known=known, label=label)


mixup.counts_inputs(count_two_images)


@mixup.draws
def draw_weight(rng: np.random.Generator, inputs: Sequence[Sample], params: MixUp, ctx: Context) -> dict[str, Any]:
    """Draw the anchor's weight."""
    return {"weight": float(rng.beta(params.alpha, params.alpha))}


class CopyPaste(OpParams):
    """Copy objects of chosen classes from another image of the split (Ghiasi et al. 2021, arXiv:2012.07177).

    Each chosen class of the other image is pasted with soft edges, shifted by a drawn share of the picture. There the
    masks of all classes come from the other image, as the pixels do. Only samples that hold one of the classes are
    drawn as partners. The label vector stays that of the first image.
    """

    classes: tuple[str, ...] = Field(min_length=1, description="the classes to copy, such as [finger-16, Pisiform]")
    shift: float = Field(0.1, ge=0, le=1, description="greatest shift, as a fraction of width and height")
    sigma: float = Field(
        2.0,
        ge=0,
        le=50,
        description="softness in pixels: the object fades in over two sigma inside its edge; 0 for a hard edge",
    )

    def check(self, ctx: Context) -> None:
        """Raise PlanError if a class is not in the table."""
        ctx.check_classes(self.classes)


@op(
    "copy_paste",
    CopyPaste,
    version=1,
    role="augment",
    examples=Examples(
        [{"classes": ["class-8"]}, {"classes": ["class-8", "class-0"], "shift": 0.3, "sigma": 0}],
        picture={"classes": ["Pisiform", "finger-12", "finger-16"], "shift": 0.15, "sigma": 3},
    ),
)
def copy_paste(inputs: Sequence[Sample], drawn: dict[str, Any], params: CopyPaste, ctx: Context) -> Iterator[Sample]:
    """Paste each chosen class of the partner at its drawn shift."""
    anchor, partner = match_channels(inputs)
    image, masks = anchor.image.copy(), np.array(anchor.masks, order="C")
    _, boxes = bitmask.areas_and_boxes(partner.masks, len(ctx.classes))
    placements = [Placement(IDENTITY, _whole_box(anchor))]
    for name, shift in zip(params.classes, drawn["shifts"], strict=True):
        c = ctx.class_index(name)
        dx, dy = round(shift[0] * anchor.width), round(shift[1] * anchor.height)
        box = _landing_box(boxes[c], (dx, dy), anchor)
        if box is not None:
            alpha = _object_alpha(partner, c, boxes[c], params.sigma)
            _paste_object(image, masks, partner, alpha, boxes[c], box, (dx, dy))
            placements.append(Placement(((1.0, 0.0, float(dx)), (0.0, 1.0, float(dy))), box, 1))
    masks, known = keep_jointly_known(inputs, masks)
    yield anchor.derive(image, masks, placements=tuple(placements), known=known)


copy_paste.counts_inputs(count_two_images)


@copy_paste.draws
def draw_shifts(rng: np.random.Generator, inputs: Sequence[Sample], params: CopyPaste, ctx: Context) -> dict[str, Any]:
    """Draw a shift for each chosen class, as shares of width and height."""
    return {"shifts": rng.uniform(-params.shift, params.shift, (len(params.classes), 2)).tolist()}


@copy_paste.measures(reads=())
def measure_areas(sample: Sample, params: Any, ctx: Context) -> dict[str, Any]:
    """Measure the pixels of each class."""
    return {"area": class_areas(sample, ctx)}


@copy_paste.weighs
def weigh_by_classes(candidate: Candidate, params: CopyPaste, ctx: Context) -> float:
    """Say 1 for a sample that shows one of the classes, else 0."""
    return float(any(candidate.features["area"][name] for name in params.classes))


def _landing_box(box: NDArray[np.int32], shift: tuple[int, int], anchor: Sample) -> Box | None:
    """The box on the anchor in which a class lands; None if the class is absent or lands outside."""
    x0, y0, x1, y1 = (int(n) for n in box)
    if x0 == x1:
        return None
    landed = (
        max(0, x0 + shift[0]),
        max(0, y0 + shift[1]),
        min(anchor.width, x1 + shift[0]),
        min(anchor.height, y1 + shift[1]),
    )
    return landed if landed[0] < landed[2] and landed[1] < landed[3] else None


def _object_alpha(sample: Sample, c: int, box: NDArray[np.int32], sigma: float) -> NDArray[np.float32]:
    """Opacity of a class's pixels in its box: it rises inwards from the edge to 1, at the latest at the deepest pixel.

    It is 0 outside the object, where the sample's pixels are not wanted.
    """
    x0, y0, x1, y1 = (int(n) for n in box)
    mask = bitmask.class_mask(sample.masks[y0:y1, x0:x1], c)
    if sigma == 0:
        return mask.astype(np.float32)
    framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0,))
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    return np.asarray(np.minimum(1, depth / min(2 * sigma, float(depth.max()))), np.float32)


def _paste_object(
    image: Image,
    masks: NDArray[np.uint8],
    partner: Sample,
    alpha: NDArray[np.float32],
    box: NDArray[np.int32],
    landed: Box,
    shift: tuple[int, int],
) -> None:
    """Paste a class's pixels of the partner into image and masks, in place. `alpha` is their opacity in `box`."""
    target = (slice(landed[1], landed[3]), slice(landed[0], landed[2]))
    x0, y0, x1, y1 = (int(n) - shift[i % 2] for i, n in enumerate(landed))
    alpha = alpha[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]]
    weight = alpha if image.ndim == 2 else alpha[..., None]
    blended = weight * partner.image[y0:y1, x0:x1] + (1 - weight) * image[target]
    image[target] = np.rint(blended).astype(image.dtype)
    inside = alpha > 0
    masks[target][inside] = partner.masks[y0:y1, x0:x1][inside]
