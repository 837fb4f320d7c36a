"""Importing segmentation-models-pytorch and timm, even if torchvision's compiled part does not load.

Both import torchvision, and a torchvision built for another torch (its CUDA build beside a CPU torch) fails to import:
``operator torchvision::nms does not exist``. Nothing here calls that operator; declaring it is enough.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from augforge.errors import MissingExtra

_PACKAGES = ("segmentation_models_pytorch", "timm", "torch", "torchvision")


def torchvision() -> ModuleType:
    """The module torchvision; MissingExtra if it is not installed."""
    _load_torchvision()
    return _load("torchvision")


def smp() -> ModuleType:
    """The module segmentation_models_pytorch; MissingExtra if it is not installed."""
    return _load("segmentation_models_pytorch")


def timm() -> ModuleType:
    """The module timm, with timm.optim; MissingExtra if it is not installed."""
    module = _load("timm")
    _load("timm.optim")
    return module


@cache
def _load(module: str) -> ModuleType:
    try:
        _load_torchvision()
        return import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name not in _PACKAGES:
            raise
        raise MissingExtra(missing.name.replace("_", "-"), "train", "the trainer") from None


@cache
def _load_torchvision() -> Any:
    """Import torchvision; the returned object keeps the declared operators alive."""
    try:
        return import_module("torchvision")
    except RuntimeError as caught:
        if "torchvision::nms" not in str(caught):
            raise
    operators = import_module("torch.library").Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import_module("torchvision")
    return operators
