"""How the samples of a dataset were prepared, as a run records it: the preparing steps of its recipe, in plain JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from augforge.errors import AugforgeError, DatasetError, TrainError, first_line
from augforge.files import write_text
from augforge.ops.bound import BoundOp
from augforge.ops.core import OPS
from augforge.planning.preparing import preparing_steps
from augforge.planning.steps import Step, read_steps
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.log import built_recipe, last_build
from augforge.store.sides import sides_of

FILE = "preparation.json"
_FORMAT = 1
_MAX_CHAINED = 20
"""Recipes that continue one another by ``format: dataset``, at most; more are a ring."""


@dataclass(frozen=True, slots=True)
class PreparedStep:
    """A preparing step as a run records it, JSON-like: all that is needed to repeat it.

    Attributes:
        label: its name in the recipe, such as ``resize.2``.
        op, version, origin: the op that did it; the origin is a plugin's.
        occurrence: how many steps of the same op stood before it.
        params: all of its parameters, so that another default in a later version changes nothing.
        fitted: what was fitted on the training split, or None.
        classes: the class table that the step knew.
        seed: of the recipe, for what chance decides.
    """

    label: str
    op: str
    version: int
    origin: str
    occurrence: int
    params: dict[str, Any]
    fitted: Any
    classes: tuple[str, ...]
    seed: int

    @classmethod
    def of_step(cls, step: Step, dataset: Dataset, seed: int) -> PreparedStep:
        """The step of a dataset's recipe, with the version of the op that made the dataset."""
        bound, manifest = step.bound, dataset.manifest
        version = manifest.ops.get(bound.name, bound.op.version)
        origin = manifest.plugins.get(bound.name, "")
        params, fitted = bound.params.model_dump(mode="json"), manifest.fitted.get(bound.label)
        return cls(bound.label, bound.name, version, origin, bound.occurrence, params, fitted, dataset.classes, seed)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PreparedStep:
        """The step as the file holds it."""
        return cls(**{**data, "classes": tuple(data["classes"])})

    def __str__(self) -> str:
        return f"{self.op}@{self.version}"

    def bound(self) -> BoundOp:
        """The op with its parameters, as it is installed here. Raises TrainError if it is not, or refuses them."""
        if self.op not in OPS:
            origin = f" of the plugin {self.origin}" if self.origin else ""
            raise TrainError(
                f"images are prepared by {self}{origin}, which is not here. Name the plugin's file: --plugin FILE.py, "
                "install its package, or take images as they are: --as-is"
            )
        try:
            params = OPS[self.op].params.model_validate(self.params)
        except ValidationError as error:
            raise TrainError(
                f"images are prepared by {self}, and the {OPS[self.op]} that is installed does not take its parameters "
                f"({first_line(error)}). Install the version that built the dataset, or take images as they are: "
                "--as-is"
            ) from None
        return BoundOp(self.op, params, self.occurrence, self.fitted)

    def identity(self) -> list[Any]:
        """What two steps have in common that prepare alike; versions and fitted values may differ."""
        try:
            return [self.op, self.bound().params.declared()]
        except TrainError:
            return [self.op, self.params]

    def change(self) -> str:
        """How the op that is installed differs from the one that was recorded; empty if it does not.

        Raises TrainError if it is not installed.
        """
        op = self.bound().op
        now, then = f"{op.version}{op.origin and '+'}{op.origin}", f"{self.version}{self.origin and '+'}{self.origin}"
        if now == then:
            return ""
        return f"images are prepared by {op.name} {now}, and the model's were by {op.name} {then}: pixels may differ"


