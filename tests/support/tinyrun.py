"""A network and settings small enough for tests: half a million weights, 64 pixels, no loading processes; and kills."""

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


class Stop(BaseException):
    """What a kill looks like from inside."""


class StopAt:
    """Progress that ends the run before it can write anything more."""

    def __init__(self, step: int) -> None:
        self.left = step

    def start(self, label: str, total: int) -> None:
        pass

    def advance(self, count: int) -> None:
        self.left -= count
        if self.left == 0 and count:
            raise Stop
