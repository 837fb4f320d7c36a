"""The JSON Schemas say what the models say: another library, jsonschema, takes what they take and refuses the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from layouts import LAYOUTS, write_layout
from typer.testing import CliRunner

from augforge.cli import app as cli
from augforge.errors import RecipeError, TrainError
from augforge.ops import OPS
from augforge.recipe.recipe import load_recipe
from augforge.recipe.schema import config_schema, recipe_schema, review_schema
from augforge.recipe.starting import start_recipe
from augforge.report.fields import valid_example
from augforge.sources import SOURCES
from augforge.train.config import TrainConfig, load_config

Validator = jsonschema.Draft202012Validator
RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
SCHEMA = recipe_schema()
STEP = {"$ref": "#/$defs/step", "$defs": SCHEMA["$defs"]}

GOOD = """\
name: mine
source: {format: coco, path: ../data, classes: [a, b]}
split: {val: 0.2}
steps:
  - {op: rotate, angle_range: [-10, 10], on: train}
output: {size: [64, 32]}
"""
BROKEN = {
    "an unknown key": GOOD + "sed: 3\n",
    "no name": GOOD.replace("name: mine\n", ""),
    "no source": "name: mine\n",
    "an unknown format": GOOD.replace("format: coco", "format: cocco"),
    "an option of another format": GOOD.replace("path: ../data", "path: ../data, threshold: 3"),
    "an unknown op": GOOD.replace("op: rotate", "op: rotat"),
    "a parameter of another op": GOOD.replace("on: train", "grid: [2, 2]"),
    "a step that is text": GOOD.replace("{op: rotate, angle_range: [-10, 10], on: train}", "rotate"),
    "an unknown split": GOOD.replace("on: train", "on: [trian]"),
    "a chance above 1": GOOD.replace("on: train", "p: 1.5"),
    "too few numbers": GOOD.replace("[-10, 10]", "[-10]"),
    "text for a number": GOOD.replace("[64, 32]", "large"),
    "an unknown word": GOOD.replace("size: [64, 32]", "image: gif"),
    "a key of a step that a filter lacks": GOOD.replace(
        "{op: rotate, angle_range: [-10, 10], on: train}", "{op: empty, copies: 2}"
    ),
    "a list for keys": GOOD.replace("{val: 0.2}", "[val]"),
}


def errors(schema: Any, data: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in Validator(schema).iter_errors(data)]


@pytest.mark.parametrize(
    "schema", [SCHEMA, review_schema(), config_schema(TrainConfig)], ids=["recipe", "review", "train"]
)
def test_it_is_a_schema_of_the_draft(schema: Any) -> None:
    Validator.check_schema(schema)
    assert schema["$schema"] == Validator.META_SCHEMA["$id"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_of_the_repository_are_valid(path: Path) -> None:
    assert not errors(SCHEMA, yaml.safe_load(path.read_text().replace(" on: ", ' "on": ')))


@pytest.mark.parametrize("name", LAYOUTS)
def test_recipes_that_init_writes_are_valid(name: str, tmp_path: Path) -> None:
    write_layout(name, tmp_path / "mine")
    first, _ = start_recipe(tmp_path / "mine", tmp_path / "r.yaml")
    data = load_recipe(tmp_path / "r.yaml").file.data
    assert not errors(SCHEMA, data), first.text


@pytest.mark.parametrize("name", OPS)
def test_examples_of_each_op_are_valid(name: str) -> None:
    op = OPS[name]
    for params in (*op.examples.params, op.examples.picture):
        assert not errors(STEP, json.loads(json.dumps({"op": name, **params})))
    assert errors(STEP, {"op": name, "no_such_key": 1}) or op.params.model_config.get("extra") == "allow"


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "union"])
def test_examples_of_each_source_are_valid(name: str) -> None:
    source = json.loads(json.dumps(valid_example(SOURCES[name])))
    assert not errors(SCHEMA, {"name": "mine", "source": {"path": ".", **source}})
    assert errors(SCHEMA, {"name": "mine", "source": {"path": ".", **source, "no_such_key": 1}})


@pytest.mark.parametrize("case", BROKEN)
def test_what_the_recipe_refuses_the_schema_refuses(case: str, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "r.yaml").write_text(BROKEN[case])
    assert not errors(SCHEMA, load_recipe(tmp_path / "good.yaml").file.data)
    with pytest.raises(RecipeError):
        load_recipe(tmp_path / "r.yaml")
    assert errors(SCHEMA, yaml.safe_load(BROKEN[case].replace("on:", '"on":')))


@pytest.mark.parametrize("text", ["classes: cityscapes", "classes: [a]", "sides: none", "sides: [[a, b]]"])
def test_names_that_stand_for_lists(text: str) -> None:
    data = yaml.safe_load(f"{{name: m, source: {{format: index-mask, path: ., {text}}}}}")
    assert not errors(SCHEMA, data)
    assert not errors(SCHEMA, {**data, "source": {**data["source"], "colors": "voc"}})
    assert errors(SCHEMA, {**data, "source": {**data["source"], "colors": "vocc"}})


def test_training_configurations(tmp_path: Path) -> None:
    schema = config_schema(TrainConfig)
    assert not errors(schema, yaml.safe_load(TrainConfig().to_yaml()))
    good = {"model": {"encoder": "resnet18"}, "data": {"online": [{"op": "hflip", "p": 0.5}]}, "epochs": 3}
    assert not errors(schema, good)
    for broken in ({"epochs": 0}, {"model": {"encodr": "a"}}, {"data": {"online": [{"op": "hflop"}]}}):
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(broken))
        assert errors(schema, broken)
        with pytest.raises((TrainError, RecipeError)):
            load_config(tmp_path / "c.yaml", ())


def test_reviews() -> None:
    schema = review_schema()
    assert not errors(schema, {"samples": {"a/b": {"verdict": "keep", "why": "a scar"}}})
    assert errors(schema, {"samples": {"a/b": {"verdict": "kep"}}})


def test_descriptions_come_from_the_code() -> None:
    assert "counter-clockwise" in SCHEMA["$defs"]["op-rotate"]["description"]
    assert SCHEMA["$defs"]["op-rotate"]["properties"]["angle_range"]["description"].startswith("degrees")
    assert "COCO" in SCHEMA["$defs"]["source-coco"]["description"]


def test_the_command_prints_it(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.app, ["schema", "recipe"], catch_exceptions=False)
    assert json.loads(result.stdout) == json.loads(json.dumps(SCHEMA))
    CliRunner().invoke(cli.app, ["schema", "review", "-o", str(tmp_path / "s.json")], catch_exceptions=False)
    assert json.loads((tmp_path / "s.json").read_text()) == review_schema()
    refused = CliRunner().invoke(cli.app, ["schema", "recipes"])
    assert refused.exit_code == 2 and "'recipes' is none of recipe, train, review." in refused.output


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_our_recipes_name_their_schema(path: Path) -> None:
    assert path.read_text().splitlines()[0] == "# yaml-language-server: $schema=recipe.schema.json"
