"""Test-time augmentation: predict several views of an image, turn the predictions back, and average them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from augforge.errors import TrainError, nearest, some
from augforge.ops.sides import Sides, mirror_order, warn_of_found_sides

Pairs = Sequence[tuple[str, str]]
"""Pairs of left and right classes, by name."""

STRIDE = 32
"""The sides of a network's input are multiples of it."""

_SCALE = re.compile(r"scale(\d+(?:\.\d+)?)")
_TURN = re.compile(r"turn(90|180|270)")
_BRIGHTNESS = re.compile(r"brightness([+-]\d+(?:\.\d+)?)")
_SMALLEST, _LARGEST = 0.25, 4.0


@dataclass(frozen=True, slots=True)
class Variant:
    """What makes a view: a transform of images whose effect on predictions can be undone.

    Attributes:
        transform: images (N, ch, h, w) to the network's input.
        undo: probabilities (N, C, h', w') of the transformed images, to those of the images, of their size (h, w).
    """

    transform: Callable[[Tensor], Tensor]
    undo: Callable[[Tensor, Sequence[int]], Tensor]


def build_views(
    names: Sequence[str], outputs: Sequence[str], swap: Pairs | None = None, sides: Sides | None = None
) -> list[Variant]:
    """The view of the image as it is, and one more for each name.

    Args:
        names: ``hflip``, ``vflip``, ``turn90``, ``turn180``, ``turn270`` (counter-clockwise), ``scale`` and a factor
            from 0.25 to 4, such as ``scale1.25``, or ``brightness`` and what to add, such as ``brightness+0.2``. A
            scaled image's sides are rounded to multiples of 32. Brightness is added to the normalised image: in
            deviations of its gray values, or with ``normalise: unit`` in shares of the whole range.
        outputs: classes that the network predicts, in order.
        swap: pairs of outputs that a mirror exchanges, ``hflip`` or ``vflip``; may be empty. None takes the sides.
        sides: of the outputs; None to go by their names alone.

    Raises:
        TrainError: an unknown or duplicate name, or classes that do not fit.
    """
    if len(set(names)) < len(names):
        raise TrainError(f"tta is {', '.join(names)}; expected each augmentation once. Leave out duplicates")
    return [
        Variant(lambda images: images, lambda probabilities, size: probabilities),
        *(_view(name, outputs, swap, sides or Sides()) for name in names),
    ]


def side_warnings(
    names: Sequence[str], outputs: Sequence[str], swap: Pairs | None = None, sides: Sides | None = None
) -> list[str]:
    """What to tell of the pairs that `build_views` exchanges, if only their names show them to be sides."""
    if swap is not None or not any(name in _AXES for name in names):
        return []
    return warn_of_found_sides((sides or Sides()).complete(outputs).among(outputs), "--tta exchanges", "--swap none")


def average_views(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    views: Sequence[Variant],
    size: Sequence[int] | None = None,
) -> Tensor:
    """The mean prediction of all views: images (N, ch, h, w) to probabilities (N, C, h, w), or of another size.

    Raises:
        TrainError: a probability is no number. It would be taken for absent, or for the first of alternatives.
    """
    size = images.shape[2:] if size is None else size
    total = views[0].undo(network(views[0].transform(images)), size)
    for view in views[1:]:
        total = total + view.undo(network(view.transform(images)), size)
    if not total.isfinite().all():
        raise TrainError(
            "the network gives probabilities that are no numbers (NaN): its weights are damaged, its training "
            "diverged, or numbers overflow in half precision. Take other weights of the run, such as --weights last, "
            "or train with precision: fp32, or anew with a lower rate"
        )
    return total / len(views)


_AXES = {"hflip": -1, "vflip": -2}
"""The axis of images (N, ch, h, w) that each mirror reverses."""


def _view(name: str, outputs: Sequence[str], swap: Pairs | None, sides: Sides) -> Variant:
    if name in _AXES:
        order, axis = _mirrored_order(outputs, swap, sides), _AXES[name]
        return Variant(lambda images: images.flip(axis), lambda probabilities, size: probabilities[:, order].flip(axis))
    if turn := _TURN.fullmatch(name):
        return _turned(int(turn.group(1)) // 90)
    if brightness := _BRIGHTNESS.fullmatch(name):
        added = float(brightness.group(1))
        return Variant(lambda images: images + added, lambda probabilities, size: probabilities)
    scale = _SCALE.fullmatch(name)
    if scale is None or not _SMALLEST <= float(scale.group(1)) <= _LARGEST:
        known = ("hflip", "vflip", "turn90", "turn180", "turn270", "scale0.75", "scale1.25", "brightness+0.2")
        raise TrainError(
            f"no test-time augmentation is named '{name}'.{nearest(name, known)} Expected hflip, vflip, turn90, "
            f"turn180, turn270, scale with a factor from {_SMALLEST} to {_LARGEST:g}, such as scale1.25, or brightness "
            "with what to add, such as brightness+0.2"
        )
    factor = float(scale.group(1))
    return Variant(lambda images: _resize(images, _round_size(images.shape[2:], factor)), _resize)


def _turned(quarters: int) -> Variant:
    """A view turned by quarters, counter-clockwise; a turned image is no mirror image, so sides stay."""
    return Variant(
        lambda images: images.rot90(quarters, (-2, -1)),
        lambda probabilities, size: probabilities.rot90(-quarters, (-2, -1)),
    )


def _round_size(size: Sequence[int], factor: float) -> list[int]:
    return [max(1, round(side * factor / STRIDE)) * STRIDE for side in size]


def _resize(images: Tensor, size: Sequence[int]) -> Tensor:
    return functional.interpolate(images, list(size), mode="bilinear", align_corners=False, antialias=True)


def _mirrored_order(outputs: Sequence[str], swap: Pairs | None, sides: Sides) -> Tensor:
    """For each output, the index of the output that the mirrored image shows in its place."""
    if swap is not None:
        _check_swap(outputs, swap)
        return torch.tensor(mirror_order(outputs, swap))
    known = sides.complete(outputs)
    alone = [name for pair in known.pairs if len({*pair} & {*outputs}) == 1 for name in pair if name in outputs]
    alone += [name for name in known.alone if name in outputs]
    if alone:
        raise TrainError(
            f"a mirror puts {some(alone)} on the other side, and the model predicts no counterpart of that name. "
            f"Name the pairs, such as --swap {alone[0]}:OTHER, or say that nothing is to be exchanged: --swap none"
        )
    return torch.tensor(mirror_order(outputs, known.pairs))


def _check_swap(outputs: Sequence[str], swap: Pairs) -> None:
    """Raise TrainError unless each pair names two different outputs, none in two pairs."""
    seen: set[str] = set()
    for name in (name for pair in swap for name in pair):
        if name not in outputs:
            raise TrainError(f"swap names '{name}', which the model does not predict.{nearest(name, outputs)}")
        if name in seen:
            raise TrainError(f"swap names {name} twice; expected each class in one pair of two different classes")
        seen.add(name)
