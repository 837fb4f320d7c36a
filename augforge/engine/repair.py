"""Repairing a dataset: what is damaged comes from its other copy, from a mirror, or is made again from the source.

Whatever is put in place has the SHA-256 that the manifest states, so repairing cannot make anything worse.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from augforge.cache.work import SCRATCH
from augforge.engine.remaking import Remaker
from augforge.errors import AugforgeError, DatasetError
from augforge.files import replacing, sync_folder, write_text, writer_lock, writing
from augforge.progress import Progress, Silent
from augforge.store.contents import remove_leftovers
from augforge.store.history import require_folder
from augforge.store.log import last_tags
from augforge.store.manifest import FileEntry, Manifest, ShardEntry, read_manifest
from augforge.store.seal import seal_problem
from augforge.store.tags import TAGS, checked_tags, read_tags, write_tags
from augforge.store.verification.files import DatasetFiles
from augforge.store.verification.report import Fault, Report
from augforge.store.verification.texts import CURRENT, read_manifests
from augforge.store.verify import check_dataset
from augforge.store.versions import finish_commit


@dataclass
class Repair:
    """What came of a repair.

    Attributes:
        version: that was asked for, or the current one.
        versions: all that were checked.
        repaired: files that were damaged or missing, and have the right bytes now.
        faults: what is still wrong; each names the samples that it hits.
        reasons: why that could not be repaired, as far as it is known.
    """

    version: str = ""
    versions: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def repair(
    place: str | Path,
    version: str | None = None,
    *,
    every: bool = False,
    source: str | None = None,
    mirror: str | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Repair:
    """Find what is damaged in a dataset, and put the right bytes in its place.

    A damaged manifest comes from its other copy, the card from the manifest. Shards and tables come from the mirror,
    if there is one: only the damaged files are fetched. Otherwise the samples that are hit are made again from the
    recorded recipe and the source, and their shards are put together anew; intact samples are copied.

    Args:
        place: folder of the dataset; a URL is refused.
        version: a tag, a version, or the beginning of one; None for the current version.
        every: repair all versions.
        source: where the source lies; by default where the last build of the version found it.
        mirror: folder or URL of a copy of the dataset.
        jobs: worker processes.
        progress: is told how far the work is.

    Raises:
        DatasetError: a URL, no dataset, no such version, or another process is writing to it.
        StorageError: a file cannot be written.
    """
    folder, progress = require_folder(place, "repair"), progress or Silent()
    if not folder.is_dir():
        read_manifest(folder)  # says that there is no dataset, before a lock file is made
    files, copies = DatasetFiles(folder), DatasetFiles(mirror) if mirror else None
    with writer_lock(folder, "repair"), writing(folder):
        remove_leftovers(folder)
        faults = _restore_manifests(files, copies, None, every)
        faults += _restore_manifests(files, copies, version, False) if version else []
        restored = [] if copies is None else [*_restore_tags(files, copies), *_restore_tagged_versions(files, copies)]
        restored += _restore_logged_tags(files)
        before = check_dataset(folder, version, every=every, progress=progress)
        found = Repair(before.version, before.versions)
        finish_commit(folder, read_manifest(folder))
        manifests = {name: read_manifest(folder, name) for name in before.versions}
        damaged = {fault.file for fault in before.faults}
        if copies is not None:
            _fetch(files, copies, manifests, damaged, found)
        for manifest in manifests.values():
            _remake(files, manifest, damaged, source, jobs, progress, found)
        remove_leftovers(folder)
        after = check_dataset(folder, version, every=every, progress=progress) if damaged else before
    found.faults = after.faults
    found.reasons += _reasons_for_texts(after)
    wrong = {fault.file for fault in after.faults}
    touched = dict.fromkeys([*restored, *(fault.file for fault in [*faults, *before.faults])])
    found.repaired = [file for file in touched if file not in wrong]
    if not found.faults:
        found.reasons = []
    return found


# ---- Text files ------------------------------------------------------------------------------------------------------


def _restore_manifests(
    files: DatasetFiles, mirror: DatasetFiles | None, version: str | None, every: bool
) -> list[Fault]:
    """Replace manifests that cannot be read by their other copy; what was wrong with them."""
    report = Report()
    read_manifests(files, version, every, report)
    for fault in report.faults:
        if fault.kind in ("damaged", "missing"):
            name = report.version if fault.file == CURRENT else Path(fault.file).stem
            text = next(_other_copies(files, mirror, fault.file, name), None)
            if text is not None:
                write_text(files.folder / fault.file, text)
            elif fault.file == CURRENT:
                raise DatasetError(
                    f"{files.folder / CURRENT} and its copy versions/{name}.yaml are both damaged, so nothing says "
                    "what the dataset holds. Name a copy of it (--from COPY), or build its recipe again elsewhere"
                )
    return report.faults


def _restore_tagged_versions(files: DatasetFiles, mirror: DatasetFiles) -> Iterator[str]:
    """Take the manifests of versions that are gone, though they have a tag, from the mirror; their paths."""
    for version in set(read_tags(files.folder).values()) - set(files.versions()):
        path = f"versions/{version}.yaml"
        text = next(_other_copies(files, mirror, path, version), None)
        if text is not None:
            write_text(files.folder / path, text)
            yield path


def _other_copies(files: DatasetFiles, mirror: DatasetFiles | None, path: str, version: str) -> Iterator[str]:
    """The text of each intact manifest of a version, but for the one at a path."""
    for place in (files, mirror):
        for other in (CURRENT, f"versions/{version}.yaml"):
            if place is None or (place is files and other == path):
                continue
            data = place.read_text_file(other) or b""
            stated = re.search(f"^version: '?{version}'?$", data.decode("utf-8", "replace"), re.MULTILINE)
            if seal_problem(data) is None and stated:
                yield data.decode()


def _reasons_for_texts(report: Report) -> Iterator[str]:
    """Why text files are still damaged: there is one copy of them in a folder."""
    for fault in report.faults:
        if fault.file == TAGS:
            yield f"{TAGS} has no other copy: take it from one with --from, or correct it and tag versions again"
        elif fault.file.startswith("versions/") and fault.kind != "wrong":
            yield (
                f"{fault.file} has no other copy here, as it is not the current version: take it from one with --from, "
                "or build its recipe again"
            )


def _restore_tags(files: DatasetFiles, mirror: DatasetFiles) -> Iterator[str]:
    """Take tags that are damaged or gone from the mirror, since nothing else knows them; the file's path."""
    own, other = files.read_text_file(TAGS), mirror.read_text_file(TAGS)
    if other and seal_problem(other) is None and (own is None or seal_problem(own) is not None):
        write_text(files.folder / TAGS, other.decode())
        yield TAGS


