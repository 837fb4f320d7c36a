"""Hand radiographs with one JSON of polygons per image, one folder per person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.keys import digest
from augforge.sample import IGNORE, Sample
from augforge.sources.class_lists import CLASS_LISTS
from augforge.sources.classes import ClassTable, report_alike_labels
from augforge.sources.core import Listing, PhotoSource, Record, Refused, source
from augforge.sources.formats.hand_annotations import outlines_of, read_document, read_polygons, read_size
from augforge.sources.loading import known_bits, load_image, make_sample
from augforge.sources.options import DROP_DEGENERATE, Join
from augforge.sources.raster.fills import POLYGON_FILL, Fill, with_fill
from augforge.sources.raster.shapes import draw
from augforge.sources.scan.agreeing import rename_agreeing
from augforge.sources.scan.likely import likely_hint
from augforge.sources.scan.orientation import Claim
from augforge.sources.scan.people import PEOPLE_FACTS, Row, Table, person_row, read_people
from augforge.sources.scan.records import make_record
from augforge.sources.scan.scanning import IMAGES, Scan

_PARTS = {"train": None, "test": "test"}  # folder -> the split that it prescribes
_TABLES = ("meta_data.xlsx", "meta_data.csv", "train/meta_data.xlsx", "train/meta_data.csv")


@source
class HandBone(PhotoSource):
    """Lists and loads hand radiographs: ``train/`` with polygons, ``test/`` without.

    A polygon that leaves the image is clipped; one that lies wholly outside is an error. Every file with annotations
    knows all bones of the list hand-bone; of another list in ``classes``, those that some file labels.
    """

    adapter_version: ClassVar[int] = 1
    layout: ClassVar[str] = """\
