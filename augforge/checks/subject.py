"""A subject of the checks: a dataset, its recipe, its source, and what is recorded of them, as far as they are here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from augforge.cache.filecache import FileCache
from augforge.checks.policy import Policy, Rules
from augforge.errors import AugforgeError, DatasetError
from augforge.files import is_url
from augforge.recipe.recipe import Recipe, load_recipe
from augforge.report.provenance import Provenance
from augforge.sources import Source
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.manifest import Manifest, read_manifest, versions
from augforge.store.registry import RegisteredDataset, RegisteredSource
from augforge.yamlfile import YamlFile

if TYPE_CHECKING:
    from augforge.engine.opening import Opened
    from augforge.engine.sourcetable import SourceTable


@dataclass(frozen=True)
class Recorded:
    """What a registry says of a dataset.

    Attributes:
        file: the registry, for its lines.
        number: of the dataset's entry, from 0.
        dataset: the entry.
        source: the source that it names; None if the registry has none of that name.
    """

    file: YamlFile
    number: int
    dataset: RegisteredDataset
    source: RegisteredSource | None

    def place(self, key: str) -> tuple[str, int | None]:
        """File and line of a key of the entry."""
        name, _, line = self.file.where(("datasets", self.number, key)).rpartition(":")
        return name, int(line)

    @property
    def folder(self) -> Path:
        """The registry's folder, which its paths are relative to."""
        return Path(self.file.name).parent


@dataclass(frozen=True)
class Subject:
    """What the checks look at. Everything is read when it is first asked for, and once.

    Attributes:
        name: of the dataset.
        place: folder or URL where the dataset lies, or would lie.
        version: the one that was asked for; None for the recorded one, if it is there, else the current one.
        recipe_path: the recipe's file, if one is known.
        recorded: what the registry says.
        policy: what is demanded.
        pixels: whether every sample is to be decoded.
        log_source: where the last build found the source.
        source: a source that is checked alone, without recipe and dataset.
        named: whether the recipe was asked for by name, and not as one of a registry.
        strict: whether what is implausible is an error.
    """

    name: str
    place: str
    version: str | None = None
    recipe_path: Path | None = None
    recorded: Recorded | None = None
    policy: Policy | None = None
    pixels: bool = False
    log_source: str | None = None
    source: Source | None = None
    named: bool = False
    strict: bool = False

    @property
    def rules(self) -> Rules:
        """What the policy demands of this dataset."""
        return self.policy.rules_for(self.name) if self.policy else Rules()

    @property
    def where(self) -> tuple[str, int | None]:
        """File and line to show for what concerns the dataset as a whole: the registered version, or the manifest."""
        return self.recorded.place("version") if self.recorded else (f"{self.place}/manifest.yaml", None)

    @cached_property
    def has_dataset(self) -> bool:
        """Whether the dataset lies here: a URL was asked for, so it should."""
        return is_url(self.place) or (Path(self.place) / "manifest.yaml").exists()

    @cached_property
    def dataset(self) -> Dataset:
        """The version that is checked. DatasetError if it cannot be opened."""
        return open_dataset(self.place, self.opened_version)

    @cached_property
    def opened_version(self) -> str | None:
        """The version that is checked, as `open_dataset` takes it: None for the current one."""
        if self.version is not None or self.recorded is None or is_url(self.place):
            return self.version
        folder, wanted = Path(self.place), self.recorded.dataset.version
        current = read_manifest(folder).version  # read first, since damage to it must show
        return wanted if wanted != current and wanted in versions(folder) else None

    @cached_property
    def provenance(self) -> Provenance:
        """What every sample of that version was made of. DatasetError if it cannot be read."""
        return Provenance(self.dataset)

    @property
    def manifest(self) -> Manifest | None:
        """The manifest of that version; None if there is none that can be read, which another check tells."""
        try:
            return self.dataset.manifest if self.has_dataset else None
        except DatasetError:
            return None

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe as the dataset was built by it, reading its source from where that lies.

        What is registered was built without overrides. RecipeError if it cannot be understood.
        """
        if self.recipe_path is None:
            raise DatasetError(f"nothing says which recipe {self.name} was made by")
        changed = {} if self.recorded or not self.manifest else self.manifest.recipe.overrides
        overrides = [f"{key}={json.dumps(value)}" for key, value in changed.items()]
        recipe = load_recipe(self.recipe_path, overrides)
        if not self._missing_data(recipe.source):
            return recipe
        elsewhere = (load_recipe(self.recipe_path, [*overrides, f"source.path={path}"]) for path in self._elsewhere())
        return next(elsewhere, recipe)

    def _elsewhere(self) -> Iterator[Path]:
        """Where registry and log say that the source was, if it lies there."""
        registered = self.recorded.source.path if self.recorded and self.recorded.source else None
        folder = self.recorded.folder if self.recorded else Path()
        for path in (registered and str(folder / registered), self.log_source):
            if path and not is_url(path) and Path(path).exists():
                yield Path(path).absolute()

    @cached_property
    def missing_data(self) -> list[str]:
        """Folders of the recipe's source that do not lie here."""
        return self._missing_data(self.recipe.source)

    def _missing_data(self, source: Source) -> list[str]:
        members = [member.source for member in getattr(source, "members", ())]
        missing = [path for member in members for path in self._missing_data(member)]
        return missing + ([] if is_url(source.path) or source.root.exists() else [os.path.normpath(source.path)])

    @cached_property
    def opened(self) -> Opened:
        """The recipe with its source listed, beside the dataset in its folder. SourceError, PlanError as in a build."""
        from augforge.engine.opening import open_recipe  # the engine, which most checks do without

        return open_recipe(self.recipe, Path(self.place), remember=False, enforce=False)

    @cached_property
    def source_table(self) -> SourceTable:
        """The rows of the source, which lies here. SourceError, PlanError as in a build."""
        from augforge.engine.opening import list_source
        from augforge.engine.sourcetable import source_table

        if not is_url(self.place):
            return self.opened.table
        return source_table(list_source(self.recipe, FileCache()), self.recipe)

    @cached_property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of classes and labels; None if neither dataset nor recipe says them here."""
        if self.manifest is not None:
            return (*self.manifest.classes, *self.manifest.labels)
        try:
            return self.recipe.source.classes
        except AugforgeError:
            return None
