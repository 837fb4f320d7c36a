"""Index masks that are not plain values: colours, one class by a threshold, numbers of objects; and what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from makedata import block, broken, load, masks_of, put_image, put_palette, put_pixels, scan
from PIL import Image
from pydantic import ValidationError

from augforge.export.index_mask import voc_palette
from augforge.sources.class_lists import CITYSCAPES, VOC
from augforge.sources.formats.index_mask import IndexMask
from augforge.sources.raster.palettes import PALETTES

KIND = "index-mask"
SIZE = (64, 48)
SQUARE = block(20, 12, 41, 31, size=SIZE)


def put(root: Path, *masks: Any, suffix: str = ".png") -> Path:
    for name, mask in zip("abcdefgh", masks, strict=False):
        put_image(root / f"images/{name}.png", (mask.shape[1], mask.shape[0]))
        put_pixels(root / f"masks/{name}{suffix}", mask[..., ::-1] if mask.ndim == 3 else mask)
    return root


def painted(**colours: tuple[int, int, int]) -> np.ndarray:
    """A picture of rectangles side by side, one of each colour, on black."""
    picture = np.zeros((48, 64, 3), np.uint8)
    for number, colour in enumerate(colours.values()):
        picture[10:20, 8 * number + 2 : 8 * number + 8] = colour
    return picture


def findings(root: Path, **options: Any) -> dict[str, tuple[str, str]]:
    return {found.kind: (found.message, found.remedy) for found in scan(KIND, root, **options).findings}


# ---- colours ---------------------------------------------------------------------------------------------------------


def test_colours_name_classes(tmp_path: Path) -> None:
    colours = {"dog": (0, 128, 0), "cat": (128, 0, 0), "ground": (9, 9, 9)}
    put(tmp_path, painted(**colours), painted(cat=(128, 0, 0)))
    options: dict[str, Any] = {"colors": colours, "class_map": {"ground": None}}
    assert scan(KIND, tmp_path, **options).classes == ("dog", "cat")
    samples = load(KIND, tmp_path, **options)
    masks = masks_of(samples["a"], ("dog", "cat"))
    np.testing.assert_array_equal(masks["dog"], block(2, 10, 8, 20, 1, SIZE))
    np.testing.assert_array_equal(masks["cat"], block(10, 10, 16, 20, 1, SIZE))
    assert not masks_of(samples["b"], ("dog", "cat"))["dog"].any()


def test_the_order_of_colours_changes_no_id(tmp_path: Path) -> None:
    put(tmp_path, painted(cat=(128, 0, 0), dog=(0, 128, 0)))
    colours = {"dog": (0, 128, 0), "cat": (128, 0, 0)}
    one = scan(KIND, tmp_path, colors=colours).records[0].content
    assert one == scan(KIND, tmp_path, colors=dict(reversed(colours.items()))).records[0].content
    assert one != scan(KIND, tmp_path, colors=colours, class_map={"dog": "wolf"}).records[0].content


def test_palette_files_and_rgba_are_read_by_their_colours(tmp_path: Path) -> None:
    values = block(2, 2, 9, 9, 12, SIZE) + block(20, 2, 30, 9, 255, SIZE)
    put_image(tmp_path / "images/a.png", SIZE)
    put_palette(tmp_path / "masks/a.png", values, voc=True)
    put_image(tmp_path / "images/b.png", SIZE)
    opaque = np.dstack([voc_palette()[values].astype(np.uint8), np.full(SIZE[::-1], 255, np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "masks/b.png")
    for sample in load(KIND, tmp_path, colors="voc").values():
        masks = masks_of(sample, VOC)
        np.testing.assert_array_equal(masks["dog"], values == 12)
        np.testing.assert_array_equal(masks["ignore"], values == 255)


def test_the_palette_of_voc_is_the_published_one() -> None:
    published = voc_palette()
    assert [*PALETTES["voc"]] == [*VOC]
    for value, name in enumerate(VOC[:-1], start=1):
        assert PALETTES["voc"][name] == tuple(published[value])
    assert PALETTES["voc"]["person"] == (192, 128, 128)
    assert PALETTES["voc"]["ignore"] == (224, 224, 192)


def test_the_palette_of_cityscapes_has_the_benchmarks_classes_first(tmp_path: Path) -> None:
    assert [*PALETTES["cityscapes"]][:19] == [*CITYSCAPES[:-1]]
    assert len({*PALETTES["cityscapes"].values()}) == len(PALETTES["cityscapes"]) == 29
    put(tmp_path, painted(road=(128, 64, 128), caravan=(0, 0, 90), bicycle=(119, 11, 32)))
    options: dict[str, Any] = {"colors": "cityscapes", "classes": "cityscapes", "class_map": {"*": "ignore"}}
    masks = masks_of(load(KIND, tmp_path, **options)["a"], CITYSCAPES)
    assert {name: int(mask.sum()) for name, mask in masks.items() if mask.any()} == {
        "road": 60,
        "bicycle": 60,
        "ignore": 64 * 48 - 120,
    }


def test_a_colour_of_no_class_is_an_error_with_its_count_and_the_nearest(tmp_path: Path) -> None:
    put(tmp_path, painted(cat=(128, 0, 0), other=(120, 10, 0)))
    broken(KIND, tmp_path, "60 pixels", "[120, 10, 0]", "that of cat", colors={"cat": (128, 0, 0), "dog": (0, 0, 99)})


def test_mixed_colours_need_a_tolerance(tmp_path: Path) -> None:
    put(tmp_path, painted(cat=(200, 0, 0)), suffix=".jpg")
    colours = {"cat": (200, 0, 0)}
    broken(KIND, tmp_path, "JPEG", "color_tolerance", colors=colours)
    (cat,) = masks_of(load(KIND, tmp_path, colors=colours, color_tolerance=127)["a"], ("cat",)).values()
    assert abs(int(cat.sum()) - 60) < 12


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"colors": "vocc"}, "no palette is named 'vocc'"),
        ({"colors": {"a": (1, 2, 3), "b": (1, 2, 3)}}, "the same colour"),
        ({"colors": {"a": (1, 2, 256)}}, "255"),
        ({"colors": "voc", "values": {1: "a"}}, "give one of them"),
        ({"colors": "voc", "instances": True}, "give one of them"),
        ({"threshold": 9, "instances": True}, "give one of them"),
        ({"threshold": 9, "classes": ["a", "b"]}, "one class, but a, b are named"),
        ({"instances": True, "values": {1: "a", 2: "b"}}, "one class, but a, b are named"),
    ],
)
def test_options_that_contradict(options: dict[str, Any], part: str) -> None:
    with pytest.raises(ValidationError, match=part):
        IndexMask(path=".", **options)


def test_colour_masks_without_names_say_how_to_name_them(tmp_path: Path) -> None:
    broken(KIND, put(tmp_path, painted(cat=(128, 0, 0))), "colors: {CLASS: [r, g, b]}")


# ---- one class -------------------------------------------------------------------------------------------------------


def test_grey_levels_are_told_and_a_threshold_reads_them(tmp_path: Path) -> None:
    blurred = cv2.GaussianBlur(SQUARE, (9, 9), 0)
    put(tmp_path, blurred, blurred)
    message, remedy = findings(tmp_path)["grey levels in masks"]
    assert message.startswith("2 of 2 masks hold grey levels along edges, such as masks/a.png with")
    assert "threshold: 127" in remedy
    broken(KIND, tmp_path, "names no class", "threshold: 127", values={255: "polyp"})
    for options in ({"classes": ["polyp"]}, {"values": {255: "polyp"}}):
        assert not findings(tmp_path, threshold=127, **options)
        (polyp,) = masks_of(load(KIND, tmp_path, threshold=127, **options)["a"], ("polyp",)).values()
        np.testing.assert_array_equal(polyp, blurred > 127)


def test_resized_masks_of_several_classes_are_told(tmp_path: Path) -> None:
    """Between values 6 and 12 come 7 to 11, along edges alone, however small the values are."""
    classes = (SQUARE > 0) * 6 + block(3, 2, 12, 9, 6, SIZE)
    small = cv2.resize(classes.astype(np.uint8), (40, 30), interpolation=cv2.INTER_AREA)
    put(tmp_path, cv2.resize(small, SIZE, interpolation=cv2.INTER_LINEAR))
    assert [*findings(tmp_path)] == ["grey levels in masks"]


def test_a_threshold_reads_jpeg_masks(tmp_path: Path) -> None:
    put(tmp_path, SQUARE, suffix=".jpg")
    broken(KIND, tmp_path, "JPEG", "threshold", classes=["polyp"])
    (polyp,) = masks_of(load(KIND, tmp_path, threshold=127, classes=["polyp"])["a"], ("polyp",)).values()
    np.testing.assert_array_equal(polyp, SQUARE > 0)


def test_index_masks_of_many_classes_are_not_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    masks = [cv2.resize(rng.integers(0, 34, (6, 8), np.uint8), SIZE, interpolation=cv2.INTER_NEAREST) for _ in "abcd"]
    put(tmp_path, *masks)
    assert not findings(tmp_path)


# ---- objects ---------------------------------------------------------------------------------------------------------


def numbered(count: int) -> np.ndarray:
    return np.kron(np.arange(1, 49).reshape(6, 8) * (np.arange(48).reshape(6, 8) < count), np.ones((8, 8))).astype(
        np.uint16
    )


def test_numbers_of_objects_are_told_and_become_one_class(tmp_path: Path) -> None:
    put(tmp_path, numbered(5), numbered(9), numbered(0))
    message, remedy = findings(tmp_path)["masks that number objects"]
    assert "up to 9 in masks/b.png" in message and "instances: true" in remedy
    assert scan(KIND, tmp_path, instances=True).classes == ("object",)
    assert not findings(tmp_path, instances=True)
    for name, sample in load(KIND, tmp_path, instances=True, classes=["cell"]).items():
        (cell,) = masks_of(sample, ("cell",)).values()
        assert cell.sum() == 64 * {"a": 5, "b": 9, "c": 0}[name]


def test_numbers_with_gaps_are_told_if_each_is_one_piece(tmp_path: Path) -> None:
    """Objects at the border, or joined ones, were removed: the numbers have gaps, and no two masks the same ones."""
    whole = [numbered(count) * (numbered(count) % 3 != 1) for count in (11, 17, 26)]
    put(tmp_path / "objects", *whole)
    message, remedy = findings(tmp_path / "objects")["masks that number objects"]
    assert "masks/c.png has 17 of them, up to 26, and nearly each is one piece" in message
    assert "instances: true" in remedy
    put(tmp_path / "classes", *(np.hstack([mask[:, :32], mask[:, :32]]) for mask in whole))  # each value twice
    assert not findings(tmp_path / "classes")


def test_the_number_255_is_an_object_like_others(tmp_path: Path) -> None:
    put(tmp_path, np.kron(np.arange(300).reshape(15, 20), np.ones((2, 2))).astype(np.uint16))
    (cell,) = masks_of(load(KIND, tmp_path, instances=True, classes=["cell"])["a"], ("cell",)).values()
    assert cell.sum() == 299 * 4


def test_more_objects_than_classes_can_be_say_what_to_set(tmp_path: Path) -> None:
    many = np.kron(np.arange(1, 301).reshape(15, 20), np.ones((2, 2))).astype(np.uint16)
    put(tmp_path, many, many * (many < 200))
    broken(KIND, tmp_path, "values 1 to n", "expected at most 256 classes. Set", "instances: true")


def test_the_same_values_in_all_masks_are_classes(tmp_path: Path) -> None:
    put(tmp_path, numbered(6), numbered(6))
    assert not findings(tmp_path)


# ---- grounds ---------------------------------------------------------------------------------------------------------


def test_grounds_are_told(tmp_path: Path) -> None:
    put(tmp_path, 255 - SQUARE, 255 - SQUARE)
    assert (
        "lesion covers the whole border of 2 of 2"
        in findings(tmp_path, values={255: "lesion"})["class fills its masks"][0]
    )
    assert not findings(tmp_path, values={0: "lesion"}, background=255)


def test_a_palette_with_white_first_is_told(tmp_path: Path) -> None:
    put_image(tmp_path / "images/a.png", SIZE)
    (tmp_path / "masks").mkdir()
    picture = Image.fromarray((SQUARE == 0).astype(np.uint8), mode="P")
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.save(tmp_path / "masks/a.png")
    assert "palette with white first" in findings(tmp_path, classes=["lesion"])
    assert not findings(tmp_path, values={0: "lesion"}, background=1)
