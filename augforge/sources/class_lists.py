"""Named class lists that recipes may use instead of spelling the classes out."""

from __future__ import annotations

HAND_BONES: tuple[str, ...] = (
    *(f"finger-{i}" for i in range(1, 20)),
    "Trapezium",
    "Trapezoid",
    "Capitate",
    "Hamate",
    "Scaphoid",
    "Lunate",
    "Triquetrum",
    "Pisiform",
    "Radius",
    "Ulna",
)

VOC: tuple[str, ...] = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
    "ignore",
)
"""Pascal VOC's classes in the order of its masks' values, from 1; `ignore` is its void value, 255."""

CITYSCAPES: tuple[str, ...] = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
    "ignore",
)
"""The 19 classes of Cityscapes' benchmark in the order of their training numbers, and `ignore` for all else."""

CLASS_LISTS: dict[str, tuple[str, ...]] = {"hand-bone": HAND_BONES, "voc": VOC, "cityscapes": CITYSCAPES}
