"""The journal of a run: rows of JSON, and the same numbers as TensorBoard reads them."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from augforge.train.journal import Journal, read_journal


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {
        name: [(each.step, round(each.value, 3)) for each in events.Scalars(name)] for name in events.Tags()["scalars"]
    }


def test_tensorboard_reads_what_the_journal_says(tmp_path: Path) -> None:
    """Steps after the checkpoint from which an interrupted run goes on are hidden, since they come again."""
    with closing(Journal(tmp_path / "run")) as journal:
        for step in (1, 2):
            journal.write("step", step, {"loss": 0.5 / step, "lr": 1e-3})
        kept = journal.size
        journal.write("validation", 2, {"dice": {"a": 0.25}, "name": "text"})
        journal.write("step", 3, {"loss": 9.0})
        rows = read_journal(tmp_path / "run")  # while the run goes on
    assert [row["step"] for row in rows] == [1, 2, 2, 3]
    assert scalars(tmp_path / "run")["validation/dice/a"] == [(2, 0.25)]
    time.sleep(1.1)  # a new file's name begins with the second
    with closing(Journal(tmp_path / "run", kept, step=2)) as journal:
        journal.write("step", 3, {"loss": 0.125})
    assert [row["loss"] for row in read_journal(tmp_path / "run")] == [0.5, 0.25, 0.125]
    assert scalars(tmp_path / "run")["step/loss"] == [(1, 0.5), (2, 0.25), (3, 0.125)]
