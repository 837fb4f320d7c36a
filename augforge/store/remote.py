"""Datasets behind a URL: what is asked for is fetched once, checked, and read from a folder like any other dataset.

Shards are named by their content, so a copy never grows old; the manifest is fetched anew each time. The copies lie
in ``$AUGFORGE_CACHE``, by default ``augforge`` in the user's cache folder, and may be deleted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from augforge.cache.filecache import file_sha256
from augforge.errors import DatasetError, MissingExtra
from augforge.files import replacing
from augforge.keys import digest
from augforge.store.manifest import Manifest, read_manifest


def is_url(path: str | Path) -> bool:
    """Whether a dataset is not in a folder, but behind a URL such as ``s3://bucket/datasets/hands``."""
    return "://" in str(path)


def cache_folder() -> Path:
    """Where copies of remote files lie."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "augforge"
    return Path(os.environ.get("AUGFORGE_CACHE") or usual).expanduser()


def shard_places(dataset: str | Path, version: str | None = None) -> list[str]:
    """Where the shards of a dataset lie: paths in its folder, or URLs below its own.

    Raises:
        DatasetError: no dataset there, or no such version.
        MissingExtra: nothing is installed that reads such URLs.
    """
    if is_url(dataset):
        remote = Remote(str(dataset))
        return [remote.at(shard.path) for shard in remote.manifest(version).shards]
    folder = Path(dataset)
    return [str(folder / shard.path) for shard in read_manifest(folder, version).shards]


@dataclass(frozen=True, slots=True)
class Remote:
    """A dataset behind a URL that fsspec reads: ``s3://``, ``https://``, ``gs://``, ``memory://`` and others."""

    url: str

    @property
    def folder(self) -> Path:
        """Of the local copy."""
        plain = self.url.rstrip("/")
        return cache_folder() / f"{PurePosixPath(plain).name}-{digest(plain)[:16]}"

    def at(self, place: str) -> str:
        """URL of a file of the dataset."""
        return f"{self.url.rstrip('/')}/{place}"

    @property
    def remedy(self) -> str:
        """What to do about a damaged copy."""
        return f"It is a copy of {self.url}: delete {self.folder}, and it is fetched again"

    def manifest(self, version: str | None = None) -> Manifest:
        """The current manifest, or that of a version (a unique beginning is enough).

        Raises:
            DatasetError: no dataset there, no such version, or it cannot be read.
            MissingExtra: nothing is installed that reads such URLs.
        """
        places = ["manifest.yaml"] if version is None else self._versions(version)
        for place in places:
            self._download(place)
        try:
            return read_manifest(self.folder, version)
        except DatasetError as error:  # the copy is fresh, so what is wrong is wrong there
            raise DatasetError(str(error).replace(str(self.folder), self.url.rstrip("/"))) from None

    def index(self, manifest: Manifest) -> Path:
        """The index of a version, fetched unless the copy is what the manifest says."""
        target = self._copy(manifest.index_path)
        if not target.exists() or file_sha256(target) != manifest.index_sha256:
            self._download(manifest.index_path, manifest.index_sha256)
        return target

    def rejected(self, manifest: Manifest) -> Path:
        """The table of rejected samples of a version, fetched anew: the manifest has no digest of its bytes."""
        self._download(manifest.rejected_path)
        return self._copy(manifest.rejected_path)

    def size(self, place: str) -> int | None:
        """Bytes of a file there; None where the server does not say."""
        with self._reading(place) as (files, path):
            size: int | None = files.size(path)
            return size

    def shard(self, place: str, sha256: str, size: int) -> Path:
        """A shard, fetched unless there is a copy of its size; DatasetError where it is not the one it should be."""
        return self._fetched(place, sha256, lambda copy: copy.exists() and copy.stat().st_size == size)

    def checked_shard(self, place: str, sha256: str, digest_of: Callable[[Path], str] = file_sha256) -> Path:
        """A shard, fetched unless there is a copy with its digest, by ``digest_of``."""
        return self._fetched(place, sha256, lambda copy: copy.exists() and digest_of(copy) == sha256)

    def _fetched(self, place: str, sha256: str, is_whole: Callable[[Path], bool]) -> Path:
        target = self._copy(place)
        if not is_whole(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(target.with_name(f".{target.name}.lock")):  # workers ask for the same one at once
                if not is_whole(target):
                    self._download(place, sha256)
        return target

    def _copy(self, place: str) -> Path:
        """Where the copy of a file lies; DatasetError for a place that leaves the dataset."""
        path = PurePosixPath(place)
        if path.is_absolute() or ".." in path.parts or "\\" in place:
            raise DatasetError(f"{self.url}: its manifest names {place}, which leaves the dataset. Build it again")
        return self.folder / path

    def _versions(self, version: str) -> list[str]:
        with self._reading("versions") as (files, path):
            known = sorted(PurePosixPath(name).name for name in files.ls(path, detail=False))
        found = [name for name in known if name.startswith(version) and name.endswith(".yaml")]
        if not found:
            raise DatasetError(f"{self.url} has no version '{version}'. Give another, or none for the current one")
        return [f"versions/{name}" for name in found]

    def _download(self, place: str, sha256: str | None = None) -> None:
        with replacing(self._copy(place)) as temporary:
            with self._reading(place) as (files, path):
                files.get_file(path, str(temporary))
            if sha256 is not None and file_sha256(temporary) != sha256:
                raise DatasetError(
                    f"{self.at(place)} is damaged: its SHA-256 is not the manifest's. Upload it again, or build the "
                    "dataset again"
                )

    @contextmanager
    def _reading(self, place: str) -> Iterator[tuple[Any, str]]:
        """fsspec's file system and a path in it; whatever goes wrong names the URL."""
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise MissingExtra("fsspec", "s3", f"reading {self.url}") from error
        try:
            yield url_to_fs(self.at(place))
        except FileNotFoundError as error:
            raise DatasetError(f"{self.url} holds no {place}, so it is no whole dataset. Check the address") from error
        except Exception as error:  # each file system raises what its client raises
            if isinstance(error, ImportError) and self.url.startswith("s3"):
                raise MissingExtra("s3fs", "s3", f"reading {self.url}") from error
            raise DatasetError(
                f"{self.at(place)} cannot be read ({type(error).__name__}: {error}). Check the address, the network "
                "and your rights"
            ) from error
