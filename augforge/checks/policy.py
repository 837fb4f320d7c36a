"""The policy, `policy.yaml`: what a repository demands of its datasets. People write it; augforge only reads it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from augforge.errors import AugforgeError, DatasetError, nearest
from augforge.planning.steps import Strict
from augforge.yamlfile import KeyPath, YamlFile, read_yaml

POLICY = "policy.yaml"
EVERY = "*"
"""Stands for every class that has no number of its own."""
_SPLITS = ("train", "val", "test")

AtLeast = Annotated[int, Field(ge=0)]


class Drift(Strict):
    """How far classes may be from the baseline, as shares of the baseline's value, in each split."""

    area: Annotated[float, Field(ge=0)] | None = Field(
        None, description="largest change of the mean share of the image that a class covers where it is seen"
    )
    count: Annotated[float, Field(ge=0)] | None = Field(
        None, description="largest change of the number of samples in which a class is seen"
    )


class Rules(Strict):
    """What is demanded of a dataset. A key that is left out demands nothing."""

    min_samples: dict[str, AtLeast | dict[str, AtLeast]] = Field(
        default_factory=dict,
        description="for each split, in how many samples each class has to be seen at least: one number for all "
        "classes, or a number for each, where '*' stands for all others",
    )
    baseline: str | None = Field(None, description="the version to compare with: its tag, or the beginning of its name")
    max_drift: Drift = Field(Drift(), description="largest changes from the baseline; see below")
    max_rejected: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="largest share of rejected samples among the rejected and the finished ones"
    )
    licences: list[str] | None = Field(
        None, description="licences that a source may have, as the registry states them, such as CC0-1.0"
    )

    @model_validator(mode="after")
    def _check_baseline(self) -> Rules:
        if self.max_drift != Drift() and self.baseline is None:
            raise ValueError("max_drift needs a baseline; say which version to compare with, such as baseline: v1")
        return self


class PolicyKeys(Rules):
    """The policy: rules for all datasets, and other rules for some."""

    datasets: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="rules for single datasets, by name: each key replaces the same key of the rules for all",
    )


@dataclass(frozen=True)
class Policy:
    """A policy that was read.

    Attributes:
        file: for its lines.
        common: rules for datasets without rules of their own.
        own: rules of single datasets, complete.
    """

    file: YamlFile
    common: Rules
    own: Mapping[str, Rules] = field(default_factory=dict)

    def rules_for(self, dataset: str) -> Rules:
        """What is demanded of a dataset."""
        return self.own.get(dataset, self.common)

    def place(self, dataset: str, *keys: str) -> tuple[str, int | None]:
        """File and line of a rule for a dataset, as far as the keys stand in the file."""
        own: KeyPath = ("datasets", dataset, *keys)
        path = own if own[:3] in self.file.places else keys
        name, _, line = self.file.where(path).rpartition(":")
        return (name, int(line)) if line.isdecimal() and name else (self.file.name, None)

    def check_names(
        self, tables: Mapping[str, Collection[str] | None], complete: bool = True
    ) -> Iterator[AugforgeError]:
        """Errors for datasets and classes that do not exist.

        Args:
            tables: the class names of each dataset; None for one whose classes are not known here.
            complete: whether these are all datasets; otherwise unknown ones are no error.
        """
        for name in self.own if complete else ():
            if name not in tables:
                yield self.file.fail(("datasets", name), f"there is no such dataset.{nearest(name, tables)}")
        every = None if None in tables.values() else {name for table in tables.values() for name in table or ()}
        yield from self._unknown_classes((), self.common, every)
        for dataset, rules in self.own.items():
            if ("datasets", dataset, "min_samples") in self.file.places:
                yield from self._unknown_classes(("datasets", dataset), rules, tables.get(dataset))

    def _unknown_classes(self, at: KeyPath, rules: Rules, known: Collection[str] | None) -> Iterator[AugforgeError]:
        for split, numbers in rules.min_samples.items():
            for name in _names(numbers) if known is not None else ():
                if name not in (known or ()):
                    message = f"there is no class '{name}'.{nearest(name, known or ())}"
                    yield self.file.fail((*at, "min_samples", split, name), message)


def read_policy(path: Path) -> Policy:
    """Read a policy; DatasetError with file, line and the nearest name for a key, split or value that is wrong."""
    file = read_yaml(path, DatasetError)
    keys = file.check(PolicyKeys, file.data)
    common = {key: value for key, value in file.data.items() if key != "datasets"}
    _check_splits(file, (), keys.min_samples)
    own = {}
    for name, data in keys.datasets.items():
        at = ("datasets", name)
        own[name] = file.check(Rules, {**common, **data}, at)
        _check_splits(file, at, data.get("min_samples") or {})
    return Policy(file, Rules.model_validate(common), own)


def _check_splits(file: YamlFile, at: KeyPath, splits: Iterable[str]) -> None:
    for split in splits:
        if split not in _SPLITS:
            raise file.fail((*at, "min_samples", split), f"there is no split '{split}'.{nearest(split, _SPLITS)}")


def _names(numbers: int | Mapping[str, int]) -> Iterable[str]:
    return [] if isinstance(numbers, int) else [name for name in numbers if name != EVERY]
