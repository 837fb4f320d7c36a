"""Index masks: one palette PNG an image, whose values name the classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from augforge.errors import AugforgeError, nearest
from augforge.export.core import Entry, Job, Unlabelled
from augforge.export.png import index_png
from augforge.sample import IGNORE
from augforge.sources.raster.value_names import VOID, counted_from_one

REST = "*"


class IndexMask(Unlabelled):
    """A palette PNG for each image: 0 is the background, classes count from 1, 255 is class `ignore`.

    A pixel holds one class. Where two overlap it is an error, unless `order` names both: the later lies on top, `*`
    stands for all others in the class table's order. `ignore` lies above all. The palette is VOC's. An unlabelled
    image has no mask.
    """

    layout: ClassVar[str] = """\
OUT/
  train/images/NAME.png        images as stored, a folder a split
  train/masks/NAME.png         palette PNG
  classes.txt                  value and class a line
  samples.csv                  name, file, split, group, labels, metadata"""
    read_back: ClassVar[str] = """\
source:
  format: index-mask
  path: OUT/train              # one split; format union joins several
  classes: [heart, lung]       # the dataset's, in its order
  metadata: {table: ../samples.csv, columns: [group]}
  group: {column: group}
  missing_mask: unlabelled"""

    order: tuple[str, ...] = Field((), description="classes from bottom to top, such as '*,Radius'")

    @field_validator("order", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def write_index_mask(job: Job, entries: Iterable[Entry], options: IndexMask) -> None:
    """Write a dataset as index masks."""
    values, palette = class_values(job.classes), voc_palette()
    ranks = _ranks(job.classes, options.order)
    job.put("classes.txt", "".join(f"{value} {name}\n" for name, value in sorted(values.items(), key=lambda i: i[1])))
    for entry in entries:
        job.put_image(entry, f"{entry.split}/images")
        if entry.labelled:
            mask = _painted(entry, job.classes, values, ranks)
            job.put(f"{entry.split}/masks/{entry.place}.png", index_png(mask, palette))
        else:
            job.notes["unlabelled images, without a mask"] += 1


def class_values(classes: Sequence[str]) -> dict[str, int]:
    """The pixel value of each class. AugforgeError where there are more than 254."""
    named = counted_from_one(classes)
    if len(named) >= VOID:
        raise AugforgeError(
            f"index-mask holds {VOID - 1} classes, the dataset has {len(named)}. Export to mask-folder or coco instead"
        )
    values = {name: value for value, name in named.items()}
    return {**values, IGNORE: VOID} if IGNORE in classes else values


def voc_palette() -> NDArray[np.uint8]:
    """Pascal VOC's colours (256, 3): the bits of the value, spread over red, green and blue from the highest down."""
    value = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((value >> 3 * bit + channel & 1) << 7 - bit).astype(np.uint8)
    return colours


def _ranks(classes: Sequence[str], order: Sequence[str]) -> dict[str, int]:
    """Place of each class that may overlap others, from bottom to top."""
    unknown = next((name for name in order if name not in (*classes, REST)), None)
    if unknown is not None:
        raise AugforgeError(f"order names '{unknown}', which is no class.{nearest(unknown, classes)}")
    if len(set(order)) < len(order):
        raise AugforgeError(f"order names a class twice: {', '.join(order)}. Name each once")
    rest = [name for name in classes if name not in order]
    spelt = [name for part in order for name in (rest if part == REST else [part])]
    return {name: rank for rank, name in enumerate((name for name in spelt if name != IGNORE), start=1)}


def _painted(entry: Entry, classes: Sequence[str], values: dict[str, int], ranks: dict[str, int]) -> NDArray[np.uint8]:
    """The mask, classes painted from bottom to top; those without a rank first, `ignore` last."""
    painted = np.zeros((entry.height, entry.width), np.uint8)
    names = {value: name for name, value in values.items()}
    for region in sorted(entry.regions(), key=lambda region: _height(classes[region.c], ranks)):
        name, spot = classes[region.c], painted[region.roi]
        if name != IGNORE:
            shared = np.bincount(spot[region.mask > 0], minlength=256)
            for value in np.flatnonzero(shared[1:]).tolist():
                _allow(entry, names[value + 1], name, int(shared[value + 1]), ranks)
        spot[region.mask > 0] = values[name]
    return painted


def _height(name: str, ranks: dict[str, int]) -> int:
    return len(ranks) + 1 if name == IGNORE else ranks.get(name, 0)


def _allow(entry: Entry, below: str, above: str, pixels: int, ranks: dict[str, int]) -> None:
    if below not in ranks or above not in ranks:
        raise AugforgeError(
            f"sample {entry.name}: {below} and {above} overlap ({pixels} pixels), but an index mask holds one class a "
            f"pixel. Say which lies on top, from bottom to top: --set 'order={below},{above}', or --set 'order={REST}' "
            "for the class table's order; or export to mask-folder or coco, which hold both."
        )
