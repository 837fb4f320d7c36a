"""Weights & Biases and MLflow, which get losses and scores through Accelerate."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augforge.errors import TrainError, first_line

if TYPE_CHECKING:
    from accelerate import Accelerator

    from augforge.train.config import TrainConfig

_REMEDIES = {
    "wandb": "log in (wandb login), or keep its files here: WANDB_MODE=offline",
    "mlflow": "name a server or a database that is there: MLFLOW_TRACKING_URI=sqlite:///mlflow.db",
}


def check_trackers(trackers: Sequence[str]) -> None:
    """Raise TrainError if the package of a tracker is not installed."""
    for name in trackers:
        spec = find_spec(name)
        if spec is None or spec.origin is None:  # a folder of that name, as W&B leaves one, looks like a package
            raise TrainError(
                f"trackers: {name} needs its package, which is not installed. Install it: pip install {name}"
            )


@contextmanager
def tracked(accelerator: Accelerator, folder: Path, config: TrainConfig) -> Iterator[None]:
    """Open the trackers of a run, named after its folder, in the main process; close them at the end.

    Raises:
        TrainError: a tracker cannot be opened or closed.
    """
    if not accelerator.log_with:
        yield
        return
    settings = {key: str(value) for key, value in config.model_dump(mode="json").items()}
    names = {"wandb": {"name": folder.name}, "mlflow": {"run_name": folder.name}}
    with _explain_failures(config.trackers):
        accelerator.init_trackers("augforge", settings, {key: names[key] for key in config.trackers})
    try:
        yield
    finally:
        with _explain_failures(config.trackers):
            accelerator.end_training()


def track(accelerator: Accelerator, trackers: Sequence[str], kind: str, values: Mapping[str, Any], step: int) -> None:
    """Pass numbers on to the trackers, as ``step/loss`` or ``validation/mean_dice``, and those of classes.

    Raises:
        TrainError: a tracker does not take them.
    """
    if trackers:
        numbers = {name: value for name, value in values.items() if isinstance(value, (int, float))}
        by_class = {name: value for name, value in values.get("classes", {}).items() if value is not None}
        named = {f"{kind}/{name}": value for name, value in numbers.items()}
        named |= {f"{kind}/classes/{_accepted(name)}": value for name, value in by_class.items()}
        with _explain_failures(trackers):
            accelerator.log(named, step=step)


def _accepted(name: str) -> str:
    """A class's name as MLflow takes it; other characters become their code, so that names stay different."""
    return re.sub(r"[^\w\-. ]", lambda found: f"_{ord(found[0]):x}_", name)


@contextmanager
def _explain_failures(trackers: Sequence[str]) -> Iterator[None]:
    """Raise TrainError, with what to do, for whatever a tracker raises: each has errors of its own."""
    try:
        yield
    except Exception as error:
        remedies = "; ".join(f"{name}: {_REMEDIES[name]}" for name in trackers)
        raise TrainError(
            f"a tracker failed: {first_line(error)} ({type(error).__name__}). {remedies}. Or leave it out: "
            "trackers=[]. The same command with --resume goes on"
        ) from error
