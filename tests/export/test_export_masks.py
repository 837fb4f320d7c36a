"""Mask folders, index masks, run lengths: exact, and read back by their sources."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from samplebox import CLASSES, SAMPLES, assert_same, box_fixture, box_sample, dataset_of, export_to, read  # noqa: F401
from samplenames import name_at

from augforge import bitmask
from augforge.errors import AugforgeError
from augforge.export.listing import known_flags
from augforge.store.dataset import Dataset

# ---- mask-folder -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "val"])
def test_mask_folder_source_gives_the_same_samples(box: Dataset, tmp_path: Path, split: str) -> None:
    export_to(box, tmp_path / "out", "mask-folder")
    found = read("mask-folder", tmp_path / "out" / split, classes=CLASSES)
    assert set(found) == set(box.split(split).index["name"])
    for name, sample in found.items():
        assert_same(sample, box.by_name(name))


def test_mask_folder_files(box: Dataset, tmp_path: Path) -> None:
    export_to(box, tmp_path / "out", "mask-folder")
    assert sorted(path.name for path in (tmp_path / "out/train/masks").iterdir()) == sorted(CLASSES)
    assert list((tmp_path / "out/train/masks/never").iterdir()) == []
    assert not (tmp_path / "out/test/masks").exists()
    with Image.open(tmp_path / "out/train/masks/rib 1/P01/one.png") as mask:
        assert mask.mode == "L"
        np.testing.assert_array_equal(np.asarray(mask), bitmask.class_mask(box.by_name("P01/one").masks, 2) * 255)


def test_mask_folder_keeps_a_class_unlabelled_everywhere(tmp_path: Path) -> None:
    dataset = dataset_of(
        tmp_path / "data", [box_sample("P/a", 1, known=(0, 2, 3)), box_sample("P/b", 2, known=(0, 2, 3))]
    )
    assert export_to(dataset, tmp_path / "out", "mask-folder").notes == {}
    for name, sample in read("mask-folder", tmp_path / "out/train", classes=CLASSES).items():
        assert_same(sample, dataset.by_name(name))


def test_class_names_are_single_folders(tmp_path: Path) -> None:
    classes = ("../a/b", "con", "c:d", ".e", "f")
    dataset = dataset_of(tmp_path / "data", [box_sample("P/a", 1)], classes)
    done = export_to(dataset, tmp_path / "out", "mask-folder")
    folders = sorted(path.name for path in (tmp_path / "out/train/masks").iterdir())
    assert folders == ["%2E.%2Fa%2Fb", "%2Ee", "%63on", "c%3Ad", "f"]
    ((note, count),) = done.notes.items()
    told, _, class_map = note.partition("class_map: ")
    assert told and count == 4
    found = read("mask-folder", tmp_path / "out/train", classes=classes, class_map=json.loads(class_map))
    assert_same(found["P/a"], dataset.by_name("P/a"))


@pytest.mark.parametrize("odd", ["*", "*a", "^a$", "^.*$", "a|b"])
def test_class_names_are_not_patterns(tmp_path: Path, odd: str) -> None:
    classes = (odd, "a", "b", "ignore", "e")
    dataset = dataset_of(tmp_path / "data", [box_sample("P/a", 1, known=(0, 2, 3))], classes)
    assert known_flags(dataset.index, classes).tolist() == [[True, False, True, True, False]]
    export_to(dataset, tmp_path / "out", "mask-folder")


# ---- index-mask ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Classes without overlap."""
    samples = [
        box_sample("P/a", 1, overlap=False),
        box_sample("P/b", 2, overlap=False),
        box_sample("P/c", 3, known=()),
    ]
    return dataset_of(tmp_path_factory.mktemp("apart"), samples)


