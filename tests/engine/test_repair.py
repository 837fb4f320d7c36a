"""Repair: what is damaged is made again to the same bytes, from the source, the other copy, or a mirror."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from toybox import annotation, edit_json, move_a_point, put_hand, tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.engine.repair import Repair, repair
from augforge.errors import DatasetError
from augforge.store.card import write_card
from augforge.store.dataset import open_dataset
from augforge.store.history import tag_version
from augforge.store.index import plain_lineage, shard_columns, typed_lineage
from augforge.store.manifest import ShardEntry, read_manifest, versions, write_manifest
from augforge.store.seal import seal
from augforge.store.verify import check_dataset

STEPS = ("{op: hflip, keep_input: true}", "{op: mosaic, keep_input: true}")
TABLES = ("", ".rejected", ".stages", ".ledger")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source, and a dataset of it with two versions, in one folder."""
    root = tmp_path_factory.mktemp("repair")
    data = tiny_hands(root / "data", [30, 60, 90, 120, 150, 250])
    for seed in (1, 2):
        build(write_recipe(root / "toy.yaml", data, STEPS, seed=seed, classes="[a, b]"), root / "toy")
    tag_version(
        root / "toy", "first", next(v for v in versions(root / "toy") if v != read_manifest(root / "toy").version)
    )
    return root


@pytest.fixture
def toy(built: Path, tmp_path: Path) -> Path:
    """A copy of that dataset, to be damaged."""
    return Path(shutil.copytree(built / "toy", tmp_path / "toy"))


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the work area, the lock and the log."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "work" not in path.relative_to(folder).parts and path.name not in (".lock", "log.jsonl")
    }


def flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at if at >= 0 else len(data) // 2] ^= 0x10
    path.write_bytes(bytes(data))


def some_shard(folder: Path) -> ShardEntry:
    """The shard of the current version with the most rows."""
    return max(read_manifest(folder).shards, key=lambda shard: shard.rows)


def payload_at(folder: Path, row: int, part: str) -> int:
    """A byte in the middle of a payload of that shard."""
    index = open_dataset(folder).index.filter(pl.col("shard") == some_shard(folder).path).sort("id")
    found = index.row(row, named=True)
    return int(found[f"{part}_offset"] + found[f"{part}_bytes"] // 2)


def assert_repaired(found: Repair, folder: Path, before: dict[str, bytes]) -> None:
    assert (found.faults, found.reasons) == ([], [])
    assert check_dataset(folder, every=True, pixels=True).ok
    assert contents(folder) == before


def test_a_whole_dataset_needs_no_repair(toy: Path, built: Path) -> None:
    before = contents(toy)
    found = repair(toy, every=True)
    assert found.repaired == []
    assert set(found.versions) == set(versions(toy))
    assert_repaired(found, toy, before)


@pytest.mark.parametrize("part", ["image", "masks"])
def test_a_damaged_sample_is_made_again(toy: Path, part: str) -> None:
    before, shard = contents(toy), some_shard(toy)
    flip(toy / shard.path, payload_at(toy, 1, part))
    found = repair(toy)
    assert found.repaired == [shard.path]
    assert_repaired(found, toy, before)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b""), lambda path: flip(path, 0)])
def test_a_missing_or_empty_shard_is_made_again(toy: Path, damage: Callable[[Path], object]) -> None:
    before, shard = contents(toy), some_shard(toy)
    damage(toy / shard.path)
    assert_repaired(repair(toy), toy, before)


@pytest.mark.parametrize("column", ["name", "lineage", "metadata", "known", "label"])
def test_damage_beside_the_payloads_needs_no_source(toy: Path, column: str) -> None:
    before, path = contents(toy), toy / some_shard(toy).path
    group = pq.read_metadata(path).row_group(0)
    chunk = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema.startswith(column))
    flip(path, chunk.data_page_offset + chunk.total_compressed_size - 2)
    (toy / "log.jsonl").unlink()  # it says where the source lies
    assert_repaired(repair(toy), toy, before)


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("whole_work", [True, False])
def test_a_damaged_table_is_made_again(toy: Path, kind: str, whole_work: bool) -> None:
    before, version = contents(toy), read_manifest(toy).version
    if not whole_work:
        shutil.rmtree(toy / "work")
    flip(toy / f"index/{version}{kind}.parquet")
    found = repair(toy)
    assert found.repaired == [f"index/{version}{kind}.parquet"]
    assert_repaired(found, toy, before)


