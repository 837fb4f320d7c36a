"""`augforge check`: every kind of finding in a repository that was broken on purpose, and none in one that was not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
from checkable import Repository, current, repository_fixture  # noqa: F401
from toybox import annotation, class_pixels, edit_json, move_a_point, put_hand, write_recipe

from augforge.checks import CHECKS, Check, Finding, NotChecked
from augforge.checks.core import Outcome, findings_of_error, perform
from augforge.checks.limits import measure_classes
from augforge.checks.recorded import _verdict
from augforge.engine.builder import build
from augforge.engine.explaining import explain
from augforge.errors import RecipeError, SourceError
from augforge.ops import OPS
from augforge.store.dataset import open_dataset
from augforge.store.history import tag_version
from augforge.store.verification import report as verification

FIRST = "ID001/image0000000000001"


# ---- nothing is wrong ------------------------------------------------------------------------------------------------

KEPT = """\
baseline: v1
min_samples: {train: {"*": 1, a: 8}, val: 2}
max_drift: {area: 0, count: 0.5}
max_rejected: 0.1
licences: [CC0-1.0]
"""


def test_a_sound_repository_has_no_findings(repository: Repository) -> None:
    report = repository.check(require_data=True, pixels=True)
    assert report.findings == [] and report.not_checked == [] and report.exit_code == 0
    assert {each.check for each in report.checked} == {
        "registry",
        "recipe",
        "plausible",
        "source",
        "version",
        "whole",
        "splits",
        "pixels",
    }


def test_a_policy_that_is_kept_gives_no_findings(repository: Repository) -> None:
    repository.edit("data_manifest.yaml", "licence:", "licence: CC0-1.0")
    tag_version(repository.folder, "v1")
    repository.policy(KEPT)
    report = repository.check(require_data=True)
    assert report.findings == [] and report.exit_code == 0
    assert {"policy", "samples", "drift", "rejected", "licences"} <= {each.check for each in report.checked}


@pytest.mark.parametrize("place", ["datasets/toy", "recipe.yaml", "data_manifest.yaml", ".", "datasets/toy@v1"])
def test_whatever_is_named(repository: Repository, place: str) -> None:
    tag_version(repository.folder, "v1")
    report = repository.check(place)
    assert report.findings == [] and report.exit_code == 0
    assert {each.check for each in report.checked} >= {"recipe", "source", "whole", "splits", "pixels"}
    assert {"version"} == {each.check for each, _ in report.not_checked} or "@" not in place


def test_a_url(repository: Repository) -> None:
    report = repository.check(f"file://{repository.folder}")
    assert report.findings == []
    assert {each.check for each in report.checked} >= {"whole", "splits", "pixels"}
    assert repository.check(datasets=f"file://{repository.folder.parent}").findings == []


# ---- where no data lies ----------------------------------------------------------------------------------------------


def test_without_data_structure_and_digests_are_checked(repository: Repository) -> None:
    repository.policy("min_samples: {train: 1}\nmax_rejected: 0.5\n")
    shutil.rmtree(repository.folder)
    shutil.rmtree(repository.data)
    report = repository.check()
    assert report.findings == [] and report.exit_code == 0
    assert {each.check for each in report.checked} == {"registry", "recipe", "policy"}
    missed = {each.check: reason for each, reason in report.not_checked}
    assert set(missed) == {"source", "plausible", "version", "whole", "splits", "pixels", "samples", "rejected"}
    assert {each.cause for each in missed.values()} == {"absent"}
    assert "data" in missed["source"].reason and "datasets/toy" in missed["whole"].reason
    assert repository.check(require_data=True).exit_code == 3
    repository.edit("recipe.yaml", "seed: 21", "seed: 22")
    assert repository.check(require_data=True).exit_code == 1


def test_the_source_is_found_where_it_was_registered(repository: Repository) -> None:
    repository.edit("recipe.yaml", '"data"', '"elsewhere"')
    assert repository.findings() == {}
    assert "source" in {each.check for each in repository.check().checked}


def test_data_that_cannot_be_read_is_no_success(repository: Repository) -> None:
    """Here because a package is not installed that the source needs."""
    shutil.rmtree(repository.folder)
    repository.registry.unlink()
    repository.recipe.write_text("name: toy\nsource: {format: datumaro, path: data}\nsteps: []\n")
    report = repository.check("recipe.yaml")
    assert [(each.check, why.cause) for each, why in report.not_checked if why.cause == "failed"] == [
        ("source", "failed")
    ]
    assert report.findings == [] and report.exit_code == 3


def test_a_check_that_cannot_go_on_keeps_what_it_found() -> None:
    def find(subject: Any) -> Any:
        yield Finding("something", "is wrong")
        raise OSError(5, "Input/output error", "a.parquet")

    outcome = perform(Check("some", find), type("Named", (), {"name": "toy"})())
    assert outcome.findings == [Finding("something", "is wrong")]
    assert outcome.not_checked == [NotChecked("a.parquet: Input/output error", "failed")]


def test_tables_that_hold_what_no_build_writes_are_no_traceback(repository: Repository) -> None:
    def find(subject: Any) -> Any:
        yield pl.DataFrame().select("nothing")

    outcome = perform(Check("some", find), type("Named", (), {"name": "toy"})())
    assert outcome.not_checked[0].cause == "failed" and "damaged" in outcome.not_checked[0].reason


# ---- what is recorded ------------------------------------------------------------------------------------------------


def test_broken_recipe(repository: Repository) -> None:
    repository.edit("recipe.yaml", "op: hflip", "op: hflop")
    (finding,) = repository.findings().values()
    assert (finding.kind, finding.file, finding.line) == ("broken recipe", "recipe.yaml", 7)
    assert "hflip" in finding.message


def test_a_dataset_that_does_not_say_its_recipe(repository: Repository) -> None:
    repository.registry.unlink()
    (repository.folder / "log.jsonl").unlink()
    report = repository.check("datasets/toy")
    assert report.findings == []
    assert {each.check for each, _ in report.not_checked} == {"recipe", "source", "version"}
    assert {each.cause for _, each in report.not_checked} == {"absent"}


def test_a_recipe_that_is_gone(repository: Repository) -> None:
    repository.recipe.unlink()
    (finding,) = repository.findings().values()
    assert finding.kind == "broken recipe" and "no such file" in finding.message


def test_stale_recipe(repository: Repository) -> None:
    repository.edit("recipe.yaml", "seed: 21", "seed: 22")
    found = repository.findings()
    assert list(found) == ["stale recipe"]
    assert found["stale recipe"].file == "data_manifest.yaml"
    line = repository.registry.read_text().splitlines()[(found["stale recipe"].line or 0) - 1]
    assert line.strip().startswith("recipe_digest:")
    assert "--register" in found["stale recipe"].remedy
    assert list(repository.findings("recipe.yaml")) == ["stale recipe"]
    repository.registry.unlink()
    assert list(repository.findings("recipe.yaml")) == ["stale recipe"]
    assert list(repository.findings("datasets/toy")) == ["stale recipe"]
    repository.build()
    assert repository.findings() == {}


def test_comments_make_no_recipe_stale(repository: Repository) -> None:
    repository.edit("recipe.yaml", "seed: 21", "# a comment\nseed:   21")
    assert repository.findings() == {}


def test_other_name(repository: Repository) -> None:
    repository.edit("recipe.yaml", "name: toy", "name: tory")
    assert {"other name", "stale recipe"} == set(repository.findings())


def test_a_folder_with_another_dataset(repository: Repository) -> None:
    write_recipe(repository.root / "other.yaml", Path("data"), classes="[a, b]", name="other")
    shutil.rmtree(repository.folder)
    build("other.yaml", repository.folder)
    found = repository.findings()
    assert "other name" in found and found["other name"].names == ("toy", "other")


def test_notes_of_verify_are_warnings(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a dataset of format 1, which has fewer digests."""
    found = verification.Report(notes=["version 1 is of format 1"])
    monkeypatch.setattr("augforge.checks.whole.check_dataset", lambda *arguments, **options: found)
    report = repository.check()
    assert [(each.kind, each.level) for each in report.findings] == [("note", "warning")]
    assert report.exit_code == 0


