"""What a worker process does: load a job's inputs, run its steps, encode and measure what comes out."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from augforge import bitmask
from augforge.cache.filecache import changed_files
from augforge.cache.work import BatchWriter, DamagedPayload, payload_digest
from augforge.engine.jobs import BatchResult, Failure, Job, JobInput, UnreadableSamples, WorkerContext
from augforge.engine.measuring import StepError, describe_pixels, failing_in, features_key, measure_features
from augforge.engine.outcome import PICTURE
from augforge.engine.sourcecache import SourceCache
from augforge.errors import AugforgeError, SourceError, StorageError
from augforge.keys import Id, digest
from augforge.lineage import Lineage, extend_lineage
from augforge.planning.identity import call_id, drawn_copies, input_passes, output_id, output_name
from augforge.planning.rows import Task, common_metadata
from augforge.planning.steps import Step
from augforge.sample import Drop, Sample
from augforge.sources import Record
from augforge.store.codec import Encoding, decode_image
from augforge.store.stripping import keep_bytes

Rejection = dict[str, Any]
"""A sample that a step dropped, as a row of the rejected table."""

_CACHE = SourceCache()
"""Of this process, over batches and builds: a sample's id stands for its content."""


@dataclass(frozen=True, slots=True)
class TracedSample:
    """A sample between two steps, with its id and lineage."""

    sample: Sample
    id: Id
    lineage: Lineage


def perform_batch(arguments: tuple[WorkerContext, Sequence[Job]]) -> BatchResult:
    """Perform jobs one after another. A failing job is reported, and the others go on."""
    context, jobs = arguments
    with BatchWriter(context.folder, context.libraries) as writer:
        result = BatchResult(writer.batch, len(jobs))
        for job in jobs:
            try:
                _perform_job(context, job, writer)
            except UnreadableSamples as error:
                result.unreadable += error.refused
            except DamagedPayload as error:
                result.damaged.append(error.file)
            except StorageError:  # no fault of the sample, and the next one would fare no better
                raise
            except (Exception, SystemExit) as error:  # an op that exits must not end the build without a word
                result.failures.append(_describe_failure(job, error))
    return result


def _describe_failure(job: Job, error: BaseException) -> Failure:
    step = "load"  # whatever fails outside `failing_in`
    if isinstance(error, StepError) and error.__cause__ is not None:
        step, error = str(error), error.__cause__
    message = str(error) if isinstance(error, AugforgeError | ValueError) else f"{type(error).__name__}: {error}"
    return Failure(job.sample_name, step, message, "".join(traceback.format_exception(error)))


def _perform_job(context: WorkerContext, job: Job, writer: BatchWriter) -> None:
    items = [load_input(context, given, shared=len(job.inputs) > 1) for given in job.inputs]
    _hash_pictures(job, items, writer)
    if job.task is None:
        _store(context, job, items[0], writer)
        return
    outputs, rejected = [], []
    counts: Counter[str] = Counter()
    for made in run_task(context, job.task, items, counts):
        if isinstance(made, TracedSample):
            outputs.append(ledger_entry(made))
            _store(context, job, made, writer)
        else:
            rejected.append(made)
    with failing_in("lineage"):  # raises if an op drew or noted something that is not JSON-like
        entry = {"outputs": outputs, "rejected": rejected}
        # What the outputs alone say is not said again: most tasks have one step, and a ledger has many tasks.
        more = {} if counts == made_by_last_steps(outputs, items[0].id) else {"made": dict(sorted(counts.items()))}
        writer.record("task", job.task.id, {**entry, **more})


def _hash_pictures(job: Job, items: Sequence[TracedSample], writer: BatchWriter) -> None:
    """Record the hashes of those inputs whose pictures are to be compared with other splits'."""
    hashed = [item for given, item in zip(job.inputs, items, strict=True) if given.hash_picture]
    if hashed:
        from augforge.sources.plausibility.pictures import picture_hash  # most jobs hash nothing

        for item in hashed:
            writer.record(PICTURE, item.id, picture_hash(item.sample.image))


