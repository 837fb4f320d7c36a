"""What LabelMe data hold besides shapes: JSON files of other tools, and flags of images."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

from augforge.errors import some
from augforge.keys import digest
from augforge.sources.core import Record, Refused
from augforge.sources.formats.labelme import file as labelme_file
from augforge.sources.plausibility.leaving import FILES_ASIDE
from augforge.sources.scan.records import name_of
from augforge.sources.scan.scanning import Scan

_IGNORED = "__ignore__"


def leave_foreign_files(
    scan: Scan, annotations: Mapping[str, str], facts: MutableMapping[str, Any], images: set[str]
) -> None:
    """Refuse JSON files that are none of LabelMe's; one with an image of its name is broken."""
    foreign = {name: place for name, place in annotations.items() if facts.get(place, {}).get("foreign")}
    named = {name_of(place) for place in images}
    for name, place in foreign.items():
        del facts[place]
        if name in named or len(foreign) == len(annotations):
            scan.bad_sample(name, "broken annotation", labelme_file.no_shapes_message(scan.root / place))
        else:
            scan.refused.append(Refused(name, "not a LabelMe file", place))
    aside = [row.detail for row in scan.refused if row.reason == "not a LabelMe file"]
    if aside:
        fact = f"{len(aside)} JSON file{'s have' if len(aside) > 1 else ' has'} nothing of LabelMe: {some(aside)}"
        scan.find(FILES_ASIDE, fact, "move such files out of the folder, or export them again", aside)


def report_background(scan: Scan, labels: Sequence[str]) -> None:
    """Tell of labels for the background, or for what nobody should learn from, that become classes unnoticed."""
    named = {*scan.source.class_map, *(scan.source.classes or ())}
    if _IGNORED in labels and _IGNORED not in named:
        scan.find(
            "ignored pixels are a class",
            f"shapes are labelled {_IGNORED}, as LabelMe calls what nobody should learn from, and are drawn as a class "
            "of that name",
            f"set 'class_map: {{{_IGNORED}: ignore}}', or null to leave them out",
            [_IGNORED],
        )
    background = next((label for label in labels if label.strip("_") == "background"), None)
    if background is not None and background not in named:
        scan.find(
            "background is a class",
            f"shapes are labelled {background}, and are drawn as a class of that name",
            f"set 'hole_label: {background}' if they are holes, or map the label in class_map",
            [background],
        )


def with_label(record: Record, names: tuple[str, ...]) -> Record:
    """The record with a label vector of its flags, which are its metadata; without any flag it has no label."""
    if not record.metadata or not names:
        return record
    label = [float(record.metadata.get(name, False)) for name in names]
    given = [name for name, value in zip(names, label, strict=True) if value]
    return replace(
        record,
        content=digest(record.content, names, label),
        data={**record.data, "label": label},
        drawn=None if record.drawn is None else (*record.drawn, *given),
    )
