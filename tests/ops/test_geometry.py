"""resize and hflip against their definitions, written out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import class_names, make_sample
from numpy.typing import NDArray
from pydantic import ValidationError

from augforge import bitmask
from augforge.errors import PlanError
from augforge.ops import BoundOp, Context
from augforge.ops.geometry import (
    HFlip,
    Resize,
    letterbox_size,
    resize,
    sample_planes,
    scale_image,
    scale_matrix,
    scale_planes,
)
from augforge.sample import Sample

CONTEXT = Context(class_names(9))


def call_resize(sample: Sample, **params: Any) -> Sample:
    (made,) = resize.apply([sample], None, Resize.model_validate(params), CONTEXT)
    assert isinstance(made, Sample)
    return made


def call_hflip(sample: Sample, **params: Any) -> Sample:
    (made,) = BoundOp("hflip", HFlip.model_validate(params)).call([sample], CONTEXT).results
    assert isinstance(made, Sample)
    return made


def area_weights(old: int, new: int) -> NDArray[np.float64]:
    """(new, old): the share of each old pixel in each new one where an axis shrinks by area."""
    edges = np.arange(new + 1) * old / new
    pixels = np.arange(old)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.clip(overlap, 0, None) * new / old, np.float64)


def linear_weights(old: int, new: int) -> NDArray[np.float64]:
    """(new, old): bilinear shares by the pixel-centre rule, the rim repeated."""
    at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.asarray(np.clip(1 - np.abs(at[:, None] - np.arange(old)), 0, None), np.float64)


def weights(old: int, new: int) -> NDArray[np.float64]:
    return area_weights(old, new) if new < old else linear_weights(old, new)


# Scaling


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(32, 24), (21, 17), (64, 48), (100, 77), (20, 90), (90, 20), (64, 20), (1, 1)])
def test_image_shrinks_by_area_and_grows_bilinearly(size: tuple[int, int], channels: int, dtype: str) -> None:
    image = make_sample(dtype=dtype, channels=channels).image
    made = scale_image(image, *size)
    expected = np.einsum(
        "yh,hw...,xw->yx...", weights(48, size[1]), image.astype(float), weights(64, size[0]), optimize=True
    )
    assert made.shape == expected.shape and made.dtype == dtype
    np.testing.assert_allclose(made, expected, atol=1.5)  # where one axis shrinks and one grows it is rounded twice


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_halving_gives_the_mean_of_four(dtype: str) -> None:
    image = make_sample(dtype=dtype).image
    mean = image.reshape(24, 2, 32, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(scale_image(image, 32, 24), mean, atol=0.5)


def test_same_size_changes_nothing() -> None:
    sample = make_sample(classes=70)
    made = call_resize(sample, size=[64, 48])
    np.testing.assert_array_equal(made.image, sample.image)
    np.testing.assert_array_equal(made.masks, sample.masks)


@pytest.mark.parametrize("old", [1, 2, 3, 7, 64, 100, 255, 256, 1000, 2048])
def test_planes_take_the_nearest_pixel_centre(old: int) -> None:
    """Nearest by hand: new pixel x lies at (x + 1/2) old / new, and takes the pixel it lies in (either, at an edge)."""
    number = np.arange(old)
    source = np.stack([number & 255, number >> 8], axis=-1).astype(np.uint8)
    for new in [*range(1, 40), 63, 64, 65, 100, 128, 333, 512, 777, 1024, 2047, 2048]:
        at = (np.arange(new) + 0.5) * old / new
        for made in (sample_planes(source[None], new, 1)[0], sample_planes(source[:, None], 1, new)[:, 0]):
            taken = made[:, 0] + 256 * made[:, 1].astype(int)
            off = np.maximum(taken - at, at - (taken + 1))
            assert off.max() < 1 / 32, f"{old} to {new}: off by {off.max():.3f} pixels beyond the pixel itself"


@pytest.mark.parametrize(("old", "new"), [(97, 31), (31, 97), (64, 48), (640, 223)])
def test_planes_and_image_stay_on_each_other(old: int, new: int) -> None:
    """The edge of a half-plane lies at the same place in image and planes, to half a pixel."""
    for edge in (old // 3, old // 2, old - 3):
        image = np.zeros((4, old), np.uint8)
        image[:, edge:] = 200
        planes = (image > 0).astype(np.uint8)[..., None]
        in_image = (200 - scale_image(image, new, 4)[0].astype(float)).sum() / 200
        in_planes = new - int(scale_planes(planes, new, 4)[0].sum())
        assert abs(in_image - edge * new / old) < 0.05
        assert abs(in_planes - in_image) <= 0.51


def test_axes_shrink_by_area_and_grow_by_the_nearest_pixel() -> None:
    planes = make_sample(classes=29).masks
    for size in ((16, 96), (128, 12), (70, 30)):
        small = bitmask.shrink(planes, min(size[0], 64), min(size[1], 48))
        np.testing.assert_array_equal(scale_planes(planes, *size), sample_planes(small, *size))


def test_matrix_maps_pixel_edges_to_pixel_edges() -> None:
    (a, _, c), (_, e, f) = scale_matrix((64, 48), (16, 96), (5, 7))
    assert (a * -0.5 + c, a * 63.5 + c) == (4.5, 20.5)
    assert (e * -0.5 + f, e * 47.5 + f) == (6.5, 102.5)


# resize


@pytest.mark.parametrize(
    ("old", "target", "new", "margin"),
    [
        ((64, 48), (32, 32), (32, 24), (0, 4)),
        ((48, 64), (32, 32), (24, 32), (4, 0)),
        ((64, 48), (64, 48), (64, 48), (0, 0)),
        ((101, 67), (50, 50), (50, 33), (0, 8)),
        ((30, 20), (90, 90), (90, 60), (0, 15)),
        ((7, 7), (20, 10), (10, 10), (5, 0)),
        ((7, 7), (21, 10), (10, 10), (5, 0)),
        ((1000, 1), (100, 100), (100, 1), (0, 49)),
        ((1, 1000), (100, 100), (1, 100), (49, 0)),
        ((1, 1), (5, 3), (3, 3), (1, 0)),
        ((2048, 1500), (1, 1), (1, 1), (0, 0)),
    ],
)
def test_letterbox(
    old: tuple[int, int], target: tuple[int, int], new: tuple[int, int], margin: tuple[int, int]
) -> None:
    assert letterbox_size(old, target) == (new, margin)


def test_letterbox_keeps_the_proportions_of_any_image() -> None:
    rng = np.random.default_rng(0)
    for old_width, old_height, width, height in rng.integers(1, 3000, (500, 4)).tolist():
        new, (left, top) = letterbox_size((old_width, old_height), (width, height))
        assert 1 <= new[0] <= width and 1 <= new[1] <= height
        assert new[0] == width or new[1] == height
        scale = min(width / old_width, height / old_height)
        assert abs(new[0] - old_width * scale) <= 1 and abs(new[1] - old_height * scale) <= 1
        assert 0 <= width - new[0] - 2 * left <= 1 and 0 <= height - new[1] - 2 * top <= 1


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_letterbox_fills_the_rest(dtype: str, channels: int) -> None:
    sample = make_sample(dtype=dtype, channels=channels)
    fill = 77 if dtype == "uint8" else 40_000
    made = call_resize(sample, size=[32, 31], fill=fill)
    assert made.image.shape[:2] == (31, 32) and made.image.dtype == dtype
    np.testing.assert_array_equal(made.image[3:27], scale_image(sample.image, 32, 24))
    np.testing.assert_array_equal(made.masks[3:27], scale_planes(sample.masks, 32, 24))
    for rest in (slice(0, 3), slice(27, 31)):
        assert (made.image[rest] == fill).all() and not made.masks[rest].any()
    assert made.placements[0].matrix == ((0.5, 0.0, -0.25), (0.0, 0.5, 2.75))


def test_stretch_fills_the_target() -> None:
    sample = make_sample()
    made = call_resize(sample, size=[40, 70], fit="stretch", fill=9)
    np.testing.assert_array_equal(made.image, scale_image(sample.image, 40, 70))
    np.testing.assert_array_equal(made.masks, scale_planes(sample.masks, 40, 70))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (50, 1), (2, 3)])
@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_tiny_images(height: int, width: int, fit: str) -> None:
    image = np.full((height, width), 90, np.uint8)
    masks = np.full((height, width, 9), 3, np.uint8)
    made = call_resize(Sample("a", image, masks, bitmask.all_bits(70)), size=[17, 12], fit=fit, fill=200)
    assert made.image.shape == (12, 17)
    np.testing.assert_array_equal(made.image == 90, (made.masks == 3).all(axis=-1))
    assert (made.image == 90).any() and set(np.unique(made.image)) <= {90, 200}


def test_fill_beyond_the_images_dtype_names_the_maximum() -> None:
    with pytest.raises(ValueError, match=r"fill is 256, but the images are uint8; expected at most 255"):
        call_resize(make_sample(), size=32, fill=256)
    assert call_resize(make_sample(dtype="uint16"), size=32, fill=65535).image[0, 0] == 65535


@pytest.mark.parametrize("params", [{}, {"size": 0}, {"size": [5]}, {"size": 40_000}, {"size": 8, "fill": -1}])
def test_resize_refuses(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Resize.model_validate(params)


# hflip


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("classes", [1, 9, 29, 70])
def test_hflip_mirrors_columns(classes: int, channels: int) -> None:
    sample = make_sample(classes=classes, channels=channels)
    made = call_hflip(sample)
    np.testing.assert_array_equal(made.image, sample.image[:, ::-1])
    np.testing.assert_array_equal(made.masks, sample.masks[:, ::-1])
    np.testing.assert_array_equal(made.known, sample.known)
    assert made.placements[0].matrix == ((-1, 0, 63), (0, 1, 0)) and made.placements[0].clip == (0, 0, 64, 48)


@pytest.mark.parametrize("swap", [[], [["class-0", "class-8"], ["class-3", "class-2"]]])
@pytest.mark.parametrize("width", [1, 2, 63])
def test_hflip_twice_is_nothing(width: int, swap: list[list[str]]) -> None:
    sample = make_sample(width=width, dtype="uint16", channels=3)
    made = call_hflip(call_hflip(sample, swap=swap), swap=swap)
    np.testing.assert_array_equal(made.image, sample.image)
    np.testing.assert_array_equal(made.masks, sample.masks)


def test_swap_exchanges_masks_and_what_is_known() -> None:
    known = bitmask.select_bits([0, 1, 2], 9)
    sample = make_sample()
    sample = replace(sample, known=known, masks=bitmask.keep(sample.masks, known))
    made = call_hflip(sample, swap=[["class-0", "class-8"]])
    for c, origin in {0: 8, 1: 1, 2: 2, 8: 0}.items():
        expected = bitmask.class_mask(sample.masks, origin)[:, ::-1]
        np.testing.assert_array_equal(bitmask.class_mask(made.masks, c), expected)
    np.testing.assert_array_equal(made.known, bitmask.select_bits([8, 1, 2], 9))


def test_swap_of_an_unknown_class_names_the_nearest() -> None:
    params = HFlip(swap=(("left-lung", "rigth-lung"),))
    with pytest.raises(PlanError, match=r"no class 'rigth-lung'. Did you mean 'right-lung'\?"):
        params.check(Context(("left-lung", "right-lung")))


@pytest.mark.parametrize("swap", [[["a", "b"], ["b", "c"]], [["a", "a"]]])
def test_swap_names_a_class_once(swap: list[list[str]]) -> None:
    with pytest.raises(ValidationError, match=r"twice; expected each class in one pair"):
        HFlip.model_validate({"swap": swap})


@pytest.mark.parametrize("classes", [1, 9, 40])
@pytest.mark.parametrize("size", [(20, 30), (150, 99), (64, 20)])
def test_planes_scale_the_same_in_any_memory_layout(classes: int, size: tuple[int, int]) -> None:
    planes = make_sample(classes=classes).masks
    planar = np.moveaxis(bitmask.planar(planes), 0, -1)
    np.testing.assert_array_equal(scale_planes(planar, *size), scale_planes(planes, *size))
    found = sample_planes(planar, *size)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, sample_planes(planes, *size))
    wanted = [
        cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT) for mask in bitmask.to_masks(planes, classes)
    ]
    np.testing.assert_array_equal(list(bitmask.to_masks(found, classes)), wanted)
