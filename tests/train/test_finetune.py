"""Beginning with another run's network, freezing, rates by part; runs that the version before began; lists of runs."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tinyrun import Stop, StopAt, config
from toybox import made

from augforge.errors import TrainError
from augforge.phantom import write_phantom
from augforge.train.checkpoint import load_weights
from augforge.train.config import OptimizerConfig, TrainConfig, load_config
from augforge.train.finetune import unused_weights
from augforge.train.heritage import datasets_seen
from augforge.train.journal import read_journal
from augforge.train.loop import train
from augforge.train.net.optim import build_optimizer
from augforge.train.net.parts import freeze, parameter_groups, train_mode
from augforge.train.net.trackers import check_trackers, track
from augforge.train.run import TrainingRun
from augforge.train.runs import list_runs
from augforge.yamlfile import dump_yaml

SHORT = ("steps=2", "validate_every=0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of hands, one of two of their bones in another order, and a run on the first."""
    root = tmp_path_factory.mktemp("finetune")
    write_phantom(root / "data", persons=3, size=96, seed=3)
    made(root, root / "data", (), split="{val: [ID002]}")
    made(root, root / "data", (), "two", split="{val: [ID002]}", classes="[Ulna, finger-8], class_map: {'*': null}")
    train([root / "out"], config("steps=2"), root / "run")
    return root


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_weights(path)


