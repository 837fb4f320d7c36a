"""What goes to worker processes and what comes back: jobs, failures, batches of results."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from augforge.cache.work import Batch, Payload
from augforge.engine.sourcecache import DEFAULT_MB
from augforge.errors import AugforgeError, DatasetError, SourceError, TaskError
from augforge.ops.bound import BoundOp
from augforge.ops.core import Context
from augforge.planning.rows import Row, Task
from augforge.planning.steps import Step
from augforge.sources import Record, Refused, Source
from augforge.store.codec import Encoding

_TRACEBACKS = "--debug prints the tracebacks; a build keeps them in log.jsonl."
MAX_FAILURES = 10
"""After so many failures no more jobs are begun, and so many are shown."""


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What all jobs of a build share.

    Attributes:
        source: the adapter, to load source samples.
        classes, labels: the class table and the label names.
        seed: the recipe's.
        folder: the work area.
        libraries: versions of the libraries that decide pixels.
        cache_bytes: of source samples that a worker keeps at most.
    """

    source: Source
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    seed: int
    folder: Path
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
    """What a batch of jobs produced, which jobs failed, which source samples could not be read, and damaged files."""

    batch: Batch
    job_count: int
    failures: list[Failure] = field(default_factory=list)
    unreadable: list[Refused] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


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
