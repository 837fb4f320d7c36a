"""COCO: one JSON file of annotations per split, and its images."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import IO, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from augforge.export.core import Entry, Job, Options, Region
from augforge.export.outlines import edge_polygons
from augforge.export.run_lengths import coco_counts, column_runs
from augforge.sample import IGNORE
from augforge.sources.raster.rle import compress
from augforge.store.manifest import LicenceEntry


class Coco(Options):
    """COCO annotations: one per class and image, with category ids from 1 in the class table's order.

    A dataset holds classes, not instances: all objects of a class in an image are one annotation.

    Run lengths are exact. Polygons run along the edges of pixels (pixel x reaches from x to x + 1). That is exact for
    pycocotools too; readers that put pixel centres at integers, augforge among them, add up to a pixel on the right and
    below. Holes are bridged by a line that is followed in both directions. Class `ignore` is a crowd
    (`iscrowd: 1`), always as run lengths. Classes that nobody labelled in an image are listed in its
    `not_exhaustive_category_ids`, as in LVIS; a class that nobody labelled anywhere is not a category.

    Licences of the source images are in `licenses`, with an `attribution` if somebody is to be named. An image of
    several source images with different licences has an entry that names them all.
    """

    layout: ClassVar[str] = """\
OUT/
  annotations/train.json       one file per split
  images/train/NAME.png        file_name is NAME.png; images as stored
  samples.csv                  name, file, split, group, labels, metadata"""
    read_back: ClassVar[str] = """\
source:
  format: coco
  path: OUT                    # splits val and test are kept; names begin with the split
  classes: [heart, lung]       # those of the dataset: unlabelled ones are no categories"""

    masks: Literal["rle", "polygons"] = Field("rle", description="compressed run lengths, or polygons")


def write_coco(job: Job, entries: Iterable[Entry], options: Coco) -> None:
    """Write a dataset as COCO."""
    with ExitStack() as stack:
        files = {split: stack.enter_context(_AnnotationFile(job, split)) for split in job.splits}
        for entry in entries:
            job.put_image(entry, f"images/{entry.split}")
            files[entry.split].add(entry, [_annotation(region, entry, job, options) for region in entry.regions()])


class _AnnotationFile:
    """The JSON file of one split.

    Annotations are written at once and not kept: there may be millions. The list of images, which is short, follows
    when the file is closed; readers accept the keys in any order.
    """

    def __init__(self, job: Job, split: str) -> None:
        self._job, self._split = job, split
        self._images: list[str] = []
        self._licences = LicenceTable(job.licences)
        self._count = 0
        self._stream: IO[str]

    def __enter__(self) -> _AnnotationFile:
        self._stream = self._job.open_text(f"annotations/{self._split}.json")
        info = {"description": f"{self._job.dataset}, {self._split}", "version": self._job.version}
        head = {"info": info, "categories": _categories(self._job)}
        # The object stays open: its closing brace is cut off here and written by __exit__.
        self._stream.write(f'{_json(head)[:-1]},\n"annotations": [')
        return self

    def add(self, entry: Entry, annotations: Iterable[dict[str, Any]]) -> None:
        """Write the annotations of one image; their ids continue those of the images before."""
        for annotation in annotations:
            separator = ",\n" if self._count else "\n"
            self._count += 1
            self._stream.write(separator + _json({"id": self._count, **annotation}))
        self._images.append(_json(_image(entry, self._job) | self._licences.of_image(entry)))

    def __exit__(self, kind: object, *_: object) -> None:
        with self._stream:
            if kind is None:  # else the export fails, and its folder is deleted
                licences = _json(self._licences.entries)
                self._stream.write('\n],\n"images": [\n' + ",\n".join(self._images) + "\n],\n")
                self._stream.write(f'"licenses": {licences}}}\n')


class LicenceTable:
    """COCO's `licenses`: an image has one of them, so several licences of a sample together are an entry too."""

    def __init__(self, licences: Mapping[str, LicenceEntry]) -> None:
        self._licences = licences
        self._ids: dict[tuple[str, ...], int] = {}

    def of_image(self, entry: Entry) -> dict[str, int]:
        """The key `license` of an image; nothing if no licence is stated for it."""
        if not entry.licences:
            return {}
        return {"license": self._ids.setdefault(entry.licences, len(self._ids) + 1)}

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The licences that the images have, in the order of their ids."""
        return [{"id": number, **self._entry(keys)} for keys, number in self._ids.items()]

    def _entry(self, keys: Sequence[str]) -> dict[str, str]:
        found = [self._licences[key] for key in keys]
        texts = {
            "name": " + ".join(dict.fromkeys(each.name for each in found)),
            "url": " ".join(dict.fromkeys(each.url for each in found if each.url)),
            "attribution": "; ".join(dict.fromkeys(each.attribution for each in found if each.attribution)),
        }
        return {name: text for name, text in texts.items() if text or name != "attribution"}


def _categories(job: Job) -> list[dict[str, Any]]:
    labelled = np.logical_or.reduce(list(job.known.values()))
    return [{"id": c + 1, "name": name, "supercategory": ""} for c, name in enumerate(job.classes) if labelled[c]]


def _image(entry: Entry, job: Job) -> dict[str, Any]:
    image = {"id": entry.number, "file_name": entry.file, "width": entry.width, "height": entry.height}
    unknown = np.flatnonzero(~entry.known) + 1  # as category ids
    if not len(unknown):
        return image
    job.notes["images with unlabelled classes, named in not_exhaustive_category_ids"] += 1
    return {**image, "not_exhaustive_category_ids": unknown.tolist()}


def _annotation(region: Region, entry: Entry, job: Job, options: Coco) -> dict[str, Any]:
    crowd = job.classes[region.c] == IGNORE
    x0, y0 = region.origin
    height, width = region.mask.shape
    as_runs = crowd or options.masks == "rle"
    return {
        "image_id": entry.number,
        "category_id": region.c + 1,
        "iscrowd": int(crowd),
        "area": int(np.count_nonzero(region.mask)),
        "bbox": [x0, y0, width, height],
        "segmentation": _rle(region, entry) if as_runs else _polygons(region),
    }


def _rle(region: Region, entry: Entry) -> dict[str, Any]:
    size = [entry.height, entry.width]
    listed = coco_counts(column_runs(region, entry.height), entry.height * entry.width)
    return {"size": size, "counts": compress(listed, *size)}


def _polygons(region: Region) -> list[list[int]]:
    return [polygon.reshape(-1).tolist() for polygon in edge_polygons(region.mask, region.origin)]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
