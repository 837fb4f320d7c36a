"""Ops that turn, scale and shear one image by interpolation: rotate, affine; and `warp`, on which they are built.

Pixel centres are at integers, so a picture's centre is ((W - 1) / 2, (H - 1) / 2). Angles are in degrees and positive
counter-clockwise on the screen, as in OpenCV, Pillow and torchvision.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from pydantic import Field, model_validator

from augforge.lineage import compose
from augforge.ops.core import Context, Examples, OpParams, Size, op
from augforge.ops.covering import cover_planes, move_planes
from augforge.ops.geometry import Fill, check_ascending, check_fill
from augforge.ops.mirror import MirrorParams, exchanges_sides
from augforge.sample import Matrix, Placement, Sample

Angle = Annotated[float, Field(ge=-360, le=360)]
Range = tuple[float, float]
Fit = Literal["crop", "scale", "expand"]
MIRROR_DESCRIPTION = "chance that the picture is first mirrored left and right"
FIT_DESCRIPTION = (
    "crop: keep the size and lose corners; scale: shrink until all is in view; expand: a canvas large enough for all"
)
_BY_AREA_BELOW = 0.8
"""Factor from which on the nearest pixel moves masks, as measured in ADR 26."""


def warp(
    sample: Sample,
    matrix: Matrix,
    size: Size,
    fill: int,
    notes: dict[str, Any] | None = None,
    *,
    by_area: bool = False,
) -> Sample:
    """Move a sample by a matrix, input pixel to output pixel, onto a canvas of that size.

    The image is interpolated bilinearly. Masks take the nearest pixel; with ``by_area``, a pixel has each class that
    covers half of it or more. Where no pixel of the input lands, the image is `fill` in all its channels and the masks
    are empty.
    """
    check_fill(fill, sample.image)
    flat = np.array(matrix, np.float64)
    image = cv2.warpAffine(sample.image, flat, size, flags=cv2.INTER_LINEAR, borderValue=(fill,) * 4)
    masks = (cover_planes if by_area else move_planes)(sample.masks, flat, size)
    return sample.derive(image, masks, placements=(Placement(matrix, _clip_box(sample, matrix, size)),), notes=notes)


def _clip_box(sample: Sample, matrix: Matrix, size: Size) -> tuple[int, int, int, int]:
    """The box on the canvas around the moved input and the pixel over which interpolation fades it out."""
    corners = np.array([(x, y, 1) for x in (-1, sample.width) for y in (-1, sample.height)]) @ np.array(matrix).T
    (x0, y0), (x1, y1) = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0)) + 1
    left, top = min(max(0, int(x0)), size[0]), min(max(0, int(y0)), size[1])
    return (left, top, max(left, min(size[0], int(x1))), max(top, min(size[1], int(y1))))


def centre(size: Size) -> tuple[float, float]:
    """The centre of a picture; if a side is even, it lies between the two middle pixels."""
    return ((size[0] - 1) / 2, (size[1] - 1) / 2)


def map_centre(linear: tuple[float, float, float, float], before: Size, after: Size) -> Matrix:
    """The 2x3 matrix of [[a, b], [c, d]] that maps the centre of one size to the centre of another."""
    a, b, c, d = linear
    (x, y), (u, v) = centre(before), centre(after)
    return ((a, b, u - a * x - b * y), (c, d, v - c * x - d * y))


def about_point(linear: tuple[float, float, float, float], point: tuple[float, float]) -> Matrix:
    """The 2x3 matrix of [[a, b], [c, d]] that leaves a point where it is."""
    a, b, c, d = linear
    x, y = point
    return ((a, b, x - a * x - b * y), (c, d, y - c * x - d * y))


def rotation_terms(degrees: float) -> tuple[float, float, float, float]:
    """The terms a, b, c, d of a turn, positive counter-clockwise on the screen; exact for quarter turns."""
    quarters, rest = divmod(degrees, 90)
    c, s = math.cos(math.radians(rest)), math.sin(math.radians(rest))
    for _ in range(int(quarters) % 4):
        c, s = -s, c
    return (c, s, -s, c)


def mirrored_terms(terms: tuple[float, float, float, float], mirrored: bool) -> tuple[float, float, float, float]:
    """The terms a, b, c, d of a left-right mirror, if there is one, and what is done after it."""
    a, b, c, d = terms
    return (-a, b, -c, d) if mirrored else terms


def draw_mirror(rng: np.random.Generator, chance: float) -> dict[str, bool]:
    """Draw whether to mirror; nothing is drawn, and no chance used up, where that is out of the question."""
    return {"mirror": bool(rng.random() < chance)} if chance else {}


def rotated_extent(size: Size, degrees: float) -> tuple[float, float]:
    """Width and height in pixels of the box around a turned picture."""
    c, s, _, _ = (abs(value) for value in rotation_terms(degrees))
    return (size[0] * c + size[1] * s, size[0] * s + size[1] * c)


def canvas_for_angles(size: Size, angles: Sequence[float], continuous: bool) -> Size:
    """Size of a canvas that holds a picture at each of the angles, or at any between the first and the last."""
    if continuous:
        diagonal = math.degrees(math.atan2(size[1], size[0]))
        low, high = angles
        peaks = [sign * diagonal + 180 * k for sign in (1, -1) for k in range(-4, 5)]
        peaks += [sign * (90 - diagonal) + 180 * k for sign in (1, -1) for k in range(-4, 5)]
        angles = [low, high, *(peak for peak in peaks if low < peak < high)]
    boxes = [rotated_extent(size, angle) for angle in angles]
    return (_round_up(max(w for w, _ in boxes)), _round_up(max(h for _, h in boxes)))


def _round_up(length: float) -> int:
    return math.ceil(round(length, 6))


def rotation_matrix(size: Size, degrees: float, fit: str, canvas_size: Size) -> Matrix:
    """The matrix that turns a picture about its centre onto a canvas, and shrinks it to fit for `fit: scale`."""
    scale = 1.0
    if fit == "scale":
        box = rotated_extent(size, degrees)
        scale = min(1.0, canvas_size[0] / box[0], canvas_size[1] / box[1])
    a, b, c, d = (scale * value for value in rotation_terms(degrees))
    return map_centre((a, b, c, d), size, canvas_size)


class Rotate(OpParams):
    """Turn by a drawn angle about the centre.

    Degrees are positive counter-clockwise on the screen, as in OpenCV, Pillow and torchvision. The image is
    interpolated bilinearly, masks take the nearest pixel, both by the same matrix. Where masks may shrink (`fit:
    scale`), or be shifted by half a pixel (`angles` of quarter turns), a pixel has each class that covers half of it.
    """

    angle_range: tuple[Angle, Angle] = Field(
        (-30.0, 30.0), description="degrees: range from which the angle is drawn evenly"
    )
    angles: tuple[Angle, ...] | None = Field(
        None, min_length=1, description="degrees: angles to draw from instead, each as likely"
    )
    fit: Fit = Field("crop", description=FIT_DESCRIPTION + " at the widest angle")
    fill: Fill = Field(0, description="gray value where no image reaches")

    @model_validator(mode="after")
    def _check_range(self) -> Rotate:
        check_ascending(self.angle_range, "angle_range")
        return self

    def revision(self) -> int:
        """1 where masks are moved by area: where they shrink, or may lie half a pixel off the grid."""
        fixed = self.angles or (self.angle_range if self.angle_range[0] == self.angle_range[1] else ())
        halves = (90, 0) if self.fit == "expand" else (90,)
        return int(self.fit == "scale" or any(angle % 180 in halves for angle in fixed))


@op(
    "rotate",
    Rotate,
    version=1,
    role="augment",
    examples=Examples(
        [{}, {"angle_range": [-180, 180], "fit": "scale", "fill": 128}, {"angles": [-40, 25], "fit": "expand"}],
        picture={"angle_range": [-45, 45]},
    ),
)
def rotate(inputs: Sequence[Sample], drawn: dict[str, float], params: Rotate, ctx: Context) -> Iterator[Sample]:
    """Turn by the drawn angle."""
    sample, degrees = inputs[0], drawn["angle_deg"]
    size = (sample.width, sample.height)
    onto = _rotated_size(size, params)
    matrix = rotation_matrix(size, degrees, params.fit, onto)
    yield warp(sample, matrix, onto, params.fill, by_area=params.revision() > 0)


@rotate.gives_sizes
def rotated_sizes(sizes: Sequence[Size], params: Rotate) -> list[Size]:
    """Say the picture's size, or that of a canvas that is large enough at every angle."""
    return [_rotated_size(sizes[0], params)]


