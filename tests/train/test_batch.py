"""A batch on its device: images, targets, and which pixels count."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import make_sample

from augforge.sample import Sample

torch = pytest.importorskip("torch")

from augforge import bitmask  # noqa: E402
from augforge.train.data.batch import Batch, images_to_device, targets_to_device  # noqa: E402
from augforge.train.data.inputspec import InputSpec  # noqa: E402

CLASSES = tuple(f"class-{c}" for c in range(9))


def batch_of(*seeds: int, known: list[list[int]], dtype: str = "uint8") -> tuple[Batch, list[Sample]]:
    samples = [make_sample(32, 64, 9, seed=seed, dtype=dtype) for seed in seeds]
    flags = np.array([[c in row for c in range(9)] for row in known])
    spec = InputSpec((64, 32), 1)
    made = Batch(
        names=tuple(sample.name for sample in samples),
        images=torch.from_numpy(np.stack([sample.image[None] for sample in samples])),
        shift_and_scale=torch.from_numpy(np.stack([spec.shift_and_scale(sample.image) for sample in samples])),
        planes=torch.from_numpy(np.stack([bitmask.planar(sample.masks) for sample in samples])),
        known=torch.from_numpy(flags),
        labels=torch.zeros(len(samples), 0),
    )
    return made, samples


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_images_are_as_in_prediction(dtype: str) -> None:
    batch, samples = batch_of(1, 2, known=[[], []], dtype=dtype)
    for channels in (1, 3):
        images = images_to_device(batch, "cpu", channels)
        assert images.shape == (2, channels, 32, 64)
        wanted = torch.stack([InputSpec((64, 32), channels).pixels(sample.image) for sample in samples])
        torch.testing.assert_close(images, wanted, rtol=0, atol=0)


def test_targets_are_the_masks() -> None:
    batch, samples = batch_of(1, 2, known=[list(range(9)), [0, 8]])
    target, counted = targets_to_device(batch, CLASSES, "cpu")
    assert target.dtype == torch.float32
    wanted = [list(bitmask.to_masks(sample.masks, 9)) for sample in samples]
    np.testing.assert_array_equal(target.numpy(), wanted)
    assert counted.dtype == torch.bool
    assert counted.broadcast_to(target.shape)[0].all()
    assert counted[1, :, 0, 0].tolist() == [c in (0, 8) for c in range(9)]


def test_ignore_is_no_output_and_counts_nowhere() -> None:
    batch, samples = batch_of(3, 4, known=[list(range(9)), [0, 1, 5]])
    classes = (*CLASSES[:2], "ignore", *CLASSES[3:])
    target, counted = targets_to_device(batch, classes, "cpu")
    assert target.shape == counted.shape == (2, 8, 32, 64)
    outputs = [0, 1, 3, 4, 5, 6, 7, 8]
    for n, sample in enumerate(samples):
        masks = list(bitmask.to_masks(sample.masks, 9))
        np.testing.assert_array_equal(target[n], [masks[c] for c in outputs])
        for row, c in enumerate(outputs):
            known = n == 0 or c in (0, 1, 5)
            np.testing.assert_array_equal(counted[n, row], (masks[2] == 0) & known)
    assert samples[0].masks.any()
