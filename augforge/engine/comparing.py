"""Comparing pictures of different splits once a build has read them; see ADR 19."""

from __future__ import annotations

from contextlib import suppress

from augforge.engine.finished import Finished
from augforge.engine.jobs import UnreadableSamples
from augforge.engine.opening import Opened
from augforge.engine.outcome import PICTURE, Outcome, lacks_hash
from augforge.engine.pipeline import Pipeline
from augforge.errors import TaskError
from augforge.planning.rows import Row
from augforge.sources.plausibility.pictures import compared_pairs, find_alike_hashes
from augforge.sources.plausibility.splits import is_comparable

MOST_PAIRS = 1_000_000_000
"""Pairs of pictures that a build compares, in a second or two; more take long beside the rest of its work."""


def compare_pictures(opened: Opened, pipeline: Pipeline, outcome: Outcome, dry: bool = False) -> Finished:
    """The finished build, with what a comparison of its pictures found.

    The hashes are in the ledger, by the ids of source samples, so that only new and changed pictures are hashed, by the
    jobs that read them anyway. What a job did not have to read is read now; but in a dry run it is left out.

    Args:
        opened: the recipe; whether it compares pictures at all is `Opened.compares_pictures`.
        pipeline: that gave the outcome.
        outcome: of its source samples, those are compared that no filter rejected by then.
        dry: compare what is known.

    Raises:
        PlanError: the recipe is strict, or stops at leaks, and pictures are nearly the same.
    """
    rows = _compared_rows(opened, outcome)
    if not dry:  # what can no longer be read is no error: the result of its tasks is known
        with suppress(UnreadableSamples, TaskError):
            pipeline.hash_pictures(rows)
    complete = not any(lacks_hash(opened.pool, row) for row in rows)
    splits = {row.name: row.split for row in rows}
    known = {row.name: text for row in rows if (text := opened.pool.ledger.get(PICTURE, row.id))}
    if compared_pairs(splits[name] for name in known) > MOST_PAIRS:
        complete, known = False, {}
        outcome.warnings.append(
            f"{len(rows):,} pictures are too many to compare those of different splits beside the build; augforge "
            "check does it, and split.compare: pictures before any work"
        )
    elif not (complete or dry):
        outcome.warnings.append("some pictures cannot be read any more, and were not compared with other splits'")
    records = opened.listing.records
    found = find_alike_hashes(known, lambda name: records.by_name(name).image_sha256, splits)
    findings = opened.findings.with_pictures(found, complete)
    findings.enforce(opened.recipe)
    return Finished(opened, outcome, findings)


def _compared_rows(opened: Opened, outcome: Outcome) -> list[Row]:
    """The source samples whose pictures are compared; none if the recipe asks for no comparison, or it is of no use."""
    if not opened.compares_pictures:
        return []
    gone = {row["name"] for row in outcome.rejected}
    rows = outcome.tables[0] if outcome.tables else outcome.rows
    return [row for row in rows if row.name not in gone and is_comparable(row.width, row.height)]
