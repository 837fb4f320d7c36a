"""Checking that a dataset is what its manifest says, from the manifest down to the bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import polars as pl

from augforge.cache.filecache import forget_files
from augforge.errors import DatasetError
from augforge.progress import Progress, Silent
from augforge.store.manifest import Manifest, ShardEntry
from augforge.store.verification.files import DatasetFiles
from augforge.store.verification.pixels import pixel_faults
from augforge.store.verification.report import Fault, Report
from augforge.store.verification.shards import shard_faults
from augforge.store.verification.tables import index_faults, read_rows, rejected_faults, table_faults
from augforge.store.verification.texts import check_card, read_manifests, tag_faults


def verify(
    place: str | Path,
    version: str | None = None,
    pixels: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> list[str]:
    """Check a dataset version; see `check_dataset`, which says more.

    Args:
        place: folder of the dataset, or its URL.
        version: a tag, a version, or the beginning of one if it is unique; None for the current version.
        pixels: decode every sample and compare what the index says of its pixels too.
        advance: called with the number of shards just checked.

    Returns:
        One line per problem, naming the file and the samples; empty if there are none.

    Raises:
        DatasetError: there is no dataset, or no such version.
        MissingExtra: the package that reads such URLs is not installed.
    """
    return check_dataset(place, version, pixels=pixels, progress=_Advance(advance)).problems()


def check_dataset(
    place: str | Path,
    version: str | None = None,
    *,
    every: bool = False,
    pixels: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Check every byte of a dataset that a reader or a build may believe; neither sizes nor times are trusted.

    Covered are the manifest and its copy, tags, card, and the version's index, rejected samples, stages, ledger and
    shards. Checking goes on after a fault. Shards behind a URL are fetched unless there is an intact copy.

    A shard in a folder that turns out to be damaged is forgotten by the cache of digests in ``work/``, if that can be
    written: the next build makes it again, even if its size and time are those of the file that was written.

    Args:
        place: folder of the dataset, or its URL.
        version: a tag, a version, or the beginning of one if it is unique; None for the current version.
        every: check all versions.
        pixels: decode every sample, and compare digest, areas, boxes, size and type with the index.
        progress: is told how many shards are checked.

    Raises:
        DatasetError: there is no dataset, or no such version.
        MissingExtra: the package that reads such URLs is not installed.
    """
    files, report, progress = DatasetFiles(place), Report(), progress or Silent()
    manifests = read_manifests(files, version, every, report)
    report.versions = list(manifests)
    indexes = {}
    for name, manifest in manifests.items():
        rows = _check_tables(files, manifest, report)
        if rows is not None:
            indexes[name] = rows
        if manifest.format == 1:
            report.notes.append(
                f"version {name} is of format 1, which has no digests of manifest, ledger, stages, rejected samples "
                "and payloads: build it again to get them"
            )
    current = manifests.get(report.version)
    if current is not None and version is None:
        check_card(files, current, report)
    report.faults += tag_faults(files)
    _check_shards(files, manifests, indexes, pixels, report, progress)
    _leave_out_removed(files, report)
    return report


def _leave_out_removed(files: DatasetFiles, report: Report) -> None:
    """Leave out versions that `augforge gc` removed meanwhile: what is missing of them is no damage."""
    with suppress(DatasetError):
        there = {*files.versions(), files.read_manifest().version}
        gone = [version for version in report.versions if version not in there]
        report.faults = [fault for fault in report.faults if not fault.versions or set(fault.versions) & there]
        report.versions = [version for version in report.versions if version in there]
        report.notes += [f"version {version} was removed while it was checked" for version in gone]


class _Advance(Silent):
    """A display of progress that is told of the units done alone."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance

    def advance(self, count: int) -> None:
        self._advance(count)


def _check_tables(files: DatasetFiles, manifest: Manifest, report: Report) -> pl.DataFrame | None:
    """Check the tables of a version; the rows of its index, if that can be believed."""
    faults = list(table_faults(files, manifest))
    damaged = {fault.file for fault in faults}
    if files.display_path(manifest.rejected_path) not in damaged:
        faults += rejected_faults(files, manifest)
    shown, rows = files.display_path(manifest.index_path), None
    if shown not in damaged:
        try:
            rows = read_rows(files, manifest)
            faults += index_faults(files, manifest, rows)
        except DatasetError as error:
            faults.append(Fault(shown, "wrong", f"cannot be read: {error}", versions=(manifest.version,)))
    report.faults += faults
    return rows


def _check_shards(
    files: DatasetFiles,
    manifests: Mapping[str, Manifest],
    indexes: Mapping[str, pl.DataFrame],
    pixels: bool,
    report: Report,
    progress: Progress,
) -> None:
    """Check each shard once for all versions that share it."""
    shards = {shard.path: shard for manifest in manifests.values() for shard in manifest.shards}
    report.shards = len(shards)
    progress.start("verify", len(shards))
    damaged, known = [], _Manifests(files, manifests)
    rows_by_shard = [rows.partition_by("shard", as_dict=True) for rows in indexes.values()]
    for shard in shards.values():
        tables = [rows[(shard.path,)] for rows in rows_by_shard if (shard.path,) in rows]
        found = shard_faults(files, shard, tables)
        if any(fault.kind != "wrong" for fault in found):
            damaged.append(files.folder / shard.path)
        elif pixels:
            found += pixel_faults(files, shard, tables)
        named_by = known.versions_with(shard) if found else ()
        report.faults += [replace(fault, versions=named_by) for fault in found]
        progress.advance(1)
    if damaged and files.remote is None:
        forget_files(files.folder / "work" / "files.sqlite", damaged)


class _Manifests:
    """The manifests of all versions, those that are not checked too; these are read when the first fault is found."""

    def __init__(self, files: DatasetFiles, checked: Mapping[str, Manifest]) -> None:
        self._files, self._checked = files, checked

    @cached_property
    def _all(self) -> dict[str, Manifest]:
        found = dict(self._checked)
        with suppress(DatasetError):
            for name in self._files.versions():
                if name not in found:
                    with suppress(DatasetError):  # one that cannot be read is not what is checked
                        found[name] = self._files.read_manifest(name)
        return found

    def versions_with(self, shard: ShardEntry) -> tuple[str, ...]:
        """All versions that name a shard, as far as their manifests can be read."""
        return tuple(sorted(name for name, manifest in self._all.items() if shard in manifest.shards))
