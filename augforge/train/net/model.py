"""Networks by name: segmentation-models-pytorch for masks, timm for labels."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from augforge.errors import TrainError, nearest
from augforge.train.net.pretrained import TIMM, fill_classifier, fill_encoder, first_line, is_file, published
from augforge.train.net.vision import smp, timm

if TYPE_CHECKING:
    from augforge.train.config import ModelConfig

Numbers = tuple[float, ...]

_OURS = ("encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params")
"""Arguments of an architecture that the configuration says elsewhere, or that would change what the network gives."""
_REFUSALS = (AssertionError, AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What the libraries raise where parts do not go together."""


def build_model(config: ModelConfig, channels: int, outputs: int, *, pretrained: bool = True) -> nn.Module:
    """A segmentation network: float (N, channels, H, W), sides multiples of 32, to logits (N, outputs, H, W).

    Args:
        config: names the architecture, its encoder and the encoder's weights.
        channels: of the input; a first layer of 1 gets the sum of pretrained weights for 3.
        outputs: classes.
        pretrained: False leaves the configured weights out, for a network that is filled from a checkpoint.

    Raises:
        TrainError: a name or an option is unknown, the parts do not go together, or the weights cannot be had.
    """
    architecture = _architecture(config)
    _check_encoder(config.encoder)
    _check_options(config, architecture)
    name, weights = _wanted(config, config.encoder, pretrained)
    model = _made(
        config,
        lambda: architecture(name, encoder_weights=weights, in_channels=channels, classes=outputs, **config.options),
    )
    if (file := _file(config)) and pretrained:
        fill_encoder(model, config.encoder, file)
    return model


def build_classifier(config: ModelConfig, channels: int, outputs: int, *, pretrained: bool = True) -> nn.Module:
    """A classification network of timm, named by `encoder`: float (N, channels, H, W) to logits (N, outputs).

    Arguments and errors are those of `build_model`.
    """
    encoder = TIMM + config.encoder.removeprefix(TIMM)
    _check_encoder(encoder)
    name, weights = _wanted(config, encoder, pretrained)
    settings = {"pretrained": bool(weights), "in_chans": channels, "num_classes": outputs}
    model = _made(config, lambda: timm().create_model(name.removeprefix(TIMM), **settings, **config.options))
    if (file := _file(config)) and pretrained:
        fill_classifier(model, encoder, file)
    return model


def encoder_normalisation(config: ModelConfig, channels: int) -> tuple[Numbers, Numbers]:
    """Mean and deviation, in the range 0 to 1, that the encoder's published weights were trained with.

    A number for each channel; gray gets the mean over the colours.

    Raises:
        TrainError: no encoder has that name.
    """
    name = config.encoder
    if name in smp().encoders.encoders:
        constants = vars(import_module(f"{timm().__name__}.data.constants"))
        kind = _pretraining(name, config.weights)
        mean, deviation = constants[f"IMAGENET_{kind}_MEAN"], constants[f"IMAGENET_{kind}_STD"]
    else:
        _check_encoder(TIMM + name.removeprefix(TIMM))
        settings = timm().models.get_pretrained_cfg(name.removeprefix(TIMM))
        mean, deviation = settings.mean, settings.std
    return _of_channels(mean, channels), _of_channels(deviation, channels)


def _architecture(config: ModelConfig) -> Any:
    known = smp().MODEL_ARCHITECTURES_MAPPING
    if config.architecture.lower() not in known:
        hint = nearest(config.architecture, known)
        raise TrainError(f"model.architecture: no architecture is called '{config.architecture}'.{hint}")
    return known[config.architecture.lower()]


def _check_encoder(name: str) -> None:
    models = timm()
    if name in smp().encoders.encoders or (name.startswith(TIMM) and models.is_model(name.removeprefix(TIMM))):
        return
    known = [*smp().encoders.encoders, *(TIMM + model for model in models.list_models())]
    raise TrainError(f"model.encoder: no encoder is called '{name}'.{nearest(name, known)}")


def _check_options(config: ModelConfig, architecture: Any) -> None:
    """Refuse options that the architecture does not have; those of a timm encoder are timm's to check."""
    known = set(inspect.signature(architecture.__init__).parameters) - {"self", "kwargs", *_OURS}
    for option in config.options:
        if option in _OURS:
            raise TrainError(f"model.options.{option}: not to be set here. Use the keys of model and data")
        if option not in known and not config.encoder.startswith(TIMM):
            hint = nearest(option, known)
            raise TrainError(f"model.options.{option}: {architecture.__name__} has no such option.{hint}")


def _wanted(config: ModelConfig, encoder: str, pretrained: bool) -> tuple[str, str | bool | None]:
    """The encoder's name and published weights; none where they are of a file, or not wanted."""
    if not config.weights or is_file(config.weights) or not pretrained:
        return encoder, None
    return published(encoder, config.weights)


def _file(config: ModelConfig) -> Path | None:
    return Path(config.weights) if config.weights and is_file(config.weights) else None


def _made(config: ModelConfig, make: Callable[[], nn.Module]) -> nn.Module:
    """What `make` builds; whatever the libraries raise is told as a TrainError."""
    try:
        return make()
    except OSError as caught:
        raise TrainError(
            f"model.weights: '{config.weights}' of {config.encoder} cannot be downloaded ({first_line(caught)}). "
            "Download them where there is a network and set model.weights to the file; null is random weights"
        ) from caught
    except _REFUSALS as caught:
        raise TrainError(
            f"model: {config.architecture} with encoder {config.encoder} cannot be built: {first_line(caught)}. "
            "Change the encoder, the architecture or its options"
        ) from caught


def _pretraining(encoder: str, weights: str | None) -> str:
    """Of SMP's encoders, which came from several libraries: the name of timm's constants."""
    if encoder.startswith(("inception", "xception")) or weights == "advprop":
        return "INCEPTION"
    return "DPN" if encoder.startswith("dpn") else "DEFAULT"


def _of_channels(values: Iterable[float], channels: int) -> Numbers:
    numbers = tuple(values)
    return numbers if channels == len(numbers) else (sum(numbers) / len(numbers),) * channels
