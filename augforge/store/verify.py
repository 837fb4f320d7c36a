"""Checking that a dataset is what its manifest says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from augforge.cache.parquet import FAULTS, check_parquet, first_line, read_table
from augforge.errors import DatasetError
from augforge.files import file_sha256
from augforge.store.codec import pixel_digest
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.manifest import ShardEntry, count_reasons, rejected_digest, tags_digest
from augforge.store.remote import Remote
from augforge.store.shard import payload_offsets

_COLUMNS = ("name", "group", "split", "width", "height")
"""What both a shard's row and the index state of a sample."""
_OFFSETS = ("image_offset", "image_bytes", "masks_offset", "masks_bytes")


def verify(
    place: str | Path,
    version: str | None = None,
    pixels: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> list[str]:
    """Check a dataset version from the manifest down to the bytes.

    Shards behind a URL are fetched unless there is an intact copy; then the size of the remote file is compared.

    Args:
        place: folder of the dataset, or its URL.
        version: a tag, a version, or the beginning of one if it is unique; None for the current version.
        pixels: decode every sample and compare its pixel digest too.
        advance: called with the number of shards just checked.

    Returns:
        One line per problem, naming the file or the sample; empty if there are none.

    Raises:
        DatasetError: there is no dataset, no such version, or its index cannot be read.
        MissingExtra: the package that reads such URLs is not installed.
    """
    dataset = open_dataset(place, version)
    problems = list(_manifest_problems(dataset))
    for shard in dataset.manifest.shards:
        problems += _shard_problems(dataset, shard, pixels)
        advance(1)
    return problems


def _display_path(dataset: Dataset, path: str) -> str:
    """A file of the dataset as problems name it: its URL, or its path in the dataset's folder."""
    return dataset.remote.url_of(path) if dataset.remote else path


def _manifest_problems(dataset: Dataset) -> Iterator[str]:
    manifest, index = dataset.manifest, dataset.index
    manifest_path, index_path = _display_path(dataset, "manifest.yaml"), _display_path(dataset, manifest.index_path)
    if manifest.expected_version() != manifest.version:
        yield f"{manifest_path}: version {manifest.version} is not that of its shards ({manifest.expected_version()})"
    if manifest.samples != sum(manifest.splits.values()):
        yield f"{manifest_path}: {manifest.samples} samples, but its splits hold {sum(manifest.splits.values())}"
    if file_sha256(dataset.folder / manifest.index_path) != manifest.index_sha256:
        yield f"{index_path}: its digest is not the manifest's; the index was changed"
    counts = {row["split"]: row["len"] for row in index.group_by("split").len().to_dicts()}
    if counts != manifest.splits:
        yield f"{index_path}: holds {counts}, the manifest says {manifest.splits}"
    if tags_digest(index.select("name", "tags").iter_rows()) != manifest.tags_digest:
        yield f"{index_path}: its tags are not those of the manifest"
    yield from _rejected_problems(dataset)
    stray = set(index["shard"]) - {shard.path for shard in manifest.shards}
    if stray:
        yield f"{index_path}: names shards the manifest does not have: {', '.join(sorted(stray))}"


def _rejected_problems(dataset: Dataset) -> Iterator[str]:
    manifest, shown_path = dataset.manifest, _display_path(dataset, dataset.manifest.rejected_path)
    try:
        remote = dataset.remote
        path = remote.fetch_rejected(manifest) if remote else dataset.folder / manifest.rejected_path
        rejected = read_table(path).to_dicts()
    except DatasetError as error:
        yield str(error)
        return
    except (OSError, ValueError) as error:
        yield f"{shown_path}: cannot be read: {first_line(error)}"
        return
    if rejected_digest(rejected) != manifest.rejected_digest:
        yield f"{shown_path}: its digest is not the manifest's; the rejected samples were changed"
    elif count_reasons(rejected) != manifest.rejected:
        yield (
            f"{_display_path(dataset, 'manifest.yaml')}: rejected is {manifest.rejected}, "
            f"but {manifest.rejected_path} says {count_reasons(rejected)}"
        )


def _shard_problems(dataset: Dataset, shard: ShardEntry, pixels: bool) -> list[str]:
    problems = _fetch_problems(dataset.remote, shard) if dataset.remote else []
    return problems or _file_problems(dataset, shard, pixels)


def _fetch_problems(remote: Remote, shard: ShardEntry) -> list[str]:
    """Problems with the remote file of a shard, which is fetched unless there is an intact copy."""
    try:
        size = remote.size_of(shard.path)
        if size not in (None, shard.bytes):
            return [f"{remote.url_of(shard.path)}: has {size} bytes, the manifest says {shard.bytes}"]
        remote.fetch_intact_shard(shard.path, shard.sha256)
    except DatasetError as error:
        return [str(error)]
    return []


def _file_problems(dataset: Dataset, shard: ShardEntry, pixels: bool) -> list[str]:
    path, shown_path = dataset.folder / shard.path, _display_path(dataset, shard.path)
    if not path.exists():
        return [f"{shown_path}: is missing"]
    if not path.is_file():
        return [f"{shown_path}: is no regular file"]
    problems = []
    if path.stat().st_size != shard.bytes:
        problems.append(f"{shown_path}: has {path.stat().st_size} bytes, the manifest says {shard.bytes}")
    elif file_sha256(path) != shard.sha256:
        problems.append(f"{shown_path}: its SHA-256 is not the manifest's; its bytes were changed")
    # Without `remote`: this file is to be judged as it is, and must not be replaced by a fresh copy.
    part = Dataset(dataset.folder, dataset.manifest, dataset.index.filter(pl.col("shard") == shard.path))
    try:
        problems += _row_problems(part, shard, path, shown_path)
    except (DatasetError, *FAULTS) as error:
        return [*problems, f"{shown_path}: cannot be read: {first_line(error)}"]
    return problems + (list(_pixel_problems(part, path, shown_path)) if pixels else [])


def _row_problems(part: Dataset, shard: ShardEntry, path: Path, shown_path: str) -> Iterator[str]:
    """Compare a shard with the rows of the index that name it: page checksums, columns, offsets."""
    check_parquet(path)
    file = pq.ParquetFile(path, page_checksum_verification=True, memory_map=True)
    indexed = {row["id"]: row for row in part.index.to_dicts()}
    ids: list[str] = []
    lengths: list[tuple[int, int]] = []
    for batch in file.iter_batches(batch_size=16):
        for row in batch.to_pylist():
            expected, position = indexed.get(row["id"]), len(ids)
            ids.append(row["id"])
            lengths.append((len(row["image"]["bytes"]), len(row["masks"])))
            if expected is None:
                yield f"{shown_path}: row {position} ({row['name']}) is not in the index"
            elif any(row[column] != expected[column] for column in _COLUMNS):
                yield f"{shown_path}: row {position} ({row['name']}) is not what the index says"
    yield from (f"{shown_path}: sample {indexed[i]['name']} is missing" for i in indexed.keys() - set(ids))
    if len(ids) != shard.rows:
        yield f"{shown_path}: has {len(ids)} rows, the manifest says {shard.rows}"
    for sample_id, found in zip(ids, payload_offsets(path, lengths), strict=True):
        expected = indexed.get(sample_id)
        stated = expected and tuple(expected[column] for column in _OFFSETS)
        if expected and stated != found:
            yield f"{shown_path}: the index's offsets of {expected['name']} are wrong: {stated}, found {found}"


def _pixel_problems(part: Dataset, path: Path, shown_path: str) -> Iterator[str]:
    for i, (name, expected) in enumerate(part.index.select("name", "pixel_digest").iter_rows()):
        try:
            sample = part[i]
        except DatasetError as error:
            yield str(error).replace(str(path), shown_path)
            continue
        if pixel_digest(sample.image, sample.masks) != expected:
            yield f"{name}: its decoded pixels are not those that were stored"
