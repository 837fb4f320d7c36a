"""The data of a run: samples to train on and to validate on, and the RunSpec that follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from augforge.errors import TrainError, nearest, some
from augforge.ops.core import Size
from augforge.ops.geometry import width_height
from augforge.ops.sides import warn_of_found_sides
from augforge.sample import IGNORE
from augforge.store.dataset import Dataset, open_dataset
from augforge.train.config import STRIDE, TrainConfig
from augforge.train.data.inputspec import InputSpec, RunSpec
from augforge.train.data.loading import TrainingBatches
from augforge.train.data.online import online_steps
from augforge.train.data.trainingset import TrainingSet, check_same_tables, label_vectors
from augforge.train.finetune import unused_architecture, unused_weights
from augforge.train.labels.groups import (
    LabelGroup,
    absent_label_warnings,
    derive_groups,
    labels_of,
    main_figure,
    settle_unknown,
)
from augforge.train.net.model import encoder_normalisation
from augforge.train.preparation import Preparation, differing

if TYPE_CHECKING:
    import torch

TrainAndVal = tuple[Dataset, Dataset]
"""The samples to train on and those to validate on, where the dataset's own splits are not used."""

MAX_SIDE_CPU, MAX_SIDE_GPU = 128, 512
"""Longest side of the network's input, in pixels, unless the configuration sets ``data.size``."""
MOST_ABSENT = 0.1
"""Share of the pairs of image and class without a pixel up to which the contest's mean Dice chooses the best."""
SHOWN = 10
"""Class names that a warning lists at most."""


