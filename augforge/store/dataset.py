"""Reading a dataset: samples in any order, by offsets into memory maps; the index for everything else.

Processes that load data for training import this module, and get datasets that are open already. What only opening or
checking needs (the index file, remote access, YAML) is therefore imported where it is used.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from augforge import bitmask
from augforge.errors import DatasetError, OldNames, nearest
from augforge.files import file_sha256, is_url, open_regular
from augforge.sample import Sample
from augforge.store.codec import decode_image
from augforge.store.manifest import Manifest, read_manifest
from augforge.store.order import global_order, share

if TYPE_CHECKING:
    from augforge.store.remote import Remote

OPEN_SHARDS = 256
"""Most shards mapped at a time: each map takes a file descriptor, of which a process may have only so many."""


def open_dataset(path: str | Path, version: str | None = None) -> Dataset:
    """Open a dataset.

    Args:
        path: its folder, or a URL that fsspec reads, such as ``s3://bucket/datasets/hands``. Shards behind a URL are
            fetched when they are first needed (see `augforge.store.remote`).
        version: a tag, a version, or the beginning of one if it is unique; None for the current version.

    Raises:
        DatasetError: there is no dataset, or no such version.
        MissingExtra: the package that reads such URLs is not installed.
    """
    from augforge.store.index import read_index  # a loading process gets the index pickled, and needs no Arrow
    from augforge.store.indexcheck import check_index

    if is_url(path):
        from augforge.store.remote import Remote

        remote = Remote(str(path))
        manifest = remote.fetch_manifest(version)
        index = remote.fetch_index(manifest)
        check_index(index, manifest)
        return Dataset(remote.folder, manifest, read_index(index), remote)
    folder = Path(path).expanduser()
    manifest = read_manifest(folder, version)
    index = folder / manifest.index_path
    if not index.exists():
        raise DatasetError(f"{index} is missing, so {folder} is incomplete. Build the dataset again")
    check_index(index, manifest)
    return Dataset(folder, manifest, read_index(index))


class Dataset(OldNames):
    """A version of a dataset, or some of its samples.

    ``len``, iteration and ``[i]`` give Samples; `index` is a Polars table with one row per sample, in the same order.
    Pickled for another process, it maps the shards anew there.
    """

    old_names: ClassVar[Mapping[str, str]] = {"named": "by_name", "encoded": "payload"}

    def __init__(self, folder: Path, manifest: Manifest, index: pl.DataFrame, remote: Remote | None = None) -> None:
        self.folder, self.manifest, self.index, self.remote = folder, manifest, index, remote
        self._maps: dict[str, mmap.mmap] = {}

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """16 hexadecimal digits; see `augforge.store.manifest.version_of`."""
        return self.manifest.version

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; class c is bit c of the masks."""
        return tuple(self.manifest.classes)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the entries of label vectors; empty without labels."""
        return tuple(self.manifest.labels)

    @property
    def groups(self) -> set[str]:
        """All groups whose images appear in the samples; a mosaic has several."""
        return set(self.index["groups"].explode().drop_nulls().to_list())

    def __repr__(self) -> str:
        return f"<Dataset {self.name} {self.version}: {len(self)} samples, {len(self.classes)} classes>"

    def __len__(self) -> int:
        return self.index.height

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> Sample:
        """Sample i. Its masks are (H, W, P) as a view of planar memory; `bitmask.contiguous` copies them into order.

        Raises:
            IndexError: i outside -len..len-1.
            DatasetError: the shard is missing or cut off, or the sample cannot be decoded.
        """
        if not -len(self) <= i < len(self):
            raise IndexError(f"sample {i} of {len(self)}")
        row = self._rows[i]
        height, width = self._sizes[i].tolist()
        image, masks = self.payload(i)
        try:
            picture = decode_image(image, (height, width))
            planes = bitmask.decode(masks, height, width, len(self.classes))
        except ValueError as error:
            raise DatasetError(
                f"sample '{row['name']}' in {self.folder / self._shards[i]} cannot be decoded: {error}. {self._remedy}"
            ) from None
        return Sample(
            name=row["name"],
            image=picture,
            masks=planes,
            # Areas stand in the order of the classes; that of a class that is not known is null. So is a metadata value
            # that this sample lacks and another one has.
            known=bitmask.flags_to_bits(np.array([pixels is not None for pixels in row["area"].values()])),
            group=row["group"],
            split=row["split"],
            label=None if row["label"] is None else np.array(row["label"], np.float32),
            metadata={key: value for key, value in (row.get("metadata") or {}).items() if value is not None},
        )

    def payload(self, i: int) -> tuple[memoryview, memoryview]:
        """Encoded image and encoded masks of sample i, as views of the mapped shard.

        DatasetError if the shard ends before they do. Other damage shows when they are decoded, or in `check`.
        """
        image_offset, image_bytes, masks_offset, masks_bytes = self._offsets[i].tolist()
        shard = self._map(self._shards[i])
        if len(shard) < max(image_offset + image_bytes, masks_offset + masks_bytes):
            raise DatasetError(
                f"{self.folder / self._shards[i]} is cut off: it ends at byte {len(shard)}, before sample "
                f"'{self.index['name'][i]}' does. {self._remedy}"
            )
        view = memoryview(shard)
        return view[image_offset : image_offset + image_bytes], view[masks_offset : masks_offset + masks_bytes]

    def check(self, advance: Callable[[int], None] = lambda count: None) -> None:
        """Check by SHA-256 that the index and the shards of these samples are those of the manifest.

        Damaged copies of files behind a URL are fetched again.

        Args:
            advance: called with the number of shards just checked.

        Raises:
            DatasetError: a file is damaged or missing; the message names it.
        """
        shards = set(self._shards)
        self._check_file(self.manifest.index_path, self.manifest.index_sha256)
        for shard in self.manifest.shards:
            if shard.path in shards:
                self._check_file(shard.path, shard.sha256)
                advance(1)

    def by_name(self, name: str) -> Sample:
        """The sample with this name; DatasetError with the nearest name if there is none."""
        return self[self.position(name)]

    def position(self, name: str) -> int:
        """The position of the sample with this name; DatasetError with the nearest name if there is none."""
        names = self.index["name"].to_list()
        if name not in names:
            raise DatasetError(f"{self.folder} has no sample '{name}'.{nearest(name, names)}")
        return names.index(name)

    def split(self, name: str) -> Dataset:
        """The samples of a split; DatasetError with the nearest name if the dataset has no such split."""
        if name not in self.manifest.splits:
            raise DatasetError(f"{self.folder} has no split '{name}'.{nearest(name, self.manifest.splits)}")
        return self.where(pl.col("split") == name)

    def where(self, *conditions: pl.Expr) -> Dataset:
        """The samples that fulfil all conditions, Polars expressions over the index."""
        return Dataset(self.folder, self.manifest, self.index.filter(*conditions), self.remote)

    def order(
        self, seed: int, epoch: int, world: int = 1, rank: int = 0, start: int = 0, weights: ArrayLike | None = None
    ) -> NDArray[np.int64]:
        """Positions of the samples that a rank reads in an epoch, in reading order: int64.

        The global order, a permutation of all samples, depends on seed and epoch alone. Of the samples after the first
        `start`, rank r of `world` takes every world-th, beginning with the r-th. The ranks' shares are disjoint and
        complete, and an epoch can be resumed from a number of samples, even with another world size.

        Args:
            seed, epoch: of the permutation.
            world, rank: how many processes read, and which this one is, from 0.
            start: number of samples of this epoch that all ranks together have read.
            weights: one number per sample; as many samples are drawn, with replacement, in proportion to them.

        Raises:
            ValueError: no such rank, a negative start, or weights that do not fit.
        """
        return share(global_order(len(self), seed, epoch, weights), world, rank, start)

    def __getstate__(self) -> dict[str, Any]:
        # Memory maps cannot be pickled, and the cached lists and arrays below are made again from the index.
        kept = ("folder", "manifest", "index", "remote")
        return {name: getattr(self, name) for name in kept} | {"_maps": {}}

    # Plain lists and arrays of the index columns that reading needs: looking up one row in Polars takes about as long
    # as decoding a small image.

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        wanted = ("name", "group", "split", "label", "metadata", "area")
        return self.index.select([column for column in wanted if column in self.index.columns]).to_dicts()

    @cached_property
    def _shards(self) -> list[str]:
        return self.index["shard"].to_list()

    @cached_property
    def _offsets(self) -> NDArray[np.int64]:
        columns = ["image_offset", "image_bytes", "masks_offset", "masks_bytes"]
        return self.index.select(pl.col(columns).cast(pl.Int64)).to_numpy()

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        return self.index.select(pl.col("height", "width").cast(pl.Int64)).to_numpy()

    @cached_property
    def _shard_facts(self) -> dict[str, tuple[str, int]]:
        return {shard.path: (shard.sha256, shard.bytes) for shard in self.manifest.shards}

    @property
    def _remedy(self) -> str:
        return self.remote.remedy if self.remote else "Check: augforge verify; repair: augforge build"

    def _check_file(self, place: str, sha256: str) -> None:
        path = self.folder / place
        if self.remote is not None:
            self.remote.fetch_intact_shard(place, sha256)
            self._maps.pop(place, None)  # the copy may have been fetched again, and the map shows the old one
            return
        try:
            found = file_sha256(path)
        except OSError as error:
            raise DatasetError(f"{path} cannot be read ({error.strerror}). {self._remedy}") from None
        if found != sha256:
            raise DatasetError(f"{path} is damaged: its SHA-256 is not the manifest's. {self._remedy}")

    def _map(self, shard: str) -> mmap.mmap:
        """The memory map of a shard, made on first use. If there are too many, the one made first is dropped."""
        if shard not in self._maps:
            if len(self._maps) >= OPEN_SHARDS:
                self._maps.pop(next(iter(self._maps)))
            if self.remote is not None:
                self.remote.fetch_shard(shard, *self._shard_facts[shard])
            try:
                with open_regular(self.folder / shard) as stream:
                    self._maps[shard] = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise DatasetError(f"{self.folder / shard} cannot be read ({error}). {self._remedy}") from None
        return self._maps[shard]
