"""Annotated data sets in the folders that people have them in, a small one for each layout."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from makearrays import put_idx, put_pickle
from makedata import block, put_image, put_json, put_palette, put_pixels, put_text
from makemedical import put_dicom, put_nifti

SIZE = (40, 32)
NAMES = [f"scan{i}" for i in range(6)]
BOXES = [(4 + i, 5, 20 + i, 18) for i in range(6)]
TWO = ("cat", "dog")


class Layout(NamedTuple):
    """How a data set is written, and what is to be found in it.

    Attributes:
        write: writes the files below a folder.
        format: that reads them.
        classes: of the class table, or the labels; None where the format names them by itself.
        samples: how many there are.
        splits: that the data prescribes.
    """

    write: Callable[[Path], None]
    format: str
    classes: tuple[str, ...] | None
    samples: int
    splits: Mapping[str, int] = {}


def image(root: Path, place: str) -> None:
    put_image(root / place, SIZE)


def corners(number: int) -> list[list[float]]:
    x0, y0, x1, y1 = BOXES[number]
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def label_of(number: int) -> str:
    return TWO[number % 2]


def mask(number: int, value: int = 255) -> np.ndarray:
    return block(*BOXES[number], value=value, size=SIZE)


def coco_json(numbers: range | list[int], folder: str = "", only_boxes: bool = False) -> dict[str, Any]:
    boxes = [[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in BOXES]
    shapes = [[] if only_boxes else [[value for point in corners(i) for value in point]] for i in range(6)]
    return {
        "images": [{"id": i, "file_name": f"{folder}{NAMES[i]}.jpg", "width": 40, "height": 32} for i in numbers],
        "annotations": [
            {"id": i, "image_id": i, "category_id": i % 2 + 1, "iscrowd": 0, "area": 100, "bbox": boxes[i]}
            | ({"segmentation": shapes[i]})
            for i in numbers
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def coco_one_file(root: Path) -> None:
    put_json(root / "instances.json", coco_json(range(6)))
    for name in NAMES:
        image(root, f"images/{name}.jpg")


def coco_large(root: Path) -> None:
    """A file whose lists begin late, as COCO's own: those of its images alone are megabytes."""
    put_json(root / "labels.json", {"info": {"description": "x" * 100_000}, **coco_json(range(6))})
    for name in NAMES:
        image(root, f"images/{name}.jpg")


def coco_2017(root: Path) -> None:
    for split, numbers in (("train2017", range(4)), ("val2017", range(4, 6))):
        put_json(root / f"annotations/instances_{split}.json", coco_json(numbers))
        put_json(root / f"annotations/captions_{split}.json", {"images": [], "annotations": []})
        for i in numbers:
            image(root, f"{split}/{NAMES[i]}.jpg")


def roboflow_coco(root: Path) -> None:
    for split, numbers in (("train", [0, 1, 2, 3]), ("valid", [4]), ("test", [5])):
        put_json(root / f"{split}/_annotations.coco.json", coco_json(numbers))
        for i in numbers:
            image(root, f"{split}/{NAMES[i]}.jpg")
    put_text(root / "README.roboflow.txt", "exported")


def coco_boxes_alone(root: Path) -> None:
    put_json(root / "annotations.json", coco_json(range(6), only_boxes=True))
    for name in NAMES:
        image(root, f"{name}.jpg")


def yolo_line(number: int) -> str:
    points = (f"{x / SIZE[0]:.4f} {y / SIZE[1]:.4f}" for x, y in corners(number))
    return f"{number % 2} {' '.join(points)}\n"


def ultralytics(root: Path) -> None:
    put_text(root / "data.yaml", "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n")
    for i, name in enumerate(NAMES):
        split = "train" if i < 4 else "val"
        image(root, f"images/{split}/{name}.jpg")
        put_text(root / f"labels/{split}/{name}.txt", yolo_line(i))


def roboflow_yolo(root: Path) -> None:
    lists = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    put_text(root / "data.yaml", f"{lists}\nnc: 2\nnames: ['cat', 'dog']\n")
    for i, name in enumerate(NAMES):
        split = ("train", "train", "train", "train", "valid", "test")[i]
        image(root, f"{split}/images/{name}.jpg")
        put_text(root / f"{split}/labels/{name}.txt", yolo_line(i))


