"""Images that LabelMe files embed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augforge.sample import Image
from augforge.sources.core import Record
from augforge.sources.formats.labelme import file as labelme_file
from augforge.sources.loading import check_size
from augforge.sources.scan.images import decode, facts_of, parse_header, turn_upright


def embedded_facts(path: Path) -> dict[str, Any]:
    """The `image_facts` of the image that an annotation file embeds."""
    return facts_of(labelme_file.embedded_image(labelme_file.read_document(path), path), path)


def load_embedded_image(document: Mapping[str, Any], path: Path, record: Record) -> Image:
    """The image that an annotation file embeds, turned upright unless it was annotated as stored.

    Raises SourceError if its size is not the listed one.
    """
    data = labelme_file.embedded_image(document, path)
    header = parse_header(data, path)
    turn = 1 if record.data.get("as_stored") else header.orientation
    image = turn_upright(decode(data, header, path), turn)
    check_size(path, image, record)
    return image
