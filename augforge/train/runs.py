"""A table over the training runs below a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from augforge.errors import TrainError
from augforge.report.tables import plural, table
from augforge.train.evaluation.totals import figure_name
from augforge.train.journal import read_journal
from augforge.train.run import TrainingRun

_SKIPPED = ("checkpoints", "tensorboard", "evaluation")


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """What each run below a folder is and how good it is, JSON-like, sorted by its path.

    Each has ``run`` (its path), ``task``, ``datasets``, ``architecture`` and ``encoder`` as configured, ``network``
    as it was built, ``seed``, ``steps`` done so far, ``finished``, ``monitor``, the best ``score`` by it and the
    ``step`` of that, ``seconds`` of training, and ``begun`` (with which run). A value is None if it is not known
    (yet); ``unreadable`` says why a run cannot be read.

    Raises:
        TrainError: there is no such folder.
    """
    if not folder.is_dir():
        raise TrainError(f"{folder} is no folder; expected one that holds training runs, such as runs")
    return [_describe(found) for found in _run_folders(folder)]


def _run_folders(folder: Path) -> Iterator[Path]:
    if (folder / "run.json").exists():
        yield folder
    for child in sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in _SKIPPED):
        yield from _run_folders(child)


def _describe(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {"run": str(folder), **dict.fromkeys(_KEYS)}
    try:
        return facts | _read(TrainingRun.open(folder))
    except TrainError as error:
        return {**facts, "unreadable": str(error)}


def _read(run: TrainingRun) -> dict[str, Any]:
    folder = run.folder
    summary = run.summary() if (folder / "summary.json").exists() else {}
    rows = read_journal(folder) if (folder / "metrics.jsonl").exists() else []
    monitor = run.spec.monitor
    scores = [(row[monitor], row["step"]) for row in rows if row.get(monitor) is not None]
    score, step = max(scores, key=lambda pair: (pair[0], -pair[1]), default=(None, None))
    return {
        "task": run.spec.task,
        "datasets": [f"{each['name']} {each['version']}" for each in run.datasets],
        "architecture": run.config.model.factory or run.config.model.architecture,
        "encoder": run.config.model.encoder,
        "network": _name_network(run),
        "seed": run.config.seed,
        "steps": max((row["step"] for row in rows), default=0),
        "finished": bool(summary),
        "monitor": monitor,
        "score": score,
        "step": step,
        "seconds": summary.get("seconds"),
        "begun": run.config.init,
    }


def _name_network(run: TrainingRun) -> str:
    """The network as it was built: of one's own, or an architecture on an encoder, or for labels the encoder alone."""
    model = run.config.model
    architecture = "" if run.spec.task == "classification" else f"{model.architecture} "
    return model.factory or f"{architecture}{model.encoder}"


_KEYS = (
    "task",
    "datasets",
    "architecture",
    "encoder",
    "network",
    "seed",
    "steps",
    "finished",
    "monitor",
    "score",
    "step",
    "seconds",
    "begun",
    "unreadable",
)


def render_runs(found: list[dict[str, Any]], console: Console) -> None:
    """Print the runs, the best first within each figure."""
    shown = table("run", "dataset", "network", "seed", "steps", "best", "by", right=0)
    for entry in sorted(found, key=lambda each: (each["monitor"] or "~", -(each["score"] or 0), each["run"])):
        if entry["unreadable"]:
            shown.add_row(Text(entry["run"]), Text(entry["unreadable"], "yellow"))
            continue
        score = "-" if entry["score"] is None else f"{entry['score']:.4f} at {entry['step']}"
        steps = f"{entry['steps']:,}" + ("" if entry["finished"] else " so far")
        names = ", ".join(name.partition(" ")[0] for name in entry["datasets"])
        by = figure_name(entry["monitor"])
        shown.add_row(*map(Text, (entry["run"], names, entry["network"], str(entry["seed"]), steps, score, by)))
    console.print(shown)
    console.print(plural(len(found), "run"))