def _rotated_size(size: Size, params: Rotate) -> Size:
    if params.fit != "expand":
        return size
    return canvas_for_angles(size, params.angles or params.angle_range, continuous=params.angles is None)


@rotate.draws
def draw_angle(rng: np.random.Generator, inputs: Sequence[Sample], params: Rotate, ctx: Context) -> dict[str, float]:
    """Draw an angle in degrees."""
    if params.angles is not None:
        return {"angle_deg": params.angles[int(rng.integers(len(params.angles)))]}
    return {"angle_deg": round(float(rng.uniform(*params.angle_range)), 4)}


class Affine(MirrorParams):
    """Scale, shear, turn and shift by drawn amounts about the centre, in this order; the size stays.

    This is torchvision's RandomAffine with a shear along x. Shrinking is bilinear and not smoothed first: to shrink to
    less than about half the size, use `resize`. Masks take the nearest pixel; if the ranges allow to shrink to less
    than 0.8, or hold a single factor without a turn, or a quarter turn alone, a pixel has each class that covers half
    of it or more. With `mirror`, some pictures are mirrored first, and their sides are exchanged as `hflip` does.
    """

    scale_range: tuple[float, float] = Field((0.9, 1.1), description="range of the factor, the same for both axes")
    shear_range: tuple[float, float] = Field(
        (-10.0, 10.0), description="range in degrees by which upright lines lean afterwards"
    )
    translate_range: tuple[float, float] = Field(
        (-0.05, 0.05), description="range as a fraction of width and of height, drawn for each; positive right and down"
    )
    angle_range: tuple[Angle, Angle] = Field((0.0, 0.0), description="range in degrees, positive counter-clockwise")
    mirror: float = Field(0.0, ge=0, le=1, description=MIRROR_DESCRIPTION)
    fill: Fill = Field(0, description="gray value where no image reaches")

    @model_validator(mode="after")
    def _check_ranges(self) -> Affine:
        for name in ("scale_range", "shear_range", "translate_range", "angle_range"):
            check_ascending(getattr(self, name), name)
        if self.scale_range[0] < 0.05 or self.scale_range[1] > 20:
            raise ValueError(f"scale_range is {self.scale_range}; expected within 0.05 to 20")
        if max(map(abs, self.shear_range)) > 60 or max(map(abs, self.translate_range)) > 1:
            raise ValueError("expected a shear_range within -60 to 60 degrees and a translate_range within -1 to 1")
        return self

    def revision(self) -> int:
        """1 where masks are moved by area: where they shrink, or all pixels lie alike between those of the input."""
        (low, high), turns = self.scale_range, self.angle_range
        turned = turns[0] % 180 == 90  # moves by half a pixel where width and height differ by an odd number
        on_grid = low == high and turns[0] == turns[1] and turns[0] % 90 == 0 and (low != 1 or turned)
        lean = math.tan(math.radians(max(map(abs, self.shear_range))))
        narrowest = low * (math.hypot(1, lean / 2) - lean / 2)  # a shear makes one direction shorter
        return int(on_grid or narrowest < _BY_AREA_BELOW)