ROOT/                                       source.path
  train/DCM/ID001/image1661130828152.png    one folder a person; .png, .jpg or .jpeg
  train/outputs_json/ID001/image1661130828152.json
      {"annotations": [{"label": "finger-1", "points": [[x, y], ...]}, ...],
       "metadata": {"width": 2048, "height": 2048}}
  test/DCM/ID301/image1661319116107.png     optional; no labels
  meta_data.xlsx                            optional, or .csv, also in train/: ID, age, sex, height, weight"""

    format: Literal["hand-bone"] = "hand-bone"
    classes: tuple[str, ...] = CLASS_LISTS["hand-bone"]
    metadata: Join | str | None = Field(
        None,
        description="table of persons, relative to path; null looks for meta_data.xlsx/.csv; with table, key and on, "
        "any table joined to the samples",
    )
    polygon_fill: Fill = POLYGON_FILL
    drop_degenerate: bool = DROP_DEGENERATE

    @property
    def join(self) -> Join | None:
        return self.metadata if isinstance(self.metadata, Join) else None

    def scan(self, cache: FileCache) -> Listing:
        self._check_layout()
        scan = Scan(self, cache)
        pairs = _find_pairs(scan)
        _check_labelled(pairs, scan)
        images = scan.image_facts((image.name, image.place) for image, _ in pairs)
        annotated = [(note.name, note.place) for _, note in pairs if note]
        annotations = scan.facts(annotated, self._annotation_facts, self._read_facts, "broken annotation")
        claims = {
            image.place: Claim(image.name, facts["size"], drawn=bool(facts["classes"]))
            for image, note in pairs
            if scan.turned and note and (facts := annotations.get(note.place))
        }
        scan.settle_orientation(images, claims.get)
        _check_sizes(pairs, images, annotations, scan)
        table = self._class_table(annotations)
        labels = {label for facts in annotations.values() for label in facts["labels"]}
        report_alike_labels(scan, sorted(labels))
        scan.note_labels(labels)
        people = self._read_people(scan)
        rows = {person: person_row(people, person) for person in {image.person for image, _ in pairs}}

        def record(image: _File, note: _File | None) -> Record:
            own = annotations[note.place] if note else _UNLABELLED
            content = with_fill(table.content(own["content"]), self.polygon_fill) if note else "unlabelled"
            known, drawn = table.known if note else [], own["classes"]
            return _make_record(image, note, images[image.place], content, known, drawn, rows[image.person])

        records = (
            record(image, note)
            for image, note in pairs
            if image.place in images and (note is None or note.place in annotations)
        )
        return scan.make_listing(records, self.classes)

    def _class_table(self, annotations: Mapping[str, Any]) -> ClassTable:
        """The classes: of the format's own list all are labelled by its rules, of another one those that a file has."""
        if self.classes == CLASS_LISTS["hand-bone"]:
            return ClassTable(self.classes, [*self.classes])
        labelled = {name for facts in annotations.values() for name in facts["classes"]} | {IGNORE}
        return ClassTable(self.classes, [name for name in self.classes if name in labelled])

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        image, planes = load_image(self.root, record), self._load_planes(record, classes)
        return make_sample(record, image, planes, known_bits(record, classes))

    def _load_planes(self, record: Record, classes: tuple[str, ...]) -> bitmask.Planes:
        """Bit-planes of the annotation, if there is one."""
        if record.data["annotation"] is None:
            return bitmask.empty(record.height, record.width, len(classes))
        path = self.root / record.data["annotation"]
        polygons, _ = read_polygons(read_document(path), path, self, classes, self.drop_degenerate)
        parts = ((name, [value for point in points for value in point]) for name, points in polygons)
        try:
            return draw(parts, record.height, record.width, classes, self.polygon_fill)
        except ValueError as error:
            raise SourceError(f"{path}: {error} (classes: {', '.join(classes)}). Correct that polygon.") from error

    @property
    def _annotation_facts(self) -> str:
        """The kind of `_read_facts` in the cache: it names everything besides the file that decides the result."""
        return f"hand-bone@{self.adapter_version}, facts@4 {digest(self.classes, self.class_map, self.drop_degenerate)}"

    def _read_facts(self, path: Path) -> dict[str, Any]:
        document = read_document(path)
        polygons, dropped = read_polygons(document, path, self, self.classes, self.drop_degenerate)
        size = read_size(document, path)
        outlines = outlines_of(polygons, size)
        outlines.dropped = dropped
        return {
            "content": digest(sorted(polygons)),
            "size": size,
            "outlines": outlines.facts(),
            "classes": sorted({name for name, _ in polygons}),
            "labels": sorted({entry["label"] for entry in document["annotations"]}),
        }

    def _read_people(self, scan: Scan) -> Table:
        names = (self.metadata,) if isinstance(self.metadata, str) else _TABLES
        place = next((name for name in names if (self.root / name).is_file()), None)
        try:
            if place is not None and not isinstance(self.metadata, Join):
                people: Table = scan.cache.get(self.root / place, PEOPLE_FACTS, read_people)
                return people
            if isinstance(self.metadata, str):
                scan.source_error(
                    f"{self.root / self.metadata} does not exist. Correct source.metadata or leave it out."
                )
        except SourceError as error:
            scan.source_error(str(error))
        return {}

    def _check_layout(self) -> None:
        root = self.root
        if not (root / "train/DCM").is_dir():
            missing = root / "train/DCM" if root.is_dir() else root
            hint = f" Did you mean {root.parent}?" if (root / "DCM").is_dir() else ""
            raise SourceError(
                f"{missing} is no folder; expected\n{self.layout}\nSet source.path to the ROOT of such a tree.{hint}"
                f"{likely_hint(self)}"
            )
        if not (root / "train/outputs_json").is_dir():
            raise SourceError(
                f"{root / 'train/outputs_json'} is no folder, so nothing is labelled; expected\n{self.layout}\n"
                "Copy the annotations there."
            )


# ---- files -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _File:
    place: str  # relative to the root, with /
    part: str  # train or test
    person: str
    stem: str

    @property
    def name(self) -> str:
        return f"{self.person}/{self.stem}"


