"""Datasets of labels without pictures worth looking at, and a stand-in for a trainer of classifiers."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from augforge.engine.builder import build
from augforge.progress import Progress
from augforge.sample import Sample
from augforge.store.dataset import Dataset, open_dataset
from augforge.train.config import TrainConfig
from augforge.train.labels.groups import derive_groups, labels_of
from augforge.train.labels.predictor import LabelPrediction
from augforge.train.rundata import TrainAndVal
from augforge.train.study.learner import TrainedModel

Rows = Mapping[str, Sequence[float]]
"""The weights of the labels of each image, by its name, such as P1/a."""


def label_dataset(
    root: Path,
    labels: Sequence[str],
    rows: Rows,
    *,
    split: str = "{val: 0.3}",
    site: Mapping[str, str] | None = None,
    steps: str = "[]",
    name: str = "labels",
    side: int = 32,
    noise: int = 0,
) -> Dataset:
    """Images whose gray value is thrice their number, with labels, and perhaps a metadata column `site`."""
    data = root / "data"
    for number, image in enumerate(rows):
        path = data / f"{image}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = number * 3 + np.random.default_rng(number).integers(0, noise + 1, (side, side))
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    with (data / "train.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image_name", *labels])
        writer.writerows([f"{image}.png", *weights] for image, weights in rows.items())
    metadata = ""
    if site is not None:
        lines = "".join(f"{image},{value}\n" for image, value in site.items())
        (data / "sites.csv").write_text("name,site\n" + lines)
        metadata = ", metadata: {table: sites.csv, on: name}"
    source = f"{{format: csv, path: data, labels: [{', '.join(labels)}]{metadata}}}"
    (root / f"{name}.yaml").write_text(f"name: {name}\nsource: {source}\nsplit: {split}\nsteps: {steps}\n")
    return open_dataset(build(root / f"{name}.yaml", root / "datasets" / name).folder)


@dataclass
class FakeLabelLearner:
    """Gives 0.8 to what a label says and shares the rest; `wrong` names images of which it says the opposite."""

    wrong: frozenset[str] = frozenset()
    trained: list[tuple[Path, TrainConfig, Dataset, Dataset]] = field(default_factory=list)

    def __call__(
        self,
        dataset: Dataset,
        config: TrainConfig,
        out: Path,
        progress: Progress,
        train_and_val: TrainAndVal | None = None,
    ) -> TrainedModel:
        self.trained.append((out, config, *(train_and_val or (dataset.split("train"), dataset.split("val")))))
        truth = np.array(dataset.index["label"].to_list(), float)
        names = dataset.index["name"].to_list()
        groups, _ = derive_groups(config.label_groups, config.task, dataset.labels, truth, names)
        columns = [dataset.labels.index(label) for label in labels_of(groups)]

        def predict(samples: Iterable[Sample]) -> Iterator[LabelPrediction]:
            for sample in samples:
                assert sample.label is not None
                row = np.nan_to_num(sample.label[columns]) * 0.6 + 0.2  # of an unknown label 0.2
                yield LabelPrediction(sample.name, (1 - row if sample.name in self.wrong else row).astype(np.float32))

        return TrainedModel((), config.threshold, predict, groups=groups)


def one_of(labels: Sequence[str], label: str) -> list[float]:
    return [float(each == label) for each in labels]
