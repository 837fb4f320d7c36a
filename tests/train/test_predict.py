"""Predicting from end to end: image files and datasets, with a network that reads the classes from the pixels."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
from makedata import read_pixels
from oracles import Bright, Remember, iou, oracle_run, put, shapes, spec, truth, write_shapes
from toybox import put_unreadable_pixels

from augforge import bitmask
from augforge.engine.builder import build
from augforge.errors import SourceError, TrainError
from augforge.lineage import Root
from augforge.sources.raster.runs import parse_runs, runs_mask
from augforge.store.dataset import Dataset, open_dataset
from augforge.train.prediction.blend import visible_part
from augforge.train.prediction.inference import Window
from augforge.train.prediction.predict import predict, render_predictions
from augforge.train.prediction.table import Predictions
from augforge.train.run import TrainingRun

CLASSES = ("red", "green", "blue")
SIZES = [(120, 90), (96, 128), (100, 100)]


def masks_in(path: Path) -> dict[str, np.ndarray]:
    """ImagePrediction classes of each image, bool (H, W, C)."""
    return {
        image.name: np.stack([*bitmask.to_masks(image.planes(), len(image.rles))], axis=-1).astype(bool)
        for image in Predictions(path)
    }


def oracle(tmp_path: Path, width: int = 128, height: int = 128, **fields: Any) -> TrainingRun:
    return oracle_run(tmp_path / "run", spec(width, height, 3), **fields)


@pytest.fixture(name="images")
def images_fixture(tmp_path: Path) -> Path:
    put(tmp_path / "images/P0/one.png", shapes(128, 96, 0))
    put(tmp_path / "images/P1/two.bmp", shapes(96, 128, 1))
    put(tmp_path / "images/three.tif", shapes(128, 128, 2)[..., 0])
    return tmp_path / "images"


# ---- image files ----


def test_a_folder_of_images_is_predicted_at_their_own_pixels(tmp_path: Path, images: Path) -> None:
    out, table = tmp_path / "out.parquet", tmp_path / "out.csv"
    found = predict(oracle(tmp_path), images, out, csv=table)
    expected = {
        "P0/one": truth(shapes(128, 96, 0)),
        "P1/two": truth(shapes(96, 128, 1)),
        "three": np.repeat(truth(shapes(128, 128, 2)[..., 0]), 3, axis=2),  # gray stands in all channels
    }
    masks = masks_in(out)
    assert [*masks] == [*expected]
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, expected[name])
    assert found["images"] == 3
    assert found["skipped"] == []
    assert [entry["pixels"] for entry in found["classes"]] == sum(
        m.sum(axis=(0, 1)) for m in expected.values()
    ).tolist()
    _check_csv(table, {"one.png": "P0/one", "two.bmp": "P1/two", "three.tif": "three"}, masks)


def _check_csv(table: Path, names: dict[str, str], masks: dict[str, np.ndarray]) -> None:
    with table.open(newline="", encoding="utf-8") as stream:
        rows = [*csv.DictReader(stream)]
    assert [(row["image_name"], row["class"]) for row in rows] == [(name, c) for name in names for c in CLASSES]
    for row in rows:
        mask = masks[names[row["image_name"]]][..., CLASSES.index(row["class"])]
        found = runs_mask(parse_runs(row["rle"], mask.size, 1, "here"), mask.shape[0], mask.shape[1], "row")
        np.testing.assert_array_equal(found, mask)


def test_one_image_by_windows_and_flips(tmp_path: Path, images: Path) -> None:
    bright, out = Bright(), tmp_path / "out.parquet"
    run = oracle(tmp_path, 64, 64, model=bright)
    options: dict[str, Any] = {"window": Window((64, 64), 0.5), "tta": ["hflip", "vflip"], "batch_size": 3}
    predict(run, images / "P0/one.png", out, **options)
    assert set(bright.shown) == {(64, 64)}
    np.testing.assert_array_equal(masks_in(out)["one"], truth(shapes(128, 96, 0)))


def test_a_turned_photograph_is_predicted_upright(tmp_path: Path) -> None:
    from PIL import Image

    image = shapes(128, 64, 4)
    path = tmp_path / "images/turned.png"
    path.parent.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    Image.fromarray(np.ascontiguousarray(np.rot90(image))).save(path, exif=exif)
    predict(oracle(tmp_path), tmp_path / "images", tmp_path / "out.parquet")
    np.testing.assert_array_equal(masks_in(tmp_path / "out.parquet")["turned"], truth(image))


def test_broken_files_stop_it_all_named_or_are_skipped_and_listed(tmp_path: Path, images: Path) -> None:
    (images / "cut.png").write_bytes((images / "P0/one.png").read_bytes()[:200])
    (images / "empty.jpg").write_bytes(b"")
    (images / "notes.txt").write_text("no image")
    bright, out = Bright(), tmp_path / "out.parquet"
    run = oracle(tmp_path, model=bright)
    with pytest.raises(SourceError, match=r"(?s)2 problems.*cut\.png.*empty\.jpg"):
        predict(run, images, out)
    assert not out.exists()
    assert not bright.shown
    found = predict(run, images, out, on_error="skip")
    assert found["images"] == 3
    assert sorted(entry["name"] for entry in found["skipped"]) == ["cut", "empty", "notes.txt"]
    assert all(entry["reason"] for entry in found["skipped"])


@pytest.mark.parametrize("batch_size", [1, 8])
def test_damage_that_only_decoding_shows_is_skipped_too(tmp_path: Path, images: Path, batch_size: int) -> None:
    whole = predict(oracle(tmp_path), images, tmp_path / "whole.parquet")
    put(images / "bad.png", shapes(64, 64, 0))
    put_unreadable_pixels(images / "bad.png")
    with pytest.raises(SourceError, match=r"bad\.png is damaged"):
        predict(oracle(tmp_path), images, tmp_path / "out.parquet")
    out, run = tmp_path / "out.parquet", oracle(tmp_path)
    found = predict(run, images, out, on_error="skip", batch_size=batch_size)
    assert found["images"] == whole["images"]
    assert [entry["name"] for entry in found["skipped"]] == ["bad"]
    masks = masks_in(tmp_path / "whole.parquet")
    assert masks.keys() == masks_in(out).keys()
    for name, mask in masks_in(out).items():
        np.testing.assert_array_equal(mask, masks[name])


def test_what_cannot_be_predicted_is_reported(tmp_path: Path, images: Path) -> None:
    out = tmp_path / "out.parquet"
    with pytest.raises(TrainError, match=r"none does not exist"):
        predict(oracle(tmp_path), tmp_path / "none", out)
    put(tmp_path / "twins/A/one.png", shapes(64, 64, 0))
    put(tmp_path / "twins/B/one.png", shapes(64, 64, 0))
    bright = Bright()
    run = oracle(tmp_path, model=bright)
    with pytest.raises(TrainError, match=r"file name one\.png"):
        predict(run, tmp_path / "twins", out, csv=tmp_path / "c.csv", image_name="file")
    assert not bright.shown  # said before the work


def test_thresholds_and_sources_stand_in_the_table(tmp_path: Path, images: Path) -> None:
    run = oracle_run(tmp_path / "run", spec(128, 128, 3), thresholds=(0.3, 0.5, 0.995))
    predict(run, images, tmp_path / "out.parquet", probabilities=True)
    header = Predictions(tmp_path / "out.parquet").header
    assert header.thresholds == (0.3, 0.5, 0.995)
    assert header.made_by["trained_on"] == [{"name": "made", "version": "0123"}]
    assert str(tmp_path) not in str(header)
    masks = masks_in(tmp_path / "out.parquet")
    assert all(mask[..., 2].sum() == 0 for mask in masks.values())  # no probability of the network is that high
    assert all(mask[..., 0].any() for mask in masks.values())


# ---- datasets ----


def built(tmp_path: Path, steps: list[str], output: str = "{}", sizes: list[tuple[int, int]] | None = None) -> Dataset:
    """The validation split of a dataset of `shapes`: P0, P1 and P2; P3 is what it would train on."""
    data = write_shapes(tmp_path / "data", [*(sizes or SIZES), (64, 64)])
    source = f"source: {{format: mask-folder, path: {str(data)!r}, classes: [red, green, blue]}}"
    lines = ["name: shapes", "split: {val: [P0, P1, P2]}", f"output: {output}", source, "steps:"]
    (tmp_path / "recipe.yaml").write_text("\n".join([*lines, *(f"  - {step}" for step in steps)]) + "\n")
    build(tmp_path / "recipe.yaml", tmp_path / "dataset")
    return open_dataset(tmp_path / "dataset").split("val")


def raw(number: int, sizes: list[tuple[int, int]] | None = None) -> np.ndarray:
    return truth(shapes(*(sizes or SIZES)[number], number))


UPRIGHT = "{op: rotate_normalise, axis: {from: [green], to: [blue]}, fit: expand, max_angle: 60}"


@pytest.mark.parametrize("steps", [[UPRIGHT], ["{op: rotate, on: [val], angles: [24], fit: expand}"]])
def test_turned_and_scaled_samples_come_back_to_the_raw_labels(tmp_path: Path, steps: list[str]) -> None:
    dataset = built(tmp_path, steps, "{size: 96}")
    matrices = [roots[0]["matrix"] for roots in dataset.index["lineage"].struct.field("roots")]
    assert all(abs(matrix[0][1]) > 0.05 for matrix in matrices)  # turned indeed
    out = tmp_path / "out.parquet"
    found = predict(oracle(tmp_path, 96, 96), tmp_path / "dataset", out, split="val", overlays=tmp_path / "seen")
    masks = masks_in(out)
    assert [*masks] == ["P0/shape", "P1/shape", "P2/shape"]
    for number, mask in enumerate(masks.values()):
        assert mask.shape[:2] == SIZES[number][::-1]
        for c in range(3):
            assert iou(mask[..., c], raw(number)[..., c]) > 0.95
            shift = np.argwhere(mask[..., c]).mean(axis=0) - np.argwhere(raw(number)[..., c]).mean(axis=0)
            assert abs(shift).max() < 0.2
    assert found["overlays"] == str(tmp_path / "seen")
    assert {path.relative_to(tmp_path / "seen").as_posix() for path in (tmp_path / "seen").rglob("*.png")} == {
        "P0/shape.png",
        "P1/shape.png",
        "P2/shape.png",
    }


def test_windows_of_a_source_image_are_put_together(tmp_path: Path) -> None:
    sizes = [(150, 110), (64, 64), (96, 70)]
    dataset = built(tmp_path, ["{op: sliding_window, size: 64, stride: 40}"], sizes=sizes)
    assert len(dataset) > 9
    out = tmp_path / "out.parquet"
    found = predict(oracle(tmp_path, 64, 64), dataset, out, overlays=tmp_path / "seen")
    assert found["images"] == 3
    for number, mask in enumerate(masks_in(out).values()):
        np.testing.assert_array_equal(mask, raw(number, sizes))


def test_windows_that_miss_the_turned_source_change_nothing(tmp_path: Path) -> None:
    sizes = [(300, 210), (64, 64), (64, 64)]
    dataset = built(tmp_path, [UPRIGHT, "{op: sliding_window, size: 64, stride: 40}"], "{size: 64}", sizes)
    roots = [roots[0] for roots in dataset.index["lineage"].struct.field("roots")]
    assert any(0 in visible_part(Root.from_json(root))[0].size for root in roots)  # the corners of the canvas are empty
    predict(oracle(tmp_path, 64, 64), dataset, tmp_path / "out.parquet", overlays=tmp_path / "seen")
    mask = masks_in(tmp_path / "out.parquet")["P0/shape"]
    assert min(iou(mask[..., c], raw(0, sizes)[..., c]) for c in range(3)) > 0.95


def test_where_windows_overlap_their_mean_counts_and_where_none_lies_nothing_is_found(tmp_path: Path) -> None:
    dataset = built(tmp_path, ["{op: sliding_window, size: 64, stride: 32}"], sizes=[(96, 64), (64, 64), (64, 64)])
    part = dataset.where(pl.col("name").str.starts_with("P0"))
    assert len(part) == 2
    answers = {int(part[i].image.sum()): level for i, level in enumerate((0.9, 0.3))}
    run = oracle_run(tmp_path / "run", spec(64, 64, 3), thresholds=(0.35, 0.55, 0.7), model=Remember(answers))
    predict(run, part, tmp_path / "out.parquet")
    mask = masks_in(tmp_path / "out.parquet")["P0/shape"]
    offsets = [int(name.partition("@")[2].split(",")[0]) for name in part.index["name"]]
    high = offsets[0]  # of the window that answers 0.9 everywhere
    mean = np.zeros((64, 96))
    mean[:, high : high + 64] = 0.9
    mean[:, 32:64] = 0.6
    other = 32 - high
    mean[:, other : other + 64] = np.where(mean[:, other : other + 64] == 0, 0.3, mean[:, other : other + 64])
    for c, threshold in enumerate((0.35, 0.55, 0.7)):
        np.testing.assert_array_equal(mask[..., c], mean >= threshold)
    alone = part.where(part.index["name"] == part.index["name"][0])
    predict(run, alone, tmp_path / "one.parquet")
    [mask] = masks_in(tmp_path / "one.parquet").values()
    shown = np.zeros((64, 96), bool)
    shown[:, high : high + 64] = True
    np.testing.assert_array_equal(mask[..., 0], shown)


def test_a_mosaic_is_predicted_in_its_own_pixels(tmp_path: Path) -> None:
    dataset = built(tmp_path, ["{op: mosaic, grid: [2, 1], on: [val], size: 128, keep_input: true}"], "{size: 128}")
    out = tmp_path / "out.parquet"
    predict(oracle(tmp_path), dataset, out)
    masks = masks_in(out)
    mosaics = [name for name in masks if name.startswith("mosaic/")]
    assert mosaics
    assert {"P0/shape", "P1/shape", "P2/shape"} == set(masks) - set(mosaics)
    for name in mosaics:
        image = dataset.by_name(name).image
        np.testing.assert_array_equal(masks[name], image >= 128)


def test_overlays_show_the_source_with_its_classes(tmp_path: Path) -> None:
    dataset = built(tmp_path, [UPRIGHT], "{size: 96}")
    predict(oracle(tmp_path, 96, 96), dataset, tmp_path / "out.parquet", overlays=tmp_path / "seen")
    picture = read_pixels(tmp_path / "seen/P0/shape.png")[..., ::-1]
    factor = 512 / SIZES[0][0]  # small images are shown larger, below a margin
    top = left = (picture.shape[1] - 512) // 2
    for c in range(3):
        y, x = np.argwhere(cv2.erode(raw(0)[..., c].astype(np.uint8), np.ones((9, 9)))).mean(axis=0)
        assert picture[top + round(y * factor), left + round(x * factor)].argmax() == c


def test_the_result_is_told_to_people(tmp_path: Path, images: Path) -> None:
    from rich.console import Console

    (images / "notes.txt").write_text("no image")
    found = predict(oracle(tmp_path), images, tmp_path / "out.parquet")
    console = Console(width=80, record=True, quiet=False, file=(tmp_path / "console").open("w"))
    with console.file:
        render_predictions(found, console)
    text = (tmp_path / "console").read_text()
    for word in ("red", "0.50", "skipped notes.txt: not an image", "3 images"):
        assert word in text
