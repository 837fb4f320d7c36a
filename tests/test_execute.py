"""Tasks in this process and in several give the same, and errors arrive."""

from __future__ import annotations

import os
from collections.abc import Iterator

import cv2
import pytest
from joblib.externals.loky import get_reusable_executor

from augforge import execute
from augforge.errors import AugforgeError, TaskError


@pytest.fixture(scope="module", autouse=True)
def _workers_end() -> Iterator[None]:
    yield
    get_reusable_executor().shutdown(wait=True)


def facts(number: int) -> tuple[int, int, int]:
    return number * number, os.getpid(), cv2.getNumThreads()


def fail_at_three(number: int) -> int:
    if number == 3:
        raise TaskError("ID003/a (hflip): no such class")
    return number


def die_at_three(number: int) -> int:
    if number == 3:
        os._exit(1)
    return number


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_item_gives_its_result_once(jobs: int) -> None:
    results = list(execute.run(facts, range(40), jobs))
    assert sorted(square for square, _, _ in results) == [n * n for n in range(40)]
    assert {threads for _, _, threads in results} == {1}
    assert ({process for _, process, _ in results} == {os.getpid()}) is (jobs == 1)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("count", [0, 1])
def test_no_process_starts_for_one_item(count: int, jobs: int) -> None:
    assert [process for _, process, _ in execute.run(facts, range(count), jobs)] == [os.getpid()] * count


@pytest.mark.parametrize("jobs", [1, 2])
def test_errors_arrive_as_they_are(jobs: int) -> None:
    with pytest.raises(TaskError, match=r"^ID003/a \(hflip\): no such class$"):
        list(execute.run(fail_at_three, range(8), jobs))
    assert sorted(execute.run(fail_at_three, [1, 2], jobs)) == [1, 2], "the next run works"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # loky's, when it is told to stop
@pytest.mark.parametrize("end", ["whole", "closed", "error"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_opencv_gets_its_threads_back(jobs: int, end: str) -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        results = execute.run(fail_at_three if end == "error" else facts, range(20), jobs)
        if end == "closed":
            next(results)
            results.close()  # type: ignore[attr-defined]
        elif end == "error":
            with pytest.raises(TaskError):
                list(results)
        else:
            list(results)
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_a_worker_that_dies_is_named_with_the_remedy() -> None:
    with pytest.raises(AugforgeError, match=r"ended from outside.*run the same command again with fewer --jobs"):
        list(execute.run(die_at_three, range(8), 2))
    assert sorted(execute.run(die_at_three, [1, 2], 2)) == [1, 2], "the next run works"


def test_worker_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    asked = {1: 1, 5: 5, 16: 16, 0: 8, -1: 8, -2: 7, -8: 1, -99: 1}
    assert {jobs: execute.worker_count(jobs) for jobs in asked} == asked
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert [execute.worker_count(jobs) for jobs in (3, 0, -1)] == [3, 1, 1]
