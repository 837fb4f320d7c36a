"""Pictures of different splits that look nearly the same: a build that reads them anyway tells of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from makedata import block, put_pixels, put_text
from typer.testing import CliRunner

from augforge.cli import app as cli
from augforge.engine import comparing
from augforge.engine.builder import build
from augforge.engine.explaining import explain
from augforge.engine.pipeline import Pipeline
from augforge.engine.summary import Summary
from augforge.errors import PlanError
from augforge.files import file_sha256
from augforge.store.manifest import read_manifest

ALIKE = "nearly the same picture in two splits"


def picture(seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Twelve rectangles of drawn places and gray values."""
    rng = np.random.default_rng(seed)
    found = np.full((200, 160), 30, np.uint8)
    for _ in range(12):
        x, y, gray = int(rng.integers(0, 120)), int(rng.integers(0, 150)), int(rng.integers(60, 250))
        cv2.rectangle(found, (x, y), (x + 40, y + 50), (gray,), -1)
    return found


def write(root: Path, copies: bool = True, **keys: Any) -> Path:
    """Three pictures of train, two of val, of which one is a brighter copy of train's first; and a recipe."""
    pictures = {"train/a": 1, "train/b": 2, "train/c": 3, "val/d": 4, "val/e": 1 if copies else 5}
    for name, seed in pictures.items():
        pixels = picture(seed)
        put_pixels(root / f"data/images/{name}.png", pixels if name != "val/e" else cv2.convertScaleAbs(pixels, beta=9))
        put_pixels(root / f"data/masks/heart/{name}.png", block(2, 2, 9, 9, size=(160, 200)))
    return rewrite(root, **keys)


def rewrite(root: Path, **keys: Any) -> Path:
    """The recipe alone."""
    recipe = {"name": "x", "source": {"format": "mask-folder", "path": "data"}, "steps": [{"op": "hflip"}], **keys}
    return put_text(root / "recipe.yaml", json.dumps(recipe, indent=1))


def run(recipe: Path, **options: Any) -> Summary:
    return build(recipe, recipe.parent / "out", **options)


def kinds(summary: Summary) -> list[str]:
    return [found.kind for found in summary.findings]


def test_a_build_tells_of_pictures_that_look_nearly_the_same(tmp_path: Path) -> None:
    recipe = write(tmp_path)
    assert not run(recipe, dry_run=True).findings  # nothing is decoded yet
    (found,) = run(recipe).findings
    assert (found.kind, found.names) == (ALIKE, ("train/a", "val/e"))
    (entry,) = read_manifest(tmp_path / "out").findings
    assert (entry.kind, entry.names) == (ALIKE, ["train/a", "val/e"])
    assert kinds(run(recipe, dry_run=True)) == kinds(run(recipe)) == [ALIKE]
    assert [each.kind for each in explain(recipe, tmp_path / "out").findings] == [ALIKE]
    result = CliRunner().invoke(cli.app, ["build", str(recipe), "--out", str(tmp_path / "out"), "--json"])
    assert [each["kind"] for each in json.loads(result.stdout)["findings"]] == [ALIKE]


def test_a_strict_build_refuses_before_the_commit_and_goes_on_once_it_is_accepted(tmp_path: Path) -> None:
    for keys in ({"strict": True}, {"split": {"leaks": "stop"}}):
        recipe = write(tmp_path / next(iter(keys)), **keys)
        with pytest.raises(PlanError, match="nearly the same picture: train/a"):
            run(recipe)
        out = recipe.parent / "out"
        assert not (out / "manifest.yaml").exists() and not list((out / "shards").glob("*.parquet"))
        accept = [{"kind": ALIKE, "names": ["train/a", "val/e"], "why": "a phantom"}]
        summary = run(rewrite(recipe.parent, **keys, accept=accept))
        assert not summary.findings and [each.why for each in summary.accepted] == ["a phantom"]
        assert [step["made"] for step in summary.steps] == [{}], "what the refused build made is taken over"
        with pytest.raises(PlanError, match="nearly the same"):  # now that all hashes are known
            run(rewrite(recipe.parent, **keys), dry_run=True)


def test_an_entry_of_accept_that_waits_for_pictures_is_told_only_once_they_are_compared(tmp_path: Path) -> None:
    accept = [{"kind": ALIKE, "why": "a phantom"}]
    recipe = write(tmp_path, copies=False, accept=accept)
    assert kinds(run(recipe, dry_run=True)) == []
    assert kinds(run(recipe)) == ["accept without effect"]
    only = {"split": {"compare": "bytes"}, "accept": accept}
    assert kinds(run(rewrite(tmp_path, **only), dry_run=True)) == ["accept without effect"]


def test_hashes_enter_no_version_and_a_build_without_them_takes_them_later(tmp_path: Path) -> None:
    recipe = write(tmp_path, split={"compare": "bytes"})
    before = run(recipe)
    assert not before.findings
    after = run(rewrite(tmp_path))
    assert (after.version, after.unchanged, after.made, kinds(after)) == (before.version, True, 0, [ALIKE])
    assert {step["op"]: step["made"] for step in after.steps} == {"hflip": {}}


def test_a_rebuild_hashes_what_is_new_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(write(tmp_path))
    hashed: list[str] = []
    perform = Pipeline._perform

    def watch(self: Pipeline, jobs: Any, label: str) -> None:
        hashed.extend(given.row.name for job in jobs for given in job.inputs if given.hash_picture)
        perform(self, jobs, label)

    monkeypatch.setattr(Pipeline, "_perform", watch)
    assert kinds(run(rewrite(tmp_path))) == [ALIKE] and not hashed
    put_pixels(tmp_path / "data/images/train/b.png", picture(9))
    mosaic = {"op": "mosaic", "grid": [1, 2], "keep_input": True}
    assert kinds(run(rewrite(tmp_path, steps=[mosaic]))) == [ALIKE] and hashed == ["train/b"]


def test_any_number_of_jobs_gives_the_same_files(tmp_path: Path) -> None:
    shas = []
    for jobs in (1, 2):
        recipe = write(tmp_path / str(jobs))
        run(recipe, jobs=jobs)
        manifest = read_manifest(recipe.parent / "out")
        assert file_sha256(recipe.parent / "out" / manifest.ledger_path) == manifest.files[-1].sha256
        shas.append([entry.sha256 for entry in manifest.files])
    assert shas[0] == shas[1]


def test_what_a_filter_rejected_is_no_leak(tmp_path: Path) -> None:
    steps = [{"op": "where", "condition": "name <> 'train/a'"}]
    assert not run(write(tmp_path, steps=steps)).findings
    bring = [{"op": "near_duplicates", "across_splits": "move"}]
    assert not run(rewrite(tmp_path, steps=bring)).findings


def test_too_many_pictures_are_told_and_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = write(tmp_path)
    monkeypatch.setattr(comparing, "MOST_PAIRS", 5)  # three times two are one more
    summary = run(recipe)
    assert not summary.findings and any("5 pictures are too many to compare" in text for text in summary.warnings)
    monkeypatch.setattr(comparing, "MOST_PAIRS", 6)
    assert kinds(run(recipe)) == [ALIKE]


def test_pictures_that_cannot_be_hashed_any_more_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(write(tmp_path, split={"compare": "bytes"}))

    def fail(image: object) -> str:
        raise ValueError("broken")

    monkeypatch.setattr("augforge.sources.plausibility.pictures.picture_hash", fail)
    summary = run(rewrite(tmp_path))
    assert summary.unchanged and any("were not compared" in text for text in summary.warnings)
