"""What `augforge check` is asked about: a registry, a dataset or a recipe, and the policy that belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from augforge.checks.core import Finding, Outcome, findings_of_error
from augforge.checks.policy import POLICY, Policy, read_policy
from augforge.checks.subject import Recorded, Subject
from augforge.errors import AugforgeError, DatasetError, RecipeError
from augforge.files import is_url
from augforge.recipe.recipe import load_recipe
from augforge.sources import SOURCES
from augforge.store.dataset import open_dataset
from augforge.store.log import last_build
from augforge.store.manifest import read_manifest, versions
from augforge.store.registry import REGISTRY, Registry, read_registry, read_registry_file
from augforge.store.tables import split_place
from augforge.store.tags import read_tags
from augforge.yamlfile import YamlFile, dump_yaml, override, parse_yaml, read_yaml

Read = TypeVar("Read")


class UsageError(AugforgeError):
    """The command line asks for something that does not exist."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to check.

    Attributes:
        policy: the policy's file; None for the one beside registry or recipe, if there is one.
        datasets: folder or URL in which the datasets of a registry lie; None for ``datasets`` beside it.
        pixels: decode every sample too.
        format: the format of a source, if the place is one.
        settings: ``key=value`` texts, the options of that source.
        strict: what is implausible is an error.
    """

    policy: Path | None = None
    datasets: str | None = None
    pixels: bool = False
    format: str | None = None
    settings: tuple[str, ...] = ()
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Targets:
    """The subjects of a check, and what came of reading registry and policy."""

    subjects: tuple[Subject, ...]
    first: tuple[Outcome, ...]


def find_targets(place: str | None, options: Options) -> Targets:
    """What to check.

    Args:
        place: a registry, a dataset (``FOLDER``, ``FOLDER@VERSION``, a URL) or a recipe; None for the registry in the
            current folder.
        options: how to check.

    Raises:
        UsageError: there is nothing there.
    """
    if options.format is not None:
        return _source(place, options.format, options)
    if options.settings:
        raise UsageError("--set gives options of a source, and no format of a source is named; add --format")
    if place is None and not Path(REGISTRY).exists():
        raise UsageError(f"there is no {REGISTRY} here. Name a registry, a dataset or a recipe to check")
    if options.policy is not None and not options.policy.is_file():
        raise UsageError(f"--policy {options.policy}: there is no such file")
    place = place or REGISTRY
    folder, version = split_place(place)
    path = Path(place).expanduser()
    if path.is_dir() and not (path / "manifest.yaml").exists() and (path / REGISTRY).exists():
        path = path / REGISTRY
    if is_url(place) or (Path(folder).expanduser().is_dir() and not path.is_file()):
        found = _dataset(folder, version)
        beside = [Path(), Path(folder).parent]
    elif not path.is_file():
        raise UsageError(f"{place}: there is no registry, dataset or recipe of that name")
    else:
        found = _registry(path, options) if _is_registry(path) else _recipe(path)
        beside = [path.parent, Path()]
    return _with_policy(found, options, beside)


def _is_registry(path: Path) -> bool:
    """Whether a file is a registry, by its name or else by its keys."""
    if path.name == REGISTRY:
        return True
    try:
        keys = read_yaml(path, DatasetError).data.keys()
    except DatasetError:
        return False
    return bool(keys) and keys <= {"sources", "datasets"}


def _try(check: str, path: Path, read: Callable[[], Read], kind: str, remedy: str) -> tuple[Read | None, Outcome]:
    """What a file holds, and the outcome of reading it."""
    try:
        return read(), Outcome(check, str(path), ())
    except AugforgeError as error:
        return None, Outcome(check, str(path), tuple(findings_of_error(error, kind, remedy)))


def _registry(path: Path, options: Options) -> Targets:
    """The datasets of a registry."""
    remedy = "Take the entry out, and register it again: augforge build RECIPE --register"
    found, outcome = _try("registry", path, lambda: read_registry_file(path), "broken registry", remedy)
    if found is None:
        return Targets((), (outcome,))
    registry, file = found
    base = options.datasets or str(path.parent / "datasets")
    subjects = []
    for number, entry in enumerate(registry.datasets):
        recipe = path.parent / entry.recipe
        recorded = _recorded(registry, file, number)
        subjects.append(Subject(entry.name, f"{base.rstrip('/')}/{entry.name}", recipe_path=recipe, recorded=recorded))
    subjects = [replace(each, pixels=options.pixels) for each in subjects]
    return Targets(tuple(subjects), (outcome,))


def _recorded(registry: Registry, file: YamlFile, number: int) -> Recorded:
    entry = registry.datasets[number]
    source = next((each for each in registry.sources if each.name == entry.source), None)
    return Recorded(file, number, entry, source)


def _find_recorded(matches: Callable[[Recorded], bool]) -> Recorded | None:
    """The entry of the registry in the current folder that matches; None if there is none, or it cannot be read."""
    path = Path(REGISTRY)
    try:
        registry, file = read_registry_file(path)
    except DatasetError:
        return None
    entries = (_recorded(registry, file, number) for number in range(len(registry.datasets)))
    return next(filter(matches, entries), None)


def _dataset(folder: str, version: str | None) -> Targets:
    """A dataset, with the recipe of its last build and what the registry in the current folder says of it."""
    try:
        manifest = open_dataset(folder).manifest if is_url(folder) else read_manifest(Path(folder), version)
    except DatasetError as error:
        if not is_url(folder) and not _has_version(Path(folder), version):
            raise UsageError(str(error)) from None
        finding = Finding("damaged dataset", str(error), "Repair it, or build it again", file=folder)
        return Targets((), (Outcome("whole", folder, (finding,)),))
    built = {} if is_url(folder) else last_build(Path(folder), manifest.version)
    recipe = Path(built["recipe"]) if built.get("recipe") and Path(built["recipe"]).is_file() else None
    recorded = _find_recorded(lambda each: each.dataset.name == manifest.name) if version is None else None
    if recorded is not None:
        recipe = recorded.folder / recorded.dataset.recipe
    place = folder.rstrip("/") or folder
    subject = Subject(manifest.name, place, version, recipe, recorded, log_source=built.get("source"))
    return Targets((subject,), ())


def _has_version(folder: Path, version: str | None) -> bool:
    """Whether a folder has files of this version, damaged or not."""
    if version is None:
        return (folder / "manifest.yaml").exists()
    return version in read_tags(folder) or any(each.startswith(version) for each in versions(folder))


def _recipe(path: Path) -> Targets:
    """A recipe, with its dataset in ``datasets/`` and what the registry in the current folder says of it."""
    recorded = _find_recorded(lambda each: (each.folder / each.dataset.recipe).resolve() == path.resolve())
    try:
        name = load_recipe(path).name
    except RecipeError:
        name = recorded.dataset.name if recorded else path.stem
    return Targets((Subject(name, f"datasets/{name}", recipe_path=path, recorded=recorded, named=True),), ())


def _source(place: str | None, format: str, options: Options) -> Targets:
    """A source alone: a folder, its format and its options."""
    if place is None or not Path(place).expanduser().is_dir():
        raise UsageError(f"--format {format} reads a source, and {place or 'nothing'} is no folder; name its folder")
    text = dump_yaml({"format": format, "path": str(Path(place).expanduser())})
    file = parse_yaml(text, "--set", RecipeError)
    for setting in options.settings:
        override(file, setting)
    try:
        source = file.check(SOURCES[format], file.data)
    except RecipeError as error:
        raise UsageError(str(error)) from None
    return Targets((Subject(place, place, source=source, strict=options.strict),), ())


def _with_policy(found: Targets, options: Options, folders: list[Path]) -> Targets:
    """The targets with the policy that was named, or that lies in one of the folders."""
    places = [options.policy] if options.policy else [folder / POLICY for folder in folders]
    path = next((each for each in places if each.is_file()), None)
    subjects = [replace(each, pixels=options.pixels, strict=options.strict) for each in found.subjects]
    if path is None:
        return Targets(tuple(subjects), found.first)
    remedy = "Correct the policy; docs/ci.md lists its keys"
    policy, outcome = _try("policy", path, lambda: read_policy(path), "broken policy", remedy)
    if policy is not None:
        subjects = [replace(each, policy=policy) for each in subjects]
        registered = _registered_names([path.parent, *folders])
        outcome = Outcome("policy", str(path), tuple(_policy_names(policy, subjects, registered, remedy)))
    return Targets(tuple(subjects), (*found.first, outcome))


def _registered_names(folders: list[Path]) -> set[str]:
    """Names of the datasets in the registries that lie in these folders and can be read."""
    found: set[str] = set()
    for folder in folders:
        with suppress(DatasetError):
            found |= {entry.name for entry in read_registry(folder / REGISTRY).datasets}
    return found


def _policy_names(policy: Policy, subjects: list[Subject], registered: set[str], remedy: str) -> Iterator[Finding]:
    """Datasets and classes of a policy that do not exist, as far as the datasets that it is for are known."""
    tables = {**dict.fromkeys(registered), **{each.name: each.class_names for each in subjects}}
    for error in policy.check_names(tables, complete=bool(registered)):
        yield from findings_of_error(error, "broken policy", remedy)
