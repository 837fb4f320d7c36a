"""The registry, `data_manifest.yaml`: which sources and datasets a repository stands for. CI checks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from augforge.errors import DatasetError
from augforge.files import write_text
from augforge.yamlfile import dump_yaml, read_yaml

REGISTRY = "data_manifest.yaml"
_HEAD = "# Which sources and datasets this repository stands for. Written by `augforge build --register`.\n"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RegisteredSource(_Frozen):
    """A source: name, how and where it is read, digest over its samples' ids, how many they are, and its licence."""

    name: str
    format: str
    path: str
    digest: str
    samples: int
    licence: str | None = None


class RegisteredDataset(_Frozen):
    """A dataset: its recipe's path and digest, the source by name, the version it gives, samples per split."""

    name: str
    recipe: str
    recipe_digest: str
    source: str
    version: str
    splits: dict[str, int]


class Registry(_Frozen):
    """Sources and datasets, each sorted by name."""

    sources: list[RegisteredSource] = []
    datasets: list[RegisteredDataset] = []

    def having(self, source: RegisteredSource, dataset: RegisteredDataset) -> Registry:
        """The registry with both entered in place of those of the same names; a stated licence is kept."""
        before = next((s for s in self.sources if s.name == source.name), None)
        if before is not None and source.licence is None:
            source = source.model_copy(update={"licence": before.licence})
        return Registry(
            sources=_entered(self.sources, source),
            datasets=_entered(self.datasets, dataset),
        )


def read_registry(path: Path) -> Registry:
    """The registry; an empty one where there is no file."""
    if not path.exists():
        return Registry()
    file = read_yaml(path, DatasetError)
    return file.check(Registry, file.data)


def write_registry(path: Path, registry: Registry) -> None:
    write_text(path, _HEAD + dump_yaml(registry.model_dump()))


def _entered(entries: list[Any], new: Any) -> list[Any]:
    return sorted([*(entry for entry in entries if entry.name != new.name), new], key=lambda entry: str(entry.name))
