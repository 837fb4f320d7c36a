"""Every loss against its definition, and what does not count: no say in values or gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from augforge.train.config import LossConfig
from augforge.train.net.losses import Losses

NAMES = ["bce", "focal", "dice", "jaccard", "lovasz", "tversky", "boundary", "ms_ssim"]


def one(name: str, logits: Tensor, target: Tensor, counted: Tensor | None = None, **options: float) -> Tensor:
    """The value of a single loss; everything counts unless said."""
    everything = torch.ones_like(logits, dtype=torch.bool)
    return Losses([LossConfig(name=name, **options)])(logits, target, everything if counted is None else counted)[
        "loss"
    ]


def picture(classes: int = 3, size: int = 24, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Random logits, hard targets of which each class has some, and a mask of pixels and classes that count."""
    draw = torch.Generator().manual_seed(seed)
    shape = (2, classes, size, size)
    logits = 2 * torch.randn(shape, generator=draw)
    target = (torch.randn(shape, generator=draw).cumsum(2).cumsum(3) > 0).float()
    counted = torch.rand(2, 1, size, size, generator=draw) > 0.3
    known = torch.tensor([[True, False, True], [True, False, False]])[:, :classes, None, None]
    return logits, target, counted & known


def numbers(logits: Tensor) -> np.ndarray:
    return logits.double().sigmoid().numpy()


def test_bce_is_cross_entropy_of_each_pixel() -> None:
    logits, target, _ = picture()
    p, t = numbers(logits), target.numpy()
    assert one("bce", logits, target).item() == pytest.approx(
        -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p)), rel=1e-5
    )


def test_smoothing_moves_targets_towards_a_half() -> None:
    logits, target, _ = picture()
    smooth = 0.9 * target + 0.05
    for name in ("bce", "focal"):
        assert one(name, logits, target, smoothing=0.05).item() == pytest.approx(one(name, logits, smooth).item())
    assert one("bce", logits, target, smoothing=0.05).item() != pytest.approx(one("bce", logits, target).item())


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_weighs_by_the_error_of_the_probability(gamma: float) -> None:
    logits, target, _ = picture()
    p = numbers(logits)
    of_truth = np.where(target.numpy() == 1, p, 1 - p)
    expected = np.mean(-((1 - of_truth) ** gamma) * np.log(of_truth))
    assert one("focal", logits, target, gamma=gamma).item() == pytest.approx(expected, rel=1e-5)


def tversky(logits: Tensor, target: Tensor, alpha: float, beta: float) -> float:
    p, t = numbers(logits), target.numpy()
    over = (0, 2, 3)
    both, false_positive, false_negative = (p * t).sum(over), (p * (1 - t)).sum(over), ((1 - p) * t).sum(over)
    return float(np.mean(1 - both / (both + alpha * false_positive + beta * false_negative)))


def test_overlap_losses_are_one_less_their_index_over_the_batch() -> None:
    logits, target, _ = picture()
    assert one("dice", logits, target).item() == pytest.approx(tversky(logits, target, 0.5, 0.5), rel=1e-5)
    assert one("jaccard", logits, target).item() == pytest.approx(tversky(logits, target, 1, 1), rel=1e-5)
    assert one("tversky", logits, target, alpha=0.3).item() == pytest.approx(
        tversky(logits, target, 0.3, 0.7), rel=1e-5
    )


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky"])
def test_overlap_losses_of_a_class_without_a_pixel_are_zero(name: str) -> None:
    logits, target, _ = picture()
    target[:, 1] = 0
    others = one(name, logits[:, [0, 2]], target[:, [0, 2]]).item()
    assert one(name, logits, target).item() == pytest.approx(others * 2 / 3)


@pytest.mark.parametrize("name", ["bce", "focal", "dice"])
def test_soft_targets_are_best_met_by_their_own_probability(name: str) -> None:
    target = torch.full((1, 1, 8, 8), 0.3)
    losses = {p: one(name, torch.full_like(target, math.log(p / (1 - p))), target).item() for p in (0.1, 0.3, 0.6)}
    assert min(losses, key=lambda p: losses[p]) == 0.3


def test_lovasz_is_the_jaccard_loss_at_the_corners() -> None:
    """The extension equals 1 - IoU of the wrong pixels where the hinge is 0 or 1: logits of +-1, by class."""
    _, target, _ = picture()
    guess = picture(seed=1)[1]
    logits = 2 * guess - 1
    wrong = guess != target
    iou = [1 - wrong[:, c].sum() / (target[:, c].bool() | wrong[:, c]).sum() for c in range(3)]
    assert one("lovasz", logits, target).item() == pytest.approx(2 * np.mean([1 - float(v) for v in iou]), rel=1e-5)


