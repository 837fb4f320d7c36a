"""The files that a project is run by: workflows, forms, hooks, citation; and the version, which stands in one place."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import augforge

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FORMS = [path for path in sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")) if path.name != "config.yml"]
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def read(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = read(path)["jobs"]
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(path).values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_least_rights_pinned_actions_and_time_limits(path: Path) -> None:
    assert read(path)["permissions"] == {"contents": "read"}
    for job in jobs(path).values():
        assert job["timeout-minutes"] <= 120
        assert set(job.get("permissions", {})) <= {"id-token"}
    for action in [step["uses"] for step in steps(path) if "uses" in step]:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@(release/)?(v\d[\w.]*|[0-9a-f]{40})", action), action


def test_ci_runs_what_the_project_promises() -> None:
    matrix = jobs(ROOT / ".github/workflows/ci.yml")["test"]["strategy"]["matrix"]
    (floor,) = re.findall(r'^requires-python = ">=3\.(\d+)"', PROJECT, re.MULTILINE)
    minors = [int(python.removeprefix("3.")) for python in matrix["python"]]
    assert minors == list(range(int(floor), 15))
    assert {system.partition("-")[0] for system in matrix["os"]} == {"ubuntu", "macos", "windows"}


def test_ci_runs_every_target_of_ci_run() -> None:
    told = [step.get("run", "") for step in steps(ROOT / ".github/workflows/ci.yml")]
    for target in re.findall(r"^make ([\w-]+)", (ROOT / ".ci/run").read_text(encoding="utf-8"), re.MULTILINE):
        assert any(f"make {target} " in line for line in told), f"ci.yml does not run make {target}"


def test_release_publishes_what_it_has_checked() -> None:
    found = jobs(ROOT / ".github/workflows/release.yml")
    commands = " ".join(step.get("run", "") for step in found["build"]["steps"])
    for command in ("-m build", "twine check --strict", "pip install --disable-pip-version-check dist/*.whl"):
        assert command in commands
    assert "augforge --help" in commands
    assert found["publish"]["needs"] == "build"
    assert found["publish"]["permissions"] == {"id-token": "write"}
    assert found["publish"]["environment"] == "release"
    assert "id-token" not in found["build"].get("permissions", {})


def test_dependabot_looks_after_packages_and_actions() -> None:
    found = {update["package-ecosystem"] for update in read(ROOT / ".github/dependabot.yml")["updates"]}
    assert found == {"pip", "github-actions"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_issue_forms(path: Path) -> None:
    form = read(path)
    assert {"name", "description", "body"} <= set(form)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    for field in fields:
        assert field["type"] in {"input", "textarea", "dropdown", "checkboxes"}
        assert field["attributes"]["label"]


def test_hooks_are_the_checks_of_make_lint() -> None:
    hooks = [hook for repo in read(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert [hook["id"] for hook in hooks] == ["ruff", "ruff-format", "mypy", "import-linter", "vulture"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for hook in hooks:
        if "entry" in hook:
            assert f"\t{hook['entry'].replace('.venv/bin', '$(BIN)')}\n" in makefile


def test_citation() -> None:
    found = read(ROOT / "CITATION.cff")
    assert found["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(found)
    assert f'license = "{found["license"]}"' in PROJECT
    assert "version" not in found, "the version stands in augforge/__init__.py alone"


def test_no_file_names_a_host_of_packages() -> None:
    """They come from wherever pip, or the environment, says."""
    names = ("p" + "ypi.org", "python" + "hosted", "download.p" + "ytorch", "ana" + "conda.org")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.suffix != ".png" and path.is_file():
            text = path.read_text(encoding="utf-8").lower()
            assert not any(host in text for host in names), name


def test_the_version_stands_in_one_place() -> None:
    assert 'dynamic = ["version"]' in PROJECT
    assert '[tool.hatch.version]\npath = "augforge/__init__.py"' in PROJECT
    assert not re.search(r"^version = ", PROJECT, re.MULTILINE)
    assert re.fullmatch(r"\d+\.\d+\.\d+", augforge.__version__)
    url = distribution("augforge").read_text("direct_url.json") or ""
    if '"editable": true' not in url:  # what is installed editable keeps the version of the day it was installed
        assert version("augforge") == augforge.__version__
