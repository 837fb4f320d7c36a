"""Several networks as one, whose probabilities are the mean of theirs: snapshots of a run, or the folds of a study."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from augforge.train.net.pixels import with_background

_LEAST = 1e-6  # probabilities this near to 0 and 1 have no logit in float32


class Mixture(nn.Module):
    """The mean of the probabilities of several networks, given back as logits.

    Args:
        networks: each of images (N, channels, H, W) to logits (N, C, H, W).
        exclusive: whether classes exclude each other, so that probabilities sum to 1 with the background's.
        alternatives: outputs of labels of which exactly one is true, so that their probabilities sum to 1.
    """

    def __init__(self, networks: Sequence[nn.Module], exclusive: bool, alternatives: Sequence[slice] = ()) -> None:
        super().__init__()
        self.networks, self._exclusive, self._alternatives = nn.ModuleList(networks), exclusive, alternatives

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the mean probabilities."""
        logits = [network(images).float() for network in self.networks]
        if self._exclusive:
            mean = _log_mean([with_background(each) for each in logits])
            return mean[:, 1:] - mean[:, :1]
        joined = torch.stack([each.sigmoid() for each in logits]).mean(0).logit(_LEAST)
        for part in self._alternatives:
            joined[:, part] = _log_mean([each[:, part] for each in logits])
        return joined


def _log_mean(logits: Sequence[Tensor]) -> Tensor:
    """Logarithm of the mean softmax over the second dimension."""
    return torch.stack([each.softmax(1) for each in logits]).mean(0).clamp_min(_LEAST).log()
