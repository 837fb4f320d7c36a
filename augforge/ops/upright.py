"""rotate_normalise, which turns every picture upright, and tilt, which measures how far it leans."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_serializer

from augforge import bitmask
from augforge.ops.core import Candidate, Context, Examples, FilterParams, Flag, OpParams, Size, filter_op, op
from augforge.ops.filters.hand_axis import hand_tilt
from augforge.ops.geometry import Fill
from augforge.ops.warp import FIT_DESCRIPTION, Fit, canvas_for_angles, rotation_matrix, warp
from augforge.sample import Drop, Sample

Fallback = Literal["image", "keep", "drop"]
_AXIS_DESCRIPTION = (
    "image: the ray of the middle finger, found without labels; or {from: [classes], to: [classes]}: the line from the "
    "centroid of the first to the centroid of the second, for any anatomy"
)


class Axis(BaseModel):
    """The line from the centroid of some classes' pixels to that of others; several classes are their union."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    start: tuple[str, ...] = Field(alias="from", min_length=1, description="classes at the lower end of the axis")
    end: tuple[str, ...] = Field(alias="to", min_length=1, description="classes at the upper end")

    @model_serializer
    def _as_declared(self) -> dict[str, list[str]]:
        return {"from": list(self.start), "to": list(self.end)}

    def check(self, ctx: Context) -> None:
        """Raise PlanError if a class is not in the table."""
        ctx.check_classes((*self.start, *self.end))


class RotateNormalise(OpParams):
    """Turn every picture so that an axis of what it shows points up.

    With classes, the axis runs between centroids of their masks: ``{from: [Radius, Ulna], to: [finger-8, ...]}``, or
    along one ray of the hand, ``{from: [finger-11], to: [finger-8]}``. If a sample does not show one of the two ends,
    or does not know it, `fallback` says what to do. With ``image``, a hand's axis is found without labels: from its
    silhouette, its palm and its fingers to the ray that leads from the middle finger's tip through its metacarpal.
    Padding around the film, turned with it or not, side markers, rings, and a hand that points down do not matter; but
    bone must be bright, and three fingers must be spread.

    The picture is turned about its centre, in degrees, positive counter-clockwise: a hand that leans to the right by 20
    is turned by 20. The lineage holds ``angle_deg``, ``matrix`` and ``axis`` (``classes`` or ``image``), so that
    predictions can be turned back. A picture that leans by less than `min_angle`, seems to lean by more than
    `max_angle`, or shows no hand stays as it is and is not resampled.
    """

    axis: Literal["image"] | Axis = Field("image", description=_AXIS_DESCRIPTION)
    fallback: Fallback = Field(
        "image",
        description="what to do without the classes: find the axis in the image (of a hand), keep the picture as it "
        "is, or drop it",
    )
    min_angle: float = Field(1.0, ge=0, le=180, description="degrees: a picture that leans by less is upright enough")
    max_angle: float = Field(180.0, gt=0, le=180, description="degrees: a greater angle is not believed")
    fit: Fit = Field("crop", description=FIT_DESCRIPTION + " at max_angle, the same for all pictures that are turned")
    fill: Fill = Field(0, description="gray value where no image reaches")

    def check(self, ctx: Context) -> None:
        """Raise PlanError if a class is not in the table."""
        if isinstance(self.axis, Axis):
            self.axis.check(ctx)

    def classes_wanted(self) -> tuple[tuple[str, ...], ...]:
        """The classes at both ends of the axis."""
        return (self.axis.start, self.axis.end) if isinstance(self.axis, Axis) else ()

    def revision(self) -> int:
        """1 where masks shrink: they do so by area."""
        return int(self.fit == "scale")


@op(
    "rotate_normalise",
    RotateNormalise,
    version=1,
    role="prepare",
    exact=False,
    examples=Examples(
        [
            {},
            {"axis": {"from": ["class-0"], "to": ["class-8"]}, "min_angle": 0},
            {"axis": {"from": ["class-0"], "to": ["class-8"]}, "fallback": "drop", "fit": "scale", "fill": 128},
        ],
        picture={"axis": {"from": ["finger-11"], "to": ["finger-8"]}},
    ),
)
def rotate_normalise(
    inputs: Sequence[Sample], drawn: None, params: RotateNormalise, ctx: Context
) -> Iterator[Sample | Drop]:
    """Turn the picture upright; leave it as it is where it leans too little, too much, or has no axis."""
    sample = inputs[0]
    lean, found = find_tilt(sample, params.axis, params.fallback, ctx)
    if found == "drop":
        yield Drop("no axis to turn upright")
    elif lean is None or not params.min_angle <= abs(lean) <= params.max_angle:
        yield sample
    else:
        size = (sample.width, sample.height)
        onto = _upright_size(size, params)
        matrix = rotation_matrix(size, lean, params.fit, onto)
        notes = {"angle_deg": lean, "matrix": [list(row) for row in matrix], "axis": found}
        yield warp(sample, matrix, onto, params.fill, notes, by_area=params.revision() > 0)


