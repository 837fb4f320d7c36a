"""What a build would do and why: the tasks that are named are those that then run, each for its reason."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from toybox import annotation, edit_json, move_a_point, tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.engine.explaining import Explanation, count_reasons, explain
from augforge.engine.jobs import Job
from augforge.engine.pipeline import Pipeline
from augforge.ops import OPS
from augforge.store.codec import library_versions
from augforge.store.gc import collect
from augforge.store.manifest import read_manifest

STEPS = (
    "{op: class_area, relative_to: picture, min_samples: 3, threshold: 90}",
    "{op: hflip, keep_input: true}",
    "{op: mosaic, grid: [1, 2], keep_input: true}",
    "{op: rotate, angle_range: [-30, 30], where: \"name LIKE 'mosaic/%'\", keep_input: true}",
)
FIRST = "ID001/image0000000000001"


class Bench:
    """A dataset that is built, changed, explained and built again."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.folder, self.recipe = root, root / "out", root / "recipe.yaml"
        self.performed: list[Job] = []
        tiny_hands(root / "data", (10, 60, 90, 120, 150))
        self.write()
        perform = Pipeline._perform

        def recording(pipeline: Pipeline, jobs: Sequence[Job], label: str) -> None:
            self.performed += jobs
            perform(pipeline, jobs, label)

        monkeypatch.setattr(Pipeline, "_perform", recording)

    def write(self, steps: Sequence[str] = STEPS, **recipe: Any) -> None:
        write_recipe(self.recipe, self.root / "data", steps, **{"classes": "[a, b]", **recipe})

    def build(self) -> str:
        return build(self.recipe, self.folder).version

    def explain(self, check: bool = True) -> Explanation:
        """The explanation, after a check that a build then does the same and gives the version that was foreseen."""
        before = read_manifest(self.folder).version if self.folder.exists() else None
        found = explain(self.recipe, self.folder)
        self.performed.clear()
        version = self.build()
        if check:
            tasks = [job for job in self.performed if job.task is not None]
            assert len(tasks) == sum(each.work in ("run", "again") for each in found.work)
            encoded = [job for job in self.performed if job.task is None and job.encoding is not None]
            assert len(encoded) <= sum(each.work == "encode" for each in found.work)
        assert found.unchanged in (None, version == before)
        assert found.next_version in (None, version)
        assert found.version_note == ("" if found.next_version else "depends on pixels")
        assert all(each.reasons for each in found.work)
        return found


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


@pytest.fixture
def built(bench: Bench) -> Bench:
    bench.build()
    return bench


def reasons(found: Explanation, *works: str) -> set[tuple[str, str, str]]:
    return {reason for each in found.work if not works or each.work in works for reason in each.reasons}


def test_without_a_dataset_everything_is_new_and_nothing_is_written(bench: Bench) -> None:
    found = explain(bench.recipe, bench.folder)
    assert not bench.folder.exists()
    assert (found.version, found.unchanged) == (None, False)
    assert {kind for kind, _, _ in reasons(found)} == {"new"}
    assert len(found.work) > 5


def test_nothing_would_run(built: Bench) -> None:
    found = built.explain()
    assert (found.work, found.unchanged, found.version) == ([], True, read_manifest(built.folder).version)


def test_the_version_of_an_earlier_recipe_is_known(built: Bench) -> None:
    """All its shards are in the records of the version that has them."""
    first = read_manifest(built.folder).version
    built.write(STEPS[:2])
    second = built.explain()
    assert (second.next_version, second.unchanged) == (None, False)
    built.write()
    assert (built.explain().next_version, read_manifest(built.folder).version) == (first, first)


def test_a_dry_run_has_the_version_or_says_what_it_depends_on(built: Bench) -> None:
    version = read_manifest(built.folder).version
    dry = build(built.recipe, built.folder, dry_run=True)
    assert (dry.version, dry.unchanged, dry.version_note) == (version, True, "")
    dry = build(built.recipe, built.root / "new", dry_run=True)
    assert (dry.version, dry.unchanged, dry.version_note) == ("", False, "depends on pixels")
    built.write(seed=5)
    dry = build(built.recipe, built.folder, dry_run=True)
    assert (dry.version, dry.version_note) == ("", "depends on pixels")


def test_other_metadata_is_another_version_though_no_task_runs(built: Bench) -> None:
    """No id changes, but shards hold the metadata."""
    (built.root / "data/ages.csv").write_text("ID,age\nID001,7\n")
    text = built.recipe.read_text()
    built.recipe.write_text(text.replace("format: hand-bone,", "format: hand-bone, metadata: ages.csv,"))
    found = built.explain()
    assert (found.work, found.unchanged, found.next_version) == ([], False, None)