def yolo_boxes(root: Path) -> None:
    put_text(root / "data.yaml", "names: [cat, dog]\n")
    for i, name in enumerate(NAMES):
        image(root, f"images/{name}.png")
        put_text(root / f"labels/{name}.txt", f"{i % 2} 0.5 0.5 0.4 0.4\n")


def voc(root: Path) -> None:
    for i, name in enumerate(NAMES):
        image(root, f"JPEGImages/{name}.jpg")
        put_palette(root / f"SegmentationClass/{name}.png", mask(i, 8 + i % 2), voc=True)
    put_text(root / "ImageSets/Segmentation/train.txt", "\n".join(NAMES[:4]))
    put_text(root / "ImageSets/Segmentation/val.txt", "\n".join(NAMES[4:]))


def cvat(root: Path) -> None:
    entries = []
    for i, name in enumerate(NAMES):
        image(root, f"images/{name}.png")
        points = ";".join(f"{x},{y}" for x, y in corners(i))
        shape = f'<polygon label="{label_of(i)}" occluded="0" points="{points}" z_order="0"></polygon>'
        entries.append(f'<image id="{i}" name="{name}.png" width="40" height="32">{shape}</image>')
    head = '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
    put_text(root / "annotations.xml", f"{head}{''.join(entries)}</annotations>")


def labelme_json(number: int, folder: str = "") -> dict[str, Any]:
    shape = {"label": label_of(number), "points": corners(number), "shape_type": "polygon", "flags": {}}
    sizes = {"imageHeight": 32, "imageWidth": 40}
    return {"shapes": [shape], "imagePath": f"{folder}{NAMES[number]}.jpg", "imageData": None, "flags": {}, **sizes}


def labelme_beside(root: Path) -> None:
    for i, name in enumerate(NAMES):
        image(root, f"{name}.jpg")
        put_json(root / f"{name}.json", labelme_json(i))


def labelme_in_two_folders(root: Path) -> None:
    for i, name in enumerate(NAMES):
        image(root, f"images/{name}.jpg")
        put_json(root / f"json/{name}.json", labelme_json(i, "../images/"))


def cityscapes(root: Path) -> None:
    for i, name in enumerate(NAMES):
        place = f"{'train/aachen' if i < 4 else 'val/frankfurt'}/{name}_000001_000019"
        image(root, f"leftImg8bit/{place}_leftImg8bit.png")
        put_pixels(root / f"gtFine/{place}_gtFine_labelIds.png", mask(i, 7 + i % 2))


def cityscapes_colours(root: Path) -> None:
    cityscapes(root)
    for i, name in enumerate(NAMES):
        place = f"{'train/aachen' if i < 4 else 'val/frankfurt'}/{name}_000001_000019"
        pixels = np.zeros((*SIZE[::-1], 3), np.uint8)
        pixels[mask(i) > 0] = (128, 64, 128)  # road, the same in BGR
        put_pixels(root / f"gtFine/{place}_gtFine_color.png", pixels)


def nnunet(root: Path) -> None:
    put_json(root / "dataset.json", {"labels": {"background": 0, "liver": 1}, "channel_names": {"0": "CT"}})
    volumes(root, "imagesTr/{}_0000.nii.gz", "labelsTr/{}.nii.gz")


def volumes(root: Path, images: str, labels: str | None) -> None:
    rng = np.random.default_rng(3)
    for number in range(3):
        put_nifti(root / images.format(f"case_{number}"), rng.integers(0, 500, (20, 16, 2)).astype(np.int16))
        if labels is not None:
            seen = np.zeros((20, 16, 2), np.uint8)
            seen[4:9, 3:8] = 1
            put_nifti(root / labels.format(f"case_{number}"), seen)


def nifti_folders(root: Path) -> None:
    volumes(root, "images/{}.nii.gz", "labels/{}.nii.gz")


