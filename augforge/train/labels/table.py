"""Predictions of labels on disk: a Parquet table with a row for each image, and the same as CSV.

| column | what |
|---|---|
| name, file | of the image; ``file`` is its path with suffix |
| width, height | of the image, pixels |
| probability | struct of float32 by label |
| predicted | the likeliest label of each single group, and others that reach their threshold |

The CSV has ``image_name``, a column of probabilities for each label, and ``predicted`` with ``;`` between labels. What
made the table stands in the schema's metadata under ``augforge``, as JSON.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from augforge.errors import TrainError
from augforge.files import replacing
from augforge.train.labels.groups import LabelGroup, labels_of, predicted_labels, slices
from augforge.train.prediction.reading import read_rows
from augforge.train.prediction.submission import ImageName, use_file_names

_FORMAT = 1
_ROWS_PER_GROUP = 4096
_CSV_COLUMNS = ("image_name", "predicted")


@dataclass(frozen=True, slots=True)
class LabelHeader:
    """What a table of predicted labels says about itself.

    Attributes:
        groups: of the labels.
        thresholds: of each label; those of single groups are not used.
        made_by: JSON-like: the run and the datasets it was trained on, or the members of an ensemble.
    """

    groups: tuple[LabelGroup, ...]
    thresholds: tuple[float, ...]
    made_by: Mapping[str, Any]

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, in order."""
        return labels_of(self.groups)

    def predicted(self, probabilities: NDArray[np.floating[Any]]) -> list[str]:
        """Names of the labels that probabilities (L,) predict."""
        flags = predicted_labels(self.groups, probabilities[None], self.thresholds)[0]
        return [label for label, flag in zip(self.labels, flags.tolist(), strict=True) if flag]


@dataclass(frozen=True, slots=True, eq=False)
class LabelRow:
    """The prediction of one image: its name, file and size in pixels, and the probabilities (L,) of the labels."""

    name: str
    file: str
    width: int
    height: int
    probabilities: NDArray[np.float32]


def write_labels(path: Path, header: LabelHeader, rows: Iterable[LabelRow]) -> list[dict[str, Any]]:
    """Write a table of predicted labels. The file appears once it is complete; after an error there is none.

    Args:
        path: of the table.
        header: of the table.
        rows: sorted by name.

    Returns:
        JSON-like, for each label: ``name``, ``group``, ``threshold`` (None for the highest of a group), ``images`` of
        which it is predicted, and the mean ``probability``.

    Raises:
        TrainError: images are not sorted by name, or two have the same name.
    """
    schema, batch, count, last = _schema(header), list[dict[str, Any]](), 0, ""
    images, total = np.zeros(len(header.labels), int), np.zeros(len(header.labels))
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, write_page_checksum=True) as writer:
        for row in rows:
            if count and last >= row.name:
                raise TrainError(f"image {row.name} comes after {last}; expected each once, sorted by name. Rename one")
            last, count = row.name, count + 1
            names = header.predicted(row.probabilities)
            images += [label in names for label in header.labels]
            total += row.probabilities
            batch.append(_content(row, header, names))
            if len(batch) >= _ROWS_PER_GROUP:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                batch = []
        writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    means = (total / count).tolist() if count else [None] * len(total)
    return [_entry(*each) for each in zip(_label_groups(header), images.tolist(), means, strict=True)]


def _content(row: LabelRow, header: LabelHeader, predicted: Sequence[str]) -> dict[str, Any]:
    image = {"name": row.name, "file": row.file, "width": row.width, "height": row.height}
    by_label = dict(zip(header.labels, row.probabilities.tolist(), strict=True))
    return {**image, "probability": by_label, "predicted": predicted}


def _label_groups(header: LabelHeader) -> Iterator[tuple[str, str, float | None]]:
    """Each label with its group and its threshold."""
    for group, part in slices(header.groups):
        for label, threshold in zip(group.labels, header.thresholds[part], strict=True):
            yield label, group.name, threshold if group.multi else None


