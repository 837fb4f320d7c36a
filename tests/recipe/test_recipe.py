"""Recipes: what a file may say, what is said of one that may not, and what `--set` changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from augforge.errors import RecipeError
from augforge.ops import OPS, FilterParams, Flag, filter_op
from augforge.ops.geometry import Resize
from augforge.ops.mosaic import Mosaic
from augforge.recipe.recipe import Recipe, load_recipe
from augforge.sources.class_lists import HAND_BONES

FORM = "{name: mine, source: {format: coco, path: data}}"
HEAD = "name: a\nsource: {format: hand-bone, path: x}\n"
RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
JARGON = re.compile(
    r"Input should|type=|tuple|dictionary|instance|Field required|valid (string|integer|number|boolean|list)|parse"
    r"|pydantic|validation|None|True|False|fractional|pattern|unhashable|\$|<class"
)


def load(folder: Path, text: str, *overrides: str) -> Recipe:
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path, overrides)


def told(folder: Path, text: str, *overrides: str) -> str:
    """The complaint about a recipe, with the file's name shortened; every one of them is fit for people."""
    with pytest.raises(RecipeError) as caught:
        load(folder, text, *overrides)
    message = str(caught.value).replace(str(folder / "r.yaml"), "r.yaml")
    for line in message.splitlines():
        assert re.match(r"(r\.yaml:\d+|--set .*?): ", line), line
        assert not JARGON.search(line), line
        assert len(line.partition(" Known:")[0]) < 200
    return message


@pytest.fixture
def toy_filter() -> Iterator[str]:
    class Toy(FilterParams):
        """A filter for the tests."""

        limit: float = 0.5

    with OPS.restored():

        @filter_op("toy_filter", Toy, version=1)
        def toy(candidate: Any, params: Toy, ctx: Any) -> Flag | None:
            return None

        yield "toy_filter"


# ---- what may be said ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_that_come_along(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.path == path and recipe.text == path.read_text(encoding="utf-8")
    data = {"hand-bone": "hands", "mask-folder": "chest", "yolo": "dental"}[recipe.source.format]
    assert recipe.source.root.resolve() == path.parent.parent / "data" / data


def test_the_least_recipe(tmp_path: Path) -> None:
    recipe = load(tmp_path, HEAD)
    assert (recipe.name, recipe.seed, recipe.steps, recipe.overrides) == ("a", 0, (), {})
    assert recipe.source.classes == HAND_BONES
    assert recipe.split.val is recipe.split.test is recipe.split.folds is None
    assert str(recipe.output.encoding) == "png"


def test_steps_read_their_own_keys_and_the_ops(tmp_path: Path) -> None:
    recipe = load(
        tmp_path,
        HEAD + "steps:\n"
        "  - {op: hflip, p: 0.5, copies: 3, keep_input: true}\n"
        "  - {op: mosaic, grid: [2, 3], fit: crop}\n"
        "  - {op: hflip, on: [val, test]}\n",
    )
    flip, mosaic, again = recipe.steps
    assert (flip.index, flip.p, flip.copies, flip.keep_input, flip.on) == (1, 0.5, 3, True, ("train",))
    assert mosaic.bound.params == Mosaic(grid=(2, 3), fit="crop")
    assert (mosaic.index, mosaic.p, mosaic.copies, mosaic.keep_input) == (2, 1.0, 1, False)
    assert (again.index, again.bound.occurrence, again.bound.label, again.on) == (3, 1, "hflip.2", ("val", "test"))
    assert [step.bound.label for step in (flip, mosaic)] == ["hflip", "mosaic"]


@pytest.mark.parametrize(
    ("on", "splits"),
    [("train", ("train",)), ("[val]", ("val",)), ("[train, test]", ("train", "test")), ("~", ("train",))],
)
def test_on_is_a_key_and_takes_one_or_many(tmp_path: Path, on: str, splits: tuple[str, ...]) -> None:
    """YAML 1.1 reads a bare `on` as true."""
    assert load(tmp_path, HEAD + f"steps:\n  - op: hflip\n    on: {on}\n").steps[0].on == splits


def test_on_by_role(tmp_path: Path, toy_filter: str) -> None:
    recipe = load(tmp_path, HEAD + "steps: [{op: resize, size: 8}, {op: hflip}, {op: mosaic}, {op: toy_filter}]\n")
    everywhere, train = ("train", "val", "test"), ("train",)
    assert [step.on for step in recipe.steps] == [everywhere, train, train, train]


