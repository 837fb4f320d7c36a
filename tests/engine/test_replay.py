"""Making a sample again: the same pixels and bytes through every kind of step and encoding, or why not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toybox import annotation, edit_json, move_a_point, tiny_hands, write_recipe

from augforge import bitmask
from augforge.engine.builder import build
from augforge.engine.replay import replay_sample
from augforge.errors import DatasetError
from augforge.ops import OPS
from augforge.phantom import write_phantom
from augforge.store.codec import Encoding
from augforge.store.dataset import Dataset, open_dataset

STEPS = (
    "{op: class_area, relative_to: picture, min_samples: 3, threshold: 90}",
    "{op: hflip, keep_input: true}",
    "{op: mosaic, keep_input: true}",
    "{op: sliding_window, size: 48, stride: 24}",
    "{op: rotate, angle_range: [-30, 30], where: \"name LIKE 'mosaic/%'\", keep_input: true}",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose steps measure, tile, cut, choose and draw; stored as JPEG."""
    root = tmp_path_factory.mktemp("replay")
    write_phantom(root / "data", persons=4, size=96, seed=3)
    recipe = write_recipe(root / "recipe.yaml", root / "data", STEPS, output="{image: jpeg, quality: 80, size: 40}")
    build(recipe, root / "out")
    return root


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """The same with files of its own; the source that the log names is moved."""
    for name in ("data", "out", "recipe.yaml"):
        (shutil.copytree if (built / name).is_dir() else shutil.copy)(built / name, tmp_path / name)
    return tmp_path


def tiny(root: Path, *steps: str, **recipe: Any) -> Dataset:
    tiny_hands(root / "data", (10, 60, 90, 120))
    build(write_recipe(root / "recipe.yaml", root / "data", steps, classes="[a, b]", **recipe), root / "out")
    return open_dataset(root / "out")


def test_every_kind_of_sample_is_equal(built: Path) -> None:
    dataset = open_dataset(built / "out")
    kinds = dataset.index.unique(["step", "split"], maintain_order=True)["name"]
    assert len(kinds) >= 3
    for name in kinds:
        found = replay_sample(dataset, name)
        assert (found.verdict, found.reasons, found.bytes_equal) == ("equal", [], True), name
        assert found.image_equal and found.masks_equal and found.differing_pixels == 0
        assert len({*found.pixels.values()}) == 1


