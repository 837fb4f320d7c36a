"""What a pipeline starts from and what it gives: results of earlier work, counts, and tables of samples."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from augforge.cache.ledger import Ledger
from augforge.cache.payloads import Payloads
from augforge.cache.work import Batch, remove_batch
from augforge.keys import digest
from augforge.lineage import Lineage
from augforge.ops.core import Flag
from augforge.planning.identity import ExpectedSample
from augforge.planning.rows import Row
from augforge.sources import Refused
from augforge.sources.plausibility.splits import is_comparable
from augforge.store.codec import Encoding

PICTURE = "picture"
"""Kind of the ledger's entries with the hash of a source sample's picture, by the sample's id."""


@dataclass
class Pool:
    """Results of earlier and of this build.

    Attributes:
        ledger: results by key.
        payloads: encoded samples by (sample id, encoding).
        batches: of the work area, those of earlier builds too; their entries and payloads are in the tables above.
        new_batches: those of this build.
    """

    ledger: Ledger = field(default_factory=Ledger)
    payloads: Payloads = field(default_factory=Payloads)
    batches: list[Batch] = field(default_factory=list)
    new_batches: list[Batch] = field(default_factory=list)

    def add(self, batch: Batch, used: bool = True) -> None:
        """Take in a batch; entries of an earlier build's batch count as unused until they are asked for."""
        self.ledger.put(batch.entries, used)
        self.payloads.update(batch.payloads, earlier=not used)
        kept = replace(batch, entries=[], payloads={})
        self.batches.append(kept)
        if used:
            self.new_batches.append(kept)

    def forget(self, file: str) -> None:
        """Drop all payloads of a file that is damaged: those that are needed are made again.

        If it is a batch of the work area, it is deleted. If it is a shard, it stays for `augforge verify` to name.
        """
        self.payloads.forget(file)
        for batch in self.batches:
            if batch.payload_file == file:
                remove_batch(batch)

    def remove_new_batches(self) -> None:
        """Delete the batches that this build made."""
        for batch in self.new_batches:
            remove_batch(batch)

    def has_facts(self, sample_id: str, encoding: Encoding) -> bool:
        """Whether the facts of a sample's pixels are known, as they are after encoding."""
        return self.ledger.has("facts", digest(sample_id, str(encoding)))

    def facts(self, sample_id: str, encoding: Encoding) -> Any:
        """The facts of a sample's pixels after encoding; None if they are not known."""
        return self.ledger.get("facts", digest(sample_id, str(encoding)))


@dataclass
class Counts:
    """How many samples each step made, and how many it took over from earlier builds, by (step label, split).

    A sample counts for the step that made it, and once more for each later step that makes another one of it, so that
    what a step made counts even if nothing of it is left at the end.
    """

    made: Counter[tuple[str, str]] = field(default_factory=Counter)
    reused: Counter[tuple[str, str]] = field(default_factory=Counter)
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """What a filter said of a sample.

    Attributes:
        row: the sample.
        step: label of the filter's step.
        flag: reason, score, detail and regions.
        outcome: ``dropped``, ``tagged``, ``moved to <split>`` or ``kept by review``.
    """

    row: Row
    step: str
    flag: Flag
    outcome: str


@dataclass
class Outcome:
    """What a pipeline gives.

    Attributes:
        rows: the final table.
        tables: the table before each stage; the first is the source's.
        rejected: by steps.
        refused: source samples that could not be read.
        findings: of filters.
        fitted: values of all fitted steps, by label.
        counts: samples made by each step.
        warnings: messages for the user.
    """

    rows: list[Row] = field(default_factory=list)
    tables: list[list[Row]] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    refused: tuple[Refused, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    fitted: dict[str, Any] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    warnings: list[str] = field(default_factory=list)


def lacks_hash(pool: Pool, row: Row) -> bool:
    """Whether the hash of a source sample's picture is not known yet, and would say something."""
    return is_comparable(row.width, row.height) and not pool.ledger.has(PICTURE, row.id)


def output_row(made: dict[str, Any], anchor: Row, inherited: Row) -> Row:
    """The row of a task's output as the ledger keeps it; the anchor's own if the task passed it on."""
    if made["id"] == anchor.id:
        return anchor
    return replace(
        inherited,
        name=made["name"],
        id=made["id"],
        width=made["width"],
        height=made["height"],
        lineage=Lineage.packed(made["lineage"]),
        step=made["lineage"]["steps"][-1]["step"],
    )


def expected_row(sample: ExpectedSample, inherited: Row) -> Row:
    """The row of a sample that a task will make, as far as it is known before the task runs."""
    step = sample.step_label or inherited.step
    width, height = sample.size  # an unknown id is replaced by the name: unique, and no key of the ledger
    return replace(inherited, name=sample.name, id=sample.id or sample.name, width=width, height=height, step=step)
