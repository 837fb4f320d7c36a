"""Optimizers by name, and how the learning rate goes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from augforge.errors import TrainError, nearest
from augforge.train.config import OptimizerConfig, ScheduleConfig
from augforge.train.net.vision import timm

_PLAIN = {"sgd": "momentum"}
"""timm's own sgd is Nesterov's; its momentum is torch.optim.SGD as it comes."""
_FOREIGN = ("bnb*", "fused*", "adahessian")
"""Need libraries that are not ours, or gradients of gradients."""


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimizer of a name: adam, adamw and sgd are torch's, others timm's, ``lookahead_`` in front of any.

    Weights decay, biases and normalisation layers (parameters of one dimension) do not.

    Raises:
        TrainError: no optimizer has that name.
    """
    optimizers = timm().optim
    _, lookahead, name = config.name.lower().rpartition("lookahead_")
    known = optimizers.list_optimizers(exclude_filters=list(_FOREIGN))
    if name not in known:
        raise TrainError(f"optimizer.name: no optimizer is called '{config.name}'.{nearest(name, known)}")
    optimizer: torch.optim.Optimizer = optimizers.create_optimizer_v2(
        model,
        lookahead + _PLAIN.get(name, name),
        lr=config.lr,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
    )
    return optimizer


def rate(config: ScheduleConfig, step: int, total: int) -> float:
    """What the highest learning rate is multiplied by in one step, plateau's falls left out.

    Args:
        config: the schedule; a linear warm-up stands in front of each.
        step: of the optimizer, from 0 to total - 1.
        total: steps in the run.
    """
    warmup = round(config.warmup * total)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if config.name == "cosine":
        done = min(1.0, (step - warmup) / max(1, total - 1 - warmup))
        return config.final + (1 - config.final) * (1 + math.cos(math.pi * done)) / 2
    if config.name == "step":
        return float(config.factor ** math.floor(step / total / config.every + 1e-9))  # 0.3 / 0.1 is a hair below 3
    return 1.0


class Schedule:
    """Sets the learning rate of each step of an optimizer."""

    def __init__(self, optimizer: torch.optim.Optimizer, config: ScheduleConfig, total_steps: int) -> None:
        self._optimizer = optimizer
        self._config = config
        self._total = total_steps
        self._taken = 0
        self._best: float | None = None
        self._stale = 0
        self._falls = 0
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])  # an optimizer's state carries it through a resumed run
        self._set()

    def step(self) -> None:
        """Call after each step of the optimizer."""
        self._taken += 1
        self._set()

    def validated(self, score: float) -> None:
        """Call after each validation with its score, higher is better: plateau waits for `patience` without a gain."""
        if self._best is None or score > self._best:
            self._best, self._stale = score, 0
        else:
            self._stale += 1
        if self._stale == self._config.patience:
            self._stale, self._falls = 0, self._falls + 1
        self._set()

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self._taken, "best": self._best, "stale": self._stale, "falls": self._falls}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._taken, self._best = state["taken"], state["best"]
        self._stale, self._falls = state["stale"], state["falls"]
        self._set()

    def _set(self) -> None:
        factor = rate(self._config, self._taken, self._total)
        if self._config.name == "plateau":
            factor *= self._config.factor**self._falls
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor


def build_schedule(optimizer: torch.optim.Optimizer, config: ScheduleConfig, total_steps: int) -> Schedule:
    """The schedule of an optimizer over a run of `total_steps` optimizer steps."""
    return Schedule(optimizer, config, total_steps)
