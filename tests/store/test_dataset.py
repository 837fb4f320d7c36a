"""Reading: samples by number, name, split and condition, the same as what went in, for every kind of image."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
from toybox import (
    annotation,
    made,
    put_hand,
    tiny_hands,
    two_versions_fixture,  # noqa: F401
)

import augforge
from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.errors import DatasetError
from augforge.sources.formats.hand_bone import HandBone
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.verify import verify


@pytest.fixture(scope="module")
def dataset(two_versions: Path) -> Dataset:
    return open_dataset(two_versions / "toy")


def test_length_order_and_iteration(dataset: Dataset) -> None:
    assert len(dataset) == dataset.index.height == dataset.manifest.samples == 28
    assert [sample.name for sample in dataset] == dataset.index["name"].to_list()
    assert [sample.split for sample in dataset] == dataset.index["split"].to_list()
    assert dataset[-1].name == dataset[27].name
    assert dataset[-28].name == dataset[0].name
    assert list(iter(dataset.where(pl.lit(False)))) == []
    assert repr(dataset) == f"<Dataset toy {dataset.version}: 28 samples, 29 classes>"


@pytest.mark.parametrize("i", [28, -29, 10**9])
def test_index_out_of_range(dataset: Dataset, i: int) -> None:
    with pytest.raises(IndexError, match=f"sample {i} of 28"):
        dataset[i]


def test_splits_and_conditions(dataset: Dataset) -> None:
    assert {name: len(dataset.split(name)) for name in ("train", "val", "test")} == dataset.manifest.splits
    assert all(sample.group == "ID002" for sample in dataset.split("val"))
    with pytest.raises(DatasetError, match=r"no split 'vall'\. Did you mean 'val'"):
        dataset.split("vall")
    radius = pl.col("area").struct.field("Radius")
    mosaics = dataset.split("train").where(pl.col("step") == "mosaic")
    middle = mosaics.index["area"].struct.field("Radius").median()
    large = mosaics.where(radius > middle)
    assert (len(mosaics), len(large)) == (12, 6)
    bit = dataset.classes.index("Radius")
    assert all(bitmask.class_mask(sample.masks, bit).sum() > middle for sample in large)


def test_samples_by_name(dataset: Dataset) -> None:
    name = dataset.index["name"][5]
    assert dataset.by_name(name).name == name
    with pytest.raises(DatasetError, match=f"no sample '{name[:-1]}'. Did you mean "):
        dataset.by_name(name[:-1])


def test_old_names_still_work(dataset: Dataset) -> None:
    name = dataset[1].name
    old: Any = dataset
    with pytest.deprecated_call(match="Dataset.named is called Dataset.by_name now"):
        assert old.named(name).name == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        old.nothing  # noqa: B018


def test_unlabelled_images_know_no_class(dataset: Dataset) -> None:
    samples = list(dataset.split("test"))
    assert len(samples) == 2
    for sample in samples:
        assert not sample.known.any()
        assert not sample.masks.any()
    areas = dataset.split("test").index["area"].to_list()
    assert areas == [dict.fromkeys(dataset.classes)] * 2
    assert all(sample.known.tobytes() == bitmask.all_bits(29).tobytes() for sample in dataset.split("train"))


def test_areas_and_boxes_are_those_of_the_masks(dataset: Dataset) -> None:
    for sample, row in zip(dataset.split("train"), dataset.split("train").index.iter_rows(named=True), strict=True):
        areas, boxes = bitmask.areas_and_boxes(sample.masks, 29)
        assert list(row["area"].values()) == areas.tolist()
        assert [box or [0, 0, 0, 0] for box in row["box"].values()] == boxes.tolist()


def test_metadata_round_trip(dataset: Dataset, two_versions: Path) -> None:
    listing = HandBone(path=str(two_versions / "data")).scan(FileCache())
    wanted = {record.name: dict(record.metadata) for record in listing.records}
    assert any(wanted.values())
    for sample in dataset:
        if sample.name in wanted:
            assert sample.metadata == wanted[sample.name]
    mosaic = next(sample for sample in dataset if sample.name.startswith("mosaic/"))
    assert set(mosaic.metadata) <= set(
        wanted[dataset.index["name"][0].split("~")[0].split("-")[0].removeprefix("mosaic/")]
    )


def test_payloads_are_the_encoded_images(dataset: Dataset) -> None:
    image, masks = dataset.payload(3)
    sample = dataset[3]
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_UNCHANGED), sample.image)
    assert (bitmask.decode(masks, sample.height, sample.width, 29) == sample.masks).all()


def read_names(dataset: Dataset) -> list[tuple[str, int]]:
    return [(sample.name, int(sample.image.sum())) for sample in dataset]


def test_datasets_can_be_pickled(dataset: Dataset) -> None:
    wanted = read_names(dataset)
    copy = pickle.loads(pickle.dumps(dataset))
    assert read_names(copy) == wanted
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(read_names, dataset.split("val")).result() == read_names(dataset.split("val"))


def test_error_names_missing_and_empty_shards(toy_copy: Path) -> None:
    shard = next((toy_copy / "shards").glob("test-*"))
    shard.write_bytes(b"")
    with pytest.raises(DatasetError, match=f"{shard} cannot be read.*augforge verify"):
        open_dataset(toy_copy).split("test")[0]
    shard.unlink()
    with pytest.raises(DatasetError, match=str(shard)):
        open_dataset(toy_copy).split("test")[0]


def test_error_names_a_truncated_shard(toy_copy: Path) -> None:
    dataset = open_dataset(toy_copy).split("test")
    shard = next((toy_copy / "shards").glob("test-*"))
    ends = (pl.col("masks_offset") + pl.col("masks_bytes")).alias("end")
    i = int(dataset.index.select(ends)["end"].arg_max() or 0)
    end = dataset.index.select(ends)["end"][i]
    shard.write_bytes(shard.read_bytes()[:end])
    dataset.payload(i)
    shard.write_bytes(shard.read_bytes()[: end - 1])
    with pytest.raises(DatasetError, match=rf"^{shard} is cut off: .* '{dataset.index['name'][i]}' .*augforge verify"):
        open_dataset(toy_copy).split("test").payload(i)


@pytest.mark.parametrize("at", [0, 0.3, 0.7, -1])
def test_check_finds_a_flipped_byte(toy_copy: Path, at: float) -> None:
    dataset = open_dataset(toy_copy)
    done: list[int] = []
    dataset.check(done.append)
    assert sum(done) == len(dataset.manifest.shards)
    shard = toy_copy / dataset.split("val").index["shard"][0]
    data = bytearray(shard.read_bytes())
    data[int(at * len(data)) if at >= 0 else -1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DatasetError, match=f"^{shard} is damaged: its SHA-256 .*augforge verify"):
        dataset.check()
    dataset.split("train").check()
    shard.unlink()
    with pytest.raises(DatasetError, match=f"^{shard} cannot be read"):
        dataset.check()


def test_check_fetches_a_damaged_copy_again(
    two_versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUGFORGE_CACHE", str(tmp_path / "cache"))
    dataset = open_dataset(f"file://{two_versions / 'toy'}", check=False)
    image = bytes(dataset.payload(0)[0])
    shard = dataset.folder / dataset.index["shard"][0]
    data = bytearray(shard.read_bytes())
    data[dataset.index["image_offset"][0] + 9] ^= 1
    shard.write_bytes(data)
    assert bytes(dataset.payload(0)[0]) != image
    dataset.check()
    assert bytes(dataset.payload(0)[0]) == image


@pytest.fixture
def toy_copy(two_versions: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(two_versions / "toy", tmp_path / "toy"))


def test_error_without_dataset_or_index(toy_copy: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is no dataset"):
        open_dataset(tmp_path)
    index = toy_copy / open_dataset(toy_copy).manifest.index_path
    index.unlink()
    with pytest.raises(DatasetError, match=f"{index} is missing"):
        open_dataset(str(toy_copy))


# ---- every kind of image ---------------------------------------------------------------------------------------------

KINDS = [
    ("uint8", (), 1),
    ("uint8", (), 8),
    ("uint8", (3,), 9),
    ("uint16", (), 29),
    ("uint8", (4,), 70),
    ("uint16", (3,), 70),
    ("uint16", (4,), 256),
]


@pytest.mark.parametrize(("dtype", "channels", "classes"), KINDS)
def test_all_kinds_of_images_round_trip(tmp_path: Path, dtype: str, channels: tuple[int, ...], classes: int) -> None:
    rng = np.random.default_rng(classes)
    names = [f"bone {c}" for c in range(classes)]
    images: dict[str, np.ndarray] = {}
    for number in range(1, 7):
        image = rng.integers(0, np.iinfo(dtype).max, (30, 41, *channels), dtype, endpoint=True)
        images[put_hand(tmp_path / "data", number, image, names)] = image
    images[put_hand(tmp_path / "data", 7, images[f"ID001/image{1:013d}"], names, labelled=False)] = images[
        f"ID001/image{1:013d}"
    ]
    steps = ["{op: hflip, keep_input: true}", "{op: mosaic, keep_input: true}"]
    summary, dataset = made(tmp_path, tmp_path / "data", steps, classes=str(names))
    assert summary.splits == {"test": 1, "train": 20, "val": 1}
    assert verify(tmp_path / "out", pixels=True) == []
    source = HandBone(path=str(tmp_path / "data"), classes=tuple(names))
    records = {record.name: record for record in source.scan(FileCache()).records}
    for name, image in images.items():
        sample, loaded = dataset.by_name(name), source.load(records[name], tuple(names))
        assert sample.image.dtype == dtype
        assert (sample.image == image).all()
        assert (sample.masks == loaded.masks).all()
        assert (sample.known == loaded.known).all()
    flipped = dataset.by_name(f"ID003/image{3:013d}~hflip")
    assert (flipped.image == images[f"ID003/image{3:013d}"][:, ::-1]).all()
    assert (flipped.masks == dataset.by_name(f"ID003/image{3:013d}").masks[:, ::-1]).all()
    row = dataset.index.row(0, named=True)
    assert (row["dtype"], row["channels"]) == (dtype, channels[0] if channels else 1)
    assert list(row["area"]) == names
    assert build_again(tmp_path).unchanged


def build_again(tmp_path: Path) -> Any:
    from augforge.engine.builder import build

    return build(tmp_path / "recipe.yaml", tmp_path / "out")


def test_unlabelled_only_by_class_map(tmp_path: Path) -> None:
    """A label left out by the recipe is no pixel of any class, and the class table stays whole."""
    data = tiny_hands(tmp_path / "data", [10, 20, 30])
    assert annotation(data, f"ID001/image{1:013d}").exists()
    recipe_classes = "[a], class_map: {b: null}"
    _, dataset = made(tmp_path, data, classes=recipe_classes)
    assert dataset.classes == ("a",)
    assert all(sample.masks.shape[2] == 1 and not (sample.masks & 254).any() for sample in dataset)


def test_a_loader_process_imports_only_what_reading_needs() -> None:
    """Each worker of a DataLoader imports this module, so what opening and checking need must not come along."""
    code = "import sys, augforge.store.dataset; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"polars", "pyarrow", "ruamel.yaml", "fsspec", "sqlite3", "rich"} & set(loaded)
    assert not {"augforge.cache", "augforge.store.index", "augforge.store.remote", "augforge.yamlfile"} & set(loaded)
    assert sum(name.split(".")[0] == "augforge" for name in loaded) <= 22


@pytest.mark.parametrize("classes", [1, 8, 70])
def test_every_size_and_number_of_classes_is_read_as_it_was_drawn(classes: int, tmp_path: Path) -> None:
    """Widths that are no multiple of 8, a single pixel, empty and full classes: the masks that OpenCV wrote."""
    rng = np.random.default_rng(classes)
    drawn: dict[str, Any] = {}
    for height, width in ((1, 1), (7, 13), (33, 65), (40, 8)):
        name = f"p{height}x{width}"
        stack = rng.random((classes, height, width)) < rng.choice([0, 0.03, 0.5, 1], (classes, 1, 1))
        stack[0] = width != 13  # one picture without its first class, all others full of it
        drawn[name] = rng.integers(0, 256, (height, width), np.uint8), stack
        (tmp_path / "data/images").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / f"data/images/{name}.png"), drawn[name][0])
        for c, mask in enumerate(stack):
            (tmp_path / f"data/masks/c{c:02}").mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / f"data/masks/c{c:02}/{name}.png"), mask.astype(np.uint8) * 255)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: sizes\nsource: {format: mask-folder, path: data}\nsteps: []\n", encoding="utf-8")
    augforge.build(recipe, tmp_path / "out")
    for checked in (True, False):
        dataset = open_dataset(tmp_path / "out", check=checked)
        assert len(dataset) == len(drawn)
        for sample in dataset:
            image, stack = drawn[sample.name]
            np.testing.assert_array_equal(sample.image, image)
            np.testing.assert_array_equal(bitmask.to_stack(sample.masks, classes), stack)
            np.testing.assert_array_equal(bitmask.to_stack(bitmask.contiguous(sample.masks), classes), stack)


def test_what_has_no_digest_is_still_compared_with_its_own_checksum(tmp_path: Path) -> None:
    """Without digests nothing but the frame's checksum shows that masks were damaged."""
    for number in (1, 2):
        put_hand(tmp_path / "data", number, np.zeros((24, 32), np.uint8), ("a",))
    _, dataset = made(tmp_path, tmp_path / "data", classes="[a]", split="{val: [ID001]}")
    _, _, at, length = dataset.index.select("image_offset", "image_bytes", "masks_offset", "masks_bytes").row(0)
    shard = dataset.folder / dataset.index["shard"][0]
    content = bytearray(shard.read_bytes())
    content[at + length - 1] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DatasetError, match="not those that the index has the digest of"):
        open_dataset(dataset.folder)[0]
    with pytest.raises(DatasetError, match="mask frame"):
        open_dataset(dataset.folder, check=False)[0]
