"""Predictions in the CSV format of segmentation contests."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from augforge.errors import TrainError
from augforge.files import replacing
from augforge.train.prediction.table import Predictions

ImageName = Literal["auto", "file", "path"]


def write_csv(table: Path, out: Path, image_name: ImageName = "auto") -> None:
    """Write a table of predictions in the CSV format of segmentation contests: ``image_name,class,rle``.

    One row for each image and class; ``rle`` is empty if the image does not show the class.

    Args:
        table: of predictions.
        out: the CSV file.
        image_name: ``file`` is the file name alone, ``path`` has its folders too; ``auto`` is the file name alone if no
            two images share one, else the path.

    Raises:
        TrainError: `image_name` is ``file`` and images share a file name.
    """
    predictions = Predictions(table)
    without_folders = use_file_names(predictions.files(), image_name)
    with replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("image_name", "class", "rle"))
        for image in predictions:
            name = image.file.rpartition("/")[2] if without_folders else image.file
            writer.writerows((name, *row) for row in zip(predictions.header.classes, image.rles, strict=True))


def use_file_names(files: Iterable[str], image_name: ImageName) -> bool:
    """Whether to name images by file names without folders. TrainError if that is asked for and some share one."""
    counts = Counter(file.rpartition("/")[2] for file in files)
    shared = next((name for name, count in counts.items() if count > 1), None)
    if image_name == "file" and shared is not None:
        raise TrainError(
            f"{counts[shared]} images have the file name {shared}; expected one, as image_name is 'file'. Take their "
            "folders too: --image-name path"
        )
    return image_name != "path" and shared is None
