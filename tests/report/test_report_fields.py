"""Types, ranges and examples of pydantic fields in words."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Optional

import pytest
from pydantic import BaseModel, Field, model_validator

from augforge.report.fields import describe_fields, example_values, type_name, valid_example
from augforge.yamlfile import flow, parse_scalar

Cell = Annotated[int, Field(ge=1, le=8)]


class Axis(BaseModel):
    start: str = Field(alias="from")
    turns: int = 2


class Base(BaseModel):
    path: str = Field(description="where it lies")


class Everything(Base):
    path: str
    axis: Axis
    grid: tuple[Cell, Cell]
    share: Annotated[float, Field(gt=0, lt=0.3)]
    size: Cell | tuple[Cell, Cell] | None = None
    mode: Literal["cover", "crop"] = "crop"
    pairs: tuple[tuple[str, str], ...] = ()
    condition: str = Field(description="what holds, such as: age >= 6")
    angle: float = Field(0.0, ge=-180)
    ring: list[int] = Field(default_factory=lambda: [1, 2], examples=[[3, 4]])
    on: bool = False


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int"),
        (str | None, "text or null"),
        (Optional[float], "number or null"),  # noqa: UP045
        (Cell | tuple[Cell, Cell], "int or [int, int]"),
        (Literal["crop", "cover", True], "crop | cover | true"),
        (tuple[str, ...], "list of text"),
        (tuple[tuple[str, str], ...], "list of [text, text]"),
        (dict[str, str | None], "{text: text or null}"),
        (Axis, "{from: text, turns: int}"),
        (Any, "anything"),
    ],
)
def test_type_names(annotation: Any, text: str) -> None:
    assert type_name(annotation) == text


def test_fields_are_described() -> None:
    fields = {field["name"]: field for field in describe_fields(Everything)}
    assert fields["path"]["description"] == "where it lies"  # of the field it overrides
    assert fields["path"]["required"]
    assert fields["grid"] == {
        "name": "grid", "type": "[int, int]", "range": "1 to 8", "required": True, "default": None, "description": ""
    }  # fmt: skip
    assert fields["size"]["range"] == "1 to 8"
    assert fields["share"]["range"] == "above 0, below 0.3"
    assert fields["angle"]["range"] == "at least -180"
    assert fields["ring"]["default"] == [1, 2]
    assert fields["pairs"]["default"] == []


def test_examples_fit_their_model() -> None:
    values = example_values(Everything)
    assert values["ring"] == [3, 4]
    assert values["mode"] == "crop"
    assert values["condition"] == "age >= 6"
    assert "on" not in values and "size" not in values
    checked = Everything.model_validate(values)
    assert 0 < checked.share < 0.3


class OneOfTwo(BaseModel):
    mode: str = "all"
    pixels: Annotated[int, Field(ge=1, le=8)] | None = None
    share: float | None = None

    @model_validator(mode="after")
    def _one(self) -> OneOfTwo:
        if (self.pixels is None) == (self.share is None):
            raise ValueError("expected either pixels or share")
        return self


def test_examples_name_one_of_several_fields_where_one_is_needed() -> None:
    assert valid_example(OneOfTwo) == {"mode": "all", "pixels": 4}
    assert valid_example(Axis) == {"from": "NAME", "turns": 2}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([2, 2], "[2, 2]"),
        ({"a": None, "b": True}, "{a: null, b: true}"),
        (0.5, "0.5"),
        ("finger-11", "finger-11"),
        ("../data/hands", "../data/hands"),
        ("no", '"no"'),
        ("12", '"12"'),
        ("a: b # c", '"a: b # c"'),
        ("", '""'),
        ("a\x85b\x7f", '"a\\u0085b\\u007f"'),
    ],
)
def test_flow_gives_yaml(value: Any, text: str) -> None:
    assert flow(value) == text
    assert parse_scalar(text) == value
