"""What every source keeps to, whoever wrote it: checks of a format, on small data sets that an example of it writes.

A source of your own takes part with one class::

    class MyExample(SourceExample):
        format = "my-format"

        def write(self, root, samples): ...            # the whole data set
        def image(self, root, name): ...               # the file that holds the pixels of a sample
        def annotation(self, root, name): ...          # the file that holds its labels

    @pytest.mark.parametrize("check", checks_for(MyExample()))
    def test_contract(check, tmp_path):
        check(MyExample(), tmp_path)

What makes no sense for a format stands in ``exempt``, with the reason: ``exempt = {"one_edit_changes_one_id": "..."}``.
"""

from __future__ import annotations

import shutil
import struct
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from makedata import block, known_of, masks_of, put_text

from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.sources import SOURCES, Listing, Record, Source
from augforge.sources.core import PhotoSource
from augforge.store.png import png_chunk

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1, half-open, in an image of 20x16 pixels."""

Samples = Mapping[str, Mapping[str, Box] | None]
"""Name of each sample, such as ``p1/a``: the boxes of its labels, or None if nobody labelled it."""

HEART, LUNG, BOTH = {"heart": (2, 3, 8, 9)}, {"lung": (1, 1, 5, 12)}, {"heart": (3, 2, 9, 7), "lung": (10, 4, 18, 14)}
SAMPLES: Samples = {"p1/a": HEART, "p1/b": LUNG, "p2/c": BOTH}
SPLITS: Samples = {"train/p1/a": HEART, "train/p1/b": LUNG, "val/p2/c": BOTH, "test/p3/d": HEART}
COMPOSED = "caf\N{LATIN SMALL LETTER E WITH ACUTE}"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


REPEATED = (((2, 3),) * 3, ((2, 3), (3, 4)) * 2)
"""Rings of several points, of which one or two are distinct."""


class SourceExample:
    """A format with a way to write a small data set in it.

    Attributes:
        format: its name in a recipe.
        options: of the source, besides format and path.
        exempt: checks that make no sense for the format, with the reason.
        one_label: a sample has one label (the first that is asked for).
        takes_labels: of label vectors, not of masks.
        patient: which folder of a record's name is the patient, from 1.
        splits: those that a data set of the format can prescribe.
        unlabelled: options with which a sample without annotation is unlabelled.
        shared_annotation: one file annotates all samples, so that it stops the build when it is broken as a whole.
        failing: checks that the format fails today, with the issue that mends it: they are expected to fail.
        shared_image: one file holds several images, so that others are lost with one.
        reads_any_name: files without a suffix are images too, so that a link of such a name is one.
        outlines: the data draws outlines in pixels, which `put_ring` changes.
        degenerate: polygons that enclose nothing.
        capitals: how else the suffixes of files may be written.
    """

    format: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    exempt: ClassVar[Mapping[str, str]] = {}
    failing: ClassVar[Mapping[str, str]] = {}
    one_label: ClassVar[bool] = False
    takes_labels: ClassVar[bool] = False
    patient: ClassVar[int] = 1
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")
    unlabelled: ClassVar[Mapping[str, Any]] = {}
    shared_annotation: ClassVar[bool] = False
    shared_image: ClassVar[bool] = False
    reads_any_name: ClassVar[bool] = False
    outlines: ClassVar[bool] = False
    degenerate: ClassVar[tuple[Sequence[Sequence[int]], ...]] = (((2, 3),), *REPEATED)
    capitals: ClassVar[tuple[Callable[[str], str], ...]] = (str.upper, str.capitalize)

    def write(self, root: Path, samples: Samples) -> None:
        """Write a data set of these samples into an empty folder, its files in the samples' order."""
        raise NotImplementedError

    def image(self, root: Path, name: str) -> Path:
        """The file that holds the image of a sample."""
        raise NotImplementedError

    def annotation(self, root: Path, name: str) -> Path:
        """A file that holds labels of a sample."""
        raise NotImplementedError

    def point_outside(self, root: Path, name: str, path: str) -> None:
        """Let the data name ``path`` as the image of a sample."""
        raise NotImplementedError

    def spoil(self, root: Path, name: str) -> None:
        """Make the annotation of one sample wrong, and no other's."""
        self.annotation(root, name).write_bytes(b"broken")

    def put_ring(self, root: Path, name: str, ring: Sequence[Sequence[float]]) -> None:
        """Give the first shape of a sample this ring of points (x, y) in pixels."""
        raise NotImplementedError

    def mismatch(self, root: Path, name: str) -> None:
        """Let the annotation of a sample, ``p1/a`` or so, be that of ``p1/A``, which is not there."""
        path = self.annotation(root, name)
        path.rename(path.with_name(path.name.replace("a", "A", 1)))

    def respell(self, root: Path, name: str, spelling: str) -> None:
        """Write the last part of a sample's name in another Unicode form in its annotation, and not in its image."""
        path = self.annotation(root, name)
        if self.shared_annotation:
            put_text(path, path.read_text(encoding="utf-8").replace(name.rpartition("/")[2], spelling))
        else:
            path.rename(path.with_name(path.name.replace(name.rpartition("/")[2], spelling)))

    def record_name(self, name: str, boxes: Mapping[str, Box] | None) -> str:
        """What the source calls a sample."""
        return name

    def source(self, root: Path, **options: Any) -> Source:
        """The source as a recipe makes it."""
        return SOURCES[self.format](format=self.format, path=str(root), **{**self.options, **options})

    # ---- what the checks use ----

    def fit(self, samples: Samples) -> dict[str, dict[str, Box] | None]:
        """The samples as far as the format can hold them."""
        fitting = {name: boxes for name, boxes in samples.items() if _split(name) in ("", *self.splits)}
        take = 1 if self.one_label else None
        return {name: None if boxes is None else dict([*boxes.items()][:take]) for name, boxes in fitting.items()}

    def make(self, root: Path, samples: Samples = SAMPLES) -> dict[str, str]:
        """Write the data set anew; the names of its records by those of the samples."""
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        fitting = self.fit(samples)
        self.write(root, fitting)
        return {name: self.record_name(name, boxes) for name, boxes in fitting.items()}

    def scan(self, root: Path, cache: FileCache | None = None, **options: Any) -> Listing:
        return self.source(root, **options).scan(cache or FileCache())

    def records(self, root: Path, **options: Any) -> dict[str, Record]:
        return {record.name: record for record in self.scan(root, **options).records}

    def contents(self, root: Path, **options: Any) -> dict[str, str]:
        return {name: record.content for name, record in self.records(root, **options).items()}

    def shown(self, root: Path, **options: Any) -> dict[str, dict[str, np.ndarray]]:
        """What is drawn of each class in each sample, as masks or, in label vectors, as a number."""
        source = self.source(root, **options)
        listing = source.scan(FileCache())
        found = {}
        for record in listing.records:
            sample = source.load(record, listing.classes)
            if self.takes_labels:
                drawn = dict(zip(listing.labels, np.asarray(sample.label), strict=True))
            else:
                drawn = {name: mask.astype(bool) for name, mask in masks_of(sample, listing.classes).items()}
            found[record.name] = {name: mask for name, mask in drawn.items() if mask.any()}
        return found

    def known(self, root: Path, **options: Any) -> dict[str, set[str]]:
        """The classes that each sample knows, and so does its mask."""
        source = self.source(root, **options)
        listing = source.scan(FileCache())
        samples = (source.load(record, listing.classes) for record in listing.records)
        return {sample.name: {*known_of(sample, listing.classes)} for sample in samples}

    def expected(self, samples: Samples, class_of: Mapping[str, str | None]) -> dict[str, dict[str, np.ndarray]]:
        """What `shown` has to be where labels stand for these classes."""
        found: dict[str, dict[str, np.ndarray]] = {}
        for name, boxes in self.fit(samples).items():
            masks: dict[str, np.ndarray] = {}
            for label, box in (boxes or {}).items():
                if (class_ := class_of.get(label, label)) is not None:
                    mask = np.array(True) if self.takes_labels else block(*box).astype(bool)
                    masks[class_] = mask | masks.get(class_, np.zeros_like(mask))
            found[self.record_name(name, boxes)] = masks
        return found


