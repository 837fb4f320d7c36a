"""Files of a run that are damaged or were edited, and networks that give no numbers: an error each, with the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracles import predictor, sample_of, spec
from torch import Tensor, nn

from augforge.errors import TrainError
from augforge.train.facts import read_facts, read_tuned
from augforge.train.journal import read_journal
from augforge.train.labels.groups import LabelGroup
from augforge.train.labels.predictor import LabelPredictor
from augforge.train.labels.table import LabelHeader, LabelRow, LabelTable, write_labels

GROUPS = (LabelGroup("label", ("a", "b")),)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "5", "{}", '{"other": 1}', "[" * 100_000])
def test_facts_that_are_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(TrainError, match=r"summary\.json is damaged.*Delete it"):
        read_facts(tmp_path / "summary.json", ("run",), "Delete it")


@pytest.mark.parametrize(
    ("thresholds", "words"),
    [
        ("[1]", r"thresholds is \[1\]"),
        ('{"lung": 2}', "threshold of lung is 2"),
        ('{"lung": 0}', "threshold of lung is 0"),
        ('{"lung": NaN}', "threshold of lung is nan"),
        ('{"lung": true}', "threshold of lung is True"),
        ('{"lung": "0.5"}', "threshold of lung is '0.5'"),
        ('{"lugn": 0.5}', r"does not predict 'lugn'\. Did you mean 'lung'"),
    ],
)
def test_thresholds_that_are_none(tmp_path: Path, thresholds: str, words: str) -> None:
    (tmp_path / "thresholds.json").write_text(f'{{"thresholds": {thresholds}}}')
    with pytest.raises(TrainError, match=f"{words}.*tune-thresholds"):
        read_tuned(tmp_path, ("lung", "heart"))


def test_thresholds_are_there_or_not(tmp_path: Path) -> None:
    assert read_tuned(tmp_path, ("lung",)) is None
    (tmp_path / "thresholds.json").write_text('{"thresholds": {"lung": 0.25}}')
    assert read_tuned(tmp_path, ("lung", "heart")) == {"thresholds": {"lung": 0.25}}


def test_a_journal_may_end_in_a_line_that_a_kill_cut_short(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, "classes": {"a": 1}')
    assert read_journal(tmp_path) == [{"step": 1}]
    (tmp_path / "metrics.jsonl").write_text('{"step": 1\n{"step": 2}\n')
    with pytest.raises(TrainError, match=r"metrics\.jsonl is damaged"):
        read_journal(tmp_path)


class Nowhere(nn.Module):
    """Logits without a number in them, of pixels or of labels."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, images: Tensor) -> Tensor:
        return torch.full((len(images), 2, *self.shape), float("nan"))


@pytest.mark.parametrize("tta", [(), ("hflip",)])
def test_a_network_that_gives_no_numbers_is_told(tta: tuple[str, ...]) -> None:
    """Compared with a threshold, NaN is "not there"; among alternatives, argmax takes it for the first."""
    samples = [sample_of(np.zeros((32, 32), np.uint8))]
    options: dict[str, Any] = {"tta": tta, "swap": []}
    labels = LabelPredictor(Nowhere(), GROUPS, spec(32, 32), torch.device("cpu"), **options)
    for each in (predictor(Nowhere(32, 32), ("a", "b"), spec(32, 32), **options), labels):
        with pytest.raises(TrainError, match=r"no numbers \(NaN\).*--weights last"):
            [*each.predict(samples)]


def test_a_table_of_labels_without_numbers_is_told(tmp_path: Path) -> None:
    rows = [LabelRow("x", "x.png", 8, 8, np.array([np.nan, 0.5], np.float32))]
    write_labels(tmp_path / "t.parquet", LabelHeader(GROUPS, (0.5, 0.5), {}), rows)
    with pytest.raises(TrainError, match=r"t\.parquet: probabilities of x are no numbers"):
        [*LabelTable(tmp_path / "t.parquet")]
