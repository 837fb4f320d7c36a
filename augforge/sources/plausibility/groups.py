"""Groups of one image each, although the names look like crops or frames of a smaller number of pictures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from augforge.errors import some
from augforge.sources.listing import Finding, Record

LONE_GROUPS = "groups of one image"
_PART = re.compile(
    r"^(?P<stem>.*?[^-_. @])[-_. @]+(?:(?P<word>crop|tile|patch|frame|slice|aug|part|view|copy|img)[-_ ]?)?"
    r"(?:\(?\d{1,5}\)?)(?:[-_x ]\d{1,5})?$",
    re.IGNORECASE,
)
"""A name that ends with the number of a part: ``scan7_crop_3``, ``video12-00031``, ``tile_512_1024``."""
_LEAST_STEMS = 3
_SHOWN = 3


@dataclass
class LoneGroups:
    """Samples that are each a group of their own, though most names share what stands before a number at their end.

    A stem counts if it holds a digit itself (``p01_3``) or if a word says what the number is of (``wall_crop_3``):
    plain numbers, as cameras give them (``IMG_0007``), say nothing of what belongs together.
    """

    alone: bool = True
    samples: int = 0
    stems: Counter[str] = field(default_factory=Counter)

    def see(self, record: Record) -> None:
        """Take a sample in; after the first one that shares a group by its name, nothing more is looked at."""
        self.alone = self.alone and record.group == record.name
        if not self.alone:
            return
        self.samples += 1
        found = _PART.match(record.name)
        if found and (found["word"] or any(map(str.isdigit, found["stem"]))):
            self.stems[found["stem"]] += 1

    def findings(self) -> Iterator[Finding]:
        """The finding, if there is one."""
        shared = {stem: count for stem, count in self.stems.items() if count > 1}
        together = sum(shared.values())
        if not self.alone or len(self.stems) < _LEAST_STEMS or not shared or 2 * together < self.samples:
            return
        yield Finding(
            LONE_GROUPS,
            f"each of {self.samples} images is a group of its own, but {together} of their names look like parts of "
            f"{len(shared)} pictures, such as {some(sorted(shared), _SHOWN)}, so parts of one may come into two splits",
            "Say what belongs together by source.group, such as `group: {regex: '(.*)[-_]'}`; or accept it, if each "
            "image stands alone",
            tuple(sorted(shared)),
        )