def test_stale_source(repository: Repository) -> None:
    edit_json(annotation(repository.data, FIRST), move_a_point)
    found = repository.findings()
    assert list(found) == ["stale source"]
    assert "6 samples" in found["stale source"].message and found["stale source"].line
    repository.registry.unlink()
    assert list(repository.findings("datasets/toy")) == ["stale source"]


def test_a_dataset_of_another_state_of_the_source(repository: Repository) -> None:
    digest = open_dataset(repository.folder).manifest.source.digest
    repository.edit("data_manifest.yaml", digest, "a" * 32)
    report = repository.check()
    assert {each.kind for each in report.findings} == {"stale source"} and len(report.findings) == 2
    shutil.rmtree(repository.data)
    assert list(repository.findings()) == ["stale source"]


def test_broken_source(repository: Repository) -> None:
    annotation(repository.data, FIRST).write_text("{")
    found = repository.findings()
    assert list(found) == ["broken source"] and FIRST in found["broken source"].message


def test_stale_version(repository: Repository) -> None:
    version = current(repository.folder)
    repository.edit("data_manifest.yaml", version, "0123456789abcdef")
    found = repository.findings()
    assert list(found) == ["stale version"] and found["stale version"].names == ("0123456789abcdef", version)


def test_a_newer_version_that_is_not_registered(repository: Repository) -> None:
    edit_json(annotation(repository.data, FIRST), move_a_point)
    repository.build(register=False)
    found = repository.findings()
    assert set(found) == {"stale source", "stale version"}
    assert "checkout" in found["stale version"].remedy


