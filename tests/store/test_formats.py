"""Dataset formats: what format 2 writes, and that datasets of format 1 are read, and their samples reused."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from toybox import tiny_hands, toy_fixture, two_versions_fixture, write_recipe  # noqa: F401

import augforge
from augforge.engine.builder import build
from augforge.errors import DatasetError
from augforge.store.dataset import open_dataset
from augforge.store.index import EMPTY
from augforge.store.manifest import Manifest, read_manifest, version_of, write_manifest
from augforge.store.pack import pack
from augforge.store.verify import check_dataset


def test_the_manifest_has_the_digest_of_every_table(toy: Path) -> None:
    manifest = read_manifest(toy)
    assert manifest.format == 2
    assert manifest.augforge == augforge.__version__
    tables = {path for path in (toy / "index").iterdir() if path.name.split(".")[0] == manifest.version}
    assert {toy / entry.path for entry in manifest.files} == tables
    for entry in manifest.files:
        content = (toy / entry.path).read_bytes()
        assert (entry.bytes, entry.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_the_index_has_the_digest_of_every_payload(toy: Path) -> None:
    dataset = open_dataset(toy)
    for row in dataset.index.iter_rows(named=True):
        content = (toy / row["shard"]).read_bytes()
        parts = [content[row[f"{part}_offset"] :][: row[f"{part}_bytes"]] for part in ("image", "masks")]
        assert row["payload_digest"] == "".join(f"{xxhash.xxh3_64_intdigest(part):016x}" for part in parts)


def test_a_flipped_byte_in_a_table_shows_to_any_reader_that_checks_pages(toy: Path) -> None:
    manifest = read_manifest(toy)
    for place in manifest.table_paths:
        path = toy / place
        metadata = pq.read_metadata(path)
        if not metadata.num_rows:  # nothing was rejected
            continue
        chunk = metadata.row_group(0).column(0)
        content = bytearray(path.read_bytes())
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        content[start + chunk.total_compressed_size - 2] ^= 1
        path.write_bytes(bytes(content))
        with pytest.raises(OSError, match="CRC"):
            pq.ParquetFile(path, page_checksum_verification=True).read()


def test_an_edited_manifest_is_refused(toy: Path) -> None:
    path = toy / "manifest.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("hflip", "vflip"), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"its SHA-256 is not the one in its last line.*augforge repair "):
        read_manifest(toy)


def test_overrides_are_recorded_but_for_the_path(tmp_path: Path) -> None:
    data = tiny_hands(tmp_path / "data", [50, 90])
    recipe = write_recipe(tmp_path / "r.yaml", tmp_path / "nowhere", classes="[a, b]")
    build(recipe, tmp_path / "out", overrides=[f"source.path={data}", "seed=5"])
    assert read_manifest(tmp_path / "out").recipe.overrides == {"seed": 5}


def as_format_1(folder: Path) -> Manifest:
    """Take away what format 2 added: a dataset as it was written before."""
    manifest = read_manifest(folder)
    version = version_of(
        manifest.classes,
        manifest.labels,
        manifest.shards,
        manifest.rejected_digest,
        manifest.tags_digest,
        format_version=1,
    )
    for path in list((folder / "index").glob(f"{manifest.version}.*")):
        path.rename(path.with_name(path.name.replace(manifest.version, version)))
    index = folder / f"index/{version}.parquet"
    pq.write_table(pq.read_table(index).drop_columns(["payload_digest", *EMPTY]), index)
    digest = hashlib.sha256(index.read_bytes()).hexdigest()
    changes = {
        "format": 1,
        "version": version,
        "augforge": "",
        "files": [],
        "index_sha256": digest,
        "metadata_columns": [],
    }
    old = manifest.model_copy(update=changes)
    shutil.rmtree(folder / "versions")
    write_manifest(folder, old)
    for path in (folder / "manifest.yaml", folder / f"versions/{version}.yaml"):
        text = path.read_text(encoding="utf-8")
        for line in (
            "  overrides: {}\n",
            "files: []\n",
            "review:\n",
            "licences: []\n",
            "augforge: ''\n",
            "metadata_columns: []\n",
        ):
            text = text.replace(line, "")
        path.write_text(text[: text.rindex("# sha256")], encoding="utf-8")
    return old


def test_format_1_is_read(toy: Path) -> None:
    before = {sample.name: sample.image.tobytes() for sample in open_dataset(toy)}
    old = as_format_1(toy)
    dataset = open_dataset(toy)
    assert dataset.manifest == old
    assert old.version == old.expected_version()
    assert {sample.name: sample.image.tobytes() for sample in dataset} == before
    assert "sha256 of all lines" not in (toy / "manifest.yaml").read_text(encoding="utf-8")


def test_format_1_is_packed_and_what_is_unchecked_is_named(toy: Path, tmp_path: Path) -> None:
    old = as_format_1(toy)
    assert pack(toy, tmp_path / "toy.tar").unchecked == sorted({*old.table_paths} - {old.index_path})
    (toy / old.index_path).write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=old.version):
        pack(toy, tmp_path / "toy.tar")


def test_samples_of_format_1_are_reused(tmp_path: Path) -> None:
    data = tiny_hands(tmp_path / "data", [50, 90, 130])
    recipe = write_recipe(tmp_path / "r.yaml", data, ["{op: hflip, keep_input: true}"], classes="[a, b]")
    build(recipe, tmp_path / "out")
    now = read_manifest(tmp_path / "out")
    old = as_format_1(tmp_path / "out")
    assert old.version != now.version
    summary = build(recipe, tmp_path / "out")
    assert (summary.made, summary.new_shards, summary.version) == (0, 0, now.version)
    assert read_manifest(tmp_path / "out").shards == old.shards


def test_pyarrow_and_polars_read_the_tables(toy: Path) -> None:
    manifest = read_manifest(toy)
    for place in manifest.table_paths:
        assert pl.read_parquet(toy / place).height == pa.table(pq.read_table(toy / place)).num_rows


def test_a_table_of_a_version_that_is_there_never_changes_under_its_manifest(tmp_path: Path) -> None:
    """A review that drops nothing gives the same version with another index: each manifest keeps its own."""
    data = tiny_hands(tmp_path / "data", [50, 90, 130])
    recipe = write_recipe(tmp_path / "r.yaml", data, classes="[a, b]")
    build(recipe, tmp_path / "out")
    before = read_manifest(tmp_path / "out")
    old = (tmp_path / "out" / before.index_path).read_bytes()
    (tmp_path / "review.yaml").write_text("samples: {ID001/image0000000000001: {verdict: keep, why: fine}}\n")
    recipe.write_text(recipe.read_text() + "review: review.yaml\n")
    build(recipe, tmp_path / "out")
    after = read_manifest(tmp_path / "out")
    assert after.version == before.version
    assert after.index_path != before.index_path
    assert (tmp_path / "out" / before.index_path).read_bytes() == old
    assert open_dataset(tmp_path / "out").index["review"].null_count() == 2
    assert check_dataset(tmp_path / "out", every=True, pixels=True).ok
    write_manifest(tmp_path / "out", before)  # a build that was stopped before its commit
    assert check_dataset(tmp_path / "out", every=True).ok
    assert len(open_dataset(tmp_path / "out")) == 3
