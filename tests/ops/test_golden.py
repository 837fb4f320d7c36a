"""Golden results: new ones are added, changed ones are found, those of no example are removed on demand."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from golden import change_golden, check_golden, check_no_stale, read_golden

from augforge.ops import OPS
from augforge.ops.contract import cases_of

HFLIP, SWAPPED = cases_of(OPS["hflip"])


@pytest.fixture
def golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("AUGFORGE_GOLDEN", raising=False)
    return tmp_path / "golden.json"


def flip_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The op gives other pixels at the same version."""
    monkeypatch.setattr(OPS["hflip"], "apply", OPS["vflip"].apply)


def test_a_new_result_is_added_and_then_compared(golden: Path) -> None:
    check_golden(golden, HFLIP)
    before = golden.read_bytes()
    check_golden(golden, HFLIP)
    assert list(read_golden(golden)) == [str(HFLIP)] and golden.read_bytes() == before


def test_the_file_has_a_line_per_result_in_order(golden: Path) -> None:
    for case in (SWAPPED, HFLIP):
        check_golden(golden, case)
    lines = golden.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "{" and lines[-1] == "}" and lines[1:-1] == sorted(lines[1:-1]) and len(lines) == 4


def test_ci_adds_nothing_and_names_the_remedy(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="Run the tests once and commit"):
        check_golden(golden, HFLIP)
    assert not golden.exists()


@pytest.mark.parametrize("write", [False, True])
def test_changed_pixels_fail_and_are_not_replaced(golden: Path, monkeypatch: pytest.MonkeyPatch, write: bool) -> None:
    check_golden(golden, HFLIP)
    before = golden.read_bytes()
    if write:
        monkeypatch.setenv("AUGFORGE_GOLDEN", "write")
    flip_otherwise(monkeypatch)
    with pytest.raises(pytest.fail.Exception, match="raise version= of hflip"):
        check_golden(golden, HFLIP)
    check_no_stale(golden, [str(HFLIP)])
    assert golden.read_bytes() == before


def test_a_new_version_is_a_new_result(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_golden(golden, HFLIP)
    flip_otherwise(monkeypatch)
    monkeypatch.setattr(OPS["hflip"], "version", 2)
    check_golden(golden, HFLIP)
    assert list(read_golden(golden)) == ["hflip@1 {}", "hflip@2 {}"]


def test_what_no_example_makes_is_removed_on_demand(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for case in (HFLIP, SWAPPED):
        check_golden(golden, case)
    with pytest.raises(pytest.fail.Exception, match="AUGFORGE_GOLDEN=write removes"):
        check_no_stale(golden, [str(SWAPPED)])
    monkeypatch.setenv("AUGFORGE_GOLDEN", "write")
    check_no_stale(golden, [str(SWAPPED)])
    assert list(read_golden(golden)) == [str(SWAPPED)]


def test_several_writers_lose_nothing(golden: Path) -> None:
    def add(i: int) -> None:
        change_golden(golden, lambda results: {**results, f"op-{i:02}": i})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert json.loads(golden.read_text(encoding="utf-8")) == {f"op-{i:02}": i for i in range(40)}
    assert list(golden.parent.iterdir()) == [golden]
