"""What every check is: a function that looks at a subject, and says what it found and what it could not look at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from polars.exceptions import PolarsError

from augforge import errors
from augforge.errors import AugforgeError, first_line

if TYPE_CHECKING:
    from augforge.checks.subject import Subject

_PLACE = re.compile(r"(?P<file>.+?):(?P<line>[0-9]+): (?P<message>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong.

    Attributes:
        kind: a stable name such as ``stale recipe``, for machines.
        message: the fact, for people.
        remedy: what to do about it.
        level: a ``warning`` is printed, and changes no exit code.
        file, line: where it is best mended, or shown; the line counts from 1.
        names: of the groups, samples, classes or files that it is about, all of them.
    """

    kind: str
    message: str
    remedy: str = ""
    level: Literal["error", "warning"] = "error"
    file: str | None = None
    line: int | None = None
    names: tuple[str, ...] = ()


Cause = Literal["absent", "undecided", "failed"]
CAUSES: dict[Cause, str] = {
    "absent": "the data it needs does not lie here",
    "undecided": "nothing but a build can tell, or another finding has to be mended first",
    "failed": "the data is here, but could not be read",
}
"""Why something was not checked."""


@dataclass(frozen=True, slots=True)
class NotChecked:
    """Something that could not be checked, and why."""

    reason: str
    cause: Cause = "absent"


Result = Finding | NotChecked


@dataclass(frozen=True, slots=True)
class Check:
    """A check: a name, and a function of a subject.

    Attributes:
        name: a stable name, one word.
        find: gives what is wrong, and what could not be checked; nothing, if all is fine. An AugforgeError or OSError
            that it raises means that the check failed.
        applies: whether there is anything to check of a subject.
        needs_dataset: whether it looks into the dataset, and so cannot do without.
    """

    name: str
    find: Callable[[Subject], Iterator[Result]]
    applies: Callable[[Subject], bool] = lambda subject: True
    needs_dataset: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one check of one subject."""

    check: str
    subject: str
    results: tuple[Result, ...]

    @property
    def findings(self) -> list[Finding]:
        """What is wrong."""
        return [each for each in self.results if isinstance(each, Finding)]

    @property
    def not_checked(self) -> list[NotChecked]:
        """What could not be checked."""
        return [each for each in self.results if isinstance(each, NotChecked)]


def perform(check: Check, subject: Subject) -> Outcome:
    """Perform a check; one that cannot go on is a result, too, and what it found before is kept."""
    results: list[Result] = []
    try:
        results += iter(check.find(subject)) if (reason := _why_not(check, subject)) is None else [reason]
    except AugforgeError as error:
        results.append(NotChecked(str(error), "failed"))
    except PolarsError as error:  # tables that are read, but hold what no build writes
        results.append(NotChecked(f"the tables of the dataset are damaged ({first_line(error)})", "failed"))
    except OSError as error:
        results.append(NotChecked(f"{error.filename or 'a file'}: {error.strerror or error}", "failed"))
    return Outcome(check.name, subject.name, tuple(results))


def _why_not(check: Check, subject: Subject) -> NotChecked | None:
    """Why there is nothing to look at for a check."""
    if not check.needs_dataset:
        return None
    if not subject.has_dataset:
        return NotChecked(f"the dataset does not lie at {subject.place}")
    return NotChecked("the dataset is damaged", "undecided") if subject.manifest is None else None


def visible(text: str) -> str:
    """Text of several lines in which control characters, which could command a terminal, are escaped."""
    return errors.visible(text, lines=True)


_ITEM = "  - "
"""How a problem begins in an error that lists several."""


def findings_of_error(error: AugforgeError, kind: str, remedy: str) -> Iterator[Finding]:
    """One finding for each problem of an error; what begins with ``file:line:`` is about that line."""
    for text in _problems(str(error)):
        place = _PLACE.fullmatch(text)
        if place is None:
            yield Finding(kind, text, remedy)
        else:
            yield Finding(kind, place["message"], remedy, file=place["file"], line=int(place["line"]))


def _problems(text: str) -> list[str]:
    """The problems that an error lists, as lines of a file or items below a head, with their further lines."""
    lines = text.splitlines()
    listed = any(line.startswith(_ITEM) for line in lines)
    found: list[str] = []
    for line in lines[1:] if listed and not lines[0].startswith(_ITEM) else lines:
        if not found or line.startswith(_ITEM) or (not listed and _PLACE.fullmatch(line)):
            found.append(line.removeprefix(_ITEM))
        else:
            found[-1] += f"\n{line}"
    return found
