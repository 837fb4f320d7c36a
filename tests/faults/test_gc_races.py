"""Races: readers, builds and gc on one dataset. Nobody reads a wrong pixel, and every error says what happened."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import killing
import pytest
from toybox import MOSAIC, edit_json, tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.errors import DatasetError
from augforge.store.codec import pixel_digest
from augforge.store.dataset import open_dataset
from augforge.store.gc import collect
from augforge.store.manifest import read_manifest, versions
from augforge.store.verify import verify

pytestmark = pytest.mark.skipif(os.name != "posix", reason="elsewhere files that are read cannot be deleted")
BUSY = re.compile(r"^another (command|(build|gc) \(.*, process \d+, since .*\)) is writing to ")
GONE = re.compile(r"is not there any more: augforge gc removed it|has no version '")


def read(folder: Path, seen: Counter[str]) -> None:
    """Open the current version and read all of it, slowly enough for gc to come between."""
    try:
        dataset = open_dataset(folder)
        stored = dataset.index["pixel_digest"].to_list()
        for i, sample in enumerate(dataset):
            assert pixel_digest(sample.image, sample.masks) == stored[i]
            time.sleep(0.002)
    except DatasetError as error:
        assert GONE.search(str(error)), error
        seen["version gone"] += 1
    else:
        seen["read"] += 1


def change_and_build(folder: Path, seen: Counter[str]) -> None:
    """Build a version that was not there before."""
    root = folder.parent
    seen["builds"] += 1

    def move(document: dict[str, Any]) -> None:
        document["annotations"][0]["points"][0][0] = round(0.1 * seen["builds"], 1)

    edit_json(next(iter(sorted((root / "data").rglob("*.json")))), move)
    when_free(lambda: build(root / "recipe.yaml", folder), seen)


def remove(folder: Path, seen: Counter[str]) -> None:
    when_free(lambda: collect(folder, keep=1, now=True), seen)
    seen["gc"] += 1
    time.sleep(0.02)


def when_free(run: Callable[[], object], seen: Counter[str]) -> None:
    while True:
        try:
            run()
        except DatasetError as error:
            assert BUSY.search(str(error)), error
            seen["busy"] += 1
            time.sleep(0.01)
        else:
            return


def repeat(pipe: Any, action: Callable[[Path, Counter[str]], None], folder: Path, seconds: float) -> None:
    seen: Counter[str] = Counter()
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            action(folder, seen)
        pipe.send(seen)
    except BaseException as error:
        pipe.send(error)
        raise


def race(folder: Path, seconds: float) -> Counter[str]:
    """Three readers, a builder and a gc, each in a process of its own; what happened to all of them, counted."""
    running = []
    for action in (read, read, read, change_and_build, remove):
        here, there = killing.SERVER.Pipe(duplex=False)
        process = killing.SERVER.Process(target=repeat, args=(there, action, folder, seconds))
        process.start()
        there.close()
        running.append((process, here))
    total: Counter[str] = Counter()
    for process, here in running:
        result = here.recv()
        process.join()
        assert isinstance(result, Counter), result
        total += result
    return total


def race_on_a_dataset(tmp_path: Path, seconds: float) -> Counter[str]:
    data = tiny_hands(tmp_path / "data", range(20, 240, 20), ["a", "b"])
    recipe = write_recipe(tmp_path / "recipe.yaml", data, MOSAIC, classes="[a, b]")
    build(recipe, tmp_path / "out")
    seen = race(tmp_path / "out", seconds)
    print(dict(seen))  # noqa: T201  (the figures of docs/reliability.md)
    for version in (None, *versions(tmp_path / "out")):
        assert verify(tmp_path / "out", version, pixels=True) == []
    collect(tmp_path / "out", keep=1, now=True)
    assert versions(tmp_path / "out") == [read_manifest(tmp_path / "out").version]
    assert list((tmp_path / "out").rglob(".*.tmp")) == []
    return seen


def test_readers_builds_and_gc_at_once(tmp_path: Path) -> None:
    seen = race_on_a_dataset(tmp_path, 3)
    assert seen["read"] and seen["builds"] and seen["gc"]


@pytest.mark.slow
def test_readers_builds_and_gc_at_once_for_longer(tmp_path: Path) -> None:
    # Whether a reader ever meets a removed version is left to chance here; tests/store/test_gc.py makes it happen.
    seen = race_on_a_dataset(tmp_path, 90)
    assert seen["read"] > 20 and seen["builds"] > 10 and seen["gc"] > 10
