"""Pictures of a run: its curves, its worst samples, what it confuses, and whether its probabilities come true."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.ops.geometry import scale_planes
from augforge.report.colours import Colour, colour_of
from augforge.report.overlay import as_rgb, fitted
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
from augforge.report.show import SPLIT_COLOURS, legend
from augforge.sample import Sample
from augforge.train.evaluation.charts import PANEL, Axis, Line, cells, chart
from augforge.train.evaluation.scores import Truth

MISSED: Colour = (70, 140, 255)
FALSE: Colour = (255, 140, 40)
CONFUSED: Colour = (255, 60, 190)
TRUE: Colour = (0, 205, 85)
_WHITE: Colour = (255, 255, 255)
_WIDTH = 1400
MAX_CLASSES = 40  # classes in the confusion picture


def curves(rows: Iterable[Mapping[str, Any]]) -> Picture:
    """Loss, learning rate, and the validations' figures over the steps.

    Args:
        rows: of ``metrics.jsonl``, each with ``step``; of what else they hold, ``loss``, ``lr``, ``mean_dice`` or
            ``accuracy``, and ``classes`` (a Dice by name) are drawn.
    """
    rows = list(rows)
    steps = Axis(0, max([1, *(row["step"] for row in rows)]))
    parts = [*_training(rows, steps), *_validation(rows, steps)]
    return stack(parts or [text_line([("nothing was recorded yet", MUTED)], _WIDTH)], 2 * GAP)


def _training(rows: Sequence[Mapping[str, Any]], steps: Axis) -> list[Picture]:
    loss, rate = _line(rows, "loss", MUTED), _line(rows, "lr", INK)
    size, panels = ((_WIDTH - GAP) // 2, 300), []
    if len(loss.y):
        smooth = Line(loss.x, _smoothed(loss.y), SPLIT_COLOURS["train"], 2)
        axis = Axis.around(loss.y, log=bool(0 < 10 * loss.y.min() < loss.y.max()))
        panels.append(chart(f"loss, now {smooth.y[-1]:.4g}", [loss, smooth], size, x=steps, y=axis))
    if len(rate.y):
        panels.append(chart("learning rate", [rate], size, x=steps))
    return [grid(panels, 2)] if panels else []


def _validation(rows: Sequence[Mapping[str, Any]], steps: Axis) -> list[Picture]:
    """The mean, bold, over the lines of the classes, with a legend."""
    key = "accuracy" if any("accuracy" in row for row in rows) else "mean_dice"
    mean = _line(rows, key, _WHITE, 3)
    if not len(mean.y):
        return []
    names = list(dict.fromkeys(name for row in rows for name in row.get("classes") or ()))
    by_class = [
        _line([{"step": row["step"], **(row.get("classes") or {})} for row in rows], name, colour_of(c))
        for c, name in enumerate(names)
    ]
    best = int(mean.y.argmax())
    what = f"{key.replace('_d', ' D')} in validation (white){', and each class' if names else ''}"
    title = f"{what}; best {mean.y[best]:.4f} at step {mean.x[best]:.0f}"
    picture = chart(title, [*by_class, mean], (_WIDTH, 460), x=steps, y=Axis(0, 1))
    return [picture, legend(names, range(len(names)), _WIDTH)] if names else [picture]


def _line(rows: Iterable[Mapping[str, Any]], key: str, colour: Colour, width: int = 1) -> Line:
    points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
    x, y = np.array(points, float).reshape(-1, 2).T
    return Line(x, y, colour, width)


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the twentieth of the values around each."""
    window = np.ones(len(values) // 40 * 2 + 1)
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def errors(
    sample: Sample, predicted: Planes, truth: Truth, outputs: Sequence[str], scores: Mapping[str, float | None]
) -> Picture:
    """A sample with the true outlines and what the prediction has wrong, in colour.

    Args:
        sample: its image. Pixels that do not count are darkened.
        predicted: bit-planes (H, W, P) over the outputs.
        truth: of the sample.
        outputs: their names.
        scores: the sample's Dice by name; the lowest are told.
    """
    small = fitted(sample, *_shown_size(sample))
    size = (small.width, small.height)
    said, true = (
        bitmask.planar(scale_planes(truth.clear_uncounted(planes), *size)) for planes in (predicted, truth.planes)
    )
    missed, false = (bitmask.union(np.moveaxis(layers, 0, -1)) for layers in (true & ~said, said & ~true))
    picture = as_rgb(small.image)
    if truth.ignore is not None:
        ignored = cv2.resize(truth.ignore.view(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT) > 0
        picture[ignored] //= 2
    for where, colour in ((missed & ~false, MISSED), (false & ~missed, FALSE), (missed & false, CONFUSED)):
        picture[where] = np.rint(picture[where] * 0.35 + np.array(colour) * 0.65).astype(np.uint8)
    _outline(picture, np.moveaxis(true, 0, -1), len(outputs))
    known = sorted((score, name) for name, score in scores.items() if score is not None)
    told: list[Span] = [(f"{name} {score:.2f}", INK) for score, name in known[:8]]
    key: list[Span] = [
        ("missed", MISSED),
        ("predicted, not true", FALSE),
        ("confused", CONFUSED),
        ("true outline", TRUE),
    ]
    width = max(picture.shape[1], 800)
    mean = float(np.mean([score for score, _ in known])) if known else math.nan
    head = text_line([(sample.name, INK), (f"mean Dice {mean:.3f}", INK)], width, 22)
    return stack([np.concatenate([head, text_flow(told, width, 18)]), picture, text_line(key, width, 18)])


def _shown_size(sample: Sample) -> tuple[int, int]:
    """At most 1400 pixels a side, at least about 700: small images are enlarged by a whole number."""
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
        classes: by name, what `Breakdown.to_json` gives. Where there are more than 40, those with the most errors.
    """
    wrong = {name: (each["confused"] or 0) + (each["under_predicted"] or 0) for name, each in classes.items()}
    kept = set(sorted(wrong, key=lambda name: -wrong[name])[:MAX_CLASSES])
    names = [name for name in classes if name in kept]
    columns = [*names, "right", "under-predicted", "over: background", "over: other classes"]
    shares = np.array([_shares(name, classes[name], names) for name in names])
    texts = [[_percent(share) for share in row] for row in shares.tolist()]
    told = [
        "left: true class; above: the class predicted in its place; in percent of the true pixels, blank for none",
        "over: of the pixels predicted as the class, the percent that are background, or other classes",
    ]
    if len(names) < len(classes):
        told.append(f"{len(names)} of {len(classes)} classes, those with the most errors")
    return _headed("errors by class", told, cells(names, columns, texts, _heat(shares, len(names))))


def _headed(title: str, told: Sequence[str], body: Picture | None) -> Picture:
    """A title and what one should know to read the picture, over it."""
    width = max([text_width(title, 20), *map(text_width, told), 0 if body is None else body.shape[1]])
    head = [text_line([(title, INK)], width, 20), *(text_line([(text, MUTED)], width) for text in told)]
    return stack([np.concatenate(head), *([] if body is None else [body])])


def _shares(name: str, errors: Mapping[str, Any], names: Sequence[str]) -> list[float]:
    """A row of the confusion picture; NaN where there is no pixel to take a share of, and for a class with itself."""
    instead = [math.nan if other == name else errors["confused_with"].get(other, 0.0) for other in names]
    confused, under, over, background = (
        math.nan if errors[key] is None else errors[key]
        for key in ("confused", "under_predicted", "over_predicted", "over_on_background")
    )
    return [*instead, 1 - confused - under, under, background, over - background]


def _percent(share: float) -> str:
    """Two digits that are worth reading."""
    if math.isnan(share) or share < 0.0005:
        return ""
    return f"{share:.1%}"[:-1] if share < 0.0995 else f"{share:.0%}"[:-1]


def _heat(shares: NDArray[np.float64], classes: int) -> NDArray[np.uint8]:
    """Colours by the root of the share, so that one percent is seen beside fifty."""
    strength = np.sqrt(np.nan_to_num(np.clip(shares, 0, 1)))[..., None]
    colours = np.array([CONFUSED] * classes + [TRUE, MISSED, FALSE, FALSE])
    heat = np.array(PANEL) * (1 - strength) + colours * strength
    heat[np.isnan(shares)] = BACKGROUND
    return np.asarray(np.rint(heat), np.uint8)


def reliability(classes: Mapping[str, Mapping[str, Any]]) -> Picture:
    """For every class, how often it is there where its probability says so; on the diagonal, it is as often as said.

    Args:
        classes: by name, what `Calibration.to_json` gives.
    """
    panels = [
        _reliability(name, each, colour_of(c))
        for c, (name, each) in enumerate(classes.items())
        if each["ece"] is not None
    ]
    told = [
        "across: the probability that the model says; up: the share of those pixels that are the class",
        "above the diagonal, the class is there more often than the model says",
    ]
    return _headed("reliability", told, grid(panels, min(6, len(panels))) if panels else None)


def _reliability(name: str, figures: Mapping[str, Any], colour: Colour) -> Picture:
    bins = figures["reliability"]
    x, y = (np.array(bins[key], float) for key in ("probability", "frequency"))
    diagonal = Line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), MUTED)
    lines = [diagonal, Line(x, y, colour, 2, dots=True)]
    return chart(f"{name}  ECE {figures['ece']:.3f}", lines, (224, 224), x=Axis(0, 1), y=Axis(0, 1))