SAY_WHAT_IS_DRAWN = """
    cifar coco csv cvat dataset datumaro dicom hand-bone image-folder index-mask labelme mask-folder mnist-idx union
    volume yolo
"""
"""Formats whose listing knows the classes of every sample; others may leave it open."""

Check = Callable[[SourceExample, Path], None]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


def checks_for(example: SourceExample) -> list[Any]:
    """The checks that an example has to pass, to parametrize a test."""
    reasons = {**example.exempt, **example.failing}
    unknown = [name for name, reason in reasons.items() if name not in CHECKS or not reason]
    assert not unknown, f"exempt or failing names {unknown}; expected checks, each with a reason"
    return [
        pytest.param(check, id=name, marks=_marks(example.failing.get(name)))
        for name, check in CHECKS.items()
        if name not in example.exempt
    ]


def _marks(failing: str | None) -> list[pytest.MarkDecorator]:
    return [] if failing is None else [pytest.mark.xfail(reason=failing, strict=True)]


def same_drawing(found: Mapping[str, Mapping[str, Any]], expected: Mapping[str, Mapping[str, Any]]) -> None:
    assert {name: sorted(drawn) for name, drawn in found.items()} == {name: sorted(e) for name, e in expected.items()}
    for name, drawn in expected.items():
        for class_, mask in drawn.items():
            np.testing.assert_array_equal(found[name][class_], mask, err_msg=f"{class_} of {name}")


