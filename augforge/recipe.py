"""The recipe: what a YAML file may say, checked strictly, with file and line in every complaint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from augforge.errors import RecipeError, nearest
from augforge.keys import digest
from augforge.ops import OPS, BoundOp
from augforge.sources import SOURCES, Source
from augforge.store.codec import Encoding
from augforge.yamlfile import YamlFile, parse_scalar, read_yaml

SPLITS = ("train", "val", "test")
SplitName = Literal["train", "val", "test"]
Share = Annotated[float, Field(gt=0, lt=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Split(_Strict):
    """Who goes where: groups are hashed, so no patient stands on both sides.

    `val` and `test` are shares of the groups, or lists of groups; or `folds` and `fold` take one of several
    parts of equal size as `val`.
    """

    val: Share | tuple[str, ...] | None = Field(None, description="share of the groups (0 to 1), or a list of groups")
    test: Share | tuple[str, ...] | None = Field(None, description="share of the groups (0 to 1), or a list of groups")
    folds: Annotated[int, Field(ge=2)] | None = Field(None, description="number of cross-validation folds")
    fold: Annotated[int, Field(ge=0)] | None = Field(None, description="the fold that is `val`, from 0")
    seed: int = Field(0, description="of the hash, apart from the recipe's seed so that recipes stay comparable")

    @model_validator(mode="after")
    def _sound(self) -> Split:
        if (self.folds is None) != (self.fold is None):
            raise ValueError("`folds` and `fold` go together")
        if self.folds is not None and self.fold is not None:
            if self.fold >= self.folds:
                raise ValueError(f"fold {self.fold} of {self.folds} does not exist; folds count from 0")
            if self.val is not None:
                raise ValueError("`folds` decides `val`; give one of the two")
        shares = [share for share in (self.val, self.test) if isinstance(share, float)]
        if sum(shares) >= 1:
            raise ValueError("`val` and `test` leave nothing for train; their shares must sum to less than 1")
        return self


class StepKeys(_Strict):
    """The keys of a step that are its own; every other key is its op's."""

    op: str
    p: Annotated[float, Field(ge=0, le=1)] = Field(1.0, description="chance that a copy is made")
    copies: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="how many are made of each input")
    on: tuple[SplitName, ...] | None = Field(None, description="splits the step acts on; others pass untouched")
    keep_input: bool = Field(False, description="pass the input on beside what was made of it")

    @field_validator("on", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a recipe: an op with its parameters, how often it acts and on what.

    Attributes:
        index: place in the recipe, from 1.
        bound: the op with its parameters and occurrence.
        p, copies, keep_input: how often; see the glossary.
        on: the splits it acts on.
    """

    index: int
    bound: BoundOp
    p: float = 1.0
    copies: int = 1
    on: tuple[str, ...] = SPLITS
    keep_input: bool = False

    @property
    def renames(self) -> bool:
        """Whether its outputs get a new name. What replaces its input one for one, to prepare it, keeps the name."""
        return self.bound.op.role == "augment" or self.keep_input or self.copies > 1 or self.p < 1


class Output(_Strict):
    """How samples are stored."""

    size: int | tuple[int, int] | None = Field(None, description="a last resize: one number, or [width, height]")
    fit: Literal["letterbox", "stretch"] = Field("letterbox", description="how `size` is reached")
    image: Literal["png", "jpeg"] = Field("png", description="png is lossless; jpeg is smaller")
    quality: Annotated[int, Field(ge=1, le=100)] | None = Field(None, description="of jpeg, default 95")

    @model_validator(mode="after")
    def _sound(self) -> Output:
        if self.quality is not None and self.image != "jpeg":
            raise ValueError("`quality` belongs to `image: jpeg`; png is lossless")
        return self

    @property
    def encoding(self) -> Encoding:
        return Encoding.jpeg(self.quality or 95) if self.image == "jpeg" else Encoding.png()


class _Body(_Strict):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: int = 0
    source: dict[str, Any]
    split: Split = Split()
    steps: list[dict[str, Any]] = []
    output: Output = Output()


@dataclass(frozen=True, slots=True)
class Recipe:
    """A checked recipe.

    Attributes:
        name: of the dataset it makes.
        seed: of the augmentations.
        source: the adapter with its options, its path resolved.
        split, steps, output: see their classes; `output.size` is already the last step.
        path: the file, as given.
        text: the file verbatim.
        overrides: what ``--set`` changed.
    """

    name: str
    seed: int
    source: Source
    split: Split
    steps: tuple[Step, ...]
    output: Output
    path: Path
    text: str
    overrides: Mapping[str, Any]
    digest: str


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        path: the YAML file.
        overrides: ``key.path=value`` strings; a ``source.path`` among them is relative to the current folder.

    Raises:
        RecipeError: with file, line, expectation and the nearest known name.
    """
    path = Path(path)
    file = read_yaml(path, RecipeError)
    recipe_digest = digest({**file.data, "source": _without_path(file.data.get("source"))})
    changed = dict(_override(file, text) for text in overrides)
    body = file.check(_Body, file.data)
    return Recipe(
        name=body.name,
        seed=body.seed,
        source=_source(file, body.source, Path() if "source.path" in changed else path.parent),
        split=body.split,
        steps=_steps(file, body),
        output=body.output,
        path=path,
        text=file.text,
        overrides=changed,
        digest=recipe_digest,
    )


def _without_path(source: Any) -> Any:
    return {key: value for key, value in source.items() if key != "path"} if isinstance(source, dict) else source


def _override(file: YamlFile, text: str) -> tuple[str, Any]:
    """Apply one ``key.path=value`` to the file's data."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {text}: expected key=value, such as source.path=data/hands or steps.1.p=0.5")
    *parents, last = key.split(".")
    node: Any = file.data
    for part in parents:
        node = _enter(node, part, text)
    if isinstance(node, list):
        node[_index(node, last, text)] = parse_scalar(value)
    else:
        node[last] = parse_scalar(value)
    return key, parse_scalar(value)


def _enter(node: Any, part: str, text: str) -> Any:
    if isinstance(node, list):
        return node[_index(node, part, text)]
    child = node.setdefault(part, {})
    if not isinstance(child, (dict, list)):
        raise RecipeError(f"--set {text}: '{part}' is a plain value; nothing can stand below it")
    return child


def _index(node: list[Any], part: str, text: str) -> int:
    if not part.isdigit() or int(part) >= len(node):
        raise RecipeError(f"--set {text}: '{part}' is no item of a list of {len(node)}; items count from 0")
    return int(part)


def _source(file: YamlFile, data: dict[str, Any], base: Path) -> Source:
    kind = data.get("format")
    if kind not in SOURCES:
        at = ("source", "format") if "format" in data else ("source",)
        raise file.fail(at, f"'{kind}' is no source format.{nearest(str(kind), SOURCES)}")
    source = file.check(SOURCES[kind], data, ("source",))
    if "://" in source.path:
        return source
    return source.model_copy(update={"path": str(base / source.path)})


def _steps(file: YamlFile, body: _Body) -> tuple[Step, ...]:
    steps: list[Step] = []
    for index, data in enumerate(body.steps):
        steps.append(_step(file, data, ("steps", index), steps))
    if body.output.size is not None:
        resize = {"op": "resize", "size": body.output.size, "fit": body.output.fit}
        steps.append(_step(file, resize, ("output",), steps))
    return tuple(steps)


def _step(file: YamlFile, data: dict[str, Any], at: tuple[str | int, ...], before: Sequence[Step]) -> Step:
    name = data.get("op")
    if name not in OPS:
        raise file.fail((*at, "op"), f"'{name}' is no op.{nearest(str(name), OPS)}")
    op = OPS[name]
    own = {key: value for key, value in data.items() if key in StepKeys.model_fields}
    keys = file.check(StepKeys, own, at)
    if op.role == "filter" and (set(own) - {"op", "on"}):
        raise file.fail(at, f"'{name}' is a filter; p, copies and keep_input have no meaning for it")
    params = _params(file, data, at, own)
    occurrence = sum(step.bound.name == name for step in before)
    on = keys.on or (("train",) if op.role in ("augment", "filter") else SPLITS)
    return Step(len(before) + 1, BoundOp(name, params, occurrence), keys.p, keys.copies, on, keys.keep_input)


def _params(file: YamlFile, data: dict[str, Any], at: tuple[str | int, ...], own: Mapping[str, Any]) -> Any:
    """The op's parameters; an unknown key may be meant for the step, so both are suggested."""
    model = OPS[data["op"]].params
    rest = {key: value for key, value in data.items() if key not in own}
    unknown = [key for key in rest if key not in model.model_fields]
    if unknown:
        known = {*model.model_fields, *StepKeys.model_fields}
        raise file.fail((*at, unknown[0]), f"unknown key for op '{data['op']}'.{nearest(str(unknown[0]), known)}")
    return file.check(model, rest, at)
