"""Cross-validation: nobody is predicted by a model that saw them, and bad labels come out worst."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
import torch
from fakelearner import FakeLearner, Masks
from rich.console import Console
from tinyrun import config
from toybox import annotation, edit_json, made, with_index

from augforge import bitmask
from augforge.errors import TrainError
from augforge.phantom import write_phantom
from augforge.planning.splits import Split, assign_splits
from augforge.sample import Sample
from augforge.store.dataset import Dataset
from augforge.train.config import TrainConfig
from augforge.train.prediction.table import Predictions
from augforge.train.study.crossval import crossval, render_crossval
from augforge.train.study.foldruns import FoldRuns
from augforge.train.study.folds import fold_by_group, folds_of

CONFIG = TrainConfig.model_validate({"data": {"size": 64}, "epochs": 3})
STEPS = ("{op: rotate, angle_range: [-5, 5], keep_input: true}", "{op: mosaic, keep_input: true}")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crossval")
    write_phantom(folder / "data", persons=8, size=96, seed=3, test_persons=1)
    return folder


@pytest.fixture(scope="module")
def dataset(root: Path) -> Dataset:
    return made(root / "plain", root / "data", STEPS, split="{val: [ID002, ID004]}")[1]


# ---- folds -----------------------------------------------------------------------------------------------------------


def test_groups_are_dealt_evenly_and_stay() -> None:
    groups = [f"p{i}" for i in range(23)]
    dealt = fold_by_group(groups, 5)
    sizes = [list(dealt.values()).count(fold) for fold in range(5)]
    assert sorted(sizes) == [4, 4, 5, 5, 5]
    assert dealt == fold_by_group(reversed(groups * 2), 5)
    assert dealt != fold_by_group(groups, 5, seed=1)


def test_folds_are_those_of_a_recipe() -> None:
    groups = [f"p{i}" for i in range(11)]
    dealt = fold_by_group(groups, 4, seed=2)
    for fold in range(4):
        splits, _ = assign_splits(groups, Split(folds=4, fold=fold, seed=2))
        assert {group for group, split in splits.items() if split == "val"} == {g for g in groups if dealt[g] == fold}


def test_nobody_is_trained_on_who_is_judged(dataset: Dataset) -> None:
    folds = folds_of(dataset, 4)
    index = dataset.index.filter(pl.col("split") != "test")
    single = index.filter(pl.col("lineage").struct.field("roots").list.len() == 1)
    mosaics = index.filter(pl.col("groups").list.len() > 1)
    assert mosaics.height > 10
    for fold in folds:
        seen = {group for groups in fold.train.index["groups"] for group in groups}
        roots = {root["name"].split("/")[0] for row in fold.train.index["lineage"] for root in row["roots"]}
        assert not fold.groups & seen
        assert not fold.groups & roots
        assert set(fold.held_out.index["group"]) == fold.groups
        clear = index.filter(pl.col("groups").list.set_intersection(sorted(fold.groups)).list.len() == 0)
        assert set(fold.train.index["name"]) == set(clear["name"])
    assert any(len(groups) > 1 for fold in folds for groups in fold.train.index["groups"])
    held = [name for fold in folds for name in fold.held_out.index["name"]]
    assert sorted(held) == sorted(single["name"])


def test_a_sample_of_two_groups_is_judged_where_both_are_held_out(dataset: Dataset) -> None:
    """One source image may show two people; a model that saw one of them must not judge it."""
    fold_of = fold_by_group(dataset.index.filter(pl.col("split") != "test")["group"], 4)
    first = dataset.index.filter(pl.col("split") == "val").sort("name")["name"][0]
    person = first.split("/")[0]
    for same in (True, False):
        other = next(g for g, fold in fold_of.items() if g != person and (fold == fold_of[person]) == same)
        pair = pl.when(pl.col("name") == first).then(pl.lit([person, other])).otherwise(pl.col("groups"))
        folds = folds_of(with_index(dataset, dataset.index.with_columns(groups=pair)), 4)
        held = [fold.number for fold in folds if first in fold.held_out.index["name"]]
        trained = {fold.number for fold in folds if first in fold.train.index["name"]}
        assert held == ([fold_of[person]] if same else [])
        assert trained == {0, 1, 2, 3} - {fold_of[person], fold_of[other]}


def test_what_filters_found_in_val_is_judged_and_not_trained_on(root: Path) -> None:
    _, dataset = made(
        root / "tagged", root / "data", ["{op: where, condition: name < 'ID003'}"], split="{val: [ID004]}"
    )
    val = dataset.split("val").index
    tagged = {name for name, tags in val.select("name", "tags").iter_rows() if tags}
    assert tagged == set(val["name"])
    folds = folds_of(dataset, 3)
    assert tagged <= {name for fold in folds for name in fold.held_out.index["name"]}
    assert not tagged & {name for fold in folds for name in fold.train.index["name"]}


def test_too_few(dataset: Dataset, root: Path) -> None:
    with pytest.raises(TrainError, match="9 folds of 8 groups; expected at least 2, and a group for each"):
        folds_of(dataset, 9)
    with pytest.raises(TrainError, match="1 folds of"):
        folds_of(dataset, 1)
    mosaics = dataset.where((pl.col("groups").list.len() > 1) | (pl.col("split") == "val"))
    with pytest.raises(TrainError, match=r"fold \d of .* has no sample to judge: too many show several groups"):
        folds_of(mosaics, 4)


# ---- judging ---------------------------------------------------------------------------------------------------------

BAD = {"ID003": "moved", "ID005": "missing", "ID007": "swapped"}


def moved(document: dict[str, Any]) -> None:
    for entry in document["annotations"]:
        entry["points"] = [[x + 8, y] for x, y in entry["points"]]


def missing(document: dict[str, Any]) -> None:
    document["annotations"] = [entry for entry in document["annotations"] if entry["label"] not in ("Radius", "Ulna")]


def swapped(document: dict[str, Any]) -> None:
    other = {"Radius": "Ulna", "Ulna": "Radius"}
    for entry in document["annotations"]:
        entry["label"] = other.get(entry["label"], entry["label"])


@pytest.fixture(scope="module")
def corrupted(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, dict[str, Masks]]:
    """A dataset with one bad annotation each of three persons, and the right masks of all source images."""
    folder = tmp_path_factory.mktemp("corrupted")
    write_phantom(folder / "data", persons=8, size=96, seed=3)
    _, right = made(folder / "right", folder / "data", split="{}")
    masks = {sample.name: np.stack([*bitmask.to_masks(sample.masks, 29)]).astype(np.float32) for sample in right}
    for person, how in BAD.items():
        first = min((folder / f"data/train/outputs_json/{person}").glob("*.json"))
        edit_json(annotation(folder / "data", f"{person}/{first.stem}"), globals()[how])
    return made(folder / "wrong", folder / "data", split="{}")[1], masks


def test_bad_labels_come_out_worst(tmp_path: Path, corrupted: tuple[Dataset, dict[str, Masks]]) -> None:
    """A model of blurred, noisy answers that knows nothing of the corruption finds it."""
    dataset, masks = corrupted
    rng = np.random.default_rng(5)

    def learned_the_truth(given: Masks, sample: Sample, dataset: Dataset, seed: int) -> Masks:
        right = masks[sample.name]
        blurred = np.stack([cv2.GaussianBlur(mask, (0, 0), 0.8) for mask in right])
        return np.clip(blurred + rng.normal(0, 0.05, blurred.shape), 0, 1).astype(np.float32)

    learner = FakeLearner(learned_the_truth)
    found = crossval(dataset, CONFIG, tmp_path, folds=4, propose=3, train_model=learner)
    assert len(learner.trained) == 4
    assert all(config.validate_every == 0 for _, _, config, _ in learner.trained)
    table = pl.read_csv(tmp_path / "label_quality.csv")
    assert table.columns == ["name", "quality", "dice", "worst_class", "worst_quality", "worst_dice"]
    assert table.height == 16
    worst = {name.split("/")[0] for name in table["name"][:3]}
    assert worst == set(BAD)
    by_name = {row["name"].split("/")[0]: row["worst_class"] for row in table[:3].iter_rows(named=True)}
    assert by_name["ID005"] in ("Radius", "Ulna")
    assert by_name["ID007"] in ("Radius", "Ulna")
    assert [row["name"] for row in found["worst"][:3]] == table["name"][:3].to_list()
    review = (tmp_path / "review.yaml").read_text(encoding="utf-8")
    assert all(name in review for name in table["name"][:3])
    assert table["name"][3] not in review


def test_what_is_written(tmp_path: Path, dataset: Dataset) -> None:
    found = crossval(dataset, CONFIG, tmp_path, folds=4, train_model=FakeLearner())
    assert (found["mean"]["dice"], found["mean"]["sd"]) == (1.0, 0.0)
    single = dataset.index.filter(
        pl.col("split") != "test", pl.col("lineage").struct.field("roots").list.len() == 1
    ).sort("name")
    samples = pl.read_parquet(tmp_path / "samples.parquet")
    assert samples.height == single.height * 29
    assert (samples["dice"] == 1).all()
    assert samples["quality"].to_numpy() == pytest.approx(0.9)
    assert (samples["source"] == samples["name"].str.split("~").list.first()).all()
    assert found["samples"] == single.height
    assert found["sources"] == 16
    predictions = Predictions(tmp_path / "predictions.parquet")
    names = []
    for image in predictions:
        names.append(image.name)
        assert (image.planes() == bitmask.contiguous(dataset.by_name(image.name).masks)).all()
    assert names == single["name"].to_list()
    assert found["review"] is None
    assert json.loads((tmp_path / "crossval.json").read_text(encoding="utf-8")) == found


def test_scores_by_fold(tmp_path: Path, dataset: Dataset) -> None:
    """Class 0 is lost in fold 2 alone: its mean, its spread, and the fold say so; copies do not count."""
    lost = folds_of(dataset, 4)[2].groups

    def spoil(masks: Masks, sample: Sample, dataset: Dataset, seed: int) -> Masks:
        factor = np.ones((29, 1, 1), np.float32)
        if sample.group in lost or "~" in sample.name:
            factor[0] = 0
        return masks * factor

    found = crossval(dataset, CONFIG, tmp_path, folds=4, train_model=FakeLearner(spoil))
    assert [fold["dice"] for fold in found["folds"]] == pytest.approx([1, 1, 28 / 29, 1])
    entry = found["by_class"][dataset.classes[0]]
    assert entry["dice"] == pytest.approx(0.75)
    assert entry["sd"] == pytest.approx(0.5)
    assert found["by_class"][dataset.classes[1]] == {"dice": 1.0, "sd": 0.0}


def test_finished_folds_are_reused(tmp_path: Path, dataset: Dataset) -> None:
    with pytest.raises(KeyboardInterrupt):
        crossval(dataset, CONFIG, tmp_path, folds=4, train_model=FakeLearner(stop_after=2))
    rest = FakeLearner()
    found = crossval(dataset, CONFIG, tmp_path, folds=4, train_model=rest)
    assert len(rest.trained) == 2
    assert found == crossval(dataset, CONFIG, tmp_path, folds=4, train_model=FakeLearner(stop_after=0))
    other = FakeLearner()
    crossval(dataset, CONFIG.model_copy(update={"seed": 1}), tmp_path, folds=4, train_model=other)
    assert len(other.trained) == 4


def test_for_people(tmp_path: Path, dataset: Dataset) -> None:
    found = crossval(dataset, CONFIG, tmp_path, folds=4, propose=2, train_model=FakeLearner())
    out = io.StringIO()
    render_crossval(found, Console(width=100, file=out))
    text = out.getvalue()
    assert "1.0000" in text
    assert found["worst"][0]["name"] in text
    assert str(tmp_path / "review.yaml") in text.replace("\n", "")


# ---- predicting with all folds --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def studied(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-validation of two folds by the bundled trainer."""
    folder = tmp_path_factory.mktemp("studied")
    write_phantom(folder / "data", persons=2, size=96, seed=3)
    _, small = made(folder, folder / "data", split="{}")
    crossval(small, config("steps=1"), folder / "study", folds=2)
    return folder


