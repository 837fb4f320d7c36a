"""Running functions over items, here and in other processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path

import cv2
import pytest

from augforge.engine.backends import worker_count
from augforge.engine.execute import map_unordered
from augforge.errors import AugforgeError


def double(item: int) -> tuple[int, int, int]:
    return item * 2, os.getpid(), cv2.getNumThreads()


def die_at_three(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def fail_at_three(item: int) -> int:
    if item == 3:
        raise ValueError("three")
    return item


def test_worker_count() -> None:
    cores = os.cpu_count() or 1
    assert [worker_count(jobs) for jobs in (1, 5, -1, -cores - 5)] == [1, 5, cores, 1]


def test_one_job_stays_here_and_gives_opencv_its_threads_back() -> None:
    threads = cv2.getNumThreads()
    found = list(map_unordered(double, range(5), 1))
    assert found == [(i * 2, os.getpid(), 1) for i in range(5)]
    assert cv2.getNumThreads() == threads
    with pytest.raises(ValueError, match="three"):
        list(map_unordered(fail_at_three, range(5), 1))
    assert cv2.getNumThreads() == threads


def test_results_of_one_job_come_as_they_are_made() -> None:
    results = map_unordered(fail_at_three, range(5), 1)
    assert [next(results), next(results), next(results)] == [0, 1, 2]


def test_two_jobs() -> None:
    found = list(map_unordered(double, range(20), 2))
    assert sorted(value for value, _, _ in found) == [2 * i for i in range(20)]
    assert os.getpid() not in {process for _, process, _ in found}
    assert {threads for _, _, threads in found} == {1}


def current_folder(_item: int) -> str:
    return str(Path.cwd())


def test_relative_paths_lead_workers_where_they_lead_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert set(map_unordered(current_folder, range(9), 2)) == {current_folder(0)}


def test_a_worker_that_dies_is_told() -> None:
    with pytest.raises(AugforgeError, match=r"a worker process was ended from outside.*fewer --jobs"):
        list(map_unordered(die_at_three, range(8), 2))


def test_a_reader_that_stops_early_leaves_no_mess() -> None:
    results = map_unordered(double, range(30), 2)
    assert isinstance(results, Generator)
    next(results)
    results.close()
    assert len(list(map_unordered(double, range(4), 2))) == 4
