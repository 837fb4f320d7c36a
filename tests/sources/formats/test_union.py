"""Several sources as one: names, groups, what each does not know, and what is told of mistakes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from makedata import known_of, label_of
from pydantic import ValidationError
from toybox import tiny_hands

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.engine.builder import build
from augforge.errors import RecipeError, SourceError
from augforge.recipe.recipe import load_recipe
from augforge.report.counting import label_counts
from augforge.sample import Sample
from augforge.sources.core import Listing
from augforge.sources.formats.union import Union
from augforge.sources.formats.union_labels import spread
from augforge.store.dataset import open_dataset

SQUARE = [2, 2, 6, 2, 6, 5, 2, 5]


def put_image(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 20), dtype=np.uint8)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def put_coco(root: Path, *names: str, seed: int = 0) -> Path:
    """One image, ``a``, with a square of each class."""
    put_image(root / "images/a.png", seed)
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"image_id": 1, "category_id": i, "segmentation": [SQUARE]} for i in range(len(names))],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
    }
    (root / "x.json").write_text(json.dumps(content))
    return root


def put_labelme(root: Path, *names: str) -> Path:
    """One image, ``a``, with a triangle of each class."""
    put_image(root / "a.png", 1)
    shapes = [{"label": name, "points": [[1, 1], [9, 1], [9, 9]]} for name in names]
    (root / "a.json").write_text(json.dumps({"shapes": shapes, "imagePath": "a.png"}))
    return root


@pytest.fixture(name="both")
def both_fixture(tmp_path: Path) -> Path:
    put_coco(tmp_path / "one", "heart", "lung")
    put_labelme(tmp_path / "two", "Herz", "liver")
    return tmp_path


ONE: dict[str, Any] = {"format": "coco", "path": "one"}
TWO: dict[str, Any] = {"format": "labelme", "path": "two", "class_map": {"Herz": "heart"}}


def union(root: Path, *sources: dict[str, Any], **options: Any) -> Union:
    return Union(path=str(root), sources=sources or (ONE, TWO), **options)


def scan(root: Path, *sources: dict[str, Any], **options: Any) -> Listing:
    return union(root, *sources, **options).scan(FileCache())


def samples(root: Path, *sources: dict[str, Any], **options: Any) -> tuple[dict[str, Sample], tuple[str, ...]]:
    source = union(root, *sources, **options)
    listing = source.scan(FileCache())
    return {r.name: source.load(r, listing.classes) for r in listing.records}, listing.classes


def test_classes_names_and_groups(both: Path) -> None:
    listing = scan(both)
    assert listing.classes == ("heart", "lung", "liver")
    assert [(r.name, r.group) for r in listing.records] == [("one/a", "one/a"), ("two/a", "two/a")]
    listing = scan(both, {**ONE, "name": "clinic"}, TWO, shared_groups=True)
    assert [(r.name, r.group) for r in listing.records] == [("clinic/a", "a"), ("two/a", "a")]


def test_what_a_source_never_labelled_is_unknown(both: Path) -> None:
    found, _ = samples(both, classes=["liver", "lung", "heart", "bone"])
    known = {name: bitmask.bits_to_flags(sample.known, 4).tolist() for name, sample in found.items()}
    assert known == {"one/a": [False, True, True, False], "two/a": [True, False, True, False]}
    areas = {name: bitmask.areas_and_boxes(sample.masks, 4)[0].tolist() for name, sample in found.items()}
    assert areas == {"one/a": [0, 20, 20, 0], "two/a": [45, 0, 45, 0]}
    assert found["one/a"].name == "one/a"


def test_a_source_without_ignore_has_no_such_pixels(both: Path) -> None:
    put_labelme(both / "two", "Herz", "void")
    two = {**TWO, "class_map": {"Herz": "heart", "void": "ignore"}}
    for options in ({}, {"classes": ["ignore", "heart", "lung"]}):
        found, classes = samples(both, ONE, two, **options)
        known = {name: set(known_of(sample, classes)) for name, sample in found.items()}
        assert known == {"one/a": {"heart", "lung", "ignore"}, "two/a": {"heart", "ignore"}}


def test_every_source_has_its_own_options(both: Path) -> None:
    found, classes = samples(both, {**ONE, "class_map": {"lung": None}}, {**TWO, "class_map": {"*": "other"}})
    assert classes == ("heart", "other")
    assert bitmask.areas_and_boxes(found["two/a"].masks, 2)[0].tolist() == [0, 45]


def test_the_rest_is_what_no_class_of_the_union_is(both: Path) -> None:
    rest = {"class_map": {"Herz": "heart", "*": "other"}}
    found, _ = samples(both, {**ONE, **rest}, {**TWO, **rest}, classes=["heart", "liver", "other"])
    areas = {name: bitmask.areas_and_boxes(sample.masks, 3)[0].tolist() for name, sample in found.items()}
    assert areas == {"one/a": [20, 0, 20], "two/a": [45, 45, 0]}


def test_a_label_without_a_class(both: Path) -> None:
    with pytest.raises(SourceError, match=r"two.*label 'liver' is not in the union's classes.*class_map"):
        scan(both, classes=["heart", "lung"])


def test_contents_change_with_the_source_and_not_with_its_place(both: Path) -> None:
    before = {r.name: r.content for r in scan(both).records}
    assert {r.name: r.content for r in scan(both, TWO, ONE).records} == before
    assert {r.name: r.content for r in scan(both, {**ONE, "name": "x"}, TWO).records} == {
        "x/a": before["one/a"],
        "two/a": before["two/a"],
    }
    put_coco(both / "one", "heart", "lung", seed=9)
    after = {r.name: r.content for r in scan(both).records}
    assert after["one/a"] != before["one/a"] and after["two/a"] == before["two/a"]


def test_problems_of_all_sources_come_together(both: Path) -> None:
    (both / "one/images/a.png").write_bytes(b"")
    (both / "two/a.json").write_text("{")
    with pytest.raises(SourceError) as caught:
        scan(both)
    assert "2 problems" in str(caught.value)
    assert "one/images/a.png" in str(caught.value) and "two/a.json" in str(caught.value)


def test_rejected_rows(both: Path) -> None:
    (both / "one/images/a.png").write_bytes(b"")
    put_image(both / "two/stray.png")
    listing = scan(both, on_error="reject")
    assert [(r.name, r.reason) for r in listing.refused] == [
        ("one/a", "broken image"),
        ("two/stray", "no annotation"),
    ]
    with pytest.raises(SourceError, match=r"one/images/a\.png"):
        scan(both, {**ONE, "on_error": "error"}, TWO, on_error="reject")


def test_group_and_metadata_over_all(both: Path) -> None:
    (both / "all.csv").write_text("name,site\none/a,north\ntwo/a,north\n")
    listing = scan(both, metadata="all.csv", group={"column": "site"})
    assert [(r.group, r.metadata["site"]) for r in listing.records] == [("north", "north")] * 2


def test_a_split_for_all_of_a_source(both: Path) -> None:
    put_image(both / "three/images/val/b.png")
    (both / "three/data.yaml").write_text("names: [liver]\nval: images/val\n")
    three = {"format": "yolo", "path": "three", "missing_label": "empty"}
    splits = {r.name: r.split for r in scan(both, {**ONE, "split": "test"}, TWO, three).records}
    assert splits == {"one/a": "test", "two/a": None, "three/val/b": "val"}
    splits = {r.name: r.split for r in scan(both, ONE, {**three, "split": "train"}).records}
    assert splits == {"one/a": None, "three/val/b": "train"}
    plain, put = scan(both, ONE, TWO), scan(both, {**ONE, "split": "test"}, TWO)
    assert [r.content for r in plain.records] == [r.content for r in put.records]


def test_unions_of_unions(both: Path) -> None:
    inner = {"format": "union", "name": "in", "sources": [TWO]}
    found, classes = samples(both, ONE, inner)
    assert sorted(found) == ["in/two/a", "one/a"]
    assert bitmask.areas_and_boxes(found["in/two/a"].masks, 3)[0].tolist() == [45, 0, 45]
    assert classes == ("heart", "lung", "liver")


def test_label_vectors() -> None:
    assert spread(None, {"at": [], "of": 3, "unknown": False}) is None
    made = spread(np.array([0.5, 1], np.float32), {"at": [2, 0], "of": 3, "unknown": False})
    assert made is not None and made.tolist() == [1, 0, 0.5]


def test_labels_of_classification(both: Path) -> None:
    for place in ("c/cat/x.png", "c/dog/y.png", "d/bird/z.png"):
        put_image(both / place, len(place))
    sources = [{"format": "image-folder", "path": "c"}, {"format": "image-folder", "path": "d"}]
    source = union(both, *sources)
    try:
        listing = source.scan(FileCache())
    except SourceError as error:
        pytest.fail(str(error))
    assert listing.labels == ("cat", "dog", "bird")
    assert any("d has no label cat, dog" in text for text in listing.warnings)
    vectors = [label_of(source.load(record, listing.classes)) for record in listing.records]
    assert sorted(vectors) == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]


def put_findings(root: Path, findings: str, *rows: str) -> dict[str, Any]:
    """A table of images with any number of findings; the entry of a union that reads it."""
    for n, _ in enumerate(rows):
        put_image(root / f"{n}.png", len(findings) * 10 + n)
    lines = [f"file,{findings}", *(f"{n}.png,{row}" for n, row in enumerate(rows))]
    (root / "table.csv").write_text("\n".join(lines))
    return {"format": "csv", "path": root.name, "table": "table.csv", "image": "file", "labels": findings.split(",")}


def vectors_of(source: Union) -> tuple[Listing, dict[str, list[float | None]]]:
    listing = source.scan(FileCache())
    loaded = {record.name: label_of(source.load(record, listing.classes)) for record in listing.records}
    return listing, {name: [None if math.isnan(v) else v for v in vector] for name, vector in loaded.items()}


def test_a_finding_that_a_source_does_not_have_is_unknown(tmp_path: Path) -> None:
    entries = [
        put_findings(tmp_path / "a", "mass,fracture", "1,1", "0,0"),
        put_findings(tmp_path / "b", "fracture", "1"),
    ]
    listing, vectors = vectors_of(union(tmp_path, *entries))
    assert vectors == {"a/0": [1, 1], "a/1": [0, 0], "b/0": [None, 1]}
    (told,) = [text for text in listing.warnings if "mass" in text]
    assert told.startswith("b has no label mass: unknown in its samples")
    assert told.endswith("missing_labels: absent")


def test_what_a_missing_label_means_can_be_said(tmp_path: Path) -> None:
    entries = [
        put_findings(tmp_path / "a", "mass,fracture", "1,0", "0,1"),
        put_findings(tmp_path / "b", "fracture", "1"),
    ]
    ids = {}
    for said, expected in (("auto", 0), ("absent", 0), ("unknown", None)):
        listing, vectors = vectors_of(union(tmp_path, *entries, missing_labels=said))
        assert vectors["b/0"] == [expected, 1]
        ids[said] = {record.name: record.content for record in listing.records}
    assert ids["auto"] == ids["absent"], "one label each, as far as anyone can tell"
    changed = {name for name in ids["auto"] if ids["auto"][name] != ids["unknown"][name]}
    assert changed == {"b/0"}, "only samples with unknown labels have other ids"


def test_unknown_labels_go_through_a_build(tmp_path: Path) -> None:
    entries = [
        put_findings(tmp_path / "a", "mass,fracture", "1,1", "0,0", "0,1", "1,0"),
        put_findings(tmp_path / "b", "fracture", "1", "0"),
    ]
    steps = [{"op": "where", "condition": "label.mass is null or label.mass < 1"}, {"op": "mixup", "keep_input": True}]
    recipe = {"name": "x", "source": {"format": "union", "sources": entries}, "steps": steps}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    build(tmp_path / "recipe.yaml", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    index = {row["name"]: row["label"] for row in dataset.index.iter_rows(named=True)}
    assert {name: label for name, label in index.items() if not name.startswith("mixup")} == {
        "a/1": [0, 0],
        "a/2": [0, 1],
        "b/0": [None, 1],
        "b/1": [None, 0],
    }
    assert any(label[0] is None and 0 < label[1] < 1 for name, label in index.items() if name.startswith("mixup"))
    for sample in dataset:
        stored = index[sample.name]
        assert np.isnan(label_of(sample)).tolist() == [weight is None for weight in stored]
    counts = {
        entry["name"]: (entry["samples"], entry["known"])
        for entry in label_counts(dataset.index, dataset.labels, ["train"])
    }
    assert counts["fracture"][1] == len(dataset) > counts["mass"][1] > 1


# ---- in a recipe -----------------------------------------------------------------------------------------------------


def recipe(root: Path, text: str) -> Path:
    path = root / "recipes/r.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"name: all\nsplit: {{}}\nsource:\n  format: union\n{text}")
    return path


SOURCES = """\
  sources:
    - {format: coco, path: ../one}
    - {format: labelme, path: ../two, class_map: {Herz: heart}}
