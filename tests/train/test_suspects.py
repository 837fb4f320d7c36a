"""Images that models disagree with, as cases of a review: the right ones, worst first, with what the model said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakelearner import FakeLearner, Masks
from toybox import made

from augforge import bitmask
from augforge.errors import TrainError
from augforge.phantom import write_phantom
from augforge.sample import Sample
from augforge.store.dataset import Dataset
from augforge.train.config import TrainConfig
from augforge.train.study.crossval import crossval
from augforge.train.suspects import doubted_labels

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
