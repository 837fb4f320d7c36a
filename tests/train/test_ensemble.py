"""Ensembles of known masks and probabilities, pixel by pixel against the definition."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augforge import bitmask
from augforge.errors import TrainError
from augforge.sources.raster.runs import parse_runs, runs_mask
from augforge.train.prediction.ensemble import ensemble
from augforge.train.prediction.table import Predictions, TableHeader, encode_image, probability_floor, write_predictions

CLASSES = ("lung", "heart")


def layers(seed: int, shape: tuple[int, int] = (20, 31)) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, (len(CLASSES), *shape)).astype(np.float32)


def put(
    path: Path,
    images: dict[str, np.ndarray],
    thresholds: tuple[float, float] = (0.5, 0.5),
    classes: tuple[str, ...] = CLASSES,
    probabilities: bool = False,
) -> Path:
    header = TableHeader(classes, thresholds, {"run": path.stem}, probabilities)
    made = (
        encode_image(
            name,
            f"{name}.png",
            ((x >= t, t, x if probabilities else None) for x, t in zip(found, thresholds, strict=True)),
        )
        for name, found in images.items()
    )
    write_predictions(path, header, made)
    return path


def members(tmp_path: Path, count: int = 3, **options: Any) -> list[Path]:
    """Tables of the images a and b, whose probabilities are `layers` of 10 * table + image."""
    return [
        put(tmp_path / f"{i}.parquet", {name: layers(10 * i + n) for n, name in enumerate("ab")}, **options)
        for i in range(count)
    ]


def found(path: Path) -> list[np.ndarray]:
    """Masks (C, H, W) of each image."""
    return [np.stack([*bitmask.to_masks(image.planes(), len(CLASSES))]).astype(bool) for image in Predictions(path)]


def test_two_of_three_make_a_majority(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    summary = ensemble(members(tmp_path), out, csv=tmp_path / "out.csv")
    expected = [np.sum([layers(10 * i + n) >= 0.5 for i in range(3)], axis=0) >= 2 for n in range(2)]
    np.testing.assert_array_equal(found(out), expected)
    assert [entry["pixels"] for entry in summary["classes"]] == np.sum(expected, axis=(0, 2, 3)).tolist()
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as stream:
        rows = [*csv.DictReader(stream)]
    assert [(row["image_name"], row["class"]) for row in rows] == [(f"{n}.png", c) for n in "ab" for c in CLASSES]
    for row, mask in zip(rows, np.concatenate(expected), strict=True):
        mine = runs_mask(parse_runs(row["rle"], mask.size, 1, "here"), mask.shape[0], mask.shape[1], "row")
        np.testing.assert_array_equal(mine, mask)


def test_a_tie_is_no_majority_and_weights_break_it(tmp_path: Path) -> None:
    tables, out = members(tmp_path, 2), tmp_path / "out.parquet"
    one, two = ([layers(10 * i + n) >= 0.5 for n in range(2)] for i in range(2))
    ensemble(tables, out)
    np.testing.assert_array_equal(found(out), np.array(one) & np.array(two))
    ensemble(tables, out, weights=[1, 1.1])
    np.testing.assert_array_equal(found(out), two)
    three = [*tables, put(tmp_path / "2.parquet", {name: layers(20 + n) for n, name in enumerate("ab")})]
    ensemble(three, out, weights=[0.1, 0.2, 0.3])  # 0.1 + 0.2 is a tie with 0.3, whatever the rounding
    third = np.array([layers(20 + n) >= 0.5 for n in range(2)])
    np.testing.assert_array_equal(found(out), third & (np.array(one) | np.array(two)))


@pytest.mark.parametrize(("threshold", "votes"), [(1 / 3, 1), (0.34, 2), (2 / 3, 2), (1, 3)])
def test_the_share_of_votes_can_be_chosen(tmp_path: Path, threshold: float, votes: int) -> None:
    ensemble(members(tmp_path), tmp_path / "out.parquet", threshold=threshold)
    expected = [sum((layers(10 * i + n) >= 0.5).astype(int) for i in range(3)) >= votes for n in range(2)]
    np.testing.assert_array_equal(found(tmp_path / "out.parquet"), expected)


def test_a_share_that_is_just_reached_is_enough_whatever_the_rounding(tmp_path: Path) -> None:
    one, none = np.ones((2, 4, 4), np.float32), np.zeros((2, 4, 4), np.float32)
    tables = [put(tmp_path / f"{i}.parquet", {"a": one if i < 3 else none}) for i in range(4)]
    ensemble(tables, tmp_path / "out.parquet", weights=[1, 7, 1, 3], threshold=0.75)
    assert found(tmp_path / "out.parquet")[0].all()


@pytest.mark.parametrize("weights", [None, [3, 1, 1]])
def test_the_mean_of_what_is_above_the_floor(tmp_path: Path, weights: list[float] | None) -> None:
    tables = members(tmp_path, thresholds=(0.4, 0.6), probabilities=True)
    ensemble(tables, tmp_path / "out.parquet", "mean", weights=weights, probabilities=True)
    for n, (mask, image) in enumerate(
        zip(found(tmp_path / "out.parquet"), Predictions(tmp_path / "out.parquet"), strict=True)
    ):
        floors = np.array([probability_floor(0.4), probability_floor(0.6)])[:, None, None]
        kept = [np.where(p > floors, p, 0) for p in (layers(10 * i + n) for i in range(3))]
        mean = np.average(kept, axis=0, weights=weights)
        limits = np.array([0.4, 0.6])[:, None, None]
        clear = abs(mean - limits) > 0.003  # probabilities are kept in steps of 1/255
        np.testing.assert_array_equal(mask[clear], (mean >= limits)[clear])
        assert clear.mean() > 0.9
        again = image.probabilities(0)
        assert again is not None
        (x0, y0, x1, y1), levels = again
        likely = mean[0, y0:y1, x0:x1] > probability_floor(0.4) + 0.003
        np.testing.assert_allclose(levels[likely] / 255, mean[0, y0:y1, x0:x1][likely], atol=0.005)


def test_the_means_threshold_is_the_mean_of_the_tables(tmp_path: Path) -> None:
    one = put(tmp_path / "1.parquet", {"a": layers(1)}, (0.4, 0.6), probabilities=True)
    two = put(tmp_path / "2.parquet", {"a": layers(2)}, (0.8, 0.2), probabilities=True)
    ensemble([one, two], tmp_path / "out.parquet", "mean", weights=[3, 1])
    assert Predictions(tmp_path / "out.parquet").header.thresholds == pytest.approx((0.5, 0.5))
    ensemble([one, two], tmp_path / "out.parquet", "mean", threshold=0.35)
    assert Predictions(tmp_path / "out.parquet").header.thresholds == (0.35, 0.35)


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    one = put(tmp_path / "1.parquet", {"a": layers(1)})
    two = put(tmp_path / "2.parquet", {"a": layers(2)[::-1]}, classes=CLASSES[::-1])
    ensemble([one, two], tmp_path / "out.parquet")
    np.testing.assert_array_equal(found(tmp_path / "out.parquet")[0], (layers(1) >= 0.5) & (layers(2) >= 0.5))


def test_an_ensemble_can_be_joined_again(tmp_path: Path) -> None:
    tables = members(tmp_path)
    ensemble(tables, tmp_path / "all.parquet")
    ensemble([tmp_path / "all.parquet"] * 2, tmp_path / "again.parquet")
    np.testing.assert_array_equal(found(tmp_path / "again.parquet"), found(tmp_path / "all.parquet"))


def test_tables_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    a, b = layers(1), layers(2)
    one = put(tmp_path / "one.parquet", {"a": a, "b": b})
    others = {
        "fewer": (put(tmp_path / "fewer.parquet", {"a": a}), r"fewer\.parquet has no image b"),
        "first": (put(tmp_path / "first.parquet", {"b": b}), r"first\.parquet has no image a"),
        "more": (put(tmp_path / "more.parquet", {"a": a, "aa": a, "b": b}), r"one\.parquet has no image aa"),
        "sizes": (put(tmp_path / "sizes.parquet", {"a": a, "b": layers(2, (31, 20))}), "image b has 20x31 pixels"),
        "classes": (put(tmp_path / "classes.parquet", {"a": a, "b": b}, classes=("lung", "rib")), "heart, rib"),
    }
    out = tmp_path / "out.parquet"
    for other, words in others.values():
        with pytest.raises(TrainError, match=words):
            ensemble([one, other], out)
        assert not out.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "mean"}, r"holds no probabilities.*--probabilities"),
        ({"method": "votes"}, "Did you mean 'vote'"),
        ({"weights": [1, 1]}, "for each of the 3 tables"),
        ({"weights": [1, 0, 1]}, "above 0"),
        ({"threshold": 1.5}, "the threshold is 1.5"),
        ({"method": "mean", "threshold": 0.3, "kept": True}, "no probabilities up to 0.3"),
        ({"probabilities": True}, "a vote has no probabilities"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    tables = members(tmp_path, probabilities=options.pop("kept", False))
    with pytest.raises(TrainError, match=words):
        ensemble(tables, tmp_path / "out.parquet", **options)


def test_one_table_is_no_ensemble(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="1 table of predictions was named"):
        ensemble(members(tmp_path, 1), tmp_path / "out.parquet")


def test_tables_weigh_class_by_class(tmp_path: Path) -> None:
    tables = members(tmp_path, probabilities=True)
    summary = ensemble(tables, tmp_path / "o", "mean", class_weights={"heart": [0, 1, 3]}, threshold=0.55)
    assert summary["class_weights"] == {"heart": [0, 0.25, 0.75]}
    assert summary["weights"] == pytest.approx([1 / 3] * 3)
    shares = np.array([[1 / 3] * 3, [0, 0.25, 0.75]]).T[:, :, None, None]
    for n, masks in enumerate(found(tmp_path / "o")):
        stacked = np.stack([layers(10 * i + n) for i in range(3)])
        kept = np.where(stacked > probability_floor(0.5), np.rint(stacked * 255) / 255, 0)
        assert np.array_equal(masks, (kept * shares).sum(0) >= 0.55 - 1e-6)
    votes = ensemble(tables, tmp_path / "v", class_weights={"heart": [0, 0, 1]})
    assert votes["class_weights"]["heart"] == [0, 0, 1]
    assert np.array_equal(found(tmp_path / "v")[0][1], layers(20)[1] >= 0.5)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"hart": [1, 1, 1]}, r"class weights name 'hart', .* Did you mean 'heart'\?"),
        ({"heart": [1, 1]}, "class weights of heart are 1, 1; expected a number for each of the 3 tables"),
        ({"heart": [0, 0, 0]}, "not all 0"),
    ],
)
def test_class_weights_that_do_not_fit_are_refused(tmp_path: Path, weights: dict[str, list[float]], words: str) -> None:
    with pytest.raises(TrainError, match=words):
        ensemble(members(tmp_path), tmp_path / "o", class_weights=weights)
