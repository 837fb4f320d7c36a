"""The training loop: open the data, build the network, step, validate, keep the best; and go on where it stopped."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedDataParallelKwargs, broadcast
from torch import Tensor, nn

from augforge.errors import TrainError
from augforge.progress import Progress, Silent
from augforge.report.show import save_png
from augforge.store.dataset import Dataset
from augforge.train.averaging import Averaged
from augforge.train.checkpoint import Checkpoint, Progressed, load_checkpoint, save_checkpoint, save_weights
from augforge.train.config import TrainConfig
from augforge.train.data.batch import Batch, images_on, to_device
from augforge.train.faults import explained, not_finite
from augforge.train.folder import Tell, check_folder
from augforge.train.journal import Journal, read_journal
from augforge.train.material import Material, Parts
from augforge.train.measure.pictures import curves
from augforge.train.net.device import Precision, choose_device, choose_precision, repeatable
from augforge.train.net.losses import Losses, class_loss
from augforge.train.net.optim import build_optimizer, build_schedule
from augforge.train.run import Run, write_json
from augforge.train.stopping import stop_on_signals
from augforge.train.validation import validate


def train(
    datasets: Sequence[str | Path | Dataset],
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    parts: Parts | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Train a model and return its summary, as it stands in ``out/summary.json``.

    Args:
        datasets: what to train on; their `val` splits judge.
        config: all that decides the run, beside the data.
        out: the run's folder; must be new or empty unless it resumes.
        resume: go on from the last checkpoint, in mid-epoch too; a finished run is returned as it is.
        parts: samples to train on and to judge by, instead of the splits.
        progress: shown the steps.
        tell: told a line for each validation, and warnings.

    Raises:
        TrainError: the data does not fit, the run cannot go on, the loss is not finite, memory ran out.
    """
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    accelerator = _accelerator(device, precision)
    repeatable(config.seed, config.threads)
    material = Material(datasets, config, device, parts)
    run = Run(Path(out), config, material.described)
    if accelerator.is_main_process:
        check_folder(run, resume, tell or _silent)
    accelerator.wait_for_everyone()
    if (run.folder / "summary.json").exists():
        return run.summary()
    with explained(run.folder):
        return Trainer(run, material, accelerator, precision, progress or Silent(), tell or _silent).fit()


