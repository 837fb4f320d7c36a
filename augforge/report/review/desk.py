"""The desk: cases, their pictures, and the verdicts on them; what the page asks and tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock
from typing import Any

from augforge.engine.verdicts import VerdictFile
from augforge.recipe.recipe import Verdict
from augforge.report.html.thumbnails import Outline, Thumbnail, class_colour, make_thumbnail, outlines_of
from augforge.report.review.case import Case, View

SIDE = 1400
"""Pixels of the longer side of a picture: enough to judge it, and quick to send."""
_KEPT = 24
"""Pictures that are kept, so that going back, and the next one, are quick."""


@dataclass
class Desk:
    """Cases and the file of verdicts on them.

    Attributes:
        name: of the recipe.
        cases: what is judged.
        file: where verdicts are written.
        note: something to say on top of the page; empty for nothing.
    """

    name: str
    cases: Sequence[Case]
    file: VerdictFile
    note: str = ""
    _lock: Lock = field(default_factory=Lock, repr=False)  # sources and models are not made for several threads

    def __post_init__(self) -> None:
        self._picture = lru_cache(_KEPT)(self._make_picture)

    def list_cases(self) -> list[dict[str, Any]]:
        """All cases, JSON-like, in order; the number of a case is its place."""
        return [
            {
                "name": case.name,
                "group": case.group,
                "split": case.split,
                "reasons": [{"kind": r.kind, "text": r.text, "score": r.score} for r in case.reasons],
                "predicted": case.view.predict is not None,
            }
            for case in self.cases
        ]

    def kinds(self) -> dict[str, int]:
        """How many cases have a reason of each kind."""
        return dict(sorted(Counter(kind for case in self.cases for kind in {r.kind for r in case.reasons}).items()))

    def verdicts(self) -> dict[str, dict[str, str]]:
        """The verdicts that stand in the file now."""
        return {name: verdict.model_dump() for name, verdict in self.file.read().items()}

    def judge(self, name: str, verdict: Verdict | None, seen: Verdict | None) -> None:
        """Write a verdict; see `VerdictFile.put`. KeyError for a name that is no case."""
        if name not in {case.name for case in self.cases}:
            raise KeyError(name)
        self.file.put(name, verdict, seen)

    def picture(self, number: int) -> Mapping[str, Any]:
        """The picture of a case, JSON-like; IndexError if there is no such case, and what loading raises."""
        if not 0 <= number < len(self.cases):
            raise IndexError(number)
        with self._lock:
            return self._picture(number)

    def _make_picture(self, number: int) -> Mapping[str, Any]:
        view = self.cases[number].view
        sample = view.load()
        small = make_thumbnail(sample, view.classes, SIDE)
        scale = small.width / sample.width
        return {
            "width": small.width,
            "height": small.height,
            "picture": small.picture,
            "size": [sample.width, sample.height],
            "truth": [_outline_json(outline, view.classes, view.classes) for outline in small.outlines],
            "prediction": _predicted_outlines(view, small),
            "boxes": [[edge * scale for edge in box] for box in view.boxes],
        }


def _predicted_outlines(view: View, shown: Thumbnail) -> list[dict[str, str]] | None:
    """What a model says, in pixels of the picture that is shown; None if no model was asked."""
    if view.predict is None:
        return None
    outlines = outlines_of(view.predict(), len(view.predicted_classes), shown.width, shown.height)
    return [_outline_json(outline, view.predicted_classes, view.classes) for outline in outlines]


def _outline_json(outline: Outline, classes: Sequence[str], table: Sequence[str]) -> dict[str, str]:
    """An outline with its class's name, and the colour that the class has in a table."""
    name = classes[outline.index]
    place = table.index(name) if name in table else outline.index
    return {"name": name, "colour": class_colour(place), "path": outline.path}