def images_with_masks(root: Path, images: str, masks: str, values: tuple[int, int] = (255, 255)) -> None:
    for i, name in enumerate(NAMES):
        image(root, images.format(name=name))
        put_pixels(root / masks.format(name=name, label=label_of(i)), mask(i, values[i % 2]))


def mask_folders(root: Path) -> None:
    images_with_masks(root, "images/{name}.png", "masks/{label}/{name}.png")


def mask_folders_named_otherwise(root: Path) -> None:
    images_with_masks(root, "imgs/{name}.tif", "Annotations/{label}/{name}.png")


def index_masks(root: Path) -> None:
    images_with_masks(root, "images/{name}.png", "masks/{name}.png", (1, 2))


def binary_masks(root: Path) -> None:
    images_with_masks(root, "images/{name}.jpg", "masks/{name}_mask.png")


def masks_beside(root: Path) -> None:
    images_with_masks(root, "{name}.png", "{name}_mask.png", (1, 1))


def colour_masks(root: Path) -> None:
    for i, name in enumerate(NAMES):
        image(root, f"images/{name}.png")
        pixels = np.zeros((*SIZE[::-1], 3), np.uint8)
        pixels[mask(i) > 0] = ((10, 20, 250), (250, 20, 10))[i % 2]
        put_pixels(root / f"labels/{name}.png", pixels)


def sixteen_bit_tiffs(root: Path) -> None:
    rng = np.random.default_rng(4)
    for i, name in enumerate(NAMES):
        put_pixels(root / f"images/{name}.tif", rng.integers(0, 60000, SIZE[::-1]).astype(np.uint16))
        put_pixels(root / f"masks/{name}.tif", mask(i, 1))


def class_folders(root: Path) -> None:
    for i, name in enumerate(NAMES):
        image(root, f"{label_of(i)}/{name}.jpg")


def class_folders_in_splits(root: Path) -> None:
    for i, name in enumerate(NAMES):
        image(root, f"{'train' if i < 4 else 'val'}/{label_of(i)}/{name}.jpg")


def csv_of_runs(root: Path) -> None:
    rows = [f"{name}.png,{label_of(i)},{1 + i} 3 {50 + i} 4" for i, name in enumerate(NAMES)]
    put_text(root / "train.csv", "\n".join(["image,structure,encoding", *rows]))
    for name in NAMES:
        image(root, f"train/{name}.png")


def csv_of_labels(root: Path) -> None:
    put_text(root / "labels.csv", "\n".join(["id,breed", *(f"{name},{label_of(i)}" for i, name in enumerate(NAMES))]))
    for name in NAMES:
        image(root, f"images/{name}.jpg")


def mnist(root: Path) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (6, 28, 28), np.uint8)
    for stem in ("train", "t10k"):
        put_idx(root / f"{stem}-images-idx3-ubyte.gz", pixels)
        put_idx(root / f"{stem}-labels-idx1-ubyte.gz", np.array([0, 1, 2, 0, 1, 2], np.uint8))


def cifar(root: Path) -> None:
    pixels = np.random.default_rng(6).integers(0, 256, (6, 3072), np.uint8)
    for name in ("data_batch_1", "test_batch"):
        put_pickle(root / name, {b"data": pixels, b"labels": [0, 1, 0, 1, 0, 1]})
    put_pickle(root / "batches.meta", {b"label_names": [b"cat", b"dog"]})


def dicom(root: Path) -> None:
    for i, name in enumerate(NAMES):
        pixels = np.random.default_rng(i).integers(0, 4000, SIZE[::-1], np.uint16)
        put_dicom(root / f"images/P{i}/{name}.dcm", pixels)
        put_pixels(root / f"masks/{label_of(i)}/P{i}/{name}.png", mask(i))


def dicom_in_patients(root: Path) -> None:
    for i in range(4):
        put_dicom(root / f"P{i}/IM0001", np.random.default_rng(i).integers(0, 4000, SIZE[::-1], np.uint16))


def hands(root: Path) -> None:
    for i, name in enumerate(NAMES):
        place = f"ID{i:03d}/image16610000000{i:02d}"
        image(root, f"train/DCM/{place}.png")
        shapes = [{"label": label_of(i), "points": corners(i)}]
        put_json(
            root / f"train/outputs_json/{place}.json",
            {"annotations": shapes, "metadata": {"width": 40, "height": 32}, "name": name},
        )