def test_registered_counts_that_are_not_the_versions(repository: Repository) -> None:
    repository.edit("data_manifest.yaml", "val: 2", "val: 3")
    assert "'val': 3" in repository.findings()["stale version"].message


def test_a_build_that_would_give_another_version(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPS._entries, "hflip", replace(OPS["hflip"], version=9))
    found = repository.findings()
    assert list(found) == ["stale version"]
    assert "would not give version" in found["stale version"].message and "changed" in found["stale version"].message


def test_a_version_that_depends_on_pixels_is_not_judged(repository: Repository) -> None:
    plan = replace(explain("recipe.yaml"), unchanged=None, version_note="depends on pixels")
    (result,) = _verdict(Outcome, plan)  # type: ignore[arg-type]
    assert result == NotChecked(
        f"whether a build would give version {plan.version} again depends on pixels", "undecided"
    )


def test_a_dataset_built_with_overrides_is_judged_by_them(repository: Repository) -> None:
    repository.registry.unlink()
    build("recipe.yaml", overrides=["seed=5"])
    report = repository.check("datasets/toy")
    assert report.findings == [] and "version" in {each.check for each in report.checked}


def test_unknown_source(repository: Repository) -> None:
    repository.edit("data_manifest.yaml", "source: data", "source: dat")
    finding = repository.findings()["unknown source"]
    assert "Did you mean 'data'?" in finding.message and finding.line


def test_registered_twice(repository: Repository) -> None:
    text = repository.registry.read_text()
    repository.registry.write_text(text + text.partition("datasets:\n")[2])
    kinds = [each.kind for each in repository.check().findings]
    assert set(kinds) == {"registered twice"}


@pytest.mark.parametrize(
    ("old", "new", "line"), [("splits:", "split:", 14), ("version: ", "version: [", 0), ("sources:", "source:", 2)]
)
def test_broken_registry(repository: Repository, old: str, new: str, line: int) -> None:
    repository.edit("data_manifest.yaml", old, new)
    report = repository.check()
    assert {each.kind for each in report.findings} == {"broken registry"} and report.exit_code == 1
    assert all(each.file == "data_manifest.yaml" and each.line for each in report.findings)


# ---- datasets --------------------------------------------------------------------------------------------------------


def flip(path: Path, at: int = -100) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


def test_damaged_shard(repository: Repository) -> None:
    flip(next((repository.folder / "shards").iterdir()), 2000)
    report = repository.check()
    assert {each.kind for each in report.findings} == {"damaged dataset"} and report.exit_code == 1
    assert any("shards/" in (each.file or "") for each in report.findings)


@pytest.mark.parametrize("name", ["manifest.yaml", "index/{}.parquet"])
def test_damaged_manifest_and_index(repository: Repository, name: str) -> None:
    flip(repository.folder / name.format(current(repository.folder)))
    for place in (None, "datasets/toy"):
        report = repository.check(place)
        assert "damaged dataset" in {each.kind for each in report.findings}
        assert report.exit_code == 1


def test_group_in_two_splits_by_the_index_alone(repository: Repository) -> None:
    """The split column of one finished sample is wrong; so is that of its row in the shard, if anyone looks there."""

    def move(row: dict[str, Any]) -> None:
        if row["name"] == f"{FIRST}~hflip":
            row["split"] = "val"

    repository.change_index(move)
    found = repository.findings()
    assert {"group in two splits", "parent in another split"} <= set(found)
    assert found["group in two splits"].names == ("ID001",)
    assert f"val ({FIRST}~hflip)" in found["group in two splits"].message
    assert f"{FIRST}~hflip" in found["parent in another split"].names


