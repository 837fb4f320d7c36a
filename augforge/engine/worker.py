"""What a worker does: load a job's inputs, run its steps, encode and measure what comes out."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from augforge import bitmask
from augforge.cache.work import Batch, BatchWriter, Payload, payload_digest
from augforge.engine.findings import StepError, facts, features_key, measure, reported
from augforge.errors import AugforgeError, SourceError
from augforge.keys import Id, digest, rng_for
from augforge.lineage import Lineage, extended
from augforge.ops.core import BoundOp, Context
from augforge.planning.identity import fired, made_id, made_name, output_id, passes
from augforge.planning.plan import common_metadata
from augforge.planning.rows import Row, Task
from augforge.planning.steps import Step
from augforge.sample import Drop, Sample
from augforge.sources import Record, Refused, Source
from augforge.store.codec import Encoding, decode_image


@dataclass(frozen=True, slots=True)
class Shop:
    """What all jobs of a build share.

    Attributes:
        source: the adapter, to load source samples.
        classes, labels: the class table and the label names.
        seed: the recipe's.
        folder: the work area.
        made_by: versions of what decides pixels.
    """

    source: Source
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    seed: int
    folder: Path
    made_by: dict[str, str]

    def context(self, bound: BoundOp) -> Context:
        return Context(self.classes, self.labels, bound.fitted)


@dataclass(frozen=True, slots=True)
class Input:
    """How to get a job's input: a listed record, or a payload with its facts."""

    row: Row
    record: Record | None = None
    payload: Payload | None = None
    facts: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A task to run, or an untouched sample to encode or measure.

    Attributes:
        task: its steps; None to take the one input as it is.
        inputs: how to get the pixels.
        encoding: how to encode what comes out; None to encode nothing.
        encode_input: whether to encode the input too where it passes on.
        measures: steps whose features are needed of what comes out.
    """

    task: Task | None
    inputs: tuple[Input, ...]
    encoding: Encoding | None
    encode_input: bool = False
    measures: tuple[Step, ...] = ()

    @property
    def key(self) -> str:
        return self.inputs[0].row.name


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that failed: the sample's key, the op or action, what happened, and the traceback for developers."""

    key: str
    where: str
    message: str
    trace: str


@dataclass
class Result:
    """What a batch of jobs left, the jobs that failed, and source samples that cannot be read and are rejected."""

    batch: Batch
    jobs: int
    failures: list[Failure] = field(default_factory=list)
    unreadable: list[Refused] = field(default_factory=list)


class Unreadable(SourceError):
    """Source samples that cannot be read, and become rejected rows: they are left out, and planned without."""

    def __init__(self, refused: list[Refused]) -> None:
        super().__init__(refused[0].detail)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Item:
    """A sample in work, with its id and lineage."""

    sample: Sample
    id: Id
    lineage: Lineage


def run_batch(arguments: tuple[Shop, Sequence[Job]]) -> Result:
    """Run jobs one after another; a failing job is reported, and the others go on."""
    shop, jobs = arguments
    with BatchWriter(shop.folder, shop.made_by) as writer:
        result = Result(writer.batch, len(jobs))
        for job in jobs:
            try:
                _run(shop, job, writer)
            except Unreadable as error:
                result.unreadable += error.refused
            except Exception as error:
                result.failures.append(_failure(job, error))
    return result


def _failure(job: Job, error: Exception) -> Failure:
    where = "load"
    if isinstance(error, StepError) and isinstance(error.__cause__, Exception):
        where, error = str(error), error.__cause__
    text = str(error) if isinstance(error, AugforgeError | ValueError) else f"{type(error).__name__}: {error}"
    return Failure(job.key, where, text, "".join(traceback.format_exception(error)))


def _run(shop: Shop, job: Job, writer: BatchWriter) -> None:
    items = [load_input(shop, given) for given in job.inputs]
    if job.task is None:
        _finish(shop, job, items[0], writer)
        return
    outputs, rejected = [], []
    for made in _steps(shop, job.task, items):
        if isinstance(made, Item):
            outputs.append(_described(made))
            _finish(shop, job, made, writer)
        else:
            rejected.append(made)
    with reported("lineage"):
        writer.record("task", job.task.id, {"outputs": outputs, "rejected": rejected})


def load_input(shop: Shop, given: Input) -> Item:
    """A job's input, decoded."""
    row = given.row
    if given.record is not None:
        sample = _source_sample(shop, given.record, row.name)
        return Item(replace(sample, group=row.group, split=row.split), row.id, row.lineage)
    assert given.payload is not None and given.facts is not None
    image, masks = given.payload.read()
    planes = bitmask.decode(masks, row.height, row.width, len(shop.classes))
    label = given.facts["label"]
    sample = Sample(
        name=row.name,
        image=decode_image(image),
        masks=bitmask.contiguous(planes),
        known=np.frombuffer(bytes.fromhex(given.facts["known"]), np.uint8),
        group=row.group,
        split=row.split,
        label=None if label is None else np.array(label, np.float32),
        metadata=row.metadata or {},
    )
    return Item(sample, row.id, row.lineage)


