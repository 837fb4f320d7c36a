"""Listing a large mask-folder: time and memory, first and again, on tiny PNGs made on the spot.

    python benchmarks/listing.py --images 100000 --classes 1

Each figure comes from a process of its own, so that peak memory is its own. Prints Markdown.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from augforge.sources import MaskFolder
from augforge.store.filecache import FileCache

FOLDER = 1000  # images in one folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=1)
    parser.add_argument("--scan", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.scan is not None:
        scan(arguments.scan)
        return
    print("| images | masks | first listing | peak memory | again, cached | peak memory |")
    print("|---|---|---|---|---|---|")
    for images in (arguments.images // 10, arguments.images):
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), images, arguments.classes)
            first, again = measured(folder), measured(folder)
        print(f"| {images:,} | {images * arguments.classes:,} | {first} | {again} |", flush=True)


def make(folder: Path, images: int, classes: int) -> None:
    """Images of 8x8 pixels, all different, and as many masks for each class."""
    tops = [folder / "data/images", *(folder / f"data/masks/class-{c}" for c in range(classes))]
    for number in range(images):
        pixels = np.frombuffer(np.array([number] * 8, "<u8").tobytes(), np.uint8).reshape(8, 8)
        data = cv2.imencode(".png", pixels)[1].tobytes()
        for top in tops:
            path = top / f"P{number // FOLDER:04d}" / f"scan{number:06d}.png"
            if number % FOLDER == 0:
                path.parent.mkdir(parents=True)
            path.write_bytes(data)


def measured(folder: str) -> str:
    """Seconds and peak memory of one listing, in a process of its own."""
    command = [sys.executable, __file__, "--scan", folder]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def scan(folder: Path) -> None:
    before = peak()
    started, worked = time.perf_counter(), time.process_time()
    cache = FileCache(folder / "facts.sqlite")
    MaskFolder(path=str(folder / "data")).scan(cache)
    cache.save()
    seconds = f"{time.perf_counter() - started:.1f} s ({time.process_time() - worked:.1f} s CPU)"
    print(f"{seconds} | {peak():.0f} MB ({before:.0f} before)")


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
