"""Proving that a dataset is what its manifest says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from augforge.errors import DatasetError
from augforge.store.codec import pixel_digest
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.filecache import file_sha256
from augforge.store.manifest import ShardEntry, reasons, rejected_digest, tags_digest
from augforge.store.remote import is_url
from augforge.store.shard import payload_offsets

COLUMNS = ["name", "group", "split", "width", "height"]


def verify(
    folder: str | Path,
    version: str | None = None,
    pixels: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> list[str]:
    """Check a dataset version from the manifest down to the bytes.

    Args:
        folder: the dataset.
        version: another than the current one.
        pixels: decode every sample and compare its pixel digest too.
        advance: is told how many shards are done.

    Returns:
        What is wrong, a line each, naming the file or the sample; empty if all is well.
    """
    if is_url(folder):
        raise DatasetError(f"{folder} is a URL, and only folders are verified. Copy the dataset to one, and give that")
    dataset = open_dataset(folder, version)
    problems = list(_manifest_problems(dataset))
    for shard in dataset.manifest.shards:
        problems += _shard_problems(dataset, shard, pixels)
        advance(1)
    return problems


def _manifest_problems(dataset: Dataset) -> Iterator[str]:
    manifest, index = dataset.manifest, dataset.index
    if manifest.expected_version() != manifest.version:
        yield f"manifest.yaml: version {manifest.version} is not that of its shards ({manifest.expected_version()})"
    if manifest.samples != sum(manifest.splits.values()):
        yield f"manifest.yaml: {manifest.samples} samples, but its splits hold {sum(manifest.splits.values())}"
    if file_sha256(dataset.folder / manifest.index_path) != manifest.index_sha256:
        yield f"{manifest.index_path}: its digest is not the manifest's; the index was changed"
    counts = {row["split"]: row["len"] for row in index.group_by("split").len().to_dicts()}
    if counts != manifest.splits:
        yield f"{manifest.index_path}: holds {counts}, the manifest says {manifest.splits}"
    if tags_digest(index.select("name", "tags").iter_rows()) != manifest.tags_digest:
        yield f"{manifest.index_path}: its tags are not those of the manifest"
    yield from _rejected_problems(dataset)
    stray = set(index["shard"]) - {shard.path for shard in manifest.shards}
    if stray:
        yield f"{manifest.index_path}: names shards the manifest does not have: {', '.join(sorted(stray))}"


def _rejected_problems(dataset: Dataset) -> Iterator[str]:
    path, manifest = dataset.folder / dataset.manifest.rejected_path, dataset.manifest
    try:
        rejected = pl.read_parquet(path).to_dicts()
    except (OSError, pl.exceptions.PolarsError) as error:
        yield f"{manifest.rejected_path}: cannot be read: {str(error).splitlines()[0]}"
        return
    if rejected_digest(rejected) != manifest.rejected_digest:
        yield f"{manifest.rejected_path}: its digest is not the manifest's; the rejected samples were changed"
    elif reasons(rejected) != manifest.rejected:
        yield f"manifest.yaml: rejected is {manifest.rejected}, but {manifest.rejected_path} says {reasons(rejected)}"


def _shard_problems(dataset: Dataset, shard: ShardEntry, pixels: bool) -> list[str]:
    path = dataset.folder / shard.path
    if not path.exists():
        return [f"{shard.path}: is missing"]
    problems = []
    if path.stat().st_size != shard.bytes:
        problems.append(f"{shard.path}: has {path.stat().st_size} bytes, the manifest says {shard.bytes}")
    elif file_sha256(path) != shard.sha256:
        problems.append(f"{shard.path}: its SHA-256 is not the manifest's; its bytes were changed")
    part = Dataset(dataset.folder, dataset.manifest, dataset.index.filter(pl.col("shard") == shard.path))
    try:
        problems += _row_problems(part, shard, path)
    except (OSError, ValueError, DatasetError, pa.ArrowException) as error:
        return [*problems, f"{shard.path}: cannot be read: {str(error).splitlines()[0]}"]
    return problems + (list(_pixel_problems(part)) if pixels else [])


def _row_problems(part: Dataset, shard: ShardEntry, path: Path) -> Iterator[str]:
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
                yield f"{shard.path}: row {position} ({row['name']}) is not in the index"
            elif any(row[column] != known[column] for column in COLUMNS):
                yield f"{shard.path}: row {position} ({row['name']}) is not what the index says"
            position += 1
    yield from (f"{shard.path}: sample {rows[i]['name']} is missing" for i in rows.keys() - set(order))
    if position != shard.rows:
        yield f"{shard.path}: has {position} rows, the manifest says {shard.rows}"
    for sample_id, found in zip(order, payload_offsets(path, lengths), strict=True):
        known = rows.get(sample_id)
        stated = known and tuple(known[c] for c in ("image_offset", "image_bytes", "masks_offset", "masks_bytes"))
        if known and stated != found:
            yield f"{shard.path}: the index's offsets of {known['name']} are wrong: {stated}, found {found}"


def _pixel_problems(part: Dataset) -> Iterator[str]:
    for i, (name, wanted) in enumerate(part.index.select("name", "pixel_digest").iter_rows()):
        try:
            sample = part[i]
        except DatasetError as error:
            yield str(error)
            continue
        if pixel_digest(sample.image, sample.masks) != wanted:
            yield f"{name}: its decoded pixels are not those that were stored"
