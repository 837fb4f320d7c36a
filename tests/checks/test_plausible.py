"""`augforge check` of recipes and of raw data: what is implausible about them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from makedata import block, put_image, put_pixels, put_text
from typer.testing import CliRunner

from augforge.checks import Options, UsageError, find_targets, run_checks
from augforge.cli.app import app
from augforge.engine.builder import build


def write(root: Path) -> Path:
    """A set whose test image is that of train, and another one of train darker and smaller."""
    shapes = np.full((200, 160), 30, np.uint8)
    cv2.circle(shapes, (60, 80), 40, (200,), -1)
    cv2.rectangle(shapes, (90, 120), (150, 190), (120,), -1)
    smaller = cv2.convertScaleAbs(cv2.resize(shapes, (128, 160), interpolation=cv2.INTER_AREA), alpha=0.8)
    mirrored = shapes[:, ::-1].copy()
    for name, picture in {"train/a": mirrored, "train/b": shapes, "test/c": smaller, "test/d": mirrored}.items():
        put_pixels(root / f"images/{name}.png", picture)
        put_pixels(root / f"masks/heart/{name}.png", block(2, 2, 9, 9, size=picture.shape[::-1]))
    return root


def kinds(place: Path, **options: object) -> list[tuple[str, str]]:
    targets = find_targets(str(place), Options(**options))  # type: ignore[arg-type]
    return [(found.kind, found.level) for found in run_checks(targets.subjects, targets.first).findings]


LEAKS = ["same image in two splits", "nearly the same picture in two splits"]


def test_a_source_alone(tmp_path: Path) -> None:
    write(tmp_path / "data")
    assert kinds(tmp_path / "data", format="mask-folder") == [(kind, "warning") for kind in LEAKS]
    assert kinds(tmp_path / "data", format="mask-folder", strict=True) == [(kind, "error") for kind in LEAKS]
    settings = ("class_map.haert=heart",)
    assert kinds(tmp_path / "data", format="mask-folder", settings=settings)[0][0] == "class_map without effect"
    put_text(tmp_path / "data/images/train/a.png", "no image")
    assert kinds(tmp_path / "data", format="mask-folder") == [("broken source", "error")]


def test_a_recipe_is_checked_before_it_is_built(tmp_path: Path) -> None:
    write(tmp_path / "data")
    recipe = {"name": "x", "source": {"format": "mask-folder", "path": "data"}, "steps": []}
    put_text(tmp_path / "recipe.yaml", json.dumps(recipe))
    assert kinds(tmp_path / "recipe.yaml") == [(kind, "warning") for kind in LEAKS]
    accept = [{"kind": kind, "why": "it is a test"} for kind in LEAKS]
    put_text(tmp_path / "recipe.yaml", json.dumps({**recipe, "accept": accept, "strict": True}))
    assert kinds(tmp_path / "recipe.yaml") == []
    put_text(tmp_path / "recipe.yaml", json.dumps({**recipe, "accept": accept[:1], "strict": True}))
    assert kinds(tmp_path / "recipe.yaml") == [(LEAKS[1], "error")]


def test_a_registry_compares_bytes_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data")
    recipe = {"name": "x", "source": {"format": "mask-folder", "path": "data"}, "split": {"leaks": "tell"}}
    put_text(tmp_path / "recipe.yaml", json.dumps({**recipe, "steps": []}))
    build("recipe.yaml", register=True)
    found = kinds(tmp_path / "data_manifest.yaml")
    assert (LEAKS[0], "warning") in found and (LEAKS[1], "warning") not in found
    assert (LEAKS[1], "warning") in kinds(tmp_path / "data_manifest.yaml", pixels=True)


def test_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        find_targets(str(tmp_path / "nothing"), Options(format="coco"))
    with pytest.raises(UsageError, match="add --format"):
        find_targets(str(tmp_path), Options(settings=("classes=[a]",)))
    with pytest.raises(UsageError, match="unknown key"):
        find_targets(str(tmp_path), Options(format="coco", settings=("class=[a]",)))


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    write(tmp_path / "data")
    run = CliRunner().invoke
    done = run(app, ["check", str(tmp_path / "data"), "--format", "mask-folder", "--json"])
    assert done.exit_code == 0
    findings = json.loads(done.stdout)["findings"]
    assert [found["kind"] for found in findings] == LEAKS
    assert {"kind", "names", "message", "remedy"} <= findings[0].keys()
    assert run(app, ["check", str(tmp_path / "data"), "--format", "mask-folder", "--strict"]).exit_code == 1
    done = run(app, ["check", str(tmp_path / "data"), "--format", "mask-foldr"])
    assert done.exit_code == 2 and "mask-folder" in done.output
    done = run(app, ["check", str(tmp_path / "data"), "--format", "mask-folder", "--format", "github"])
    assert "::warning" in done.stdout


def test_small_and_blank_pictures_are_no_twins(tmp_path: Path) -> None:
    write(tmp_path)
    shutil.rmtree(tmp_path / "images")
    shutil.rmtree(tmp_path / "masks")
    for number, name in enumerate(("train/a", "test/b")):
        picture = np.full((60, 60), 9 + number, np.uint8)
        put_pixels(tmp_path / f"images/{name}.png", picture)
        put_pixels(tmp_path / f"masks/heart/{name}.png", block(2, 2, 9, 9, size=(60, 60)))
        put_image(tmp_path / f"images/{name}2.png")
        put_pixels(tmp_path / f"masks/heart/{name}2.png", block(2, 2, 9, 9))
    assert kinds(tmp_path, format="mask-folder") == []
