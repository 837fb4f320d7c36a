"""How long-running work reports its progress to whoever displays it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A display of progress, such as a bar in the terminal."""

    def start(self, label: str, total: int) -> None:
        """Begin a new piece of work of ``total`` units; the one before is complete."""

    def advance(self, count: int) -> None:
        """Say that ``count`` more units are done."""


class Silent:
    """A `Progress` that displays nothing."""

    def start(self, label: str, total: int) -> None:
        """Do nothing."""

    def advance(self, count: int) -> None:
        """Do nothing."""
