"""mosaic against its definition: which pixel of which image lies where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from conftest import class_names, make_sample
from pydantic import ValidationError

from augforge import bitmask
from augforge.keys import rng_for
from augforge.ops import Context
from augforge.ops.geometry import scale_image, scale_planes
from augforge.ops.mosaic import Mosaic, mosaic
from augforge.sample import Box, Sample

CONTEXT = Context(class_names(9))
SIZES = [(48, 64), (40, 90), (71, 33), (20, 25), (64, 64), (30, 100), (100, 30), (9, 11), (50, 50)]  # height, width
FITS = ("cover", "contain", "stretch", "crop")
FILL = 65_535


def unique_samples(count: int) -> list[Sample]:
    """Images no two of whose pixels are of one value; none is FILL."""
    samples, start = [], 0
    for seed, (height, width) in enumerate(SIZES[:count]):
        image = np.arange(start, start + height * width, dtype=np.uint16).reshape(height, width)
        samples.append(replace(make_sample(height, width, seed=seed), image=image))
        start += height * width
    assert start < FILL
    return samples


def draw(params: Mosaic, copy: int) -> dict[str, Any]:
    assert mosaic.draw is not None
    drawn: dict[str, Any] = mosaic.draw(rng_for(1, copy), [], params, CONTEXT)
    return drawn


def call_mosaic(inputs: Sequence[Sample], drawn: dict[str, Any], params: Mosaic) -> Sample:
    (made,) = mosaic.apply(inputs, drawn, params, CONTEXT)
    assert isinstance(made, Sample)
    return made


def tiles_of(drawn: dict[str, Any], made: Sample) -> list[Box]:
    """The tile of each slot, from the drawn borders."""
    ys = [0, *sorted(round(f * made.height) for f in drawn["rows"]), made.height]
    xs = [0, *sorted(round(f * made.width) for f in drawn["columns"]), made.width]
    tiles = [(x0, y0, x1, y1) for y0, y1 in pairwise(ys) for x0, x1 in pairwise(xs)]
    return [tiles[number] for number in drawn["tiles"]]


def cut(array: np.ndarray, box: Box) -> np.ndarray:
    return array[box[1] : box[3], box[0] : box[2]]


def origin(made: Sample, slot: int, old: Sample) -> tuple[tuple[int, int], tuple[int, int]]:
    """Size of the scaled image and where its left top corner lies, from the matrix."""
    (sx, _, tx), (_, sy, ty) = made.placements[slot].matrix
    size = round(old.width * sx), round(old.height * sy)
    left, top = tx - (sx - 1) / 2, ty - (sy - 1) / 2
    assert left == pytest.approx(round(left), abs=1e-9) and top == pytest.approx(round(top), abs=1e-9)
    return size, (round(left), round(top))


def cases(grid: tuple[int, int], fit: str, copies: int = 6, **more: Any) -> list[tuple[Any, ...]]:
    params = Mosaic.model_validate({"grid": grid, "fit": fit, "fill": FILL, **more})
    inputs = unique_samples(grid[0] * grid[1])
    return [(inputs, drawn := draw(params, copy), call_mosaic(inputs, drawn, params)) for copy in range(copies)]


# Where the tiles lie


@pytest.mark.parametrize("fit", ["cover", "stretch"])
@pytest.mark.parametrize("grid", [(2, 2), (1, 2), (2, 1), (3, 3), (2, 3)])
def test_tiles_cover_the_canvas_once(grid: tuple[int, int], fit: str) -> None:
    for _, drawn, made in cases(grid, fit, center_range=[0.05, 0.95]):
        times = np.zeros((made.height, made.width), int)
        for placement in made.placements:
            cut(times, placement.clip)[:] += 1
        assert (times == 1).all() and (made.image != FILL).all()
        assert [placement.clip for placement in made.placements] == tiles_of(drawn, made)
        assert [placement.input for placement in made.placements] == list(range(grid[0] * grid[1]))


def test_borders_are_uniform_in_their_range() -> None:
    params = Mosaic(center_range=(0.3, 0.7))
    draws = [draw(params, copy) for copy in range(2000)]
    for axis in ("rows", "columns"):
        at = np.sort([drawn[axis][0] for drawn in draws])
        assert at[0] >= 0.3 and at[-1] <= 0.7
        distance = np.abs((at - 0.3) / 0.4 - (np.arange(2000) + 0.5) / 2000).max()
        assert distance < 1.63 / 2000**0.5  # Kolmogorov-Smirnov, 1 %
    rows, columns = (np.array([drawn[axis][0] for drawn in draws]) for axis in ("rows", "columns"))
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.06


def test_borders_of_larger_grids_lie_about_their_even_places() -> None:
    draws = [draw(Mosaic(grid=(1, 3), center_range=(0.3, 0.7)), copy) for copy in range(500)]
    columns = np.array([drawn["columns"] for drawn in draws])
    assert all(drawn["rows"] == [] for drawn in draws)
    np.testing.assert_allclose(columns.mean(axis=0), [1 / 3, 2 / 3], atol=0.02)
    assert (columns.min(axis=0) >= [0.6 / 3, 1.6 / 3]).all() and (columns.max(axis=0) <= [1.4 / 3, 2.4 / 3]).all()


def test_every_image_may_lie_in_every_tile() -> None:
    places = np.array([draw(Mosaic(), copy)["tiles"] for copy in range(2000)])
    counts = np.array([np.bincount(places[:, slot], minlength=4) for slot in range(4)])
    assert (np.abs(counts - 500) < 90).all()
    assert (np.sort(places, axis=1) == np.arange(4)).all()


# What shows in them


@pytest.mark.parametrize("grid", [(2, 2), (1, 2), (3, 3)])
def test_crop_shows_the_very_pixels(grid: tuple[int, int]) -> None:
    """Every pixel is the one that the matrix names, unscaled, and none shows outside its clip."""
    for inputs, _, made in cases(grid, "crop"):
        expected = np.full_like(made.image, FILL)
        planes = np.zeros_like(made.masks)
        for sample, placement in zip(inputs, made.placements, strict=True):
            (a, b, left), (d, e, top) = placement.matrix
            assert (a, b, d, e) == (1, 0, 0, 1) and left == int(left) and top == int(top)
            x0, y0, x1, y1 = placement.clip
            for y in range(y0, y1):
                for x in range(x0, x1):
                    expected[y, x] = sample.image[y - int(top), x - int(left)]
                    planes[y, x] = sample.masks[y - int(top), x - int(left)]
        np.testing.assert_array_equal(made.image, expected)
        np.testing.assert_array_equal(made.masks, planes)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("grid", [(2, 2), (2, 1), (3, 3)])
def test_clip_shows_the_scaled_image_and_the_rest_is_fill(grid: tuple[int, int], fit: str) -> None:
    for inputs, _, made in cases(grid, fit, size=[130, 101]):
        image, masks = made.image.copy(), made.masks.copy()
        for slot, sample in enumerate(inputs):
            size, (left, top) = origin(made, slot, sample)
            clip = made.placements[slot].clip
            shown = (clip[0] - left, clip[1] - top, clip[2] - left, clip[3] - top)
            np.testing.assert_array_equal(cut(image, clip), cut(scale_image(sample.image, *size), shown))
            np.testing.assert_array_equal(cut(masks, clip), cut(scale_planes(sample.masks, *size), shown))
            cut(image, clip)[:] = FILL
            cut(masks, clip)[:] = 0
        assert (image == FILL).all() and not masks.any()


@pytest.mark.parametrize("fit", FITS)
def test_fit_is_as_defined(fit: str) -> None:
    for inputs, drawn, made in cases((2, 2), fit, copies=20):
        tiles = tiles_of(drawn, made)
        for slot, (sample, tile) in enumerate(zip(inputs, tiles, strict=True)):
            room = tile[2] - tile[0], tile[3] - tile[1]
            size, start = origin(made, slot, sample)
            scales = {
                "cover": (max(room[0] / sample.width, room[1] / sample.height),) * 2,
                "contain": (min(room[0] / sample.width, room[1] / sample.height),) * 2,
                "stretch": (room[0] / sample.width, room[1] / sample.height),
                "crop": (1, 1),
            }[fit]
            assert abs(size[0] - sample.width * scales[0]) <= 0.5 and abs(size[1] - sample.height * scales[1]) <= 0.5
            clip = made.placements[slot].clip
            for axis in (0, 1):
                spare = room[axis] - size[axis]
                if spare >= 0:  # whole, and in the middle
                    assert start[axis] == tile[axis] + spare // 2
                    assert (clip[axis], clip[axis + 2]) == (start[axis], start[axis] + size[axis])
                else:  # fills the tile and overhangs where it was drawn
                    assert start[axis] == tile[axis] - round(drawn["offsets"][slot][axis] * -spare)
                    assert (clip[axis], clip[axis + 2]) == (tile[axis], tile[axis + 2])


def test_an_image_larger_than_its_tile_is_cut_anywhere() -> None:
    drawn = {"rows": [0.5], "columns": [0.5], "tiles": [0, 1, 2, 3]}
    params, inputs = Mosaic(fit="crop"), unique_samples(4)
    for offset, corner in ((0.0, inputs[0].image[:24, :32]), (1.0, inputs[0].image[-24:, -32:])):
        made = call_mosaic(inputs, {**drawn, "offsets": [[offset, offset]] * 4}, params)
        np.testing.assert_array_equal(made.image[:24, :32], corner)


def test_size_is_the_anchors_unless_given() -> None:
    inputs = unique_samples(4)
    for params, expected in (({}, (48, 64)), ({"size": 70}, (70, 70)), ({"size": [30, 20]}, (20, 30))):
        checked = Mosaic.model_validate(params)
        made = call_mosaic(inputs, draw(checked, 0), checked)
        assert (made.height, made.width) == expected
        assert mosaic.sizes([(64, 48)] * 4, checked) == [expected[::-1]]


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [[1, 1], [3, 2], [1, 40]])
def test_more_tiles_than_pixels(fit: str, size: list[int]) -> None:
    for _, _, made in cases((3, 3), fit, size=size, copies=4):
        areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (placement.clip for placement in made.placements)]
        assert min(areas) >= 0 and len(areas) == 9
        assert sum(areas) == size[0] * size[1] or fit in ("contain", "crop")


@pytest.mark.parametrize("channels", [3, 4])
def test_colour(channels: int) -> None:
    inputs = [make_sample(seed=seed, channels=channels) for seed in range(4)]
    params = Mosaic(fit="crop", center_range=(0.5, 0.5))
    made = call_mosaic(inputs, draw(params, 0), params)
    grays = [call_mosaic([replace(s, image=s.image[..., i]) for s in inputs], draw(params, 0), params).image
             for i in range(channels)]  # fmt: skip
    np.testing.assert_array_equal(made.image, np.stack(grays, axis=-1))


def test_gray_beside_rgb_becomes_rgb() -> None:
    inputs = [make_sample(seed=0), make_sample(seed=1, channels=3), make_sample(seed=2), make_sample(seed=3)]
    colour = [s if s.image.ndim == 3 else replace(s, image=np.stack([s.image] * 3, axis=-1)) for s in inputs]
    drawn = draw(Mosaic(), 0)
    np.testing.assert_array_equal(
        call_mosaic(inputs, drawn, Mosaic()).image, call_mosaic(colour, drawn, Mosaic()).image
    )


@pytest.mark.parametrize("odd", [{"dtype": "uint16"}, {"channels": 4}])
def test_images_of_two_kinds_are_refused(odd: dict[str, Any]) -> None:
    inputs = [make_sample(seed=seed) for seed in range(3)] + [make_sample(**odd)]
    with pytest.raises(ValueError, match=r"different kinds.*Convert them to one dtype and channel count first"):
        call_mosaic(inputs, draw(Mosaic(), 0), Mosaic())


# Classes and labels


def test_a_class_is_known_if_all_images_know_it() -> None:
    inputs = [make_sample(seed=seed, classes=29) for seed in range(4)]
    inputs[1] = replace(inputs[1], known=bitmask.select_bits(range(20), 29))
    inputs[3] = replace(inputs[3], known=bitmask.select_bits(range(5, 29), 29))
    inputs = [replace(s, masks=bitmask.keep(s.masks, s.known)) for s in inputs]
    made = call_mosaic(inputs, draw(Mosaic(), 0), Mosaic())
    known = bitmask.select_bits(range(5, 20), 29)
    np.testing.assert_array_equal(made.known, known)
    everywhere = [replace(s, known=bitmask.all_bits(29)) for s in inputs]
    uncut = call_mosaic(everywhere, draw(Mosaic(), 0), Mosaic())
    np.testing.assert_array_equal(made.masks, bitmask.keep(uncut.masks, known))
    assert bitmask.areas_and_boxes(uncut.masks, 29)[0][:5].any(), "the test shows nothing"


@pytest.mark.parametrize("grid", [(2, 2), (1, 2), (3, 3)])
def test_labels_are_mixed_by_tile_area(grid: tuple[int, int]) -> None:
    count = grid[0] * grid[1]
    inputs = [replace(make_sample(seed=i), label=np.eye(count, dtype=np.float32)[i]) for i in range(count)]
    params = Mosaic(grid=grid, center_range=(0.1, 0.9))
    for copy in range(5):
        drawn = draw(params, copy)
        made = call_mosaic(inputs, drawn, params)
        tiles = tiles_of(drawn, made)
        shares = [(x1 - x0) * (y1 - y0) / (made.width * made.height) for x0, y0, x1, y1 in tiles]
        assert made.label is not None and made.label.dtype == np.float32
        np.testing.assert_allclose(made.label, shares, atol=1e-6)
        assert made.label.sum() == pytest.approx(1, abs=1e-6)


def test_no_label_if_an_image_has_none() -> None:
    inputs = [replace(make_sample(seed=i), label=np.ones(2, np.float32)) for i in range(3)] + [make_sample()]
    assert call_mosaic(inputs, draw(Mosaic(), 0), Mosaic()).label is None


# Parameters


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"grid": [1, 1]}, "a 1x1 grid is no mosaic"),
        ({"grid": [0, 2]}, "greater than or equal to 1"),
        ({"grid": [2, 9]}, "less than or equal to 8"),
        ({"center_range": [0.7, 0.3]}, "from low to high"),
        ({"center_range": [0, 0.5]}, "greater than 0"),
        ({"fit": "fill"}, "'cover', 'contain', 'stretch' or 'crop'"),
    ],
)
def test_mosaic_refuses(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Mosaic.model_validate(params)
