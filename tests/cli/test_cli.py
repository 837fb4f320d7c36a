"""The command line: exit codes, what stands on which stream, JSON that parses, and a quick start."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from makedata import read_pixels
from toybox import annotation, edit_json, move_a_point, tiny_hands, toy_fixture, two_versions_fixture, write_recipe  # noqa: F401
from typer.testing import CliRunner

import augforge
from augforge.cli import app as cli
from augforge.export import FORMATS
from augforge.sources import SOURCES
from augforge.store.dataset import open_dataset
from augforge.store.manifest import read_manifest, versions

COMMANDS = ["build", "outliers", "inspect", "verify", "show", "files", "export", "gc", "ops", "sources", "exports"]
COMMANDS += ["log", "diff", "trace", "explain", "tag", "checkout", "repair", "pack", "check", "runs"]
COMMANDS += ["init", "preview", "schema", "report", "review", "copy"]
COMMANDS += ["sample-data", "train", "evaluate", "predict", "tune-thresholds", "ensemble", "crossval", "compare"]


def run(*arguments: str | Path) -> str:
    """Run a command that must succeed; what it printed."""
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """The exit code of the entry point, as a shell would see it."""
    monkeypatch.setattr(sys, "argv", ["augforge", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


def shell(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "from augforge.cli import main; main()", *map(str, arguments)]
    return subprocess.run(program, capture_output=True, text=True, env={**os.environ, **environment})


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe over four tiny images, two steps."""
    tiny_hands(tmp_path / "data", (10, 60, 90, 120))
    steps = ["{op: hflip, keep_input: true}", "{op: mosaic, grid: [1, 2]}"]
    return write_recipe(tmp_path / "recipe.yaml", tmp_path / "data", steps, classes="[a, b]")


# ---- help and errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help(command: list[str]) -> None:
    out = run(*command, "--help")
    assert "Usage: " in out
    assert all(name in out for name in (command or COMMANDS))
    assert run(*command, "-h") == out


def test_every_command_is_listed() -> None:
    commands = cli.app.registered_commands
    names = [command.name or command.callback.__name__.replace("_", "-") for command in commands if command.callback]
    assert sorted(names) == sorted(COMMANDS)


def test_version() -> None:
    assert run("--version") == f"{augforge.__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    heavy = ["numpy", "cv2", "pyarrow", "polars", "pydantic", "joblib", "PIL", "openpyxl", "datasets", "torch"]
    code = f"""
import sys
from augforge.cli.app import app
try:
    app(["--help"])
except SystemExit:
    pass
print("heavy:", [name for name in {heavy} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("heavy: []\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["build"],
        ["build", "r.yaml", "--jobs", "two"],
        ["show", "x", "--limit", "0"],
        ["gc", "x", "--keep", "0"],
    ],
)
def test_wrong_usage_is_two(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, *arguments) == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["build", "nowhere.yaml"], "nowhere.yaml"),
        (["inspect", "."], "is no dataset"),
        (["verify", "."], "is no dataset"),
        (["files", "."], "is no dataset"),
        (["gc", "."], "is no dataset"),
        (["pack", ".", "out.tar"], "is no dataset"),
        (["gc", "s3://bucket/toy"], "gc takes folders alone"),
        (["show", "."], "is no dataset"),
        (["ops", "mosaik"], "mosaic"),
        (["sources", "hand_bone"], "hand-bone"),
        (["exports", "mask_folder"], "mask-folder"),
        (["sample-data", "-o", "here"], "not empty"),
    ],
)
def test_errors_are_printed_without_traceback(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/file").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert expected in err
    assert "Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} == {"here"}


def test_errors_keep_their_brackets(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rich would take ``[a, b]`` or ``[bold]`` for markup."""
    recipe.write_text(recipe.read_text().replace("op: hflip", "op: '[bold]hflip[/bold]'"))
    assert call(monkeypatch, "build", recipe) == 1
    assert "[bold]hflip[/bold]" in capsys.readouterr().err


def test_shell_sees_exit_code_and_stderr(tmp_path: Path) -> None:
    done = shell("build", tmp_path / "none.yaml")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


# ---- build -----------------------------------------------------------------------------------------------------------


