"""Loading a listed sample: what all adapters' `load` methods share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.errors import SourceError, moved_names
from augforge.sample import IGNORE, Image, Label, Sample
from augforge.sources.core import Record
from augforge.sources.raster import rle
from augforge.sources.raster.shapes import Part, draw
from augforge.sources.scan.images import read_image


def load_image(root: Path, record: Record) -> Image:
    """Read the image at ``record.data["image"]``. Raises SourceError if its size is not the listed one."""
    path = root / record.data["image"]
    image = read_image(path, upright=not record.data.get("as_stored"))
    check_size(path, image, record)
    return image


def check_size(path: Path, pixels: NDArray[Any], record: Record) -> None:
    """Raise SourceError unless an image or mask has the size that was listed."""
    if pixels.shape[:2] != (record.height, record.width):
        raise SourceError(
            f"{path} is {pixels.shape[1]}x{pixels.shape[0]} now; expected {record.width}x{record.height}, as when "
            "the source was listed. Start again."
        )


def draw_shapes(record: Record, classes: tuple[str, ...]) -> bitmask.Planes:
    """Bit-planes of ``record.data["shapes"]``, JSON text of [class, ring or compressed run lengths] pairs."""
    return draw(_read_parts(record), record.height, record.width, classes)


def _read_parts(record: Record) -> Iterator[Part]:
    for name, shape in json.loads(record.data["shapes"]):
        yield name, (rle.decode(shape, record.height, record.width), 0, 0) if isinstance(shape, str) else shape


def known_bits(record: Record, classes: tuple[str, ...]) -> NDArray[np.uint8]:
    """``known`` of a sample: the classes in ``record.data["known"]``, or all if that is missing."""
    known = record.data.get("known")
    if known is None:
        return bitmask.all_bits(len(classes))
    return with_ignore(
        bitmask.select_bits((c for c, name in enumerate(classes) if name in known), len(classes)), classes
    )


def with_ignore(known: NDArray[np.uint8], classes: tuple[str, ...]) -> NDArray[np.uint8]:
    """``known`` with `ignore` added, if any class is known: data that never marks a pixel as `ignore` has none."""
    if IGNORE not in classes or not known.any():
        return known
    return known | bitmask.select_bits([classes.index(IGNORE)], len(classes))


def make_sample(
    record: Record, image: Image, masks: bitmask.Planes, known: NDArray[np.uint8], label: Label | None = None
) -> Sample:
    """The sample that a record stands for."""
    split = record.split or "train"
    return Sample(record.name, image, masks, known, record.group, split, label, record.metadata)


def label_vector(record: Record) -> Label:
    """The label vector of ``record.data["label"]``: a list of weights, or the index of the one label of ``"of"``."""
    label = record.data["label"]
    if isinstance(label, int):
        return np.eye(1, record.data["of"], label, dtype=np.float32).reshape(-1)
    return np.array(label, np.float32)


def load_labelled_image(root: Path, record: Record, classes: tuple[str, ...]) -> Sample:
    """Load a sample that has a label vector but no masks: no class is known in it."""
    planes = bitmask.empty(record.height, record.width, len(classes))
    known = np.zeros(bitmask.plane_count(len(classes)), np.uint8)
    return make_sample(record, load_image(root, record), planes, known, label_vector(record))


__getattr__ = moved_names(__name__, {"listed_image": f"{__name__}.load_image", "loaded": f"{__name__}.make_sample"})
