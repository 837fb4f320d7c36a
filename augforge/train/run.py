"""The folder of a training run: what was trained, on which data, and the model that came out."""

from __future__ import annotations

import io
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from augforge.errors import TrainError, shorten
from augforge.files import replacing, write_text
from augforge.ops.geometry import width_height
from augforge.train.config import TrainConfig, load_config
from augforge.train.data.inputspec import InputSpec, RunSpec
from augforge.train.facts import read_facts, read_tuned
from augforge.train.labels.groups import slices
from augforge.train.preparation import FILE as PREPARATION
from augforge.train.preparation import Preparation, read_preparations, write_preparations

if TYPE_CHECKING:
    import polars as pl
    from torch import nn

    from augforge.train.prediction.inference import Predictor, Window

Log = Callable[[str], None]
"""A function that is called with each line about progress and each warning."""

WeightsName = Literal["best", "last", "snapshots"]

_SUMMARY = ("run", "task", "datasets", "steps", "best", "parameters", "device", "precision", "seconds")
"""Keys of a summary that are relied upon."""
_LIBRARIES = (
    "torch",
    "segmentation-models-pytorch",
    "timm",
    "accelerate",
    "numpy",
    "opencv-python-headless",
    "augforge",
)


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A training run on disk.

    Attributes:
        folder: the run's.
        config: as the user asked for it; what it leaves to the data stands in `spec`.
        spec: task, classes, datasets and input.
    """

    folder: Path
    config: TrainConfig
    spec: RunSpec

    @classmethod
    def open(cls, folder: str | Path) -> TrainingRun:
        """Read a run, finished or not, from its folder. Raises TrainError if the folder is not a run."""
        folder = Path(folder).expanduser()
        try:
            spec = RunSpec.from_json(json.loads((folder / "run.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError):
            raise TrainError(f"{folder} is no training run; expected run.json, as augforge train writes it") from None
        return cls(folder, load_config(folder / "config.yaml"), spec)

    def write(self, preparations: Sequence[Preparation] = ()) -> None:
        """Write the configuration, the environment, how datasets were prepared, and the spec: what `open` reads."""
        write_text(self.folder / "config.yaml", self.config.to_yaml())
        write_json(self.folder / "environment.json", environment())
        write_preparations(self.folder, preparations)
        write_json(self.folder / "run.json", asdict(self.spec))  # last: it is what makes the folder a run

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the classes that the network predicts."""
        return self.spec.outputs

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels that the network predicts."""
        return self.spec.labels

    @property
    def exclusive(self) -> bool:
        """Whether its classes exclude each other, by the loss `cross_entropy` of masks."""
        return self.spec.task == "segmentation" and self.config.exclusive

    @property
    def datasets(self) -> tuple[dict[str, str], ...]:
        """Name, version and place of each dataset that it was trained on."""
        return self.spec.datasets

    @property
    def preparations(self) -> tuple[Preparation, ...]:
        """How each dataset was prepared: the recipe's steps that new images have to go through too."""
        return read_preparations(self.folder, self.datasets)

    @property
    def input(self) -> InputSpec:
        """How samples become the network's input."""
        return self.spec.input

    @property
    def window(self) -> Window | None:
        """How to predict a whole sample if the network was trained on windows (`data.crop`); None if it was not."""
        from augforge.train.prediction.inference import Window

        crop = self.config.data.crop
        return None if crop is None else Window(width_height(crop), scale=None)

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / "checkpoints"

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The probability from which a pixel is the class, for each class or label; tuned values if there are any."""
        names = self.outputs or self.labels
        tuned = (read_tuned(self.folder, names) or {}).get("thresholds", {})
        return tuple(tuned.get(name, self.config.threshold) for name in names)

    def summary(self) -> dict[str, Any]:
        """The summary of a finished run; TrainError while it is not finished, or if the summary is damaged."""
        path = self.folder / "summary.json"
        if not path.exists():
            raise TrainError(f"{self.folder} is not finished. Let it go on: augforge train --resume")
        return read_facts(path, _SUMMARY, "Delete it, and have it written again: augforge train --resume")

    def network(self, pretrained: bool = False) -> nn.Module:
        """The network before training; `pretrained` loads the weights that the configuration names into its encoder."""
        return self.sized(len(self.outputs) or len(self.labels), pretrained)

    def sized(self, outputs: int, pretrained: bool = False) -> nn.Module:
        """The network before training, for another number of classes or labels."""
        from augforge.train.net.model import build_classifier, build_model

        build = build_classifier if self.spec.task == "classification" else build_model
        return build(self.config.model, self.input.channels, outputs, pretrained=pretrained)

    def model(self, weights: WeightsName = "best") -> nn.Module:
        """The trained network on the CPU, ready to predict: as it was at its best validation, or at the end.

        ``snapshots`` are those at the ends of the cycles of a cyclic schedule, whose mean probabilities count.
        """
        if weights != "snapshots":
            return self._filled(self.folder / f"{weights}.safetensors")
        paths = sorted(self.folder.glob("snapshot-*.safetensors"), key=lambda path: int(path.stem.partition("-")[2]))
        if not paths:
            raise TrainError(f"{self.folder} has no snapshots. Train with schedule: {{name: cyclic, cycles: 5}}")
        return self.mixture([self._filled(path) for path in paths])

    def mixture(self, networks: Sequence[nn.Module]) -> nn.Module:
        """Several networks of this run, or of runs alike, as one, whose probabilities are the mean of theirs."""
        from augforge.train.net.mixture import Mixture

        alternatives = [part for group, part in slices(self.spec.groups) if not group.multi]
        return Mixture(networks, self.exclusive, alternatives).eval()

    def _filled(self, path: Path) -> nn.Module:
        from augforge.train.checkpoint import load_weights

        if not path.exists():
            raise TrainError(f"{path} is missing. Let the run go on: augforge train --resume")
        network = self.network()
        try:
            network.load_state_dict(load_weights(path))
        except RuntimeError as error:
            raise TrainError(f"{path} does not fit the run's config.yaml: {str(error).splitlines()[0]}") from None
        return network.eval()

    def predictor(self, weights: WeightsName = "best", **options: Any) -> Predictor:
        """A predictor of this run's model on the best device here.

        ``options`` are Predictor's own: batch_size, tta, window, swap.
        """
        from augforge.train.net.device import choose_device, choose_precision
        from augforge.train.prediction.inference import Predictor

        device = choose_device("auto")  # the device of the training may not exist on this machine
        # fp16 is for CUDA alone; "auto" chooses what this device has.
        precision = choose_precision("auto" if self.config.precision == "fp16" else self.config.precision, device)
        own = {"batch_size": self.config.data.batch_size, "window": self.window, "sides": self.spec.sides}
        options = {**own, "exclusive": self.exclusive, **options}
        return Predictor(self.model(weights), self.outputs, self.input, device, precision, **options)


def keep_monitor(run: TrainingRun) -> TrainingRun:
    """The run with the figure that chose its best network so far, if it was begun before and the choice was left open.

    A run that an earlier version began goes on by the contest's mean Dice, as it began.
    """
    if run.config.monitor != "auto" or not (run.folder / "run.json").exists():
        return run
    return replace(run, spec=replace(run.spec, monitor=TrainingRun.open(run.folder).spec.monitor))


def write_summary(
    run: TrainingRun, facts: Mapping[str, Any], done: int, seconds: float, steps: int, warnings: Sequence[str]
) -> None:
    """Write ``summary.json``.

    Args:
        run: the finished run.
        facts: about the network and the machine: parameters, device, precision, processes.
        done: optimizer steps of the run.
        seconds, steps: of this call alone, which may have resumed a longer run.
        warnings: what a person should know.
    """
    best, remedy = run.folder / "best.json", "Delete it; the summary then has no best score"
    step_samples = run.config.optimizer.accumulate * run.config.data.batch_size * facts["processes"]
    summary = {
        "run": str(run.folder),
        **asdict(run.spec),
        "steps": done,
        "best": read_facts(best, ("step",), remedy) if best.exists() else None,
        **{key: facts[key] for key in ("parameters", "device", "precision", "processes")},
        "seconds": round(seconds, 1),
        "samples_per_second": round(steps * step_samples / seconds, 2) if seconds else None,
        "warnings": warnings,
    }
    write_json(run.folder / "summary.json", summary)


def check_folder(run: TrainingRun, resume: bool, log: Log) -> None:
    """Raise TrainError if a run must not begin in its folder, or if it is to resume there and cannot."""
    existing = {path.name for path in run.folder.iterdir()} if run.folder.exists() else set()
    # Empty, or left by a run that was killed while it began.
    if existing <= {"config.yaml", "environment.json", PREPARATION}:
        if resume:
            log(f"{run.folder} holds no run to resume: a new one begins")
        return
    if "run.json" not in existing:
        raise TrainError(f"{run.folder} holds other files; expected a new folder. Choose another --out")
    before = TrainingRun.open(run.folder)
    if not resume:
        raise TrainError(f"{run.folder} holds a run already. Choose another --out, or let it go on: --resume")
    old, new = _decisive_settings(before), _decisive_settings(run)
    if before.spec.sides is None:  # it was begun before augforge knew sides, and contradicts none
        del new["sides"]
    changed = [
        f"{key} was {shorten(old.get(key))}, is {shorten(new.get(key))}" for key in new if old.get(key) != new[key]
    ]
    if changed:
        raise TrainError(
            f"{run.folder} was begun with other settings, so it cannot go on: {'; '.join(changed)}. "
            "Use the settings of then, or choose another --out"
        )


def _decisive_settings(run: TrainingRun) -> dict[str, Any]:
    """All settings by key but those that no result depends on: paths of datasets, loading, checkpoints, trackers."""
    spec = {**asdict(run.spec), "datasets": [f"{each['name']} {each['version']}" for each in run.datasets]}
    spec["sides"] = sorted(run.spec.sides.pairs) if run.spec.sides else []  # declared or found, they do the same
    keys = _flatten({**run.config.model_dump(mode="json"), **spec})
    return {key: value for key, value in keys.items() if key not in ("data.workers", "checkpoint_every", "trackers")}


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dots in its keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def environment() -> dict[str, Any]:
    """Library versions and machine: what results depend on besides configuration and data."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    versions = {name: version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), **versions, "device": device, "threads": torch.get_num_threads()}


def write_json(path: Path, data: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write indented JSON atomically."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write a table as Parquet, atomically; StorageError if there is no space or right."""
    encoded = io.BytesIO()  # Polars itself does not say as an OSError why a file cannot be written
    frame.write_parquet(encoded)
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.getbuffer())
