"""wrist_deviation: a hand bent sideways at the wrist."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from augforge import bitmask
from augforge.ops.core import Context, Examples, OpParams, Size, op
from augforge.ops.geometry import Fill, check_ascending, check_fill, scale_matrix
from augforge.ops.upright import centroid
from augforge.ops.warp import about_point, rotation_terms
from augforge.sample import Sample

Angle = Annotated[float, Field(ge=-45, le=45)]
Field2D: TypeAlias = NDArray[np.float32]

_GRID = 1024
"""Pixels that a side of the grid on which distances are measured has at most."""


class WristDeviation(OpParams):
    """Bend the wrist sideways: everything but the forearm's bones turns about the lunate by a drawn angle.

    This is the radial and ulnar deviation that public solutions of hand-bone segmentation contests add. Degrees are
    positive counter-clockwise on the screen. Bones turn rigidly; Radius and Ulna (`fixed`) stay. Between them image and
    masks follow one field: by its distances to both, a pixel turns by a share of the angle that goes smoothly from 0 at
    the fixed bones to 1 at the turned ones. So soft tissue bends, and nothing tears or leaves a hole. Where a turned
    bone comes to lie on a fixed one, the fixed one is in front; where it parts from one that it touched, its rim is
    stretched between them. Pixels far from any bone, such as the film's edge, move with the nearest one. The image is
    interpolated bilinearly, masks take the nearest pixel.

    A sample that does not know or show the pivot, or any fixed class, stays as it is. The placement's matrix is that of
    the turned bones; the lineage holds ``pivot`` and ``angle_deg``.
    """

    angle_range: tuple[Angle, Angle] = Field(
        (-15.0, 15.0), description="range in degrees from which the angle is drawn evenly"
    )
    fixed: tuple[str, ...] = Field(("Radius", "Ulna"), min_length=1, description="classes that stay in place")
    pivot: str = Field("Lunate", description="class whose centroid the others turn about")
    fill: Fill = Field(0, description="gray value where no image reaches")

    @model_validator(mode="after")
    def _check_bones(self) -> WristDeviation:
        check_ascending(self.angle_range, "angle_range")
        if self.pivot in self.fixed:
            raise ValueError(f"pivot '{self.pivot}' is one of the fixed classes; expected a class that turns")
        return self

    def check(self, ctx: Context) -> None:
        """Raise PlanError if a class is not in the table."""
        ctx.check_classes((*self.fixed, self.pivot))


@op(
    "wrist_deviation",
    WristDeviation,
    version=1,
    role="augment",
    exact=False,
    examples=Examples(
        [{"fixed": ["class-1", "class-4"], "pivot": "class-8", "angle_range": [-20, 20]}],
        picture={"angle_range": [-25, 25]},
    ),
)
def wrist_deviation(
    inputs: Sequence[Sample], drawn: dict[str, float], params: WristDeviation, ctx: Context
) -> Iterator[Sample]:
    """Bend the hand about the pivot by the drawn angle; leave it as it is without pivot or fixed bones."""
    sample, degrees = inputs[0], drawn["angle_deg"]
    check_fill(params.fill, sample.image)
    areas, boxes = bitmask.areas_and_boxes(sample.masks, len(ctx.classes))
    fixed = [c for c in map(ctx.class_index, params.fixed) if areas[c]]
    pivot = ctx.class_index(params.pivot)
    point = centroid(sample, [pivot] if areas[pivot] else [], boxes)
    if not fixed or point is None:
        yield sample
        return
    moving = [c for c in range(len(ctx.classes)) if areas[c] and c not in fixed]
    share = turned_share(sample, fixed, moving, point, degrees)
    x, y = _source_positions(share, point, degrees)
    image = cv2.remap(sample.image, x, y, cv2.INTER_LINEAR, borderValue=(params.fill,) * 4)
    masks = bitmask.per_plane(lambda part: cv2.remap(part, x, y, cv2.INTER_NEAREST), sample.masks)
    notes = {"angle_deg": degrees, "pivot": [round(value, 2) for value in point]}
    yield sample.derive(image, masks, matrix=about_point(rotation_terms(degrees), point), notes=notes)


@wrist_deviation.draws
def draw_angle(
    rng: np.random.Generator, inputs: Sequence[Sample], params: WristDeviation, ctx: Context
) -> dict[str, float]:
    """Draw an angle in degrees."""
    return {"angle_deg": round(float(rng.uniform(*params.angle_range)), 4)}


def turned_share(
    sample: Sample, fixed: Sequence[int], moving: Sequence[int], point: tuple[float, float], degrees: float
) -> Field2D:
    """The share of the angle by which each output pixel has turned, float32 (H, W): 0 on fixed bones, 1 on turned ones.

    Between a fixed bone at distance f and a turned one at distance t it is u = f / (f + t), which keeps pixels in their
    order wherever bones part. In wide gaps it is the smoothstep of u, so that what is next to a bone moves with it.
    """
    size = (sample.width, sample.height)
    step = -(-max(size) // _GRID)
    grid = (-(-size[0] // step), -(-size[1] // step))
    # The fixed bones grow by a pixel, so that no turned pixel is interpolated from one.
    still = cv2.dilate(_onto_grid(sample, fixed, grid), np.ones((3, 3), np.uint8))
    before = cv2.bitwise_and(_onto_grid(sample, moving, grid), 1 - still)
    onto = scale_matrix(size, grid)
    pivot = (onto[0][0] * point[0] + onto[0][2], onto[1][1] * point[1] + onto[1][2])
    moved = cv2.warpAffine(before, np.array(about_point(rotation_terms(degrees), pivot)), grid, flags=cv2.INTER_NEAREST)
    f, t = (cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5) for mask in (still, moved))
    gap = np.maximum(f + t, np.float32(1e-3))
    u = f / gap
    wide = np.clip(gap / (2 * _path_lengths(grid, pivot, degrees) + np.float32(1e-3)) - 1, 0, 1)
    share = u + wide * (u * u * (3 - 2 * u) - u)
    return np.asarray(cv2.resize(share, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _onto_grid(sample: Sample, classes: Sequence[int], grid: Size) -> NDArray[np.uint8]:
    """The union of some classes' masks, 0 and 1, on the grid."""
    found = bitmask.union(sample.masks, classes).view(np.uint8)
    return np.asarray(cv2.resize(found, grid, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _path_lengths(grid: Size, pivot: tuple[float, float], degrees: float) -> Field2D:
    """How far each point of the grid moves at the whole angle, in steps of the grid."""
    dx = np.arange(grid[0], dtype=np.float32) - np.float32(pivot[0])
    dy = np.arange(grid[1], dtype=np.float32)[:, None] - np.float32(pivot[1])
    return np.asarray(np.sqrt(dx * dx + dy * dy) * np.float32(abs(math.radians(degrees))), np.float32)


def _source_positions(share: Field2D, point: tuple[float, float], degrees: float) -> tuple[Field2D, Field2D]:
    """The x and y that each output pixel comes from: turned back about the point by its share of the angle."""
    height, width = share.shape
    c, s = cv2.polarToCart(np.ones_like(share), share * np.float32(math.radians(degrees)))
    dx = np.arange(width, dtype=np.float32) - np.float32(point[0])
    dy = (np.arange(height, dtype=np.float32) - np.float32(point[1]))[:, None]
    return c * dx - s * dy + np.float32(point[0]), s * dx + c * dy + np.float32(point[1])