def test_boundary_weighs_errors_by_the_distance_to_both_boundaries() -> None:
    logits, target, _ = picture()
    p, t = logits.sigmoid().numpy(), target.numpy()
    expected = []
    for n in range(2):
        for c in range(3):
            fields = [distance_transform_edt(m) + distance_transform_edt(~m) for m in (p[n, c] > 0.5, t[n, c] > 0.5)]
            weighed = (p[n, c] - t[n, c]) ** 2 * (fields[0] ** 2 + fields[1] ** 2)
            expected.append(math.log(1 + weighed.mean()))
    assert one("boundary", logits, target).item() == pytest.approx(np.mean(expected), rel=1e-4)


@pytest.mark.parametrize("size", [16, 32, 64, 96])
def test_ms_ssim_is_zero_for_the_truth_and_grows_as_edges_are_lost(size: int) -> None:
    _, target, _ = picture(size=size)
    sharp, blurred = 40 * target - 20, 2 * target - 1
    noise = 20 * torch.randn(target.shape, generator=torch.Generator().manual_seed(1)).sign()
    values = [one("ms_ssim", logits, target).item() for logits in (sharp, blurred, noise)]
    assert values[0] == pytest.approx(0, abs=1e-5)
    assert 0.01 < values[1] < values[2] < 1


def test_ms_ssim_of_flat_pictures_is_their_luminance_at_the_last_scale() -> None:
    """(2pt + c) / (p^2 + t^2 + c) with c = 0.01^2, as (1 + s) / 2, to the power of the last of two scales' weights."""
    target, logits = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    similarity = 0.01**2 / (0.25 + 0.01**2)
    expected = 1 - ((1 + similarity) / 2) ** (0.2856 / (0.0448 + 0.2856))
    assert one("ms_ssim", logits, target).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_count_has_no_say(name: str) -> None:
    logits, target, counted = picture()
    other_logits = torch.where(counted, logits, torch.tensor(math.inf))
    other_target = torch.where(counted, target, 1 - target)
    logits.requires_grad_()
    value = one(name, logits, target, counted)
    value.backward()
    assert logits.grad is not None
    assert bool((logits.grad[~counted] == 0).all())
    assert bool((logits.grad[counted] != 0).any())

    other_logits.requires_grad_()
    other = one(name, other_logits, other_target, counted)
    other.backward()
    assert torch.equal(value, other)
    assert other_logits.grad is not None and torch.equal(logits.grad, other_logits.grad)


@pytest.mark.parametrize("name", NAMES)
def test_a_class_of_which_nothing_counts_is_as_if_it_were_not_there(name: str) -> None:
    logits, target, _ = picture()
    known = torch.tensor([True, False, True])[None, :, None, None]
    value = one(name, logits, target, known).item()
    assert value == pytest.approx(one(name, logits[:, [0, 2]], target[:, [0, 2]]).item(), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_counts_is_a_loss_of_zero(name: str) -> None:
    logits, target, _ = picture()
    logits.requires_grad_()
    value = one(name, logits, target, torch.zeros(2, 1, 1, 1, dtype=torch.bool))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert bool((logits.grad == 0).all())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [100.0, 0.0])
@pytest.mark.parametrize("present", [True, False])
def test_gradients_are_finite_at_the_extremes(name: str, scale: float, present: bool) -> None:
    """Saturated or equal logits, right and wrong, and pictures without the class."""
    logits, target, _ = picture()
    target = target * present
    logits = (scale * logits.sign()).requires_grad_()
    value = one(name, logits, target, gamma=0.5)
    value.backward()
    assert logits.grad is not None
    assert math.isfinite(value.item())
    assert bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_left_to_the_network(name: str, dtype: torch.dtype) -> None:
    logits, target, counted = picture()
    logits = logits.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = one(name, logits, target, counted)
    assert value.dtype == torch.float32
    assert value.item() == one(name, logits.float(), target, counted).item()


@pytest.mark.parametrize("name", NAMES)
def test_training_on_a_loss_finds_the_picture(name: str) -> None:
    _, target, _ = picture(classes=1, size=32)
    logits = torch.zeros_like(target).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(40):
        optimizer.zero_grad()
        one(name, logits, target).backward()
        optimizer.step()
    assert ((logits > 0) == target.bool()).float().mean() > 0.99


def test_losses_are_summed_by_weight_and_told_by_name() -> None:
    logits, target, counted = picture()
    configs = [
        LossConfig(name="bce", weight=0.5),
        LossConfig(name="focal", weight=2),
        LossConfig(name="focal", gamma=1),
    ]
    found = Losses(configs)(logits, target, counted)
    assert list(found) == ["bce", "focal", "focal_2", "loss"]
    assert found["bce"].item() == one("bce", logits, target, counted).item()
    assert found["loss"].item() == pytest.approx(0.5 * found["bce"] + 2 * found["focal"] + found["focal_2"])
