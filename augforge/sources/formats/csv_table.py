"""A table of images with run lengths, as in contests, or with labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.errors import SourceError, some
from augforge.sample import NO_CLASSES, Sample
from augforge.sources.classes import ClassTable, class_table, report_alike_labels
from augforge.sources.core import Listing, PhotoSource, Record, source
from augforge.sources.formats.csv_labels import GivenLabel, label_text, names_of_given, read_weight, tell_empty_cells
from augforge.sources.loading import known_bits, load_image, load_labelled_image, make_sample
from augforge.sources.raster.runs import COLUMNS, Order, parse_runs, runs_digest, runs_mask
from augforge.sources.scan.agreeing import existing_place
from augforge.sources.scan.class_folders import class_level, doubtful_level, group_without_class
from augforge.sources.scan.mismatches import alike_orphans, report_mismatched
from augforge.sources.scan.orientation import Claim
from augforge.sources.scan.records import folder_or_name, make_record, name_of, normal_folder, place_inside
from augforge.sources.scan.scanning import Scan
from augforge.sources.scan.tables import Table, key_text, read_table


@dataclass(slots=True)
class _Image:
    """An image that the table names, and its rows."""

    place: str
    rows: list[int] = field(default_factory=list)


@source
class CsvTable(PhotoSource):
    """Reads a table that names the images, with masks as run lengths, or with labels.

    Run lengths: one row per image and class; or, with ``rles``, one column per class, which the column is named after.
    Several rows of one image and class are united. An empty cell, or -1, is an empty mask; if the class is empty too,
    the image is labelled and shows no class. Labels: with ``label`` one column names the label of each image, with
    ``labels`` several columns hold weights from 0 to 1, or nothing where a label is unknown. ``classes`` and
    ``class_map`` are then about these labels, and the class table is ``ignore`` alone, unknown everywhere. The usual
    group is the image's folder, but a folder that stands for the label (one label each, and named as it, or three or
    more of them) is none. Without ``classes`` the classes are sorted, or in the order of ``rles`` or ``labels``. Images
    that the table does not name are no samples.
    """

    adapter_version: ClassVar[int] = 2
    layout: ClassVar[str] = """\
