"""A case: a source image that a person should look at, with what speaks against it and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from augforge.bitmask import Planes
from augforge.sample import Box, Sample


@dataclass(frozen=True, slots=True)
class View:
    """A picture of a case.

    Attributes:
        load: reads the sample.
        classes: its class table.
        boxes: regions that are marked, x0, y0, x1, y1 in its pixels.
        predict: what a model says of it, in planes of `predicted_classes`; None if no model was asked.
        predicted_classes: the class table of the prediction.
    """

    load: Callable[[], Sample]
    classes: tuple[str, ...]
    boxes: tuple[Box, ...] = ()
    predict: Callable[[], Planes] | None = None
    predicted_classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """What speaks against a source image.

    Attributes:
        kind: who says so: a filter's step, ``implausible``, ``label quality``, ``prediction``, or ``review``.
        text: what is said.
        score: a number that it rests on, if any.
    """

    kind: str
    text: str
    score: float | None = None


@dataclass(frozen=True)
class Case:
    """A source image with all that speaks against it.

    Attributes:
        name: of the source image, which verdicts name.
        group, split: as the recipe deals it.
        reasons: at least one.
        view: how it is shown.
    """

    name: str
    group: str
    split: str
    reasons: tuple[Reason, ...]
    view: View


def merge_cases(cases: Iterable[Case]) -> list[Case]:
    """One case for each source image, in the order in which they are first named.

    The view of the first stays, unless a later one has what it lacks: a prediction, or marked regions.
    """
    merged: dict[str, Case] = {}
    for case in cases:
        known = merged.get(case.name)
        if known is None:
            merged[case.name] = case
            continue
        reasons = tuple(dict.fromkeys((*known.reasons, *case.reasons)))
        better = _worth(case.view) > _worth(known.view)
        merged[case.name] = replace(known, reasons=reasons, view=case.view if better else known.view)
    return list(merged.values())


def _worth(view: View) -> tuple[bool, bool]:
    return view.predict is not None, bool(view.boxes)