def test_renames(tmp_path: Path) -> None:
    steps = "[{op: resize, size: 8}, {op: resize, size: 8, keep_input: true}, {op: resize, size: 8, copies: 2}, "
    steps += "{op: resize, size: 8, p: 0.5}, {op: hflip}]"
    recipe = load(tmp_path, HEAD + f"steps: {steps}\n")
    assert [step.renames for step in recipe.steps] == [False, True, True, True, True]


def test_output_size_is_a_last_resize(tmp_path: Path) -> None:
    text = HEAD + "steps: [{op: resize, size: 9}, {op: hflip}]\noutput: {size: [8, 6], fit: stretch, image: jpeg}\n"
    recipe = load(tmp_path, text)
    last = recipe.steps[-1]
    assert last.bound.params == Resize(size=(8, 6), fit="stretch")
    assert (last.index, last.bound.label, last.on, last.renames) == (3, "resize.2", ("train", "val", "test"), False)
    assert str(recipe.output.encoding) == "jpeg-95"


def test_quality(tmp_path: Path) -> None:
    assert str(load(tmp_path, HEAD + "output: {image: jpeg, quality: 80}\n").output.encoding) == "jpeg-80"


def test_classes_by_name_or_as_a_list(tmp_path: Path) -> None:
    text = "name: a\nsource: {format: hand-bone, path: x, classes: CLASSES}\n"
    assert load(tmp_path, text.replace("CLASSES", "hand-bone")).source.classes == HAND_BONES
    assert load(tmp_path, text.replace("CLASSES", "[b, a]")).source.classes == ("b", "a")
    many = ", ".join(f"c{i}" for i in range(256))
    assert len(load(tmp_path, text.replace("CLASSES", f"[{many}]")).source.classes or ()) == 256


def test_anchors_and_merged_keys(tmp_path: Path) -> None:
    steps = "steps:\n  - &flip {op: hflip, p: 0.5}\n  - {<<: *flip, copies: 2}\n  - *flip\n"
    recipe = load(tmp_path, HEAD + steps)
    assert [(step.p, step.copies, step.bound.occurrence) for step in recipe.steps] == [
        (0.5, 1, 0),
        (0.5, 2, 1),
        (0.5, 1, 2),
    ]
    text = HEAD + "steps:\n  - &size {op: resize,\n     size: 8}\n  - {<<: *size, op: hflip}\n"
    assert told(tmp_path, text).startswith("r.yaml:5: steps.1.size: unknown key for op 'hflip'.")


