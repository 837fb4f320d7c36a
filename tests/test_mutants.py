"""The script that changes code to see whether a test notices, tried on a toy."""

from __future__ import annotations

from pathlib import Path

import mutants
import pytest

TOY = '''\
"""A toy."""
def part_of(small: set[int] | None, large: set[int]) -> bool:
    """Whether all of one is in the other."""
    if not small:
        return True
    return set(small) <= large  # ä: columns of ast count bytes


def unused(x: int) -> str:
    return f"{x + 1} of {x}"
'''
GOOD = "from augforge.toy import part_of\n\n\ndef test_it():\n    assert part_of({1}, {1, 2})\n"
BETTER = f"{GOOD}    assert not part_of({{1, 3}}, {{1, 2}})\n    assert part_of({{1, 2}}, {{1, 2}})\n"


def changed(source: str) -> list[str]:
    return [line[1:].strip() for mutant in mutants.mutants_of("m", source) for line in mutant.diff.splitlines()[1:]]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b\n", ["x = (a <= b)"]),
        ("x = a <= b\n", ["x = (a < b)", "x = (a & b)"]),
        ("x = a == b != c\n", ["x = (a != b != c)", "x = (a == b == c)"]),
        ("x = a is None\n", ["x = (a is not None)"]),
        ("x = a not in b\n", ["x = (a in b)"]),
        ("x = a and b and c\n", ["x = (a or b or c)"]),
        ("x = any(y)\n", ["x = (all(y))"]),
        ("x = max(y, key=z)\n", ["x = (min(y, key=z))"]),
        ("x = a - b\n", ["x = (a + b)"]),
        ("x = a & b\n", ["x = (a | b)"]),
        ("x = not a\n", ["x = (a)"]),
        ("x = -a\n", ["x = (a)"]),
        ("x = 3, True\n", ["x = (4), True", "x = 3, (False)"]),
        ("x += a\n", ["pass", "x -= a"]),
        ("f(a)\n", ["pass"]),
        ("x.y = a\n", ["pass"]),
        ("raise a\n", ["pass"]),
        ("def f():\n    return a\n", ["return None"]),
        ("def f():\n    return None\n", []),
        ("x = 'text', f'{a + 1}', None\n", []),
        ("x: int | None = a\n", []),
        ("@f(1)\ndef g(x: 'int' = a) -> a | b:\n    '''Text.'''\n", []),
    ],
)
def test_changes(source: str, expected: list[str]) -> None:
    assert changed(source) == expected


def test_lines_and_bytes() -> None:
    found = mutants.mutants_of("m", 'ü = "ä", a < (\n    b\n)\ny = 1\n')
    assert [(mutant.line, mutant.source) for mutant in found] == [
        (1, 'ü = "ä", (a <= b)\ny = 1\n'),
        (4, 'ü = "ä", a < (\n    b\n)\ny = (2)\n'),
    ]


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    for name, text in {
        "augforge/__init__.py": "",
        "augforge/toy.py": TOY,
        "pyproject.toml": "[tool.pytest.ini_options]\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "tests").mkdir()
    return tmp_path


def alive(toy: Path, test: str, seen: str = "set(small)") -> list[str]:
    (toy / "tests/test_toy.py").write_text(test, encoding="utf-8")
    found = [mutant for mutant in mutants.mutants_of("augforge/toy.py", TOY) if seen in mutant.diff]
    left = mutants.survivors(toy, found, {"augforge/toy.py": ("tests/test_toy.py",)}, jobs=2)
    return [mutant.diff.splitlines()[-1][1:].strip().partition("  #")[0] for mutant in left]


def test_survivors_are_what_no_test_fails_for(toy: Path) -> None:
    assert alive(toy, GOOD) == ["return (set(small) < large)", "return (set(small) & large)"]
    assert alive(toy, BETTER) == []
    assert (toy / "augforge/toy.py").read_text(encoding="utf-8") == TOY


def test_what_takes_too_long_is_found(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutants, "LEAST_SECONDS", 3.0)
    monkeypatch.setattr(mutants, "SLOWER", 0.0)
    waits = "import time\nfrom augforge.toy import *\n\ndef test_it():\n    time.sleep(0 if part_of([], 1) else 99)\n"
    assert alive(toy, waits, "return True") == []


def test_tests_that_fail_anyway_are_an_error(toy: Path) -> None:
    with pytest.raises(RuntimeError, match="fail before anything is changed"):
        alive(toy, "def test_it():\n    assert False\n")


def test_report() -> None:
    tried = mutants.mutants_of("m.py", "x = a < b\ny = 1\n")
    text = mutants.report(tried, tried[:1], "A note.")
    assert "2 mutants, 1 survived. A note." in text
    assert "| `m.py` | 2 | 1 |" in text
    assert "`m.py:1`\n\n```diff\n-x = a < b\n+x = (a <= b)\n```" in text


def test_modules_and_tests_exist() -> None:
    for module, tests in mutants.TESTS.items():
        assert (mutants.ROOT / module).is_file(), module
        assert all((mutants.ROOT / test).exists() for test in tests), tests
    listed = {path.stem for path in (mutants.ROOT / "augforge/planning").glob("*.py")} - {"__init__"}
    assert {f"augforge/planning/{name}.py" for name in listed} <= set(mutants.TESTS)
