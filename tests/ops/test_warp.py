"""rotate and affine against their definitions: where pixels go, that planes and image agree, what stays in view."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import class_names, make_sample
from numpy.typing import NDArray
from pydantic import ValidationError

from augforge import bitmask
from augforge.ops import Context
from augforge.ops.warp import (
    Affine,
    Rotate,
    affine,
    canvas_for_angles,
    centre,
    map_centre,
    rotate,
    rotated_extent,
    rotation_matrix,
    rotation_terms,
    warp,
)
from augforge.sample import Matrix, Sample

CONTEXT = Context(class_names(9))
STILL = {"scale": 1.0, "shear_deg": 0.0, "angle_deg": 0.0, "translate": [0.0, 0.0]}


def call_rotate(sample: Sample, degrees: float, **params: Any) -> Sample:
    (made,) = rotate.apply([sample], {"angle_deg": degrees}, Rotate.model_validate(params), CONTEXT)
    assert isinstance(made, Sample)
    return made


def call_affine(sample: Sample, **drawn: Any) -> Sample:
    (made,) = affine.apply([sample], {**STILL, **drawn}, Affine(), CONTEXT)
    assert isinstance(made, Sample)
    return made


def spot(x: float, y: float, width: int = 160, height: int = 120) -> Sample:
    """A smooth bright spot, in the image and as class 0."""
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    bell = np.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * 6.0**2))
    masks = bitmask.empty(height, width, 9)
    bitmask.merge_class(masks, 0, bell > 0.3)
    return Sample("spot", np.rint(bell * 60000).astype(np.uint16), masks, bitmask.all_bits(9))


def centres(sample: Sample) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre x, y of the bright spot in the image and in class 0."""
    found = []
    for weight in (sample.image.astype(float), bitmask.class_mask(sample.masks, 0).astype(float)):
        across, down = np.meshgrid(np.arange(sample.width), np.arange(sample.height))
        found.append(np.array([(across * weight).sum(), (down * weight).sum()]) / weight.sum())
    return found[0], found[1]


def map_point(matrix: Matrix, x: float, y: float) -> NDArray[np.float64]:
    return np.array(matrix) @ (x, y, 1)


def counter_clockwise(x: float, y: float, degrees: float, size: tuple[int, int]) -> NDArray[np.float64]:
    """Where a point goes, by the definition: about ((W - 1) / 2, (H - 1) / 2), counter-clockwise as one sees it."""
    u, v = (size[0] - 1) / 2, (size[1] - 1) / 2
    turn = (x - u + 1j * (v - y)) * np.exp(1j * math.radians(degrees))  # y upward, as in mathematics
    return np.array([u + turn.real, v - turn.imag])


# Where pixels go


@pytest.mark.parametrize("degrees", [-170, -90, -33.3, -1, 0, 0.4, 17, 45, 90, 121, 180])
def test_landmark_goes_where_the_angle_says(degrees: float) -> None:
    made = call_rotate(spot(95, 52), degrees)
    expected = counter_clockwise(95, 52, degrees, (160, 120))
    in_image, in_masks = centres(made)
    np.testing.assert_allclose(in_image, expected, atol=0.05)
    np.testing.assert_allclose(in_masks, expected, atol=0.35)
    np.testing.assert_allclose(map_point(made.placements[0].matrix, 95, 52), expected, atol=1e-9)


def test_positive_is_counter_clockwise() -> None:
    """What is right of the centre goes up."""
    made = call_rotate(spot(120, 60, 160, 121), 90)
    np.testing.assert_allclose(centres(made)[0], (79.5, 19.5), atol=0.05)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("side", [48, 49])
@pytest.mark.parametrize("quarters", [-3, -1, 0, 1, 2, 4, 5])
def test_quarter_turns_are_exact(quarters: int, side: int, channels: int) -> None:
    sample = make_sample(side, side, classes=29, channels=channels)
    (made,) = rotate.apply([sample], {"angle_deg": 90.0 * quarters}, Rotate(), Context(class_names(29)))
    assert isinstance(made, Sample)
    np.testing.assert_array_equal(made.image, np.rot90(sample.image, quarters))
    np.testing.assert_array_equal(made.masks, np.rot90(sample.masks, quarters))


