"""The hand-bone adapter: what it lists, what it refuses, what it calls broken, and the planes that it loads."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import makedata
import numpy as np
import pytest
from pydantic import ValidationError

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.sources.class_lists import HAND_BONES
from augforge.sources.formats.hand_bone import HandBone
from augforge.sources.scan import images, scanning

SQUARE = [[2, 2], [6, 2], [6, 5], [2, 5]]
NAME = "ID001/image1661130828152"


scan, only = partial(makedata.scan, "hand-bone"), partial(makedata.only, "hand-bone")
broken = partial(makedata.broken, "hand-bone")


def put_image(
    root: Path, name: str, part: str = "train", suffix: str = ".png", size: tuple[int, int] = makedata.SIZE
) -> Path:
    return makedata.put_image(root / part / "DCM" / f"{name}{suffix}", size)


def document(*polygons: tuple[str, Any], **more: Any) -> dict[str, Any]:
    annotations = [
        {"id": f"i-{i}", "type": "poly_seg", "attributes": {}, "label": label, "points": points}
        for i, (label, points) in enumerate(polygons)
    ]
    return {"annotations": annotations, "filename": "x.png", "metadata": {"width": 20, "height": 16}, **more}


def put_json(root: Path, name: str, content: Any = None, part: str = "train") -> Path:
    path = root / part / "outputs_json" / f"{name}.json"
    return makedata.put_json(path, document(("finger-1", SQUARE)) if content is None else content)


def put(root: Path, name: str = NAME, content: Any = None) -> Path:
    put_image(root, name)
    return put_json(root, name, content)


# ---- listing ---------------------------------------------------------------------------------------------------------


def test_listing(tmp_path: Path) -> None:
    put(tmp_path, "ID002/image2")
    put(tmp_path)
    put_image(tmp_path, "ID301/image9", "test")
    listing = scan(tmp_path)
    assert listing.classes == HAND_BONES
    assert listing.refused == ()
    assert [(r.name, r.group, r.split) for r in listing.records] == [
        (NAME, "ID001", None),
        ("ID002/image2", "ID002", None),
        ("ID301/image9", "ID301", "test"),
    ]
    first, _, last = listing.records
    assert (first.width, first.height) == (20, 16)
    assert first.bytes == (tmp_path / f"train/DCM/{NAME}.png").stat().st_size
    files = {"image": f"train/DCM/{NAME}.png", "annotation": f"train/outputs_json/{NAME}.json"}
    assert dict(first.data) == {**files, "known": [*HAND_BONES]}
    assert last.data["annotation"] is None


def test_a_relative_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert only(Path()) == only(tmp_path)
    source = HandBone(path=".")
    assert source.load(only(Path()), source.classes).name == NAME


def test_nothing_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    only(tmp_path)


def test_second_scan_reads_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    put(data)
    (data / "meta_data.csv").write_text("ID,age\n1,30\n")
    cache = FileCache(tmp_path / "facts.db")
    first = scan(data, cache)
    cache.save()
    monkeypatch.setattr(Path, "read_bytes", lambda *_: pytest.fail("read"))
    assert scan(data, FileCache(tmp_path / "facts.db")) == first


def test_cache_tells_options_apart(tmp_path: Path) -> None:
    put(tmp_path)
    cache = FileCache()
    plain = scan(tmp_path, cache)
    assert scan(tmp_path, cache, class_map={"finger-1": "finger-2"}) != plain
    with pytest.raises(SourceError, match="'finger-1'"):
        scan(tmp_path, cache, classes=["finger-2"])


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".PNG", ".JPG"])
def test_suffixes(tmp_path: Path, suffix: str) -> None:
    put_image(tmp_path, NAME, suffix=suffix)
    put_json(tmp_path, NAME)
    assert only(tmp_path).data["image"].endswith(suffix)


@pytest.mark.parametrize("name", ["ID_001/image_1_a", "a_b_c/_x_", "환자 1/영상_1", "ID001/image.v2"])
def test_names_are_never_taken_apart(tmp_path: Path, name: str) -> None:
    put(tmp_path, name, document(("left_finger_1", SQUARE)))
    record = only(tmp_path, classes=["left_finger_1"])
    assert (record.name, record.group) == (name, name.split("/", maxsplit=1)[0])


def test_litter_is_ignored_and_odd_files_are_refused(tmp_path: Path) -> None:
    put(tmp_path)
    for litter in ("ID001/.DS_Store", "ID001/._image1661130828152.png", "ID001/Thumbs.db", ".DS_Store"):
        (tmp_path / "train/DCM" / litter).write_bytes(b"x")
        (tmp_path / "train/outputs_json" / litter).write_bytes(b"x")
    (tmp_path / "train/DCM/ID001/notes.txt").write_text("x")
    (tmp_path / "train/DCM/ID001/older").mkdir()
    (tmp_path / "train/DCM/ID001/older/x.png").write_bytes(b"x")
    (tmp_path / "train/DCM/stray.png").write_bytes(b"x")
    (tmp_path / "train/outputs_json/ID001/list.csv").write_text("x")
    listing = scan(tmp_path)
    assert [record.name for record in listing.records] == [NAME]
    assert [(r.name, r.reason, r.detail) for r in listing.refused] == [
        ("ID001/list.csv", "not an annotation", "train/outputs_json/ID001/list.csv"),
        ("ID001/notes.txt", "not an image", "train/DCM/ID001/notes.txt"),
        ("ID001/older/x.png", "not an image", "train/DCM/ID001/older/x.png"),
        ("stray.png", "not an image", "train/DCM/stray.png"),
    ]


def test_what_has_no_partner_is_refused(tmp_path: Path) -> None:
    put(tmp_path)
    put_image(tmp_path, "ID002/alone")
    put_json(tmp_path, "ID003/alone")
    put_json(tmp_path, "ID009/lost", part="test")
    listing = scan(tmp_path)
    assert [record.name for record in listing.records] == [NAME]
    assert [(r.name, r.reason) for r in listing.refused] == [
        ("ID002/alone", "no annotation"),
        ("ID003/alone", "no image"),
        ("ID009/lost", "no image"),
    ]


def test_links_that_lead_nowhere_or_in_circles(tmp_path: Path) -> None:
    put(tmp_path)
    folder = tmp_path / "train/DCM"
    (folder / "ID001/dangling.png").symlink_to("nowhere.png")
    (folder / "ID001/circle").symlink_to(".")
    (folder / "self").symlink_to("self")
    broken(tmp_path, str(folder / "ID001/dangling.png"), "leads nowhere")
    listing = scan(tmp_path, on_error="reject")
    assert [record.name for record in listing.records] == [NAME]
    assert [(r.name, r.reason) for r in listing.refused] == [
        ("ID001/circle", "link in a circle"),
        ("ID001/dangling", "broken link"),
        ("self", "broken link"),
    ]


def test_broken_files_are_rejected_where_the_recipe_says_so(tmp_path: Path) -> None:
    put(tmp_path)
    put(tmp_path, "ID002/bad-json", b"{")
    put(tmp_path, "ID002/bad-size", document(metadata={"width": 7, "height": 7}))
    put(tmp_path, "ID003/bad-image")
    (tmp_path / "train/DCM/ID003/bad-image.png").write_bytes(b"")
    listing = scan(tmp_path, on_error="reject")
    assert [record.name for record in listing.records] == [NAME]
    assert [(r.name, r.reason) for r in listing.refused] == [
        ("ID002/bad-json", "broken annotation"),
        ("ID002/bad-size", "size differs"),
        ("ID003/bad-image", "broken image"),
    ]
    assert str(tmp_path) not in "".join(r.detail for r in listing.refused)


def test_any_table_can_be_joined(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "scans.csv").write_text("scan,site\nimage1661130828152,north\n")
    record = only(tmp_path, metadata={"table": "scans.csv", "on": "stem"}, group={"column": "site"})
    assert (record.group, record.metadata) == ("north", {"site": "north"})


def test_a_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    put(tmp_path)
    try:
        path = put_image(tmp_path, "ID001/odd")
        path.rename(path.with_name(os.fsdecode(b"\xb0\xa1.png")))
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    listing = scan(tmp_path)
    assert [r.name for r in listing.refused] == ["ID001/??.png"]


# ---- content ---------------------------------------------------------------------------------------------------------

POLYGONS = [("finger-1", SQUARE), ("Radius", [[1, 1], [9, 1], [9, 9]])]


def reordered(content: dict[str, Any]) -> dict[str, Any]:
    return {"annotations": content["annotations"][::-1], "more": 1}


@pytest.mark.parametrize(
    "edited",
    [
        json.dumps(document(*POLYGONS), indent=4).encode(),
        b"\xef\xbb\xbf" + json.dumps(document(*POLYGONS)).encode(),
        document(*[(label, [[float(x), float(y)] for x, y in points]) for label, points in POLYGONS]),
        reordered(document(*POLYGONS)),
        json.dumps(document(*POLYGONS)).replace('"attributes": {}', '"attributes": {"checked": true}').encode(),
    ],
    ids=["formatting", "byte order mark", "floats", "order", "attributes"],
)
def test_content_stays(tmp_path: Path, edited: Any) -> None:
    put(tmp_path, NAME, document(*POLYGONS))
    before = only(tmp_path)
    put_json(tmp_path, NAME, edited)
    assert only(tmp_path) == before


@pytest.mark.parametrize(
    "edited",
    [
        document(POLYGONS[0], ("Radius", [[1, 1], [9, 1], [9, 9.5]])),
        document(POLYGONS[0], ("Ulna", POLYGONS[1][1])),
        document(POLYGONS[0]),
        document(),
    ],
    ids=["point", "label", "polygon", "empty"],
)
def test_content_changes(tmp_path: Path, edited: Any) -> None:
    put(tmp_path, NAME, document(*POLYGONS))
    before = only(tmp_path)
    put_json(tmp_path, NAME, edited)
    assert only(tmp_path).content != before.content


def test_content_holds_the_image_and_whether_it_is_labelled(tmp_path: Path) -> None:
    put(tmp_path, "ID001/a", document())
    put_image(tmp_path, "ID002/b", "test")
    labelled, unlabelled = scan(tmp_path).records
    (tmp_path / "test/DCM/ID002/b.png").write_bytes((tmp_path / "train/DCM/ID001/a.png").read_bytes())
    same_image = scan(tmp_path).records[1]
    assert len({labelled.content, unlabelled.content, same_image.content}) == 3


def test_content_is_that_of_the_mapped_classes(tmp_path: Path) -> None:
    put(tmp_path, NAME, document(("finger_1", SQUARE), ("marker", SQUARE)))
    mapped = only(tmp_path, class_map={"finger_1": "finger-1", "marker": None})
    put_json(tmp_path, NAME, document(("finger-1", SQUARE)))
    assert only(tmp_path).content == mapped.content


# ---- class names -----------------------------------------------------------------------------------------------------


def test_unknown_label_names_file_label_and_remedy(tmp_path: Path) -> None:
    path = put(tmp_path, NAME, document(("trapezium", SQUARE)))
    broken(tmp_path, str(path), "'trapezium'", "Did you mean 'Trapezium'?", "class_map")


def test_class_map_into_the_unknown_is_an_error() -> None:
    with pytest.raises(ValidationError, match=r"'Radios', which is not in classes. Did you mean 'Radius'"):
        HandBone(path="x", class_map={"r": "Radios"})


@pytest.mark.parametrize("options", [{"clases": []}, {"format": "coco"}, {"classes": None}, {"metadata": 1}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HandBone(**{"path": "x", **options})


def test_a_label_left_out_is_not_looked_at(tmp_path: Path) -> None:
    put(tmp_path, NAME, {"annotations": [{"label": "note", "text": "no points"}]})
    only(tmp_path, class_map={"note": None})


# ---- what is broken --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "no JSON"),
        (b'{"annotations": [}', "line 1 column 18"),
        (b"[" * 100_000, "no JSON"),
        (b'{"annotations": 1' + b"0" * 5000 + b"}", "no JSON"),
        (b'{"annotations": [], "filename": "\xb0\xa1"}', "not UTF-8"),
        ([], "holds no annotations"),
        ({}, "holds no annotations"),
        ({"annotations": {}}, "holds no annotations"),
        ({"annotations": ["finger-1"]}, "holds no annotations"),
        ({"annotations": [{"points": SQUARE}]}, "annotation 1 has no label"),
        ({"annotations": [{"label": 7, "points": SQUARE}]}, "annotation 1 has no label"),
        ({"annotations": [{"label": "Ulna"}]}, "label 'Ulna': points are not"),
        (document(("Ulna", "1,2,3")), "points are not"),
        (document(("Ulna", [1, 2, 3])), "points are not"),
        (document(("Ulna", [[1, 2, 3]] * 3)), "points are not"),
        (document(("Ulna", [["1", "2"]] * 3)), "points are not"),
        (document(("Ulna", [[True, 2]] * 3)), "points are not"),
        (document(("Ulna", [[float("nan"), 2], *SQUARE])), "points are not"),
        (document(("Ulna", [[float("inf"), 2], *SQUARE])), "points are not"),
        (document(("Ulna", [[10**400, 2], *SQUARE])), "points are not"),
        (document(("Ulna", [[1e10, 2], *SQUARE])), "points are not"),
        (document(("finger-1", SQUARE), ("Ulna", SQUARE[:2])), "annotation 2, label 'Ulna': 2 points"),
        (document(metadata={"width": 20}), "metadata holds no size"),
        (document(metadata={"width": "20", "height": "16"}), "metadata holds no size"),
        (document(metadata="20x16"), "metadata holds no size"),
    ],
)
def test_broken_json(tmp_path: Path, content: Any, part: str) -> None:
    path = put(tmp_path, NAME, content)
    assert broken(tmp_path, part).startswith(str(path))


@pytest.mark.parametrize("keep", [0, 4, 20, -12])
def test_broken_image(tmp_path: Path, keep: int) -> None:
    put(tmp_path)
    path = tmp_path / f"train/DCM/{NAME}.png"
    path.write_bytes(path.read_bytes()[:keep])
    assert broken(tmp_path).startswith(str(path))


def test_annotation_of_another_size(tmp_path: Path) -> None:
    path = put(tmp_path, NAME, document(metadata={"width": 2048, "height": 16}))
    broken(tmp_path, str(path), "2048x16", "20x16")


def test_a_polygon_wholly_outside(tmp_path: Path) -> None:
    path = put(tmp_path, content=document(("Ulna", SQUARE), ("Radius", [[30, 2], [36, 2], [36, 5]]), metadata=None))
    said = broken(tmp_path, "the polygon of Radius lies outside its image of 20x16 pixels")
    assert said.startswith(str(path))
    put(tmp_path, "ID002/a")
    refused = scan(tmp_path, on_error="reject").refused
    assert [(r.name, r.reason) for r in refused] == [(NAME, "outside the image")]
    put(tmp_path, content=document(("Radius", [[3, 2], [36, 2], [36, 5]]), metadata=None))
    assert scan(tmp_path).refused == ()


@pytest.mark.parametrize("metadata", [None, {}, {"width": None, "height": None}, {"width": 20.0, "height": 16.0}])
def test_missing_or_equal_size_is_accepted(tmp_path: Path, metadata: Any) -> None:
    put(tmp_path, NAME, document(metadata=metadata))
    assert only(tmp_path).width == 20


def test_all_problems_come_together(tmp_path: Path) -> None:
    put(tmp_path)
    bad = [put(tmp_path, f"ID002/image{i:02d}", b"{") for i in range(12)]
    path = put_image(tmp_path, "ID301/x", "test")
    path.write_bytes(b"")
    message = broken(tmp_path, "13 problems", "and 3 more", str(path), str(bad[0]), str(bad[8]))
    assert str(bad[9]) not in message


def test_a_file_that_cannot_be_read_is_a_problem_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path)
    cache = FileCache()

    def forbidden(_: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(scanning, "image_facts", forbidden)
        with pytest.raises(SourceError, match="Permission denied"):
            scan(tmp_path, cache)
    assert len(scan(tmp_path, cache).records) == 1


def test_two_images_of_one_name(tmp_path: Path) -> None:
    put(tmp_path)
    put_image(tmp_path, NAME, suffix=".jpg")
    broken(tmp_path, f"{NAME}.jpg", f"{NAME}.png", "share the name")


def test_one_name_in_train_and_test(tmp_path: Path) -> None:
    put(tmp_path)
    put_image(tmp_path, NAME, "test")
    broken(tmp_path, f"train/DCM/{NAME}.png", f"test/DCM/{NAME}.png", "share the name")


def test_missing_root_and_wrong_root(tmp_path: Path) -> None:
    broken(tmp_path / "missing", "missing is no folder", "train/DCM/ID001", "source.path")
    put(tmp_path)
    broken(tmp_path / "train", "is no folder", f"Did you mean {tmp_path}?")


def test_no_annotations_at_all(tmp_path: Path) -> None:
    put_image(tmp_path, NAME)
    broken(tmp_path, "outputs_json is no folder", "nothing is labelled")
    (tmp_path / "train/outputs_json").mkdir()
    broken(tmp_path, "no image with an annotation", "1 images without one")


def test_no_image_at_all(tmp_path: Path) -> None:
    (tmp_path / "train/DCM").mkdir(parents=True)
    put_json(tmp_path, NAME)
    broken(tmp_path, "no image with an annotation", "1 annotations without an image", "train/DCM/ID001")


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "test").mkdir()
    (tmp_path / "test/DCM").write_bytes(b"")
    broken(tmp_path, "test/DCM cannot be read")


# ---- persons ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["meta_data.csv", "train/meta_data.csv", "tables/people.csv"])
def test_metadata(tmp_path: Path, place: str) -> None:
    put(tmp_path, "ID001/a")
    put(tmp_path, "ID002/b")
    table = tmp_path / place
    table.parent.mkdir(exist_ok=True)
    table.write_text("ID,나이,성별\n1,30,여\n", encoding="utf-8")
    first, second = scan(tmp_path, metadata=place if "people" in place else None).records
    assert first.metadata == {"age": 30, "sex": "F"}
    assert second.metadata == {}


def test_metadata_changes_no_content(tmp_path: Path) -> None:
    put(tmp_path)
    before = only(tmp_path).content
    (tmp_path / "meta_data.csv").write_text("ID,age\n1,30\n")
    assert only(tmp_path).content == before


def test_broken_and_missing_table(tmp_path: Path) -> None:
    put(tmp_path)
    broken(tmp_path, "people.csv does not exist", metadata="people.csv")
    (tmp_path / "meta_data.xlsx").write_bytes(b"no workbook")
    broken(tmp_path, "meta_data.xlsx cannot be read as a table")


# ---- loading ---------------------------------------------------------------------------------------------------------


def test_load(tmp_path: Path) -> None:
    put(tmp_path, NAME, document(("Ulna", SQUARE), ("finger-2", [[4, 4], [12, 4], [12, 9], [4, 9]])))
    (tmp_path / "meta_data.csv").write_text("ID,age\n1,30\n")
    record = only(tmp_path)
    sample = HandBone(path=str(tmp_path)).load(record, HAND_BONES)
    np.testing.assert_array_equal(sample.image, images.read_image(tmp_path / f"train/DCM/{NAME}.png"))
    assert (sample.name, sample.group, sample.split, sample.metadata) == (NAME, "ID001", "train", {"age": 30})
    assert sample.known.tolist() == bitmask.all_bits(29).tolist()
    expected = cv2.fillPoly(np.zeros((16, 20), np.uint8), [np.array(SQUARE, np.int32)], 1)
    np.testing.assert_array_equal(bitmask.class_mask(sample.masks, HAND_BONES.index("Ulna")), expected)
    assert bitmask.class_mask(sample.masks, HAND_BONES.index("finger-2")).sum() == 9 * 6
    assert bitmask.areas_and_boxes(sample.masks, 29)[0].astype(bool).sum() == 2


def test_load_unlabelled(tmp_path: Path) -> None:
    put(tmp_path)
    put_image(tmp_path, "ID301/x", "test")
    record = scan(tmp_path).records[1]
    sample = HandBone(path=str(tmp_path)).load(record, HAND_BONES)
    assert sample.split == "test"
    assert not sample.known.any()
    assert not sample.masks.any()
    assert sample.masks.shape == (16, 20, 4)


def test_second_polygon_of_a_class_is_a_union(tmp_path: Path) -> None:
    other = [[8, 2], [12, 2], [12, 5], [8, 5]]
    put(tmp_path, NAME, document(("finger-1", SQUARE), ("finger_1", other), ("finger-1", SQUARE)))
    source = HandBone(path=str(tmp_path), class_map={"finger_1": "finger-1"})
    (record,) = source.scan(FileCache()).records
    assert bitmask.class_mask(source.load(record, source.classes).masks, 0).sum() == 2 * 5 * 4


def test_an_empty_annotation_is_still_labelled(tmp_path: Path) -> None:
    put(tmp_path, NAME, document())
    source = HandBone(path=str(tmp_path))
    assert source.load(only(tmp_path), source.classes).known.all()


def test_image_changed_since_the_listing(tmp_path: Path) -> None:
    put(tmp_path)
    record = only(tmp_path)
    path = put_image(tmp_path, NAME, size=(30, 16))
    with pytest.raises(SourceError, match=r"30x16 now; expected 20x16") as caught:
        HandBone(path=str(tmp_path)).load(record, HAND_BONES)
    assert str(path) in str(caught.value)


def test_a_file_gone_since_the_listing(tmp_path: Path) -> None:
    annotation = put(tmp_path)
    record = only(tmp_path)
    annotation.unlink()
    with pytest.raises(SourceError, match=r"outputs_json.*cannot be read"):
        HandBone(path=str(tmp_path)).load(record, HAND_BONES)


def test_rasteriser_errors_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annotation = put(tmp_path)

    def fail(*_: Any) -> Any:
        raise ValueError("ring of class 0 has NaN")

    monkeypatch.setattr(bitmask, "rasterise", fail)
    with pytest.raises(SourceError, match="ring of class 0") as caught:
        HandBone(path=str(tmp_path)).load(only(tmp_path), HAND_BONES)
    assert str(annotation) in str(caught.value)
