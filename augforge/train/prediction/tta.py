"""Test-time augmentation: predict several views of an image, turn the predictions back, and average them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from augforge.errors import TrainError, nearest

Pairs = Sequence[tuple[str, str]]
"""Pairs of left and right classes, by name."""

STRIDE = 32
"""The sides of a network's input are multiples of it."""

_SCALE = re.compile(r"scale(\d+(?:\.\d+)?)")
_TURN = re.compile(r"turn(90|180|270)")
_BRIGHTNESS = re.compile(r"brightness([+-]\d+(?:\.\d+)?)")
_SMALLEST, _LARGEST = 0.25, 4.0


@dataclass(frozen=True, slots=True)
class View:
    """A transform of images whose effect on predictions can be undone.

    Attributes:
        transform: images (N, ch, h, w) to the network's input.
        undo: probabilities (N, C, h', w') of the transformed images, to those of the images, of their size (h, w).
    """

    transform: Callable[[Tensor], Tensor]
    undo: Callable[[Tensor, Sequence[int]], Tensor]


def build_views(names: Sequence[str], outputs: Sequence[str], swap: Pairs | None = None) -> list[View]:
    """The view of the image as it is, and one more for each name.

    Args:
        names: ``hflip``, ``vflip``, ``turn90``, ``turn180``, ``turn270`` (counter-clockwise), ``scale`` and a factor
            from 0.25 to 4, such as ``scale1.25``, or ``brightness`` and what to add, such as ``brightness+0.2``. A
            scaled image's sides are rounded to multiples of 32. Brightness is added to the normalised image: in
            deviations of its gray values, or with ``normalise: unit`` in shares of the whole range.
        outputs: classes that the network predicts, in order.
        swap: pairs of classes that ``hflip`` exchanges; may be empty. None is an error if ``hflip`` is named and names
            of outputs differ in left and right alone: nobody has said then whether to exchange them.

    Raises:
        TrainError: an unknown or duplicate name, or classes that do not fit.
    """
    if len(set(names)) < len(names):
        raise TrainError(f"tta is {', '.join(names)}; expected each augmentation once. Leave out duplicates")
    return [
        View(lambda images: images, lambda probabilities, size: probabilities),
        *(_view(name, outputs, swap) for name in names),
    ]


def average_views(network: Callable[[Tensor], Tensor], images: Tensor, views: Sequence[View]) -> Tensor:
    """The mean prediction of all views: images (N, ch, h, w) to probabilities (N, C, h, w)."""
    size = images.shape[2:]
    total = views[0].undo(network(views[0].transform(images)), size)
    for view in views[1:]:
        total = total + view.undo(network(view.transform(images)), size)
    return total / len(views)


def _view(name: str, outputs: Sequence[str], swap: Pairs | None) -> View:
    if name == "hflip":
        order = _mirrored_order(outputs, swap)
        return View(lambda images: images.flip(-1), lambda probabilities, size: probabilities[:, order].flip(-1))
    if name == "vflip":
        return View(lambda images: images.flip(-2), lambda probabilities, size: probabilities.flip(-2))
    if turn := _TURN.fullmatch(name):
        return _turned(int(turn.group(1)) // 90)
    if brightness := _BRIGHTNESS.fullmatch(name):
        added = float(brightness.group(1))
        return View(lambda images: images + added, lambda probabilities, size: probabilities)
    scale = _SCALE.fullmatch(name)
    if scale is None or not _SMALLEST <= float(scale.group(1)) <= _LARGEST:
        known = ("hflip", "vflip", "turn90", "turn180", "turn270", "scale0.75", "scale1.25", "brightness+0.2")
        raise TrainError(
            f"no test-time augmentation is named '{name}'.{nearest(name, known)} Expected hflip, vflip, turn90, "
            f"turn180, turn270, scale with a factor from {_SMALLEST} to {_LARGEST:g}, such as scale1.25, or brightness "
            "with what to add, such as brightness+0.2"
        )
    factor = float(scale.group(1))
    return View(lambda images: _resize(images, _round_size(images.shape[2:], factor)), _resize)


def _turned(quarters: int) -> View:
    """A view turned by quarters, counter-clockwise; a turned image is no mirror image, so sides stay."""
    return View(
        lambda images: images.rot90(quarters, (-2, -1)),
        lambda probabilities, size: probabilities.rot90(-quarters, (-2, -1)),
    )


def _round_size(size: Sequence[int], factor: float) -> list[int]:
    return [max(1, round(side * factor / STRIDE)) * STRIDE for side in size]


def _resize(images: Tensor, size: Sequence[int]) -> Tensor:
    return functional.interpolate(images, list(size), mode="bilinear", align_corners=False, antialias=True)


def _mirrored_order(outputs: Sequence[str], swap: Pairs | None) -> Tensor:
    """For each output, the index of the output that the mirrored image shows in its place."""
    if swap is None:
        _check_no_sides(outputs)
    order = list(range(len(outputs)))
    for pair in swap or ():
        for name, other in (pair, pair[::-1]):
            c, d = _index(name, outputs), _index(other, outputs)
            if order[c] != c or c == d:
                raise TrainError(f"swap names {name} twice; expected each class in one pair of two different classes")
            order[c] = d
    return torch.tensor(order)


def _index(name: str, outputs: Sequence[str]) -> int:
    if name not in outputs:
        raise TrainError(f"swap names '{name}', which the model does not predict.{nearest(name, outputs)}")
    return outputs.index(name)


def _check_no_sides(outputs: Sequence[str]) -> None:
    """Raise TrainError if names differ in left and right alone: only a person knows what mirroring makes of them."""
    pairs = ((name, re.sub("left", "right", name)) for name in outputs)
    pair = next(((name, other) for name, other in pairs if name != other and other in outputs), None)
    if pair is not None:
        raise TrainError(
            f"a mirrored {pair[0]} looks like a {pair[1]}; expected hflip to be told which classes to exchange back. "
            f"Name all such pairs: --swap {pair[0]}:{pair[1]}, or say that there are none: --swap none"
        )