def test_group_in_two_splits_by_lineage_alone(repository: Repository) -> None:
    """The columns of the index say nothing: the source's table has one patient in two splits."""
    group = pl.when(pl.col("name").str.starts_with("ID002")).then(pl.lit("ID001")).otherwise("group")
    repository.change_stages(lambda stages: stages.with_columns(group.alias("group")))
    found = repository.findings()
    assert list(found) == ["group in two splits"] and found["group in two splits"].names == ("ID001",)


def test_a_mosaic_with_a_tile_of_another_split(repository: Repository) -> None:
    """Its own columns are innocent, and so are its parents'; the root shows what is in it."""

    def smuggle(row: dict[str, Any]) -> None:
        if row["name"] == f"mosaic/{FIRST}-1":
            row["lineage"]["roots"][1]["name"] = "ID002/image0000000000002"

    repository.change_index(smuggle)
    finding = repository.findings()["group in two splits"]
    assert finding.names == ("ID002",) and f"train (mosaic/{FIRST}-1)" in finding.message


def test_a_parent_of_another_split(repository: Repository) -> None:
    """The parents name a sample of val, although the roots do not show it."""

    def adopt(row: dict[str, Any]) -> None:
        if row["name"] == f"mosaic/{FIRST}-1":
            row["parents"][1] = "ID002/image0000000000002"

    repository.change_index(adopt)
    found = repository.findings()
    assert {"group in two splits", "parent in another split"} <= set(found)


def test_broken_lineage(repository: Repository) -> None:
    def orphan(row: dict[str, Any]) -> None:
        if row["name"] == f"mosaic/{FIRST}-1":
            row["parents"][1] = "ID009/nobody"

    repository.change_index(orphan)
    finding = repository.findings()["broken lineage"]
    assert "ID009/nobody" in finding.message and finding.names == (f"mosaic/{FIRST}-1",)


def test_a_group_that_was_moved_as_a_whole_is_no_leak(repository: Repository) -> None:
    source = repository.data / "train/DCM/ID001/image0000000000001.png"
    shutil.copy(source, repository.data / "train/DCM/ID002/image0000000000002.png")
    steps = ["{op: hflip, keep_input: true}", "{op: near_duplicates, across_splits: move, distance: 0}"]
    write_recipe(repository.recipe, Path("data"), steps, classes="[a, b]", split="{val: [ID002, ID005]}")
    repository.build()
    index = open_dataset(repository.folder).index
    assert index.filter(pl.col("group") == "ID002")["split"].unique().to_list() == ["train"]
    assert repository.findings() == {}


def test_equal_pixels(repository: Repository) -> None:
    for part in ("DCM/{}.png", "outputs_json/{}.json"):
        here, there = (repository.data / "train" / part.format(f"ID00{i}/image000000000000{i}") for i in (1, 2))
        shutil.copy(here, there)
    repository.build()
    found = repository.findings()
    assert list(found) == ["same image in two splits", "equal pixels in two splits"]
    assert {FIRST, "ID002/image0000000000002"} <= set(found["equal pixels in two splits"].names)


def test_equal_images_of_one_value_with_a_class_are_no_background(repository: Repository) -> None:
    for number in (1, 2):
        name = put_hand(repository.data, number, np.full((16, 24), 7, np.uint8), ())
        shape = {"annotations": [{"label": "a", "points": [[2, 2], [9, 2], [9, 9]]}]}
        annotation(repository.data, name).write_text(json.dumps(shape))
    repository.build()
    assert list(repository.findings()) == ["same image in two splits", "equal pixels in two splits"]


def test_blank_images_are_a_warning(repository: Repository) -> None:
    for number in (1, 2):
        name = put_hand(repository.data, number, np.full((16, 24), 7, np.uint8), ())
        assert json.loads(annotation(repository.data, name).read_text()) == {"annotations": []}
    repository.build()
    report = repository.check()
    found = [(each.kind, each.level) for each in report.findings]
    assert found == [("same image in two splits", "warning"), ("blank images in two splits", "warning")]
    assert report.exit_code == 0


