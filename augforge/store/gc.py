"""Deleting what a dataset no longer needs: the work area, old versions, and shards that no version names."""

from __future__ import annotations

import time
from calendar import timegm
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augforge.errors import DatasetError, StorageError
from augforge.files import is_url, sync_folder, writer_lock, writing
from augforge.store.card import write_card
from augforge.store.contents import OWN_NAMES, is_own_file, version_files, version_names
from augforge.store.log import read_log
from augforge.store.manifest import Manifest, read_manifest
from augforge.store.remote import Remote
from augforge.store.tags import read_tags
from augforge.store.versions import settle_copy

GRACE = 24 * 60 * 60
"""Seconds for which nothing is deleted: what a build that was stopped goes on from, and what may still be read."""


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
    files: list[Path]
    recent_versions: list[str]
    recent_files: list[Path]
    foreign: list[Path]


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
            f"{place} is a URL, and gc takes folders alone. Run it on the folder that was uploaded, and mirror that to "
            f"the URL. Copies of what was read from the URL are in {Remote(str(place)).folder}, and may be deleted"
        )
    folder = Path(place).expanduser()
    read_manifest(folder)  # refuses a folder that is no dataset, before a lock file is made in it
    if dry_run:
        return _report(folder, _plan(folder, keep, now), dry_run)
    with writer_lock(folder, "gc"), writing(folder):
        # Planned under the lock: a build may have made another version current before it was taken.
        plan = _plan(folder, keep, now)
        report = _report(folder, plan, dry_run)
        _delete(folder, plan)
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
    unwanted = [path for path in own if path.relative_to(folder).as_posix() not in wanted]
    young = {
        path
        for path in unwanted
        if path.relative_to(folder).as_posix() in perhaps_read or (not now and path.lstat().st_mtime > since)
    }
    files = [path for path in unwanted if path not in young]
    # A version whose manifest alone is old enough to go goes with it; `_current_after` counts that file's age too.
    removed = sorted(manifests.keys() - kept - recent)
    return Plan(current, removed, files, sorted(recent), [path for path in unwanted if path in young], foreign)


def _names_of(manifests: Mapping[str, Manifest], versions: Iterable[str]) -> set[str]:
    return {name for version in versions for name in version_files(manifests[version])}


def _checked_manifests(folder: Path) -> dict[str, Manifest]:
    """The manifest of every version; DatasetError if one is not what was written."""
    found = {}
    for version in version_names(folder):
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
        "Put the file back from a copy, or delete it if that version is not needed"
    )


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files that augforge made in its folders, manifests first; and what else lies there, links among them."""
    own: list[Path] = []
    foreign: list[Path] = []
    for part in OWN_NAMES:
        if (folder / part).is_symlink():
            foreign.append(folder / part)
        elif (folder / part).is_dir():
            paths = [path for path in sorted((folder / part).iterdir()) if path.name != ".owner"]
            own += [path for path in paths if is_own_file(part, path)]
            foreign += [path for path in paths if not is_own_file(part, path)]
    return own, foreign


def _delete(folder: Path, plan: Plan) -> None:
    # A build that was killed may have left the card of an older version. On a full disk it has to wait.
    with suppress(StorageError):
        write_card(folder, plan.current)
    settle_copy(folder, plan.current)
    manifests = [path for path in plan.files if path.parent.name == "versions"]
    for path in manifests:
        path.unlink(missing_ok=True)
    if manifests:  # for good, since no manifest may name files that are gone
        sync_folder(folder / "versions")
    for path in plan.files:
        path.unlink(missing_ok=True)
    write_card(folder, plan.current)


def _report(folder: Path, plan: Plan, dry_run: bool) -> dict[str, Any]:
    return {
        **_sizes(plan.files, plan.versions),
        "recent": _sizes(plan.recent_files, plan.recent_versions),
        "foreign": [path.relative_to(folder).as_posix() for path in plan.foreign],
        "dry_run": dry_run,
    }


def _sizes(files: list[Path], versions: list[str]) -> dict[str, Any]:
    return {"files": len(files), "bytes": sum(path.lstat().st_size for path in files), "versions": versions}


def _newest_first(folder: Path) -> list[str]:
    """All versions, by their last entry in the log; those without an entry count as the oldest."""
    last_entry = {entry.get("version"): number for number, entry in enumerate(read_log(folder).entries)}
    return sorted(version_names(folder), key=lambda version: (-last_entry.get(version, -1), version))


def _current_after(since: float, folder: Path, current: str) -> set[str]:
    """Versions that were made, or were the current one, at some time after `since`: somebody may still read them.

    The log says when another version became current. Where it does not, the time of `manifest.yaml` counts.
    """
    changed = (folder / "manifest.yaml").stat().st_mtime
    ended = dict(_ends(folder, changed))
    return {
        version
        for version in version_names(folder)
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
