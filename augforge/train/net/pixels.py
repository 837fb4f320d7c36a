"""What a loss sees of a batch: logits and targets, and how much each pixel of each class counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from augforge.errors import TrainError


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """A batch for losses, all (N, C, H, W) in float32.

    Attributes:
        logits: 0 where nothing counts.
        target: 0 to 1; 0 where nothing counts.
        counted: bool, what counts at all.
        weighting: how much it counts: `counted` itself, or float if pixels or classes have weights.
        plain: how much a pixel of the background counts, of a shape that broadcasts to (N, 1, H, W).
        exclusive: whether classes exclude each other, so that the background is one class more.
    """

    logits: Tensor
    target: Tensor
    counted: Tensor
    weighting: Tensor
    plain: Tensor
    exclusive: bool = False

    @classmethod
    def of(
        cls,
        logits: Tensor,
        target: Tensor,
        counted: Tensor,
        weights: Tensor | None = None,
        of_classes: Tensor | None = None,
        exclusive: bool = False,
    ) -> Pixels:
        """The pixels of a batch.

        Args:
            logits: (N, C, H, W), any float type.
            target: (N, C, H, W), 0 to 1.
            counted: bool, of a shape that broadcasts to (N, C, H, W); what is False has no influence.
            weights: of pixels, 0 or more, of a shape that broadcasts to (N, 1, H, W); None if all count alike.
            of_classes: weights of classes, above 0, (1, C, 1, 1); None if all count alike.
            exclusive: whether classes exclude each other.
        """
        plain = logits.new_ones((), dtype=torch.float32) if weights is None else weights.float()
        counted = counted.expand_as(logits)
        if weights is not None:  # otherwise counted stays a view: another layout in memory would sum in another order
            counted = counted & (plain > 0)
        weighting = counted
        if weights is not None or of_classes is not None:
            weighting = torch.where(counted, plain if of_classes is None else plain * of_classes.to(plain), 0)
        logits, target = torch.where(counted, logits.float(), 0), torch.where(counted, target.float(), 0)
        return cls(logits, target, counted, weighting, plain, exclusive)

    @property
    def probabilities(self) -> Tensor:
        """Of each class, 0 where nothing counts."""
        return activate(self.logits, self.exclusive) * self.counted


def activate(logits: Tensor, exclusive: bool) -> Tensor:
    """Probabilities of logits (N, C, H, W): of each class by itself, or of classes that exclude each other.

    The background's logit is 0: the probabilities of exclusive classes sum to 1 with that of the background.
    """
    return with_background(logits).softmax(1)[:, 1:] if exclusive else logits.sigmoid()


def decide_exclusive(logits: Tensor) -> Tensor:
    """For classes that exclude each other, the probability of each against its strongest rival, (N, C, H, W).

    It is at least 0.5 for the most probable class alone, and for none where that is the background, so that the usual
    threshold of 0.5 takes the most probable class, as cross entropy means it.
    """
    every = with_background(logits)
    first, second = every.topk(2, dim=1).values.split(1, dim=1)
    rival = torch.where(logits == first, second, first)
    return (logits - rival).sigmoid()


def with_background(logits: Tensor) -> Tensor:
    """Logits (N, C, H, W) with that of the background, 0, in front: (N, 1 + C, H, W)."""
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], 1)


def exclusive_pixels(pixels: Pixels, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Cross entropy of exclusive classes at each pixel, and how much the pixel counts: both (N, H, W).

    A pixel of no class counts, as background, only where every class is known. Classes that do not count take no part.

    Raises:
        TrainError: two classes are true at one pixel.
    """
    total = pixels.target.sum(1, keepdim=True)
    if bool((total > 1 + 1e-4).any()):
        raise TrainError(
            "cross_entropy is for classes that exclude each other, but two classes are true at one pixel of the "
            "training data. Use bce, which judges each class by itself"
        )
    every = torch.cat([1 - total, pixels.target], 1)
    takes_part = torch.cat([torch.ones_like(total, dtype=torch.bool), pixels.counted], 1)
    logs = with_background(pixels.logits.masked_fill(~pixels.counted, -1e4)).log_softmax(1)
    smooth = every * (1 - smoothing) + smoothing * takes_part / takes_part.sum(1, keepdim=True)
    entropy = -torch.where(takes_part, smooth * logs, 0).sum(1)
    sure = pixels.counted.all(1) | ((total[:, 0] > 0) & pixels.counted.any(1))
    weights = torch.cat([pixels.plain.expand_as(total), pixels.weighting.float()], 1)
    return entropy, torch.where(sure, (every * weights).sum(1), 0)


def class_weights(weights: dict[str, float], outputs: Sequence[str]) -> Tensor | None:
    """Weights of the outputs, (1, C, 1, 1); None if all are 1."""
    values = [weights.get(name, 1.0) for name in outputs]
    return torch.tensor(values)[None, :, None, None] if any(value != 1 for value in values) else None
