"""What verification finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from augforge.errors import some

SHOWN_SAMPLES = 3
"""How many samples the text of a fault names; its JSON has all."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was written.

    Attributes:
        file: path relative to the dataset, or its URL.
        kind: ``missing``, ``damaged`` (the bytes were changed) or ``wrong`` (files contradict each other).
        message: the fact.
        samples: names of the samples that it hits. If no single one is hit, as by damage to a footer, all that it may
            hit; empty if the file holds no samples.
        versions: the versions that the file belongs to.
    """

    file: str
    kind: str
    message: str
    samples: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.samples:
            return f"{self.file}: {self.message}"
        return (
            f"{self.file}: {self.message} (sample{'s' * (len(self.samples) > 1)} {some(self.samples, SHOWN_SAMPLES)})"
        )


@dataclass
class Report:
    """What verification found.

    Attributes:
        version: that was asked for, or the current one; empty if no manifest can be read.
        versions: all that were checked.
        shards: how many were checked.
        faults: in the order of the files.
        notes: what is no damage: what a format has no digests for, and what a build that was stopped left to be done.
    """

    version: str = ""
    versions: list[str] = field(default_factory=list)
    shards: int = 0
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def problems(self) -> list[str]:
        """One line for each fault."""
        return [str(fault) for fault in self.faults]

    def to_json(self) -> dict[str, Any]:
        """The report as ``--json`` prints it."""
        return {
            "version": self.version,
            "shards": self.shards,
            "ok": self.ok,
            "problems": self.problems(),
            "versions": self.versions,
            "faults": [asdict(fault) for fault in self.faults],
            "notes": self.notes,
        }
