"""Conditions in SQL: what holds, what cannot be said, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toybox import made as built
from toybox import put_hand, roots, tiny_hands

from augforge.errors import PlanError, RecipeError
from augforge.ops.conditions import check_syntax, evaluate_condition

ROWS: list[dict[str, Any]] = [
    {
        "name": "a",
        "width": 10,
        "tags": ["metal: ring"],
        "metadata": {"age": 3, "sex": "F"},
        "tilt": {"angle_deg": -12.5},
    },
    {"name": "b", "width": 20, "tags": [], "metadata": {"age": 9.5, "sex": None}, "tilt": {"angle_deg": 2.0}},
    {"name": "c", "width": 30, "tags": ["empty: empty", "metal: ring"], "metadata": {"age": None}},
]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("width >= 20", [False, True, True]),
        ("metadata.age >= 6", [False, True, False]),
        ("NOT metadata.age >= 6", [True, False, False]),
        ("metadata.age IS NULL", [False, False, True]),
        ("metadata.sex = 'F' OR width = 30", [True, False, True]),
        ("abs(tilt.angle_deg) > 10", [True, False, False]),
        ("tilt.angle_deg BETWEEN 0 AND 5", [False, True, False]),
        ("name IN ('a', 'c')", [True, False, True]),
        ("name LIKE 'b%'", [False, True, False]),
        ("array_contains(tags, 'metal: ring')", [True, False, True]),
        ("width > avg(width)", [False, False, True]),
        ("1 = 1", [True, True, True]),
        ("false", [False, False, False]),
        ("max(width) > 25", [True, True, True]),
        ("null", [False, False, False]),
    ],
)
def test_which_rows_meet_a_condition(expression: str, expected: list[bool]) -> None:
    check_syntax(expression)
    if expression == "null":
        with pytest.raises(PlanError, match="expected true or false"):
            evaluate_condition(expression, ROWS)
    else:
        assert evaluate_condition(expression, ROWS) == expected


def test_quoted_names() -> None:
    assert evaluate_condition(
        'area."finger-16" > 3 AND "my column" = 1', [{"area": {"finger-16": 5}, "my column": 1}]
    ) == [True]


def test_rows_without_metadata_or_tags() -> None:
    rows = [{"name": "a", "metadata": {}, "tags": []}, {"name": "b", "metadata": {}, "tags": []}]
    assert evaluate_condition("name = 'a'", rows) == [True, False]
    assert evaluate_condition("name = 'a'", []) == []


def test_a_late_row_may_bring_a_column() -> None:
    """Measured columns are there for some rows alone, however late the first of them comes."""
    rows: list[dict[str, Any]] = [{"name": str(i)} for i in range(500)] + [{"name": "x", "tilt": {"angle_deg": 20}}]
    assert sum(evaluate_condition("tilt.angle_deg > 10", rows)) == 1


def test_a_reserved_word_is_explained() -> None:
    with pytest.raises(ValueError, match="Quote names with dashes and SQL words"):
        check_syntax("group = 'ID001'")
    assert evaluate_condition("\"group\" = 'ID001'", [{"group": "ID001"}, {"group": "ID002"}]) == [True, False]


@pytest.mark.parametrize("wrong", ["metadata.age >=", "SELECT 1", "", "age > > 3", "width > 3; drop table x"])
def test_syntax_is_checked_early(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no condition"):
        check_syntax(wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("metadata.agee > 3", "metadata.age"),
        ("heigth > 3", "width"),
        ("width + 1", "expected true or false"),
        ("metadata.sex > 3", "cannot be evaluated"),
    ],
)
def test_unknown_columns_and_other_types(wrong: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        evaluate_condition(wrong, ROWS)


def test_a_broken_condition_names_the_line(tmp_path: Path) -> None:
    tiny_hands(tmp_path / "data", [50, 90])
    with pytest.raises(RecipeError, match=r"recipe.yaml:\d+: .*is no condition"):
        built(tmp_path, tmp_path / "data", ["{op: hflip}", "{op: hflip, where: 'metadata.age >='}"], classes="[a, b]")


def names(tmp_path: Path) -> set[str]:
    return set(roots(tmp_path / "out"))


def test_steps_choose_by_metadata(tmp_path: Path) -> None:
    hands(tmp_path / "data", 5)
    (tmp_path / "data/meta_data.csv").write_text("ID,age\n" + "".join(f"ID{i:03d},{10 * i}\n" for i in range(1, 6)))
    built(tmp_path, tmp_path / "data", ["{op: hflip, where: metadata.age > 25}"], classes="[a, b]", split="{}")
    assert {name[:5] for name in names(tmp_path) if name.endswith("~hflip")} == {"ID003", "ID004", "ID005"}
    assert len(names(tmp_path)) == 5, "others pass untouched"


def test_steps_choose_by_tags(tmp_path: Path) -> None:
    hands(tmp_path / "data", 5)
    steps = [
        "{op: where, condition: \"name <> 'ID002/image0000000000002'\", action: tag}",
        "{op: hflip, where: \"array_contains(tags, 'where: condition not fulfilled')\"}",
    ]
    built(tmp_path, tmp_path / "data", steps, classes="[a, b]", split="{}")
    assert {name[:5] for name in names(tmp_path) if name.endswith("~hflip")} == {"ID002"}


def test_ops_of_several_inputs_choose_anchor_and_partners(tmp_path: Path) -> None:
    hands(tmp_path / "data", 6)
    step = "{op: cutmix, where: '\"group\" IN (''ID001'', ''ID004'', ''ID006'')', keep_input: true}"
    built(tmp_path, tmp_path / "data", [step], classes="[a, b]", split="{}")
    chosen = {f"ID00{i}/image000000000000{i}" for i in (1, 4, 6)}
    mixed = {name: shown for name, shown in roots(tmp_path / "out").items() if name.startswith("cutmix/")}
    assert {name.split("/", 1)[1].rsplit("-", 1)[0] for name in mixed} == chosen
    assert all(shown <= chosen and len(shown) == 2 for shown in mixed.values())
    assert len(names(tmp_path)) == 9
    with pytest.raises(PlanError, match="joins 2 samples, but split 'train' holds 1"):
        lonely = step.replace(", ''ID004'', ''ID006''", "")
        built(tmp_path, tmp_path / "data", [lonely], out="lonely", classes="[a, b]", split="{}")


def hands(data: Path, count: int) -> None:
    import numpy as np

    for person in range(1, count + 1):
        put_hand(data, person, np.full((16, 24), 20 * person, np.uint8), ("a", "b"))


@pytest.mark.parametrize(
    "wrong",
    [
        "age IN (SELECT x FROM read_csv('/etc/passwd'))",
        "age IN (FROM read_csv('/etc/passwd'))",
        "age IN (VALUES (1))",
        "EXISTS (TABLE people)",
        "/* ' */ age IN (SELECT 1) /* ' */",
        "` ' ` IN (SELECT 1) OR name = ` ' `",
        r"E'\'' IN (SELECT 1) OR name = ''",
        "$$'$$ IN (SELECT 1) OR name = ''",
        "LENGTH(RPAD(name, 1000000000)) > 1",
        "name = replace(replace(name, 'x', 'xxxxxxxx'), 'x', 'xxxxxxxx')",
    ],
)
def test_a_condition_reads_no_file_and_makes_no_long_text(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no condition: it has"):
        check_syntax(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        " OR ".join(["age = 1"] * 30_000),
        " OR ".join(["age = 1"] * 1000),
        " + ".join(["age"] * 1000) + " = 1",
        f"{'(' * 5000}age = 1{')' * 5000}",
        "NOT " * 5000 + "age = 1",
        f"age = {'abs(' * 31}1{')' * 31}",
    ],
)
def test_a_condition_has_a_limit(wrong: str) -> None:
    with pytest.raises(ValueError, match="expected at most"):
        check_syntax(wrong)


def test_words_in_quotes_and_behind_a_dot_are_no_subquery() -> None:
    rows = [{"name": "select", "metadata": {"values": 3}}]
    assert evaluate_condition(check_syntax("name = 'select' AND metadata.values > 2"), rows) == [True]
    assert evaluate_condition(check_syntax(f"name IN ({', '.join(['1'] * 3000)}, 'select')".replace("1", "'x'")), rows)
