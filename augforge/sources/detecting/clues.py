"""What speaks for each format in a folder, and the options with which it may read the folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from augforge.sources.detecting.clue import Clue
from augforge.sources.detecting.glance import Glance
from augforge.sources.detecting.pairs import MASK_FOLDERS, index_mask_clues, mask_folder_clues
from augforge.sources.detecting.tabular import csv_clues
from augforge.sources.scan.own_splits import is_split_name


def find_clues(glance: Glance) -> list[Clue]:
    """What speaks for which format, the clearest formats first; several clues of one format differ in options."""
    return [clue for clues in FORMATS.values() for clue in clues(glance)]


def _dataset(glance: Glance) -> Iterator[Clue]:
    if glance.has(r"manifest\.yaml$") and glance.has(r"index/"):
        yield Clue("dataset", "manifest.yaml and index/ are those of a dataset that augforge built")


def _hand_bone(glance: Glance) -> Iterator[Clue]:
    if glance.has(r"train/DCM/") and glance.has(r"train/outputs_json/"):
        why = "train/DCM/ and train/outputs_json/ are its folders"
        yield Clue("hand-bone", why)
        files = [place for place in glance.places if place.startswith("train/outputs_json/")]
        labels = {label for place in files for label in re.findall(r'"label": ?"([^"\\]+)"', glance.head(place))}
        if labels:
            yield Clue("hand-bone", f"{why}, with labels of its own", {"classes": sorted(labels)})


def _coco(glance: Glance) -> Iterator[Clue]:
    place = (
        glance.beginning(".json", '"images"', '"categories"')
        or glance.beginning(".json", '"images"', '"annotations"')
        or glance.beginning(".json", '"categories"')
        or glance.holding(".json", '"images"', '"annotations"', '"categories"')
    )
    if place is not None and '"shapes"' not in glance.head(place):
        yield Clue("coco", f"{place} has COCO's lists of images, annotations and categories", files=(place,))


def _labelme(glance: Glance) -> Iterator[Clue]:
    place = glance.beginning(".json", '"shapes"', '"imagePath"')
    if place is not None:
        yield Clue("labelme", f"{place} has LabelMe's shapes and imagePath", files=(place,))


def _cvat(glance: Glance) -> Iterator[Clue]:
    if (place := glance.beginning(".xml", "<annotations")) is not None:
        yield Clue("cvat", f"{place} has CVAT's <annotations>", files=(place,))


def _datumaro(glance: Glance) -> Iterator[Clue]:
    place = glance.beginning(".xml", "<annotation") or glance.beginning(".json", '"items"', '"infos"')
    if place is not None and "<annotations" not in glance.head(place):
        yield Clue("datumaro", f"{place} is an annotation that Datumaro may read", files=(place,))


def _yolo(glance: Glance) -> Iterator[Clue]:
    if glance.beginning("data.yaml", "names") is not None:
        yield Clue("yolo", "data.yaml gives the names of YOLO's classes")
    elif found := glance.matches(r"(.*/)?labels/.*\.txt$"):
        yield Clue("yolo", f"{found[0].group()} is a label file where YOLO has them")


_NIFTI = r"\.(nii|nii\.gz|mha|mhd)$"
_VOLUMES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        rf"imagesTr/.*_0000{_NIFTI}",
        "imagesTr/ with _0000 in its names is nnU-Net's",
        {"images": "imagesTr", "labels": "labelsTr", "image_name": "(.*)_0000"},
    ),
    (
        rf"imagesTr/.*{_NIFTI}",
        "imagesTr/ and labelsTr/ are those of the Decathlon",
        {"images": "imagesTr", "labels": "labelsTr"},
    ),
    (rf"labels/.*{_NIFTI}", "images/ and labels/ hold volumes of the same names", {}),
    (
        rf"(.*/)?segmentation-[^/]*{_NIFTI}",
        "volume-N and segmentation-N are the names of LiTS",
        {"images": ".", "labels": ".", "image_name": ".*volume-(.*)", "label_name": ".*segmentation-(.*)"},
    ),
    (
        rf".*/imaging{_NIFTI}",
        "imaging and segmentation in each case's folder are the names of KiTS",
        {"images": ".", "labels": ".", "image_name": "(.*)/imaging", "label_name": "(.*)/segmentation"},
    ),
    (
        rf".*_flair{_NIFTI}",
        "_flair and _seg are the names of BraTS",
        {"images": ".", "labels": ".", "image_name": "(.*)_flair", "label_name": "(.*)_seg"},
    ),
    (
        rf".*/segmentations/[^/]*{_NIFTI}",
        "ct beside segmentations/ are the names of TotalSegmentator",
        {
            "images": ".",
            "labels": ".",
            "labels_by": "folder",
            "image_name": "(.*)/ct",
            "label_name": "(.*)/segmentations/(.*)",
        },
    ),
    (rf"masks/.*{_NIFTI}", "images/ and masks/ hold volumes of the same names", {"labels": "masks"}),
    (rf"images/.*{_NIFTI}", "images/ holds volumes, without labels", {"labels": None}),
    (rf".*{_NIFTI}", "volumes lie here, without labels that are found", {"images": ".", "labels": None}),
)
"""Layouts of volumes: a file that shows them, the sentence that says so, and the options that read them."""


def _volume(glance: Glance) -> Iterator[Clue]:
    for pattern, why, options in _VOLUMES:
        if found := glance.matches(pattern):
            yield Clue("volume", f"{found[0].group()}: {why}", options)


def _dicom(glance: Glance) -> Iterator[Clue]:
    files = [found.group() for found in glance.matches(r".*\.dcm$")] or [
        place for place in glance.places if "." not in place.rpartition("/")[2] and "DICM" in glance.head(place)[:140]
    ][:1]
    if files:
        inside = all(place.startswith("images/") for place in files)
        options = ({} if inside else {"images": "."}) | ({} if glance.has(r"masks/") else {"masks": None})
        yield Clue("dicom", f"{files[0]} is a DICOM file", options)


def _mnist(glance: Glance) -> Iterator[Clue]:
    if found := glance.matches(r"(.*/)?[^/]*images[-_.]idx3-ubyte"):
        yield Clue("mnist-idx", f"{found[0].group()} is named as MNIST's files of images")


def _cifar(glance: Glance) -> Iterator[Clue]:
    names = {place.rpartition("/")[2] for place in glance.places}
    if {"data_batch_1", "batches.meta"} <= names or {"train", "test", "meta"} <= names:
        yield Clue("cifar", "the files have the names of CIFAR's batches for Python")


def _image_folder(glance: Glance) -> Iterator[Clue]:
    inside = [place for place in glance.pictures if "/" in place]
    classes = sorted({_class_folder(place) for place in inside})
    parts = {part.lower() for folder in glance.folders for part in folder.split("/")}
    annotated = glance.has(r".*\.(json|xml|txt|csv)$") or parts & {*MASK_FOLDERS, "images"}
    if len(classes) > 1 and not annotated and (len(inside) >= 2 * len(classes) or len(classes) < _FEW):
        yield Clue("image-folder", f"images lie in folders, such as {classes[0]}/, and nothing says more of them")


_FEW = 5
"""From so many folders on, most of which hold one image, they are rather samples or patients than classes."""


def _class_folder(place: str) -> str:
    """The first folder of a place below one that names a split."""
    first, *rest = place.split("/")
    return rest[0] if len(rest) > 1 and is_split_name(first) else first


FORMATS: dict[str, Callable[[Glance], Iterator[Clue]]] = {
    "dataset": _dataset,
    "hand-bone": _hand_bone,
    "coco": _coco,
    "labelme": _labelme,
    "cvat": _cvat,
    "datumaro": _datumaro,
    "yolo": _yolo,
    "volume": _volume,
    "dicom": _dicom,
    "mnist-idx": _mnist,
    "cifar": _cifar,
    "index-mask": index_mask_clues,
    "mask-folder": mask_folder_clues,
    "csv": csv_clues,
    "image-folder": _image_folder,
}
"""The clues for each format, those first whose marks are clearest."""