# ---- the policy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "line", "said"),
    [
        ("max_rejected: 1\nmin_samples:\n  train: {b: 99}", "too few samples", 3, "b (16, at least 99 should)"),
        ("min_samples: {val: 3}", "too few samples", 1, "a (2, at least 3 should), b (2, at least 3 should)"),
        ("min_samples: {test: 1}", "too few samples", 1, "a (0, at least 1 should)"),
        ("datasets:\n  toy:\n    min_samples: {val: 3}", "too few samples", 3, "of val"),
        ("baseline: v1\nmax_drift: {area: 0.1}", "no baseline", 1, "v1"),
        ("licences: [MIT]", "licence not allowed", 1, "has no licence"),
    ],
)
def test_what_a_policy_demands(repository: Repository, text: str, kind: str, line: int, said: str) -> None:
    repository.policy(text)
    found = repository.findings()
    assert list(found) == [kind]
    assert said in found[kind].message
    assert (found[kind].file, found[kind].line) == ("policy.yaml", line)
    assert found[kind].names or kind == "no baseline"


def test_classes_are_measured_as_in_the_samples(repository: Repository) -> None:
    write_recipe(repository.recipe, Path("data"), classes="[a, pixels, b, width]", split="{val: [ID002, ID005]}")
    repository.build()
    dataset = open_dataset(repository.folder)
    for split, seen in measure_classes(dataset).items():
        assert set(seen) == set(dataset.classes)
        for c, name in enumerate(dataset.classes):
            shares = [class_pixels(sample, c).mean() for sample in dataset.split(split)]
            shown = [share for share in shares if share]
            assert seen[name].count == len(shown)
            assert seen[name].area == (pytest.approx(sum(shown) / len(shown)) if shown else None)


def test_labels_count_as_classes_do(repository: Repository) -> None:
    for number, label in enumerate(("cat", "cat", "dog", "dog", "dog", "cow")):
        path = repository.root / f"pictures/{label}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((8, 8), 20 * number, np.uint8))
    groups = "{val: [dog/3, cow/5]}"
    text = f"name: toy\nsource: {{format: image-folder, path: pictures}}\nsplit: {groups}\nsteps: []\n"
    repository.recipe.write_text(text)
    shutil.rmtree(repository.folder)
    repository.build()
    seen = measure_classes(open_dataset(repository.folder))
    assert {name: each.count for name, each in seen["train"].items()} == {"ignore": 0, "cat": 2, "cow": 0, "dog": 2}
    repository.policy("min_samples: {train: 1, val: {dog: 1}}\n")
    assert repository.findings()["too few samples"].names == ("cow",)


def test_rules_of_a_dataset_replace_those_for_all(repository: Repository) -> None:
    repository.policy("min_samples: {val: 99}\nlicences: [MIT]\ndatasets:\n  toy: {min_samples: {val: 1}}\n")
    assert list(repository.findings()) == ["licence not allowed"]


def test_drift(repository: Repository) -> None:
    tag_version(repository.folder, "v1")
    shutil.rmtree(repository.data / "train/DCM/ID006")
    shutil.rmtree(repository.data / "train/outputs_json/ID006")
    repository.build()
    repository.policy("baseline: v1\nmax_drift: {count: 0.2}\n")
    finding = repository.findings()["drift"]
    assert "count of a in train: 25.0% (16 to 12, at most 20.0%)" in finding.message
    assert finding.names == ("a", "b") and (finding.file, finding.line) == ("policy.yaml", 2)
    repository.policy("baseline: v1\nmax_drift: {count: 0.25}\n")
    assert repository.findings() == {}
    repository.policy("baseline: v1\nmax_drift: {area: 0.0}\n")
    assert list(repository.findings()) == ["drift"]


def test_too_many_rejected(repository: Repository) -> None:
    (repository.data / "train/outputs_json/ID001/image9999999999999.json").write_text('{"annotations": []}')
    repository.build()
    repository.policy("max_rejected: 0.05\n")
    finding = repository.findings()["too many rejected"]
    assert "5.3% of the samples" in finding.message and finding.names == ("source: no image",)
    repository.policy("max_rejected: 0.06\n")
    assert repository.findings() == {}


