"""Cases of a review with pictures that are made on the spot."""

from __future__ import annotations

from typing import Any

import numpy as np

from augforge import bitmask
from augforge.report.review.case import Case, Reason, View
from augforge.sample import Sample


def sample_of(name: str) -> Sample:
    masks = np.zeros((1, 40, 60), np.uint8)
    masks[0, 10:30, 5:25] = 1
    planes = bitmask.from_masks(masks)
    return Sample(name, np.full((40, 60), 90, np.uint8), planes, bitmask.all_bits(1), "g", "train")


def case_of(name: str, **view: Any) -> Case:
    shown = View(lambda: sample_of(name), ("bone",), **view)
    return Case(name, "g", "train", (Reason("metal", "ring", 3.5),), shown)
