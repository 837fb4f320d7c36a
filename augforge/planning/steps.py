"""Steps of a recipe: an op with its parameters, how often it acts and on what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from augforge.ops.conditions import check_syntax
from augforge.ops.core import BoundOp

SPLITS = ("train", "val", "test")
SplitName = Literal["train", "val", "test"]


class Strict(BaseModel):
    """Frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StepKeys(Strict):
    """The keys of a step that are its own; every other key is its op's."""

    op: str
    p: Annotated[float, Field(ge=0, le=1)] = Field(1.0, description="chance that a copy is made")
    copies: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="how many are made of each input")
    on: tuple[SplitName, ...] | None = Field(None, description="splits the step acts on; others pass untouched")
    where: str | None = Field(
        None, description="SQL condition on the samples the step acts on, such as: abs(tilt.angle_deg) > 10"
    )
    keep_input: bool = Field(False, description="pass the input on beside what was made of it")

    @field_validator("where")
    @classmethod
    def _condition(cls, value: str | None) -> str | None:
        return value if value is None else check_syntax(value)

    @field_validator("on", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if value == []:
            raise ValueError("no split is named; expected one or more of 'train', 'val' and 'test'")
        return (value,) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a recipe: an op with its parameters, how often it acts and on what.

    Attributes:
        index: place in the recipe, from 1.
        bound: the op with its parameters and occurrence.
        p, copies, keep_input: how often; see the glossary.
        on: the splits it acts on.
        where: the condition on the samples it acts on, if any.
    """

    index: int
    bound: BoundOp
    p: float = 1.0
    copies: int = 1
    on: tuple[str, ...] = SPLITS
    keep_input: bool = False
    where: str | None = None

    @property
    def renames(self) -> bool:
        """Whether its outputs get a new name. What replaces its input one for one, to prepare it, keeps the name."""
        return self.bound.op.role == "augment" or self.keep_input or self.copies > 1 or self.p < 1
