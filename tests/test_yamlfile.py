"""YAML with line numbers: what is read, and what is said of what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, model_validator

from augforge.errors import RecipeError, shorten
from augforge.yamlfile import YamlFile, dump_yaml, parse_scalar, parse_yaml, read_yaml


def parse(text: str) -> YamlFile:
    return parse_yaml(text, "r.yaml", RecipeError)


def complaint(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse(text)
    return str(caught.value)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Axis(Strict):
    start: list[str] = Field(alias="from")
    to: list[str]


class Model(Strict):
    share: Annotated[float, Field(gt=0, lt=1)] | tuple[str, ...] | None = None
    size: Annotated[int, Field(ge=1)] | tuple[int, int] | None = None
    kind: Literal["one", "two"] = "one"
    text: str = ""
    flag: bool = False
    pairs: tuple[tuple[str, str], ...] = ()
    axis: Axis | None = None
    axes: list[Axis] = []
    table: dict[str, int] = {}
    odd: list[int] = []

    @model_validator(mode="after")
    def _sound(self) -> Model:
        if self.odd == [13]:
            raise ValueError("13 is odd indeed")
        return self


def told(text: str) -> str:
    file = parse(text)
    with pytest.raises(RecipeError) as caught:
        file.check(Model, file.data)
    return str(caught.value)


# ---- what is read ----------------------------------------------------------------------------------------------------


def test_plain_data_of_yaml_1_2() -> None:
    text = """\
on: no
yes: [on, off, 0x1F, 1.50, 1e-1, ~, null, true, "3", '4', 0o17]
date: 2024-02-30
time: 12:30:45
block: |
  two
  lines
anchored: [&b true, *b, &i 7, *i, &s 'q', *s]
"""
    data = parse(text).data
    assert data == {
        "on": "no",
        "yes": ["on", "off", 31, 1.5, 0.1, None, None, True, "3", "4", 15],
        "date": "2024-02-30",
        "time": "12:30:45",
        "block": "two\nlines\n",
        "anchored": [True, True, 7, 7, "q", "q"],
    }
    assert {type(value) for value in [*data["yes"], *data["anchored"]]} == {str, int, float, bool, type(None)}


def test_whole_numbers_as_keys_are_text() -> None:
    file = parse("values:\n  0: a\n  -7: b\n  '12': c\nmore: {<<: {1: x, 2: y}, 1: z}\n")
    assert file.data == {"values": {"0": "a", "-7": "b", "12": "c"}, "more": {"1": "z", "2": "y"}}
    assert file.where(("values", "-7")) == f"{file.name}:3"


def test_anchors_give_separate_copies() -> None:
    data = parse("a: &a {x: [1]}\nb: *a\n").data
    data["a"]["x"].append(2)
    assert data["b"] == {"x": [1]}


def test_lines_of_keys_and_items() -> None:
    text = """\
# a comment

name: x
steps:
  - {op: a,
     p: 1, deep: {more: [1,
       2, {last: 3}]}}
  -
    op: b
    grid:
      - 1
      - 2
