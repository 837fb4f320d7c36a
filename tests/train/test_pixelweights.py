"""Weights of pixels: U-Net's formula by brute force, regions, and what losses make of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from augforge import bitmask
from augforge.errors import TrainError
from augforge.train.config import LossConfig, TrainConfig
from augforge.train.data.inputspec import InputSpec, RunSpec
from augforge.train.data.pixelweights import border_nearness, pixel_weights
from augforge.train.labels.losses import build_losses
from augforge.train.net.losses import Losses
from augforge.train.net.pixels import activate, class_weights, decide_exclusive
from augforge.train.weighting import WeightsConfig

SQUARES = [(4, 4, 10, 12), (12, 4, 18, 12), (30, 30, 36, 34)]
"""Rows and columns y0, x0, y1, x1 of objects: two near each other, one far away."""


def masks_of_squares() -> np.ndarray:
    masks = np.zeros((2, 40, 40), np.uint8)
    for c, (y0, x0, y1, x1) in zip((0, 1, 1), SQUARES, strict=True):
        masks[c, y0:y1, x0:x1] = 1
    return masks


def test_borders_weigh_as_in_u_nets_paper() -> None:
    sigma = 2.0
    y, x = np.mgrid[:40, :40]
    distances = []
    for y0, x0, y1, x1 in SQUARES:
        down, across = np.maximum(0, np.maximum(y0 - y, y - (y1 - 1))), np.maximum(0, np.maximum(x0 - x, x - (x1 - 1)))
        distances.append(np.hypot(down, across))
    d1, d2 = np.sort(distances, axis=0)[:2]
    expected = np.exp(-((d1 + d2) ** 2) / (2 * sigma**2))
    planes = bitmask.from_masks(list(masks_of_squares()), 2)
    assert np.allclose(border_nearness(planes, [0, 1], sigma), expected, atol=1e-5)
    assert expected.max() > 0.2
    weights = pixel_weights(planes, ("a", "b"), WeightsConfig(border=10, border_sigma=sigma))
    assert np.allclose(weights, 1 + 10 * expected, atol=1e-4)


def test_regions_weigh_their_pixels_and_are_no_objects() -> None:
    masks = masks_of_squares()
    planes = bitmask.from_masks(list(masks), 2)
    weights = pixel_weights(planes, ("a", "uncertain"), WeightsConfig(regions={"uncertain": 0.25}, border=10))
    assert np.array_equal(weights, np.where(masks[1], np.float32(0.25), 1)), "one object alone has no border"


@pytest.fixture
def batch() -> tuple[torch.Tensor, ...]:
    """Logits, targets, counted and weights of 3 images, 2 classes, 5 x 4 pixels."""
    make = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2, 5, 4, generator=make)
    target = (torch.rand(3, 2, 5, 4, generator=make) < 0.4).float()
    counted = torch.rand(3, 2, 5, 4, generator=make) < 0.8
    return logits, target, counted, torch.rand(3, 1, 5, 4, generator=make)


def test_weights_are_those_of_torch(batch: tuple[torch.Tensor, ...]) -> None:
    logits, target, counted, weights = batch
    of_classes = class_weights({"b": 3.0}, ("a", "b"))
    found = Losses([LossConfig(name="bce")], of_classes)(logits, target, counted, weights)["loss"]
    every = (weights * torch.tensor([1.0, 3.0])[None, :, None, None])[counted]
    summed = functional.binary_cross_entropy_with_logits(logits[counted], target[counted], every, reduction="sum")
    assert torch.allclose(found, summed / every.sum())


def test_a_weight_of_nothing_is_as_if_the_pixel_did_not_count(batch: tuple[torch.Tensor, ...]) -> None:
    logits, target, counted, weights = batch
    keep = (weights > 0.5).float()
    for name in ("bce", "dice", "jaccard", "lovasz"):
        losses = Losses([LossConfig(name=name)])
        assert torch.equal(
            losses(logits, target, counted, keep)["loss"], losses(logits, target, counted & (keep > 0))["loss"]
        )


def exclusive(labels: torch.Tensor, classes: int) -> torch.Tensor:
    return functional.one_hot(labels, classes + 1).permute(0, 3, 1, 2)[:, 1:].float()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_torchs_with_a_background_whose_logit_is_0(smoothing: float) -> None:
    make = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(2, 3, 6, 5, generator=make), torch.randint(0, 4, (2, 6, 5), generator=make)
    of_classes = torch.tensor([1.0, 1.0, 4.0, 0.5])
    config = LossConfig(name="cross_entropy", smoothing=smoothing)
    losses = Losses([config], None if smoothing else of_classes[None, 1:, None, None])
    found = losses(logits, exclusive(labels, 3), torch.ones(1, 1, 1, 1, dtype=torch.bool))["loss"]
    every = torch.cat([torch.zeros(2, 1, 6, 5), logits], 1)
    expected = functional.cross_entropy(every, labels, None if smoothing else of_classes, label_smoothing=smoothing)
    assert torch.allclose(found, expected, atol=1e-6)


def test_cross_entropy_leaves_out_what_is_not_known() -> None:
    """An unknown class takes no part; pixels of no known class may be that class, and do not count."""
    logits = torch.tensor([1.0, 7.0])[None, :, None, None].expand(1, 2, 1, 2).clone().requires_grad_()
    target = torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]]]])
    known = torch.tensor([True, False])[None, :, None, None]
    loss = Losses([LossConfig(name="cross_entropy")])(logits, target, known)["loss"]
    assert loss.item() == pytest.approx(functional.cross_entropy(torch.tensor([[0.0, 1.0]]), torch.tensor([1])).item())
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[0, 1].abs().max() == 0
    assert logits.grad[0, :, 0, 1].abs().max() == 0


def test_two_classes_at_one_pixel_are_no_exclusive_classes() -> None:
    with pytest.raises(TrainError, match=r"cross_entropy is for classes that exclude.*Use bce"):
        Losses([LossConfig(name="cross_entropy")])(torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2, 2), torch.tensor(True))


def test_the_most_probable_exclusive_class_reaches_a_half() -> None:
    logits = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    every = torch.cat([torch.zeros(2, 1, 8, 8), logits], 1)
    best = every.argmax(1)
    assert torch.equal(decide_exclusive(logits) > 0.5, exclusive(best, 4) > 0)
    assert torch.allclose(activate(logits, exclusive=True).sum(1), 1 - every.softmax(1)[:, 0])


@pytest.mark.parametrize("name", ["bce", "focal", "cross_entropy"])
def test_gradients_of_unequal_batches_are_those_of_one_large_batch(name: str) -> None:
    """Batches that count few pixels weigh little; the amounts say how much."""
    make = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 3, (6, 5, 4), generator=make)
    target, weights = exclusive(labels, 2), torch.rand(6, 1, 5, 4, generator=make)
    counted = torch.rand(6, 1, 5, 4, generator=make) < torch.tensor([0.1, 0.9, 0.5, 0.2, 1.0, 0.7])[:, None, None, None]
    known = torch.tensor([[True, True]] * 4 + [[True, False]] * 2)[:, :, None, None]
    counted = counted & known
    target = target * known
    losses, parts = Losses([LossConfig(name=name)], class_weights({"b": 2.0}, ("a", "b"))), [slice(0, 1), slice(1, 6)]
    logits = torch.randn(6, 2, 5, 4, generator=make, dtype=torch.float32)

    def gradient(several: list[slice]) -> torch.Tensor:
        leaf = logits.clone().requires_grad_()
        amounts = torch.stack([losses.amounts(target[each], counted[each], weights[each]) for each in several])
        for each, share in zip(several, (amounts / amounts.sum(0)).float(), strict=True):
            losses(leaf[each], target[each], counted[each], weights[each], share)["loss"].backward()
        assert leaf.grad is not None
        return leaf.grad

    assert torch.allclose(gradient([slice(0, 6)]), gradient(parts), atol=1e-7)


def test_several_heads_count_as_their_mean() -> None:
    heads = [torch.full((1, 1, 4, 4), value) for value in (0.0, 2.0)]
    target, counted = torch.ones(1, 1, 4, 4), torch.tensor(True)
    losses = Losses([LossConfig(name="bce"), LossConfig(name="dice")])
    both, alone = losses(heads, target, counted), [losses(head, target, counted) for head in heads]
    assert all(torch.allclose(both[key], (alone[0][key] + alone[1][key]) / 2) for key in both)


def test_settings_that_do_not_go_together() -> None:
    spec = RunSpec("segmentation", ("a", "b"), (), (), InputSpec((32, 32), 1))
    both = TrainConfig(loss=(LossConfig(name="bce"), LossConfig(name="cross_entropy")))
    with pytest.raises(TrainError, match=r"cross_entropy is for classes.*bce judges each class by itself"):
        build_losses(both, spec, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="loss names none of them"):
        TrainConfig(loss=(LossConfig(name="dice"),), weights=WeightsConfig(border=10))
