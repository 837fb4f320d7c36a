"""Lineage: matrices and clips against plain linear algebra, and against the pixels that the ops really make."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from augforge import bitmask
from augforge.lineage import Lineage, Root, compose, extend_lineage
from augforge.ops import OPS, Context
from augforge.sample import IDENTITY, Box, Matrix, Placement, Sample

property_test = settings(deadline=None, max_examples=80)
numbers = st.floats(-50, 50)
matrices = st.tuples(st.tuples(numbers, numbers, numbers), st.tuples(numbers, numbers, numbers))
boxes = st.tuples(*[st.integers(-9, 9)] * 2, *[st.integers(1, 12)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
HUGE: Box = (-(10**6), -(10**6), 10**6, 10**6)


def full(matrix: Matrix) -> NDArray[np.float64]:
    return np.array([*matrix, (0.0, 0.0, 1.0)])


def at(matrix: Matrix, x: float, y: float) -> tuple[float, float]:
    moved = full(matrix) @ (x, y, 1)
    return float(moved[0]), float(moved[1])


def transform_clip(clip: Box, *placements: Placement) -> Box:
    root = Root("a", IDENTITY, clip, (9, 7))
    for placement in placements:
        root = root.transform(placement)
    return root.clip


# ---- matrices --------------------------------------------------------------------------------------------------------


@property_test
@given(matrices, matrices)
def test_compose_is_the_matrix_product(second: Matrix, first: Matrix) -> None:
    assert np.allclose(full(compose(second, first)), full(second) @ full(first), atol=1e-9)


@property_test
@given(matrices, matrices, matrices)
def test_compose_is_associative_and_has_the_identity(a: Matrix, b: Matrix, c: Matrix) -> None:
    assert np.allclose(full(compose(a, compose(b, c))), full(compose(compose(a, b), c)), atol=1e-6)
    assert compose(a, IDENTITY) == a == compose(IDENTITY, a)


@property_test
@given(st.lists(matrices, min_size=1, max_size=4))
def test_a_chain_of_ops_multiplies(chain: list[Matrix]) -> None:
    lineage = Lineage.of_source("a", 9, 7)
    expected = np.eye(3)
    for i, matrix in enumerate(chain):
        lineage = extend_lineage([(f"name{i}", lineage)], [Placement(matrix, HUGE)], {"step": f"s{i}"})
        expected = full(matrix) @ expected
    (root,) = lineage.roots
    assert root.name == "a"
    assert np.allclose(full(root.matrix), expected, rtol=1e-9, atol=1e-6)
    assert [step["step"] for step in lineage.steps] == [f"s{i}" for i in range(len(chain))]
    assert [step["parents"][0]["name"] for step in lineage.steps] == [f"name{i}" for i in range(len(chain))]
    assert [step["parents"][0]["matrix"] for step in lineage.steps] == [[*map(list, matrix)] for matrix in chain]


# ---- clips -----------------------------------------------------------------------------------------------------------

FLIP: Matrix = ((-1.0, 0.0, 9.0), (0.0, 1.0, 0.0))
QUARTER: Matrix = ((0.0, -1.0, 6.0), (1.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("clip", "placement", "expected"),
    [
        ((0, 0, 10, 7), Placement(IDENTITY, (0, 0, 10, 7)), (0, 0, 10, 7)),
        ((0, 0, 10, 7), Placement(FLIP, (0, 0, 10, 7)), (0, 0, 10, 7)),
        ((0, 2, 3, 5), Placement(FLIP, (0, 0, 10, 7)), (7, 2, 10, 5)),
        ((0, 0, 10, 7), Placement(((1.0, 0.0, -4.0), (0.0, 1.0, 3.0)), (0, 0, 10, 8)), (0, 3, 6, 8)),
        ((0, 0, 10, 7), Placement(((1.0, 0.0, 20.0), (0.0, 1.0, 0.0)), (0, 0, 10, 7)), (20, 0, 20, 7)),
        ((0, 0, 10, 7), Placement(((0.5, 0.0, -0.25), (0.0, 0.5, -0.25)), (0, 0, 5, 4)), (0, 0, 5, 4)),
        ((2, 2, 4, 4), Placement(((0.5, 0.0, -0.25), (0.0, 0.5, -0.25)), (0, 0, 5, 4)), (1, 1, 2, 2)),
        ((3, 2, 4, 4), Placement(((0.5, 0.0, -0.25), (0.0, 0.5, -0.25)), (0, 0, 5, 4)), (1, 1, 2, 2)),
        ((1, 1, 2, 2), Placement(((3.0, 0.0, 1.0), (0.0, 3.0, 1.0)), (0, 0, 30, 30)), (3, 3, 6, 6)),
        ((0, 0, 10, 7), Placement(QUARTER, (0, 0, 7, 10)), (0, 0, 7, 10)),
        ((0, 0, 2, 1), Placement(QUARTER, (0, 0, 7, 10)), (6, 0, 7, 2)),
    ],
)
def test_clips(clip: Box, placement: Placement, expected: Box) -> None:
    found = transform_clip(clip, placement)
    assert found == expected or (expected[0] == expected[2] and (found[0] >= found[2] or found[1] >= found[3]))


@property_test
@given(matrices, boxes, boxes)
def test_a_clip_contains_every_visible_pixel(matrix: Matrix, clip: Box, limit: Box) -> None:
    found = transform_clip(clip, Placement(matrix, limit))
    assert found[0] <= found[2] and found[1] <= found[3]
    empty = found[0] == found[2] or found[1] == found[3]
    assert empty or (limit[0] <= found[0] and limit[1] <= found[1] and found[2] <= limit[2] and found[3] <= limit[3])
    for x in {clip[0], clip[2] - 1}:
        for y in {clip[1], clip[3] - 1}:
            u, v = at(matrix, x, y)
            if limit[0] <= u <= limit[2] - 1 and limit[1] <= v <= limit[3] - 1:
                assert found[0] - 0.5 <= u <= found[2] - 0.5 and found[1] - 0.5 <= v <= found[3] - 0.5


@property_test
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_a_resize_fills_its_target_exactly(width: int, height: int, new_width: int, new_height: int) -> None:
    sx, sy = new_width / width, new_height / height
    matrix: Matrix = ((sx, 0.0, (sx - 1) / 2), (0.0, sy, (sy - 1) / 2))
    assert transform_clip((0, 0, width, height), Placement(matrix, HUGE)) == (0, 0, new_width, new_height)


@property_test
@given(boxes, st.integers(10, 30))
def test_flipping_twice_is_the_identity(clip: Box, width: int) -> None:
    flip = Placement(((-1.0, 0.0, width - 1.0), (0.0, 1.0, 0.0)), HUGE)
    assert transform_clip(clip, flip, flip) == clip


# ---- several parents, and JSON ---------------------------------------------------------------------------------------


def test_several_parents_and_the_same_one_twice() -> None:
    one, two = Lineage.of_source("a", 4, 4), Lineage.of_source("b", 4, 4)
    one = extend_lineage([("a", one)], [Placement(FLIP, HUGE)], {"step": "hflip"})
    shift: Matrix = ((1.0, 0.0, 4.0), (0.0, 1.0, 0.0))
    placements = [
        Placement(IDENTITY, (0, 0, 4, 4), 1),
        Placement(shift, (4, 0, 8, 4), 0),
        Placement(shift, (4, 0, 6, 2), 1),
    ]
    joined = extend_lineage([("a~hflip", one), ("b", two)], placements, {"step": "mosaic", "copy": 0})
    assert [root.name for root in joined.roots] == ["b", "a", "b"]
    assert joined.roots[1].matrix == compose(shift, FLIP)
    assert [root.clip for root in joined.roots] == [(0, 0, 4, 4), (10, 0, 10, 4), (4, 0, 6, 2)]
    (step,) = joined.steps  # what made each parent stands in the table before
    assert (step["step"], step["copy"]) == ("mosaic", 0)
    assert [parent["name"] for parent in step["parents"]] == ["b", "a~hflip", "b"]
    again = extend_lineage([("m", joined)], [Placement(IDENTITY, HUGE)], {"step": "resize"})
    assert [s["step"] for s in again.steps] == ["mosaic", "resize"]
    assert again.roots == joined.roots


@property_test
@given(st.lists(st.tuples(matrices, boxes), max_size=3), st.lists(st.tuples(matrices, boxes), max_size=3))
def test_json_round_trip(chain: list[tuple[Matrix, Box]], fan: list[tuple[Matrix, Box]]) -> None:
    lineage = Lineage.of_source("ä/1", 9, 7)
    for matrix, clip in chain:
        step = {"step": "s", "drawn": {"x": [0.1, 2], "y": None}}
        lineage = extend_lineage([("p", lineage)], [Placement(matrix, clip)], step)
    assume(fan or chain)
    if fan:
        lineage = extend_lineage(
            [("p", lineage), ("q", lineage)], [Placement(m, c, i % 2) for i, (m, c) in enumerate(fan)], {}
        )
    text = json.dumps(lineage.to_json())
    again = Lineage.from_json(json.loads(text))
    assert again == lineage
    assert json.dumps(again.to_json()) == text
    assert {type(value) for root in again.roots for value in (root.matrix, *root.matrix, root.clip)} <= {tuple}


# ---- against pixels --------------------------------------------------------------------------------------------------

CTX = Context(("a", "b"))


def sample_with_dot(name: str, size: tuple[int, int], dot: tuple[int, int]) -> Sample:
    """A dark image with one bright pixel, which is also its only pixel of class a."""
    image = np.zeros(size[::-1], np.uint8)
    masks = bitmask.empty(size[1], size[0], 2)
    image[dot[1], dot[0]] = 255
    masks[dot[1], dot[0]] = 1
    return Sample(name, image, masks, bitmask.all_bits(2))


def run(
    name: str, parents: Sequence[tuple[Sample, Lineage]], drawn: Any = None, **params: Any
) -> tuple[Sample, Lineage]:
    """An op's output with its lineage, as the worker puts them together."""
    inputs = [sample for sample, _ in parents]
    (made,) = OPS[name].apply(inputs, drawn, OPS[name].params(**params), CTX)
    assert isinstance(made, Sample)
    named = [(sample.name, lineage) for sample, lineage in parents]
    return made, extend_lineage(named, made.placements, {"step": name})