def in_a_folder_of_an_archive(root: Path) -> None:
    coco_one_file(root / "export-2024/v3")


LAYOUTS: dict[str, Layout] = {
    "coco-one-file": Layout(coco_one_file, "coco", TWO, 6),
    "coco-large": Layout(coco_large, "coco", TWO, 6),
    "coco-2017": Layout(coco_2017, "coco", TWO, 6, {"train": 4, "val": 2}),
    "roboflow-coco": Layout(roboflow_coco, "coco", TWO, 6, {"train": 4, "val": 1, "test": 1}),
    "coco-boxes-alone": Layout(coco_boxes_alone, "coco", TWO, 6),
    "ultralytics-yolo": Layout(ultralytics, "yolo", TWO, 6, {"train": 4, "val": 2}),
    "roboflow-yolo": Layout(roboflow_yolo, "yolo", TWO, 6, {"train": 4, "val": 1, "test": 1}),
    "yolo-boxes": Layout(yolo_boxes, "yolo", TWO, 6),
    "voc": Layout(voc, "index-mask", None, 6, {"train": 4, "val": 2}),
    "cvat": Layout(cvat, "cvat", TWO, 6),
    "labelme-beside": Layout(labelme_beside, "labelme", TWO, 6),
    "labelme-in-two-folders": Layout(labelme_in_two_folders, "labelme", TWO, 6),
    "cityscapes-ids": Layout(cityscapes, "index-mask", ("class-7", "class-8"), 6, {"train": 4, "val": 2}),
    "cityscapes-colours": Layout(cityscapes_colours, "index-mask", None, 6, {"train": 4, "val": 2}),
    "nnunet": Layout(nnunet, "volume", ("liver",), 6),
    "nifti": Layout(nifti_folders, "volume", ("class-1",), 6),
    "mask-folders": Layout(mask_folders, "mask-folder", TWO, 6),
    "mask-folders-named-otherwise": Layout(mask_folders_named_otherwise, "mask-folder", TWO, 6),
    "index-masks": Layout(index_masks, "index-mask", ("class-1", "class-2"), 6),
    "binary-masks": Layout(binary_masks, "index-mask", ("object",), 6),
    "masks-beside": Layout(masks_beside, "index-mask", ("class-1",), 6),
    "colour-masks": Layout(colour_masks, "index-mask", ("class-1", "class-2"), 6),
    "sixteen-bit-tiffs": Layout(sixteen_bit_tiffs, "index-mask", ("class-1",), 6),
    "class-folders": Layout(class_folders, "image-folder", TWO, 6),
    "class-folders-in-splits": Layout(class_folders_in_splits, "image-folder", TWO, 6, {"train": 4, "val": 2}),
    "csv-of-runs": Layout(csv_of_runs, "csv", TWO, 6),
    "csv-of-labels": Layout(csv_of_labels, "csv", TWO, 6),
    "mnist": Layout(mnist, "mnist-idx", ("0", "1", "2"), 12, {"train": 6, "test": 6}),
    "cifar": Layout(cifar, "cifar", TWO, 12, {"train": 6, "test": 6}),
    "dicom": Layout(dicom, "dicom", TWO, 6),
    "dicom-in-patients": Layout(dicom_in_patients, "dicom", (), 4),
    "hand-bone": Layout(hands, "hand-bone", TWO, 6),
    "in-an-archive": Layout(in_a_folder_of_an_archive, "coco", TWO, 6),
}
"""Layouts by a name for each."""


def write_layout(name: str, root: Path) -> Layout:
    LAYOUTS[name].write(root)
    return LAYOUTS[name]


def two_sets(root: Path) -> None:
    """A COCO file and LabelMe files of the same images, each with its own folder."""
    coco_one_file(root / "coco")
    labelme_beside(root / "labelme")


def unreadable_json(root: Path) -> None:
    """Annotations of a tool that no format reads."""
    put_text(root / "export.json", json.dumps([{"id": 1, "data": {"image": "a.png"}}]))
    image(root, "a.png")