def begun(folder: Path, tmp_path: Path, dataset: str, *overrides: str) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The weights after a step that moves nothing, and what was said."""
    lines: list[str] = []
    settings = config(*SHORT, f"init={folder / 'run'}", "optimizer.lr=1e-30", "optimizer.weight_decay=0", *overrides)
    train([folder / dataset], settings, tmp_path / "new", log=lines.append)
    return weights_of(tmp_path / "new" / "last.safetensors"), lines


def test_a_run_gives_its_whole_network(folder: Path, tmp_path: Path) -> None:
    found, lines = begun(folder, tmp_path, "out")
    before = weights_of(folder / "run" / "best.safetensors")
    moved = [name for name in found if "running" not in name and "tracked" not in name]
    assert all(torch.equal(found[name], before[name]) for name in moved)
    assert f"init: {len(before)} tensors of {folder / 'run'} fitted" in lines
    assert not [line for line in lines if "did not fit" in line or "random" in line]


def test_the_last_layer_is_filled_by_the_names_of_classes(folder: Path, tmp_path: Path) -> None:
    found, lines = begun(folder, tmp_path, "two")
    before, classes = weights_of(folder / "run" / "best.safetensors"), TrainingRun.open(folder / "run").outputs
    for part in ("weight", "bias"):
        rows, rows_before = found[f"segmentation_head.0.{part}"], before[f"segmentation_head.0.{part}"]
        assert torch.equal(rows[0], rows_before[classes.index("Ulna")])
        assert torch.equal(rows[1], rows_before[classes.index("finger-8")])
    assert any("only the rows of Ulna, finger-8 fitted, by name" in line for line in lines)


def test_what_does_not_fit_is_told_by_name(folder: Path, tmp_path: Path) -> None:
    _, lines = begun(folder, tmp_path, "out", "model.options={decoder_channels: [32, 16, 8, 8, 8]}", "data.size=96")
    assert any("did not fit and was left out: decoder.blocks.4" in line for line in lines)
    assert any("begins at random: decoder.blocks.4" in line for line in lines)
    assert "init: size was 64x64, is 96x96 here" in lines


def test_a_run_that_cannot_begin_another_is_an_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="is no training run"):
        train([folder / "out"], config(*SHORT, f"init={folder / 'data'}"), tmp_path / "a")
    with pytest.raises(TrainError, match=r"init and model.weights .* both give weights"):
        weights = folder / "run/best.safetensors"
        train([folder / "out"], config(*SHORT, f"init={folder / 'run'}", f"model.weights={weights}"), tmp_path / "b")
    shutil.copytree(folder / "run", tmp_path / "unfinished")
    (tmp_path / "unfinished/best.safetensors").unlink()
    with pytest.raises(TrainError, match=r"best.safetensors is missing: the run is not finished"):
        train([folder / "out"], config(*SHORT, f"init={tmp_path / 'unfinished'}"), tmp_path / "c")


def test_weights_of_a_whole_run_for_the_encoder_alone_are_told(folder: Path, tmp_path: Path) -> None:
    [warning] = unused_weights(str(folder / "run/best.safetensors"))
    assert "takes only the encoder" in warning and "init: RUN" in warning
    assert unused_weights("imagenet") == unused_weights(None) == unused_weights(str(tmp_path / "no.safetensors")) == []


def test_a_frozen_encoder_keeps_every_number(folder: Path, tmp_path: Path) -> None:
    settings = config("steps=3", "validate_every=0", f"init={folder / 'run'}", "freeze=encoder", "optimizer.lr=0.01")
    train([folder / "out"], settings, tmp_path / "new")
    before, after = (weights_of(run / "last.safetensors") for run in (folder / "run", tmp_path / "new"))
    assert (folder / "run/best.safetensors").read_bytes() == (folder / "run/last.safetensors").read_bytes()
    for name, value in after.items():  # statistics of batch norm too
        if name.startswith("encoder."):
            assert torch.equal(value, before[name]), name
    assert not torch.equal(after["segmentation_head.0.weight"], before["segmentation_head.0.weight"])


def test_parts_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"freeze: the network has no part 'encodr'. Did you mean 'encoder'\?"):
        train([folder / "out"], config(*SHORT, "freeze=encodr"), tmp_path / "a")
    with pytest.raises(TrainError, match=r"optimizer.lr_by_part: the network has no part 'head'"):
        train([folder / "out"], config(*SHORT, "optimizer.lr_by_part={head: 1e-5}"), tmp_path / "b")
    network = torch.nn.Linear(2, 2)
    with pytest.raises(TrainError, match="is the whole network"):
        freeze(network, ["weight", "bias"])


def small() -> torch.nn.Module:
    return torch.nn.ModuleDict(
        {
            "encoder": torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)),
            "encoder2": torch.nn.Linear(3, 3),
            "head": torch.nn.Linear(3, 1),
        }
    )


def test_parts_have_rates_of_their_own() -> None:
    network, settings = small(), OptimizerConfig(lr=0.1, lr_by_part={"encoder": 1e-3, "encoder.1": 1e-4})
    by_rate: dict[float, set[str]] = {}
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    for group in build_optimizer(network, settings).param_groups:
        by_rate.setdefault(group["lr"], set()).update(names[id(each)] for each in group["params"])
        assert all((each.ndim > 1) == (group["weight_decay"] > 0) for each in group["params"])
    assert by_rate == {
        0.1: {"encoder2.weight", "encoder2.bias", "head.weight", "head.bias"},
        1e-3: {"encoder.0.weight", "encoder.0.bias"},
        1e-4: {"encoder.1.weight", "encoder.1.bias"},
    }
    assert parameter_groups(network, settings)[0]["lr"] == 0.1, "the first rate is the one that the journal calls lr"


def test_a_frozen_part_is_one_by_whole_names() -> None:
    network = small()
    freeze(network, ["encoder"])
    train_mode(network, ["encoder"])
    assert [name for name, each in network.named_parameters() if not each.requires_grad] == [
        "encoder.0.weight",
        "encoder.0.bias",
        "encoder.1.weight",
        "encoder.1.bias",
    ]
    assert not network["encoder"][1].training  # type: ignore[index]
    assert network["encoder2"].training  # type: ignore[index]


def test_rates_by_part_follow_the_schedule(folder: Path, tmp_path: Path) -> None:
    train(
        [folder / "out"], config("steps=4", "validate_every=0", "optimizer.lr_by_part={encoder: 1e-5}"), tmp_path / "a"
    )
    rows = read_journal(tmp_path / "a")
    assert len({row["lr"] for row in rows}) > 1
    assert all(row["encoder"] == pytest.approx(row["lr"] / 100) for row in rows)


# ---- what the version before left ------------------------------------------------------------------------------------

FIRST_KEYS = {
    "model": "architecture encoder weights options",
    "data": "size crop channels normalise batch_size workers online sampling",
    "optimizer": "name lr weight_decay momentum clip accumulate",
    "schedule": "name warmup final every factor patience",
}
FIRST_TOP = "seed precision device threads channels_last compile ema swa validate_every checkpoint_every threshold"


def make_old(run: Path) -> None:
    """Turn a run into what augforge 0.2 wrote: fewer keys, fewer figures, and an average with a constant decay."""
    settings = TrainingRun.open(run).config.model_dump(mode="json")
    kept = {section: {key: settings[section][key] for key in keys.split()} for section, keys in FIRST_KEYS.items()}
    losses = [
        {key: loss[key] for key in ("name", "weight", "smoothing", "gamma", "alpha")} for loss in settings["loss"]
    ]
    top = {key: settings[key] for key in ("epochs", "steps", *FIRST_TOP.split())}
    (run / "config.yaml").write_text(dump_yaml({**kept, "loss": losses, **top}))
    spec = json.loads((run / "run.json").read_text())
    first = ("task", "outputs", "labels", "datasets", "input")
    (run / "run.json").write_text(json.dumps({key: spec[key] for key in first}))
    for state in run.glob("checkpoints/*/state.pt"):
        content = torch.load(state, weights_only=True)
        if "average" in content:
            content["average"].pop("ema_ramps_up", None)
        torch.save(content, state)


def stopped(folder: Path, run: Path, settings: TrainConfig) -> None:
    with pytest.raises(Stop):
        train([folder / "out"], settings, run, progress=StopAt(3))
    make_old(run)


@pytest.fixture
def constant_decay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training as it was: no ramp of the average's decay."""
    from augforge.train.net.optim import WeightAverage

    init = WeightAverage.__init__

    def without_ramp(self: WeightAverage, *arguments: Any) -> None:
        init(self, *arguments)
        self._ramps = False

    monkeypatch.setattr(WeightAverage, "__init__", without_ramp)


