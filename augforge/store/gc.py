"""Deleting what a dataset no longer needs: the work area, old versions, and shards that no version names."""

from __future__ import annotations

import shutil
import time
from calendar import timegm
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from augforge.errors import DatasetError, StorageError
from augforge.files import is_url, sync_folder, writer_lock, writing
from augforge.store.contents import OWN_NAMES, is_own_file, is_scratch_folder, version_files, walk
from augforge.store.log import append_entry, read_log
from augforge.store.manifest import Manifest, read_manifest, versions
from augforge.store.remote import Remote
from augforge.store.tags import read_tags
from augforge.store.versions import finish_commit

GRACE = 24 * 60 * 60
"""Seconds for which nothing is deleted: what a build that was stopped goes on from, and what may still be read."""


class File(NamedTuple):
    """A file in a dataset's folder: its path relative to it, size in bytes, and time of the last change."""

    name: str
    bytes: int
    modified: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What gc would do.

    Attributes:
        current: the manifest of the current version.
        versions: those to delete, sorted.
        files: those to delete, manifests first.
        recent_versions, recent_files: what is not wanted either, but too young to be deleted.
        foreign: what augforge did not make in its folders, and links. It stays.
    """

    current: Manifest
    versions: list[str]
    files: list[File]
    recent_versions: list[str]
    recent_files: list[File]
    foreign: list[str]


def collect(place: str | Path, keep: int | None = None, *, now: bool = False, dry_run: bool = False) -> dict[str, Any]:
    """Delete what a dataset no longer needs.

    All manifests are read first, and nothing is deleted if one is damaged, since nobody knows then which shards it
    names. Only files with names that augforge itself makes are deleted, and links are never followed. Manifests go
    before the files that only they name, so a gc that was killed leaves versions that are whole.

    Args:
        place: folder of the dataset; a URL is refused.
        keep: how many versions to keep: the current one and then the newest; None keeps all. Versions with a tag are
            kept beside them.
        now: delete also what is younger than 24 hours, and versions that were current in that time. Without it they
            stay, since somebody may still read them, and a build that was stopped goes on from its work area.
        dry_run: delete nothing, write nothing, and say what would be deleted.

    Returns:
        Number of ``files`` and ``bytes`` deleted, and the ``versions``; ``recent``: the same of what was too young;
        ``foreign``: paths in augforge's folders that are not augforge's, which stay; ``dry_run``.

    Raises:
        DatasetError: a URL, no dataset, a damaged manifest, or another process is writing to it.
        StorageError: a file cannot be deleted.
    """
    if is_url(place):
        raise DatasetError(
            f"{place} is a URL, and gc takes folders alone. Copy what is to stay to another place (augforge copy "
            f"{place} PLACE --version VERSION), and delete this one with the store's own tools. Copies of what was "
            f"read from the URL are in {Remote(str(place)).folder}, and may be deleted"
        )
    folder = Path(place).expanduser()
    read_manifest(folder)  # refuses a folder that is no dataset, before a lock file is made in it
    if dry_run:
        return _report(_plan(folder, keep, now), dry_run)
    with writer_lock(folder, "gc"), writing(folder):
        # Planned under the lock: a build may have made another version current before it was taken.
        plan = _plan(folder, keep, now)
        report = _report(plan, dry_run)
        _delete(folder, plan)
        if plan.files:
            # `version` stays null: whoever looks for the build of a version must not find this line.
            append_entry(folder, {"version": None, "gc": _sizes(plan.files, plan.versions)})
    return report


def _plan(folder: Path, keep: int | None, now: bool) -> Plan:
    manifests = _checked_manifests(folder)
    current, tagged = read_manifest(folder), set(read_tags(folder).values())
    _check_version(folder / "manifest.yaml", current, current.version)
    manifests[current.version] = current
    ordered = [current.version, *(version for version in _newest_first(folder) if version != current.version)]
    kept = {*ordered[:keep], *(tagged & manifests.keys())}
    since = time.time() - (0 if now else GRACE)
    recent = set() if now else _current_after(since, folder, current.version) - kept
    wanted, perhaps_read = (_names_of(manifests, versions) for versions in (kept, recent))
    own, foreign = _files(folder)
    unwanted = [file for file in own if file.name not in wanted]
    young = [file for file in unwanted if file.name in perhaps_read or (not now and file.modified > since)]
    too_young = {*young}
    files = [file for file in unwanted if file not in too_young]
    # A version whose manifest alone is young counts as recent too, so that its files never go without it.
    return Plan(current, sorted(manifests.keys() - kept - recent), files, sorted(recent), young, foreign)


def _names_of(manifests: Mapping[str, Manifest], versions: Iterable[str]) -> set[str]:
    return {name for version in versions for name in version_files(manifests[version])}


def _checked_manifests(folder: Path) -> dict[str, Manifest]:
    """The manifest of every version; DatasetError if one is not what was written."""
    found = {}
    for version in versions(folder):
        path = folder / "versions" / f"{version}.yaml"
        try:
            found[version] = read_manifest(folder, version)
        except DatasetError as error:
            raise _unknown_shards(path, str(error).splitlines()[0]) from None
        _check_version(path, found[version], version)
    return found


def _check_version(path: Path, manifest: Manifest, version: str) -> None:
    expected = manifest.expected_version()
    if not version == manifest.version == expected:
        raise _unknown_shards(path, f"it says version {manifest.version}, its shards are those of {expected}")


def _unknown_shards(path: Path, problem: str) -> DatasetError:
    return DatasetError(
        f"{path} is damaged, so nobody knows which shards its version needs, and gc deleted nothing ({problem}). "
        f"Repair it: augforge repair {path.parent if path.name == 'manifest.yaml' else path.parent.parent} --all"
    )


def _files(folder: Path) -> tuple[list[File], list[str]]:
    """The files that augforge made in its folders, manifests first; and what else lies there, links among them."""
    own: list[Path] = []
    foreign: list[str] = []
    for part in OWN_NAMES:
        if (folder / part).is_symlink():
            foreign.append(part)
        elif (folder / part).is_dir():
            for path in sorted((folder / part).iterdir()):
                if part == "work" and is_scratch_folder(path):
                    own += walk(path)
                elif is_own_file(part, path):
                    own.append(path)
                elif path.name != ".owner":
                    foreign.append(f"{part}/{path.name}")
    return list(_described(folder, own)), foreign


def _described(folder: Path, paths: Iterable[Path]) -> Iterator[File]:
    for path in paths:
        with suppress(FileNotFoundError):  # a dry run takes no lock, so a build may be running
            status = path.lstat()
            yield File(path.relative_to(folder).as_posix(), status.st_size, status.st_mtime)


def _delete(folder: Path, plan: Plan) -> None:
    with suppress(StorageError):  # on a full disk this has to wait
        finish_commit(folder, plan.current)
    manifests = [file.name for file in plan.files if file.name.startswith("versions/")]
    for name in manifests:
        (folder / name).unlink(missing_ok=True)
    if manifests:  # for good, since no manifest may name files that are gone
        sync_folder(folder / "versions")
    for file in plan.files:
        (folder / file.name).unlink(missing_ok=True)
    for scratch in filter(is_scratch_folder, (folder / "work").glob("*")):
        if not any(walk(scratch)):
            shutil.rmtree(scratch, ignore_errors=True)
    finish_commit(folder, plan.current)


def _report(plan: Plan, dry_run: bool) -> dict[str, Any]:
    recent = _sizes(plan.recent_files, plan.recent_versions)
    return {**_sizes(plan.files, plan.versions), "recent": recent, "foreign": plan.foreign, "dry_run": dry_run}


def _sizes(files: list[File], versions: list[str]) -> dict[str, Any]:
    return {"files": len(files), "bytes": sum(file.bytes for file in files), "versions": versions}


def _newest_first(folder: Path) -> list[str]:
    """All versions, by their last entry in the log; those without an entry count as the oldest."""
    last_entry = {entry.get("version"): number for number, entry in enumerate(read_log(folder).entries)}
    return sorted(versions(folder), key=lambda version: (-last_entry.get(version, -1), version))


def _current_after(since: float, folder: Path, current: str) -> set[str]:
    """Versions that were made, or were the current one, at some time after `since`: somebody may still read them.

    The log says when another version became current. Where it does not, the time of `manifest.yaml` counts.
    """
    changed = (folder / "manifest.yaml").stat().st_mtime
    ended = dict(_ends(folder, changed))
    return {
        version
        for version in versions(folder)
        if version == current
        or max((folder / "versions" / f"{version}.yaml").stat().st_mtime, ended.get(version, changed)) > since
    }


def _ends(folder: Path, changed: float) -> Iterator[tuple[str, float]]:
    """Each version that became current, as the log has it, and when the next one did."""
    entries = [entry for entry in read_log(folder).entries if entry.get("checkout") or entry.get("version")]
    times = [*(_seconds(entry.get("time"), changed) for entry in entries[1:]), changed]
    for entry, until in zip(entries, times, strict=False):
        yield str(entry.get("checkout") or entry["version"]), until


def _seconds(text: Any, otherwise: float) -> float:
    try:
        return timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))
    except (TypeError, ValueError):
        return otherwise
