"""Data with sides: folders of masks, label tables, and what a mirror has to make of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.engine.builder import build
from augforge.engine.summary import Summary
from augforge.sample import Sample
from augforge.store.dataset import Dataset, open_dataset
from augforge.yamlfile import dump_yaml

LUNGS = ("heart", "left-lung", "right-lung")


def put_lungs(root: Path, classes: Sequence[str] = LUNGS, count: int = 6, size: tuple[int, int] = (40, 32)) -> Path:
    """A mask folder: each class is a bright rectangle of a size of its own, the left lung on the right, as on film."""
    rng = np.random.default_rng(4)
    width, height = size
    for number in range(count):
        picture = rng.integers(0, 60, (height, width), np.uint8)
        for c, name in enumerate(classes):
            x, y = int(rng.integers(0, width // 3)) + (width // 2 if c % 2 else 0), int(rng.integers(0, height // 2))
            mask = np.zeros_like(picture)
            mask[y : y + 5 + c, x : x + 4 + 2 * c] = 255
            picture[mask > 0] = 100 + 50 * c
            _write(root / "masks" / name / f"p{number}.png", mask)
        _write(root / "images" / f"p{number}.png", picture)
    return root


def put_findings(root: Path, labels: Sequence[str], count: int = 8) -> Path:
    """A table of pictures with several findings each, as 0 and 1."""
    rng = np.random.default_rng(5)
    rows = [",".join(["image", *labels])]
    for number in range(count):
        _write(root / f"images/p{number}.png", rng.integers(0, 255, (32, 32), np.uint8))
        rows.append(",".join([f"images/p{number}.png", *(str(int(value)) for value in rng.random(len(labels)) < 0.4)]))
    (root / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def _write(path: Path, array: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", array)[1].tobytes())


def write_sided(
    folder: Path, source: dict[str, Any], steps: Iterable[dict[str, Any]] = (), name: str = "sided", **keys: Any
) -> Path:
    """A recipe in a file, which the folder is made for."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {"name": name, "source": source, "steps": list(steps), **keys}
    path = folder / "recipe.yaml"
    path.write_text(dump_yaml(recipe), encoding="utf-8")
    return path


def build_sided(folder: Path, source: dict[str, Any], *steps: dict[str, Any], **keys: Any) -> tuple[Summary, Dataset]:
    """Build a recipe into the folder ``out`` beside it."""
    summary = build(write_sided(folder, source, steps, **keys), folder / "out")
    return summary, open_dataset(folder / "out")


def layers(sample: Sample, classes: int = 3) -> NDArray[np.uint8]:
    """One mask for each class, (C, H, W)."""
    return np.stack(list(bitmask.to_masks(sample.masks, classes)))
