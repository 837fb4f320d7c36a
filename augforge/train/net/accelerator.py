"""What the trainer has of Accelerate: mixed precision and several processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor

from augforge.train.net.device import Precision
from augforge.train.net.trackers import check_trackers


def build_accelerator(device: torch.device, precision: Precision, trackers: Sequence[str] = ()) -> Accelerator:
    """Mixed precision and several processes. Accelerate's state is global, and a second run's settings may differ.

    Raises:
        TrainError: the package of a tracker is not installed.
    """
    check_trackers(trackers)
    if not PartialState._shared_state or PartialState().num_processes == 1:  # several processes keep what joins them
        AcceleratorState._reset_state(reset_partial_state=True)
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # efficientnet's last layers
    mixed = "no" if precision == "fp32" else precision
    log_with = list(trackers) or None
    return Accelerator(mixed_precision=mixed, cpu=device.type == "cpu", kwargs_handlers=[unused], log_with=log_with)


def shares_of_step(amounts: Sequence[Tensor | None], accelerator: Accelerator) -> list[Tensor | None]:
    """The share of each batch in a step, so that batches that count more pixels weigh more; they sum to 1.

    With several processes, whose gradients are averaged, to their number.

    Args:
        amounts: of each batch, what each loss is a mean of, float32 (losses,); None if the batch is the whole step.
        accelerator: of this process.
    """
    if amounts[0] is None:
        return [None]
    own = torch.stack([each for each in amounts if each is not None])
    total: Any = accelerator.reduce(own.sum(0), "sum")
    shares = own * accelerator.num_processes / total.clamp_min(1e-12)
    return list(shares)
