"""What the trainer has of Accelerate: mixed precision, several processes and trackers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor

from augforge.errors import TrainError
from augforge.train.net.device import Precision

if TYPE_CHECKING:
    from augforge.train.config import TrainConfig


def build_accelerator(device: torch.device, precision: Precision, trackers: Sequence[str] = ()) -> Accelerator:
    """Mixed precision and several processes. Accelerate's state is global, and a second run's settings may differ.

    Raises:
        TrainError: the package of a tracker is not installed.
    """
    for name in trackers:
        if find_spec(name) is None:
            raise TrainError(
                f"trackers: {name} needs its package, which is not installed. Install it: pip install {name}"
            )
    if not PartialState._shared_state or PartialState().num_processes == 1:  # several processes keep what joins them
        AcceleratorState._reset_state(reset_partial_state=True)
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # efficientnet's last layers
    mixed = "no" if precision == "fp32" else precision
    log_with = list(trackers) or None
    return Accelerator(mixed_precision=mixed, cpu=device.type == "cpu", kwargs_handlers=[unused], log_with=log_with)


@contextmanager
def tracked(accelerator: Accelerator, folder: Path, config: TrainConfig) -> Iterator[None]:
    """Open the trackers of a run, named after its folder, in the main process; close them at the end."""
    if not accelerator.log_with:
        yield
        return
    settings = {key: str(value) for key, value in config.model_dump(mode="json").items()}
    names = {"wandb": {"name": folder.name}, "mlflow": {"run_name": folder.name}}
    accelerator.init_trackers("augforge", settings, {key: names[key] for key in config.trackers})
    try:
        yield
    finally:
        accelerator.end_training()


def track(accelerator: Accelerator, kind: str, values: Mapping[str, Any], step: int) -> None:
    """Pass numbers on to the trackers, as ``step/loss`` or ``validation/mean_dice``, and those of classes."""
    if accelerator.log_with:
        numbers = {name: value for name, value in values.items() if isinstance(value, (int, float))}
        by_class = {name: value for name, value in values.get("classes", {}).items() if value is not None}
        named = {f"{kind}/{name}": value for name, value in numbers.items()}
        accelerator.log(named | {f"{kind}/classes/{name}": value for name, value in by_class.items()}, step=step)


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