class Trainer:
    """One run in work: the network with its optimizer, and how far it is."""

    def __init__(
        self,
        run: Run,
        material: Material,
        accelerator: Accelerator,
        precision: Precision,
        progress: Progress,
        tell: Tell,
    ) -> None:
        self.run, self.config, self.material = run, run.config, material
        self.accelerator, self.precision, self.progress = accelerator, precision, progress
        self.tell = tell if accelerator.is_main_process else _silent
        world, rank = accelerator.num_processes, accelerator.process_index
        self.batches = material.batches(world, rank, pin=accelerator.device.type == "cuda")
        batches = self.config.epochs * self.batches.steps
        self.steps = self.config.steps or max(1, batches // self.config.optimizer.accumulate)
        self.place = Progressed()
        self.journal: Journal | None = None
        self._build(run.network(pretrained=True))

    def _build(self, network: nn.Module) -> None:
        """The network on its device, once bare and once as it is called, and all that changes or follows it."""
        layout = torch.channels_last if self.config.channels_last else torch.contiguous_format
        self.network = network.to(self.accelerator.device).to(memory_format=layout)  # type: ignore[call-overload]
        optimizer = build_optimizer(self.network, self.config.optimizer)
        self.schedule = build_schedule(optimizer, self.config.schedule, self.steps)
        self.average = Averaged.wanted(self.network, self.config, self.steps)
        called = torch.compile(self.network) if self.config.compile else self.network
        self.model, self.optimizer = self.accelerator.prepare(called, optimizer)
        self.losses = Losses(self.config.loss)

    # ---- the run ----

    def fit(self) -> dict[str, Any]:
        """Do the steps that are left, and write the summary."""
        if self.main and not (self.run.folder / "run.json").exists():
            self.run.write()  # only now: what cannot be built leaves no folder behind
        self._resume()
        began, first = time.monotonic(), self.place
        for text in self.material.warnings:
            self.tell(f"warning: {text}")
        self.progress.start("train", self.steps)
        self.progress.advance(first.step)
        batches = self.batches.stream(first.epoch, first.samples)
        with stop_on_signals() as stop, self._journal(), closing(batches) as stream:
            while self.place.step < self.steps:
                self._step(list(islice(stream, self.config.optimizer.accumulate)))
                self.progress.advance(1)
                if stop.wanted and self.place.step < self.steps:
                    self._checkpoint()
                    raise KeyboardInterrupt
        return self._finish(time.monotonic() - began, self.place.step - first.step)

    @contextmanager
    def _journal(self) -> Iterator[None]:
        """The journal of the process that writes, open from where the run stands."""
        if not self.main:
            yield
            return
        with closing(Journal(self.run.folder, self.place.metrics, self.place.step)) as self.journal:
            yield

    @property
    def main(self) -> bool:
        """Whether this process writes for all."""
        return bool(self.accelerator.is_main_process)

    def _step(self, batches: Sequence[Batch]) -> None:
        """One optimizer step from one or more batches; then whatever is due after it."""
        self.network.train()
        rate = self.optimizer.param_groups[0]["lr"]
        losses = [self._backward(batch, last=batch is batches[-1]) for batch in batches]
        if self.config.optimizer.clip is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        epoch, step = self.place.epoch, self.place.step + 1
        self.place = replace(self.place, step=step, epoch=batches[-1].epoch, samples=batches[-1].samples)
        if self.average is not None:
            self.average.update(self.network, step)
        self._note("step", {"epoch": epoch, "lr": rate, **_mean(losses)})
        self._due(self.place.epoch != epoch or step == self.steps)

    def _backward(self, batch: Batch, last: bool) -> dict[str, float]:
        """Add a batch's gradients; processes exchange them once a step, with the last batch."""
        with nullcontext() if last else self.accelerator.no_sync(self.model):
            losses = self._losses(batch)
            values = {name: value.item() for name, value in self.accelerator.reduce(losses, "mean").items()}
            if not math.isfinite(values["loss"]):
                raise not_finite(self.place.step + 1, values, batch.names)
            self.accelerator.backward(losses["loss"] / self.config.optimizer.accumulate)
        return values

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        device, channels = self.accelerator.device, self.run.input.channels
        if self.run.described.task == "classification":
            with self.accelerator.autocast():
                logits = self.model(images_on(batch, device, channels))
            return {"loss": class_loss(logits, batch.labels.to(device))}
        images, target, counted = to_device(batch, self.material.training.classes, device, channels)
        with self.accelerator.autocast():
            logits = self.model(images)
        return self.losses(logits, target, counted)

    def _due(self, epoch_ended: bool) -> None:
        """Validate, and write a checkpoint, where it is time for it."""
        every, checkpoint = self.config.validate_every, self.config.checkpoint_every
        finished = self.place.step == self.steps
        if every and epoch_ended and (finished or self.place.epoch % every == 0):
            self._validate()
        if finished or (epoch_ended if checkpoint is None else self.place.step % checkpoint == 0):
            self._checkpoint()

    def _validate(self) -> None:
        """Judge the network, or the average that follows it, and keep it where it is the best so far."""
        judged = self._judged()
        if self.accelerator.num_processes > 1:  # statistics of batch norm are each process's own until the next step
            for buffer in judged.buffers():
                broadcast(buffer)
        found = validate(judged, self.material.validation, self.run, self.precision, self.accelerator)
        score = found.pop("score")
        self.schedule.validated(score)
        self._note("validation", {"epoch": self.place.epoch, **found})
        name = "mean Dice" if self.run.outputs else "accuracy"
        self.tell(f"epoch {self.place.epoch}, step {self.place.step}: {name} {score:.4f}")
        if self.place.best is None or score > self.place.best:
            self.place = replace(self.place, best=score)
            if self.main:
                save_weights(self.run.folder / "best.safetensors", judged.state_dict())
                write_json(self.run.folder / "best.json", {"step": self.place.step, **found})

    def _judged(self) -> nn.Module:
        average = None if self.average is None else self.average.network(self.place.step)
        return self.network if average is None else average

    def _note(self, kind: str, values: dict[str, Any]) -> None:
        if self.journal is not None:
            self.journal.write(kind, self.place.step, values)
            self.place = replace(self.place, metrics=self.journal.size)

    # ---- stopping and going on ----

    def _checkpoint(self) -> None:
        if self.main:
            save_checkpoint(self.run.checkpoints, Checkpoint(self.network.state_dict(), self._state(), self.place))
        self.accelerator.wait_for_everyone()

    def _state(self) -> dict[str, Any]:
        scaler = self.accelerator.scaler
        return {
            "processes": self.accelerator.num_processes,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": {} if scaler is None else scaler.state_dict(),
            "average": {} if self.average is None else self.average.model.state_dict(),
            "chance": torch.get_rng_state(),
            "chance_gpu": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def _resume(self) -> None:
        """Take over the last checkpoint, if there is one."""
        found = load_checkpoint(self.run.checkpoints)
        if found is None:
            return
        self.place, state = found.progress, found.state
        if state["processes"] != self.accelerator.num_processes:
            raise TrainError(
                f"{self.run.folder} was trained by {state['processes']} processes and cannot go on with "
                f"{self.accelerator.num_processes}: its steps would mean other numbers of samples. Start as many"
            )
        self.network.load_state_dict(found.weights)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
        torch.set_rng_state(state["chance"])
        if state["chance_gpu"] and torch.cuda.device_count() == len(state["chance_gpu"]):
            torch.cuda.set_rng_state_all(state["chance_gpu"])

    def _finish(self, seconds: float, steps: int) -> dict[str, Any]:
        """Write the weights as they are at the end, the curves and the summary."""
        if self.main:
            weights = self._judged().state_dict()
            save_weights(self.run.folder / "last.safetensors", weights)
            if self.place.best is None:
                save_weights(self.run.folder / "best.safetensors", weights)
            self._summarise(seconds, steps)
        self.accelerator.wait_for_everyone()
        return self.run.summary()

    def _summarise(self, seconds: float, steps: int) -> None:
        best = self.run.folder / "best.json"
        each = self.config.optimizer.accumulate * self.config.data.batch_size * self.accelerator.num_processes
        summary = {
            "run": str(self.run.folder),
            **asdict(self.run.described),
            "steps": self.place.step,
            "best": json.loads(best.read_text(encoding="utf-8")) if best.exists() else None,
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "device": str(self.accelerator.device),
            "precision": self.precision,
            "processes": self.accelerator.num_processes,
            "seconds": round(seconds, 1),
            "samples_per_second": round(steps * each / seconds, 2) if seconds else None,
            "warnings": self.material.warnings,
        }
        save_png(curves(read_journal(self.run.folder)), self.run.folder / "curves.png")
        write_json(self.run.folder / "summary.json", summary)


def _silent(line: str) -> None:
    pass


def _accelerator(device: torch.device, precision: Precision) -> Accelerator:
    """Mixed precision and several processes. Accelerate's state is global, so a second run resets it."""
    if not PartialState._shared_state or PartialState().num_processes == 1:
        AcceleratorState._reset_state(reset_partial_state=True)
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # SMP's efficientnets have some
    mixed = "no" if precision == "fp32" else precision
    return Accelerator(mixed_precision=mixed, cpu=device.type == "cpu", kwargs_handlers=[unused])


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
