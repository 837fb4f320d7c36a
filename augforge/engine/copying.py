"""Copying a version of a dataset to another place, a folder or a URL: only the files that are not there yet."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from augforge.engine.opening import check_folder
from augforge.errors import DatasetError
from augforge.files import file_sha256, is_url, make_folder, replacing, sync_file, sync_folder, write_text, writer_lock
from augforge.progress import Progress, Silent
from augforge.store.manifest import FileEntry, Manifest, ShardEntry, read_manifest
from augforge.store.remote import Remote
from augforge.store.storage import MANIFEST, Storage, UrlStorage, open_storage
from augforge.store.tags import TAGS, read_tags

Entry = FileEntry | ShardEntry

TRANSFERS = 4
"""Files that are on their way at a time."""


@dataclass(frozen=True, slots=True)
class CopySummary:
    """What was copied.

    Attributes:
        name, version, samples: of the dataset.
        source, target: from where to where.
        files, bytes: shards and tables of the version.
        copied_files, copied_bytes: those that were not there yet.
        unchanged: whether the version was already the current one there.
    """

    name: str
    version: str
    samples: int
    source: str
    target: str
    files: int
    bytes: int
    copied_files: int
    copied_bytes: int
    unchanged: bool


def copy_version(
    source: str | Path,
    target: str | Path,
    version: str | None = None,
    *,
    check: bool = False,
    progress: Progress | None = None,
) -> CopySummary:
    """Copy a version of a dataset, and make it the current one at the target.

    Every file that is copied is compared with its SHA-256 in the manifest before it gets its name. Files that the
    target holds already, of this or another version or from a copy that was stopped, are not copied again.

    Args:
        source: folder or URL of the dataset.
        target: folder or URL of the copy: a place where nothing is, or an earlier copy of the dataset.
        version: a tag, a version, or the beginning of one; None for the current one.
        check: compare the digests of the target's files too, and not their sizes alone, and replace damaged ones.
        progress: is told how many files are done.

    Raises:
        DatasetError: there is no such dataset or version, a file of it is damaged, or the target is no copy of it.
        StorageError: the target cannot be written.
    """
    origin, storage, progress = _Origin(source), open_storage(target), progress or Silent()
    manifest = origin.read_manifest(version)
    if manifest.format == 1:
        raise DatasetError(f"{source} is of format 1, which has no digests of its tables. Build it again, then copy it")
    with storage.named():
        storage.pull()
        check_folder(storage.folder, manifest.name)
        before = _current_version(storage)
        with writer_lock(storage.folder, "copy"):
            missing = list(_missing(manifest, storage, check))
            progress.start("copy", len(missing))
            with ThreadPoolExecutor(TRANSFERS) as pool:
                for _ in pool.map(lambda entry: _copy(origin, entry, storage), missing):
                    progress.advance(1)
            _make_current(origin, manifest, storage)
            if before != manifest.version:
                storage.append_log({"version": None, "checkout": manifest.version})
            shutil.rmtree(_scratch(storage), ignore_errors=True)
    return CopySummary(
        name=manifest.name,
        version=manifest.version,
        samples=manifest.samples,
        source=str(source),
        target=storage.place,
        files=len(manifest.entries()),
        bytes=sum(entry.bytes for entry in manifest.entries()),
        copied_files=len(missing),
        copied_bytes=sum(entry.bytes for entry in missing),
        unchanged=before == manifest.version,
    )


class _Origin:
    """The dataset that is copied."""

    def __init__(self, place: str | Path) -> None:
        self._remote = Remote(str(place)) if is_url(place) else None
        self.folder = self._remote.folder if self._remote else Path(place).expanduser()
        self._place = place

    def read_manifest(self, version: str | None) -> Manifest:
        """The manifest of a version; DatasetError if there is none."""
        if self._remote is None:
            return read_manifest(self.folder, version)
        manifest = self._remote.fetch_manifest(version)
        self._remote.fetch_anew(f"versions/{manifest.version}.yaml")
        self._remote.fetch_anew(TAGS)
        return manifest

    def bring(self, entry: Entry, scratch: Path) -> Path:
        """A file whose digest was compared, in its own place or in a scratch folder."""
        if self._remote is not None:
            return Remote(str(self._place), scratch).fetch_intact_shard(entry.path, entry.sha256)
        path = self.folder / entry.path
        if not path.exists() or file_sha256(path) != entry.sha256:
            raise DatasetError(
                f"{path} is missing or damaged, so nothing was made current at the target. Repair it: augforge repair "
                f"{self.folder}"
            )
        return path


def _current_version(storage: Storage) -> str | None:
    return read_manifest(storage.folder).version if (storage.folder / MANIFEST).exists() else None


def _missing(manifest: Manifest, storage: Storage, check: bool) -> Iterator[Entry]:
    """The files of a version that the target does not hold, or holds with another size or, if asked, digest."""
    for entry in manifest.entries():
        if storage.size_of(entry.path) != entry.bytes or (check and _digest_there(entry, storage) != entry.sha256):
            yield entry


def _digest_there(entry: Entry, storage: Storage) -> str:
    """The SHA-256 of a file at the target; one behind a URL is fetched for that."""
    if not isinstance(storage, UrlStorage):
        return file_sha256(storage.folder / entry.path)
    scratch = _scratch(storage) / "check"
    try:
        return file_sha256(Remote(storage.place, scratch).fetch_intact_shard(entry.path, entry.sha256))
    except DatasetError:  # it is missing or damaged
        return ""
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _scratch(storage: Storage) -> Path:
    """Where files behind a URL are fetched to. What a stopped copy left there is gone on with."""
    return storage.folder / "work" / "copy"


def _copy(origin: _Origin, entry: Entry, storage: Storage) -> None:
    """Put a file in its place at the target, as a whole."""
    path, target = origin.bring(entry, _scratch(storage)), storage.folder / entry.path
    if path.is_relative_to(_scratch(storage)):
        make_folder(target.parent)
        sync_file(path)
        path.replace(target)
    else:
        with replacing(target, durable=True) as temporary:
            shutil.copyfile(path, temporary)
            if file_sha256(temporary) != entry.sha256:
                raise DatasetError(f"{path} changed while it was copied. Run the same command again")
    storage.deliver(entry.path)


def _make_current(origin: _Origin, manifest: Manifest, storage: Storage) -> None:
    """Make the version the current one: when all its files are there, as a build does it; then its tags."""
    own = origin.folder / "versions" / f"{manifest.version}.yaml"
    text = (own if own.exists() else origin.folder / MANIFEST).read_text(encoding="utf-8")
    for names in ("shards", "index"):
        if (storage.folder / names).is_dir():
            sync_folder(storage.folder / names)
    write_text(storage.folder / "versions" / own.name, text)
    storage.make_current(manifest, text)
    tags = {name: version for name, version in read_tags(origin.folder).items() if version == manifest.version}
    kept = read_tags(storage.folder)
    if tags.items() - kept.items():
        storage.replace_tags({**kept, **tags})
