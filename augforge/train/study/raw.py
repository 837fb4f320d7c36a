"""The raw data that a dataset was made of: its source, found again by what the dataset says of its build."""

from __future__ import annotations

from pathlib import Path

from augforge.errors import TrainError
from augforge.sources import SOURCES, Source
from augforge.store.dataset import Dataset
from augforge.train.built import built_recipe, last_build


def raw_source(dataset: Dataset, path: str | None = None) -> Source:
    """The source that a dataset was built from.

    Its options are those of the recipe in the manifest, with the overrides of the last build. Its place is the one of
    that build, which may be relative to the folder that `augforge build` was called in.

    Args:
        dataset: the dataset.
        path: where the source lies now, if not there.

    Raises:
        TrainError: nothing lies there.
    """
    file = built_recipe(dataset)
    options = file.data["source"]
    source = file.check(SOURCES[options["format"]], options, ("source",))
    return source.model_copy(update={"path": _place(dataset, path or last_build(dataset).get("source"))})


def _place(dataset: Dataset, path: str | None) -> str:
    if path is None:
        raise TrainError(f"{dataset.folder / 'log.jsonl'} does not say where the source lies. Say it: --source PATH")
    if "://" not in path and not Path(path).expanduser().exists():
        raise TrainError(
            f"the source of {dataset.folder} is not at {path}; its raw labels are what models are judged by. Start in "
            "the folder that the dataset was built in, or say where the source lies: --source PATH"
        )
    return str(Path(path).expanduser()) if "://" not in path else path
