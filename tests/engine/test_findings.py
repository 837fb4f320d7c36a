"""What a build tells of implausible data: in its summary, in the manifest, and as an error where that is asked for."""

from __future__ import annotations

import ast
import importlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from makedata import block, put_image, put_pixels, put_text

import augforge
from augforge.checks.core import Finding as CheckFinding
from augforge.checks.plausible import find_implausible
from augforge.checks.subject import Subject
from augforge.engine.builder import build
from augforge.engine.explaining import explain
from augforge.engine.summary import Summary
from augforge.errors import AugforgeError, PlanError
from augforge.report.explanation import explanation_json
from augforge.sources import SOURCES
from augforge.sources.plausibility.kinds import KINDS
from augforge.store.manifest import read_manifest

REPEATED = "same image in two splits"


def write(tmp_path: Path, **keys: Any) -> Path:
    """Two images of train and one of test, which is the same as the first; and a recipe, as JSON, which is YAML too."""
    for name in ("train/a", "train/b", "test/c"):
        put_image(tmp_path / f"data/images/{name}.png")
        put_pixels(tmp_path / f"data/masks/heart/{name}.png", block(2, 2, 9, 9))
    shutil.copy(tmp_path / "data/images/train/a.png", tmp_path / "data/images/test/c.png")
    source = {"format": "mask-folder", "path": "data", **keys.pop("source", {})}
    return put_text(
        tmp_path / "recipe.yaml", json.dumps({"name": "x", "source": source, "steps": [], **keys}, indent=1)
    )


def run(recipe: Path, **options: Any) -> Summary:
    return build(recipe, recipe.parent / "out", **options)


def test_a_build_tells_what_is_implausible(tmp_path: Path) -> None:
    recipe = write(tmp_path)
    for dry in (True, False):
        (found,) = run(recipe, dry_run=dry).findings
        assert (found.kind, found.names) == (REPEATED, ("test/c", "train/a"))
    assert [each.kind for each in explain(recipe, tmp_path / "out").findings] == [REPEATED]
    data = explanation_json(explain(recipe, tmp_path / "out"))
    assert {*data["findings"][0]} == {"kind", "names", "message", "remedy"} and data["accepted"] == []
    assert {*asdict(found)} == {"kind", "names", "message", "remedy"}
    (entry,) = read_manifest(tmp_path / "out").findings
    assert (entry.kind, entry.names, entry.count, entry.accepted) == (REPEATED, ["test/c", "train/a"], 2, None)


def test_strict_is_an_error_before_any_work(tmp_path: Path) -> None:
    recipe = write(tmp_path)
    for dry in (True, False):
        with pytest.raises(PlanError, match=f"{REPEATED}: images of different splits") as caught:
            run(recipe, dry_run=dry, strict=True)
    assert "accept: [{kind:" in str(caught.value) and not (tmp_path / "out/shards").exists()
    with pytest.raises(PlanError, match="strict, and 1 thing is implausible"):
        run(write(tmp_path, strict=True))
    with pytest.raises(PlanError, match="strict"):
        explain(recipe)


def test_leaks_stop_is_strict_about_leaks_alone(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"split.leaks: stop, and 1 thing"):
        run(write(tmp_path, split={"leaks": "stop"}), dry_run=True)
    put_image(tmp_path / "data/images/test/c.png")
    mistyped = {"class_map": {"haert": None}}
    assert len(run(write_again(tmp_path, split={"leaks": "stop"}, source=mistyped), dry_run=True).findings) == 1


def write_again(tmp_path: Path, **keys: Any) -> Path:
    """The recipe alone: the data stay."""
    source = {"format": "mask-folder", "path": "data", **keys.pop("source", {})}
    return put_text(tmp_path / "recipe.yaml", json.dumps({"name": "x", "source": source, "steps": [], **keys}))


def test_what_is_accepted_is_recorded_with_its_reason(tmp_path: Path) -> None:
    accept = [{"kind": REPEATED, "names": ["test/c", "train/a"], "why": "a phantom that is scanned each day"}]
    summary = run(write(tmp_path, strict=True, accept=accept))
    assert not summary.findings
    assert [(each.kind, each.names, each.why) for each in summary.accepted] == [
        (REPEATED, ("test/c", "train/a"), "a phantom that is scanned each day")
    ]
    (entry,) = read_manifest(tmp_path / "out").findings
    assert (entry.kind, entry.accepted) == (REPEATED, "a phantom that is scanned each day")


