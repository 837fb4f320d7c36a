"""empty, min_area and where: what each flags, by definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import class_names, make_sample
from pydantic import ValidationError
from toybox import made as built
from toybox import rejected, tiny_hands

from augforge import bitmask
from augforge.errors import PlanError
from augforge.ops import OPS, Context, Flag
from augforge.ops.core import Candidate
from augforge.ops.filters.select import class_areas

CTX = Context(("a", "b", "c"))


def candidate(area: dict[str, int | None], **changes: Any) -> Candidate:
    given = {"name": "x", "metadata": {}, "tags": (), "width": 20, "height": 10, **changes}
    return Candidate(id="1", group="g", split="train", features={"area": area}, **given)


def flagged(op: str, candidates: list[Candidate], **params: Any) -> list[Flag | None]:
    checked = OPS[op].params.model_validate(params)
    checked.check(CTX)
    return list(OPS[op].decide(candidates, checked, CTX))


def test_areas_are_pixels_and_none_where_unknown() -> None:
    sample = make_sample(classes=29)
    known = bitmask.select_bits(range(0, 29, 2), 29)
    sample.known[:] = known
    areas = class_areas(sample, Context(class_names(29)))
    for c, (name, area) in enumerate(areas.items()):
        assert area == (None if c % 2 else bitmask.class_mask(sample.masks, c).sum()), name


@pytest.mark.parametrize(
    ("area", "classes", "is_empty"),
    [
        ({"a": 0, "b": 0, "c": 0}, None, True),
        ({"a": 0, "b": 1, "c": 0}, None, False),
        ({"a": 0, "b": 1, "c": 0}, ["a", "c"], True),
        ({"a": None, "b": None, "c": None}, None, False),  # nobody labelled it
        ({"a": None, "b": 0, "c": 0}, None, True),
        ({"a": None, "b": 0, "c": 0}, ["a"], False),
    ],
)
def test_empty(area: dict[str, int | None], classes: list[str] | None, is_empty: bool) -> None:
    assert [flag is not None for flag in flagged("empty", [candidate(area)], classes=classes)] == [is_empty]


@pytest.mark.parametrize(
    ("area", "params", "score"),
    [
        ({"a": 50, "b": 0, "c": None}, {"pixels": 50}, None),
        ({"a": 49, "b": 0, "c": None}, {"pixels": 50}, 0.98),
        ({"a": 10, "b": 90, "c": None}, {"pixels": 50}, 0.2),
        ({"a": 10, "b": 90, "c": None}, {"pixels": 50, "need": "any"}, None),
        ({"a": 10, "b": 25, "c": None}, {"pixels": 50, "need": "any"}, 0.5),
        ({"a": 10, "b": 90, "c": None}, {"pixels": 50, "classes": ["b"]}, None),
        ({"a": 0, "b": 0, "c": None}, {"pixels": 50}, None),
        ({"a": 20, "b": 0, "c": 0}, {"share": 0.1}, None),
        ({"a": 19, "b": 0, "c": 0}, {"share": 0.1}, 0.95),
    ],
)
def test_min_area(area: dict[str, int | None], params: dict[str, Any], score: float | None) -> None:
    (flag,) = flagged("min_area", [candidate(area)], **params)
    assert (flag and flag.score) == (score if score is None else pytest.approx(score))


def test_min_area_takes_one_measure() -> None:
    for wrong in ({}, {"pixels": 3, "share": 0.1}, {"pixels": 0}, {"share": 1.0}):
        with pytest.raises(ValidationError):
            OPS["min_area"].params.model_validate(wrong)


def test_classes_must_exist() -> None:
    for op in ("empty", "min_area"):
        with pytest.raises(PlanError, match="the data has no class 'd'"):
            flagged(op, [], classes=["d"], **({"pixels": 2} if op == "min_area" else {}))


def test_where_flags_samples_that_do_not_meet_the_condition() -> None:
    rows = [candidate({"a": 5}, metadata={"age": age}) for age in (3, 9, None)]
    assert [flag is None for flag in flagged("where", rows, condition="metadata.age >= 6")] == [False, True, False]
    assert [flag is None for flag in flagged("where", rows, condition="metadata.age < 6")] == [True, False, False]
    (flag, *_) = flagged("where", rows, condition="metadata.age >= 6")
    assert flag == Flag("condition not fulfilled", detail="metadata.age >= 6")


def test_where_measures_only_what_it_needs() -> None:
    when, params = OPS["where"].measures_when, OPS["where"].params
    for condition in ("metadata.age > 3", "width > 3", "metadata.areas > 1"):
        assert not when(params.model_validate({"condition": condition})), condition
    for condition in ("area.a > 3", "channels = 3", "dtype = 'uint8' AND width > 3", 'area."b c" > 3'):
        assert when(params.model_validate({"condition": condition})), condition


def test_from_end_to_end(tmp_path: Path) -> None:
    """Filters drop from train, tag elsewhere, and their measurements can be asked for by later conditions."""
    tiny_hands(tmp_path / "data", [50, 90, 120, 200])
    areas = [int(np.asarray(row)) for row in _areas(tmp_path)]
    middle = sorted(areas)[1]
    steps = [f"{{op: where, condition: \"area.a > {middle} OR split = 'val'\"}}"]
    summary, _ = built(tmp_path, tmp_path / "data", steps, classes="[a, b]")
    train = [area for i, area in enumerate(areas) if i != 1]
    assert summary.samples == 1 + sum(area > middle for area in train)
    assert set(rejected(tmp_path / "out")["reason"]) == {"condition not fulfilled"}
    chained = ["{op: min_area, pixels: 1, action: tag}", f'{{op: hflip, where: "min_area.area.a > {middle}"}}']
    _, dataset = built(tmp_path, tmp_path / "data", chained, out="chained", classes="[a, b]")
    flips = dataset.index.filter(dataset.index["name"].str.ends_with("~hflip"))
    assert len(flips) == sum(area > middle for area in train)


def _areas(tmp_path: Path) -> list[int]:
    _, dataset = built(tmp_path, tmp_path / "data", out="plain", classes="[a, b]")
    return [row["area"]["a"] for row in dataset.index.sort("name").iter_rows(named=True)]