@dataclass(frozen=True, slots=True)
class Preparation:
    """How the held-out samples of a dataset were prepared.

    Attributes:
        name, version: of the dataset.
        steps: in order.
        left_out: label and reason of steps that act on samples, but cannot be repeated on new images.
        unknown: why nobody knows how samples were prepared; empty if it is known.
    """

    name: str
    version: str
    steps: tuple[PreparedStep, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    unknown: str = ""

    @classmethod
    def of_dataset(cls, dataset: Dataset, depth: int = 0) -> Preparation:
        """The preparation of a dataset, from the recipe in its manifest; of recipes in a chain, all steps."""
        own = cls(dataset.name, dataset.version)
        try:
            file = built_recipe(dataset.folder, dataset.manifest)
            output, seed = file.data.get("output") or {}, int(file.data.get("seed") or 0)
            steps = read_steps(file, file.data.get("steps") or (), output.get("size"), output.get("fit", "letterbox"))
            earlier = _earlier(dataset, file.data["source"], depth)
        except (AugforgeError, LookupError, TypeError, ValueError, AttributeError) as error:
            return replace(own, unknown=f"the recipe of {dataset.name} {dataset.version} cannot be read: {error}")
        prepared, left_out = preparing_steps(steps, sides=bool(sides_of(dataset.manifest).pairs))
        return replace(
            own,
            steps=(*earlier.steps, *(PreparedStep.of_step(step, dataset, seed) for step in prepared)),
            left_out=(*earlier.left_out, *((each.label, each.reason) for each in left_out)),
            unknown=earlier.unknown,
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Preparation:
        """The preparation as the file holds it."""
        steps = tuple(map(PreparedStep.from_json, data["steps"]))
        return cls(data["name"], data["version"], steps, tuple(map(tuple, data["left_out"])), data["unknown"])

    def identities(self) -> list[list[Any]]:
        """What datasets that were prepared alike have in common."""
        return [step.identity() for step in self.steps]

    def __str__(self) -> str:
        return ", ".join(step.label for step in self.steps) or "no step"


def _earlier(dataset: Dataset, source: Mapping[str, Any], depth: int) -> Preparation:
    """How the samples of a dataset's source were prepared: by nothing, unless the source is a dataset itself."""
    raw = Preparation(dataset.name, dataset.version)
    if source["format"] == "union" and any(member.get("format") == "dataset" for member in source["sources"]):
        return replace(raw, unknown=f"{dataset.name} {dataset.version} joins datasets, each of a recipe of its own")
    if source["format"] != "dataset":
        return raw
    place = last_build(dataset.folder, dataset.version).get("source")
    try:
        if place is None or depth >= _MAX_CHAINED:
            raise DatasetError("its log does not say where")
        return Preparation.of_dataset(open_dataset(place, source.get("version"), check=False), depth + 1)
    except DatasetError as error:
        fact = f"{dataset.name} {dataset.version} was made of another dataset, which cannot be read: {error}"
        return replace(raw, unknown=fact)


def write_preparations(folder: Path, preparations: Sequence[Preparation]) -> None:
    """Write how the datasets of a run were prepared into its folder."""
    content = {"format": _FORMAT, "datasets": [asdict(each) for each in preparations]}
    write_text(folder / FILE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_preparations(folder: Path, datasets: Sequence[Mapping[str, str]]) -> tuple[Preparation, ...]:
    """How each dataset of a run was prepared.

    A run of an earlier version recorded nothing: its datasets are read, if they are there still.

    Args:
        folder: of the run.
        datasets: path, name and version of each dataset that it was trained on.

    Raises:
        TrainError: the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return tuple(map(_read_dataset, datasets))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = [Preparation.from_json(data) for data in content["datasets"]]
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise TrainError(
            f"{path} is damaged ({first_line(error)}); expected what augforge train wrote. Delete it to read the "
            "preparation from the dataset instead, or take images as they are: --as-is"
        ) from None
    places = {entry["version"]: entry for entry in datasets}
    again = {each.version for each in found if each.unknown} & places.keys()  # a plugin's op may be known by now
    return tuple(_read_dataset(places[each.version]) if each.version in again else each for each in found)


def _read_dataset(entry: Mapping[str, str]) -> Preparation:
    try:
        return Preparation.of_dataset(open_dataset(entry["path"], entry["version"], check=False))
    except AugforgeError as error:
        fact = f"the run recorded no preparation, and its dataset cannot be read: {first_line(error)}"
        return Preparation(entry["name"], entry["version"], unknown=fact)


def differing(preparations: Sequence[Preparation]) -> Iterator[str]:
    """What to say if the datasets of a run were not prepared alike."""
    known = [each for each in preparations if not each.unknown]
    if any(each.identities() != known[0].identities() for each in known):
        listed = "; ".join(f"{each.name} by {each}" for each in known)
        yield (
            f"the datasets were prepared differently: {listed}. The model learns all of them, but new images can be "
            "prepared in one way alone: predict will ask for a dataset prepared as one of these, or for --as-is"
        )