def test_of_a_finding_some_names_may_be_accepted(tmp_path: Path) -> None:
    source = {"class_map": {"haert": None, "luny": None}}
    kind = "class_map without effect"
    accept = [{"kind": kind, "names": ["luny"], "why": "other hospitals have it"}, {"kind": REPEATED, "why": "known"}]
    summary = run(write(tmp_path, source=source, accept=accept), dry_run=True)
    assert [(each.kind, each.names) for each in summary.findings] == [(kind, ("haert",))]
    assert [(each.kind, each.names) for each in summary.accepted] == [
        (kind, ("luny",)),
        (REPEATED, ("test/c", "train/a")),
    ]


def test_an_entry_that_accepts_nothing_is_told(tmp_path: Path) -> None:
    accept = [{"kind": "class drawn nowhere", "why": "it may come"}]
    found = run(write(tmp_path, accept=accept), dry_run=True).findings
    assert [each.kind for each in found] == [REPEATED, "accept without effect"]
    assert "'class drawn nowhere'" in found[1].message and "Did you mean" not in found[1].remedy
    old = [{"kind": "annotation file left aside", "why": "as it was called before"}]
    found = run(write(tmp_path, accept=old), dry_run=True).findings
    assert "'annotation files left aside'" in found[1].message
    with pytest.raises(AugforgeError, match="why"):
        run(write(tmp_path, accept=[{"kind": REPEATED}]))


@pytest.mark.parametrize("kind", ["same image in two split", "class drawn nowere", "Class drawn nowhere"])
def test_a_mistyped_kind_is_an_error_whether_or_not_it_was_found(tmp_path: Path, kind: str) -> None:
    accept = [{"kind": REPEATED, "why": "known"}, {"kind": kind, "why": "a typing error"}]
    right = REPEATED if kind.startswith("same") else "class drawn nowhere"
    recipe = write(tmp_path, accept=accept)
    line = 1 + next(number for number, text in enumerate(recipe.read_text().splitlines()) if f'"{kind}"' in text)
    with pytest.raises(PlanError, match=rf"recipe.yaml:{line}: .*no finding is of the kind.*Did you mean '{right}'"):
        run(recipe, dry_run=True)


_GIVEN = {"classes alike", "names alike", REPEATED, "nearly the same picture in two splits"}
_BY_OPTION = {"class_map without effect", "hole_label without effect"}
"""Kinds that a function is given which makes the finding, and kinds that hold the name of an option."""


def test_all_kinds_of_findings_are_known() -> None:
    made = set()
    root = Path(augforge.__file__).parent
    for file in (*root.glob("sources/**/*.py"), *root.glob("engine/*.py")):
        module = importlib.import_module(".".join(("augforge", *file.relative_to(root).with_suffix("").parts)))
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] in ("Finding", "find"):
                made |= _kinds_in(call, vars(module))
    assert made == KINDS - _GIVEN - _BY_OPTION


def _kinds_in(call: ast.Call, constants: Mapping[str, Any]) -> set[str]:
    """The kind in the first of several arguments, a text or a constant of the module."""
    first = call.args[0] if len(call.args) > 2 else None
    value = constants.get(first.id) if isinstance(first, ast.Name) else getattr(first, "value", None)
    return {value} if isinstance(value, str) else set()