# ---- classes ---------------------------------------------------------------------------------------------------------


@check
def labels_are_classes(example: SourceExample, root: Path) -> None:
    example.make(root)
    same_drawing(example.shown(root), example.expected(SAMPLES, {}))
    listing = example.scan(root)
    assert sorted(listing.labels if example.takes_labels else listing.classes) == ["heart", "lung"]


@check
def a_listing_that_says_what_is_drawn_says_what_loading_draws(example: SourceExample, root: Path) -> None:
    """Splits are stratified by it, and findings of classes that are drawn nowhere come from it."""
    example.make(root)
    for options in ({}, {"class_map": {"heart": "x"}}, {"class_map": {"heart": None}}):
        records, shown = example.records(root, **options), example.shown(root, **options)
        said = {name: record.drawn for name, record in records.items() if record.drawn is not None}
        assert said == {name: tuple(sorted(shown[name])) for name in said}
        assert example.format not in SAY_WHAT_IS_DRAWN.split() or len(said) == len(records)


@check
def class_map_renames(example: SourceExample, root: Path) -> None:
    example.make(root)
    class_map = {"heart": "cor"}
    same_drawing(example.shown(root, class_map=class_map), example.expected(SAMPLES, class_map))


@check
def class_map_merges(example: SourceExample, root: Path) -> None:
    example.make(root)
    class_map = {"heart": "organ", "lung": "organ"}
    same_drawing(example.shown(root, class_map=class_map), example.expected(SAMPLES, class_map))


@check
def class_map_drops(example: SourceExample, root: Path) -> None:
    example.make(root)
    same_drawing(example.shown(root, class_map={"lung": None}), example.expected(SAMPLES, {"lung": None}))
    listing = example.scan(root, class_map={"lung": None})
    assert "lung" not in (*listing.classes, *listing.labels)


@check
def class_map_star_is_every_other_label(example: SourceExample, root: Path) -> None:
    example.make(root)
    class_map = {"heart": "cor", "*": "rest"}
    same_drawing(example.shown(root, class_map=class_map), example.expected(SAMPLES, {"heart": "cor", "lung": "rest"}))


@check
def a_class_that_nobody_drew_is_not_known(example: SourceExample, root: Path) -> None:
    names = example.make(root)
    known = example.known(root, classes=["heart", "spleen", "lung"])
    assert known == {name: {"heart", "lung"} for name in names.values()}
    before, after = example.contents(root), example.contents(root, classes=["heart", "spleen", "lung"])
    assert before.keys() == after.keys()


@check
def labelled_samples_know_all_classes(example: SourceExample, root: Path) -> None:
    names = example.make(root)
    assert example.known(root) == {name: {"heart", "lung"} for name in names.values()}


@check
def unlabelled_samples_know_nothing(example: SourceExample, root: Path) -> None:
    names = example.make(root, {**SPLITS, "test/p3/d": None})
    known = example.known(root, **example.unlabelled)
    assert known.pop(names["test/p3/d"]) == set()
    assert set(map(frozenset, known.values())) == {frozenset({"heart", "lung"})}


@check
def a_label_without_class_is_an_error(example: SourceExample, root: Path) -> None:
    example.make(root)
    with pytest.raises(SourceError, match="'lung' is not in"):
        example.scan(root, classes=["heart"])


