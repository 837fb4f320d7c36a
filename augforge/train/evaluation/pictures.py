"""Pictures of a run: curves, worst samples, confused classes, and how reliable its probabilities are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.ops.geometry import sample_planes
from augforge.report.colours import Colour, colour_of
from augforge.report.overlay import as_rgb, scale_to_fit
from augforge.report.paint import (
    BACKGROUND,
    GAP,
    INK,
    MUTED,
    Picture,
    Span,
    grid,
    stack,
    text_flow,
    text_line,
    text_width,
)
from augforge.report.show import SPLIT_COLOURS, legend, save_png
from augforge.sample import Sample
from augforge.train.evaluation.charts import PANEL, Axis, Line, cells, chart
from augforge.train.evaluation.scores import Truth
from augforge.train.evaluation.totals import LABEL_FIGURES, figure_name

MISSED: Colour = (70, 140, 255)
FALSE: Colour = (255, 140, 40)
CONFUSED: Colour = (255, 60, 190)
TRUE: Colour = (0, 205, 85)
_WHITE: Colour = (255, 255, 255)
_WIDTH = 1400
MAX_CLASSES = 40  # classes in the confusion picture


def curves(rows: Iterable[Mapping[str, Any]], monitor: str = "mean_dice") -> Picture:
    """Loss, learning rate, and validation scores over the steps.

    Args:
        rows: of ``metrics.jsonl``, each with ``step``. Drawn are ``loss``, ``lr``, the figure that chose the best
            network, and ``classes`` (Dice by name), if a row has them.
        monitor: that figure, unless rows have ``accuracy`` or ``mean_average_precision``, as those of labels do.
    """
    rows = list(rows)
    steps = Axis(0, max([1, *(row["step"] for row in rows)]))
    parts = [*_training_charts(rows, steps), *_validation_charts(rows, steps, monitor)]
    return stack(parts or [text_line([("nothing was recorded yet", MUTED)], _WIDTH)], 2 * GAP)


def _training_charts(rows: Sequence[Mapping[str, Any]], steps: Axis) -> list[Picture]:
    loss, rate = _line(rows, "loss", MUTED), _line(rows, "lr", INK)
    size, panels = ((_WIDTH - GAP) // 2, 300), []
    if len(loss.y):
        smooth = Line(loss.x, _smooth(loss.y), SPLIT_COLOURS["train"], 2)
        axis = Axis.around(loss.y, log=bool(0 < 10 * loss.y.min() < loss.y.max()))
        panels.append(chart(f"loss, now {smooth.y[-1]:.4g}", [loss, smooth], size, x=steps, y=axis))
    if len(rate.y):
        panels.append(chart("learning rate", [rate], size, x=steps))
    return [grid(panels, 2)] if panels else []


def _validation_charts(rows: Sequence[Mapping[str, Any]], steps: Axis, monitor: str) -> list[Picture]:
    """Scores of the classes, and over them a thick line for the mean; with a legend."""
    key = next((key for key in LABEL_FIGURES if any(key in row for row in rows)), monitor)
    mean = _line(rows, key, _WHITE, 3)
    if not len(mean.y):
        return []
    names = list(dict.fromkeys(name for row in rows for name in row.get("classes") or ()))
    by_class = [
        _line([{"step": row["step"], **(row.get("classes") or {})} for row in rows], name, colour_of(c))
        for c, name in enumerate(names)
    ]
    best = int(mean.y.argmax())
    what = f"{figure_name(key)} in validation (white){', and each class' if names else ''}"
    title = f"{what}; best {mean.y[best]:.4f} at step {mean.x[best]:.0f}"
    picture = chart(title, [*by_class, mean], (_WIDTH, 460), x=steps, y=Axis(0, 1))
    return [picture, legend(names, range(len(names)), _WIDTH)] if names else [picture]


def _line(rows: Iterable[Mapping[str, Any]], key: str, colour: Colour, width: int = 1) -> Line:
    points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
    x, y = np.array(points, float).reshape(-1, 2).T
    return Line(x, y, colour, width)


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A moving average over a twentieth of the values."""
    window = np.ones(len(values) // 40 * 2 + 1)
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def errors(
    sample: Sample, predicted: Planes, truth: Truth, outputs: Sequence[str], scores: Mapping[str, float | None]
) -> Picture:
    """A sample with the true outlines, and the errors of the prediction in colour.

    Args:
        sample: its image is drawn; pixels that do not count are darkened.
        predicted: bit-planes (H, W, P) over the outputs.
        truth: of the sample.
        outputs: their names.
        scores: the sample's Dice by name; the lowest ones are written above the picture.
    """
    small = scale_to_fit(sample, *picture_size(sample))
    size = (small.width, small.height)
    positive, true = (
        bitmask.planar(sample_planes(truth.clear_uncounted(planes), *size)) for planes in (predicted, truth.planes)
    )
    missed, false = (bitmask.union(np.moveaxis(layers, 0, -1)) for layers in (true & ~positive, positive & ~true))
    picture = as_rgb(small.image)
    if truth.ignore is not None:
        ignored = cv2.resize(truth.ignore.view(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT) > 0
        picture[ignored] //= 2
    for where, colour in ((missed & ~false, MISSED), (false & ~missed, FALSE), (missed & false, CONFUSED)):
        picture[where] = np.rint(picture[where] * 0.35 + np.array(colour) * 0.65).astype(np.uint8)
    _outline(picture, np.moveaxis(true, 0, -1), len(outputs))
    known = sorted((score, name) for name, score in scores.items() if score is not None)
    lowest: list[Span] = [(f"{name} {score:.2f}", INK) for score, name in known[:8]]
    key: list[Span] = [
        ("missed", MISSED),
        ("predicted, not true", FALSE),
        ("confused", CONFUSED),
        ("true outline", TRUE),
    ]
    width = max(picture.shape[1], 800)
    mean = float(np.mean([score for score, _ in known])) if known else math.nan
    head = text_line([(sample.name, INK), (f"mean Dice {mean:.3f}", INK)], width, 22)
    return stack([np.concatenate([head, text_flow(lowest, width, 18)]), picture, text_line(key, width, 18)])


def picture_size(sample: Sample) -> tuple[int, int]:
    """At most 1400 pixels per side; small images are enlarged by a whole number to about 800."""
    longest = max(sample.width, sample.height)
    scale = _WIDTH / longest if longest > _WIDTH else max(1, round(800 / longest))
    return round(sample.width * scale), round(sample.height * scale)


def _outline(picture: Picture, masks: Planes, classes: int) -> None:
    for _, roi, mask in bitmask.regions(masks, classes):
        inner = cv2.erode(mask, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        picture[roi][mask > inner] = TRUE


def confusion(classes: Mapping[str, Mapping[str, Any]]) -> Picture:
    """For every true class, in percent of its pixels: what is predicted in its place, and what is missed.

    Args:
        classes: by name, from `Breakdown.to_json`. If there are more than 40, those with the most errors are drawn.
    """
    wrong = {name: (each["confused"] or 0) + (each["under_predicted"] or 0) for name, each in classes.items()}
    kept = set(sorted(wrong, key=lambda name: -wrong[name])[:MAX_CLASSES])
    names = [name for name in classes if name in kept]
    columns = [*names, "right", "under-predicted", "over: background", "over: other classes"]
    shares = np.array([_shares(name, classes[name], names) for name in names])
    texts = [[_format_percent(share) for share in row] for row in shares.tolist()]
    heat = heat_colours(shares, np.array([CONFUSED] * len(names) + [TRUE, MISSED, FALSE, FALSE]))
    notes = [
        "left: true class; above: the class predicted in its place; in percent of the true pixels, blank for none",
        "over: of the pixels predicted as the class, the percent that are background, or other classes",
    ]
    if len(names) < len(classes):
        notes.append(f"{len(names)} of {len(classes)} classes, those with the most errors")
    return with_header("errors by class", notes, cells(names, columns, texts, heat))


def label_confusion(confusion: Mapping[str, Any]) -> Picture:
    """Of the pixels of each true class, the percent that each class is predicted at, for classes that exclude others.

    Args:
        confusion: ``labels``, the background first, and ``pixels`` by true label (row) and predicted label (column). If
            there are more than 40, those with the most true pixels are drawn.
    """
    table = np.array(confusion["pixels"], float)
    kept = np.sort(np.argsort(-table.sum(1), kind="stable")[: MAX_CLASSES + 1])
    names = [confusion["labels"][k] for k in kept]
    shares = table[np.ix_(kept, kept)] / np.maximum(table[kept].sum(1, keepdims=True), 1)
    texts = [[_format_percent(share) for share in row] for row in shares.tolist()]
    heat = heat_colours(shares, np.where(np.eye(len(kept), dtype=bool)[..., None], TRUE, CONFUSED))
    notes = ["left: true class; above: predicted class; in percent of the true pixels, blank for none"]
    return with_header("confusion", notes, cells(names, names, texts, heat))


def with_header(title: str, notes: Sequence[str], body: Picture | None) -> Picture:
    """A picture below a title and notes on how to read it."""
    width = max([text_width(title, 20), *map(text_width, notes), 0 if body is None else body.shape[1]])
    head = [text_line([(title, INK)], width, 20), *(text_line([(text, MUTED)], width) for text in notes)]
    return stack([np.concatenate(head), *([] if body is None else [body])])


def _shares(name: str, errors: Mapping[str, Any], names: Sequence[str]) -> list[float]:
    """A row of the confusion picture; NaN for undefined shares, and for a class with itself."""
    instead = [math.nan if other == name else errors["confused_with"].get(other, 0.0) for other in names]
    confused, under, over, background = (
        math.nan if errors[key] is None else errors[key]
        for key in ("confused", "under_predicted", "over_predicted", "over_on_background")
    )
    return [*instead, 1 - confused - under, under, background, over - background]


def _format_percent(share: float) -> str:
    """A share in percent with two significant digits, blank if it is tiny."""
    if math.isnan(share) or share < 0.0005:
        return ""
    return f"{share:.1%}"[:-1] if share < 0.0995 else f"{share:.0%}"[:-1]


def heat_colours(shares: NDArray[np.float64], colours: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Colours by the square root of the share, so that one percent is visible beside fifty.

    Args:
        shares: of each cell; NaN for an empty one.
        colours: of a share of 1, of a shape that broadcasts to (rows, columns, 3).
    """
    strength = np.sqrt(np.nan_to_num(np.clip(shares, 0, 1)))[..., None]
    heat = np.array(PANEL) * (1 - strength) + colours * strength
    heat[np.isnan(shares)] = BACKGROUND
    return np.asarray(np.rint(heat), np.uint8)


def reliability(classes: Mapping[str, Mapping[str, Any]]) -> Picture:
    """For every class, how often it is true at each predicted probability; well calibrated ones lie on the diagonal.

    Args:
        classes: by name, from `Calibration.to_json`.
    """
    panels = [
        _reliability(name, each, colour_of(c))
        for c, (name, each) in enumerate(classes.items())
        if each["ece"] is not None
    ]
    notes = [
        "across: the probability that the model says; up: the share of those pixels that are the class",
        "above the diagonal, the class is there more often than the model says",
    ]
    return with_header("reliability", notes, grid(panels, min(6, len(panels))) if panels else None)


def _reliability(name: str, figures: Mapping[str, Any], colour: Colour) -> Picture:
    bins = figures["reliability"]
    x, y = (np.array(bins[key], float) for key in ("probability", "frequency"))
    diagonal = Line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), MUTED)
    lines = [diagonal, Line(x, y, colour, 2, dots=True)]
    return chart(f"{name}  ECE {figures['ece']:.3f}", lines, (224, 224), x=Axis(0, 1), y=Axis(0, 1))


def save_worst(worst: Iterable[tuple[Picture, Mapping[str, Any]]], folder: Path) -> list[dict[str, Any]]:
    """Save pictures of the worst samples as ``worst-1.png`` and so on, without those of an earlier evaluation.

    Args:
        worst: pictures and what is known of their samples, the worst first.
        folder: to write into.

    Returns:
        What is known of the samples, and each one's ``picture``.
    """
    for stale in folder.glob("worst-*.png"):
        stale.unlink()
    saved = []
    for rank, (picture, facts) in enumerate(worst, start=1):
        name = f"worst-{rank}.png"
        save_png(picture, folder / name)
        saved.append({**facts, "picture": name})
    return saved
