"""What differs between versions, and through what: each kind of change, made by itself, is named as the cause."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from toybox import annotation, edit_json, ids, move_a_point, tiny_hands, with_index, write_recipe

from augforge.engine.builder import build
from augforge.errors import DatasetError
from augforge.ops import OPS
from augforge.report.difference import compare_versions
from augforge.report.difference_text import render_difference
from augforge.store.dataset import open_dataset
from augforge.store.tables import open_place, read_stages, split_place

STEPS = ("{op: resize, size: 20}", "{op: hflip, keep_input: true}", "{op: mosaic, grid: [1, 2], keep_input: true}")
FIRST = "ID001/image0000000000001"


class Bench:
    """A dataset that is built, changed and built again."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "out"
        tiny_hands(root / "data", (10, 60, 90, 120, 150))
        self.before = self.build()

    def build(self, steps: tuple[str, ...] = STEPS, **recipe: Any) -> str:
        recipe = {"classes": "[a, b]", **recipe}
        return build(write_recipe(self.root / "recipe.yaml", self.root / "data", steps, **recipe), self.folder).version

    def compare(self) -> dict[str, Any]:
        """The report, after a check that it lists what comparing names and ids one by one finds."""
        old, new = open_dataset(self.folder, self.before), open_dataset(self.folder)
        report = compare_versions(old, new)
        before, after = (dict(each.index.select("name", "id").rows()) for each in (old, new))
        samples = {kind: [row["name"] for row in rows] for kind, rows in report["samples"].items() if kind[1:]}
        assert samples["added"] == sorted(after.keys() - before.keys())
        assert samples["removed"] == sorted(before.keys() - after.keys())
        different = {name for name in before.keys() & after.keys() if before[name] != after[name]}
        assert different <= set(samples["changed"])
        for kind in ("added", "removed", "changed"):
            assert all(row["causes"] for row in report["samples"][kind])
        render_difference(report, Console(file=io.StringIO(), width=80))
        return report


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def causes(report: dict[str, Any], change: str) -> set[tuple[str, str]]:
    return {(cause["kind"], cause["what"]) for cause in report["causes"] if cause["change"] == change}


def details(report: dict[str, Any]) -> set[str]:
    return {cause["detail"] for cause in report["causes"]}


def test_nothing_differs(bench: Bench) -> None:
    report = bench.compare()
    assert report["equal"]
    assert report["sentence"] == f"Nothing differs: both hold version {bench.before} with 17 samples."
    assert not any(report[part] for part in ("causes", "classes", "splits", "rejected", "fitted", "libraries"))


def test_an_edited_annotation_changes_what_is_rooted_in_it(bench: Bench) -> None:
    edit_json(annotation(bench.root / "data", FIRST), move_a_point)
    bench.build()
    report = bench.compare()
    assert causes(report, "changed") == {("source", FIRST)}
    assert details(report) == {"image or annotation changed"}
    rooted = {row["name"] for row in open_dataset(bench.folder).index.to_dicts() if FIRST in str(row["lineage"])}
    assert {row["name"] for row in report["samples"]["changed"]} == rooted
    assert report["sentence"].endswith(f"{len(rooted)} changed, through source sample {FIRST}.")
    assert {entry["name"] for entry in report["classes"]} <= {"a", "b"}
    assert not report["recipe"]["diff"]
    assert not report["equal"]


def test_a_changed_parameter_is_named_with_both_values(bench: Bench) -> None:
    bench.build(("{op: resize, size: 16}", *STEPS[1:]))
    report = bench.compare()
    assert causes(report, "changed") == {("step", "resize")}
    assert details(report) == {"size: 20 -> 16"}
    assert [line for line in report["recipe"]["diff"] if line[:2] in ("- ", "+ ")] == [
        "-   - {op: resize, size: 20}".replace("-   -", "-  -"),
        "+  - {op: resize, size: 16}",
    ]


def test_steps_that_come_and_go(bench: Bench) -> None:
    bench.build((STEPS[0], STEPS[1]))
    gone = bench.compare()
    assert causes(gone, "removed") == {("step", "mosaic")}
    assert details(gone) == {"is gone"}
    assert not gone["samples"]["changed"]
    bench.before = open_dataset(bench.folder).version
    bench.build()
    come = bench.compare()
    assert causes(come, "added") == {("step", "mosaic")}
    assert details(come) == {"is new"}


def test_a_step_before_the_others_that_is_gone(bench: Bench) -> None:
    bench.build(STEPS[1:])
    report = bench.compare()
    assert causes(report, "changed") == {("step", "resize")}
    assert details(report) == {"is gone"}


def test_sources_that_come_and_go(bench: Bench) -> None:
    for part in ("DCM", "outputs_json"):
        shutil.rmtree(bench.root / f"data/train/{part}/ID001")
    bench.build()
    gone = bench.compare()
    assert causes(gone, "removed") == {("source", FIRST)}
    assert causes(gone, "changed") <= {("partners", "mosaic")}
    assert "is gone" in details(gone)
    bench.before = open_dataset(bench.folder).version
    tiny_hands(bench.root / "data", (10,))
    bench.build()
    assert causes(bench.compare(), "added") == {("source", FIRST)}


def test_a_filter_is_the_cause_of_what_it_rejects_and_of_what_was_made_of_it(bench: Bench) -> None:
    bench.build((*STEPS[:2], "{op: where, condition: \"name NOT LIKE 'ID001%'\"}", STEPS[2]))
    report = bench.compare()
    names = {row["name"] for row in report["samples"]["removed"]}
    assert {FIRST, f"{FIRST}~hflip", f"mosaic/{FIRST}-1"} <= names
    assert {kind for kind, _ in causes(report, "removed")} == {"rejected"}
    assert [row["a"] for row in report["rejected"]] == [0]
    bench.before = open_dataset(bench.folder).version
    bench.build()
    back = bench.compare()
    assert {row["name"] for row in back["samples"]["added"]} == names
    assert {kind for kind, _ in causes(back, "added")} == {"rejected"}


