"""Pictures of a run: every error in its colour at its place, every class that was measured in its line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from augforge import bitmask
from augforge.report.colours import colour_of
from augforge.report.paint import GAP, line_height
from augforge.sample import Sample
from augforge.train.evaluation.pictures import (
    CONFUSED,
    FALSE,
    MISSED,
    TRUE,
    confusion,
    curves,
    errors,
    label_confusion,
    reliability,
)
from augforge.train.evaluation.scores import Truth

SIZE = 800  # shown as it is: neither enlarged nor made smaller
Box = tuple[int, int, int, int]


def planes_of(*boxes: Box | None) -> bitmask.Planes:
    """A filled box x0, y0, x1, y1 for each class."""
    masks = np.zeros((len(boxes), SIZE, SIZE), np.uint8)
    for mask, box in zip(masks, boxes, strict=True):
        if box is not None:
            mask[box[1] : box[3], box[0] : box[2]] = 1
    return bitmask.from_masks(list(masks))


def drawn(predicted: bitmask.Planes, true: bitmask.Planes, ignore: np.ndarray | None = None) -> np.ndarray:
    """The picture of a gray sample without what stands around it."""
    sample = Sample("s", np.full((SIZE, SIZE), 100, np.uint8), true, bitmask.all_bits(2))
    picture = errors(sample, predicted, Truth(true, np.ones(2, bool), ignore), ("a", "b"), {"a": 0.5, "b": None})
    top = len(picture) - GAP - line_height(18) - GAP - SIZE  # below it stands one line of text
    return picture[top : top + SIZE, GAP : GAP + SIZE]


def tint(colour: tuple[int, int, int], gray: int = 100) -> list[int]:
    return [round(value) for value in gray * 0.35 + np.array(colour) * 0.65]


def test_errors_are_coloured_where_they_are() -> None:
    # of a's square, the left half is predicted; the right half is b for its upper 100 rows, and nothing below
    picture = drawn(planes_of((200, 200, 300, 400), (300, 200, 450, 300)), planes_of((200, 200, 400, 400), None))
    assert picture[250, 250].tolist() == [100] * 3  # right
    assert picture[250, 350].tolist() == tint(CONFUSED)
    assert picture[350, 350].tolist() == tint(MISSED)
    assert picture[250, 425].tolist() == tint(FALSE)
    assert picture[100, 100].tolist() == [100] * 3
    assert picture[200, 250].tolist() == picture[399, 250].tolist() == list(TRUE)


def test_ignored_pixels_are_dark_and_without_errors() -> None:
    ignore = np.zeros((SIZE, SIZE), bool)
    ignore[:100] = True
    picture = drawn(planes_of((0, 0, 200, 200), None), planes_of(None, None), ignore)
    assert picture[50, 50].tolist() == [50] * 3
    assert picture[150, 150].tolist() == tint(FALSE)


@pytest.mark.parametrize(("size", "longest"), [((3000, 1500), 1400), ((200, 100), 800), ((1024, 1024), 1024)])
def test_large_samples_are_shown_smaller_and_small_ones_enlarged(size: tuple[int, int], longest: int) -> None:
    width, height = size
    empty = bitmask.empty(height, width, 2)
    sample = Sample("s", np.zeros((height, width), np.uint8), empty, bitmask.all_bits(2))
    picture = errors(sample, empty, Truth(empty, np.ones(2, bool)), ("a", "b"), {"a": 1.0, "b": 1.0})
    assert longest <= picture.shape[1] <= longest + 30


def rows(classes: tuple[str, ...] = ("heart", "lung")) -> list[dict[str, Any]]:
    steps = [{"kind": "step", "step": s, "loss": 1 / s, "lr": 1e-3} for s in range(1, 41)]
    dices = dict(zip(classes, (0.9, 0.5), strict=True))
    judged = [{"kind": "validation", "step": s, "mean_dice": 0.3 + s / 100, "classes": dices} for s in (20, 40)]
    return [*steps, *judged]


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=2).any())


def test_curves_show_every_class_and_the_mean() -> None:
    picture = curves(rows())
    assert all(has(picture, colour) for colour in (colour_of(0), colour_of(1), (255, 255, 255)))
    assert not has(picture, colour_of(2))
    first, second = (rows_near(picture[:820], colour_of(c)) for c in (0, 1))
    assert second - first == pytest.approx(0.4 * 420, abs=8)  # 0.4 apart; without the legend


def rows_near(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    """The middle row of what is drawn in about that colour: thin lines are blended with what is below."""
    distance = np.abs(picture.astype(int) - colour).sum(axis=2)
    return float(np.flatnonzero((distance < 150).any(axis=1)).mean())


def test_curves_before_the_first_validation_and_before_the_first_step() -> None:
    assert len(curves(rows()[:40])) < len(curves(rows()))
    assert len(curves([])) < 100


def test_curves_of_a_classifier() -> None:
    judged = [{"step": s, "accuracy": s / 100} for s in (10, 60)]
    assert has(curves([*rows()[:40], *judged]), (255, 255, 255))


ERRORS = {
    "confused": 0.0,
    "confused_with": {},
    "under_predicted": 0.0,
    "over_predicted": 0.0,
    "over_on_background": 0.0,
}


def bottom_right(picture: np.ndarray, names: int) -> np.ndarray:
    """Colours of the cells of the confusion picture, (names, names + 4, 3)."""
    top, left = picture.shape[0] - 12 - 38 * names, None
    line = (picture[top + 2] != picture[0, 0]).any(axis=1)
    left = np.flatnonzero(line)[-1] + 3 - 38 * (names + 4)
    return picture[top + 2 :: 38, left + 2 :: 38][:names, : names + 4].astype(int)


def test_a_confusion_shows_in_its_row_and_column() -> None:
    wrong = {**ERRORS, "confused": 0.64, "confused_with": {"b": 0.64}}
    found = bottom_right(confusion({"a": wrong, "b": dict(ERRORS), "c": dict(ERRORS)}), 3)
    strength = np.abs(found - found[1, 0]).sum(axis=2)  # from an empty cell
    assert strength[0, 1] > 200
    assert strength[0, 2] == strength[2, 0] == strength[2, 1] == 0
    assert strength[0, 3] < strength[1, 3]  # a is right in fewer pixels than b


def test_only_the_classes_with_the_most_errors_are_shown_of_very_many() -> None:
    many = {f"c{c:02}": {**ERRORS, "under_predicted": c / 100} for c in range(60)}
    assert confusion(many).shape[0] < 40 * 38 + 300


def test_reliability_has_a_panel_for_each_class_that_came_up() -> None:
    bins = {"pixels": [5, 5], "probability": [0.2, 0.8], "frequency": [0.1, 0.9]}
    known, never = {"ece": 0.1, "reliability": bins}, {"ece": None, "reliability": bins}
    picture = reliability({"a": known, "b": never, "c": known})
    assert has(picture, colour_of(0)) and has(picture, colour_of(2))
    assert not has(picture, colour_of(1))
    assert len(reliability({"b": never})) < len(picture)


def test_the_confusion_of_exclusive_classes_is_a_table_of_shares() -> None:
    labels = ["background", "a", "b"]
    picture = label_confusion({"labels": labels, "pixels": [[90, 10, 0], [0, 50, 50], [0, 0, 0]]})
    assert picture.dtype == np.uint8
    right, wrong = label_confusion({"labels": labels, "pixels": [[9, 0, 0], [0, 9, 0], [0, 0, 9]]}), picture
    assert right.shape[1] == wrong.shape[1] and (right != wrong).any()
    many = {"labels": [f"c{k}" for k in range(90)], "pixels": np.eye(90, dtype=int).tolist()}
    assert label_confusion(many).shape[0] < 42 * 40


def test_curves_show_the_figure_that_chose_the_best() -> None:
    rows = [{"step": step, "mean_dice": 0.9, "pooled_dice": step / 10} for step in (1, 2, 3)]
    assert (curves(rows, "pooled_dice") != curves(rows)).any()
