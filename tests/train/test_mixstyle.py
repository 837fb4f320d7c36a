"""MixStyle: statistics are exchanged, content stays, and only in training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from augforge.errors import TrainError
from augforge.train.config import MixStyleConfig, ModelConfig
from augforge.train.data.inputspec import InputSpec
from augforge.train.net.mixstyle import attach_mixstyle, mix_styles
from augforge.train.net.model import build_classifier, build_model

SPEC = InputSpec((64, 32), 1)


def features() -> torch.Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 3 + 1


def style(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return maps.mean((2, 3)), maps.std((2, 3))


def test_a_share_of_one_changes_nothing_and_one_of_zero_takes_the_partners_style() -> None:
    maps, partners = features(), torch.tensor([1, 0, 3, 2])
    torch.testing.assert_close(mix_styles(maps, torch.ones(4), partners), maps)
    for mixed, wanted in zip(style(mix_styles(maps, torch.zeros(4), partners)), style(maps[partners]), strict=True):
        torch.testing.assert_close(mixed, wanted)


def test_statistics_are_mixed_by_the_share_and_content_stays() -> None:
    maps, partners, share = features(), torch.tensor([2, 3, 1, 0]), torch.tensor([0.1, 0.4, 0.5, 0.9])
    mixed = mix_styles(maps, share, partners)
    for found, own in zip(style(mixed), style(maps), strict=True):
        torch.testing.assert_close(found, share[:, None] * own + (1 - share[:, None]) * own[partners])
    normal = [(each - each.mean((2, 3), True)) / each.std((2, 3), keepdim=True) for each in (maps, mixed)]
    torch.testing.assert_close(normal[0], normal[1])


def test_no_gradient_flows_through_the_style() -> None:
    maps = features().requires_grad_()
    mix_styles(maps, torch.zeros(4), torch.tensor([1, 0, 3, 2])).sum().backward()
    deviation = maps.detach().std((2, 3), keepdim=True)
    assert maps.grad is not None
    torch.testing.assert_close(maps.grad, (deviation[[1, 0, 3, 2]] / deviation).expand_as(maps), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("build", "layers"),
    [
        (build_classifier, ["layer1", "layer2"]),
        (build_model, ["encoder.model.layer1", "encoder.model.layer2"]),
    ],
)
def test_the_stages_of_stride_4_and_8_are_found(build: type, layers: list[str]) -> None:
    config = ModelConfig(encoder="tu-test_resnet", architecture="unet")
    network = build(config, 1, 2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    assert attach_mixstyle(network, MixStyleConfig(), SPEC) == layers
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items()), "no batch norm moved"
    assert attach_mixstyle(network, None, SPEC) == []


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 3, 1), nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.conv(images).mean((2, 3)))
        return found


def test_only_training_is_mixed() -> None:
    torch.manual_seed(0)
    network, images = Plain(), torch.randn(6, 1, 8, 8)
    plain = network(images)
    attach_mixstyle(network, MixStyleConfig(p=1, layers=("conv",)), SPEC)
    assert torch.equal(network.eval()(images), plain)
    assert not torch.allclose(network.train()(images), plain)


def test_layers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(TrainError, match=r"no module 'cnov'\. Did you mean 'conv'"):
        attach_mixstyle(Plain(), MixStyleConfig(layers=("cnov",)), SPEC)
    with pytest.raises(TrainError, match=r"no module of the encoder gives maps of stride 4"):
        attach_mixstyle(Plain(), MixStyleConfig(), SPEC)
    network = Plain()
    attach_mixstyle(network, MixStyleConfig(p=1, layers=("head",)), SPEC)
    with pytest.raises(TrainError, match="head gives no maps of features"):
        network.train()(torch.zeros(2, 1, 8, 8))