def _source_sample(shop: Shop, record: Record, name: str) -> Sample:
    try:
        return shop.source.load(record, shop.classes)
    except SourceError as error:
        refused = shop.source.refused_when_unreadable(record, error)
        if refused is None:
            raise
        raise Unreadable([replace(refused, name=name)]) from error


def _steps(shop: Shop, task: Task, items: Sequence[Item]) -> Iterator[Item | dict[str, Any]]:
    """What a task's steps make of its inputs: items, and drops as rejections."""
    if task.head is None:
        yield from _chain(shop, task.chain, items[0])
        return
    anchor = replace(items[0], sample=replace(items[0].sample, metadata=common_metadata(task.inputs)))
    for made in _call(shop, task.head, [anchor, *items[1:]], task.copy):
        yield from _chain(shop, task.chain, made) if isinstance(made, Item) else [made]


def _chain(shop: Shop, chain: Sequence[Step], item: Item) -> Iterator[Item | dict[str, Any]]:
    if not chain:
        yield item
        return
    step, rest = chain[0], chain[1:]
    copies = fired(step, shop.seed, item.sample.name)
    made = (out for copy in copies for out in _call(shop, step, [item], copy))
    for out in _with_input(item, made) if passes(step, copies) else _once(item, made):
        yield from _chain(shop, rest, out) if isinstance(out, Item) else [out]


def _with_input(item: Item, made: Iterable[Item | dict[str, Any]]) -> Iterator[Item | dict[str, Any]]:
    yield item
    yield from (out for out in made if out is not item)


def _once(item: Item, made: Iterable[Item | dict[str, Any]]) -> Iterator[Item | dict[str, Any]]:
    """What an op made, and its input at most once: each copy may have found nothing to do."""
    passed = False
    for out in made:
        if out is not item or not passed:
            yield out
        passed = passed or out is item


def _call(shop: Shop, step: Step, items: Sequence[Item], copy: int) -> Iterator[Item | dict[str, Any]]:
    """One call of an op: draw, apply, name and trace what it gives."""
    bound = step.bound
    inputs = [item.sample for item in items]
    ctx = shop.context(bound)
    metadata = inputs[0].metadata
    call = made_id(step, [(item.sample.name, item.id) for item in items], copy, shop.seed, metadata)
    record: dict[str, Any] = {"step": bound.label, "op": str(bound.op), "copy": copy}
    try:
        drawn = None
        if bound.op.draw is not None:
            names = [sample.name for sample in inputs]
            rng = rng_for(shop.seed, bound.name, bound.occurrence, bound.params.declared(), names, copy)
            record["drawn"] = drawn = bound.op.draw(rng, inputs, bound.params, ctx)
        for made in bound.op.apply(inputs, drawn, bound.params, ctx):
            yield _named(step, items, copy, call, record, made)
    except Exception as error:
        raise StepError(bound.label) from error


def _named(
    step: Step, items: Sequence[Item], copy: int, call: Id, record: dict[str, Any], made: Sample | Drop
) -> Item | dict[str, Any]:
    name = items[0].sample.name
    if made is items[0].sample:
        return items[0]
    if isinstance(made, Drop):
        return {"name": made_name(step, name, copy), "id": call, "step": step.bound.label, "reason": made.reason}
    new = made_name(step, name, copy, made.mark)
    record = {**record, "notes": dict(made.notes)} if made.notes else record
    lineage = extended([(item.sample.name, item.lineage) for item in items], made.placements, record)
    return Item(replace(made, name=new, placements=(), mark="", notes={}), output_id(call, new), lineage)


def _described(item: Item) -> dict[str, Any]:
    """A task's output as the ledger keeps it."""
    sample = item.sample
    return {
        "name": sample.name,
        "id": item.id,
        "width": sample.width,
        "height": sample.height,
        "lineage": item.lineage.to_json(),
    }


def _finish(shop: Shop, job: Job, item: Item, writer: BatchWriter) -> None:
    """Encode and measure what came out."""
    untouched = job.task is not None and item.id == job.inputs[0].row.id
    if job.encoding is not None and (job.encode_input or not untouched):
        sample = replace(item.sample, masks=np.moveaxis(bitmask.planar(item.sample.masks), 0, -1))  # once for all uses
        image, masks = _encoded(job.encoding, sample)
        writer.add(item.id, str(job.encoding), image, masks)
        kept = sample if job.encoding.lossless else replace(sample, image=decode_image(image))
        found = {**facts(kept, len(shop.classes)), "payload": payload_digest(image, masks)}
        writer.record("facts", digest(item.id, str(job.encoding)), found)
    for step in job.measures:
        found = measure(step.bound, item.sample, shop.context(step.bound))
        with reported(f"{step.bound.label} (measure)"):
            writer.record("features", features_key(step.bound, item.id), found)


def _encoded(encoding: Encoding, sample: Sample) -> tuple[bytes, bytes]:
    with reported("encode"):
        return encoding.encode(sample.image), bitmask.encode(sample.masks)


def batches(jobs: Sequence[Job], size: int) -> Iterable[list[Job]]:
    """Jobs in batches of at most `size`."""
    return [list(jobs[i : i + size]) for i in range(0, len(jobs), size)]
