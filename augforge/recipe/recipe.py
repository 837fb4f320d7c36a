"""Recipes: what their YAML may say, checked strictly, with file and line in every error."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from unicodedata import normalize

from pydantic import BeforeValidator, Field, field_validator, model_validator

from augforge.errors import PlanError, RecipeError, shorten
from augforge.keys import digest
from augforge.planning.splits import Split
from augforge.planning.steps import Step, Strict, choose, read_steps
from augforge.sources import SOURCES, Source
from augforge.sources.options import MetadataColumns
from augforge.sources.plausibility.kinds import OLD_KINDS
from augforge.store.codec import Encoding
from augforge.yamlfile import MAX_BYTES, KeyPath, YamlFile, override, parse_yaml, read_yaml, read_yaml_text

MAX_STEPS = 100
"""Planning goes through the steps recursively; what people write has about ten."""


class Output(Strict):
    """How samples are stored."""

    size: int | tuple[int, int] | None = Field(None, description="a last resize: one number, or [width, height]")
    fit: Literal["letterbox", "stretch"] = Field("letterbox", description="how `size` is reached")
    image: Literal["png", "jpeg", "keep"] = Field(
        "png",
        description="png is lossless; jpeg is smaller; keep leaves source images that no step changed in their own "
        "files, without metadata, and makes a PNG of every other one",
    )
    quality: Annotated[int, Field(ge=1, le=100)] | None = Field(None, description="of jpeg, default 95")

    @model_validator(mode="after")
    def _check(self) -> Output:
        if self.quality is not None and self.image != "jpeg":
            raise ValueError("`quality` belongs to `image: jpeg`; png is lossless")
        return self

    @property
    def encoding(self) -> Encoding:
        """How samples are encoded."""
        return Encoding.jpeg(self.quality or 95) if self.image == "jpeg" else Encoding(self.image)


class Verdict(Strict):
    """A person's verdict on a sample, which overrules every filter."""

    verdict: Literal["keep", "drop"] = Field(description="whether the sample stays, whatever filters say of it")
    why: str = Field("", description="the reason, which index and rejected samples hold")


class Accept(Strict):
    """Findings that a person accepts: those of a kind, or of them those about the names, with the reason."""

    kind: str = Field(description="the kind of the findings, as a build prints it; one that does not exist is an error")
    names: tuple[str, ...] | None = Field(None, description="the names that are accepted; null for all of the kind")
    why: Annotated[str, Field(min_length=1)] = Field(description="the reason, which the manifest records")

    @field_validator("kind")
    @classmethod
    def _rename_old_kind(cls, value: str) -> str:
        return OLD_KINDS.get(value, value)


class ReviewFile(Strict):
    """A file of verdicts, which `review` names: `samples: {ID007/image1: {verdict: drop, why: nail art}}`."""

    samples: dict[str, Verdict] = Field(description="the verdicts, by the names of source samples")

    @field_validator("samples", mode="before")
    @classmethod
    def _take_none_for_empty(cls, value: Any) -> Any:
        return {} if value is None else value


def _require_keys(step: Any) -> Any:
    if isinstance(step, str):
        raise ValueError(f"expected keys and values, such as {{op: {step}}}, got {shorten(step)}")
    return step


StepData = Annotated[dict[str, Any], BeforeValidator(_require_keys)]
"""A step as it stands in the file."""