def _entry(label: tuple[str, str, float | None], images: int, mean: float | None) -> dict[str, Any]:
    name, group, threshold = label
    return {"name": name, "group": group, "threshold": threshold, "images": images, "probability": mean}


def _schema(header: LabelHeader) -> pa.Schema:
    content = {
        "format": _FORMAT,
        "groups": [asdict(group) for group in header.groups],
        "thresholds": header.thresholds,
        "made_by": header.made_by,
    }
    schema = pa.schema(
        [
            *(pa.field(name, pa.string()) for name in ("name", "file")),
            *(pa.field(name, pa.int32()) for name in ("width", "height")),
            pa.field("probability", pa.struct([pa.field(label, pa.float32()) for label in header.labels])),
            pa.field("predicted", pa.list_(pa.string())),
        ]
    )
    return schema.with_metadata({"augforge": json.dumps(content, ensure_ascii=False)})


def holds_labels(path: Path) -> bool:
    """Whether a file is a table of predicted labels."""
    try:
        content = json.loads((pq.read_schema(path).metadata or {})[b"augforge"])
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return False
    return isinstance(content, dict) and "groups" in content


class LabelTable:
    """A table of predicted labels, read image by image; memory does not grow with their number.

    Raises TrainError if the file is not such a table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not holds_labels(path):
            fact = "is no table of predicted labels" if path.exists() else "does not exist"
            raise TrainError(f"{path} {fact}; expected a file that augforge predict wrote with -o for a classifier")
        with pq.ParquetFile(path) as file:
            content, self._rows = json.loads(file.schema_arrow.metadata[b"augforge"]), file.metadata.num_rows
        groups = tuple(map(LabelGroup.from_json, content["groups"]))
        self.header = LabelHeader(groups, tuple(content["thresholds"]), content["made_by"])

    def __len__(self) -> int:
        return int(self._rows)

    def __iter__(self) -> Iterator[LabelRow]:
        labels = self.header.labels
        for row in read_rows(self.path, _ROWS_PER_GROUP):
            probabilities = np.array([row["probability"][label] for label in labels], np.float32)
            if not np.isfinite(probabilities).all():
                raise TrainError(f"{self.path}: probabilities of {row['name']} are no numbers. Predict again")
            yield LabelRow(row["name"], row["file"], row["width"], row["height"], probabilities)

    def files(self) -> Iterator[str]:
        """The images' files, in order."""
        return (row["file"] for row in read_rows(self.path, _ROWS_PER_GROUP, ["file"]))


def write_label_csv(table: Path, out: Path, image_name: ImageName = "auto") -> None:
    """Write a table of predicted labels as CSV: ``image_name``, a probability for each label, ``predicted``.

    Args:
        table: of predicted labels.
        out: the CSV file.
        image_name: as in `submission.write_csv`.

    Raises:
        TrainError: `image_name` is ``file`` and images share a file name, or a label has the name of another column.
    """
    predictions = LabelTable(table)
    labels = predictions.header.labels
    check_csv_labels(labels)
    without_folders = use_file_names(predictions.files(), image_name)
    with replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow((_CSV_COLUMNS[0], *labels, _CSV_COLUMNS[1]))
        for row in predictions:
            name = row.file.rpartition("/")[2] if without_folders else row.file
            numbers = (f"{value:.6g}" for value in row.probabilities.tolist())
            writer.writerow((name, *numbers, ";".join(predictions.header.predicted(row.probabilities))))


def check_csv_labels(labels: Sequence[str]) -> None:
    """Raise TrainError if a label cannot be the name of a column of its own in the CSV."""
    taken = next((label for label in labels if label in _CSV_COLUMNS), None)
    if taken is not None:
        raise TrainError(f"a label is called '{taken}', as a column of the CSV is. Leave --csv out, and use the table")
