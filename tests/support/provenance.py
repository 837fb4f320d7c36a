"""Images in which every pixel says where it came from, so that what an op makes of them can be traced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from conftest import make_sample

from augforge.sample import Sample

TAKES = 12_000
"""Pixel values of one input: up to five inputs fit into 16 bits. 0 is left for pixels that come from nowhere."""


def make_traceable(slot: int = 0, height: int = 48, width: int = 64, classes: int = 9) -> Sample:
    """A sample in which pixel (y, x) of input `slot` has a value of its own."""
    assert height * width < TAKES
    values = slot * TAKES + 1 + np.arange(height * width).reshape(height, width)
    return replace(make_sample(height, width, classes, seed=slot), image=values.astype(np.uint16))


def check_provenance(made: Sample, inputs: Sequence[Sample]) -> np.ndarray:
    """Check that each pixel's masks are those of the pixel it shows, where a placement says so. Returns its input."""
    values = made.image.astype(int)
    slot, rest = (values - 1) // TAKES, (values - 1) % TAKES
    for index, given in enumerate(inputs):
        at = np.argwhere((slot == index) & (values > 0))
        y, x = np.divmod(rest[tuple(at.T)], given.width)
        np.testing.assert_array_equal(made.masks[tuple(at.T)], given.masks[y, x] & made.known)
        check_placement(made, index, np.column_stack([x, y]), at[:, ::-1])
    assert not made.masks[values == 0].any(), "a class where no input shows"
    return np.where(values > 0, slot, -1)


def check_placement(made: Sample, index: int, source: np.ndarray, target: np.ndarray) -> None:
    """Each target pixel (N, 2) lies where one of the input's placements leads its source pixel, inside its clip."""
    found = np.zeros(len(target), bool)
    for placement in (p for p in made.placements if p.input == index):
        moved = np.column_stack([source, np.ones(len(source))]) @ np.array(placement.matrix).T
        x0, y0, x1, y1 = placement.clip
        inside = ((target >= (x0, y0)) & (target < (x1, y1))).all(axis=1)
        found |= inside & (np.abs(moved - target) < 1e-9).all(axis=1)
    assert found.all()
