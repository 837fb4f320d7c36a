"""Images that LabelMe files embed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augforge.sample import Image
from augforge.sources.core import Record
from augforge.sources.formats.labelme import file as labelme_file
from augforge.sources.loading import check_size
from augforge.sources.scan.images import decode, parse_header, turn_upright


def embedded_facts(path: Path) -> dict[str, Any]:
    """The `image_facts` of the image that an annotation file embeds."""
    data = labelme_file.embedded_image(labelme_file.read_document(path), path)
    width, height = parse_header(data, path).size
    return {"width": width, "height": height, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def load_embedded_image(document: Mapping[str, Any], path: Path, record: Record) -> Image:
    """The image that an annotation file embeds, upright. Raises SourceError if its size is not the listed one."""
    data = labelme_file.embedded_image(document, path)
    header = parse_header(data, path)
    image = turn_upright(decode(data, header, path), header.orientation)
    check_size(path, image, record)
    return image
