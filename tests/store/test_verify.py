"""Verifying: whatever is damaged is found and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from toybox import toy_fixture, two_versions_fixture  # noqa: F401

from augforge.files import file_sha256
from augforge.store.dataset import open_dataset
from augforge.store.manifest import FileEntry, Manifest, ShardEntry, read_manifest, versions, write_manifest
from augforge.store.seal import seal
from augforge.store.verify import check_dataset, verify

Change = Callable[[pl.DataFrame], pl.DataFrame]


def shard_of(folder: Path, split: str = "train") -> tuple[ShardEntry, Path]:
    shard = next(shard for shard in read_manifest(folder).shards if shard.split == split)
    return shard, folder / shard.path


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def index_path(folder: Path) -> Path:
    return folder / read_manifest(folder).index_path


def forge_index(folder: Path, change: Change, *, consistent: bool = True) -> None:
    """Rewrite the index, and, if `consistent`, its digest in the manifest too."""
    path = index_path(folder)
    schema = pq.read_schema(path)
    pq.write_table(change(pl.read_parquet(path)).to_arrow().cast(schema), path)
    if consistent:
        forge_table(folder, path, index_sha256=file_sha256(path))


def forge_table(folder: Path, path: Path, **changes: object) -> None:
    """Let the manifest state the digest that a table has now."""
    place = path.relative_to(folder).as_posix()
    new = FileEntry(path=place, bytes=path.stat().st_size, sha256=file_sha256(path))
    entries = [new if entry.path == place else entry for entry in read_manifest(folder).files]
    forge_manifest(folder, files=entries, **changes)


def forge_manifest(folder: Path, **changes: object) -> Manifest:
    manifest = read_manifest(folder).model_copy(update=changes)
    write_manifest(folder, manifest)
    return manifest


def in_first(column: str, value: pl.Expr) -> Change:
    """Change a column of the index's first row."""
    return lambda index: index.with_columns(
        pl.when(pl.int_range(pl.len()) == 0).then(value).otherwise(pl.col(column)).alias(column)
    )


def test_intact_dataset_has_no_problems(toy: Path) -> None:
    done: list[int] = []
    assert verify(toy, pixels=True, advance=done.append) == []
    assert len(done) == len(read_manifest(toy).shards)
    for version in versions(toy):
        assert verify(str(toy), version, pixels=True) == []


@pytest.mark.parametrize("column", ["image", "masks"])
def test_flipped_payload_byte(toy: Path, column: str) -> None:
    shard, path = shard_of(toy)
    row = open_dataset(toy).where(pl.col("shard") == shard.path).index.row(2, named=True)
    flip(path, row[f"{column}_offset"] + row[f"{column}_bytes"] // 2)
    (fault,) = check_dataset(toy).faults
    assert (fault.file, fault.kind, fault.samples) == (shard.path, "damaged", (row["name"],))
    assert "SHA-256" in str(fault) and row["name"] in str(fault)


@pytest.mark.parametrize("column", ["name", "lineage", "metadata", "group", "known"])
def test_flipped_byte_in_another_column(toy: Path, column: str) -> None:
    shard, path = shard_of(toy)
    group = pq.read_metadata(path).row_group(0)
    chunk = next(group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema == column)
    flip(path, chunk.data_page_offset + chunk.total_compressed_size - 2)
    (fault,) = check_dataset(toy).faults
    assert (fault.file, len(fault.samples)) == (shard.path, group.num_rows)


def test_flipped_byte_in_the_footer(toy: Path) -> None:
    shard, path = shard_of(toy)
    flip(path, path.stat().st_size - 6)
    (fault,) = check_dataset(toy).faults
    assert (fault.file, len(fault.samples)) == (shard.path, shard.rows)
    assert f"and {shard.rows - 3} more" in str(fault)


@pytest.mark.parametrize("keep", [0, 3, 1000, -1])
def test_truncated_shard(toy: Path, keep: int) -> None:
    shard, path = shard_of(toy)
    path.write_bytes(path.read_bytes()[:keep])
    problems = verify(toy, pixels=True)
    assert any(shard.path in line and f"the manifest says {shard.bytes}" in line for line in problems)


def test_missing_shard(toy: Path) -> None:
    shard, path = shard_of(toy, "val")
    path.unlink()
    (fault,) = check_dataset(toy, pixels=True).faults
    assert (fault.file, fault.kind, fault.message) == (shard.path, "missing", "is missing")
    assert set(fault.samples) == set(open_dataset(toy).split("val").index["name"])


def test_swapped_shards(toy: Path) -> None:
    (train, first), (val, second) = shard_of(toy), shard_of(toy, "val")
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)
    problems = verify(toy)
    assert all(any(shard.path in line for line in problems) for shard in (train, val))