def test_everything_but_the_manifest_is_made_again(toy: Path) -> None:
    before, version = contents(toy), read_manifest(toy).version
    for path in [*(toy / "shards").iterdir(), *(toy / "index").glob(f"{version}*"), toy / "README.md"]:
        path.unlink()
    shutil.rmtree(toy / "work")
    found = repair(toy)
    assert found.faults == []
    assert check_dataset(toy, pixels=True).ok
    after = contents(toy)
    assert {name: after[name] for name in before if version in name or name in after} == {
        name: content for name, content in before.items() if version in name or name in after
    }


@pytest.mark.parametrize("manifest", ["manifest.yaml", "versions"])
@pytest.mark.parametrize("damage", [Path.unlink, flip])
def test_a_manifest_comes_from_its_other_copy(toy: Path, manifest: str, damage: Callable[[Path], None]) -> None:
    before, version = contents(toy), read_manifest(toy).version
    place = manifest if manifest == "manifest.yaml" else f"versions/{version}.yaml"
    if place.startswith("versions") and damage is not flip:
        pytest.skip("a version whose manifest is gone is no version: gc removes them")
    damage(toy / place)
    found = repair(toy)
    assert found.repaired == [place]
    assert_repaired(found, toy, before)


def test_an_older_version_is_repaired(toy: Path) -> None:
    before = contents(toy)
    current = {shard.path for shard in read_manifest(toy).shards}
    old = next(shard for shard in read_manifest(toy, "first").shards if shard.path not in current)
    flip(toy / old.path)
    assert repair(toy).repaired == []
    assert not check_dataset(toy, "first").ok
    assert_repaired(repair(toy, "first"), toy, before)
    flip(toy / old.path)
    assert_repaired(repair(toy, every=True, jobs=2), toy, before)


