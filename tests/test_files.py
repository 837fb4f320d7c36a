"""Files: who has the lock of a dataset."""

from __future__ import annotations

import getpass
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from augforge.errors import DatasetError
from augforge.files import writer_lock

HOLD = """
import sys, time
from pathlib import Path
from augforge.files import writer_lock
with writer_lock(Path(sys.argv[1]), "gc"):
    print("held", flush=True)
    time.sleep(60)
"""


def refusal(folder: Path) -> str:
    with pytest.raises(DatasetError) as caught, writer_lock(folder):
        pass
    return str(caught.value)


def test_a_lock_names_its_owner_until_it_is_killed(tmp_path: Path) -> None:
    """Then the lock is free, and the note that the killed process left is neither believed nor in the way."""
    folder, command = tmp_path / "out", [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=-1, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        said = refusal(folder)
        assert f"another gc ({getpass.getuser()} on {platform.node()}, process {process.pid}, since " in said
        assert time.strftime("since %Y-%m-%d ", time.gmtime()) in said and str(folder) in said
        process.kill()
    with writer_lock(folder, "tag"):
        assert f"another tag ({getpass.getuser()} on {platform.node()}, process {os.getpid()}, since" in refusal(folder)
    assert list((folder / "work").iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="whether a process lives can be asked on POSIX alone")
@pytest.mark.parametrize("note", ["dead", "{", "[]", '{"host": 1}', "another machine's"])
def test_a_note_that_is_stale_or_damaged_says_nothing_wrong(tmp_path: Path, note: str) -> None:
    """Whoever has the lock now has not written its own yet."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    stale = {"action": "gc", "user": "anna", "host": platform.node(), "pid": ended.pid, "since": "2020"}
    texts = {"dead": json.dumps(stale), "another machine's": json.dumps(stale | {"host": "another"})}
    (tmp_path / "work").mkdir()
    (tmp_path / "work/.owner").write_text(texts.get(note, note))
    with FileLock(tmp_path / ".lock"):
        said = refusal(tmp_path)
    owner = "gc (anna on another" if note == "another machine's" else "command is writing"
    assert f"another {owner}" in said
