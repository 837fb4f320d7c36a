"""Test-time augmentation: the network sees an image in several ways, and its answers, turned back, are averaged."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from augforge.errors import TrainError, nearest

Pairs = Sequence[tuple[str, str]]
"""Left-right classes by name."""

STRIDE = 32
"""Sides of what a network sees are multiples of it."""

_SCALE = re.compile(r"scale(\d+(?:\.\d+)?)")
_SMALLEST, _LARGEST = 0.25, 4.0


@dataclass(frozen=True, slots=True)
class View:
    """A way to see images.

    Attributes:
        turn: images (N, ch, h, w) to what the network gets.
        back: probabilities (N, C, h', w') of that, to the (h, w) of the images.
    """

    turn: Callable[[Tensor], Tensor]
    back: Callable[[Tensor, Sequence[int]], Tensor]


def build_views(names: Sequence[str], outputs: Sequence[str], swap: Pairs | None = None) -> list[View]:
    """The image as it is, and one more view for each name.

    Args:
        names: ``hflip``, ``vflip``, or ``scale`` and a factor from 0.25 to 4, such as ``scale1.25``. A scaled image's
            sides are rounded to multiples of 32.
        outputs: classes that the network predicts, in order.
        swap: pairs of classes that ``hflip`` exchanges; empty: none. None: not said, an error where names of outputs
            differ in left and right alone.

    Raises:
        TrainError: an unknown name, one that stands twice, or classes that do not fit.
    """
    if len(set(names)) < len(names):
        raise TrainError(f"tta is {', '.join(names)}; expected each way once. Leave out what stands twice")
    return [View(lambda images: images, lambda found, size: found), *(_view(name, outputs, swap) for name in names)]


def average_views(network: Callable[[Tensor], Tensor], images: Tensor, ways: Sequence[View]) -> Tensor:
    """The mean of what ``network`` finds in each view: images (N, ch, h, w) to probabilities (N, C, h, w)."""
    size = images.shape[2:]
    total = ways[0].back(network(ways[0].turn(images)), size)
    for way in ways[1:]:
        total = total + way.back(network(way.turn(images)), size)
    return total / len(ways)


def _view(name: str, outputs: Sequence[str], swap: Pairs | None) -> View:
    if name == "hflip":
        order = _order(outputs, swap)
        return View(lambda images: images.flip(-1), lambda found, size: found[:, order].flip(-1))
    if name == "vflip":
        return View(lambda images: images.flip(-2), lambda found, size: found.flip(-2))
    scale = _SCALE.fullmatch(name)
    if scale is None or not _SMALLEST <= float(scale.group(1)) <= _LARGEST:
        known = ("hflip", "vflip", "scale0.75", "scale1.25")
        raise TrainError(
            f"no test-time augmentation is named '{name}'.{nearest(name, known)} Expected hflip, vflip, or scale with "
            f"a factor from {_SMALLEST} to {_LARGEST:g}, such as scale1.25"
        )
    factor = float(scale.group(1))
    return View(lambda images: _resize(images, _round_size(images.shape[2:], factor)), _resize)


def _round_size(size: Sequence[int], factor: float) -> list[int]:
    return [max(1, round(side * factor / STRIDE)) * STRIDE for side in size]


def _resize(images: Tensor, size: Sequence[int]) -> Tensor:
    return functional.interpolate(images, list(size), mode="bilinear", align_corners=False, antialias=True)


def _order(outputs: Sequence[str], swap: Pairs | None) -> Tensor:
    """Which output of the mirrored image is each output."""
    if swap is None:
        _check_no_sides(outputs)
    order = list(range(len(outputs)))
    for pair in swap or ():
        for name, other in (pair, pair[::-1]):
            c, d = _index(name, outputs), _index(other, outputs)
            if order[c] != c or c == d:
                raise TrainError(f"swap names {name} twice; expected each class in one pair of two classes")
            order[c] = d
    return torch.tensor(order)


def _index(name: str, outputs: Sequence[str]) -> int:
    if name not in outputs:
        raise TrainError(f"swap names '{name}', which the model does not predict.{nearest(name, outputs)}")
    return outputs.index(name)


def _check_no_sides(outputs: Sequence[str]) -> None:
    """Raise TrainError where names differ in left and right alone: only a person knows what a mirror makes of them."""
    pairs = ((name, re.sub("left", "right", name)) for name in outputs)
    pair = next(((name, other) for name, other in pairs if name != other and other in outputs), None)
    if pair is not None:
        raise TrainError(
            f"a mirrored {pair[0]} looks like a {pair[1]}; expected hflip to be told which classes to exchange back. "
            f"Name all such pairs: --swap {pair[0]}:{pair[1]}, or say that there are none: --swap none"
        )
