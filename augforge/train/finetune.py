"""Beginning with the whole network of another run, and saying what of it fitted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from augforge.errors import TrainError, some
from augforge.train.checkpoint import load_weights
from augforge.train.config import ModelConfig
from augforge.train.net.parts import freeze
from augforge.train.net.pretrained import is_file, sum_colours

if TYPE_CHECKING:
    from augforge.train.run import Log, TrainingRun

_SHOWN = 4  # names that a line lists at most


@dataclass(frozen=True, slots=True)
class Fit:
    """What of a run's weights fitted into another network.

    Attributes:
        fitted: number of tensors that were taken.
        partly: tensors of the last layer of which the rows of classes of the same name were taken.
        not_taken: tensors that the new network does not have, or has in another shape.
        not_filled: tensors of the new network that keep their random values.
        classes: the classes that both runs have, if their tables differ.
    """

    fitted: int
    partly: tuple[str, ...]
    not_taken: tuple[str, ...]
    not_filled: tuple[str, ...]
    classes: tuple[str, ...] = ()

    def lines(self, folder: str) -> list[str]:
        """What a person should know, a line each."""
        lines = [f"init: {self.fitted} tensors of {folder} fitted"]
        if self.partly:
            names = some(self.classes, _SHOWN) or "no class"
            lines.append(f"init: of {some(self.partly, _SHOWN)} only the rows of {names} fitted, by name")
        if self.not_taken:
            lines.append(f"init: did not fit and was left out: {some(self.not_taken, _SHOWN)}")
        if self.not_filled:
            lines.append(f"init: not in {folder}, so it begins at random: {some(self.not_filled, _SHOWN)}")
        return lines


def begin_with(network: nn.Module, run: TrainingRun, before: TrainingRun) -> list[str]:
    """Fill a run's network with the best weights of another run, by name and shape.

    If the two have other classes, or in another order, the last layer is filled row by row, by the classes' names.

    Returns:
        lines that say what fitted, what did not, and in what else the runs differ.

    Raises:
        TrainError: the run has no weights yet, or no tensor fits.
    """
    file = before.folder / "best.safetensors"
    if not file.exists():
        raise TrainError(f"init: {file} is missing: the run is not finished. Let it go on: augforge train --resume")
    given, own = load_weights(file), network.state_dict()
    names, names_before = _predicted(run), _predicted(before)
    rows = set() if names == names_before else _rows_of_classes(run, len(names)) & {*own} & {*given}
    exact = {key: value for key, value in sum_colours(given, own).items() if key in own and key not in rows}
    fitting = {key: value for key, value in exact.items() if value.shape == own[key].shape}
    common = tuple(name for name in names if name in names_before)
    for key in rows:
        fitting[key] = _rows_by_name(own[key], given[key], names, names_before)
    if not fitting:
        raise TrainError(
            f"init: no tensor of {file} fits this network ({run.config.model.architecture}, "
            f"{run.config.model.encoder}). Set model as in {before.folder / 'config.yaml'}"
        )
    network.load_state_dict(fitting, strict=False)
    fit = Fit(
        len(fitting),
        tuple(sorted(rows)),
        tuple(key for key in given if key not in fitting),
        tuple(key for key in own if key not in fitting),
        common if names != names_before else (),
    )
    return [*fit.lines(str(before.folder)), *_differences(run, before)]


def _predicted(run: TrainingRun) -> tuple[str, ...]:
    return run.outputs or run.labels


def _rows_of_classes(run: TrainingRun, outputs: int) -> set[str]:
    """The tensors whose first dimension is the number of classes: those that change their shape with it."""
    with torch.random.fork_rng(devices=[]):
        shapes = [
            {key: value.shape for key, value in run.sized(n).state_dict().items()} for n in (outputs, outputs + 1)
        ]
    return {key for key in shapes[0] if shapes[0][key] != shapes[1][key]}


def _rows_by_name(own: Tensor, given: Tensor, names: Sequence[str], before: Sequence[str]) -> Tensor:
    """A tensor of the last layer with the rows of classes that the other run has too."""
    filled = own.clone()
    for row, name in enumerate(names):
        if name in before and given.shape[1:] == own.shape[1:] and len(given) == len(before):
            filled[row] = given[before.index(name)]
    return filled


def _differences(run: TrainingRun, before: TrainingRun) -> list[str]:
    """Lines about inputs that differ from those that the weights were trained on."""
    now, then = run.input, before.input
    pairs = {"size": (then.size, now.size), "normalise": (then.normalise, now.normalise)}
    return [f"init: {key} was {_text(was)}, is {_text(is_)} here" for key, (was, is_) in pairs.items() if was != is_]


def _text(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def initial_network(run: TrainingRun, log: Log) -> nn.Module:
    """The network of a run before training: with pretrained weights or those of ``init``, and parts of it frozen."""
    network, config = run.network(pretrained=True), run.config
    resumes = run.checkpoints.exists()  # the checkpoint has all weights, and the other run may be gone
    if config.init is not None and not resumes:
        for line in begin_with(network, run, open_initial(config.init, config.model.weights)):
            log(line)
    freeze(network, config.frozen)
    return network


def unused_weights(weights: str | None) -> list[str]:
    """A warning if weights for the encoder are those of a whole network, whose other parts are not used."""
    if not weights or not is_file(weights) or not weights.endswith(".safetensors"):
        return []
    try:
        with safe_open(weights, "pt") as file:
            names = list(file.keys())
    except (OSError, SafetensorError):  # told where the encoder is filled
        return []
    encoder = [name for name in names if name.startswith("encoder.")]
    if not encoder or len(encoder) == len(names):
        return []
    share = f"{len(encoder)} of the {len(names)} tensors of {weights}"
    return [f"model.weights takes only the encoder, {share}. To begin with the whole network of a run: init: RUN"]


def unused_architecture(model: ModelConfig) -> Iterator[str]:
    """A warning if an architecture for masks is named where labels are learnt: runs begun before go on with it."""
    if model.architecture != ModelConfig().architecture and not model.factory:
        yield (
            f"model.architecture {model.architecture} is for masks: labels are predicted by model.encoder "
            f"{model.encoder} alone"
        )


def open_initial(folder: str, weights: str | None) -> TrainingRun:
    """The run that ``init`` names. TrainError if it is none, or if ``model.weights`` names weights too."""
    from augforge.train.run import TrainingRun

    if weights:
        raise TrainError(f"init and model.weights ({weights}) both give weights. Leave one of them out")
    return TrainingRun.open(folder)
