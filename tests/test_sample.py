"""What a Sample refuses, and what derive keeps."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest
from conftest import make_sample

from augforge import bitmask
from augforge.sample import IDENTITY, Placement, Sample


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3), (4, 5, 4), (1, 1)])
def test_valid_images(shape: tuple[int, ...], dtype: str) -> None:
    sample = Sample("a", np.zeros(shape, dtype), bitmask.empty(shape[0], shape[1], 9), bitmask.all_bits(9))
    assert (sample.height, sample.width) == shape[:2]
    assert (sample.group, sample.split, sample.label, dict(sample.metadata)) == ("", "train", None, {})


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((4, 5), "float32"),
        ((4, 5), "bool"),
        ((4, 5), "int16"),
        ((4, 5, 1), "uint8"),
        ((4, 5, 2), "uint8"),
        ((4, 5, 5), "uint8"),
        ((5,), "uint8"),
        ((2, 4, 5, 3), "uint8"),
        ((0, 5), "uint8"),
        ((4, 0, 3), "uint8"),
    ],
)
def test_invalid_images(shape: tuple[int, ...], dtype: str) -> None:
    with pytest.raises(ValueError, match=rf"image is {dtype} .*; expected uint8 or uint16, \(H, W\)"):
        Sample("a", np.zeros(shape, dtype), bitmask.empty(4, 5, 9), bitmask.all_bits(9))


@pytest.mark.parametrize(
    "masks",
    [
        bitmask.empty(4, 5, 8),
        bitmask.empty(4, 5, 17),
        bitmask.empty(5, 4, 9),
        bitmask.empty(4, 5, 9).astype(np.int32),
        bitmask.empty(4, 5, 9)[..., 0],
    ],
)
def test_invalid_masks(masks: Any) -> None:
    with pytest.raises(ValueError, match=r"masks are .*; expected uint8 \(4, 5, 2\)"):
        Sample("a", np.zeros((4, 5), np.uint8), masks, bitmask.all_bits(9))


def test_samples_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        make_sample().name = "other"  # type: ignore[misc]


def test_derive_keeps_what_is_not_changed() -> None:
    sample = replace(make_sample(), split="val", label=np.ones(2, np.float32))
    made = sample.derive(sample.image[:9, :7], sample.masks[:9, :7], mark="@0,0")
    for name in ("name", "group", "split", "label", "metadata", "known"):
        assert getattr(made, name) is getattr(sample, name)
    assert made.mark == "@0,0" and made.placements == (Placement(IDENTITY, (0, 0, 7, 9), 0),)


def test_derive_takes_placements_and_changes() -> None:
    sample = make_sample()
    placed = (Placement(IDENTITY, (0, 0, 3, 3), 1),)
    made = sample.derive(sample.image, sample.masks, placements=placed, known=sample.known * 0, group="other")
    assert made.placements == placed and not made.known.any() and made.group == "other"
    assert made.derive(made.image, made.masks).mark == "" and sample.placements == ()


def test_derive_checks_too() -> None:
    sample = make_sample()
    with pytest.raises(ValueError, match="masks are"):
        sample.derive(sample.image[:5], sample.masks)
