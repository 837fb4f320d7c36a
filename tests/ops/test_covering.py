"""Masks moved by area against a plain count of sub-pixels, and where the nearest pixel moves masks and where not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from conftest import class_names, make_sample
from numpy.typing import NDArray

from augforge import bitmask
from augforge.ops import Context
from augforge.ops.covering import cover_planes, move_planes
from augforge.ops.upright import RotateNormalise
from augforge.ops.warp import Affine, Rotate, affine, map_centre, rotate, rotation_terms
from augforge.sample import Sample

Mask = NDArray[np.bool_]


def counted(mask: NDArray[Any], matrix: NDArray[np.float64], size: tuple[int, int], parts: int) -> NDArray[np.float64]:
    """The share of each new pixel that lies over a mask, by sub-pixels that are mapped back one by one."""
    step = (np.arange(parts) + 0.5) / parts - 0.5
    x = (np.arange(size[0])[:, None] + step).ravel()
    y = (np.arange(size[1])[:, None] + step).ravel()
    back = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))
    places = np.einsum("ij,jhw->ihw", back[:2, :2], np.stack(np.meshgrid(x, y))) + back[:2, 2, None, None]
    column, row = np.floor(places + 0.5).astype(int)
    inside = (column >= 0) & (column < mask.shape[1]) & (row >= 0) & (row < mask.shape[0])
    seen = mask[row.clip(0, mask.shape[0] - 1), column.clip(0, mask.shape[1] - 1)] * inside
    return np.asarray(seen.reshape(size[1], parts, size[0], parts).mean(axis=(1, 3)))


def about_centre(size: tuple[int, int], degrees: float, scale: float, shear: float = 0.0) -> NDArray[np.float64]:
    a, b, c, d = (scale * value for value in rotation_terms(degrees))
    return np.array(map_centre((a, b - a * shear, c, d - c * shear), size, size))


def ovals(width: int, height: int, seed: int) -> bitmask.Planes:
    """Nine ovals away from the borders, each a class, which overlap."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:height, :width]
    u, v = rng.uniform(0.4, 0.6, (2, 9)) * [[width], [height]]
    long, short = rng.uniform(8, 30, (2, 9))
    return bitmask.from_masks(
        [((x - u[k]) / long[k]) ** 2 + ((y - v[k]) / short[k]) ** 2 <= 1 for k in range(9)], classes=9
    )