@check
def a_name_that_matches_nothing_is_told(example: SourceExample, root: Path) -> None:
    """Keys of ``class_map``, with the nearest label; but not those that leave a label out, or are written otherwise."""
    example.make(root)
    listing = example.scan(root, class_map={"haert": "heart", "heart": "heart"})
    found, *_ = [found for found in listing.all_findings if found.kind == "class_map without effect"]
    assert found.names == ("haert",) and "Did you mean 'heart'?" in found.remedy
    plain = example.scan(root, class_map={"lung": None, "*": "heart"})
    assert not [found for found in plain.all_findings if found.kind == "class_map without effect"]


@check
def a_class_that_nobody_drew_is_told(example: SourceExample, root: Path) -> None:
    example.make(root)
    listing = example.scan(root, classes=["heart", "spleen", "lung"])
    kind = "label given to no image" if example.takes_labels else "class drawn nowhere"
    assert [found.names for found in listing.all_findings if found.kind == kind] == [("spleen",)]


@check
def plain_data_has_no_finding(example: SourceExample, root: Path) -> None:
    example.make(root)
    assert not example.scan(root).all_findings


# ---- outlines --------------------------------------------------------------------------------------------------------


@check
def what_reaches_out_of_the_image_is_told(example: SourceExample, root: Path) -> None:
    if not example.outlines:
        return
    names = example.make(root)
    above, right = ((2, 3), (7, 3), (7, -4), (2, -4)), ((12, 3), (22.5, 3), (22.5, 8), (12, 8))
    for ring, reach in ((above, "4 pixels"), (right, "2.5 pixels")):
        example.put_ring(root, "p1/a", ring)
        (found,) = example.scan(root).all_findings
        assert (found.kind, found.names) == ("shapes outside the image", (names["p1/a"],))
        assert f"1 shape in 1 image reaches out of the image, by up to {reach}" in found.message
    example.put_ring(root, "p1/a", [[-0.5, 3], [20, 3], [20, 8], [-0.5, 8]])
    assert not example.scan(root).all_findings, "both meanings of 0 are inside"
    example.put_ring(root, "p1/a", [[30, 3], [40, 3], [40, 8], [30, 8]])
    with pytest.raises(SourceError, match="outside"):
        example.scan(root)


@check
def a_polygon_that_encloses_nothing_is_drawn_and_told_or_dropped(example: SourceExample, root: Path) -> None:
    """A dot or a line is drawn of several points; fewer points than a polygon has in any format are an error."""
    if not example.outlines:
        return
    names = example.make(root)
    for ring in example.degenerate:
        example.put_ring(root, "p1/a", ring)
        if len(ring) < 3:
            with pytest.raises(SourceError, match=r"expected 3 or more.*drop_degenerate: true"):
                example.scan(root)
        else:
            (found,) = example.scan(root).all_findings
            assert (found.kind, found.names) == ("polygons that enclose nothing", (names["p1/a"],))
            assert "drop_degenerate: true" in found.remedy
            line = np.zeros((16, 20), bool)
            for x, y in ring:
                line[y, x] = True  # the points of the rings are neighbours, so that nothing lies between them
            np.testing.assert_array_equal(example.shown(root)[names["p1/a"]]["heart"], line)
        listing = example.scan(root, drop_degenerate=True)
        told = {found.kind: (found.names, found.message) for found in listing.all_findings}
        dropped, message = told["polygons of one or two points dropped"]
        assert dropped == (names["p1/a"],) and "1 in 1 images" in message
        assert not example.shown(root, drop_degenerate=True)[names["p1/a"]]


@check
def shares_of_the_size_are_no_pixels(example: SourceExample, root: Path) -> None:
    """A ring within 0 to 1 is told; if all are, it is an error."""
    if not example.outlines:
        return
    names = example.make(root, {"p1/a": HEART, "p1/b": LUNG})
    shares = [[0.1, 0.2], [0.9, 0.2], [0.9, 0.75]]
    example.put_ring(root, "p1/a", shares)
    (found,) = example.scan(root).all_findings
    assert (found.kind, found.names) == ("coordinates within 0 to 1", (names["p1/a"],))
    example.put_ring(root, "p1/b", shares)
    with pytest.raises(SourceError, match=r"all coordinates of its 2 polygons lie within 0 to 1.*expected pixels"):
        example.scan(root)


