"""What an evaluation found, as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from augforge.report.tables import pairs, plural, table

_WEAK = 0.7


def render_evaluation(found: dict[str, Any], console: Console) -> None:
    """Print what `evaluate` returns for people: the worst classes first."""
    for warning in found["warnings"]:
        console.print(Text(f"Warning: {warning}", "yellow"))
    judged = " and ".join(f"{each['name']} {each['version']}" for each in found["datasets"])
    console.print(
        Text.assemble((found["run"], "bold"), f"  on {judged}, {found['split']}: {plural(found['samples'], 'sample')}")
    )
    render = _render_labels if found["task"] == "classification" else _render_segmentation
    render(found, console)
    console.print(f"\nwritten to {found['folder']}", markup=False, soft_wrap=True)


def _render_segmentation(found: Mapping[str, Any], console: Console) -> None:
    shown = table("class", "Dice", "IoU", "surf", "HD95", "miss", "over", right=6)
    shown.columns[0].no_wrap = True
    shown.add_column("confused", no_wrap=True, overflow="ellipsis")
    for name, each in sorted(found["classes"].items(), key=lambda entry: _lowest(entry[1]["dice"])):
        shown.add_row(
            Text(name),
            *(_share(each[key]) for key in ("dice", "iou", "surface_dice")),
            _pixels(each["hd95"]),
            *(_percent(each[key]) for key in ("under_predicted", "over_predicted")),
            Text(f"{_percent(each['confused']):>4} {next(iter(each['confused_with']), '')}"),
            style=_style(each["dice"]),
        )
    console.print(shown, "", sep="\n")
    tolerance = f"outlines within {found['surface_tolerance']:g} pixels"
    facts: dict[str, str | Text] = {
        "mean Dice": Text(_share(found["mean_dice"]), "bold"),
        "mean IoU": _share(found["mean_iou"]),
        "pooled Dice": _share(found["pooled_dice"]),
        "surface Dice": f"{_share(found['surface_dice'])}  {tolerance}",
        "HD95": f"{_pixels(found['hd95'])} pixels",
        "ECE, Brier": f"{_share(found['ece'])}, {_share(found['brier'])}",
        "worst": Text(", ".join(f"{each['name']} {each['mean_dice']:.3f}" for each in found["worst"][:3])),
    }
    console.print(pairs(facts))


def _render_labels(found: Mapping[str, Any], console: Console) -> None:
    shown = table("label", "AUROC", "precision", "recall", "samples", right=4)
    for name, each in sorted(found["classes"].items(), key=lambda entry: _lowest(entry[1]["auroc"])):
        shown.add_row(
            Text(name), *(_share(each[key]) for key in ("auroc", "precision", "recall")), f"{each['samples']:,}"
        )
    console.print(shown, "", sep="\n")
    facts: dict[str, str | Text] = {
        "accuracy": Text(_share(found["accuracy"]), "bold"),
        "mean AUROC": _share(found["mean_auroc"]),
        "labelled": f"{found['labelled']:,} of {found['samples']:,}",
    }
    console.print(pairs(facts))


def _lowest(value: float | None) -> float:
    """What to sort by: unknown figures come last."""
    return 2.0 if value is None else value


def _style(dice: float | None) -> str:
    if dice is None:
        return "dim"
    return "yellow" if dice < _WEAK else ""


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    """Whole percents; what is not quite nothing is told apart from it."""
    if value is None:
        return "-"
    return "<1%" if 0 < value < 0.005 else f"{value:.0%}"


def _pixels(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
