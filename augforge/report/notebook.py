"""How datasets and samples look in a notebook: pictures with their classes, and no script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from augforge import bitmask
from augforge.report.html.page import render_fragment
from augforge.report.html.thumbnails import make_thumbnail
from augforge.report.inspect import class_counts
from augforge.report.overlay import overlay
from augforge.report.show import choose_rows, contact_sheet, show_samples
from augforge.report.tables import split_order
from augforge.sample import Sample

if TYPE_CHECKING:
    from augforge.store.dataset import Dataset

_TILES, _SIDE, _MOST_CLASSES = 8, 220, 30


def dataset_html(dataset: Dataset) -> str:
    """A dataset in a notebook: name, splits, classes, and some samples of each split and step, which are decoded."""
    chosen = choose_rows(dataset.index, _TILES)
    classes = class_counts(dataset.index, dataset.classes)
    return render_fragment(
        "dataset.html.j2",
        dataset=dataset,
        splits=split_order(dict(dataset.index.group_by("split").len().rows())),
        classes=sorted(classes, key=lambda entry: -entry["samples"])[:_MOST_CLASSES],
        places={name: place for place, name in enumerate(dataset.classes)},
        tiles=[(sample, make_thumbnail(sample, dataset.classes, _SIDE)) for sample in map(dataset.__getitem__, chosen)],
    )


def sample_html(sample: Sample) -> str:
    """A sample in a notebook: its picture with an outline for each class, and what is known of it."""
    names = class_names(sample)
    return render_fragment("sample.html.j2", sample=sample, names=names, thumbnail=make_thumbnail(sample, names))


def plot_sample(sample: Sample, classes: Sequence[str] | None, *, legend: bool) -> Image.Image:
    """The picture of `Sample.plot`."""
    names = tuple(classes or class_names(sample))
    return Image.fromarray(show_samples([sample], names) if legend else overlay(sample, names))


def show_dataset(dataset: Dataset, limit: int, split: str | None) -> Image.Image:
    """The picture of `Dataset.show`."""
    return Image.fromarray(contact_sheet(dataset, limit=limit, split=split))


def class_names(sample: Sample) -> tuple[str, ...]:
    """Names of as many classes as the sample's masks have, or may have: a sample knows no class table."""
    shown, _ = bitmask.areas_and_boxes(sample.masks, 8 * sample.masks.shape[-1])
    known = bitmask.bits_to_flags(sample.known, len(shown))
    most = max((c + 1 for c in range(len(shown)) if known[c] or shown[c]), default=1)
    return tuple(f"class {c}" for c in range(most))
