"""The commands about versions, as a shell sees them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from toybox import toy_fixture, two_versions_fixture  # noqa: F401
from typer.testing import CliRunner

from augforge.cli import app as cli
from augforge.store.dataset import open_dataset
from augforge.store.manifest import read_manifest, versions


def run(*arguments: str | Path, code: int = 0) -> str:
    """Run a command that must end with this exit code; what it printed on standard output."""
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def run_json(*arguments: str | Path, code: int = 0) -> dict[str, object]:
    found: dict[str, object] = json.loads(run(*arguments, "--json", code=code))
    return found


def fail(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """The exit code of the entry point, as a shell would see it."""
    monkeypatch.setattr(sys, "argv", ["augforge", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


@pytest.fixture
def old(toy: Path) -> str:
    """The version of the toy that is not current."""
    (found,) = set(versions(toy)) - {read_manifest(toy).version}
    return found


def test_log(toy: Path, old: str) -> None:
    (toy / "log.jsonl").write_text((toy / "log.jsonl").read_text() + '{"half\n')
    text = run("log", toy)
    assert text.index(read_manifest(toy).version) < text.index(f"version {old}")
    assert "(current)" in text
    assert f"parent {old}" in text
    assert "Warning: line 3 of" in text
    found = run_json("log", toy)
    assert found["damaged_lines"] == [3]
    assert [entry["version"] for entry in found["entries"]] == [read_manifest(toy).version, old]  # type: ignore[attr-defined]


def test_tag_and_checkout(toy: Path, old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    new = read_manifest(toy).version
    assert "No version has a tag" in run("tag", toy)
    assert run("tag", toy, "baseline", old[:8]) == f"baseline names version {old}\n"
    assert run_json("tag", toy, "best") == {"tag": "best", "version": new, "deleted": False}
    assert run_json("tag", toy) == {"tags": {"baseline": old, "best": new}}
    assert "(baseline)" in run("log", toy)
    assert run("checkout", toy, "baseline") == f"version {old} of toy is current\n"
    assert run_json("inspect", toy)["version"] == old
    assert run_json("inspect", toy, "--version", "best")["version"] == new
    assert "checked out" in run("log", toy)
    assert run("tag", toy, "best", "--delete") == f"best no longer names version {new}\n"
    assert fail(monkeypatch, "tag", toy, "--delete") == 2
    assert fail(monkeypatch, "checkout", toy, "best") == 1


def test_diff(toy: Path, old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    report = run_json("diff", f"{toy}@{old[:8]}", toy)
    assert report["b"]["version"] == read_manifest(toy).version  # type: ignore[index]
    text = run("diff", f"{toy}@{old[:8]}", toy)
    assert text.startswith("Of 28 samples, from ")
    assert "through source sample ID001/" in text
    assert run("diff", f"{toy}@{old[:8]}", toy, "--exit-code", code=1).startswith("Of 28 samples")
    assert run("diff", toy, toy, "--exit-code").startswith("Nothing differs")
    assert fail(monkeypatch, "diff", toy, f"{toy}@nothing") == 1
    assert fail(monkeypatch, "diff", toy) == 2


def test_trace(toy: Path, two_versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(name for name in open_dataset(toy).index["name"] if name.startswith("mosaic/"))
    text = run("trace", toy, name, "-o", tmp_path / "tree.png")
    assert name in text
    assert "source image" in text
    assert (tmp_path / "tree.png").stat().st_size > 1000
    found = run_json("trace", toy, name, "--replay", "--source", two_versions / "data")
    assert found["replay"]["verdict"] == "equal"  # type: ignore[index]
    assert "cannot be made" in run("trace", toy, name, "--replay", "--source", tmp_path / "none", code=1)
    assert fail(monkeypatch, "trace", toy, "nothing") == 1


def test_explain(two_versions: Path, toy: Path) -> None:
    recipe = two_versions / "recipe.yaml"
    assert run("explain", recipe, "--out", toy).startswith("Nothing would run: a build would give the current version")
    assert run_json("explain", recipe, "--out", toy)["unchanged"]
    text = run("explain", recipe, "--out", toy, "--set", "seed=4", "--jobs", "2")
    assert text.startswith("A build would perform ")
    assert "seed: 21 -> 4" in text
    found = run_json("explain", recipe, "--out", toy, "--set", "seed=4")
    assert found["tasks"]["run"] == len(found["work"]) > 0  # type: ignore[index, arg-type]
