"""Which steps of a recipe new images have to go through."""

from __future__ import annotations

import re
from typing import Any

import pytest

from augforge.errors import RecipeError
from augforge.planning.preparing import preparing_steps
from augforge.planning.steps import read_steps
from augforge.yamlfile import YamlFile

CLAHE = {"op": "albumentations", "name": "CLAHE", "p": 1}
EVERYWHERE = ["train", "val", "test"]


def found(*steps: dict[str, Any], size: int | None = None) -> tuple[list[str], dict[str, str]]:
    """Labels of the steps that prepare, and reasons by label of those that cannot be repeated."""
    prepared, left_out = preparing_steps(read_steps(YamlFile("recipe", "", RecipeError), steps, size))
    return [step.bound.label for step in prepared], dict(left_out)


def test_the_steps_that_prepare_are_found_in_order() -> None:
    steps: list[dict[str, Any]] = [
        {"op": "metal"},
        {"op": "rotate_normalise"},
        {"op": "hflip", "keep_input": True},
        {"op": "mosaic", "keep_input": True},
        {"op": "normalise_intensity"},
        {"op": "rotate"},
    ]
    assert found(*steps, size=64) == (["rotate_normalise", "normalise_intensity", "resize"], {})
    assert found() == ([], {})


@pytest.mark.parametrize(
    ("step", "prepares"),
    [
        ({"op": "resize", "size": 32, "on": ["train"]}, False),
        ({"op": "resize", "size": 32, "on": ["train", "val"]}, True),
        ({"op": "resize", "size": 32, "p": 0.5}, False),
        ({"op": "resize", "size": 32, "keep_input": True}, False),
        ({**CLAHE, "on": EVERYWHERE}, True),
        (CLAHE, False),
        ({**CLAHE, "on": ["val"]}, False),
        ({**CLAHE, "on": EVERYWHERE, "p": 0.5}, False),
        ({"op": "hflip", "on": EVERYWHERE}, True),
        ({"op": "where", "condition": "width > 5", "on": EVERYWHERE}, False),
    ],
)
def test_a_step_prepares_if_every_validation_sample_went_through_it(step: dict[str, Any], prepares: bool) -> None:
    assert found(step) == ([step["op"]] if prepares else [], {})


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ({"op": "mosaic", "on": EVERYWHERE}, "joins several"),
        ({"op": "rotate_normalise", "where": "width > 100"}, "condition .* width > 100"),
        ({"op": "rotate", "copies": 2, "on": EVERYWHERE}, "2 copies"),
        ({"op": "hflip", "swap": [["a", "b"]], "on": EVERYWHERE}, "exchanges classes"),
    ],
)
def test_what_cannot_be_repeated_is_named_with_its_reason(step: dict[str, Any], reason: str) -> None:
    prepared, left_out = found(step)
    assert prepared == []
    assert [*left_out] == [step["op"]]
    assert re.search(reason, left_out[step["op"]])
