"""copy_paste: objects of chosen classes from another image of the split."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from augforge import bitmask
from augforge.ops.combine import keep_jointly_known, match_channels
from augforge.ops.conditions import check_syntax
from augforge.ops.core import Candidate, Context, Examples, Features, OpParams, WhenFewer, op
from augforge.ops.filters.select import measure_class_areas
from augforge.ops.mixing import count_two_images, whole_box
from augforge.sample import IDENTITY, Box, Image, Placement, Sample


class CopyPaste(OpParams):
    """Copy objects of chosen classes from another image of the split (Ghiasi et al. 2021, arXiv:2012.07177).

    Each chosen class of the other image, the donor, is pasted with soft edges, shifted by a drawn share of the picture.
    Where more of the donor shows than of the picture, the masks of all classes come from the donor. The label vector
    stays that of the picture.

    The step's `where` chooses the pictures that something is pasted into, `donors` those that it is taken from: samples
    of the same split, and only such as hold one of the classes. For a picture that has no donor but itself, nothing is
    made, and the build says so.
    """

    classes: tuple[str, ...] = Field(min_length=1, description="the classes to copy, such as [finger-16, Pisiform]")
    shift: float = Field(0.1, ge=0, le=1, description="greatest shift, as a fraction of width and height")
    sigma: float = Field(
        2.0,
        ge=0,
        le=50,
        description="softness in pixels: the object fades in over two sigma inside its edge; 0 for a hard edge",
    )
    donors: str | None = Field(
        None, description="SQL condition on the donors, such as area.Pisiform > 200; default: every sample of the split"
    )
    class_balanced: bool = Field(
        False,
        description="paste one of the classes alone, drawn so that each is pasted as often as any other, however many "
        "donors hold it",
    )
    min_visible: float = Field(
        0.0,
        ge=0,
        le=1,
        description="least share of an object that lies inside the picture: shifts are drawn until it does; what no "
        "shift brings inside is not pasted",
    )

    @field_validator("donors")
    @classmethod
    def _parses(cls, value: str | None) -> str | None:
        return value if value is None else check_syntax(value)

    def check(self, ctx: Context) -> None:
        """Raise PlanError if a class is not in the table."""
        ctx.check_classes(self.classes)

    def when_fewer(self) -> WhenFewer:
        """Make nothing for a picture without a donor."""
        return "skip"

    def partner_condition(self) -> str:
        """The donors, which `where` does not choose."""
        return self.donors or ""

    def applies_fitted(self) -> bool:
        """Whether the fitted weights draw the class."""
        return self.class_balanced


@op(
    "copy_paste",
    CopyPaste,
    version=2,
    role="augment",
    examples=Examples(
        [
            {"classes": ["class-8"]},
            {"classes": ["class-8", "class-0"], "shift": 0.3, "sigma": 0},
            {"classes": ["class-8", "class-0"], "shift": 1, "min_visible": 0.5, "class_balanced": True},
        ],
        picture={"classes": ["Pisiform", "finger-12", "finger-16"], "shift": 0.15, "sigma": 3},
    ),
)
def copy_paste(inputs: Sequence[Sample], drawn: dict[str, Any], params: CopyPaste, ctx: Context) -> Iterator[Sample]:
    """Paste each drawn class of the donor at its drawn shift."""
    anchor, donor = match_channels(inputs)
    image, masks = anchor.image.copy(), np.array(anchor.masks, order="C")
    _, boxes = bitmask.areas_and_boxes(donor.masks, len(ctx.classes))
    placements = [Placement(IDENTITY, whole_box(anchor))]
    for name, shift in zip(drawn.get("classes", params.classes), drawn["shifts"], strict=True):
        c = ctx.class_index(name)
        landing = shift and _landing_box(boxes[c], _pixel_shift(shift, anchor), anchor)
        if landing:
            dx, dy = _pixel_shift(shift, anchor)
            alpha = _object_alpha(donor, c, boxes[c], params.sigma)
            _paste_object(image, masks, donor, alpha, boxes[c], landing, (dx, dy))
            placements.append(Placement(((1.0, 0.0, float(dx)), (0.0, 1.0, float(dy))), landing, 1))
    masks, known = keep_jointly_known(inputs, masks)
    yield anchor.derive(image, masks, placements=tuple(placements), known=known)


copy_paste.counts_inputs(count_two_images)


@copy_paste.draws
def draw_shifts(rng: np.random.Generator, inputs: Sequence[Sample], params: CopyPaste, ctx: Context) -> dict[str, Any]:
    """Draw a shift for each chosen class, as shares of width and height; with `class_balanced` one class first."""
    names = list(params.classes)
    if params.class_balanced:
        weights = _class_weights(measure_class_areas(inputs[1], params, ctx), params, ctx.fitted)
        chances = np.array([weights[name] for name in names])
        names = [names[int(rng.choice(len(names), p=chances / chances.sum()))]] if chances.any() else []
    if params.min_visible:
        shifts = [_draw_visible_shift(rng, inputs, ctx.class_index(name), params) for name in names]
    else:
        shifts = rng.uniform(-params.shift, params.shift, (len(names), 2)).tolist()
    return {"classes": names, "shifts": shifts} if params.class_balanced else {"shifts": shifts}


copy_paste.measures(reads=())(measure_class_areas)


@copy_paste.fits
def fit_balance(candidates: Sequence[Candidate], params: CopyPaste, ctx: Context) -> dict[str, float] | None:
    """Weigh each class by the training samples that hold it, one over their number, so that all are drawn as often.

    Weights are rounded to quarters of a factor of two, so that few draws change with the data.
    """
    held = Counter(
        name
        for candidate in candidates
        if candidate.split == "train"
        for name in params.classes
        if candidate.features["area"][name]
    )
    return {name: float(2 ** (-round(4 * math.log2(count)) / 4)) for name, count in sorted(held.items())}


copy_paste.fits_when = lambda params: params.class_balanced


@copy_paste.weighs
def weigh_by_classes(candidate: Candidate, params: CopyPaste, ctx: Context) -> float:
    """Say 1 for a sample that shows one of the classes, else 0; with `class_balanced` the sum of their weights."""
    weights = _class_weights(candidate.features, params, ctx.fitted)
    return sum(weights.values()) if params.class_balanced else float(any(weights.values()))


def _class_weights(features: Features, params: CopyPaste, fitted: Mapping[str, float] | None) -> dict[str, float]:
    """The weight of each class that a sample shows, 1 if none was fitted; 0 for those that it does not show.

    If donors are drawn by the sum of these, and one of their classes by its part of it, each class is drawn as often.
    """
    return {name: (fitted or {}).get(name, 1.0) if features["area"][name] else 0.0 for name in params.classes}


def _draw_visible_shift(
    rng: np.random.Generator, inputs: Sequence[Sample], c: int, params: CopyPaste
) -> list[float] | None:
    """Draw a shift that leaves enough of the donor's object inside the picture; None if none of a hundred does."""
    anchor, donor = inputs
    object_ = bitmask.class_mask(donor.masks, c)
    least = params.min_visible * int(object_.sum(dtype=np.int64))
    for _ in range(100):
        shift: list[float] = rng.uniform(-params.shift, params.shift, 2).tolist()
        dx, dy = _pixel_shift(shift, anchor)
        inside = object_[max(0, -dy) : max(0, anchor.height - dy), max(0, -dx) : max(0, anchor.width - dx)]
        if 0 < least <= inside.sum(dtype=np.int64):
            return shift
    return None


def _pixel_shift(shift: Sequence[float], anchor: Sample) -> tuple[int, int]:
    return round(shift[0] * anchor.width), round(shift[1] * anchor.height)


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
    inside = alpha >= 0.5  # where at least half of what shows is the partner's
    masks[target][inside] = partner.masks[y0:y1, x0:x1][inside]