@rotate_normalise.gives_sizes
def upright_sizes(sizes: Sequence[Size], params: RotateNormalise) -> list[Size]:
    """Say the size of a turned picture; pictures that are not turned keep theirs."""
    return [_upright_size(sizes[0], params)]


def _upright_size(size: Size, params: RotateNormalise) -> Size:
    if params.fit != "expand":
        return size
    return canvas_for_angles(size, (-params.max_angle, params.max_angle), continuous=True)


class Tilt(FilterParams):
    """Measure how far a picture's axis leans, and tag pictures that are turned.

    ``angle_deg`` is in degrees, positive to the right, and found as by `rotate_normalise`; it is null if there is no
    axis. Other steps can choose by it: ``where: "tilt.angle_deg > 10"``.
    """

    action: Literal["drop", "tag"] = Field(
        "tag", description="tag only, or drop from the `on` splits and tag elsewhere"
    )
    axis: Literal["image"] | Axis = Field("image", description=_AXIS_DESCRIPTION)
    fallback: Literal["image", "keep"] = Field(
        "image", description="what to do without the classes: find the axis in the image (of a hand), or give no angle"
    )
    max_angle: float = Field(10.0, ge=0, le=180, description="degrees: a picture that leans by more is tagged")

    def check(self, ctx: Context) -> None:
        """Raise PlanError if a class is not in the table."""
        if isinstance(self.axis, Axis):
            self.axis.check(ctx)


@filter_op(
    "tilt",
    Tilt,
    version=1,
    examples=Examples(
        [{}, {"axis": {"from": ["class-0"], "to": ["class-1"]}, "max_angle": 20, "action": "drop"}],
        picture={"axis": {"from": ["finger-11"], "to": ["finger-8"]}},
    ),
)
def tilt(candidate: Candidate, params: Tilt, ctx: Context) -> Flag | None:
    """Flag a sample that leans by more than `max_angle`."""
    lean = candidate.features["angle_deg"]
    if lean is None or abs(lean) <= params.max_angle:
        return None
    return Flag("turned", score=round(abs(lean) - params.max_angle, 2), detail=f"leans by {lean:.1f} degrees")


@tilt.measures(reads=("axis", "fallback"))
def measure_tilt(sample: Sample, params: Any, ctx: Context) -> dict[str, Any]:
    """Measure by how many degrees a sample leans, and how the axis was found."""
    axis = params.axis if params.axis == "image" else Axis.model_validate(params.axis)
    lean, found = find_tilt(sample, axis, params.fallback, ctx)
    return {"angle_deg": lean, "axis": found}


def find_tilt(
    sample: Sample, axis: Literal["image"] | Axis, fallback: Fallback, ctx: Context
) -> tuple[float | None, str | None]:
    """Degrees by which a sample leans, positive to the right, and how the axis was found.

    That is ``classes`` or ``image``; None if there is no axis, or ``drop`` if the fallback says so.
    """
    if isinstance(axis, Axis):
        lean = class_tilt(sample, axis, ctx)
        if lean is not None:
            return lean, "classes"
        if fallback != "image":
            return None, "drop" if fallback == "drop" else None
    lean = hand_tilt(sample.image)
    return lean, None if lean is None else "image"


def class_tilt(sample: Sample, axis: Axis, ctx: Context) -> float | None:
    """Degrees by which the line between two centroids leans; None if an end has no pixel or both are one point."""
    areas, boxes = bitmask.areas_and_boxes(sample.masks, len(ctx.classes))
    chosen = [[c for c in map(ctx.class_index, names) if areas[c]] for names in (axis.start, axis.end)]
    ends = [centroid(sample, classes, boxes) for classes in chosen]
    if ends[0] is None or ends[1] is None:
        return None
    x, y = ends[1][0] - ends[0][0], ends[1][1] - ends[0][1]
    return None if math.hypot(x, y) < 1 else round(math.degrees(math.atan2(x, -y)) + 0.0, 2)


def centroid(sample: Sample, classes: Sequence[int], boxes: NDArray[np.int32]) -> tuple[float, float] | None:
    """Mean x and y of the pixels of any of the classes, None without classes; `boxes` are those of all classes."""
    if not classes:
        return None
    (x0, y0), (x1, y1) = boxes[classes, :2].min(axis=0), boxes[classes, 2:].max(axis=0)
    region = bitmask.union(sample.masks[y0:y1, x0:x1], classes).astype(np.uint8)
    moments = cv2.moments(region, binaryImage=True)
    return float(x0) + moments["m10"] / moments["m00"], float(y0) + moments["m01"] / moments["m00"]
