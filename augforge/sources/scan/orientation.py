"""EXIF orientation: whether the annotations of turned photos belong to the upright image, or to the pixels as stored.

Some labelling tools turn photos upright before they are annotated, others show them as they are stored. Where a photo
is turned by a quarter and is not square, the size that its annotation states, or the size of its mask, says which it
was. One such photo speaks for all that were annotated in the same file. Half turns and squares say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from augforge.errors import plural, some

if TYPE_CHECKING:
    from augforge.sources.scan.reporting import ScanReport

_SHOWN = 3


class Claim(NamedTuple):
    """What an annotation says of a photo that EXIF turns.

    Attributes:
        name: of the sample.
        size: width and height of the image that was annotated; None if the annotation states none.
        file: the place of the annotation file, whose images were all annotated in one way; "" if every image has its
            own, and all of the source count as one.
        drawn: whether anything is drawn in it.
    """

    name: str
    size: Sequence[int] | None
    file: str = ""
    drawn: bool = True


def as_stored(facts: Mapping[str, Any]) -> dict[str, Any]:
    """`image_facts` of a photo that is read without being turned upright."""
    width, height = facts["width"], facts["height"]
    size = {"width": height, "height": width} if facts["turn"] > 4 else {}
    return {**facts, **size, "as_stored": True}


def settle_orientation(
    scan: ScanReport,
    images: MutableMapping[str, Any],
    turned: Sequence[str],
    claim_of: Callable[[str], Claim | None],
) -> None:
    """With ``exif: auto``, change the facts of photos that were annotated as stored, and tell what is not certain.

    Args:
        scan: gets findings.
        images: facts of the images by their places.
        turned: places of the photos that EXIF turns.
        claim_of: what is known of a photo by its place; None if it is not annotated.
    """
    if getattr(scan.source, "exif", "apply") != "auto":
        return
    files: dict[str, dict[str, Claim]] = {}
    for place in turned:
        if place in images and (claim := claim_of(place)) is not None:
            files.setdefault(claim.file, {})[place] = claim
    for file, claims in sorted(files.items()):
        _settle_file(scan, images, f" of {file}" if file else "", claims)


def exif_hint(size: Sequence[int], image: Mapping[str, Any]) -> str:
    """The remedy for a photo that EXIF turns by a quarter, and whose annotation fits it in the other way.

    Without a turn width and height are exchanged: the sizes are stated in the wrong order, or the image was turned.
    """
    if [*size] != [image["height"], image["width"]]:
        return ""
    if image.get("turn", 1) <= 4:
        return " Width and height are exchanged: if the shapes fit the image, exchange the stated numbers."
    return f" EXIF turns it: set 'exif: {'apply' if 'as_stored' in image else 'ignore'}' if all were annotated so."


def _settle_file(scan: ScanReport, images: MutableMapping[str, Any], of: str, claims: Mapping[str, Claim]) -> None:
    fits = {place: _fit(claim, images[place]) for place, claim in claims.items()}
    stored, upright = ([place for place, fit in fits.items() if fit == which] for which in ("stored", "upright"))
    open_ones = [claim.name for place, claim in claims.items() if fits[place] is None and claim.drawn]
    for place in stored if upright else claims if stored else ():
        images[place] = as_stored(images[place])
    if stored and not upright:
        names = sorted(claim.name for claim in claims.values())
        _report_stored(scan, of, claims[stored[0]], names)
    elif stored:
        _report_both(scan, of, [claims[place].name for place in stored], len(upright))
        if open_ones:
            _report_open(scan, of, open_ones, "some others were annotated upright, and some as stored")
    elif open_ones and not upright:
        _report_open(scan, of, open_ones, "no size says whether they were annotated upright or as stored")


def _fit(claim: Claim, facts: Mapping[str, Any]) -> str | None:
    """Whether an annotation fits a photo only as ``stored`` or only ``upright``; None if it proves nothing."""
    upright = [facts["width"], facts["height"]]
    stored = upright[::-1] if facts["turn"] > 4 else upright
    if claim.size is None or upright == stored:
        return None
    return {tuple(upright): "upright", tuple(stored): "stored"}.get(tuple(claim.size))


def _report_stored(scan: ScanReport, of: str, proof: Claim, names: Sequence[str]) -> None:
    width, height = proof.size or (0, 0)
    scan.find(
        "EXIF orientation ignored",
        f"EXIF turns {plural(len(names), 'annotated photo')}{of}, but {proof.name} was annotated as it is stored, "
        f"with {width}x{height} pixels, so all of them were read as stored",
        "Set source.exif to ignore if that is right, or to apply if only the stated sizes are wrong",
        names,
    )


def _report_both(scan: ScanReport, of: str, stored: Sequence[str], upright: int) -> None:
    scan.find(
        "EXIF orientation ignored",
        f"EXIF turns {plural(len(stored) + upright, 'annotated photo')}{of}; by the sizes, {upright} were annotated "
        f"upright, but {some(sorted(stored), _SHOWN)} as stored, and each was read so",
        "Annotate all in one way, or accept it if the sizes are right",
        sorted(stored),
    )


def _report_open(scan: ScanReport, of: str, names: Sequence[str], reason: str) -> None:
    scan.find(
        "EXIF orientation not certain",
        f"EXIF turns {plural(len(names), 'annotated photo')}{of}, such as {some(sorted(names), _SHOWN)}, and "
        f"{reason}; they were read upright",
        "Look at one of them by augforge show, and set source.exif to apply or ignore",
        sorted(names),
    )