@pytest.mark.parametrize("classes", [1, 9, 29, 70])
def test_planes_take_the_nearest_pixel(classes: int) -> None:
    """Each output pixel by hand: its place in the input, rounded, but where it lies between two pixels."""
    sample = make_sample(90, 110, classes)
    for degrees, scale in ((13.0, 1.0), (-71.0, 0.8), (45.0, 1.3)):
        a, b, c, d = (scale * value for value in rotation_terms(degrees))
        matrix = map_centre((a, b, c, d), (110, 90), (110, 90))
        made = warp(sample, matrix, (110, 90), 0)
        back = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))
        x, y = np.meshgrid(np.arange(110), np.arange(90))
        at = np.einsum("ij,jhw->ihw", back, np.stack([x, y, np.ones_like(x)]).astype(float))[:2]
        between = (np.abs(at - np.floor(at) - 0.5) < 0.004).any(axis=0)
        column, row = np.rint(at).astype(int)
        inside = (column >= 0) & (column < 110) & (row >= 0) & (row < 90)
        expected = sample.masks[row.clip(0, 89), column.clip(0, 109)] * inside[..., None]
        assert between.mean() < 0.06
        np.testing.assert_array_equal(made.masks[~between], expected[~between])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_image_is_bilinear(dtype: str) -> None:
    """A linear ramp stays one: any other interpolation or a shift of half a pixel bends or offsets it."""
    x, y = np.meshgrid(np.arange(120), np.arange(100))
    image = (20 + x + y).astype(dtype)
    sample = Sample("ramp", image, bitmask.empty(100, 120, 9), bitmask.all_bits(9))
    made = call_rotate(sample, 30)
    back = np.linalg.inv(np.vstack([made.placements[0].matrix, (0, 0, 1)]))
    at = np.einsum("ij,jhw->ihw", back, np.stack([x, y, np.ones_like(x)]).astype(float))
    inside = (at[0] > 1) & (at[0] < 118) & (at[1] > 1) & (at[1] < 98)
    np.testing.assert_allclose(made.image[inside], (20 + at[0] + at[1])[inside], atol=0.6)


def test_turning_back_gives_the_masks_again() -> None:
    sample = make_sample(200, 240, seed=3)
    there = call_rotate(sample, 24, fit="expand", angle_range=[-24, 24])
    (a, b, c), (d, e, f), _ = np.linalg.inv(np.vstack([there.placements[0].matrix, (0, 0, 1)])).tolist()
    again = warp(there, ((a, b, c), (d, e, f)), (240, 200), 0)
    kernel = np.ones((3, 3), np.uint8)
    for was, now in zip(bitmask.to_masks(sample.masks, 9), bitmask.to_masks(again.masks, 9), strict=True):
        edge = cv2.dilate(was, kernel) != cv2.erode(was, kernel)
        assert not ((was != now) & ~edge)[1:-1, 1:-1].any()


# What stays in view


@pytest.mark.parametrize("degrees", [-180, -90, -60.5, -12, 0, 31, 45, 89, 133])
@pytest.mark.parametrize("size", [(160, 120), (90, 200), (101, 101)])
def test_scale_and_expand_keep_all_in_view(size: tuple[int, int], degrees: float) -> None:
    for fit in ("scale", "expand"):
        onto = size if fit == "scale" else canvas_for_angles(size, [degrees], continuous=False)
        matrix = rotation_matrix(size, degrees, fit, onto)
        corners = np.array([map_point(matrix, x, y) for x in (-0.5, size[0] - 0.5) for y in (-0.5, size[1] - 0.5)])
        low, high = corners.min(axis=0), corners.max(axis=0)
        assert (low > -0.5 - 1e-6).all() and (high < np.array(onto) - 0.5 + 1e-6).all()
        room = np.array(onto) - (high - low)
        assert room.min() < (1e-6 if fit == "scale" and degrees % 180 else 1), "larger than it need be"
        np.testing.assert_allclose(map_point(matrix, *centre(size)), centre(onto), atol=1e-9)


def test_expand_has_room_for_every_angle_of_the_range() -> None:
    for low, high in ((-30, 30), (0, 90), (10, 20), (-180, 180), (40, 300)):
        params = Rotate.model_validate({"angle_range": [low, high], "fit": "expand"})
        ((width, height),) = rotate.sizes([(160, 120)], params)
        boxes = np.array([rotated_extent((160, 120), degrees) for degrees in np.linspace(low, high, 2001)])
        assert (boxes.max(axis=0) <= (width + 1e-3, height + 1e-3)).all()
        assert (boxes.max(axis=0) > (width - 1.01, height - 1.01)).all()


def test_expand_loses_nothing() -> None:
    sample = make_sample(100, 140)
    made = call_rotate(sample, 37, fit="expand", angle_range=[-40, 40])
    before, _ = bitmask.areas_and_boxes(sample.masks, 9)
    after, _ = bitmask.areas_and_boxes(made.masks, 9)
    np.testing.assert_allclose(after, before, rtol=0.03, atol=8)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("dtype", "fill"), [("uint8", 200), ("uint16", 40_000)])
def test_corners_are_filled_and_hold_no_class(dtype: str, fill: int, channels: int) -> None:
    made = call_rotate(make_sample(dtype=dtype, channels=channels), 45, fill=fill)
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert (made.image[row, column] == fill).all() and not made.masks[row, column].any()


