"""Finding the data set, or several of them, at a place: a folder, or a file that stands for one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from augforge.cache.filecache import FileCache
from augforge.errors import SourceError, nearest
from augforge.sources.core import SOURCES
from augforge.sources.detecting.clue import Clue
from augforge.sources.detecting.glance import Glance
from augforge.sources.detecting.matching import Match, find_matches, try_clue
from augforge.sources.detecting.tabular import csv_clues
from augforge.sources.scan.likely import CLEAR
from augforge.sources.scan.own_splits import is_split_name

_CHILDREN, _DEPTH = 40, 3
_SHOWN = 3


@dataclass(frozen=True)
class Found:
    """What lies at a place.

    Attributes:
        place: the folder or file that was asked for.
        fitting: the formats that read it, the likeliest first; empty if it holds several data sets or none.
        others: formats that something speaks for, or that come nearest, with what stands in their way.
        sets: the data sets that it holds, each in a folder of its own, if they are several.
    """

    place: Path
    fitting: tuple[Match, ...]
    others: tuple[Match, ...] = ()
    sets: tuple[Match, ...] = ()

    @property
    def clear(self) -> bool:
        """Whether nobody needs to be asked which format is meant."""
        return len(self.fitting) == 1 or self.fitting[0].format in CLEAR - {other.format for other in self.fitting[1:]}


def find_sets(place: Path, cache: FileCache | None = None, format: str | None = None) -> Found:
    """Look at a folder, or at a file such as a COCO JSON, data.yaml or a table, and find what reads it.

    Args:
        place: the folder or file.
        cache: keeps facts of files.
        format: consider this format alone.

    Raises:
        SourceError: there is no such file or folder, it is empty, or there is no such format.
    """
    cache = cache or FileCache()
    if format is not None and format not in SOURCES:
        raise SourceError(f"there is no format '{format}'.{nearest(format, SOURCES)}")
    if not place.exists():
        raise SourceError(f"{place}: no such file or folder; expected one of annotated images. Check the path")
    if place.is_file():
        return _at_file(place, cache)
    if not Glance.at(place).places:
        raise SourceError(f"{place} holds no file; expected annotated images. Check the path")
    found = _at_folder(place, cache, format)
    if found.fitting or found.sets:
        return found
    return replace(found, others=tuple(_nearest(place, found.others, cache)))


def _at_folder(place: Path, cache: FileCache, format: str | None = None, depth: int = 0) -> Found:
    """What a folder holds; in its folders, if it is not read itself or if they are marked as different formats."""
    matches = find_matches(place, cache)
    if format is not None:
        named = [match for match in matches if match.format == format]
        matches = named or [try_clue(Clue(format, "it was asked for"), place, cache)]
    fitting = tuple(match for match in matches if match.fits)
    failed = tuple(match for match in matches if not match.fits)
    marked = {match.format for match in matches if match.format in CLEAR}
    if format is None and depth < _DEPTH and (not fitting or len(marked) > 1):
        sets = _sets_below(place, cache, depth)
        if len(sets) > 1:
            return Found(place, (), failed, tuple(sets))
        if sets and not fitting:
            return replace(_at_folder(sets[0].root, cache, depth=depth + 1), place=place)
    return Found(place, fitting, failed)


def _sets_below(place: Path, cache: FileCache, depth: int) -> list[Match]:
    """The data sets in the folders of a folder; splits and folders of images alone are none."""
    below = sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))[:_CHILDREN]
    found: list[Match] = []
    for folder in below:
        if len(below) == 1 or not is_split_name(folder.name):
            inner = _at_folder(folder, cache, depth=depth + 1)
            strong = [each for each in inner.fitting if len(below) == 1 or each.format != "image-folder"]
            found += inner.sets or strong[:1]
    return found


def _nearest(place: Path, tried: Sequence[Match], cache: FileCache) -> Iterable[Match]:
    """Three formats that come nearest to a folder that none reads, with what is missing."""
    known = {match.format for match in tried}
    more = [name for name in _usual_formats(Glance.at(place)) if name not in known]
    others = [try_clue(Clue(name, "its files have the usual suffixes"), place, cache) for name in more[:_SHOWN]]
    return [*tried, *(match for match in others if not match.fits)][:_SHOWN]


_BY_SUFFIX = {
    ".json": ("coco", "labelme"),
    ".txt": ("yolo",),
    ".xml": ("cvat", "datumaro"),
    ".csv": ("csv",),
    ".gz": ("volume",),
    ".nii": ("volume",),
    ".dcm": ("dicom",),
}


def _usual_formats(glance: Glance) -> list[str]:
    """Formats that use files of the suffixes that occur, then those of images and masks."""
    suffixes = dict.fromkeys(Path(place).suffix.lower() for place in glance.places)
    named = [name for suffix in suffixes for name in _BY_SUFFIX.get(suffix, ())]
    return [*dict.fromkeys([*named, "mask-folder", "index-mask", "image-folder"])]


def _at_file(path: Path, cache: FileCache) -> Found:
    """The data set that a file stands for: the folder beside which it lies, or the one above, read by that file."""
    tried = []
    for root in (path.parent, path.parent.parent):
        clue = _clue_of_file(path, root)
        if clue is None:
            break
        match = try_clue(clue, root, cache)
        if match.fits:
            return Found(path, (match,))
        tried.append(match)
    if not tried:
        raise SourceError(
            f"{path} is no annotation file that is known; expected a COCO .json, data.yaml, a CVAT .xml or a table "
            ".csv, or give the folder of the data"
        )
    return Found(path, (), tuple(tried[:1]))


def _clue_of_file(path: Path, root: Path) -> Clue | None:
    place, suffix = path.relative_to(root).as_posix(), path.suffix.lower()
    if suffix == ".json":
        shapes = '"shapes"' in Glance(root, (place,)).head(place)
        labelme, coco = Clue("labelme", f"{place} has LabelMe's shapes"), {"annotations": place}
        return labelme if shapes else Clue("coco", f"{place} was named", coco, (place,))
    if path.name == "manifest.yaml":
        return Clue("dataset", "manifest.yaml is that of a dataset")
    if suffix in (".yaml", ".yml"):
        return Clue("yolo", f"{place} was named", {} if place == "data.yaml" else {"data": place})
    if suffix == ".xml":
        return Clue("cvat", f"{place} was named", {"annotations": place})
    if suffix in (".csv", ".xlsx", ".parquet"):
        found = [clue for clue in csv_clues(Glance.at(root)) if clue.options.get("table") == place]
        return found[0] if found else Clue("csv", f"{place} was named", {"table": place})
    return None
