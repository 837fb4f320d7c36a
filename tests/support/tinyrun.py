"""A network and settings small enough for tests: half a million weights, 64 pixels, no loading processes."""

from __future__ import annotations

from augforge.train.config import TrainConfig, load_config

NETWORK = (
    "model.encoder=tu-test_resnet",
    "model.architecture=unet",
    "model.options={decoder_channels: [32, 16, 8, 8, 4]}",
    "data.size=64",
    "data.workers=0",
    "precision=fp32",
)
TINY = (*NETWORK, "data.batch_size=2", "epochs=2")


def config(*overrides: str) -> TrainConfig:
    return load_config(None, (*TINY, *overrides))


def settings(*overrides: str) -> list[str]:
    """Overrides as the command line takes them."""
    return [part for override in overrides for part in ("--set", override)]
