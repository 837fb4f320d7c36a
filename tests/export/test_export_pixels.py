"""Run lengths, PNGs and outlines of a class's box, against plain numpy, Pillow, pycocotools and OpenCV."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from augforge.export import outlines
from augforge.export.core import Region
from augforge.export.index_mask import voc_palette
from augforge.export.png import index_png, mask_png
from augforge.export.run_lengths import coco_counts, column_runs, row_runs

MASKS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda size: arrays(np.uint8, size, elements=st.integers(0, 1))
)
BIG = settings(max_examples=150, deadline=None)


def region_of(mask: np.ndarray) -> Region:
    """The class in its own box."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    roi = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    return Region(0, roi, np.ascontiguousarray(mask[roi]))


def plain_runs(flat: np.ndarray) -> tuple[list[int], list[int]]:
    """Run lengths as contests' own code computes them."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [0]])))
    return edges[::2].tolist(), (edges[1::2] - edges[::2]).tolist()


@BIG
@given(MASKS.filter(np.any), st.integers(0, 2), st.integers(0, 2))
def test_runs(mask: np.ndarray, left: int, top: int) -> None:
    full = np.pad(mask, ((top, 1), (left, 0)))
    region, (height, width) = region_of(full), full.shape
    for runs, flat in ((row_runs(region, width), full.ravel()), (column_runs(region, height), full.T.ravel())):
        assert tuple(part.tolist() for part in runs) == plain_runs(flat)
    listed = {"size": [height, width], "counts": coco_counts(column_runs(region, height), full.size)}
    assert coco_mask.frPyObjects(listed, height, width) == coco_mask.encode(np.asfortranarray(full))


def test_a_full_image_is_one_run() -> None:
    starts, lengths = row_runs(region_of(np.ones((3, 4), np.uint8)), 4)
    assert (starts.tolist(), lengths.tolist()) == ([0], [12])


def test_runs_beyond_32_bits() -> None:
    region = Region(0, (slice(99_999, 100_000), slice(70_000, 70_002)), np.ones((1, 2), np.uint8))
    assert row_runs(region, 100_000)[0].tolist() == [9_999_970_000]


@BIG
@given(MASKS.filter(np.any), st.integers(0, 300), st.integers(0, 300))
def test_mask_png(mask: np.ndarray, above: int, below: int) -> None:
    full = np.pad(mask, ((above, below), (2, 1)))
    region = region_of(full)
    data = mask_png(region.mask, region.roi, *full.shape)
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.mode == "L"
        np.testing.assert_array_equal(np.asarray(picture), full * 255)
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), full * 255)


@pytest.mark.parametrize("rows", [(0, 0), (0, 5), (3, 5), (0, 1), (4, 5)])
def test_index_png(rows: tuple[int, int]) -> None:
    values = np.zeros((5, 7), np.uint8)
    values[slice(*rows), 2:] = [1, 7, 255, 0, 3]
    with Image.open(io.BytesIO(index_png(values, voc_palette()))) as picture:
        assert picture.mode == "P"
        assert picture.getpalette() == voc_palette().ravel().tolist()
        np.testing.assert_array_equal(np.asarray(picture), values)


def test_voc_palette() -> None:
    """The first colours of Pascal VOC, and its void."""
    expected = {1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 15: (192, 128, 128), 255: (224, 224, 192)}
    assert {value: tuple(voc_palette()[value].tolist()) for value in expected} == expected


def fill_by_opencv(polygons: list[np.ndarray], shape: tuple[int, int], rounding: np.ufunc) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    for points in polygons:
        cv2.fillPoly(mask, [rounding(points).astype(np.int32)], (1,))
    return mask


def fill_by_pillow(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """As LabelMe draws them."""
    picture = Image.new("L", shape[::-1])
    for points in polygons:
        ImageDraw.Draw(picture).polygon([tuple(point) for point in points.tolist()], outline=1, fill=1)
    return np.asarray(picture)


@BIG
@given(MASKS)
def test_polygons_are_exact(mask: np.ndarray) -> None:
    """Rounded, cut off and as Pillow takes them, with holes in holes, single pixels, and lines."""
    full = np.pad(mask, ((3, 1), (4, 0)))
    polygons = outlines.polygons(mask, (4, 3))
    assert len(polygons) == cv2.connectedComponents(mask, connectivity=8)[0] - 1
    for points in polygons:
        assert len(points) >= 3
        assert (points != np.roll(points, 1, axis=0)).any(axis=1).all()
    np.testing.assert_array_equal(fill_by_opencv(polygons, full.shape, np.rint), full)
    np.testing.assert_array_equal(fill_by_opencv(polygons, full.shape, np.trunc), full)
    np.testing.assert_array_equal(fill_by_pillow(polygons, full.shape), full)


def noisy(seed: int, share: float) -> np.ndarray:
    return (np.random.default_rng(seed).random((70, 90)) < share).astype(np.uint8)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8, 0.97])
def test_polygons_of_noise_are_exact(share: float) -> None:
    """Hundreds of holes in one piece."""
    mask = noisy(3, share)
    np.testing.assert_array_equal(fill_by_opencv(outlines.polygons(mask, (0, 0)), mask.shape, np.rint), mask)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
@BIG
@given(MASKS)
def test_edge_polygons_are_exact_in_pycocotools(mask: np.ndarray) -> None:
    full = np.pad(mask, ((3, 1), (4, 0)))
    flat = [points.reshape(-1).tolist() for points in outlines.edge_polygons(mask, (4, 3))]
    found = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, *full.shape))) if flat else full * 0
    np.testing.assert_array_equal(found, full)


def test_a_pixel_and_a_line_have_three_points() -> None:
    (pixel,) = outlines.polygons(np.ones((1, 1), np.uint8), (7, 5))
    np.testing.assert_allclose(pixel, [[7.25, 5.25], [7.45, 5.25], [7.45, 5.45]])
    (line,) = outlines.polygons(np.ones((1, 6), np.uint8), (0, 0))
    np.testing.assert_allclose(line, [[0.25, 0.25], [5.25, 0.25], [5.25, 0.45]])


@pytest.mark.parametrize("tolerance", [0.5, 1, 3, 16])
def test_tolerance_saves_points_and_keeps_classes(tolerance: float) -> None:
    disc = np.zeros((99, 99), np.uint8)
    cv2.circle(disc, (49, 49), 40, 1, -1)
    (simple,), (exact,) = outlines.polygons(disc, (0, 0), tolerance), outlines.polygons(disc, (0, 0))
    assert len(simple) < len(exact)
    drawn = fill_by_opencv([simple], disc.shape, np.rint)
    assert (drawn & disc).sum() / (drawn | disc).sum() >= outlines.MIN_IOU


@pytest.mark.parametrize("tolerance", [0.5, 1, 3, 16])
def test_tolerance_holds_for_pillow_too(tolerance: float) -> None:
    """A thin slanted bone, which OpenCV and Pillow do not draw alike: by OpenCV alone, fewer points would do."""
    bone = np.zeros((60, 90), np.uint8)
    cv2.ellipse(bone, (45, 30), (38, 3), 25, 0, 360, 1, -1)
    np.testing.assert_array_equal(fill_by_pillow(outlines.polygons(bone, (0, 0)), bone.shape), bone)
    drawn = fill_by_pillow(outlines.polygons(bone, (0, 0), tolerance), bone.shape)
    assert (drawn & bone).sum() / (drawn | bone).sum() >= outlines.MIN_IOU


@pytest.mark.parametrize("tolerance", [1, 16])
def test_tolerance_keeps_small_classes(tolerance: float) -> None:
    for mask in (noisy(1, 0.2), np.ones((1, 1), np.uint8), np.eye(5, dtype=np.uint8)):
        drawn = fill_by_opencv(outlines.polygons(mask, (0, 0), tolerance), mask.shape, np.rint)
        assert (drawn & mask).sum() / (drawn | mask).sum() >= outlines.MIN_IOU
