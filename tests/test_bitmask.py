"""Bit-planes against the plain computation with one mask per class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from augforge import bitmask
from augforge.ops.contract_samples import has_extra_bits, replace_class

CLASSES = (1, 8, 9, 29, 70, 256)
LAYOUTS: dict[str, Callable[[bitmask.Planes], bitmask.Planes]] = {
    "interleaved": lambda planes: planes,
    "planar": lambda planes: np.moveaxis(bitmask.planar(planes), 0, -1),
    "cropped": lambda planes: np.pad(planes, ((1, 2), (3, 1), (0, 0)), constant_values=255)[1:-2, 3:-1],
    "cropped planar": lambda planes: np.moveaxis(np.pad(bitmask.planar(planes), 1)[1:-1], 0, -1)[1:-1, 1:-1],
    "mirrored": lambda planes: planes[::-1, ::-1].copy()[::-1, ::-1],
}


def random_stack(seed: int, classes: int, height: int, width: int) -> NDArray[np.bool_]:
    """Masks (C, H, W) of every density, some empty, some full."""
    rng = np.random.default_rng(seed)
    density = rng.choice([0, 0.05, 0.5, 1], size=(classes, 1, 1))
    return rng.random((classes, height, width)) < density


@st.composite
def stacks(draw: st.DrawFn) -> tuple[NDArray[np.bool_], bitmask.Planes]:
    """The same masks as a stack (C, H, W) and as planes in some memory layout."""
    height, width = draw(st.integers(1, 17)), draw(st.integers(1, 17))
    stack = random_stack(draw(st.integers(0, 2**32)), draw(st.sampled_from(CLASSES)), height, width)
    return stack, LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](bitmask.from_masks(list(stack)))


def unpack(planes: bitmask.Planes, classes: int) -> NDArray[np.bool_]:
    """The layout written out once more, bit by bit."""
    return np.stack([(planes[..., c // 8] & (1 << (c % 8))) != 0 for c in range(classes)])


property_test = settings(deadline=None, max_examples=60)


@pytest.mark.parametrize(("classes", "planes"), [(1, 1), (8, 1), (9, 2), (29, 4), (70, 9), (256, 32)])
def test_plane_count_and_empty(classes: int, planes: int) -> None:
    assert bitmask.plane_count(classes) == planes
    made = bitmask.empty(2, 3, classes)
    assert made.shape == (2, 3, planes) and made.dtype == np.uint8 and made.flags.c_contiguous and not made.any()


@pytest.mark.parametrize("classes", [0, -1, 257])
def test_class_count_out_of_range(classes: int) -> None:
    with pytest.raises(ValueError, match="1 to 256"):
        bitmask.plane_count(classes)


@property_test
@given(stacks())
def test_masks_round_trip(pair: tuple[NDArray[np.bool_], bitmask.Planes]) -> None:
    stack, planes = pair
    assert (unpack(planes, len(stack)) == stack).all()
    masks = list(bitmask.to_masks(planes, len(stack)))
    assert {mask.dtype for mask in masks} == {np.dtype(np.uint8)}
    assert (np.stack(masks) == stack).all()
    whole = bitmask.to_stack(planes, len(stack))
    assert whole.dtype == np.uint8 and whole.flags.c_contiguous and (whole == stack).all()
    for c in {0, np.int64(len(stack) // 2), len(stack) - 1}:
        assert bitmask.class_mask(planes, c).dtype == np.uint8
        assert (bitmask.class_mask(planes, c) == stack[c]).all()


def test_from_masks_streams_and_takes_any_non_zero() -> None:
    masks = [np.array([[0, 7]], np.int16), np.array([[0.5, 0]]), np.array([[True, False]])]
    planes = bitmask.from_masks((mask for mask in masks), classes=3)
    assert planes.tolist() == [[[6], [1]]]
    assert (bitmask.from_masks(np.stack([mask != 0 for mask in masks])) == planes).all()


@pytest.mark.parametrize(
    ("masks", "classes", "message"),
    [
        (iter([np.zeros((2, 2))]), None, "no length"),
        ([], None, "0 classes"),
        ([], 2, "0 masks"),
        ([np.zeros((2, 2))], 2, "1 masks; expected one for each of 2"),
        ([np.zeros((2, 2))] * 3, 2, "class 2 of 2"),
        ([np.zeros((2, 2)), np.zeros((2, 3))], None, r"class 1 has shape \(2, 3\); expected \(H, W\), here \(2, 2\)"),
        ([np.zeros((2, 2, 3))], None, r"expected \(H, W\)"),
    ],
)
def test_from_masks_refuses(masks: Any, classes: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bitmask.from_masks(masks, classes)


@property_test
@given(stacks())
def test_memory_layouts(pair: tuple[NDArray[np.bool_], bitmask.Planes]) -> None:
    _, planes = pair
    layers, whole = bitmask.planar(planes), bitmask.contiguous(planes)
    assert layers.flags.c_contiguous and (layers == np.moveaxis(planes, -1, 0)).all()
    assert whole.flags.c_contiguous and (whole == planes).all() and whole.shape == planes.shape
    for view in (layers, np.moveaxis(planes, -1, 0)):
        assert bitmask.interleave(view).flags.c_contiguous
        assert (bitmask.interleave(view) == planes).all()


def test_layouts_do_not_copy_without_need() -> None:
    planes = bitmask.empty(5, 7, 29)
    layers = bitmask.planar(planes)
    assert np.shares_memory(bitmask.planar(np.moveaxis(layers, 0, -1)), layers)
    assert np.shares_memory(bitmask.interleave(np.moveaxis(planes, -1, 0)), planes)
    assert bitmask.contiguous(planes) is planes


@pytest.mark.parametrize(
    "wrong", [np.zeros((40, 40), np.uint8), np.zeros((40, 40, 40), np.uint8), np.zeros((40, 4, 4))]
)
def test_memory_layouts_refuse_other_arrays(wrong: NDArray[Any]) -> None:
    for function in (bitmask.planar, bitmask.interleave):
        with pytest.raises(ValueError, match="1 to 32 planes"):
            function(wrong)


@property_test
@given(stacks(), st.data())
def test_merge_class_and_replace_class(pair: tuple[NDArray[np.bool_], bitmask.Planes], data: st.DataObject) -> None:
    stack, planes = pair
    c = data.draw(st.integers(0, len(stack) - 1))
    mask = random_stack(1, 3, *stack.shape[1:])[2] * 3
    merged, replaced = planes.copy(), replace_class(planes, c, mask)
    bitmask.merge_class(merged, c, mask)
    for changed, expected in ((merged, stack[c] | (mask != 0)), (replaced, mask != 0)):
        wanted = stack.copy()
        wanted[c] = expected
        assert (unpack(changed, len(stack)) == wanted).all()


@property_test
@given(stacks())
def test_areas_and_boxes(pair: tuple[NDArray[np.bool_], bitmask.Planes]) -> None:
    stack, planes = pair
    areas, boxes = bitmask.areas_and_boxes(planes, len(stack))
    assert areas.dtype == np.int64 and boxes.dtype == np.int32
    assert (areas == stack.sum(axis=(1, 2))).all()
    for mask, box in zip(stack, boxes.tolist(), strict=True):
        ys, xs = np.nonzero(mask)
        assert box == ([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else [0, 0, 0, 0])


def test_areas_are_exact_past_float32() -> None:
    planes = np.full((4099, 4099, 1), 3, np.uint8)
    areas, boxes = bitmask.areas_and_boxes(planes, 2)
    assert areas.tolist() == [4099 * 4099] * 2
    assert boxes.tolist() == [[0, 0, 4099, 4099]] * 2


def test_functions_refuse_planes_of_another_class_count() -> None:
    for function in (bitmask.areas_and_boxes, bitmask.to_masks):
        with pytest.raises(ValueError, match="2 planes; expected 4 for 29 classes"):
            function(bitmask.empty(3, 3, 9), 29)


@property_test
@given(stacks(), st.data())
def test_union_overlap_keep(pair: tuple[NDArray[np.bool_], bitmask.Planes], data: st.DataObject) -> None:
    stack, planes = pair
    chosen = data.draw(st.lists(st.integers(0, len(stack) - 1), max_size=9))
    before = planes.copy()
    assert bitmask.union(planes).dtype == bool
    assert (bitmask.union(planes) == stack.any(axis=0)).all()
    assert (bitmask.union(planes, chosen) == stack[chosen].any(axis=0)).all()
    overlap = bitmask.overlap_count(planes)
    assert overlap.dtype == (np.uint16 if planes.shape[-1] == 32 else np.uint8)
    assert (overlap == stack.sum(axis=0)).all()
    flags = np.isin(np.arange(len(stack)), chosen)
    kept = bitmask.keep(planes, bitmask.flags_to_bits(flags))
    assert (unpack(kept, len(stack)) == stack & flags[:, None, None]).all()
    assert not np.shares_memory(kept, planes) and (planes == before).all()


@pytest.mark.parametrize("classes", CLASSES)
def test_bit_vectors(classes: int) -> None:
    flags = np.random.default_rng(classes).random(classes) < 0.5
    bits = bitmask.flags_to_bits(flags)
    assert bits.dtype == np.uint8 and bits.shape == (bitmask.plane_count(classes),)
    assert (bitmask.select_bits(np.flatnonzero(flags), classes) == bits).all()
    assert (bitmask.bits_to_flags(bits, classes) == flags).all()
    assert bitmask.bits_to_flags(bitmask.all_bits(classes), classes).all()
    assert np.unpackbits(bitmask.all_bits(classes)).sum() == classes
    with pytest.raises(ValueError, match="expected 0 to"):
        bitmask.select_bits([classes], classes)


@pytest.mark.parametrize("classes", CLASSES)
def test_has_extra_bits(classes: int) -> None:
    planes = bitmask.empty(4, 5, classes) + bitmask.all_bits(classes)
    assert not has_extra_bits(planes, classes)
    for c in range(classes, planes.shape[-1] * 8):
        planes[:] = 0
        planes[3, 2, -1] = 1 << c % 8
        assert has_extra_bits(planes, classes)


@property_test
@given(stacks(), st.data())
def test_swap(pair: tuple[NDArray[np.bool_], bitmask.Planes], data: st.DataObject) -> None:
    stack, planes = pair
    order = data.draw(st.permutations(range(len(stack))))[:6]
    pairs = list(zip(order[0::2], order[1::2], strict=False))
    expected = stack.copy()
    for a, b in pairs:
        expected[[a, b]] = stack[[b, a]]
    swapped = bitmask.swap_classes(planes, pairs)
    assert (unpack(swapped, len(stack)) == expected).all() and swapped.flags.c_contiguous
    assert not np.shares_memory(swapped, planes)
    assert (bitmask.swap_classes(swapped, pairs) == planes).all()
    assert (bitmask.swap_bits(planes[0, 0], pairs) == swapped[0, 0]).all()


@pytest.mark.parametrize(("pairs", "message"), [([(0, 1), (1, 2)], "two pairs"), ([(0, 16)], "class 16 of 16")])
def test_swap_refuses(pairs: list[tuple[int, int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bitmask.swap_classes(bitmask.empty(2, 2, 9), pairs)


@property_test
@given(stacks(), st.data())
def test_remap(pair: tuple[NDArray[np.bool_], bitmask.Planes], data: st.DataObject) -> None:
    stack, planes = pair
    classes_out = data.draw(st.sampled_from(CLASSES))
    targets = st.none() | st.integers(0, classes_out - 1)
    mapping = data.draw(st.lists(targets, min_size=len(stack), max_size=len(stack)))
    expected = np.zeros((classes_out, *stack.shape[1:]), bool)
    for mask, target in zip(stack, mapping, strict=True):
        if target is not None:
            expected[target] |= mask
    remapped = bitmask.remap(planes, mapping, classes_out)
    assert (unpack(remapped, classes_out) == expected).all() and not has_extra_bits(remapped, classes_out)
    assert (bitmask.remap(planes, range(len(stack)), len(stack)) == planes).all()


@pytest.mark.parametrize("mapping", [[9], [-1], [None] * 16 + [0]])
def test_remap_refuses(mapping: list[int | None]) -> None:
    with pytest.raises(ValueError, match="expected 0 to"):
        bitmask.remap(bitmask.empty(2, 2, 9), mapping, 9)


MATRIX = np.array([[0.8, -0.6, 5], [0.6, 0.8, -2]])
SELECTIONS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "flip": lambda a: cv2.flip(a, 1),
    "warp": lambda a: cv2.warpAffine(a, MATRIX, (19, 11), flags=cv2.INTER_NEAREST),
    "resize": lambda a: cv2.resize(a, (7, 10), interpolation=cv2.INTER_NEAREST_EXACT),
    "pad": lambda a: cv2.copyMakeBorder(a, 1, 2, 3, 4, cv2.BORDER_CONSTANT),
    "numpy": lambda a: a[::-1, 1:],
}


@pytest.mark.parametrize("name", SELECTIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("classes", [1, 9, 29, 40, 70, 256])
def test_per_plane(name: str, layout: str, classes: int) -> None:
    stack = random_stack(classes, classes, 13, 16)
    planes = LAYOUTS[layout](bitmask.from_masks(stack))
    result = bitmask.per_plane(SELECTIONS[name], planes)
    assert result.shape[-1] == planes.shape[-1] and result.flags.c_contiguous
    expected = np.stack([SELECTIONS[name](mask.astype(np.uint8)) for mask in stack])
    assert (unpack(result, classes) == expected).all()


@property_test
@given(stacks())
def test_encode_round_trip(pair: tuple[NDArray[np.bool_], bitmask.Planes]) -> None:
    stack, planes = pair
    data = bitmask.encode(planes)
    assert data == bitmask.encode(planes.copy())
    for form in (data, memoryview(data)):
        decoded = bitmask.decode(form, stack.shape[1], stack.shape[2], len(stack))
        assert (decoded == planes).all() and np.moveaxis(decoded, -1, 0).flags.c_contiguous
        believed = bitmask.decode(form, stack.shape[1], stack.shape[2], len(stack), verified=True)
        assert (believed == planes).all() and np.moveaxis(believed, -1, 0).flags.c_contiguous
        assert data == bitmask.encode(believed)


@pytest.mark.parametrize("options", [{"write_checksum": False}, {"write_checksum": True, "level": 19}])
def test_frames_of_other_writers_are_decoded(options: dict[str, Any]) -> None:
    planes = bitmask.from_masks(list(random_stack(4, 29, 20, 30)))
    data = zstandard.ZstdCompressor(**options).compress(bitmask.planar(planes).tobytes())
    for verified in (False, True):
        assert (bitmask.decode(data, 20, 30, 29, verified) == planes).all()


def test_a_verified_frame_is_not_summed_again_and_its_end_is_still_missed() -> None:
    planes = bitmask.from_masks(list(random_stack(3, 29, 20, 30)))
    data = bitmask.encode(planes)
    other_sum = data[:-1] + bytes([data[-1] ^ 1])
    assert (bitmask.decode(other_sum, 20, 30, 29, verified=True) == planes).all()
    for damaged in (data[:-9], data[:3], b"", b"not zstd at all"):
        with pytest.raises(ValueError, match="mask frame"):
            bitmask.decode(damaged, 20, 30, 29, verified=True)


def test_decoded_planes_work_everywhere_and_are_read_only() -> None:
    stack = random_stack(3, 29, 20, 30)
    decoded = bitmask.decode(bitmask.encode(bitmask.from_masks(stack)), 20, 30, 29)
    with pytest.raises(ValueError, match="read-only"):
        bitmask.merge_class(decoded, 0, stack[0])
    assert (bitmask.areas_and_boxes(decoded, 29)[0] == stack.sum(axis=(1, 2))).all()
    assert (bitmask.swap_classes(decoded, [(0, 28)]) == bitmask.from_masks(stack[[28, *range(1, 28), 0]])).all()
    assert (bitmask.per_plane(lambda a: cv2.flip(a, 1), decoded) == decoded[:, ::-1]).all()


def test_damaged_frames() -> None:
    data = bitmask.encode(bitmask.from_masks(random_stack(3, 29, 20, 30)))
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    checksum = data[:-1] + bytes([data[-1] ^ 1])
    for damaged in (bytes(flipped), checksum, data[:-1], data[:-9], data[:3], b"", b"not zstd at all", data + b"x"):
        with pytest.raises(ValueError, match="mask frame"):
            bitmask.decode(damaged, 20, 30, 29)
    with pytest.raises(ValueError, match=r"holds 2400 bytes; expected 2480"):
        bitmask.decode(data, 20, 31, 29)


def test_decode_refuses_unexpected_sizes() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(50_000_000))
    nameless = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(2400))
    for data in (bomb, nameless):
        with pytest.raises(ValueError, match="expected 2400"):
            bitmask.decode(data, 20, 30, 29)


# ---- polygons ----


def padded_fill(rings: list[Any], height: int, width: int, pad: int) -> NDArray[np.bool_]:
    """fillPoly on rounded points, on a canvas that holds them whole."""
    canvas = np.zeros((height + 2 * pad, width + 2 * pad), np.uint8)
    cv2.fillPoly(canvas, [np.rint(np.asarray(ring, float)).astype(np.int32) + pad for ring in rings], 1)
    return np.not_equal(canvas[pad : pad + height, pad : pad + width], 0)


def rings(low: int, high: int) -> st.SearchStrategy[list[tuple[float, float]]]:
    coordinate = st.integers(2 * low, 2 * high).map(lambda v: v / 2) | st.floats(low, high)
    return st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=8)


@property_test
@given(st.lists(st.tuples(st.integers(0, 28), rings(-15, 45), st.lists(rings(0, 30), max_size=1)), max_size=6))
@example([(28, [(0.5, 1.5), (2.5, 1.5), (2.5, 3.5)], []), (28, [(0.5, 1.5), (2.5, 1.5), (2.5, 3.5)], [])])
def test_rasterise_is_fillpoly(polygons: list[tuple[int, Any, list[Any]]]) -> None:
    planes = bitmask.rasterise([(c, [outer, *holes]) for c, outer, holes in polygons], 24, 31, 29)
    expected = np.zeros((29, 24, 31), bool)
    for c, outer, holes in polygons:
        expected[c] |= padded_fill([outer, *holes], 24, 31, pad=50)
    assert planes.shape == (24, 31, 4) and planes.flags.c_contiguous
    assert (unpack(planes, 29) == expected).all()


def test_a_hole_is_cut_from_its_own_polygon_only() -> None:
    square = np.array([(0, 0), (20, 0), (20, 20), (0, 20)])
    hole, patch = square * 0.5 + 5, square * 0.1 + 9
    cut = bitmask.class_mask(bitmask.rasterise([(8, [square, hole])], 21, 21, 9), 8)
    assert cut[10, 10] == 0 and cut[5, 5] == 1 and cut.sum() == 21 * 21 - 9 * 9
    both = bitmask.class_mask(bitmask.rasterise([(8, [square, hole]), (8, [patch])], 21, 21, 9), 8)
    assert both.sum() == cut.sum() + 3 * 3


@property_test
@given(rings(-400, 400))
def test_far_polygons_move_by_a_pixel_at_most(ring: list[tuple[float, float]]) -> None:
    made = bitmask.class_mask(bitmask.rasterise([(0, [ring])], 24, 31, 1), 0)
    exact = padded_fill([ring], 24, 31, pad=410)
    edges = np.zeros((24 + 820, 31 + 820), np.uint8)
    cv2.polylines(edges, [np.rint(ring).astype(np.int32) + 410], True, (1,))
    near = cv2.dilate(edges, np.ones((3, 3), np.uint8))[410:434, 410:441] != 0
    assert not ((made != exact) & ~near).any()


def test_huge_coordinates_keep_the_shape() -> None:
    far = 1e7
    triangle = [(-far, -far), (far, -far), (-far, far)]  # its long side is x + y = 0, through the corner
    shifted = [(x + 20, y) for x, y in triangle]
    ys, xs = np.mgrid[:24, :31]
    made = bitmask.class_mask(bitmask.rasterise([(0, [shifted])], 24, 31, 1), 0)
    distance = xs + ys - 20
    assert made[distance < -1].all() and not made[distance > 1].any()
    whole = [(-far, -far), (far, -far), (far, far), (-far, far)]
    window = [(5, 5), (9, 5), (9, 9), (5, 9)]
    framed = bitmask.class_mask(bitmask.rasterise([(0, [whole, window])], 24, 31, 1), 0)
    assert framed.sum() == 24 * 31 - 9
    outside: list[list[tuple[float, float]]]
    outside = [[(x + 2 * far, y) for x, y in triangle], [(40, 0), (50, 0), (50, 9)], [(0, -9), (9, -9), (9, -1)]]
    assert not bitmask.rasterise([(0, [ring]) for ring in outside], 24, 31, 1).any()
    assert not bitmask.rasterise([], 24, 31, 1).any()


@pytest.mark.parametrize(
    ("c", "ring", "message"),
    [
        (0, [(0, 0), (1, 1)], "N >= 3"),
        (0, [], "N >= 3"),
        (0, [(0, 0, 0)] * 3, "N >= 3"),
        (0, [(0, 0), (1, 1), (np.nan, 1)], "NaN"),
        (0, [(0, 0), (1, 1), (np.inf, 1)], "NaN"),
        (0, [(0, 0), (1, 1), (3e9, 1)], "int32"),
        (9, [(0, 0), (1, 1), (0, 1)], "class 9 of 9"),
        (-1, [(0, 0), (1, 1), (0, 1)], "class -1 of 9"),
    ],
)
def test_rasterise_refuses(c: int, ring: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bitmask.rasterise([(c, [ring])], 8, 8, 9)


@given(made=stacks(), data=st.data())
def test_class_layers_of_planar_planes(made: tuple[NDArray[np.bool_], bitmask.Planes], data: st.DataObject) -> None:
    stack, planes = made
    chosen = data.draw(st.lists(st.integers(0, len(stack) - 1), max_size=12))
    layers = bitmask.planar(planes)
    found = bitmask.class_layers(layers, chosen)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, stack[chosen])
    several = np.stack([layers, 255 - layers])
    np.testing.assert_array_equal(bitmask.class_layers(several, chosen), [stack[chosen], ~stack[chosen]])


def test_class_layers_of_tensors() -> None:
    torch = pytest.importorskip("torch")
    stack = random_stack(3, 29, 5, 7)
    layers = torch.from_numpy(bitmask.planar(bitmask.from_masks(list(stack))))
    found = bitmask.class_layers(torch.stack([layers, layers.flip(1)]), [28, 0, 9])
    assert (found.dtype, found.shape) == (torch.bool, (2, 3, 5, 7))
    np.testing.assert_array_equal(found.numpy(), np.stack([stack[[28, 0, 9]], stack[[28, 0, 9], ::-1]]))


def test_class_layers_refuse_classes_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="class 16 of 16"):
        bitmask.class_layers(np.zeros((2, 3, 3), np.uint8), [1, 16])


# Shrinking by area


def half_of_the_area(stack: NDArray[np.bool_], width: int, height: int) -> NDArray[np.bool_]:
    """Where each mask (C, H, W) covers half of a new pixel's rectangle or more, in whole numbers, by its definition."""

    def overlaps(old: int, new: int) -> NDArray[np.int64]:
        """(new, old): what new and old pixels share along an axis, in units of 1 / (old new) of its length."""
        borders, pixels = np.arange(new + 1) * old, np.arange(old) * new
        shared = np.minimum(borders[1:, None], pixels + new) - np.maximum(borders[:-1, None], pixels)
        return np.asarray(np.clip(shared, 0, None), np.int64)

    rows, columns = overlaps(stack.shape[1], height), overlaps(stack.shape[2], width)
    return np.asarray(2 * (rows @ stack.astype(np.int64) @ columns.T) >= stack.shape[1] * stack.shape[2], bool)


