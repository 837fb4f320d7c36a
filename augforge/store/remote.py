"""Datasets behind a URL: a file is fetched once, checked, and then read from a folder as in any other dataset.

Shards are named by their content, so their copies never become outdated; the manifest is fetched anew each time. The
copies are in ``$AUGFORGE_CACHE``, by default ``augforge`` in the user's cache folder, and may be deleted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EDQUOT, EFBIG, ENOSPC, EROFS
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from augforge.errors import DatasetError, MissingExtra
from augforge.files import file_sha256, is_url, make_folder, remove_temporary_files, replacing, writing
from augforge.keys import digest
from augforge.store.manifest import Manifest, read_manifest
from augforge.store.tags import TAGS, is_version_prefix, resolve_tag

_FULL_HERE = {ENOSPC, EDQUOT, EFBIG, EROFS}
"""What only the disk of the copies raises, and no server."""


def cache_folder() -> Path:
    """The folder for copies of remote files."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "augforge"
    return Path(os.environ.get("AUGFORGE_CACHE") or usual).expanduser()


def shard_locations(dataset: str | Path, version: str | None = None) -> list[str]:
    """Paths or URLs of a dataset's shards, below its folder or its own URL.

    Raises:
        DatasetError: there is no dataset, or no such version.
        MissingExtra: the package that reads such URLs is not installed.
    """
    if is_url(dataset):
        remote = Remote(str(dataset))
        return [remote.url_of(shard.path) for shard in remote.fetch_manifest(version).shards]
    folder = Path(dataset)
    return [str(folder / shard.path) for shard in read_manifest(folder, version).shards]


