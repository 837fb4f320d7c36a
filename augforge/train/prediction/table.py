"""Predictions on disk: a Parquet table with a row for each image and class, written and read image by image.

| column | what |
|---|---|
| name, file | of the image; ``file`` is its path with suffix |
| class | its name |
| width, height | of the image, pixels |
| rle | ``start length`` pairs along rows, the first pixel is 1; empty if the image does not show the class |
| area, box | pixels, and x0, y0, x1, y1, half-open; the box is null if there are none |
| threshold | probability (or share of votes) from which a pixel is the class |
| probabilities, extent | optional: zstd frame of uint8 in the box ``extent``: p * 255 rounded, 0 up to the floor |

The floor is 0.3, or 0.6 of the threshold if that is less: probabilities below it are too low to matter, and nearly all
pixels have such. Images are sorted by name, so that tables of the same images can be read side by side. What made the
table stands in the schema's metadata under ``augforge``, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from numpy.typing import NDArray

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.errors import SourceError, TrainError
from augforge.export.core import Region
from augforge.export.csv_table import rle_text
from augforge.files import replacing
from augforge.sample import Box
from augforge.sources.raster.runs import parse_runs, runs_mask
from augforge.train.prediction.reading import read_rows

_FORMAT = 1
_ROWS_PER_GROUP = 1024
_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("name", "file", "class")),
        *(pa.field(name, pa.int32()) for name in ("width", "height")),
        pa.field("rle", pa.string()),
        pa.field("area", pa.int64()),
        pa.field("box", pa.list_(pa.int32())),
        pa.field("threshold", pa.float64()),
    ]
)
_PROBABILITY_FIELDS = [pa.field("probabilities", pa.binary()), pa.field("extent", pa.list_(pa.int32()))]

Levels = NDArray[np.uint8]
"""Probabilities in steps of 1/255, uint8 (rows, columns)."""


@dataclass(frozen=True, slots=True)
class TableHeader:
    """What a table of predictions says about itself.

    Attributes:
        classes: in order.
        thresholds: of each class.
        made_by: JSON-like: the run and the datasets it was trained on, or the members of an ensemble.
        probabilities: whether the table holds them.
    """

    classes: tuple[str, ...]
    thresholds: tuple[float, ...]
    made_by: Mapping[str, Any]
    probabilities: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ImagePrediction:
    """The predictions of one image, for every class in order, in encoded form.

    Attributes:
        name, file, width, height: the image's.
        rles: run lengths of each class as text; see the table above.
        boxes: x0, y0, x1, y1, half-open; None if the image does not show the class.
        thresholds: of each class.
        levels: box and encoded probabilities of each class, None if all are below the floor; None if none are kept.
    """

    name: str
    file: str
    width: int
    height: int
    rles: Sequence[str]
    boxes: Sequence[Box | None]
    thresholds: Sequence[float]
    levels: Sequence[tuple[Box, bytes] | None] | None = None

    @property
    def areas(self) -> list[int]:
        """Pixels of each class."""
        return [sum(map(int, text.split()[1::2])) for text in self.rles]

    def mask(self, c: int) -> NDArray[np.uint8]:
        """Class ``c``: uint8 (H, W) of 0 and 1."""
        try:
            runs = parse_runs(self.rles[c], self.width * self.height, 1, f"prediction of {self.name}, class {c}")
        except SourceError as error:
            raise TrainError(str(error)) from None
        return runs_mask(runs, self.height, self.width, "row")

    def planes(self) -> Planes:
        """All classes as bit-planes (H, W, P)."""
        planes = bitmask.empty(self.height, self.width, len(self.rles))
        for c, text in enumerate(self.rles):
            if text:
                bitmask.merge_class(planes, c, self.mask(c))
        return planes

    def probabilities(self, c: int) -> tuple[Box, Levels] | None:
        """The box around the probabilities of class ``c`` above the floor, and these; None if there are none."""
        kept = None if self.levels is None else self.levels[c]
        if kept is None:
            return None
        (x0, y0, x1, y1), frame = kept
        content = zstandard.ZstdDecompressor().decompress(frame, max_output_size=(y1 - y0) * (x1 - x0))
        return kept[0], np.frombuffer(content, np.uint8).reshape(y1 - y0, x1 - x0)


def probability_floor(threshold: float) -> float:
    """Probabilities of a class with that threshold are kept only above this one."""
    return min(0.3, 0.6 * threshold)


ClassPrediction = tuple[NDArray[Any], float, NDArray[np.float32] | None]
"""A class's mask (H, W), its threshold, and its probabilities (H, W), or None to keep none."""


def encode_image(name: str, file: str, classes: Iterable[ClassPrediction]) -> ImagePrediction:
    """Encode the predictions of an image; its classes are consumed one at a time, so one is in memory at once."""
    rows, levels, size = [], [], (0, 0)
    for c, (mask, threshold, layer) in enumerate(classes):
        size, box = (mask.shape[1], mask.shape[0]), bounding_box(mask)
        rows.append(("" if box is None else rle_text(_region(c, mask, box), size[0]), box, float(threshold)))
        levels += [] if layer is None else [_encode_probabilities(layer, probability_floor(threshold))]
    rles, boxes, thresholds = zip(*rows, strict=True)
    return ImagePrediction(name, file, *size, rles, boxes, thresholds, levels or None)


