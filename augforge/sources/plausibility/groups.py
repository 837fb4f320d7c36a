"""Groups of one image each, although the names look like crops or frames of a smaller number of pictures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from augforge.errors import some
from augforge.sources.listing import Finding, Record

LONE_GROUPS = "groups of one image"
_STEM = r"(?P<stem>.*?[^-_. @])[-_. @]+"
_WORD = "(?P<word>crop|tile|patch|frame|slice|aug|part|view|copy)"
_CELL = r"(?:r|x|row)\d{1,5}[-_ ]?(?:c|y|col)\d{1,5}"
_SAID = re.compile(
    rf"(?:{_STEM})??{_WORD}?[-_ ]?(?:{_CELL}|(?(word)\d{{1,6}}(?:[-_x ]\d{{1,5}})?|(?!)))", re.IGNORECASE
)
"""A name that says that it is that of a part: ``scan7_crop_3``, ``frame_000031``, ``tile_512_1024``, ``A_r0_c3``."""
_NUMBERED = re.compile(rf"{_STEM}(?:img[-_ ]?)?\(?\d{{1,5}}\)?(?:[-_x ]\d{{1,5}})?", re.IGNORECASE)
"""A name that ends with a number: ``video12-00031``, ``p01 (3)``."""
_DATE = re.compile(r"(?<!\d)(?:19|20)\d\d(?:[-_.]?\d\d(?:[-_.]?\d\d)?)?$")
"""A year, or a day: pictures of one day, as phones name them, are no parts of one."""
_LEAST_STEMS = 3
_LEAST_PARTS = 4
"""Images that have to share a stem if fewer than `_LEAST_STEMS` are there."""
_SHOWN = 3


def find_stem(name: str) -> tuple[str, bool] | None:
    """What a sample's name says that it is a part of, such as ``clinic/scan7``; None if it does not look like a part.

    The second is whether the name says so by a word, or by row and column.

    A stem counts if a word says what the number is of (``wall_crop_3``, also ``frame_0007`` of a single video), if the
    number is that of a row and a column, or if it holds a digit itself (``p01_3``): plain numbers, as cameras give
    them (``IMG_0007``), say nothing of what belongs together, nor do dates, nor the name of the folder that the image
    lies in, which is that of its class (``n01440764/n01440764_10026``).
    """
    folder, _, base = name.rpartition("/")
    said, numbered = _SAID.fullmatch(base), _NUMBERED.fullmatch(base)
    if said is not None:
        return f"{folder}/{said['stem'] or said['word'] or ''}".strip("/"), True
    if numbered is None or not any(map(str.isdigit, stem := numbered["stem"])) or _DATE.search(stem):
        return None
    return None if stem == folder.rpartition("/")[2] else (f"{folder}/{stem}".lstrip("/"), False)


@dataclass
class LoneGroups:
    """Samples that are each a group of their own, though most names look like those of parts (`find_stem`)."""

    alone: bool = True
    samples: int = 0
    said: int = 0
    stems: Counter[str] = field(default_factory=Counter)

    def see(self, record: Record) -> None:
        """Take a sample in; after the first one that shares a group by its name, nothing more is looked at."""
        self.alone = self.alone and record.group == record.name
        if not self.alone:
            return
        self.samples += 1
        found = find_stem(record.name)
        if found is not None:
            self.stems[found[0]] += 1
            self.said += found[1]

    def findings(self) -> Iterator[Finding]:
        """The finding, if there is one."""
        shared = {stem: count for stem, count in self.stems.items() if count > 1}
        together = sum(shared.values())
        # A number behind one name is that of a device or a series; of one video or two, the names have to say so.
        sure = 2 * self.said > together >= _LEAST_PARTS * len(self.stems)
        few = len(self.stems) < _LEAST_STEMS and not sure
        if not self.alone or few or not shared or 2 * together < self.samples:
            return
        shown = some(sorted(shared), _SHOWN)
        pictures = f"{len(shared)} pictures, such as {shown}" if len(shared) > 1 else f"one picture or video, '{shown}'"
        yield Finding(
            LONE_GROUPS,
            f"each of {self.samples} images is a group of its own, but {together} of their names look like parts of "
            f"{pictures}, so parts of one may come into two splits",
            "Say what belongs together by source.group, such as `group: {regex: '(.*)[-_]'}`; or accept it, if each "
            "image stands alone",
            tuple(sorted(shared)),
        )
