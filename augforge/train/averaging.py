"""Averages of the weights along the way: EMA, and SWA at the end of a run."""

from __future__ import annotations

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from augforge.train.config import TrainConfig


class Averaged:
    """A copy of a network that follows it.

    `ema` is an exponential moving average from the first step on (as Tarvainen and Valpola, 2017, use it); `swa` is
    the plain mean over the last share of the steps (Izmailov et al., 2018). Statistics of batch norm are averaged too.
    """

    def __init__(self, network: nn.Module, config: TrainConfig, steps: int) -> None:
        decay = None if config.ema is None else get_ema_multi_avg_fn(config.ema)  # type: ignore[no-untyped-call]
        self.first = 1 if config.swa is None else steps - max(1, round(config.swa * steps)) + 1
        self.model = AveragedModel(network, multi_avg_fn=decay, use_buffers=True)

    @classmethod
    def wanted(cls, network: nn.Module, config: TrainConfig, steps: int) -> Averaged | None:
        """The average that a configuration asks for; None if it asks for none."""
        return None if config.ema is None and not config.swa else cls(network, config, steps)

    def update(self, network: nn.Module, step: int) -> None:
        """Take in the network after optimizer step `step`, from 1."""
        if step >= self.first:
            self.model.update_parameters(network)

    def network(self, step: int) -> nn.Module | None:
        """The average after a step; None before there is one."""
        module: nn.Module = self.model.module
        return module if step >= self.first else None