def test_build_says_what_it_did(recipe: Path, tmp_path: Path) -> None:
    out = run("build", recipe, "--out", tmp_path / "out")
    assert read_manifest(tmp_path / "out").version in out
    assert re.search(r"stored +7 encoded, 0 reused", out)
    again = run("build", recipe, "--out", tmp_path / "out")
    assert re.search(r"stored +0 encoded, 7 reused", again)
    assert "unchanged" in again


def test_build_json(recipe: Path, tmp_path: Path) -> None:
    dry = json.loads(run("build", recipe, "--out", tmp_path / "out", "--dry-run", "--json"))
    assert (dry["dry"], dry["made"], dry["exact"], dry["version"]) == (True, 7, True, "")
    assert not (tmp_path / "out").exists()
    real = json.loads(run("build", recipe, "--out", tmp_path / "out", "--json"))
    assert (real["dry"], real["made"], real["splits"]) == (False, 7, {"train": 6, "val": 1})
    assert real["version"] == read_manifest(tmp_path / "out").version
    again = json.loads(run("build", recipe, "--out", tmp_path / "out", "--json"))
    assert (again["made"], again["reused"], again["unchanged"]) == (0, 7, True)
    anew = json.loads(run("build", recipe, "--out", tmp_path / "out", "--json", "--no-reuse"))
    assert (anew["made"], anew["reused"], anew["version"]) == (7, 0, real["version"])


