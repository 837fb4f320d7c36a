"""Steps: an op with its parameters, how often it acts and on what; and how they are read from plain data."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from augforge.errors import nearest, shorten
from augforge.ops.bound import BoundOp
from augforge.ops.conditions import check_syntax, metadata_named
from augforge.ops.core import OPS, OpParams

SPLITS = ("train", "val", "test")
SplitName = Literal["train", "val", "test"]


KeyPath = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


class Document(Protocol):
    """Where steps stand, such as a YAML file: it knows the line of each key, and what to raise."""

    def fail(self, path: KeyPath, message: str) -> Exception:
        """The error to raise for something at a key path."""

    def check(self, model: type[Model], data: Any, at: KeyPath = ()) -> Model:
        """Data at a key path, checked against a model. Raises this document's error."""


class Strict(BaseModel):
    """Frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StepKeys(Strict):
    """The keys of a step that are its own; every other key is its op's."""

    op: str = Field(description="the op's name; `augforge ops` lists them")
    p: Annotated[float, Field(ge=0, le=1)] = Field(1.0, description="chance that a copy is made")
    copies: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="how many are made of each input")
    on: tuple[SplitName, ...] | None = Field(None, description="splits the step acts on; others pass untouched")
    where: str | None = Field(
        None,
        description="SQL condition on the samples the step acts on, such as: abs(tilt.angle_deg) > 10 or area.Ulna > 9",
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
    p: float
    copies: int
    on: tuple[str, ...]
    keep_input: bool
    where: str | None

    @property
    def conditions(self) -> dict[str, str]:
        """Its conditions on the samples it acts on (`where`) and on those it may draw as partners, by key."""
        found = {"where": self.where, "donors": self.bound.params.partner_condition()}
        return {key: text for key, text in found.items() if text}

    @property
    def probes(self) -> tuple[Step, ...]:
        """A filter `where` for each of its conditions, which measures the columns that the condition names."""
        return tuple(self.probe(text) for text in self.conditions.values())

    def probe(self, condition: str) -> Step:
        """A filter `where` of a condition in this step's place: it is never applied, but measures what it names."""
        params = OPS["where"].params.model_validate({"condition": condition})
        return replace(self, bound=BoundOp("where", params), where=None)

    @property
    def metadata_read(self) -> set[str]:
        """The columns of metadata that its op, its condition or a filter's condition look at."""
        conditions = [*self.conditions.values(), getattr(self.bound.params, "condition", None)]
        named = (metadata_named(text) for text in conditions if isinstance(text, str))
        return set(self.bound.op.reads).union(*named)

    @property
    def renames(self) -> bool:
        """Whether its outputs get a new name. What replaces its input one for one, to prepare it, keeps the name."""
        return self.bound.op.role == "augment" or self.keep_input or self.copies > 1 or self.p < 1


def read_step(
    document: Document,
    data: Mapping[str, Any],
    at: KeyPath,
    before: Sequence[Step],
    forbidden: Mapping[str, str] | None = None,
) -> Step:
    """Check one step: keys of its own, and parameters of its op.

    Args:
        document: the file that holds the step; errors name the place in it.
        data: the step.
        at: its key path.
        before: the steps before it.
        forbidden: step keys that have no meaning here, and why. Without it, only those of a filter are refused.
    """
    op = OPS[choose(document, data, "op", at, OPS)]
    for key in data:
        if forbidden and key in forbidden:
            raise document.fail((*at, key), forbidden[key])
    own = {key: value for key, value in data.items() if key in StepKeys.model_fields}
    keys = document.check(StepKeys, own, at)
    extra = [key for key in own if key not in ("op", "on")]
    if op.role == "filter" and extra and not forbidden:  # whoever forbids keys refuses filters as a whole, later
        raise document.fail((*at, extra[0]), f"'{op.name}' is a filter; {extra[0]} has no meaning for it")
    bound = BoundOp(op.name, _read_params(document, data, at), sum(step.bound.name == op.name for step in before))
    on = keys.on or (("train",) if op.role in ("augment", "filter") else SPLITS)
    return Step(len(before) + 1, bound, keys.p, keys.copies, on, keys.keep_input, keys.where)


def read_steps(
    document: Document, steps: Sequence[Mapping[str, Any]], size: Any = None, fit: str = "letterbox"
) -> tuple[Step, ...]:
    """Check the steps of a recipe.

    Args:
        document: the recipe's file.
        steps: those below its key ``steps``.
        size, fit: of its ``output``; a size is a last `resize`.
    """
    read: list[Step] = []
    for index, data in enumerate(steps):
        read.append(read_step(document, data, ("steps", index), read))
    if size is not None:
        read.append(read_step(document, {"op": "resize", "size": size, "fit": fit}, ("output",), read))
    return tuple(read)


def _read_params(document: Document, data: Mapping[str, Any], at: KeyPath) -> OpParams:
    """The parameters of a step's op: all keys but the step's own. An unknown key may be meant for either."""
    model: type[OpParams] = OPS[data["op"]].params
    rest = {key: value for key, value in data.items() if key not in StepKeys.model_fields}
    takes_any = model.model_config.get("extra") == "allow"
    unknown = [key for key in rest if key not in model.model_fields and not takes_any]
    if unknown:
        known = {*model.model_fields, *StepKeys.model_fields}
        raise document.fail((*at, unknown[0]), f"unknown key for op '{data['op']}'.{nearest(str(unknown[0]), known)}")
    return document.check(model, rest, at)


def choose(document: Document, data: Mapping[str, Any], key: str, at: KeyPath, known: Collection[str]) -> str:
    """The value of a key that must name one of `known`."""
    name = data.get(key)
    if isinstance(name, str) and name in known:
        return name
    if name is None:
        raise document.fail(at, f"'{key}' is missing; it has no default.{nearest('', known)}")
    hint = nearest(str(name), known)
    plugin = (
        ""
        if "Did you mean" in hint
        else " If a plugin defines it, name its file with --plugin, or install its package."
    )
    raise document.fail((*at, key), f"there is no {key} {shorten(name)}.{hint}{'' if 'Did you' in hint else plugin}")