@exchanges_sides(lambda params: params.mirror > 0)
@op(
    "affine",
    Affine,
    version=1,
    role="augment",
    examples=Examples(
        [{}, {"scale_range": [0.5, 0.8], "angle_range": [-30, 30], "fill": 128}, {"mirror": 0.5}],
        picture={"scale_range": [0.7, 1.1], "angle_range": [-25, 25]},
    ),
)
def affine(inputs: Sequence[Sample], drawn: dict[str, Any], params: Affine, ctx: Context) -> Iterator[Sample]:
    """Mirror if that was drawn, scale and shear, then turn, then shift."""
    sample = inputs[0]
    size = (sample.width, sample.height)
    k, lean = drawn["scale"], math.tan(math.radians(drawn["shear_deg"]))
    shear = mirrored_terms((k, -k * lean, 0.0, k), drawn.get("mirror", False))
    sheared = map_centre(shear, size, size)  # y grows downward: what is above moves to the right
    (a, b, c), (d, e, f) = compose(map_centre(rotation_terms(drawn["angle_deg"]), size, size), sheared)
    x, y = drawn["translate"]
    matrix = ((a, b, c + x * size[0]), (d, e, f + y * size[1]))
    yield warp(sample, matrix, size, params.fill, by_area=params.revision() > 0)


@affine.draws
def draw_transform(rng: np.random.Generator, inputs: Sequence[Sample], params: Affine, ctx: Context) -> dict[str, Any]:
    """Draw the factor, both angles in degrees, the shift as shares of width and height, and whether to mirror."""

    def draw_uniform(low_high: Range) -> float:
        return round(float(rng.uniform(*low_high)), 5)

    return {
        "scale": draw_uniform(params.scale_range),
        "shear_deg": draw_uniform(params.shear_range),
        "angle_deg": draw_uniform(params.angle_range),
        "translate": [draw_uniform(params.translate_range), draw_uniform(params.translate_range)],
        **draw_mirror(rng, params.mirror),
    }
