"""rotate_normalise, which turns every hand upright, and tilt, which measures how far one leans."""

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
    "image: the middle finger's ray, found without labels; or {from: [classes], to: [classes]}: the line from the "
    "centroid of the ones to that of the others, for any anatomy"
)


class Axis(BaseModel):
    """The line from the centroid of some classes' pixels to that of others; several classes are their union."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    start: tuple[str, ...] = Field(alias="from", min_length=1, description="classes at the axis's lower end")
    end: tuple[str, ...] = Field(alias="to", min_length=1, description="classes at its upper end")

    @model_serializer
    def _as_declared(self) -> dict[str, list[str]]:
        return {"from": list(self.start), "to": list(self.end)}

    def check(self, ctx: Context) -> None:
        for name in (*self.start, *self.end):
            ctx.class_index(name)


class RotateNormalise(OpParams):
    """Turn every picture so that an axis of what it shows points up.

    With classes, the axis runs between centroids of their masks: ``{from: [Radius, Ulna], to: [finger-8, ...]}``, or
    along one ray of the hand, ``{from: [finger-11], to: [finger-8]}``. A sample that does not know or hold one of the
    two ends goes by `fallback`. With ``image``, a hand's axis is found without labels: its silhouette, its palm, its
    fingers and from the middle one's tip the ray through its metacarpal. Padding around the film, turned with it or
    not, side markers, rings, and a hand that points down do not matter; bone must be bright, and three fingers apart.

    The turn is about the picture's centre, in degrees, positive counter-clockwise: a hand that leans 20 to the right
    is turned by 20. ``angle_deg``, ``matrix`` and ``axis`` (``classes`` or ``image``) stand in the lineage, so that
    predictions can be turned back. A picture that leans by less than `min_angle`, one that seems to lean by more than
    `max_angle`, and one without a hand pass untouched, not resampled.
    """

    axis: Literal["image"] | Axis = Field("image", description=_AXIS_DESCRIPTION)
    fallback: Fallback = Field(
        "image", description="where the classes are not there: by the image (of a hand), untouched, or dropped"
    )
    min_angle: float = Field(1.0, ge=0, le=180, description="degrees: what leans by less is upright enough")
    max_angle: float = Field(180.0, gt=0, le=180, description="degrees: what leans by more is not believed")
    fit: Fit = Field("crop", description=FIT_DESCRIPTION + " at max_angle, the same for all that are turned")
    fill: Fill = Field(0, description="gray value where no image reaches")

    def check(self, ctx: Context) -> None:
        if isinstance(self.axis, Axis):
            self.axis.check(ctx)


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
        yield warp(sample, matrix, onto, params.fill, notes)


@rotate_normalise.gives_sizes
def upright_sizes(sizes: Sequence[Size], params: RotateNormalise) -> list[Size]:
    return [_upright_size(sizes[0], params)]


def _upright_size(size: Size, params: RotateNormalise) -> Size:
    if params.fit != "expand":
        return size
    return canvas_for_angles(size, (-params.max_angle, params.max_angle), continuous=True)


class Tilt(FilterParams):
    """Measure how far a picture's axis leans, and tag what is turned.

    ``angle_deg`` is in degrees, positive to the right, found as `rotate_normalise` finds it; None where there is no
    axis. Other steps choose by it: ``where: "tilt.angle_deg > 10"``.
    """

    action: Literal["drop", "tag"] = Field(
        "tag", description="tag only, or drop from the `on` splits and tag elsewhere"
    )
    axis: Literal["image"] | Axis = Field("image", description=_AXIS_DESCRIPTION)
    fallback: Literal["image", "keep"] = Field(
        "image", description="where the classes are not there: by the image (of a hand), or no angle"
    )
    max_angle: float = Field(10.0, ge=0, le=180, description="degrees: what leans by more is turned")

    def check(self, ctx: Context) -> None:
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
    lean = candidate.features["angle_deg"]
    if lean is None or abs(lean) <= params.max_angle:
        return None
    return Flag("turned", score=round(abs(lean) - params.max_angle, 2), detail=f"leans by {lean:.1f} degrees")


@tilt.measures(reads=("axis", "fallback"))
def measure_tilt(sample: Sample, params: Any, ctx: Context) -> dict[str, Any]:
    axis = params.axis if params.axis == "image" else Axis.model_validate(params.axis)
    lean, found = find_tilt(sample, axis, params.fallback, ctx)
    return {"angle_deg": lean, "axis": found}


def find_tilt(
    sample: Sample, axis: Literal["image"] | Axis, fallback: Fallback, ctx: Context
) -> tuple[float | None, str | None]:
    """Degrees by which a sample leans, positive to the right, and by what it was found.

    ``classes`` or ``image``; None where there is no axis, or ``drop`` where the fallback says so.
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
    """The lean of the line between two centroids in degrees; None if an end has no pixel, or both are one point."""
    areas, boxes = bitmask.areas_and_boxes(sample.masks, len(ctx.classes))
    chosen = [[c for c in map(ctx.class_index, names) if areas[c]] for names in (axis.start, axis.end)]
    ends = [centroid(sample, classes, boxes) for classes in chosen]
    if ends[0] is None or ends[1] is None:
        return None
    x, y = ends[1][0] - ends[0][0], ends[1][1] - ends[0][1]
    return None if math.hypot(x, y) < 1 else round(math.degrees(math.atan2(x, -y)) + 0.0, 2)


def centroid(sample: Sample, classes: Sequence[int], boxes: NDArray[np.int32]) -> tuple[float, float] | None:
    """Mean x and y of the pixels of any of the classes, whose boxes are given; None without classes."""
    if not classes:
        return None
    (x0, y0), (x1, y1) = boxes[classes, :2].min(axis=0), boxes[classes, 2:].max(axis=0)
    region = bitmask.union(sample.masks[y0:y1, x0:x1], classes).astype(np.uint8)
    moments = cv2.moments(region, binaryImage=True)
    return float(x0) + moments["m10"] / moments["m00"], float(y0) + moments["m01"] / moments["m00"]
