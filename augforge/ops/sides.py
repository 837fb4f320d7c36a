"""The sides of a body in class and label names, and what a mirrored picture has to exchange.

Sides are anatomical: any reflection exchanges them, whichever axis it has, and a rotation does not. An upside-down
mirror image is a left-right mirror image that was turned by 180 degrees.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from augforge.errors import PlanError, nearest, shorten, some
from augforge.ops.sidenames import Pair, find_sides


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(name, str) for name in value)


def _check_form(value: Any) -> Any:
    if value != "none" and not (isinstance(value, list | tuple) and all(map(_is_pair, value))):
        raise ValueError(f"expected pairs of names, such as [[left-lung, right-lung]], or none; got {shorten(value)}")
    return value


Swap = Annotated[Literal["none"] | tuple[Pair, ...], BeforeValidator(_check_form)]
"""What a person says of sides: pairs of names, or that there is nothing to exchange."""
SHOWN = 8
"""Names or pairs that a message lists at most."""
_Pairs = tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a mirrored picture exchanges: pairs of classes and of labels; ``refusal`` says why none may be made.

    It is for names of a side without a counterpart: exchanging nothing would put them on the wrong side.
    """

    classes: _Pairs = ()
    labels: _Pairs = ()
    refusal: str = ""

    def __bool__(self) -> bool:
        return bool(self.classes or self.labels or self.refusal)

    def declared(self) -> dict[str, list[list[str]]]:
        """The pairs as ids hold them: nothing where nothing is exchanged, as in ids of earlier versions."""
        pairs = {"swap": self.classes, "swap_labels": self.labels}
        return {key: [list(pair) for pair in value] for key, value in pairs.items() if value}


@dataclass(frozen=True, slots=True)
class Sides:
    """Which class and label names stand for the two sides of a body.

    Attributes:
        stated: pairs that a person declared.
        found: pairs that were found by their names alone.
        neutral: names that a person declared to be no sides, whatever they look like.
        alone: names of a side that have no counterpart: they look like one, or a class map left their counterpart out.
    """

    stated: _Pairs = ()
    found: _Pairs = ()
    neutral: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sides:
        """The sides as a manifest or a run holds them."""
        stated, found = (tuple((left, right) for left, right in data[key]) for key in ("stated", "found"))
        return cls(stated, found, tuple(data["neutral"]), tuple(data.get("alone", ())))

    def to_json(self) -> dict[str, Any]:
        """`from_json` undone."""
        pairs = {key: [list(pair) for pair in getattr(self, key)] for key in ("stated", "found")}
        return {**pairs, "neutral": list(self.neutral), **({"alone": list(self.alone)} if self.alone else {})}

    @property
    def pairs(self) -> _Pairs:
        """All pairs."""
        return self.stated + self.found

    def complete(self, *tables: Sequence[str]) -> Sides:
        """The same with what the names of class and label tables themselves say, as far as nobody said it."""
        said = {*_names(self.pairs), *self.neutral}
        looks = [find_sides(tuple(name for name in table if name not in said)) for table in tables]
        pairs = tuple(dict.fromkeys(pair for each in looks for pair in each.pairs))
        found = _apart(pairs)  # a class and a label of one name may have counterparts that differ
        alone = [*(n for each in looks for n in each.alone), *_names(p for p in pairs if p not in found)]
        known = [name for name in self.alone if name not in _names(found) and any(name in table for table in tables)]
        return replace(self, found=(*self.found, *found), alone=tuple(dict.fromkeys([*known, *alone])))

    def override(self, swap: Swap | None, names: Sequence[str]) -> Sides:
        """The same after a person's word on ``names``, which overrules what was known of the names that it is about."""
        if swap is None:
            return self
        if swap == "none":
            return Sides(neutral=tuple(dict.fromkeys(names)))
        kept = self._without(_names(swap))
        return replace(kept, stated=(*kept.stated, *swap))

    def _without(self, names: Iterable[str]) -> Sides:
        gone = {*names}
        stated, found = (tuple(p for p in pairs if not gone & {*p}) for pairs in (self.stated, self.found))
        neutral, alone = (tuple(name for name in each if name not in gone) for each in (self.neutral, self.alone))
        return Sides(stated, found, neutral, alone)

    def among(self, names: Sequence[str]) -> Sides:
        """The pairs of which both are among the names."""
        stated, found = (tuple(p for p in pairs if {*p} <= {*names}) for pairs in (self.stated, self.found))
        return replace(self, stated=stated, found=found)

    def rename(self, rename: Callable[[str], str | None]) -> Sides:
        """The sides of names that became others, or none.

        What no longer says which two belong together is left out; a side whose counterpart became none is alone.
        """
        stated, found = (_apart(_renamed_pairs(pairs, rename)) for pairs in (self.stated, self.found))
        found = tuple(pair for pair in found if not {*pair} & {*_names(stated)})
        neutral = dict.fromkeys(new for name in self.neutral if (new := rename(name)) is not None)
        paired = _names((*stated, *found))
        lost = [rename(name) for pair in self.pairs for name, other in (pair, pair[::-1]) if rename(other) is None]
        alone = dict.fromkeys(new for new in (*lost, *map(rename, self.alone)) if new is not None)
        return Sides(
            stated,
            found,
            tuple(name for name in neutral if name not in paired),
            tuple(name for name in alone if name not in (*paired, *neutral)),
        )

    def unite(self, other: Sides) -> Sides:
        """The sides of both. Raises PlanError if they pair one name with two others."""
        pairs = dict.fromkeys((*self.pairs, *other.pairs))
        _check_apart(pairs, "sides")
        stated = tuple(pair for pair in pairs if pair in self.stated or pair in other.stated)
        neutral = dict.fromkeys(name for name in (*self.neutral, *other.neutral) if name not in _names(pairs))
        known = {*_names(pairs), *neutral}
        alone = dict.fromkeys(name for name in (*self.alone, *other.alone) if name not in known)
        return Sides(stated, tuple(pair for pair in pairs if pair not in stated), tuple(neutral), tuple(alone))


