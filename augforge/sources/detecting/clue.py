"""A clue: what speaks for a format, and the options with which the format may read a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Clue:
    """What speaks for a format.

    Attributes:
        format: its name.
        why: the fact that speaks for it, in a sentence without a full stop.
        options: of the source, besides format and path, with which it may read the folder.
        files: the annotation files that speak for it, relative to the folder; empty if that is its whole layout.
    """

    format: str
    why: str
    options: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