def test_fill_beyond_the_images_dtype_names_the_maximum() -> None:
    with pytest.raises(ValueError, match=r"fill is 256, but the images are uint8; expected at most 255"):
        call_rotate(make_sample(), 10, fill=256)


def test_clip_holds_the_turned_picture_and_no_more() -> None:
    made = call_rotate(make_sample(100, 40), 0, fill=0)
    assert made.placements[0].clip == (0, 0, 40, 100)
    made = call_rotate(make_sample(20, 100), 90)
    assert made.placements[0].clip[0] > 38 and made.placements[0].clip[2] < 62


# Draws


def test_angles_are_drawn_evenly_from_the_range() -> None:
    rng, params = np.random.default_rng(0), Rotate.model_validate({"angle_range": [-10, 30]})
    inputs = [make_sample()]
    assert rotate.draw is not None
    drawn = [rotate.draw(rng, inputs, params, CONTEXT)["angle_deg"] for _ in range(1600)]
    assert min(drawn) >= -10 and max(drawn) <= 30
    counts, _ = np.histogram(drawn, bins=8, range=(-10, 30))
    assert ((counts - 200) ** 2 / 200).sum() < 24.3  # chi-square, 7 degrees of freedom, 0.1 %


def test_angles_of_a_list_are_equally_likely() -> None:
    rng, params = np.random.default_rng(0), Rotate.model_validate({"angles": [-45, 0.5, 90]})
    inputs = [make_sample()]
    assert rotate.draw is not None
    drawn = [rotate.draw(rng, inputs, params, CONTEXT)["angle_deg"] for _ in range(900)]
    assert set(drawn) == {-45, 0.5, 90}
    assert min(drawn.count(angle) for angle in set(drawn)) > 240


def test_affine_draws_each_within_its_range() -> None:
    rng = np.random.default_rng(0)
    params = Affine.model_validate({"angle_range": [5, 6], "translate_range": [-0.2, 0.1]})
    assert affine.draw is not None
    drawn = [affine.draw(rng, [make_sample()], params, CONTEXT) for _ in range(500)]
    table = np.array([[d["scale"], d["shear_deg"], d["angle_deg"], *d["translate"]] for d in drawn])
    for column, (low, high) in zip(table.T, [(0.9, 1.1), (-10, 10), (5, 6), (-0.2, 0.1), (-0.2, 0.1)], strict=True):
        assert low <= column.min() < low + 0.05 * (high - low) and high - 0.05 * (high - low) < column.max() <= high
    assert np.abs(np.corrcoef(table.T) - np.eye(5)).max() < 0.2


@pytest.mark.parametrize(
    "params",
    [{"angle_range": [5, -5]}, {"angle_range": [0, 400]}, {"angles": []}, {"fit": "bend"}, {"fill": -1}, {"angle": 5}],
)
def test_rotate_refuses(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Rotate.model_validate(params)


# affine


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ({}, (95, 52)),
        ({"scale": 1.2}, (79.5 + 15.5 * 1.2, 59.5 - 7.5 * 1.2)),
        ({"translate": [0.1, -0.05]}, (95 + 16, 52 - 6)),
        ({"shear_deg": 45}, (95 + 7.5, 52)),  # what is above the centre moves to the right
        ({"angle_deg": 90}, (79.5 - 7.5, 59.5 - 15.5)),
        ({"angle_deg": 90, "scale": 2, "shear_deg": 45, "translate": [0.1, 0]}, (79.5 - 15 + 16, 59.5 - 46)),
    ],
)
def test_affine_moves_by_its_parts_in_order(drawn: dict[str, Any], expected: tuple[float, float]) -> None:
    made = call_affine(spot(95, 52), **drawn)
    np.testing.assert_allclose(map_point(made.placements[0].matrix, 95, 52), expected, atol=1e-9)
    if "shear_deg" not in drawn:
        in_image, in_masks = centres(made)
        np.testing.assert_allclose(in_image, expected, atol=0.05)
        np.testing.assert_allclose(in_masks, expected, atol=0.15)


def test_affine_that_moves_nothing_changes_nothing() -> None:
    sample = make_sample(classes=29, dtype="uint16", channels=3)
    made = warp(sample, map_centre((1, 0, 0, 1), (64, 48), (64, 48)), (64, 48), 0)
    np.testing.assert_array_equal(made.image, sample.image)
    np.testing.assert_array_equal(made.masks, sample.masks)


@pytest.mark.parametrize(
    "params",
    [{"scale_range": [0, 1]}, {"scale_range": [1.2, 1.1]}, {"shear_range": [-80, 0]}, {"translate_range": [0, 2]}],
)
def test_affine_refuses(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Affine.model_validate(params)
