"""The op keeps the contract of ops, and clips instead of wrapping."""

from __future__ import annotations

import numpy as np
from augforge_gain.gain import Gain

from augforge import bitmask
from augforge.ops import OPS, Context
from augforge.ops.contract import check_op
from augforge.sample import Sample


def test_contract() -> None:
    check_op(OPS["gain"])


def test_clips_instead_of_wrapping() -> None:
    image = np.array([[100, 200]], np.uint8)
    sample = Sample("a", image, bitmask.empty(1, 2, 1), bitmask.all_bits(1))
    (made,) = OPS["gain"].apply([sample], 1.5, Gain(), Context(("a",)))
    assert isinstance(made, Sample)
    assert made.image.tolist() == [[150, 255]]
