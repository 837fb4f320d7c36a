"""The configuration of a training run: a strict YAML file in which every key has a default."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from augforge.errors import TrainError
from augforge.train.data.online import online_steps
from augforge.yamlfile import dump_yaml, override, parse_yaml, read_yaml

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
STRIDE = 32
LossName = Literal["bce", "focal", "cross_entropy", "dice", "jaccard", "lovasz", "tversky", "boundary", "ms_ssim"]
LabelTask = Literal["single", "multi"]
LabelWeights = dict[str, Annotated[float, Field(ge=0)]] | Literal["balanced"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelConfig(_Strict):
    """The network."""

    architecture: str = Field(
        "unetplusplus",
        description="an architecture of segmentation-models-pytorch: unet, deeplabv3plus, fpn, segformer",
    )
    encoder: str = Field(
        "resnet34",
        description="an encoder of SMP, or tu-NAME for one of timm; a timm model if the dataset has only labels",
    )
    weights: str | None = Field(
        None,
        description="pretrained encoder weights: a name such as imagenet (downloaded), or a .safetensors or .pt file",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="further arguments of the architecture, such as decoder_attention_type: scse"
    )


class DataConfig(_Strict):
    """How samples become batches."""

    size: Positive | tuple[Positive, Positive] | None = Field(
        None,
        description="pixels a sample is scaled to (letterboxed): a number or [width, height], multiples of 32; null is "
        "the stored size, at most 512 on a GPU and 128 on a CPU",
    )
    crop: Positive | tuple[Positive, Positive] | None = Field(
        None,
        description="pixels of a random window for training, cut after scaling; whole samples are predicted by windows",
    )
    channels: Literal[1, 3] | None = Field(
        None, description="of the network's input; null is 3 if any sample has colour, else 1"
    )
    normalise: Literal["sample", "encoder", "unit"] = Field(
        "sample",
        description="each sample to mean 0 and deviation 1; or as in the encoder's pretraining; or to the range 0 to 1",
    )
    batch_size: Positive = Field(8, description="samples in a batch, of each process")
    workers: Annotated[int, Field(ge=0)] | None = Field(
        None, description="loading processes; null chooses by the number of cores"
    )
    online: tuple[dict[str, Any], ...] = Field(
        (), description="augmentations drawn anew for each sample in each epoch: steps as in a recipe, with p"
    )
    sampling: Literal["even", "class"] = Field(
        "even", description="every sample once per epoch; or drawn so that rare classes come as often as common ones"
    )

    @field_validator("size", "crop")
    @classmethod
    def _check_multiple_of_stride(cls, value: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
        for length in (value,) if isinstance(value, int) else value or ():
            if length % STRIDE:
                below, above = length // STRIDE * STRIDE, length // STRIDE * STRIDE + STRIDE
                near = f"{below} or {above}" if below else str(above)
                raise ValueError(
                    f"{length} is not a multiple of {STRIDE}, and networks halve their input five times. Take {near}"
                )
        return value


class OptimizerConfig(_Strict):
    """Optimizer and learning rate."""

    name: str = Field("adamw", description="adam, adamw, sgd, or another of timm: adamp, lookahead_adamp, lion")
    lr: Annotated[float, Field(gt=0)] = Field(1e-3, description="the highest learning rate")
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        1e-2, description="of weights; biases and normalisation layers have none"
    )
    momentum: Share = Field(0.9, description="of sgd")
    clip: Annotated[float, Field(gt=0)] | None = Field(1.0, description="largest norm of the gradients; null for none")
    accumulate: Positive = Field(1, description="batches whose gradients are averaged for one step")


class ScheduleConfig(_Strict):
    """How the learning rate changes."""

    name: Literal["cosine", "step", "plateau", "constant"] = "cosine"
    warmup: Share = Field(0.05, description="share of the steps in which the rate first rises from 0")
    final: Annotated[float, Field(ge=0, le=1)] = Field(0.01, description="share of `lr` at which cosine ends")
    every: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.34, description="share of the run after which step drops the rate again"
    )
    factor: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="factor by which step and plateau drop the rate"
    )
    patience: Positive = Field(5, description="validations without a better score before plateau drops it")


class LossConfig(_Strict):
    """One loss of the sum."""

    name: LossName
    weight: Annotated[float, Field(gt=0)] = Field(1.0, description="its share of the sum")
    smoothing: Annotated[float, Field(ge=0, lt=0.5)] = Field(0.0, description="label smoothing, of bce and focal")
    gamma: Annotated[float, Field(ge=0)] = Field(2.0, description="of focal: how much less easy pixels count")
    alpha: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="of tversky: weight of false positives; false negatives have 1 - alpha"
    )
    group: str | None = Field(None, description="of label_groups: the one that it acts on; null is all that it suits")
    class_weights: LabelWeights | None = Field(
        None, description="of labels: a weight for each, {cat: 2}, or balanced: one over their frequency"
    )
    pos_weight: Annotated[float, Field(gt=0)] | LabelWeights | None = Field(
        None, description="of bce and focal of labels: weight of positive samples; balanced: negatives per positive"
    )


class MixStyleConfig(_Strict):
    """MixStyle: mixes the styles of samples in early layers while training, for unseen domains (Zhou et al. 2021)."""

    p: Annotated[float, Field(gt=0, le=1)] = Field(0.5, description="share of the batches whose styles are mixed")
    alpha: Annotated[float, Field(gt=0)] = Field(0.1, description="of Beta(alpha, alpha), the share of a sample's own")
    layers: tuple[str, ...] | None = Field(
        None, description="names of modules after which styles are mixed; null: the encoder's stages of stride 4 and 8"
    )


class TrainConfig(_Strict):
    """A training run. Every key has a default; unknown keys are refused."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    loss: tuple[LossConfig, ...] = Field(
        (LossConfig(name="bce"), LossConfig(name="dice")), description="losses by name, summed by weight"
    )
    task: LabelTask | dict[str, LabelTask] | None = Field(
        None,
        description="of labels, of all or by group: single, of which exactly one is true, or multi, each judged by "
        "itself; null: single if every label vector sums to 1. Set, labels are learnt though there are masks",
    )
    label_groups: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="labels that belong together, {class: [cat, dog], domain: [art, photo]}; each group has outputs, a "
        "loss and figures of its own, and the first one chooses the best network; {} is one group of all labels",
    )
    mixstyle: MixStyleConfig | None = Field(None, description="mixes styles of samples while training; null is off")
    epochs: Positive = Field(12, description="passes over the training split")
    steps: Positive | None = Field(None, description="optimizer steps instead of epochs")
    seed: int = Field(0, description="of initial weights, order and augmentation")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="of the computation (AMP); auto is bf16 if the device is fast at it, else fp16 on a GPU"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="auto is a GPU if there is one")
    threads: Positive | None = Field(None, description="CPU threads of the computation; null is one per core")
    channels_last: bool = Field(True, description="memory layout of the network; faster on GPUs and CPUs with bf16")
    compile: bool = Field(False, description="torch.compile: slow to start, then faster")
    ema: Share | None = Field(None, description="decay of an exponential moving average of the weights, such as 0.999")
    swa: Share | None = Field(None, description="last share of the run, over which weights are averaged, such as 0.25")
    validate_every: Annotated[int, Field(ge=0)] = Field(1, description="epochs between validations; 0 for none at all")
    checkpoint_every: Positive | None = Field(
        None, description="optimizer steps between checkpoints; null is each epoch"
    )
    threshold: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="probability from which a pixel is the class"
    )

    @model_validator(mode="after")
    def _check_combinations(self) -> TrainConfig:
        if not self.loss:
            raise ValueError("no loss is named; expected one or more, such as loss: [{name: bce}, {name: dice}]")
        if self.schedule.name == "plateau" and not self.validate_every:
            raise ValueError("schedule plateau needs validations, but validate_every is 0. Choose another schedule")
        if self.ema is not None and self.swa is not None:
            raise ValueError("ema and swa both average the weights; give one of the two")
        return self

    def to_yaml(self) -> str:
        """The whole configuration as YAML."""
        return dump_yaml(self.model_dump(mode="json"))


def load_config(path: Path | None = None, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read and check a training configuration; the defaults if there is no file.

    Args:
        path: the YAML file.
        overrides: ``key.path=value`` strings, such as ``model.encoder=resnet18``.

    Raises:
        TrainError: with file, line, expectation and the nearest known name.
    """
    file = parse_yaml("{}", "defaults", TrainError) if path is None else read_yaml(path, TrainError)
    for text in overrides:
        override(file, text)
    config = file.check(TrainConfig, file.data)
    online_steps(config.data.online, file)
    return config
