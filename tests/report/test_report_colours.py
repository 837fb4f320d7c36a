"""Colours: as many as classes, apart from each other and from gray."""

from __future__ import annotations

import numpy as np
import pytest

from augforge.report.colours import MAX_CLASSES, colour_of, oklab, palette


def test_every_class_has_a_colour_of_its_own() -> None:
    assert palette().shape == (MAX_CLASSES, 3)
    assert palette().dtype == np.uint8
    assert len(np.unique(palette(), axis=0)) == MAX_CLASSES


def test_neighbouring_classes_contrast() -> None:
    steps = np.linalg.norm(np.diff(oklab(palette()), axis=0), axis=1)
    assert steps.min() > 0.15  # about 0.02 is just noticeable


@pytest.mark.parametrize(("count", "apart"), [(8, 0.2), (29, 0.09), (256, 0.025)])
def test_the_first_colours_are_far_apart(count: int, apart: float) -> None:
    lab = oklab(palette()[:count])
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    assert distances[~np.eye(count, dtype=bool)].min() > apart


def test_no_colour_is_gray_or_dark() -> None:
    lab = oklab(palette())
    assert np.hypot(lab[:, 1], lab[:, 2]).min() >= 0.1
    assert lab[:, 0].min() >= 0.58


def test_colours_are_stable() -> None:
    assert [colour_of(c) for c in range(4)] == [(240, 0, 0), (0, 255, 120), (0, 120, 255), (255, 192, 255)]
