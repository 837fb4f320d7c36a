"""What it costs that shards, tables and manifest are on disk before a build ends: builds with and without the syncs.

    python benchmarks/syncs.py                          # 40 samples of 1024x1024, and 4 of 64x64
    python benchmarks/syncs.py --persons 50 --size 2048 # 200 samples, where a minute of generating comes first

Builds with and without syncs take turns in one process, each into a new folder below --scratch, which is what is
measured: choose the disk that matters. The best of the rounds counts. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from augforge.engine.builder import build
from augforge.phantom import write_phantom

STEPS = [{"op": "hflip", "keep_input": True}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persons", type=int, default=10, help="two images each, and each flipped too")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scratch", type=Path, default=None, help="a folder on the disk to measure")
    arguments = parser.parse_args()
    print("| build | syncs | a sync, median | all syncs | with | without | difference |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for persons, size in ((arguments.persons, arguments.size), (1, 64)):
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
            print(measure(Path(folder), persons, size, arguments.rounds), flush=True)


def measure(folder: Path, persons: int, size: int, rounds: int) -> str:
    write_phantom(folder / "data", persons=persons, size=size, seed=7)
    recipe = folder / "recipe.yaml"
    source = {"format": "hand-bone", "path": str(folder / "data"), "classes": "hand-bone"}
    recipe.write_text(json.dumps({"name": "syncs", "source": source, "split": {}, "steps": STEPS, "output": {}}))
    waits: list[float] = []
    seconds_of(recipe, folder / "warm-up", os.fsync)
    found: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(rounds):
        found["with"].append(seconds_of(recipe, folder / "with", timed(waits)))
        found["without"].append(seconds_of(recipe, folder / "without", lambda handle: None))
    best = {name: min(times) for name, times in found.items()}
    middle, total = statistics.median(waits) * 1e3, sum(waits) / rounds * 1e3
    more, samples = best["with"] - best["without"], f"{4 * persons} samples of {size}x{size}"
    times = f"{total:.0f} ms | {best['with']:.2f} s | {best['without']:.2f} s"
    cost = f"{more * 1e3:.0f} ms, {more / best['without']:.1%}"
    return f"| {samples} | {len(waits) // rounds} | {middle:.1f} ms | {times} | {cost} |"


def timed(waits: list[float]) -> Callable[[int], None]:
    def sync(handle: int) -> None:
        started = time.perf_counter()
        real(handle)
        waits.append(time.perf_counter() - started)

    real = os.fsync
    return sync


def seconds_of(recipe: Path, out: Path, sync: Callable[[int], None]) -> float:
    """Wall seconds of a build; what the one before left in memory is written out first."""
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    with patch("os.fsync", sync):
        started = time.perf_counter()
        build(recipe, out)
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