def test_all_folds_predict_together(studied: Path) -> None:
    runs = FoldRuns.open(studied / "study")
    image = torch.randn(1, runs.input.channels, 64, 64)
    with torch.no_grad():
        alone = [run.model("last")(image).sigmoid() for run in runs.runs]
        assert torch.allclose(runs.model()(image).sigmoid(), torch.stack(alone).mean(0), atol=1e-5)
    assert len(alone) == 2
    assert not torch.equal(*alone)


def test_a_study_of_before_is_found_by_its_folders(studied: Path, tmp_path: Path) -> None:
    study = Path(shutil.copytree(studied / "study", tmp_path / "study"))

    def forget_runs(found: dict[str, Any]) -> None:
        for fold in found["folds"]:
            del fold["run"]

    edit_json(study / "crossval.json", forget_runs)
    assert [run.folder.name for run in FoldRuns.open(study).runs] == [
        run.folder.name for run in FoldRuns.open(studied / "study").runs
    ]
    shutil.copytree(FoldRuns.open(study).runs[0].folder, study / "fold0-another")
    with pytest.raises(TrainError, match=r"holds 2 runs of fold 0.*Call augforge crossval again"):
        FoldRuns.open(study)


def test_folders_that_are_no_study(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="is no finished cross-validation"):
        FoldRuns.open(tmp_path)