@check
def a_class_in_every_pixel_is_told(example: SourceExample, root: Path) -> None:
    names = example.make(root, {**SAMPLES, "p2/c": {"heart": (0, 0, 20, 16)}})
    told = {found.kind: found for found in example.scan(root).all_findings}
    if not example.takes_labels:
        found = told["class in every pixel"]
        assert found.names == ("heart",) and f"1 of 3 images, such as {names['p2/c']}" in found.message
    assert not example.takes_labels or not told


# ---- photos ----------------------------------------------------------------------------------------------------------


@check
def exif_says_how_photos_lie(example: SourceExample, root: Path) -> None:
    """A half turn proves nothing, so it is told; ``apply`` and ``ignore`` decide."""
    if not issubclass(SOURCES[example.format], PhotoSource):
        assert example.format in NO_PHOTOS, f"{example.format} needs the option exif: make it a PhotoSource"
        return
    names = example.make(root)
    stored = _image_of(example, root, names["p1/a"])
    path = example.image(root, "p1/a")
    path.write_bytes(_with_orientation(path.read_bytes(), 3))
    np.testing.assert_array_equal(_image_of(example, root, names["p1/a"], exif="ignore"), stored)
    np.testing.assert_array_equal(_image_of(example, root, names["p1/a"], exif="apply"), stored[::-1, ::-1])
    np.testing.assert_array_equal(_image_of(example, root, names["p1/a"]), stored[::-1, ::-1])
    told = [(found.kind, found.names) for found in example.scan(root).all_findings]
    assert told == [("EXIF orientation not certain", (names["p1/a"],))] * (not example.takes_labels)
    for exif in ("apply", "ignore"):
        assert not example.scan(root, exif=exif).all_findings


def _image_of(example: SourceExample, root: Path, name: str, **options: Any) -> np.ndarray:
    source = example.source(root, **options)
    listing = source.scan(FileCache())
    return np.asarray(source.load(listing.records.by_name(name), listing.classes).image)


def _with_orientation(png: bytes, orientation: int) -> bytes:
    """A PNG with an EXIF chunk before its pixels: one entry, tag 0x0112, of type SHORT."""
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + struct.pack(">HH", orientation, 0) + b"\0\0\0\0"
    at = png.index(b"IDAT") - 4
    return png[:at] + png_chunk(b"eXIf", exif) + png[at:]


NO_PHOTOS = frozenset({"cifar", "dataset", "dicom", "mnist-idx", "union", "volume"})
"""Formats whose images have no EXIF, or whose sources decide."""


# ---- groups, metadata and splits -------------------------------------------------------------------------------------


@check
def group_by_folder(example: SourceExample, root: Path) -> None:
    names = example.make(root)
    groups = {name: record.group for name, record in example.records(root, group={"folder": example.patient}).items()}
    assert groups == {names[name]: name.partition("/")[0] for name in names}


@check
def group_by_regex(example: SourceExample, root: Path) -> None:
    names = example.make(root)
    groups = {name: record.group for name, record in example.records(root, group={"regex": r"p(\d)/"}).items()}
    assert groups == {names[name]: name[1] for name in names}


@check
def group_by_column(example: SourceExample, root: Path) -> None:
    names = example.make(root)
    put_text(root / "people.csv", "name,person\n" + "".join(f"{name},someone\n" for name in names.values()))
    records = example.records(root, metadata={"table": "people.csv"}, group={"column": "person"})
    assert {record.group for record in records.values()} == {"someone"} and len(records) == len(names)
    assert all(record.metadata["person"] == "someone" for record in records.values())


@check
def own_splits_are_kept_or_not(example: SourceExample, root: Path) -> None:
    names = example.make(root, SPLITS)
    for own_splits in (True, False):
        found = {name: record.split for name, record in example.records(root, own_splits=own_splits).items()}
        assert {name: found[names[name]] or "train" for name in names} == {
            name: _split(name) if own_splits else "train" for name in names
        }


# ---- files -----------------------------------------------------------------------------------------------------------


@check
def records_name_the_files_that_load_reads(example: SourceExample, root: Path) -> None:
    """So that a file that is touched during a build costs its own samples and no others."""
    example.make(root)
    source = example.source(root)
    listing = source.scan(FileCache())
    for number, record in enumerate(listing.records):
        files = source.files_of(record)
        if files is None:
            continue
        copy = root.parent / f"copy{number}"
        shutil.copytree(root, copy)
        for path in copy.rglob("*"):
            if path.is_file() and root / path.relative_to(copy) not in files:
                path.unlink()
        found = example.source(copy).load(record, listing.classes)
        expected = source.load(record, listing.classes)
        np.testing.assert_array_equal(found.image, expected.image)
        np.testing.assert_array_equal(found.masks, expected.masks)


