"""Reading tables of predictions, of masks and of labels: row by row, and several of the same images side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from augforge.errors import TrainError, first_line


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Image = TypeVar("Image", bound=_Named)
Image_co = TypeVar("Image_co", bound=_Named, covariant=True)


class ImageTable(Protocol[Image_co]):
    """A table of predictions, iterated over image by image, sorted by name."""

    path: Path

    def __iter__(self) -> Iterator[Image_co]: ...


def read_rows(path: Path, at_once: int, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a table, ``at_once`` in memory; TrainError if the file is damaged."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(at_once, columns=columns):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise TrainError(f"{path} is damaged ({first_line(error)}). Predict again") from None


def align_tables(tables: Sequence[ImageTable[Image]]) -> Iterator[tuple[Image, ...]]:
    """All tables' predictions of each image; TrainError if they are not of the same images."""
    for images in zip_longest(*tables):
        first = min((image for image in images if image is not None), key=lambda image: image.name)
        for each, image in zip(tables, images, strict=True):
            if image is None or image.name != first.name:
                raise TrainError(
                    f"{each.path} has no image {first.name}, which another table has. Predict the same images with "
                    "each model"
                )
        yield images
