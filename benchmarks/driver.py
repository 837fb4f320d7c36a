"""What a task costs the process that drives a build, and so how many workers it can feed.

    python benchmarks/driver.py                                # 960 tasks of 64x64, by loky and dask
    python benchmarks/driver.py --tasks 4000 --backends dask ray

Builds with batches of 1, 8 and 64 tasks; the CPU time of the driver, its dask scheduler included, is divided by least
squares between batches and tasks. What workers do costs it nothing, so small images serve. Prints Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np

from augforge.engine import execute, performing
from augforge.engine.builder import build

BATCHES = (1, 8, 64)
WORKER_SECONDS = 0.09
"""What a flip beside its original at 2048x2048 takes a worker, from docs/benchmarks.md."""
TASKS_PER_BATCH = 8
"""Of a build at 2048x2048."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=960)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backends", nargs="+", default=["loky", "dask"])
    arguments = parser.parse_args()
    print("| backend | a batch, ms | a task, ms | a task of a 2048x2048 build, ms | workers that one driver feeds |")
    print("|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        recipe = write_images(Path(folder), arguments.tasks)
        for backend in arguments.backends:
            print(measure(recipe, Path(folder), backend, arguments.jobs, arguments.rounds), flush=True)


def write_images(folder: Path, count: int) -> Path:
    """A recipe over small images with one mask each."""
    rng = np.random.default_rng(1)
    for part in ("images", "masks/a"):
        (folder / "data" / part).mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"data/images/{number:05}.png"), rng.integers(0, 256, (64, 64), np.uint8))
        cv2.imwrite(str(folder / f"data/masks/a/{number:05}.png"), np.full((64, 64), 255, np.uint8))
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        "name: driver\nsplit: {compare: bytes}\nsource: {format: mask-folder, path: data, classes: [a]}\n"
        "steps:\n  - {op: hflip, keep_input: true}\n"
    )
    return recipe


def measure(recipe: Path, folder: Path, backend: str, jobs: int, rounds: int) -> str:
    best = {size: min(driver_seconds(recipe, folder, backend, jobs, size) for _ in range(rounds)) for size in BATCHES}
    tasks = len(list((folder / "data/images").iterdir()))
    counts = np.array([[-(-tasks // size), tasks] for size in BATCHES], float)
    (batch, task), *_ = np.linalg.lstsq(counts, np.array(list(best.values())), rcond=None)
    each = batch / TASKS_PER_BATCH + task
    return f"| {backend} | {batch * 1e3:.2f} | {task * 1e3:.2f} | {each * 1e3:.2f} | {WORKER_SECONDS / each:.0f} |"


def driver_seconds(recipe: Path, folder: Path, backend: str, jobs: int, size: int) -> float:
    """CPU seconds of this process from the first batch that is sent to the last one that is taken in."""
    spent: list[float] = []
    real = execute.map_unordered

    def timed(function: Any, items: Any, *more: Any) -> Iterator[Any]:
        started = time.process_time()
        yield from real(function, items, *more)
        spent.append(time.process_time() - started)

    out = Path(tempfile.mkdtemp(dir=folder))
    with patch.object(execute, "map_unordered", timed), patch.object(performing, "_batch_size", lambda *_: size):
        build(recipe, out, jobs=jobs, backend=backend)
    return spent[0]  # the shards come after it


if __name__ == "__main__":
    main()
