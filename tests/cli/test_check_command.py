"""`augforge check` as a shell and a CI system see it: exit codes, streams, JSON, annotations, JUnit XML."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from checkable import Repository, repository_fixture  # noqa: F401
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from augforge.checks import Finding, NotChecked, Outcome, Report
from augforge.checks.core import visible
from augforge.checks.machines import annotation_lines, write_junit
from augforge.cli import app as cli

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _outside_of_github(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTIONS", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli.app, ["check", *map(str, arguments)], catch_exceptions=False)


def read_suite(path: Path) -> Xml.Element:
    return Xml.parse(path).getroot()[0]  # noqa: S314 (our own file)


# ---- exit codes ------------------------------------------------------------------------------------------------------


def test_fine(repository: Repository) -> None:
    result = run("--require-data")
    assert result.exit_code == 0
    assert result.stdout == "fine: 0 errors, 0 warnings; 9 checks done, 0 not\n"


def test_found(repository: Repository) -> None:
    repository.edit("recipe.yaml", "seed: 21", "seed: 22")
    result = run()
    assert result.exit_code == 1
    line = next(i for i, text in enumerate(repository.registry.read_text().splitlines(), 1) if "recipe_digest" in text)
    assert result.stdout.startswith(f"data_manifest.yaml:{line}: stale recipe: recipe.yaml was changed since")
    assert "augforge build recipe.yaml --register" in result.stdout
    assert "problems found: 1 error, 0 warnings" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [["nothing"], ["--policy", "nothing.yaml"], ["--format", "xml"], ["datasets/toy@v9"], ["data"], ["--unknown"]],
)
def test_wrong_usage(repository: Repository, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_wrong_usage_without_a_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run()
    assert result.exit_code == 2 and "data_manifest.yaml" in result.stderr


def test_could_not_check(repository: Repository) -> None:
    shutil.rmtree(repository.data)
    assert run().exit_code == 0
    result = run("--require-data")
    assert result.exit_code == 3
    assert "source" in result.stdout and "could not check everything" in result.stdout


def test_interrupted(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("augforge.checks.run_checks", interrupt)
    assert run().exit_code == 130


# ---- output ----------------------------------------------------------------------------------------------------------


def test_json_has_stable_keys(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    shutil.rmtree(repository.folder)
    repository.edit("recipe.yaml", "seed: 21", "seed: 22")
    result = run("--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1 and set(found) == {"ok", "findings", "checked", "not_checked"}
    assert found["ok"] is False
    (finding,) = found["findings"]
    assert {"kind", "level", "file", "line", "names", "message", "remedy"} <= set(finding)
    assert (finding["kind"], finding["level"], finding["names"]) == ("stale recipe", "error", [])
    assert {"check": "source", "subject": "toy"} in found["checked"]
    assert {each["check"] for each in found["not_checked"]} == {"version", "whole", "splits", "pixels"}
    assert {each["cause"] for each in found["not_checked"]} == {"absent"}


def test_annotations_in_github_actions(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.edit("recipe.yaml", "seed: 21", "seed: 22")
    assert "::error" not in run().stdout
    assert "::error file=data_manifest.yaml,title=augforge%3A stale recipe,line=" in run("--format", "github").stdout
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(repository.root.parent))
    assert "::error file=repository/data_manifest.yaml," in run().stdout
    assert "::error" not in run("--format", "text").stdout


def test_junit(repository: Repository) -> None:
    repository.edit("recipe.yaml", "seed: 21", "seed: 22")
    shutil.rmtree(repository.folder)
    run("--junit", "out/check.xml")
    suite = read_suite(Path("out/check.xml"))
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["9", "1", "0", "4"]
    cases = {case.get("name"): case for case in suite if case.get("classname") == "toy"}
    failure = cases["recipe"].find("failure")
    assert failure is not None and failure.get("type") == "stale recipe"
    assert (failure.text or "").startswith("data_manifest.yaml:")
    assert cases["whole"].find("skipped") is not None and len(cases["source"]) == 0
    run("--junit", "out/check.xml", "--require-data")
    assert read_suite(Path("out/check.xml")).get("errors") == "4"


TEXTS = st.text(max_size=30)


@given(TEXTS, TEXTS, TEXTS, st.integers(1, 9))
def test_annotations_are_one_line_and_can_be_read_back(message: str, remedy: str, file: str, line: int) -> None:
    finding = Finding("kind", message, remedy, file=file, line=line)
    (text,) = annotation_lines(Report((Outcome("check", "toy", (finding,)),)), {})
    assert len(re.split("[\r\n]", text)) == 1
    parts = re.fullmatch(r"::error file=([^,:]*),title=[^,:]*,line=(\d+)::(.*)", text, re.DOTALL)
    assert parts is not None

    def read(escaped: str) -> str:
        for sign in "\r\n:,%":
            escaped = escaped.replace(f"%{ord(sign):02X}", sign)
        return escaped

    assert (read(parts[1]), parts[2]) == (visible(file), str(line))
    assert read(parts[3]) == visible(f"{message}\n{remedy}" if remedy else message)
    assert "\x1b" not in text


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS, st.sampled_from(["error", "warning", "absent", "failed"]))))
def test_junit_can_always_be_parsed(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]]) -> None:
    path = tmp_path_factory.getbasetemp() / "junit.xml"
    outcomes = []
    for subject, message, remedy, kind in rows:
        level: Any = kind
        is_finding = kind in ("error", "warning")
        result = Finding("kind", message, remedy, level) if is_finding else NotChecked(message, level)
        outcomes.append(Outcome("check", subject, (result,)))
    report = Report(tuple(outcomes))
    write_junit(report, path)
    suite = read_suite(path)
    counts = [sum(row[3] == kind for row in rows) for kind in ("error", "failed", "absent")]
    assert [suite.get(name) for name in ("failures", "errors", "skipped")] == [*map(str, counts)]
    assert json.loads(json.dumps(report.to_json()))["ok"] == (report.exit_code == 0)


# ---- this repository -------------------------------------------------------------------------------------------------


def test_this_repository_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `.ci/run` does it, where no data lies."""
    monkeypatch.chdir(ROOT)
    result = run("--json")
    found = json.loads(result.stdout)
    assert found["findings"] == [] and result.exit_code == 0
    for check in ("recipe", "licences"):
        checked = {each["subject"] for each in found["checked"] if each["check"] == check}
        assert "hands-contest" in checked and len(checked) >= 13
