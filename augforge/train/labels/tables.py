"""The results about labels as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from augforge.report.tables import pairs, plural, table

_COLUMNS = {
    "AUROC": "auroc",
    "AP": "average_precision",
    "F1": "f1",
    "precision": "precision",
    "recall": "recall",
}
_KINDS = {"single": "one of", "multi": "any of"}


def render_labels(result: Mapping[str, Any], console: Console) -> None:
    """Print the figures of labels, a table for each group, the worst labels first."""
    for name, group in result["groups"].items():
        title = f"{name}: {_KINDS[group['task']]} {plural(len(group['labels']), 'label')}"
        shown = table("label", *_COLUMNS, "samples", right=len(_COLUMNS) + 1, title=title)
        classes = [(label, result["classes"][label]) for label in group["labels"]]
        for label, each in sorted(classes, key=lambda entry: sort_key(entry[1]["auroc"])):
            scores = (format_score(each[key]) for key in _COLUMNS.values())
            shown.add_row(Text(label), *scores, f"{each['samples']:,}", style="" if each["samples"] else "yellow")
        console.print(shown, "", sep="\n")
        console.print(pairs(_facts(group, result["samples"])), "", sep="\n")
    worst = ", ".join(f"{each['name']} {each['loss']:.3f}" for each in result["worst"][:3])
    if worst:
        console.print(pairs({"worst, by loss": Text(worst)}))


def _facts(group: Mapping[str, Any], samples: int) -> dict[str, str | Text]:
    facts: dict[str, str | Text] = {
        "accuracy": Text(format_score(group["accuracy"]), "bold"),
        "balanced accuracy": format_score(group["balanced_accuracy"]),
        "mAP, mean AUROC": f"{format_score(group['mean_average_precision'])}, {format_score(group['mean_auroc'])}",
        "mean F1": format_score(group["mean_f1"]),
        "labelled": f"{group['labelled']:,} of {samples:,}",
    }
    return facts | ({"all labels right": format_score(group["exact_match"])} if group["task"] == "multi" else {})


def render_label_counts(result: Mapping[str, Any], console: Console) -> None:
    """Print for each predicted label how many images have it."""
    shown = table("label", "threshold", "images", "mean probability", right=3)
    for entry in result["classes"]:
        threshold = "highest" if entry["threshold"] is None else f"{entry['threshold']:.2f}"
        mean = "-" if entry["probability"] is None else f"{entry['probability']:.3f}"
        shown.add_row(
            Text(entry["name"]), threshold, f"{entry['images']:,}", mean, style="" if entry["images"] else "yellow"
        )
    console.print(shown, "", sep="\n")


def sort_key(value: float | None) -> float:
    """Sort unknown scores last."""
    return 2.0 if value is None else value


def format_score(value: float | None) -> str:
    """A figure with three digits; a dash for one that is not defined."""
    return "-" if value is None else f"{value:.3f}"
