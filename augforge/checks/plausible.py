"""The check of what is implausible about a source and its splits; see `augforge.sources.plausibility`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from augforge.cache.filecache import FileCache
from augforge.checks.core import Check, Finding, NotChecked, Result, findings_of_error
from augforge.checks.subject import Subject
from augforge.errors import AugforgeError, RecipeError, SourceError
from augforge.files import is_url
from augforge.recipe.recipe import Recipe

if TYPE_CHECKING:
    from augforge.sources import Source
    from augforge.sources.listing import Finding as Implausible


def find_implausible(subject: Subject) -> Iterator[Result]:
    """What a build of the recipe would tell; pictures are compared too, if the recipe was asked for by name."""
    if subject.source is not None:
        yield from _of_source(subject.source, subject)
        return
    try:
        missing = subject.missing_data
    except AugforgeError:
        yield NotChecked("the recipe cannot be understood", "undecided")
        return
    if missing or is_url(subject.place):
        yield NotChecked(f"the source does not lie at {', '.join(missing)}" if missing else "the dataset is at a URL")
        return
    try:
        opened, recipe = subject.opened, _comparing(subject)
    except (AugforgeError, OSError):
        yield NotChecked("the source cannot be listed", "undecided")
        return
    from augforge.engine.findings import gather_findings  # the engine, which most checks do without

    found = gather_findings(recipe, opened.listing, opened.table, opened.files)
    if opened.folder.exists():
        opened.files.save()
    strict = subject.strict or recipe.strict
    for each in found.open:
        yield _as_result(each, "error" if strict else "warning", str(subject.recipe_path))


def _comparing(subject: Subject) -> Recipe:
    """The recipe, with pictures compared if it was asked for by name or every sample is to be decoded."""
    recipe = subject.recipe
    if not (subject.named or subject.pixels):
        return recipe
    return replace(recipe, split=recipe.split.model_copy(update={"compare": "pictures"}))


def _of_source(source: Source, subject: Subject) -> Iterator[Result]:
    """What is implausible about a source without a recipe, and about the splits that it has itself."""
    from augforge.sources.plausibility.pictures import find_alike_pictures  # loads OpenCV
    from augforge.sources.plausibility.splits import ClassesBySplit, find_shared_images

    cache = FileCache()
    try:
        listing = source.scan(cache)
    except (SourceError, RecipeError) as error:
        yield from findings_of_error(error, "broken source", "Correct the data, or the options of the source")
        return
    splits = {record.name: record.split or "train" for record in listing.records}
    classes = ClassesBySplit()
    for record in listing.records:
        classes.see(record, splits[record.name])
    found = [
        *listing.all_findings,
        *classes.findings(),
        *find_shared_images(listing.records, splits),
        *find_alike_pictures(source, listing.records, splits, cache),
    ]
    for each in found:
        yield _as_result(each, "error" if subject.strict else "warning", str(source.root))


def _as_result(found: Implausible, level: Literal["error", "warning"], file: str) -> Finding:
    return Finding(found.kind, found.message, found.remedy, level, file, None, found.names)


PLAUSIBLE = Check(
    "plausible", find_implausible, lambda subject: subject.recipe_path is not None or subject.source is not None
)
