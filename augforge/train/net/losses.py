"""Losses of segmentation by name, which ignore everything that does not count.

Where nothing counts (classes that are not known, ``ignore`` pixels), logits and targets are replaced by a constant, so
that they change neither the loss nor its gradient. Each loss is a mean over what counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from augforge.errors import MissingExtra
from augforge.train.net.pixels import Pixels, exclusive_pixels
from augforge.train.net.vision import smp

if TYPE_CHECKING:
    from augforge.train.config import LossConfig, LossName


class Term(NamedTuple):
    """One loss: its value for a batch, and how much of the batch the value is a mean of."""

    value: Callable[[Pixels], Tensor]
    amount: Callable[[Pixels], Tensor] = lambda pixels: pixels.counted.sum()


_NOT_COUNTED = -1.0
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of MS-SSIM's scales, the finest first (Wang et al. 2003)."""


class Losses:
    """The losses of a configuration and their weighted sum, computed in float32 even under AMP.

    Args:
        configs: the losses.
        class_weights: of classes, (1, C, 1, 1); None if all count alike.
    """

    def __init__(self, configs: Sequence[LossConfig], class_weights: Tensor | None = None) -> None:
        names = [config.name for config in configs]
        earlier = [names[:i].count(name) for i, name in enumerate(names)]
        self._keys = [name if not n else f"{name}_{n + 1}" for name, n in zip(names, earlier, strict=True)]
        self._weights = [config.weight for config in configs]
        self._terms = [_TERMS[config.name](config) for config in configs]
        self._exclusive, self._class_weights = "cross_entropy" in names, class_weights

    def __call__(
        self,
        logits: Tensor | Sequence[Tensor],
        target: Tensor,
        counted: Tensor,
        weights: Tensor | None = None,
        shares: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Each loss by its name (a second one of that name is ``name_2``), and ``loss``, their weighted sum; scalars.

        Args:
            logits: (N, C, H, W), any float type; or several such, of a network with deep supervision: the mean counts.
            target: (N, C, H, W), 0 to 1.
            counted: bool, of a shape that broadcasts to (N, C, H, W); what is False has no influence.
            weights: how much pixels count, of a shape that broadcasts to (N, 1, H, W).
            shares: what to multiply each loss by, (losses,): the part of a step that this batch is.
        """
        heads = [logits] if isinstance(logits, Tensor) else list(logits)
        factors = torch.ones(len(self._terms)) if shares is None else shares
        with torch.autocast(heads[0].device.type, enabled=False):
            several = [self._values(head, target, counted, weights) for head in heads]
            means = [
                values[0] if len(values) == 1 else sum(values) / len(values) for values in zip(*several, strict=True)
            ]
            losses = {key: loss * factor for key, loss, factor in zip(self._keys, means, factors, strict=True)}
            total = sum(weight * loss for weight, loss in zip(self._weights, losses.values(), strict=True))
        return {**losses, "loss": total}

    def _values(self, logits: Tensor, target: Tensor, counted: Tensor, weights: Tensor | None) -> list[Tensor]:
        pixels = self._pixels(logits, target, counted, weights)
        return [term.value(pixels) for term in self._terms]

    def amounts(self, target: Tensor, counted: Tensor, weights: Tensor | None = None) -> Tensor:
        """How much of a batch each loss is a mean of, float32 (losses,): counted pixels, or the sum of their weights.

        The loss of several batches is that of one large batch if each counts by its amount: exactly for losses of
        single pixels (bce, focal, cross_entropy), nearly for those of whole regions.
        """
        pixels = self._pixels(target, target, counted, weights)
        return torch.stack([term.amount(pixels).float() for term in self._terms])

    def _pixels(self, logits: Tensor, target: Tensor, counted: Tensor, weights: Tensor | None) -> Pixels:
        return Pixels.of(logits, target, counted, weights, self._class_weights, self._exclusive)


def smooth(target: Tensor, smoothing: float) -> Tensor:
    """Targets 0 to 1 of what is judged by itself, with label smoothing: from `smoothing` to 1 - `smoothing`."""
    return target * (1 - 2 * smoothing) + smoothing


def focal_factor(logits: Tensor, target: Tensor, gamma: float) -> Tensor:
    """What focal loss multiplies BCE with, for soft targets as quality focal loss (Li et al. 2020): |p - t|^gamma."""
    return (logits.sigmoid() - target).abs().clamp_min(1e-6) ** gamma  # for gamma < 1, the gradient at 0 is infinite


def _mean(values: Tensor, weighting: Tensor) -> Tensor:
    """Mean over what counts, by its weight if that is not bool; 0 if nothing does."""
    if weighting.dtype == torch.bool:
        return torch.where(weighting, values, 0).sum() / weighting.sum().clamp_min(1)
    return torch.where(weighting > 0, values * weighting, 0).sum() / weighting.sum().clamp_min(1e-9)


def _weighted(pixels: Pixels) -> Tensor:
    return pixels.weighting.sum()


def _bce(config: LossConfig) -> Term:
    """Binary cross entropy."""

    def value(pixels: Pixels) -> Tensor:
        target = smooth(pixels.target, config.smoothing)
        return _mean(F.binary_cross_entropy_with_logits(pixels.logits, target, reduction="none"), pixels.weighting)

    return Term(value, _weighted)


def _focal(config: LossConfig) -> Term:
    """Focal loss (Lin et al. 2017), for soft targets as quality focal loss (Li et al. 2020): |p - t|^gamma BCE."""

    def value(pixels: Pixels) -> Tensor:
        target = smooth(pixels.target, config.smoothing)
        entropy = F.binary_cross_entropy_with_logits(pixels.logits, target, reduction="none")
        return _mean(entropy * focal_factor(pixels.logits, target, config.gamma), pixels.weighting)

    return Term(value, _weighted)


def _cross_entropy(config: LossConfig) -> Term:
    """Cross entropy of classes that exclude each other, with the background as one more, whose logit is 0."""

    def value(pixels: Pixels) -> Tensor:
        return _mean(*exclusive_pixels(pixels, config.smoothing))

    return Term(value, lambda pixels: exclusive_pixels(pixels)[1].sum())


def _region(name: str, **options: Any) -> Term:
    """A loss of SMP over all pixels of the batch, class by class; a class without a true pixel adds 0."""
    loss = getattr(smp().losses, name)("multilabel", from_logits=False, **options)

    def value(pixels: Pixels) -> Tensor:
        classes = pixels.counted.any(3).any(2).any(0)
        mean: Tensor = loss(pixels.probabilities, pixels.target)
        return mean * len(classes) / classes.sum().clamp_min(1)  # SMP's mean includes the classes that do not count

    return Term(value)


def _tversky(config: LossConfig) -> Term:
    """1 - TP / (TP + alpha FP + (1 - alpha) FN) (Salehi et al. 2017)."""
    return _region("TverskyLoss", alpha=config.alpha, beta=1 - config.alpha)


def _lovasz(config: LossConfig) -> Term:
    """Lovasz hinge (Berman et al. 2018) over the pixels of the batch, class by class; soft targets are rounded."""
    loss = smp().losses.LovaszLoss("binary", ignore_index=_NOT_COUNTED)

    def value(pixels: Pixels) -> Tensor:
        labels = torch.where(pixels.counted, pixels.target.round(), _NOT_COUNTED)
        classes = range(pixels.logits.shape[1])
        values = torch.stack([loss(pixels.logits[:, c], labels[:, c]) for c in classes])
        return _mean(values, pixels.counted.any(3).any(2).any(0))

    return Term(value)


def _boundary(config: LossConfig) -> Term:
    """Hausdorff loss by distance transforms (Karimi & Salcudean 2019), log(1 + loss) of each class of each image.

    Soft targets have their boundary at 0.5. Slow: four distance transforms on the CPU for each class of each image.
    """
    loss = _library("monai.losses", "monai").LogHausdorffDTLoss(include_background=True, reduction="none")

    def value(pixels: Pixels) -> Tensor:
        values = loss(pixels.probabilities, pixels.target).flatten(1)
        return _mean(values, pixels.counted.any(3).any(2))

    return Term(value)


def _ms_ssim(config: LossConfig) -> Term:
    """1 - MS-SSIM (Wang et al. 2003) of each class of each image, on as many of its five scales as the size allows.

    The similarity s of a scale is mapped to (1 + s) / 2, because its power has no finite gradient at 0.
    """
    images = _library("torchmetrics.functional.image", "torchmetrics")

    def value(pixels: Pixels) -> Tensor:
        shape = (-1, 1, *pixels.logits.shape[2:])
        values = images.multiscale_structural_similarity_index_measure(
            pixels.probabilities.reshape(shape),
            pixels.target.reshape(shape),
            reduction="none",
            data_range=1.0,
            betas=_scales(min(pixels.logits.shape[2:])),
            normalize="simple",
        )
        return _mean(1 - values, pixels.counted.any(3).any(2).flatten())

    return Term(value)


def _scales(size: int) -> tuple[float, ...]:
    """The weights of as many scales as torchmetrics can compute for images of that size with its kernel of 11."""
    count = max(n for n in range(1, len(_SCALES) + 1) if n == 1 or size // (n - 1) ** 2 > 10)
    return tuple(weight / sum(_SCALES[:count]) for weight in _SCALES[:count])


def _library(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError:
        raise MissingExtra(package, "train", "this loss") from None


_TERMS: dict[LossName, Callable[[LossConfig], Term]] = {
    "bce": _bce,
    "focal": _focal,
    "cross_entropy": _cross_entropy,
    "dice": lambda config: _region("DiceLoss"),
    "jaccard": lambda config: _region("JaccardLoss"),
    "tversky": _tversky,
    "lovasz": _lovasz,
    "boundary": _boundary,
    "ms_ssim": _ms_ssim,
}