def crowded(seed: int, classes: int, height: int, width: int) -> NDArray[np.bool_]:
    """Masks (C, H, W) of which two overlap, so that they are no label map."""
    stack = random_stack(seed, classes, height, width)
    stack[:2, 0, 0] = True
    return stack


@settings(deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from(CLASSES[1:]),
    st.integers(1, 9),
    st.integers(1, 9),
    st.tuples(st.integers(1, 6), st.integers(1, 6)) | st.none(),
    st.sampled_from(sorted(LAYOUTS)),
)
def test_shrink_keeps_half_of_the_area(
    seed: int, classes: int, height: int, width: int, factors: tuple[int, int] | None, layout: str
) -> None:
    rng = np.random.default_rng(seed)
    old_height, old_width = rng.integers((height, width), (height + 20, width + 20)).tolist()
    if factors:
        old_height, old_width = height * factors[0], width * factors[1]
    stack = crowded(seed, classes, old_height, old_width)
    made = bitmask.shrink(LAYOUTS[layout](bitmask.from_masks(list(stack))), width, height)
    expected = half_of_the_area(stack, width, height)
    np.testing.assert_array_equal(made, bitmask.from_masks(list(expected)))
    assert not has_extra_bits(made, classes)
    assert made.flags.c_contiguous or (width, height) == (old_width, old_height)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("strip", [1, 500, 1 << 20])
