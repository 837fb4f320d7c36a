"""Checking the text files of a dataset: manifests, tags and card."""

from __future__ import annotations

import re
from collections.abc import Iterator

from augforge.errors import DatasetError, some
from augforge.store.log import last_tags, read_log
from augforge.store.manifest import Manifest
from augforge.store.seal import is_sealed, seal_problem
from augforge.store.tags import TAGS, read_tags
from augforge.store.verification.files import DatasetFiles
from augforge.store.verification.report import Fault, Report

CURRENT, CARD = "manifest.yaml", "README.md"


def read_manifests(files: DatasetFiles, version: str | None, every: bool, report: Report) -> dict[str, Manifest]:
    """The manifests of the versions to check, by version; what cannot be read becomes a fault of the report.

    A manifest lies twice in a folder: the current one is ``manifest.yaml`` and ``versions/<version>.yaml``. So the
    version is checked even if one of both is damaged.

    Raises:
        DatasetError: there is no dataset, or no such version.
    """
    current = _read_current(files, report) if version is None or every else None
    if version is not None:
        report.version = files.find_version(version)
    names = sorted({*files.versions(), report.version}) if every else [report.version]
    found = {}
    for name in names:
        manifest = _read_version(files, name, current, report)
        if manifest is not None:
            found[name] = manifest
    return found


def _read_current(files: DatasetFiles, report: Report) -> Manifest | None:
    """The current manifest; from its copy, as far as the damaged one tells which that is, if it cannot be read."""
    try:
        current = files.read_manifest()
        report.version = current.version
        report.faults += [*_byte_faults(files, CURRENT, current), *manifest_faults(files, current, CURRENT)]
        return current
    except DatasetError as error:
        known = files.versions()
        if not known:
            raise
        missing = files.read_text_file(CURRENT) is None
        kind, message = ("missing", "is missing") if missing else ("damaged", _without_path(files, CURRENT, error))
        report.faults.append(Fault(files.display_path(CURRENT), kind, message))
    report.version = _likely_current(files, known)
    try:
        return files.read_manifest(report.version)
    except DatasetError:
        return None  # `_read_version` says why


def _likely_current(files: DatasetFiles, known: list[str]) -> str:
    """The current version when its manifest cannot be read: what the damaged file says, or else the log."""
    data = files.read_text_file(CURRENT) or b""
    stated = re.search(rb"^version: '?([0-9a-f]{16})'?$", data, re.MULTILINE)
    entries = read_log(files.folder).entries
    logged = [entry.get("checkout") or entry.get("version") for entry in entries]
    likely = [stated.group(1).decode() if stated else None, *reversed(logged), known[-1]]
    return next(str(version) for version in likely if version in known)


def _read_version(files: DatasetFiles, name: str, current: Manifest | None, report: Report) -> Manifest | None:
    path = f"versions/{name}.yaml"
    shown, own = files.display_path(path), (name,)
    is_current = current is not None and current.version == name
    try:
        manifest = files.read_manifest(name)
    except DatasetError as error:
        missing = files.read_text_file(path) is None
        kind, message = ("missing", "is missing") if missing else ("damaged", _without_path(files, path, error))
        report.faults.append(Fault(shown, kind, message, versions=own))
        return current if is_current else None
    report.faults += _byte_faults(files, path, manifest)
    if is_current and manifest != current:
        # A build that gave the same version, with another review for example, was stopped between both.
        report.notes.append(f"{shown} says other things than {CURRENT}, which counts; `augforge repair` copies it")
        return current
    if manifest != current:
        report.faults += manifest_faults(files, manifest, path)
    return manifest


def _byte_faults(files: DatasetFiles, path: str, manifest: Manifest) -> list[Fault]:
    """What is wrong with a manifest's bytes though its lines can be read: reading takes any kind of line ends."""
    problem = seal_problem(files.read_text_file(path) or b"") if manifest.format > 1 else None
    return [Fault(files.display_path(path), "damaged", problem, versions=(manifest.version,))] if problem else []


def _without_path(files: DatasetFiles, path: str, error: DatasetError) -> str:
    """What an error says, without the path that the fault names already."""
    text = str(error).replace(str(files.folder / path), path)
    shown = files.display_path(path)
    return text.removeprefix(f"{shown}:").removeprefix(f"{path}:").removeprefix(path).strip()


def manifest_faults(files: DatasetFiles, manifest: Manifest, path: str) -> Iterator[Fault]:
    """What contradicts itself in a manifest, which was read from a path relative to the dataset."""
    shown, own = files.display_path(path), (manifest.version,)
    if manifest.expected_version() != manifest.version:
        message = f"version {manifest.version} is not that of its shards ({manifest.expected_version()})"
        yield Fault(shown, "wrong", message, versions=own)
    if manifest.samples != sum(manifest.splits.values()):
        message = f"{manifest.samples} samples, but its splits hold {sum(manifest.splits.values())}"
        yield Fault(shown, "wrong", message, versions=own)


def check_card(files: DatasetFiles, current: Manifest, report: Report) -> None:
    """Check the card, which lists the shards of the current version for `datasets.load_dataset`."""
    data, shown = files.read_text_file(CARD), files.display_path(CARD)
    problem = seal_problem(data) if data is not None and (current.format > 1 or is_sealed(data)) else None
    if problem:
        report.faults.append(Fault(shown, "damaged", problem, versions=(current.version,)))
    elif data is None or f"`{current.version}`".encode() not in data:
        # The card is written after the manifest, by builds and by checkout.
        state = "is missing" if data is None else "is the card of another version"
        report.notes.append(
            f"{shown} {state}: what made {current.version} current was stopped before it wrote the card, or somebody "
            "deleted it; `augforge repair` writes it"
        )


def tag_faults(files: DatasetFiles) -> Iterator[Fault]:
    """What is wrong with the names of versions."""
    data, shown = files.read_text_file(TAGS), files.display_path(TAGS)
    if data is None:
        logged = last_tags(files.folder)
        if logged:
            named = some([f"{tag} ({version})" for tag, version in logged.items()])
            yield Fault(shown, "missing", f"is missing, and the log says that it named {named}")
        return
    problem = seal_problem(data)
    if problem:
        yield Fault(shown, "damaged", problem)
        return
    try:
        tags = read_tags(files.folder)
    except DatasetError as error:
        yield Fault(shown, "damaged", _without_path(files, TAGS, error))
        return
    known = set(files.versions())
    for tag, version in tags.items():
        if version not in known:
            yield Fault(shown, "wrong", f"the tag {tag} names version {version}, which is gone")
