"""Predictions of several models as one: pixel majority vote, or the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from augforge.errors import TrainError, nearest
from augforge.progress import Progress, Silent
from augforge.sample import Box
from augforge.train.labels.ensemble import ensemble_labels
from augforge.train.labels.table import holds_labels
from augforge.train.prediction.reading import align_tables
from augforge.train.prediction.shares import normalise_weights, shares_by_class
from augforge.train.prediction.submission import ImageName, use_file_names, write_csv
from augforge.train.prediction.table import (
    ImagePrediction,
    Predictions,
    TableHeader,
    encode_image,
    probability_floor,
    write_predictions,
)

Method = Literal["vote", "mean"]

_ROUNDING = 1e-6  # weights are summed as float32: 0.1 + 0.2 must tie with 0.3
_MAJORITY = 0.5 + _ROUNDING

Layer = NDArray[np.float32]
"""float32 (H, W), 0 to 1."""


def ensemble(
    tables: Sequence[Path],
    out: Path,
    method: Method = "vote",
    *,
    weights: Sequence[float] | None = None,
    class_weights: Mapping[str, Sequence[float]] | None = None,
    threshold: float | None = None,
    csv: Path | None = None,
    image_name: ImageName = "auto",
    probabilities: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Join tables of predictions of the same images; they are read side by side, image by image.

    Tables of labels are joined by `labels.ensemble.ensemble_labels`.

    Args:
        tables: two or more, written by `predict` or `ensemble`.
        out: the table to write.
        method: ``vote``: a pixel is a class if tables with more than half of the weight say so; a tie is not enough, so
            two tables of equal weight must agree. ``mean``: if the weighted mean of the probabilities reaches the
            threshold; probabilities that were not kept, up to 0.3 or 0.6 of a class's threshold, count as 0.
        weights: of each table, above 0; equal by default.
        class_weights: of each table for a class or label, by its name, where they are others; 0 leaves a table out.
        threshold: of vote, the share of the weight from which a pixel is the class (at least, not more than); of mean,
            the probability, by default the weighted mean of the tables' own thresholds for the class.
        csv, image_name: a contest's CSV to write in addition; see `predict`.
        probabilities: keep the mean probabilities, for another ensemble.
        progress: advances with each image.

    Returns:
        JSON-like: what was joined, and for each class its images and pixels.

    Raises:
        TrainError: fewer than two tables, options that do not fit, or tables that differ in classes, images or sizes.
    """
    if out.resolve() in [path.resolve() for path in tables]:
        raise TrainError(f"{out} is one of the tables to join and would be overwritten. Choose another name: -o")
    _check_options(len(tables), method, threshold)
    shares = normalise_weights(weights, len(tables))
    if any(map(holds_labels, tables)):
        options: dict[str, Any] = {"threshold": threshold, "csv": csv, "image_name": image_name}
        options["class_weights"] = class_weights
        return ensemble_labels(tables, out, method, shares, **options, progress=progress)
    members = [Predictions(path) for path in tables]
    _check(members, method, threshold, probabilities)
    by_class = shares_by_class(members[0].header.classes, shares, class_weights or {})
    limits = _class_thresholds(members, by_class, method, threshold)
    if csv is not None:
        use_file_names(members[0].files(), image_name)
    of_classes = {name: list(by_class[name]) for name in class_weights or ()}
    made_by: dict[str, Any] = {
        "ensemble": [dict(member.header.made_by) for member in members],
        "method": method,
        "weights": shares,
    }
    if of_classes:
        made_by["class_weights"] = of_classes
    header = TableHeader(members[0].header.classes, limits, made_by, probabilities)
    progress = progress or Silent()
    progress.start("ensemble", len(members[0]))
    minima = [_MAJORITY if method == "vote" and threshold is None else limit - _ROUNDING for limit in limits]
    classes = write_predictions(out, header, _join_images(members, header, minima, by_class, method, progress))
    if csv is not None:
        write_csv(out, csv, image_name)
    return {
        "method": method,
        "tables": [str(path) for path in tables],
        "weights": shares,
        "class_weights": of_classes,
        "images": len(members[0]),
        "predictions": str(out),
        "csv": None if csv is None else str(csv),
        "classes": classes,
    }