@dataclass(frozen=True, slots=True)
class Remote:
    """A dataset behind a URL that fsspec reads: ``s3://``, ``https://``, ``gs://``, ``memory://`` and others.

    All paths of files are relative to the dataset.
    """

    url: str

    @property
    def folder(self) -> Path:
        """The folder of the local copy, one per URL."""
        plain = self.url.rstrip("/")
        return cache_folder() / f"{PurePosixPath(plain).name}-{digest(plain)[:16]}"

    def url_of(self, path: str) -> str:
        """URL of a file of the dataset."""
        return f"{self.url.rstrip('/')}/{path}"

    @property
    def remedy(self) -> str:
        """What to do about a damaged copy, for error messages."""
        return f"It is a copy of {self.url}: delete {self.folder}, and it is fetched again"

    def fetch_manifest(self, version: str | None = None) -> Manifest:
        """The current manifest, or that of a version (a tag, or the beginning of it if that is unique).

        Raises:
            DatasetError: there is no dataset, no such version, or the manifest cannot be read.
            MissingExtra: the package that reads such URLs is not installed.
        """
        for path in ["manifest.yaml"] if version is None else self._manifests_of(version):
            self._download(path)
        try:
            return read_manifest(self.folder, version)
        except DatasetError as error:  # the copy is fresh, so the fault is in the remote file
            raise DatasetError(str(error).replace(str(self.folder), self.url.rstrip("/"))) from None

    def fetch_index(self, manifest: Manifest) -> Path:
        """The index of a version, fetched unless there is a copy with the SHA-256 that the manifest states."""
        return self.fetch_intact_shard(manifest.index_path, manifest.index_sha256)

    def fetch_rejected(self, manifest: Manifest) -> Path:
        """The table of rejected samples of a version, fetched unless there is a copy with the manifest's SHA-256."""
        return self._fetch_table(manifest, manifest.rejected_path)

    def fetch_stages(self, manifest: Manifest) -> Path:
        """The table of samples between stages, fetched unless there is a copy with the manifest's SHA-256."""
        return self._fetch_table(manifest, manifest.stages_path)

    def _fetch_table(self, manifest: Manifest, path: str) -> Path:
        entry = manifest.file_entry(path)
        if entry is not None:
            return self.fetch_intact_shard(path, entry.sha256)
        self._download(path)  # always, since a manifest of format 1 has no digest of it
        return self._copy_path(path)

    def fetch_anew(self, path: str) -> bool:
        """Fetch a small file that has no digest elsewhere; False, and no copy is left, if there is no such file."""
        with self._file_system(path) as (files, remote_path):
            exists = files.exists(remote_path)
        if exists:
            self._download(path)
        else:
            self._copy_path(path).unlink(missing_ok=True)
        return bool(exists)

    def list_versions(self) -> list[str]:
        """All versions that have a manifest, sorted by name."""
        with self._file_system("versions") as (files, remote_path):
            names = [PurePosixPath(name).name for name in files.ls(remote_path, detail=False)]
        return sorted(name[: -len(".yaml")] for name in names if re.fullmatch(r"[0-9a-f]{16}\.yaml", name))

    def size_of(self, path: str) -> int | None:
        """Size of a remote file in bytes; None if the server does not tell it."""
        with self._file_system(path) as (files, remote_path):
            size: int | None = files.size(remote_path)
            return size

    def fetch_shard(self, path: str, sha256: str, size: int) -> Path:
        """A shard, fetched unless there is a copy of this size; DatasetError if another file was fetched.

        It is not hashed each time a process opens it: samples have digests of their own, compared when they are read.
        """
        return self._fetch_unless(path, sha256, lambda copy: copy.exists() and copy.stat().st_size == size)

    def fetch_intact_shard(self, path: str, sha256: str, digest_of: Callable[[Path], str] = file_sha256) -> Path:
        """A shard or a table, fetched unless there is a copy with this SHA-256; ``digest_of`` may remember digests."""
        return self._fetch_unless(path, sha256, lambda copy: copy.exists() and digest_of(copy) == sha256)

    def _fetch_unless(self, path: str, sha256: str, is_complete: Callable[[Path], bool]) -> Path:
        target = self._copy_path(path)
        if not is_complete(target):
            with _sole_writer(target):
                if not is_complete(target):
                    self._fetch(path, sha256)
        return target

    def _copy_path(self, path: str) -> Path:
        """Path of the local copy of a file; DatasetError for a path that leads out of the dataset."""
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts or "\\" in path:
            raise DatasetError(f"{self.url}: its manifest names {path}, which leaves the dataset. Build it again")
        return self.folder / parts

    def _manifests_of(self, version: str) -> list[str]:
        """Manifests of all versions that begin like this or have this tag; `read_manifest` refuses several."""
        if not is_version_prefix(version):
            version = self._fetch_tag(version)
        found = [name for name in self.list_versions() if name.startswith(version)]
        if not found:
            raise DatasetError(f"{self.url} has no version '{version}'. Give another, or none for the current one")
        return [f"versions/{name}.yaml" for name in found]

    def _fetch_tag(self, name: str) -> str:
        """The version that a tag names, after the copy of the tags was fetched anew, or deleted if there are none."""
        self.fetch_anew(TAGS)
        try:
            return resolve_tag(self.folder, name)
        except DatasetError as error:
            raise DatasetError(str(error).replace(str(self.folder), self.url.rstrip("/"))) from None

    def _download(self, path: str, sha256: str | None = None) -> None:
        with _sole_writer(self._copy_path(path)):
            self._fetch(path, sha256)

    def _fetch(self, path: str, sha256: str | None) -> None:
        with replacing(self._copy_path(path)) as temporary:
            with self._file_system(path) as (files, remote_path):
                files.get_file(remote_path, str(temporary))
            if sha256 is not None and file_sha256(temporary) != sha256:
                raise DatasetError(
                    f"{self.url_of(path)} is damaged: its SHA-256 is not the manifest's. Upload it again, or build the "
                    "dataset again"
                )

    @contextmanager
    def _file_system(self, path: str) -> Iterator[tuple[Any, str]]:
        """fsspec's file system and the path in it; errors raised inside become a DatasetError that names the URL."""
        try:
            from fsspec.core import url_to_fs  # an optional dependency
        except ImportError as error:
            raise MissingExtra("fsspec", "s3", f"reading {self.url}") from error
        try:
            yield url_to_fs(self.url_of(path))
        except FileNotFoundError as error:
            raise DatasetError(f"{self.url} holds no {path}, so it is no whole dataset. Check the address") from error
        except Exception as error:  # each file system raises what its client raises
            if isinstance(error, OSError) and error.errno in _FULL_HERE:
                raise
            if isinstance(error, ImportError) and self.url.startswith("s3"):
                raise MissingExtra("s3fs", "s3", f"reading {self.url}") from error
            raise DatasetError(
                f"{self.url_of(path)} cannot be read ({type(error).__name__}: {error}). Check the address, the network "
                "and your rights"
            ) from error


@contextmanager
def _sole_writer(target: Path) -> Iterator[None]:
    """Be the only process that fetches a file: others wait, and then find it complete.

    What a process that was killed left of it is deleted. StorageError if there is no space or right for the copy.
    """
    with writing(target):
        make_folder(target.parent)
        with FileLock(target.with_name(f".{target.name}.lock")):
            remove_temporary_files(target.parent, f"{target.name}.*")
            yield