def test_dates_are_text(tmp_path: Path) -> None:
    recipe = load(tmp_path, "name: 2024-01-31\nsource: {format: hand-bone, path: 2024-02-30}\n")
    assert recipe.name == "2024-01-31"
    assert recipe.source.root == tmp_path / "2024-02-30"


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    path = tmp_path / "recipes" / "r.yaml"
    path.write_text(HEAD.replace("path: x", "path: ../data"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_recipe("recipes/r.yaml").source.root.resolve() == tmp_path / "data"
    assert load_recipe(path).source.root.resolve() == tmp_path / "data"
    shell = load_recipe(path, ["source.path=data"]).source.root
    assert shell.resolve() == tmp_path / "data"
    assert load_recipe(path, ["source.path=/a/b"]).source.path == "/a/b"
    url = ["source.format=dataset", "source.path=s3://bucket/data"]
    assert load_recipe(path, url).source.path == "s3://bucket/data"


# ---- what may not ----------------------------------------------------------------------------------------------------

SOURCE = "name: a\nsource: {format: hand-bone, path: x, KEY}\n"
STEP = HEAD + "steps:\n  - op: hflip\n  - {op: OP,\n     KEY}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "sead: 3\n", "3: sead: unknown key. Did you mean 'seed'?"),
        (HEAD + "on: 3\n", "3: on: unknown key. Known: "),
        (HEAD + "split: {vall: 0.2}\n", "3: split.vall: unknown key. Did you mean 'val'?"),
        (HEAD + "output:\n  image: png\n  sise: 3\n", "5: output.sise: unknown key. Did you mean 'size'?"),
        ("source: {format: hand-bone, path: x}\n", "1: 'name' is missing; it has no default"),
        ("# hi\nname: a\n", "2: 'source' is missing; it has no default"),
        (
            "name: a b\n" + HEAD[8:],
            "1: name: 'a b' cannot name a folder; expected letters, digits, '.', '_' and '-' alone",
        ),
        (
            "name: ../a\n" + HEAD[8:],
            "1: name: '../a' cannot name a folder; expected letters, digits, '.', '_' and '-' alone",
        ),
        ("name: 3\n" + HEAD[8:], "1: name: expected text, got 3"),
        (HEAD + "seed: 1.5\n", "3: seed: expected a whole number, got 1.5"),
        (HEAD + "seed: abc\n", "3: seed: expected a whole number, got 'abc'"),
        (HEAD + "seed:\n", "3: seed: expected a whole number, got nothing"),
        (HEAD + "seed: .nan\n", "3: seed: expected a finite number, got .nan"),
        ("name: a\nsource:\n", "2: source: expected keys and values, got nothing"),
        ("name: a\nsource: x\n", "2: source: expected keys and values, got 'x'"),
        ("name: a\nsource: {path: x}\n", "2: source: 'format' is missing; it has no default. Known: "),
        (
            HEAD.replace("hand-bone", "hand-bnoe"),
            "2: source.format: there is no format 'hand-bnoe'. Did you mean 'hand-bone'?",
        ),
        (HEAD.replace("hand-bone", "[a]"), "2: source.format: there is no format ['a']. Known: "),
        (HEAD.replace(", path: x", ""), "2: source: 'path' is missing; it has no default"),
        (HEAD.replace("x}", "3}"), "2: source.path: expected text, got 3"),
        (SOURCE.replace("KEY", "\n clases: a"), "3: source.clases: unknown key. Did you mean 'classes'?"),
        (SOURCE.replace("KEY", "classes: [a, b, a]"), "2: source.classes: duplicate names in classes: a"),
        (SOURCE.replace("KEY", "classes: []"), "2: source.classes: 0 classes; expected 1 to 256"),
        (
            SOURCE.replace("KEY", f"\n  classes: [{', '.join(f'c{i}' for i in range(257))}]"),
            "3: source.classes: 257 classes; expected 1 to 256",
        ),
        (
            SOURCE.replace("KEY", "classes: hand-bnoe"),
            "2: source.classes: no class list is named 'hand-bnoe'. Did you mean 'hand-bone'?",
        ),
        (SOURCE.replace("KEY", "classes: 3"), "2: source.classes: expected a list, got 3"),
        (SOURCE.replace("KEY", "classes: [a,\n 7]"), "3: source.classes.1: expected text, got 7"),
        (
            SOURCE.replace("KEY", "class_map: {a: finger-99}"),
            "2: source: class_map sends 'a' to 'finger-99', which is not in classes. Did you mean 'finger-9'?",
        ),
        (SOURCE.replace("KEY", "class_map: {a: 3}"), "2: source.class_map.a: expected text, got 3"),
        (
            SOURCE.replace("KEY", "class_map: {3.5: finger-1}"),
            "2: a key is neither text nor a plain whole number; put it in quotes",
        ),
        (HEAD + "steps: {op: hflip}\n", "3: steps: expected a list, got {'op': 'hflip'}"),
        (HEAD + "steps:\n  - hflip\n", "4: steps.0: expected keys and values, such as {op: hflip}, got 'hflip'"),
        (HEAD + "steps:\n  - p: 1\n", "4: steps.0: 'op' is missing; it has no default. Known: "),
        (STEP.replace("OP", "mosiac"), "5: steps.1.op: there is no op 'mosiac'. Did you mean 'mosaic'?"),
        (STEP.replace("OP", "[hflip]"), "5: steps.1.op: there is no op ['hflip']. Did you mean 'hflip'?"),
        (
            STEP.replace("OP", "hflip").replace("KEY", "keep_imput: true"),
            "6: steps.1.keep_imput: unknown key for op 'hflip'. Did you mean 'keep_input'?",
        ),
        (
            STEP.replace("OP", "mosaic").replace("KEY", "gird: [2, 2]"),
            "6: steps.1.gird: unknown key for op 'mosaic'. Did you mean 'grid'?",
        ),
        *(
            (STEP.replace("OP", "mosaic").replace("KEY", key), f"{line}: steps.1{message}")
            for line, key, message in [
                (6, "p: x", ".p: expected a number, got 'x'"),
                (6, "p: 1.5", ".p: expected at most 1, got 1.5"),
                (6, "p: -0.1", ".p: expected at least 0, got -0.1"),
                (6, "p: .inf", ".p: expected a finite number, got .inf"),
                (6, "p: [1]", ".p: expected a number, got [1]"),
                (6, "p: ", ".p: expected a number, got nothing"),
                (6, "copies: 0", ".copies: expected at least 1, got 0"),
                (6, "copies: 1001", ".copies: expected at most 1000, got 1001"),
                (6, "copies: 1.5", ".copies: expected a whole number, got 1.5"),
                (6, "keep_input: perhaps", ".keep_input: expected true or false, got 'perhaps'"),
                (6, "on: trian", ".on: expected 'train', 'val' or 'test', got 'trian'. Did you mean 'train'?"),
                (7, "on: [train,\n vla]", ".on.1: expected 'train', 'val' or 'test', got 'vla'. Did you mean 'val'?"),
                (6, "on: 3", ".on: expected a list, got 3"),
                (6, "on: []", ".on: no split is named; expected one or more of 'train', 'val' and 'test'"),
                (6, "grid: 3", ".grid: expected a list, got 3"),
                (6, "grid: [3]", ".grid: expected more items, got [3]"),
                (6, "grid: [1, 2, 3]", ".grid: expected 2 items, got [1, 2, 3]"),
                (8, "grid: [\n 2,\n x]", ".grid.1: expected a whole number, got 'x'"),
                (6, "grid: [9, 2]", ".grid.0: expected at most 8, got 9"),
                (5, "grid: [1, 1]", ": a 1x1 grid is no mosaic; expected at least two tiles"),
                (5, "center_range: [0.7, 0.3]", ": center_range goes from 0.7 to 0.3; expected from low to high"),
                (6, "center_range: [0, 0.3]", ".center_range.0: expected more than 0, got 0"),
                (
                    6,
                    "fit: covr",
                    ".fit: expected 'cover', 'contain', 'stretch' or 'crop', got 'covr'. Did you mean 'cover'?",
                ),
                (6, "size: abc", ".size: expected a whole number or a list, got 'abc'"),
                (6, "size: -1", ".size: expected at least 1, got -1"),
                (6, "size: [8]", ".size: expected more items, got [8]"),
                (6, "size: [8, x]", ".size.1: expected a whole number, got 'x'"),
            ]
        ),
        *(
            (HEAD + f"split:\n  {key}\n", f"{line}: split{message}")
            for line, key, message in [
                (4, "val: 1.0", ".val: expected less than 1, got 1.0"),
                (4, "val: 1", ".val: expected less than 1, got 1"),
                (4, "val: 0", ".val: expected more than 0, got 0"),
                (4, "val: x", ".val: expected a number or a list, got 'x'"),
                (4, "val: {a: 1}", ".val: expected a number or a list, got {'a': 1}"),
                (5, "val: [a,\n   1]", ".val.1: expected text, got 1"),
                (
                    3,
                    "{val: 0.5, test: 0.5}",
                    ": `val` and `test` leave nothing for train; their shares must sum to less than 1",
                ),
                (
                    3,
                    "{val: 0.9, test: 0.1}",
                    ": `val` and `test` leave nothing for train; their shares must sum to less than 1",
                ),
                (3, "{folds: 5, fold: 5}", ": fold 5 of 5 does not exist; folds count from 0"),
                (3, "{folds: 5}", ": `folds` and `fold` go together"),
                (3, "{fold: 5}", ": `folds` and `fold` go together"),
                (3, "{folds: 5, fold: 0, val: 0.1}", ": `folds` decides `val`; give one of the two"),
                (4, "folds: 1", ".folds: expected at least 2, got 1"),
                (4, "fold: -1", ".fold: expected at least 0, got -1"),
                (3, "", ": expected keys and values, got nothing"),
                (3, "0.2", ": expected keys and values, got 0.2"),
            ]
        ),
        *(
            (HEAD + f"output:\n  {key}\n", f"{line}: output{message}")
            for line, key, message in [
                (3, "quality: 90", ": `quality` belongs to `image: jpeg`; png is lossless"),
                (3, "{image: png, quality: 90}", ": `quality` belongs to `image: jpeg`; png is lossless"),
                (4, "{image: jpeg, quality: 0}", ".quality: expected at least 1, got 0"),
                (4, "image: jpg", ".image: expected 'png', 'jpeg' or 'keep', got 'jpg'. Did you mean 'jpeg'?"),
                (4, "fit: cover", ".fit: expected 'letterbox' or 'stretch', got 'cover'"),
                (4, "size: abc", ".size: expected a whole number or a list, got 'abc'"),
                (4, "size: 1.5", ".size: expected a whole number or a list, got 1.5"),
                (4, "size: 0", ".size: expected at least 1, got 0"),
                (4, "size: 99999", ".size: expected at most 32767, got 99999"),
                (5, "size: [8,\n    -1]", ".size.1: expected at least 1, got -1"),
                (4, "size: [8]", ".size: expected more items, got [8]"),
            ]
        ),
        (
            HEAD + "seed: 1\nseed: 2\n",
            "4: not valid YAML: the key 'seed' stands here twice; take one away",
        ),
        (
            HEAD + "steps:\n\t- op: hflip\n",
            "4: not valid YAML: a tab where spaces are expected; indent with spaces",
        ),
        (
            "",
            f"1: expected keys and values at the top, such as '{FORM}', got nothing",
        ),
        (
            "- a\n",
            f"1: expected keys and values at the top, such as '{FORM}', got ['a']",
        ),
    ],
)
def test_complaints(tmp_path: Path, text: str, message: str) -> None:
    found = told(tmp_path, text)
    assert found[: len(found) if message[-1] != " " else len(message) + 7] == f"r.yaml:{message}"


