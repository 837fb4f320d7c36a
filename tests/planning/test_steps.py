"""Steps read from plain data: keys that a document forbids, and what an op may not call its parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from augforge.errors import PlanError
from augforge.ops import OPS, FilterParams, OpParams, filter_op, op
from augforge.ops.core import STEP_KEYS
from augforge.planning.splits import Split
from augforge.planning.steps import StepKeys, read_step
from augforge.yamlfile import YamlFile

FILE = YamlFile("r.yaml", "", PlanError)


@pytest.fixture(autouse=True, scope="module")
def toys() -> Iterator[None]:
    def never(*arguments: Any) -> Any:
        raise AssertionError("reading a step calls no op")

    with OPS.restored():
        op("toy_augment", OpParams, version=1, role="augment")(never)
        filter_op("toy_filter", FilterParams, version=1)(never)
        yield


@pytest.mark.parametrize("name", ["toy_augment", "toy_filter"])
def test_a_forbidden_key_is_refused_with_the_reason(name: str) -> None:
    """Also where a filter has no use for the key anyway: whoever forbids it knows better why."""
    forbidden = {"copies": "no copies here"}
    with pytest.raises(PlanError, match=r"r\.yaml: steps\.0\.copies: no copies here"):
        read_step(FILE, {"op": name, "copies": 2}, ("steps", 0), [], forbidden)
    assert read_step(FILE, {"op": name, "p": 0.5}, ("steps", 0), [], forbidden).p == 0.5


def test_no_op_may_have_a_parameter_that_a_step_key_would_hide() -> None:
    assert set(StepKeys.model_fields) == STEP_KEYS

    class Hidden(OpParams):
        """An op whose parameter no recipe could set."""

        copies: int = 1

    with OPS.restored(), pytest.raises(ValueError, match="op 'hidden' has a parameter copies, which is a key of every"):
        op("hidden", Hidden, version=1, role="augment")(lambda inputs, drawn, params, ctx: inputs)


def test_what_was_checked_stays_as_it_is() -> None:
    """Recipes are shared by plans and processes: nobody sets a key after the check."""
    split = Split(val=0.2)
    with pytest.raises(ValidationError, match="frozen"):
        split.val = 2.0  # type: ignore[misc]
    assert split.val == 0.2