@pytest.mark.parametrize("url", [True, False])
def test_a_mirror_gives_the_damaged_files_alone(
    toy: Path, built: Path, tmp_path: Path, url: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUGFORGE_CACHE", str(tmp_path / "cache"))
    before, shard, manifest = contents(toy), some_shard(toy), read_manifest(toy)
    flip(toy / shard.path, payload_at(toy, 0, "image"))
    (toy / manifest.index_path).unlink()
    flip(toy / "tags.yaml")
    flip(toy / "manifest.yaml")
    flip(toy / f"versions/{manifest.version}.yaml")
    (toy / "log.jsonl").unlink()
    found = repair(
        toy, manifest.version if not url else None, mirror=f"file://{built / 'toy'}" if url else str(built / "toy")
    )
    if url:
        fetched = {path.name for path in (tmp_path / "cache").rglob("*.parquet")}
        assert fetched == {Path(shard.path).name, Path(manifest.index_path).name}
    assert {shard.path, manifest.index_path, "tags.yaml"} <= set(found.repaired)
    assert_repaired(found, toy, before)


def test_a_damaged_mirror_is_not_believed(toy: Path, built: Path, tmp_path: Path) -> None:
    shard, at = some_shard(toy), payload_at(toy, 0, "masks")
    mirror = Path(shutil.copytree(built / "toy", tmp_path / "mirror"))
    for place in (toy, mirror):
        flip(place / shard.path, at)
    (toy / "log.jsonl").unlink()
    damaged = (toy / shard.path).read_bytes()
    found = repair(toy, mirror=str(mirror))
    assert [fault.file for fault in found.faults] == [shard.path]
    assert any(shard.path in reason and "SHA-256" in reason for reason in found.reasons)
    assert (toy / shard.path).read_bytes() == damaged


def test_what_cannot_be_made_again_is_listed_by_sample(toy: Path, built: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(built / "data", tmp_path / "data"))
    edit_json(annotation(data, "ID001/image0000000000001"), move_a_point)
    shard = some_shard(toy)
    index = open_dataset(toy).index.filter(pl.col("shard") == shard.path).sort("id")
    roots = {row["name"]: {root["name"] for root in row["lineage"]["roots"]} for row in index.iter_rows(named=True)}
    lost = next(name for name, found in roots.items() if "ID001/image0000000000001" in found)
    flip(toy / shard.path, payload_at(toy, index["name"].to_list().index(lost), "image"))
    before = contents(toy)
    found = repair(toy, source=str(data))
    (fault,) = found.faults
    assert (fault.file, fault.samples) == (shard.path, (lost,))
    assert any(reason.startswith(f"{lost} cannot be made again") for reason in found.reasons)
    assert contents(toy) == before


def test_samples_that_are_untouched_by_a_changed_source_are_made_again(toy: Path, built: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(built / "data", tmp_path / "data"))
    edit_json(annotation(data, "ID001/image0000000000001"), move_a_point)
    shard, before = some_shard(toy), contents(toy)
    index = open_dataset(toy).index.filter(pl.col("shard") == shard.path).sort("id")
    position = next(
        number
        for number, row in enumerate(index.iter_rows(named=True))
        if "ID001/image0000000000001" not in {root["name"] for root in row["lineage"]["roots"]}
    )
    flip(toy / shard.path, payload_at(toy, position, "masks"))
    assert_repaired(repair(toy, source=str(data)), toy, before)


def test_a_source_that_is_gone_is_said(toy: Path, tmp_path: Path) -> None:
    flip(toy / some_shard(toy).path, payload_at(toy, 0, "image"))
    found = repair(toy, source=str(tmp_path / "nowhere"))
    assert len(found.faults) == 1
    assert any("the source is not at" in reason and "--source" in reason for reason in found.reasons)


def test_overrides_are_part_of_the_recipe(built: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "toy.yaml", tmp_path / "elsewhere", STEPS, classes="[a, b]")
    build(recipe, tmp_path / "out", overrides=[f"source.path={built / 'data'}", "seed=77", "output.image=jpeg"])
    before = contents(tmp_path / "out")
    flip(tmp_path / "out" / some_shard(tmp_path / "out").path)
    assert_repaired(repair(tmp_path / "out"), tmp_path / "out", before)


def test_labels_metadata_and_16_bits(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for number in range(1, 6):
        image = rng.integers(0, 65535, (40, 30, 3), dtype=np.uint16)
        put_hand(tmp_path / "data", number, image, ["a", "b"], labelled=number != 4)
    build(write_recipe(tmp_path / "toy.yaml", tmp_path / "data", STEPS, classes="[a, b]"), tmp_path / "out")
    before = contents(tmp_path / "out")
    for name in before:
        if name.startswith("shards/"):
            flip(tmp_path / "out" / name)
    assert_repaired(repair(tmp_path / "out"), tmp_path / "out", before)


def test_a_build_after_verify_does_not_believe_a_refuted_shard(toy: Path, built: Path) -> None:
    """Size, time and inode are those of the file that was written, as after a fault of the disk."""
    before, path = contents(toy), toy / some_shard(toy).path
    recipe = write_recipe(built / "again.yaml", built / "data", STEPS, seed=2, classes="[a, b]")
    build(recipe, toy)
    stat = path.stat()
    with path.open("r+b") as stream:
        stream.seek(payload_at(toy, 0, "image"))
        byte = stream.read(1)
        stream.seek(-1, 1)
        stream.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not check_dataset(toy).ok
    build(recipe, toy)
    assert check_dataset(toy, pixels=True).ok
    assert contents(toy)["shards/" + path.name] == before["shards/" + path.name]


def test_a_url_and_a_folder_without_dataset_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="repair takes folders"):
        repair("s3://bucket/toy")
    with pytest.raises(DatasetError, match="no dataset"):
        repair(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_the_index_tells_what_a_shard_says(toy: Path) -> None:
    """Typed lineage and back; what a shard says of a sample can be made from the index."""
    for shard in read_manifest(toy).shards:
        for row in pq.read_table(toy / shard.path).to_pylist():
            indexed = open_dataset(toy).index.row(by_predicate=pl.col("id") == row["id"], named=True)
            assert plain_lineage(typed_lineage(json.loads(row["lineage"]))) == json.loads(row["lineage"])
            told = shard_columns(indexed, "png")
            assert {name: told[name] for name in row if name not in ("image", "masks")} == {
                name: value for name, value in row.items() if name not in ("image", "masks")
            }
            assert told["image"] == row["image"]["path"]


# ---- found by an attack ----------------------------------------------------------------------------------------------


def test_the_current_version_is_checked_though_its_copy_is_gone(toy: Path) -> None:
    before, version, shard = contents(toy), read_manifest(toy).version, some_shard(toy)
    (toy / f"versions/{version}.yaml").unlink()
    flip(toy / shard.path, payload_at(toy, 0, "image"))
    faults = {fault.file: fault.kind for fault in check_dataset(toy, every=True).faults}
    assert faults == {f"versions/{version}.yaml": "missing", shard.path: "damaged"}
    found = repair(toy, every=True)
    assert set(found.repaired) == set(faults)
    assert_repaired(found, toy, before)


def test_a_manifest_under_another_name_is_no_version(toy: Path, built: Path) -> None:
    before, old = contents(toy), read_manifest(toy, "first").version
    shutil.copy(toy / "manifest.yaml", toy / f"versions/{old}.yaml")
    with pytest.raises(DatasetError, match=rf"versions/{old}.yaml: it is the manifest of version"):
        open_dataset(toy, "first")
    assert [fault.file for fault in check_dataset(toy, every=True).faults] == [f"versions/{old}.yaml"]
    assert_repaired(repair(toy, every=True, mirror=str(built / "toy")), toy, before)


def test_a_lost_manifest_of_a_tagged_version_and_lost_tags_come_from_a_mirror(toy: Path, built: Path) -> None:
    before, old = contents(toy), read_manifest(toy, "first").version
    (toy / f"versions/{old}.yaml").unlink()
    assert [fault.file for fault in check_dataset(toy, every=True).faults] == ["tags.yaml"]
    assert_repaired(repair(toy, every=True, mirror=str(built / "toy")), toy, before)
    (toy / "tags.yaml").write_bytes(b"")
    assert [fault.file for fault in check_dataset(toy, every=True).faults] == ["tags.yaml"]
    with pytest.raises(DatasetError, match=r"tags.yaml: is empty"):
        open_dataset(toy, "first")
    assert_repaired(repair(toy, every=True, mirror=str(built / "toy")), toy, before)
    (toy / "tags.yaml").unlink()
    assert_repaired(repair(toy, every=True, mirror=str(built / "toy")), toy, before)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data.replace(b"\n", b"\r\n")])