def test_default_folder_and_overrides(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shell").mkdir()
    shutil.copytree(tmp_path / "data", tmp_path / "shell/hands")
    monkeypatch.chdir(tmp_path / "shell")
    run(
        "build",
        recipe,
        "--set",
        "source.path=hands",
        "--set",
        "seed=5",
        "--set",
        "steps.1.keep_input=true",
        "--jobs",
        "1",
    )
    dataset = open_dataset("datasets/toy")
    assert dataset.manifest.splits == {"train": 12, "val": 1}
    (line,) = Path("datasets/toy/log.jsonl").read_text().splitlines()
    assert json.loads(line)["overrides"] == {"source.path": "hands", "seed": 5, "steps.1.keep_input": True}


def test_rehash_sees_what_looks_untouched(recipe: Path, tmp_path: Path) -> None:
    run("build", recipe, "--out", tmp_path / "out")
    path = annotation(tmp_path / "data", "ID003/image0000000000003")
    before = path.stat()
    text = path.read_text()
    swapped = text.replace('"label": "a"', '"label": "c"').replace('"label": "b"', '"label": "a"')
    path.write_text(swapped.replace('"label": "c"', '"label": "b"'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    trusting = json.loads(run("build", recipe, "--out", tmp_path / "out", "--json"))
    assert trusting["unchanged"]
    rehashed = json.loads(run("build", recipe, "--out", tmp_path / "out", "--json", "--rehash"))
    assert rehashed["made"] > 0


def test_register(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("build", "recipe.yaml", "--register")
    text = (tmp_path / "data_manifest.yaml").read_text()
    assert str(tmp_path) not in text
    assert read_manifest(Path("datasets/toy")).version in text


STOPPED = """
import os, signal
from augforge.store.codec import Encoding
encode, left = Encoding.encode, iter(range({count}))
def stopping(self, image):
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGINT)
    return encode(self, image)
Encoding.encode = stopping
from augforge.cli import main
main()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_stops_a_build(recipe: Path, tmp_path: Path, name: str) -> None:
    run("build", recipe, "--out", tmp_path / "out")
    before = (tmp_path / "out/manifest.yaml").read_bytes()
    write_recipe(recipe, tmp_path / "data", ["{op: hflip, copies: 3}", "{op: resize, size: 9}"], classes="[a, b]")
    code = STOPPED.format(count=4).replace("SIGINT", name)
    program = [sys.executable, "-c", code, "build", str(recipe), "--out", str(tmp_path / "out")]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 128 + getattr(signal, name)
    assert done.stderr.startswith("stopped; what was finished is kept")
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out/manifest.yaml").read_bytes() == before
    assert json.loads(run("build", recipe, "--out", tmp_path / "out", "--json"))["reused"] > 0


# ---- reading ---------------------------------------------------------------------------------------------------------


def test_inspect(toy: Path) -> None:
    found = json.loads(run("inspect", toy, "--json"))
    manifest = read_manifest(toy)
    assert (found["name"], found["version"], found["samples"]) == ("toy", manifest.version, 28)
    assert found["splits"] == manifest.splits
    assert found["rejected"] == {}
    assert [entry["name"] for entry in found["classes"]] == manifest.classes
    area = open_dataset(toy).index["area"].struct.field("Radius")
    radius = next(entry for entry in found["classes"] if entry["name"] == "Radius")
    assert (radius["samples"], radius["pixels"]) == ((area > 0).sum(), area.sum())
    wanted = [{"path": s.path, "rows": s.rows, "bytes": s.bytes, "sha256": s.sha256} for s in manifest.shards]
    assert [{key: shard[key] for key in wanted[0]} for shard in found["shards"]] == wanted
    text = run("inspect", toy)
    assert all(word in text for word in ("toy", manifest.version, "train", "Radius"))


def test_other_versions(toy: Path) -> None:
    (old,) = set(versions(toy)) - {read_manifest(toy).version}
    assert json.loads(run("inspect", toy, "--version", old[:8], "--json"))["version"] == old
    assert json.loads(run("verify", toy, "--version", old, "--json"))["version"] == old
    assert run("files", toy, "--version", old) != run("files", toy)


def test_files_exist(toy: Path) -> None:
    paths = [Path(line) for line in run("files", toy).splitlines()]
    assert [path.relative_to(toy).as_posix() for path in paths] == [shard.path for shard in read_manifest(toy).shards]
    assert all(path.is_file() for path in paths)


def test_verify(toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(run("verify", toy, "--pixels", "--json")) == {
        "version": read_manifest(toy).version,
        "shards": 3,
        "ok": True,
        "problems": [],
        "versions": [read_manifest(toy).version],
        "faults": [],
        "notes": [],
    }
    assert set(json.loads(run("verify", toy, "--all", "--json"))["versions"]) == set(versions(toy))
    shard = read_manifest(toy).shards[1].path
    with (toy / shard).open("r+b") as stream:
        stream.seek(999)
        stream.write(b"\0\1\2\3")
    assert call(monkeypatch, "verify", toy) == 1
    out = capsys.readouterr().out
    assert shard in out
    assert call(monkeypatch, "verify", toy, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"]
    assert any(shard in problem for problem in found["problems"])


def test_a_url(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("AUGFORGE_CACHE", str(tmp_path / "cache"))
    url, shards = f"file://{toy}", read_manifest(toy).shards
    assert run("files", url).splitlines() == [f"{url}/{shard.path}" for shard in shards]
    assert json.loads(run("verify", url, "--pixels", "--json"))["ok"]
    (toy / shards[1].path).unlink()
    assert call(monkeypatch, "verify", url, "--json") == 1
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem.startswith(f"{url}/{shards[1].path}: is missing")


def test_verify_with_a_broken_index_has_no_traceback(toy: Path) -> None:
    (toy / read_manifest(toy).index_path).write_bytes(b"nothing")
    done = shell("verify", toy)
    assert done.returncode == 1
    assert read_manifest(toy).index_path in done.stdout
    assert "augforge repair" in done.stdout
    assert done.stderr == ""


def test_repair(toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shard = read_manifest(toy).shards[1]
    row = open_dataset(toy).index.filter(pl.col("shard") == shard.path).row(0, named=True)
    copy = shutil.copytree(toy, toy.parent / "copy")
    with (toy / shard.path).open("r+b") as stream:
        stream.seek(row["image_offset"] + 40)
        stream.write(b"\0\1\2\3")
    (toy / "log.jsonl").unlink()
    assert call(monkeypatch, "repair", toy, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert [fault["samples"] for fault in found["faults"]] == [[row["name"]]]
    assert any("--source" in reason for reason in found["reasons"])
    assert call(monkeypatch, "repair", toy) == 1
    out = capsys.readouterr().out
    assert row["name"] in out
    assert "--source" in out
    found = json.loads(run("repair", toy, "--from", copy, "--json"))
    assert (found["ok"], found["repaired"]) == (True, [shard.path])
    assert "is whole" in run("repair", toy, "--all")
    assert run("verify", toy, "--all", "--pixels")


def test_show(toy: Path, tmp_path: Path) -> None:
    name = open_dataset(toy).index["name"][0]
    run("show", toy, name, "-o", tmp_path / "one.png")
    run("show", toy, "--split", "val", "--limit", "1", "--out", tmp_path / "sheet.png")
    run("show", toy, "-o", tmp_path / "all.png")
    sizes = [read_pixels(tmp_path / f"{file}.png").shape for file in ("one", "sheet", "all")]
    assert all(min(size[:2]) >= 96 for size in sizes)
    assert sizes[2][0] * sizes[2][1] > sizes[1][0] * sizes[1][1]


def test_show_names_the_nearest(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = open_dataset(toy).index["name"][0]
    assert call(monkeypatch, "show", toy, name + "x", "-o", tmp_path / "no.png") == 1
    assert f"Did you mean '{name}'?" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "no.png").exists()


def bytes_beside_log(folder: Path) -> int:
    """The bytes of all files but the log, which gc writes a line to."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != "log.jsonl")


def test_gc(toy: Path, two_versions: Path) -> None:
    current, bytes_before = read_manifest(toy).version, bytes_beside_log(toy)
    freed = json.loads(run("gc", toy, "--keep", "1", "--now", "--json"))
    assert freed["bytes"] > 0
    assert bytes_beside_log(toy) == bytes_before - freed["bytes"]
    assert json.loads(run("verify", toy, "--pixels", "--json"))["ok"]
    again = json.loads(run("build", two_versions / "recipe.yaml", "--out", toy, "--json"))
    assert (again["version"], again["made"], again["unchanged"]) == (current, 0, True)
    assert "removed" in run("gc", toy)


# ---- what there is ---------------------------------------------------------------------------------------------------


def test_ops() -> None:
    found = {entry["name"]: entry for entry in json.loads(run("ops", "--json"))}
    assert {"hflip", "mosaic", "resize"} <= set(found)
    page = json.loads(run("ops", "mosaic", "--json"))
    assert page == found["mosaic"]
    assert "center_range" in json.dumps(page)
    assert "center_range" in run("ops", "mosaic")
    assert all(name in run("ops") for name in ("hflip", "mosaic"))


def test_sources() -> None:
    assert [entry["name"] for entry in json.loads(run("sources", "--json"))] == sorted(SOURCES)
    assert "class_map" in json.dumps(json.loads(run("sources", "hand-bone", "--json")))
    assert "outputs_json" in run("sources", "hand-bone")


def test_exports() -> None:
    assert [entry["name"] for entry in json.loads(run("exports", "--json"))] == sorted(FORMATS)
    assert json.loads(run("exports", "yolo", "--json"))["read_back"].startswith("source:\n  format: yolo\n")
    assert all(name in run("exports") for name in FORMATS)
    assert "missing_label: unlabelled" in run("exports", "yolo")


def test_sample_data(tmp_path: Path) -> None:
    arguments = ["--persons", "2", "--size", "64", "--test-persons", "1", "--json"]
    found = json.loads(run("sample-data", "-o", tmp_path / "data", *arguments))
    assert (found["persons"], found["images"], found["path"]) == (3, 6, str(tmp_path / "data"))
    assert len(list((tmp_path / "data/train/DCM").rglob("*.png"))) == 4
    edit_json(next((tmp_path / "data/train/outputs_json").rglob("*.json")), move_a_point)


@pytest.mark.slow
def test_demo_as_in_the_readme(tmp_path: Path) -> None:
    """Sample data, build with two workers, verify: three commands in a shell of their own."""
    assert shell("sample-data", "-o", tmp_path / "data", "--persons", "3", "--size", "64").returncode == 0
    recipe = write_recipe(tmp_path / "r.yaml", tmp_path / "data", ["{op: hflip, keep_input: true}"])
    done = shell("build", recipe, "--out", tmp_path / "out", "-j", "2")
    assert (done.returncode, done.stderr) == (0, "")
    done = shell("verify", tmp_path / "out", "--pixels")
    assert done.returncode == 0
    assert "is whole" in done.stdout
