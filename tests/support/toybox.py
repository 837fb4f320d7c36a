"""Small data sets and recipes for the tests that build datasets from end to end."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest

from augforge import bitmask
from augforge.engine.builder import build
from augforge.engine.summary import Summary
from augforge.phantom import write_phantom
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.manifest import read_manifest
from augforge.store.tablereading import read_sample_table
from augforge.store.versionfiles import VersionFiles

MOSAIC = ("{op: hflip, keep_input: true}", "{op: mosaic, keep_input: true}")


def write_recipe(
    path: Path,
    data: Path,
    steps: Iterable[str] = (),
    *,
    name: str = "toy",
    seed: int = 21,
    split: str = "{val: [ID002]}",
    classes: str = "hand-bone",
    output: str = "{}",
) -> Path:
    """A recipe over a hand-bone data set; its steps as YAML mappings in one line each."""
    lines = [f"name: {name}", f"seed: {seed}", f"split: {split}", f"output: {output}"]
    lines += [f"source: {{format: hand-bone, path: {json.dumps(str(data))}, classes: {classes}}}"]
    lines += ["steps:" if steps else "steps: []", *(f"  - {step}" for step in steps)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def made(
    tmp_path: Path, data: Path, steps: Iterable[str] = (), out: str = "out", **recipe: Any
) -> tuple[Summary, Dataset]:
    """Write a recipe, build it in one process, open what came out."""
    summary = build(write_recipe(tmp_path / "recipe.yaml", data, steps, **recipe), tmp_path / out)
    return summary, open_dataset(tmp_path / out)


def with_index(dataset: Dataset, index: pl.DataFrame, **changes: Any) -> Dataset:
    """A dataset with another index, of the same shards, and with changes to its manifest."""
    files = VersionFiles(dataset.folder, dataset.manifest.model_copy(update=changes), checked=False)
    with TemporaryDirectory() as folder:
        index.write_parquet(Path(folder) / "index.parquet")
        table = read_sample_table(Path(folder) / "index.parquet", files.manifest.classes)
    files.__dict__["index"] = index
    return Dataset(files, table)


def shas(folder: Path) -> list[str]:
    return sorted(shard.sha256 for shard in read_manifest(folder).shards)


def ids(folder: Path) -> dict[str, str]:
    """Content id by name."""
    index = open_dataset(folder).index
    return dict(zip(index["name"], index["id"], strict=True))


def roots(folder: Path) -> dict[str, set[str]]:
    """Names of the source images that show in each sample."""
    index = open_dataset(folder).index
    return {row["name"]: {root["name"] for root in row["lineage"]["roots"]} for row in index.iter_rows(named=True)}


def rejected(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / f"index/{read_manifest(folder).version}.rejected.parquet")


def annotation(data: Path, name: str) -> Path:
    return data / f"train/outputs_json/{name}.json"


def edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def move_a_point(document: dict[str, Any]) -> None:
    """Move a point by 9 pixels, within the image."""
    point = document["annotations"][0]["points"][0]
    point[0] += 9.0 if point[0] < 9 else -9.0


def copy_tree(source: Path, target: Path) -> Path:
    """The same files elsewhere: made in another order, with other modification times."""
    files = sorted((path for path in source.rglob("*") if path.is_file()), reverse=True)
    for number, path in enumerate(files):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
        os.utime(copy, (1_500_000_000 + number, 1_500_000_000 + number))
    return target


def tiny_hands(root: Path, levels: Sequence[int], classes: Sequence[str] = ("a", "b"), labelled: bool = True) -> Path:
    """A person a gray level, each with one image of 24x16 pixels: ``ID001/image0000000000001`` and so on."""
    for number, level in enumerate(levels, start=1):
        image = np.full((16, 24), level, np.uint8)
        image[:4, :4] = 255 - level
        put_hand(root, number, image, classes, labelled=labelled)
    return root


def put_hand(root: Path, number: int, image: np.ndarray, classes: Sequence[str], *, labelled: bool = True) -> str:
    """One person's one image; classes overlap, and every third is absent. RGB order. The sample's name is returned."""
    part, name = "train" if labelled else "test", f"ID{number:03d}/image{number:013d}"
    picture = root / part / f"DCM/{name}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    swapped = image if image.ndim == 2 else image[..., [2, 1, 0, *range(3, image.shape[2])]]
    picture.write_bytes(cv2.imencode(".png", swapped)[1].tobytes())
    if labelled:
        path = annotation(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        polygons = [
            {"label": label, "points": corners(image, i, number)} for i, label in enumerate(classes) if i % 3 != 2
        ]
        path.write_text(json.dumps({"annotations": polygons}), encoding="utf-8")
    return name


def corners(image: np.ndarray, c: int, number: int) -> list[list[float]]:
    """A triangle that depends on class and person."""
    rng = np.random.default_rng([c, number])
    corners: list[list[float]] = (
        (rng.uniform(0, 1, (3, 2)) * (image.shape[1] - 1, image.shape[0] - 1)).round(1).tolist()
    )
    return corners


def put_unreadable_pixels(path: Path) -> None:
    """Damage that listing cannot see: a PNG whose chunks are sound, but whose pixel data is nothing."""
    import struct
    import zlib

    data = path.read_bytes()
    head = data[:33]  # signature and IHDR
    body = b"IDAT" + b"no zlib stream at all"
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    path.write_bytes(head + chunk + struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND")))


def class_pixels(sample: Any, c: int) -> np.ndarray:
    return bitmask.class_mask(sample.masks, c).astype(bool)


_made: dict[str, Path] = {}


@pytest.fixture(name="two_versions", scope="session")
def two_versions_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data``, ``recipe.yaml`` and ``toy``, a dataset whose second version is the current one."""
    if "two versions" not in _made:  # each module that imports a fixture has its own: build once for all
        root = _made["two versions"] = tmp_path_factory.mktemp("two-versions")
        write_phantom(root / "data", persons=4, size=96, seed=3, test_persons=1)
        recipe = write_recipe(root / "recipe.yaml", root / "data", MOSAIC)
        build(recipe, root / "toy")
        edit_json(next((root / "data/train/outputs_json/ID001").iterdir()), move_a_point)
        build(recipe, root / "toy")
    return _made["two versions"]


@pytest.fixture(name="toy")
def toy_fixture(two_versions: Path, tmp_path: Path) -> Path:
    """A copy of that dataset, to be damaged."""
    return Path(shutil.copytree(two_versions / "toy", tmp_path / "toy"))
