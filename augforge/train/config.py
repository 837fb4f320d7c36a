"""The configuration of a training run: a strict YAML file in which every key has a default."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from augforge.errors import TrainError
from augforge.train.data.online import online_steps
from augforge.train.identity import identity_of
from augforge.train.weighting import Monitor, WeightsConfig
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
        description="an architecture of segmentation-models-pytorch: unet, deeplabv3plus, fpn, segformer; or "
        "monai_unetplusplus (options: {deep_supervision: true}) or fcn (torchvision's, on resnet50 or resnet101)",
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
    factory: str | None = Field(
        None,
        description="a network of your own instead: package.module:function, called with channels, outputs and "
        "options; it maps (N, channels, H, W) to logits (N, outputs, H, W), or to a list of such for deep supervision; "
        "of labels to logits (N, outputs)",
    )

    @field_validator("factory")
    @classmethod
    def _check_factory(cls, value: str | None) -> str | None:
        module, _, function = (value or "a:b").partition(":")
        if not function.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
            raise ValueError(
                f"'{value}' names no function; expected package.module:function, such as mynets.unet:build"
            )
        return value


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
    lr_by_part: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="the highest rate of parts of the network, by the beginning of their parameters' names, such as "
        "encoder: 1e-5",
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        1e-2, description="of weights; biases and normalisation layers have none"
    )
    momentum: Share = Field(0.9, description="of sgd")
    clip: Annotated[float, Field(gt=0)] | None = Field(1.0, description="largest norm of the gradients; null for none")
    accumulate: Positive = Field(1, description="batches that are one step, as one large batch")


class ScheduleConfig(_Strict):
    """How the learning rate changes."""

    name: Literal["cosine", "step", "plateau", "constant", "cyclic"] = Field(
        "cosine", description="cyclic is cosine that starts anew in each cycle, whose last network is a snapshot"
    )
    warmup: Share = Field(0.05, description="share of the steps in which the rate first rises from 0")
    final: Annotated[float, Field(ge=0, le=1)] = Field(0.01, description="share of `lr` at which cosine ends")
    every: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.34, description="share of the run after which step drops the rate again"
    )
    factor: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="factor by which step and plateau drop the rate"
    )
    patience: Positive = Field(5, description="validations without a better score before plateau drops it")
    cycles: Positive = Field(5, description="of cyclic; predict --weights snapshots averages what they end with")


class LossConfig(_Strict):
    """One loss of the sum."""

    name: LossName
    weight: Annotated[float, Field(gt=0)] = Field(1.0, description="its share of the sum")
    smoothing: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.0, description="label smoothing, of bce, focal and cross_entropy"
    )
    gamma: Annotated[float, Field(ge=0)] = Field(2.0, description="of focal: how much less easy pixels count")
    alpha: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="of tversky: weight of false positives; false negatives have 1 - alpha"
    )
    group: str | None = Field(None, description="of label_groups: the one that it acts on; null is all that it suits")
    class_weights: LabelWeights | None = Field(
        None,
        description="of labels: a weight for each, {cat: 2}, or balanced: one over their frequency; of masks there is "
        "weights.classes",
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
    weights: WeightsConfig = WeightsConfig()
    init: str | None = Field(
        None, description="folder of a run whose whole network this one begins with; what does not fit is told by name"
    )
    freeze: str | tuple[str, ...] = Field(
        (), description="parts that are not trained, by the beginning of their parameters' names: encoder, or a list"
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
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = Field(
        0, description="of initial weights, order and augmentation"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="of the computation (AMP); auto is bf16 if the device is fast at it, else fp16 on a GPU"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="auto is a GPU if there is one")
    threads: Positive | None = Field(None, description="CPU threads of the computation; null is one per core")
    channels_last: bool = Field(True, description="memory layout of the network; faster on GPUs and CPUs with bf16")
    compile: bool = Field(False, description="torch.compile: slow to start, then faster")
    ema: Share | None = Field(
        None, description="decay of an exponential moving average of the weights, such as 0.999; it ramps up to that"
    )
    swa: Share | None = Field(None, description="last share of the run, over which weights are averaged, such as 0.25")
    validate_every: Annotated[int, Field(ge=0)] = Field(1, description="epochs between validations; 0 for none at all")
    checkpoint_every: Positive | None = Field(
        None, description="optimizer steps between checkpoints; null is each epoch"
    )
    monitor: Monitor = Field(
        "auto",
        description="the figure of validation that chooses the best network; auto is miou with cross_entropy, else "
        "pooled_dice if more than a tenth of the classes is absent from the images, else mean_dice",
    )
    threshold: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="probability from which a pixel is the class"
    )
    trackers: tuple[Literal["wandb", "mlflow"], ...] = Field(
        (), description="services that get losses and scores too, through Accelerate; their packages must be installed"
    )

    @model_validator(mode="after")
    def _check_combinations(self) -> TrainConfig:
        if not self.loss:
            raise ValueError("no loss is named; expected one or more, such as loss: [{name: bce}, {name: dice}]")
        if self.schedule.name == "plateau" and not self.validate_every:
            raise ValueError("schedule plateau needs validations, but validate_every is 0. Choose another schedule")
        if self.ema is not None and self.swa is not None:
            raise ValueError("ema and swa both average the weights; give one of the two")
        self._check_losses()
        return self

    def _check_losses(self) -> None:
        names = {loss.name for loss in self.loss}
        plain = {"bce", "focal", "cross_entropy"}
        if not names & plain and (self.weights.classes or self.weights.border is not None):
            raise ValueError(f"weights act on {', '.join(sorted(plain))}, and loss names none of them. Add one")

    @property
    def exclusive(self) -> bool:
        """Whether classes of masks exclude each other, so that their probabilities and the background's sum to 1."""
        return any(loss.name == "cross_entropy" for loss in self.loss)

    @property
    def frozen(self) -> tuple[str, ...]:
        """`freeze` as a tuple of prefixes."""
        return (self.freeze,) if isinstance(self.freeze, str) else self.freeze

    def identity(self) -> dict[str, Any]:
        """JSON-like, what digests are made of: keys that came later are left out while they have their default.

        So a study that an earlier version began finds its finished parts again.
        """
        identity: dict[str, Any] = identity_of(self)
        return identity

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
    file = parse_yaml("{}", "defaults", TrainError) if path is None else read_yaml(path, TrainError, form="epochs: 12")
    for text in overrides:
        override(file, text)
    config = file.check(TrainConfig, file.data)
    online_steps(config.data.online, file)
    return config