@pytest.mark.parametrize("dot", [(0, 0), (3, 5), (15, 11), (8, 2)])
@pytest.mark.parametrize("flips", [0, 1, 2])
def test_pixels_are_where_their_roots_say(dot: tuple[int, int], flips: int) -> None:
    made = (sample_with_dot("a", (16, 12), dot), Lineage.of_source("a", 16, 12))
    for _ in range(flips):
        made = run("hflip", [made])
    sample, lineage = run("resize", [made], size=(64, 60))  # four times larger, letterboxed by 6 rows
    (root,) = lineage.roots
    x, y = at(root.matrix, *dot)
    ys, xs = np.nonzero(sample.masks[..., 0])
    assert (xs.mean(), ys.mean()) == (x, y)  # a block of 4 x 4 around the point
    assert root.clip == (0, 6, 64, 54)
    assert sample.image[round(y), round(x)] > 128


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from(["cover", "contain", "stretch", "crop"]), st.booleans())
def test_a_mosaic_of_flipped_samples(seed: int, fit: str, flipped: bool) -> None:
    """Each bright pixel of four sources is where the mosaic's roots say, or outside of its clip."""
    rng = np.random.default_rng(seed)
    parents, dots = [], {}
    for name in "abcd":
        size = (int(rng.integers(8, 40)), int(rng.integers(8, 40)))
        dots[name] = (int(rng.integers(size[0])), int(rng.integers(size[1])))
        made = (sample_with_dot(name, size, dots[name]), Lineage.of_source(name, *size))
        parents.append(run("hflip", [made]) if flipped else made)
    params = {"fit": fit, "size": (96, 80)}
    mosaic = OPS["mosaic"]
    assert mosaic.draw is not None
    drawn = mosaic.draw(rng, [sample for sample, _ in parents], mosaic.params(**params), CTX)
    sample, lineage = run("mosaic", parents, drawn, **params)
    assert [root.name for root in lineage.roots] == list("abcd")
    painted = sample.masks[..., 0] != 0
    seen = np.zeros_like(painted)
    for root in lineage.roots:
        x, y = at(root.matrix, *dots[root.name])
        x0, y0, x1, y1 = root.clip
        ys, xs = np.nonzero(painted[y0:y1, x0:x1])
        seen[y0:y1, x0:x1] = True
        scale_x, scale_y = abs(root.matrix[0][0]), abs(root.matrix[1][1])
        for u, v in zip(xs + x0, ys + y0, strict=True):
            assert abs(u - x) <= scale_x / 2 + 1e-6 and abs(v - y) <= scale_y / 2 + 1e-6
        inside = x0 <= round(x, 6) <= x1 - 1 and y0 <= round(y, 6) <= y1 - 1
        assert len(xs) > 0 or not inside or min(scale_x, scale_y) < 1  # shrunk, nearest may step over one pixel
    assert not (painted & ~seen).any()
    assert not (sample.image[~seen]).any()


def test_a_packed_lineage_is_the_lineage() -> None:
    """In tables of many rows lineages are kept as compressed text, which must lose nothing, and go to workers."""
    step = {
        "step": "warp",
        "drawn": {"é": [1, 0.1 + 0.2, -0.0, 1e-300, None, True]},
        "matrix": [[1.5, 0, 3], [0, 1, 2]],
    }
    roots = [Root(name, ((0.1, 0, 2), (3, 1 / 3, 5)), (0, 1, 2, 3), (64, 48)) for name in ("a/ü", "\udcff")]
    plain = Lineage((step,), tuple(roots))
    packed = Lineage.packed(plain.to_json())
    for found in (packed, pickle.loads(pickle.dumps(packed)), copy.deepcopy(packed)):
        assert found == plain and plain == found and found != Lineage((), tuple(roots))
        assert (found.steps, found.roots, found.to_json()) == (plain.steps, plain.roots, plain.to_json())
    assert repr(packed.roots) == repr(plain.roots)
    source = Lineage.of_source("x", 64, 48)
    for found in (source, pickle.loads(pickle.dumps(source))):
        assert found == Lineage((), (Root("x", IDENTITY, (0, 0, 64, 48), (64, 48)),))
