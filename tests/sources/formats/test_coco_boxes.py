"""COCO's boxes, which some tools write as two corners, by boxes of which both forms are known."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import makedata
import numpy as np
import pytest

from augforge.sources.listing import Finding

Corners = tuple[int, int, int, int]
scan = partial(makedata.scan, "coco")
SIZE = (96, 72)


def random_boxes(seed: int, count: int, least: int) -> list[Corners]:
    """Boxes x0, y0, x1, y1 of at least so many pixels a side, anywhere in an image of `SIZE`."""
    rng = np.random.default_rng(seed)
    sides = [rng.integers(least, side // 2, count) for side in SIZE]
    starts = [rng.integers(1, side - length) for side, length in zip(SIZE, sides, strict=True)]
    boxes = np.stack([*starts, *(start + length for start, length in zip(starts, sides, strict=True))], axis=1)
    return [(int(x0), int(y0), int(x1), int(y1)) for x0, y0, x1, y1 in boxes]


def in_coco(box: Corners) -> list[int]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def write(root: Path, boxes: list[list[int]], polygons: list[Corners] | None = None) -> None:
    """Images of one annotation each."""
    notes: list[dict[str, Any]] = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": box, "iscrowd": 0} for i, box in enumerate(boxes, 1)
    ]
    for note, ring in zip(notes, polygons or [], strict=polygons is not None):
        x0, y0, x1, y1 = ring
        note["segmentation"] = [[x0, y0, x1, y0, x1, y1, x0, y1]]
    images: list[dict[str, Any]] = [
        {"id": i, "file_name": f"{i:02}.png", "width": SIZE[0], "height": SIZE[1]} for i in range(1, len(boxes) + 1)
    ]
    makedata.put_json(
        root / "coco.json", {"images": images, "annotations": notes, "categories": [{"id": 1, "name": "c"}]}
    )
    for image in images:
        makedata.put_image(root / image["file_name"], SIZE)


def told(root: Path, kind: str) -> list[Finding]:
    return [found for found in scan(root, boxes="rectangle").all_findings if found.kind == kind]


@pytest.mark.parametrize("seed", range(4))
def test_boxes_written_as_corners_are_told(tmp_path: Path, seed: int) -> None:
    boxes = random_boxes(seed, 12, 8)
    write(tmp_path, [[*box] for box in boxes])
    leaving = [f"{i:02}" for i, (x0, y0, x1, y1) in enumerate(boxes, 1) if x0 + x1 > 97 or y0 + y1 > 73]
    (found,) = told(tmp_path, "boxes written as corners")
    assert found.names == tuple(leaving) and len(leaving) > 1
    assert f"coco.json: {len(leaving)} of 12 boxes reach out of their images" in found.message
    assert "but 12 fit if bbox is read as two corners" in found.message


@pytest.mark.parametrize("seed", range(4))
def test_boxes_as_coco_has_them_are_not_told(tmp_path: Path, seed: int) -> None:
    """Neither small ones, nor those of large objects, which nearly always fit as corners too."""
    large = [(2 + seed, 3, 90 - seed, 70), (1, 2, 80, 60 + seed), (5, 4, 95, 71)]
    write(tmp_path, [in_coco(box) for box in (random_boxes(seed, 12, 8) if seed % 2 else large)])
    assert not scan(tmp_path, boxes="rectangle").all_findings


def test_boxes_of_whole_images_are_the_same_either_way(tmp_path: Path) -> None:
    write(tmp_path, [[0, 0, *SIZE]] * 3)
    assert not told(tmp_path, "boxes written as corners")


def test_some_boxes_that_leave_the_image_are_no_corners(tmp_path: Path) -> None:
    """Objects at the right border, whose boxes are not cut there: the cut is told, and nothing of corners."""
    write(tmp_path, [[80, 10, 20, 30], [85, 50, 16, 12], [70, 20, 30, 8]])
    assert {found.kind for found in scan(tmp_path, boxes="rectangle").all_findings} == {"shapes outside the image"}


def test_polygons_apart_from_their_boxes_say_if_these_are_corners(tmp_path: Path) -> None:
    boxes = random_boxes(7, 12, 8)
    write(tmp_path, [[*box] for box in boxes], boxes)
    (found,) = told(tmp_path, "polygons apart from their boxes")
    assert "as the boxes are written as two corners" in found.message
    assert not told(tmp_path, "boxes written as corners"), "no box is drawn"
    write(tmp_path, [in_coco(box) for box in boxes], boxes)
    assert not scan(tmp_path).all_findings
    moved = [(x0 // 2, y0 // 2, x1 // 2, y1 // 2) for x0, y0, x1, y1 in boxes]
    write(tmp_path, [in_coco(box) for box in boxes], moved)
    (found,) = told(tmp_path, "polygons apart from their boxes")
    assert "corners" not in found.message