def test_all_complaints_at_once(tmp_path: Path) -> None:
    text = "nam: a\n" + HEAD[8:] + "sead: 3\nsplit: {val: 7, tset: 0.1}\n"
    assert told(tmp_path, text).splitlines() == [
        "r.yaml:1: 'name' is missing; it has no default",
        "r.yaml:4: split.val: expected less than 1, got 7",
        "r.yaml:4: split.tset: unknown key. Did you mean 'test'?",
        "r.yaml:1: nam: unknown key. Did you mean 'name'?",
        "r.yaml:3: sead: unknown key. Did you mean 'seed'?",
    ]


@pytest.mark.parametrize("key", ["p: 0.5", "copies: 2", "keep_input: true", "p: 1"])
def test_how_often_means_nothing_to_a_filter(tmp_path: Path, toy_filter: str, key: str) -> None:
    name = key.partition(":")[0]
    text = HEAD + f"steps:\n  - op: toy_filter\n    action: tag\n    {key}\n"
    assert told(tmp_path, text) == (f"r.yaml:6: steps.0.{name}: 'toy_filter' is a filter; {name} has no meaning for it")


def test_a_filter_takes_on_and_its_own_keys(tmp_path: Path, toy_filter: str) -> None:
    step = load(tmp_path, HEAD + "steps: [{op: toy_filter, on: [train, val], limit: 3, action: tag}]\n").steps[0]
    assert step.on == ("train", "val")
    assert step.bound.params.model_dump() == {"action": "tag", "limit": 3.0}


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no\.yaml: no such file"):
        load_recipe(tmp_path / "no.yaml")
    (tmp_path / "r.yaml").write_bytes(b"name: a\nsource: \xe4\n")
    with pytest.raises(RecipeError, match=r"r\.yaml:2: byte 0xe4 is not UTF-8"):
        load_recipe(tmp_path / "r.yaml")


