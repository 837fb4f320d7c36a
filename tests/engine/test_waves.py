"""Jobs and shards made in waves give what they give at once, and one round takes out all unreadable samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toybox import MOSAIC, copy_tree, put_unreadable_pixels, rejected, shas, write_recipe

from augforge.engine import performing, pipeline, publish
from augforge.engine.builder import build
from augforge.phantom import write_phantom


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("waves")
    write_phantom(root / "data", persons=4, size=64, seed=7)
    return root / "data"


def in_waves(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Three jobs at a time, and one shard; the list grows by the jobs of each wave."""
    sizes: list[int] = []
    perform = performing.perform_jobs

    def counting(*arguments: Any) -> None:
        sizes.append(len(arguments[3]))
        perform(*arguments)

    monkeypatch.setattr(pipeline, "_WAVE_JOBS", 3)
    monkeypatch.setattr(pipeline, "_WAVE_JOBS_OF_WORKER", 0)
    monkeypatch.setattr(publish, "_WAVE_ROWS", 1)
    monkeypatch.setattr(pipeline, "perform_jobs", counting)
    return sizes


def test_the_same_bytes(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", data, MOSAIC)
    at_once = build(recipe, tmp_path / "one")
    sizes = in_waves(monkeypatch)
    assert build(recipe, tmp_path / "two").version == at_once.version
    assert shas(tmp_path / "one") == shas(tmp_path / "two")
    assert max(sizes) == 3 and len(sizes) > 4


def test_unreadable_samples_of_all_waves_are_refused_in_one_round(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_tree(data, tmp_path / "data")
    images = sorted((tmp_path / "data/train/DCM").rglob("*.png"))
    for path in (images[0], images[-1]):
        put_unreadable_pixels(path)
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "data", MOSAIC)
    recipe.write_text(recipe.read_text().replace("{format:", "{on_error: reject, format:"))
    rounds: list[Any] = []
    run_stages = pipeline.Pipeline._run_stages

    def running(self: Any, *arguments: Any) -> Any:
        rounds.append(arguments)
        return run_stages(self, *arguments)

    monkeypatch.setattr(pipeline.Pipeline, "_run_stages", running)
    in_waves(monkeypatch)
    build(recipe, tmp_path / "out")
    assert len(rounds) == 2
    assert rejected(tmp_path / "out")["reason"].to_list() == ["broken pixels"] * 2
