"""Training in several processes, as torchrun starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tinyrun import NETWORK, settings
from toybox import made

from augforge.phantom import write_phantom
from augforge.train.journal import read_journal

TOLD = (*NETWORK, "threads=1", "device=cpu", "epochs=2", "checkpoint_every=1")


def train(folder: Path, out: str, processes: int, *overrides: str) -> Path:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] * (processes > 1)
    command = [sys.executable, *launch, "-m", "augforge", "train", "--shards", str(folder / "out")]
    done = subprocess.run(
        [*command, "--out", str(folder / out), *settings(*TOLD, *overrides), "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["processes"] == processes, "one process speaks for all"
    return folder / out


@pytest.mark.slow
def test_two_processes_read_every_sample_once_and_stay_alike(tmp_path: Path) -> None:
    write_phantom(tmp_path / "data", persons=5, size=96, seed=3)
    made(tmp_path, tmp_path / "data", split="{val: [ID002]}")
    one = train(tmp_path, "one", 1, "data.batch_size=4")
    two = train(tmp_path, "two", 2, "data.batch_size=2")
    rows = [[row for row in read_journal(run) if row["kind"] == "step"] for run in (one, two)]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]] == [1, 2, 3, 4]
    # The same 4 samples a step: the mean of the halves' BCE is that of the whole, but for batch norm.
    assert rows[1][0]["bce"] == pytest.approx(rows[0][0]["bce"], rel=0.1)
    assert (two / "curves.png").exists()