def load_input(context: WorkerContext, given: JobInput, *, shared: bool = False) -> TracedSample:
    """A job's input, decoded; ``shared`` if other jobs are likely to read it too."""
    row = given.row
    if given.record is not None:
        try:
            load = partial(_load_source_sample, context, given.record, row.name)
            sample = _CACHE.get(row.id, load, context.cache_bytes, keep=shared)
        finally:  # a changed file may also be why it cannot be read, and is the better message
            _check_unchanged(given.stamps)
        planned: dict[str, Any] = {"group": row.group, "split": row.split, "metadata": row.metadata or {}}
        return TracedSample(replace(sample, **planned), row.id, row.lineage)
    assert given.payload is not None and given.facts is not None
    image, masks = given.payload.read_checked(given.facts["payload"], row.name)
    planes = bitmask.decode(masks, row.height, row.width, len(context.classes), verified=True)
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
    return TracedSample(sample, row.id, row.lineage)


def _check_unchanged(stamps: Iterable[tuple[str, str]]) -> None:
    """Raise SourceError if a file was changed since it was listed: the sample's id would stand for other pixels.

    It is called after the file was read, so that whatever is stored was made from the file that was listed.
    """
    for path in changed_files(stamps):
        raise SourceError(f"{path}: changed while the build ran. Build again")


def _load_source_sample(context: WorkerContext, record: Record, name: str) -> Sample:
    try:
        return context.source.load(record, context.classes)
    except SourceError as error:
        refused = context.source.refused_when_unreadable(record, error)
        if refused is None:
            raise
        raise UnreadableSamples([replace(refused, name=name)]) from error


def run_task(
    context: WorkerContext, task: Task, items: Sequence[TracedSample], counts: Counter[str]
) -> Iterator[TracedSample | Rejection]:
    """What a task's steps make of its inputs; ``counts`` gets how many each step makes, by its label."""
    if task.head is None:
        yield from _run_chain(context, task.chain, items[0], counts)
        return
    anchor = replace(items[0], sample=replace(items[0].sample, metadata=common_metadata(task.inputs)))
    for made in _call_step(context, task.head, [anchor, *items[1:]], task.copy, counts):
        yield from _run_chain(context, task.chain, made, counts) if isinstance(made, TracedSample) else [made]


def _run_chain(
    context: WorkerContext, chain: Sequence[Step], item: TracedSample, counts: Counter[str]
) -> Iterator[TracedSample | Rejection]:
    if not chain:
        yield item
        return
    step, rest = chain[0], chain[1:]
    copies = drawn_copies(step, context.seed, item.sample.name)
    made = (out for copy in copies for out in _call_step(context, step, [item], copy, counts))
    for out in _input_then_results(item, made) if input_passes(step, copies) else _results_with_input_once(item, made):
        yield from _run_chain(context, rest, out, counts) if isinstance(out, TracedSample) else [out]


def _input_then_results(
    item: TracedSample, made: Iterable[TracedSample | Rejection]
) -> Iterator[TracedSample | Rejection]:
    """The input itself, and what an op made of it."""
    yield item
    yield from (out for out in made if out is not item)


def _results_with_input_once(
    item: TracedSample, made: Iterable[TracedSample | Rejection]
) -> Iterator[TracedSample | Rejection]:
    """What an op made. An op that finds nothing to do yields its input: over several copies that counts once."""
    passed = False
    for out in made:
        if out is not item or not passed:
            yield out
        passed = passed or out is item