"""
    file = parse(text)
    lines = {
        (): 3,
        ("name",): 3,
        ("steps",): 4,
        ("steps", 0): 5,
        ("steps", 0, "op"): 5,
        ("steps", 0, "p"): 6,
        ("steps", 0, "deep", "more"): 6,
        ("steps", 0, "deep", "more", 0): 6,
        ("steps", 0, "deep", "more", 1): 7,
        ("steps", 0, "deep", "more", 2, "last"): 7,
        ("steps", 1): 9,
        ("steps", 1, "op"): 9,
        ("steps", 1, "grid", 1): 12,
        ("steps", 1, "grid", 1, "beyond", 3): 12,
        ("nowhere",): 3,
    }
    assert {path: file.where(path) for path in lines} == {path: f"r.yaml:{line}" for path, line in lines.items()}


def test_merged_keys_stand_where_they_were_written() -> None:
    file = parse("a: &a\n  p: 1\n  q: 2\nb:\n  <<: *a\n  q: 3\n")
    assert file.data["b"] == {"p": 1, "q": 3}
    assert file.where(("b", "p")) == "r.yaml:2"
    assert file.where(("b", "q")) == "r.yaml:6"


def test_moved_values_forget_their_old_lines() -> None:
    file = parse("a:\n  b: [1, 2]\nc: 1\n")
    file.moved(("a", "b"), [7], "--set a.b=[7]")
    assert file.where(("a", "b", 0)) == file.where(("a", "b", 1)) == "--set a.b=[7]"
    assert file.where(("a",)) == "r.yaml:1"
    file.moved(("x", "y"), 1, "--set x.y=1")
    assert file.where(("x",)) == file.where(("x", "y")) == "--set x.y=1"
    assert file.where(("c",)) == "r.yaml:3"


keys = st.text("abc- :#'\"ßon019", min_size=1, max_size=6)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | keys
trees = st.dictionaries(
    keys,
    st.recursive(scalars, lambda x: st.lists(x, max_size=3) | st.dictionaries(keys, x, max_size=3), max_leaves=8),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=60)
@given(trees)
def test_dump_and_parse_round_trip(tree: dict[str, Any]) -> None:
    text = dump_yaml(tree)
    file = parse(text)
    assert file.data == tree and file.text == text
    lines = text.splitlines()
    for key in tree:
        number = int(file.where((key,)).rpartition(":")[2])
        assert not lines[number - 1].startswith((" ", "- "))  # a key of the top begins its line


def test_dates_and_words_survive_a_round_trip() -> None:
    tree = {"a": "2024-01-01", "b": "on", "c": "12", "d": "1e3", "e": "~", "f": "", "g": "true", "h": "x: y\n"}
    assert parse(dump_yaml(tree)).data == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        ("3", 3),
        ("true", True),
        ("on", "on"),
        ("[1, a]", [1, "a"]),
        ("{a: 1}", {"a": 1}),
        ("", None),
        ("a b", "a b"),
        ("@odd", "@odd"),
        ("a: b: c", "a: b: c"),
        ("[1", "[1"),
        ("!tag", "!tag"),
        ("2024-02-30", "2024-02-30"),
        ("C:\\data", "C:\\data"),
        ("*x", "*x"),
        ("1" * 5000, "1" * 5000),
        ("[" * 600 + "]" * 600, "[" * 600 + "]" * 600),
    ],
)
def test_parse_scalar(text: str, value: Any) -> None:
    assert parse_scalar(text) == value
    assert type(parse_scalar(text)) is type(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "nothing"), (True, "true"), ("a", "'a'"), ((0, 3), "[0, 3]"), ({"a": None}, "{'a': null}"), (0.1, "0.1")],
)
def test_shown(value: Any, text: str) -> None:
    assert shorten(value) == text


def test_shown_is_cut_short() -> None:
    assert len(shorten("x" * 500)) == 60 and shorten("x" * 500).endswith("...")


# ---- what cannot be read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "fact"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "not valid YAML: the key 'a' stands here twice; take one away"),
        ("a:\n  - {p: 1, p: 2}\n", 2, "the key 'p' stands here twice"),
        ("a:\n\t- b\n", 2, "indent with spaces"),
        ("a:\n  - b\n c: 1\n", 3, "check the indentation"),
        ("a: [1, 2\nb: 3\n", 2, "is not closed; add the ',' or the ']'"),
        ("a: {b: c: d}\n", 1, "is not closed; add the ',' or the '}'"),
        ('x: 1\na: "open\n', 3, "the file ends within a text in quotes"),
        ("a: *b\n", 1, "a value or key begins with '*', which means an alias"),
        ("x: 1\na: \x07\n", 2, "character #x0007 is not allowed"),
        ("a: 1\n---\nb: 1\n", 2, "a line '---' begins a second document"),
        ("x: 1\na: !thing 3\n", 2, "nothing is known of the tag '!thing'; expected a plain value"),
        ("a: !!python/object:os.system x\n", 1, "nothing is known of the tag '!!python/object:os.system'"),
        ("x: 1\na: !!set {b, c}\n", 2, "a: nothing is done with the tag '!!set'; expected a plain value"),
        ("a: [1,\n  !!binary aGk=]\n", 2, "a.1: nothing is done with the tag '!!binary'"),
        ("x: 1\na: [1, .nan]\n", 2, "a.1: expected a finite number, got .nan"),
        ("a: -.inf\n", 1, "a: expected a finite number, got -.inf"),
        ("a: 1e400\n", 1, "a: expected a finite number, got 1e400"),
        ("a: 1\n3.5: x\n", 2, "a key is neither text nor a plain whole number; put it in quotes"),
        ("a: {b: 1,\n  true: x}\n", 2, "a key is neither text"),
        ("? [a, b]\n: x\n", 1, "a key is neither text"),
        ("a: {~: 1}\n", 1, "a key is neither text"),
        ("a: {0x1: 1}\n", 1, "a key is neither text"),
        ("a:\n  '1': x\n  1: y\n", 3, "the key 1 stands there as text too"),
        ("a:\n  1: x\n  '1': y\n", 2, "the key 1 stands there as text too"),
        ("", 1, "expected keys and values at the top, got nothing"),
        ("# only a comment\n", 1, "expected keys and values at the top, got nothing"),
        ("- a\n- b\n", 1, "expected keys and values at the top, got ['a', 'b']"),
        ("hello\n", 1, "expected keys and values at the top, got 'hello'"),
    ],
)
def test_broken_yaml(text: str, line: int, fact: str) -> None:
    message = complaint(text)
    assert message.startswith(f"r.yaml:{line}: ") and fact in message
    assert "\n" not in message and "tag:yaml" not in message and "constructor" not in message


@pytest.mark.parametrize("text", ["a:\n  &a [*a]\n", "a:\n  &a {b: *a}\n"])
def test_an_alias_inside_what_it_names(text: str) -> None:
    assert complaint(text).startswith("r.yaml:2: not valid YAML: the alias 'a' stands inside what it names")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"a: {'[' * 10_000}{']' * 10_000}\n", 1),
        (f"a:\n  {'- ' * 10_000}b\n", 2),
        ("".join(f"{'  ' * depth}a:\n" for depth in range(900)), 50),
        (f"a: {'{b: ' * 600}{'}' * 600}\n", 1),
    ],
)
def test_nesting_has_a_limit(text: str, line: int) -> None:
    assert complaint(text) == (
        f"r.yaml:{line}: not valid YAML: nested more than 50 levels deep; expected a flatter file"
    )


def test_aliases_repeat_only_so_much() -> None:
    laughs = "a0: &a0 [ha, ha]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    assert complaint(laughs).startswith("r.yaml:6: not valid YAML: aliases repeat more than 100000 values")
    merged = "a0: &a0 {k: ha}\n" + "".join(
        f"a{i}: &a{i}\n  <<: [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
    )
    assert "aliases repeat more than 100000 values" in complaint(merged)


@pytest.mark.parametrize("number", ["0x" + "f" * 1_000_000, "1" * 5000, "1." + "3" * 5000, "0o" + "7" * 200])
def test_a_number_has_a_limit(number: str) -> None:
    expected = f"r.yaml:2: not valid YAML: a number of {len(number)} characters; expected at most 100"
    assert complaint(f"a: 1\nb: {number}\n") == expected


def test_a_whole_number_fits_128_bits() -> None:
    assert parse(f"a: {2**128 - 1}\n").data == {"a": 2**128 - 1}
    assert complaint(f"a: {2**128}\n") == "r.yaml:1: a: expected a number of at most 128 bits, got 129"


def test_a_file_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(b"#" * 3_000_000)
    with pytest.raises(RecipeError, match=r"3,000,000 bytes; expected at most 2,097,152 of YAML"):
        read_yaml(path, RecipeError)


def test_a_date_that_is_none_is_text() -> None:
    assert parse("a: 2024-99-99\n").data == {"a": "2024-99-99"}


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no\.yaml: no such file; expected a YAML file"):
        read_yaml(tmp_path / "no.yaml", RecipeError)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"cannot be read .*expected a YAML file"):
        read_yaml(tmp_path, RecipeError)


def test_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(RecipeError) as caught:
        read_yaml(path, RecipeError)
    assert str(caught.value) == f"{path}:2: byte 0xff is not UTF-8. Save the file as UTF-8"


def test_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb:\r\n  - c\r\n")
    file = read_yaml(path, RecipeError)
    assert file.data == {"a": 1, "b": ["c"]}
    assert file.where(("b", 0)) == f"{path}:3"


# ---- what a model has to say -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("text: 3\n", ["1: text: expected text, got 3"]),
        ("text:\n", ["1: text: expected text, got nothing"]),
        ("flag: maybe\n", ["1: flag: expected true or false, got 'maybe'"]),
        ("flag: [1]\n", ["1: flag: expected true or false, got [1]"]),
        ("odd: 3\n", ["1: odd: expected a list, got 3"]),
        ("odd: [1,\n 1.5]\n", ["2: odd.1: expected a whole number, got 1.5"]),
        ("odd: [13]\n", ["1: 13 is odd indeed"]),
        ("table: [1]\n", ["1: table: expected keys and values, got [1]"]),
        ("table: {a: b}\n", ["1: table.a: expected a whole number, got 'b'"]),
        ("kind: three\n", ["1: kind: expected 'one' or 'two', got 'three'"]),
        ("size: abc\n", ["1: size: expected a whole number or a list, got 'abc'"]),
        ("size: 1.5\n", ["1: size: expected a whole number or a list, got 1.5"]),
        ("size: {a: 1}\n", ["1: size: expected a whole number or a list, got {'a': 1}"]),
        ("size: 0\n", ["1: size: expected at least 1, got 0"]),
        ("size: [1]\n", ["1: size: expected more items, got [1]"]),
        ("size: []\n", ["1: size: expected more items, got []"]),
        ("size: [1, 2, 3]\n", ["1: size: expected 2 items, got [1, 2, 3]"]),
        ("size:\n - 1\n - x\n", ["3: size.1: expected a whole number, got 'x'"]),
        ("share: 1\n", ["1: share: expected less than 1, got 1"]),
        ("share: 0.0\n", ["1: share: expected more than 0, got 0.0"]),
        ("share: x\n", ["1: share: expected a number or a list, got 'x'"]),
        ("share: [a, 1]\n", ["1: share.1: expected text, got 1"]),
        ("pairs: [a]\n", ["1: pairs.0: expected a list, got 'a'"]),
        ("pairs: [[a]]\n", ["1: pairs.0: expected more items, got ['a']"]),
        ("axis: 3\n", ["1: axis: expected keys and values, got 3"]),
        ("axis: {from: [a]}\n", ["1: axis: 'to' is missing; it has no default"]),
        (
            "axis: {}\n",
            ["1: axis: 'from' is missing; it has no default", "1: axis: 'to' is missing; it has no default"],
        ),
        ("axis: {from: [a], to: [b],\n form: 1}\n", ["2: axis.form: unknown key. Did you mean 'from'?"]),
        ("axis: {from: [a], to: [b], zz: 1}\n", ["1: axis.zz: unknown key. Known: from, to."]),
        (
            "axes:\n- {from: [a], to: [b]}\n- {from: [a], form: [b], to: []}\n",
            ["3: axes.1.form: unknown key. Did you mean 'from'?"],
        ),
        ("flg: 1\n", ["1: flg: unknown key. Did you mean 'flag'?"]),
        (
            "text: a\nflg: 1\nkind: 3\n",
            ["3: kind: expected 'one' or 'two', got 3", "2: flg: unknown key. Did you mean 'flag'?"],
        ),
    ],
)
def test_complaints(text: str, messages: list[str]) -> None:
    assert told(text) == "\n".join(f"r.yaml:{message}" for message in messages)


def test_check_below_a_key() -> None:
    file = parse("x: 1\nmodel:\n  size: abc\n")
    with pytest.raises(RecipeError, match=r"r\.yaml:3: model\.size: expected a whole number"):
        file.check(Model, file.data["model"], ("model",))
    with pytest.raises(RecipeError, match=r"r\.yaml:1: x: expected keys and values, got 1"):
        file.check(Model, 1, ("x",))
    assert file.check(Model, {"size": 3}, ("model",)).size == 3
