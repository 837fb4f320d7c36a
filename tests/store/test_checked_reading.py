"""Nothing unverified is believed: a flipped bit in an index or a payload is an error, whatever reads it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from toybox import put_hand, tiny_hands, with_index, write_recipe

from augforge.cache.filecache import FileCache
from augforge.engine.builder import build
from augforge.errors import AugforgeError, DatasetError
from augforge.export import export
from augforge.sources.formats.dataset import AugforgeDataset
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.tablereading import read_sample_table
from augforge.train.data.trainingset import TrainingSet

ENCODINGS = {"png": "{image: png}", "jpeg": "{image: jpeg, quality: 90}"}


@pytest.fixture(name="folders", scope="module")
def folders_fixture(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A dataset by encoding; one more of 16 bits."""
    root = tmp_path_factory.mktemp("checked")
    data = tiny_hands(root / "data", [10, 60, 110, 160], ("a", "b"))
    for name, output in ENCODINGS.items():
        build(write_recipe(root / f"{name}.yaml", data, classes="[a, b]", output=output), root / name)
    image = np.random.default_rng(0).integers(0, 1 << 16, (30, 40), np.uint16)
    for number in (1, 2, 3):
        put_hand(root / "deep", number, image, ["a", "b"])
    build(write_recipe(root / "16 bits.yaml", root / "deep", classes="[a, b]"), root / "16 bits")
    return {name: root / name for name in (*ENCODINGS, "16 bits")}


def copy_of(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([byte ^ 1 << at % 8]))


def place_of(dataset: Dataset, i: int) -> tuple[Path, int, int, int, int]:
    columns = ("image_offset", "image_bytes", "masks_offset", "masks_bytes")
    row = dataset.index.row(i, named=True)
    return (dataset.folder / row["shard"], *(row[name] for name in columns))


