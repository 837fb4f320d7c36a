"""The files of one version as a reader uses them: compared with their digests, and fetched if they lie behind a URL."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from augforge.errors import DatasetError, shorten
from augforge.files import file_sha256, open_regular
from augforge.store.manifest import Manifest
from augforge.store.sampletable import SampleTable

if TYPE_CHECKING:
    import polars as pl

    from augforge.store.remote import Remote

OPEN_SHARDS = 256
"""Most shards mapped at a time: each map takes a file descriptor, of which a process may have only so many."""

Encoded = tuple[memoryview, memoryview]
"""An encoded image and encoded masks."""


class _DamagedPayload(DatasetError):
    """A payload is not the one that was stored."""


class VersionFiles:
    """The index and the shards of a version.

    Several threads may use it, and so may forked processes: it holds no lock and no open file, only memory maps.
    Pickled for another process, it maps the shards anew there.

    Args:
        folder: of the dataset, or of the local copy of one behind a URL.
        manifest: of the version.
        remote: where missing and damaged copies are fetched from.
        checked: compare what is read with its digest.
    """

    def __init__(self, folder: Path, manifest: Manifest, remote: Remote | None = None, checked: bool = True) -> None:
        self.folder, self.manifest, self.remote, self.checked = folder, manifest, remote, checked
        self._facts = {shard.path: (shard.sha256, shard.bytes) for shard in manifest.shards}
        self._maps: dict[str, mmap.mmap] = {}
        self._is_possible = False  # whether the index was checked by `check_index`

    def __reduce__(self) -> tuple[Any, ...]:
        return VersionFiles, (self.folder, self.manifest, self.remote, self.checked)

    # ---- the index ----

    @property
    def index_path(self) -> str:
        """The index file."""
        return str(self.folder / self.manifest.index_path)

    @property
    def index_sha256(self) -> str | None:
        """Digest of the index file; None if files are believed as they are."""
        return self.manifest.index_sha256 if self.checked else None

    def read_table(self) -> SampleTable:
        """What reading samples needs of the index; DatasetError if the file is missing or damaged."""
        from augforge.store.tablereading import read_sample_table  # by Arrow, which a loading process does without

        with self._reading():
            return read_sample_table(self._index_file(), self.manifest.classes)

    @cached_property
    def index(self) -> pl.DataFrame:
        """The whole index, read on first use; DatasetError if the file is missing or damaged."""
        from augforge.store.index import read_index  # by Polars, as above

        with self._reading():
            return read_index(self._index_file())

    def _index_file(self) -> Path:
        path = self._find_index()
        if not self._is_possible:
            from augforge.store.indexcheck import check_index  # by Arrow, as above

            check_index(path, self.manifest)
            self._is_possible = True
        return path

    def _find_index(self) -> Path:
        if self.remote is not None:
            return self.remote.fetch_index(self.manifest)
        path = self.folder / self.manifest.index_path
        if not path.exists():
            raise DatasetError(f"{path} is missing, so {self.folder} is incomplete. {self.remedy}")
        if self.checked:
            self._compare(path, self.manifest.index_sha256)
        return path

    # ---- payloads ----

    def payload(self, table: SampleTable, i: int) -> Encoded:
        """Encoded image and encoded masks of a sample, as views of the mapped shard.

        A damaged copy of a shard behind a URL is fetched again.

        Raises:
            DatasetError: the shard is missing or ends too early, or the bytes are not those with the index's digests.
        """
        try:
            return self._read(table, i)
        except _DamagedPayload:
            shard = table.shard[i]
            self._maps.pop(shard, None)  # the file may be repaired before the next attempt, under the same name
            if self.remote is None:
                raise
        self.remote.fetch_intact_shard(shard, self._facts[shard][0])
        return self._read(table, i)

    def verifies(self, table: SampleTable) -> bool:
        """Whether `payload` compares what it reads with digests."""
        return self.checked and table.digests is not None

    def _read(self, table: SampleTable, i: int) -> Encoded:
        shard = table.shard[i]
        image_at, image_bytes, masks_at, masks_bytes = table.places[i].tolist()
        view = memoryview(self._map(shard))
        if min(image_at, image_bytes, masks_at, masks_bytes) < 0:
            raise DatasetError(f"the index of {self.folder} has a negative offset or length. {self.remedy}")
        if len(view) < max(image_at + image_bytes, masks_at + masks_bytes):
            raise _DamagedPayload(
                f"{self.folder / shard} is cut off: it ends at byte {len(view)}, before sample '{table.names[i]}' "
                f"does. {self.remedy}"
            )
        image, masks = view[image_at : image_at + image_bytes], view[masks_at : masks_at + masks_bytes]
        if self.checked and table.digests is not None:
            found = [xxhash.xxh3_64_intdigest(image), xxhash.xxh3_64_intdigest(masks)]
            if found != table.digests[i].tolist():
                raise _DamagedPayload(
                    f"{self.folder / shard} is damaged: the stored bytes of sample '{table.names[i]}' are not those "
                    f"that the index has the digest of. {self.remedy}"
                )
        return image, masks

    def _map(self, shard: str) -> mmap.mmap:
        """The memory map of a shard, made on first use. If there are too many, the one made first is dropped.

        There is no lock, because a forked process would find it locked for ever if a thread of its parent had it. Two
        threads may therefore map the same shard, which costs a moment. A dropped map stays open while it is read.
        """
        found = self._maps.get(shard)
        if found is None:
            found = self._maps[shard] = self._open(shard)
            for oldest in list(self._maps)[:-OPEN_SHARDS]:
                self._maps.pop(oldest, None)
        return found

    def _open(self, shard: str) -> mmap.mmap:
        if shard not in self._facts:  # which keeps an index from naming files outside of the dataset
            raise DatasetError(
                f"the index of {self.folder} names {shorten(shard)}, and the manifest has no such shard. {self.remedy}"
            )
        path = self.folder / shard
        if self.remote is not None:
            self.remote.fetch_shard(shard, *self._facts[shard])
        with self._reading():
            try:
                with open_regular(path) as stream:
                    return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise DatasetError(f"{path} cannot be read ({error}). {self.remedy}") from None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """While a file is read: if gc has removed the version, that is the error, and not the file that is missing."""
        try:
            yield
        except (DatasetError, OSError) as error:  # a file may vanish between two steps of reading it
            from augforge.store.versions import removed_version  # a loading process needs it for this error alone

            # Behind a URL, the folder holds copies alone, which say nothing of the versions that there are.
            removed = None if self.remote else removed_version(self.folder, self.manifest.version)
            if removed is not None:
                raise removed from None
            if isinstance(error, DatasetError):
                raise
            raise DatasetError(f"{self.folder} cannot be read ({error}). {self.remedy}") from None

    # ---- whole files ----

    def check_file(self, place: str, sha256: str) -> None:
        """Compare a file with its SHA-256, and fetch a damaged copy again; DatasetError if it is missing or damaged."""
        if self.remote is None:
            with self._reading():
                self._compare(self.folder / place, sha256)
        else:
            self.remote.fetch_intact_shard(place, sha256)
            self._maps.pop(place, None)  # the copy may have been fetched again, and the map shows the old one

    def _compare(self, path: Path, sha256: str) -> None:
        try:
            found = file_sha256(path)
        except OSError as error:
            raise DatasetError(f"{path} cannot be read ({error.strerror}). {self.remedy}") from None
        if found != sha256:
            raise DatasetError(f"{path} is damaged: its SHA-256 is not the manifest's. {self.remedy}")

    @property
    def remedy(self) -> str:
        """What to do about a damaged file, for error messages."""
        if self.remote is not None:
            return self.remote.remedy
        return f"Check: augforge verify {self.folder}; repair: augforge repair {self.folder}"
