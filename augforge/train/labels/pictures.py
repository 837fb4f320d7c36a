"""Pictures about labels: samples with their true and predicted labels, and what is confused with what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from augforge.report.colours import Colour
from augforge.report.overlay import as_rgb, scale_to_fit
from augforge.report.paint import INK, MUTED, Picture, Span, stack, text_flow, text_line
from augforge.sample import Sample
from augforge.train.evaluation.charts import cells
from augforge.train.evaluation.pictures import (
    FALSE,
    MAX_CLASSES,
    MISSED,
    TRUE,
    heat_colours,
    picture_size,
    with_header,
)
from augforge.train.labels.groups import Flags

_LIKELY = 5
"""So many labels are written even if they are neither true nor predicted, the likeliest."""
_COLOURS: dict[tuple[bool, bool], Colour] = {
    (True, True): TRUE,
    (True, False): MISSED,
    (False, True): FALSE,
    (False, False): MUTED,
}
"""By whether a label is true and whether it is predicted."""
_KEY: list[Span] = [("right", TRUE), ("missed", MISSED), ("predicted, not true", FALSE), ("neither", MUTED)]


def label_picture(
    sample: Sample,
    labels: Sequence[str],
    probabilities: NDArray[np.floating],
    predicted: Flags,
    true: Flags | None = None,
    loss: float | None = None,
) -> Picture:
    """A sample below its labels with their probabilities, in colours that say what is right and wrong.

    Args:
        sample: its image is drawn.
        labels: the L names.
        probabilities, predicted: (L,).
        true: (L,); None if nobody knows.
        loss: of the sample.
    """
    small = scale_to_fit(sample, *picture_size(sample))
    picture = as_rgb(small.image)
    width = max(picture.shape[1], 800)
    known = predicted if true is None else true
    order = np.argsort(-probabilities, kind="stable").tolist()
    chosen = [c for rank, c in enumerate(order) if known[c] or predicted[c] or rank < _LIKELY]
    spans: list[Span] = [
        (f"{labels[c]} {probabilities[c]:.2f}", _COLOURS[bool(known[c]), bool(predicted[c])]) for c in chosen
    ]
    title: list[Span] = [(sample.name, INK), *([] if loss is None else [(f"loss {loss:.3f}", INK)])]
    head = np.concatenate([text_line(title, width, 22), text_flow(spans, width, 18)])
    return stack([head, picture, *([] if true is None else [text_line(_KEY, width, 18)])])


def confusion_picture(name: str, labels: Sequence[str], counts: NDArray[np.int64]) -> Picture:
    """How many samples of each true label (left) are predicted as each label (above); the diagonal is right.

    Args:
        name: of the group.
        labels: the K names. If there are more than 40, those with the most errors are drawn.
        counts: (K, K).
    """
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    kept = np.sort(np.argsort(-wrong, kind="stable")[:MAX_CLASSES])
    shown, names = counts[np.ix_(kept, kept)], [labels[c] for c in kept.tolist()]
    shares = shown / np.maximum(counts.sum(axis=1)[kept], 1)[:, None]
    heat = heat_colours(shares, np.where(np.eye(len(names), dtype=bool)[..., None], TRUE, FALSE))
    texts = [[f"{n}" if n else "" for n in row] for row in shown.tolist()]
    notes = ["left: true label; above: predicted label; numbers of samples, coloured by their share of the true label"]
    if len(names) < len(labels):
        notes.append(f"{len(names)} of {len(labels)} labels, those with the most errors")
    return with_header(f"confusion: {name}", notes, cells(names, names, texts, heat))
