"""normalise_intensity against numpy's percentiles."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import class_names, make_sample
from pydantic import ValidationError

from augforge.ops import OPS, Context
from augforge.ops.photometry import NormaliseIntensity, gray_window
from augforge.sample import Sample


def normalise(image: np.ndarray, **params: Any) -> Sample:
    sample = replace(make_sample(*image.shape[:2]), image=image)
    checked = NormaliseIntensity.model_validate(params)
    (made,) = OPS["normalise_intensity"].apply([sample], None, checked, Context(class_names(9)))
    assert isinstance(made, Sample)
    np.testing.assert_array_equal(made.masks, sample.masks)
    return made


@pytest.mark.parametrize("percentiles", [(0, 100), (1, 99), (0.5, 99.5), (25, 75), (10, 10.1), (33.3, 66.7)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (7, 9), (40, 25), (33, 31, 3)])
def test_window_is_that_of_numpy(shape: tuple[int, ...], dtype: str, percentiles: tuple[float, float]) -> None:
    for seed in range(5):
        image = np.random.default_rng(seed).integers(40, 230, shape, dtype)
        assert gray_window(image, percentiles) == tuple(np.percentile(image, percentiles, method="inverted_cdf"))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_gray_values_are_stretched_and_clipped(channels: int, dtype: str, bits: int) -> None:
    image = make_sample(dtype=dtype, channels=channels).image // 3 + 20
    low, high = np.percentile(image, (5, 90), method="inverted_cdf")
    made = normalise(image, percentiles=[5, 90], bits=bits)
    assert made.image.dtype == f"uint{bits}" and made.notes == {"window": [low, high]}
    expected = np.clip((image.astype(float) - low) / (high - low), 0, 1) * (2**bits - 1)
    assert np.abs(made.image - expected).max() <= 0.5


def test_whole_range_is_used() -> None:
    made = normalise(np.array([[100, 101, 150, 200]], np.uint16), percentiles=[0, 100])
    assert made.image.tolist() == [[0, 3, 128, 255]]


def test_one_gray_value_becomes_black() -> None:
    assert not normalise(np.full((5, 5), 77, np.uint16)).image.any()


@pytest.mark.parametrize(("dtype", "bits"), [("uint8", 8), ("uint8", 16), ("uint16", 8), ("uint16", 16)])
def test_alpha_keeps_its_meaning(dtype: str, bits: int) -> None:
    image = make_sample(dtype=dtype, channels=4).image
    most = np.iinfo(dtype).max
    image[0, 0, 3], image[0, 1, 3] = 0, most
    made = normalise(image, bits=bits)
    np.testing.assert_array_equal(made.image[..., :3], normalise(np.ascontiguousarray(image[..., :3]), bits=bits).image)
    assert np.abs(made.image[..., 3] / (2**bits - 1) - image[..., 3] / most).max() <= 0.5 / (2**bits - 1) + 1e-9


def test_percentiles_must_ascend() -> None:
    for wrong in ([5, 5], [90, 10], [-1, 50], [0, 101]):
        with pytest.raises(ValidationError):
            NormaliseIntensity.model_validate({"percentiles": wrong})
