"""Pretrained weights: every tensor of a file finds its place, or the file is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from augforge.errors import TrainError
from augforge.train.config import ModelConfig
from augforge.train.net.model import build_classifier, build_model
from augforge.train.net.vision import smp, timm

TINY = "tu-test_resnet"


def build(channels: int = 1, pretrained: bool = True, **model: Any) -> nn.Module:
    torch.manual_seed(0)
    return build_model(ModelConfig(**{"encoder": "resnet18", **model}), channels, 2, pretrained=pretrained)


def encoder_state(name: str) -> dict[str, Tensor]:
    """The tensors of an encoder of 3 channels, other than the one that `build` draws."""
    torch.manual_seed(1)
    state: dict[str, Tensor] = smp().encoders.get_encoder(name, weights=None).state_dict()
    return state


def without_last_layer(net: nn.Module) -> dict[str, Tensor]:
    return {key: value for key, value in net.state_dict().items() if not key.startswith("fc.")}


@pytest.mark.parametrize(("suffix", "prefix"), [(".safetensors", ""), (".pt", "encoder."), (".pth", "")])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["resnet18", TINY])
def test_weights_come_from_a_file(tmp_path: Path, name: str, channels: int, prefix: str, suffix: str) -> None:
    """Of an encoder alone or of a whole network; a gray first layer gets the sum of the colours."""
    state = encoder_state(name)
    decoder = {"decoder.x": torch.zeros(1)} if prefix else {}
    write(tmp_path / f"weights{suffix}", {prefix + key: value for key, value in state.items()} | decoder)
    net = build(channels, encoder=name, weights=str(tmp_path / f"weights{suffix}"))
    check_encoder(net.get_submodule("encoder").state_dict(), state, channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_weights_come_from_a_file_as_timm_publishes_them(tmp_path: Path, channels: int) -> None:
    whole = timm().create_model("test_resnet", pretrained=False)
    write(tmp_path / "timm.safetensors", whole.state_dict())
    net = build(channels, encoder=TINY, weights=str(tmp_path / "timm.safetensors"))
    check_encoder(net.get_submodule("encoder.model").state_dict(), without_last_layer(whole), channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_names_that_timms_feature_extractor_joins_are_found(tmp_path: Path, channels: int) -> None:
    """A file says ``stages.0.blocks``, the extractor ``stages_0.blocks``."""
    whole = timm().create_model("test_convnext", pretrained=False).state_dict()
    write(tmp_path / "timm.safetensors", whole)
    net = build(channels, encoder="tu-test_convnext", weights=str(tmp_path / "timm.safetensors"))
    found = net.get_submodule("encoder.model").state_dict()
    joined = {key.replace("stages.", "stages_").replace("stem.", "stem_"): value for key, value in whole.items()}
    assert any("stages_3" in key for key in found)
    check_encoder(found, {key: joined[key] for key in found}, channels)


@pytest.mark.parametrize(("outputs", "kept"), [(6, True), (4, False)])
def test_a_classifier_keeps_a_last_layer_for_as_many_labels(tmp_path: Path, outputs: int, kept: bool) -> None:
    whole = timm().create_model("test_resnet", pretrained=False, num_classes=6)
    write(tmp_path / "timm.pt", whole.state_dict())
    net = build_classifier(ModelConfig(encoder=TINY, weights=str(tmp_path / "timm.pt")), 1, outputs)
    check_encoder(without_last_layer(net), without_last_layer(whole), 1)
    last = net.state_dict()["fc.weight"]
    assert last.shape[0] == outputs
    assert torch.equal(last, whole.state_dict()["fc.weight"]) is kept


def test_a_classifier_refuses_weights_of_another_network(tmp_path: Path) -> None:
    write(tmp_path / "other.pt", timm().create_model("test_convnext").state_dict())
    with pytest.raises(
        TrainError, match=r"other.pt: does not fit tu-test_resnet. Missing key.*conv1.*Unexpected.*stem"
    ):
        build_classifier(ModelConfig(encoder=TINY, weights=str(tmp_path / "other.pt")), 1, 4)


@pytest.mark.parametrize("name", ["resnet18", "tu-resnet18"])
def test_weights_of_a_deeper_network_of_the_family_are_refused(tmp_path: Path, name: str) -> None:
    """Every tensor of resnet18 stands in a file of resnet34, in its shape."""
    write(tmp_path / "deeper.pt", encoder_state(name.replace("18", "34")))
    with pytest.raises(TrainError, match=rf"deeper.pt: does not fit {name}. Unexpected key.*layer1.2.conv1.weight"):
        build(3, encoder=name, weights=str(tmp_path / "deeper.pt"))


def test_weights_are_left_out_where_a_checkpoint_follows(tmp_path: Path) -> None:
    plain, unread = build(pretrained=False), build(pretrained=False, weights=str(tmp_path / "gone.pt"))
    assert torch.equal(plain.get_parameter("encoder.conv1.weight"), unread.get_parameter("encoder.conv1.weight"))


def test_torchvisions_head_is_left_out(tmp_path: Path) -> None:
    state = encoder_state("resnet18") | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    write(tmp_path / "weights.pth", {"state_dict": state})
    build(weights=str(tmp_path / "weights.pth"))


@pytest.mark.parametrize("name", ["resnet18", TINY])
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path, name: str) -> None:
    state = encoder_state(name)
    kept = dict(list(state.items())[1:]) | {"extra.weight": torch.zeros(1)}
    write(tmp_path / "weights.pt", kept)
    first = next(iter(state)).removeprefix("model.")
    with pytest.raises(TrainError, match=rf"weights.pt: does not fit {name}. Missing .*{first}.*extra.weight"):
        build(3, encoder=name, weights=str(tmp_path / "weights.pt"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"no weights", "cannot be read"),
        ([1, 2], "no tensors by name"),
        ({}, "no tensors by name"),
    ],
)
@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_files_that_hold_no_weights_are_refused(tmp_path: Path, name: str, content: Any, message: str) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(TrainError, match=message if name.endswith("pt") else "cannot be read"):
        build(weights=str(path))


def test_nothing_is_unpickled_from_weights(tmp_path: Path) -> None:
    torch.save({"conv1.weight": Intruder(tmp_path / "been here")}, tmp_path / "weights.pt")
    with pytest.raises(TrainError, match="cannot be read as weights"):
        build(weights=str(tmp_path / "weights.pt"))
    assert not (tmp_path / "been here").exists()


@pytest.mark.parametrize(("encoder", "weights"), [("resnet18", "imagenet"), ("tu-resnet18", "a2_in1k")])
def test_a_failing_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch, encoder: str, weights: str) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise FileNotFoundError("no connection\nat all")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", fail)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", fail)
    for make in (build_model, build_classifier)[: 1 if encoder == "resnet18" else 2]:
        with pytest.raises(
            TrainError, match=rf"'{weights}' of {encoder} cannot be downloaded \(no connection\).*to the file"
        ):
            make(ModelConfig(encoder=encoder, weights=weights), 1, 2)


@pytest.mark.parametrize("weights", ["imagenet", "a2_in1k"])
def test_a_tag_of_timm_names_what_is_downloaded(monkeypatch: pytest.MonkeyPatch, weights: str) -> None:
    asked = []
    state = timm().create_model("resnet18", pretrained=False).state_dict()

    def download(repository: str, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        asked.append(repository)
        return dict(state)

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", download)
    net = build(3, encoder="tu-resnet18", weights=weights)
    assert asked == ["timm/resnet18.a1_in1k" if weights == "imagenet" else "timm/resnet18.a2_in1k"]
    assert torch.equal(net.get_parameter("encoder.model.conv1.weight"), state["conv1.weight"])


class Intruder:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def write(path: Path, state: dict[str, Any]) -> None:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)


def check_encoder(found: dict[str, Tensor], given: dict[str, Tensor], channels: int) -> None:
    """The encoder holds the given tensors, summed over the colours where it takes one channel."""
    assert list(found) == list(given)
    for key, value in given.items():
        gray = channels == 1 and value.ndim == 4 and value.shape[1] == 3
        expected = value.sum(1, keepdim=True) if gray else value
        assert torch.allclose(found[key], expected, rtol=1e-6), key
