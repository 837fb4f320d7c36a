"""DICOM segmentations as labels: on the slices of their series, overlapping, missing, and every kind of bad one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from makedata import broken, known_of, load, masks_of, rejected, scan
from makemedical import frame, item, put_dicom, put_enhanced, put_nifti, put_segments, put_series
from mutation import mutated_file

from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.sources.formats.volume.source import VolumeSlices

KIND = "volume"
SHAPE = (7, 6, 5)  # slices, rows, columns
VALUES = np.random.default_rng(1).integers(-1000, 1000, SHAPE).astype(np.int16)
ORGANS = ("liver", "tumour", "vein")
SEGMENTS = {4: np.zeros(SHAPE, np.bool_), 9: np.zeros(SHAPE, np.bool_), 2: np.zeros(SHAPE, np.bool_)}
SEGMENTS[4][1:5, 1:5, :3] = True
SEGMENTS[9][3:6, 2:4, 1:4] = True  # reaches over the edge of the liver
SEGMENTS[2][2, 2, 2] = SEGMENTS[2][3:5, 3, 2] = True
SEGMENT_LABELS = {9: "tumour", 2: "vein ", 4: "liver"}


def by_segment(root: Path, **options: Any) -> dict[str, dict[str, np.ndarray]]:
    samples = load(KIND, root, **{"labels_by": "segment", "classes": ORGANS, **options})
    return {name: dict(masks_of(sample, ORGANS)) for name, sample in samples.items()}


@pytest.mark.parametrize("image", ["series", "uneven series", "enhanced"])
@pytest.mark.parametrize(
    ("axis", "turn"),
    [
        (None, lambda mask: mask),
        (2, lambda mask: mask.transpose(2, 0, 1)),
        ("coronal", lambda mask: mask.transpose(1, 0, 2)[:, ::-1]),
    ],
)
def test_segments_lie_on_the_slices_of_a_series(tmp_path: Path, image: str, axis: Any, turn: Any) -> None:
    """A SEG holds frames only where a segment is, in any order, and its segments may overlap."""
    kept = [0, 1, 2, 3, 5, 6] if image == "uneven series" else list(range(7))
    if image == "enhanced":
        put_enhanced(tmp_path / "images/P1/ct.dcm", VALUES[::-1], [frame(5 + 2.0 * z) for z in reversed(range(7))])
    else:
        folder = put_series(tmp_path / "images/P1/ct", VALUES)
        if len(kept) < 7:
            (folder / "031.dcm").unlink()
    masks = {number: mask.copy() for number, mask in SEGMENTS.items()}
    for mask in masks.values():
        mask[[z for z in range(7) if z not in kept]] = False
    put_segments(tmp_path / "labels/P1/ct.dcm", masks, SEGMENT_LABELS)
    shown = by_segment(tmp_path, axis=axis)
    for number, name in ((4, "liver"), (9, "tumour"), (2, "vein")):
        found = np.stack([masks[name] for _, masks in sorted(shown.items())])
        np.testing.assert_array_equal(found, turn(SEGMENTS[number][kept]))
    assert scan(KIND, tmp_path, labels_by="segment").classes == ORGANS


def test_a_segmentation_may_lie_in_the_folder_of_its_series(tmp_path: Path) -> None:
    put_series(tmp_path / "images/ct", VALUES)
    put_segments(tmp_path / "labels/ct/1-1.dcm", SEGMENTS, SEGMENT_LABELS | {7: "tumour", 8: "bone"})
    listing = scan(KIND, tmp_path, labels_by="segment")
    assert listing.classes == ("bone", *ORGANS) and listing.records[0].data["known"] == list(listing.classes)
    put_segments(tmp_path / "labels/ct/1-2.dcm", SEGMENTS, SEGMENT_LABELS)
    broken(KIND, tmp_path, "labels/ct/1-2.dcm share the name ct", labels_by="segment")


def test_segments_of_one_label_are_united(tmp_path: Path) -> None:
    put_series(tmp_path / "images/ct", VALUES)
    labels = {4: "liver", 9: "Läsion", 2: "Läsion ", 1: ""}
    put_segments(tmp_path / "labels/ct.dcm", SEGMENTS, labels, SpecificCharacterSet="ISO_IR 192")
    assert scan(KIND, tmp_path, labels_by="segment").classes == ("1", "Läsion", "liver")
    names = {"class_map": {"Läsion": "tumour", "1": None}, "classes": ORGANS}
    masks = [masks["tumour"] for _, masks in sorted(by_segment(tmp_path, **names).items())]
    np.testing.assert_array_equal(np.stack(masks), SEGMENTS[9] | SEGMENTS[2])


def test_segments_that_are_missing(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        put_series(tmp_path / f"images/{name}", VALUES)
    put_segments(tmp_path / "labels/a.dcm", SEGMENTS, SEGMENT_LABELS)
    put_segments(tmp_path / "labels/b.dcm", {4: SEGMENTS[4]}, {4: "liver"})
    said = (f"{tmp_path / 'images/b'} has no segment 'tumour' in labels/b", f"{tmp_path / 'images/c'} has no segment")
    broken(KIND, tmp_path, *said, "missing_labels", labels_by="segment")
    for missing, of_b, of_c in (("empty", list(ORGANS), list(ORGANS)), ("unlabelled", ["liver"], [])):
        samples = load(KIND, tmp_path, labels_by="segment", missing_labels=missing)
        assert known_of(samples["b/0001"], ORGANS) == of_b and known_of(samples["c/0001"], ORGANS) == of_c


def test_content_is_that_of_the_segments_in_a_slice(tmp_path: Path) -> None:
    """Not of their numbers, nor of what else is in the file."""
    put_series(tmp_path / "images/ct", VALUES)
    path = put_segments(tmp_path / "labels/ct.dcm", SEGMENTS, SEGMENT_LABELS)

    def contents() -> list[str]:
        return [record.content for record in scan(KIND, tmp_path, labels_by="segment").records]

    before = contents()
    put_segments(path, {20 - n: SEGMENTS[n] for n in (2, 9, 4)}, {20 - n: name for n, name in SEGMENT_LABELS.items()})
    assert contents() == before
    changed = {number: mask.copy() for number, mask in SEGMENTS.items()}
    changed[2][1, 2, 2] = True  # a set of segments that was nowhere before
    put_segments(path, changed, SEGMENT_LABELS)
    assert [one != two for one, two in zip(contents(), before, strict=True)] == [k == 1 for k in range(7)]


def test_segmentations_that_do_not_fit(tmp_path: Path) -> None:
    folder = put_series(tmp_path / "images/ct", VALUES)
    path = tmp_path / "labels/ct.dcm"

    def wrong(*parts: str) -> None:
        broken(KIND, tmp_path, str(path), *parts, labels_by="segment", classes=ORGANS)
        assert rejected(KIND, tmp_path, labels_by="segment", classes=ORGANS) == [("ct", "labels do not fit")]

    put_segments(path, SEGMENTS, SEGMENT_LABELS, spacing=2.5)
    wrong("has frame 0 at [-10.0, -20.0, 7.5]", "expected it on a slice of its image")
    put_segments(path, {4: SEGMENTS[4][:, 1:]}, SEGMENT_LABELS)
    wrong("has 5x5 pixels")
    groups = {"PlaneOrientationSequence": item(ImageOrientationPatient=[-1, 0, 0, 0, 1, 0])}
    for shared, said in ((groups, "[-1.0, 0.0, 0.0"), ({"PlaneOrientationSequence": item()}, "does not tell where")):
        put_segments(path, SEGMENTS, SEGMENT_LABELS)
        measures = {"PixelMeasuresSequence": item(PixelSpacing=[1.5, 1.0])}
        put_segments(path, SEGMENTS, SEGMENT_LABELS, SharedFunctionalGroupsSequence=[item(**{**measures, **shared})])
        wrong(said)
    put_segments(path, SEGMENTS, SEGMENT_LABELS, SegmentationType="FRACTIONAL")
    wrong("is FRACTIONAL; expected a DICOM SEG of type BINARY")
    put_dicom(path, VALUES[0])
    wrong("is no segmentation")
    put_segments(path, SEGMENTS, {4: "liver", 9: "tumour"})
    wrong("is damaged", "KeyError: 2")
    put_segments(
        path, SEGMENTS, SEGMENT_LABELS, SOPClassUID="1.2.840.10008.5.1.4.1.1.66.7", SegmentationType="LABELMAP"
    )
    wrong("is LABELMAP; expected a DICOM SEG of type BINARY")
    put_segments(folder / "seg.dcm", SEGMENTS, SEGMENT_LABELS)
    assert rejected(KIND, tmp_path, labels=None) == [("images/ct/seg.dcm", "a segmentation, not a picture")]
    (folder / "seg.dcm").rename(path)
    put_nifti(tmp_path / "images/mr.nii", VALUES)
    put_segments(tmp_path / "labels/mr.dcm", SEGMENTS, SEGMENT_LABELS)
    broken(KIND, tmp_path, "labels/mr.dcm", "images/mr.nii; expected an image that is DICOM", labels_by="segment")


def test_segmentation_changed_since_the_listing(tmp_path: Path) -> None:
    put_series(tmp_path / "images/ct", VALUES)
    path = put_segments(tmp_path / "labels/ct.dcm", SEGMENTS, SEGMENT_LABELS)
    source = VolumeSlices(path=str(tmp_path), labels_by="segment")
    listing = source.scan(FileCache())
    put_segments(path, {4: SEGMENTS[4]}, SEGMENT_LABELS)
    with pytest.raises(SourceError, match=r"labels/ct\.dcm lies on other slices now than when it was listed"):
        source.load(listing.records[0], listing.classes)


@given(data=st.data())
@settings(max_examples=60, deadline=10_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_files(tmp_path: Path, data: st.DataObject) -> None:
    """Read, or refused with a name below the root, nothing else."""
    frames = [frame(5 + 2.0 * z, [1, z], PixelValueTransformationSequence=item(RescaleSlope="2")) for z in range(7)]
    paths = [
        put_enhanced(tmp_path / "images/ct.dcm", VALUES, frames, ("StackID", "InStackPositionNumber")),
        put_segments(tmp_path / "labels/ct.dcm", SEGMENTS, SEGMENT_LABELS),
    ]
    path = data.draw(st.sampled_from(paths))
    path.write_bytes(data.draw(mutated_file(path)))
    source = VolumeSlices(path=str(tmp_path), labels_by="segment", missing_labels="empty", classes=ORGANS)
    try:
        listing = source.scan(FileCache())
        for record in listing.records:
            sample = source.load(record, listing.classes)
            assert (sample.width, sample.height) == (record.width, record.height)
    except SourceError as error:
        assert str(tmp_path) in str(error)
