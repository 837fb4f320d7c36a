"""What a version records of its own build: the recipe with its overrides and review, and where the source lay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from augforge.errors import DatasetError
from augforge.files import is_url
from augforge.recipe.recipe import Recipe, load_recipe
from augforge.store.log import last_build
from augforge.store.manifest import Manifest
from augforge.yamlfile import parse_yaml


def find_source(folder: Path, manifest: Manifest, source: str | None = None) -> str:
    """Where the source of a version lies: at the place given, or where its last build found it.

    DatasetError if nobody says so, or there is nothing.
    """
    path = source or last_build(folder, manifest.version).get("source")
    if path is None:
        raise DatasetError(f"{folder} does not say where its source lies. Say it: --source PATH")
    if is_url(path):
        return str(path)
    if not Path(path).expanduser().exists():
        raise DatasetError(
            f"the source is not at {path}. Start in the folder that the dataset was built in, or say where the source "
            "lies: --source PATH"
        )
    return str(Path(path).expanduser().absolute())


def recorded_recipe(folder: Path, manifest: Manifest, source: str, scratch: Path) -> Recipe:
    """The recipe of a version with what ``--set`` changed, reading the source from another place.

    Args:
        folder: of the dataset.
        manifest: of the version.
        source: where the source lies.
        scratch: a folder for the recipe and the review file while they are read.
    """
    entry, text = last_build(folder, manifest.version), manifest.recipe.text
    # In format 1 the manifest does not have the overrides, but the log may.
    recorded = manifest.recipe.overrides if manifest.format > 1 else entry.get("overrides") or {}
    overrides: dict[str, Any] = {**recorded, "source.path": source}
    review = {**parse_yaml(text, "recipe", DatasetError).data, **overrides}.get("review")
    if manifest.review is not None:
        overrides["review"] = "review.yaml"
        (scratch / "review.yaml").write_text(manifest.review.text, encoding="utf-8", newline="\n")
    elif review is not None:  # a version of format 1 does not hold the file, which lies beside the recipe
        overrides["review"] = str((Path(entry.get("recipe") or "").parent / Path(review).expanduser()).absolute())
    path = scratch / f"{manifest.name}.yaml"
    path.write_text(text, encoding="utf-8", newline="\n")
    return load_recipe(path, [f"{key}={json.dumps(value)}" for key, value in overrides.items()])