def test_line_ends_of_a_manifest_count(toy: Path, change: Callable[[bytes], bytes]) -> None:
    before = contents(toy)
    for name in ("manifest.yaml", f"versions/{read_manifest(toy).version}.yaml"):
        (toy / name).write_bytes(change(before[name]))
        assert name in [fault.file for fault in check_dataset(toy, every=True).faults]
        assert_repaired(repair(toy, every=True), toy, before)


def test_metadata_that_the_index_rounds_is_restored(tmp_path: Path) -> None:
    """A column with 57 and 57.5 is one of floats in the index; the shard says 57."""
    folder = tiny_hands(tmp_path / "data", [30, 60, 90, 120, 150])
    rows = "".join(f"ID00{i},{57 + i / 2:g}\n" for i in range(1, 6))
    (folder / "weights.csv").write_text("patient,weight\n" + rows, encoding="utf-8")
    recipe = write_recipe(tmp_path / "toy.yaml", folder, STEPS, classes="[a, b]")
    join = "classes: [a, b], metadata: {table: weights.csv, key: patient, on: group}"
    recipe.write_text(recipe.read_text().replace("classes: [a, b]", join), encoding="utf-8")
    build(recipe, tmp_path / "out")
    before = contents(tmp_path / "out")
    said = [row["metadata"] for name in before if name.startswith("shards") for row in rows_of(tmp_path / "out" / name)]
    assert any('"weight":58}' in text for text in said)
    assert any('"weight":57.5}' in text for text in said)
    for name in before:
        if name.startswith("shards/"):
            (tmp_path / "out" / name).unlink()
    assert_repaired(repair(tmp_path / "out"), tmp_path / "out", before)


