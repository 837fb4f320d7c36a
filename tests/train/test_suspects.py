"""Images that models disagree with, as cases of a review: the right ones, worst first, with what the model said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fakelearner import FakeLearner, Masks
from test_evaluate import FakeRun, toy
from toybox import made

from augforge import bitmask
from augforge.errors import TrainError
from augforge.phantom import write_phantom
from augforge.sample import Sample
from augforge.store.dataset import Dataset, open_dataset
from augforge.train.config import TrainConfig
from augforge.train.evaluation.evaluate import evaluate
from augforge.train.run import TrainingRun
from augforge.train.study.crossval import crossval
from augforge.train.suspects import doubted_labels, worst_predictions

__all__ = ["toy"]

CONFIG = TrainConfig.model_validate({"data": {"size": 64}, "epochs": 3})


@pytest.fixture(scope="module", name="dataset")
def dataset_fixture(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("suspects")
    write_phantom(folder / "data", persons=4, size=96, seed=3)
    steps = ("{op: rotate, angle_range: [-5, 5], keep_input: true}",)
    return made(folder, folder / "data", steps, split="{val: [ID002]}")[1]


def moved(sample: Sample, masks: Masks) -> Masks:
    return np.roll(masks, 20, axis=2) if sample.name.startswith("ID003/") else masks


def test_doubted_labels_come_worst_first_with_what_was_predicted(dataset: Dataset, tmp_path: Path) -> None:
    learner = FakeLearner(lambda masks, sample, _, __: moved(sample, masks))
    crossval(dataset, CONFIG, tmp_path / "cv", folds=2, train_model=learner)
    cases = doubted_labels(tmp_path / "cv", 3)
    assert len(cases) == 3 and {case.name.partition("/")[0] for case in cases[:2]} == {"ID003"}
    first = cases[0]
    assert first.reasons[0].kind == "label quality" and "worst in " in first.reasons[0].text
    assert (first.group, first.split) == ("ID003", "train")
    sample = first.view.load()
    assert sample.name == first.name and first.view.predict is not None  # the image itself, and no turned copy of it
    place = first.view.predicted_classes.index("Ulna")
    predicted = bitmask.class_mask(first.view.predict(), place)
    assert np.array_equal(
        predicted, np.roll(bitmask.class_mask(sample.masks, dataset.classes.index("Ulna")), 20, axis=1)
    )


def test_a_folder_that_is_no_cross_validation_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"is no cross-validation\. Make one: augforge crossval"):
        doubted_labels(tmp_path, 3)


def test_worst_predictions_are_those_of_the_lowest_dice(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FakeRun(
        tmp_path / "run", lambda masks, sample: np.roll(masks, 9, axis=2) if "scan1" in sample.name else masks
    )
    monkeypatch.setattr(TrainingRun, "open", lambda folder: run)
    with pytest.raises(TrainError, match=r"was not evaluated yet\. Do it first: augforge evaluate"):
        worst_predictions(run.folder, 5)
    result = evaluate(run.folder, [toy], worst=0)
    table = pl.read_parquet(Path(result["folder"]) / "samples.parquet").select("name", "mean_dice")
    scored = table.with_columns(pl.col("mean_dice").fill_nan(None)).drop_nulls()
    expected = scored.sort("mean_dice", "name")["name"].to_list()
    cases = worst_predictions(run.folder, 2)
    assert [case.name for case in cases] == expected[:2]
    assert cases[0].view.predict is not None and cases[0].view.predicted_classes == run.outputs
    sample: Any = cases[0].view.load()
    assert sample.name == open_dataset(toy).by_name(cases[0].name).name
    predicted = bitmask.to_masks(cases[0].view.predict(), 2)
    truth = [bitmask.class_mask(sample.masks, c) for c in (2, 0)]  # the order of the run's outputs
    shift = 9 if "scan1" in sample.name else 0
    for found, mask in zip(predicted, truth, strict=True):
        assert np.array_equal(found, np.roll(mask, shift, axis=1))