def _restore_logged_tags(files: DatasetFiles) -> Iterator[str]:
    """Write tags that are gone as the log has them; the file's path. A log that was forged may say anything."""
    logged = last_tags(files.folder)
    if logged and files.read_text_file(TAGS) is None:
        with suppress(DatasetError):  # no tags, or no versions
            write_tags(files.folder, checked_tags(files.folder / TAGS, logged))
            yield TAGS


# ---- Shards and tables -----------------------------------------------------------------------------------------------


def _fetch(
    files: DatasetFiles,
    mirror: DatasetFiles,
    manifests: dict[str, Manifest],
    damaged: Collection[str],
    found: Repair,
) -> None:
    """Fetch the damaged files that the mirror has with the right digest."""
    wanted: dict[str, FileEntry | ShardEntry] = {
        entry.path: entry for manifest in manifests.values() for entry in manifest.entries() if entry.path in damaged
    }
    for entry in wanted.values():
        try:
            problems = mirror.byte_faults(entry.path, entry.bytes, entry.sha256)
        except AugforgeError as error:
            found.reasons.append(str(error))
            return
        if problems:
            found.reasons.append(f"{mirror.display_path(entry.path)}: {problems[0].message}")
            continue
        with replacing(files.folder / entry.path, durable=True) as temporary:
            shutil.copyfile(mirror.folder / entry.path, temporary)
        sync_folder((files.folder / entry.path).parent)


def _remake(
    files: DatasetFiles,
    manifest: Manifest,
    damaged: Collection[str],
    source: str | None,
    jobs: int,
    progress: Progress,
    found: Repair,
) -> None:
    """Make those files of a version again that were damaged, and are still."""

    def is_damaged(path: str, size: int | None, sha256: str) -> bool:
        return path in damaged and bool(files.byte_faults(path, size, sha256))

    shards = [entry for entry in manifest.shards if is_damaged(entry.path, entry.bytes, entry.sha256)]
    tables = [entry for entry in manifest.files if is_damaged(entry.path, entry.bytes, entry.sha256)]
    index_is_damaged = is_damaged(manifest.index_path, None, manifest.index_sha256)
    if index_is_damaged and manifest.format == 1:
        found.reasons.append(
            f"version {manifest.version} is of format 1: its index comes back only by building it again"
        )
        return
    if not shards and not tables:
        return
    with TemporaryDirectory(prefix=SCRATCH, dir=files.folder / "work") as scratch:
        try:
            remaker = Remaker(files.folder, manifest, Path(scratch), source, jobs, progress)
            for shard in [] if index_is_damaged else shards:
                remaker.remake_shard(shard)
            if tables:
                remaker.remake_tables()
            found.reasons += remaker.reasons
        except AugforgeError as error:
            found.reasons.append(str(error))
