"""Index masks: one palette PNG per image, whose values are classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from augforge.errors import AugforgeError, nearest
from augforge.export.core import Entry, Job, UnlabelledOptions
from augforge.export.png import index_png
from augforge.sample import IGNORE
from augforge.sources.raster.value_names import VOID, counted_from_one

REST = "*"


class IndexMask(UnlabelledOptions):
    """One palette PNG per image: 0 is the background, classes count from 1, and 255 is class `ignore`.

    A pixel has one class. Overlapping classes are an error unless `order` names both: the later one is painted over the
    earlier one, and `*` stands for all other classes in the class table's order. `ignore` is painted last. The palette
    is that of VOC. An unlabelled image has no mask.
    """

    layout: ClassVar[str] = """\
OUT/
  train/images/NAME.png        images as stored, one folder per split
  train/masks/NAME.png         palette PNG
  classes.txt                  one line per class: value and name
  samples.csv                  name, file, split, group, labels, metadata"""
    read_back: ClassVar[str] = """\
source:
  format: index-mask
  path: OUT/train              # one split; format union joins several
  classes: [heart, lung]       # those of the dataset, in its order
  metadata: {table: ../samples.csv, columns: [group]}
  group: {column: group}
  missing_mask: unlabelled"""

    order: tuple[str, ...] = Field((), description="classes from bottom to top, such as '*,Radius'")

    @field_validator("order", mode="before")
    @classmethod
    def _split_text(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def write_index_mask(job: Job, entries: Iterable[Entry], options: IndexMask) -> None:
    """Write a dataset as index masks."""
    values, palette = class_values(job.classes), voc_palette()
    ranks = _ranks(job.classes, options.order)
    job.put("classes.txt", "".join(f"{value} {name}\n" for name, value in sorted(values.items(), key=lambda i: i[1])))
    for entry in entries:
        job.put_image(entry, f"{entry.split}/images")
        if entry.is_labelled:
            mask = _paint(entry, job.classes, values, ranks)
            job.put(f"{entry.split}/masks/{entry.stem}.png", index_png(mask, palette))
        else:
            job.notes["unlabelled images, without a mask"] += 1


def class_values(classes: Sequence[str]) -> dict[str, int]:
    """The pixel value of each class: 1, 2, ... and 255 for `ignore`. AugforgeError for more than 254 classes."""
    named = counted_from_one(classes)
    if len(named) >= VOID:
        raise AugforgeError(
            f"index-mask holds {VOID - 1} classes, the dataset has {len(named)}. Export to mask-folder or coco instead"
        )
    values = {name: value for value, name in named.items()}
    return {**values, IGNORE: VOID} if IGNORE in classes else values


def voc_palette() -> NDArray[np.uint8]:
    """Pascal VOC's colours, uint8 (256, 3): the bits of a value go to red, green and blue in turn, high ones first."""
    value = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((value >> 3 * bit + channel & 1) << 7 - bit).astype(np.uint8)
    return colours


def _ranks(classes: Sequence[str], order: Sequence[str]) -> dict[str, int]:
    """Rank, from 1 at the bottom, of each class that may overlap others."""
    unknown = next((name for name in order if name not in (*classes, REST)), None)
    if unknown is not None:
        raise AugforgeError(f"order names '{unknown}', which is no class.{nearest(unknown, classes)}")
    if len(set(order)) < len(order):
        raise AugforgeError(f"order names a class twice: {', '.join(order)}. Name each class once")
    rest = [name for name in classes if name not in order]
    expanded = [name for part in order for name in (rest if part == REST else [part])]
    return {name: rank for rank, name in enumerate((name for name in expanded if name != IGNORE), start=1)}


def _paint(entry: Entry, classes: Sequence[str], values: dict[str, int], ranks: dict[str, int]) -> NDArray[np.uint8]:
    """The mask, uint8 (H, W): classes painted from bottom to top, those without a rank first, `ignore` last."""
    painted = np.zeros((entry.height, entry.width), np.uint8)
    names = {value: name for name, value in values.items()}
    for region in sorted(entry.regions(), key=lambda region: _layer_of(classes[region.c], ranks)):
        name, box = classes[region.c], painted[region.roi]
        if name != IGNORE:
            shared = np.bincount(box[region.mask > 0], minlength=256)
            for value in np.flatnonzero(shared[1:]).tolist():
                _check_overlap(entry, names[value + 1], name, int(shared[value + 1]), ranks)
        box[region.mask > 0] = values[name]
    return painted


def _layer_of(name: str, ranks: dict[str, int]) -> int:
    return len(ranks) + 1 if name == IGNORE else ranks.get(name, 0)


def _check_overlap(entry: Entry, below: str, above: str, pixels: int, ranks: dict[str, int]) -> None:
    if below not in ranks or above not in ranks:
        raise AugforgeError(
            f"sample {entry.name}: {below} and {above} overlap ({pixels} pixels), but an index mask holds one class "
            f"per pixel. Give their order from bottom to top: --set 'order={below},{above}', or --set 'order={REST}' "
            "for the class table's order; or export to mask-folder or coco, which hold both."
        )
