"""Filters by what the masks and the table hold: empty, min_area, where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from augforge import bitmask
from augforge.ops.conditions import check_syntax, evaluate_condition
from augforge.ops.core import Candidate, Context, Examples, FilterParams, Flag, filter_op, table_filter
from augforge.sample import IGNORE, Sample, weights_or_none


def label_values(sample: Sample, ctx: Context) -> dict[str, float | None]:
    """The value of each label; None if it is unknown, all of them if the sample has no label vector."""
    if sample.label is None:
        return dict.fromkeys(ctx.labels)
    return dict(zip(ctx.labels, weights_or_none(sample.label), strict=True))


def class_areas(sample: Sample, ctx: Context) -> dict[str, int | None]:
    """Pixels of each class; None if the class is not known."""
    areas, _ = bitmask.areas_and_boxes(sample.masks, len(ctx.classes))
    known = bitmask.bits_to_flags(sample.known, len(ctx.classes))
    return {name: int(areas[i]) if known[i] else None for i, name in enumerate(ctx.classes)}


def measure_contents(sample: Sample, ctx: Context) -> dict[str, Any]:
    """The pixels of each class, and the values of labels if the data has any."""
    labels = {"label": label_values(sample, ctx)} if ctx.labels else {}
    return {"area": class_areas(sample, ctx), **labels}


class ClassFilter(FilterParams):
    """Parameters of filters that look at some classes or all."""

    classes: tuple[str, ...] | None = Field(None, description="the classes that count; default: all but ignore")

    def check(self, ctx: Context) -> None:
        """Raise PlanError if a class is not in the table."""
        ctx.check_classes(self.classes or ())

    def areas(self, candidate: Candidate) -> list[int]:
        """Pixels of the classes that count and are known."""
        areas = candidate.features["area"]
        counted = self.classes or [name for name in areas if name != IGNORE]
        return [areas[name] for name in counted if areas[name] is not None]


class Empty(ClassFilter):
    """Samples without a single pixel of the classes that count.

    A sample whose classes are not known, since nobody labelled it, is not empty: absent and unlabelled are different.
    """


@filter_op("empty", Empty, version=1, examples=Examples([{}, {"classes": ["class-1"], "action": "tag"}]))
def empty(candidate: Candidate, params: Empty, ctx: Context) -> Flag | None:
    """Flag a sample in which no class that counts has a pixel."""
    areas = params.areas(candidate)
    return Flag("empty") if areas and not any(areas) else None


class MinArea(ClassFilter):
    """Samples in which a class that is present covers too little: slivers at a window's border, broken polygons.

    Give exactly one of `pixels` and `share`. Absent classes, without a pixel, and unknown ones do not count.
    """

    pixels: int | None = Field(None, ge=1, description="pixels that a class must cover")
    share: float | None = Field(None, gt=0, lt=1, description="share of the picture that a class must cover")
    need: Literal["every", "any"] = Field(
        "every", description="keep a sample if every present class is large enough, or if any is"
    )

    @model_validator(mode="after")
    def _one_measure(self) -> MinArea:
        if (self.pixels is None) == (self.share is None):
            raise ValueError("min_area has both or neither of `pixels` and `share`; expected one of them")
        return self


@filter_op(
    "min_area",
    MinArea,
    version=1,
    examples=Examples([{"pixels": 60}, {"share": 0.2, "need": "any"}], picture={"pixels": 40}),
)
def min_area(candidate: Candidate, params: MinArea, ctx: Context) -> Flag | None:
    """Flag a sample in which a present class covers too little."""
    present = [area for area in params.areas(candidate) if area > 0]
    least = params.pixels if params.share is None else params.share * candidate.width * candidate.height
    if not present or least is None:
        return None
    decisive = min(present) if params.need == "every" else max(present)
    return Flag("class too small", decisive / least) if decisive < least else None


class Where(FilterParams):
    """Samples that do not meet a condition, written in SQL as Polars reads it.

    Columns: ``name``, ``"group"`` (an SQL word, so quoted), ``split``, ``width``, ``height``, ``tags``,
    ``metadata.<key>``, ``area."<class>"`` (pixels, null if unknown), ``label."<label>"`` (0 to 1, null without labels),
    ``channels``, ``dtype``, and what earlier filters measured, such as ``tilt.angle_deg``. If the condition is null,
    since a value is missing, it is not met.
    """

    own_columns: ClassVar[tuple[str, ...]] = ("area", "label", "channels", "dtype")
    """The columns that the filter measures itself."""

    condition: str = Field(description="condition of the samples that stay, such as: metadata.age >= 6")

    @field_validator("condition")
    @classmethod
    def _parses(cls, value: str) -> str:
        return check_syntax(value)


@table_filter(
    "where",
    Where,
    version=2,
    alone=True,
    examples=Examples(
        [{"condition": "metadata.age >= 9"}, {"condition": 'area."class-1" > 100 and channels = 1'}],
        picture={"condition": 'metadata.age >= 40 AND area."Radius" > 100'},
    ),
)
def where(candidates: Sequence[Candidate], params: Where, ctx: Context) -> list[Flag | None]:
    """Flag the samples that do not meet the condition."""
    verdicts = evaluate_condition(params.condition, [candidate.columns() for candidate in candidates])
    return [None if verdict else Flag("condition not fulfilled", detail=params.condition) for verdict in verdicts]


@where.measures(reads=(), when=lambda params: bool(re.search(r"\b(area|label|channels|dtype)\b", params.condition)))
def measure_columns(sample: Sample, params: Any, ctx: Context) -> dict[str, Any]:
    """Measure the columns that a condition may name besides the sample's own."""
    channels = 1 if sample.image.ndim == 2 else sample.image.shape[2]
    return {**measure_contents(sample, ctx), "channels": channels, "dtype": str(sample.image.dtype)}


def measure_class_areas(sample: Sample, params: Any, ctx: Context) -> dict[str, Any]:
    """Measure the pixels of each class."""
    return {"area": class_areas(sample, ctx)}


empty.measures(reads=())(measure_class_areas)
min_area.measures(reads=())(measure_class_areas)
