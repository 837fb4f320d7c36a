"""MixStyle: mixes feature statistics of the samples of a batch in early layers, for domains that were not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from augforge.errors import TrainError, nearest

if TYPE_CHECKING:
    from augforge.train.config import MixStyleConfig
    from augforge.train.data.inputspec import InputSpec

STRIDES = (4, 8)
"""Without named layers, styles are mixed after stages of these strides: res1 and res2 of a ResNet, as in the paper."""
_EPSILON = 1e-6

Hook = Callable[[nn.Module, Any, Any], Any]


def mix_styles(features: Tensor, share: Tensor, partners: Tensor) -> Tensor:
    """Give each sample a mixture of its own style and a partner's.

    A sample's style is the mean and the deviation of each channel over its pixels, through which no gradient flows.
    After Zhou, Yang, Qiao and Xiang, "Domain generalization with MixStyle", 2021.

    Args:
        features: (N, C, H, W).
        share: (N,), 0 to 1, of the sample's own style.
        partners: (N,), index of each sample's partner.
    """
    mean = features.mean((2, 3), keepdim=True).detach()
    deviation = (features.var((2, 3), keepdim=True) + _EPSILON).sqrt().detach()
    own = share.view(-1, 1, 1, 1).to(features.dtype)
    mixed_mean = own * mean + (1 - own) * mean[partners]
    mixed_deviation = own * deviation + (1 - own) * deviation[partners]
    return (features - mean) / deviation * mixed_deviation + mixed_mean


def attach_mixstyle(network: nn.Module, config: MixStyleConfig | None, spec: InputSpec) -> list[str]:
    """Let a network mix styles while it is in training mode; its weights and their names stay as they are.

    Args:
        network: images (N, channels, h, w) to anything; of segmentation, layers are sought in its encoder.
        config: how often, how much, and after which modules; None for no mixing.
        spec: the network's input.

    Returns:
        the names of the modules after which styles are mixed.

    Raises:
        TrainError: a module is unknown, or gives no maps of features.
    """
    if config is None:
        return []
    prefix = "encoder." if isinstance(getattr(network, "encoder", None), nn.Module) else ""
    part = network.get_submodule(prefix.rstrip("."))
    chosen = list(config.layers or [prefix + name for name in _stages(part, spec)])
    modules = dict(network.named_modules())
    for name in chosen:
        if name not in modules:
            raise TrainError(f"mixstyle.layers: the network has no module '{name}'.{nearest(name, modules)}")
        modules[name].register_forward_hook(_hook(config, name))
    return chosen


def _hook(config: MixStyleConfig, name: str) -> Hook:
    def mix(module: nn.Module, inputs: Any, output: Any) -> Any:
        if not module.training or torch.rand(()) >= config.p:
            return output
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise TrainError(f"mixstyle.layers: {name} gives no maps of features (N, C, H, W). Name another module")
        count = len(output)
        share = torch.distributions.Beta(config.alpha, config.alpha).sample((count,))
        return mix_styles(output, share.to(output.device), torch.randperm(count).to(output.device))

    return mix


def _stages(network: nn.Module, spec: InputSpec) -> list[str]:
    """The last of the outermost modules whose maps have each of the strides."""
    found = _strides(network, spec)
    chosen = []
    for stride in STRIDES:
        names = [name for name, its in found if its == stride and name]
        if not names:
            raise TrainError(
                f"mixstyle: no module of the encoder gives maps of stride {stride}, as a ResNet's stages do. Name the "
                "modules: mixstyle.layers"
            )
        outermost = min(name.count(".") for name in names)
        chosen.append([name for name in names if name.count(".") == outermost][-1])
    return chosen


def _strides(network: nn.Module, spec: InputSpec) -> list[tuple[str, float]]:
    """Names of the modules that give maps of features with their strides, in the order in which they finish."""
    found: list[tuple[str, float]] = []
    width, height = spec.size

    def note(name: str) -> Hook:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and width * output.shape[2] == height * output.shape[3]:
                found.append((name, width / output.shape[3]))

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in network.named_modules()]
    with _evaluating(network), torch.no_grad():
        weight = next(network.parameters())
        network(torch.zeros(2, spec.channels, height, width, device=weight.device, dtype=weight.dtype))
    for handle in handles:
        handle.remove()
    return found


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    modes: Sequence[tuple[nn.Module, bool]] = [(module, module.training) for module in network.modules()]
    network.eval()
    yield
    for module, mode in modes:
        module.training = mode
