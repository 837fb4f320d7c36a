"""From a folder of data to a recipe that builds: finding the format, choosing among several, writing the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from augforge.cache.filecache import FileCache
from augforge.errors import AugforgeError, RecipeError, SourceError
from augforge.files import replacing
from augforge.recipe.first import FirstRecipe, describe, name_for, relative_path, usual_name, write_first_recipe
from augforge.recipe.recipe import RecipeKeys, holds_recipe, load_recipe
from augforge.sources.detecting.matching import Match
from augforge.sources.detecting.sets import Found, find_sets
from augforge.yamlfile import parse_yaml

Choose = Callable[[str, Sequence[Match]], Match]
"""Asks which of several matches is meant; the first argument says what they are."""

STANDARD_OUTPUT = Path("-")


def start_recipe(
    place: Path,
    out: Path | None = None,
    *,
    name: str = "",
    format: str | None = None,
    choose: Choose | None = None,
    ask_name: Callable[[str], str] | None = None,
    force: bool = False,
    keep: bool = False,
) -> tuple[FirstRecipe, Path]:
    """Find out what lies at a place, and write a recipe for it.

    Args:
        place: a folder of annotated images, or a file such as a COCO JSON, data.yaml or a table.
        out: the recipe to write; by default NAME.yaml in the current folder. ``-`` writes nothing.
        name: of the dataset; by default that of the folder.
        format: the format, if it is known.
        choose: asks a person where several formats fit, or the folder holds several data sets. Without it the
            likeliest format is taken, and several data sets are an error.
        ask_name: asks a person for the name, and is given the usual one.
        force: write over a file that is there.
        keep: take a recipe that is there as it is, if it reads the same data.

    Returns:
        The recipe, and the file that it was written to.

    Raises:
        SourceError: no format fits, with the nearest three and what is missing; or there are several data sets.
        RecipeError: the file is there already, or the name cannot name a folder.
    """
    cache = FileCache()
    found = find_sets(place, cache, format)
    found, match = _chosen(found, choose, cache)
    name = name or (ask_name or str)(usual_name(match))
    target = out or Path(f"{name}.yaml")
    folder = Path() if target == STANDARD_OUTPUT else target.parent
    shown = f"{name}.yaml" if target == STANDARD_OUTPUT else str(target)
    first = write_first_recipe(found, match, relative_path(match.root, folder), shown, name, cache)
    written = parse_yaml(first.text, shown, RecipeError)
    written.check(RecipeKeys, written.data)  # a person may have asked for a name that names no folder
    if keep and target.is_file():
        _require_reading(target, place)
    elif target != STANDARD_OUTPUT:
        _write(first.text, target, force)
    return first, target


_DATA = frozenset({".json", ".xml", ".csv", ".xlsx", ".parquet"})
"""Suffixes of files that are data, and no recipes."""


def is_data(place: Path) -> bool:
    """Whether a place that stands where a recipe is expected is rather data: a folder, or a file of annotations."""
    named = place.suffix.lower() in _DATA or place.name == "data.yaml"
    return place.is_dir() or (place.is_file() and named and not holds_recipe(place))


def recipe_for(place: Path, folder: Path = Path()) -> Path:
    """The recipe that `augforge build FOLDER` builds: the one of that name which reads the folder, or a new one.

    Args:
        place: the folder of the data, or a file that stands for it.
        folder: where the recipe lies, or is written.

    Raises:
        SourceError, RecipeError: as `start_recipe` does; a recipe of the name that reads something else is an error.
    """
    target = Path(f"{name_for(place if place.is_dir() else place.parent)}.yaml")
    if target.is_file() and _reads(target, place):
        return target
    if folder == Path():
        return start_recipe(place, keep=True)[1]
    first, written = start_recipe(place, folder / target)
    known = Path(f"{first.name}.yaml")  # of a data set within the place, which has its own name
    if not known.is_file():
        return written
    _require_reading(known, place)
    return known


def _require_reading(recipe: Path, place: Path) -> None:
    """Raise RecipeError unless a recipe that is there reads the data at a place."""
    if not _reads(recipe, place):
        raise RecipeError(
            f"{recipe} exists, and does not read {place}, or has a mistake; it is left as it is. Build it: "
            f"augforge build {recipe}; or write one of another name: augforge init {place} --name OTHER"
        )


def _reads(recipe: Path, place: Path) -> bool:
    """Whether a recipe reads the data at a place, or what lies in it."""
    try:
        root = load_recipe(recipe).source.root.resolve()
    except AugforgeError:
        return False
    return place.resolve() in (root, *root.parents) or root in place.resolve().parents


def _chosen(found: Found, choose: Choose | None, cache: FileCache) -> tuple[Found, Match]:
    """The data set and the format to use."""
    if found.sets:
        if choose is None:
            raise _several_sets_error(found)
        chosen = choose("data sets", found.sets)
        found = find_sets(chosen.root, cache)
    if not found.fitting:
        raise _no_format_error(found)
    if choose is None or found.clear:
        return found, found.fitting[0]
    return found, choose("formats", found.fitting)


def _several_sets_error(found: Found) -> SourceError:
    lines = [f"  {each.root}: {each.format}, {describe(each.listing)}" for each in found.sets if each.listing]
    return SourceError(
        "\n".join(
            [
                f"{found.place} holds {len(lines)} data sets; expected one. Give one of them:",
                *lines,
                f"such as: augforge init {found.sets[0].root}",
                "Format union reads several as one: augforge sources union",
            ]
        )
    )


def _no_format_error(found: Found) -> SourceError:
    lines = [f"  {each.format}: {_what_is_missing(each, found.place)}" for each in found.others]
    return SourceError(
        "\n".join(
            [
                f"{found.place} fits no format. The nearest are these, with what stands in the way:",
                *lines,
                "augforge sources FORMAT shows the files that a format expects; --format FORMAT tries one alone.",
            ]
        )
    )


def _what_is_missing(match: Match, place: Path) -> str:
    """What stands in a format's way, in one line, without the drawing of its layout."""
    lines = match.problem.split("\n")
    fact = " ".join(line.strip(" -") for line in lines[: 2 if lines[0].endswith(":") else 1])
    text = fact.partition("; expected")[0] if fact.endswith("; expected") else fact
    return text.replace(f"{place}/", "")[:300]


def _write(text: str, target: Path, force: bool) -> None:
    if target.exists() and not force:
        raise RecipeError(
            f"{target} exists, and is left as it is. Choose another file with -o, or write over it with --force"
        )
    if not target.parent.is_dir():
        raise RecipeError(f"the folder {target.parent} does not exist. Make it first: mkdir -p {target.parent}")
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def summary_json(first: FirstRecipe, target: Path) -> dict[str, Any]:
    """What `augforge init` found and wrote, for machines."""
    match, listing = first.match, first.listing
    return {
        "recipe": None if target == STANDARD_OUTPUT else str(target),
        "name": first.name,
        "format": match.format,
        "path": str(match.root),
        "why": match.why,
        "options": dict(match.options),
        "samples": len(listing.records),
        "classes": list(listing.classes),
        "labels": list(listing.labels),
        "groups": first.groups,
        "splits": dict(first.splits),
        "findings": [finding.kind for finding in listing.all_findings],
        "refused": len(listing.refused),
        "text": first.text,
    }
