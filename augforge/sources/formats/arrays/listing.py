"""What the sources of arrays share: samples are images in a file, each with the number of its label."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge.errors import nearest
from augforge.sample import NO_CLASSES, Image, Sample
from augforge.sources.core import Listing, Record, Refused, Source
from augforge.sources.loading import check_size, label_vector, make_sample
from augforge.sources.scan.own_splits import own_split
from augforge.sources.scan.records import make_record
from augforge.sources.scan.scanning import Scan


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file of images.

    Attributes:
        name: that begins the names of its samples.
        place: its own.
        facts: its `array_facts`.
        labels: the number of the label of each image.
    """

    name: str
    place: str
    facts: Mapping[str, Any]
    labels: Sequence[int]


def array_facts(images: NDArray[np.uint8]) -> dict[str, Any]:
    """Facts of images (N, H, W) or (N, H, W, 3), JSON-like: width, height, bytes, and a digest of each."""
    digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    return {"width": images.shape[2], "height": images.shape[1], "bytes": images[:1].nbytes, "sha256": digests}


def list_arrays(scan: Scan, files: Sequence[ImageFile], numbered: Sequence[str]) -> Listing:
    """The listing of files of images, whose labels' numbers stand for the names in ``numbered``, in their order."""
    source = scan.source
    scan.note_labels(numbered)
    found = source.classes_of(numbered)
    labels = found if source.classes is None else source.classes
    records = (record for file in files for record in _records(scan, file, numbered, labels))
    return scan.make_listing(records, NO_CLASSES, labels)


def _records(scan: Scan, file: ImageFile, numbered: Sequence[str], labels: tuple[str, ...]) -> Iterator[Record]:
    words = re.split(r"[^0-9a-z]+", file.name.casefold())
    splits = [split for word in words if (split := own_split("test" if word == "t10k" else word))]
    split = splits[0] if splits and scan.source.own_splits else None
    facts = dict(file.facts)
    for index, (digest, number) in enumerate(zip(facts.pop("sha256"), file.labels, strict=True)):
        name, where = f"{file.name}/{index:06d}", f"{scan.root / file.place}: image '{file.name}/{index:06d}'"
        label = _label(scan, name, where, number, numbered, labels)
        if label is not None:
            data = {"index": index, "label": labels.index(label), "of": len(labels)}
            yield make_record(
                name, file.place, {**facts, "sha256": digest}, label, split=split, data=data, drawn=[label]
            )


def _label(
    scan: Scan, name: str, where: str, number: int, numbered: Sequence[str], labels: Sequence[str]
) -> str | None:
    """The label of an image; None if it is left out, or has none, which is reported."""
    if not 0 <= number < len(numbered):
        fact = f"{where}: label {number} has no name; expected 0 to {len(numbered) - 1}"
        scan.bad_sample(name, "unknown label", f"{fact}. Correct the labels, or their names.")
        return None
    label = scan.source.class_of(numbered[number])
    if label is None:
        scan.refused.append(Refused(name, "class left out", numbered[number]))
    elif label not in labels:
        hint = f"Map it: 'class_map: {{{numbered[number]}: CLASS}}', or null to leave it out."
        fact = f"{where}: label '{numbered[number]}' is not in classes.{nearest(label, labels)} {hint}"
        scan.bad_sample(name, "unknown class", fact)
        return None
    return label


def load_from_array(source: Source, record: Record, image: Image) -> Sample:
    """The sample of a record and its image."""
    check_size(source.root / record.data["image"], image, record)
    planes = np.zeros((record.height, record.width, 1), np.uint8)  # of the class table of labels, `ignore` alone
    return make_sample(record, image, planes, np.zeros(1, np.uint8), label_vector(record))
