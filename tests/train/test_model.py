"""Networks by name, and what is said of names that are unknown and parts that do not go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from augforge.errors import TrainError
from augforge.train.config import ModelConfig
from augforge.train.net.model import build_classifier, build_model, encoder_normalisation

TINY = "tu-test_resnet"


def build(channels: int = 1, outputs: int = 2, **model: Any) -> nn.Module:
    return build_model(ModelConfig(**{"encoder": "resnet18", **model}), channels, outputs)


@pytest.mark.parametrize("architecture", ["unetplusplus", "Unet", "fpn", "deeplabv3plus", "upernet", "segformer"])
@pytest.mark.parametrize("channels", [1, 3])
def test_architectures_map_images_to_a_logit_a_class_and_pixel(architecture: str, channels: int) -> None:
    net = build(channels, 5, architecture=architecture, encoder=TINY).eval()
    with torch.no_grad():
        logits = net(torch.randn(2, channels, 64, 96))
    assert logits.shape == (2, 5, 64, 96)
    assert bool((logits < 0).any())


def test_defaults_are_unet_plus_plus_on_resnet34() -> None:
    net = build_model(ModelConfig(), 1, 2)
    assert type(net).__name__ == "UnetPlusPlus"
    assert len([*net.get_submodule("encoder.layer3").children()]) == 6


def test_options_reach_the_architecture_and_the_encoder_of_timm() -> None:
    net = build(options={"decoder_attention_type": "scse", "decoder_channels": [64, 64, 32, 32, 16]})
    assert any("SCSE" in type(module).__name__ for module in net.modules())
    net = build(encoder=TINY, options={"drop_path_rate": 0.5})
    assert any(getattr(module, "drop_prob", 0) for module in net.modules())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"architecture": "unetplus"}, "model.architecture: no architecture is called 'unetplus'. Did you mean 'unet"),
        ({"encoder": "resnet81"}, "model.encoder: no encoder is called 'resnet81'. Did you mean 'resnet18'"),
        ({"encoder": "convnext_tiny"}, "Did you mean 'tu-convnext_tiny'"),
        ({"encoder": "tu-resnt18"}, "Did you mean 'tu-resnet18'"),
        (
            {"options": {"decoder_chanels": 4}},
            "options.decoder_chanels: UnetPlusPlus has no such option. Did you mean 'de",
        ),
        ({"options": {"activation": "sigmoid"}}, "model.options.activation: not to be set here"),
        ({"encoder": TINY, "options": {"drop_paht": 1}}, "unexpected keyword argument 'drop_paht'. Change"),
        (
            {"architecture": "linknet", "encoder": "mit_b0"},
            "linknet with encoder mit_b0 cannot be built: .*not supported",
        ),
        ({"encoder": TINY + ".nonsense"}, "cannot be built: Invalid pretrained tag"),
        ({"weights": "imagnet"}, "resnet18 has no published weights called 'imagnet'.*Did you mean 'imagenet'"),
        (
            {"encoder": "tu-resnet18", "weights": "a1_in1"},
            "tu-resnet18 has no published weights.*Did you mean 'a1_in1k'",
        ),
        ({"weights": "nowhere.pt"}, "nowhere.pt: no such file; expected the encoder's weights"),
    ],
)
def test_what_is_unknown_or_does_not_go_together_is_refused(model: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainError, match=message):
        build(**model)


def test_classifiers_are_timms() -> None:
    for name in ("test_resnet", TINY):
        net = build_classifier(ModelConfig(encoder=name, options={"drop_rate": 0.25}), 1, 7).eval()
        assert net(torch.randn(2, 1, 64, 64)).shape == (2, 7)
        assert net.drop_rate == 0.25
    with pytest.raises(TrainError, match=r"no encoder is called 'tu-resnt18'. Did you mean 'tu-resnet18'"):
        build_classifier(ModelConfig(encoder="resnt18"), 1, 7)


def test_normalisation_is_that_of_the_pretraining() -> None:
    imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    halves = ((0.5,) * 3, (0.5,) * 3)
    assert encoder_normalisation(ModelConfig(encoder="resnet34"), 3) == imagenet
    assert encoder_normalisation(ModelConfig(encoder="tu-resnet18"), 3) == imagenet
    assert encoder_normalisation(ModelConfig(encoder="convnext_tiny"), 3) == imagenet
    assert encoder_normalisation(ModelConfig(encoder="tu-vit_base_patch16_224"), 3) == halves
    assert encoder_normalisation(ModelConfig(encoder="inceptionv4", weights="imagenet"), 3) == halves
    assert encoder_normalisation(ModelConfig(encoder="efficientnet-b5", weights="advprop"), 3) == halves
    assert encoder_normalisation(ModelConfig(encoder="dpn68"), 3)[0] == pytest.approx((124 / 255, 117 / 255, 104 / 255))
    mean, deviation = encoder_normalisation(ModelConfig(), 1)
    assert mean == pytest.approx((0.449,)) and deviation == pytest.approx((0.226,))


# ---- networks that are not of segmentation-models-pytorch -----------------------------------------------------------

PACKAGE = """
import torch
from torch import nn

