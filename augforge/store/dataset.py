"""Reading a dataset: samples in any order, by offsets into memory maps; the index for everything else.

Processes that load data for training import this module, and get datasets that are open already. What only opening,
checking or the index needs (Arrow, Polars, remote access, YAML) is therefore imported where it is used. What `split`
and ``[i]`` need is ready once a dataset is open, and works in forked processes and in several threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from augforge import bitmask
from augforge.errors import DatasetError, OldNames, nearest
from augforge.files import is_url
from augforge.sample import Sample, notebook
from augforge.store.codec import decode_image
from augforge.store.forking import refuse_polars_after_fork
from augforge.store.manifest import Manifest, read_manifest
from augforge.store.order import global_order, share
from augforge.store.sampletable import Positions, SampleTable
from augforge.store.versionfiles import Encoded, VersionFiles

if TYPE_CHECKING:
    import PIL.Image
    import polars as pl

    from augforge.lineage import SampleLineage
    from augforge.store.remote import Remote

_POSITION = "position in the dataset"


def open_dataset(path: str | Path, version: str | None = None, check: bool = True) -> Dataset:
    """Open a dataset.

    Args:
        path: its folder, or a URL that fsspec reads, such as ``s3://bucket/datasets/hands``. Shards behind a URL are
            fetched when they are first needed (see `augforge.store.remote`).
        version: a tag, a version, or the beginning of one if it is unique; None for the current version.
        check: compare the index with its SHA-256 now, and the encoded image and masks of each sample with their digests
            whenever they are read. Datasets of format 1 have no digests of samples, so there the index alone is
            compared.

    Raises:
        DatasetError: there is no dataset, no such version, or its index is missing or damaged.
        MissingExtra: the package that reads such URLs is not installed.
    """
    if is_url(path):
        from augforge.store.remote import Remote

        remote = Remote(str(path))
        files = VersionFiles(remote.folder, remote.fetch_manifest(version), remote, check)
    else:
        folder = Path(path).expanduser()
        files = VersionFiles(folder, read_manifest(folder, version), None, check)
    return Dataset(files)


class Dataset(OldNames):
    """A version of a dataset, or some of its samples.

    ``len``, iteration and ``[i]`` give Samples; `index` is a Polars table with one row per sample, in the same order.
    Reading samples works in several threads, and in processes that were forked or that got the dataset pickled;
    `index` and `where` need Polars, which does not work in a forked process.

    Args:
        files: of the version.
        table: what reading needs to know of each sample; None to read it from the index.
        positions: of the samples in the index; None for all of them.
    """

    old_names: ClassVar[Mapping[str, str]] = {"named": "by_name", "encoded": "payload"}

    def __init__(
        self, files: VersionFiles, table: SampleTable | None = None, positions: Positions | None = None
    ) -> None:
        self._files, self._positions = files, positions
        self._table = files.read_table() if table is None else table
        self._index: pl.DataFrame | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_index": None}  # another process reads it from its file, if it needs it

    @property
    def folder(self) -> Path:
        """The dataset's folder, or that of the local copy of one behind a URL."""
        return self._files.folder

    @property
    def manifest(self) -> Manifest:
        """The version's manifest."""
        return self._files.manifest

    @property
    def remote(self) -> Remote | None:
        """Where the dataset is behind a URL; None for a folder."""
        return self._files.remote

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
    def index(self) -> pl.DataFrame:
        """The index as a Polars table, one row per sample; read from its file on first use.

        Raises:
            DatasetError: the file is missing or damaged, or this process was forked from one that had used Polars.
        """
        refuse_polars_after_fork("index")
        if self._index is None:
            whole = self._files.index
            self._index = whole if self._positions is None else whole[self._positions]
        return self._index

    @property
    def groups(self) -> set[str]:
        """All groups whose images appear in the samples; a mosaic has several."""
        return set(self.index["groups"].explode().drop_nulls().to_list())

    def __repr__(self) -> str:
        return f"<Dataset {self.name} {self.version}: {len(self)} samples, {len(self.classes)} classes>"

    def _repr_html_(self) -> str:
        return str(notebook().dataset_html(self))

    def show(self, limit: int = 24, split: str | None = None) -> PIL.Image.Image:
        """A contact sheet of up to `limit` samples, all of them or those of a split, as a picture for notebooks."""
        picture: PIL.Image.Image = notebook().show_dataset(self, limit, split)
        return picture

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, i: slice) -> Dataset: ...

    @overload
    def __getitem__(self, i: int) -> Sample: ...

    def __getitem__(self, i: int | slice) -> Sample | Dataset:
        """Sample i, or the dataset of a slice's samples; only samples are read.

        Masks are (H, W, P) as a view of planar memory; `bitmask.contiguous` copies them into order.

        Raises:
            IndexError: i outside -len..len-1.
            DatasetError: the shard is missing or damaged, or the sample cannot be decoded.
        """
        if isinstance(i, slice):
            return self.take(range(*i.indices(len(self))))
        i, table = self._from_start(i), self._table
        image, masks = self._files.payload(table, i)
        height, width = table.sizes[i].tolist()
        try:
            picture = decode_image(image, (height, width))
            verified = self._files.verifies(table)
            planes = bitmask.decode(masks, height, width, len(self.manifest.classes), verified)
        except ValueError as error:
            raise DatasetError(
                f"sample '{table.names[i]}' in {self.folder / table.shard[i]} cannot be decoded: {error}. "
                f"{self._files.remedy}"
            ) from None
        label = table.label[i]
        return Sample(
            name=table.names[i],
            image=picture,
            masks=planes,
            known=table.known[i].copy(),
            group=table.group[i],
            split=table.split[i],
            label=None if label is None else label.copy(),
            metadata=table.metadata_of(i),
            read_lineage=partial(_read_lineage, self._files.index_path, table.names[i], self._files.index_sha256),
        )

    def payload(self, i: int) -> Encoded:
        """Encoded image and encoded masks of sample i, as views of the mapped shard.

        Raises:
            IndexError: i outside -len..len-1.
            DatasetError: the shard is missing, ends too early, or holds other bytes than those that were stored.
        """
        return self._files.payload(self._table, self._from_start(i))

    def _from_start(self, i: int) -> int:
        if not -len(self) <= i < len(self):
            raise IndexError(f"sample {i} of {len(self)}")
        return i % len(self)

    def check(self, advance: Callable[[int], None] = lambda count: None) -> None:
        """Check by SHA-256 that the index and the shards of these samples are those of the manifest.

        Damaged copies of files behind a URL are fetched again.

        Args:
            advance: called with the number of shards just checked.

        Raises:
            DatasetError: a file is damaged or missing; the message names it.
        """
        shard_of = self._table.shard
        shards = {shard_of.values[code] for code in np.unique(shard_of.codes)}
        self._files.check_file(self.manifest.index_path, self.manifest.index_sha256)
        for shard in self.manifest.shards:
            if shard.path in shards:
                self._files.check_file(shard.path, shard.sha256)
                advance(1)

    def by_name(self, name: str) -> Sample:
        """The sample with this name; DatasetError with the nearest name if there is none."""
        return self[self.position(name)]

    def position(self, name: str) -> int:
        """The position of the sample with this name; DatasetError with the nearest name if there is none."""
        position = self._table.names.find(name)
        if position is None:
            raise DatasetError(f"{self.folder} has no sample '{name}'.{nearest(name, self._table.names)}")
        return position

    def split(self, name: str) -> Dataset:
        """The samples of a split; DatasetError with the nearest name if the dataset has no such split."""
        if name not in self.manifest.splits:
            raise DatasetError(f"{self.folder} has no split '{name}'.{nearest(name, self.manifest.splits)}")
        return self.take(np.flatnonzero(self._table.split.equals(name)))

    def where(self, *conditions: pl.Expr) -> Dataset:
        """The samples that fulfil all conditions, Polars expressions over the index.

        Raises:
            DatasetError: this process was forked from one that had used Polars.
        """
        refuse_polars_after_fork("where")
        found = self.index.with_row_index(_POSITION).filter(*conditions)
        part = self.take(found[_POSITION].to_numpy())
        part._index = found.drop(_POSITION)
        return part

    def take(self, positions: ArrayLike) -> Dataset:
        """The samples at these positions, in this order; IndexError for one outside 0..len-1."""
        chosen = np.asarray(positions, np.int64)
        if len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(self):
            raise IndexError(f"positions {chosen.min()} to {chosen.max()} of {len(self)} samples")
        in_index = chosen if self._positions is None else self._positions[chosen]
        return Dataset(self._files, self._table.take(chosen), in_index)

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


def _read_lineage(index: str, name: str, sha256: str | None) -> SampleLineage:
    from augforge.store.lineages import read_lineage  # most processes that read samples never ask for it

    return read_lineage(index, name, sha256)