# ---- damage ----------------------------------------------------------------------------------------------------------


@check
def a_broken_image_is_reported_or_rejected(example: SourceExample, root: Path) -> None:
    names = example.make(root)
    before = example.contents(root)
    example.image(root, "p1/a").write_bytes(b"broken")
    _reported_or_rejected(example, root, names["p1/a"], before, example.image(root, "p1/a"), example.shared_image)


@check
def a_broken_annotation_is_reported_or_rejected(example: SourceExample, root: Path) -> None:
    names = example.make(root)
    before = example.contents(root)
    path = example.annotation(root, "p1/a")
    example.spoil(root, "p1/a")
    _reported_or_rejected(example, root, names["p1/a"], before, path, shared=False)


@check
def a_mismatched_label_leaves_no_image_empty(example: SourceExample, root: Path) -> None:
    """What a rejected label shows may be in the image that it was made for, so that image is no empty one."""
    names = example.make(root)
    example.mismatch(root, "p1/a")
    known = example.known(root, on_error="reject")
    assert "heart" not in known.get(names["p1/a"], ())
    assert known[names["p2/c"]] == {"heart", "lung"}


@check
def a_broken_file_of_all_annotations_is_reported(example: SourceExample, root: Path) -> None:
    example.make(root)
    if example.shared_annotation:
        example.annotation(root, "p1/a").write_bytes(b"\xff broken")
        _always_reported(example, root, example.annotation(root, "p1/a"))


def _always_reported(example: SourceExample, root: Path, path: Path) -> None:
    for on_error in ("error", "reject"):
        with pytest.raises(SourceError) as caught:
            example.scan(root, on_error=on_error)
        assert str(path) in str(caught.value), "the error names the file"


def _reported_or_rejected(
    example: SourceExample, root: Path, name: str, before: Mapping[str, str], path: Path, shared: bool
) -> None:
    with pytest.raises(SourceError) as caught:
        example.scan(root)
    accepted = (str(path.relative_to(root)), f"'{name}'")
    assert any(part in str(caught.value) for part in accepted), "the error names the file, or the sample"
    listing = example.scan(root, on_error="reject")
    left = {record.name: record.content for record in listing.records}
    assert name not in left and any(name.startswith(row.name) for row in listing.refused)
    assert left.items() <= before.items(), "the others stay what they are"
    assert shared or len(left) == len(before) - 1
    assert not any(str(root) in row.detail for row in listing.refused), "rejected rows are the same on any machine"


# ---- names and ids ---------------------------------------------------------------------------------------------------


@check
def the_order_of_files_decides_nothing(example: SourceExample, root: Path) -> None:
    example.make(root)
    before = [*example.scan(root).records]
    assert [record.name for record in before] == sorted(record.name for record in before)
    example.make(root, dict(reversed([*SAMPLES.items()])))
    assert _facts(example.scan(root).records) == _facts(before)


@check
def the_folder_decides_nothing(example: SourceExample, root: Path) -> None:
    example.make(root / "here")
    before = [*example.scan(root / "here").records]
    (root / "here").rename(root / "there")
    assert _facts(example.scan(root / "there").records) == _facts(before)


@check
def a_further_sample_changes_no_other(example: SourceExample, root: Path) -> None:
    example.make(root)
    before = [*example.scan(root).records]
    names = example.make(root, {"p0/z": LUNG, **SAMPLES, "p3/d": BOTH})
    after = example.scan(root).records
    added = {names["p0/z"], names["p3/d"]}
    assert _facts(record for record in after if record.name not in added) == _facts(before)
    assert added <= {record.name for record in after}


@check
def one_edit_changes_one_id(example: SourceExample, root: Path) -> None:
    names, cache = example.make(root), FileCache()
    before = {record.name: record.content for record in example.scan(root, cache).records}
    example.make(root, {**SAMPLES, "p1/a": {"heart": (2, 3, 8, 10)}})
    after = {record.name: record.content for record in example.scan(root, cache).records}
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == [names["p1/a"]]


