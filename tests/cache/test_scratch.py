"""Temporary folders: deleted at the end, and a day later if their process was killed."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

from augforge.cache.scratch import scratch_folder


def test_folders_of_killed_processes_are_deleted_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name, days in (("augforge-replay-old", 2), ("augforge-replay-young", 0.5), ("mine-old", 2)):
        (tmp_path / name / "work").mkdir(parents=True)
        (tmp_path / name / "work/file").write_text("x")
        os.utime(tmp_path / name, (time.time() - days * 86_400,) * 2)
    (tmp_path / "augforge-replay-link").symlink_to(tmp_path / "mine-old")
    with scratch_folder("augforge-replay-") as folder:
        assert folder.is_dir() and folder.parent == tmp_path
    left = {"augforge-replay-young", "mine-old", "augforge-replay-link"}
    assert {path.name for path in tmp_path.iterdir()} == left
    assert (tmp_path / "mine-old/work/file").exists()
