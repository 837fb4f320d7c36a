"""Trying formats on a folder: each clue is tested by a listing, and what stands in its way is put right or told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from augforge.cache.filecache import FileCache
from augforge.errors import AugforgeError, first_line
from augforge.sources.core import SOURCES, Source
from augforge.sources.detecting.clue import Clue
from augforge.sources.detecting.clues import find_clues
from augforge.sources.detecting.glance import Glance
from augforge.sources.listing import Listing

Options = Mapping[str, Any]

_REMEDIES: dict[str, tuple[Options, ...]] = {
    "coco": ({"boxes": "rectangle"}, {"drop_degenerate": True}, {"images": "."}),
    "yolo": ({"boxes": "rectangle"}, {"drop_degenerate": True}),
    "labelme": ({"drop_degenerate": True}, {"line_width": 3.0, "point_width": 5.0}),
    "cvat": ({"drop_degenerate": True},),
    "hand-bone": ({"drop_degenerate": True},),
    "datumaro": ({"boxes": "rectangle"}, {"crowd": "class"}),
    "index-mask": (
        {"missing_mask": "unlabelled"},
        {"values": {255: "object"}},
        {"classes": ["object"], "threshold": 127},
        {"colors": "voc"},
        {"colors": "cityscapes"},
    ),
    "mask-folder": ({"threshold": 127},),
    "volume": ({"missing_labels": "unlabelled"}, {"labels": None}),
    "dicom": ({"masks": None},),
}
"""Options with which a format reads what it refuses by default, tried one after the other, then together."""

_BY_FINDING: Mapping[str, tuple[str, Options]] = {
    "masks that number objects": ("index-mask", {"instances": True, "classes": ["object"]}),
    "images are transposed": ("mnist-idx", {"transposed": True}),
}
"""Kinds of findings that tell of an option that is needed, by the format that has it."""

REJECT: Options = {"on_error": "reject"}


@dataclass(frozen=True)
class Match:
    """A format with the options that read a folder, or with what stands in the way.

    Attributes:
        format: its name.
        root: the folder.
        why: what speaks for the format.
        options: of the source, besides format and path.
        listing: what the folder holds, read with these options; None if it cannot be read.
        problem: why it cannot be read; empty if it can.
    """

    format: str
    root: Path
    why: str
    options: Options = field(default_factory=dict)
    listing: Listing | None = None
    problem: str = ""

    @property
    def fits(self) -> bool:
        """Whether the folder can be read."""
        return self.listing is not None


def find_matches(root: Path, cache: FileCache) -> list[Match]:
    """The formats that something in a folder speaks for, each tried: those that fit first, the clearest first of them.

    Args:
        root: the folder.
        cache: keeps facts of files between the tries.
    """
    best: dict[str, Match] = {}
    for clue in find_clues(Glance.at(root)):
        before = best.get(clue.format)
        if clue.format in SOURCES and (before is None or not before.fits):
            tried = try_clue(clue, root, cache)
            best[clue.format] = before if before is not None and not tried.fits else tried
    if any(match.fits for match in best.values()):
        best.pop("image-folder" if _is_fallback(best) else "", None)
    return sorted(best.values(), key=lambda match: not match.fits)


def _is_fallback(found: Mapping[str, Match]) -> bool:
    """Whether images in folders are explained better by another format that fits."""
    return any(match.fits for name, match in found.items() if name != "image-folder")


def try_clue(clue: Clue, root: Path, cache: FileCache) -> Match:
    """List a folder as a clue says; if it is refused, with the options that may put this right."""
    found, problem = read_with(clue.format, root, clue.options, cache)
    plain = Match(clue.format, root, clue.why, clue.options, found, problem)
    if found is not None:
        return _heed_findings(plain, found, cache)
    if "pip install" in problem:
        return plain
    for more in _remedies(clue.format):
        listing, _ = read_with(clue.format, root, {**clue.options, **more}, cache)
        if listing is not None:
            return replace(plain, options={**clue.options, **more}, listing=listing, problem="")
    return plain


def _heed_findings(match: Match, found: Listing, cache: FileCache) -> Match:
    """The match with options that its findings ask for, if it can be read with them."""
    wanted = [_BY_FINDING.get(finding.kind, ("", {})) for finding in found.all_findings]
    more = {key: value for format, options in wanted if format == match.format for key, value in options.items()}
    options = {**match.options, **more}
    listing = read_with(match.format, match.root, options, cache)[0] if more else None
    return match if listing is None else replace(match, options=options, listing=listing)


def _remedies(format: str) -> Iterator[Options]:
    each = _REMEDIES.get(format, ())
    yield from each
    together = {key: value for more in each[:2] for key, value in more.items()}
    if len(each) > 1:
        yield together
    yield REJECT
    if each:
        yield {**together, **REJECT}


def read_with(format: str, root: Path, options: Options, cache: FileCache) -> tuple[Listing | None, str]:
    """The listing of a folder, or why there is none: it is refused, holds no sample, or more is refused than read."""
    try:
        source: Source = SOURCES[format].model_validate({"format": format, "path": str(root), **options})
        listing = source.scan(cache)
    except AugforgeError as error:
        return None, str(error)
    except ValidationError as error:
        return None, first_line(error)
    rejects = options.get("on_error") == "reject"
    if not len(listing.records):
        return None, f"{root} holds no sample of this format"
    if rejects and len(listing.refused) > len(listing.records):
        return None, f"{root}: {len(listing.refused)} samples are refused, and {len(listing.records)} can be read"
    if not listing.classes and not listing.labels:
        return None, f"{root} names no class"
    return listing, ""