def test_index_mask_source_gives_the_same_samples(apart: Dataset, tmp_path: Path) -> None:
    done = export_to(apart, tmp_path / "out", "index-mask")
    assert done.notes == {"unlabelled images, without a mask": 1}
    found = read("index-mask", tmp_path / "out/train", classes=CLASSES, missing_mask="unlabelled")
    assert set(found) == {"P/a", "P/b", "P/c"}
    for name, sample in found.items():
        assert_same(sample, apart.by_name(name))
    assert (tmp_path / "out/classes.txt").read_text() == "1 lung\n2 heart\n3 rib 1\n4 never\n255 ignore\n"


def test_overlap_is_an_error_that_names_both_classes(box: Dataset, tmp_path: Path) -> None:
    with pytest.raises(AugforgeError, match=r"sample P01/\S+: (lung|heart) and (heart|rib 1) overlap .*--set 'order="):
        export_to(box, tmp_path / "out", "index-mask")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("order", "bottom_up"),
    [
        ("*", ["lung", "heart", "rib 1"]),
        ("rib 1, heart, lung", ["rib 1", "heart", "lung"]),
        (["rib 1", "*"], ["rib 1", "lung", "heart"]),
        ("*,lung", ["heart", "rib 1", "lung"]),
        ("ignore,*", ["lung", "heart", "rib 1"]),
    ],
)
def test_order_decides_which_class_is_painted_last(
    box: Dataset, tmp_path: Path, order: object, bottom_up: list[str]
) -> None:
    export_to(box, tmp_path / "out", "index-mask", order=order)
    values = {"lung": 1, "heart": 2, "rib 1": 3, "ignore": 255}
    for sample in (*box.split("train"), *box.split("val")):
        expected = np.zeros((sample.height, sample.width), np.uint8)
        for name in (*bottom_up, "ignore"):
            expected[bitmask.class_mask(sample.masks, CLASSES.index(name)) > 0] = values[name]
        with Image.open(tmp_path / f"out/{sample.split}/masks/{sample.name}.png") as mask:
            np.testing.assert_array_equal(np.asarray(mask), expected)


def test_order_must_name_both(box: Dataset, tmp_path: Path) -> None:
    with pytest.raises(AugforgeError, match="overlap"):
        export_to(box, tmp_path / "out", "index-mask", order="lung,heart")
    with pytest.raises(AugforgeError, match=r"'hart', which is no class. Did you mean 'heart'"):
        export_to(box, tmp_path / "out", "index-mask", order="hart,*")
    with pytest.raises(AugforgeError, match="twice"):
        export_to(box, tmp_path / "out", "index-mask", order="*,heart,*")


def test_ignore_is_painted_last_without_an_order(tmp_path: Path) -> None:
    sample = box_sample("P/a", 1, known=(0, 3, 1, 2, 4), overlap=False)
    bitmask.merge_class(sample.masks, 3, np.ones((44, 61), np.uint8))
    export_to(dataset_of(tmp_path / "data", [sample]), tmp_path / "out", "index-mask")
    with Image.open(tmp_path / "out/train/masks/P/a.png") as mask:
        assert (np.asarray(mask) == 255).all()


def test_too_many_classes_for_an_index(tmp_path: Path) -> None:
    from augforge.export.index_mask import class_values

    assert len(class_values([f"c{i}" for i in range(254)])) == 254
    assert len(class_values([*(f"c{i}" for i in range(254)), "ignore"])) == 255
    with pytest.raises(AugforgeError, match=r"holds 254 classes, the dataset has 255"):
        class_values([f"c{i}" for i in range(255)])


# ---- csv -------------------------------------------------------------------------------------------------------------