def rows_of(shard: Path) -> list[dict[str, str]]:
    return list(pq.read_table(shard, columns=["metadata"]).to_pylist())


def test_tables_that_come_out_otherwise_are_not_put_in_place(tmp_path: Path) -> None:
    data = tiny_hands(tmp_path / "data", [30, 60, 90, 120])
    recipe = write_recipe(tmp_path / "toy.yaml", data, classes="[a, b]")
    recipe.write_text(recipe.read_text().replace("classes: [a, b]", "classes: [a, b], licence: CC0-1.0"))
    build(recipe, tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    text = manifest.recipe.text.replace("CC0-1.0", "MIT")
    forged = manifest.model_copy(update={"recipe": manifest.recipe.model_copy(update={"text": text})})
    write_card(tmp_path / "out", forged)
    write_manifest(tmp_path / "out", forged)  # as if the source had said another licence when it was built
    (tmp_path / "out" / manifest.index_path).unlink()
    before = contents(tmp_path / "out")
    found = repair(tmp_path / "out")
    assert [fault.file for fault in found.faults] == [manifest.index_path]
    assert any("a licence" in reason for reason in found.reasons)
    assert contents(tmp_path / "out") == before


def test_every_bit_of_a_footer(toy: Path) -> None:
    shard = some_shard(toy)
    whole = (toy / shard.path).read_bytes()
    for at in range(len(whole) - 700, len(whole), 37):
        flip(toy / shard.path, at)
        found = repair(toy)
        assert (found.faults, (toy / shard.path).read_bytes()) == ([], whole)


def test_a_manifest_whose_version_has_digits_alone(toy: Path) -> None:
    text = (toy / "manifest.yaml").read_text(encoding="utf-8")
    version = read_manifest(toy).version
    quoted = seal(text[: text.rindex("# sha256")].replace(f"version: {version}", f"version: '{version}'"))
    (toy / f"versions/{version}.yaml").write_text(quoted, encoding="utf-8")
    (toy / "manifest.yaml").unlink()
    assert repair(toy).faults == []
    assert (toy / "manifest.yaml").read_text(encoding="utf-8") == quoted


def test_both_manifests_damaged_without_a_mirror(toy: Path) -> None:
    flip(toy / "manifest.yaml")
    flip(toy / f"versions/{read_manifest_of(toy)}.yaml")
    with pytest.raises(DatasetError, match=r"are both damaged.*--from"):
        repair(toy)


def read_manifest_of(folder: Path) -> str:
    """The version that is not tagged."""
    return next(name for name in versions(folder) if name != read_manifest(folder, "first").version)


def test_a_refuted_shard_is_refuted_by_any_path(toy: Path, built: Path, tmp_path: Path) -> None:
    path, recipe = (
        toy / some_shard(toy).path,
        write_recipe(built / "again.yaml", built / "data", STEPS, seed=2, classes="[a, b]"),
    )
    build(recipe, toy)
    stat = path.stat()
    at = payload_at(toy, 0, "image")
    with path.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)
        stream.seek(at)
        stream.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (tmp_path / "link").symlink_to(toy)
    assert not check_dataset(tmp_path / "link").ok
    build(recipe, toy)
    assert check_dataset(toy).ok
