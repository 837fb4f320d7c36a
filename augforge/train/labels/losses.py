"""Losses of label vectors by name: cross entropy where one label is true, BCE where any number is, focal for both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from augforge.errors import TrainError, nearest
from augforge.train.labels.groups import Kind, LabelGroup, Vectors, labelled_rows, labels_of, settle_unknown, slices
from augforge.train.net.losses import Losses, focal_factor, smooth
from augforge.train.net.pixels import class_weights

if TYPE_CHECKING:
    from augforge.train.config import LossConfig, TrainConfig
    from augforge.train.data.inputspec import RunSpec
    from augforge.train.data.trainingset import TrainingSet

Term = Callable[["Weights", Tensor, Tensor], Tensor]
"""A function of weights, logits (N, K) and targets (N, K) of a group to a scalar."""


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """What a term multiplies with.

    Attributes:
        config: of the loss.
        labels: of each label of the group, (K,); None for equal ones.
        positive: of true labels against false ones, (K,); None for equal ones.
        partly: some labels of some samples are unknown, NaN in the targets: they do not count.
    """

    config: LossConfig
    labels: Tensor | None
    positive: Tensor | None
    partly: bool = False


def _cross_entropy(weights: Weights, logits: Tensor, target: Tensor) -> Tensor:
    """Softmax cross entropy with label smoothing (Szegedy et al. 2016), by samples that are labelled in the group."""
    labelled = target.sum(dim=1) > 0
    logits, target = logits[labelled], target[labelled]
    if not len(logits):
        return logits.sum()
    value = F.cross_entropy(logits, target, weights.labels, label_smoothing=weights.config.smoothing)
    return value if weights.labels is None else value * len(target) / (target @ weights.labels).sum().clamp_min(1e-6)


def _focal_softmax(weights: Weights, logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss of alternatives, (1 - p)^gamma times cross entropy (Lin et al. 2017), for soft targets by label."""
    share = _focal_share(weights, target)
    log = logits.log_softmax(dim=1)
    away = (1 - log.exp()).clamp_min(1e-6)  # for gamma below 1, the gradient at 0 would be infinite
    return -(share * away**weights.config.gamma * log).sum() / share.sum().clamp_min(1e-6)


def _focal_share(weights: Weights, target: Tensor) -> Tensor:
    """How much each label of each sample counts, (N, K)."""
    smoothing = weights.config.smoothing
    share = target * (1 - smoothing) + smoothing / target.shape[1] * (target.sum(1, True) > 0)
    return share if weights.labels is None else share * weights.labels


