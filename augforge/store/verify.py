"""Proving that a dataset is what its manifest says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from augforge.cache.filecache import file_sha256
from augforge.errors import DatasetError
from augforge.store.codec import pixel_digest
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.manifest import ShardEntry, reasons, rejected_digest, tags_digest
from augforge.store.remote import Remote
from augforge.store.shard import payload_offsets

COLUMNS = ["name", "group", "split", "width", "height"]


def verify(
    place: str | Path,
    version: str | None = None,
    pixels: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> list[str]:
    """Check a dataset version from the manifest down to the bytes.

    Of a dataset behind a URL, shards are fetched to where copies of it lie. A copy that is whole is not fetched again;
    the size of the shard behind it is compared.

    Args:
        place: folder of the dataset, or its URL.
        version: another than the current one.
        pixels: decode every sample and compare its pixel digest too.
        advance: is told how many shards are done.

    Returns:
        What is wrong, a line each, naming the file or the sample; empty if all is well.

    Raises:
        DatasetError: no dataset there, no such version, or its index cannot be had.
        MissingExtra: nothing is installed that reads such URLs.
    """
    dataset = open_dataset(place, version)
    problems = list(_manifest_problems(dataset))
    for shard in dataset.manifest.shards:
        problems += _shard_problems(dataset, shard, pixels)
        advance(1)
    return problems


def _named(dataset: Dataset, place: str) -> str:
    """What problems call a file of the dataset."""
    return dataset.remote.at(place) if dataset.remote else place


def _manifest_problems(dataset: Dataset) -> Iterator[str]:
    manifest, index = dataset.manifest, dataset.index
    told, told_index = _named(dataset, "manifest.yaml"), _named(dataset, manifest.index_path)
    if manifest.expected_version() != manifest.version:
        yield f"{told}: version {manifest.version} is not that of its shards ({manifest.expected_version()})"
    if manifest.samples != sum(manifest.splits.values()):
        yield f"{told}: {manifest.samples} samples, but its splits hold {sum(manifest.splits.values())}"
    if file_sha256(dataset.folder / manifest.index_path) != manifest.index_sha256:
        yield f"{told_index}: its digest is not the manifest's; the index was changed"
    counts = {row["split"]: row["len"] for row in index.group_by("split").len().to_dicts()}
    if counts != manifest.splits:
        yield f"{told_index}: holds {counts}, the manifest says {manifest.splits}"
    if tags_digest(index.select("name", "tags").iter_rows()) != manifest.tags_digest:
        yield f"{told_index}: its tags are not those of the manifest"
    yield from _rejected_problems(dataset)
    stray = set(index["shard"]) - {shard.path for shard in manifest.shards}
    if stray:
        yield f"{told_index}: names shards the manifest does not have: {', '.join(sorted(stray))}"


def _rejected_problems(dataset: Dataset) -> Iterator[str]:
    manifest, told = dataset.manifest, _named(dataset, dataset.manifest.rejected_path)
    try:
        remote = dataset.remote
        path = remote.rejected(manifest) if remote else dataset.folder / manifest.rejected_path
        rejected = pl.read_parquet(path).to_dicts()
    except DatasetError as error:
        yield str(error)
        return
    except (OSError, pl.exceptions.PolarsError) as error:
        yield f"{told}: cannot be read: {str(error).splitlines()[0]}"
        return
    if rejected_digest(rejected) != manifest.rejected_digest:
        yield f"{told}: its digest is not the manifest's; the rejected samples were changed"
    elif reasons(rejected) != manifest.rejected:
        yield (
            f"{_named(dataset, 'manifest.yaml')}: rejected is {manifest.rejected}, "
            f"but {manifest.rejected_path} says {reasons(rejected)}"
        )


def _shard_problems(dataset: Dataset, shard: ShardEntry, pixels: bool) -> list[str]:
    problems = _fetch_problems(dataset.remote, shard) if dataset.remote else []
    return problems or _file_problems(dataset, shard, pixels)


def _fetch_problems(remote: Remote, shard: ShardEntry) -> list[str]:
    """What is wrong with a shard behind a URL, which is fetched unless its copy is whole."""
    try:
        size = remote.size(shard.path)
        if size not in (None, shard.bytes):
            return [f"{remote.at(shard.path)}: has {size} bytes, the manifest says {shard.bytes}"]
        remote.checked_shard(shard.path, shard.sha256)
    except DatasetError as error:
        return [str(error)]
    return []


def _file_problems(dataset: Dataset, shard: ShardEntry, pixels: bool) -> list[str]:
    path, told = dataset.folder / shard.path, _named(dataset, shard.path)
    if not path.exists():
        return [f"{told}: is missing"]
    problems = []
    if path.stat().st_size != shard.bytes:
        problems.append(f"{told}: has {path.stat().st_size} bytes, the manifest says {shard.bytes}")
    elif file_sha256(path) != shard.sha256:
        problems.append(f"{told}: its SHA-256 is not the manifest's; its bytes were changed")
    part = Dataset(dataset.folder, dataset.manifest, dataset.index.filter(pl.col("shard") == shard.path))
    try:
        problems += _row_problems(part, shard, path, told)
    except (OSError, ValueError, DatasetError, pa.ArrowException) as error:
        return [*problems, f"{told}: cannot be read: {str(error).splitlines()[0]}"]
    return problems + (list(_pixel_problems(part, path, told)) if pixels else [])


def _row_problems(part: Dataset, shard: ShardEntry, path: Path, told: str) -> Iterator[str]:
    """Shard against index: page checksums, columns, offsets."""
    file = pq.ParquetFile(path, page_checksum_verification=True, memory_map=True)
    rows = {row["id"]: row for row in part.index.to_dicts()}
    position, lengths, order = 0, [], []
    for batch in file.iter_batches(batch_size=16):
        for row in batch.to_pylist():
            known = rows.get(row["id"])
            order.append(row["id"])
            lengths.append((len(row["image"]["bytes"]), len(row["masks"])))
            if known is None:
                yield f"{told}: row {position} ({row['name']}) is not in the index"
            elif any(row[column] != known[column] for column in COLUMNS):
                yield f"{told}: row {position} ({row['name']}) is not what the index says"
            position += 1
    yield from (f"{told}: sample {rows[i]['name']} is missing" for i in rows.keys() - set(order))
    if position != shard.rows:
        yield f"{told}: has {position} rows, the manifest says {shard.rows}"
    for sample_id, found in zip(order, payload_offsets(path, lengths), strict=True):
        known = rows.get(sample_id)
        stated = known and tuple(known[c] for c in ("image_offset", "image_bytes", "masks_offset", "masks_bytes"))
        if known and stated != found:
            yield f"{told}: the index's offsets of {known['name']} are wrong: {stated}, found {found}"


def _pixel_problems(part: Dataset, path: Path, told: str) -> Iterator[str]:
    for i, (name, wanted) in enumerate(part.index.select("name", "pixel_digest").iter_rows()):
        try:
            sample = part[i]
        except DatasetError as error:
            yield str(error).replace(str(path), told)
            continue
        if pixel_digest(sample.image, sample.masks) != wanted:
            yield f"{name}: its decoded pixels are not those that were stored"
