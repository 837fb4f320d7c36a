"""Licences go from the data and the recipe to every sample, the manifest, the card, and on to other datasets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from makedata import put_image
from toybox import tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.engine.explaining import explain
from augforge.errors import RecipeError
from augforge.export import export
from augforge.report.inspect import inspect
from augforge.store.dataset import Dataset, open_dataset

CC, FREE = {"id": 1, "name": "CC BY 4.0", "url": "https://cc/by"}, {"id": 2, "name": "CC0", "url": ""}


def write_coco(root: Path, images: Mapping[str, Any], licences: Any = (CC, FREE), contributor: Any = None) -> Path:
    """A COCO data set: each image by its name with its `license`, or None."""
    entries, annotations = [], []
    for number, (name, licence) in enumerate(images.items(), start=1):
        put_image(root / f"images/{name}.png")
        stated = {} if licence is None else {"license": licence}
        entries.append({"id": number, "file_name": f"{name}.png", "width": 20, "height": 16, **stated})
        polygon = [[2, 2, 9, 2, 9, 9, 2, 9]]
        annotations.append({"id": number, "image_id": number, "category_id": 1, "segmentation": polygon, "iscrowd": 0})
    document = {
        "info": {"contributor": contributor},
        "licenses": licences if licences is None else list(licences),
        "images": entries,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "heart"}],
    }
    (root / "instances.json").write_text(json.dumps(document))
    return root


def made(tmp_path: Path, source: Mapping[str, Any], steps: Any = (), name: str = "toy") -> Dataset:
    recipe = {"name": name, "source": dict(source), "steps": list(steps)}
    (tmp_path / f"{name}.yaml").write_text(json.dumps(recipe))
    build(tmp_path / f"{name}.yaml", tmp_path / name)
    return open_dataset(tmp_path / name)


def licences(dataset: Dataset) -> dict[str, Any]:
    return {name: found and list(found) for name, found in dataset.index.select("name", "licences").sort("name").rows()}


def entries(dataset: Dataset) -> list[tuple[str, str, str, int]]:
    return [(each.name, each.url, each.attribution, each.samples) for each in dataset.manifest.licences]


def test_the_licence_of_each_coco_image(tmp_path: Path) -> None:
    data = write_coco(tmp_path / "data", {"p1/a": 1, "p2/b": 2, "p3/c": None}, contributor="Clinic A")
    dataset = made(tmp_path, {"format": "coco", "path": str(data)})
    assert licences(dataset) == {"p1/a": ["CC BY 4.0 (Clinic A)"], "p2/b": ["CC0 (Clinic A)"], "p3/c": None}
    assert entries(dataset) == [("CC BY 4.0", "https://cc/by", "Clinic A", 1), ("CC0", "", "Clinic A", 1)]
    assert [each["licence"] for each in inspect(dataset)["licences"]] == ["CC BY 4.0 (Clinic A)", "CC0 (Clinic A)"]
    card = (dataset.folder / "README.md").read_text()
    assert "- CC BY 4.0, https://cc/by, attribution: Clinic A (1 sample)" in card


def test_the_only_licence_of_a_file_is_that_of_all_its_images(tmp_path: Path) -> None:
    data = write_coco(tmp_path / "data", {"a": None, "b": 1}, [CC])
    assert licences(made(tmp_path, {"format": "coco", "path": str(data)})) == {"a": ["CC BY 4.0"], "b": ["CC BY 4.0"]}


@pytest.mark.parametrize(
    ("listed", "image"),
    [(None, None), ([], 1), ("none", 1), ([{"id": 0, "name": "", "url": ""}], 0), ([None, 7], None), ([CC], 99)],
)
def test_odd_licences_stop_no_build(tmp_path: Path, listed: Any, image: Any) -> None:
    data = write_coco(tmp_path / "data", {"a": image, "b": image}, listed, contributor=7)
    assert set(licences(made(tmp_path, {"format": "coco", "path": str(data)})).values()) == {None}


def test_a_license_that_is_not_listed_is_a_warning(tmp_path: Path) -> None:
    data = write_coco(tmp_path / "data", {"a": 1, "b": 99})
    made(tmp_path, {"format": "coco", "path": str(data)})
    (warning,) = build(tmp_path / "toy.yaml", tmp_path / "toy").warnings
    assert "1 images name a license that is none of licenses" in warning


def test_the_recipe_states_a_licence_beside_the_files(tmp_path: Path) -> None:
    data = write_coco(tmp_path / "data", {"a": 1, "b": None})
    stated = {"name": "DUA", "url": "https://dua", "attribution": "Clinic B"}
    dataset = made(tmp_path, {"format": "coco", "path": str(data), "licence": stated})
    assert licences(dataset) == {"a": ["CC BY 4.0", "DUA (Clinic B)"], "b": ["DUA (Clinic B)"]}
    assert entries(dataset)[1] == ("DUA", "https://dua", "Clinic B", 2)


def test_a_licence_changes_no_sample_and_makes_nothing_again(tmp_path: Path) -> None:
    tiny_hands(tmp_path / "data", (10, 60, 90))
    recipe = write_recipe(tmp_path / "r.yaml", tmp_path / "data", ["{op: hflip}"], classes="[a, b]")
    before = build(recipe, tmp_path / "out")
    recipe.write_text(recipe.read_text().replace("format: hand-bone,", "format: hand-bone, licence: CC BY 4.0,"))
    assert explain(recipe, tmp_path / "out").work == []
    after = build(recipe, tmp_path / "out")
    assert (after.version, after.made) == (before.version, 0)
    assert set(open_dataset(tmp_path / "out").index["licences"].explode()) == {"CC BY 4.0"}


@pytest.mark.parametrize("licence", ["''", "{name: ''}", "{url: https://x}", "{name: x, term: y}", "7"])
def test_a_wrong_licence_is_an_error_with_its_line(tmp_path: Path, licence: str) -> None:
    recipe = write_recipe(tmp_path / "r.yaml", tmp_path / "data", classes="[a, b]")
    recipe.write_text(recipe.read_text().replace("format: hand-bone,", f"format: hand-bone, licence: {licence},"))
    with pytest.raises(RecipeError, match=r"r\.yaml:\d"):
        build(recipe, tmp_path / "out")


def union(tmp_path: Path) -> dict[str, Any]:
    a = write_coco(tmp_path / "a", {"x": 1, "y": 2})
    b = write_coco(tmp_path / "b", {"z": None}, None)
    members = [{"format": "coco", "path": str(a)}, {"format": "coco", "path": str(b), "licence": "Own work"}]
    return {"format": "union", "sources": members, "classes": ["heart"]}


def test_each_source_of_a_union_keeps_its_own(tmp_path: Path) -> None:
    assert licences(made(tmp_path, union(tmp_path))) == {"a/x": ["CC BY 4.0"], "a/y": ["CC0"], "b/z": ["Own work"]}
    everywhere = made(tmp_path, {**union(tmp_path), "licence": "All"}, name="all")
    assert licences(everywhere) == {"a/x": ["All", "CC BY 4.0"], "a/y": ["All", "CC0"], "b/z": ["All", "Own work"]}


def test_a_mosaic_has_the_licences_of_all_its_images(tmp_path: Path) -> None:
    dataset = made(tmp_path, union(tmp_path), [{"op": "mosaic", "grid": [1, 2], "keep_input": True}, {"op": "vflip"}])
    found = licences(dataset)
    of_source = {"a/x": "CC BY 4.0", "a/y": "CC0", "b/z": "Own work"}
    for name, lineage in dataset.index.select("name", "lineage").rows():
        assert found[name] == sorted({of_source[root["name"]] for root in lineage["roots"]})
    assert any(len(keys) == 2 for keys in found.values())
    counted = pl.Series([key for keys in found.values() for key in keys]).value_counts()
    assert dict(counted.rows()) == {each.licence: each.samples for each in dataset.manifest.licences}


def test_a_dataset_as_source_carries_them_on(tmp_path: Path) -> None:
    data = write_coco(tmp_path / "data", {"a": 1, "b": 2, "c": None}, contributor="Clinic A")
    first = made(tmp_path, {"format": "coco", "path": str(data)})
    second = made(tmp_path, {"format": "dataset", "path": str(first.folder)}, name="second")
    assert licences(second) == licences(first) and entries(second) == entries(first)


def test_coco_export_has_licences_that_are_read_back(tmp_path: Path) -> None:
    data = write_coco(tmp_path / "data", {"a": 1, "b": 2, "c": None}, contributor="Clinic A")
    first = made(tmp_path, {"format": "coco", "path": str(data)})
    export(first, tmp_path / "coco", "coco")
    again = made(tmp_path, {"format": "coco", "path": str(tmp_path / "coco")}, name="again")
    assert licences(again) == licences(first) and entries(again) == entries(first)


def test_coco_export_joins_several_licences_of_an_image(tmp_path: Path) -> None:
    dataset = made(tmp_path, union(tmp_path), [{"op": "mosaic", "grid": [1, 2]}])
    export(dataset, tmp_path / "coco", "coco")
    document = json.loads((tmp_path / "coco/annotations/train.json").read_text())
    names = {each["id"]: each["name"] for each in document["licenses"]}
    for image in document["images"]:
        name = image["file_name"].removesuffix(".png")
        assert names[image["license"]] == " + ".join(licences(dataset)[name])


def test_without_licences_coco_images_have_none(tmp_path: Path) -> None:
    data = write_coco(tmp_path / "data", {"a": None}, None)
    export(made(tmp_path, {"format": "coco", "path": str(data)}), tmp_path / "coco", "coco")
    document = json.loads((tmp_path / "coco/annotations/train.json").read_text())
    assert document["licenses"] == [] and "license" not in document["images"][0]


def test_the_registry_states_the_licence_of_the_source_at_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one/data", "two/data"):
        tiny_hands(tmp_path / name, (10, 60))
    one = write_recipe(tmp_path / "one.yaml", tmp_path / "one/data", classes="[a, b]", name="one")
    two = write_recipe(tmp_path / "two.yaml", tmp_path / "two/data", classes="[a, b]", name="two")
    build(one, tmp_path / "out", register=True)
    registry = tmp_path / "data_manifest.yaml"
    registry.write_text(registry.read_text().replace("licence:", "licence: CC BY 4.0"))
    build(one, tmp_path / "out")
    assert all(found == ["CC BY 4.0"] for found in licences(open_dataset(tmp_path / "out")).values())
    build(two, tmp_path / "other")
    assert set(licences(open_dataset(tmp_path / "other")).values()) == {None}
    entry = registry.read_text().partition("datasets:")[0].partition("sources:\n")[2]
    other = entry.replace("licence: CC BY 4.0", "licence: CC0").replace("digest: ", "digest: other-")
    registry.write_text(f"sources:\n{entry}{other}datasets: []\n")
    assert any("states several licences" in text for text in build(one, tmp_path / "out").warnings)
    assert set(licences(open_dataset(tmp_path / "out")).values()) == {None}
    registry.write_text("sources: 7\n")
    assert any("A licence that it may state" in text for text in build(one, tmp_path / "out").warnings)
