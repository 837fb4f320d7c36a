"""What a build tells of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from augforge.engine.findings import Accepted
from augforge.sources.listing import Finding


@dataclass
class Summary:
    """What a build did; for a dry run, what it would do.

    Attributes:
        samples, splits: of the finished dataset. In a dry run a sample that a filter may move counts in both splits.
        steps: for each step its op and, for each split, how many samples it made and how many were reused.
        made, reused: finished samples that were encoded anew, and that were copied from earlier builds.
        exact: False if the numbers are "at most", because pixels decide.
        bytes: of the shards; an estimate for a dry run.
        version: what was built. For a dry run what would be, or empty text if that is not known.
        version_note: why it is not known: ``depends on pixels`` that are still to be made.
        rejected: counts by ``step: reason``.
        unchanged: whether the version was already the current one; None for a dry run that cannot know it.
        findings: what is implausible about source and splits, each with kind, names, message and remedy.
        accepted: the findings that the recipe accepts, each with its reason, ``why``.
    """

    name: str
    version: str
    folder: str
    dry: bool
    samples: int
    splits: dict[str, int]
    steps: list[dict[str, Any]]
    made: int
    reused: int
    exact: bool
    bytes: int
    rejected: dict[str, int]
    shards: int = 0
    new_shards: int = 0
    warnings: list[str] = field(default_factory=list)
    unchanged: bool | None = False
    seconds: float = 0.0
    version_note: str = ""
    findings: list[Finding] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The summary as plain dicts and lists."""
        return asdict(self)

    @classmethod
    def of_same_build(cls, data: Mapping[str, Any]) -> Summary:
        """What the same build says once more, of what `to_json` gave: all is there already."""
        summary = cls(**data)
        summary.findings = [_with_names(Finding, each) for each in data["findings"]]
        summary.accepted = [_with_names(Accepted, each) for each in data["accepted"]]
        for step in summary.steps:
            step["reused"] = dict(sorted((Counter(step["made"]) + Counter(step["reused"])).items()))
            step["made"] = {}
        summary.made, summary.reused = 0, summary.made + summary.reused
        summary.new_shards, summary.unchanged = 0, True
        return summary


def _with_names(kind: Any, data: Mapping[str, Any]) -> Any:
    return kind(**{**data, "names": tuple(data["names"])})
