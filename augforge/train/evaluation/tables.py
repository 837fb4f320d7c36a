"""The result of an evaluation as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from augforge.report.tables import pairs, plural, table
from augforge.train.evaluation.totals import FIGURES
from augforge.train.labels.tables import format_score, render_labels, sort_key
from augforge.train.prediction.remaining import preparation_line

_LOW_DICE = 0.7


def render_evaluation(result: dict[str, Any], console: Console) -> None:
    """Print the result of `evaluate`, the worst classes first."""
    for warning in result["warnings"]:
        console.print(Text(f"Warning: {warning}", "yellow"))
    datasets = " and ".join(f"{each['name']} {each['version']}" for each in result["datasets"])
    console.print(
        Text.assemble(
            (result["run"], "bold"), f"  on {datasets}, {result['split']}: {plural(result['samples'], 'sample')}"
        )
    )
    for line in filter(None, (preparation_line(each["preparation"]) for each in result["datasets"])):
        console.print(Text(line), soft_wrap=True)
    render = render_labels if result["task"] == "classification" else _render_segmentation
    render(result, console)
    console.print(f"\nwritten to {result['folder']}", markup=False, soft_wrap=True)


def _render_segmentation(result: Mapping[str, Any], console: Console) -> None:
    shown = table("class", "Dice", "IoU", "surf", "HD95", "miss", "over", right=6)
    shown.columns[0].no_wrap = True
    shown.add_column("confused", no_wrap=True, overflow="ellipsis")
    for name, each in sorted(result["classes"].items(), key=lambda entry: sort_key(entry[1]["dice"])):
        shown.add_row(
            Text(name),
            *(format_score(each[key]) for key in ("dice", "iou", "surface_dice")),
            _format_pixels(each["hd95"]),
            *(_format_percent(each[key]) for key in ("under_predicted", "over_predicted")),
            Text(f"{_format_percent(each['confused']):>4} {next(iter(each['confused_with']), '')}"),
            style=_style(each["dice"]),
        )
    console.print(shown, "", sep="\n")
    tolerance = f"outlines within {result['surface_tolerance']:g} pixels"
    facts: dict[str, str | Text] = {
        "mean Dice": Text(format_score(result["mean_dice"]), "bold"),
        "mean IoU": format_score(result["mean_iou"]),
        "present": _format_pair(result, "present", "where the class is"),
        "pooled": _format_pair(result, "pooled", "over all pixels of the set"),
        "with background": format_score(result["pooled_dice_background"])
        + f" Dice, {format_score(result['pooled_iou_background'])} IoU",
        "mIoU": format_score(result["miou"]) + ("  of exclusive classes and background" if result["miou"] else ""),
        "overlaps": _format_overlaps(result),
        "surface Dice": f"{format_score(result['surface_dice'])}  {tolerance}",
        "HD95": f"{_format_pixels(result['hd95'])} pixels",
        "ECE, Brier": f"{format_score(result['ece'])}, {format_score(result['brier'])}",
        "worst": Text(", ".join(f"{each['name']} {each['mean_dice']:.3f}" for each in result["worst"][:3])),
    }
    if result["monitor"] in FIGURES:
        facts["chose the best"] = FIGURES[result["monitor"]]
    console.print(pairs({key: value for key, value in facts.items() if value != "-"}))


def _format_pair(result: Mapping[str, Any], key: str, meaning: str) -> str:
    """Dice and IoU of one kind, and what kind that is."""
    values = (format_score(result[f"{key}_{name}"]) for name in ("dice", "iou"))
    return "{} Dice, {} IoU  ".format(*values) + meaning


def _format_overlaps(result: Mapping[str, Any]) -> str:
    """Dice of the areas in which two classes are true, and the worst pair; - if there are none."""
    found = result["overlaps"]
    if not found:
        return "-"
    worst = min(found, key=lambda pair: pair["dice"])
    pair = f"{' and '.join(worst['classes'])} {format_score(worst['dice'])}"
    return f"{format_score(result['overlap_dice'])} Dice of {plural(len(found), 'pair')} of classes; worst {pair}"


def _style(dice: float | None) -> str:
    if dice is None:
        return "dim"
    return "yellow" if dice < _LOW_DICE else ""


def _format_percent(value: float | None) -> str:
    """Whole percents; `<1%` tells a small share from none."""
    if value is None:
        return "-"
    return "<1%" if 0 < value < 0.005 else f"{value:.0%}"


def _format_pixels(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
