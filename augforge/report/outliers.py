"""Reports of outliers: a contact sheet with the flagged regions marked, and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from augforge.report.overlay import as_rgb, scale_to_fit
from augforge.report.paint import GAP, INK, MUTED, TEXT, Picture, centre, grid, stack, text_line
from augforge.report.tables import table
from augforge.sample import Sample

if TYPE_CHECKING:
    from augforge.engine.outcome import Finding
    from augforge.engine.outliers import Outliers, Score

MARK = (255, 70, 70)
TILE = 360
"""Side of an image on the sheet in pixels."""


def outliers_json(found: Outliers, scored: Sequence[Score] = ()) -> dict[str, Any]:
    """Findings and scores, JSON-like; the keys are those of ``--json``."""
    return {
        "samples": len(found.names),
        "unreadable": {row.name: row.detail for row in found.unreadable},
        "detectors": list(found.detectors),
        "findings": [_finding_json(finding) for finding in found.findings],
        "scores": [_score_json(score) for score in scored],
        "warnings": list(found.warnings),
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    row, flag = finding.row, finding.flag
    return {
        "name": row.name,
        "group": row.group,
        "split": row.split,
        "detector": finding.step,
        "reason": flag.reason,
        "score": flag.score,
        "detail": flag.detail,
        "boxes": [list(box) for box in flag.boxes],
        "outcome": finding.outcome,
    }


def _score_json(score: Score) -> dict[str, Any]:
    return {
        "detector": score.detector,
        "recall": score.recall,
        "precision": score.precision,
        "hits": score.hits,
        "misses": list(score.missed),
        "false_alarms": list(score.wrong),
    }


def outlier_sheet(found: Outliers, limit: int = 60) -> Picture:
    """The flagged images with their regions marked; below each: detector, reason, score and outcome.

    Args:
        found: what the detectors found.
        limit: most findings to show.
    """
    shown = found.findings[:limit]
    header = text_line([(f"{len(found.findings)} findings", INK), (f"{len(found.names)} samples", MUTED)], 4 * TILE, 20)
    if not shown:
        return stack([header])
    cells = [_cell(found.load(finding), finding) for finding in shown]
    return stack([header, grid(cells, min(len(cells), math.ceil(math.sqrt(len(cells) * 1.5))), (GAP, GAP))])


def _cell(sample: Sample, finding: Finding) -> Picture:
    small = scale_to_fit(sample, TILE, TILE)
    picture = as_rgb(small.image).copy()
    for box in finding.flag.boxes:
        _mark(picture, [round(edge * small.width / sample.width) for edge in box])
    score = "" if finding.flag.score is None else f"{finding.flag.score:.3g}"
    lines = (
        [(finding.row.name, INK)],
        [(f"{finding.step}: {finding.flag.reason}", MARK), (score, INK)],
        [(finding.row.split, MUTED), (finding.outcome, MUTED), (finding.flag.detail, MUTED)],
    )
    return stack([centre(picture, TILE, TILE), *(text_line(spans, TILE, TEXT) for spans in lines)], 0)


def _mark(picture: Picture, box: Sequence[int]) -> None:
    margin = 3
    corner, opposite = (box[0] - margin, box[1] - margin), (box[2] + margin, box[3] + margin)
    cv2.rectangle(picture, corner, opposite, MARK, 2)


def render_outliers(found: Outliers, scored: Sequence[Score], console: Console) -> None:
    """Print the findings, and the scores of detectors if there are any."""
    shown = table("sample", "split", "detector", "reason", "score", "outcome", "detail")
    shown.columns[0].overflow = "fold"
    shown.columns[0].no_wrap = True  # people copy names into the review file
    for finding in found.findings:
        flag = finding.flag
        score = "" if flag.score is None else f"{flag.score:.3g}"
        shown.add_row(
            finding.row.name, finding.row.split, finding.step, flag.reason, score, finding.outcome, flag.detail
        )
    console.print(shown)
    for warning in found.warnings:
        console.print(Text(f"Warning: {warning}", "yellow"), soft_wrap=True)
    console.print(f"{len(found.findings)} findings in {len(found.names)} samples")
    if found.unreadable:
        count, first = len(found.unreadable), found.unreadable[0]
        console.print(
            f"{count} more cannot be read, such as {escape(first.name)}: {escape(first.detail)}", style="yellow"
        )
    if scored:
        console.print(_score_table(scored))


def _score_table(scored: Sequence[Score]) -> Table:
    shown = table("detector", "recall", "precision", "hits", "missed", "false alarms")
    for score in scored:
        rates = ("-" if rate is None else f"{rate:.2f}" for rate in (score.recall, score.precision))
        shown.add_row(
            score.detector, *rates, str(score.hits), " ".join(score.missed) or "-", " ".join(score.wrong) or "-"
        )
    return shown