def test_a_class_that_train_lacks_is_told(tmp_path: Path) -> None:
    """By the splits of the data, of the recipe's list of groups, and in augforge check of a source alone."""
    recipe = write(tmp_path)
    put_image(tmp_path / "data/images/test/c.png", (32, 24))
    put_pixels(tmp_path / "data/masks/heart/test/c.png", block(2, 2, 9, 9, size=(32, 24)))
    assert not run(recipe, dry_run=True).findings
    put_pixels(tmp_path / "data/masks/lung/test/c.png", block(2, 2, 9, 9, size=(32, 24)))
    kind = "class in no sample of train"
    (found,) = run(recipe, dry_run=True).findings
    assert (found.kind, found.names) == (kind, ("lung",))
    assert found.message == "class 'lung' is in test, and in no sample of train, so that nothing can learn it"
    source = SOURCES["mask-folder"](format="mask-folder", path=str(tmp_path / "data"))
    (result,) = find_implausible(Subject("data", "data", source=source))
    assert isinstance(result, CheckFinding) and (result.kind, result.names) == (kind, ("lung",))
    put_pixels(tmp_path / "data/masks/lung/train/b.png", block(2, 2, 9, 9))
    assert not run(recipe, dry_run=True).findings
    listed = {"own_splits": False, "format": "mask-folder", "path": "data", "group": {"regex": "(.)$"}}
    assert [
        found.names
        for found in run(write_again(tmp_path, source=listed, split={"val": ["b", "c"]}), dry_run=True).findings
    ] == [("lung",)]


def test_a_verdict_of_a_review_on_no_sample(tmp_path: Path) -> None:
    put_text(tmp_path / "review.yaml", "samples:\n  train/bb: {verdict: drop}\n")
    found = run(write(tmp_path, review="review.yaml"), dry_run=True).findings
    assert found[0].kind == "review without effect" and "Did you mean 'train/b'?" in found[0].remedy


