"""What a COCO source reports of its annotation files as a whole: warnings, findings, and errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from augforge.errors import plural, some
from augforge.sample import IGNORE
from augforge.sources.formats.coco.boxes import BoxCounts
from augforge.sources.formats.coco.layout import AnnotatedImage, AnnotationFile
from augforge.sources.options import Crowd
from augforge.sources.plausibility.leaving import FILES_ASIDE
from augforge.sources.scan.mismatches import report_mismatched
from augforge.sources.scan.scanning import Scan

_FEW = 0.05
"""The share of annotations from which on something is no slip of a few."""
_MOST, _MANY = 0.9, 0.2
"""Shares of drawn boxes: of which most fit as corners while many reach out of the image as they are."""


def report_left_files(scan: Scan, read: Sequence[str], left: Sequence[str]) -> None:
    """Tell of annotation files that are not read."""
    if left:
        scan.find(
            FILES_ASIDE,
            f"{some(left)} {'is' if len(left) == 1 else 'are'} not read, since {some(read)} "
            f"{'is' if len(read) == 1 else 'are'} named instances",
            "Move away what is not needed, or name the file to read in source.annotations",
            left,
        )


def report_orphans(scan: Scan, file: AnnotationFile) -> None:
    """Report annotations of images that the file does not list as bad samples."""
    for key, count in file.facts["orphans"]:
        fact = f"{scan.root / file.place}: image_id {key} of {count} annotations is none of images"
        scan.bad_sample(f"image_id {key}", "no image", f"{fact}. Add the image there, or remove them.")


def find_mismatched(scan: Scan, annotated: Mapping[str, AnnotatedImage]) -> set[str]:
    """Names of the images without annotation in files that have annotations of no image, which may be theirs."""
    bare = {place: file for place, (file, facts) in annotated.items() if not facts["annotated"]}
    names = {file.sample_name(place) for place, file in bare.items() if file.facts["orphans"]}
    report_mismatched(scan, names)
    return names


def report_phantoms(scan: Scan, labels: Iterable[str]) -> None:
    """Tell of categories 0 that are left out."""
    for label in labels:
        scan.find(
            "phantom class left out",
            f"category 0, '{label}', is the supercategory of all others and no annotation uses it, as Roboflow writes "
            "it, so it is no class",
            f"List '{label}' in source.classes, or map it by source.class_map, if it is one",
            [label],
        )


def report_unlabelled_files(scan: Scan, files: Sequence[AnnotationFile]) -> None:
    """Warn of files without any annotation."""
    meaning = "unlike other files; its images are unlabelled" if len(files) > 1 else "so all its images are empty"
    places = [file.place for file in files if not file.facts["annotated"]]
    scan.warnings += [f"{place} holds no annotation, {meaning}" for place in places]


def check_crowds(scan: Scan, files: Sequence[AnnotationFile], crowd: Crowd | None) -> None:
    """Warn of crowds that become `ignore` by default.

    It is an error if a category has only crowds and more than a fifth of all annotations are crowds: then the tool
    probably marks masks as crowds that are none.
    """
    drawn, crowds = _count_crowds(file.facts for file in files)
    if crowd is not None or not crowds.total():
        return
    places = [file.place for file in files]
    only_crowds = [label for label in drawn if drawn[label] == crowds[label]]
    if only_crowds and 5 * crowds.total() > drawn.total():  # in COCO itself, one annotation in a hundred is a crowd
        paths = ", ".join(str(scan.root / place) for place in places)
        scan.source_error(
            f"{paths}: all annotations of {some(only_crowds)} are crowds (iscrowd: 1), which would become "
            f"{IGNORE}; expected some that are not, but some tools mark all masks so. Set 'crowd: class' if they "
            f"are objects, or 'crowd: {IGNORE}' if they are crowds."
        )
    scan.warnings.append(
        f"{', '.join(places)}: {crowds.total()} of {drawn.total()} annotations are crowds and became {IGNORE}; "
        "set 'crowd: class' if your tool marks masks so"
    )


def _count_crowds(facts: Iterable[Mapping[str, Any]]) -> tuple[Counter[str], Counter[str]]:
    """How many annotations draw something, and how many of them are crowds, by their labels."""
    drawn: Counter[str] = Counter()
    crowds: Counter[str] = Counter()
    for label, count, crowd_count in (counts for read in facts for counts in read["drawn"]):
        drawn[label] += count
        crowds[label] += crowd_count
    return drawn, crowds


def report_boxes(scan: Scan, annotated: Mapping[str, AnnotatedImage]) -> None:
    """Tell of boxes that contradict polygons or images, or that are drawn otherwise than they are meant."""
    _report_boxes_apart(scan, annotated)
    _report_corners(scan, annotated)
    _report_turned_boxes(scan, annotated)


def _report_boxes_apart(scan: Scan, annotated: Mapping[str, AnnotatedImage]) -> None:
    """Tell of polygons that lie elsewhere than their ``bbox``, as after images were resized, if more than a few do."""
    every = BoxCounts.sum(facts["boxes"] for _, facts in annotated.values())
    if every.apart and every.apart >= _FEW * every.beside:
        apart = {
            file.sample_name(place): file.place
            for place, (file, facts) in annotated.items()
            if BoxCounts(*facts["boxes"]).apart
        }
        found, places = sorted(apart), sorted({*apart.values()})
        corners = every.apart_fitting >= _MOST * every.apart
        why = ", as the boxes are written as two corners, [x0, y0, x1, y1]" if corners else ""
        scan.find(
            "polygons apart from their boxes",
            f"{some(places)}: the polygons of {every.apart} of {every.beside} annotations lie elsewhere than their bbox"
            f"{why}, such as in {found[0]}; the polygons are what is drawn",
            "Correct the polygons if they are in per cent, of another image or of another size; accept it if only the "
            "boxes are wrong",
            found,
        )


def _report_corners(scan: Scan, annotated: Mapping[str, AnnotatedImage]) -> None:
    """Tell of boxes that are drawn, and that seem to be written as two corners, file by file."""
    by_file: dict[str, dict[str, Sequence[int]]] = {}
    for place, (file, facts) in annotated.items():
        by_file.setdefault(file.place, {})[file.sample_name(place)] = facts["boxes"]
    for place, boxes in by_file.items():
        every = BoxCounts.sum(boxes.values())
        many = every.leaving >= _MANY * every.drawn and every.corners >= _MOST * every.drawn
        several = every.leaving >= _FEW * every.drawn and every.corners == every.drawn > 1
        if every.leaving and (many or several):
            names = sorted(name for name, counts in boxes.items() if BoxCounts(*counts).leaving)
            scan.find(
                "boxes written as corners",
                f"{place}: {every.leaving} of {plural(every.drawn, 'box')} reach out of their images, such as in "
                f"{names[0]}, but {every.corners} fit if bbox is read as two corners, [x0, y0, x1, y1]; they were "
                "filled as [x, y, width, height], as COCO has them",
                "Write them as [x, y, width, height], or leave them out by boxes: drop",
                names,
            )


def _report_turned_boxes(scan: Scan, annotated: Mapping[str, AnnotatedImage]) -> None:
    """Tell of boxes that are drawn upright although they are turned."""
    turned = {file.sample_name(place): facts["turned"] for place, (file, facts) in annotated.items() if facts["turned"]}
    if turned:
        scan.find(
            "turned boxes drawn upright",
            f"{plural(sum(turned.values()), 'box')} in {plural(len(turned), 'image')}, such as {min(turned)}, are "
            "turned by attributes.rotation, which COCO does not know, and were filled as if they were not",
            "Export them as 'CVAT for images 1.1' and read that by format cvat, or leave them out by boxes: drop",
            sorted(turned),
        )
