"""What goes to worker processes and what comes back: jobs, failures, batches of results."""

from __future__ import annotations

import platform
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import augforge
from augforge.cache.work import Batch, Payload, read_batch
from augforge.engine.sourcecache import DEFAULT_MB
from augforge.errors import AugforgeError, DatasetError, SourceError, TaskError
from augforge.ops.bound import BoundOp
from augforge.ops.core import Context
from augforge.planning.rows import Row, Task
from augforge.planning.steps import Step
from augforge.sources import Record, Refused, Source
from augforge.store.codec import Encoding, library_versions

_TRACEBACKS = "--debug prints the tracebacks; a build keeps them in log.jsonl."
_NEW_FILE_DELAYS = (0.0, 0.2, 1.0, 3.0)
"""Seconds to wait for a file that another machine has just written: NFS may not show it at once."""
MAX_FAILURES = 10
"""After so many failures no more jobs are begun, and so many are shown."""


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What all jobs of a build share.

    Attributes:
        source: the adapter, to load source samples.
        classes, labels: the class table and the label names.
        seed: the recipe's.
        folder: the work area, a folder or a URL.
        libraries: versions of the libraries that decide pixels.
        cache_bytes: of source samples that a worker keeps at most.
    """

    source: Source
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    seed: int
    folder: Path | str
    libraries: dict[str, str]
    cache_bytes: int = DEFAULT_MB << 20

    def op_context(self, bound: BoundOp) -> Context:
        """What an op may know besides its inputs."""
        return Context(self.classes, self.labels, bound.fitted)


@dataclass(frozen=True, slots=True)
class JobInput:
    """How to get a job's input: a source sample's record, or the payload and facts of a sample that was made.

    ``stamps`` are those of the source's files when it was listed: the record stands for their content. With
    ``hash_picture`` the job records the picture's hash besides.
    """

    row: Row
    record: Record | None = None
    stamps: tuple[tuple[str, str], ...] = ()
    payload: Payload | None = None
    facts: dict[str, Any] | None = None
    hash_picture: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """A task to run, or an untouched sample to encode or measure.

    Attributes:
        task: its steps; None to take the one input as it is.
        inputs: how to get the pixels.
        encoding: how to encode what comes out; None to encode nothing.
        encode_input: whether to encode the input too if it passes on.
        measuring_steps: steps that need features of what comes out.
    """

    task: Task | None
    inputs: tuple[JobInput, ...]
    encoding: Encoding | None
    encode_input: bool = False
    measuring_steps: tuple[Step, ...] = ()

    @property
    def sample_name(self) -> str:
        """The name of the first input, which messages name."""
        return self.inputs[0].row.name


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that failed.

    Attributes:
        sample: name of the job's first input.
        step: label of the step, or what was being done, such as ``encode``.
        message: what happened.
        traceback: of the original exception, as Python prints it.
    """

    sample: str
    step: str
    message: str
    traceback: str


@dataclass
class BatchResult:
    """What a batch of jobs produced, which jobs failed, which source samples could not be read, and damaged files.

    Between processes only the name of the batch's files is sent, a few hundred bytes: the work area holds the rest, and
    `take_batch` reads it there.
    """

    batch: Batch
    job_count: int
    failures: list[Failure] = field(default_factory=list)
    unreadable: list[Refused] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "batch": Batch({}, path=self.batch.path)}

    def take_batch(self) -> Batch:
        """The batch, from the work area if another process made it; DatasetError if it is not there whole."""
        if self.batch.made_by:
            return self.batch
        assert self.batch.path is not None
        for seconds in _NEW_FILE_DELAYS:
            time.sleep(seconds)
            found = read_batch(self.batch.path)
            if found is not None:
                return found
        raise DatasetError(
            f"{self.batch.path}: a worker wrote this batch, and here it is missing or damaged. Workers and this "
            "process have to see the same files: put the dataset on a shared file system, or build to a URL"
        )


def library_check(libraries: Mapping[str, str]) -> Callable[[], None]:
    """What a worker of a cluster calls before its first batch; see `check_libraries`."""
    return partial(check_libraries, {"augforge": augforge.__version__, **libraries})


def check_libraries(expected: Mapping[str, str]) -> None:
    """Raise AugforgeError if a worker's libraries are not those of the build, since it would make other bytes."""
    own = _own_libraries()
    differing = sorted(name for name in expected.keys() | own.keys() if expected.get(name) != own.get(name))
    if differing:
        text = ", ".join(f"{name} {own.get(name)} instead of {expected.get(name)}" for name in differing)
        raise AugforgeError(
            f"the worker on {platform.node()} would make other bytes: it has {text}. Install the same versions there, "
            "or leave this worker out"
        )


@cache
def _own_libraries() -> dict[str, str]:
    return {"augforge": augforge.__version__, **library_versions()}


class DamagedPayloads(DatasetError):
    """Files of the pool are damaged: they are forgotten, and what is needed of them is made again."""

    def __init__(self, files: Sequence[str]) -> None:
        super().__init__(f"{files[0]} is damaged. Build again")
        self.files = files


class UnreadableSamples(SourceError):
    """Source samples that cannot be read and become rejected rows: the plan is made again without them."""

    def __init__(self, refused: list[Refused]) -> None:
        super().__init__(refused[0].detail)
        self.refused = refused


@contextmanager
def step_errors(label: str, work: str) -> Iterator[None]:
    """An unexpected exception in a step's function becomes a TaskError that names the step and keeps the traceback."""
    try:
        yield
    except AugforgeError:
        raise
    except Exception as error:
        message = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        failure = Failure("", label, message, "".join(traceback.format_exception(error)))
        raise TaskError(f"step {label} ({work}): {message}. {_TRACEBACKS}", [failure]) from error


def task_error(failures: Sequence[Failure], all_tried: bool) -> TaskError:
    """The error that tells of the first failed jobs.

    Args:
        failures: of the jobs that were performed.
        all_tried: whether every job was performed, or the rest left out after MAX_FAILURES.
    """
    count = f"{len(failures)} tasks failed" if all_tried else f"{len(failures)} tasks failed before the build stopped"
    lines = [f"{failure.sample} ({failure.step}): {failure.message}" for failure in failures[:MAX_FAILURES]]
    more = [f"and {len(failures) - MAX_FAILURES} more"] if len(failures) > MAX_FAILURES else []
    message = "\n".join([f"{count}; what was finished is kept.", *lines, *more, _TRACEBACKS])
    return TaskError(message, failures[:MAX_FAILURES])


def raise_problems(failures: Sequence[Failure], unreadable: list[Refused], damaged: list[str], all_tried: bool) -> None:
    """Raise the error of a set of jobs, if there is one; failures come before what only needs another round."""
    if failures:
        raise task_error(failures, all_tried)
    if unreadable:
        raise UnreadableSamples(unreadable)
    if damaged:
        raise DamagedPayloads(damaged)
