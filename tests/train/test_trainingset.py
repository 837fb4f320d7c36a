"""Several datasets as one set to train on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from toybox import made, tiny_hands, two_versions_fixture  # noqa: F401

from augforge.errors import TrainError
from augforge.store.dataset import Dataset, open_dataset
from augforge.train.data.trainingset import TrainingSet


def hands(root: Path, name: str, levels: list[int], classes: tuple[str, ...] = ("a", "b")) -> Dataset:
    data = tiny_hands(root / f"{name}-data", levels, classes)
    return made(root, data, out=name, split="{}", classes=f"[{', '.join(classes)}]")[1]


def test_datasets_follow_each_other(tmp_path: Path) -> None:
    first, second = hands(tmp_path, "first", [10, 20]), hands(tmp_path, "second", [30, 40, 50])
    both = TrainingSet([first, second])
    assert len(both) == 5
    assert [both[i].image.tobytes() for i in range(5)] == [each.image.tobytes() for each in (*first, *second)]
    assert [both[i].name for i in range(5)] == both.column("name")
    assert both.sizes.tolist() == [[24, 16]] * 5
    with pytest.raises(IndexError):
        both[5]


def test_an_empty_part_is_passed_over(tmp_path: Path) -> None:
    dataset = hands(tmp_path, "first", [10, 20])
    parts = [dataset.where(pl.lit(False)), dataset, dataset.where(pl.lit(False)), dataset]
    assert [TrainingSet(parts)[i].name for i in range(4)] == dataset.index["name"].to_list() * 2
    with pytest.raises(TrainError, match="no sample to train on"):
        TrainingSet(parts[:1])


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (
            ("a", "b", "d"),
            r"second lacks c and has d besides; expected the class table of .*first: a, b, c\. Build both",
        ),
        (("a", "c", "b"), "has the same class names in another order"),
        (("a", "b"), "second lacks c; expected"),
    ],
)
def test_other_classes_are_refused(classes: tuple[str, ...], message: str, tmp_path: Path) -> None:
    first, second = hands(tmp_path, "first", [10], ("a", "b", "c")), hands(tmp_path, "second", [10], classes)
    with pytest.raises(TrainError, match=message):
        TrainingSet([first, second])


def test_rare_classes_weigh_more() -> None:
    """Five samples: a is everywhere it is known, b in two, c in one; ignore is no class."""
    areas: list[dict[str, int | None]] = [
        {"a": 9, "b": 0, "ignore": 3, "c": 0},
        {"a": 9, "b": 4, "ignore": 0, "c": 0},
        {"a": 9, "b": 4, "ignore": 0, "c": 1},
        {"a": 0, "b": 0, "ignore": 7, "c": 0},
        dict.fromkeys(("a", "b", "ignore", "c")),  # unlabelled
    ]
    weights = stub(areas).rarity_weights()
    assert weights.tolist() == [4 / 3, 4 / 2, 4, 1, 1]


def test_weights_make_classes_as_frequent() -> None:
    weights = stub([{"common": 1, "rare": 0}] * 9 + [{"common": 0, "rare": 1}]).rarity_weights()
    assert weights[:9].sum() == pytest.approx(weights[9])


def test_labels_weigh_where_there_is_no_class() -> None:
    labels = [[1, 0], [0.9, 0.1], [0.2, 0.8], None]
    weights = stub([{"ignore": None}] * 4, labels, ("well", "sick")).rarity_weights()
    assert weights.tolist() == [2, 2, 4, 1]


def stub(
    areas: Sequence[Mapping[str, Any]], labels: list[Any] | None = None, names: tuple[str, ...] = ()
) -> TrainingSet:
    """A training set of nothing but areas and labels."""

    class Stub(TrainingSet):
        def __init__(self) -> None:
            self.classes, self.labels = tuple(areas[0]), names

        def column(self, name: str) -> list[Any]:
            return {"area": [*areas], "label": labels or [None] * len(areas)}[name]

    return Stub()


def test_what_is_present_and_stored(two_versions: Path) -> None:
    dataset = open_dataset(two_versions / "toy")
    samples = TrainingSet([dataset.split("train"), dataset.split("test")])
    wanted = [[bool(area) for area in row.values()] for row in samples.column("area")]
    assert samples.present.tolist() == wanted
    assert not samples.present[-1].any()
    assert not (samples.has_colour or samples.has_uint16)
    assert samples.rarity_weights().shape == (len(samples),)
    assert np.isfinite(samples.rarity_weights()).all()