def _bce(weights: Weights, logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy of each label."""
    return _mean(weights, _entropy(weights, logits, target.nan_to_num()), target)


def _focal_sigmoid(weights: Weights, logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss of each label (Lin et al. 2017), for soft targets as quality focal loss (Li et al. 2020)."""
    known = target.nan_to_num()
    factor = focal_factor(logits, smooth(known, weights.config.smoothing), weights.config.gamma)
    return _mean(weights, _entropy(weights, logits, known) * factor, target)


def _entropy(weights: Weights, logits: Tensor, target: Tensor) -> Tensor:
    soft = smooth(target, weights.config.smoothing)
    return F.binary_cross_entropy_with_logits(logits, soft, pos_weight=weights.positive, reduction="none")


def _mean(weights: Weights, values: Tensor, target: Tensor) -> Tensor:
    """The mean of values (N, K) where the target is known, by the weights of labels."""
    if weights.partly:
        shares = _known_shares(weights, target)
        return (values * shares).sum() / shares.sum().clamp_min(1e-6)
    return values.mean() if weights.labels is None else (values * weights.labels).mean() / weights.labels.mean()


def _known_shares(weights: Weights, target: Tensor) -> Tensor:
    """How much each label of each sample counts, (N, K): its weight, or 0 where it is unknown."""
    known = (~target.isnan()).float()
    return known if weights.labels is None else known * weights.labels


def _amount(term: Term, weights: Weights, target: Tensor) -> Tensor:
    """How much of a batch a term is a mean of, a scalar: samples, or the weights of their labels."""
    if term is _focal_softmax:
        return _focal_share(weights, target).sum()
    if term is not _cross_entropy:
        return _known_shares(weights, target).sum() if weights.partly else target.new_tensor(len(target))
    return (target.sum(1) > 0).sum().float() if weights.labels is None else (target @ weights.labels).sum()


_TERMS: Mapping[tuple[str, Kind], Term] = {
    ("cross_entropy", "single"): _cross_entropy,
    ("focal", "single"): _focal_softmax,
    ("bce", "multi"): _bce,
    ("focal", "multi"): _focal_sigmoid,
}
_USED = {
    "cross_entropy": {"smoothing", "class_weights"},
    "bce": {"smoothing", "class_weights", "pos_weight"},
    "focal": {"smoothing", "class_weights", "pos_weight", "gamma"},
}
"""Keys that each loss uses, besides name, weight and group."""
_DEFAULT: Mapping[Kind, str] = {"single": "cross_entropy", "multi": "bce"}


class LabelLosses:
    """The losses of a configuration for groups of labels and their weighted sum, in float32 even under AMP.

    A loss without `group` acts on the groups that it is made for: cross entropy on single ones, BCE on multi ones,
    focal on both. With the configuration's default, single groups get cross entropy and others BCE.

    Args:
        configs: of the run.
        groups: of the run.
        labels: of the dataset, the columns of the targets.
        truth: (N, L) of the training samples in the groups' columns, from which balanced weights follow.

    Raises:
        TrainError: a loss is not one of labels, has a key that it does not use, or a group is left without a loss.
    """

    def __init__(
        self, configs: Sequence[LossConfig], groups: Sequence[LabelGroup], labels: Sequence[str], truth: Vectors
    ) -> None:
        self._columns = [labels.index(label) for label in labels_of(groups)]
        self._single = torch.tensor([not group.multi for group in groups for _ in group.labels])
        self._terms: list[tuple[str, float, slice, Term, Weights]] = []
        for config in _configs_for(configs, groups):
            self._add(config, groups, truth)
        for group, part in slices(groups):
            if not any(term[2] == part for term in self._terms):
                raise TrainError(f"loss: none of the losses is for the labels of {group.name}. {_remedy(group)}")

    def _add(self, config: LossConfig, groups: Sequence[LabelGroup], truth: Vectors) -> None:
        _check_config(config, groups)
        chosen = [pair for pair in slices(groups) if config.group in (None, pair[0].name)]
        found = [(group, part, term) for group, part in chosen if (term := _TERMS.get((config.name, group.kind)))]
        if not found:
            raise TrainError(
                f"loss: {config.name} is not for the labels of {chosen[0][0].name}. {_remedy(chosen[0][0])}"
            )
        for group, part, term in found:
            key = config.name if len(groups) == 1 else f"{config.name}_{group.name}"
            earlier = sum(each[2] == part and each[0].startswith(key) for each in self._terms)
            key = key if not earlier else f"{key}_{earlier + 1}"
            self._terms.append((key, config.weight, part, term, _weights(config, group, truth[:, part], groups)))

    def __call__(self, logits: Tensor, labels: Tensor, shares: Tensor | None = None) -> dict[str, Tensor]:
        """Each loss by its name, and ``loss``, their weighted sum; scalars.

        Args:
            logits: (N, L) of the groups' labels, any float type.
            labels: (N, labels of the dataset), 0 to 1.
            shares: what to multiply each loss by, (losses,): the part of a step that this batch is.
        """
        factors = torch.ones(len(self._terms)) if shares is None else shares
        with torch.autocast(logits.device.type, enabled=False):
            logits, target = logits.float(), self._targets(labels)
            losses, total = {}, logits.new_zeros(())
            for (key, weight, part, term, weights), factor in zip(self._terms, factors, strict=True):
                losses[key] = term(_to(weights, logits.device), logits[:, part], target[:, part]) * factor
                total = total + weight * losses[key]
        return {**losses, "loss": total}

    def _targets(self, labels: Tensor) -> Tensor:
        """The columns of the outputs, without NaN where exactly one label is true: an unknown one then is not."""
        target = labels[:, self._columns].float()
        return torch.where(self._single.to(target.device, non_blocking=True), target.nan_to_num(), target)

    def amounts(self, labels: Tensor) -> Tensor:
        """How much of a batch each loss is a mean of, float32 (losses,): see `Losses.amounts`."""
        target = self._targets(labels)
        found = [
            _amount(term, _to(weights, target.device), target[:, part]) for _, _, part, term, weights in self._terms
        ]
        return torch.stack(found).float()


def build_losses(config: TrainConfig, spec: RunSpec, training: TrainingSet) -> Losses | LabelLosses:
    """The losses of a run: `Losses` of masks, or `LabelLosses`.

    Raises:
        TrainError: a loss, or one of its keys, is not for what the run learns, or losses do not go together.
    """
    if spec.task == "segmentation":
        _check_mask_losses(config.loss)
        return Losses(config.loss, class_weights(config.weights.classes, spec.outputs))
    columns = [training.labels.index(label) for label in spec.labels]
    truth = settle_unknown(spec.groups, training.label_vectors[:, columns])
    return LabelLosses(config.loss, spec.groups, training.labels, truth)


def _check_mask_losses(configs: Sequence[LossConfig]) -> None:
    """Raise TrainError for a loss of masks with a key of labels, or if only one of them makes classes exclusive."""
    for config in configs:
        used = [key for key in ("group", "class_weights", "pos_weight") if getattr(config, key) is not None]
        if used:
            remedy = "Take weights.classes" if used[0] == "class_weights" else "Leave it out"
            raise TrainError(f"loss: {config.name}: {used[0]} is of labels, and the run learns masks. {remedy}")
    names = {config.name for config in configs}
    binary = sorted(names & {"bce", "focal", "lovasz"})
    if "cross_entropy" in names and binary:
        raise TrainError(
            f"loss: cross_entropy is for classes that exclude each other, and {binary[0]} judges each class by itself. "
            "Give it with dice, jaccard or tversky"
        )


def _to(weights: Weights, device: torch.device) -> Weights:
    labels, positive = (None if each is None else each.to(device) for each in (weights.labels, weights.positive))
    return Weights(weights.config, labels, positive, weights.partly)


def _configs_for(configs: Sequence[LossConfig], groups: Sequence[LabelGroup]) -> Sequence[LossConfig]:
    """The losses as configured; of the default, which is for masks, what is the same for labels."""
    from augforge.train.config import LossConfig, TrainConfig

    if tuple(configs) != TrainConfig().loss:
        return configs
    return [LossConfig(name=name) for name in dict.fromkeys(_DEFAULT[group.kind] for group in groups)]


def _remedy(group: LabelGroup) -> str:
    kind, others = ("any number is true", "task: single") if group.multi else ("exactly one is true", "task: multi")
    names = " or ".join(name for name, of in _TERMS if of == group.kind)
    return f"As {kind} of them, take {names}; or judge them otherwise: {others}"


def _check_config(config: LossConfig, groups: Sequence[LabelGroup]) -> None:
    if config.name not in _USED:
        raise TrainError(
            f"loss: {config.name} is a loss of masks, and the run learns labels. Take {', '.join(_USED)}, or leave "
            "loss out"
        )
    names = [group.name for group in groups]
    if config.group is not None and config.group not in names:
        raise TrainError(f"loss: no group of labels is called '{config.group}'.{nearest(config.group, names)}")
    plain = type(config)(name=config.name)
    for key in type(config).model_fields.keys() - {"name", "weight", "group"} - _USED[config.name]:
        if getattr(config, key) != getattr(plain, key):
            users = [name for name, keys in _USED.items() if key in keys]
            whose = f"; {' and '.join(users)} do" if users else ""
            raise TrainError(f"loss: {config.name} of labels does not use {key}{whose}. Leave it out")


def _weights(config: LossConfig, group: LabelGroup, truth: Vectors, groups: Sequence[LabelGroup]) -> Weights:
    """The weights of a group's labels, of which `truth` (N, K) are the columns."""
    if config.pos_weight is not None and not group.multi:
        raise TrainError(
            f"loss: pos_weight is for labels of which any number is true, unlike those of {group.name}. Take "
            "class_weights, or name another group: group"
        )
    labelled, have = truth[labelled_rows(group, truth)], np.nansum(truth, axis=0)
    rows = (~np.isnan(labelled)).sum(axis=0)  # of each label
    by_class = rows / (max(1, np.count_nonzero(have)) * np.maximum(have, 1e-9))
    positive = np.where(have < rows, (rows - have) / np.maximum(have, 1e-9), 1)
    balanced_labels, balanced_positive = (np.where(have > 0, each, 1) for each in (by_class, positive))
    return Weights(
        config,
        _chosen("class_weights", config.class_weights, balanced_labels, group, groups),
        _chosen("pos_weight", config.pos_weight, balanced_positive, group, groups),
        bool(np.isnan(truth).any()),
    )


def _chosen(
    key: str, given: Any, balanced: NDArray[np.float64], group: LabelGroup, groups: Sequence[LabelGroup]
) -> Tensor | None:
    """Configured weights of a group's labels; labels that a mapping does not name have 1."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        values = balanced if given == "balanced" else np.full(len(group.labels), given)
        return torch.tensor(values, dtype=torch.float32)
    known = labels_of(groups)
    for label in given:
        if label not in known:
            raise TrainError(f"loss: {key} names '{label}', which is no label of the run.{nearest(label, known)}")
    return torch.tensor([float(given.get(label, 1)) for label in group.labels])