def test_pictures_are_compared_on_demand(tmp_path: Path) -> None:
    recipe = write(tmp_path, split={"compare": "pictures"})
    assert [found.kind for found in run(recipe, dry_run=True).findings] == [REPEATED]
    shapes = np.zeros((200, 160), np.uint8)
    cv2.circle(shapes, (60, 80), 40, (200,), -1)
    cv2.rectangle(shapes, (90, 120), (150, 190), (120,), -1)
    put_pixels(tmp_path / "data/images/train/a.png", shapes)
    put_pixels(tmp_path / "data/images/test/c.png", cv2.convertScaleAbs(shapes, alpha=0.9, beta=10))
    put_pixels(tmp_path / "data/images/train/b.png", shapes[:, ::-1].copy())
    for name in ("train/a", "train/b", "test/c"):
        put_pixels(tmp_path / f"data/masks/heart/{name}.png", block(2, 2, 9, 9, size=(160, 200)))
    recipe = write_again(tmp_path, split={"compare": "pictures", "leaks": "stop"})
    with pytest.raises(PlanError, match=r"nearly the same picture: test/c \(test\) and train/a \(train\)"):
        run(recipe, dry_run=True)
    assert not run(write_again(tmp_path), dry_run=True).findings


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"steps": [{"op": "hflip"}, {"op": "hflip", "swap": [["heart", "haert"]]}]},
            r"recipe.yaml:\d+: steps.1.swap.0.1: the data has no class 'haert'. Did you mean 'heart'\?",
        ),
        (
            {"steps": [{"op": "hflip", "where": "metadata.agee > 3"}]},
            r"recipe.yaml:\d+: steps.0.where: no sample has the metadata column 'agee'. Did you mean 'age'\?",
        ),
        (
            {"steps": [{"op": "hflip", "where": "splitt = 'val'"}]},
            r"steps.0.where: there is no column 'splitt'.*Did you mean 'split'\?",
        ),
        (
            {"steps": [{"op": "where", "condition": "metadata.\"agee\" > 3 or name = 'metadata.x'"}]},
            r"steps.0.condition: no sample has the metadata column 'agee'",
        ),
        (
            {"split": {"val": ["a", "bb"]}, "source": {"own_splits": False, "group": {"regex": "(.)$"}}},
            r"recipe.yaml:\d+: split.val.1: split.val lists 'bb', but the source has no such group",
        ),
        ({"split": {"val": 0.5, "stratify": "metadata.agee"}}, r"split.stratify: .*Did you mean 'age'\?"),
        ({"metadata": {"keep": ["agee"]}}, r"recipe.yaml:\d+: metadata.keep names .*Did you mean 'age'\?"),
    ],
)
def test_what_is_not_there_is_named_with_its_line(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    put_text(tmp_path / "data/ages.csv", "name,age\ntrain/a,7\ntrain/b,8\ntest/c,9\n")
    keys["source"] = {"metadata": "ages.csv", **keys.get("source", {})}
    recipe = write(tmp_path, **keys)
    with pytest.raises(PlanError, match=message):
        run(recipe, dry_run=True)


def test_a_condition_may_name_what_earlier_steps_measure(tmp_path: Path) -> None:
    steps = [{"op": "empty"}, {"op": "hflip", "where": "empty.area.heart > 3 and \"split\" = 'train'"}]
    assert run(write(tmp_path, steps=steps), dry_run=True).samples == 3
    with pytest.raises(PlanError, match="there is no column 'empty'"):
        run(write(tmp_path, steps=steps[::-1]), dry_run=True)


def many(tmp_path: Path, count: int) -> None:
    for i in range(count):
        put_pixels(tmp_path / f"data/images/P{i:02d}/one.png", np.random.default_rng(i).integers(0, 256, (16, 20)))
        put_pixels(tmp_path / f"data/masks/heart/P{i:02d}/one.png", block(2, 2, 9, 9))


def test_a_fraction_of_the_groups(tmp_path: Path) -> None:
    many(tmp_path, 60)
    recipe = write_again(tmp_path, fraction=0.4, split={"val": 0.3}, accept=[{"kind": "names alike", "why": "y"}])
    build(recipe, tmp_path / "out")
    before = names(tmp_path / "out")
    assert 15 <= len(before) <= 33
    many(tmp_path, 70)
    build(recipe, tmp_path / "out")
    after = names(tmp_path / "out")
    assert {name: split for name, split in after.items() if name in before} == before
    write_again(tmp_path, fraction=0.8, split={"val": 0.3})
    build(recipe, tmp_path / "out")
    assert after.items() <= names(tmp_path / "out").items()
    with pytest.raises(PlanError, match="--register records a source as a whole"):
        build(recipe, tmp_path / "out", register=True)
    with pytest.raises(PlanError, match=r"recipe.yaml:\d+: fraction: no group is in the share"):
        build(write_again(tmp_path, fraction=1e-9), tmp_path / "out", dry_run=True)


def names(folder: Path) -> dict[str, str]:
    from augforge.store.dataset import open_dataset

    return dict(open_dataset(folder).index.select("name", "split").iter_rows())


def test_a_stratified_split_of_a_column_and_of_classes(tmp_path: Path) -> None:
    many(tmp_path, 12)
    rows = [f"P{i:02d}/one,{'mf'[i % 2]}" for i in range(12)]
    put_text(tmp_path / "data/sex.csv", "name,sex\n" + "\n".join(rows))
    split = {"val": 0.5, "stratify": "metadata.sex"}
    summary = run(write_again(tmp_path, split=split, source={"metadata": "sex.csv"}), dry_run=True)
    assert summary.splits == {"train": 6, "val": 6} and not summary.findings
    summary = run(write_again(tmp_path, split={"val": 0.25, "stratify": "class"}), dry_run=True)
    assert summary.splits == {"train": 9, "val": 3} and not summary.findings


def test_a_split_that_whole_groups_do_not_let_match(tmp_path: Path) -> None:
    for i in range(6):
        put_image(tmp_path / f"data/images/{'P0' if i < 4 else f'P{i}'}/{i}.png")
        put_pixels(tmp_path / f"data/masks/heart/{'P0' if i < 4 else f'P{i}'}/{i}.png", block(2, 2, 9, 9))
    assert not run(write_again(tmp_path, split={"val": ["P0"]}), dry_run=True).findings
    (found,) = run(write_again(tmp_path, split={"val": 0.02}), dry_run=True).findings
    assert (found.kind, found.names) == ("split far from its share", ("val",))
    assert "6 samples, " in found.message and "instead of 2%" in found.message and "3 groups" in found.message


def test_shares_of_splits_that_the_data_has_itself_are_no_finding(tmp_path: Path) -> None:
    write(tmp_path)
    put_image(tmp_path / "data/images/test/c.png")
    many(tmp_path, 8)
    assert not run(write_again(tmp_path, split={"test": 0.5, "val": 0.25, "stratify": "class"}), dry_run=True).findings
