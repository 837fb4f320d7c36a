"""Overlays: colour exactly where a known class is, the image everywhere else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from augforge import bitmask
from augforge.report.colours import colour_of
from augforge.report.overlay import as_rgb, overlay, scale_to_fit
from augforge.sample import Sample

H, W = 40, 56
KINDS = [("uint8", 1), ("uint16", 1), ("uint8", 3), ("uint16", 3), ("uint8", 4), ("uint16", 4)]


def names(classes: int) -> tuple[str, ...]:
    return tuple(f"c{c}" for c in range(classes))


def boxes_sample(
    boxes: dict[int, tuple[int, int, int, int]], classes: int, dtype: str = "uint8", channels: int = 1
) -> Sample:
    """A noisy image with a rectangle x0, y0, x1, y1 for each class."""
    masks = bitmask.empty(H, W, classes)
    for c, (x0, y0, x1, y1) in boxes.items():
        mask = np.zeros((H, W), np.uint8)
        mask[y0:y1, x0:x1] = 1
        bitmask.merge_class(masks, c, mask)
    shape = (H, W) if channels == 1 else (H, W, channels)
    image = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    return Sample("a", image, masks, bitmask.all_bits(classes))


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
@pytest.mark.parametrize("classes", [1, 8, 70])
def test_colour_is_exactly_where_the_masks_are(dtype: str, channels: int, classes: int) -> None:
    boxes = {0: (5, 4, 20, 16), classes - 1: (30, 20, W, H)}
    sample = boxes_sample(boxes, classes, dtype, channels)
    picture = overlay(sample, names(classes), alpha=1.0, outline=False)
    assert picture.shape == (H, W, 3)
    assert picture.dtype == np.uint8
    covered = bitmask.union(sample.masks)
    np.testing.assert_array_equal(picture[~covered], as_rgb(sample.image)[~covered])
    for c in boxes:
        assert (picture[bitmask.class_mask(sample.masks, c) > 0] == colour_of(c)).all()


def test_overlapping_classes_are_both_visible() -> None:
    sample = boxes_sample({0: (4, 4, 30, 30), 3: (15, 15, 45, 36)}, 9)
    base = as_rgb(sample.image).astype(float)
    picture = overlay(sample, names(9), alpha=0.5)
    mixed = (np.array(colour_of(0), float) + colour_of(3)) / 2
    np.testing.assert_allclose(picture[22, 22], base[22, 22] * 0.5 + mixed * 0.5, atol=1)
    np.testing.assert_allclose(picture[8, 8], base[8, 8] * 0.5 + np.array(colour_of(0)) * 0.5, atol=1)
    assert tuple(picture[20, 29]) == colour_of(0)  # its border, inside the other class
    assert tuple(picture[20, 15]) == colour_of(3)


def test_outlines_stay_inside_the_masks() -> None:
    sample = boxes_sample({2: (10, 10, 30, 30)}, 9)
    picture = overlay(sample, names(9), alpha=0.0)
    inner = np.zeros((H, W), bool)
    inner[11:29, 11:29] = True
    border = bitmask.union(sample.masks) & ~inner
    assert (picture[border] == colour_of(2)).all()
    np.testing.assert_array_equal(picture[~border], as_rgb(sample.image)[~border])


def test_unlabelled_classes_are_not_drawn() -> None:
    whole = boxes_sample({0: (4, 4, 20, 20), 8: (25, 10, 50, 30)}, 9)
    sample = Sample("a", whole.image, whole.masks, bitmask.select_bits([0], 9))
    picture = overlay(sample, names(9), alpha=1.0)
    only = bitmask.class_mask(whole.masks, 0) > 0
    assert (picture[only] == colour_of(0)).all()
    np.testing.assert_array_equal(picture[~only], as_rgb(whole.image)[~only])
    nothing = Sample("a", whole.image, bitmask.empty(H, W, 9), np.zeros(2, np.uint8))
    np.testing.assert_array_equal(overlay(nothing, names(9)), as_rgb(whole.image))


def test_the_sample_is_unchanged_and_may_have_planar_masks() -> None:
    sample = boxes_sample({0: (4, 4, 30, 30)}, 9, channels=3)
    stored = bitmask.decode(bitmask.encode(sample.masks), H, W, 9)
    before = sample.image.copy()
    picture = overlay(sample, names(9))
    planar = overlay(Sample("a", sample.image, stored, sample.known), names(9))
    np.testing.assert_array_equal(picture, planar)
    np.testing.assert_array_equal(sample.image, before)


def test_a_sample_that_is_scaled_to_fit() -> None:
    sample = boxes_sample({1: (8, 8, 40, 32)}, 9)
    picture = overlay(scale_to_fit(sample, 28, 28), names(9), alpha=1.0, outline=False)
    assert picture.shape == (20, 28, 3)
    held = np.zeros((20, 28), bool)
    held[4:16, 4:20] = True
    assert (picture[held] == colour_of(1)).all()
    shrunk = cv2.resize(sample.image, (28, 20), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(picture[~held], as_rgb(shrunk)[~held])


def test_16_bits_are_shown_in_the_range_of_their_percentiles() -> None:
    image = np.full((50, 50), 1000, np.uint16)
    image[:, 25:] = 1400
    image[0, 0] = 65535  # one hot pixel moves nothing
    shown = as_rgb(image)
    assert (shown[1:, :25] == 0).all()
    assert (shown[1:, 25:] == 255).all()
    assert (as_rgb(np.full((5, 5), 777, np.uint16)) == 0).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_transparent_pixels_show_the_checkerboard(dtype: str) -> None:
    image = np.zeros((16, 16, 4), dtype)
    image[:, 8:, 3] = np.iinfo(dtype).max
    shown = as_rgb(image)
    assert (shown[:, 8:] == 0).all()
    assert set(np.unique(shown[:, :8])) == {216, 255}