def _join_images(
    members: Sequence[Predictions],
    header: TableHeader,
    minima: Sequence[float],
    shares: Mapping[str, Sequence[float]],
    method: Method,
    progress: Progress,
) -> Iterator[ImagePrediction]:
    for images in _align(members):
        layers = zip(_combine_classes(images, members, shares, method), minima, header.thresholds, strict=True)
        keep = header.probabilities
        classes = ((layer >= minimum, threshold, layer if keep else None) for layer, minimum, threshold in layers)
        yield encode_image(images[0].name, images[0].file, classes)
        progress.advance(1)


def _check_options(tables: int, method: Method, threshold: float | None) -> None:
    if method not in get_args(Method):
        raise TrainError(f"no method is named '{method}'.{nearest(method, get_args(Method))}")
    if tables < 2:
        raise TrainError(f"{tables} table of predictions was named; expected two or more to join")
    if threshold is not None and not 0 < threshold <= 1:
        raise TrainError(f"the threshold is {threshold:g}; expected above 0 and at most 1")


def _check(members: Sequence[Predictions], method: Method, threshold: float | None, probabilities: bool) -> None:
    """Raise TrainError unless the tables can be joined by that method."""
    first = members[0]
    for member in members:
        if set(member.header.classes) != set(first.header.classes):
            differing = ", ".join(sorted(set(member.header.classes) ^ set(first.header.classes)))
            raise TrainError(f"{member.path} and {first.path} are not of the same classes: {differing}. Join others")
        if method == "mean" and not member.header.probabilities:
            raise TrainError(
                f"{member.path} holds no probabilities, which method mean needs. Predict again with --probabilities, "
                "or join by --method vote"
            )
        floor = max(map(probability_floor, member.header.thresholds))
        if method == "mean" and threshold is not None and threshold <= floor:
            raise TrainError(
                f"{member.path} keeps no probabilities up to {floor:g}, so a mean of {threshold:g} says nothing. "
                "Take a higher threshold"
            )
    if probabilities and method == "vote":
        raise TrainError("a vote has no probabilities to keep. Join by --method mean, or leave --probabilities out")


def _class_thresholds(
    members: Sequence[Predictions], shares: Mapping[str, Sequence[float]], method: Method, threshold: float | None
) -> tuple[float, ...]:
    """The threshold of each class."""
    classes = members[0].header.classes
    if threshold is not None or method == "vote":
        return (0.5 if threshold is None else threshold,) * len(classes)
    own = [dict(zip(member.header.classes, member.header.thresholds, strict=True)) for member in members]
    return tuple(sum(share * each[name] for share, each in zip(shares[name], own, strict=True)) for name in classes)


def _align(members: Sequence[Predictions]) -> Iterator[Sequence[ImagePrediction]]:
    """All members' predictions of each image; TrainError if they are not of the same images and sizes."""
    for images in align_tables(members):
        first = images[0]
        for member, image in zip(members, images, strict=True):
            if (image.width, image.height) != (first.width, first.height):
                raise TrainError(
                    f"{member.path}: image {image.name} has {image.width}x{image.height} pixels, elsewhere "
                    f"{first.width}x{first.height}. Predict the same images with each model"
                )
        yield images


def _combine_classes(
    images: Sequence[ImagePrediction],
    members: Sequence[Predictions],
    shares: Mapping[str, Sequence[float]],
    method: Method,
) -> Iterator[Layer]:
    """For each class, the share of the weight that votes for it, or its mean probability."""
    value_of = _vote if method == "vote" else _probability
    for name in members[0].header.classes:
        total = np.zeros((images[0].height, images[0].width), np.float32)
        for image, member, share in zip(images, members, shares[name], strict=True):
            in_box = value_of(image, member.header.classes.index(name))
            if in_box is not None and share:
                (x0, y0, x1, y1), values = in_box
                total[y0:y1, x0:x1] += np.float32(share) * values
        yield total


def _vote(image: ImagePrediction, c: int) -> tuple[Box, NDArray[Any]] | None:
    """A class's mask inside its box; None if the image does not show it."""
    box = image.boxes[c]
    if box is None:
        return None
    x0, y0, x1, y1 = box
    return box, image.mask(c)[y0:y1, x0:x1]


def _probability(image: ImagePrediction, c: int) -> tuple[Box, NDArray[Any]] | None:
    """A class's probabilities inside the box around them; None if none were kept."""
    kept = image.probabilities(c)
    return None if kept is None else (kept[0], kept[1] / np.float32(255))