class RunData:
    """The data of a run.

    Attributes:
        training: the samples to train on.
        validation: those to validate on, a part per dataset; empty if the configuration asks for no validation.
        spec: what the network predicts, and its input.
        preparations: how each dataset was prepared, for predictions of raw images.
        warnings: what a person should know before the run.

    Raises:
        TrainError: a split is missing, or datasets, configuration and task do not go together.
    """

    def __init__(
        self,
        datasets: Sequence[str | Path | Dataset],
        config: TrainConfig,
        device: torch.device,
        train_and_val: TrainAndVal | None = None,
    ) -> None:
        opened = [each if isinstance(each, Dataset) else open_dataset(each) for each in datasets]
        check_same_tables(opened)
        validates = bool(config.validate_every)
        train = [train_and_val[0]] if train_and_val else [_split(dataset, "train") for dataset in opened]
        val = [train_and_val[1]] if train_and_val else [_split(dataset, "val") for dataset in opened]
        self.config = config
        self._learns_labels = learns_labels(config, opened[0])
        if self._learns_labels:
            check_has_labels(opened[0])
        self.training = TrainingSet([self._keep_labelled(part) for part in train])
        held_out = [part for part in map(self._keep_labelled, val) if len(part)]
        self.validation = held_out if validates else []
        if validates and not self.validation:
            have = ", ".join(sorted({split for dataset in opened for split, n in dataset.manifest.splits.items() if n}))
            raise TrainError(f"{opened[0].folder} has no labelled split 'val'; there is: {have}. {_VAL_REMEDY}")
        groups, doubts = self._derive_groups(held_out)
        self.spec = self._derive_spec(opened, device, groups)
        self.preparations = tuple(map(Preparation.of_dataset, opened))
        self.warnings = [
            *doubts,
            *self._absent_class_warnings(),
            *self._side_warnings(),
            *_shared_group_warnings(train, self.validation),
            *differing(self.preparations),
            *unused_weights(config.model.weights),
            *(unused_architecture(config.model) if groups else ()),
        ]

    def _derive_groups(self, held_out: Sequence[Dataset]) -> tuple[tuple[LabelGroup, ...], list[str]]:
        """The groups of labels, if labels are learnt, and warnings; held out rows decide too, so that folds agree."""
        if not self._learns_labels:
            return (), []
        names, truth = self.training.column("name"), [self.training.label_vectors]
        for part in held_out:
            names += part.index["name"].to_list()
            truth.append(label_vectors(part))
        return derive_groups(
            self.config.label_groups, self.config.task, self.training.labels, np.concatenate(truth), names
        )

    def _keep_labelled(self, part: Dataset) -> Dataset:
        """The samples with at least one known class; where labels are learnt, those with a label vector."""
        if self._learns_labels:
            return part.where(pl.col("label").is_not_null())
        known = [pl.col("area").struct.field(name).is_not_null() for name in _outputs(part.classes)]
        return part.where(pl.any_horizontal(known))

    def _derive_spec(self, opened: Sequence[Dataset], device: torch.device, groups: tuple[LabelGroup, ...]) -> RunSpec:
        if groups:
            _refuse_mask_settings(self.config)
        regions = () if groups else self._regions()
        outputs = () if groups else tuple(name for name in _outputs(self.training.classes) if name not in regions)
        return RunSpec(
            task="classification" if self._learns_labels else "segmentation",
            outputs=outputs,
            labels=labels_of(groups) if groups else self.training.labels,
            groups=groups,
            datasets=tuple(
                {"path": str(d.remote.url if d.remote else d.folder), "name": d.name, "version": d.version}
                for d in opened
            ),
            input=choose_input_spec(self.config, self.training, device.type),
            regions=regions,
            monitor=main_figure(groups) if groups else choose_monitor(self.config, self.validation, outputs),
            sides=self.training.sides,
        )

    def _regions(self) -> tuple[str, ...]:
        """The classes that weigh pixels; TrainError if `weights` names a class that there is not."""
        weights, classes = self.config.weights, self.training.classes
        for key, named in (("regions", weights.regions), ("classes", weights.classes)):
            for name in named:
                if name not in classes or name == IGNORE:
                    hint = nearest(name, _outputs(classes))
                    raise TrainError(f"weights.{key}: the datasets have no class '{name}'.{hint}")
        if both := sorted(weights.regions.keys() & weights.classes.keys()):
            raise TrainError(f"weights.classes: {both[0]} is one of weights.regions, so it is not learnt. Take it out")
        return tuple(name for name in classes if name in weights.regions)

    def _side_warnings(self) -> Iterator[str]:
        """A warning if online steps exchange what only its name shows to be a side."""
        bounds = [step.bound for step in online_steps(self.config.data.online)]
        if any(bound.may_mirror and getattr(bound.params, "swap", None) is None for bound in bounds):
            yield from warn_of_found_sides(self.training.sides, "data.online exchanges", "swap: none in the step")

    def _absent_class_warnings(self) -> Iterator[str]:
        """A warning of classes without a pixel in training, if there are any; TrainError if that is all classes.

        The same for labels that no training sample has.
        """
        if self.spec.task == "classification":
            columns = [self.training.labels.index(label) for label in self.spec.labels]
            truth = settle_unknown(self.spec.groups, self.training.label_vectors[:, columns])
            yield from absent_label_warnings(self.spec.groups, truth)
            return
        present = dict(zip(self.training.classes, np.any(self.training.present, axis=0).tolist(), strict=True))
        absent = [name for name in self.spec.outputs if not present[name]]
        if len(absent) == len(self.spec.outputs):
            raise TrainError(
                "no training sample has a pixel of any class, so there is nothing to learn. "
                "Look at the masks: augforge show"
            )
        if absent:
            yield (
                f"no training sample has a pixel of {some(absent, SHOWN)}: the network learns that there never is one. "
                "Leave it out with class_map, or add samples"
            )

    def batches(self, world: int, rank: int, pin: bool) -> TrainingBatches:
        """The training batches of one process; `pin` puts them into pinned memory, for CUDA."""
        spec = self.spec.input
        config = self.config
        return TrainingBatches(
            self.training, spec, config.data, config.seed, world=world, rank=rank, pin=pin, weights=config.weights
        )


_VAL_REMEDY = (
    "Give the recipe a split, such as split: {val: 0.2}, and build again; or train without validation: "
    "--set validate_every=0"
)


def _refuse_mask_settings(config: TrainConfig) -> None:
    """Raise TrainError for settings that masks alone have, where labels are learnt."""
    weights, leave_out = config.weights, "Leave it out"
    settings = {
        "monitor": (config.monitor != "auto", leave_out),
        "weights.border": (weights.border is not None, leave_out),
        "weights.regions": (bool(weights.regions), leave_out),
        "weights.classes": (bool(weights.classes), "Take class_weights of a loss"),
    }
    for key, (is_set, remedy) in settings.items():
        if is_set:
            raise TrainError(f"{key} is for masks, and this run learns labels. {remedy}")