ROOT/                          source.path
  train.csv                    image_name,class,rle       or .xlsx, .parquet
                               a.png,finger-1,1 3 10 3    pixels 1 to 3 and 10 to 12
                               a.png,finger-2,            labelled, and not there
                               or, rles: [heart, lung]:   image_name,heart,lung
  a.png                        where the table says, below folder"""

    format: Literal["csv"] = "csv"
    table: str = Field(
        "train.csv",
        description="the table, relative to path: .csv, with comma, semicolon or tab, .xlsx or .parquet",
        examples=["train.csv"],
    )
    image: str = Field(COLUMNS[0], description="column of the images' paths", examples=["image_name"])
    folder: str = Field("", description="folder that those paths start from, relative to path")
    suffix: str = Field("", description="what those paths lack at their end, such as .png")
    rle: str = Field(COLUMNS[2], description="column of run lengths", examples=["rle"])
    class_column: str | None = Field(
        COLUMNS[1], description="column of the class; null: classes holds the one there is", examples=["class"]
    )
    rles: tuple[str, ...] = Field(
        (), description="columns of run lengths, each a class, in place of rle and class_column"
    )
    order: Order = Field("row", description="run lengths go along rows, or along columns as COCO's and Kaggle's do")
    start: Literal[0, 1] = Field(1, description="number of the first pixel")
    missing_row: Literal["empty", "unknown"] = Field(
        "empty", description="a class without a row for an image that has rows: not there, or not labelled"
    )
    label: str | None = Field(None, description="column that names the image's one label, in place of run lengths")
    labels: tuple[str, ...] = Field((), description="columns of weights, each a label, in place of run lengths")

    @model_validator(mode="after")
    def _check_one_kind(self) -> CsvTable:
        if self.label is not None and self.labels:
            raise ValueError("label names one column of labels, labels several of weights; give one of the two")
        if self.rles and (self.labels or self.label is not None):
            raise ValueError("rles names columns of run lengths, label and labels columns of labels; give one of them")
        masks_in_rle = self.label is None and not self.labels and not self.rles
        if masks_in_rle and self.class_column is None and len(self.classes or ()) != 1:
            raise ValueError("class_column is null; expected classes to hold the one class of all run lengths")
        return self

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        table = read_table(self.root / self.table, whole_rows=True)
        if not table.rows:
            raise SourceError(f"{table.path} holds no row but the names of its columns; expected rows. Fill it.")
        images = self._find_images(table, scan)
        facts = scan.image_facts((name, image.place) for name, image in images.items())
        sound = {name: image for name, image in images.items() if image.place in facts}
        if self.label is not None or self.labels:
            names = self._label_names(table, scan)
            return scan.make_listing(self._label_records(table, sound, facts, names, scan), NO_CLASSES, names)
        labels = self.rles or sorted(
            {label for row in range(len(table.rows)) for label, *_ in self._cells_of_row(table, row) if label}
        )
        classes = class_table(self, labels, table.path, scan)
        by_place = {image.place: name for name, image in sound.items()} if scan.turned else {}
        scan.settle_orientation(facts, lambda place: Claim(by_place[place], None))
        return scan.make_listing(self._mask_records(table, sound, facts, classes, scan), classes.names)

    # ---- rows ----

    def _find_images(self, table: Table, scan: Scan) -> dict[str, _Image]:
        """The images that the table names, by their names; those missing or out of the root are bad samples."""
        column = table.column(self.image)
        images: dict[str, _Image] = {}
        places: dict[str, str] = {}
        for row, cells in enumerate(table.rows):
            text = key_text(cells[column])
            if text in scan.bad_names:  # reported once, however many rows it has
                continue
            try:
                if text not in places:
                    places[text] = self._image_place(text, table.where(row))
                image = images.setdefault(name_of(places[text], normal_folder(self.folder)), _Image(places[text]))
                if image.place != places[text]:
                    raise SourceError(f"{table.where(row)}: '{text}' has the name of {image.place}. Rename one.")
                image.rows.append(row)
            except SourceError as error:
                scan.orphans[name_of(text)] = text
                scan.bad_sample(text, "no image", str(error))
        return images

    def _image_place(self, text: str, where: str) -> str:
        named = f"{self.folder}/{text}{self.suffix}" if self.folder else text + self.suffix
        place = place_inside(self.root, named, where, self.follows_links)
        found = existing_place(self.root, place) if text else None
        if found is None:
            raise SourceError(f"{where}: {self.root / place} does not exist. Add it, or correct folder and suffix.")
        return found

    def _cells_of_row(self, table: Table, row: int) -> Iterator[tuple[str, str, str]]:
        """The labels in a row, each with its run lengths and the file and line, for messages."""
        cells, where = table.rows[row], table.where(row)
        for column in self.rles:
            yield column, _run_lengths(cells[table.column(column)]), f"{where}: column '{column}'"
        if not self.rles:
            named = (self.classes or ("",))[0] if self.class_column is None else cells[table.column(self.class_column)]
            yield key_text(named), _run_lengths(cells[table.column(self.rle)]), where

    # ---- run lengths ----

    def _mask_records(
        self,
        table: Table,
        images: Mapping[str, _Image],
        facts: Mapping[str, Any],
        classes: ClassTable,
        scan: Scan,
    ) -> Iterator[Record]:
        doubtful = alike_orphans(scan, images)
        report_mismatched(scan, doubtful)
        for name, image in images.items():
            size = facts[image.place]
            pixels = size["width"] * size["height"]
            cells = [cell for row in image.rows for cell in self._cells_of_row(table, row)]
            try:
                named = [(self._class_in_row(label, at), text, at) for label, text, at in cells if label or text]
                masks = [(label, text, at) for label, text, at in named if label is not None]
                runs = [(label, parse_runs(text, pixels, self.start, at)) for label, text, at in masks]
            except SourceError as error:
                scan.bad_sample(name, "broken run lengths", str(error))
                continue
            found = sorted([label, runs_digest(own)] for label, own in runs)
            for label in sorted({label for label, own in runs if own[:, 1].sum() == pixels}):
                scan.note_covered(name, label)
            seen = {label for label, *_ in masks}
            sure = self.missing_row == "empty" and name not in doubtful
            whole = sure or any(not (label or text) for label, text, _ in cells)
            known = classes.known if whole else [name for name in classes.known if name in seen]
            data = {"runs": [[label, text] for label, text, _ in masks if text], "known": known}
            content = classes.content([self.order, found, known])
            drawn = {label for label, text, _ in masks if text}
            yield make_record(name, image.place, size, content, group=folder_or_name(name), data=data, drawn=drawn)

    def _class_in_row(self, label: str, where: str) -> str | None:
        if not label:
            fact = f"{where}: column '{self.class_column}' is empty beside run lengths; expected their class"
            raise SourceError(f"{fact}. Fill the cell.")
        return self.class_of(label)

    # ---- labels ----

    def _label_names(self, table: Table, scan: Scan) -> tuple[str, ...]:
        column = table.column(self.label) if self.label is not None else 0
        labels = self.labels or sorted({key_text(cells[column]) for cells in table.rows})
        report_alike_labels(scan, labels)
        scan.note_labels(labels)
        found = self.classes_of(label for label in labels if label or label in self.class_map)
        return found if self.classes is None else self.classes

    def _label_records(
        self,
        table: Table,
        images: Mapping[str, _Image],
        facts: Mapping[str, Any],
        names: tuple[str, ...],
        scan: Scan,
    ) -> Iterator[Record]:
        labels: dict[str, GivenLabel] = {}
        for name, image in images.items():
            try:
                labels[name] = self._read_label(table, image, names)
            except SourceError as error:
                scan.bad_sample(name, "broken label", str(error))
        tell_empty_cells(scan, labels)
        level = self._class_level(scan, {name: label_text(label, names) for name, label in labels.items()})
        for name, label in labels.items():
            place, group = images[name].place, group_without_class(name, level)
            data = {"label": label, "of": len(names)}
            given = names_of_given(label, names)
            yield make_record(name, place, facts[place], label, group=group, data=data, drawn=given)

    def _class_level(self, scan: Scan, labels: Mapping[str, str]) -> int | None:
        """The index of the folder that stands for the label, which is no group; tells of one that may stand for it."""
        level = class_level(labels)
        if level is None and self.group is None and (doubtful := doubtful_level(labels)) is not None:
            folders = sorted({name.split("/")[doubtful] for name in labels})
            fact = f"each of the folders {some(folders)} has one label, and is a group: all of a label go to one split"
            remedy = "if they are no patients, set 'group: {regex: (.+)}', so that each image is a group"
            scan.find("one label a group", fact, remedy, folders)
        return level

    def _read_label(self, table: Table, image: _Image, names: tuple[str, ...]) -> GivenLabel:
        """The index of the image's label, or the weights of all labels; None for those whose cells are empty."""
        row, where = image.rows[0], table.where(image.rows[0])
        if len(image.rows) > 1:
            raise SourceError(f"{table.where(image.rows[1])}: {image.place} stands there twice. Keep one of the rows.")
        cells = table.rows[row]
        if self.label is not None:
            label = key_text(cells[table.column(self.label)])
            if not label and label not in self.class_map:
                raise SourceError(
                    f"{where}: column '{self.label}' is empty; expected the image's label. Fill the cell, or name what "
                    "empty means: 'class_map: {\"\": LABEL}'."
                )
            name = self.require_class(label, names, where)
            if name is None:
                raise SourceError(f"{where}: class_map leaves its label out, and it has no other.")
            return names.index(name)
        weights: dict[str | None, list[float]] = {name: [0.0] for name in names}
        weights.update((self.class_of(column), []) for column in self.labels)
        for column in self.labels:
            name = self.require_class(column, names, str(table.path))
            weight = read_weight(cells[table.column(column)], f"{where}: column '{column}'")
            if name is not None and weight is not None:
                weights[name].append(weight)
        return [max(weights[name], default=None) for name in names]

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        if "label" in record.data:
            return load_labelled_image(self.root, record, classes)
        image = load_image(self.root, record)
        planes = bitmask.empty(record.height, record.width, len(classes))
        for name, text in record.data["runs"]:
            runs = parse_runs(
                text, record.width * record.height, self.start, f"{self.root / self.table}: {record.name}"
            )
            bitmask.merge_class(planes, classes.index(name), runs_mask(runs, record.height, record.width, self.order))
        return make_sample(record, image, planes, known_bits(record, classes))


def _run_lengths(cell: Any) -> str:
    """The run lengths in a cell; -1 means that there are none."""
    text = key_text(cell)
    return "" if text == "-1" else text
