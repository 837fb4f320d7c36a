"""Full and read-only disks in what is written besides datasets: training runs, predictions, pictures, packs; and gc."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest
from smalldisk import disk_fixture, fails, kilobytes, resize  # noqa: F401
from tinyrun import TINY, config, settings
from toybox import made, toy_fixture, two_versions_fixture  # noqa: F401

from augforge.files import make_folder
from augforge.phantom import write_phantom
from augforge.report.show import save_png
from augforge.store.dataset import open_dataset
from augforge.store.gc import collect
from augforge.store.manifest import read_manifest, versions
from augforge.store.pack import pack
from augforge.store.remote import Remote
from augforge.store.verify import verify
from augforge.train.evaluation.evaluate import evaluate
from augforge.train.loop import train
from augforge.train.prediction.predict import predict
from augforge.train.run import TrainingRun


@pytest.fixture(name="hands", scope="module")
def hands_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 6 samples to train on and 2 to validate on."""
    folder = tmp_path_factory.mktemp("hands")
    write_phantom(folder / "data", persons=4, size=96, seed=3)
    made(folder, folder / "data", (), split="{val: [ID002]}")
    return folder / "out"


@pytest.fixture(name="trained", scope="module")
def trained_fixture(hands: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    train([hands], config(), folder)
    return folder


def weights(run: Path) -> bytes:
    return (run / "last.safetensors").read_bytes()


def test_training_on_a_disk_of_any_size(disk: Path, hands: Path, trained: Path) -> None:
    """Each failure is clean, and the run goes on to the same weights when there is space."""
    full, failed, run = kilobytes(trained), 0, disk / "run"
    for share in (0.0, 0.01, 0.2, 0.5, 0.8, 0.97, 1.2):
        assert resize(disk, f"{max(8, int(share * full))}k", remount="remount,")
        if fails(lambda: train([hands], config(), run, resume=(run / "run.json").exists()), disk):
            failed += 1
            assert list(run.rglob(".*.tmp")) == []
    assert resize(disk, "64m", remount="remount,")
    train([hands], config(), run, resume=(run / "run.json").exists())
    assert failed > 3 and weights(run) == weights(trained)


@pytest.mark.slow
def test_what_is_written_about_a_run(disk: Path, hands: Path, trained: Path, tmp_path: Path) -> None:
    """Evaluations, predictions and their pictures."""
    run = TrainingRun.open(trained)
    commands: dict[str, Callable[[Path], object]] = {
        "evaluation": lambda out: evaluate(trained, [hands], split="val", out=out / "evaluation"),
        "table": lambda out: predict(run, hands, out / "predictions.parquet", split="val"),
        "csv": lambda out: predict(run, hands, tmp_path / "p.parquet", split="val", csv=out / "p.csv"),
        "overlays": lambda out: predict(run, hands, tmp_path / "q.parquet", split="val", overlays=out / "pictures"),
    }
    for name, command in commands.items():
        (tmp_path / name).mkdir()
        command(tmp_path / name)
        full = kilobytes(tmp_path / name)
        for size in (4, full // 2, full - 4):
            assert resize(disk, f"{size}k", remount="remount,")
            assert fails(lambda command=command: command(disk), disk), (name, size)  # type: ignore[misc]
            assert list(disk.rglob(".*.tmp")) == []
            shutil.rmtree(disk / "evaluation", ignore_errors=True)
            shutil.rmtree(disk / "pictures", ignore_errors=True)


def test_pictures_and_packs(disk: Path, hands: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    for size in (4, 40):
        assert resize(disk, f"{size}k", remount="remount,")
        assert fails(lambda: save_png(noise, disk / "picture.png"), disk)
        assert fails(lambda: save_png(noise, disk / "picture.jpg"), disk)
        assert fails(lambda: pack(hands, disk / "hands.tar"), disk)
        assert list(disk.iterdir()) == []
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert fails(lambda: save_png(noise, disk / "picture.png"), disk)
    assert fails(lambda: pack(hands, disk / "hands.tar"), disk)


def test_copies_of_a_dataset_behind_a_url(disk: Path, hands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the disk here that is full, and not the server that cannot be read."""
    memory = fsspec.filesystem("memory")
    memory.put(str(hands), "/full/hands", recursive=True)
    monkeypatch.setenv("AUGFORGE_CACHE", str(disk / "cache"))
    try:
        for size in (4, 24, 60):
            assert resize(disk, f"{size}k", remount="remount,")
            assert fails(lambda: open_dataset("memory://full/hands").check(), disk)
            assert list(disk.rglob(".*.tmp")) == []
        assert resize(disk, "64m", remount="remount,")
        shard = Remote("memory://full/hands").folder / read_manifest(hands).shards[0].path
        left = shard.with_name(f".{shard.name}.0123abcd.tmp")
        make_folder(left.parent)
        left.write_text("left by a kill")
        open_dataset("memory://full/hands").check()
        assert not left.exists()
    finally:
        memory.rm("/full", recursive=True)


def test_gc_makes_space_on_a_full_disk(disk: Path, toy: Path) -> None:
    """There it is needed most."""
    out = Path(shutil.copytree(toy, disk / "toy"))
    (out / "README.md").unlink()  # it would write this one again
    used = sum(kilobytes(path) for path in [disk]) + 4 * sum(path.is_dir() for path in disk.rglob("*"))
    assert resize(disk, f"{used}k", remount="remount,")
    filler = disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(b"x" * (1 << 22))
    freed = collect(out, keep=1, now=True)
    assert freed["versions"] and versions(out) == [read_manifest(out).version]
    assert verify(out, pixels=True) == [] and (out / "README.md").exists()


def test_gc_on_a_read_only_disk_says_so(disk: Path, toy: Path) -> None:
    out = Path(shutil.copytree(toy, disk / "toy"))
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert fails(lambda: collect(out, keep=1, now=True), disk)
    assert collect(out, keep=1, now=True, dry_run=True)["files"] > 0


@pytest.mark.parametrize("name", ["pack", "show", pytest.param("train", marks=pytest.mark.slow)])
def test_the_command_line_says_it_in_a_line(disk: Path, hands: Path, name: str) -> None:
    """Exit code 1 and no traceback, not even from a thread of TensorBoard's."""
    assert resize(disk, "40k", remount="remount,")
    commands: dict[str, list[object]] = {
        "pack": [hands, disk / "hands.tar"],
        "show": [hands, "-o", disk / "sheet.png"],
        "train": ["--shards", hands, "--out", disk / "run", *settings(*TINY)],
    }
    command = [sys.executable, "-m", "augforge", name, *map(str, commands[name])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "Exception in" not in done.stderr
    assert "cannot be written: No space left on device" in done.stderr.replace("\n", " ")


def test_a_dataset_is_read_from_a_read_only_disk(disk: Path, toy: Path) -> None:
    """Readers write nothing."""
    out = Path(shutil.copytree(toy, disk / "toy"))
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert verify(out, pixels=True) == [] and len(open_dataset(out)) > 0