# ---- --set -----------------------------------------------------------------------------------------------------------

FULL = HEAD + "seed: 4\nsplit:\nsteps:\n  - {op: mosaic, grid: [2, 2]}\n  - &flip {op: hflip}\n  - *flip\n"


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("seed=7", 7),
        ("name=b-2", "b-2"),
        ("split.val=0.25", 0.25),
        ("split.val=[p1, p2]", ["p1", "p2"]),
        ("split={test: 0.1}", {"test": 0.1}),
        ("output.size=[8, 6]", [8, 6]),
        ("output.image=jpeg", "jpeg"),
        ("steps.1.p=0.5", 0.5),
        ("steps.0.grid.1=3", 3),
        ("steps.0={op: hflip, on: val}", {"op": "hflip", "on": "val"}),
        ("steps=[]", []),
        ("source.classes=[a, b]", ["a", "b"]),
        ("source.path=a=b", "a=b"),
    ],
)
def test_overrides_change_the_recipe_and_not_its_digest(tmp_path: Path, override: str, value: Any) -> None:
    plain, changed = load(tmp_path, FULL, "split.val=0.5"), load(tmp_path, FULL, "split.val=0.5", override)
    assert changed.digest == plain.digest and changed.text == FULL
    assert changed.overrides == {"split.val": 0.5, override.partition("=")[0]: value}
    known = ("name", "seed", "source", "split", "steps", "output")
    assert [getattr(changed, key) for key in known] != [getattr(plain, key) for key in known]


