"""What the shapes of all images say together: cut at the border, given in shares, or left out since they are empty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from augforge.sources.listing import Finding
from augforge.sources.raster.outlines import TOLERANCE, reach_of

CUT = "shapes outside the image"
SHARES = "coordinates within 0 to 1"
DROPPED = "polygons of one or two points dropped"


@dataclass(slots=True)
class _Rings:
    """The rings of the images that one file annotates, or of all images with a file of their own.

    Attributes:
        count, within_one, fractions: as in `Outlines`.
        suspects: names of the images whose rings all lie within 0 to 1.
        largest: width and height of the largest image with rings.
    """

    count: int = 0
    within_one: int = 0
    fractions: int = 0
    suspects: list[str] = field(default_factory=list)
    largest: tuple[int, int] = (0, 0)

    def see(self, name: str, counts: Sequence[int], size: tuple[int, int]) -> None:
        count, within_one, fractions = counts
        self.count += count
        self.within_one += within_one
        self.fractions += fractions
        self.largest = max(self.largest, size)
        if fractions and count == within_one and max(size) > 2:
            self.suspects.append(name)

    @property
    def are_shares(self) -> bool:
        return bool(self.fractions) and self.count == self.within_one and max(self.largest) > 2


@dataclass(slots=True)
class OutlineCensus:
    """What `Outlines` say of each image, taken in while records are made.

    Attributes:
        cut: for each image of which shapes are cut: the place of its annotation, and by how many pixels each reaches
            out.
        dropped: how many polygons were left out of each image.
        rings: of each file that annotates several images, by its place; those of all others by "".
    """

    cut: dict[str, tuple[str, list[float]]] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    rings: dict[str, _Rings] = field(default_factory=dict)

    def see(self, name: str, place: str, outlines: Mapping[str, Any], image: Mapping[str, Any], shared: bool) -> None:
        """Take in the `Outlines.facts` of an image; ``shared`` says that the file annotates other images too."""
        size = (image["width"], image["height"])
        reaches = [reach for box in outlines["leaving"] if (reach := reach_of(box, size)) > TOLERANCE]
        if reaches:
            self.cut[name] = (place, reaches)
        if outlines["dropped"]:
            self.dropped[name] = outlines["dropped"]
        if outlines["rings"][0]:
            self.rings.setdefault(place if shared else "", _Rings()).see(name, outlines["rings"], size)

    def errors(self, root: Path) -> Iterator[str]:
        """Messages of annotations that cannot be meant as they are read: shares of the size where pixels have to be."""
        for place, rings in self.rings.items():
            if rings.are_shares:
                yield (
                    f"{root / place if place else root}: all coordinates of its {rings.count} polygons lie within 0 to "
                    f"1, while its images have up to {rings.largest[0]}x{rings.largest[1]} pixels; expected pixels. "
                    "Multiply each x by the width and each y by the height of its image, or export it again."
                )

    def findings(self, bad: Collection[str]) -> Iterator[Finding]:
        """What was found of the images that are not bad samples."""
        cut = {name: found for name, found in self.cut.items() if name not in bad}
        if cut:
            yield _cut_finding(cut)
        suspects = [n for rings in self.rings.values() if not rings.are_shares for n in rings.suspects if n not in bad]
        if suspects:
            yield Finding(
                SHARES,
                f"all coordinates in {len(suspects)} images, such as {min(suspects)}, lie within 0 to 1, so that their "
                "shapes lie in the first pixel, while others are given in pixels",
                "Multiply each x by the width and each y by the height of the image, if they are shares of its size",
                tuple(sorted(suspects)),
            )
        dropped = {name: count for name, count in self.dropped.items() if name not in bad}
        if dropped:
            yield Finding(
                DROPPED,
                "Polygons of fewer than 3 distinct points, which enclose nothing, were left out by drop_degenerate: "
                f"{sum(dropped.values())} in {len(dropped)} images, such as {min(dropped)}",
                "Correct the annotations if they stand for objects",
                tuple(sorted(dropped)),
            )


def _cut_finding(cut: Mapping[str, tuple[str, Sequence[float]]]) -> Finding:
    reaches = [reach for _, reaches in cut.values() for reach in reaches]
    one = len(reaches) == 1
    return Finding(
        CUT,
        f"{len(reaches)} shape{'' if one else 's'} in {len(cut)} image{'s' * (len(cut) != 1)} reach{'es' * one} out of "
        f"the image, by up to {max(reaches):.3g} pixels, and {'was' if one else 'were'} cut at it, such as in "
        f"{min(place for place, _ in cut.values())}",
        "Correct the labels if they belong to other images; or accept it, if objects reach beyond the picture",
        tuple(sorted(cut)),
    )
