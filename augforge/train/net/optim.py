"""Optimizers by name, the schedule of the learning rate, and averages of the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from augforge.errors import TrainError, nearest
from augforge.train.net.parts import parameter_groups
from augforge.train.net.vision import timm

if TYPE_CHECKING:
    from augforge.train.config import OptimizerConfig, ScheduleConfig, TrainConfig

_TIMM_NAMES = {"sgd": "momentum"}
"""What timm calls an optimizer of torch: its own `sgd` is Nesterov's, its `momentum` is plain torch.optim.SGD."""
_UNSUPPORTED = ("bnb*", "fused*", "adahessian")
"""Optimizers of timm that need other libraries, or gradients of gradients."""


_RAMPS = "ema_ramps_up"
"""The entry of a checkpoint that says that the decay of `ema` ramps up."""


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimizer by name: adam, adamw and sgd are torch's, others timm's; ``lookahead_`` may precede any of them.

    Parts of the network may have a rate of their own (`lr_by_part`). Weight decay acts on weights, not on biases and
    normalisation layers (parameters of one dimension).

    Raises:
        TrainError: no optimizer has that name.
    """
    optimizers = timm().optim
    _, lookahead, name = config.name.lower().rpartition("lookahead_")
    known = optimizers.list_optimizers(exclude_filters=list(_UNSUPPORTED))
    if name not in known:
        raise TrainError(f"optimizer.name: no optimizer is called '{config.name}'.{nearest(name, known)}")
    optimizer: torch.optim.Optimizer = optimizers.create_optimizer_v2(
        parameter_groups(model, config) if config.lr_by_part else model,
        lookahead + _TIMM_NAMES.get(name, name),
        lr=config.lr,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
    )
    return optimizer


def rate(config: ScheduleConfig, step: int, total: int) -> float:
    """The factor of the highest learning rate in one step; the drops of plateau come on top.

    Args:
        config: the schedule; each begins with a linear warm-up.
        step: of the optimizer, from 0 to total - 1.
        total: steps in the run.
    """
    warmup = round(config.warmup * total)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if config.name == "cosine":
        done = min(1.0, (step - warmup) / max(1, total - 1 - warmup))
        return config.final + (1 - config.final) * (1 + math.cos(math.pi * done)) / 2
    if config.name == "cyclic":
        length = cycle_length(config, total)
        return config.final + (1 - config.final) * (1 + math.cos(math.pi * (step % length) / length)) / 2
    if config.name == "step":
        return float(config.factor ** math.floor(step / total / config.every + 1e-9))  # 0.3 / 0.1 is slightly below 3
    return 1.0


def cycle_length(config: ScheduleConfig, total: int) -> int:
    """Steps in each cycle of the schedule cyclic but perhaps the last (Huang et al. 2017, Snapshot Ensembles)."""
    if config.cycles > total:
        raise TrainError(
            f"schedule.cycles: {config.cycles} in a run of {total} steps; expected a step or more for each"
        )
    return -(-total // config.cycles)


def snapshot_after(config: ScheduleConfig, step: int, total: int) -> int | None:
    """The number, from 1, of the snapshot that is taken after so many steps; None if none is."""
    if config.name != "cyclic" or (step % cycle_length(config, total) and step != total):
        return None
    return -(-step // cycle_length(config, total))


class Schedule:
    """Sets the learning rate of each step of an optimizer."""

    def __init__(self, optimizer: torch.optim.Optimizer, config: ScheduleConfig, total_steps: int) -> None:
        self._optimizer = optimizer
        self._config = config
        self._total = total_steps
        self._steps_done = 0
        self._best: float | None = None
        self._since_best = 0
        self._drops = 0
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])  # an optimizer's state keeps it when a run is resumed
        self._set_rates()

    def step(self) -> None:
        """Call after each step of the optimizer."""
        self._steps_done += 1
        self._set_rates()

    def record_score(self, score: float) -> None:
        """Call after each validation. Higher is better; after `patience` validations without a gain plateau drops."""
        if self._best is None or score > self._best:
            self._best, self._since_best = score, 0
        else:
            self._since_best += 1
        if self._since_best == self._config.patience:
            self._since_best, self._drops = 0, self._drops + 1
        self._set_rates()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"taken": self._steps_done, "best": self._best, "stale": self._since_best, "falls": self._drops}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._steps_done, self._best = state["taken"], state["best"]
        self._since_best, self._drops = state["stale"], state["falls"]
        self._set_rates()

    def _set_rates(self) -> None:
        factor = rate(self._config, self._steps_done, self._total)
        if self._config.name == "plateau":
            factor *= self._config.factor**self._drops
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor


class WeightAverage:
    """A running average of a network's weights.

    `ema` is an exponential moving average from the first step on (as Tarvainen and Valpola, 2017, use it). Its decay
    ramps up, min(decay, (1 + n) / (10 + n)) after n steps, as TensorFlow's: a high decay would hold on to the random
    weights of the beginning throughout a short run. `swa` is the plain mean over the last share of the steps (Izmailov
    et al., 2018). Statistics of batch norm are averaged too.
    """

    def __init__(self, network: nn.Module, config: TrainConfig, steps: int) -> None:
        self.first = 1 if config.swa is None else steps - max(1, round(config.swa * steps)) + 1
        self._decay, self._ramps = config.ema, True
        update = None if config.ema is None else self._update
        self.model = AveragedModel(network, multi_avg_fn=update, use_buffers=True)

    def _update(self, averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        """Move the average towards the current weights; `count` updates were made before, of which the first copied."""
        assert self._decay is not None
        ramp = (1 + int(count)) / (10 + int(count)) if self._ramps else 1.0
        get_ema_multi_avg_fn(min(self._decay, ramp))(list(averaged), list(current), count)

    def update(self, network: nn.Module, step: int) -> None:
        """Take in the network after optimizer step `step`, from 1."""
        if step >= self.first:
            self.model.update_parameters(network)

    def network(self, step: int) -> nn.Module | None:
        """The averaged network after a step; None before averaging begins."""
        module: nn.Module = self.model.module
        return module if step >= self.first else None

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        state: dict[str, Any] = self.model.state_dict()
        return {**state, _RAMPS: torch.tensor(True)} if self._ramps else state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint. One that an earlier version wrote goes on with the constant decay that it had."""
        self._ramps = _RAMPS in state
        self.model.load_state_dict({name: value for name, value in state.items() if name != _RAMPS})


def build_average(network: nn.Module, config: TrainConfig, steps: int) -> WeightAverage | None:
    """The average that a configuration asks for; None if it asks for none."""
    return None if config.ema is None and not config.swa else WeightAverage(network, config, steps)