def _call_step(
    context: WorkerContext, step: Step, items: Sequence[TracedSample], copy: int, counts: Counter[str]
) -> Iterator[TracedSample | Rejection]:
    """One call of a step's op; what it makes gets name, id and lineage, and is counted."""
    bound, inputs = step.bound, [item.sample for item in items]
    names = [sample.name for sample in inputs]
    call = call_id(
        step, list(zip(names, (item.id for item in items), strict=True)), copy, context.seed, inputs[0].metadata
    )
    record: dict[str, Any] = {"step": bound.label, "op": str(bound.op), "copy": copy}
    with failing_in(bound.label):
        rng = None
        if bound.op.draw is not None:
            rng = bound.rng(context.seed, names, copy)
        made = bound.call(inputs, context.op_context(bound), rng)
        if rng is not None:
            record["drawn"] = made.drawn
        for result in made.results:
            out = _trace_output(step, items, copy, call, record, result)
            counts[bound.label] += isinstance(out, TracedSample) and out is not items[0]
            yield out


def _trace_output(
    step: Step, items: Sequence[TracedSample], copy: int, call: Id, record: dict[str, Any], made: Sample | Drop
) -> TracedSample | Rejection:
    """Name, id and lineage of what an op gave; the input's own if it gave the input back."""
    name = items[0].sample.name
    if made is items[0].sample:
        return items[0]
    if isinstance(made, Drop):
        return {"name": output_name(step, name, copy), "id": call, "step": step.bound.label, "reason": made.reason}
    new = output_name(step, name, copy, made.mark)
    record = {**record, "notes": dict(made.notes)} if made.notes else record
    lineage = extend_lineage([(item.sample.name, item.lineage) for item in items], made.placements, record)
    return TracedSample(replace(made, name=new, placements=(), mark="", notes={}), output_id(call, new), lineage)


def ledger_entry(item: TracedSample) -> dict[str, Any]:
    """A task's output as the ledger keeps it."""
    sample = item.sample
    return {
        "name": sample.name,
        "id": item.id,
        "width": sample.width,
        "height": sample.height,
        "lineage": item.lineage.to_json(),
    }


def made_by_last_steps(outputs: Iterable[Mapping[str, Any]], input_id: Id) -> Counter[str]:
    """How many of a task's outputs, as the ledger keeps them, each step made last."""
    return Counter(made["lineage"]["steps"][-1]["step"] for made in outputs if made["id"] != input_id)


def _store(context: WorkerContext, job: Job, item: TracedSample, writer: BatchWriter) -> None:
    """Encode and measure what came out, and put it into the work area."""
    passed_on = job.task is not None and item.id == job.inputs[0].row.id
    if job.encoding is not None and (job.encode_input or not passed_on):
        # Facts, digest and encoding all read planes one by one: they are made planar once for all of them.
        sample = replace(item.sample, masks=np.moveaxis(bitmask.planar(item.sample.masks), 0, -1))
        image, masks = _encode(job.encoding, sample, _own_bytes(context, job, item))
        writer.add(item.id, str(job.encoding), image, masks)
        # Facts describe what a reader decodes. Features are measured before any loss, whatever the encoding.
        stored = sample if job.encoding.lossless else replace(sample, image=decode_image(image))
        facts = {**describe_pixels(stored, len(context.classes)), "payload": payload_digest(image, masks)}
        writer.record("facts", digest(item.id, str(job.encoding)), facts)
    for step in job.measuring_steps:
        features = measure_features(step.bound, item.sample, context.op_context(step.bound))
        with failing_in(f"{step.bound.label} (measure)"):
            writer.record("features", features_key(step.bound, item.id), features)


def _own_bytes(context: WorkerContext, job: Job, item: TracedSample) -> bytes | None:
    """The bytes of the source's file, if the encoding keeps them and they are the image that came out; else None."""
    given = job.inputs[0]
    if job.encoding != Encoding.keep() or given.record is None or item.id != given.row.id:
        return None
    path = context.source.image_path(given.record)
    return None if path is None else keep_bytes(path.read_bytes(), item.sample.image)


def _encode(encoding: Encoding, sample: Sample, own: bytes | None) -> tuple[bytes, bytes]:
    with failing_in("encode"):
        return own or encoding.encode(sample.image), bitmask.encode(sample.masks)