def test_swapped_shards_with_a_matching_manifest(toy: Path) -> None:
    """Digests and sizes agree with the files, so that only the index can tell."""
    (train, first), (val, second) = shard_of(toy), shard_of(toy, "val")
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)
    swapped = {
        train.path: train.model_copy(update={"sha256": val.sha256, "bytes": val.bytes, "rows": val.rows}),
        val.path: val.model_copy(update={"sha256": train.sha256, "bytes": train.bytes, "rows": train.rows}),
    }
    shards = read_manifest(toy).shards
    forge_manifest(toy, shards=[swapped.get(shard.path, shard) for shard in shards])
    problems = verify(toy)
    assert any(f"{val.path}: row 0" in line and "not in the index" in line for line in problems)
    assert any(train.path in line and "is missing" in line for line in problems)


def test_shard_rewritten_by_another_tool(toy: Path) -> None:
    """The same rows, but compressed: nothing lies at its offset any more."""
    shard, path = shard_of(toy)
    pq.write_table(pq.read_table(path), path)
    new = shard.model_copy(update={"sha256": file_sha256(path), "bytes": path.stat().st_size})
    shards = [new if other.path == shard.path else other for other in read_manifest(toy).shards]
    forge_manifest(toy, shards=shards)
    problems = verify(toy)
    assert any("version" in line for line in problems)
    assert any(line.startswith(f"{shard.path}: cannot be read") for line in problems)


# ---- index -----------------------------------------------------------------------------------------------------------


def test_edited_index_has_another_digest(toy: Path) -> None:
    forge_index(toy, in_first("tags", pl.lit(["mine"])), consistent=False)
    manifest = read_manifest(toy)
    (fault,) = check_dataset(toy).faults
    assert (fault.file, fault.kind, fault.versions) == (manifest.index_path, "damaged", (manifest.version,))
    assert "the manifest says" in fault.message


@pytest.mark.parametrize("column", ["image_offset", "image_bytes", "masks_offset", "masks_bytes"])
def test_wrong_offset(toy: Path, column: str) -> None:
    name = open_dataset(toy).index["name"][0]
    forge_index(toy, in_first(column, pl.col(column) + 1))
    (problem,) = verify(toy)
    assert f"the index's offsets of {name} are wrong" in problem


@pytest.mark.parametrize("column", ["name", "group", "split"])
def test_wrong_column(toy: Path, column: str) -> None:
    row = open_dataset(toy).index.row(0, named=True)
    forge_index(toy, in_first(column, pl.lit("val" if row[column] != "val" else "train")))
    assert any(f"{row['name']}) is not what the index says" in line for line in verify(toy))


def test_removed_row(toy: Path) -> None:
    name = open_dataset(toy).index["name"][0]
    forge_index(toy, lambda index: index[1:])
    problems = verify(toy)
    assert any(f"({name}) is not in the index" in line for line in problems)
    assert any("the manifest says" in line and "index/" in line for line in problems)


def test_added_row(toy: Path) -> None:
    forge_index(
        toy, lambda index: pl.concat([index, index[:1].with_columns(id=pl.lit("f" * 32), name=pl.lit("stranger"))])
    )
    assert any("sample stranger is missing" in line for line in verify(toy))