@pytest.mark.parametrize("kind", ["png", "jpeg", "16 bits"])
def test_every_flipped_bit_of_a_payload_is_found(kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copy_of(folders[kind], tmp_path)
    whole = open_dataset(folder)
    shard, image_at, image_bytes, masks_at, masks_bytes = place_of(whole, 1)
    name = whole[1].name
    for at in (*np.linspace(image_at, image_at + image_bytes - 1, 12, dtype=int), masks_at, masks_at + masks_bytes - 1):
        flip(shard, int(at))
        dataset = open_dataset(folder)
        message = rf"{shard} is damaged: the stored bytes of sample '{name}' .* repair: augforge repair {folder}$"
        for read in (dataset.__getitem__, dataset.payload):
            with pytest.raises(DatasetError, match=message):
                read(1)
        assert [dataset[i].name for i in range(len(dataset)) if i != 1] == [
            row for i, row in enumerate(dataset.index["name"]) if i != 1
        ]
        open_dataset(folder, check=False).payload(1)
        flip(shard, int(at))
    assert whole[1].name == name


def test_a_repaired_shard_is_read_without_opening_again(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copy_of(folders["png"], tmp_path)
    dataset = open_dataset(folder)
    shard, at, *_ = place_of(dataset, 0)
    flip(shard, at + 20)
    with pytest.raises(DatasetError):
        dataset[0]
    repaired = shard.with_suffix(".new")
    shutil.copy(folders["png"] / shard.relative_to(folder), repaired)
    repaired.replace(shard)
    assert dataset[0].name == dataset.index["name"][0]


def test_every_flipped_bit_of_the_index_is_found(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copy_of(folders["png"], tmp_path)
    opened = open_dataset(folder)
    index = folder / opened.manifest.index_path
    for at in np.linspace(0, index.stat().st_size - 1, 25, dtype=int):
        flip(index, int(at))
        with pytest.raises(DatasetError, match=rf"^{index} is damaged: its SHA-256 .*augforge repair {folder}"):
            open_dataset(folder)
        with pytest.raises(DatasetError, match="is damaged: its SHA-256"):
            pickled(opened).index  # noqa: B018
        flip(index, int(at))
    assert open_dataset(folder).index.equals(opened.index)


def pickled(dataset: Dataset) -> Dataset:
    import pickle

    copy = pickle.loads(pickle.dumps(dataset))
    assert isinstance(copy, Dataset)
    return copy


def damaged(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A dataset with a wrong bit in the pixels of one JPEG, which a decoder does not see."""
    folder = copy_of(folders["jpeg"], tmp_path)
    shard, at, length, *_ = place_of(open_dataset(folder), 0)
    flip(shard, at + length * 3 // 4)
    open_dataset(folder, check=False)[0]
    return folder


def test_all_who_read_payloads_find_the_damage(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = damaged(folders, tmp_path)
    dataset = open_dataset(folder)
    source = AugforgeDataset(path=str(folder))
    listed = AugforgeDataset(path=str(folders["jpeg"])).scan(FileCache())  # as if it were damaged after the listing
    record = next(record for record in listed.records if record.name == dataset.index["name"][0])
    readers: dict[str, Any] = {
        "sample": lambda: dataset[0],
        "pickled": lambda: pickled(dataset)[0],
        "split": lambda: list(dataset.split(dataset.index["split"][0])),
        "where": lambda: dataset.where(pl.lit(True))[0],
        "trainer": lambda: TrainingSet([dataset])[0],
        "export": lambda: export(dataset, tmp_path / "export", "coco"),
        "source": lambda: source.load(record, listed.classes),
    }
    for name, read in readers.items():
        with pytest.raises(AugforgeError, match=r"damaged"):
            read()
            pytest.fail(f"{name} believed a damaged image")


def test_a_dataset_of_format_1_is_read_unchecked(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = damaged(folders, tmp_path)
    dataset = open_dataset(folder)
    with pytest.raises(DatasetError):
        dataset[0]
    former = with_index(dataset, dataset.index.drop("payload_digest"), format=1)
    former._files.checked = True
    assert former[0].name == dataset.index["name"][0]


@pytest.mark.parametrize("shard", ["../secret.parquet", "/etc/hostname", "shards/other.parquet", "", None])
def test_an_index_names_no_file_but_the_manifests_shards(
    shard: str | None, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copy_of(folders["png"], tmp_path)
    (tmp_path / "secret.parquet").write_bytes(b"secret" * 1000)
    dataset = open_dataset(folder)
    forged = with_index(dataset, dataset.index.with_columns(shard=pl.lit(shard, pl.String)))
    with pytest.raises(DatasetError, match="the manifest has no such shard"):
        forged.payload(0)


@pytest.mark.parametrize("column", ["image_offset", "image_bytes", "masks_offset", "masks_bytes", "height"])
@pytest.mark.parametrize("value", [-1, 2**31 - 1, None])
def test_forged_places_and_sizes_are_errors(
    column: str, value: int | None, folders: dict[str, Path], tmp_path: Path
) -> None:
    dataset = open_dataset(folders["png"])
    index = dataset.index.with_columns(pl.lit(value, dataset.index.schema[column]).alias(column))
    with pytest.raises(DatasetError, match=r"negative|cut off|cannot be decoded|cannot be read"):
        with_index(dataset, index)[0]


def test_an_index_of_other_columns_is_an_error(folders: dict[str, Path]) -> None:
    dataset = open_dataset(folders["png"])
    for name in ("label", "area", "metadata", "payload_digest", "height"):
        with pytest.raises(DatasetError, match=r"cannot be read as an index|cannot be decoded"):
            with_index(dataset, dataset.index.with_columns(pl.lit(1).alias(name)))[0]
    with pytest.raises(DatasetError, match=r"cannot be read as an index \(it is about other classes"):
        read_sample_table(dataset.folder / dataset.manifest.index_path, ["b", "a"])