def test_an_edited_annotation(built: Bench) -> None:
    edit_json(annotation(built.root / "data", FIRST), move_a_point)
    found = built.explain(check=False)
    assert ("source", FIRST, "image or annotation changed") in reasons(found, "run")
    assert {kind for kind, _, _ in reasons(found)} <= {"source", "step"}
    assert not found.unchanged
    grouped = count_reasons(found.work)
    assert sum(row["tasks"] for row in grouped if row["kind"] == "source") >= 3
    assert grouped[0]["examples"]


def test_a_new_and_a_gone_source(built: Bench) -> None:
    tiny_hands(built.root / "data", (10, 60, 90, 120, 150, 180))
    assert ("source", "ID006/image0000000000006", "is new") in reasons(built.explain(check=False))
    for part in ("DCM", "outputs_json"):
        shutil.rmtree(built.root / f"data/train/{part}/ID006")
    found = built.explain()
    assert found.samples["removed"]
    assert found.work == []


def test_a_parameter_a_new_and_a_gone_step(built: Bench) -> None:
    built.write((*STEPS[:3], STEPS[3].replace("[-30, 30]", "[-9, 9]")))
    assert reasons(built.explain(), "run") == {("step", "rotate", "angle_range: [-30, 30] -> [-9, 9]")}
    built.write((*STEPS[:3], "{op: vflip}"))
    assert ("step", "vflip", "is new") in reasons(built.explain(), "run")
    built.write((STEPS[0], *STEPS[2:3]))
    assert {kind for kind, _, _ in reasons(built.explain())} <= {"partners", "step", "missing", "passing"}


def test_another_seed(built: Bench) -> None:
    built.write(seed=5)
    found = reasons(built.explain(check=False), "run")
    assert {what for kind, what, _ in found if kind == "step"} == {"mosaic", "rotate"}
    assert {detail for _, _, detail in found} == {"seed: 21 -> 5"}


def test_another_encoding(built: Bench) -> None:
    built.write(output="{image: jpeg}")
    assert {kind for kind, _, _ in reasons(built.explain(check=False), "encode")} == {"encoding"}


def test_an_op_of_another_version(built: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPS._entries, "rotate", replace(OPS["rotate"], version=9))
    assert reasons(built.explain(), "run") == {("step", "rotate", "op version 1 -> 9")}


def test_other_libraries(built: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from augforge.engine import opening

    libraries = {**library_versions(), "numpy": "0.1"}
    monkeypatch.setattr(opening, "library_versions", lambda: libraries)
    found = built.explain(check=False)
    assert {(kind, what) for kind, what, _ in reasons(found, "run", "encode")} == {("library", "numpy")}


def test_a_missing_shard(built: Bench) -> None:
    manifest = read_manifest(built.folder)
    train = next(shard.path for shard in manifest.shards if shard.split == "train")
    collect(built.folder, now=True)
    (built.folder / train).unlink()
    found = built.explain()
    assert {kind for kind, _, _ in reasons(found)} == {"missing"}
    assert ("missing", train, "the shard is damaged or gone") in reasons(found, "again", "encode")
    assert found.unchanged


def test_missing_records(built: Bench) -> None:
    collect(built.folder, now=True)
    (built.folder / read_manifest(built.folder).ledger_path).unlink()
    found = built.explain(check=False)
    assert ("missing", "", "its result is not in the records of any version") in reasons(found, "run")
    assert ("missing", "", "no measurement is recorded") in reasons(found, "measure")


def test_a_missing_table_of_stages_costs_reasons_alone(built: Bench) -> None:
    (built.folder / read_manifest(built.folder).stages_path).unlink()
    assert built.explain().unchanged


def test_nothing_is_written_to_a_dataset(built: Bench) -> None:
    built.write(seed=5)
    before = {path: path.stat().st_mtime_ns for path in built.folder.rglob("*") if path.name != "files.sqlite"}
    explain(built.recipe, built.folder)
    assert {path: path.stat().st_mtime_ns for path in built.folder.rglob("*") if path.name != "files.sqlite"} == before


def test_a_filter_that_changes_what_remains_is_no_task_but_another_version(built: Bench) -> None:
    collect(built.folder, now=True)
    built.write((*STEPS, "{op: where, condition: \"name NOT LIKE '%~rotate'\"}"))
    found = built.explain()
    assert not found.unchanged
    assert found.samples["removed"] == (found.samples["now"] or 0) - (found.samples["planned"] or 0)
    assert found.samples["removed"]


def test_reasons_are_counted_once_a_task(built: Bench) -> None:
    shutil.rmtree(built.folder)
    found = explain(built.recipe, built.folder)
    grouped = count_reasons(found.work)
    assert sum(row["tasks"] for row in grouped) == len(found.work)
    assert pl.DataFrame(grouped)["tasks"].is_sorted(descending=True)
