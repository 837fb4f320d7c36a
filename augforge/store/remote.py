"""Datasets behind a URL: a file is fetched once, checked, and then read from a folder as in any other dataset.

Shards are named by their content, so their copies never become outdated; the manifest is fetched anew each time. The
copies may be deleted; see `augforge.store.copies`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock

from augforge.errors import DatasetError
from augforge.files import file_sha256, is_url, make_folder, remove_temporary_files, replacing, writing
from augforge.keys import digest
from augforge.store.copies import cache_folder, cache_limit, make_room
from augforge.store.log import LOG
from augforge.store.manifest import Manifest, read_manifest
from augforge.store.tags import TAGS, is_version_prefix, resolve_tag
from augforge.urls.access import naming
from augforge.urls.reading import download, exists, list_names, read_object, size_of


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

    All paths of files are relative to the dataset. ``copies`` is another folder for the local copies.
    """

    url: str
    copies: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder of the local copies: ``copies``, or one per URL in the cache folder."""
        plain = self.url.rstrip("/")
        return self.copies or cache_folder() / f"{PurePosixPath(plain).name}-{digest(plain)[:16]}"

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
        with self._naming(path):
            there = exists(self.url_of(path))
        if there:
            self._download(path)
        else:
            self._copy_path(path).unlink(missing_ok=True)
        return there

    def fetch_texts(self) -> list[str]:
        """Bring the copies of all manifests, tags and log up to date: those that are gone go here too.

        Returns:
            The versions that there are, sorted.
        """
        with self._naming("versions"):
            names = self.list_versions() if exists(self.url_of("versions")) else []
        for copy in (self.folder / "versions").glob("*.yaml"):
            if copy.stem not in names:
                copy.unlink()
        for path in ("manifest.yaml", TAGS, LOG, *(f"versions/{name}.yaml" for name in names)):
            self.fetch_anew(path)
        return names

    def list_versions(self) -> list[str]:
        """All versions that have a manifest, sorted by name."""
        with self._naming("versions"):
            names = list_names(self.url_of("versions"))
        return sorted(name[: -len(".yaml")] for name in names if re.fullmatch(r"[0-9a-f]{16}\.yaml", name))

    def size_of(self, path: str) -> int | None:
        """Size of a remote file in bytes; None if the server does not tell it."""
        with self._naming(path):
            return size_of(self.url_of(path))

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
                    make_room(cache_folder(), besides=target)
        elif cache_limit() is not None:
            os.utime(target)  # the copies that were used last stay
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
        """Fetch a file. A download of one that has a digest goes on where a killed one has stopped."""
        copy = self._copy_path(path)
        if sha256 is None:
            with replacing(copy) as temporary, self._naming(path):
                temporary.write_bytes(read_object(self.url_of(path)))
            return
        part = copy.with_name(f".{copy.name}.{sha256[:8]}.part")
        for went_on in (part.exists(), False):
            with self._naming(path):
                download(self.url_of(path), part)
            if file_sha256(part) == sha256:
                part.replace(copy)
                return
            part.unlink()
            if not went_on:  # otherwise the part of an earlier download may be what is wrong
                break
        raise DatasetError(
            f"{self.url_of(path)} is damaged: its SHA-256 is not the manifest's. Upload it again, or build the "
            "dataset again"
        )

    def _naming(self, path: str) -> AbstractContextManager[None]:
        """Errors raised inside become a DatasetError that names the URL of a file."""
        return naming(self.url_of(path), f"{self.url} holds no {path}, so it is no whole dataset. Check the address")


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