@check
def the_class_map_decides_ids(example: SourceExample, root: Path) -> None:
    """Two class maps that draw other masks give other ids; cached facts of one are not taken for the other's."""
    names, cache = example.make(root), FileCache()
    one = {record.name: record.content for record in example.scan(root, cache, class_map={"heart": "x"}).records}
    two = {record.name: record.content for record in example.scan(root, cache, class_map={"lung": "heart"}).records}
    assert one[names["p1/b"]] != two[names["p1/b"]]


# ---- how names are written -------------------------------------------------------------------------------------------


@check
def names_may_be_composed_or_decomposed(example: SourceExample, root: Path) -> None:
    """However the disk has them, samples have composed names, and so the same ids."""
    listed = {}
    for written in (COMPOSED, DECOMPOSED):
        names = example.make(root, {**SAMPLES, f"p1/{written}": HEART})
        first = example.scan(root)
        assert {record.name for record in first.records} == {_composed(name) for name in names.values()}
        assert all(record.group == _composed(record.group) for record in first.records)
        assert _facts(first.records) == _facts(example.scan(root).records)
        samples = {**SAMPLES, f"p1/{COMPOSED}": HEART}
        same_drawing(example.shown(root), example.expected(samples, {}))
        listed[written] = {record.name: record.group for record in first.records}
    assert listed[COMPOSED] == listed[DECOMPOSED]


@check
def suffixes_may_be_written_in_capitals(example: SourceExample, root: Path) -> None:
    """Of images and annotation files; annotations name images by the suffix that these had before."""
    example.make(root)
    before = _facts(example.scan(root).records)
    for change in example.capitals:
        example.make(root)
        files = {example.image(root, "p1/a")}
        with suppress(NotImplementedError):
            files |= set() if example.shared_annotation else {example.annotation(root, "p1/a")}
        for path in files:
            path.rename(path.with_name(f"{path.stem}.{change(path.suffix[1:])}" if path.suffix else path.name))
        assert _facts(example.scan(root).records) == before


@check
def names_that_look_alike_are_reported(example: SourceExample, root: Path) -> None:
    example.make(root, {**SAMPLES, f"p1/{COMPOSED}": HEART, f"p1/{DECOMPOSED}": HEART})
    with pytest.raises(SourceError, match="share the name"):
        example.scan(root)


@check
def classes_that_look_alike_are_one(example: SourceExample, root: Path) -> None:
    box = HEART["heart"]
    example.make(root, {"p1/a": {COMPOSED: box}, "p1/b": {DECOMPOSED: box}, "p2/c": HEART, "p2/d": LUNG})
    listing = example.scan(root)
    assert sorted(listing.labels if example.takes_labels else listing.classes) == [COMPOSED, "heart", "lung"]
    assert [(f.kind, f.names) for f in listing.findings] == [("labels that look the same", (DECOMPOSED, COMPOSED))]
    drawn = example.shown(root)
    assert [name for name, masks in drawn.items() if COMPOSED in masks] == sorted(drawn)[:2]


@check
def a_class_may_be_written_otherwise_in_the_recipe(example: SourceExample, root: Path) -> None:
    example.make(root, {"p1/a": {COMPOSED: HEART["heart"]}, "p2/c": HEART, "p2/d": LUNG})
    listing = example.scan(root, classes=["heart", "lung", DECOMPOSED])
    assert (listing.labels or listing.classes)[:3] == ("heart", "lung", DECOMPOSED)
    mapped = example.scan(root, class_map={DECOMPOSED: "cup"})
    assert "cup" in (*mapped.labels, *mapped.classes)


@check
def an_annotation_may_write_its_name_otherwise(example: SourceExample, root: Path) -> None:
    samples = {**SAMPLES, f"p1/{COMPOSED}": HEART}
    example.make(root, samples)
    example.respell(root, f"p1/{COMPOSED}", DECOMPOSED)
    listing = example.scan(root)
    assert not listing.findings and not listing.refused
    same_drawing(example.shown(root), example.expected(samples, {}))


# ---- links and paths -------------------------------------------------------------------------------------------------


@check
def a_link_within_the_root_is_followed(example: SourceExample, root: Path) -> None:
    example.make(root)
    before = [*example.scan(root).records]
    image = example.image(root, "p1/a")
    _replace_by_link(image, image.parent / ".elsewhere")
    assert _facts(example.scan(root).records) == _facts(before)


