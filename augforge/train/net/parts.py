"""Parts of a network by the beginning of their parameters' names: which are frozen, and how fast each one learns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from augforge.errors import TrainError, nearest

if TYPE_CHECKING:
    from augforge.train.config import OptimizerConfig


def freeze(network: nn.Module, prefixes: Sequence[str]) -> None:
    """Take parts out of training; TrainError if a prefix names none, or if nothing is left to train."""
    check_parts(network, prefixes, "freeze")
    for name, parameter in network.named_parameters():
        if part_of(name, prefixes) is not None:
            parameter.requires_grad_(False)
    if prefixes and not any(parameter.requires_grad for parameter in network.parameters()):
        raise TrainError(f"freeze: {', '.join(prefixes)} is the whole network, so nothing is left to train")


def train_mode(network: nn.Module, frozen: Sequence[str]) -> None:
    """Training mode; frozen parts stay as in prediction, so that their batch norm keeps its statistics too."""
    network.train()
    for name, module in network.named_modules() if frozen else ():
        if part_of(name, frozen) is not None:
            module.eval()


def parameter_groups(network: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Groups of parameters for an optimizer: those without a rate of their own first, then part by part.

    Each has a group with weight decay, and one without for biases and normalisation layers (one dimension).
    """
    check_parts(network, config.lr_by_part, "optimizer.lr_by_part")
    parts: dict[str | None, list[nn.Parameter]] = {part: [] for part in (None, *config.lr_by_part)}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            parts[part_of(name, config.lr_by_part)].append(parameter)
    groups = []
    for part, parameters in parts.items():
        rate = config.lr if part is None else config.lr_by_part[part]
        for decays in (True, False):
            chosen = [each for each in parameters if (each.ndim > 1) is decays]
            decay = config.weight_decay if decays else 0.0
            groups += [{"params": chosen, "lr": rate, "weight_decay": decay, "part": part}] if chosen else []
    return groups


def part_of(name: str, prefixes: Iterable[str]) -> str | None:
    """The longest prefix that names a parameter or module, by whole parts of its dotted name; None if none does."""
    found = [prefix for prefix in prefixes if name == prefix or name.startswith(f"{prefix}.")]
    return max(found, key=len, default=None)


def check_parts(network: nn.Module, prefixes: Iterable[str], key: str) -> None:
    """Raise TrainError if a prefix names no parameter of a network."""
    names = [name for name, _ in network.named_parameters()]
    for prefix in prefixes:
        if not any(part_of(name, [prefix]) for name in names):
            parts = dict.fromkeys(name.partition(".")[0] for name in names)
            raise TrainError(f"{key}: the network has no part '{prefix}'.{nearest(prefix, parts)}")


def rates_by_part(groups: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The learning rate of each part that has one of its own."""
    return {group["part"]: group["lr"] for group in groups if group.get("part") is not None}