def test_row_of_an_unknown_shard(toy: Path) -> None:
    forge_index(toy, in_first("shard", pl.lit("shards/train-0000.parquet")))
    assert any("names shards the manifest does not have: shards/train-0000.parquet" in line for line in verify(toy))


def test_an_unreadable_index_does_not_hide_a_damaged_shard(toy: Path) -> None:
    shard, path = shard_of(toy)
    names = set(open_dataset(toy).where(pl.col("shard") == shard.path).index["name"])
    flip(path, path.stat().st_size // 2)
    index_path(toy).write_bytes(b"PAR1 and nothing else")
    index, damaged = check_dataset(toy).faults
    assert index.file == read_manifest(toy).index_path
    assert (damaged.file, set(damaged.samples)) == (shard.path, names)


def test_only_pixels_shows_changed_pixels(toy: Path) -> None:
    name = open_dataset(toy).index["name"][0]
    forge_index(toy, in_first("pixel_digest", pl.lit("0" * 32)))
    assert verify(toy) == []
    (problem,) = verify(toy, pixels=True)
    assert f"the decoded pixels of {name} are not those that were stored" in problem


@pytest.mark.parametrize(
    ("column", "value"), [("image_bytes", 0), ("image_offset", 0), ("masks_bytes", 3), ("width", 5)]
)
def test_problem_names_an_undecodable_sample(toy: Path, column: str, value: int) -> None:
    name = open_dataset(toy).index["name"][0]
    forge_index(toy, in_first(column, pl.lit(value)))
    problems = verify(toy, pixels=True)
    assert any(f": sample '{name}' cannot be decoded" in line for line in problems)
    assert len(problems) == 2


# ---- manifest --------------------------------------------------------------------------------------------------------


def test_edited_counts(toy: Path) -> None:
    manifest = read_manifest(toy)
    forge_manifest(toy, samples=manifest.samples + 1)
    assert any("manifest.yaml" in line and str(manifest.samples + 1) in line for line in verify(toy))
    forge_manifest(toy, samples=manifest.samples, splits={**manifest.splits, "val": 3})
    assert any("the manifest says" in line and "'val': 3" in line for line in verify(toy))


def test_edited_version(toy: Path) -> None:
    text = (toy / "manifest.yaml").read_text()
    old, new = versions(toy)
    current = read_manifest(toy).version
    unsealed = text[: text.rindex("# sha256")].replace(
        f"version: {current}", f"version: {old if current == new else new}"
    )
    (toy / "manifest.yaml").write_text(seal(unsealed))
    assert any("manifest.yaml: version" in line for line in verify(toy))


def test_edited_classes(toy: Path) -> None:
    forge_manifest(toy, classes=[*read_manifest(toy).classes[::-1]])
    assert any("manifest.yaml: version" in line for line in verify(toy))


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"bytes": 12}, {"rows": 99}])
def test_edited_shard_entry(toy: Path, change: dict[str, object]) -> None:
    shard, _ = shard_of(toy)
    shards = read_manifest(toy).shards
    forge_manifest(toy, shards=[other.model_copy(update=change) if other == shard else other for other in shards])
    assert any(line.startswith(shard.path) for line in verify(toy))


def test_removed_shard_entry(toy: Path) -> None:
    shard, _ = shard_of(toy, "val")
    forge_manifest(toy, shards=[other for other in read_manifest(toy).shards if other != shard])
    problems = verify(toy)
    assert any("version" in line for line in problems)
    assert any(shard.path in line for line in problems)


def test_edited_rejections(toy: Path) -> None:
    manifest = read_manifest(toy)
    path = toy / manifest.rejected_path
    forge_manifest(toy, rejected={"metal: ring": 2})
    assert any("'metal: ring': 2" in line for line in verify(toy))
    forge_manifest(toy, rejected={})
    names = ("name", "id", "group", "split", "step", "reason", "detail")
    pl.DataFrame({name: ["x"] for name in names}).write_parquet(path)
    assert any(line.startswith(manifest.rejected_path) for line in verify(toy))
    path.unlink()
    assert any(line.startswith(manifest.rejected_path) for line in verify(toy))
