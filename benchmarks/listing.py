"""Listing large data sets: time and memory, first and again, against the bare loop, on tiny PNGs made on the spot.

    python benchmarks/listing.py --images 100000 --formats mask-folder coco yolo

The bare loop walks the folders, reads every file and computes its SHA-256, as any listing must that verifies its input.
Each figure comes from a process of its own, so that peak memory is its own too. Prints Markdown.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from augforge.cache.filecache import FileCache
from augforge.sources import SOURCES

FOLDER = 1000  # images in one folder
BOX = [1, 1, 6, 1, 6, 6, 1, 6]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--formats", nargs="+", choices=MAKERS, default=list(MAKERS))
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        measure(arguments.one[0], Path(arguments.one[1]))
        return
    print("| format | images | bare loop | first listing | peak memory | again, cached | peak memory |")
    print("|---|---|---|---|---|---|---|")
    for name in arguments.formats:
        for images in (arguments.images // 10, arguments.images):
            with tempfile.TemporaryDirectory() as folder:
                make(Path(folder) / "data", images, MAKERS[name])
                bare, first, again = (measure_in_process(what, folder) for what in ("bare", name, name))
            share = f"{first['seconds']:.1f} s ({first['seconds'] / bare['seconds']:.1f}x)"
            peaks = (f"{run['peak']:.0f} MB ({run['before']:.0f} before)" for run in (first, again))
            cells = (f"{bare['seconds']:.1f} s", share, next(peaks), f"{again['seconds']:.1f} s", next(peaks))
            print(f"| {name} | {images:,} | {' | '.join(cells)} |", flush=True)


# ---- data ------------------------------------------------------------------------------------------------------------


def make(data: Path, images: int, annotate: Callable[[Path, list[str], bytes], None]) -> None:
    """Images of 8x8 pixels, all different, in folders of FOLDER, and their annotations."""
    names = [f"P{number // FOLDER:04d}/scan{number:06d}" for number in range(images)]
    for number, name in enumerate(names):
        pixels = np.frombuffer(np.array([number] * 8, "<u8").tobytes(), np.uint8).reshape(8, 8)
        write(data / f"images/{name}.png", cv2.imencode(".png", pixels)[1].tobytes())
    annotate(data, names, cv2.imencode(".png", np.eye(8, dtype=np.uint8))[1].tobytes())


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def mask_folder(data: Path, names: list[str], mask: bytes) -> None:
    for name in names:
        write(data / f"masks/heart/{name}.png", mask)


def yolo(data: Path, names: list[str], mask: bytes) -> None:
    write(data / "data.yaml", b"names: [heart]\n")
    for name in names:
        write(data / f"labels/{name}.txt", f"0 {' '.join(f'{x / 8}' for x in BOX)}\n".encode())


def coco(data: Path, names: list[str], mask: bytes) -> None:
    sizes = {"width": 8, "height": 8}
    document = {
        "images": [{"id": i, "file_name": f"{name}.png", **sizes} for i, name in enumerate(names)],
        "annotations": [{"id": i, "image_id": i, "category_id": 1, "segmentation": [BOX]} for i, _ in enumerate(names)],
        "categories": [{"id": 1, "name": "heart"}],
    }
    write(data / "annotations.json", json.dumps(document).encode())


MAKERS: dict[str, Callable[[Path, list[str], bytes], None]] = {"mask-folder": mask_folder, "yolo": yolo, "coco": coco}


# ---- measuring -------------------------------------------------------------------------------------------------------


def measure_in_process(what: str, folder: str) -> dict[str, float]:
    """Seconds and peak memory of one listing, or of the bare loop, in a process of its own."""
    command = [sys.executable, __file__, "--one", what, folder]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def measure(what: str, folder: Path) -> None:
    before, started = peak(), time.perf_counter()
    if what == "bare":
        hash_files(folder / "data")
    else:
        cache = FileCache(folder / "facts.sqlite")
        SOURCES[what](format=what, path=str(folder / "data")).scan(cache)
        cache.save()
    print(json.dumps({"seconds": time.perf_counter() - started, "peak": peak(), "before": before}))


def hash_files(data: Path) -> None:
    for folder, _, files in os.walk(data):
        for file in files:
            with open(os.path.join(folder, file), "rb") as stream:  # noqa: PTH118, PTH123 (the least that can be done)
                hashlib.sha256(stream.read()).hexdigest()


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
