"""Losses of segmentation by name, which ignore everything that does not count.

Where nothing counts (classes that are not known, ``ignore`` pixels), logits and targets are replaced by a constant, so
that they change neither the loss nor its gradient. Each loss is a mean over what counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from augforge.errors import MissingExtra
from augforge.train.net.vision import smp

if TYPE_CHECKING:
    from augforge.train.config import LossConfig, LossName

Term = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A function of logits, targets and bool `counted`, all (N, C, H, W), to a scalar."""

_NOT_COUNTED = -1.0
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of MS-SSIM's scales, the finest first (Wang et al. 2003)."""


class Losses:
    """The losses of a configuration and their weighted sum, computed in float32 even under AMP."""

    def __init__(self, configs: Sequence[LossConfig]) -> None:
        names = [config.name for config in configs]
        earlier = [names[:i].count(name) for i, name in enumerate(names)]
        self._keys = [name if not n else f"{name}_{n + 1}" for name, n in zip(names, earlier, strict=True)]
        self._weights = [config.weight for config in configs]
        self._terms = [_TERMS[config.name](config) for config in configs]

    def __call__(self, logits: Tensor, target: Tensor, counted: Tensor) -> dict[str, Tensor]:
        """Each loss by its name (a second one of that name is ``name_2``), and ``loss``, their weighted sum; scalars.

        Args:
            logits: (N, C, H, W), any float type.
            target: (N, C, H, W), 0 to 1.
            counted: bool, of a shape that broadcasts to (N, C, H, W); what is False has no influence.
        """
        with torch.autocast(logits.device.type, enabled=False):
            counted = counted.expand_as(logits)
            logits = torch.where(counted, logits.float(), 0)
            target = torch.where(counted, target.float(), 0)
            losses = {key: term(logits, target, counted) for key, term in zip(self._keys, self._terms, strict=True)}
            total = sum(weight * loss for weight, loss in zip(self._weights, losses.values(), strict=True))
        return {**losses, "loss": total}  # type: ignore[dict-item]


def _smooth(target: Tensor, smoothing: float) -> Tensor:
    return target * (1 - 2 * smoothing) + smoothing


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Mean over what counts; 0 if nothing does."""
    return torch.where(counted, values, 0).sum() / counted.sum().clamp_min(1)


def _bce(config: LossConfig) -> Term:
    """Binary cross entropy."""

    def term(logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
        target = _smooth(target, config.smoothing)
        return _mean(F.binary_cross_entropy_with_logits(logits, target, reduction="none"), counted)

    return term


def _focal(config: LossConfig) -> Term:
    """Focal loss (Lin et al. 2017), for soft targets as quality focal loss (Li et al. 2020): |p - t|^gamma BCE."""

    def term(logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
        target = _smooth(target, config.smoothing)
        entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        error = (
            (logits.sigmoid() - target).abs().clamp_min(1e-6)
        )  # for gamma below 1, the gradient at 0 would be infinite
        return _mean(entropy * error**config.gamma, counted)

    return term


def _region(name: str, **options: Any) -> Term:
    """A loss of SMP over all pixels of the batch, class by class; a class without a true pixel adds 0."""
    loss = getattr(smp().losses, name)("multilabel", from_logits=False, **options)

    def term(logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
        classes = counted.any(3).any(2).any(0)
        mean: Tensor = loss(logits.sigmoid() * counted, target)
        return mean * len(classes) / classes.sum().clamp_min(1)  # SMP's mean includes the classes that do not count

    return term


def _tversky(config: LossConfig) -> Term:
    """1 - TP / (TP + alpha FP + (1 - alpha) FN) (Salehi et al. 2017)."""
    return _region("TverskyLoss", alpha=config.alpha, beta=1 - config.alpha)


def _lovasz(config: LossConfig) -> Term:
    """Lovasz hinge (Berman et al. 2018) over the pixels of the batch, class by class; soft targets are rounded."""
    loss = smp().losses.LovaszLoss("binary", ignore_index=_NOT_COUNTED)

    def term(logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
        labels = torch.where(counted, target.round(), _NOT_COUNTED)
        values = torch.stack([loss(logits[:, c], labels[:, c]) for c in range(logits.shape[1])])
        return _mean(values, counted.any(3).any(2).any(0))

    return term


def _boundary(config: LossConfig) -> Term:
    """Hausdorff loss by distance transforms (Karimi & Salcudean 2019), log(1 + loss) of each class of each image.

    Soft targets have their boundary at 0.5. Slow: four distance transforms on the CPU for each class of each image.
    """
    loss = _library("monai.losses", "monai").LogHausdorffDTLoss(include_background=True, reduction="none")

    def term(logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
        values = loss(logits.sigmoid() * counted, target).flatten(1)
        return _mean(values, counted.any(3).any(2))

    return term


def _ms_ssim(config: LossConfig) -> Term:
    """1 - MS-SSIM (Wang et al. 2003) of each class of each image, on as many of its five scales as the size allows.

    The similarity s of a scale is mapped to (1 + s) / 2, because its power has no finite gradient at 0.
    """
    images = _library("torchmetrics.functional.image", "torchmetrics")

    def term(logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
        shape = (-1, 1, *logits.shape[2:])
        values = images.multiscale_structural_similarity_index_measure(
            (logits.sigmoid() * counted).reshape(shape),
            target.reshape(shape),
            reduction="none",
            data_range=1.0,
            betas=_scales(min(logits.shape[2:])),
            normalize="simple",
        )
        return _mean(1 - values, counted.any(3).any(2).flatten())

    return term


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
    "dice": lambda config: _region("DiceLoss"),
    "jaccard": lambda config: _region("JaccardLoss"),
    "tversky": _tversky,
    "lovasz": _lovasz,
    "boundary": _boundary,
    "ms_ssim": _ms_ssim,
}
