"""A console for text from files of others: no name reaches the terminal as a command to it.

A terminal obeys escape sequences: one in a file's name could clear the screen, forge output or change what is pasted.
Everything that augforge prints for people goes through this class.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from augforge.errors import visible
from augforge.report.tables import one_line


class SafeConsole(Console):
    """Rich's console, which prints each str or Text that it is given as one line, and control characters escaped.

    Blank lines before and after a text stay. Several lines are a renderable of their own: a table, a
    `augforge.report.tables.block`.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as `Console.print` does."""
        super().print(*(one_line(each) if isinstance(each, str | Text) else each for each in objects), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as `Console.render` does; what a tree, a progress bar or a table holds is escaped too."""
        for segment in super().render(renderable, options):
            safe = segment.text if segment.control else visible(segment.text, lines=True)
            yield segment if safe == segment.text else Segment(safe, segment.style)
