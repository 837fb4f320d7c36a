"""Every recipe that is shipped builds, on generated data in its source's layout, into a dataset that verifies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest

from augforge.engine.builder import build
from augforge.phantom import write_phantom
from augforge.recipe.recipe import load_recipe
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.manifest import read_manifest
from augforge.store.registry import read_registry
from augforge.store.verify import verify

ROOT = Path(__file__).parents[2]
RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))
HANDS = [name for name in RECIPES if load_recipe(ROOT / "recipes" / f"{name}.yaml").source.format == "hand-bone"]


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "hands"
    write_phantom(path, persons=8, size=256, seed=7)
    return path


@pytest.fixture(scope="module")
def sources(hands: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Where a format's generated data lie."""
    made = {"hand-bone": hands}
    makers = {"mask-folder": _chest, "yolo": _teeth}

    def of(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            makers[kind](made[kind])
        return made[kind]

    return of


def _chest(folder: Path) -> None:
    """Ten pictures with two ellipses as lungs and the other classes inside."""
    classes = load_recipe(ROOT / "recipes" / "chest.yaml").source.classes or ()
    (folder / "images").mkdir()
    for c in classes:
        (folder / "masks" / c).mkdir(parents=True)
    for i in range(10):
        image = np.random.default_rng(i).integers(0, 90, (200, 200), dtype=np.uint8)
        for k, c in enumerate(classes):
            mask = cv2.ellipse(np.zeros_like(image), (50 + 25 * k, 100), (20, 40 + i), 10 * k, 0, 360, 255, -1)
            image[mask > 0] += 30
            cv2.imwrite(str(folder / "masks" / c / f"P{i:03}.png"), mask)
        cv2.imwrite(str(folder / "images" / f"P{i:03}.png"), image)


def _teeth(folder: Path) -> None:
    """Ten pictures with two polygons each."""
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    classes = load_recipe(ROOT / "recipes" / "dental.yaml").source.classes or tuple(f"c{i}" for i in range(11))
    names = "\n".join(f"  {i}: {name}" for i, name in enumerate(classes))
    (folder / "data.yaml").write_text(f"path: .\ntrain: images\nnames:\n{names}\n")
    for i in range(10):
        image = np.random.default_rng(i).integers(0, 200, (90, 120), dtype=np.uint8)
        cv2.imwrite(str(folder / "images" / f"t{i}.jpeg"), image)
        rows = [
            f"{i % len(classes)} 0.1 0.1 0.6 0.1 0.6 0.8 0.1 0.8",
            f"{(i + 1) % len(classes)} 0.3 0.3 0.9 0.3 0.9 0.9",
        ]
        (folder / "labels" / f"t{i}.txt").write_text("\n".join(rows))


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_builds_and_verifies(name: str, sources: Callable[[str], Path], tmp_path: Path) -> None:
    path = ROOT / "recipes" / f"{name}.yaml"
    data = sources(load_recipe(path).source.format)
    summary = build(path, tmp_path / "out", overrides=[f"source.path={data}"])
    assert summary.samples > 0 and {"train", "val"} <= set(summary.splits)
    assert verify(tmp_path / "out", pixels=True) == []
    dataset = open_dataset(tmp_path / "out")
    _check_groups_stay_apart(dataset)
    assert all(sample.masks.any() for sample in dataset if not name.startswith(("windows", "crops")))


def _check_groups_stay_apart(dataset: Dataset) -> None:
    groups = dataset.index.select("split", "groups").explode("groups").unique()
    assert groups["groups"].n_unique() == groups.height


@pytest.mark.parametrize("name", HANDS)
def test_validation_holds_nothing_augmented(name: str, hands: Path, tmp_path: Path) -> None:
    """Steps that augment act on train alone: each image of val stands for one image, or for windows of it."""
    build(ROOT / "recipes" / f"{name}.yaml", tmp_path / "out", overrides=[f"source.path={hands}"])
    val = open_dataset(tmp_path / "out").split("val").index
    assert set(val["step"]) <= {"", "rotate_normalise", "sliding_window"}
    assert all(len(roots) == 1 for roots in val["lineage"].struct.field("roots").to_list())


def test_rotate_goes_both_ways(hands: Path, tmp_path: Path) -> None:
    build(ROOT / "recipes" / "rotate.yaml", tmp_path / "out", overrides=[f"source.path={hands}"])
    index = open_dataset(tmp_path / "out").split("train").index
    turned = index.filter(pl.col("tags").list.contains("tilt: turned"))
    sources = index.filter(pl.col("step") == "")["name"].to_list()
    upright = [
        name.removesuffix("~rotate_normalise") for name in index.filter(pl.col("step") == "rotate_normalise")["name"]
    ]
    leaned = [name.removesuffix("~rotate") for name in index.filter(pl.col("step") == "rotate")["name"]]
    assert upright and leaned and sorted(upright + leaned) == sorted(sources)
    assert set(upright) == set(turned.filter(pl.col("step") == "")["name"])


def test_the_registry_is_what_the_recipes_give(tmp_path: Path) -> None:
    """Rebuilds one registered dataset from its generated source, and compares the version."""
    registry = read_registry(ROOT / "data_manifest.yaml")
    assert {dataset.name for dataset in registry.datasets} == {f"hands-{name}" for name in HANDS}
    for dataset in registry.datasets:
        assert load_recipe(ROOT / dataset.recipe).digest == dataset.recipe_digest, f"build --register {dataset.recipe}"
    (source,) = registry.sources
    entry = next(dataset for dataset in registry.datasets if dataset.name == "hands-hflip")
    write_phantom(tmp_path / "hands", persons=12, size=1024, seed=7)
    summary = build(ROOT / entry.recipe, tmp_path / "out", overrides=[f"source.path={tmp_path / 'hands'}"], jobs=2)
    if read_manifest(tmp_path / "out").source.digest != source.digest:
        pytest.skip("on this machine OpenCV draws the phantom's pixels differently, so its versions differ too")
    assert (summary.version, summary.splits) == (entry.version, entry.splits)