def test_only_the_tasks_that_it_needs_are_performed(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(built / "out")
    name = next(name for name in dataset.index["name"] if name.startswith("mosaic/") and "~rotate" in name)
    encode, count = Encoding.encode, []

    def counting(self: Encoding, image: np.ndarray) -> bytes:
        count.append(1)
        return encode(self, image)

    monkeypatch.setattr(Encoding, "encode", counting)
    assert replay_sample(dataset, name).verdict == "equal"
    assert len(count) < len(dataset) / 4


def test_nothing_is_written_to_the_dataset(copy: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (copy / "out").rglob("*")}
    dataset = open_dataset(copy / "out")
    assert replay_sample(dataset, dataset.index["name"][0], str(copy / "data")).verdict == "equal"
    assert {path: path.stat().st_mtime_ns for path in (copy / "out").rglob("*")} == before


@pytest.mark.parametrize("lost", ["index/*.ledger.parquet", "work/files.sqlite", "log.jsonl"])
def test_caches_and_log_may_be_gone(copy: Path, lost: str) -> None:
    for path in (copy / "out").glob(lost):
        path.unlink()
    dataset = open_dataset(copy / "out")
    assert replay_sample(dataset, dataset.index["name"][-1], str(copy / "data")).verdict == "equal"


def test_a_url_needs_to_be_told_the_source(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGFORGE_CACHE", str(tmp_path / "cache"))
    dataset = open_dataset(f"file://{built}/out")
    name = dataset.index["name"][0]
    found = replay_sample(dataset, name)
    assert found.verdict == "cannot be made"
    assert "does not say where its source lies. Say it: --source PATH" in found.reasons[0]
    assert replay_sample(dataset, name, str(built / "data")).verdict == "equal"


def test_unknown_samples_name_the_nearest(built: Path) -> None:
    dataset = open_dataset(built / "out")
    name = dataset.index["name"][0]
    with pytest.raises(DatasetError, match="Did you mean"):
        replay_sample(dataset, f"{name}x")


def test_an_edited_annotation_is_told(tmp_path: Path) -> None:
    dataset = tiny(tmp_path, "{op: hflip}")
    name = "ID001/image0000000000001"
    edit_json(annotation(tmp_path / "data", name), move_a_point)
    found = replay_sample(dataset, f"{name}~hflip")
    assert found.verdict == "cannot be made"
    assert "something that decides its pixels was changed since" in found.reasons[0]
    assert replay_sample(dataset, "ID003/image0000000000003~hflip").verdict == "equal"


def test_a_source_image_that_is_gone_is_named(tmp_path: Path) -> None:
    dataset = tiny(tmp_path, "{op: mosaic, grid: [1, 2], keep_input: true}")
    for part in ("DCM", "outputs_json"):
        shutil.rmtree(tmp_path / f"data/train/{part}/ID001")
    found = replay_sample(dataset, "ID001/image0000000000001")
    assert (found.verdict, "no longer makes" in found.reasons[0]) == ("cannot be made", True)
    rows = dataset.index.rows(named=True)
    partner = next(
        row["name"] for row in rows if "ID001/image0000000000001" in row["parents"] and "ID001" not in row["name"]
    )
    assert "the source holds no 'ID001/image0000000000001' any more" in replay_sample(dataset, partner).reasons[0]
    assert replay_sample(dataset, "ID003/image0000000000003").verdict == "equal"


def test_a_source_that_moved(tmp_path: Path) -> None:
    dataset = tiny(tmp_path)
    (tmp_path / "data").rename(tmp_path / "moved")
    name = dataset.index["name"][0]
    assert "the source is not at" in replay_sample(dataset, name).reasons[0]
    assert replay_sample(dataset, name, str(tmp_path / "moved")).verdict == "equal"


def test_overrides_and_the_review_of_the_build_count(tmp_path: Path) -> None:
    tiny_hands(tmp_path / "data", (10, 60, 90, 120))
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "data", ["{op: resize, size: 8}"], classes="[a, b]")
    recipe.write_text(recipe.read_text() + "review: review.yaml\n")
    (tmp_path / "review.yaml").write_text("samples: {ID001/image0000000000001: {verdict: drop}}\n")
    build(recipe, tmp_path / "out", overrides=["steps.0.size=12"])
    dataset = open_dataset(tmp_path / "out")
    assert dataset.index["width"].max() == 12
    assert replay_sample(dataset, "ID003/image0000000000003").verdict == "equal"
    (tmp_path / "review.yaml").unlink()
    assert replay_sample(dataset, "ID003/image0000000000003").verdict == "equal", "the manifest holds the review"
    (tmp_path / "out/log.jsonl").unlink()
    found = replay_sample(dataset, "ID003/image0000000000003", str(tmp_path / "data"))
    assert found.verdict == "equal", "and the overrides"


def test_an_op_of_another_version_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = tiny(tmp_path, "{op: hflip}")
    monkeypatch.setitem(OPS._entries, "hflip", replace(OPS["hflip"], version=9))
    found = replay_sample(dataset, "ID001/image0000000000001~hflip")
    assert found.verdict == "cannot be made"
    assert "the op hflip was version 1; it is version 9 now" in found.reasons


def test_an_op_that_gives_other_pixels_under_one_version_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = tiny(tmp_path, "{op: hflip}")
    changed = replace(OPS["hflip"], apply=OPS["vflip"].apply)
    monkeypatch.setitem(OPS._entries, "hflip", changed)
    found = replay_sample(dataset, "ID001/image0000000000001~hflip")
    assert (found.verdict, found.bytes_equal, found.image_equal) == ("different", False, False)
    assert found.pixels["recorded"] == found.pixels["stored"] != found.pixels["made"]
    assert found.differing_pixels


def test_damaged_stored_pixels_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = tiny(tmp_path)
    decode = bitmask.decode
    broken = iter([True])

    def flip_once(*arguments: object) -> np.ndarray:
        planes = decode(*arguments)  # type: ignore[arg-type]
        return ~planes if next(broken, False) else planes

    monkeypatch.setattr("augforge.store.dataset.bitmask.decode", flip_once)
    found = replay_sample(dataset, "ID001/image0000000000001")
    assert found.verdict == "different"
