"""Opening a desk: the recipe of a place, its review file, and its cases."""

from __future__ import annotations

import json
from collections.abc import Sequence
from os.path import relpath
from pathlib import Path

from augforge.engine.verdicts import VerdictFile
from augforge.errors import DatasetError, RecipeError, some
from augforge.files import is_url
from augforge.progress import Progress
from augforge.report.html.opening import is_recipe
from augforge.report.review.case import Case, merge_cases
from augforge.report.review.cases import gather_cases
from augforge.report.review.desk import Desk
from augforge.store.dataset import open_dataset
from augforge.store.log import last_build, recorded_overrides
from augforge.yamlfile import parse_scalar, read_yaml


def open_desk(
    place: str,
    file: Path | None,
    folder: Path | None,
    suspects: Sequence[Case] = (),
    *,
    every: bool,
    jobs: int,
    overrides: Sequence[str],
    progress: Progress,
) -> Desk:
    """Gather the cases of a recipe, or of the recipe that a dataset was built from.

    Args:
        place: the recipe, or the folder of a dataset.
        file: where verdicts are written; by default the file that the recipe names, or ``review.yaml`` beside it.
        folder: of the recipe's dataset; by default ``datasets/NAME``, or the dataset itself.
        suspects: cases that models found.
        every: all source images.
        jobs: worker processes.
        overrides: ``key.path=value`` strings that change the recipe.
        progress: is told how far the work is.

    Raises:
        DatasetError: the dataset does not say where its recipe is, or that is gone.
        AugforgeError: what reading the recipe and its source raises.
    """
    if not is_recipe(place):
        place, recorded, folder = _recipe_of(place, folder)
        overrides = [*recorded, *overrides]
    recipe = Path(place).expanduser()
    named = _review_named(recipe, overrides)
    chosen = VerdictFile(file or named or recipe.parent / "review.yaml")
    if named is not None and not named.exists():
        VerdictFile(named).create()  # else the recipe cannot be read
    out = None if folder is None else str(folder)
    opened, cases = gather_cases(place, out, jobs=jobs, overrides=overrides, every=every, progress=progress)
    known = {row.name for row in opened.table.rows}
    chosen.create()
    chosen.read()
    strangers = sorted({case.name for case in suspects} - known)
    return Desk(
        opened.recipe.name,
        merge_cases([*(case for case in suspects if case.name in known), *cases]),
        chosen,
        _note(recipe, chosen.path, named, strangers),
    )


def _recipe_of(place: str, folder: Path | None) -> tuple[str, list[str], Path]:
    """The recipe that a dataset was built from, what ``--set`` changed then, and the dataset's folder."""
    if is_url(place):
        raise DatasetError(
            f"{place} is a URL: its source images are not there. Review the recipe: augforge review RECIPE"
        )
    dataset = open_dataset(place)
    recipe = last_build(dataset.folder, dataset.version).get("recipe")
    if recipe is None or not Path(recipe).expanduser().is_file():
        missing = f"was built from {recipe}, which is not there" if recipe else "does not say which recipe made it"
        raise DatasetError(
            f"{place} {missing}. Start in the folder that it was built in, or name the recipe: augforge review RECIPE "
            f"--dataset {place}"
        )
    changed = recorded_overrides(dataset.folder, dataset.manifest)
    return recipe, [f"{key}={json.dumps(value)}" for key, value in changed.items()], folder or dataset.folder


def _review_named(recipe: Path, overrides: Sequence[str]) -> Path | None:
    """The review file that a recipe, or an override, names."""
    named = read_yaml(recipe, RecipeError).data.get("review")
    for key, _, value in (override.partition("=") for override in overrides):
        named = parse_scalar(value) if key == "review" else named
    return recipe.parent / Path(named).expanduser() if isinstance(named, str) else None


def _note(recipe: Path, chosen: Path, named: Path | None, strangers: Sequence[str]) -> str:
    """What a person has to know or to do; empty if the recipe names the file, and has all images that models found."""
    texts = []
    if named is None or named.absolute() != chosen.absolute():
        other = f", in place of {named}" if named is not None else ""
        place = relpath(chosen.absolute(), recipe.parent.absolute())
        texts.append(
            f"{recipe} does not name {chosen} yet. Builds follow the verdicts once it says `review: {place}`{other}"
        )
    if strangers:
        texts.append(f"models found images that the source of {recipe} does not have: {some(strangers)}")
    return ". ".join(texts)
