"""gc and pack as commands: what they print, for people and for machines."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from toybox import tiny_hands, toy_fixture, two_versions_fixture, write_recipe  # noqa: F401
from typer.testing import CliRunner, Result

from augforge.cli import app as cli


def invoke(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_gc_says_what_it_removes_keeps_and_leaves_alone(toy: Path) -> None:
    (toy / "shards/notes [1].txt").write_text("mine")
    planned = invoke("gc", toy, "--keep", "1", "--dry-run").stdout
    assert "would remove 0 files" in planned and "1 version of the last 24 hours; --now removes them too" in planned
    assert "left alone, since augforge did not make it: shards/notes [1].txt" in planned
    found = json.loads(invoke("gc", toy, "--keep", "1", "--dry-run", "--now", "--json").stdout)
    assert set(found) == {"files", "bytes", "versions", "recent", "foreign", "dry_run"}
    done = invoke("gc", toy, "--keep", "1", "--now").stdout
    assert f"removed {found['files']} files, {found['bytes']:,} bytes, 1 version\n" in done


def test_pack_says_what_it_packed(toy: Path, tmp_path: Path) -> None:
    text = invoke("pack", toy, tmp_path / "toy.tar").stdout
    archive = (tmp_path / "toy.tar").read_bytes()
    assert "metadata columns: " in text and hashlib.sha256(archive).hexdigest() in text
    piped = invoke("pack", toy, "-", "--json")
    assert piped.stdout_bytes == archive
    found = json.loads(piped.stderr)
    assert (found["path"], found["archive_bytes"]) == ("-", len(archive))


def test_copy_says_what_was_copied(toy: Path, tmp_path: Path) -> None:
    found = json.loads(invoke("copy", toy, tmp_path / "copy", "--json").stdout)
    assert found["copied_files"] == found["files"] and not found["unchanged"]
    assert set(found) == {
        *("name", "version", "samples", "source", "target"),
        *("files", "bytes", "copied_files", "copied_bytes", "unchanged"),
    }
    text = invoke("copy", toy, tmp_path / "copy", "--check").stdout
    assert f"copied version {found['version']}" in text and "already: 0 of" in text
    assert "whole" in invoke("verify", tmp_path / "copy").stdout


def test_a_url_is_no_folder_on_the_way_to_the_build(tmp_path: Path) -> None:
    tiny_hands(tmp_path / "data", [10, 60])
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "data", classes="[a, b]")
    error = str(invoke("build", recipe, "--out", "https://example.org/toy", code=1).exception)
    assert error.startswith("https://example.org/toy cannot be written")
    error = str(invoke("build", recipe, "--out", tmp_path / "out", "--backend", "dusk", code=1).exception)
    assert "there is no backend 'dusk'" in error and not (tmp_path / "out").exists()