@check
def a_link_out_of_the_root_is_reported_or_rejected(example: SourceExample, root: Path) -> None:
    names = example.make(root / "data")
    before = example.contents(root / "data")
    image = example.image(root / "data", "p1/a")
    _replace_by_link(image, root / "outside")
    _reported_or_rejected(example, root / "data", names["p1/a"], before, image, example.shared_image)


@check
def links_out_of_the_root_are_followed_if_the_recipe_says_so(example: SourceExample, root: Path) -> None:
    """As in a Hugging Face cache, where every file is a link to one outside of the folder, named by its digest."""
    example.make(root / "data")
    before = _facts(example.scan(root / "data").records)
    for number, path in enumerate(sorted(path for path in (root / "data").rglob("*") if path.is_file())):
        target = root / f"blobs/{number}"
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
        path.symlink_to(target)
    assert _facts(example.scan(root / "data", links="follow").records) == before
    if len(before) == len(example.expected(SAMPLES, {})):
        same_drawing(example.shown(root / "data", links="follow"), example.expected(SAMPLES, {}))


@check
def a_link_that_nothing_needs_stops_no_scan(example: SourceExample, root: Path) -> None:
    example.make(root)
    before = _facts(example.scan(root).records)
    folders = {root, example.image(root, "p1/a").parent}
    with suppress(NotImplementedError):  # not all formats have annotations beside the images
        folders.add(example.annotation(root, "p1/a").parent)
    for folder in folders:
        (folder / "old-notes.md").symlink_to("nowhere.md")
        (folder / "system.log").symlink_to("/proc/version")
    assert _facts(example.scan(root).records) == before


@check
def folders_behind_links_that_nothing_needs_stop_no_scan(example: SourceExample, root: Path) -> None:
    """Nothing is lost by a folder of notes out of the root, by a circle, or by a link that leads nowhere."""
    example.make(root / "data")
    before = _facts(example.scan(root / "data").records)
    put_text(root / "notes/read.me", "nothing")
    folders = {root / "data", example.image(root / "data", "p1/a").parent}
    for folder in folders:
        (folder / "notes").symlink_to(root / "notes")
        (folder / "circle").symlink_to(folder)
        if not example.reads_any_name:
            (folder / "lost").symlink_to("nowhere")
    listing = example.scan(root / "data")
    assert _facts(listing.records) == before


@check
def a_linked_annotation_out_of_the_root_is_reported_or_rejected(example: SourceExample, root: Path) -> None:
    names = example.make(root / "data")
    before = example.contents(root / "data")
    path = example.annotation(root / "data", "p1/a")
    _replace_by_link(path, root / "outside")
    if example.shared_annotation:
        _always_reported(example, root / "data", path)
    else:
        _reported_or_rejected(example, root / "data", names["p1/a"], before, path, shared=False)


@check
def a_path_out_of_the_root_is_reported(example: SourceExample, root: Path) -> None:
    data = root / "data"
    suffix = example.image(data, "p1/a").suffix
    for path in (f"../secret{suffix}", f"../../{data.name}/../secret{suffix}", str(root / f"secret{suffix}")):
        example.make(data)
        example.image(data, "p1/a").rename(root / f"secret{suffix}")
        example.point_outside(data, "p1/a", path)
        with pytest.raises(SourceError):
            example.scan(data)
        with suppress(SourceError):
            assert not any("secret" in str(record.data) for record in example.scan(data, on_error="reject").records)


def _replace_by_link(path: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    target = folder / path.name
    path.rename(target)
    path.symlink_to(target.resolve())


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _facts(records: Iterable[Record]) -> list[tuple[Any, ...]]:
    return [(record.name, record.group, record.split, record.content) for record in records]


def _split(name: str) -> str:
    first = name.partition("/")[0]
    return first if first in ("train", "val", "test") else ""


@check
def the_licence_of_the_recipe_goes_with_every_sample(example: SourceExample, root: Path) -> None:
    """It is no part of the content, so that stating it makes no sample again."""
    example.make(root)
    plain, stated = example.scan(root), example.scan(root, licence={"name": "CC BY 4.0", "attribution": "us"})
    assert [record.content for record in plain.records] == [record.content for record in stated.records]
    assert all("CC BY 4.0 (us)" in record.licences for record in stated.records)
    assert stated.licences["CC BY 4.0 (us)"].attribution == "us"
