"""Predicting labels of whole samples with a classifier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from augforge.sample import Sample
from augforge.train.data.inputspec import InputSpec
from augforge.train.net.device import Precision, autocast


def label_probabilities(
    network: nn.Module,
    samples: Iterable[Sample],
    spec: InputSpec,
    device: torch.device,
    precision: Precision = "fp32",
    batch_size: int = 8,
) -> Iterator[NDArray[np.float32]]:
    """A classifier's probabilities of the labels, float32 (L,), sample by sample."""
    source = iter(samples)
    while several := list(islice(source, batch_size)):
        images = torch.stack([spec.pixels(spec.fit(sample).image) for sample in several]).to(device)
        with torch.inference_mode(), autocast(device, precision):
            logits = network(images)
        yield from logits.float().softmax(dim=1).cpu().numpy()