def _split(dataset: Dataset, name: str) -> Dataset:
    """The samples of a split, perhaps none; `Dataset.split` raises for a split that the dataset does not have."""
    return dataset.where(pl.col("split") == name)


def learns_labels(config: TrainConfig, dataset: Dataset) -> bool:
    """Whether a run learns labels, not masks: the dataset has no classes, or the configuration says so."""
    return not _outputs(dataset.classes) or config.task is not None or bool(config.label_groups)


def check_has_labels(dataset: Dataset) -> None:
    """Raise TrainError if labels are to be learnt from a dataset that has none."""
    if dataset.labels:
        return
    if not _outputs(dataset.classes):
        raise TrainError(f"{dataset.folder} has neither classes nor labels, so there is nothing to learn")
    raise TrainError(
        f"{dataset.folder} has masks and no labels, and task or label_groups asks for labels. Leave both out to learn "
        "masks"
    )


def _outputs(classes: Sequence[str]) -> tuple[str, ...]:
    """The classes that a network can predict: none for a dataset of labels, whose only class is `ignore`."""
    return tuple(name for name in classes if name != IGNORE)


def _shared_group_warnings(training: Sequence[Dataset], validation: Sequence[Dataset]) -> Iterator[str]:
    """A warning of groups in training and in validation, if there are any: datasets may split them differently."""
    validated = {group for part in validation for group in part.groups}
    shared = sorted(validated & {group for part in training for group in part.groups})
    if shared:
        yield (
            f"{len(shared)} groups are in training and in validation, such as {shared[0]}, so validation is flattered. "
            "Split all datasets in the same way, unless a group of the same name is another person in each"
        )


def choose_input_spec(config: TrainConfig, samples: TrainingSet, device: str) -> InputSpec:
    """The network's input: as configured, and where the configuration leaves it open, as suits the data.

    Args:
        config: of the run.
        samples: what it trains on.
        device: ``cpu``, ``cuda`` or ``mps``.

    Raises:
        TrainError: a crop that is larger than the samples.
    """
    data = config.data
    limit = MAX_SIDE_CPU if device == "cpu" else MAX_SIDE_GPU
    size = _typical_size(samples.sizes, limit) if data.size is None else width_height(data.size)
    if data.crop is not None:
        crop = width_height(data.crop)
        if crop[0] > size[0] or crop[1] > size[1]:
            raise TrainError(
                f"data.crop is {list(crop)}, but samples are scaled to {list(size)}. Make the crop smaller"
            )
    channels = data.channels or (3 if samples.has_colour else 1)
    if data.normalise != "encoder":
        return InputSpec(size, channels, data.normalise)
    mean, std = encoder_normalisation(config.model, channels)
    return InputSpec(size, channels, data.normalise, tuple(mean), tuple(std))


def choose_monitor(config: TrainConfig, validation: Sequence[Dataset], outputs: Sequence[str]) -> str:
    """The figure that chooses the best network: as configured, and where that is left open, as suits the data.

    The contest's mean Dice scores a class that is absent and not predicted as 1. Where most classes are absent, that
    makes a network that predicts nothing look good; pooled over the set, absent classes add nothing. Classes that
    exclude each other are judged by VOC's mean IoU, as their field does.
    """
    if config.monitor != "auto":
        return config.monitor
    if config.exclusive:
        return "miou"
    areas = [[area[name] for name in outputs] for part in validation for area in part.index["area"].to_list()]
    known = [area for row in areas for area in row if area is not None]
    absent = sum(area == 0 for area in known)
    return "pooled_dice" if absent > MOST_ABSENT * len(known) else "mean_dice"


def _typical_size(sizes: NDArray[np.int64], limit: int) -> Size:
    """Width and height of the median proportions; the longer side is the longest of any sample, at most `limit`."""
    ratio = float(np.median(sizes[:, 0] / sizes[:, 1]))
    longest = min(limit, _round_up(int(sizes.max())))
    return (longest, _round_up(longest / ratio)) if ratio >= 1 else (_round_up(longest * ratio), longest)


def _round_up(length: float) -> int:
    """A length rounded up to a multiple of 32. What division leaves just above a multiple counts as that multiple."""
    return max(1, int(np.ceil(np.round(length / STRIDE, 6)))) * STRIDE
