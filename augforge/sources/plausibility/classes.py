"""Classes that nothing draws, names that look alike, and options that name what is not there."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from augforge.errors import nearest, some
from augforge.sample import IGNORE
from augforge.sources.listing import Finding
from augforge.sources.options import REST

NOT_DRAWN = "class drawn nowhere"
NOT_GIVEN = "label given to no image"
NAMES_ALIKE = "names alike"
CLASSES_ALIKE = "classes alike"
NO_SUCH_LABEL = "class_map without effect"
_SHOWN = 5


def find_undrawn(
    drawn: Mapping[str, int], images: int, classes: Sequence[str], labels: Sequence[str]
) -> Iterator[Finding]:
    """Classes that no annotation draws, and labels that no image has; ``drawn`` counts the images of each."""
    absent = [name for name in classes if not drawn.get(name) and name != IGNORE]
    if absent:
        yield Finding(
            NOT_DRAWN,
            f"{_subject('class', absent)} drawn in none of {images} images",
            "Correct source.classes or source.class_map, where null leaves a label out; or accept it, if the class is "
            "to stay in the table",
            tuple(absent),
        )
    absent = [name for name in labels if not drawn.get(name)]
    if absent:
        yield Finding(
            NOT_GIVEN,
            f"{_subject('label', absent)} given to none of {images} images",
            "Correct source.classes or source.class_map; or accept it, if the label is to stay in the table",
            tuple(absent),
        )


def _subject(word: str, names: Sequence[str]) -> str:
    """``class 'x' is``, ``classes x, y and 3 more are``."""
    if len(names) == 1:
        return f"{word} '{names[0]}' is"
    return f"{word}{'es' if word.endswith('s') else 's'} {some(names, _SHOWN)} are"


def find_alike(names: Iterable[str], kind: str, what: str) -> Iterator[Finding]:
    """Names that agree once case, spaces around them and the Unicode form do not count."""
    seen: dict[str, str] = {}
    pairs = [(other, name) for name in names if (other := seen.setdefault(folded(name), name)) != name]
    if pairs:
        one, other = pairs[0]
        more = f", and {len(pairs) - 1} more pairs are" if len(pairs) > 1 else ""
        yield Finding(
            kind,
            f"the {what} '{one}' and '{other}' differ only in case, spaces or accents' Unicode form{more}",
            "Rename one, or merge classes by source.class_map",
            tuple(dict.fromkeys(name for pair in pairs for name in pair)),
        )


def folded(name: str) -> str:
    """A name without what people overlook: case, spaces around it, and how accents are written."""
    if name.isascii():  # the usual case, and twice as fast
        return name.strip().lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


def find_unused_labels(class_map: Mapping[str, str | None], labels: Collection[str]) -> Iterator[Finding]:
    """Keys of ``class_map`` that name no label in the files."""
    unused = [key for key in class_map if key not in labels and key != REST]
    if unused:
        yield Finding(
            NO_SUCH_LABEL,
            f"source.class_map names {some([repr(key) for key in unused], _SHOWN)}, and no file has such a label",
            f"Correct the key, or take it out.{nearest(unused[0], labels)}",
            tuple(unused),
        )
