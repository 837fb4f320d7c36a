"""What the command line prints at the end of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from augforge.report.tables import pairs, table
from augforge.train.evaluation.totals import LABEL_FIGURES, figure_name

WORST = 8
"""Number of classes listed."""


def render_summary(summary: Mapping[str, Any], console: Console) -> None:
    """Print a run's score, its worst classes, and what to do next."""
    best, run = summary["best"] or {}, summary["run"]
    if classes := best.get("classes"):
        console.print(_worst_classes(classes), "", sep="\n")
    console.print(Text.assemble((run, "bold"), "  ", _score(best, summary.get("monitor", "mean_dice"))))
    console.print(pairs(_facts(summary)))
    console.print("\nNext:")
    for command, purpose in _next_commands(summary):
        console.print(Text.assemble("  ", (command, "cyan"), (f"  # {purpose}", "dim")), soft_wrap=True)


def _score(best: Mapping[str, Any], monitor: str) -> str:
    for key in (monitor, *LABEL_FIGURES):
        if best.get(key) is not None:
            return f"{figure_name(key)} {best[key]:.4f} in validation, best after step {best['step']}"
    return "was not validated"


def _worst_classes(classes: Mapping[str, float | None]) -> Any:
    """A table of the classes with the lowest Dice."""
    known = sorted((dice, name) for name, dice in classes.items() if dice is not None)
    shown = table("class" if len(known) <= WORST else f"worst {WORST} of {len(known)} classes", "Dice", right=1)
    for dice, name in known[:WORST]:
        shown.add_row(name, f"{dice:.4f}")
    return shown


def _facts(summary: Mapping[str, Any]) -> dict[str, str]:
    rate = summary["samples_per_second"]
    return {
        "trained on": ", ".join(f"{data['name']} {data['version']}" for data in summary["datasets"]),
        "steps": f"{summary['steps']} in {summary['seconds']:.0f} s" + (f", {rate} samples/s" if rate else ""),
        "device": f"{summary['device']}, {summary['precision']}",
        "parameters": f"{summary['parameters']:,}",
    }


def _next_commands(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    run, dataset = summary["run"], summary["datasets"][0]["path"]
    split = "" if summary["best"] else " --split SPLIT"  # without validation, there may be no split val
    look = (str(Path(run) / "curves.png"), "loss, learning rate and scores over the steps")
    if summary["task"] == "classification":
        return [
            look,
            (f"augforge evaluate {run} {dataset}{split}", "by label, with the worst samples as pictures"),
            (f"augforge predict {run} IMAGES -o predictions.parquet", "probabilities of new images' labels"),
        ]
    return [
        look,
        (f"augforge evaluate {run} {dataset}{split}", "by class, with the worst samples as pictures"),
        (f"augforge predict {run} IMAGES -o predictions.parquet", "masks of new images"),
    ]
