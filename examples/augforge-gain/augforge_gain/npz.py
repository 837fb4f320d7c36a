"""npz: one NumPy archive for each sample, with its image and a boolean mask for each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.files import file_sha256
from augforge.sample import Sample, check_image
from augforge.sources.classes import class_table_of_scan
from augforge.sources.core import Listing, Record, Source, source
from augforge.sources.loading import known_bits, make_sample
from augforge.sources.scan.records import make_record, name_of
from augforge.sources.scan.scanning import Scan


@source
class NumpyArchives(Source):
    """Reads .npz files with ``image``, uint8 (H, W) or (H, W, 3), and a bool (H, W) array for each class.

    A class whose array is missing in a file is known, and absent there.
    """

    adapter_version: ClassVar[int] = 1
    layout: ClassVar[str] = """\
ROOT/          source.path
  p01/a.npz    image, lung, heart: the group is the folder"""

    format: Literal["npz"] = "npz"

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        scan.require_folder("")
        places = scan.places_by_name((name_of(place), place) for place in scan.walk("", {".npz"}))
        facts = scan.facts(places.items(), "npz@1", archive_facts, "broken archive")
        labels = sorted({label for fact in facts.values() for label in fact["labels"]})
        table = class_table_of_scan(scan, labels, self.root)

        def record(name: str, place: str) -> Record:
            drawn = [[label, self.class_of(label)] for label in facts[place]["labels"] if self.class_of(label)]
            data = {"drawn": drawn, "known": table.known}
            return make_record(
                name, place, facts[place], table.content(drawn), group=name.rpartition("/")[0] or name, data=data
            )

        return scan.make_listing((record(*found) for found in places.items() if found[1] in facts), table.names)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        arrays = read_archive(self.root / record.data["image"])
        planes = bitmask.empty(record.height, record.width, len(classes))
        for label, name in record.data["drawn"]:
            bitmask.merge_class(planes, classes.index(name), arrays[label].view(np.uint8))
        return make_sample(record, arrays["image"], planes, known_bits(record, classes))


def read_archive(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an archive. Raises SourceError naming the file if it is damaged or has no image."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        image = arrays["image"]
        check_image(image)
        masks = {name: array for name, array in arrays.items() if name != "image"}
        wrong = [name for name, mask in masks.items() if mask.dtype != bool or mask.shape != image.shape[:2]]
        if wrong:
            raise ValueError(f"{wrong[0]} is no bool array of the image's height and width")
    except Exception as error:  # NumPy raises many kinds for damaged files
        raise SourceError(f"{path} is damaged: {error!r}; expected image and masks. Save it again.") from None
    return arrays


def archive_facts(path: Path) -> dict[str, Any]:
    """What the listing needs of an archive; kept by the file cache, so that an untouched file is not read again."""
    arrays = read_archive(path)
    height, width = arrays["image"].shape[:2]
    return {
        "width": width,
        "height": height,
        "bytes": path.stat().st_size,
        "sha256": file_sha256(path),
        "labels": sorted(arrays.keys() - {"image"}),
    }
