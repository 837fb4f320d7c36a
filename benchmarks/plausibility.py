"""What the plausibility report costs, as a share of the listing that it is made from, on tiny PNGs made on the spot.

    python benchmarks/plausibility.py --images 20000 --formats mask-folder coco yolo

Tiny files are the worst case: the listing reads little, while the report looks at as many names. The report is what a
build finds in a listing and in its splits, without comparing pictures; ``pictures`` is what that would add, on images
of 512x512. The fastest of several runs counts, first with an empty cache of facts, then with a full one. CPU time, so
that other processes matter little. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
from listing import MAKERS, make

from augforge.cache.filecache import FileCache
from augforge.engine import findings, opening, sourcetable
from augforge.recipe.recipe import Recipe, load_recipe
from augforge.sources.plausibility.listed import Census
from augforge.sources.plausibility.pictures import find_alike_pictures
from augforge.sources.plausibility.splits import SharedImages

RUNS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--formats", nargs="+", choices=MAKERS, default=list(MAKERS))
    arguments = parser.parse_args()
    print("| format | images | first listing | report | again, cached | report |")
    print("|---|---|---|---|---|---|")
    for name in arguments.formats:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder) / "data", arguments.images, MAKERS[name])
            cells = " | ".join(measure(write_recipe(Path(folder), name)))
            print(f"| {name} | {arguments.images:,} | {cells} |", flush=True)
    print(f"\npictures of 512x512: {compare_pictures()}")


def write_recipe(folder: Path, name: str) -> Recipe:
    path = folder / "recipe.yaml"
    source = {"format": name, "path": "data"}
    path.write_text(json.dumps({"name": "x", "source": source, "split": {"val": 0.2}, "steps": []}))
    return load_recipe(path)


def measure(recipe: Recipe) -> list[str]:
    """Seconds of a listing without the report, and what the report adds, with an empty cache and a full one."""
    cells = []
    full = FileCache()
    opening.list_source(recipe, full)
    for cached in (False, True):
        spent: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(RUNS):
            for report in (False, True):
                cache = full if cached else FileCache()
                spent[report].append(seconds(partial(list_all, recipe, cache, report)))
        bare, more = min(spent[False]), min(spent[True]) - min(spent[False])
        cells += [f"{bare:.2f} s", f"{more:.2f} s, {more / bare:.1%}"]
    return cells


def list_all(recipe: Recipe, cache: FileCache, report: bool) -> None:
    """List the source and assign splits, with what looks for the implausible on the way, or without it."""
    with ExitStack() as stack:
        if not report:
            stack.enter_context(patch.object(Census, "counted", lambda self, records: records))
            stack.enter_context(patch.object(Census, "findings", lambda self, *arguments: ()))
            stack.enter_context(patch.object(SharedImages, "see", lambda self, record, split: None))
        listing = opening.list_source(recipe, cache)
        table = sourcetable.source_table(listing, recipe)
        if report:
            findings.gather_findings(recipe, listing, table, cache)


def seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def compare_pictures() -> str:
    """What comparing pictures costs beside a listing that reads the same files."""
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        for number in range(200):
            coarse = rng.integers(0, 256, (16, 16), dtype=np.uint8)
            for place in (f"images/{number}.png", f"masks/heart/{number}.png"):
                path = Path(folder) / "data" / place
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), cv2.resize(coarse, (512, 512), interpolation=cv2.INTER_CUBIC))
        recipe, cache = write_recipe(Path(folder), "mask-folder"), FileCache()
        listing = opening.list_source(recipe, cache)
        splits = {record.name: "val" if record.name.endswith("7") else "train" for record in listing.records}
        listed = min(seconds(lambda: opening.list_source(recipe, FileCache())) for _ in range(RUNS))
        compared = seconds(lambda: list(find_alike_pictures(recipe.source, listing.records, splits, cache)))
        return f"listing {listed:.2f} s, comparing {compared:.2f} s, {compared / listed:.0%}"


if __name__ == "__main__":
    main()
