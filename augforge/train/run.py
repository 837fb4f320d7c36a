"""A run's folder: what was trained, on what, and the model that came out."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from augforge.errors import TrainError
from augforge.files import write_text
from augforge.ops.geometry import width_height
from augforge.train.config import TrainConfig, load_config

if TYPE_CHECKING:
    from torch import nn

    from augforge.train.data.inputspec import InputSpec
    from augforge.train.prediction.inference import Predictor, Window

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
class Described:
    """What the trainer found when it began, beside the configuration.

    Attributes:
        task: ``segmentation`` into `outputs`, or ``classification`` into `labels`.
        outputs: classes that the network predicts, in order; `ignore` is none.
        labels: names of the label vector's entries.
        datasets: path, name and version of what is trained on.
        input: the network's input.
    """

    task: Literal["segmentation", "classification"]
    outputs: tuple[str, ...]
    labels: tuple[str, ...]
    datasets: tuple[dict[str, str], ...]
    input: InputSpec

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Described:
        from augforge.train.data.inputspec import InputSpec

        tables = {key: tuple(data[key]) for key in ("outputs", "labels", "datasets")}
        return cls(data["task"], **tables, input=InputSpec.from_json(data["input"]))


@dataclass(frozen=True, slots=True)
class Run:
    """A training run on disk.

    Attributes:
        folder: the run's.
        config: as it was asked for; what it left to the data stands in `described`.
        described: task, classes, datasets and input.
    """

    folder: Path
    config: TrainConfig
    described: Described

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Raises TrainError where there is no run."""
        folder = Path(folder).expanduser()
        try:
            data = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            described = Described.from_json(data)
        except (OSError, ValueError, TypeError, KeyError):
            raise TrainError(f"{folder} is no training run; expected run.json, as augforge train writes it") from None
        return cls(folder, load_config(folder / "config.yaml"), described)

    def write(self) -> None:
        """Write what describes the run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "config.yaml", self.config.to_yaml())
        write_json(self.folder / "environment.json", environment())
        write_json(self.folder / "run.json", asdict(self.described))

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.described.outputs

    @property
    def labels(self) -> tuple[str, ...]:
        return self.described.labels

    @property
    def datasets(self) -> tuple[dict[str, str], ...]:
        return self.described.datasets

    @property
    def input(self) -> InputSpec:
        return self.described.input

    @property
    def window(self) -> Window | None:
        """Windows that a whole sample is predicted by, where the network was trained on windows; else None."""
        from augforge.train.prediction.inference import Window

        crop = self.config.data.crop
        return None if crop is None else Window(width_height(crop), scale=None)

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The probability from which a pixel is the class: tuned ones where there are any."""
        path = self.folder / "thresholds.json"
        tuned = json.loads(path.read_text(encoding="utf-8"))["thresholds"] if path.exists() else {}
        return tuple(tuned.get(name, self.config.threshold) for name in self.outputs)

    def summary(self) -> dict[str, Any]:
        """What the finished run says of itself; TrainError while there is none."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise TrainError(f"{self.folder} is not finished. Let it go on: augforge train --resume") from None
        return found

    def network(self, pretrained: bool = False) -> nn.Module:
        """The untrained network."""
        from augforge.train.net.model import build_classifier, build_model

        if self.described.task == "classification":
            return build_classifier(self.config.model, self.input.channels, len(self.labels), pretrained=pretrained)
        return build_model(self.config.model, self.input.channels, len(self.outputs), pretrained=pretrained)

    def model(self, weights: Literal["best", "last"] = "best") -> nn.Module:
        """The trained network, ready to predict, on the CPU; the best of the validations, or as it was at the end."""
        from augforge.train.checkpoint import load_weights

        path = self.folder / f"{weights}.safetensors"
        if not path.exists():
            raise TrainError(f"{path} is missing. Let the run go on: augforge train --resume")
        network = self.network()
        try:
            network.load_state_dict(load_weights(path))
        except RuntimeError as error:
            raise TrainError(f"{path} does not fit the run's config.yaml: {str(error).splitlines()[0]}") from None
        return network.eval()

    def predictor(self, weights: Literal["best", "last"] = "best", **options: Any) -> Predictor:
        """A predictor of this run's model on the best device here.

        ``options`` are Predictor's own: batch_size, tta, window.
        """
        from augforge.train.net.device import choose_device, choose_precision
        from augforge.train.prediction.inference import Predictor

        device = choose_device("auto")  # what it was trained on may not be here
        precision = choose_precision("auto" if self.config.precision == "fp16" else self.config.precision, device)
        options = {"batch_size": self.config.data.batch_size, "window": self.window, **options}
        return Predictor(self.model(weights), self.outputs, self.input, device, precision, **options)


def environment() -> dict[str, Any]:
    """Versions and machine: what results hang on besides configuration and data."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    versions = {name: version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), **versions, "device": device, "threads": torch.get_num_threads()}


def write_json(path: Path, data: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write indented JSON atomically."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
