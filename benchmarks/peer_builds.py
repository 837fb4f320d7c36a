"""Other ways to flip images with 29 masks each, as the documentation of each tool shows. `peers.py` measures them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from usual_script import fill, read_polygons, write

from augforge.sources.class_lists import CLASS_LISTS

Array: TypeAlias = np.ndarray[Any, Any]
Sample: TypeAlias = tuple[Array, Array]


@dataclass(frozen=True)
class Source:
    """Images and annotations of a hand-bone folder, by the name that augforge gives them."""

    root: Path
    names: tuple[str, ...]
    classes: tuple[str, ...]

    @classmethod
    def read(cls, root: Path) -> Source:
        images = sorted((root / "train/DCM").rglob("*.png"))
        names = (str(image.relative_to(root / "train/DCM").with_suffix("")) for image in images)
        return cls(root, tuple(names), tuple(CLASS_LISTS["hand-bone"]))

    def load(self, name: str) -> Sample:
        """The image, and a stack of masks of 0 and 1."""
        image: Any = cv2.imread(str(self.root / f"train/DCM/{name}.png"), cv2.IMREAD_UNCHANGED)
        polygons = read_polygons(str(self.root / f"train/outputs_json/{name}.json"))
        return image, np.stack([fill(polygons.get(label, []), image) for label in self.classes]) // 255

    def samples(self) -> Iterator[Sample]:
        return (self.load(name) for name in self.names)


def read_pngs(source: Source, folder: Path) -> Iterator[Sample]:
    for name in source.names:
        found = [cv2.imread(str(folder / name / f"{label}.png"), cv2.IMREAD_UNCHANGED) for label in source.classes]
        image: Any = cv2.imread(str(folder / name / "image.png"), cv2.IMREAD_UNCHANGED)
        yield image, (np.stack([np.asarray(mask) for mask in found]) > 0).astype(np.uint8)


def by_usual_script(source: Source, folder: Path) -> None:
    for name in source.names:
        image, masks = source.load(name)
        flipped = [cv2.flip(mask * 255, 1) for mask in masks]
        write(folder / name, cv2.flip(image, 1), flipped, source.classes)


def by_albumentations(source: Source, folder: Path) -> None:
    import albumentations

    flip = albumentations.Compose([albumentations.HorizontalFlip(p=1)])
    for name in source.names:
        image, masks = source.load(name)
        made = flip(image=image, masks=list(masks * 255))
        write(folder / name, made["image"], made["masks"], source.classes)


def by_datumaro(source: Source, folder: Path) -> None:
    import datumaro as dm

    class Flip(dm.ItemTransform):
        def transform_item(self, item: Any) -> Any:
            flipped = [mask.wrap(image=np.ascontiguousarray(mask.image[:, ::-1])) for mask in item.annotations]
            media = dm.Image.from_numpy(np.ascontiguousarray(item.media.data[:, ::-1]), ext=".png")
            return self.wrap_item(item, media=media, annotations=flipped)

    def items() -> Iterator[Any]:
        for name in source.names:
            image, masks = source.load(name)
            drawn = [dm.Mask(mask, label=c) for c, mask in enumerate(masks)]
            yield dm.DatasetItem(name, subset="train", media=dm.Image.from_numpy(image, ext=".png"), annotations=drawn)

    given = dm.Dataset.from_iterable(items(), categories=list(source.classes), media_type=dm.Image)
    given.transform(Flip).export(str(folder), "datumaro", save_media=True)


def read_datumaro(source: Source, folder: Path) -> Iterator[Sample]:
    import datumaro as dm

    found = {item.id: item for item in dm.Dataset.import_from(str(folder), "datumaro")}
    for name in source.names:
        masks = sorted(found[name].annotations, key=lambda mask: mask.label)
        image = np.asarray(found[name].media.data)
        gray = image if image.ndim == 2 else image[..., 0]
        yield gray.astype(np.uint8), np.stack([np.asarray(mask.image, np.uint8) for mask in masks])


def by_hugging_face(source: Source, folder: Path) -> None:
    import datasets
    from PIL import Image

    def flip(example: dict[str, Any]) -> dict[str, Any]:
        flipped = [np.asarray(image)[:, ::-1] for image in (example["image"], *example["masks"])]
        image, *masks = map(Image.fromarray, flipped)
        return {"image": image, "masks": masks}

    def examples() -> Iterator[dict[str, Any]]:
        for image, masks in source.samples():
            yield {"image": Image.fromarray(image), "masks": [Image.fromarray(mask * 255) for mask in masks]}

    features = datasets.Features({"image": datasets.Image(), "masks": datasets.List(datasets.Image())})
    given = datasets.Dataset.from_generator(examples, features=features, cache_dir=str(folder / "cache"))
    made = given.map(flip, features=features, writer_batch_size=4, cache_file_name=str(folder / "cache/map.arrow"))
    made.save_to_disk(str(folder / "set"))
    del given, made
    shutil.rmtree(folder / "cache")


def read_hugging_face(source: Source, folder: Path) -> Iterator[Sample]:
    import datasets

    for found in datasets.load_from_disk(str(folder / "set")):
        yield np.asarray(found["image"]), np.stack([np.asarray(mask) > 0 for mask in found["masks"]]).astype(np.uint8)


Build: TypeAlias = Callable[[Source, Path], None]
ReadBack: TypeAlias = Callable[[Source, Path], Iterator[Sample]]
BUILDS: dict[str, tuple[str, Build, ReadBack]] = {
    "usual script, OpenCV and a PNG a class": ("cv2", by_usual_script, read_pngs),
    "Albumentations on 29 masks": ("albumentations", by_albumentations, read_pngs),
    "Datumaro, transform and export": ("datumaro", by_datumaro, read_datumaro),
    "Hugging Face map, save_to_disk": ("datasets", by_hugging_face, read_hugging_face),
}