def test_overrides_reach_their_place_alone(tmp_path: Path) -> None:
    recipe = load(
        tmp_path, FULL, "split.val=0.5", "split.test=0.25", "steps.1.p=0.5", "steps.0.grid.1=3", "output.size=8"
    )
    assert (recipe.split.val, recipe.split.test) == (0.5, 0.25)
    assert [step.p for step in recipe.steps] == [1, 0.5, 1, 1]  # the aliased third step stays as it is
    assert recipe.steps[0].bound.params == Mosaic(grid=(2, 3))
    assert recipe.steps[3].bound.params == Resize(size=8)


def test_the_last_override_counts(tmp_path: Path) -> None:
    recipe = load(tmp_path, HEAD, "seed=1", "seed=2")
    assert recipe.seed == 2 and recipe.overrides == {"seed": 2}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        *(
            (text, "expected key=value, such as source.path=data/hands or steps.1.p=0.5")
            for text in ("seed", "=3", "", "a..b=1", ".=1")
        ),
        ("seed=abc", "seed: expected a whole number, got 'abc'"),
        ("seed=", "seed: expected a whole number, got nothing"),
        ("seed=.nan", "seed: expected a finite number, got NaN"),
        ("sead=3", "sead: unknown key. Did you mean 'seed'?"),
        ("split.vall=0.2", "split.vall: unknown key. Did you mean 'val'?"),
        ("split={vall: 0.2}", "split.vall: unknown key. Did you mean 'val'?"),
        ("output.sise=1", "output.sise: unknown key. Did you mean 'size'?"),
        ("source=x", "source: expected keys and values, got 'x'"),
        ("source.format=hand", "source.format: there is no format 'hand'. Did you mean 'hand-bone'?"),
        ("steps.0=hflip", "steps.0: expected keys and values, such as {op: hflip}, got 'hflip'"),
        ("steps.0.op=mosiac", "steps.0.op: there is no op 'mosiac'. Did you mean 'mosaic'?"),
        ("steps.0.gird=1", "steps.0.gird: unknown key for op 'mosaic'. Did you mean 'grid'?"),
        ("steps.0.grid=[a, 2]", "steps.0.grid.0: expected a whole number, got 'a'"),
        ("steps.0.grid.0=a", "steps.0.grid.0: expected a whole number, got 'a'"),
        ("steps.0.grid.2=3", "'2' is no item of a list of 2; items count from 0"),
        ("steps.3.p=1", "'3' is no item of a list of 3; items count from 0"),
        ("steps.-1.p=1", "'-1' is no item of a list of 3; items count from 0"),
        ("steps.first.p=1", "'first' is no item of a list of 3; items count from 0"),
        ("steps.²=1", "'²' is no item of a list of 3; items count from 0"),
        ("name.x=1", "'name' is a plain value; nothing can stand below it"),
        ("steps.0.grid.0.x=1", "'0' is a plain value; nothing can stand below it"),
    ],
)
def test_bad_overrides(tmp_path: Path, override: str, message: str) -> None:
    assert told(tmp_path, FULL.replace("split:\n", ""), override) == f"--set {override}: {message}"


# ---- digest ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "# more\n" + FULL,
        FULL.replace("seed: 4", "seed:     4   # lucky"),
        FULL.replace("seed: 4\n", "") + "\n\nseed: 4\n",
        FULL.replace("path: x", "path: /elsewhere/y"),
        FULL.replace("{op: mosaic, grid: [2, 2]}", "grid: [2,\n      2]\n    op: 'mosaic'"),
        FULL.replace("&flip ", "").replace("*flip", "{op: hflip}"),
    ],
)
def test_digest_ignores_how_it_is_written(tmp_path: Path, text: str) -> None:
    first = load(tmp_path, FULL, "split.val=0.5")
    assert text != FULL and load(tmp_path, text, "split.val=0.5").digest == first.digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: a", "name: b"),
        ("seed: 4", "seed: 5"),
        ("[2, 2]", "[2, 3]"),
        ("{op: hflip}", "{op: hflip, p: 0.5}"),
        ("path: x", "path: x, classes: [a]"),
        ("split:", "split: {val: 0.1}"),
        ("  - *flip\n", ""),
    ],
)
def test_digest_sees_every_value(tmp_path: Path, old: str, new: str) -> None:
    first = load(tmp_path, FULL, "split.val=0.5")
    assert load(tmp_path, FULL.replace(old, new), "split.val=0.5").digest != first.digest
