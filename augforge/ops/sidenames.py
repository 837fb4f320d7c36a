"""Which names stand for the two sides of a body: found by the words and letters for left and right in them.

A name is cut into parts at everything that is no letter and no digit, where a small letter meets a capital, and where
letters meet digits: ``left-lung``, ``lung_L``, ``LeftLung`` and ``l.clavicle`` each have a part that names a side;
``leftover`` has none.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from unicodedata import normalize

Pair = tuple[str, str]
"""Two names that a mirror exchanges, the left one first."""

_OPPOSITE = {"left": "right", "right": "left", "l": "r", "r": "l"}
_BESIDE_SIDES = frozenset("lrbcm")
"""Letters that stand beside L and R: both, centre, middle. Any other letter there shows that letters are a count."""


@dataclass(frozen=True, slots=True)
class SideNames:
    """What names say of sides.

    Attributes:
        pairs: names that differ in left and right alone.
        alone: names of a side whose counterpart is not among the names.
    """

    pairs: tuple[Pair, ...] = ()
    alone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Name:
    """A name in parts: ``parts`` in small letters, where each begins, and whether a digit directly adjoins it."""

    text: str
    parts: tuple[str, ...]
    starts: tuple[int, ...]
    beside_digit: tuple[bool, ...]

    def without(self, place: int) -> tuple[str, ...]:
        """The name's parts with one left open, and numbers left open if that part adjoins one."""
        numbers = self.beside_digit[place]
        return tuple(
            "" if i == place else "0" if numbers and part.isdigit() else part for i, part in enumerate(self.parts)
        )


@lru_cache(maxsize=256)
def find_sides(names: tuple[str, ...]) -> SideNames:
    """Find the names that stand for sides, in pairs or without counterpart.

    Words (left, right) count as parts of names in any case, and run together with another word if the counterpart is
    there too. Letters (L, R) count if they are a part of their own and do not merely number things (S, M, L); directly
    beside a number (L1, R1) if both letters are.
    """
    known = [_cut(name) for name in names]
    shapes = _shapes(known)
    sides = {name.text: (name, places) for name in known if (places := _side_places(name, shapes))}
    partner = {text: _partner(name, places, known) for text, (name, places) in sides.items()}
    partner |= {text: other for text in names if text not in sides and (other := _run_together(text, names))}
    mutual = {name: other for name, other in partner.items() if other is not None and partner.get(other) == name}
    pairs = tuple((name, mutual[name]) for name in names if name in mutual and _is_left(name))
    alone = tuple(text for text, (name, places) in sides.items() if text not in mutual and _has_one_side(name, places))
    return SideNames(pairs, alone)


def _cut(text: str) -> _Name:
    composed = normalize("NFC", text)  # a combining accent is no letter, and would cut a word in two
    starts = [i for i, c in enumerate(composed) if c.isalnum() and (i == 0 or _begins_part(composed, i))]
    ends = [_end_of_part(composed, i) for i in starts]
    beside = [_is_digit(composed, i - 1) or _is_digit(composed, end) for i, end in zip(starts, ends, strict=True)]
    parts = tuple(composed[i:end].casefold() for i, end in zip(starts, ends, strict=True))
    return _Name(text, parts, tuple(starts), tuple(beside))


def _end_of_part(text: str, start: int) -> int:
    following = range(start + 1, len(text))
    return next((i for i in following if not text[i].isalnum() or _begins_part(text, i)), len(text))


def _begins_part(text: str, i: int) -> bool:
    before, here, after = text[i - 1], text[i], text[i + 1 : i + 2]
    if not before.isalnum() or before.isdigit() != here.isdigit():
        return True
    return here.isupper() and (before.islower() or (before.isupper() and after.islower()))


def _is_digit(text: str, i: int) -> bool:
    return 0 <= i < len(text) and text[i].isdigit()


def _shapes(names: Iterable[_Name]) -> Mapping[tuple[str, ...], set[str]]:
    """The parts that stand at the open place of each shape."""
    found: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for name in names:
        for place, part in enumerate(name.parts):
            found[name.without(place)].add(part)
    return found


def _side_places(name: _Name, shapes: Mapping[tuple[str, ...], set[str]]) -> tuple[int, ...]:
    """Which parts of a name stand for a side."""

    def is_side(place: int, part: str) -> bool:
        beside = shapes[name.without(place)]
        letters = {each for each in beside if len(each) == 1 and each.isalpha()}
        counts = bool(letters - _BESIDE_SIDES)
        return part in _OPPOSITE and (
            len(part) > 1 or ({"l", "r"} <= letters if name.beside_digit[place] else not counts)
        )

    return tuple(place for place, part in enumerate(name.parts) if is_side(place, part))


def _partner(name: _Name, places: Sequence[int], known: Iterable[_Name]) -> str | None:
    """The counterpart of a name: as it is written, or else the only one that differs from it in case and separators."""
    parts = tuple(_OPPOSITE[part] if i in places else part for i, part in enumerate(name.parts))
    found = [other.text for other in known if other.parts == parts]
    same = [other.text for other in known if other.parts == name.parts]
    exact = [text for text in found if _separators(text, parts) == _separators(name.text, name.parts)]
    return exact[0] if len(exact) == 1 else found[0] if len(found) == len(same) == 1 else None


def _separators(text: str, parts: Sequence[str]) -> list[object]:
    """What is left of a name without its parts: separators, and which parts begin with a capital or are capitals."""
    composed = normalize("NFC", text)
    words = [composed[i : i + len(part)] for i, part in zip(_cut(text).starts, parts, strict=True)]
    return [re.sub(r"[^\W_]+", "x", composed), [(word[:1].isupper(), word.isupper()) for word in words]]


def _run_together(text: str, names: Sequence[str]) -> str | None:
    """The counterpart of a name in which left or right is run together with other words, if there is exactly one."""
    folded = text.casefold()
    mirrored = re.sub("left|right", lambda found: _OPPOSITE[found.group()], folded)
    if mirrored == folded:
        return None
    found = [name for name in names if name.casefold() == mirrored]
    return found[0] if len(found) == 1 else None


def _has_one_side(name: _Name, places: Sequence[int]) -> bool:
    """Whether a name stands for one side; what names both, such as left-and-right-lung, lies on both."""
    return len({name.parts[place][0] for place in places}) == 1


def _is_left(text: str) -> bool:
    """Whether the first side in a name is left; it has one."""
    parts = [part for part in _cut(text).parts if part in _OPPOSITE]
    found = parts[0] if parts else re.search("left|right", text.casefold())
    return (found if isinstance(found, str) else found.group() if found else "").startswith("l")
