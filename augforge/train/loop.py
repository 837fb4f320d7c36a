"""The training loop: open the data, build the network, train, validate, keep the best; resume where a run stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from augforge.progress import Progress, Silent
from augforge.report.show import save_png
from augforge.store.dataset import Dataset
from augforge.train.checkpoint import Checkpoint, TrainState, load_checkpoint, save_checkpoint, save_weights
from augforge.train.config import TrainConfig
from augforge.train.data.batch import Batch, images_to_device, targets_to_device
from augforge.train.evaluation.pictures import curves
from augforge.train.evaluation.totals import figure_name
from augforge.train.finetune import initial_network
from augforge.train.guards import check_finite, check_processes, explain_torch_errors, stop_on_signals
from augforge.train.journal import Journal, read_journal
from augforge.train.labels.losses import build_losses
from augforge.train.net.accelerator import build_accelerator, shares_of_step
from augforge.train.net.device import Precision, choose_device, choose_precision, make_repeatable
from augforge.train.net.mixstyle import attach_mixstyle
from augforge.train.net.optim import Schedule, build_average, build_optimizer, snapshot_after
from augforge.train.net.parts import rates_by_part, train_mode
from augforge.train.net.trackers import track, tracked
from augforge.train.run import Log, TrainingRun, check_folder, keep_monitor, write_json, write_summary
from augforge.train.rundata import RunData, TrainAndVal
from augforge.train.validation import validate


def train(
    datasets: Sequence[str | Path | Dataset],
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    train_and_val: TrainAndVal | None = None,
    progress: Progress | None = None,
    log: Log | None = None,
) -> dict[str, Any]:
    """Train a model and return its summary, which is also written to ``out/summary.json``.

    Args:
        datasets: what to train on; their `val` splits are for validation.
        config: everything that decides the result, apart from the data.
        out: the run's folder; must be new or empty unless the run resumes.
        resume: go on from the last checkpoint, even in the middle of an epoch. Of a finished run, return the summary.
        train_and_val: samples to train on and to validate on, instead of the datasets' splits.
        progress: advances with each step.
        log: is called with a line for each validation and each warning.

    Raises:
        TrainError: the data does not fit, the run cannot be resumed, the loss is not finite, memory ran out.
    """
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    accelerator = build_accelerator(device, precision, config.trackers)
    make_repeatable(config.seed, config.threads)
    data = RunData(datasets, config, device, train_and_val)
    run = keep_monitor(TrainingRun(Path(out), config, data.spec))
    log = log if log is not None and accelerator.is_main_process else lambda line: None
    if accelerator.is_main_process:
        check_folder(run, resume, log)
    accelerator.wait_for_everyone()  # no process may look for a summary before the folder is known to be this run's
    if (run.folder / "summary.json").exists():
        return run.summary()
    with explain_torch_errors(run.folder):
        return Trainer(run, data, accelerator, precision, progress or Silent(), log).fit()


class Trainer:
    """A training run in progress: the network, optimizer, schedule and losses, and how far the run has come."""

    def __init__(
        self,
        run: TrainingRun,
        data: RunData,
        accelerator: Accelerator,
        precision: Precision,
        progress: Progress,
        log: Log,
    ) -> None:
        self.run, self.config, self.data = run, run.config, data
        self.accelerator, self.precision, self.progress, self.log = accelerator, precision, progress, log
        self.is_main = bool(accelerator.is_main_process)  # the process that writes files for all
        world, rank = accelerator.num_processes, accelerator.process_index
        self.batches = data.batches(world, rank, pin=accelerator.device.type == "cuda")
        batch_count = self.config.epochs * self.batches.per_epoch
        self.total_steps = self.config.steps or max(1, batch_count // self.config.optimizer.accumulate)
        self.state = TrainState()
        self.journal: Journal | None = None
        self._build(initial_network(run, log))

    def _build(self, network: nn.Module) -> None:
        """Set up the network, its optimizer and schedule, the average of its weights, and the losses.

        `self.network` is the plain module, whose weights are saved. `self.model`, which training calls, is the same one
        wrapped for compilation and for several processes.
        """
        layout = torch.channels_last if self.config.channels_last else torch.contiguous_format
        self.network = network.to(self.accelerator.device).to(memory_format=layout)  # type: ignore[call-overload]
        optimizer = build_optimizer(self.network, self.config.optimizer)
        self.schedule = Schedule(optimizer, self.config.schedule, self.total_steps)
        attach_mixstyle(self.network, self.config.mixstyle, self.run.input)
        self.average = build_average(self.network, self.config, self.total_steps)
        compiled = torch.compile(self.network) if self.config.compile else self.network
        self.model, self.optimizer = self.accelerator.prepare(compiled, optimizer)
        self.losses = build_losses(self.config, self.run.spec, self.data.training)

    # ---- training ----

    def fit(self) -> dict[str, Any]:
        """Take the remaining steps and write the summary."""
        if self.is_main and not (self.run.folder / "run.json").exists():
            # Not earlier: a network that cannot be built must leave no folder behind.
            self.run.write(self.data.preparations)
        self._resume()
        start_time, start = time.monotonic(), self.state
        for warning in self.data.warnings:
            self.log(f"warning: {warning}")
        self.progress.start("train", self.total_steps)
        self.progress.advance(start.step)
        batches = self.batches.stream(start.epoch, start.samples)  # endless: it is the steps that end a run
        with stop_on_signals() as stop, self._open_journal(), closing(batches) as stream:
            while self.state.step < self.total_steps:
                self._train_step(list(islice(stream, self.config.optimizer.accumulate)))
                self.progress.advance(1)
                if stop.pending and self.state.step < self.total_steps:
                    self._save_checkpoint()
                    raise KeyboardInterrupt  # as Ctrl-C always does, though here nothing is lost
        return self._finish(time.monotonic() - start_time, self.state.step - start.step)

    @contextmanager
    def _open_journal(self) -> Iterator[None]:
        """Open the journal in the main process, and cut off the rows of steps after the checkpoint."""
        if not self.is_main:
            yield
            return
        journal = closing(Journal(self.run.folder, self.state.metrics, self.state.step))
        with journal as self.journal, tracked(self.accelerator, self.run.folder, self.config):
            yield

    def _train_step(self, batches: Sequence[Batch]) -> None:
        """Take one optimizer step, on several batches if gradients are accumulated; then validate and save if due."""
        train_mode(self.network, self.config.frozen)  # a validation has left it in evaluation mode
        groups = self.optimizer.param_groups
        rates = {"lr": groups[0]["lr"], **rates_by_part(groups)}  # of this step: the schedule changes them below
        shares = shares_of_step([self._amounts(batch) for batch in batches], self.accelerator)
        losses = [
            self._backward(batch, share, is_last=batch is batches[-1])
            for batch, share in zip(batches, shares, strict=True)
        ]
        if self.config.optimizer.clip is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        # A batch says where to go on after it: in which epoch, and after how many of its samples.
        epoch, step = self.state.epoch, self.state.step + 1
        self.state = replace(self.state, step=step, epoch=batches[-1].epoch, samples=batches[-1].samples)
        if self.average is not None:
            self.average.update(self.network, step)
        of_step = {name: sum(values[name] for values in losses) for name in losses[0]}
        self._record("step", {"epoch": epoch, **rates, **of_step})
        self._validate_and_save_if_due(epoch_ended=self.state.epoch != epoch or step == self.total_steps)

    def _amounts(self, batch: Batch) -> Tensor | None:
        """How much of a step each loss of a batch is a mean of; None if the batch is the whole step."""
        if self.config.optimizer.accumulate * self.accelerator.num_processes == 1:
            return None
        return self.losses.amounts(**self._targets(batch))

    def _backward(self, batch: Batch, share: Tensor | None, is_last: bool) -> dict[str, float]:
        """Add a batch's gradients and return its losses. Processes exchange gradients once per step, with the last."""
        with nullcontext() if is_last else self.accelerator.no_sync(self.model):
            losses = self._forward(batch, share)
            values = {name: value.item() for name, value in self.accelerator.reduce(losses, "mean").items()}
            check_finite(values, self.state.step + 1, batch.names)
            self.accelerator.backward(losses["loss"])
        return values

    def _forward(self, batch: Batch, share: Tensor | None) -> dict[str, Tensor]:
        """The losses of a batch by name, times their share of the step, with their sum as ``loss``."""
        images = images_to_device(batch, self.accelerator.device, self.run.input.channels)
        with self.accelerator.autocast():
            logits = self.model(images)
        return self.losses(logits, **self._targets(batch), shares=share)

    def _targets(self, batch: Batch) -> dict[str, Any]:
        """What the losses take besides logits, on the device: label vectors; or masks, what counts, and how much."""
        device = self.accelerator.device
        if self.run.spec.task == "classification":
            return {"labels": batch.labels.to(device)}
        target, counted = targets_to_device(batch, self.data.training.classes, device, self.run.spec.regions)
        weights = None if batch.weights is None else batch.weights[:, None].to(device)
        return {"target": target, "counted": counted, "weights": weights}

    def _record(self, kind: str, values: dict[str, Any]) -> None:
        """Write a row of the journal, and note its length, at which `_open_journal` cuts it when the run resumes."""
        if self.journal is not None:
            self.journal.write(kind, self.state.step, values)
            self.state = replace(self.state, metrics=self.journal.size)
            track(self.accelerator, self.config.trackers, kind, values, self.state.step)

    # ---- validation ----

    def _validate_and_save_if_due(self, epoch_ended: bool) -> None:
        validate_every, checkpoint_every = self.config.validate_every, self.config.checkpoint_every
        finished = self.state.step == self.total_steps
        if validate_every and epoch_ended and (finished or self.state.epoch % validate_every == 0):
            self._validate()  # before the checkpoint, which so holds the score and the journal's new length
        number = snapshot_after(self.config.schedule, self.state.step, self.total_steps)
        if number is not None and self.is_main:
            save_weights(self.run.folder / f"snapshot-{number}.safetensors", self._network_to_keep().state_dict())
        if finished or (epoch_ended if checkpoint_every is None else self.state.step % checkpoint_every == 0):
            self._save_checkpoint()

    def _validate(self) -> None:
        """Score the network, or the running average of its weights, and save it if it is the best so far."""
        network = self._network_to_keep()
        scores = validate(network, self.data.validation, self.run, self.precision, self.accelerator)
        score = scores.pop("score")
        self.schedule.record_score(score)
        self._record("validation", {"epoch": self.state.epoch, **scores})
        self.log(f"epoch {self.state.epoch}, step {self.state.step}: {figure_name(self.run.spec.monitor)} {score:.4f}")
        if self.state.best is None or score > self.state.best:
            self.state = replace(self.state, best=score)
            if self.is_main:
                save_weights(self.run.folder / "best.safetensors", network.state_dict())
                write_json(self.run.folder / "best.json", {"step": self.state.step, **scores})

    def _network_to_keep(self) -> nn.Module:
        """The network whose weights the run keeps: the averaged one, or the trained one until averaging begins."""
        averaged = None if self.average is None else self.average.network(self.state.step)
        return self.network if averaged is None else averaged

    # ---- stopping, resuming, finishing ----

    def _components(self) -> dict[str, Any]:
        """Everything besides the network whose state a checkpoint saves, by its name there."""
        always = {"optimizer": self.optimizer, "schedule": self.schedule}
        optional = {"scaler": self.accelerator.scaler, "average": self.average}
        return {**always, **{name: part for name, part in optional.items() if part is not None}}

    def _save_checkpoint(self) -> None:
        if self.is_main:
            components = {
                "processes": self.accelerator.num_processes,
                **{name: part.state_dict() for name, part in self._components().items()},
                "chance": torch.get_rng_state(),
                "chance_gpu": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            }
            save_checkpoint(self.run.checkpoints, Checkpoint(self.network.state_dict(), components, self.state))
        self.accelerator.wait_for_everyone()

    def _resume(self) -> None:
        """Go back to the last checkpoint, if there is one."""
        checkpoint = load_checkpoint(self.run.checkpoints)
        if checkpoint is None:
            return
        saved = checkpoint.components
        check_processes(self.run.folder, saved["processes"], self.accelerator.num_processes)
        self.state = checkpoint.state
        self.network.load_state_dict(checkpoint.weights)
        for name, part in self._components().items():
            part.load_state_dict(saved[name])
        torch.set_rng_state(saved["chance"])
        if saved["chance_gpu"] and torch.cuda.device_count() == len(saved["chance_gpu"]):
            torch.cuda.set_rng_state_all(saved["chance_gpu"])

    def _finish(self, seconds: float, steps: int) -> dict[str, Any]:
        """Write the final weights, the curves and the summary, and return the summary."""
        if self.is_main:
            weights = self._network_to_keep().state_dict()
            save_weights(self.run.folder / "last.safetensors", weights)
            if self.state.best is None:  # never validated: the last weights are the only ones
                save_weights(self.run.folder / "best.safetensors", weights)
            save_png(curves(read_journal(self.run.folder), self.run.spec.monitor), self.run.folder / "curves.png")
            facts = {"parameters": sum(each.numel() for each in self.network.parameters()), "precision": self.precision}
            facts |= {"device": str(self.accelerator.device), "processes": self.accelerator.num_processes}
            write_summary(self.run, facts, self.state.step, seconds, steps, self.data.warnings)
        self.accelerator.wait_for_everyone()
        return self.run.summary()
