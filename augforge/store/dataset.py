"""Reading a dataset: random access by memory map and offset, the index for everything else."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from augforge import bitmask
from augforge.cache.filecache import file_sha256
from augforge.errors import DatasetError, nearest
from augforge.sample import Sample
from augforge.store.codec import decode_image
from augforge.store.index import read_index
from augforge.store.manifest import Manifest, read_manifest
from augforge.store.order import global_order, share
from augforge.store.remote import Remote, is_url

OPEN_SHARDS = 256
"""Shards mapped at a time: each holds a file descriptor, of which a process has few."""


def open_dataset(path: str | Path, version: str | None = None) -> Dataset:
    """Open a dataset.

    Args:
        path: its folder, or a URL that fsspec reads, such as ``s3://bucket/datasets/hands``; of that, shards are
            fetched when they are first needed (see `augforge.store.remote`).
        version: another than the current one; a unique beginning is enough.

    Raises:
        DatasetError: no dataset there, or no such version.
        MissingExtra: nothing is installed that reads such URLs.
    """
    if is_url(path):
        remote = Remote(str(path))
        manifest = remote.manifest(version)
        return Dataset(remote.folder, manifest, read_index(remote.index(manifest)), remote)
    folder = Path(path).expanduser()
    manifest = read_manifest(folder, version)
    index = folder / manifest.index_path
    if not index.exists():
        raise DatasetError(f"{index} is missing, so {folder} is not whole. Build the dataset again")
    return Dataset(folder, manifest, read_index(index))


class Dataset:
    """A version of a dataset, or a part of one.

    ``len``, iteration and ``[i]`` give Samples; `index` is a Polars table in the same order. Copies for other
    processes share nothing but the files.
    """

    def __init__(self, folder: Path, manifest: Manifest, index: pl.DataFrame, remote: Remote | None = None) -> None:
        self.folder, self.manifest, self.index, self.remote = folder, manifest, index, remote
        self._maps: dict[str, mmap.mmap] = {}

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> str:
        return self.manifest.version

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.manifest.classes)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.manifest.labels)

    @property
    def _remedy(self) -> str:
        return self.remote.remedy if self.remote else "Check: augforge verify; repair: augforge build"

    @property
    def groups(self) -> set[str]:
        """All groups that show in the samples; a mosaic shows several."""
        return set(self.index["groups"].explode().drop_nulls().to_list())

    def __repr__(self) -> str:
        return f"<Dataset {self.name} {self.version}: {len(self)} samples, {len(self.classes)} classes>"

    def __len__(self) -> int:
        return self.index.height

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> Sample:
        """Sample i. Its masks are a view of planar memory; `bitmask.contiguous` makes them interleaved."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"sample {i} of {len(self)}")
        row, payload = self._rows[i], self._payloads[i]
        image, masks = self.encoded(i)
        height, width = int(payload[4]), int(payload[5])
        try:
            picture, planes = decode_image(image), bitmask.decode(masks, height, width, len(self.classes))
        except ValueError as error:
            raise DatasetError(
                f"sample '{row['name']}' in {self.folder / self._shards[i]} cannot be decoded: {error}. {self._remedy}"
            ) from None
        return Sample(
            name=row["name"],
            image=picture,
            masks=planes,
            known=self._known(row["area"]),
            group=row["group"],
            split=row["split"],
            label=None if row["label"] is None else np.array(row["label"], np.float32),
            metadata={k: v for k, v in (row.get("metadata") or {}).items() if v is not None},
        )

    def encoded(self, i: int) -> tuple[memoryview, memoryview]:
        """Encoded image and encoded masks of sample i, as views of the mapped shard.

        DatasetError where the shard ends before they do; other damage shows when they are decoded, or in `check`.
        """
        image_offset, image_bytes, masks_offset, masks_bytes = (int(n) for n in self._payloads[i, :4])
        shard = self._map(self._shards[i])
        if len(shard) < max(image_offset + image_bytes, masks_offset + masks_bytes):
            raise DatasetError(
                f"{self.folder / self._shards[i]} is cut off: it ends at byte {len(shard)}, before sample "
                f"'{self.index['name'][i]}' does. {self._remedy}"
            )
        view = memoryview(shard)
        return view[image_offset : image_offset + image_bytes], view[masks_offset : masks_offset + masks_bytes]

    def check(self, advance: Callable[[int], None] = lambda count: None) -> None:
        """Prove by SHA-256 that the index and the shards of these samples are what the manifest says.

        Of a dataset behind a URL, a damaged copy is fetched again.

        Args:
            advance: is told how many shards are done.

        Raises:
            DatasetError: naming the file that is damaged or missing.
        """
        held = set(self._shards)
        self._check_file(self.manifest.index_path, self.manifest.index_sha256)
        for shard in self.manifest.shards:
            if shard.path in held:
                self._check_file(shard.path, shard.sha256)
                advance(1)

    def named(self, name: str) -> Sample:
        """The sample of that name."""
        names = self.index["name"].to_list()
        if name not in names:
            raise DatasetError(f"{self.folder} has no sample '{name}'.{nearest(name, names)}")
        return self[names.index(name)]

    def split(self, name: str) -> Dataset:
        """The samples of a split."""
        if name not in self.manifest.splits:
            raise DatasetError(f"{self.folder} has no split '{name}'.{nearest(name, self.manifest.splits)}")
        return self.where(pl.col("split") == name)

    def where(self, *conditions: pl.Expr) -> Dataset:
        """The samples that fulfil Polars expressions over the index."""
        return Dataset(self.folder, self.manifest, self.index.filter(*conditions), self.remote)

    def order(
        self, seed: int, epoch: int, world: int = 1, rank: int = 0, start: int = 0, weights: ArrayLike | None = None
    ) -> NDArray[np.int64]:
        """Positions of the samples that a rank reads in an epoch, in order: int64.

        The global order, a permutation of all samples, depends on seed and epoch alone. Of what follows its first
        `start` samples, rank r of `world` takes every world-th from the r-th on: disjoint, complete, and resumable from
        a count of samples, with another world size too.

        Args:
            seed, epoch: of the permutation.
            world, rank: how many processes read, and which this one is, from 0.
            start: samples of this epoch that all ranks together have read.
            weights: one a sample: as many are drawn, with replacement, in proportion to them.

        Raises:
            ValueError: no such rank, a start below 0, or weights that do not fit.
        """
        return share(global_order(len(self), seed, epoch, weights), world, rank, start)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("folder", "manifest", "index", "remote")
        return {name: getattr(self, name) for name in kept} | {"_maps": {}}

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        wanted = [c for c in ("name", "group", "split", "label", "metadata", "area") if c in self.index.columns]
        return self.index.select(wanted).to_dicts()

    @cached_property
    def _shards(self) -> list[str]:
        return self.index["shard"].to_list()

    @cached_property
    def _payloads(self) -> NDArray[np.int64]:
        columns = ["image_offset", "image_bytes", "masks_offset", "masks_bytes", "height", "width"]
        return self.index.select(pl.col(columns).cast(pl.Int64)).to_numpy()

    @cached_property
    def _digests(self) -> dict[str, tuple[str, int]]:
        return {shard.path: (shard.sha256, shard.bytes) for shard in self.manifest.shards}

    def _known(self, area: dict[str, Any]) -> NDArray[np.uint8]:
        flags = np.array([value is not None for value in area.values()])
        return bitmask.flags_to_bits(flags)

    def _check_file(self, place: str, sha256: str) -> None:
        path = self.folder / place
        if self.remote is not None:
            self.remote.checked_shard(place, sha256)
            self._maps.pop(place, None)  # of a copy that may have been fetched anew
            return
        try:
            found = file_sha256(path)
        except OSError as error:
            raise DatasetError(f"{path} cannot be read ({error.strerror}). {self._remedy}") from None
        if found != sha256:
            raise DatasetError(f"{path} is damaged: its SHA-256 is not the manifest's. {self._remedy}")

    def _map(self, shard: str) -> mmap.mmap:
        if shard not in self._maps:
            if len(self._maps) >= OPEN_SHARDS:
                self._maps.pop(next(iter(self._maps)))
            if self.remote is not None:
                self.remote.shard(shard, *self._digests[shard])
            try:
                with (self.folder / shard).open("rb") as stream:
                    self._maps[shard] = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise DatasetError(f"{self.folder / shard} cannot be read ({error}). {self._remedy}") from None
        return self._maps[shard]
