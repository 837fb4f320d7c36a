"""Classes that nothing draws, names that look alike, and options that name what is not there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from augforge.errors import nearest, some
from augforge.sample import IGNORE
from augforge.sources.listing import Finding
from augforge.sources.looks import as_it_looks, as_spoken
from augforge.sources.options import REST

NOT_DRAWN = "class drawn nowhere"
NOT_GIVEN = "label given to no image"
LONE_LABEL = "one label for all images"
NAMES_ALIKE = "names alike"
CLASSES_ALIKE = "classes alike"
NO_SUCH_LABEL = "class_map without effect"
COVERS = "class in every pixel"
_GROUNDS = frozenset({"background", "bg", "ground", "unlabeled", "unlabelled", "void", "ignore"})
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


def find_lone_label(drawn: Mapping[str, int], images: int, labels: Sequence[str]) -> Iterator[Finding]:
    """A label that is the only one and that every image has, as of a folder of images that is taken for a class."""
    if len(labels) == 1 and images > 1 and drawn.get(labels[0]) == images:
        yield Finding(
            LONE_LABEL,
            f"each of {images} images has the label '{labels[0]}', and there is no other, so nothing tells them apart",
            "Correct source.path if that is no class, or list all classes in source.classes; or accept it",
            (labels[0],),
        )


def _subject(word: str, names: Sequence[str]) -> str:
    """``class 'x' is``, ``classes x, y and 3 more are``."""
    if len(names) == 1:
        return f"{word} '{names[0]}' is"
    return f"{word}{'es' if word.endswith('s') else 's'} {some(names, _SHOWN)} are"


def find_alike(names: Iterable[str], kind: str, what: str) -> Iterator[Finding]:
    """Names that agree once case, spaces around them and the Unicode form do not count."""
    seen: dict[str, str] = {}
    pairs = [(other, name) for name in names if (other := seen.setdefault(as_spoken(name), name)) != name]
    if pairs:
        one, other = pairs[0]
        more = f", and {len(pairs) - 1} more pairs are" if len(pairs) > 1 else ""
        yield Finding(
            kind,
            f"the {what} '{one}' and '{other}' differ only in case, spaces or accents' Unicode form{more}",
            "Rename one, or merge classes by source.class_map",
            tuple(dict.fromkeys(name for pair in pairs for name in pair)),
        )


def find_unused_labels(class_map: Mapping[str, str | None], labels: Collection[str]) -> Iterator[Finding]:
    """Keys of ``class_map`` that name no label in the files."""
    yield from find_unused_names("class_map", [key for key in class_map if key != REST], labels)


def find_unused_names(option: str, wanted: Iterable[str], found: Collection[str]) -> Iterator[Finding]:
    """Names that an option of the source gives, and that no label in the files has."""
    looks = {*map(as_it_looks, found)}
    unused = [name for name in wanted if as_it_looks(name) not in looks]
    if unused:
        yield Finding(
            NO_SUCH_LABEL if option == "class_map" else f"{option} without effect",
            f"source.{option} names {some([repr(name) for name in unused], _SHOWN)}, and no file has such a label",
            f"Correct the key, or take it out.{nearest(unused[0], found)}",
            tuple(unused),
        )


def find_covering(covered: Mapping[str, Sequence[str]], images: int) -> Iterator[Finding]:
    """Classes that cover every pixel of images, whose names are given by class; a ground is expected to."""
    for class_, names in sorted(covered.items()):
        if names and not is_ground(class_):
            yield Finding(
                COVERS,
                f"class '{class_}' covers every pixel of {len(names)} of {images} images, such as {min(names)}",
                "Look at one of them by augforge show: if it is the ground, or masks are inverted, correct that; or "
                "accept it, if the class fills the picture",
                (class_,),
            )


def is_ground(class_: str) -> bool:
    """Whether a class is named as what fills an image."""
    return class_.casefold().strip("_") in _GROUNDS
