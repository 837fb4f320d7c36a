"""Worker processes start while the source is listed."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from joblib.externals.loky import reusable_executor
from toybox import MOSAIC, shas, write_recipe

from augforge.engine import builder, execute, starting
from augforge.engine.builder import build
from augforge.engine.starting import workers_starting
from augforge.errors import SourceError
from augforge.phantom import write_phantom


def _pid(_number: int) -> int:
    return os.getpid()


def test_work_finds_the_workers_that_were_started() -> None:
    with workers_starting(2):
        pass
    started = set(reusable_executor._executor._processes)
    found = set(execute.map_unordered(_pid, range(20), 2))
    assert found <= started and os.getpid() not in found


def test_one_job_starts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "map_unordered", lambda *_: pytest.fail("workers were started"))
    with workers_starting(1):
        pass


def test_nobody_waits_for_workers_when_listing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def stay(_jobs: int) -> None:
        release.wait(30)

    release = threading.Event()
    monkeypatch.setattr(starting, "_start_workers", stay)
    with pytest.raises(SourceError), workers_starting(2):
        raise SourceError("broken")
    release.set()


def test_only_a_first_build_starts_them_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def noting(jobs: int) -> object:
        asked.append(jobs)
        return workers_starting(1)

    monkeypatch.setattr(builder, "workers_starting", noting)
    write_phantom(tmp_path / "data", persons=2, size=64, seed=7)
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "data", MOSAIC[:1])
    for _ in range(2):
        build(recipe, tmp_path / "out", jobs=2)
    assert asked == [2, 1]


def test_bytes_do_not_depend_on_an_early_start(tmp_path: Path) -> None:
    write_phantom(tmp_path / "data", persons=12, size=64, seed=7)
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "data", MOSAIC)
    for jobs in (1, 2):
        build(recipe, tmp_path / f"jobs{jobs}", jobs=jobs)
    assert shas(tmp_path / "jobs1") == shas(tmp_path / "jobs2")