def test_a_finished_run_of_before_predicts_and_is_judged_as_it_was(folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(folder / "run", tmp_path / "run"))
    make_old(run)
    opened = TrainingRun.open(run)
    assert opened.spec.monitor == "mean_dice"
    assert opened.config == TrainingRun.open(folder / "run").config
    image = torch.zeros(1, opened.input.channels, 64, 64)
    with torch.no_grad():
        assert torch.equal(opened.model()(image), TrainingRun.open(folder / "run").model()(image))
    assert train([folder / "out"], config("steps=2"), run, resume=True)["steps"] == 2


@pytest.mark.slow
def test_a_stopped_run_of_before_goes_on_with_what_it_had(
    folder: Path, tmp_path: Path, constant_decay: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config("checkpoint_every=2", "ema=0.9", "epochs=3")
    train([folder / "out"], settings, tmp_path / "whole")
    stopped(folder, tmp_path / "old", settings)
    monkeypatch.undo()  # from here on as it is now: the checkpoint says that the decay is constant
    train([folder / "out"], settings, tmp_path / "old", resume=True)
    assert (tmp_path / "whole/last.safetensors").read_bytes() == (tmp_path / "old/last.safetensors").read_bytes()
    assert (tmp_path / "whole/metrics.jsonl").read_bytes() == (tmp_path / "old/metrics.jsonl").read_bytes()


def test_studies_that_were_begun_before_find_their_parts() -> None:
    """Digests of configurations as augforge 0.2 made them."""
    from augforge.keys import digest

    assert digest(config().identity()) == "3da7fdd0c8e7abb35a7a3db69aef1267"
    assert digest(config("loss=[{name: focal}]", "ema=0.9").identity()) == "d106b1ce51db79bfc3b25590a0dc10bc"
    assert digest(config("monitor=pooled_dice").identity()) != digest(config().identity())


# ---- the rest of a run -----------------------------------------------------------------------------------------------


def test_snapshots_are_taken_at_the_ends_of_cycles_and_averaged(folder: Path, tmp_path: Path) -> None:
    settings = config("steps=5", "schedule={name: cyclic, cycles: 2, warmup: 0, final: 0}", "validate_every=0")
    train([folder / "out"], settings, tmp_path / "run")
    rates = [row["lr"] for row in read_journal(tmp_path / "run")]
    assert rates == pytest.approx([1e-3 * (1 + math.cos(math.pi * t / 3)) / 2 for t in (0, 1, 2, 0, 1)])
    run = TrainingRun.open(tmp_path / "run")
    snapshots = sorted(path.name for path in run.folder.glob("snapshot-*"))
    assert snapshots == ["snapshot-1.safetensors", "snapshot-2.safetensors"]
    image, members = torch.randn(1, run.input.channels, 64, 64), []
    for name in snapshots:
        network = run.network()
        network.load_state_dict(load_weights(run.folder / name))
        members.append(network.eval())
    with torch.no_grad():
        mean = torch.stack([member(image).sigmoid() for member in members]).mean(0)
        assert torch.allclose(run.model("snapshots")(image).sigmoid(), mean, atol=1e-5)
    with pytest.raises(TrainError, match="has no snapshots"):
        TrainingRun.open(folder / "run").model("snapshots")
    with pytest.raises(TrainError, match=r"schedule.cycles: 9 in a run of 5 steps"):
        train([folder / "out"], config("steps=5", "schedule={name: cyclic, cycles: 9}"), tmp_path / "many")


def test_what_a_network_has_seen_before_counts(folder: Path, tmp_path: Path) -> None:
    """The run that it began with has trained on ID001 and ID003, whatever it is trained on now."""
    from augforge.store.dataset import open_dataset
    from augforge.train.evaluation.evaluate import evaluate
    from augforge.train.study.crossval import crossval

    made(tmp_path, folder / "data", (), "other", split="{val: [ID001]}")
    begun_with = config(*SHORT, f"init={folder / 'run'}")
    train([tmp_path / "other"], begun_with, tmp_path / "run")
    warnings = evaluate(tmp_path / "run", [tmp_path / "other"], worst=0)["warnings"]
    assert any("the model was trained on 1 of the 1 groups evaluated here (ID001)" in warning for warning in warnings)
    with pytest.raises(TrainError, match=r"init: .*run was trained on groups that models are judged by here \(ID00"):
        crossval(open_dataset(tmp_path / "other"), begun_with, tmp_path / "study", folds=2)
    gone = config(*SHORT, f"init={tmp_path / 'gone'}")
    with pytest.raises(TrainError, match="it is not known which groups"):
        crossval(open_dataset(tmp_path / "other"), gone, tmp_path / "study", folds=2)


@pytest.mark.parametrize("seed", ["9223372036854775807", "-9223372036854775808"])
def test_the_longest_seeds_are_taken(folder: Path, tmp_path: Path, seed: str) -> None:
    assert (
        train([folder / "out"], config("steps=1", "validate_every=0", f"seed={seed}"), tmp_path / "run")["steps"] == 1
    )


def test_longer_seeds_are_refused() -> None:
    with pytest.raises(TrainError, match="seed"):
        load_config(None, ["seed=99999999999999999999"])


def test_runs_that_began_with_each_other_are_each_read_once(folder: Path, tmp_path: Path) -> None:
    """A run of an old name, trained anew with the run that began with it, closes a ring."""
    for name, other in (("a", "b"), ("b", "a")):
        shutil.copytree(folder / "run", tmp_path / name)
        text = (tmp_path / name / "config.yaml").read_text()
        (tmp_path / name / "config.yaml").write_text(text.replace("init:", f"init: {tmp_path / other}"))
    assert len([*datasets_seen(TrainingRun.open(tmp_path / "a"))]) == 3  # its own, that of b, and that of a once more


def test_all_runs_below_a_folder(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "run", tmp_path / "deep/er/run")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/run.json").write_text("{}")
    broken, found = list_runs(tmp_path)
    assert broken["unreadable"] and "is no training run" in broken["unreadable"]
    assert (found["run"], found["finished"], found["steps"]) == (str(tmp_path / "deep/er/run"), True, 2)
    best = json.loads((folder / "run/best.json").read_text())
    assert (found["monitor"], found["score"], found["step"]) == ("mean_dice", best["mean_dice"], best["step"])
    with pytest.raises(TrainError, match="is no folder"):
        list_runs(tmp_path / "nowhere")


def test_a_tracker_that_is_not_installed_is_named_with_the_remedy(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"trackers: mlflow needs its package.*pip install mlflow"):
        train([folder / "out"], config(*SHORT, "trackers=[mlflow]"), tmp_path / "run")


def test_trackers_get_losses_and_scores(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import accelerate.accelerator
    from accelerate import tracking
    from accelerate.tracking import GeneralTracker

    logged: list[tuple[dict[str, float], int | None]] = []

    class Tracker(GeneralTracker):  # type: ignore[misc]
        name, requires_logging_directory = "mlflow", False

        def __init__(self, project: str, run_name: str) -> None:
            super().__init__()
            self.run_name = run_name

        @property
        def tracker(self) -> str:
            return self.run_name

        def store_init_configuration(self, values: dict[str, Any]) -> None:
            assert values["seed"] == "0"

        def log(self, values: dict[str, float], step: int | None = None, **kwargs: Any) -> None:
            logged.append((values, step))

    monkeypatch.setattr("augforge.train.net.trackers.find_spec", lambda name: SimpleNamespace(origin=name))
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "mlflow", Tracker)
    monkeypatch.setattr(accelerate.accelerator, "filter_trackers", lambda names, folder: names)
    train([folder / "out"], config("steps=2", "trackers=[mlflow]"), tmp_path / "run")
    names = {name for values, _ in logged for name in values}
    assert {"step/loss", "step/lr", "validation/mean_dice", "validation/classes/Radius"} <= names
    assert [step for values, step in logged if "step/loss" in values] == [1, 2]


def test_a_folder_that_a_tracker_left_is_no_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mlflow").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TrainError, match="mlflow needs its package"):
        check_trackers(["mlflow"])


def test_names_of_classes_are_such_as_mlflow_takes() -> None:
    logged: dict[str, float] = {}
    accelerator: Any = SimpleNamespace(log=lambda values, step: logged.update(values))
    odd = {"left lung (outer)": 0.1, "a+b": 0.2, "a#b": 0.3, "a/b": 0.4, "Handwurzel-ü": 0.5, "absent": None}
    track(accelerator, ["mlflow"], "validation", {"miou": 0.5, "classes": odd}, 1)
    assert all(re.fullmatch(r"[/\w.\- ]+", name) for name in logged)  # as mlflow.utils.validation has it
    assert [*logged.values()] == [0.5, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert "validation/classes/Handwurzel-ü" in logged


def test_a_tracker_that_fails_is_told_with_the_remedy_and_may_be_left_out(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise ConnectionError("No API key configured")

    monkeypatch.setattr("augforge.train.net.trackers.find_spec", lambda name: SimpleNamespace(origin=name))
    monkeypatch.setattr("accelerate.accelerator.filter_trackers", lambda names, folder: names or [])
    monkeypatch.setattr("accelerate.Accelerator.init_trackers", fail)
    with pytest.raises(TrainError, match=r"No API key configured \(ConnectionError\).*WANDB_MODE=offline.*--resume"):
        train([folder / "out"], config(*SHORT, "trackers=[wandb]"), tmp_path / "run")
    assert train([folder / "out"], config(*SHORT), tmp_path / "run", resume=True)["steps"] == 2


def test_the_figure_that_chooses_the_best_suits_the_data(folder: Path, tmp_path: Path) -> None:
    from augforge.store.dataset import open_dataset
    from augforge.train.rundata import choose_monitor

    validation = [open_dataset(folder / "out").split("val")]
    outputs = TrainingRun.open(folder / "run").outputs
    assert choose_monitor(config(), validation, outputs) == "mean_dice"
    assert choose_monitor(config("monitor=present_iou"), validation, outputs) == "present_iou"
    assert choose_monitor(config("loss=[{name: cross_entropy}]"), validation, outputs) == "miou"


def test_absent_classes_let_the_pooled_figure_choose() -> None:
    from types import SimpleNamespace

    import polars as pl

    from augforge.train.rundata import choose_monitor

    areas = [{"a": 5, "b": 0}, {"a": 0, "b": None}, {"a": 3, "b": 7}]
    part: Any = SimpleNamespace(index=pl.DataFrame({"area": areas}))
    assert choose_monitor(TrainConfig(), [part], ("a", "b")) == "pooled_dice"
    part.index = pl.DataFrame({"area": [{"a": 5, "b": 2}] * 5 + [{"a": 4, "b": 0}]})  # 1 of 12
    assert choose_monitor(TrainConfig(), [part], ("a", "b")) == "mean_dice"


def test_a_figure_that_has_no_value_is_an_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"monitor: miou has no value .* two classes are true at one pixel"):
        train([folder / "out"], config("steps=1", "monitor=miou"), tmp_path / "run")


def test_uncertain_regions_are_weighed_and_neither_learnt_nor_judged(folder: Path, tmp_path: Path) -> None:
    settings = config("steps=2", "weights.regions={Ulna: 0.2}", "weights.border=5")
    summary = train([folder / "two"], settings, tmp_path / "run")
    assert summary["outputs"] == ["finger-8"]
    assert list(summary["best"]["classes"]) == ["finger-8"]
    from augforge.train.evaluation.evaluate import evaluate

    assert list(evaluate(tmp_path / "run", [folder / "two"], worst=1)["classes"]) == ["finger-8"]
    with pytest.raises(TrainError, match=r"weights.regions: the datasets have no class 'ulna'. Did you mean 'Ulna'\?"):
        train([folder / "two"], config(*SHORT, "weights.regions={ulna: 0.2}"), tmp_path / "b")


def test_exclusive_classes_are_trained_by_cross_entropy_and_chosen_by_miou(folder: Path, tmp_path: Path) -> None:
    settings = config("steps=2", "loss=[{name: cross_entropy}, {name: dice}]")
    summary = train([folder / "two"], settings, tmp_path / "run")
    assert summary["monitor"] == "miou"
    assert np.isfinite(summary["best"]["miou"])
    assert {"cross_entropy", "dice", "loss"} <= set(read_journal(tmp_path / "run")[0])
