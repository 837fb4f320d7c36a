"""Checkpoints: written whole or not at all, and read without unpickling anything but tensors."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from augforge.errors import TrainError, first_line
from augforge.files import make_folder, replacing, writing

Weights = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class TrainState:
    """How far a run has come.

    Attributes:
        step: optimizer steps done.
        epoch: the current epoch, from 0.
        samples: samples of that epoch that all processes together have seen.
        best: the best validation score so far, None before the first validation.
        metrics: bytes of ``metrics.jsonl`` that belong to the steps done.
    """

    step: int = 0
    epoch: int = 0
    samples: int = 0
    best: float | None = None
    metrics: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that a run needs to go on as if it had never stopped.

    Attributes:
        weights: of the network.
        components: the number of processes, and the states of optimizer, schedule and random generators, by name.
        state: how far the run has come.
    """

    weights: Weights
    components: Mapping[str, Any]
    state: TrainState


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write ``folder/<step>``, then remove older ones: a kill at any moment leaves a complete checkpoint behind.

    Raises:
        StorageError: there is no space or right to write it. The one before stays.
    """
    target = folder / f"{checkpoint.state.step:08d}"
    temporary = folder / f".{target.name}.tmp"
    for left in folder.glob(".*.tmp"):  # by a run that was killed, at this step or at another one
        shutil.rmtree(left, ignore_errors=True)
    try:
        with writing(target):
            make_folder(temporary)
            _write_checkpoint(temporary, checkpoint)
            if target.exists():
                shutil.rmtree(target)
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in _checkpoints(folder)[:-1]:
        shutil.rmtree(old)


def _write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    save_weights(folder / "model.safetensors", checkpoint.weights)
    components = io.BytesIO()  # torch's own writing to a file hides why it failed
    torch.save(dict(checkpoint.components), components)
    (folder / "state.pt").write_bytes(components.getbuffer())
    (folder / "progress.json").write_text(json.dumps(asdict(checkpoint.state)), encoding="utf-8")


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint below a folder, or None. TrainError if it is damaged."""
    checkpoints = _checkpoints(folder)
    if not checkpoints:
        return None
    newest = checkpoints[-1]
    try:
        state = TrainState(**json.loads((newest / "progress.json").read_text(encoding="utf-8")))
        components = torch.load(newest / "state.pt", map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise TrainError(f"{newest} is damaged ({first_line(error)}). Remove it and train anew") from None
    return Checkpoint(load_weights(newest / "model.safetensors"), components, state)


def save_weights(path: Path, weights: Weights) -> None:
    """Write weights atomically as safetensors, a format that runs no code when it is read."""
    with replacing(path) as temporary:  # not by safetensors itself, whose files only their owner could read
        temporary.write_bytes(save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}))


def load_weights(path: Path) -> Weights:
    """Read weights onto the CPU; TrainError if the file is missing or damaged."""
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise TrainError(f"{path} cannot be read ({first_line(error)}); expected weights as safetensors") from None


def _checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first; temporary ones begin with a dot."""
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir())
