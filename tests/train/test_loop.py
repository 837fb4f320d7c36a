"""The loop: what it writes, that it repeats itself, that a stopped run goes on as if it had not been; its errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tinyrun import Stop, StopAt, config
from toybox import made, put_hand, tiny_hands

from augforge.errors import AugforgeError, TrainError
from augforge.phantom import write_phantom
from augforge.store.dataset import open_dataset
from augforge.train.checkpoint import load_weights
from augforge.train.config import TrainConfig, load_config
from augforge.train.journal import read_journal
from augforge.train.loop import train
from augforge.train.net.optim import WeightAverage
from augforge.train.run import TrainingRun

DROPOUT = ("model.architecture=fpn", "model.options={decoder_dropout: 0.5}", "data.batch_size=3", "epochs=3")


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 6 samples to train on and 2 to validate on."""
    folder = tmp_path_factory.mktemp("hands")
    write_phantom(folder / "data", persons=4, size=96, seed=3)
    made(folder, folder / "data", (), split="{val: [ID002]}")
    return folder / "out"


def steps_of(folder: Path) -> list[dict[str, Any]]:
    return [row for row in read_journal(folder) if row["kind"] == "step"]


def test_a_run_leaves_what_people_look_for(hands: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    summary = train([hands], config(), tmp_path / "run", log=lines.append)
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left >= {
        "config.yaml",
        "metrics.jsonl",
        "summary.json",
        "curves.png",
        "environment.json",
        "best.safetensors",
    }
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
    assert summary == json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["steps"] == 6
    assert summary["datasets"] == [{"path": str(hands), "name": "toy", "version": open_dataset(hands).version}]
    assert len(steps_of(tmp_path / "run")) == 6
    assert sum("mean Dice" in line for line in lines) == 2
    assert summary["best"]["mean_dice"] == max(
        row["mean_dice"] for row in read_journal(tmp_path / "run") if row["kind"] == "validation"
    )
    assert load_config(tmp_path / "run" / "config.yaml") == config()


def test_the_loss_falls(hands: Path, tmp_path: Path) -> None:
    train([hands], config("epochs=8", "optimizer.lr=0.01", "validate_every=0"), tmp_path / "run")
    losses = [row["bce"] for row in steps_of(tmp_path / "run")]
    assert np.mean(losses[-4:]) < 0.6 * np.mean(losses[:4])


def test_a_run_repeats_itself_bit_for_bit(hands: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        train([hands], config("data.online=[{op: hflip, p: 0.5}]"), tmp_path / name)
    assert (tmp_path / "a" / "metrics.jsonl").read_bytes() == (tmp_path / "b" / "metrics.jsonl").read_bytes()
    assert (tmp_path / "a" / "last.safetensors").read_bytes() == (tmp_path / "b" / "last.safetensors").read_bytes()
    train([hands], config("data.online=[{op: hflip, p: 0.5}]", "seed=1"), tmp_path / "c")
    assert (tmp_path / "a" / "metrics.jsonl").read_bytes() != (tmp_path / "c" / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("stop", [2, 3, 5])
@pytest.mark.parametrize(
    "extra", [(), ("ema=0.9",), ("optimizer.accumulate=2", "epochs=4"), ("schedule.name=plateau",), DROPOUT]
)
def test_a_stopped_run_goes_on_as_if_it_had_not_been(
    hands: Path, tmp_path: Path, stop: int, extra: tuple[str, ...]
) -> None:
    settings = config("checkpoint_every=2", "data.online=[{op: hflip, p: 0.5}]", *extra)
    train([hands], settings, tmp_path / "whole")
    with pytest.raises(Stop):
        train([hands], settings, tmp_path / "stopped", progress=StopAt(stop))
    train([hands], settings, tmp_path / "stopped", resume=True)
    for name in ("metrics.jsonl", "last.safetensors", "best.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes(), name


def test_a_finished_run_is_returned_as_it_is(hands: Path, tmp_path: Path) -> None:
    first = train([hands], config("steps=1"), tmp_path / "run")
    assert train([hands], config("steps=1"), tmp_path / "run", resume=True, progress=StopAt(1)) == first


def test_a_folder_with_a_run_is_not_overwritten(hands: Path, tmp_path: Path) -> None:
    train([hands], config("steps=1"), tmp_path / "run")
    with pytest.raises(TrainError, match=r"holds a run already.*--resume"):
        train([hands], config("steps=1"), tmp_path / "run")


def test_a_run_goes_on_with_its_own_configuration_alone(hands: Path, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        train([hands], config(), tmp_path / "run", progress=StopAt(1))
    with pytest.raises(TrainError, match=r"begun with other settings.*seed was 0, is 5"):
        train([hands], config("seed=5"), tmp_path / "run", resume=True)


def test_a_run_that_was_begun_before_augforge_knew_sides_goes_on(hands: Path, tmp_path: Path) -> None:
    whole = train([hands], config(), tmp_path / "whole")
    with pytest.raises(Stop):
        train([hands], config(), tmp_path / "run", progress=StopAt(1))
    path = tmp_path / "run" / "run.json"
    spec = json.loads(path.read_text())
    assert spec.pop("sides") == {"stated": [], "found": [], "neutral": [], "alone": []}
    path.write_text(json.dumps(spec))
    assert train([hands], config(), tmp_path / "run", resume=True)["steps"] == whole["steps"]


@pytest.mark.parametrize("files", [["state.pt"], ["model.safetensors"], ["progress.json"]])
def test_a_damaged_checkpoint_is_named(hands: Path, tmp_path: Path, files: list[str]) -> None:
    settings = config("checkpoint_every=1")
    with pytest.raises(Stop):
        train([hands], settings, tmp_path / "run", progress=StopAt(2))
    [checkpoint] = (tmp_path / "run" / "checkpoints").iterdir()
    for name in files:
        (checkpoint / name).write_bytes(b"nonsense")
    with pytest.raises(TrainError, match=checkpoint.name):
        train([hands], settings, tmp_path / "run", resume=True)


def test_no_code_of_a_checkpoint_is_run(hands: Path, tmp_path: Path) -> None:
    settings = config("checkpoint_every=1")
    with pytest.raises(Stop):
        train([hands], settings, tmp_path / "run", progress=StopAt(2))
    [checkpoint] = (tmp_path / "run" / "checkpoints").iterdir()
    torch.save({"optimizer": Path("/tmp")}, checkpoint / "state.pt")  # unpickling it would call a constructor
    with pytest.raises(TrainError, match="damaged"):
        train([hands], settings, tmp_path / "run", resume=True)


def test_a_dataset_without_validation_split(hands: Path, tmp_path: Path) -> None:
    made(tmp_path, hands.parent / "data", (), split="{}")
    with pytest.raises(TrainError, match=r"no labelled split 'val'; there is: train.*validate_every=0"):
        train([tmp_path / "out"], config(), tmp_path / "run")
    summary = train([tmp_path / "out"], config("validate_every=0", "steps=1"), tmp_path / "run")
    assert summary["best"] is None
    assert TrainingRun.open(tmp_path / "run").model("best")


def test_a_class_without_pixels_is_reported(tmp_path: Path) -> None:
    data = tiny_hands(tmp_path / "data", [40, 80, 120], classes=("a",))
    put_hand(data, 9, np.full((40, 40), 90, np.uint8), ("a",))
    made(tmp_path, data, (), split="{val: 0.3}", classes="[a, b]")
    lines: list[str] = []
    summary = train([tmp_path / "out"], config("steps=1"), tmp_path / "run", log=lines.append)
    assert "no training sample has a pixel of b" in summary["warnings"][0]
    assert f"warning: {summary['warnings'][0]}" in lines


def test_a_loss_that_is_not_finite_ends_the_run(hands: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"not finite in step \d.*optimizer.lr"):
        train([hands], config("optimizer.lr=1e30", "optimizer.clip=null", "epochs=9"), tmp_path / "run")


def test_memory_that_runs_out_is_reported(hands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr("augforge.train.loop.images_to_device", full)
    with pytest.raises(TrainError, match=r"memory ran out.*data.batch_size.*--resume"):
        train([hands], config(), tmp_path / "run")


def test_low_precision_is_really_low(hands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[torch.dtype]] = {"weights": set(), "products": set(), "losses": set()}
    network = TrainingRun.network

    def watched(run: TrainingRun, pretrained: bool = False) -> torch.nn.Module:
        made = network(run, pretrained)
        seen["weights"] |= {parameter.dtype for parameter in made.parameters()}
        for module in made.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_hook(lambda module, inputs, output: seen["products"].add(output.dtype))
        return made

    monkeypatch.setattr(TrainingRun, "network", watched)
    for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        seen["products"].clear()
        summary = train([hands], config("steps=1", f"precision={precision}"), tmp_path / precision)
        assert summary["precision"] == precision
        assert seen["products"] == {dtype}
    assert seen["weights"] == {torch.float32}


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in load_weights(path).items() if tensor.is_floating_point()}


def test_batches_that_are_summed_for_a_step_count_as_their_mean(hands: Path, tmp_path: Path) -> None:
    overrides = ("data.batch_size=6", "steps=1", "optimizer.name=sgd", "optimizer.clip=null", "validate_every=0")
    for name, several in (
        ("one", 1),
        ("two", 2),
    ):  # an epoch is one batch, so both see the same samples, once and twice
        train([hands], config(*overrides, f"optimizer.accumulate={several}"), tmp_path / name)
    one, two = (weights_of(tmp_path / name / "last.safetensors") for name in ("one", "two"))
    network = [name for name in one if "running" not in name]
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in network)


def test_unequal_batches_of_a_step_are_one_large_batch(hands: Path, tmp_path: Path) -> None:
    """Borders weigh pixels, so batches count unequally; a network without batch norm sees no other difference."""
    overrides = (
        "model.factory=ownnet:build",
        "model.options={}",
        "steps=2",
        "validate_every=0",
        "optimizer.name=sgd",
        "optimizer.clip=null",
    )
    weights = ("loss=[{name: bce}]", "weights.border=20", "weights.classes={Radius: 3}", "optimizer.lr=0.1")
    for name, size, several in (("one", 6, 1), ("three", 2, 3)):
        settings = config(*overrides, *weights, f"data.batch_size={size}", f"optimizer.accumulate={several}")
        train([hands], settings, tmp_path / name)
    one, three = (weights_of(tmp_path / name / "last.safetensors") for name in ("one", "three"))
    assert all(torch.allclose(one[name], three[name], atol=1e-6, rtol=1e-5) for name in one)
    losses = [[row["loss"] for row in steps_of(tmp_path / name)] for name in ("one", "three")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0][0] != losses[0][1]


def test_gradients_are_clipped(hands: Path, tmp_path: Path) -> None:
    overrides = ("steps=1", "optimizer.name=sgd", "optimizer.lr=1", "optimizer.weight_decay=0", "schedule.warmup=0")
    for name, clip in (("start", "1e-12"), ("short", "0.01"), ("free", "null")):
        train([hands], config(*overrides, "validate_every=0", f"optimizer.clip={clip}"), tmp_path / name)
    start, short, free = (weights_of(tmp_path / name / "last.safetensors") for name in ("start", "short", "free"))
    moved = [
        sum(((end[name] - start[name]) ** 2).sum().item() for name in start if "running" not in name) ** 0.5
        for end in (short, free)
    ]
    assert moved[0] == pytest.approx(0.01, rel=0.01)
    assert moved[1] > 0.05


def test_the_average_is_what_is_judged_and_kept(hands: Path, tmp_path: Path) -> None:
    for name, extra in (("plain", ()), ("ema", ("ema=0.9",)), ("swa", ("swa=0.5",))):
        train([hands], config(*extra, "validate_every=2"), tmp_path / name)
    plain, ema, swa = (weights_of(tmp_path / name / "last.safetensors") for name in ("plain", "ema", "swa"))
    bare = weights_of(next((tmp_path / "ema" / "checkpoints").glob("*/model.safetensors")))
    assert all(torch.equal(plain[name], bare[name]) for name in plain), "averaging changes nothing in what is trained"
    assert not all(torch.equal(plain[name], ema[name]) for name in plain)
    assert not all(torch.equal(plain[name], swa[name]) for name in plain)
    best = weights_of(tmp_path / "ema" / "best.safetensors")
    assert all(torch.equal(best[name], ema[name]) for name in best)


def test_a_plateau_lowers_the_rate(hands: Path, tmp_path: Path) -> None:
    overrides = ("schedule.name=plateau", "schedule.patience=1", "schedule.warmup=0", "schedule.factor=0.5", "epochs=3")
    train([hands], config(*overrides, "threshold=0.999"), tmp_path / "run")  # nothing is predicted: no score is better
    assert [row["lr"] for row in steps_of(tmp_path / "run")][::3] == [0.001, 0.001, 0.0005]


def test_the_threshold_of_the_configuration_judges(hands: Path, tmp_path: Path) -> None:
    for threshold in (0.001, 0.999):
        train([hands], config("steps=1", f"threshold={threshold}"), tmp_path / str(threshold))
    low, high = (
        TrainingRun.open(tmp_path / str(threshold)).summary()["best"]["classes"] for threshold in (0.001, 0.999)
    )
    assert high != low
    assert set(high.values()) == {0.0}, "nothing is predicted, and every bone is there"


def test_averages_follow_the_weights() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    ema = WeightAverage(network, TrainConfig(ema=0.5), steps=4)
    swa = WeightAverage(network, TrainConfig(swa=0.5), steps=4)
    for step, value in enumerate([1.0, 2.0, 3.0, 5.0], start=1):
        network.weight.data.fill_(value)
        ema.update(network, step)
        swa.update(network, step)
    weights = [average.model.module.get_parameter("weight").item() for average in (ema, swa)]
    ramp = [min(0.5, (1 + n) / (10 + n)) for n in (1, 2, 3)]  # n averages before
    expected = 1.0
    for decay, value in zip(ramp, (2.0, 3.0, 5.0), strict=True):
        expected = decay * expected + (1 - decay) * value
    assert weights == pytest.approx([expected, (3 + 5) / 2])
    assert ramp[-1] < 0.5
    assert swa.network(2) is None
    assert swa.network(3) is not None


def test_statistics_of_batch_norm_are_averaged() -> None:
    network = torch.nn.BatchNorm1d(1)
    ema = WeightAverage(network, TrainConfig(ema=0.5), steps=2)
    for step, value in enumerate([1.0, 2.0], start=1):
        network.get_buffer("running_mean").fill_(value)
        ema.update(network, step)
    assert ema.model.module.get_buffer("running_mean").item() == pytest.approx(1 * 2 / 11 + 2 * 9 / 11)


def test_the_decay_of_an_average_ends_where_it_was_set() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    ema = WeightAverage(network, TrainConfig(ema=0.5), steps=99)
    for step in range(1, 100):
        network.weight.data.fill_(step % 2)
        ema.update(network, step)
    before = ema.model.module.get_parameter("weight").item()
    network.weight.data.fill_(7)
    ema.update(network, 100)
    assert ema.model.module.get_parameter("weight").item() == pytest.approx((before + 7) / 2)


def test_an_average_of_before_keeps_its_constant_decay() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(1)
    ema = WeightAverage(network, TrainConfig(ema=0.9), steps=9)
    ema.update(network, 1)
    old = {name: value for name, value in ema.state_dict().items() if name != "ema_ramps_up"}
    resumed = WeightAverage(network, TrainConfig(ema=0.9), steps=9)
    resumed.load_state_dict(old)
    network.weight.data.fill_(2)
    resumed.update(network, 2)
    assert resumed.model.module.get_parameter("weight").item() == pytest.approx(0.9 * 1 + 0.1 * 2)
    assert resumed.state_dict().keys() == old.keys(), "it stays so when it is resumed again"


def test_labels_alone_make_a_classifier(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for label, level in (("bright", 200), ("dark", 40)):
        for number in range(8):
            path = tmp_path / "data" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(level - 30, level + 30, (48, 48)).astype(np.uint8)).save(path)
    (tmp_path / "recipe.yaml").write_text(
        "name: levels\nsource: {format: image-folder, path: data}\nsplit: {val: 0.3}\n", encoding="utf-8"
    )
    from augforge.engine.builder import build

    build(tmp_path / "recipe.yaml", tmp_path / "out")
    overrides = ("model.encoder=resnet10t", "data.normalise=unit", "epochs=12", "data.batch_size=4", "data.workers=0")
    summary = train([tmp_path / "out"], load_config(None, (*overrides, "data.size=64")), tmp_path / "run")
    assert summary["task"] == "classification"
    assert summary["best"]["accuracy"] > 0.7


def test_a_run_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="is no training run"):
        TrainingRun.open(tmp_path)
    with pytest.raises(AugforgeError):
        train([tmp_path], config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    shutil.rmtree(tmp_path)
