"""What people meet first when something is wrong: each message has the fact, what was expected, and the remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from layouts import coco_one_file, labelme_beside
from toybox import made, tiny_hands

from augforge.engine.builder import build
from augforge.engine.outliers import find_outliers
from augforge.errors import AugforgeError, DatasetError, MissingExtra, RecipeError, SourceError
from augforge.recipe.recipe import load_recipe
from augforge.store.dataset import open_dataset
from augforge.yamlfile import parse_yaml

SOURCE = "name: t\nsource: {format: coco, path: mine}\n"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    coco_one_file(Path("mine"))


def told(text: str, run: Callable[[Path], object] = load_recipe) -> str:
    """What is said of a recipe."""
    Path("r.yaml").write_text(text)
    with pytest.raises(AugforgeError) as caught:
        run(Path("r.yaml"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source: format: coco\n", ":1: not valid YAML: a second ':' in one line"),
        ("name: t\n  source: 3\n", ":2: not valid YAML: a second ':' in one line, or a key that is indented more"),
        ("name: t\n\tsource: 3\n", ":2: not valid YAML: a tab where spaces are expected; indent with spaces"),
        ("name: [a\nsource: 3\n", ":2: not valid YAML: a list or mapping in brackets goes on without ',' or is not"),
        ("source: {a: 1 b: 2}\n", "add the ',' or the '}'"),
        ("name: 'a\n", "the file ends within a text in quotes; close the quotes"),
        ('name: "a\n', "the file ends within a text in quotes; close the quotes"),
        ("name: t\nname: u\n", ":2: not valid YAML: the key 'name' stands here twice; take one away"),
        ("name: @t\n", "a value begins with '@', which means something in YAML; put it in quotes"),
        ("name: `t\n", "a value begins with '`'"),
        ("class_map: {*: null}\n", 'put it in quotes, as in "*": null'),
        ("steps:\n  - op: x\n p: 3\n", "check the indentation"),
        ("a: 1\n---\nb: 2\n", "a line '---' begins a second document"),
        ("a: !odd 1\n", "nothing is known of the tag '!odd'; expected a plain value"),
    ],
)
def test_yaml_errors_are_in_plain_words(text: str, message: str) -> None:
    found = told(text)
    assert message in found
    assert not any(word in found for word in ("token", "block", "scalar", "stream", "mapping values"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "such as '{name: mine, source: {format: coco, path: data}}', got nothing"),
        ("- name: t\n", "got [{'name': 't'}]"),
        (f"{SOURCE}steps: [hflip]\n", "r.yaml:3: steps.0: expected keys and values, such as {op: hflip}, got 'hflip'"),
        (f"{SOURCE}steps: [{{op: hflip, on: [vall]}}]\n", "got 'vall'. Did you mean 'val'?"),
        (f"{SOURCE}output: {{image: pmg}}\n", "got 'pmg'. Did you mean 'png'?"),
        (f"{SOURCE}review: verdicts.yaml\n", "augforge outliers r.yaml --write-review verdicts.yaml"),
    ],
)
def test_recipes_show_what_is_meant(text: str, message: str) -> None:
    assert message in told(text)


def test_files_that_are_not_there_name_the_nearest() -> None:
    Path("mosaic.yaml").write_text(SOURCE)
    with pytest.raises(RecipeError, match=r"no such file; .* Did you mean 'mosaic.yaml'\?"):
        load_recipe("mosiac.yaml")


@pytest.mark.parametrize("place", ["mine", "mine/instances.json"])
def test_data_given_as_a_recipe(place: str) -> None:
    with pytest.raises(RecipeError, match=f"write a recipe for it: augforge init {place}"):
        load_recipe(place)


@pytest.mark.parametrize("text", ["", "# nothing yet\n\n", "samples:\n", "samples: {}\n"])
def test_a_review_may_be_empty(text: str) -> None:
    Path("review.yaml").write_text(text)
    Path("r.yaml").write_text(f"{SOURCE}review: review.yaml\n")
    assert load_recipe("r.yaml").review == {}
    assert build("r.yaml", "out").samples == 6


def test_the_first_outliers_need_no_review_yet() -> None:
    Path("r.yaml").write_text(f"{SOURCE}review: review.yaml\nsteps: [{{op: empty}}]\n")
    assert find_outliers(Path("r.yaml"), Path("out")).names
    with pytest.raises(RecipeError, match=r"r\.yaml:3: review: there is no file review.yaml"):
        build("r.yaml", "out")


def test_labels_of_no_class_are_advised_once_for_all() -> None:
    labelme_beside(Path("labelme"))
    found = told("name: t\nsource: {format: labelme, path: labelme, classes: [x]}\n", lambda path: build(path, "out"))
    assert found.count("class_map") == 2
    assert found.endswith("leave out all others: 'class_map: {\"*\": null}'.")
    assert "cat, dog are not in classes. Map what is meant, 'class_map: {cat: CLASS}'" in found
    Path("r.yaml").write_text(
        "name: t\nsource: {format: labelme, path: labelme, classes: [cat], class_map: {'*': null}}\n"
    )
    assert build("r.yaml", "out").samples == 6


def test_json_that_lies_deeper_is_named() -> None:
    Path("above").mkdir()
    coco_one_file(Path("above/inner"))
    found = told("name: t\nsource: {format: coco, path: above}\n", lambda path: build(path, "out"))
    assert "holds no .json where it is looked for, but 1 other one below, such as inner/instances.json" in found


@pytest.mark.parametrize(
    "step",
    [
        "{op: hflip, where: \"split = 'vall'\"}",
        "{op: hflip, where: width > 9999}",
        "{op: where, condition: width > 9999}",
    ],
)
def test_a_condition_that_nothing_fulfils_is_told_by_a_dry_run(step: str) -> None:
    Path("r.yaml").write_text(f"{SOURCE}steps: [{step}]\n")
    warnings = build("r.yaml", "out", dry_run=True).warnings
    assert any(warning.startswith("step 1 (") and "6 samples" in warning for warning in warnings)


def test_a_folder_of_datasets_names_them(tmp_path: Path) -> None:
    made(tmp_path, tiny_hands(tmp_path / "hands", [40, 80]), out="sets/toy", classes="[a, b]")
    with pytest.raises(DatasetError, match=r"It holds datasets: sets/toy\. Give one of them"):
        open_dataset("sets")
    with pytest.raises(DatasetError, match=r"Did you mean 'toy'\?"):
        open_dataset("sets/toys")
    with pytest.raises(DatasetError, match="Build one: augforge build RECIPE"):
        open_dataset("mine")


def test_images_to_predict_have_no_source_path() -> None:
    from augforge.train.prediction.inputs import list_inputs

    Path("empty").mkdir()
    with pytest.raises(SourceError) as caught:
        list_inputs("empty")
    assert str(caught.value).endswith("Give the folder of the images.")


def test_extras_are_named_for_a_checkout_too() -> None:
    assert "pip install '.[train]'" in str(MissingExtra("torch", "train", "training"))


def test_yaml_of_machines_says_what_it_is() -> None:
    with pytest.raises(RecipeError, match="such as 'a: 1', got nothing"):
        parse_yaml(json.dumps(None), "x", RecipeError, form="a: 1")
