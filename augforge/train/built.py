"""What a dataset says about its own build: the recipe in its manifest and the last entry of its log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from augforge.errors import TrainError
from augforge.store.log import built_recipe as recipe_of
from augforge.store.log import last_build as last_entry
from augforge.yamlfile import YamlFile

if TYPE_CHECKING:
    from augforge.sources.core import Source
    from augforge.store.dataset import Dataset


def built_recipe(dataset: Dataset) -> YamlFile:
    """The recipe of the manifest, with the overrides of the last build."""
    return recipe_of(dataset.folder, dataset.manifest, TrainError)


def last_build(dataset: Dataset) -> dict[str, Any]:
    """The last log entry of the dataset's version; empty if there is none."""
    return last_entry(dataset.folder, dataset.version)


def raw_source(dataset: Dataset, path: str | None = None) -> Source:
    """The source that a dataset was built from, which holds the raw images and labels.

    Its options are those of the recipe in the manifest, with the overrides of the last build. Its path is the one of
    that build, which may be relative to the folder in which `augforge build` was called.

    Args:
        dataset: the dataset.
        path: where the source is now, if it was moved.

    Raises:
        TrainError: there is nothing at that path.
    """
    from augforge.sources import SOURCES  # the only place where the trainer reaches a data set's format

    file = built_recipe(dataset)
    options = file.data["source"]
    source = file.check(SOURCES[options["format"]], options, ("source",))
    return source.model_copy(update={"path": _source_path(dataset, path or last_build(dataset).get("source"))})


def _source_path(dataset: Dataset, path: str | None) -> str:
    if path is None:
        raise TrainError(f"{dataset.folder / 'log.jsonl'} does not say where the source lies. Say it: --source PATH")
    if "://" in path:
        return path
    if not Path(path).expanduser().exists():
        raise TrainError(
            f"the source of {dataset.folder} is not at {path}; its raw labels are what models are judged by. Start in "
            "the folder that the dataset was built in, or say where the source lies: --source PATH"
        )
    return str(Path(path).expanduser())
