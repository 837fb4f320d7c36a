"""Cross-validation and comparison of classifiers, with a stand-in that knows the labels."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fakelabels import FakeLabelLearner, label_dataset, one_of
from fakelearner import FakeLearner
from rich.console import Console
from toybox import tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.errors import TrainError
from augforge.store.dataset import Dataset, open_dataset
from augforge.train.config import TrainConfig, load_config
from augforge.train.labels.compare import balanced_accuracies, resample_balanced
from augforge.train.labels.crossval import label_qualities
from augforge.train.labels.groups import LabelGroup
from augforge.train.labels.table import LabelTable
from augforge.train.study.compare import compare
from augforge.train.study.crossval import crossval, render_crossval
from augforge.train.study.forest import render_compare

CLASSES, DOMAINS = ("cat", "dog"), ("art", "photo", "sketch")
BOTH = {"class": CLASSES, "domain": DOMAINS}


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twelve persons of two images each; every person is in one domain, but for P0, who is in art and in photo."""
    rows, site = {}, {}
    for number in range(24):
        person = number // 2
        domain = DOMAINS[person % 3] if number != 1 else "photo"
        name = f"P{person}/{number % 2}"
        rows[name] = one_of(CLASSES, CLASSES[number % 2]) + one_of(DOMAINS, domain)
        site[name] = domain.upper()
    return label_dataset(tmp_path_factory.mktemp("domains"), (*CLASSES, *DOMAINS), rows, site=site)


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Ten persons with one image each, of two findings none, one or both."""
    rows = {f"P{n}/x": [float(n % 2), float(n % 3 == 0)] for n in range(10)}
    return label_dataset(tmp_path_factory.mktemp("findings"), ("nodule", "effusion"), rows)


def config(**values: Any) -> TrainConfig:
    return TrainConfig(**values)


@pytest.mark.parametrize("by", ["domain", "metadata.site"])
def test_a_domain_is_judged_by_a_model_that_never_saw_it(domains: Dataset, tmp_path: Path, by: str) -> None:
    learner = FakeLabelLearner()
    found = crossval(domains, config(label_groups=BOTH), tmp_path, by=by, train_model=learner)
    held = [entry["held_out"].lower() for entry in found["folds"]]
    assert held == list(DOMAINS)
    for value, (_, run_config, train, held_out) in zip(held, learner.trained, strict=True):
        column = 2 + DOMAINS.index(value)
        assert {row[column] for row in held_out.index["label"].to_list()} == {1}
        assert {row[column] for row in train.index["label"].to_list()} == {0}
        assert not train.groups & held_out.groups, "P0 is in two domains, and so in no training beside them"
        assert dict(run_config.label_groups) == ({"class": CLASSES} if by == "domain" else BOTH)
    assert [entry["held"] for entry in found["folds"]] == [7, 9, 8]
    assert [entry["train"] for entry in found["folds"]] == [16, 14, 16]
    assert found["mean"]["accuracy"] == {"value": 1.0, "sd": 0.0}
    assert [warning.split(",")[0] for warning in found["warnings"]] == [
        f"with {entry['held_out']} held out" for entry in found["folds"][:2]
    ]
    assert json.loads((tmp_path / "crossval.json").read_text()) == json.loads(json.dumps(found))
    table = LabelTable(tmp_path / "predictions.parquet")
    assert len(table) == found["samples"] == 24


def test_what_cannot_be_held_out_by_is_told(domains: Dataset, tmp_path: Path) -> None:
    def ask(by: str, **values: Any) -> None:
        crossval(domains, config(**values), tmp_path, by=by, train_model=FakeLabelLearner())

    with pytest.raises(TrainError, match="'domain' is no group of labels; expected one of label_groups"):
        ask("domain")
    with pytest.raises(TrainError, match=r"no metadata column 'sit'\. Did you mean 'site'"):
        ask("metadata.sit", label_groups=BOTH)
    with pytest.raises(TrainError, match="no group but domain"):
        ask("domain", label_groups={"domain": DOMAINS})
    with pytest.raises(TrainError, match=r"17 samples of .* have no value of some, or several"):
        ask("some", label_groups={"class": CLASSES, "some": ("art", "photo")[:1]})
    with pytest.raises(TrainError, match=r"with class cat held out.* shows a group that is held out"):
        ask("class", label_groups=BOTH)


def test_masks_are_held_out_by_metadata_too(tmp_path: Path) -> None:
    tiny_hands(tmp_path / "data", (30, 60, 90, 120))
    persons = sorted(path.name for path in (tmp_path / "data/train/DCM").iterdir())
    lines = "".join(f"{person},{'ab'[n % 2]}\n" for n, person in enumerate(persons))
    (tmp_path / "sites.csv").write_text("group,site\n" + lines)
    recipe = write_recipe(
        tmp_path / "recipe.yaml", tmp_path / "data", ("{op: hflip}",), classes="[a, b]", split="{val: 0.3}"
    )
    joined = f"format: hand-bone, metadata: {{table: '{tmp_path / 'sites.csv'}', on: group}}"
    recipe.write_text(recipe.read_text().replace("format: hand-bone", joined))
    dataset = open_dataset(build(recipe, tmp_path / "out").folder)
    learner = FakeLearner()
    found = crossval(dataset, config(), tmp_path / "study", by="metadata.site", train_model=learner)
    assert [entry["held_out"] for entry in found["folds"]] == ["a", "b"]
    for entry, (_, _, _, parts) in zip(found["folds"], learner.trained, strict=True):
        assert parts is not None
        train, held_out = parts
        assert {each["site"] for each in held_out.index["metadata"]} == {entry["held_out"]}
        assert {each["site"] for each in train.index["metadata"]} == {"a", "b"} - {entry["held_out"]}


def test_wrong_labels_come_out_worst(findings: Dataset, tmp_path: Path) -> None:
    wrong = frozenset({"P3/x"})  # labelled nodule and effusion
    found = crossval(findings, config(), tmp_path, folds=2, propose=1, train_model=FakeLabelLearner(wrong))
    worst = found["worst"][0]
    assert (worst["name"], worst["given"], worst["predicted"]) == ("P3/x", "nodule;effusion", "")
    assert worst["quality"] == pytest.approx(0.2)
    assert [row["quality"] for row in found["worst"][1:]] == pytest.approx([0.8] * 9)
    assert found["pooled"]["exact_match"] == pytest.approx(0.9)
    assert found["pooled"]["classes"]["nodule"]["samples"] == 5
    assert "P3/x" in (tmp_path / "review.yaml").read_text()
    out = io.StringIO()
    render_crossval(found, Console(file=out, width=100))
    assert "P3/x" in out.getvalue() and "nodule;effusion" in out.getvalue()


def test_an_unknown_label_is_neither_given_nor_doubted(tmp_path: Path) -> None:
    rows = {f"P{n}/x": [float(n % 2), float("nan") if n < 4 else float(n % 3 == 0)] for n in range(10)}
    dataset = label_dataset(tmp_path, ("nodule", "effusion"), rows)
    crossval(dataset, config(), tmp_path / "cv", folds=2, train_model=FakeLabelLearner())
    given = dict(pl.read_csv(tmp_path / "cv/label_quality.csv").select("name", "given").fill_null("").iter_rows())
    names = ("nodule", "effusion")
    assert given == {
        key: ";".join(n for n, share in zip(names, row, strict=True) if share == 1) for key, row in rows.items()
    }
    samples = pl.read_parquet(tmp_path / "cv/samples.parquet").filter(pl.col("label") == "effusion")
    assert samples["given"].null_count() == samples["quality"].null_count() == 4


def test_the_quality_of_a_label_is_the_probability_of_what_it_says() -> None:
    groups = (LabelGroup("class", ("a", "b")), LabelGroup("found", ("c", "d"), multi=True))
    found = label_qualities(groups, np.array([[0.3, 0.7, 0.9, 0.4]]), np.array([[1, 0, 0, 1]]))
    np.testing.assert_allclose(found, [[0.3, np.nan, 0.1, 0.4]])


def test_datasets_of_labels_are_compared_by_balanced_accuracy(findings: Dataset, tmp_path: Path) -> None:
    root = findings.folder.parent.parent
    text = (root / "labels.yaml").read_text().replace("name: labels", "name: turned").replace("[]", "[{op: vflip}]")
    (root / "turned.yaml").write_text(text)
    turned = open_dataset(build(root / "turned.yaml", root / "datasets/turned").folder)
    judged = sorted(findings.split("val").index["name"])

    class Learner(FakeLabelLearner):
        def __call__(self, dataset: Dataset, *args: Any, **options: Any) -> Any:
            self.wrong = frozenset(turned.split("val").index["name"]) if dataset.name == "turned" else frozenset()
            return super().__call__(dataset, *args, **options)

    found = compare([findings, turned], config(), tmp_path, seeds=1, budget=3, train_model=Learner())
    assert found["figure"] == "balanced_accuracy" and found["classes"] == ["nodule", "effusion"]
    assert [each["mean"]["balanced_accuracy"] for each in found["datasets"]] == [1, 0]
    assert found["datasets"][1]["mean"]["difference"]["value"] == -1
    scores = pl.read_parquet(tmp_path / "scores.parquet")
    assert sorted(scores["name"].unique()) == judged
    out = io.StringIO()
    render_compare(found, Console(file=out, width=100))
    assert "balanced accuracy" in out.getvalue()


def test_balanced_accuracy_is_the_mean_of_recall_and_specificity() -> None:
    """One dataset, one seed, five images: of label a two of three are found, and both others left alone."""
    given = np.array([1, 1, 0, np.nan, np.nan])[None, None, :, None]
    others = np.array([np.nan, np.nan, np.nan, 1, 1])[None, None, :, None]
    assert balanced_accuracies(given, others).tolist() == [[pytest.approx((2 / 3 + 1) / 2)]]
    alone = np.full_like(others, np.nan)  # alternatives have recall alone
    assert balanced_accuracies(given, alone).tolist() == [[pytest.approx(2 / 3)]]
    drawn = resample_balanced(given, others, list("vwxyz"), np.random.default_rng(0))
    assert drawn.shape[1:] == (1, 1) and 0 < np.nanstd(drawn) < 0.5


def test_datasets_of_other_labels_are_not_compared(findings: Dataset, domains: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="compared to the labels of"):
        compare([findings, domains], load_config(), tmp_path, train_model=FakeLabelLearner())
