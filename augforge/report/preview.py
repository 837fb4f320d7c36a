"""The sheet of a preview: for each step of a recipe what came in and what went out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from augforge import bitmask
from augforge.engine.previewing import Preview, Shown, StepShown
from augforge.errors import plural, some
from augforge.report.overlay import overlay, scale_to_fit
from augforge.report.paint import (
    GAP,
    INK,
    MUTED,
    Picture,
    Span,
    blank,
    centre,
    grid,
    stack,
    text_flow,
    text_line,
)
from augforge.report.show import legend, split_span
from augforge.sample import IGNORE, Sample
from augforge.yamlfile import flow

TILE = 300
"""Side of a picture on the sheet in pixels."""
_INSET = 4
_ARROW = 34
_TITLE = 18


def preview_sheet(preview: Preview) -> Picture:
    """Draw a preview: a strip for each step, with pairs of before and after side by side, masks on top.

    Args:
        preview: what the steps did.

    Returns:
        RGB, uint8 (H, W, 3).
    """
    pairs = max([len(step.shown) for step in preview.steps] or [0]) or 1
    width = max(pairs * (2 * TILE + _ARROW) + (pairs - 1) * 2 * GAP, len(preview.sources) * (TILE + GAP) - GAP)
    facts: list[Span] = [
        (f"{len(preview.sources)} of {preview.total} samples", MUTED),
        (plural(len(preview.labels), "label") if preview.labels else plural(len(preview.classes), "class"), MUTED),
        (f"seed {preview.recipe.seed}", MUTED),
    ]
    parts = [text_line([(preview.recipe.name, INK), *facts], width, 24)]
    if not preview.steps:
        parts.append(_sources_strip(preview, width))
    parts += [_strip(preview, step, width) for step in preview.steps]
    if {*preview.classes} - {IGNORE}:
        parts.append(_legend(preview, width))
    return stack(parts, 2 * GAP)


def _sources_strip(preview: Preview, width: int) -> Picture:
    """The source's samples, where there are no steps."""
    cells = [_cell([sample], preview.classes, [[(sample.name, INK)]]) for sample in preview.sources]
    return _widened(grid(cells, len(cells)), width)


def _strip(preview: Preview, step: StepShown, width: int) -> Picture:
    title: list[Span] = [(f"{step.step.index}  {step.step.bound.label}", INK), (_parameters(preview, step), MUTED)]
    lines = [text_line(title, width, _TITLE)]
    if step.note:
        lines.append(text_flow([(step.note, (255, 190, 92))], width))
    if step.shown:
        cells = [_pair(shown, preview) for shown in step.shown]
        lines.append(_widened(grid(cells, len(cells), (0, 2 * GAP)), width))
    return np.concatenate([part for line in lines for part in (line, blank(GAP // 2, width))][:-1])


def _parameters(preview: Preview, step: StepShown) -> str:
    """The step as the recipe has it, without its name; that of `output.size` is in no list."""
    listed = preview.recipe.file.data.get("steps") or []
    if step.step.index > len(listed):
        return "output.size"
    data: dict[str, Any] = {key: value for key, value in listed[step.step.index - 1].items() if key != "op"}
    return flow(data) if data else ""


def _pair(shown: Shown, preview: Preview) -> Picture:
    """Before and after, with an arrow between."""
    first = shown.before[0]
    more = [(f"and {len(shown.before) - 1} others", MUTED)] if len(shown.before) > 1 else []
    facts = [*_facts(first, preview.labels), split_span(first.split), *more]
    before = _cell(shown.before, preview.classes, [[(first.name, INK)], facts])
    told = f"{shown.made} made" if shown.made > 1 else ""
    known = _facts(shown.after[0], preview.labels) if shown.after else []
    after = _cell(shown.after, preview.classes, [[(shown.note or " ", INK)], [*known, (told, MUTED)]])
    arrow = blank(len(before), _ARROW)
    glyph = text_line([(" >", MUTED)], _ARROW, 26)
    arrow[TILE // 2 - len(glyph) // 2 :][: len(glyph)] = glyph
    return np.concatenate([before, arrow, after], axis=1)


def _facts(sample: Sample, labels: Sequence[str]) -> list[Span]:
    """The size of a sample, and the labels that its vector gives."""
    weights = () if sample.label is None else sample.label
    given = [name for name, weight in zip(labels, weights, strict=False) if weight > 0]
    return [(f"{sample.width} x {sample.height}", MUTED), *([(some(given, 3), INK)] if given else [])]


def _cell(samples: Sequence[Sample], classes: Sequence[str], caption: Sequence[Sequence[Span]]) -> Picture:
    """Up to four samples in one tile, with a caption of lines below."""
    lines = [text_line(spans, TILE) for spans in caption]
    return np.concatenate([_tile(samples, classes), blank(GAP // 2, TILE), *lines])


def _tile(samples: Sequence[Sample], classes: Sequence[str]) -> Picture:
    if not samples:
        return blank(TILE, TILE, (40, 43, 49))
    if len(samples) == 1:
        return centre(overlay(scale_to_fit(samples[0], TILE, TILE), classes), TILE, TILE)
    side = (TILE - _INSET) // 2
    cells = [centre(overlay(scale_to_fit(sample, side, side), classes), side, side) for sample in samples[:4]]
    return centre(grid(cells, 2, (_INSET, _INSET)), TILE, TILE)


def _widened(picture: Picture, width: int) -> Picture:
    return np.concatenate([picture, blank(len(picture), width - picture.shape[1])], axis=1)


def _legend(preview: Preview, width: int) -> Picture:
    """The classes that show in any of the samples."""
    samples = [*preview.sources, *(sample for step in preview.steps for shown in step.shown for sample in shown.after)]
    count = len(preview.classes)
    areas = np.sum([bitmask.areas_and_boxes(sample.masks, count)[0] for sample in samples], axis=0)
    return legend(preview.classes, [int(c) for c in np.flatnonzero(areas)], width)


def preview_json(preview: Preview) -> dict[str, Any]:
    """What was shown, for machines."""
    return {
        "name": preview.recipe.name,
        "samples": [sample.name for sample in preview.sources],
        "steps": [
            {
                "step": each.step.index,
                "op": each.step.bound.name,
                "note": each.note,
                "shown": [
                    {
                        "before": [sample.name for sample in shown.before],
                        "after": [sample.name for sample in shown.after],
                        "made": shown.made,
                        "note": shown.note,
                    }
                    for shown in each.shown
                ],
            }
            for each in preview.steps
        ],
    }