"""


def test_paths_are_relative_to_the_recipe(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recipe(both, SOURCES)
    summary = build(path, both / "out")
    assert summary.samples == 2
    dataset = open_dataset(both / "out")
    assert dataset.by_name("two/a").known.tolist() == [0b101]
    path.write_text(path.read_text().replace("path: ../two", "path: ../two, split: test"))
    build(path, both / "out")
    assert {s.name: s.split for s in open_dataset(both / "out")} == {"one/a": "train", "two/a": "test"}
    plain = load_recipe(path)
    moved = load_recipe(path, ["source.sources.0.path=elsewhere"])
    assert isinstance(moved.source, Union)
    assert moved.source.members[0].source.root == Path.cwd() / "elsewhere"
    assert moved.source.members[1].source.root == path.parent / "../two"
    path.write_text(path.read_text().replace("../one", "../clinic"))
    assert load_recipe(path).digest == plain.digest
    path.write_text(path.read_text().replace("Herz: heart", "Herz: lung"))
    assert load_recipe(path).digest != plain.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  sources: []\n", "r.yaml:5: source.sources: expected 1 or more items"),
        ("", "'sources' is missing"),
        ("  sources: [{path: x}]\n", "there is no format 'None'"),
        ("  sources: [{format: cocoo, path: x}]\n", "there is no format 'cocoo'. Did you mean 'coco'?"),
        ("  sources:\n    - {format: coco}\n", "r.yaml:6: source.sources.0: 'path' is missing"),
        ("  sources:\n    - {format: coco, path: x, imges: y}\n", "r.yaml:6: source.sources.0: unknown key 'imges'"),
        (
            "  sources:\n    - format: coco\n      path: x\n      crowd: no-one\n",
            "r.yaml:8: source.sources.0.crowd: expected 'ignore', 'class' or 'drop'",
        ),
        ("  sources: [{format: coco, path: x, name: ''}]\n", "name is ''"),
        ("  sources: [{format: coco, path: x, split: tset}]\n", "split is 'tset'; expected train, val, test"),
        (
            "  sources: [{format: coco, path: x, splt: val}]\n",
            "unknown key 'splt' for format coco. Did you mean 'split'",
        ),
        (
            "  sources: [{format: coco, path: a/x}, {format: coco, path: b/x}]\n",
            "two sources, a/x and b/x, have one name",
        ),
        ("  class_map: {a: b}\n" + SOURCES, "give each source its own"),
        ("  classes: [Heart]\n" + SOURCES, "'heart' is not in the union's classes. Did you mean 'Heart'?"),
    ],
)
def test_mistakes_in_a_recipe(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe(tmp_path, text))
    assert message in str(caught.value)


def test_hand_bones_own_list_must_fit(tmp_path: Path) -> None:
    tiny_hands(tmp_path / "hands", [10, 20])
    hands = {"format": "hand-bone", "path": "hands", "classes": ["a", "b"]}
    found, _ = samples(tmp_path, hands, classes=["b", "x", "a"])
    assert {tuple(bitmask.bits_to_flags(s.known, 3).tolist()) for s in found.values()} == {(True, False, True)}
    with pytest.raises(ValidationError, match="'a' is not in the union's classes"):
        union(tmp_path, hands, classes=["b"])
