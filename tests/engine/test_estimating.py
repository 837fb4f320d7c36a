"""Bytes that a dry run foresees are within a fifth of those that the build writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from makedata import put_text

from augforge.engine.builder import build
from augforge.recipe.recipe import load_recipe

STEPS: dict[str, list[dict[str, Any]]] = {
    "as they are": [],
    "smaller": [{"op": "resize", "size": 90}],
    "larger": [{"op": "resize", "size": 300}],
    "mosaic": [{"op": "mosaic", "keep_input": True}],
    "turned": [{"op": "rotate", "angle_range": [-30, 30], "keep_input": True}],
    "windows": [{"op": "sliding_window", "size": 64}],
    "some windows": [{"op": "sliding_window", "size": 64, "min_pixels": 900, "keep_input": True}],
    "deep": [{"op": "mosaic", "keep_input": True}, {"op": "hflip"}, {"op": "mosaic"}],
}
QUICK = [
    ("jpg", True, "as they are"),
    ("jpg", False, "mosaic"),
    ("png", True, "windows"),
    ("png", False, "some windows"),
]


def scene(seed: int, rgb: bool) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Soft ground, discs and noise, more or less of each."""
    rng = np.random.default_rng(seed)
    channels = (3,) if rgb else ()
    ground = rng.normal(120, 50, (*rng.integers(3, 14, 2), *channels)).astype(np.float32)
    image = cv2.resize(ground, (200, 160), interpolation=cv2.INTER_CUBIC)
    for _ in range(int(rng.integers(3, 20))):
        colour = tuple(map(float, rng.integers(0, 255, 3)))
        center = (int(rng.integers(0, 200)), int(rng.integers(0, 160)))
        cv2.circle(image, center, int(rng.integers(5, 30)), colour if rgb else colour[:1], -1)
    noise = rng.normal(0, rng.uniform(0.5, 4), image.shape)
    return np.asarray(np.clip(image + noise, 0, 255), np.uint8)


def write(root: Path, suffix: str, rgb: bool, steps: list[dict[str, Any]], output: dict[str, Any]) -> Path:
    for folder in ("images", "masks/a"):
        (root / "data" / folder).mkdir(parents=True)
    for i in range(12):
        mask = np.zeros((160, 200), np.uint8)
        cv2.circle(mask, (80 + 3 * i, 70), 20 + 2 * i, (255,), -1)
        cv2.imwrite(str(root / f"data/images/{i:02d}.{suffix}"), scene(i, rgb))
        cv2.imwrite(str(root / f"data/masks/a/{i:02d}.png"), mask)
    source = {"format": "mask-folder", "path": "data"}
    recipe = {"name": "x", "source": source, "split": {"val": 0.3}, "steps": steps, "output": output}
    return put_text(root / "recipe.yaml", json.dumps(recipe))


def check(root: Path, suffix: str, rgb: bool, steps: list[dict[str, Any]], output: dict[str, Any]) -> None:
    recipe = write(root, suffix, rgb, steps, output)
    foreseen, written = build(recipe, root / "out", dry_run=True).bytes, build(recipe, root / "out").bytes
    assert 0.8 < foreseen / written < 1.2, (foreseen, written)
    known = build(recipe, root / "out", dry_run=True).bytes
    assert 0.9 < known / written < 1.1, (known, written)


@pytest.mark.parametrize(("suffix", "rgb", "steps"), QUICK)
def test_bytes_foreseen(tmp_path: Path, suffix: str, rgb: bool, steps: str) -> None:
    check(tmp_path, suffix, rgb, STEPS[steps], {})


@pytest.mark.slow
@pytest.mark.parametrize("output", [{}, {"image": "jpeg"}, {"size": 128}], ids=str)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("rgb", [True, False])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_bytes_foreseen_of_many_kinds(
    tmp_path: Path, suffix: str, rgb: bool, steps: str, output: dict[str, Any]
) -> None:
    check(tmp_path, suffix, rgb, STEPS[steps], output)


def test_a_dry_run_writes_nothing_to_try(tmp_path: Path) -> None:
    build(write(tmp_path, "png", True, STEPS["deep"], {}), tmp_path / "out", dry_run=True)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_made_to_try_stops_no_dry_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = write(tmp_path, "png", True, STEPS["mosaic"], {})
    source = load_recipe(recipe).source
    monkeypatch.setattr(type(source), "load", lambda *_: 1 / 0)
    assert build(recipe, tmp_path / "out", dry_run=True).bytes > 0
