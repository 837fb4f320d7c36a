"""An example of each format for `sourcecontract`: how a small data set is written in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from makearrays import put_idx, put_pickle
from makedata import SIZE, block, put_image, put_json, put_palette, put_pixels, put_text
from makemedical import put_dicom, put_nifti
from sourcecontract import REPEATED, Box, Samples, SourceExample

from augforge.engine.builder import build
from augforge.keys import hash64
from augforge.sources import Source
from augforge.sources.formats.arrays.pickled import read_pickle

ONE_FILE = "images and labels lie in one file"
ONE_LABEL = "the folder is the label: an image of another folder is another sample"
NO_ANNOTATION = "there are no annotations beside the images"
NO_KNOWN = "a label vector has no `known`"
NO_PATHS = "no file of the data names another by a path"
NUMBERED = "samples are named by their numbers in the file"
IN_RECIPE = "the labels stand in the recipe"


def ring(box: Box) -> list[list[float]]:
    """The corners of a box as a polygon through the centres of its border pixels."""
    x0, y0, x1, y1 = box
    return [[float(x), float(y)] for x, y in ((x0, y0), (x1 - 1, y0), (x1 - 1, y1 - 1), (x0, y1 - 1))]


def flat(box: Box) -> list[float]:
    return [value for point in ring(box) for value in point]


def labels_of(samples: Samples) -> list[str]:
    """All labels, sorted, so that the order of samples decides nothing."""
    return sorted({label for boxes in samples.values() for label in boxes or ()} | {"heart", "lung"})


def parts_of(samples: Samples) -> dict[str, dict[str, Mapping[str, Box] | None]]:
    """The samples of each split by their names in it; the split is empty where names begin with none."""
    parts: dict[str, dict[str, Mapping[str, Box] | None]] = {}
    for name, boxes in samples.items():
        split, inner = part_of(name)
        parts.setdefault(split, {})[inner] = boxes
    return parts


def part_of(name: str) -> tuple[str, str]:
    """Split, or nothing, and the rest of a name."""
    first, _, rest = name.partition("/")
    return (first, rest) if first in ("train", "val", "test") else ("", name)


class MaskFolder(SourceExample):
    format = "mask-folder"
    exempt: ClassVar[Mapping[str, str]] = {"a_path_out_of_the_root_is_reported": NO_PATHS}

    def write(self, root: Path, samples: Samples) -> None:
        for name, boxes in samples.items():
            self.put_image(self.image(root, name), name)
            for label, box in (boxes or {}).items():
                put_pixels(root / f"masks/{label}/{name}.png", block(*box))

    def put_image(self, path: Path, name: str) -> None:
        put_image(path)

    def image(self, root: Path, name: str) -> Path:
        return root / f"images/{name}.png"

    def annotation(self, root: Path, name: str) -> Path:
        return root / f"masks/heart/{name}.png"


class Dicom(MaskFolder):
    format = "dicom"
    reads_any_name = True

    def put_image(self, path: Path, name: str) -> None:
        pixels = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE[::-1])
        put_dicom(path, pixels + np.uint16(hash64(name) % 1000))

    def image(self, root: Path, name: str) -> Path:
        return root / f"images/{name}.dcm"


class IndexMask(SourceExample):
    format = "index-mask"
    options: ClassVar[Mapping[str, Any]] = {"values": {1: "heart", 2: "lung"}}
    exempt: ClassVar[Mapping[str, str]] = {
        "a_path_out_of_the_root_is_reported": NO_PATHS,
        "classes_that_look_alike_are_one": IN_RECIPE,
        "a_class_may_be_written_otherwise_in_the_recipe": IN_RECIPE,
    }

    def write(self, root: Path, samples: Samples) -> None:
        for name, boxes in samples.items():
            put_image(self.image(root, name))
            if boxes is not None:
                put_palette(self.annotation(root, name), self.values(boxes))

    def values(self, boxes: Mapping[str, Box]) -> np.ndarray:
        values = np.zeros(SIZE[::-1], np.uint8)
        for label, box in boxes.items():
            values |= block(*box, value={"heart": 1, "lung": 2}[label])
        return values

    def image(self, root: Path, name: str) -> Path:
        return root / f"images/{name}.png"

    def annotation(self, root: Path, name: str) -> Path:
        return root / f"masks/{name}.png"


class Volume(IndexMask):
    """Volumes of one slice."""

    format = "volume"
    reads_any_name = True
    capitals = (str.upper,)  # nibabel does not find a.Nii
    unlabelled: ClassVar[Mapping[str, Any]] = {"missing_labels": "unlabelled"}

    def write(self, root: Path, samples: Samples) -> None:
        for name, boxes in samples.items():
            pixels = np.arange(SIZE[0] * SIZE[1], dtype=np.int16).reshape(SIZE) + hash64(name) % 1000
            put_nifti(self.image(root, name), pixels[..., None].astype(np.int16))
            if boxes is not None:
                put_nifti(self.annotation(root, name), self.values(boxes).T[..., None])

    def image(self, root: Path, name: str) -> Path:
        return root / f"images/{name}.nii"

    def annotation(self, root: Path, name: str) -> Path:
        return root / f"labels/{name}.nii"

    def record_name(self, name: str, boxes: Mapping[str, Box] | None) -> str:
        return f"{name}/0000"


class ImageFolder(SourceExample):
    format = "image-folder"
    one_label, takes_labels, patient = True, True, 2
    exempt: ClassVar[Mapping[str, str]] = {
        "class_map_drops": "an image whose label is left out is refused: it has no other",
        "a_class_that_nobody_drew_is_not_known": NO_KNOWN,
        "labelled_samples_know_all_classes": NO_KNOWN,
        "unlabelled_samples_know_nothing": NO_KNOWN,
        "a_broken_annotation_is_reported_or_rejected": NO_ANNOTATION,
        "a_mismatched_label_leaves_no_image_empty": NO_ANNOTATION,
        "an_annotation_may_write_its_name_otherwise": NO_ANNOTATION,
        "a_linked_annotation_out_of_the_root_is_reported_or_rejected": NO_ANNOTATION,
        "one_edit_changes_one_id": ONE_LABEL,
        "a_path_out_of_the_root_is_reported": NO_PATHS,
    }

    def write(self, root: Path, samples: Samples) -> None:
        for name, boxes in samples.items():
            put_image(root / f"{self.record_name(name, boxes)}.png")

    def image(self, root: Path, name: str) -> Path:
        return root / f"heart/{name}.png"

    def record_name(self, name: str, boxes: Mapping[str, Box] | None) -> str:
        split, inner = part_of(name)
        return f"{split}/{next(iter(boxes or ()))}/{inner}".lstrip("/")


class Coco(SourceExample):
    format = "coco"
    shared_annotation, outlines = True, True

    def write(self, root: Path, samples: Samples) -> None:
        labels = labels_of(samples)
        for split, part in parts_of(samples).items():
            images: list[dict[str, Any]] = []
            annotations: list[dict[str, Any]] = []
            for number, (name, boxes) in enumerate(part.items(), start=1):
                put_image(root / "images" / split / f"{name}.png")
                images.append({"id": number, "file_name": f"{name}.png", "width": SIZE[0], "height": SIZE[1]})
                for label, box in (boxes or {}).items():
                    shape = {"segmentation": [flat(box)], "category_id": labels.index(label)}
                    annotations.append({"id": len(annotations), "image_id": number, **shape})
            document = {
                "images": images,
                "annotations": annotations,
                "categories": [{"id": c, "name": name} for c, name in enumerate(labels)],
            }
            put_json(root / f"annotations/instances{split and '_'}{split}.json", document)

    def image(self, root: Path, name: str) -> Path:
        return root / f"images/{name}.png"

    def annotation(self, root: Path, name: str) -> Path:
        return root / "annotations/instances.json"

    def spoil(self, root: Path, name: str) -> None:
        self.put_segmentation(root, name, [[1, 2, 3]])

    def put_ring(self, root: Path, name: str, ring: Sequence[Sequence[float]]) -> None:
        self.put_segmentation(root, name, [[value for point in ring for value in point]])

    def put_segmentation(self, root: Path, name: str, segmentation: Sequence[Sequence[float]]) -> None:
        document = json.loads(self.annotation(root, name).read_text())
        number = next(image["id"] for image in document["images"] if image["file_name"] == f"{name}.png")
        for annotation in document["annotations"]:
            if annotation["image_id"] == number:
                annotation["segmentation"] = segmentation
        put_json(self.annotation(root, name), document)

    def mismatch(self, root: Path, name: str) -> None:
        document = json.loads(self.annotation(root, name).read_text())
        number = next(image["id"] for image in document["images"] if image["file_name"] == f"{name}.png")
        for annotation in document["annotations"]:
            if annotation["image_id"] == number:
                annotation["image_id"] = f"{number} of another file"
        put_json(self.annotation(root, name), document)

    def point_outside(self, root: Path, name: str, path: str) -> None:
        document = json.loads(self.annotation(root, name).read_text())
        image = next(image for image in document["images"] if image["file_name"] == f"{name}.png")
        image["file_name"] = path if path.startswith("/") else f"../{path}"
        put_json(self.annotation(root, name), document)


class Csv(SourceExample):
    format = "csv"
    options: ClassVar[Mapping[str, Any]] = {"folder": "images", "suffix": ".png"}
    shared_annotation = True
    exempt: ClassVar[Mapping[str, str]] = {
        "unlabelled_samples_know_nothing": "an image that the table does not name is no sample",
        "a_linked_annotation_out_of_the_root_is_reported_or_rejected": "the recipe names the table, wherever it lies",
    }

    def write(self, root: Path, samples: Samples) -> None:
        rows = ["image_name,class,rle"]
        for name, boxes in samples.items():
            put_image(self.image(root, name))
            for label, box in (boxes or {}).items():
                rows.append(f"{name},{label},{self.runs(box)}")
        put_text(root / "train.csv", "\n".join(rows))

    def runs(self, box: Box) -> str:
        x0, y0, x1, y1 = box
        return " ".join(f"{y * SIZE[0] + x0 + 1} {x1 - x0}" for y in range(y0, y1))

    def image(self, root: Path, name: str) -> Path:
        return root / f"images/{name}.png"

    def annotation(self, root: Path, name: str) -> Path:
        return root / "train.csv"

    def spoil(self, root: Path, name: str) -> None:
        rows = self.annotation(root, name).read_text().splitlines()
        put_text(root / "train.csv", "\n".join(f"{name},heart,x" if row.startswith(name) else row for row in rows))

    def mismatch(self, root: Path, name: str) -> None:
        text = self.annotation(root, name).read_text().replace(f"{name},", f"{name.replace('a', 'A')},")
        put_text(root / "train.csv", f"{text.rstrip()}\n{name},lung,\n")

    def point_outside(self, root: Path, name: str, path: str) -> None:
        text = self.annotation(root, name).read_text()
        place = path if path.startswith("/") else f"../{path}"
        put_text(root / "train.csv", text.replace(f"{name},", f"{place.removesuffix('.png')},"))


class Yolo(SourceExample):
    format = "yolo"
    outlines = True
    exempt: ClassVar[Mapping[str, str]] = {"shares_of_the_size_are_no_pixels": "it counts in shares"}

    def write(self, root: Path, samples: Samples) -> None:
        labels = labels_of(samples)
        put_text(root / "data.yaml", f"names: {json.dumps(labels)}\n")
        for name, boxes in samples.items():
            put_image(self.image(root, name))
            lines = [f"{labels.index(label)} {self.shares(box)}\n" for label, box in (boxes or {}).items()]
            if boxes is not None:
                put_text(self.annotation(root, name), "".join(lines))

    def put_ring(self, root: Path, name: str, ring: Sequence[Sequence[float]]) -> None:
        put_text(self.annotation(root, name), "0 " + " ".join(f"{x / SIZE[0]} {y / SIZE[1]}" for x, y in ring) + "\n")

    def shares(self, box: Box) -> str:
        return " ".join(f"{x / SIZE[0]} {y / SIZE[1]}" for x, y in ring(box))

    def image(self, root: Path, name: str) -> Path:
        return root / f"images/{name}.png"

    def annotation(self, root: Path, name: str) -> Path:
        return root / f"labels/{name}.txt"

    def point_outside(self, root: Path, name: str, path: str) -> None:
        put_text(root / "data.yaml", "names: [heart, lung]\ntrain: list.txt\n")
        put_text(root / "list.txt", f"images/p1/b.png\n{path}\n")


class Labelme(SourceExample):
    format = "labelme"
    outlines = True
    exempt: ClassVar[Mapping[str, str]] = {"unlabelled_samples_know_nothing": "an image without a file is refused"}

    def write(self, root: Path, samples: Samples) -> None:
        for name, boxes in samples.items():
            put_image(self.image(root, name))
            shapes = [{"label": label, "points": ring(box)} for label, box in (boxes or {}).items()]
            document = {"imagePath": f"{Path(name).name}.png", "imageData": None, "shapes": shapes}
            put_json(self.annotation(root, name), document)

    def image(self, root: Path, name: str) -> Path:
        return root / f"{name}.png"

    def annotation(self, root: Path, name: str) -> Path:
        return root / f"{name}.json"

    def put_ring(self, root: Path, name: str, ring: Sequence[Sequence[float]]) -> None:
        document = json.loads(self.annotation(root, name).read_text())
        document["shapes"][0]["points"] = ring
        put_json(self.annotation(root, name), document)

    def point_outside(self, root: Path, name: str, path: str) -> None:
        document = json.loads(self.annotation(root, name).read_text())
        put_json(self.annotation(root, name), {**document, "imagePath": path if path[0] == "/" else f"../{path}"})


class MnistIdx(SourceExample):
    """Names of samples are numbers of images, in the order in which they were written."""

    format = "mnist-idx"
    options: ClassVar[Mapping[str, Any]] = {"names": ["heart", "lung"]}
    one_label, takes_labels, shared_annotation, shared_image = True, True, True, True
    splits = ("train", "test")
    stems: ClassVar[Mapping[str, str]] = {"": "train", "train": "train", "test": "t10k"}
    shape: ClassVar[tuple[int, ...]] = SIZE[::-1]
    exempt: ClassVar[Mapping[str, str]] = {
        "class_map_drops": "an image whose label is left out is refused: it has no other",
        "a_class_that_nobody_drew_is_not_known": NO_KNOWN,
        "labelled_samples_know_all_classes": NO_KNOWN,
        "unlabelled_samples_know_nothing": NO_KNOWN,
        "group_by_folder": NUMBERED,
        "group_by_regex": NUMBERED,
        "the_order_of_files_decides_nothing": NUMBERED,
        "a_further_sample_changes_no_other": NUMBERED,
        "names_may_be_composed_or_decomposed": NUMBERED,
        "names_that_look_alike_are_reported": NUMBERED,
        "an_annotation_may_write_its_name_otherwise": NUMBERED,
        "a_mismatched_label_leaves_no_image_empty": NUMBERED,
        "one_edit_changes_one_id": "the label is a number: an edit of a box changes nothing",
        "classes_that_look_alike_are_one": IN_RECIPE,
        "a_class_may_be_written_otherwise_in_the_recipe": IN_RECIPE,
        "a_path_out_of_the_root_is_reported": NO_PATHS,
    }

    def write(self, root: Path, samples: Samples) -> None:
        self.numbers: dict[str, str] = {}
        for split, part in parts_of(samples).items():
            stem = self.stems[split]
            pixels = [np.random.default_rng(hash64(name)).integers(0, 256, self.shape, np.uint8) for name in part]
            labels = [labels_of(samples).index(next(iter(boxes or ()))) for boxes in part.values()]
            self.put(root, stem, np.array(pixels), labels)
            names = (f"{split}/{name}".lstrip("/") for name in part)
            self.numbers |= {name: f"{stem}/{number:06d}" for number, name in enumerate(names)}

    def put(self, root: Path, stem: str, images: np.ndarray, labels: list[int]) -> None:
        put_idx(root / f"{stem}-images-idx3-ubyte", images)
        put_idx(root / f"{stem}-labels-idx1-ubyte", np.array(labels, np.uint8))

    def image(self, root: Path, name: str) -> Path:
        return root / "train-images-idx3-ubyte"

    def annotation(self, root: Path, name: str) -> Path:
        return root / "train-labels-idx1-ubyte"

    def spoil(self, root: Path, name: str) -> None:
        path = self.annotation(root, name)
        data = bytearray(path.read_bytes())
        data[8 + int(self.numbers[name][-6:])] = 99
        path.write_bytes(data)

    def record_name(self, name: str, boxes: Mapping[str, Box] | None) -> str:
        return self.numbers[name]


class Cifar(MnistIdx):
    format = "cifar"
    options: ClassVar[Mapping[str, Any]] = {}
    stems: ClassVar[Mapping[str, str]] = {"": "data_batch_1", "train": "data_batch_1", "test": "test_batch"}
    shape: ClassVar[tuple[int, ...]] = (3072,)
    exempt: ClassVar[Mapping[str, str]] = {
        **MnistIdx.exempt,
        "a_linked_annotation_out_of_the_root_is_reported_or_rejected": ONE_FILE,
        "a_broken_file_of_all_annotations_is_reported": ONE_FILE,
    }

    def put(self, root: Path, stem: str, images: np.ndarray, labels: list[int]) -> None:
        put_pickle(root / stem, {b"data": images, b"labels": labels})
        put_pickle(root / "batches.meta", {b"label_names": [b"heart", b"lung"]})

    def image(self, root: Path, name: str) -> Path:
        return root / "data_batch_1"

    def annotation(self, root: Path, name: str) -> Path:
        return root / "data_batch_1"

    def spoil(self, root: Path, name: str) -> None:
        batch = read_pickle(self.annotation(root, name))
        batch["labels"][int(self.numbers[name][-6:])] = 99
        put_pickle(self.annotation(root, name), batch)


class Cvat(SourceExample):
    """A task, or a project whose subsets are the splits."""

    format = "cvat"
    shared_annotation, outlines = True, True
    unlabelled: ClassVar[Mapping[str, Any]] = {"missing_annotation": "unlabelled"}

    def write(self, root: Path, samples: Samples) -> None:
        labels = "".join(f"<label><name>{label}</name></label>" for label in labels_of(samples))
        images = "".join(self.put(root, name, boxes or {}) for name, boxes in samples.items())
        meta = f"<meta><task><labels>{labels}</labels></task></meta>"
        put_text(root / "annotations.xml", f"<annotations><version>1.1</version>{meta}{images}</annotations>")

    def put(self, root: Path, name: str, boxes: Mapping[str, Box]) -> str:
        split, inner = part_of(name)
        put_image(root / f"images/{split and split + '/'}{inner}.png")
        shapes = "".join(
            f'<polygon label="{label}" points="{";".join(f"{x},{y}" for x, y in ring(box))}"/>'
            for label, box in boxes.items()
        )
        subset = f' subset="{split}"' if split else ""
        return f'<image name="{inner}.png" width="{SIZE[0]}" height="{SIZE[1]}"{subset}>{shapes}</image>'

    def image(self, root: Path, name: str) -> Path:
        return root / f"images/{name}.png"

    def annotation(self, root: Path, name: str) -> Path:
        return root / "annotations.xml"

    def spoil(self, root: Path, name: str) -> None:
        self.put_ring(root, name, [[1, 2], [3, 4]])

    def put_ring(self, root: Path, name: str, ring: Sequence[Sequence[float]]) -> None:
        points = ";".join(f"{x},{y}" for x, y in ring)
        self._edit(root, f'(<image name="{name}.png"[^>]*><polygon[^>]* points=")[^"]*', rf"\g<1>{points}")

    def mismatch(self, root: Path, name: str) -> None:
        self._edit(root, f'name="{name}.png"', f'name="{name.replace("a", "A")}.png"')

    def point_outside(self, root: Path, name: str, path: str) -> None:
        self._edit(root, f'(<image name="){name}.png', rf"\g<1>{path if path[0] == '/' else f'../{path}'}")

    def _edit(self, root: Path, pattern: str, text: str) -> None:
        path = self.annotation(root, "")
        path.write_text(re.sub(pattern, text, path.read_text(encoding="utf-8")), encoding="utf-8")

    def record_name(self, name: str, boxes: Mapping[str, Box] | None) -> str:
        return part_of(name)[1]


class HandBone(SourceExample):
    format = "hand-bone"
    outlines = True
    splits = ("train", "test")
    exempt: ClassVar[Mapping[str, str]] = {
        "a_path_out_of_the_root_is_reported": NO_PATHS,
        "a_label_without_class_is_an_error": "it is an error of the annotation, which the tests of the format show",
        "classes_that_look_alike_are_one": IN_RECIPE,
        "a_class_may_be_written_otherwise_in_the_recipe": IN_RECIPE,
    }

    def write(self, root: Path, samples: Samples) -> None:
        for folder in ("DCM", "outputs_json"):
            (root / "train" / folder).mkdir(parents=True)
        for name, boxes in samples.items():
            put_image(self.image(root, name))
            if boxes is not None:
                shapes = [{"label": label, "points": ring(box)} for label, box in boxes.items()]
                put_json(self.annotation(root, name), {"annotations": shapes})

    def put_ring(self, root: Path, name: str, ring: Sequence[Sequence[float]]) -> None:
        document = json.loads(self.annotation(root, name).read_text())
        document["annotations"][0]["points"] = ring
        put_json(self.annotation(root, name), document)

    def image(self, root: Path, name: str) -> Path:
        split, inner = part_of(name)
        return root / (split or "train") / f"DCM/{inner}.png"

    def annotation(self, root: Path, name: str) -> Path:
        split, inner = part_of(name)
        return root / (split or "train") / f"outputs_json/{inner}.json"

    def record_name(self, name: str, boxes: Mapping[str, Box] | None) -> str:
        return part_of(name)[1]

    def source(self, root: Path, **options: Any) -> Source:
        """The recipe lists the classes of this format."""
        paths = [*root.glob("*/outputs_json/**/*.json")]
        return super().source(root, **{"classes": self._classes(paths, options.get("class_map", {})), **options})

    def _classes(self, paths: list[Path], class_map: Mapping[str, str | None]) -> list[str]:
        text = "".join(path.read_text(errors="ignore") for path in paths)
        labels = [
            label for label in ("heart", "lung", *LOOK_ALIKE) if json.dumps(label) in text or label in ("heart", "lung")
        ]
        found = [class_map.get(label, class_map.get("*", label)) for label in labels]
        return [*dict.fromkeys(name for name in found if name is not None)]


LOOK_ALIKE = ("caf\u00e9", "cafe\u0301")


class Union(SourceExample):
    """The patient p1 in one source, all others in another, both mask-folders."""

    format = "union"
    patient = 2
    exempt: ClassVar[Mapping[str, str]] = {
        "a_path_out_of_the_root_is_reported": NO_PATHS,
        "a_mismatched_label_leaves_no_image_empty": "a source without any mask of a class that it has is an error",
        "a_class_in_every_pixel_is_told": "its sources tell it",
        "classes_that_look_alike_are_one": "its sources tell it",
    }
    member = MaskFolder()

    def write(self, root: Path, samples: Samples) -> None:
        for folder in ("one", "two"):
            own = {name: boxes for name, boxes in samples.items() if self.folder(name) == folder}
            self.member.write(root / folder, own)

    def folder(self, name: str) -> str:
        return "one" if part_of(name)[1].startswith("p1/") else "two"

    def image(self, root: Path, name: str) -> Path:
        return self.member.image(root / self.folder(name), name)

    def annotation(self, root: Path, name: str) -> Path:
        return self.member.annotation(root / self.folder(name), name)

    def record_name(self, name: str, boxes: Mapping[str, Box] | None) -> str:
        return f"{self.folder(name)}/{name}"

    def source(self, root: Path, **options: Any) -> Source:
        """Each source has a class_map of its own."""
        class_map = options.pop("class_map", {})
        members = [{"format": "mask-folder", "path": name, "class_map": class_map} for name in ("one", "two")]
        return super().source(root, sources=members, **options)


class Dataset(SourceExample):
    """A dataset that is built of mask folders."""

    format = "dataset"
    shared_image = True
    exempt: ClassVar[Mapping[str, str]] = {
        "a_path_out_of_the_root_is_reported": "what a manifest names is read only if its SHA-256 fits",
        "a_link_out_of_the_root_is_reported_or_rejected": "a shard is checked by its SHA-256, wherever it lies",
        "a_broken_annotation_is_reported_or_rejected": "images and masks lie in one shard",
        "a_mismatched_label_leaves_no_image_empty": "images and masks lie in one shard",
        "an_annotation_may_write_its_name_otherwise": "images and masks lie in one shard",
        "classes_that_look_alike_are_one": "the source that the dataset is made of tells them",
        "a_linked_annotation_out_of_the_root_is_reported_or_rejected": "images and masks lie in one shard",
        "suffixes_may_be_written_in_capitals": "its manifest names the files",
        "names_that_look_alike_are_reported": "the source that the dataset is made of tells them",
    }
    raw = MaskFolder()

    def write(self, root: Path, samples: Samples) -> None:
        data = root.parent / f"{root.name}-raw"
        self.raw.make(data, samples)
        recipe = root.parent / f"{root.name}.yaml"
        source = {"format": "mask-folder", "path": str(data), "own_splits": True}
        put_text(recipe, json.dumps({"name": "raw", "seed": 1, "source": source, "steps": [], "output": {}}))
        build(recipe, root)

    def image(self, root: Path, name: str) -> Path:
        return next(root.glob("shards/*.parquet"))


class Datumaro(SourceExample):
    """Datumaro's own format: a JSON for each subset."""

    format = "datumaro"
    options: ClassVar[Mapping[str, Any]] = {"dataset_format": "datumaro"}
    outlines = True
    degenerate = REPEATED  # Datumaro itself refuses a single point
    unlabelled: ClassVar[Mapping[str, Any]] = {"missing_annotation": "unlabelled"}
    shared_annotation = True
    exempt: ClassVar[Mapping[str, str]] = {
        "a_broken_file_of_all_annotations_is_reported": "Datumaro does not say which file it cannot read",
        "links_out_of_the_root_are_followed_if_the_recipe_says_so": "Datumaro itself refuses such links of images",
    }

    def write(self, root: Path, samples: Samples) -> None:
        labels = labels_of(samples)
        categories = {"labels": [{"name": name, "parent": "", "attributes": []} for name in labels], "attributes": []}
        for split, part in parts_of(samples).items():
            for name in part:
                put_image(root / f"images/{split or 'train'}/{name}.png")
            items = [self.item(name, boxes or {}, labels) for name, boxes in part.items()]
            document = {"infos": {}, "categories": {"label": categories}, "items": items}
            put_json(root / f"annotations/{split or 'train'}.json", document)

    def item(self, name: str, boxes: Mapping[str, Box], labels: list[str]) -> dict[str, Any]:
        rest = {"type": "polygon", "group": 0, "z_order": 0, "attributes": {}}
        shapes = [
            {"id": number, "label_id": labels.index(label), "points": flat(box), **rest}
            for number, (label, box) in enumerate(boxes.items(), start=1)
        ]
        return {"id": name, "annotations": shapes, "image": {"path": f"{name}.png", "size": [*SIZE[::-1]]}}

    def image(self, root: Path, name: str) -> Path:
        return root / f"images/train/{name}.png"

    def annotation(self, root: Path, name: str) -> Path:
        return root / "annotations/train.json"

    def spoil(self, root: Path, name: str) -> None:
        self._edit(root, name, lambda item: item["annotations"][0].update(label_id=99))

    def put_ring(self, root: Path, name: str, ring: Sequence[Sequence[float]]) -> None:
        points = [value for point in ring for value in point]
        self._edit(root, name, lambda item: item["annotations"][0].update(points=points))

    def mismatch(self, root: Path, name: str) -> None:
        path = f"{name.replace('a', 'A')}.png"
        self._edit(root, name, lambda item: item["image"].update(path=path))

    def point_outside(self, root: Path, name: str, path: str) -> None:
        self._edit(root, name, lambda item: item["image"].update(path=path if path[0] == "/" else f"../../{path}"))

    def _edit(self, root: Path, name: str, change: Any) -> None:
        document = json.loads(self.annotation(root, name).read_text())
        change(next(item for item in document["items"] if item["id"] == name))
        put_json(self.annotation(root, name), document)

    def record_name(self, name: str, boxes: Mapping[str, Box] | None) -> str:
        return part_of(name)[1]


EXAMPLES: tuple[SourceExample, ...] = (
    Cifar(),
    Coco(),
    Csv(),
    Cvat(),
    Dataset(),
    Datumaro(),
    Dicom(),
    HandBone(),
    ImageFolder(),
    IndexMask(),
    Labelme(),
    MaskFolder(),
    MnistIdx(),
    Union(),
    Volume(),
    Yolo(),
)
