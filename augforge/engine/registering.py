"""Entering a build into the registry, `data_manifest.yaml` in the current folder."""

from __future__ import annotations

import os
from pathlib import Path

from augforge.errors import DatasetError, PlanError
from augforge.files import is_url
from augforge.recipe.recipe import Recipe
from augforge.sources.core import Source
from augforge.store.manifest import Manifest
from augforge.store.registry import REGISTRY, RegisteredDataset, RegisteredSource, read_registry, update_registry


def check_registrable(recipe: Recipe) -> None:
    """Refuse what could not be registered, before the build.

    Raises:
        PlanError: the recipe was changed on the command line: CI could not build its version again.
        DatasetError: the registry that is there has a wrong entry.
    """
    read_registry(Path(REGISTRY))
    if recipe.fraction is not None:
        raise PlanError(
            f"{recipe.path}: --register records a source as a whole, but `fraction` takes a share of it. Take the key "
            "out, or leave --register out"
        )
    changed = sorted(set(recipe.overrides) - {"source.path"})  # the registry records the path itself
    if changed:
        raise PlanError(
            f"--register records what the recipe file says, but --set changed {', '.join(changed)}. "
            "Write the change into the recipe, or leave --register out"
        )


def with_registered_licence(source: Source) -> tuple[Source, str | None]:
    """The source with the licence that the registry states for it, if the recipe states none; and a warning, or None.

    A person may state a licence in the registry in the current folder. It belongs to the source that lies at its path.
    """
    path = Path(REGISTRY)
    if source.stated_licence is not None or not path.exists():
        return source, None
    try:
        entries = read_registry(path).sources
    except DatasetError as error:
        return source, f"{error}. A licence that it may state for the source is left out"
    here = (source.format, _place(source.path))
    stated = {entry.licence for entry in entries if entry.licence and (entry.format, _place(entry.path)) == here}
    if len(stated) > 1:  # of several states of the folder, of which none need be the present one
        return source, f"{path} states several licences for {source.path}, so none is taken. Say it by source.licence"
    return (source.model_copy(update={"licence": stated.pop()}) if stated else source), None


def _place(path: str) -> str:
    return path if is_url(path) else str(Path(path).expanduser().resolve())


def register(recipe: Recipe, manifest: Manifest) -> None:
    """Write the recipe's source and dataset into the registry, beside what other processes register now."""
    name = Path(recipe.source.path).resolve().name
    source = RegisteredSource(
        name=name,
        format=manifest.source.format,
        path=_relative(recipe.source.path),
        digest=manifest.source.digest,
        samples=manifest.source.samples,
    )
    dataset = RegisteredDataset(
        name=manifest.name,
        recipe=_relative(recipe.path),
        recipe_digest=manifest.recipe.digest,
        source=name,
        version=manifest.version,
        splits=manifest.splits,
    )
    update_registry(Path(REGISTRY), lambda registry: registry.with_entries(source, dataset))


def _relative(path: str | Path) -> str:
    """A path as the registry holds it, relative to its folder and with slashes; a URL as it is."""
    return str(path) if "://" in str(path) else Path(os.path.relpath(path)).as_posix()
