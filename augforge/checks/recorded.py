"""Checks of what is recorded: recipes parse, and digests and versions are those of recipe, source and dataset."""

from __future__ import annotations

import os
from collections.abc import Iterator
from shlex import quote
from typing import TYPE_CHECKING

from augforge.checks.core import Check, Finding, NotChecked, Result, findings_of_error
from augforge.checks.subject import Subject
from augforge.errors import AugforgeError, PlanError, RecipeError, SourceError, nearest, some
from augforge.files import is_url
from augforge.store.manifest import read_manifest

if TYPE_CHECKING:
    from augforge.engine.explaining import Explanation


def _rebuild(subject: Subject) -> str:
    register = " --register" if subject.recorded else ""
    return f"augforge build {quote(str(subject.recipe_path))}{register}"


def find_recipe_problems(subject: Subject) -> Iterator[Result]:
    """The recipe can be understood, and is the one that registry and dataset were made by."""
    if subject.recipe_path is None:
        yield NotChecked("nothing says where its recipe lies. Check the recipe, or a registry that names it")
        return
    try:
        recipe = subject.recipe
    except RecipeError as error:
        yield from findings_of_error(error, "broken recipe", "Correct the recipe")
        return
    if recipe.name != subject.name:
        file, line = subject.recorded.place("name") if subject.recorded else (str(subject.recipe_path), None)
        yield Finding(
            "other name",
            f"{subject.recipe_path} makes dataset '{recipe.name}', not '{subject.name}'",
            f"Register it under its name: {_rebuild(subject)}; then take the entry '{subject.name}' out",
            file=file,
            line=line,
            names=(subject.name, recipe.name),
        )
    yield from _recipe_digests(subject, recipe.digest)


def _recipe_digests(subject: Subject, digest: str) -> Iterator[Result]:
    recorded, manifest = subject.recorded, subject.manifest
    if recorded is not None and recorded.dataset.recipe_digest != digest:
        file, line = recorded.place("recipe_digest")
        message = f"{subject.recipe_path} was changed since {subject.name} was registered (its digest is {digest})"
        yield Finding("stale recipe", message, f"Build it again: {_rebuild(subject)}", "error", file, line)
    elif manifest is not None and manifest.recipe.digest != digest:
        message = f"{subject.recipe_path} was changed since version {manifest.version} of {subject.name} was built"
        remedy = f"Build it again: {_rebuild(subject)}"
        yield Finding("stale recipe", message, remedy, file=str(subject.recipe_path))


def find_source_problems(subject: Subject) -> Iterator[Result]:
    """Registry, dataset and the data that lies here have one digest of the source."""
    recorded, manifest = subject.recorded, subject.manifest
    entry = recorded.source if recorded else None
    registered = manifest if recorded and manifest and manifest.version == recorded.dataset.version else None
    if registered is not None and entry is not None and registered.source.digest != entry.digest:
        yield _stale_source(subject, f"version {registered.version} was made from another state of '{entry.name}'")
    expected = entry.digest if entry else manifest.source.digest if manifest else None
    if reason := _cannot_list(subject):
        yield reason
        return
    try:
        found = subject.source_table
    except (SourceError, PlanError) as error:
        where = "Correct the data or the recipe; augforge build names the same fault"
        yield from findings_of_error(error, "broken source", where)
        return
    if expected is None:
        yield NotChecked("neither a registry nor a dataset says which data the recipe was built from")
    elif found.digest != expected:
        source, count = subject.recipe.source, len(found.rows)
        path = source.path if is_url(source.path) else os.path.normpath(source.path)
        yield _stale_source(subject, f"the data at {path} was changed: its digest is {found.digest}, {count} samples")


def _cannot_list(subject: Subject) -> NotChecked | None:
    """Why the source cannot be listed."""
    try:
        missing = subject.missing_data
    except RecipeError:
        return NotChecked("the recipe cannot be understood", "undecided")
    except AugforgeError as error:
        return NotChecked(str(error))
    return NotChecked(f"the source does not lie at {some(missing, 3)}") if missing else None


def _stale_source(subject: Subject, message: str) -> Finding:
    file, line = subject.recorded.place("source") if subject.recorded else (None, None)
    name = subject.recorded.dataset.source if subject.recorded else subject.name
    return Finding("stale source", message, f"Build it again: {_rebuild(subject)}", "error", file, line, (name,))


def find_version_problems(subject: Subject) -> Iterator[Result]:
    """The recorded version is the one that lies here, and a build would give it again."""
    different = list(_recorded_version(subject))
    yield from different or _foreseen_version(subject)


