"""Sides in builds: declared at the source, found by name, carried by datasets, and never wrong without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sided import LUNGS, build_sided, layers, put_findings, put_lungs, write_sided

from augforge.engine.builder import build
from augforge.engine.explaining import explain
from augforge.errors import PlanError, RecipeError
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.manifest import read_manifest

FLIP = {"op": "hflip", "keep_input": True}
FOUND = "sides found by name"


@pytest.fixture(scope="module")
def lungs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_lungs(tmp_path_factory.mktemp("lungs"))


def source(path: Path, **options: Any) -> dict[str, Any]:
    return {"format": "mask-folder", "path": str(path), **options}


def check_flipped(dataset: Dataset, order: list[int], step: str = "hflip") -> None:
    """Each mirrored sample is the mirrored one, with its classes in that order."""
    mirrored = [name for name in dataset.index["name"] if name.endswith(f"~{step}")]
    assert mirrored
    for name in mirrored:
        made, before = (dataset[dataset.position(each)] for each in (name, name.removesuffix(f"~{step}")))
        np.testing.assert_array_equal(made.image, before.image[:, ::-1])
        np.testing.assert_array_equal(layers(made), layers(before)[order][..., ::-1])


# ---- by name, declared, swapped --------------------------------------------------------------------------------------


def test_sides_found_by_name_are_exchanged_and_told(lungs: Path, tmp_path: Path) -> None:
    summary, dataset = build_sided(tmp_path, source(lungs), FLIP)
    check_flipped(dataset, [0, 2, 1])
    [found] = [each for each in summary.findings if each.kind == FOUND]
    assert "left-lung and right-lung" in found.message and "sides: [[left-lung, right-lung]]" in found.remedy
    assert found.names == ("left-lung", "right-lung")
    assert [entry.kind for entry in read_manifest(dataset.folder).findings] == [FOUND]


def test_declared_sides_are_exchanged_without_a_word(tmp_path: Path) -> None:
    data = put_lungs(tmp_path / "data", ("cor", "dextra", "sinistra"))
    summary, dataset = build_sided(tmp_path, source(data, sides=[["sinistra", "dextra"]]), FLIP)
    check_flipped(dataset, [0, 2, 1])
    assert not summary.findings


def test_a_swap_gives_the_ids_that_sides_give(lungs: Path, tmp_path: Path) -> None:
    """Recipes of before name their pairs in the step: what they built is found again, and has the same version."""
    swap = {**FLIP, "swap": [["left-lung", "right-lung"]]}
    summary, named = build_sided(tmp_path / "a", source(lungs), swap)
    _, found = build_sided(tmp_path / "b", source(lungs), FLIP)
    _, declared = build_sided(tmp_path / "c", source(lungs, sides=[["left-lung", "right-lung"]]), FLIP)
    assert named.version == found.version == declared.version and not summary.findings


def test_nothing_is_exchanged_where_a_person_says_so(lungs: Path, tmp_path: Path) -> None:
    """And such a dataset is the one that was built before augforge knew sides: exchanging nothing changes no id."""
    summary, step = build_sided(tmp_path / "a", source(lungs), {**FLIP, "swap": "none"})
    check_flipped(step, [0, 1, 2])
    more, all_steps = build_sided(tmp_path / "b", source(lungs, sides="none"), FLIP)
    assert step.version == all_steps.version and not summary.findings and not more.findings
    other = put_lungs(tmp_path / "data", ("heart", "a", "b"))
    _, sideless = build_sided(tmp_path / "c", source(other), FLIP)
    _, swapped = build_sided(tmp_path / "d", source(other), {**FLIP, "swap": []})
    assert sideless.version == swapped.version


def test_a_swap_overrides_the_sides_of_the_source(lungs: Path, tmp_path: Path) -> None:
    declared = source(lungs, sides=[["left-lung", "right-lung"]])
    summary, dataset = build_sided(tmp_path, declared, {**FLIP, "swap": [["heart", "right-lung"]]})
    check_flipped(dataset, [2, 1, 0])
    assert [each.kind for each in summary.findings] == ["sides left out of swap"]
    assert "left-lung" in summary.findings[0].message


@pytest.mark.parametrize(
    "step",
    [
        {"op": "vflip"},
        {"op": "transpose90", "quarters": [1], "mirror": 1},
        {"op": "affine", "mirror": 1},
        {"op": "albumentations", "name": "Transpose"},
    ],
)
def test_every_mirror_tells_and_has_the_pairs_in_its_ids(step: dict[str, Any], lungs: Path, tmp_path: Path) -> None:
    summary, found = build_sided(tmp_path / "a", source(lungs), step)
    assert [each.kind for each in summary.findings] == [FOUND]
    _, kept = build_sided(tmp_path / "b", source(lungs), {**step, "swap": "none"})
    for name in found.index["name"]:
        mirrored, plain = found[found.position(name)], kept[kept.position(name)]
        np.testing.assert_array_equal(mirrored.image, plain.image, "what is exchanged changes no draw")
        np.testing.assert_array_equal(layers(mirrored), layers(plain)[[0, 2, 1]])
        assert found.index["id"][found.position(name)] != kept.index["id"][kept.position(name)]


@pytest.mark.parametrize("step", [{"op": "rotate"}, {"op": "transpose90"}, {"op": "clahe"}, {"op": "mosaic"}])
def test_no_mirror_no_word_and_the_same_ids(step: dict[str, Any], lungs: Path, tmp_path: Path) -> None:
    if step["op"] == "clahe":
        step = {"op": "albumentations", "name": "CLAHE"}
    summary, dataset = build_sided(tmp_path / "a", source(lungs), step)
    _, none = build_sided(tmp_path / "b", source(lungs, sides="none"), step)
    assert not summary.findings and dataset.version == none.version


def test_explain_says_that_sides_are_exchanged_now(lungs: Path, tmp_path: Path) -> None:
    build_sided(tmp_path, source(lungs, sides="none"), FLIP)
    found = explain(write_sided(tmp_path, source(lungs), [FLIP]), tmp_path / "out")
    reasons = {reason for work in found.work for reason in work.reasons}
    assert reasons == {("step", "hflip", "swap: default -> [['left-lung', 'right-lung']]")}


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_a_mirror_over_a_lone_side_names_file_line_and_remedy(tmp_path: Path) -> None:
    data = put_lungs(tmp_path / "data", ("heart", "left-lung", "rib"))
    recipe = write_sided(tmp_path, source(data), [{"op": "rotate"}, FLIP])
    line = recipe.read_text().splitlines().index("- op: hflip") + 1
    for plan in (lambda: build(recipe, tmp_path / "out", dry_run=True), lambda: explain(recipe, tmp_path / "out")):
        with pytest.raises(PlanError) as caught:
            plan()
        assert f"recipe.yaml:{line}: steps.1: a mirror puts left-lung on the other side" in str(caught.value)
        assert "swap: none" in str(caught.value)
    build_sided(tmp_path / "none", source(data), {**FLIP, "swap": "none"})
    build_sided(tmp_path / "declared", source(data, sides=[["left-lung", "rib"]]), FLIP)
    build_sided(tmp_path / "turned", source(data), {"op": "rotate"})


def test_sides_that_the_data_does_not_have(lungs: Path, tmp_path: Path) -> None:
    recipe = write_sided(tmp_path, source(lungs, sides=[["left-lung", "rigth-lung"]]))
    line = recipe.read_text().splitlines().index("    - rigth-lung") + 1
    with pytest.raises(PlanError, match=rf"recipe.yaml:{line}: source.sides.0.1: .*Did you mean 'right-lung'\?"):
        build(recipe, tmp_path / "out")
    recipe = write_sided(tmp_path, source(lungs, sides=[["left-lung", "left-lung"]]))
    with pytest.raises(RecipeError, match="sides names 'left-lung' twice"):
        build(recipe, tmp_path / "out")


def test_a_strict_recipe_wants_sides_declared(lungs: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=FOUND):
        build_sided(tmp_path, source(lungs), FLIP, strict=True)
    build_sided(tmp_path, source(lungs, sides=[["left-lung", "right-lung"]]), FLIP, strict=True)


# ---- labels ----------------------------------------------------------------------------------------------------------


def test_labels_of_a_side_are_exchanged(tmp_path: Path) -> None:
    labels = ("left-effusion", "nodule", "right-effusion")
    data = put_findings(tmp_path / "data", labels)
    table = {"format": "csv", "path": str(data), "table": "labels.csv", "image": "image", "labels": list(labels)}
    summary, dataset = build_sided(tmp_path, table, FLIP)
    assert [each.kind for each in summary.findings] == [FOUND]
    mirrored = [name for name in dataset.index["name"] if name.endswith("~hflip")]
    pairs = [(dataset[dataset.position(n)], dataset[dataset.position(n.removesuffix("~hflip"))]) for n in mirrored]
    assert any(before.label is not None and before.label[0] != before.label[2] for _, before in pairs)
    for made, before in pairs:
        assert made.label is not None and before.label is not None
        np.testing.assert_array_equal(made.label, before.label[[2, 1, 0]])


# ---- sources of sources ----------------------------------------------------------------------------------------------


def test_a_dataset_carries_its_sides(tmp_path: Path) -> None:
    data = put_lungs(tmp_path / "data", ("cor", "dextra", "sinistra"))
    _, first = build_sided(tmp_path / "first", source(data, sides=[["sinistra", "dextra"]]))
    entry = read_manifest(first.folder).sides
    assert entry is not None and entry.stated == (("sinistra", "dextra"),) and entry.found == ()
    derived = {"format": "dataset", "path": str(first.folder), "own_splits": False}
    summary, second = build_sided(tmp_path / "second", derived, FLIP)
    check_flipped(second, [0, 2, 1])
    assert not summary.findings and read_manifest(second.folder).sides == entry
    renamed = {**derived, "class_map": {"cor": "heart", "dextra": "b", "sinistra": "a"}}
    _, third = build_sided(tmp_path / "third", renamed, FLIP)
    check_flipped(third, [0, 2, 1])
    _, fourth = build_sided(tmp_path / "fourth", {**derived, "sides": "none"}, FLIP)
    check_flipped(fourth, [0, 1, 2])


def test_a_dataset_carries_that_nothing_is_a_side(lungs: Path, tmp_path: Path) -> None:
    _, first = build_sided(tmp_path / "first", source(lungs, sides="none"))
    derived = {"format": "dataset", "path": str(first.folder), "own_splits": False}
    summary, second = build_sided(tmp_path / "second", derived, FLIP)
    check_flipped(second, [0, 1, 2])
    assert not summary.findings


def test_entries_of_a_union_declare_their_sides(lungs: Path, tmp_path: Path) -> None:
    other = put_lungs(tmp_path / "data", ("heart", "L", "R"))
    renamed = {"class_map": {"L": "left-lung", "R": "right-lung"}}
    declared = {"sides": [["left-lung", "right-lung"]]}
    entries = [{**source(lungs, **declared), "name": "a"}, {**source(other, **renamed), "name": "b"}]
    summary, dataset = build_sided(tmp_path, {"format": "union", "sources": entries}, FLIP)
    check_flipped(dataset, [0, 2, 1])
    assert not summary.findings
    entries[1] |= {"sides": [["left-lung", "heart"]]}
    with pytest.raises(PlanError, match=r"recipe.yaml:\d+: .*sides names 'left-lung' twice"):
        build_sided(tmp_path, {"format": "union", "sources": entries}, FLIP)
    united = {"format": "union", "sources": [{**source(lungs), "name": "a"}], "sides": "none"}
    _, none = build_sided(tmp_path / "none", united, FLIP)
    check_flipped(none, [0, 1, 2])


def test_each_format_takes_sides() -> None:
    from augforge.sources import SOURCES

    assert all("sides" in adapter.model_fields for adapter in SOURCES.values())


def test_versions_that_know_no_sides_are_read(lungs: Path, tmp_path: Path) -> None:
    _, dataset = build_sided(tmp_path / "first", source(lungs))
    old = dataset.manifest.model_copy(update={"sides": None})
    from augforge.store.sides import complete_sides, sides_of

    assert sides_of(old).pairs == () and complete_sides(old).found == (("left-lung", "right-lung"),)
    assert "sides" in old.model_dump() and open_dataset(dataset.folder).classes == LUNGS
