"""Composing YAML within limits: a small file must not stand for much data, or for a number that fills the memory."""

from __future__ import annotations

from typing import Any

from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.events import AliasEvent

MAX_DEPTH = 50
"""Most levels of lists and mappings inside one another."""
MAX_REPEATED = 100_000
"""Most values that aliases may repeat: ten lists of ten aliases each would be a billion."""
MAX_DIGITS = 100
"""Most characters of a number."""
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class LimitedComposer(Composer):
    """Composes the tree of a YAML file; what goes beyond a limit is an error with its line."""

    warn_double_anchors = False  # the last one counts, as YAML has it

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self._depth = 0
        self._count = 0  # of values so far, those that aliases repeat among them
        self._repeated = 0
        self._counts: dict[str, int] = {}  # of values below each anchor that is complete

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The node of the next event and all below it."""
        event = self.parser.peek_event()
        if isinstance(event, AliasEvent):
            self._count_repeated(event)
            return super().compose_node(parent, index)
        before = self._count
        self._count += 1
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _error(f"nested more than {MAX_DEPTH} levels deep; expected a flatter file", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if event.anchor is not None:
            self._counts[event.anchor] = self._count - before
        return node

    def compose_scalar_node(self, anchor: Any) -> Any:
        """The node of a plain value."""
        event = self.parser.peek_event()
        node = super().compose_scalar_node(anchor)
        if str(node.tag) in _NUMBERS and len(node.value) > MAX_DIGITS:
            raise _error(f"a number of {len(node.value)} characters; expected at most {MAX_DIGITS}", event)
        return node

    def _count_repeated(self, event: AliasEvent) -> None:
        count = self._counts.get(event.anchor, 0)
        if not count and event.anchor in self.anchors:
            raise _error(f"the alias '{event.anchor}' stands inside what it names; expected a plain value", event)
        self._count += count
        self._repeated += count
        if self._repeated > MAX_REPEATED:
            raise _error(f"aliases repeat more than {MAX_REPEATED} values; write out what is meant", event)


def _error(problem: str, event: Any) -> ComposerError:
    return ComposerError(None, None, problem, event.start_mark)