def test_shrink_of_small_classes_in_a_large_picture(strip: int, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips and columns without a bit are left out: those with one, at every border, are not."""
    monkeypatch.setattr("augforge.bitmask.shrinking._STRIP", strip)
    stack = np.zeros((29, 48, 64), bool)
    for c, (y, x) in {0: (0, 0), 5: (46, 62), 9: (0, 60), 17: (45, 1), 18: (20, 31), 28: (15, 16)}.items():
        stack[c, y : y + 3, x : x + 4] = True
    for classes in (29, 70):
        planes = LAYOUTS[layout](bitmask.from_masks([*stack, *stack, *stack][:classes]))
        for width, height in ((32, 24), (16, 48), (8, 6)):
            expected = half_of_the_area(np.concatenate([stack] * 3)[:classes], width, height)
            np.testing.assert_array_equal(bitmask.shrink(planes, width, height), bitmask.from_masks(list(expected)))


@pytest.mark.parametrize("size", [(64, 48), (32, 24), (16, 12), (50, 37), (91, 70), (1, 1), (96, 24)])
def test_shrink_commutes_with_flips_and_transposition(size: tuple[int, int]) -> None:
    stack = crowded(3, 29, 96, 128) & (np.indices((96, 128)).sum(axis=0) > 40)
    stack[:2, 5, 5] = True
    planes, (width, height) = bitmask.from_masks(list(stack)), size
    made = bitmask.shrink(planes, width, height)
    np.testing.assert_array_equal(bitmask.shrink(planes[:, ::-1], width, height), made[:, ::-1])
    np.testing.assert_array_equal(bitmask.shrink(planes[::-1], width, height), made[::-1])
    np.testing.assert_array_equal(bitmask.shrink(planes.swapaxes(0, 1), height, width), made.swapaxes(0, 1))


@pytest.mark.parametrize(("old", "new"), [(120, 60), (120, 30), (120, 40), (121, 60), (120, 50), (960, 30)])
def test_shrinking_moves_nothing(old: int, new: int) -> None:
    """The centres of discs stay where they are; the nearest pixel moved them by half an old pixel at even factors."""
    rng, y, x = np.random.default_rng(0), *np.ogrid[:old, :old]
    off = []
    for _ in range(60):
        centre, radius = rng.uniform(0.4 * old, 0.6 * old, 2), rng.uniform(0.2 * old, 0.35 * old)
        disc = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2
        small = bitmask.class_mask(bitmask.shrink(bitmask.from_masks([disc]), new, new), 0)
        found = (np.argwhere(small).mean(axis=0) + 0.5) * old / new - 0.5
        off.append(found - np.argwhere(disc).mean(axis=0))
    assert np.abs(np.mean(off, axis=0)).max() < 0.04 * old / new


@pytest.mark.parametrize("classes", [2, 9, 29])
@pytest.mark.parametrize("size", [(20, 10), (10, 20), (13, 17), (5, 4)])
def test_a_label_map_stays_one(classes: int, size: tuple[int, int]) -> None:
    """Of two classes with exactly half of a pixel each the first counts, so that index masks can still be written."""
    labels = np.random.default_rng(1).integers(0, classes + 1, (40, 40))
    stack = np.stack([labels == c for c in range(classes)])
    half = half_of_the_area(stack, *size)
    first = half & (np.cumsum(half, axis=0) == 1)
    assert size[0] % 10 or classes > 2 or (half.sum(axis=0) > 1).any()
    np.testing.assert_array_equal(
        bitmask.shrink(bitmask.from_masks(list(stack)), *size), bitmask.from_masks(list(first))
    )


def test_an_overlap_anywhere_makes_it_no_label_map() -> None:
    stack = np.zeros((2, 16, 16), bool)
    stack[0, :8, ::2], stack[1, :8, 1::2] = True, True
    assert bitmask.shrink(bitmask.from_masks(list(stack)), 8, 8).max() == 1
    stack[:, 15, 15] = True
    assert bitmask.shrink(bitmask.from_masks(list(stack)), 8, 8).max() == 3


@pytest.mark.parametrize("size", [(0, 4), (4, 9), (9, 4)])
def test_shrink_refuses_to_enlarge(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"cannot shrink to .* expected 1 to \(H, W\)"):
        bitmask.shrink(bitmask.empty(8, 8, 1), *size)