def shifts(planes: bitmask.Planes, moved: bitmask.Planes, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the centre of each class lies, (9, 2), from where the matrix moves it."""
    found = []
    for was, now in zip(bitmask.to_masks(planes, 9), bitmask.to_masks(moved, 9), strict=True):
        centre = np.argwhere(was).mean(axis=0)[::-1]
        found.append(np.argwhere(now).mean(axis=0)[::-1] - matrix[:, :2] @ centre - matrix[:, 2])
    return np.array(found)


@pytest.mark.parametrize("classes", [1, 40])
@pytest.mark.parametrize(("degrees", "scale", "shear"), [(0, 0.5, 0), (0, 0.75, 0.1), (11, 0.6, 0), (90, 1.5, 0)])
def test_a_pixel_has_what_covers_half_of_it(degrees: float, scale: float, shear: float, classes: int) -> None:
    sample, size = make_sample(40, 51, classes=classes), (53, 47)
    matrix = about_centre((51, 40), degrees, scale, shear)
    moved = cover_planes(sample.masks, matrix, size)
    for was, now in zip(bitmask.to_masks(sample.masks, classes), bitmask.to_masks(moved, classes), strict=True):
        np.testing.assert_array_equal(now, counted(was, matrix, size, 8) >= 0.5)


def test_strong_shrinking_is_counted_more_finely() -> None:
    sample, size = make_sample(200, 250, classes=9), (26, 22)
    a, b, c, d = (0.09 * value for value in rotation_terms(20))
    matrix = np.array(map_centre((a, b, c, d), (250, 200), size))
    moved = cover_planes(sample.masks, matrix, size)
    for was, now in zip(bitmask.to_masks(sample.masks, 9), bitmask.to_masks(moved, 9), strict=True):
        share = counted(was, matrix, size, 32)
        clear = np.abs(share - 0.5) > 0.04
        np.testing.assert_array_equal(now[clear], share[clear] > 0.5)


def test_many_edges_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    planes, matrix = ovals(200, 160, 3), about_centre((200, 160), 5, 0.7)
    whole = cover_planes(planes, matrix, (200, 160))
    monkeypatch.setattr("augforge.ops.covering._ROW", 7)
    monkeypatch.setattr("augforge.ops.covering._ROWS", 3)
    np.testing.assert_array_equal(cover_planes(planes, matrix, (200, 160)), whole)


def test_whole_shifts_and_quarter_turns_take_pixels_as_they_are() -> None:
    planes = make_sample(48, 64, classes=29).masks
    for matrix in ([[1, 0, 5], [0, 1, -3]], [[0, 1, 0], [-1, 0, 63]], [[-1, 0, 63], [0, 1, 0]]):
        onto = np.array(matrix, float)
        np.testing.assert_array_equal(cover_planes(planes, onto, (64, 64)), move_planes(planes, onto, (64, 64)))


# Where masks lie


@pytest.mark.parametrize(
    ("degrees", "scale", "shear", "shift"),
    [
        (0, 0.5, 0, 0),
        (0, 0.25, 0, 0),
        (0, 0.75, 0, 0),
        (0, 1.5, 0, 0),
        (0, 0.5, 0.09, 0),
        (0, 1, 0, 0.5),
        (90, 1, 0, 0),
    ],
)
def test_area_moves_no_mask_where_the_nearest_pixel_does(
    degrees: float, scale: float, shear: float, shift: float
) -> None:
    size = (200, 161) if degrees else (200, 160)
    planes, matrix = ovals(*size, 1), about_centre(size, degrees, scale, shear)
    matrix[:, 2] += shift
    nearest, area = (shifts(planes, move(planes, matrix, size), matrix) for move in (move_planes, cover_planes))
    assert np.abs(nearest.mean(axis=0)).max() > 0.1, "the nearest pixel moves all masks alike"
    assert np.abs(area.mean(axis=0)).max() < 0.05


def test_turns_by_drawn_angles_move_no_mask() -> None:
    """Over many angles the nearest pixel is off by nothing on average, and by no more than the area is."""
    rng, off = np.random.default_rng(5), []
    for seed in range(40):
        planes, matrix = ovals(200, 160, seed), about_centre((200, 160), rng.uniform(-45, 45), 1)
        off.append([shifts(planes, move(planes, matrix, (200, 160)), matrix) for move in (move_planes, cover_planes)])
    nearest, area = np.moveaxis(np.array(off), 1, 0)
    error = nearest.std() / math.sqrt(nearest[..., 0].size)
    assert np.abs(nearest.mean(axis=(0, 1))).max() < 4 * error < 0.04
    assert nearest.std() < 1.5 * area.std()


# Which steps move masks by area


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, 0),
        ({"scale_range": [0.8, 1.2], "shear_range": [0, 0]}, 0),
        ({"scale_range": [0.79, 1.2], "shear_range": [0, 0]}, 1),
        ({"scale_range": [0.9, 1.1], "shear_range": [-40, 0]}, 1),
        ({"scale_range": [1.5, 1.5]}, 1),
        ({"scale_range": [1.5, 1.5], "angle_range": [-5, 5]}, 0),
        ({"scale_range": [1, 1]}, 0),
        ({"scale_range": [1, 1], "angle_range": [-90, -90]}, 1),
        ({"scale_range": [1, 1], "angle_range": [180, 180]}, 0),
        ({"scale_range": [0.9, 1.1], "angle_range": [90, 90]}, 0),
    ],
)
def test_affine_goes_by_area_where_it_would_move_masks(params: dict[str, Any], expected: int) -> None:
    assert Affine.model_validate(params).revision() == expected


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, 0),
        ({"angles": [-20, 0, 20]}, 0),
        ({"angles": [0, 90]}, 1),
        ({"angle_range": [-90, -90]}, 1),
        ({"angle_range": [-90, 90]}, 0),
        ({"angles": [0, 20], "fit": "expand"}, 1),
        ({"fit": "expand"}, 0),
        ({"fit": "scale"}, 1),
    ],
)
def test_rotate_goes_by_area_where_it_would_move_masks(params: dict[str, Any], expected: int) -> None:
    assert Rotate.model_validate(params).revision() == expected


def test_narrowest_direction_of_a_shear() -> None:
    """The factor from which on area counts is that of the matrix's smaller singular value."""
    for low, lean in ((0.9, 13.0), (0.9, 14.0), (1.0, 24.0), (1.0, 26.0), (0.85, 5.0), (0.85, 8.0)):
        terms = low * np.array([[1, -math.tan(math.radians(lean))], [0, 1]])
        params = Affine.model_validate({"scale_range": [low, 1.2], "shear_range": [0, lean]})
        assert params.revision() == int(np.linalg.norm(terms, -2) < 0.8)


def test_ops_move_their_masks_by_area() -> None:
    sample, ctx = (
        Sample("a", np.zeros((160, 200), np.uint8), ovals(200, 160, 2), bitmask.all_bits(9)),
        Context(class_names(9)),
    )
    still = {"shear_deg": 0.0, "angle_deg": 0.0, "translate": [0.0, 0.0]}
    half, turned = (Affine.model_validate({"scale_range": [0.5, 0.5]}), Rotate.model_validate({"fit": "scale"}))
    calls: list[tuple[Any, Any, dict[str, Any]]] = [
        (affine, half, {**still, "scale": 0.5}),
        (rotate, turned, {"angle_deg": 40.0}),
    ]
    for op, params, drawn in calls:
        (made,) = op.apply([sample], drawn, params, ctx)
        assert isinstance(made, Sample)
        matrix = np.array(made.placements[0].matrix)
        np.testing.assert_array_equal(made.masks, cover_planes(sample.masks, matrix, (200, 160)))
        assert (made.masks != move_planes(sample.masks, matrix, (200, 160))).any()


def test_upright_pictures_shrink_by_area() -> None:
    assert [RotateNormalise.model_validate({"fit": fit}).revision() for fit in ("crop", "scale", "expand")] == [0, 1, 0]
