"""How many bytes a planned dataset will need, before its pixels are made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from augforge import bitmask
from augforge.engine.finished import Finished
from augforge.engine.jobs import WorkerContext
from augforge.engine.pipeline import PNG, Pipeline
from augforge.engine.worker import TracedSample, load_input, run_task
from augforge.keys import hash64
from augforge.planning.rows import Row, Task

ROW_BYTES, GROUP_BYTES, GROUP_PAYLOAD = 150, 5000, 4_000_000
"""Rough number of bytes that a shard needs besides images and masks: for a sample (names, compressed lineage), and for
a row group, which holds about so many bytes of images and masks."""
_TRIED, _LEAST_TRIED, _TRIED_PIXELS = 32, 3, 1 << 25
"""Tasks of each kind that are tried: as many, or as few as read so many pixels, but for the least number."""
_MOST_ENCODED = 16
"""Samples of one task that are encoded: a task may make hundreds of windows."""

Kind = tuple[str, ...]
"""What made a sample: the last steps of the tasks that led to it, the first one first."""


def estimate_bytes(finished: Finished, pipeline: Pipeline) -> int:
    """The bytes of the shards: of what is stored already as it is, of all else by samples that are made to try.

    How well pixels compress is known to no rule: a JPEG becomes a PNG of four times its size, and a mosaic of four
    pictures one of four times their detail. So of each kind of sample some, chosen by hash, are made in memory, through
    all of their steps, and encoded as the dataset's are. All samples of the kind are then taken to have as many bytes a
    pixel, in proportion to those of their sources' files, which tell a crowded picture from an empty one.
    """
    rows, pool = finished.outcome.rows, finished.pool
    stored = [pool.payloads[key] for row in rows if (key := (row.id, str(finished.encoding))) in pool.payloads]
    known = sum(payload.image_bytes + payload.masks_bytes for payload in stored)
    new = [row for row in rows if (row.id, str(finished.encoding)) not in pool.payloads]
    payload = known + (_Trial(finished, pipeline).bytes_of(new) if new else 0)
    groups = max(len({row.split for row in rows}), payload / GROUP_PAYLOAD)
    return round(payload + len(rows) * ROW_BYTES + groups * GROUP_BYTES)


@dataclass
class _Trial:
    """Makes some samples of a plan in memory.

    Attributes:
        finished: the plan.
        pipeline: that gave it; makes the inputs of jobs.
        made: results of tasks that were tried.
        read_pixels: how many pixels the tries have read.
    """

    finished: Finished
    pipeline: Pipeline
    made: dict[str, list[TracedSample]] = field(default_factory=dict)
    read_pixels: int = 0

    @cached_property
    def context(self) -> WorkerContext:
        """Class table, seed and source."""
        return self.finished.opened.worker_context()

    @cached_property
    def tasks(self) -> Mapping[str, Task]:
        """All tasks of the plan, by their ids."""
        return {id: task for id, (task, _) in self.pipeline.plan[1].items()}

    @cached_property
    def densities(self) -> Mapping[str, float]:
        """Bytes a pixel of the sources' files, by the samples' names."""
        records = self.finished.listing.records
        return {record.name: record.bytes / (record.width * record.height) for record in records}

    def bytes_of(self, rows: Sequence[Row]) -> float:
        """The bytes of samples that are not stored yet."""
        kinds: dict[Kind, list[Row]] = {}
        for row in rows:
            kinds.setdefault(self.kind(row), []).append(row)
        sizes = {kind: sum(map(self.size, members)) for kind, members in kinds.items()}
        growths = {kind: self.growth(kind, members, _TRIED_PIXELS // len(kinds)) for kind, members in kinds.items()}
        known = [growth for growth in growths.values() if growth is not None]
        usual = sum(known) / len(known) if known else 1.0
        return sum(size * (growths[kind] or usual) for kind, size in sizes.items())

    def kind(self, row: Row) -> Kind:
        """What made a sample."""
        if row.task is None:
            return ()
        task = self.tasks[row.task]
        last = task.chain[-1] if task.chain else task.head
        return (*self.kind(task.inputs[0]), "" if last is None else last.bound.label)

    def size(self, row: Row) -> float:
        """A sample's pixels, times the bytes a pixel of its sources' files."""
        names = list(self.roots(row))
        return row.width * row.height * sum(self.densities[name] for name in names) / len(names)

    def roots(self, row: Row) -> Iterator[str]:
        """Names of the source samples that a sample is made of."""
        if row.task is None:
            yield row.name
        else:
            for given in self.tasks[row.task].inputs:
                yield from self.roots(given)

    def growth(self, kind: Kind, rows: Sequence[Row], pixels: int) -> float | None:
        """Bytes of samples of one kind as they will be stored, as a multiple of their `size`; None if none was made."""
        made = given = 0.0
        before = self.read_pixels
        parts: dict[str, list[Row]] = {}
        for row in rows:
            parts.setdefault(row.task or row.name, []).append(row)
        for number, part in enumerate(sorted(parts, key=lambda part: hash64("estimate", *kind, part))[:_TRIED]):
            if number >= _LEAST_TRIED and self.read_pixels - before >= pixels:
                break
            bytes_made = self.try_out(parts[part])
            if bytes_made is not None:
                made += bytes_made
                given += sum(map(self.size, parts[part]))
        return made / given if given else None

    def try_out(self, rows: Sequence[Row]) -> float | None:
        """Bytes of the rows that one task makes, or of one source image; None if they cannot be made.

        Fewer rows may come out than are foreseen, for then a plan says how many there are at most. What fails here
        fails in the build, which reports it.
        """
        names = {row.name for row in rows}
        try:
            task = None if rows[0].task is None else self.tasks[rows[0].task]
            items = [self.load(rows[0])] if task is None else self.run(task)
            if task is not None and not any(row.foreseen for row in rows):
                items = [item for item in items if item.sample.name in names]
            chosen = sorted(items, key=lambda item: hash64("estimate", item.sample.name))[:_MOST_ENCODED]
            encode = self.finished.encoding.encode
            encoded = sum(len(encode(item.sample.image)) + len(bitmask.encode(item.sample.masks)) for item in chosen)
        except (Exception, SystemExit):
            return None
        return encoded * len(items) / len(chosen) if chosen else 0.0

    def run(self, task: Task) -> list[TracedSample]:
        """What a task makes."""
        if task.id not in self.made:
            items = [self.load(row) for row in task.inputs]
            results = run_task(self.context, task, items, Counter())
            self.made[task.id] = [item for item in results if isinstance(item, TracedSample)]
        return self.made[task.id]

    def load(self, row: Row) -> TracedSample:
        """An input of a task: read from the source, from what is stored, or made by its own task."""
        self.read_pixels += row.width * row.height
        if row.task is None or (row.id, str(PNG)) in self.finished.pool.payloads:
            return load_input(self.context, self.pipeline.job_input(row))
        return next(item for item in self.run(self.tasks[row.task]) if item.sample.name == row.name)
