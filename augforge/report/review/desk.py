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
from augforge.report.review.case import Case

SIDE = 1400
"""Pixels of the longer side of a picture: enough to judge it, and quick to send."""
_KEPT = 24
"""Pictures that are kept, so that going back, and the next one, are quick."""


@dataclass(frozen=True)
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
        object.__setattr__(self, "_picture", lru_cache(_KEPT)(self._make_picture))

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
            found: Mapping[str, Any] = vars(self)["_picture"](number)
            return found

    def _make_picture(self, number: int) -> Mapping[str, Any]:
        view = self.cases[number].view
        sample = view.load()
        small = make_thumbnail(sample, view.classes, SIDE)
        scale = small.width / sample.width
        predicted: Sequence[Outline] = ()
        if view.predict is not None:
            predicted = outlines_of(view.predict(), len(view.predicted_classes), small.width, small.height)
        return {
            "width": small.width,
            "height": small.height,
            "picture": small.picture,
            "size": [sample.width, sample.height],
            "truth": _outlines_json(small, view.classes),
            "prediction": [_outline_json(o, view.predicted_classes, view.classes) for o in predicted]
            if view.predict is not None
            else None,
            "boxes": [[edge * scale for edge in box] for box in view.boxes],
        }


def _outlines_json(thumbnail: Thumbnail, classes: Sequence[str]) -> list[dict[str, str]]:
    return [_outline_json(outline, classes, classes) for outline in thumbnail.outlines]


def _outline_json(outline: Outline, classes: Sequence[str], table: Sequence[str]) -> dict[str, str]:
    """An outline with its class's name, and the colour that the class has in a table."""
    name = classes[outline.index]
    place = table.index(name) if name in table else outline.index
    return {"name": name, "colour": class_colour(place), "path": outline.path}
