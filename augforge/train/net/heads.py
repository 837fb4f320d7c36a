"""Networks that segmentation-models-pytorch lacks: MONAI's UNet++, torchvision's FCN, and networks of one's own.

They return a tensor, a list of them (deep supervision) or a mapping; `Heads` makes these alike.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from augforge.errors import MissingExtra, TrainError, first_line
from augforge.train.net.vision import torchvision

if TYPE_CHECKING:
    from augforge.train.config import ModelConfig

_PROBE = 64  # pixels a side of the image that a network of one's own is tried with


class Heads(nn.Module):
    """A network with several outputs: all of them in training, for deep supervision; the last one in prediction.

    Args:
        network: images (N, channels, H, W) to logits (N, C, H, W), or (N, L) of a classifier, to a sequence of such, or
            to a mapping with ``out`` (torchvision's).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        """Logits: a list in training if there are several."""
        made = self.network(images)
        outputs = [made["out"]] if isinstance(made, Mapping) else [made] if isinstance(made, Tensor) else list(made)
        return outputs if self.training and len(outputs) > 1 else outputs[-1]


def build_monai_unetplusplus(config: ModelConfig, channels: int, outputs: int) -> nn.Module:
    """MONAI's UNet++ (Zhou et al. 2018), with its own encoder; option ``deep_supervision`` trains all depths."""
    try:
        from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus
    except ImportError:
        raise MissingExtra("monai", "train", "architecture monai_unetplusplus") from None
    return Heads(BasicUNetPlusPlus(spatial_dims=2, in_channels=channels, out_channels=outputs, **config.options))


def build_fcn(config: ModelConfig, channels: int, outputs: int) -> nn.Module:
    """torchvision's FCN (Long et al. 2015) on resnet50 or resnet101, at an eighth of the resolution, enlarged."""
    if config.encoder not in ("resnet50", "resnet101"):
        raise TrainError(
            f"model.encoder: fcn stands on resnet50 or resnet101, not on {config.encoder}. Set one of them"
        )
    models = import_module(f"{torchvision().__name__}.models.segmentation")
    network = getattr(models, f"fcn_{config.encoder}")(
        weights=None, weights_backbone=None, num_classes=outputs, **config.options
    )
    if channels != 3:
        first = network.backbone.conv1
        network.backbone.conv1 = nn.Conv2d(channels, first.out_channels, 7, stride=2, padding=3, bias=False)
    return Heads(network)


OTHERS: dict[str, Callable[[ModelConfig, int, int], nn.Module]] = {
    "monai_unetplusplus": build_monai_unetplusplus,
    "fcn": build_fcn,
}
"""Architectures besides those of SMP, by name. They take no pretrained weights."""


def build_by_factory(config: ModelConfig, channels: int, outputs: int, *, whole_images: bool = False) -> nn.Module:
    """Call ``model.factory`` and try its network on a small image.

    Raises:
        TrainError: there is no such function, it fails, or the network does not map images to logits of their size;
            with `whole_images`, to logits (N, outputs).
    """
    name = str(config.factory)
    made = _find_factory(name)(channels, outputs, **config.options)
    if not isinstance(made, nn.Module):
        raise TrainError(f"model.factory: {name} returned {type(made).__name__}; expected a torch.nn.Module")
    network = Heads(made)
    expected = (1, outputs) if whole_images else (1, outputs, _PROBE, _PROBE)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        shape = tuple(network.eval()(torch.zeros(1, channels, _PROBE, _PROBE)).shape)
    if shape != expected:
        raise TrainError(
            f"model.factory: the network of {name} makes {shape} of an image (1, {channels}, {_PROBE}, {_PROBE}); "
            f"expected {expected}: logits of each {'label' if whole_images else 'class at each pixel'}"
        )
    return network.train()


def _find_factory(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # the command `augforge`, unlike `python -m augforge`, does not look in the current folder
        sys.path.append(here)
    try:
        return getattr(import_module(module), function)  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:
        raise TrainError(
            f"model.factory: {name} cannot be imported ({first_line(error)}). Start in the folder of its package, or "
            "install the package"
        ) from None


def refuse_encoder_weights(config: ModelConfig) -> None:
    """Raise TrainError if a network without an encoder of SMP is to get pretrained encoder weights."""
    if config.weights:
        what = config.factory or config.architecture
        raise TrainError(
            f"model.weights: {what} has no encoder of segmentation-models-pytorch to load '{config.weights}' into. "
            "Leave weights out, or begin with the whole network of a run: init"
        )
