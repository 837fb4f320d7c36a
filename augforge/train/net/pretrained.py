"""Pretrained weights: published ones by name, or files, of which every tensor must fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from augforge.errors import TrainError, first_line, nearest
from augforge.train.net.vision import smp, timm

State = dict[str, Tensor]

TIMM = "tu-"
"""The prefix of timm's encoders in SMP."""
_FILES = (".safetensors", ".pt", ".pth")


def is_file(weights: str) -> bool:
    """Whether configured weights are a file, rather than the name of published ones."""
    return weights.endswith(_FILES)


def find_published(encoder: str, weights: str) -> tuple[str, str | bool]:
    """The encoder and its weights as SMP takes them: a name of SMP, or a tag of timm (`imagenet`: the default tag)."""
    if encoder.startswith(TIMM):
        tags = (name.partition(".")[2] for name in timm().list_pretrained(encoder.removeprefix(TIMM) + ".*"))
        known = ["imagenet", *tags]
        result: tuple[str, str | bool] = (encoder if weights == "imagenet" else f"{encoder}.{weights}", True)
    else:
        known = list(smp().encoders.encoders[encoder]["pretrained_settings"])
        result = (encoder, weights)
    if weights not in known:
        raise TrainError(
            f"model.weights: {encoder} has no published weights called '{weights}'; expected such a name, or a "
            f"{' or '.join(_FILES)} file.{nearest(weights, known)}"
        )
    return result


def fill_encoder(model: nn.Module, encoder: str, file: Path) -> None:
    """Load a file into the encoder of a network of SMP.

    The file holds an encoder's tensors, or a whole network's, of which those named ``encoder.`` are used.

    Raises:
        TrainError: the file holds no weights, or a tensor is missing, left over or of another shape.
    """
    state = _read_weights(file)
    part = {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")} or state
    own = model.get_submodule("encoder")
    _load_state(own, _rename_from_timm(part, own, encoder) if encoder.startswith(TIMM) else part, encoder, file)


def fill_classifier(model: nn.Module, encoder: str, file: Path) -> None:
    """Load a file into a classifier of timm, except a last layer for other labels; raises like `fill_encoder`."""
    state, own = _read_weights(file), model.state_dict()
    last = [key for key in own if key.rpartition(".")[0] in _classifier_layers(model)]
    kept = {key: own[key] for key in last if key not in state or state[key].shape != own[key].shape}
    _load_state(model, {**state, **kept}, encoder, file)


def _read_weights(file: Path) -> State:
    """The tensors of a file; no code in it is executed."""
    if not file.is_file():
        raise TrainError(f"{file}: no such file; expected the encoder's weights. Check model.weights")
    try:
        content = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, SafetensorError, UnpicklingError) as caught:
        raise TrainError(
            f"{file}: cannot be read as weights ({first_line(caught)}); expected tensors by name and nothing else. "
            "Save them by safetensors, or by torch.save(model.state_dict(), file)"
        ) from None
    content = next(
        (content[key] for key in ("state_dict", "model") if isinstance(content, dict) and key in content), content
    )
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise TrainError(f"{file}: holds no tensors by name. Save them by torch.save(model.state_dict(), file)")
    return content


def _rename_from_timm(state: State, own: nn.Module, encoder: str) -> State:
    """Rename the tensors of a timm file to the names of its feature extractor, which joins some parts by ``_``.

    Tensors of the whole network that the extractor lacks, such as its head, are dropped. Tensors that neither has are
    kept, so that loading them fails with a message.
    """
    names = {_flatten_key(key): key for key in own.state_dict()}
    whole = {_flatten_key(key) for key in timm().create_model(encoder.removeprefix(TIMM)).state_dict()}
    flat = {key: _flatten_key(key) for key in state}
    kept = (key for key in state if flat[key] in names or flat[key] not in whole)
    return {names.get(flat[key], key): state[key] for key in kept}


def _flatten_key(key: str) -> str:
    return key.removeprefix("model.").replace(".", "_")


def _classifier_layers(model: nn.Module) -> tuple[str, ...]:
    names = cast("dict[str, Any]", model.pretrained_cfg).get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def _load_state(model: nn.Module, state: State, encoder: str, file: Path) -> None:
    try:
        model.load_state_dict(sum_colours(state, model.state_dict()))
    except RuntimeError as caught:
        lines = [line.strip() for line in str(caught).splitlines()[1:5]]
        short = "; ".join(line if len(line) <= 160 else line[:157] + "..." for line in lines)
        raise TrainError(
            f"{file}: does not fit {encoder}. {short} Set model.encoder to what the weights are of"
        ) from None


def sum_colours(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> State:
    """Weights by name, those of three channels summed, as SMP and timm do, where the network's own have one."""
    return {
        key: value.sum(1, keepdim=True) if key in own and _needs_gray(own[key], value) else value
        for key, value in given.items()
    }


def _needs_gray(own: Tensor, given: Tensor) -> bool:
    """Whether a layer of one channel gets weights of three."""
    return given.ndim == 4 and own.shape == (given.shape[0], 1, *given.shape[2:]) and given.shape[1] == 3
