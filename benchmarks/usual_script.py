"""The usual script, to compare with: one PNG per class and image, made by OpenCV in a pool of processes.

People who know their tools write it like this: polygons filled by cv2.fillPoly, the image and each of the 29 masks
moved by the same cv2 call, everything written by cv2.imwrite, one process per core, each with one OpenCV thread. It
does not depend on augforge. `build.py` runs it with the placements that augforge drew, so that both do the same work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Size: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Parent:
    """An image with its annotation, and its placement: matrix to the result's pixels, clip box there."""

    image: str
    annotation: str
    matrix: list[list[float]]
    clip: list[int] | None


@dataclass(frozen=True)
class Task:
    """One result: the op, its parents, the result's width and height, and the first parent's name if it is kept too."""

    name: str
    op: str
    parents: list[Parent]
    size: Size
    keep: str = ""


# ---- ops: one call moves an image, a mask, or a stack of planes ------------------------------------------------------


def hflip(arrays: Sequence[Array], task: Task, nearest: bool) -> Array:
    return cv2.flip(arrays[0], 1)


def scale_mask(mask: Array, size: Size) -> Array:
    """A mask of 0 and 255 where at least half of each new pixel is covered; exact halves may be rounded down."""
    small = (min(size[0], mask.shape[1]), min(size[1], mask.shape[0]))
    covered = cv2.resize(mask.astype(np.float32), small, interpolation=cv2.INTER_AREA)
    half = np.where(covered >= 127.499, np.uint8(255), np.uint8(0))
    return cv2.resize(half, size, interpolation=cv2.INTER_NEAREST_EXACT)


def mosaic(
    arrays: Sequence[Array], task: Task, nearest: bool, scale: Callable[[Array, Size], Array] = scale_mask
) -> Array:
    canvas = np.zeros((task.size[1], task.size[0], *arrays[0].shape[2:]), arrays[0].dtype)
    for array, parent in zip(arrays, task.parents, strict=True):
        (sx, _, tx), (_, sy, ty) = parent.matrix
        size = (round(array.shape[1] * sx), round(array.shape[0] * sy))
        left, top = round(tx - (sx - 1) / 2), round(ty - (sy - 1) / 2)
        how = cv2.INTER_AREA if sx <= 1 else cv2.INTER_LINEAR
        scaled = scale(array, size) if nearest else cv2.resize(array, size, interpolation=how)
        x0, y0, x1, y1 = parent.clip or [0, 0, *task.size]
        canvas[y0:y1, x0:x1] = scaled[y0 - top : y1 - top, x0 - left : x1 - left]
    return canvas


def warp(arrays: Sequence[Array], task: Task, nearest: bool) -> Array:
    """Any op that moves one image by a matrix, such as a rotation."""
    how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return cv2.warpAffine(arrays[0], np.array(task.parents[0].matrix), task.size, flags=how)


OPS: dict[str, Callable[..., Array]] = {"hflip": hflip, "mosaic": mosaic, "rotate": warp}


# ---- the script ------------------------------------------------------------------------------------------------------


def make(task: Task, classes: Sequence[str], out: Path) -> None:
    """Load, move and write one result."""
    op = OPS[task.op]
    images = [cv2.imread(parent.image, cv2.IMREAD_UNCHANGED) for parent in task.parents]
    polygons = [read_polygons(parent.annotation) for parent in task.parents]
    masks = [
        [fill(found.get(name, []), image) for image, found in zip(images, polygons, strict=True)] for name in classes
    ]
    write(out / task.name, op(images, task, False), [op(parts, task, True) for parts in masks], classes)
    if task.keep:
        write(out / task.keep, images[0], [parts[0] for parts in masks], classes)


def read_polygons(path: str) -> dict[str, list[Array]]:
    """Class name -> its polygons, whole pixels."""
    found: dict[str, list[Array]] = {}
    for entry in json.loads(Path(path).read_text(encoding="utf-8"))["annotations"]:
        found.setdefault(entry["label"], []).append(np.rint(np.array(entry["points"])).astype(np.int32))
    return found


def fill(polygons: Sequence[Array], image: Array) -> Array:
    mask = np.zeros(image.shape[:2], np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [polygon], (255,))
    return mask


def write(folder: Path, image: Array, masks: Sequence[Array], classes: Sequence[str]) -> None:
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "image.png"), image)
    for name, mask in zip(classes, masks, strict=True):
        cv2.imwrite(str(folder / f"{name}.png"), mask)


def run(tasks: Sequence[Task], classes: Sequence[str], out: Path, processes: int) -> None:
    work = [(task, classes, out) for task in tasks]
    if processes == 1:
        cv2.setNumThreads(1)
        for arguments in work:
            make(*arguments)
        return
    with Pool(processes, cv2.setNumThreads, (1,)) as pool:
        pool.starmap(make, work, chunksize=1)
        pool.close()
        pool.join()
