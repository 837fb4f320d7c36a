"""Everything that a report says, JSON-like; from index, manifest and tables of a version, without pixels."""

from __future__ import annotations

from typing import Any

from augforge.report.difference import compare_versions
from augforge.report.html.classes import class_facts, occur_together
from augforge.report.html.columns import metadata_facts
from augforge.report.html.history import drawn_facts, rejected_facts, step_facts, tag_facts
from augforge.report.html.people import class_sides, group_facts, side_facts
from augforge.report.inspect import inspect
from augforge.report.provenance import Provenance
from augforge.sources.plausibility.splits import LEAKS
from augforge.store.dataset import Dataset


def gather_facts(dataset: Dataset, against: Dataset | None = None) -> dict[str, Any]:
    """What the report of a dataset says.

    Args:
        dataset: the version that is shown.
        against: an earlier version, or another dataset; what changed from it to this one is ``changes``.

    Returns:
        What `augforge.report.inspect.inspect` says, under the same keys, with more about ``classes`` (see
        `class_facts`), and ``together``, ``metadata_by_split``, ``groups_by_split``, ``sides``, ``tagged``,
        ``flagged`` (how many samples have a tag), ``rejected_samples``, ``leaks`` (findings about leaks between
        splits), ``lineage``, ``drawn`` and ``changes``.
    """
    found, provenance, sizes = inspect(dataset), Provenance(dataset), class_sides(dataset)
    return {
        **found,
        "classes": class_facts(dataset, found["classes"]),
        "together": occur_together(dataset.index, dataset.classes),
        "metadata_by_split": metadata_facts(dataset),
        "groups_by_split": group_facts(dataset.index, sizes),
        "sides": side_facts(dataset, sizes),
        "tagged": tag_facts(dataset),
        "flagged": int((dataset.index["tags"].list.len() > 0).sum()),
        "rejected_samples": rejected_facts(dataset),
        "leaks": [entry for entry in found["findings"] if entry["kind"] in LEAKS],
        "lineage": step_facts(provenance),
        "drawn": drawn_facts(provenance),
        "changes": None if against is None else compare_versions(against, dataset),
    }