def bounding_box(mask: NDArray[Any]) -> Box | None:
    """x0, y0, x1, y1, half-open, around all pixels that are not zero; None if all are."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return None
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[y0:y1].any(axis=0))
    return int(columns[0]), y0, int(columns[-1]) + 1, y1


def _region(c: int, mask: NDArray[Any], box: Box) -> Region:
    x0, y0, x1, y1 = box
    roi = (slice(y0, y1), slice(x0, x1))
    return Region(c, roi, np.ascontiguousarray(mask[roi], np.uint8))


def _encode_probabilities(layer: NDArray[np.float32], floor: float) -> tuple[Box, bytes] | None:
    box = bounding_box(layer > floor)
    if box is None:
        return None
    x0, y0, x1, y1 = box
    part = layer[y0:y1, x0:x1]
    levels = np.where(part > floor, np.rint(part * 255), 0).astype(np.uint8)
    return box, zstandard.ZstdCompressor(level=3).compress(levels.tobytes())


def write_predictions(path: Path, header: TableHeader, images: Iterable[ImagePrediction]) -> list[dict[str, Any]]:
    """Write a table of predictions image by image. The file appears once it is complete; after an error there is none.

    Args:
        path: of the table.
        header: of the table.
        images: sorted by name.

    Returns:
        JSON-like, for each class: ``name``, ``threshold``, ``images`` that show it, and its ``pixels`` in all of them.

    Raises:
        TrainError: images are not sorted by name, or two have the same name.
    """
    last, rows = "", list[dict[str, Any]]()
    schema, counts = _schema(header), np.zeros((2, len(header.classes)), np.int64)
    options = {"compression": "zstd", "write_page_checksum": True}
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, **options) as writer:
        for image in images:
            if last >= image.name:
                same = "twice" if last == image.name else f"after {last}"
                raise TrainError(f"image {image.name} comes {same}; expected each once, sorted by name. Rename one")
            last, areas = image.name, np.array(image.areas)
            counts += np.stack([areas > 0, areas])
            rows += _rows(image, header)
            if len(rows) >= _ROWS_PER_GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    columns = (header.classes, header.thresholds, *counts.tolist())
    names = ("name", "threshold", "images", "pixels")
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _schema(header: TableHeader) -> pa.Schema:
    content = {"format": _FORMAT, "classes": header.classes, "thresholds": header.thresholds, "made_by": header.made_by}
    schema = pa.schema([*_SCHEMA, *(_PROBABILITY_FIELDS if header.probabilities else [])])
    return schema.with_metadata({"augforge": json.dumps(content, ensure_ascii=False)})


def _rows(image: ImagePrediction, header: TableHeader) -> Iterator[dict[str, Any]]:
    common = {"name": image.name, "file": image.file, "width": image.width, "height": image.height}
    columns = (header.classes, image.rles, image.areas, image.boxes, image.thresholds)
    for c, values in enumerate(zip(*columns, strict=True)):
        row = common | dict(zip(("class", "rle", "area", "box", "threshold"), values, strict=True))
        if header.probabilities and image.levels is not None:
            extent, frame = image.levels[c] or (None, None)
            row |= {"probabilities": frame, "extent": extent}
        yield row


class Predictions:
    """A table of predictions, read image by image; memory does not grow with their number.

    Raises TrainError if the file is not such a table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with pq.ParquetFile(path) as file:
                schema, self._rows = file.schema_arrow, file.metadata.num_rows
            content = json.loads(schema.metadata[b"augforge"])
            has_probabilities = "probabilities" in schema.names
            self.header = TableHeader(
                tuple(content["classes"]), tuple(content["thresholds"]), content["made_by"], has_probabilities
            )
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
            fact = "is no table of predictions" if path.exists() else "does not exist"
            raise TrainError(f"{path} {fact}; expected a file that augforge predict wrote with -o") from None

    def __len__(self) -> int:
        return int(self._rows // len(self.header.classes))

    def __iter__(self) -> Iterator[ImagePrediction]:
        for name, rows in groupby(read_rows(self.path, _ROWS_PER_GROUP), key=lambda row: row["name"]):
            yield self._image(name, list(rows))

    def files(self) -> Iterator[str]:
        """The images' files, in order."""
        rows = read_rows(self.path, _ROWS_PER_GROUP, ["file"])
        return (file for file, _ in groupby(rows, key=lambda row: str(row["file"])))

    def _image(self, name: str, rows: Sequence[Mapping[str, Any]]) -> ImagePrediction:
        if tuple(row["class"] for row in rows) != self.header.classes:
            raise TrainError(f"{self.path}: the rows of image {name} are not one for each class. Predict again")
        first = rows[0]
        levels = [(tuple(row["extent"]), row["probabilities"]) if row.get("extent") else None for row in rows]
        return ImagePrediction(
            name,
            first["file"],
            first["width"],
            first["height"],
            [row["rle"] for row in rows],
            [tuple(row["box"]) if row["box"] else None for row in rows],
            [row["threshold"] for row in rows],
            levels if self.header.probabilities else None,
        )
