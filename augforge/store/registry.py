"""The registry, `data_manifest.yaml`: the sources and datasets that a repository stands for. CI checks it."""

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
    """A source: name, format, path, digest over the ids of its samples, their number, and the licence."""

    name: str
    format: str
    path: str
    digest: str
    samples: int
    licence: str | None = None


class RegisteredDataset(_Frozen):
    """A dataset: path and digest of its recipe, name of the source, the version built, and samples per split."""

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

    def with_entries(self, source: RegisteredSource, dataset: RegisteredDataset) -> Registry:
        """The registry with both added, or replacing entries of the same names; a source keeps its licence.

        Builds do not know the licence: somebody states it in the file, and it survives the next build.
        """
        before = next((s for s in self.sources if s.name == source.name), None)
        if before is not None and source.licence is None:
            source = source.model_copy(update={"licence": before.licence})
        return Registry(
            sources=_replace_entry(self.sources, source),
            datasets=_replace_entry(self.datasets, dataset),
        )


def read_registry(path: Path) -> Registry:
    """Read a registry; an empty one if there is no file. DatasetError with file and line for a wrong entry."""
    if not path.exists():
        return Registry()
    file = read_yaml(path, DatasetError)
    return file.check(Registry, file.data)


def write_registry(path: Path, registry: Registry) -> None:
    """Write a registry atomically."""
    write_text(path, _HEAD + dump_yaml(registry.model_dump()))


def _replace_entry(entries: list[Any], new: Any) -> list[Any]:
    return sorted([*(entry for entry in entries if entry.name != new.name), new], key=lambda entry: str(entry.name))