def build(channels, outputs, width=4):
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, outputs, 1))

class Deep(nn.Module):
    def __init__(self, channels, outputs):
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(channels, outputs, 1) for _ in range(3))

    def forward(self, images):
        return [head(images) for head in self.heads]

def halved(channels, outputs):
    return nn.Conv2d(channels, outputs, 1, stride=2)

def pooled(channels, outputs):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, outputs))

def nothing(channels, outputs):
    return None
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of one's own in the current folder."""
    (tmp_path / "ownnets").mkdir()
    (tmp_path / "ownnets/nets.py").write_text(PACKAGE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("own")
def test_a_network_of_ones_own() -> None:
    net = build_model(ModelConfig(factory="ownnets.nets:build", options={"width": 7}), 1, 3)
    assert net(torch.zeros(2, 1, 32, 64)).shape == (2, 3, 32, 64)
    assert net.get_submodule("network.0").out_channels == 7
    deep = build_model(ModelConfig(factory="ownnets.nets:Deep"), 3, 2)
    images = torch.randn(1, 3, 32, 32)
    assert len(deep.train()(images)) == 3
    assert torch.equal(deep.eval()(images), deep.get_submodule("network.heads.2")(images))


@pytest.mark.usefixtures("own")
def test_a_classifier_of_ones_own() -> None:
    net = build_classifier(ModelConfig(factory="ownnets.nets:pooled"), 1, 3)
    assert net(torch.zeros(2, 1, 32, 64)).shape == (2, 3)
    with pytest.raises(TrainError, match=r"makes \(1, 3, 64, 64\) of .*; expected \(1, 3\): logits of each label"):
        build_classifier(ModelConfig(factory="ownnets.nets:build"), 1, 3)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"factory": "ownnets.nets:bild"}, "ownnets.nets:bild cannot be imported .*no attribute 'bild'"),
        ({"factory": "nowhere_at_all:build"}, "No module named 'nowhere_at_all'.*Start in the folder"),
        ({"factory": "ownnets.nets:halved"}, r"makes \(1, 2, 32, 32\) of .* expected \(1, 2, 64, 64\)"),
        ({"factory": "ownnets.nets:nothing"}, "returned NoneType; expected a torch.nn.Module"),
        ({"factory": "ownnets.nets:build", "options": {"breadth": 3}}, "unexpected keyword argument 'breadth'"),
        ({"factory": "ownnets.nets:build", "weights": "imagenet"}, "no encoder of segmentation-models-pytorch"),
        ({"architecture": "fcn"}, "fcn stands on resnet50 or resnet101, not on resnet18"),
        ({"architecture": "unet3plus"}, "no architecture is called 'unet3plus'"),
    ],
)
def test_networks_that_cannot_be_built(model: dict[str, Any], words: str) -> None:
    with pytest.raises(TrainError, match=words):
        build_model(ModelConfig(**{"encoder": "resnet18", **model}), 1, 2)


def test_a_factory_is_named_as_module_and_function() -> None:
    with pytest.raises(ValueError, match=r"expected package\.module:function"):
        ModelConfig(factory="ownnets.nets.build")


def test_deep_supervision_of_unet_plus_plus_trains_all_depths() -> None:
    options = {"deep_supervision": True, "features": [4, 4, 8, 8, 16, 4]}
    net = build_model(ModelConfig(architecture="monai_unetplusplus", options=options), 1, 3)
    images = torch.randn(2, 1, 32, 64)
    heads = net(images)
    assert [tuple(head.shape) for head in heads] == [(2, 3, 32, 64)] * 4
    assert torch.equal(net.eval()(images), net.get_submodule("network")(images)[-1])


@pytest.mark.parametrize("channels", [1, 3])
def test_fcn_is_torchvisions(channels: int) -> None:
    net = build_model(ModelConfig(architecture="fcn", encoder="resnet50"), channels, 3).eval()
    with torch.no_grad():
        assert net(torch.randn(1, channels, 64, 32)).shape == (1, 3, 64, 32)