def check_pairs(swap: Swap | None, key: str) -> None:
    """Raise ValueError if pairs, which stand under ``key``, name a class twice."""
    if swap and swap != "none":
        _check_apart(swap, key, ValueError)


def _check_apart(pairs: Iterable[Pair], key: str, error: type[Exception] = PlanError) -> None:
    twice = sorted(name for name, count in Counter(_names(pairs)).items() if count > 1)
    if twice:
        raise error(f"{key} names {twice[0]!r} twice; expected each class in one pair")


def check_known(swap: Swap | None, classes: Sequence[str], labels: Sequence[str]) -> None:
    """Raise PlanError unless the names of each pair are two classes, or two labels."""
    for pair in () if swap is None or swap == "none" else swap:
        for name in pair:
            if name not in classes and name not in labels:
                kind = "class" if classes or not labels else "label"
                raise PlanError(f"the data has no {kind} '{name}'.{nearest(name, {*classes, *labels})}")
        if not any({*pair} <= {*table} for table in (classes, labels)):
            raise PlanError(f"'{pair[0]}' and '{pair[1]}' are a class and a label; expected two of a kind")


def exchange_of(swap: Swap | None, sides: Sides, classes: Sequence[str], labels: Sequence[str]) -> Exchange:
    """What a mirror exchanges: what ``swap`` says, or else the sides.

    Args:
        swap: of the step; it overrides the sides.
        sides: those of the data, complete.
        classes, labels: the tables.

    Raises:
        PlanError: names that the tables do not have.
    """
    check_known(swap, classes, labels)
    pairs = sides.pairs if swap is None else () if swap == "none" else swap
    of_classes, of_labels = (tuple(pair for pair in pairs if {*pair} <= {*table}) for table in (classes, labels))
    return Exchange(of_classes, of_labels, _refusal(sides) if swap is None and sides.alone else "")


def _refusal(sides: Sides) -> str:
    example, lone = pairs_as_yaml(sides.pairs or (("left-lung", "right-lung"),)), quoted(sides.alone[0])
    return (
        f"a mirror puts {some(sides.alone, SHOWN)} on the other side, and the data has no counterpart of that name. "
        f"Name the counterpart in the source, `sides: [[{lone}, OTHER]]`; or the pairs that are exchanged here, `swap: "
        f"{example}`; or say that nothing is to be exchanged: swap: none"
    )


def quoted(name: str) -> str:
    """A name as YAML has it in a list: in quotes if it would be read as something else, such as ``lung, left``."""
    return name if re.fullmatch(r"[^\W\d_][\w .()/+-]*", name) and not name.endswith(" ") else json.dumps(name)


def pairs_as_yaml(pairs: Sequence[Pair]) -> str:
    """Pairs as a recipe has them, the first ones of many."""
    shown = [f"[{quoted(left)}, {quoted(right)}]" for left, right in pairs[:SHOWN]]
    return f"[{', '.join([*shown, '...'] if len(pairs) > SHOWN else shown)}]"


def mirror_order(names: Sequence[str], pairs: Iterable[Pair]) -> list[int]:
    """For each name, the index of the one that takes its place in a mirrored picture; its own without a counterpart."""
    partner = {name: other for pair in pairs for name, other in (pair, pair[::-1])}
    return [names.index(partner[name]) if partner.get(name) in names else i for i, name in enumerate(names)]


def describe_pairs(pairs: Sequence[Pair]) -> str:
    """Pairs in a message, such as ``left-lung and right-lung``."""
    return some([f"{left} and {right}" for left, right in pairs], SHOWN)


def warn_of_found_sides(sides: Sides, who: str, otherwise: str) -> list[str]:
    """What to tell of pairs that only their names show to be sides; nothing if there are none.

    Args:
        sides: of the data.
        who: does it, such as ``data.online exchanges``.
        otherwise: how to say that nothing is to be exchanged.
    """
    if not sides.found:
        return []
    message = (
        f"{who} {describe_pairs(sides.found)} in mirrored pictures, which only their names show to be sides. "
        f"Declare them in the recipe's source, `sides: {pairs_as_yaml(sides.found)}`; or say {otherwise}"
    )
    return [message]


def _names(pairs: Iterable[Pair]) -> list[str]:
    return [name for pair in pairs for name in pair]


def _renamed_pairs(pairs: Iterable[Pair], rename: Callable[[str], str | None]) -> _Pairs:
    """Pairs under new names; two sides that became one class are no sides any more."""
    both = [(rename(left), rename(right)) for left, right in pairs]
    kept = [(left, right) for left, right in both if left is not None and right is not None and left != right]
    return tuple(dict.fromkeys(kept))


def _apart(pairs: _Pairs) -> _Pairs:
    """The pairs without those that share a name: classes were merged, and nobody knows which two belong together."""
    counts = Counter(_names(pairs))
    return tuple(pair for pair in pairs if counts[pair[0]] == counts[pair[1]] == 1)