def test_licence(repository: Repository) -> None:
    repository.edit("data_manifest.yaml", "licence:", "licence: proprietary")
    repository.policy("licences: [MIT, CC0-1.0]\n")
    finding = repository.findings()["licence not allowed"]
    assert "'data' has the licence proprietary; allowed are MIT, CC0-1.0" in finding.message
    assert repository.check("datasets/toy").exit_code == 1
    repository.registry.unlink()
    assert "has no licence" in repository.findings("datasets/toy")["licence not allowed"].message
    shutil.rmtree(repository.folder)
    assert "licences" in {each.check for each, _ in repository.check("recipe.yaml").not_checked}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("licences: []\nmax_rejectd: 0.1", 2, "Did you mean 'max_rejected'?"),
        ("min_samples:\n  trian: 3", 2, "Did you mean 'train'?"),
        ("min_samples:\n  train:\n    aa: 3", 3, "there is no class 'aa'. Did you mean 'a'?"),
        ("max_drift: {areas: 1}\nbaseline: v1", 1, "Did you mean 'area'?"),
        ("max_drift: {area: 1}", 1, "max_drift needs a baseline"),
        ("max_rejected: 5", 1, "at most 1"),
        ("datasets:\n  tony: {max_rejected: 1}", 2, "there is no such dataset. Did you mean 'toy'?"),
        ("datasets:\n  toy:\n    max_rejectd: 1", 3, "Did you mean 'max_rejected'?"),
        ("datasets:\n  toy:\n    min_samples: {train: {c: 1}}", 3, "there is no class 'c'"),
        ("datasets:\n  toy:\n    min_samples: {tran: 1}", 3, "there is no split 'tran'"),
        ("datasets:\n  toy:", 2, "expected keys and values"),
        ("min_samples: {train: -1}", 1, "at least 0"),
        ("- 1", 1, "expected keys and values"),
    ],
)
def test_broken_policy(repository: Repository, text: str, line: int, said: str) -> None:
    repository.policy(text)
    report = repository.check()
    (finding,) = report.findings
    assert (finding.kind, finding.file, finding.line) == ("broken policy", "policy.yaml", line), finding
    assert said in finding.message
    assert report.exit_code == 1


def test_one_dataset_is_not_judged_by_names_of_others(repository: Repository) -> None:
    """A policy is for all datasets of the registry; one that is checked alone need not have their classes."""
    write_recipe(repository.root / "other.yaml", Path("data"), classes="[a, b, z]", name="other")
    build("other.yaml", register=True)
    repository.policy("min_samples: {train: {z: 0, b: 1}}\ndatasets:\n  other: {min_samples: {train: {z: 0}}}\n")
    for place in (None, "recipe.yaml", "datasets/toy", "other.yaml"):
        assert {*repository.findings(place)} <= {"class drawn nowhere"}
    assert repository.findings("other.yaml")["class drawn nowhere"].names == ("z",)
    repository.policy("datasets:\n  others: {max_rejected: 1}\n")
    for place in (None, "datasets/toy"):
        assert "Did you mean 'other'?" in repository.findings(place)["broken policy"].message
    repository.registry.unlink()
    assert repository.findings("datasets/toy") == {}


def test_classes_are_not_judged_where_nothing_says_them(repository: Repository) -> None:
    repository.policy("min_samples: {train: {aa: 3}}\n")
    assert list(repository.findings()) == ["broken policy"]
    shutil.rmtree(repository.folder)
    assert list(repository.findings()) == ["broken policy"]
    repository.edit("recipe.yaml", "op: hflip", "op: hflop")
    assert list(repository.findings()) == ["broken recipe"]


# ---- the list of checks ----------------------------------------------------------------------------------------------


def test_a_check_is_a_function_and_an_entry(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("augforge.checks.run.CHECKS", [Check("shape", lambda subject: iter([Finding("odd", "odd")]))])
    assert list(repository.findings()) == ["odd"]
    assert len({check.name for check in CHECKS}) == len(CHECKS)


def test_checks_write_nothing_but_facts_of_files(repository: Repository) -> None:
    before = {path for path in repository.root.rglob("*") if "work" not in path.parts}
    repository.check(pixels=True)
    assert {path for path in repository.root.rglob("*") if "work" not in path.parts} == before


def test_an_error_of_several_lines_is_one_finding_and_items_are_one_each() -> None:
    """A layout below a message belongs to it; a list of problems, as sources give it, is one finding for each."""
    layout = SourceError("data holds no .json; expected\nROOT/\n  instances.json   or one per split\nCorrect it.")
    (found,) = findings_of_error(layout, "broken source", "remedy")
    assert found.message == str(layout)
    several = SourceError("2 problems in data:\n  - data/a.txt:3: five numbers\n  - no image b; expected\nROOT/b")
    first, second = findings_of_error(several, "broken source", "remedy")
    assert (first.file, first.line, first.message) == ("data/a.txt", 3, "five numbers")
    assert (second.line, second.message) == (None, "no image b; expected\nROOT/b")
    recipe = RecipeError("r.yaml:1: no name\nr.yaml:4: no op x")
    assert [each.line for each in findings_of_error(recipe, "broken recipe", "remedy")] == [1, 4]
