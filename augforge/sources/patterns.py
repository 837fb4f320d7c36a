r"""Regular expressions of recipes: those of Python's `re`, but a search ends in time.

A recipe may come from somebody else, and an expression such as ``(a|aa)+b`` takes `re` longer than a life for some
names. So the package `regex` searches, which can stop after a while. It differs from `re` in what ``\w`` takes for
part of a word, which is evened out here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

MAX_LENGTH = 1000
"""Most characters of an expression."""
MAX_SIZE = 100_000
"""Most parts of an expression when each counted repeat, such as ``[0-9]{8}``, is written out."""
SECONDS = 0.5
"""Most time for a name; an ordinary expression needs some microseconds."""

_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(|\)|\{(\d*)(?:(,)(\d*))?\}|.", re.DOTALL)


def check_pattern(pattern: str) -> int:
    """Return the number of groups of a regular expression; ValueError if it is none, or too long or too large."""
    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"a regular expression of {len(pattern)} characters; expected at most {MAX_LENGTH}")
    try:
        groups = re.compile(pattern).groups
    except (re.error, OverflowError) as error:
        raise ValueError(f"'{pattern}' is no regular expression: {error}") from None
    except RecursionError:
        raise ValueError("a regular expression is nested too deeply; expected some levels of brackets") from None
    if _written_out(pattern) > MAX_SIZE:
        raise ValueError(
            f"'{pattern}' repeats too much; expected at most {MAX_SIZE} parts, each {{count}} written out. Use * or +"
        )
    _compile(pattern)
    return groups


def search(pattern: str, text: str, how: Literal["search", "fullmatch"] = "search") -> list[str | None] | None:
    """What the groups of an expression match in a text, the whole match first; None if it does not match.

    Raises:
        ValueError: the search takes too long.
    """
    find: Callable[..., Any] = getattr(_compile(pattern), how)
    try:
        found = find(_without_marks(text) if _looks_at_words(pattern) else text, timeout=SECONDS)
    except TimeoutError:
        raise ValueError(
            f"the regular expression '{pattern}' takes more than {SECONDS} s for the name '{text}'; expected one that "
            "is not ambiguous, with no repeat inside a repeat"
        ) from None
    if found is None:
        return None
    spans = [found.span(number) for number in range(found.re.groups + 1)]
    return [None if start < 0 else text[start:end] for start, end in spans]


@lru_cache(maxsize=256)
def _compile(pattern: str) -> Any:
    import regex  # only recipes that have an expression need it

    try:
        return regex.compile(pattern)
    except (regex.error, RecursionError) as error:
        raise ValueError(f"'{pattern}' is no regular expression: {error}") from None


def _without_marks(text: str) -> str:
    r"""The text with the characters replaced that ``\w`` takes for part of a word in `regex`, but not in `re`.

    These are combining marks, as in names from macOS, and connectors other than ``_``. The length stays the same.
    """
    if text.isascii():
        return text
    marks = dict.fromkeys(c for c in text if c != "_" and unicodedata.category(c) in _OTHER_WORDS)
    return text.translate({ord(mark): _PRIVATE + number for number, mark in enumerate(marks)})


_OTHER_WORDS = {"Mn", "Mc", "Me", "Pc"}
_PRIVATE = 0xE000
"""The first character for private use, which is part of no word."""


def _looks_at_words(pattern: str) -> bool:
    r"""Whether an expression has ``\w`` or the like, and no character or escape that may name a combining mark."""
    return pattern.isascii() and re.search(r"\\[wWbB]", pattern) is not None


def _written_out(pattern: str) -> int:
    """About how many parts an expression has when each counted repeat is written out."""
    sizes, last = [0], 0  # of the groups that are open, and of the part just read
    for token in _TOKEN.finditer(pattern):
        text = token.group()
        if text == "(":
            sizes.append(0)
            last = 0
        elif text == ")":
            last = sizes.pop() if len(sizes) > 1 else 0
            sizes[-1] += last
        elif text[0] == "{" and len(text) > 1 and any(character.isdigit() for character in text):
            counts = [int(count[:9]) for count in token.groups() if count and count.isdigit()]
            sizes[-1] += last * (max(counts) - 1)
            last *= max(counts)
        else:
            last = 1
            sizes[-1] += 1
    return sum(sizes)
