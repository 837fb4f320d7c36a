"""What the pixels of masks of one class tell: that they are probably not meant as they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from heapq import nsmallest
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from augforge.errors import SourceError
from augforge.sources.plausibility.classes import NOT_DRAWN, is_ground
from augforge.sources.raster.masks import one_class_pixels, palette_colours
from augforge.sources.raster.values import histogram
from augforge.sources.scan.images import parse_header, read_bytes
from augforge.sources.scan.scanning import Scan

MASK_LOOK = "look@1"
"""The kind of `mask_look` in a file cache; renamed when `mask_look` changes."""

_SAMPLED, _LEAST = 64, 8
"""How many masks of all classes together a listing decodes at most, and at least if there are so many."""

_ONE_IN, _PIXELS = 100, 1000
"""Of how many masks one is decoded beyond that, and how many pixels for each mask that is listed.

Decoding takes ten times as long as listing, so that it stays below a twentieth of it. What resizing did, it did to most
masks.
"""

_LARGE = 1 << 26
"""Pixels of a mask that is not decoded for its looks: its header may claim anything."""

_TRIED = 16
"""Masks of which the largest files are decoded: an empty mask shows nothing, and its file is small."""

MOST = 0.9
"""The share of a class's masks that makes it implausible."""
_LIGHT, _DARK = 192, 64

Looks = Mapping[str, Mapping[str, Any]]
"""The `mask_look` of each mask by its place."""


