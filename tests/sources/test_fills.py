"""Which pixels a polygon covers, by each rule, in every source of polygons."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makedata import SIZE, filled, load, masks_of, put_image, put_json, put_text, scan
from pycocotools import mask as coco_mask

from augforge.sources.raster.fills import fill_centres, fill_coco

RING = [2.3, 1.7, 15.6, 3.2, 12.1, 12.9, 4.4, 10.5]
FILLS = ("outline", "pixel-centre", "coco")


def by_coco(*rings: list[float], size: tuple[int, int] = SIZE) -> np.ndarray:
    """What pycocotools draws of each ring, united."""
    width, height = size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its decoder warns under numpy 2
        masks = [coco_mask.decode(found) for found in coco_mask.frPyObjects([*rings], height, width)]
    return np.asarray(np.any(masks, axis=0), np.uint8)


def by_centres(ring: list[float], size: tuple[int, int] = SIZE) -> np.ndarray:
    """Pixel by pixel: the number of edges to the left of its centre in its row is odd."""
    points = [*zip(ring[::2], ring[1::2], strict=True)]
    edges = [sorted(pair, key=lambda point: point[1]) for pair in zip(points, points[1:] + points[:1], strict=True)]
    found = np.zeros(size[::-1], np.uint8)
    for y in range(size[1]):
        for x in range(size[0]):
            crossed = [x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x for (x0, y0), (x1, y1) in edges if y0 <= y < y1]
            found[y, x] = sum(crossed) % 2
    return found


ORACLES: dict[str, Callable[[list[float]], np.ndarray]] = {
    "outline": filled,
    "pixel-centre": by_centres,
    "coco": by_coco,
}


def some_rings(count: int = 60) -> list[list[float]]:
    """Convex, crossing and thin rings, many of them partly outside, some with whole and half numbers."""
    rng = np.random.default_rng(5)
    rings = [rng.uniform(-9, 29, 2 * int(rng.integers(3, 9))) for _ in range(count)]
    return [(ring if i % 3 else np.rint(2 * ring) / 2).tolist() for i, ring in enumerate(rings)]


@pytest.mark.parametrize("ring", some_rings())
def test_each_rule_agrees_with_its_oracle(ring: list[float]) -> None:
    np.testing.assert_array_equal(fill_coco([ring], *SIZE[::-1]), by_coco(ring))
    np.testing.assert_array_equal(fill_centres([ring], *SIZE[::-1]), by_centres(ring))


def test_rings_are_united() -> None:
    one, two = some_rings(2)
    np.testing.assert_array_equal(fill_coco([one, two], *SIZE[::-1]), by_coco(one, two))
    np.testing.assert_array_equal(fill_centres([one, two], *SIZE[::-1]), by_centres(one) | by_centres(two))


@pytest.mark.parametrize("fill", [fill_centres, fill_coco])
def test_rings_that_reach_far_beyond_the_image(fill: Callable[..., np.ndarray]) -> None:
    far = 2.0**31 - 2
    assert fill([[-far, -far, far, -far, far, far, -far, far]], *SIZE[::-1]).all()
    assert not fill([[far, 1, far, 9, far - 9, 9]], *SIZE[::-1]).any()
    assert not fill([], *SIZE[::-1]).any()


# ---- seams and cracks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", [fill_centres, fill_coco])
def test_polygons_that_share_an_edge_neither_overlap_nor_leave_a_gap(fill: Callable[..., np.ndarray]) -> None:
    rng = np.random.default_rng(2)
    for _ in range(40):
        (ax, bx), (ay, by) = rng.uniform(4, 15, 2), rng.uniform(0, 15, 2)
        left = [0.0, 0.0, ax, 0.0, bx, ay, ax, by, bx, 16.0, 0.0, 16.0]
        right = [20.0, 16.0, bx, 16.0, ax, by, bx, ay, ax, 0.0, 20.0, 0.0]
        crossings = fill([left], *SIZE[::-1]).astype(int) + fill([right], *SIZE[::-1])
        whole = fill([[0.0, 0.0, 20.0, 0.0, 20.0, 16.0, 0.0, 16.0]], *SIZE[::-1])
        np.testing.assert_array_equal(crossings % 2, whole)


def crack(width: float) -> list[float]:
    """A slanted band, of a width in pixels."""
    return [2.0, 2.3, 18.0, 9.3, 18.0, 9.3 + width, 2.0, 2.3 + width]


def test_what_the_rules_do_to_cracks_as_the_decision_says() -> None:
    """ADR 18 states these numbers."""
    columns = slice(3, 17)
    thick = {w: [ORACLES[fill](crack(w))[:, columns].sum(axis=0) for fill in FILLS] for w in (0.4, 1.0)}
    assert [round(float(drawn.mean()), 1) for drawn in thick[1.0]] == [2.0, 1.0, 1.0]
    whole, centres, coco = ((drawn > 0).mean() for drawn in thick[0.4])
    assert whole == 1 and 0.2 < centres < 0.6 and 0.2 < coco < 0.6


@pytest.mark.parametrize(("gap", "left"), [(0, (0, 0, 0)), (1, (0, 1, 1)), (2, (1, 2, 2))])
def test_gaps_between_polygons_as_the_decision_says(gap: int, left: tuple[int, ...]) -> None:
    upper, lower = [0.0, 0.0, 19.0, 0.0, 19.0, 7.0, 0.0, 7.0], [0.0, 7.0 + gap, 19.0, 7.0 + gap, 19.0, 15.0, 0.0, 15.0]
    for fill, rows in zip(FILLS, left, strict=True):
        column = (ORACLES[fill](upper) | ORACLES[fill](lower))[:15, 10]
        assert (column == 0).sum() == rows


# ---- sources ---------------------------------------------------------------------------------------------------------


def put_coco(root: Path) -> tuple[str, dict[str, Any]]:
    put_image(root / "images/a.png")
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [RING], "iscrowd": 0}
    box = {**annotation, "id": 2, "category_id": 2, "segmentation": [], "bbox": [3, 2, 5, 4]}
    categories = [{"id": 1, "name": "cell"}, {"id": 2, "name": "box"}]
    images = [{"id": 1, "file_name": "a.png", "width": SIZE[0], "height": SIZE[1]}]
    put_json(root / "a.json", {"images": images, "annotations": [annotation, box], "categories": categories})
    return "coco", {"boxes": "rectangle"}


def put_yolo(root: Path) -> tuple[str, dict[str, Any]]:
    put_image(root / "images/a.png")
    shares = np.reshape(RING, (-1, 2)) / SIZE
    box = [5.5 / SIZE[0], 4 / SIZE[1], 5 / SIZE[0], 4 / SIZE[1]]
    lines = [[0, *shares.reshape(-1).tolist()], [1, *box]]
    put_text(root / "labels/a.txt", "".join(" ".join(map(repr, line)) + "\n" for line in lines))
    put_text(root / "data.yaml", "names: [cell, box]\n")
    return "yolo", {"boxes": "rectangle"}


def put_labelme(root: Path) -> tuple[str, dict[str, Any]]:
    put_image(root / "a.png")
    line = {"label": "line", "points": [[2, 3], [2, 9]], "shape_type": "line"}
    shape = {"label": "cell", "points": np.reshape(RING, (-1, 2)).tolist(), "shape_type": "polygon"}
    put_json(root / "a.json", {"imagePath": "a.png", "shapes": [shape, line]})
    return "labelme", {"line_width": 1}


def put_cvat(root: Path) -> tuple[str, dict[str, Any]]:
    put_image(root / "images/a.png")
    points = ";".join(f"{x},{y}" for x, y in np.reshape(RING, (-1, 2)).tolist())
    shapes = f'<polygon label="cell" points="{points}"/><box label="box" xtl="3" ytl="2" xbr="8" ybr="6"/>'
    image = f'<image name="a.png" width="{SIZE[0]}" height="{SIZE[1]}">{shapes}</image>'
    put_text(root / "annotations.xml", f"<annotations><version>1.1</version>{image}</annotations>")
    return "cvat", {}


def put_hand_bone(root: Path) -> tuple[str, dict[str, Any]]:
    put_image(root / "train/DCM/ID1/a.png")
    polygon = {"label": "cell", "points": np.reshape(RING, (-1, 2)).tolist()}
    put_json(root / "train/outputs_json/ID1/a.json", {"annotations": [polygon]})
    return "hand-bone", {"classes": ["cell"]}


SOURCES = (put_coco, put_yolo, put_labelme, put_cvat, put_hand_bone)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("put", SOURCES)
def test_every_source_of_polygons_takes_the_option(put: Callable[[Path], Any], fill: str, tmp_path: Path) -> None:
    kind, options = put(tmp_path)
    (sample,) = load(kind, tmp_path, polygon_fill=fill, **options).values()
    masks = masks_of(sample, scan(kind, tmp_path, **options).classes)
    np.testing.assert_array_equal(masks["cell"], ORACLES[fill](RING))
    if "box" in masks:
        ys, xs = np.nonzero(masks["box"])
        assert (xs.min(), xs.max(), ys.min(), ys.max(), len(xs)) == (3, 7, 2, 5, 20)
    if "line" in masks:
        assert masks["line"].sum() == 7, "a line is drawn by its outline"


@pytest.mark.parametrize("put", SOURCES)
def test_the_rule_changes_ids_and_the_default_does_not(put: Callable[[Path], Any], tmp_path: Path) -> None:
    kind, options = put(tmp_path)
    contents = [scan(kind, tmp_path, polygon_fill=fill, **options).records[0].content for fill in FILLS]
    assert len({*contents}) == 3
    assert scan(kind, tmp_path, **options).records[0].content == contents[0]
