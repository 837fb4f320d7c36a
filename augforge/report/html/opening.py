"""What a page is about: a dataset, named by its folder or URL, or by the recipe that it was built from."""

from __future__ import annotations

from pathlib import Path

from augforge.engine.opening import dataset_folder
from augforge.errors import DatasetError
from augforge.files import is_url
from augforge.recipe.recipe import load_recipe
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.tables import split_place

RECIPES = (".yaml", ".yml")


def open_shown(place: str, version: str | None = None) -> tuple[Dataset, str]:
    """The dataset of a place, and something to say about it, or nothing.

    Args:
        place: ``FOLDER``, ``FOLDER@VERSION``, the same of a URL, or a recipe, whose dataset is ``datasets/NAME``.
        version: a version other than the current one.

    Raises:
        DatasetError: there is no dataset, or the recipe was not built yet.
        RecipeError: the recipe is wrong.
    """
    if is_recipe(place):
        return _open_built(Path(place).expanduser(), version)
    folder, named = split_place(place)
    return open_dataset(folder, version or named), ""


def is_recipe(place: str) -> bool:
    """Whether a place names a file of YAML, and no folder or URL."""
    return not is_url(place) and place.lower().endswith(RECIPES) and not Path(place).expanduser().is_dir()


def _open_built(path: Path, version: str | None) -> tuple[Dataset, str]:
    recipe = load_recipe(path)
    folder = dataset_folder(None, recipe.name)
    if not (folder / "manifest.yaml").exists():
        raise DatasetError(
            f"{path} was not built yet: there is no dataset in {folder}. Build it: augforge build {path}; or name the "
            "folder that it was built to"
        )
    dataset = open_dataset(folder, version)
    same = dataset.manifest.recipe.digest == recipe.digest
    return (
        dataset,
        "" if same else f"{path} was changed since version {dataset.version} was built; this shows the version",
    )


def open_against(place: str | None, shown: Dataset) -> Dataset | None:
    """What a dataset is compared with: another place, or, if there is none, a version of its own; or nothing."""
    if place is None:
        return None
    folder, version = split_place(place)
    if version is None and not is_url(place) and not Path(place).expanduser().exists():
        return open_dataset(shown.remote.url if shown.remote else shown.folder, place)
    return open_dataset(folder, version)