def mask_look(path: Path, threshold: int = 0) -> dict[str, Any] | None:
    """How a mask of one class looks, JSON-like; None if it cannot be decoded, which is reported when it is loaded.

    - ``levels``: the values that occur, at most 256 of them.
    - ``inside``, ``half``, ``pixels``: numbers of pixels above the threshold, above half of the largest value, and all.
    - ``framed``: whether the whole border is inside.
    - ``alpha``: whether its shape is in the alpha channel alone.
    - ``white_first``: whether a palette shows value 0 white, and all other values that occur dark.
    """
    try:
        data = read_bytes(path)
        header = parse_header(data, path)
        pixels, alpha = one_class_pixels(data, header, path)
        palette = palette_colours(data, path)
    except SourceError:
        return None
    counts = histogram(pixels)
    levels, inside = np.flatnonzero(counts), pixels > threshold
    return {
        "levels": levels[:256].tolist(),
        "inside": int(inside.sum()),
        "half": int(counts[levels[-1] // 2 + 1 :].sum()),
        "pixels": int(inside.size),
        "framed": bool(inside[[0, -1]].all() and inside[:, [0, -1]].all()),
        "alpha": len(levels) == 1 and alpha is not None and bool((alpha != alpha[0, 0]).any()),
        "white_first": palette is not None and shows_zero_white(palette, levels.tolist()),
    }


def shows_zero_white(palette: NDArray[np.uint8], levels: list[int]) -> bool:
    """Whether a palette shows value 0 white, and all other values that occur dark."""
    others = palette[[level for level in levels if 0 < level < len(palette)]]
    return bool(len(others) and palette[0].min() >= _LIGHT and others.max() <= _DARK)


def report_implausible_masks(
    scan: Scan, class_: str, masks: Mapping[str, str], sizes: Mapping[str, Any], threshold: int, classes: int = 1
) -> None:
    """Report findings about the masks of one class, of which a sample is decoded.

    Args:
        scan: gets the findings.
        class_: the class.
        masks: the place of each mask by the name of its sample.
        sizes: width and height, and more, of each readable mask by its place.
        threshold: values above it are inside.
        classes: how many classes share the masks that are decoded.
    """
    chosen = {place: name for name, place in _choose(scan, masks, sizes, classes)}
    looks = dict(sorted(_look_at(scan, chosen, threshold)))
    number = len(looks) if len(looks) == len(masks) else f"{len(looks)} sampled"
    of_values = [] if threshold else [_report_grey_levels, _report_several]
    for report in (*of_values, _report_alpha, _report_white_first, _report_filled, _report_empty):
        report(scan, class_, looks, f"{number} masks of {class_}")
    for place, look in looks.items():
        if look["inside"] == look["pixels"] and not _is_misread(look):
            scan.note_covered(chosen[place], class_)


def _look_at(scan: Scan, chosen: Mapping[str, str], threshold: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Place and `mask_look` of the masks that can be decoded: so few that threads would cost more than they save."""
    for place, name in chosen.items():
        try:
            look = scan.file_facts(
                scan.root / place, f"{MASK_LOOK} {threshold}", partial(mask_look, threshold=threshold)
            )
        except SourceError as error:
            scan.bad_sample(name, "broken mask", str(error))
            continue
        if look is not None:
            yield place, look


def _choose(scan: Scan, masks: Mapping[str, str], sizes: Mapping[str, Any], classes: int) -> Iterator[tuple[str, str]]:
    """Names and places of the masks to decode; of many those that the hashes of their names choose, the largest first.

    All classes share how many these are, but one of each is decoded, if it is not larger than all may be.
    """
    sound = [(name, place) for name, place in masks.items() if place in sizes]
    least = max(1, _LEAST // classes)
    most = max(least, min(_SAMPLED // classes, len(sound) // _ONE_IN))
    tried = nsmallest(max(most, _TRIED), sound, key=lambda item: (crc32(item[0].encode()), item))
    left = _PIXELS * len(sound)
    for number, (name, place) in enumerate(sorted(tried, key=lambda item: -_file_size(scan.root / item[1]))[:most]):
        own = sizes[place][0] * sizes[place][1]
        if own <= left or (number < least and own <= _LARGE):
            left -= own
            yield name, place


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it was read a moment ago, and whoever reads it again reports it
        return 0


def has_grey_levels(levels: list[int]) -> bool:
    """Whether the values of a mask of one class are more than two, and no numbers of objects, 1 to n."""
    inner = [level for level in levels if level]
    return len(inner) > 1 and not _are_numbers(levels)


def _are_numbers(levels: list[int]) -> bool:
    """Whether the values besides 0 are 1 to n, of classes or of objects, and more than one."""
    inner = [level for level in levels if level]
    return len(inner) > 1 and inner == list(range(1, len(inner) + 1))


def _is_misread(look: Mapping[str, Any]) -> bool:
    """Whether another finding says why all of a mask may be inside."""
    return bool(look["alpha"] or look["white_first"])


def _report_grey_levels(scan: Scan, class_: str, looks: Looks, masks: str) -> None:
    grey = [place for place, look in looks.items() if has_grey_levels(look["levels"])]
    if not grey:
        return
    worst = max(grey, key=lambda place: len(looks[place]["levels"]))
    inside, half = (sum(looks[place][key] for place in grey) for key in ("inside", "half"))
    scan.find(
        "grey levels in masks",
        f"{len(grey)} of {masks} hold more than one value besides 0, such as {worst} with "
        f"{_shown(looks[worst]['levels'])}: every value but 0 is inside, {inside} pixels where those above half of the "
        f"brightest are {half}",
        "masks that were resized or once JPEG need 'threshold: 127' (half of the brightest value)",
        grey,
    )


def _report_several(scan: Scan, class_: str, looks: Looks, masks: str) -> None:
    """Report values 1 to n: of objects, which are rightly united, or of classes, which should not be."""
    several = [place for place, look in looks.items() if _are_numbers(look["levels"])]
    if several:
        most = max(several, key=lambda place: len(looks[place]["levels"]))
        scan.find(
            "masks of several values",
            f"{len(several)} of {masks} hold more than one value besides 0, such as {most} with "
            f"{_shown(looks[most]['levels'])}, and all of them are {class_}",
            "if the values are classes, read the masks by format index-mask; if they number objects, accept it",
            several,
        )


def _report_empty(scan: Scan, class_: str, looks: Looks, masks: str) -> None:
    """Report a class of which no mask has a pixel, as of a threshold above all values."""
    if looks and not any(look["inside"] for look in looks.values()):
        brightest = max(look["levels"][-1] for look in looks.values())
        scan.find(
            NOT_DRAWN,
            f"class '{class_}' has no pixel in {masks}, whose largest value is {brightest}",
            "Correct source.threshold if it is set, or the masks; or leave the folder out by source.class_map",
            [class_],
        )


def _shown(levels: list[int]) -> str:
    """``37 (0, 1, 2, 3, 5, ...)``."""
    return f"{len(levels)} ({', '.join(map(str, levels[:5]))}{', ...' * (len(levels) > 5)})"


def _report_alpha(scan: Scan, class_: str, looks: Looks, masks: str) -> None:
    alpha = [place for place, look in looks.items() if look["alpha"]]
    if alpha:
        filled = sum(looks[place]["inside"] > 0 for place in alpha)
        meaning = "fills the image" if filled else "is nowhere"
        scan.find(
            "masks in the alpha channel",
            f"{len(alpha)} of {masks}, such as {alpha[0]}, show their shape in the alpha channel "
            f"alone, which is not read: {class_} {meaning} there",
            "export the masks as gray PNGs without transparency",
            alpha,
        )


def _report_white_first(scan: Scan, class_: str, looks: Looks, masks: str) -> None:
    turned = [place for place, look in looks.items() if look["white_first"]]
    if turned:
        inside, pixels = (sum(looks[place][key] for place in turned) for key in ("inside", "pixels"))
        scan.find(
            "palette with white first",
            f"{len(turned)} of {masks}, such as {turned[0]}, show value 0 white and the others "
            f"dark, but value 0 is outside: {class_} covers {100 * inside / pixels:.0f} % of them",
            "convert the masks to gray (their palettes applied), where white is 255 and inside",
            turned,
        )


def _report_filled(scan: Scan, class_: str, looks: Looks, masks: str) -> None:
    """Report a class that covers the border and most of nearly all its masks: probably its ground is white."""
    filled = [
        place
        for place, look in looks.items()
        if look["framed"] and 2 * look["inside"] > look["pixels"] and not _is_misread(look)
    ]
    if not filled or len(filled) < MOST * len(looks) or is_ground(class_):
        return
    inside, pixels = (sum(looks[place][key] for place in filled) for key in ("inside", "pixels"))
    scan.told_to_fill.add(class_)
    scan.find(
        "class fills its masks",
        f"{class_} covers the whole border of {len(filled)} of {masks}, such as {filled[0]}, and "
        f"{100 * inside / pixels:.0f} % of their pixels",
        "if the ground of the masks is white and the objects are dark, invert the masks",
        filled,
    )