def decoded(text: str, height: int, width: int) -> np.ndarray:
    """The contest's own decoding: pairs of start from 1 and length, along rows."""
    flat = np.zeros(height * width, np.uint8)
    numbers = [int(number) for number in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        flat[start - 1 : start - 1 + length] = 1
    return flat.reshape(height, width)


def test_csv_decodes_to_the_masks(box: Dataset, tmp_path: Path) -> None:
    done = export_to(box, tmp_path / "out", "csv")
    assert done.notes == {"unlabelled images, without rows": 1}
    assert (tmp_path / "out/test.csv").read_text() == "image_name,class,rle\n"
    names = {sample.name.rpartition("/")[2] + ".png": sample.name for sample in SAMPLES}
    for split in ("train", "val"):
        table = pd.read_csv(tmp_path / f"out/{split}.csv", keep_default_na=False)
        assert list(table.columns) == ["image_name", "class", "rle"]
        assert table["class"].tolist() == list(CLASSES) * len(box.split(split))
        for row in table.itertuples():
            sample = box.by_name(names[row.image_name])
            expected = bitmask.class_mask(sample.masks, CLASSES.index(row[2]))
            np.testing.assert_array_equal(decoded(row.rle, sample.height, sample.width), expected)
            assert (row.rle == "") == (not expected.any())


def test_csv_bytes_are_those_of_pandas(box: Dataset, tmp_path: Path) -> None:
    export_to(box, tmp_path / "out", "csv")
    table = pd.read_csv(tmp_path / "out/val.csv", keep_default_na=False)
    buffer = io.StringIO()
    table.to_csv(buffer, index=False, lineterminator="\n")
    assert (tmp_path / "out/val.csv").read_text() == buffer.getvalue()


@pytest.mark.parametrize("split", ["train", "val"])
def test_csv_source_gives_the_same_samples(box: Dataset, tmp_path: Path, split: str) -> None:
    export_to(box, tmp_path / "out", "csv", image_name="path")
    found = read("csv", tmp_path / "out", classes=CLASSES, table=f"{split}.csv", folder="images", missing_row="unknown")
    assert set(found) == set(box.split(split).index["name"])
    for name, sample in found.items():
        assert_same(sample, box.by_name(name))


def test_csv_leaves_out_rows_of_unlabelled_classes(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", [box_sample("P/a", 1, known=(0, 2, 3)), box_sample("P/b", 2)])
    export_to(dataset, tmp_path / "out", "csv")
    with (tmp_path / "out/train.csv").open() as stream:
        rows = [row[:2] for row in csv.reader(stream)][1:]
    labelled = ["lung", "rib 1", "ignore"]
    assert rows == [*(["a.png", name] for name in labelled), *(["b.png", name] for name in CLASSES)]
    found = read("csv", tmp_path / "out", classes=CLASSES, folder="images", missing_row="unknown")
    for name, sample in found.items():
        assert_same(sample, dataset.by_name(f"P/{name}"))


def test_csv_names(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", [box_sample("P/a", 1), box_sample("Q/a", 2)])
    export_to(dataset, tmp_path / "auto", "csv")
    assert sorted(path.name for path in (tmp_path / "auto/images").iterdir()) == ["P", "Q"]
    assert "\nP/a.png,lung," in (tmp_path / "auto/train.csv").read_text()
    with pytest.raises(AugforgeError, match=r"2 samples have the file name a.*image_name=path"):
        export_to(dataset, tmp_path / "file", "csv", image_name="file")
    export_to(dataset, tmp_path / "bare", "csv", images=False)
    assert [path.name for path in (tmp_path / "bare").iterdir()] == ["train.csv"]


def test_csv_refuses_class_names_with_outer_blanks(tmp_path: Path) -> None:
    """Tables lose them, and the class would be another one."""
    classes = ("lung", "heart ", "rib", "ignore", "never")
    dataset = dataset_of(tmp_path / "data", [box_sample("P/a", 1)], classes)
    with pytest.raises(AugforgeError, match="class 'heart ' begins or ends with a blank"):
        export_to(dataset, tmp_path / "out", "csv")


def test_csv_names_may_hold_blanks(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", [box_sample("P /\u00a0a ", 1)])
    export_to(dataset, tmp_path / "out", "csv")
    (sample,) = read("csv", tmp_path / "out", classes=CLASSES, folder="images").values()
    assert name_at(sample.name) == "\u00a0a "