Pairs = list[tuple[_File, _File | None]]
_UNLABELLED: Mapping[str, Any] = {"content": "unlabelled", "classes": ()}


def _find_pairs(scan: Scan) -> Pairs:
    """Every image with its annotation, sorted by name. Files without a partner are refused, but not images in test."""
    notes = {part: _find_files(scan, part, "outputs_json", {".json"}, "an annotation") for part in _PARTS}
    images = _by_name(scan, (file for part in _PARTS for file in _find_files(scan, part, "DCM", IMAGES, "an image")))
    annotations = {part: _by_name(scan, files) for part, files in notes.items()}
    for own in annotations.values():
        rename_agreeing(own, images)
    pairs: Pairs = []
    for name, image in images.items():
        annotation = annotations[image.part].pop(name, None)
        if annotation is None and image.part == "train":
            scan.refused.append(Refused(name, "no annotation", image.place))
        else:
            pairs.append((image, annotation))
    scan.refused += [
        Refused(file.name, "no image", file.place) for own in annotations.values() for file in own.values()
    ]
    return sorted(pairs, key=lambda pair: pair[0].name)


def _find_files(scan: Scan, part: str, folder: str, suffixes: Collection[str], what: str) -> Iterator[_File]:
    """The files with one of the suffixes that lie directly in a person's folder; all other files are refused."""
    top = f"{part}/{folder}"
    for place in scan.walk(top, suffixes, what):
        name = place.removeprefix(f"{top}/")
        if name.count("/") == 1:
            person, _, file = name.partition("/")
            yield _File(place, part, person, Path(file).stem)
        else:
            scan.refused.append(Refused(name, f"not {what}", place))


def _by_name(scan: Scan, files: Iterable[_File]) -> dict[str, _File]:
    found = {file.place: file for file in files}
    places = scan.places_by_name((file.name, file.place) for file in found.values())
    return {name: found[place] for name, place in places.items()}


def _check_labelled(pairs: Pairs, scan: Scan) -> None:
    if scan.problems or any(annotation for _, annotation in pairs):
        return
    counts = Counter(refused.reason for refused in scan.refused)
    raise SourceError(
        f"{scan.root} holds no image with an annotation: {counts['no annotation']} images without one, "
        f"{counts['no image']} annotations without an image; expected\n{HandBone.layout}\nCorrect folders "
        "and file names, so that they pair."
    )


def _check_sizes(pairs: Pairs, images: Mapping[str, Any], annotations: MutableMapping[str, Any], scan: Scan) -> None:
    """Report annotations that were made on an image of another size, or have a polygon wholly outside the image.

    Those of another size are taken out of ``annotations`` too.
    """
    for image, annotation in pairs:
        if annotation and image.place in images and annotation.place in annotations:
            size = [images[image.place]["width"], images[image.place]["height"]]
            stated = annotations[annotation.place]["size"]
            if stated not in (None, size):
                del annotations[annotation.place]
                made, found = scan.root / annotation.place, scan.root / image.place
                scan.bad_sample(
                    image.name,
                    "size differs",
                    f"{made}: metadata says {_size_text(stated)} pixels, {found} has {_size_text(size)}; expected the "
                    "same. Restore the image that was annotated, or annotate this one.",
                )
            else:
                outlines = annotations[annotation.place]["outlines"]
                scan.note_outlines(image.name, annotation.place, outlines, images[image.place])


def _size_text(size: Sequence[float]) -> str:
    return f"{size[0]:g}x{size[1]:g}"


def _make_record(
    image: _File,
    annotation: _File | None,
    facts: Mapping[str, Any],
    content: Any,
    known: list[str],
    drawn: Collection[str],
    row: Row | None,
) -> Record:
    data = {"annotation": annotation.place if annotation else None, "known": known}
    split = _PARTS[image.part]
    record = make_record(
        image.name, image.place, facts, content, group=image.person, split=split, data=data, drawn=drawn
    )
    return replace(record, metadata=row) if row else record
