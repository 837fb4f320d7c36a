"""What a manifest says of licences, reviews and findings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class FrozenEntry(BaseModel):
    """A part of the manifest: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LicenceEntry(FrozenEntry):
    """A licence of source images: the key that the index has, name, URL, whom to name, and how many samples show some.

    A sample that was made of several images counts for each of their licences.
    """

    licence: str
    name: str
    url: str
    attribution: str
    samples: int


class ReviewEntry(FrozenEntry):
    """The review file verbatim, and the digest of its verdicts, without white space and comments."""

    digest: str
    text: str


class FindingEntry(FrozenEntry):
    """Something implausible about source or splits; ``accepted`` is the reason for which the recipe accepts it.

    ``count`` is the number of names that it is about, of which ``names`` holds the first.
    """

    kind: str
    message: str
    remedy: str
    names: list[str] = Field(default_factory=list)
    count: int = 0
    accepted: str | None = None