def test_another_seed_is_a_cause_for_what_chance_decides(bench: Bench) -> None:
    bench.build(seed=5)
    report = bench.compare()
    assert causes(report, "changed") == {("step", "mosaic")}
    assert details(report) == {"seed: 21 -> 5"}


def test_an_op_of_another_version(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPS._entries, "hflip", replace(OPS["hflip"], version=9))
    bench.build()
    report = bench.compare()
    assert causes(report, "changed") == {("step", "hflip")}
    assert details(report) == {"op version 1 -> 9"}
    assert report["ops"] == [{"op": "hflip", "a": 1, "b": 9}]


def test_another_encoding_and_split(bench: Bench) -> None:
    bench.build(output="{image: jpeg}", split="{val: [ID003]}")
    report = bench.compare()
    assert ("encoding", "output") in causes(report, "changed")
    assert report["encoding"] == [{"name": "encoding", "a": "png", "b": "jpeg-95"}]
    assert {(row["name"], row["a"], row["b"]) for row in report["samples"]["moved"]} >= {
        ("ID002/image0000000000002", "val", "train"),
        ("ID003/image0000000000003", "train", "val"),
    }


def test_a_class_table_changes_every_sample(bench: Bench) -> None:
    bench.build(classes="[a, b, c]")
    report = bench.compare()
    assert {kind for kind, _ in causes(report, "changed")} == {"options"}
    assert any(text.startswith("classes changed") for text in details(report))
    (entry,) = (entry for entry in report["classes"] if entry["name"] == "c")
    assert entry["pixels"]["a"] is None


def test_a_comment_in_the_recipe_is_a_difference_of_its_lines_alone(bench: Bench) -> None:
    path = bench.root / "recipe.yaml"
    path.write_text(path.read_text() + "# a comment\n")
    build(path, bench.folder)
    report = compare_versions(open_dataset(bench.folder), open_dataset(bench.folder))
    assert report["equal"]
    other = bench.root / "other"
    build(write_recipe(path, bench.root / "data", STEPS, classes="[a, b]"), other)
    report = compare_versions(open_dataset(bench.folder), open_dataset(other))
    assert "-# a comment" in report["recipe"]["diff"]
    assert report["sentence"] == "All 17 samples are the same, but the recipe differs."


def test_overrides_of_the_last_build_count(bench: Bench) -> None:
    build(bench.root / "recipe.yaml", bench.folder, overrides=["steps.0.size=16"])
    report = bench.compare()
    assert causes(report, "changed") == {("step", "resize")}
    assert report["recipe"]["overrides"] == [{"key": "steps.0.size", "a": None, "b": 16}]


def test_fitted_values_are_compared(bench: Bench) -> None:
    steps = ("{op: class_area, relative_to: picture, min_samples: 3, threshold: 90}", *STEPS)
    bench.build(steps)
    bench.before = open_dataset(bench.folder).version
    edit_json(annotation(bench.root / "data", FIRST), move_a_point)
    bench.build(steps)
    report = bench.compare()
    fitted = [open_dataset(bench.folder, version).manifest.fitted for version in (bench.before, None)]
    assert report["fitted"] == [{"step": "class_area", "a": fitted[0]["class_area"], "b": fitted[1]["class_area"]}]


def test_two_datasets_and_a_url(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGFORGE_CACHE", str(tmp_path / "cache"))
    tiny_hands(tmp_path / "more", (10, 60))
    build(write_recipe(tmp_path / "b.yaml", tmp_path / "more", STEPS[:1], classes="[a, b]"), tmp_path / "b")
    report = compare_versions(open_place(f"file://{bench.folder}@{bench.before[:5]}"), open_place(str(tmp_path / "b")))
    assert report["a"]["place"] == f"file://{bench.folder}"
    assert set(ids(tmp_path / "b")) & {row["name"] for row in report["samples"]["removed"]} == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", ("a", None)),
        ("a@b", ("a", "b")),
        ("a/b@", ("a/b@", None)),
        ("@b", ("@b", None)),
        ("me@host/a", ("me@host/a", None)),
        ("s3://me@host/a@v1", ("s3://me@host/a", "v1")),
    ],
)
def test_places_with_versions(text: str, expected: tuple[str, str | None]) -> None:
    assert split_place(text) == expected


def test_a_folder_with_an_at_in_its_name_is_not_cut(tmp_path: Path) -> None:
    (tmp_path / "a@b").mkdir()
    assert split_place(f"{tmp_path}/a@b") == (f"{tmp_path}/a@b", None)
    assert split_place(f"{tmp_path}/a@b@c") == (f"{tmp_path}/a@b", "c")


def test_a_damaged_table_is_named(bench: Bench) -> None:
    dataset = open_dataset(bench.folder)
    path = bench.folder / dataset.manifest.stages_path
    path.write_bytes(b"nothing")
    with pytest.raises(
        DatasetError, match=rf"stages\.parquet is damaged: its SHA-256 .*augforge repair {bench.folder}"
    ):
        read_stages(dataset)
    before = with_index(dataset, dataset.index, files=[])  # as in format 1, without digests of tables
    with pytest.raises(DatasetError, match=r"stages\.parquet cannot be read .* Build the dataset again"):
        read_stages(before)
    dataset.index.write_parquet(path)
    with pytest.raises(DatasetError, match="has no column stage"):
        read_stages(before)
