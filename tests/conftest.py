"""Samples for the tests: small, made from a seed, with classes that overlap."""

from __future__ import annotations

import numpy as np

from augforge import bitmask
from augforge.sample import Sample


def class_names(classes: int) -> tuple[str, ...]:
    """A class table of that length: ``class-0``, ``class-1``, ..."""
    return tuple(f"class-{c}" for c in range(classes))


def make_sample(
    height: int = 48, width: int = 64, classes: int = 9, dtype: str = "uint8", channels: int = 1, seed: int = 0
) -> Sample:
    """A noisy image whose classes are random polygons that overlap; about one in five classes is absent."""
    rng = np.random.default_rng([seed, height, width, classes])
    corners = [rng.uniform(-0.1, 1.1, (rng.integers(3, 7), 2)) * (width, height) for _ in range(classes)]
    masks = bitmask.rasterise(
        [(c, [ring]) for c, ring in enumerate(corners) if c == 0 or rng.random() < 0.8], height, width, classes
    )
    shape = (height, width) if channels == 1 else (height, width, channels)
    image = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    return Sample(
        name=f"sample-{seed}",
        image=image,
        masks=masks,
        known=bitmask.all_bits(classes),
        group=f"person-{seed}",
        metadata={"age": 7.5 + seed, "sex": "FM"[seed % 2], "site": "left"},
    )
