"""The part of the contract test of ops that traces a planted square: placements must lead to where its pixels are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.ops.contract_samples import Call, Case, replace_class, require
from augforge.sample import IDENTITY, Box, Placement, Sample

SQUARE = 24
"""Pixels of the planted square's side."""
SQUARE_CLASS = 8
COPIES = 12
"""How often an op that draws is called: chance may hide the square."""

Flags = NDArray[np.bool_]


def check_placements_lead_to_the_pixels(case: Case) -> None:
    """A bright square of one class, planted in one input, lies where the matrix says: in image and masks."""
    seen = 0
    for slot in case.slots:
        for copy in range(COPIES if case.op.draw else 1):
            seen += _check_call(Call(case, _planted_inputs(case, slot), copy=copy), slot)
    require(seen, "the planted square was never seen whole: choose an example that shows it")


def _check_call(call: Call, slot: int) -> int:
    """Check the outputs of a call. Returns in how many of them the square was seen whole."""
    seen = 0
    dark = call.results([replace(s, image=np.zeros_like(s.image)) for s in call.inputs])
    for made, without in zip(call.results(), dark, strict=True):
        if isinstance(made, Sample) and isinstance(without, Sample):
            # An input that passes on unchanged has no placements of its own: it fills itself.
            placed = replace(made, placements=(_filling(made),)) if made in call.inputs else made
            _check_placements(placed, call.inputs)
            seen += _check_square(call.case, placed, without, call.inputs, slot)
    return seen


def _planted_inputs(case: Case, slot: int) -> list[Sample]:
    """Black images with some masks, and one bright square of SQUARE_CLASS in the image of that slot."""
    inputs = []
    for i, sample in enumerate(case.inputs(128, 160)):
        image, masks = np.zeros_like(sample.image), bitmask.keep(sample.masks, bitmask.select_bits(range(8), 9))
        if i == slot:
            x, y = _planted_at(sample)
            image[y : y + SQUARE, x : x + SQUARE] = 255
            masks = replace_class(masks, SQUARE_CLASS, image)
        inputs.append(replace(sample, image=image, masks=masks))
    return inputs


def _planted_at(sample: Sample) -> tuple[int, int]:
    """The square's top left pixel: off the centre, so that a mirrored matrix shows."""
    return sample.width // 2 - 20, sample.height // 2 - 9


def _filling(sample: Sample) -> Placement:
    return Placement(IDENTITY, (0, 0, sample.width, sample.height))


def _check_placements(made: Sample, inputs: Sequence[Sample]) -> None:
    found = made.placements
    require(found, "an output has no placements; pass `matrix=` or `placements=` to `derive`")
    require(len(set(found)) == len(found), f"duplicate placements: {found}")
    require({p.input for p in found} <= set(range(len(inputs))), f"placements name inputs that are not there: {found}")
    for x0, y0, x1, y1 in (placement.clip for placement in found):
        inside = 0 <= x0 <= x1 <= made.width and 0 <= y0 <= y1 <= made.height
        require(inside, f"clip box {(x0, y0, x1, y1)} is not inside the output of {made.width}x{made.height}")
    json.dumps([[placement.matrix, placement.clip] for placement in found])


def _check_square(case: Case, made: Sample, dark: Sample, inputs: Sequence[Sample], slot: int) -> bool:
    """Check the planted square; False where it does not show whole, and so has no centre to compare.

    ``dark`` is made of the same inputs without the square's light, so that the difference is the square.
    """
    mask, bright = bitmask.class_mask(made.masks, SQUARE_CLASS).astype(bool), _brightened(made, dark)
    own = [placement for placement in made.placements if placement.input == slot]
    inside = _inside([placement.clip for placement in own], mask.shape)
    require(not (bright & ~inside).any(), "the image shows an input where no placement says so")
    require(not (mask & ~inside).any(), "the masks show an input where no placement says so")
    if len(own) != 1:
        return False
    if case.op.examples.hides:
        cleared = bool(case.params.model_dump().get("masks") == "clear")
        require(cleared or not (bright & ~mask).any(), "the image shows the square where the masks do not")
        return bool(bright.any() and np.ptp(np.argwhere(bright), axis=0).max() < SQUARE)
    corners = _square_corners(inputs[slot], own[0])
    if not _is_within(corners, own[0].clip):
        return False
    others = [placement for placement in made.placements if placement is not own[0]]
    if any(_meets(corners, placement.clip) for placement in others) and mask.sum() < 0.95 * SQUARE**2:
        return False  # something was laid over it
    _check_centres(mask, bright, corners)
    return True


def _check_centres(mask: Flags, bright: Flags, corners: NDArray[np.float64]) -> None:
    expected = corners.mean(axis=0)
    np.testing.assert_allclose(_centre(mask), expected, atol=1, err_msg="the masks are not where the matrix says")
    np.testing.assert_allclose(_centre(bright), _centre(mask), atol=1, err_msg="image and masks moved differently")
    together = not (bright & ~_grown(mask)).any() and not (mask & ~_grown(bright)).any()
    require(together, "image and masks show the square at different pixels")


def _brightened(made: Sample, dark: Sample) -> Flags:
    """Where the square's light is: over half of the greatest difference."""
    light = np.abs(made.image.astype(int) - dark.image)
    return np.asarray((light > light.max() / 2) & (light > 2), bool)


def _inside(clips: Sequence[Box], shape: tuple[int, ...]) -> Flags:
    inside = np.zeros(shape, bool)
    for x0, y0, x1, y1 in clips:
        inside[y0:y1, x0:x1] = True
    return inside


def _grown(mask: Flags) -> Flags:
    """The mask and its 8 neighbours."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)), bool)


def _square_corners(sample: Sample, placement: Placement) -> NDArray[np.float64]:
    """Corners (4, 2) of the planted square in the output."""
    x, y = _planted_at(sample)
    corners = [(u - 0.5, v - 0.5, 1) for u in (x, x + SQUARE) for v in (y, y + SQUARE)]
    return np.asarray(np.array(corners) @ np.array(placement.matrix).T, np.float64)


def _is_within(corners: NDArray[np.float64], clip: Box) -> bool:
    return bool((corners > np.array(clip[:2]) - 0.51).all() and (corners < np.array(clip[2:]) - 0.49).all())


def _meets(corners: NDArray[np.float64], clip: Box) -> bool:
    low, high = corners.min(axis=0), corners.max(axis=0)
    return bool((low < np.array(clip[2:]) - 0.5).all() and (high > np.array(clip[:2]) - 0.5).all())


def _centre(mask: Flags) -> Any:
    """Centre x, y of the pixels set."""
    require(mask.any(), "nothing of the square shows, though the placement says so")
    return np.argwhere(mask).mean(axis=0)[::-1]