class RecipeKeys(Strict):
    """The keys of a recipe."""

    name: str = Field(description="of the dataset, and of its folder: letters, digits, `.`, `_` and `-`")
    seed: int = Field(0, description="of all augmentations; another seed draws anew, and leaves the splits as they are")
    source: dict[str, Any] = Field(description="the data: `format`, `path` and the options of the format")
    split: Split = Field(
        Split(), description="which groups go to val and test; left out, all that has no split of its own is train"
    )
    metadata: MetadataColumns = Field(
        MetadataColumns(), description="columns of metadata that go into the dataset; left out, all of them"
    )
    review: str | None = Field(None, description="a file of a person's verdicts, relative to the recipe")
    steps: list[StepData] = Field(
        default_factory=list, description="what is done to the samples, one op after the other; at most 100"
    )
    output: Output = Field(Output(), description="the size of the samples, and how they are stored")
    strict: bool = Field(False, description="findings that are not accepted stop the build before any work")
    accept: tuple[Accept, ...] = Field((), description="findings that are meant to be so, with the reason")
    fraction: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="build from this share of the groups alone, chosen by their hash, for a light experiment; groups "
        "that are added later change nothing for the others",
    )

    @field_validator("steps")
    @classmethod
    def _check_count(cls, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if len(value) > MAX_STEPS:
            raise ValueError(f"{len(value)} steps; expected at most {MAX_STEPS}. Chain recipes by format: dataset")
        return value

    @field_validator("name")
    @classmethod
    def _check_folder_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
            raise ValueError(f"'{value}' cannot name a folder; expected letters, digits, '.', '_' and '-' alone")
        return value


@dataclass(frozen=True, slots=True)
class Recipe:
    """A checked recipe.

    Attributes:
        name: of the dataset it makes.
        seed: of the augmentations.
        source: the adapter with its options, its path resolved.
        review: a person's verdicts, by the names of source samples.
        review_text: the file that they come from, verbatim; None if there is none.
        split, metadata, steps, output: see their classes; `output.size` is already the last step.
        strict: findings that are not accepted stop the build.
        accept: the findings that are accepted.
        fraction: the share of the groups that the dataset is built from; None for all.
        file: the parsed file, for the lines of messages.
        path: the file, as given.
        text: the file verbatim.
        overrides: what ``--set`` changed.
    """

    name: str
    seed: int
    source: Source
    split: Split
    metadata: MetadataColumns
    review: Mapping[str, Verdict]
    review_text: str | None
    steps: tuple[Step, ...]
    output: Output
    path: Path
    text: str
    overrides: Mapping[str, Any]
    digest: str
    file: YamlFile
    strict: bool = False
    accept: tuple[Accept, ...] = ()
    fraction: float | None = None

    def fail(self, at: KeyPath, message: str) -> PlanError:
        """The error for something in the recipe that does not fit the data; it names the line of the key path."""
        return PlanError(str(self.file.fail(at, message)))


def load_recipe(path: str | Path, overrides: Sequence[str] = (), *, review_to_come: bool = False) -> Recipe:
    """Read and check a recipe.

    Args:
        path: the YAML file.
        overrides: ``key.path=value`` strings; a ``source.path`` among them is relative to the current folder.
        review_to_come: the review file that the recipe names may still be made; until then there are no verdicts.

    Raises:
        RecipeError: with file, line, expectation and the nearest known name.
    """
    path = Path(path).expanduser()
    if path.is_dir() or (path.suffix.lower() in (".json", ".xml", ".csv") and not holds_recipe(path)):
        raise RecipeError(
            f"{path} is {'a folder' if path.is_dir() else 'data'}; expected a recipe, a YAML file. If it is your data, "
            f"write a recipe for it: augforge init {path}"
        )
    file = read_yaml(path, RecipeError, form=_FORM)
    source = _without_path(file.data.get("source"))
    declared = deepcopy({**file.data, "source": source})  # --set changes the data in place
    changed = dict(override(file, text) for text in overrides)
    body = file.check(RecipeKeys, file.data)
    review_file = None if body.review is None else path.parent / Path(body.review).expanduser()
    review_text, review = _read_review(review_file, file, review_to_come)
    verdicts = verdicts_json(review)
    return Recipe(
        name=body.name,
        seed=body.seed,
        source=_source(file, body.source, Path() if "source.path" in changed else path.parent),
        split=body.split,
        metadata=body.metadata,
        review=review,
        review_text=review_text,
        steps=read_steps(file, body.steps, body.output.size, body.output.fit),
        output=body.output,
        path=path,
        text=file.text,
        overrides=changed,
        digest=digest(declared, verdicts) if verdicts else digest(declared),
        file=file,
        strict=body.strict,
        accept=body.accept,
        fraction=body.fraction,
    )


_FORM = "{name: mine, source: {format: coco, path: data}}"
_REVIEW_FORM = "samples: {NAME: {verdict: keep, why: a scar}}"


def holds_recipe(path: Path) -> bool:
    """Whether a file of JSON or YAML has the keys of a recipe, though its name may be one that data has too."""
    if path.suffix.lower() not in (".json", ".yaml") or not path.is_file() or path.stat().st_size > MAX_BYTES:
        return False
    try:
        text = read_yaml_text(path, RecipeError)
        data = json.loads(text) if path.suffix.lower() == ".json" else parse_yaml(text, str(path), RecipeError).data
    except (RecipeError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and "name" in data and isinstance(data.get("source"), dict)


def _read_review(path: Path | None, recipe: YamlFile, to_come: bool) -> tuple[str | None, Mapping[str, Verdict]]:
    """A review file, ``samples: {ID007/image1: {verdict: drop, why: nail art}}``: its text, and the verdicts.

    A file that is empty, or holds comments alone, says nothing yet, as if there were none.
    """
    if path is None or (to_come and not path.exists()):
        return None, {}
    if not path.exists():
        raise recipe.fail(
            ("review",),
            f"there is no file {path}; expected verdicts, such as '{_REVIEW_FORM}'. Make a first one: "
            f"augforge outliers {recipe.name} --write-review {path}",
        )
    if path.is_file() and path.stat().st_size <= MAX_BYTES and is_blank(path.read_bytes()):
        return None, {}
    file = read_yaml(path, RecipeError, form=_REVIEW_FORM)
    return file.text, _composed(file.check(ReviewFile, file.data).samples)


def is_blank(text: bytes) -> bool:
    """Whether a file of YAML holds nothing but comments."""
    return all(not line.strip() or line.lstrip().startswith(b"#") for line in text.splitlines())


def parse_review(text: str, name: str) -> Mapping[str, Verdict]:
    """The verdicts of a review file's text, such as the one in a manifest; messages call it ``name``."""
    file = parse_yaml(text, name, RecipeError)
    return _composed(file.check(ReviewFile, file.data).samples)


def _composed(verdicts: Mapping[str, Verdict]) -> Mapping[str, Verdict]:
    """Verdicts by names as samples have them, composed (NFC), however the file writes their accents."""
    return {normalize("NFC", name): verdict for name, verdict in verdicts.items()}


def verdicts_json(review: Mapping[str, Verdict]) -> dict[str, dict[str, str]]:
    """Verdicts as plain dicts, whose digest is that of a review: white space and comments do not count."""
    return {name: verdict.model_dump() for name, verdict in review.items()}


def _without_path(source: Any) -> Any:
    """A source's options without the path of its data, which is no part of a recipe's digest; nested for a union."""
    if not isinstance(source, dict):
        return source
    plain = {key: value for key, value in source.items() if key != "path"}
    members = plain.get("sources")
    return {**plain, "sources": list(map(_without_path, members))} if isinstance(members, list) else plain


def _source(file: YamlFile, data: dict[str, Any], base: Path) -> Source:
    model = SOURCES[choose(file, data, "format", ("source",), SOURCES)]
    source = file.check(model, data, ("source",))
    if "://" in source.path:
        return source
    return source.model_copy(update={"path": str(base / Path(source.path).expanduser())})
