"""vflip, transpose90 and pad: pixels are moved, never interpolated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import class_names, make_sample
from pydantic import ValidationError

from augforge import bitmask
from augforge.errors import PlanError
from augforge.ops import BoundOp, Context
from augforge.ops.moves import Pad, Transpose90, VFlip, pad, transpose90
from augforge.sample import Sample

CONTEXT = Context(class_names(9))


def call_vflip(sample: Sample, **params: Any) -> Sample:
    (made,) = BoundOp("vflip", VFlip.model_validate(params)).call([sample], CONTEXT).results
    assert isinstance(made, Sample)
    return made


def call_transpose90(sample: Sample, quarters: int) -> Sample:
    (made,) = transpose90.apply([sample], {"quarters": quarters}, Transpose90(), CONTEXT)
    assert isinstance(made, Sample)
    return made


def call_pad(sample: Sample, **params: Any) -> Sample:
    (made,) = pad.apply([sample], None, Pad.model_validate(params), CONTEXT)
    assert isinstance(made, Sample)
    assert pad.sizes([(sample.width, sample.height)], Pad.model_validate(params)) == [(made.width, made.height)]
    return made


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("classes", [1, 9, 29, 70])
def test_vflip_mirrors_rows(classes: int, channels: int) -> None:
    sample = make_sample(classes=classes, channels=channels, dtype="uint16")
    made = call_vflip(sample)
    np.testing.assert_array_equal(made.image, sample.image[::-1])
    np.testing.assert_array_equal(made.masks, sample.masks[::-1])
    assert made.placements[0].matrix == ((1, 0, 0), (0, -1, 47)) and made.placements[0].clip == (0, 0, 64, 48)


def test_vflip_exchanges_classes_that_name_a_side() -> None:
    known = bitmask.select_bits([0, 1], 9)
    sample = make_sample()
    made = call_vflip(
        replace(sample, known=known, masks=bitmask.keep(sample.masks, known)), swap=[["class-0", "class-8"]]
    )
    np.testing.assert_array_equal(bitmask.class_mask(made.masks, 8), bitmask.class_mask(sample.masks, 0)[::-1])
    assert not bitmask.class_mask(made.masks, 0).any()
    np.testing.assert_array_equal(made.known, bitmask.select_bits([8, 1], 9))
    with pytest.raises(PlanError, match="no class 'class-99'"):
        VFlip(swap=(("class-0", "class-99"),)).check(CONTEXT)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("classes", [9, 70])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_transpose90_turns_counter_clockwise(quarters: int, classes: int, channels: int) -> None:
    sample = make_sample(classes=classes, channels=channels)
    made = call_transpose90(sample, quarters)
    np.testing.assert_array_equal(made.image, np.rot90(sample.image, quarters))
    np.testing.assert_array_equal(made.masks, np.rot90(sample.masks, quarters))
    assert made.image.flags.c_contiguous and made.masks.flags.c_contiguous


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize(("height", "width"), [(48, 64), (7, 4), (1, 1)])
def test_transpose90_matrix_leads_to_the_pixel(quarters: int, height: int, width: int) -> None:
    sample = make_sample(height, width, dtype="uint16")
    made = call_transpose90(sample, quarters)
    for x, y in ((0, 0), (width - 1, 0), (width // 2, height - 1)):
        column, row = np.array(made.placements[0].matrix) @ (x, y, 1)
        assert made.image[int(row), int(column)] == sample.image[y, x]
        assert (column % 1, row % 1) == (0, 0)


def test_transpose90_says_its_sizes() -> None:
    for quarters, size, expected, exact in (
        ((1, 3), (64, 48), [(48, 64)], True),
        ((0, 2), (64, 48), [(64, 48)], True),
        ((1, 2), (64, 48), [(64, 48), (48, 64)], False),
        ((0, 1, 2, 3), (50, 50), [(50, 50)], False),
    ):
        params = Transpose90(quarters=quarters)
        assert (transpose90.sizes([size], params), transpose90.exact(params)) == (expected, exact)


def test_quarters_are_equally_likely() -> None:
    rng, params = np.random.default_rng(0), Transpose90(quarters=(1, 2, 3))
    inputs = [make_sample()]
    assert transpose90.draw is not None
    drawn = [transpose90.draw(rng, inputs, params, CONTEXT)["quarters"] for _ in range(900)]
    assert set(drawn) == {1, 2, 3} and min(drawn.count(k) for k in (1, 2, 3)) > 240


@pytest.mark.parametrize(
    ("params", "size", "corner"),
    [
        ({"size": 100}, (100, 100), (18, 26)),
        ({"size": [64, 51]}, (64, 51), (0, 1)),
        ({"size": [10, 10]}, (64, 48), (0, 0)),
        ({"size": [70, 10]}, (70, 48), (3, 0)),
        ({"multiple": 32}, (64, 64), (0, 8)),
        ({"multiple": 32, "size": 65}, (96, 96), (16, 24)),
        ({"multiple": 7, "place": "top-left"}, (70, 49), (0, 0)),
    ],
)
@pytest.mark.parametrize("channels", [1, 4])
def test_pad_surrounds_the_image(
    params: dict[str, Any], size: tuple[int, int], corner: tuple[int, int], channels: int
) -> None:
    sample = make_sample(channels=channels)
    made = call_pad(sample, fill=77, **params)
    assert (made.width, made.height) == size
    inside = (slice(corner[1], corner[1] + 48), slice(corner[0], corner[0] + 64))
    np.testing.assert_array_equal(made.image[inside], sample.image)
    np.testing.assert_array_equal(made.masks[inside], sample.masks)
    border = np.ones((made.height, made.width), bool)
    border[inside] = False
    assert (made.image[border] == 77).all() and not made.masks[border].any()
    assert made.placements[0].matrix == ((1, 0, corner[0]), (0, 1, corner[1]))
    assert made.placements[0].clip == (corner[0], corner[1], corner[0] + 64, corner[1] + 48)


@pytest.mark.parametrize("params", [{}, {"size": 0}, {"multiple": 0}, {"size": 9, "place": "left"}])
def test_pad_refuses(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Pad.model_validate(params)


@pytest.mark.parametrize("quarters", [[], [4], [-1]])
def test_transpose90_refuses(quarters: list[int]) -> None:
    with pytest.raises(ValidationError):
        Transpose90.model_validate({"quarters": quarters})
