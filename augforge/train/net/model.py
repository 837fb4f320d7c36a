"""Networks by name: segmentation-models-pytorch for masks, timm for labels."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from augforge.errors import TrainError, first_line, nearest
from augforge.train.net.heads import OTHERS, build_by_factory, refuse_encoder_weights
from augforge.train.net.pretrained import TIMM, fill_classifier, fill_encoder, find_published, is_file
from augforge.train.net.vision import smp, timm

if TYPE_CHECKING:
    from augforge.train.config import ModelConfig

Numbers = tuple[float, ...]

_RESERVED_OPTIONS = ("encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params")
"""Arguments of an architecture that other keys of the configuration set, or that would change the network's output."""
_BUILD_ERRORS = (AssertionError, AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What the libraries raise if encoder, architecture and options do not fit together."""


def build_model(config: ModelConfig, channels: int, outputs: int, *, pretrained: bool = True) -> nn.Module:
    """A segmentation network: float (N, channels, H, W), sides multiples of 32, to logits (N, outputs, H, W).

    Args:
        config: names the architecture, its encoder and the encoder's weights.
        channels: of the input; with 1 channel, the first layer gets the sum of the pretrained weights for 3.
        outputs: classes.
        pretrained: False leaves the configured weights out, for a network whose weights come from a checkpoint.

    Raises:
        TrainError: a name or an option is unknown, the parts do not fit together, or the weights cannot be loaded.
    """
    other = build_by_factory if config.factory else OTHERS.get(config.architecture.lower())
    if other is not None:
        refuse_encoder_weights(config)
        return _build(config, lambda: other(config, channels, outputs))
    architecture = _find_architecture(config)
    _check_encoder(config.encoder)
    _check_options(config, architecture)
    name, weights = _published_weights(config, config.encoder, pretrained)
    model = _build(
        config,
        lambda: architecture(name, encoder_weights=weights, in_channels=channels, classes=outputs, **config.options),
    )
    if (file := _weights_file(config)) and pretrained:
        fill_encoder(model, config.encoder, file)
    return model


def build_classifier(config: ModelConfig, channels: int, outputs: int, *, pretrained: bool = True) -> nn.Module:
    """A classification network of timm, named by `encoder`: float (N, channels, H, W) to logits (N, outputs).

    Arguments and errors are those of `build_model`. `factory` makes one of one's own instead.
    """
    if config.factory:
        refuse_encoder_weights(config)
        return _build(config, lambda: build_by_factory(config, channels, outputs, whole_images=True))
    encoder = TIMM + config.encoder.removeprefix(TIMM)
    _check_encoder(encoder)
    name, weights = _published_weights(config, encoder, pretrained)
    settings = {"pretrained": bool(weights), "in_chans": channels, "num_classes": outputs}
    model = _build(config, lambda: timm().create_model(name.removeprefix(TIMM), **settings, **config.options))
    if (file := _weights_file(config)) and pretrained:
        fill_classifier(model, encoder, file)
    return model


def encoder_normalisation(config: ModelConfig, channels: int) -> tuple[Numbers, Numbers]:
    """Mean and deviation, in the range 0 to 1, that the encoder's find_published weights were trained with.

    One number per channel; gray gets the mean over the colours.

    Raises:
        TrainError: no encoder has that name.
    """
    name = config.encoder
    if config.factory:
        raise TrainError(
            "data.normalise: encoder is for encoders of segmentation-models-pytorch and timm, and model.factory makes "
            "the network. Take sample or unit"
        )
    if name in smp().encoders.encoders:
        constants = vars(import_module(f"{timm().__name__}.data.constants"))
        kind = _constants_name(name, config.weights)
        mean, deviation = constants[f"IMAGENET_{kind}_MEAN"], constants[f"IMAGENET_{kind}_STD"]
    else:
        _check_encoder(TIMM + name.removeprefix(TIMM))
        settings = timm().models.get_pretrained_cfg(name.removeprefix(TIMM))
        mean, deviation = settings.mean, settings.std
    return _adapt_to_channels(mean, channels), _adapt_to_channels(deviation, channels)


def _find_architecture(config: ModelConfig) -> Any:
    known = smp().MODEL_ARCHITECTURES_MAPPING
    if config.architecture.lower() not in known:
        hint = nearest(config.architecture, [*known, *OTHERS])
        raise TrainError(f"model.architecture: no architecture is called '{config.architecture}'.{hint}")
    return known[config.architecture.lower()]


def _check_encoder(name: str) -> None:
    models = timm()
    if name in smp().encoders.encoders or (name.startswith(TIMM) and models.is_model(name.removeprefix(TIMM))):
        return
    known = [*smp().encoders.encoders, *(TIMM + model for model in models.list_models())]
    raise TrainError(f"model.encoder: no encoder is called '{name}'.{nearest(name, known)}")


def _check_options(config: ModelConfig, architecture: Any) -> None:
    """Raise TrainError for options that the architecture does not have; timm itself checks those of its encoders."""
    known = set(inspect.signature(architecture.__init__).parameters) - {"self", "kwargs", *_RESERVED_OPTIONS}
    for option in config.options:
        if option in _RESERVED_OPTIONS:
            raise TrainError(f"model.options.{option}: not to be set here. Use the keys of model and data")
        if option not in known and not config.encoder.startswith(TIMM):
            hint = nearest(option, known)
            raise TrainError(f"model.options.{option}: {architecture.__name__} has no such option.{hint}")


def _published_weights(config: ModelConfig, encoder: str, pretrained: bool) -> tuple[str, str | bool | None]:
    """The encoder's name and its find_published weights; None for weights from a file, or for no weights."""
    if not config.weights or is_file(config.weights) or not pretrained:
        return encoder, None
    return find_published(encoder, config.weights)


def _weights_file(config: ModelConfig) -> Path | None:
    return Path(config.weights) if config.weights and is_file(config.weights) else None


def _build(config: ModelConfig, make: Callable[[], nn.Module]) -> nn.Module:
    """Call `make`, and turn whatever the libraries raise into a TrainError."""
    try:
        return make()
    except OSError as caught:
        raise TrainError(
            f"model.weights: '{config.weights}' of {config.encoder} cannot be downloaded ({first_line(caught)}). "
            "Download them where there is a network and set model.weights to the file; null is random weights"
        ) from caught
    except _BUILD_ERRORS as caught:
        what = config.factory or f"{config.architecture} with encoder {config.encoder}"
        raise TrainError(
            f"model: {what} cannot be built: {first_line(caught)}. Change the encoder, the architecture or its options"
        ) from caught


def _constants_name(encoder: str, weights: str | None) -> str:
    """The name of timm's normalisation constants for an encoder of SMP, which took encoders from several libraries."""
    if encoder.startswith(("inception", "xception")) or weights == "advprop":
        return "INCEPTION"
    return "DPN" if encoder.startswith("dpn") else "DEFAULT"


def _adapt_to_channels(values: Iterable[float], channels: int) -> Numbers:
    numbers = tuple(values)
    return numbers if channels == len(numbers) else (sum(numbers) / len(numbers),) * channels
