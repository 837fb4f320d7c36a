"""How long work tells how far it is, to whoever shows it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Whoever shows how far long work is."""

    def start(self, label: str, total: int) -> None: ...
    def advance(self, count: int) -> None: ...


class Silent:
    """Shows nothing."""

    def start(self, label: str, total: int) -> None:
        pass

    def advance(self, count: int) -> None:
        pass
