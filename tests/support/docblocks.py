"""The code blocks of Markdown files, and what the comments before them tell the tests.

A block begins with a fence that names its language, or is indented by four spaces. Comments that readers don't see, on
lines of their own right before a block, say how it is tested:

    <!-- test: skip, needs a GPU -->                  it does not run; the reason is required
    <!-- test: slow -->                               it runs with `-m slow` alone
    <!-- test: module augforge.ops.gain -->           Python that others import by this name
    <!-- test: first                                  lines to put before the block
    augforge build recipes/minimal.yaml
    -->
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MARKS = ("skip", "slow", "module", "first")
_FENCE = re.compile(r"( *)(`{3,}|~{3,})(.*)")
_MARK = re.compile(r"<!-- *test: *(?P<word>\w+),?(?P<rest>.*?)-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        place: ``README.md:12``, the line of its first line of code, from 1.
        language: what its fence says; empty for an indented block.
        text: its code, without the indentation of the block.
        marks: by their word, what the comments before it say.
    """

    place: str
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def code(self) -> str:
        """What is run: the set-up, then the block."""
        return f"{self.marks.get('first', '')}\n{self.text}" if "first" in self.marks else self.text


def blocks_of(path: Path, name: str | None = None) -> list[Block]:
    """All blocks of a file, in order. ValueError for a mark that no test knows, or that stands before no block."""
    return list(_Reader(path.read_text(encoding="utf-8"), name or path.name).blocks())


class _Reader:
    def __init__(self, text: str, name: str) -> None:
        self.lines, self.name = text.splitlines(), name
        self.marks: dict[str, str] = {}

    def blocks(self) -> Iterator[Block]:
        i = 0
        while i < len(self.lines):
            line = self.lines[i]
            if line.lstrip().startswith("<!--"):
                i = self._comment(i)
            elif fence := _FENCE.fullmatch(line):
                block, i = self._fenced(i, fence)
                yield block
            elif line.startswith("    ") and (i == 0 or not self.lines[i - 1].strip()):
                block, i = self._indented(i)
                yield block
            else:
                self._prose(i, line)
                i += 1
        self._prose(i, "the end")

    def _prose(self, i: int, line: str) -> None:
        if line.strip() and self.marks:
            raise ValueError(f"{self.name}:{i + 1}: {self.marks} stands before no code block")

    def _comment(self, start: int) -> int:
        """Read a comment and keep what it says for the block that follows; the line after it."""
        end = next(i for i in range(start, len(self.lines)) if "-->" in self.lines[i])
        mark = _MARK.match("\n".join(self.lines[start : end + 1]).lstrip())
        if mark is not None:
            word, rest = mark["word"], mark["rest"].strip()
            if word not in MARKS or (word == "slow") == bool(rest):
                raise ValueError(f"{self.name}:{start + 1}: expected one of {MARKS}, all but slow with a text")
            self.marks[word] = rest
        return end + 1

    def _fenced(self, start: int, fence: re.Match[str]) -> tuple[Block, int]:
        indent, ticks, language = fence.groups()
        end = next(i for i in range(start + 1, len(self.lines)) if self.lines[i].strip() == ticks)
        text = "\n".join(line[len(indent) :] for line in self.lines[start + 1 : end])
        return self._block(start + 1, language.strip(), text), end + 1

    def _indented(self, start: int) -> tuple[Block, int]:
        end = start
        while end < len(self.lines) and (self.lines[end].startswith("    ") or not self.lines[end].strip()):
            end += 1
        text = "\n".join(line[4:] for line in self.lines[start:end]).rstrip()
        return self._block(start, "", text), end

    def _block(self, i: int, language: str, text: str) -> Block:
        marks, self.marks = self.marks, {}
        return Block(f"{self.name}:{i + 1}", language, text, marks)