def _recorded_version(subject: Subject) -> Iterator[Result]:
    recorded, manifest = subject.recorded, subject.manifest
    if recorded is None or subject.version is not None or manifest is None:
        return
    entry = recorded.dataset
    if manifest.name != subject.name:
        message = f"{subject.place} holds dataset '{manifest.name}', not '{subject.name}'"
        remedy = f"Build it into a folder of its own: {_rebuild(subject)}"
        yield Finding("other name", message, remedy, "error", *subject.where, (subject.name, manifest.name))
        return
    current = manifest.version if is_url(subject.place) else read_manifest(subject.dataset.folder).version
    if current != entry.version:
        message = f"version {entry.version} is registered, but {current} is the current one in {subject.place}"
        remedy = f"Register it: {_rebuild(subject)}; or go back: augforge checkout {subject.place} {entry.version}"
        yield Finding("stale version", message, remedy, "error", *subject.where, (entry.version, current))
    elif manifest.splits != entry.splits:
        file, line = recorded.place("splits")
        message = f"the registry says {entry.splits} of version {current}, its manifest {manifest.splits}"
        yield Finding("stale version", message, f"Register it again: {_rebuild(subject)}", file=file, line=line)


def _foreseen_version(subject: Subject) -> Iterator[Result]:
    """What a dry run says of a build of the current version, where source and dataset lie here."""
    if reason := _cannot_list(subject):
        yield reason
        return
    manifest = subject.manifest
    if is_url(subject.place) or subject.version is not None or manifest is None:
        yield NotChecked("only a build of a current version in a folder can be foreseen", "undecided")
        return
    if _digests_differ(subject):
        yield NotChecked("recipe or source were changed, which is told above", "undecided")
        return
    from augforge.engine.explaining import explain_opened  # with it the engine, which most checks do without

    try:
        plan = explain_opened(subject.opened)
    except (SourceError, PlanError):
        yield NotChecked("the source cannot be listed", "undecided")
        return
    yield from _verdict(subject, plan)


def _digests_differ(subject: Subject) -> bool:
    """Whether recipe or source are not those of the current version, so that another version is no surprise."""
    manifest = subject.manifest
    try:
        found = (subject.recipe.digest, subject.source_table.digest)
    except (SourceError, PlanError):
        return True
    return manifest is None or found != (manifest.recipe.digest, manifest.source.digest)


def _verdict(subject: Subject, plan: Explanation) -> Iterator[Result]:
    if plan.unchanged:
        return
    if plan.unchanged is None:
        yield NotChecked(f"whether a build would give version {plan.version} again {plan.version_note}", "undecided")
        return
    counts = {name: count for name, count in plan.samples.items() if name in ("added", "removed", "changed") and count}
    changes = ", ".join(f"{count} samples {name}" for name, count in counts.items())
    other = f" but {plan.next_version}" if plan.next_version else ""
    message = f"a build would not give version {plan.version} again{other}{f': {changes}' if changes else ''}"
    file, line = subject.recorded.place("version") if subject.recorded else (str(subject.recipe_path), None)
    remedy = (
        f"See why: augforge explain {quote(str(subject.recipe_path))} --out {quote(str(subject.place))}; "
        f"then {_rebuild(subject)}"
    )
    yield Finding("stale version", message, remedy, file=file, line=line)


def find_registry_problems(subject: Subject) -> Iterator[Result]:
    """The entry is the only one of its dataset, and names a source that the registry has."""
    recorded = subject.recorded
    if recorded is None:
        return
    name, source, remedy = subject.name, recorded.dataset.source, f"Register it again: {_rebuild(subject)}"
    if [each.get("name") for each in recorded.file.data["datasets"]].count(name) > 1:
        file, line = recorded.place("name")
        message, advice = f"{name} is registered twice, as a merge may leave it", f"Take one entry out. {remedy}"
        yield Finding("registered twice", message, advice, "error", file, line, (name,))
    if recorded.source is None:
        file, line = recorded.place("source")
        known = [str(each["name"]) for each in recorded.file.data.get("sources") or ()]
        message = f"{name} names source '{source}', which the registry does not have.{nearest(source, known)}"
        yield Finding("unknown source", message, remedy, "error", file, line, (source,))


CHECKS = [
    Check("registry", find_registry_problems, lambda subject: subject.recorded is not None),
    Check("recipe", find_recipe_problems),
    Check("source", find_source_problems),
    Check("version", find_version_problems, needs_dataset=True),
]
