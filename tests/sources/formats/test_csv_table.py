"""The csv adapter: run lengths and labels, and every kind of bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makedata import block, broken, known_of, label_of, load, masks_of, put_image, put_text, rejected, scan
from pydantic import ValidationError

from augforge.sources.formats.csv_table import CsvTable
from augforge.sources.raster.runs import parse_runs, runs_mask

KIND = "csv"
HEART, LUNG = block(2, 2, 6, 5, 1), block(4, 1, 12, 9, 1)


def runs(mask: np.ndarray, order: str = "row", start: int = 1) -> str:
    """Run lengths, written without the code under test."""
    flat = [0, *(mask if order == "row" else mask.T).ravel().astype(int).tolist(), 0]
    edges = [i for i in range(1, len(flat)) if flat[i] != flat[i - 1]]
    return " ".join(f"{a - 1 + start} {b - a}" for a, b in zip(edges[::2], edges[1::2], strict=True))


def table(root: Path, *rows: str, head: str = "image_name,class,rle") -> Path:
    return put_text(root / "train.csv", "\n".join([head, *rows, ""]))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.png", "P1/b.png"):
        put_image(tmp_path / name)
    table(
        tmp_path,
        f"a.png,heart,{runs(HEART)}",
        f"a.png,lung,{runs(LUNG)}",
        "P1/b.png,heart,",
        f"P1/b.png,lung,{runs(HEART)}",
        f"P1/b.png,lung,{runs(LUNG)}",
    )
    return tmp_path


def test_run_lengths(root: Path) -> None:
    listing = scan(KIND, root)
    assert listing.classes == ("heart", "lung")
    assert [(r.name, r.group) for r in listing.records] == [("P1/b", "P1"), ("a", "a")]
    samples = load(KIND, root)
    np.testing.assert_array_equal(masks_of(samples["a"], listing.classes)["heart"], HEART)
    np.testing.assert_array_equal(masks_of(samples["a"], listing.classes)["lung"], LUNG)
    both = masks_of(samples["P1/b"], listing.classes)
    np.testing.assert_array_equal(both["lung"], HEART | LUNG)
    assert not both["heart"].any()
    assert known_of(samples["P1/b"], listing.classes) == ["heart", "lung"]


@pytest.mark.parametrize("order", ["row", "column"])
@pytest.mark.parametrize("start", [0, 1])
def test_orders(tmp_path: Path, order: str, start: int) -> None:
    put_image(tmp_path / "a.png")
    table(tmp_path, f"a.png,heart,{runs(LUNG, order, start)}")
    masks = masks_of(load(KIND, tmp_path, order=order, start=start)["a"], ("heart",))
    np.testing.assert_array_equal(masks["heart"], LUNG)


@given(st.lists(st.booleans(), min_size=12, max_size=12), st.sampled_from(["row", "column"]), st.sampled_from([0, 1]))
def test_any_mask(flags: list[bool], order: Any, start: int) -> None:
    mask = np.array(flags, np.uint8).reshape(3, 4)
    found = runs_mask(parse_runs(runs(mask, order, start), 12, start, "x"), 3, 4, order)
    np.testing.assert_array_equal(found, mask)


def test_other_columns_folder_and_suffix(tmp_path: Path) -> None:
    put_image(tmp_path / "scans/a.jpg")
    table(tmp_path, f"a,{runs(HEART, 'column')}", head="ImageId,EncodedPixels")
    options = {"folder": "scans", "suffix": ".jpg", "image": "ImageId", "rle": "EncodedPixels", "order": "column"}
    (sample,) = load(KIND, tmp_path, class_column=None, classes=["salt"], **options).values()
    assert sample.name == "a"
    np.testing.assert_array_equal(masks_of(sample, ("salt",))["salt"], HEART)
    with pytest.raises(ValidationError, match="the one class"):
        CsvTable(path="x", class_column=None)


def test_a_column_for_each_class(root: Path) -> None:
    long = {name: sample.masks for name, sample in load(KIND, root).items()}
    head = "image_name,lung,site,heart"
    rows = [f"a.png,{runs(LUNG)},N,{runs(HEART)}", f"P1/b.png,{runs(HEART)},S,", f"P1/b.png,{runs(LUNG)},S,"]
    table(root, *rows, head=head)
    wide: dict[str, Any] = {"rles": ["heart", "lung"]}
    listing = scan(KIND, root, **wide)
    assert listing.classes == ("heart", "lung")
    samples = load(KIND, root, **wide)
    for name, sample in samples.items():
        np.testing.assert_array_equal(sample.masks, long[name])
        assert known_of(sample, listing.classes) == ["heart", "lung"]
    assert scan(KIND, root, rles=["lung", "heart"]).classes == ("lung", "heart")
    one = masks_of(load(KIND, root, rles=["lung", "heart"], class_map={"lung": "all", "heart": "all"})["a"], ("all",))
    np.testing.assert_array_equal(one["all"], HEART | LUNG)
    broken(KIND, root, "no column 'hart'. Did you mean 'heart'?", rles=["hart"])
    table(root, "a.png,1 1,N,99 999", head=head)
    broken(KIND, root, "train.csv:2: column 'heart'", "outside the image", **wide)
    with pytest.raises(ValidationError, match="rles names columns of run lengths"):
        CsvTable(path="x", rles=("a",), label="b")


def test_a_class_without_a_row(root: Path) -> None:
    put_image(root / "c.png")
    table(root, f"a.png,heart,{runs(HEART)}", "a.png,lung,", "c.png,lung,1 2")
    assert known_of(load(KIND, root)["c"], ("heart", "lung")) == ["heart", "lung"]
    assert known_of(load(KIND, root, missing_row="unknown")["c"], ("heart", "lung")) == ["lung"]
    wide = ("heart", "lung", "spine")
    assert known_of(load(KIND, root, classes=wide)["a"], wide) == ["heart", "lung"]


def test_class_map(root: Path) -> None:
    merged = load(KIND, root, class_map={"heart": "chest", "lung": "chest"})["a"]
    np.testing.assert_array_equal(masks_of(merged, ("chest",))["chest"], HEART | LUNG)
    assert scan(KIND, root, class_map={"lung": None}).classes == ("heart",)
    broken(KIND, root, "train.csv: label 'lung' is not in classes", classes=["heart"])


def test_content_is_canonical(root: Path) -> None:
    before = {record.name: record.content for record in scan(KIND, root).records}
    first, *rest = runs(HEART).split(" ")
    shuffled = " ".join([*rest[1:], first, rest[0]])
    table(root, "P1/b.png,heart,", f"a.png,lung,{runs(LUNG)}", f"a.png,heart,{shuffled}")
    after = {record.name: record.content for record in scan(KIND, root).records}
    assert before["a"] == after["a"] and before["P1/b"] != after["P1/b"]


@pytest.mark.parametrize(
    ("cell", "part"),
    [
        ("1 2 3", "not pairs"),
        ("1 x", "not pairs"),
        ("-1 2", "not pairs"),
        ("1 2.5", "not pairs"),
        ("1 99999999999999999999999", "not pairs"),
        ("0 2", "outside the image; expected lengths of 1 or more in pixels 1 to 320"),
        ("320 2", "outside the image"),
        ("5 0", "outside the image"),
        ("1 5 3 2", "overlap"),
    ],
)
def test_broken_run_lengths(root: Path, cell: str, part: str) -> None:
    path = table(root, "P1/b.png,heart,", f'"a.png",heart,"{cell}"')
    assert broken(KIND, root, part).startswith(f"{path}:3: ")
    assert rejected(KIND, root) == [("a", "broken run lengths")]


def test_paths(root: Path) -> None:
    path = table(root, "../x.png,heart,", "z.png,heart,", "a.png,heart,", ",heart,", f"{'x' * 5000},heart,")
    message = broken(
        KIND, root, "4 problems", f"{path}:2: '../x.png' leaves", f"{path}:3: {root / 'z.png'} does not exist"
    )
    assert f"{path}:5" in message and f"{path}:6" in message
    assert {reason for _, reason in rejected(KIND, root)} == {"no image"}
    assert [record.name for record in scan(KIND, root, on_error="reject").records] == ["a"]


def test_two_images_of_one_name(root: Path) -> None:
    put_image(root / "a.jpg")
    path = table(root, "a.png,heart,", "a.jpg,heart,")
    broken(KIND, root, f"{path}:3: 'a.jpg' has the name of a.png")


def test_damaged_images(root: Path) -> None:
    (root / "a.png").write_bytes(b"")
    broken(KIND, root, "a.png is empty")
    assert rejected(KIND, root) == [("a", "broken image")]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (None, "train.csv cannot be read: No such file"),
        ("", "is empty"),
        ("image_nam,class,rle\na.png,b,\n", "no column 'image_name'. Did you mean 'image_nam'?"),
        ("image_name,class\na.png,b\n", "no column 'rle'"),
        (b"image_name,class,rle\na.png,\xff,\n", "train.csv:2: byte 27 is not UTF-8"),
        ("image_name,class,rle\na.png,b,1 2,3\n", "train.csv:2: 4 cells; expected 3"),
        ('image_name,class,rle\n"a.png,b,\n', "cannot be read as a table"),
        ("image_name,class,rle\n", "holds no row but the names of its columns"),
    ],
)
def test_broken_tables(tmp_path: Path, text: str | bytes | None, part: str) -> None:
    put_image(tmp_path / "a.png")
    if text is not None:
        put_text(tmp_path / "train.csv", text)
    broken(KIND, tmp_path, str(tmp_path / "train.csv"), part)


def test_an_empty_class(root: Path) -> None:
    table(root, f"a.png,heart,{runs(HEART)}", "P1/b.png,,")
    for options in ({}, {"classes": ["heart"]}, {"missing_row": "unknown"}, {"class_map": {"": None}}):
        assert scan(KIND, root, **options).classes == ("heart",)
        negative = load(KIND, root, **options)["P1/b"]
        assert known_of(negative, ("heart",)) == ["heart"] and not negative.masks.any()
    path = table(root, f"a.png,heart,{runs(HEART)}", "P1/b.png,,1 2")
    broken(KIND, root, f"{path}:3: column 'class' is empty beside run lengths")
    assert rejected(KIND, root) == [("P1/b", "broken run lengths")]


def test_minus_one_is_an_empty_mask(root: Path) -> None:
    table(root, f"a.png,heart,{runs(HEART)}", "P1/b.png,heart,-1")
    assert not load(KIND, root)["P1/b"].masks.any()
    table(root, f"a.png,{runs(HEART)},-1", "P1/b.png,-1,1 2", head="image_name,heart,lung")
    samples = load(KIND, root, rles=["heart", "lung"])
    np.testing.assert_array_equal(masks_of(samples["a"], ("heart", "lung"))["heart"], HEART)
    assert [int(mask.sum()) for mask in masks_of(samples["P1/b"], ("heart", "lung")).values()] == [0, 2]


@pytest.mark.parametrize("comma", [";", "\t"])
def test_other_commas(root: Path, comma: str) -> None:
    table(root, f"a.png{comma}heart, left{comma}{runs(HEART)}", head=comma.join(["image_name", "class", "rle"]))
    np.testing.assert_array_equal(masks_of(load(KIND, root)["a"], ("heart, left",))["heart, left"], HEART)


def test_a_cell_longer_than_csv_allows_by_itself(tmp_path: Path) -> None:
    put_image(tmp_path / "a.png", (400, 400))
    mask = np.indices((400, 400)).sum(axis=0) % 2
    table(tmp_path, f"a.png,board,{runs(mask)}")
    assert len((tmp_path / "train.csv").read_text()) > 2**19
    np.testing.assert_array_equal(masks_of(load(KIND, tmp_path)["a"], ("board",))["board"], mask)


# ---- labels ----------------------------------------------------------------------------------------------------------


def test_one_label(root: Path) -> None:
    table(root, "a.png,sick", "P1/b.png,well", head="image_name,state")
    listing = scan(KIND, root, label="state")
    assert (listing.classes, listing.labels) == (("ignore",), ("sick", "well"))
    assert label_of(load(KIND, root, label="state")["P1/b"]) == [0, 1]
    path = table(root, "a.png,sick", "a.png,well", head="image_name,state")
    broken(KIND, root, f"{path}:3: a.png stands there twice", label="state")
    table(root, "a.png,sick", "P1/b.png,well", head="image_name,state")
    assert rejected(KIND, root, label="state", classes=["sick"]) == [("P1/b", "broken label")]
    assert rejected(KIND, root, label="state", class_map={"well": None}) == [("P1/b", "broken label")]


def test_an_empty_label(root: Path) -> None:
    path = table(root, "a.png,sick", "P1/b.png,", head="image_name,state")
    for classes in (None, ["sick"]):
        broken(KIND, root, f"{path}:3: column 'state' is empty", label="state", classes=classes)
    assert rejected(KIND, root, label="state") == [("P1/b", "broken label")]
    assert scan(KIND, root, label="state", on_error="reject").labels == ("sick",)
    named: dict[str, Any] = {"label": "state", "class_map": {"": "well"}}
    assert scan(KIND, root, **named).labels == ("well", "sick")
    assert label_of(load(KIND, root, **named)["P1/b"]) == [1, 0]


def test_an_empty_cell_of_weights_is_an_unknown_label(root: Path) -> None:
    table(root, "a.png,,1", "P1/b.png,0,nan", head="image_name,cold,flu")
    found = load(KIND, root, labels=["cold", "flu"])
    assert [str(label_of(found[name])) for name in ("a", "P1/b")] == ["[nan, 1.0]", "[0.0, nan]"]
    (told,) = [
        each for each in scan(KIND, root, labels=["cold", "flu"]).all_findings if each.kind == "empty label cells"
    ]
    assert set(told.names) == {"a", "P1/b"} and "2 of 2 images" in told.message
    merged = load(KIND, root, labels=["cold", "flu"], class_map={"cold": "ill", "flu": "ill"})
    assert [label_of(merged[name]) for name in ("a", "P1/b")] == [[1], [0]]


def test_weights(root: Path) -> None:
    path = table(root, "a.png,1,0.25", "P1/b.png,0,1", head="image_name,flu,cold")
    assert scan(KIND, root, labels=["cold", "flu"]).labels == ("cold", "flu")
    assert label_of(load(KIND, root, labels=["cold", "flu"])["a"]) == [0.25, 1]
    merged = load(KIND, root, labels=["cold", "flu"], class_map={"cold": "ill", "flu": "ill"})
    assert label_of(merged["a"]) == [1]
    for cell in ("2", "-1", "x", "inf"):
        table(root, f"a.png,{cell},0", head="image_name,flu,cold")
        broken(KIND, root, f"{path}:2: column 'flu' holds '{cell}'", labels=["cold", "flu"])
    with pytest.raises(ValidationError, match="give one of the two"):
        CsvTable(path="x", label="a", labels=["b"])


def test_rows_that_were_cut(tmp_path: Path) -> None:
    put_image(tmp_path / "a.png")
    put_text(tmp_path / "train.csv", "image_name,class,rle\na.png,cat,1 2\na.png,dog\n")
    broken(KIND, tmp_path, "train.csv:3: 2 cells; expected 3")
    put_text(tmp_path / "train.csv", "image_name,class,rle\na.png,cat,1 2\na.png,dog,\n")
    assert scan(KIND, tmp_path).classes == ("cat", "dog")


def test_a_folder_by_any_spelling(tmp_path: Path) -> None:
    put_image(tmp_path / "imgs/a.png")
    put_text(tmp_path / "train.csv", "image_name,class,rle\na.png,cat,1 2\n")
    for folder in ("imgs", "./imgs", "imgs/", "x/../imgs/."):
        assert [record.name for record in scan(KIND, tmp_path, folder=folder).records] == ["a"]


# ---- folders of classes ----------------------------------------------------------------------------------------------


def groups(root: Path, rows: list[str], **options: Any) -> dict[str, str]:
    for row in rows:
        put_image(root / row.partition(",")[0])
    head = options.pop("head", "image_name,state")
    table(root, *rows, head=head)
    if "labels" not in options:
        options["label"] = "state"
    return {record.name: record.group for record in scan(KIND, root, **options).records}


def test_a_folder_named_as_the_label_is_no_group(tmp_path: Path) -> None:
    rows = ["Cat Dog/a.png,cat_dog", "Cat Dog/b.png,cat_dog", "cow/c.png,cow"]
    assert groups(tmp_path, rows) == {"Cat Dog/a": "Cat Dog/a", "Cat Dog/b": "Cat Dog/b", "cow/c": "cow/c"}


def test_below_splits_and_above_patients(tmp_path: Path) -> None:
    rows = ["train/cat/P1/a.png,cat", "train/cow/P1/b.png,cow", "val/cat/P2/c.png,cat", "val/cow/P3/d.png,cow"]
    assert [*groups(tmp_path, rows).values()] == ["P1", "P1", "P2", "P3"]
    rows = ["train/cat/a.png,cat", "train/cow/b.png,cow", "val/cat/c.png,cat", "val/cow/d.png,cow"]
    found = groups(tmp_path, rows)
    assert [*found] == [*found.values()]


def test_three_folders_with_other_names_for_the_labels(tmp_path: Path) -> None:
    rows = [f"n0{number}/{name}.png,{label}" for number, label in enumerate(["cat", "cow", "dog"]) for name in "ab"]
    found = groups(tmp_path, rows)
    assert [*found] == [*found.values()]


def test_columns_of_weights_name_folders_too(tmp_path: Path) -> None:
    rows = ["cat/a.png,1,0", "cat/b.png,1,0", "cow/c.png,0,1"]
    found = groups(tmp_path, rows, head="image_name,cat,cow", labels=["cat", "cow"])
    assert [*found] == [*found.values()]


def test_patients_stay_groups(tmp_path: Path) -> None:
    rows = ["P1/a.png,sick", "P1/b.png,sick", "P2/c.png,well", "P3/d.png,well"]
    assert [*groups(tmp_path, rows).values()] == ["P1", "P1", "P2", "P3"]
    assert not scan(KIND, tmp_path, label="state").findings


def test_two_folders_of_one_label_each_are_told(tmp_path: Path) -> None:
    rows = ["P1/a.png,sick", "P1/b.png,sick", "P2/c.png,well"]
    assert [*groups(tmp_path, rows).values()] == ["P1", "P1", "P2"]
    (found,) = scan(KIND, tmp_path, label="state").findings
    assert found.names == ("P1", "P2") and "group: {regex: (.+)}" in found.remedy
    assert not scan(KIND, tmp_path, label="state", group={"regex": "(.+)"}).findings
