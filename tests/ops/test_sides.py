"""Sides: which names stand for left and right, and that every mirror exchanges them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import class_names, make_sample
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from ruamel.yaml import YAML

from augforge import bitmask
from augforge.errors import PlanError
from augforge.ops import OPS, BoundOp, Context, OpParams, op
from augforge.ops.contract_mirrors import check_sides_are_exchanged
from augforge.ops.contract_samples import Case
from augforge.ops.core import Op
from augforge.ops.mirror import MirrorParams, exchanges_sides
from augforge.ops.sidenames import find_sides
from augforge.ops.sides import Sides, exchange_of, pairs_as_yaml
from augforge.ops.warp import map_centre, warp
from augforge.sample import Matrix, Sample

LUNGS = ("left-lung", "heart", "right-lung")
LABELS = ("left-effusion", "normal", "right-effusion")


@pytest.fixture
def ops() -> Iterator[None]:
    with OPS.restored():
        yield


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left-lung", "right-lung"),
        ("LeftLung", "RightLung"),
        ("LEFT LUNG", "RIGHT LUNG"),
        ("lung_L", "lung_R"),
        ("lung.l", "lung.r"),
        ("l.clavicle", "r.clavicle"),
        ("lungL", "lungR"),
        ("LLung", "RLung"),
        ("left", "right"),
        ("L", "R"),
        ("rib left 2", "rib right 2"),
        ("rib2left", "rib2right"),
        ("leftlung", "rightlung"),
        ("Lung left", "lung-right"),
        ("L-R-shunt", "R-L-shunt"),
        ("größe_l", "größe_r"),
    ],
)
def test_a_pair_is_found_in_any_order_and_told_left_first(left: str, right: str) -> None:
    for names in itertools.permutations([left, right, "heart", "ignore"]):
        found = find_sides(tuple(names))
        assert (found.pairs, found.alone) == (((left, right),), ())


@pytest.mark.parametrize(
    "names",
    [
        ("leftover", "rightful", "heart"),
        ("bright", "upright", "copyright"),
        ("LV", "RV"),  # a part is left or right as a whole
        ("rötung", "lähmung"),
        ("ro\u0308tung", "la\u0308hmung"),
        ("S", "M", "L", "XL"),
        tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        ("L1", "L2", "L3", "L4", "L5", "S1"),
        ("left-and-right-lung", "heart"),
    ],
)
def test_what_only_looks_a_little_like_sides_is_none(names: tuple[str, ...]) -> None:
    found = find_sides(names)
    assert (found.pairs, found.alone) == ((), ())


@pytest.mark.parametrize(
    ("names", "alone"),
    [
        (("left-lung", "heart"), ("left-lung",)),
        (("lung_L", "lung_M"), ("lung_L",)),
        (("left-lung", "right-lung", "left-clavicle"), ("left-clavicle",)),
        (("left-lung", "l-lung"), ("left-lung", "l-lung")),
        (("L1", "L2", "R1"), ("L2",)),
    ],
)
def test_a_side_without_its_counterpart_is_told(names: tuple[str, ...], alone: tuple[str, ...]) -> None:
    assert find_sides(names).alone == alone


def test_numbered_ribs_are_pairs() -> None:
    ribs = tuple(f"{side}{number}" for number in range(1, 11) for side in "RL")
    assert find_sides(ribs).pairs == tuple((f"L{number}", f"R{number}") for number in range(1, 11))


def test_each_of_two_spellings_finds_its_own() -> None:
    found = find_sides(("left-lung", "Left-Lung", "Right-Lung", "right-lung"))
    assert set(found.pairs) == {("left-lung", "right-lung"), ("Left-Lung", "Right-Lung")}
    assert find_sides(("left_lung", "LeftLung", "RIGHT lung")).pairs == ()


@given(st.lists(st.text("lrLReftigh-_1 .", min_size=1, max_size=9), max_size=8, unique=True))
def test_pairs_are_apart_and_made_of_names(names: list[str]) -> None:
    found = find_sides(tuple(names))
    told = [name for pair in found.pairs for name in pair] + list(found.alone)
    assert len(set(told)) == len(told) and set(told) <= set(names)


# ---- statements ------------------------------------------------------------------------------------------------------


def test_a_persons_word_goes_before_names() -> None:
    classes = ("left-lung", "right-lung", "left-clavicle", "right-clavicle", "sinistra", "dextra")
    declared = Sides().override((("sinistra", "dextra"), ("left-lung", "right-clavicle")), classes).complete(classes)
    assert declared.stated == (("sinistra", "dextra"), ("left-lung", "right-clavicle"))
    assert declared.found == () and declared.alone == ("right-lung", "left-clavicle")
    none = Sides().override("none", classes).complete(classes)
    assert none.pairs == () and none.alone == ()


def test_sides_keep_their_meaning_under_other_names() -> None:
    sides = Sides().complete(("left-lung", "right-lung", "left-eye", "right-eye"))
    names = {"left-lung": "A", "right-lung": "B", "left-eye": "eye", "right-eye": "eye"}
    assert sides.rename(names.get).pairs == (("A", "B"),)
    merged = {"left-lung": "left-any", "left-eye": "left-any", "right-lung": "x", "right-eye": "y"}
    assert sides.rename(merged.get).pairs == (), "which of the two is its counterpart, nobody can tell"


def test_a_class_and_a_label_of_one_name_have_one_counterpart() -> None:
    assert Sides().complete(("left-lung", "right-lung"), ("left-lung", "right-lung")).pairs == (
        ("left-lung", "right-lung"),
    )
    torn = Sides().complete(("left-lung", "right-lung"), ("left-lung", "Right lung"))
    assert torn.pairs == () and {*torn.alone} == {"left-lung", "right-lung", "Right lung"}


def test_two_sources_that_contradict_each_other() -> None:
    with pytest.raises(PlanError, match="sides names 'a' twice"):
        Sides((("a", "b"),)).unite(Sides((("a", "c"),)))
    assert Sides((("a", "b"),)).unite(Sides((), (("a", "b"), ("c", "d")))).found == (("c", "d"),)


# ---- what a mirror does ----------------------------------------------------------------------------------------------


def patient(seed: int = 0) -> Sample:
    """A sample of three classes, of which the first is not known, with a label vector."""
    sample = make_sample(height=40, width=56, classes=3, seed=seed)
    known = bitmask.select_bits([1, 2], 3)
    label = np.array([0.7, 0.2, 0.1], np.float32)
    return replace(sample, known=known, masks=bitmask.keep(sample.masks, known), label=label)


def call(bound: BoundOp, sample: Sample, classes: Sequence[str] = LUNGS, drawn: Any = None) -> Sample:
    (made,) = bound.call([sample], Context(tuple(classes), LABELS), drawn=drawn).results
    assert isinstance(made, Sample)
    return made


def layers(sample: Sample) -> NDArray[np.uint8]:
    return np.stack(list(bitmask.to_masks(sample.masks, 3)))


def bound(op_name: str, /, **params: Any) -> BoundOp:
    return BoundOp(op_name, OPS[op_name].params.model_validate(params))


MIRRORS: list[tuple[BoundOp, Any, Any]] = [
    (bound("hflip"), None, lambda a: a[..., ::-1]),
    (bound("vflip"), None, lambda a: a[..., ::-1, :]),
    (bound("transpose90", mirror=1), {"quarters": 0, "mirror": True}, lambda a: a[..., ::-1]),
    (bound("transpose90", mirror=1), {"quarters": 1, "mirror": True}, lambda a: a.swapaxes(-1, -2)),
    (bound("transpose90", mirror=1), {"quarters": 2, "mirror": True}, lambda a: a[..., ::-1, :]),
    (
        bound("transpose90", mirror=1),
        {"quarters": 3, "mirror": True},
        lambda a: np.rot90(a[..., ::-1], 3, (-2, -1)),
    ),
    (
        bound("affine", mirror=1),
        {"scale": 1, "shear_deg": 0, "angle_deg": 0, "translate": [0, 0], "mirror": True},
        lambda a: a[..., ::-1],
    ),
    (
        bound("affine", mirror=1),
        {"scale": 1, "shear_deg": 0, "angle_deg": 180, "translate": [0, 0], "mirror": True},
        lambda a: a[..., ::-1, :],
    ),
    (bound("albumentations", name="HorizontalFlip"), {"seed": 1}, lambda a: a[..., ::-1]),
    (bound("albumentations", name="VerticalFlip"), {"seed": 1}, lambda a: a[..., ::-1, :]),
    (bound("albumentations", name="Transpose"), {"seed": 1}, lambda a: a.swapaxes(-1, -2)),
    (
        bound("albumentations", name="Affine", scale={"x": [-1, -1], "y": [1, 1]}, keep_ratio=False),
        {"seed": 1},
        lambda a: a[..., ::-1],
    ),
    (
        bound("albumentations", name="OneOf", transforms=[{"name": "HorizontalFlip", "p": 1}]),
        {"seed": 1},
        lambda a: a[..., ::-1],
    ),
]


@pytest.mark.parametrize(("mirror", "drawn", "oracle"), MIRRORS, ids=lambda value: str(getattr(value, "params", "")))
def test_a_mirror_exchanges_masks_known_classes_and_labels(mirror: BoundOp, drawn: Any, oracle: Any) -> None:
    sample = patient()
    made = call(mirror, sample, drawn=drawn)
    np.testing.assert_array_equal(layers(made), oracle(layers(sample))[[2, 1, 0]])
    np.testing.assert_array_equal(made.image, oracle(sample.image))
    np.testing.assert_array_equal(bitmask.bits_to_flags(made.known, 3), [True, True, False])
    np.testing.assert_array_equal(made.label, np.array([0.1, 0.2, 0.7], np.float32))


@pytest.mark.parametrize(("mirror", "drawn", "oracle"), MIRRORS, ids=lambda value: str(getattr(value, "params", "")))
def test_swap_overrides_names_and_none_exchanges_nothing(mirror: BoundOp, drawn: Any, oracle: Any) -> None:
    sample = patient()
    for swap, order in (("none", [0, 1, 2]), ((("left-lung", "heart"),), [1, 0, 2])):
        params = mirror.params.model_copy(update={"swap": swap})
        made = call(BoundOp(mirror.name, params), sample, drawn=drawn)
        np.testing.assert_array_equal(layers(made), oracle(layers(sample))[order])
        assert made.label is sample.label


@pytest.mark.parametrize(
    ("turn", "drawn"),
    [
        (bound("transpose90", mirror=0.5), {"quarters": 1}),
        (bound("transpose90"), {"quarters": 2}),
        (bound("rotate"), {"angle_deg": 90}),
        (bound("affine"), {"scale": 1, "shear_deg": 8, "angle_deg": 170, "translate": [0, 0]}),
        (bound("albumentations", name="RandomRotate90"), {"seed": 3}),
        (bound("albumentations", name="Affine", scale={"x": [-1, -1], "y": [-1, -1]}), {"seed": 3}),
    ],
)
def test_a_turn_exchanges_nothing(turn: BoundOp, drawn: Any) -> None:
    sample = patient()
    plain = call(turn, sample, ("a", "b", "c"), drawn)
    made = call(turn, sample, drawn=drawn)
    np.testing.assert_array_equal(made.masks, plain.masks)
    np.testing.assert_array_equal(made.label, sample.label)


def test_an_upside_down_mirror_is_a_mirror_and_half_a_turn() -> None:
    sample = patient()
    turned = call(bound("transpose90", quarters=[2]), call(bound("hflip"), sample), drawn={"quarters": 2})
    flipped = call(bound("vflip"), sample)
    np.testing.assert_array_equal(flipped.masks, turned.masks)
    np.testing.assert_array_equal(flipped.label, turned.label)


def test_tiles_that_changed_places_are_no_mirror() -> None:
    """The affine matrix that fits exchanged halves best has a negative determinant; no tile of them is mirrored."""
    shuffle = bound("albumentations", name="RandomGridShuffle", grid=[1, 2])
    sample = patient()
    found = [call(shuffle, sample, drawn={"seed": seed}) for seed in range(20)]
    halves = np.concatenate([layers(sample)[..., 28:], layers(sample)[..., :28]], axis=-1)
    shuffled = [made for made in found if not np.array_equal(made.image, sample.image)]
    assert shuffled and all(np.array_equal(layers(made), halves) for made in shuffled)
    assert not shuffle.may_mirror


def test_what_may_mirror() -> None:
    assert bound("hflip").may_mirror and bound("transpose90", mirror=0.1).may_mirror
    assert not bound("transpose90").may_mirror and not bound("affine").may_mirror
    names = ("HorizontalFlip", "VerticalFlip", "Transpose", "D4", "RandomRotate90", "Emboss", "ElasticTransform")
    assert [bound("albumentations", name=name).may_mirror for name in names] == [True] * 4 + [False] * 3
    seldom = [{"name": "CLAHE"}, {"name": "D4", "p": 0.01}]
    assert bound("albumentations", name="SomeOf", n=1, transforms=seldom).may_mirror


# ---- any matrix ------------------------------------------------------------------------------------------------------


class AnyMatrix(MirrorParams):
    """Moves by a matrix."""

    linear: tuple[float, float, float, float] = Field((1, 0, 0, 1), description="a, b, c, d")

    @property
    def matrix(self) -> Matrix:

        return map_centre(self.linear, (56, 40), (56, 40))


def any_matrix(declared: bool = True) -> Op[Any]:
    @op("any_matrix", AnyMatrix, version=1, role="augment")
    def move(inputs: Sequence[Sample], drawn: None, params: AnyMatrix, ctx: Context) -> Iterator[Sample]:
        yield warp(inputs[0], params.matrix, (inputs[0].width, inputs[0].height), 0)

    return exchanges_sides()(move) if declared else move


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.floats(-2, 2)] * 4).filter(lambda m: abs(m[0] * m[3] - m[1] * m[2]) > 0.05))
def test_a_negative_determinant_exchanges_and_no_other_does(linear: tuple[float, float, float, float]) -> None:
    with OPS.restored():
        any_matrix()
        sample, moving = patient(), bound("any_matrix", linear=linear)
        plain, made = call(moving, sample, ("a", "b", "c")), call(moving, sample)
    a, b, c, d = linear
    order = [2, 1, 0] if np.linalg.det([[a, b], [c, d]]) < 0 else [0, 1, 2]
    np.testing.assert_array_equal(layers(made), layers(plain)[order])
    np.testing.assert_array_equal(made.label, np.array([0.7, 0.2, 0.1], np.float32)[order])


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_a_mirror_of_a_side_without_counterpart_is_refused() -> None:
    context, sides = Context(("left-lung", "heart")), Sides().complete(("left-lung", "heart"))
    with pytest.raises(PlanError, match=r"left-lung on the other side.*swap: none"):
        bound("hflip").settle_sides(sides, context)
    assert bound("transpose90").settle_sides(sides, context).exchange, "it does not mirror, so nothing is wrong"
    assert not bound("hflip", swap="none").settle_sides(sides, context).exchange
    sample = make_sample(classes=2)
    with pytest.raises(PlanError, match="swap: none"):
        list(bound("hflip").call([sample], context).results)


def test_an_op_that_mirrors_without_a_word_is_found(ops: None) -> None:
    undeclared = any_matrix(declared=False)
    mirror = bound("any_matrix", linear=(-1, 0, 0, 1))
    with pytest.raises(PlanError, match=r"mirrored a picture, and nothing said.*its author declares"):
        call(mirror, patient())
    none = mirror.settle_sides(Sides().override("none", (*LUNGS, *LABELS)), Context(LUNGS, LABELS))
    kept = call(none, patient())
    np.testing.assert_array_equal(layers(kept), layers(patient())[..., ::-1])
    with pytest.raises(AssertionError, match="say so by `exchanges_sides`"):
        check_sides_are_exchanged(Case(undeclared, mirror.params))
    check_sides_are_exchanged(Case(exchanges_sides()(undeclared), mirror.params))


def test_an_op_that_mirrors_takes_swap(ops: None) -> None:
    class Plain(OpParams):
        """No swap."""

    @op("plain", Plain, version=1, role="augment")
    def plain(inputs: Sequence[Sample], drawn: None, params: Plain, ctx: Context) -> Iterator[Sample]:
        yield inputs[0]

    with pytest.raises(TypeError, match="derive Plain from MirrorParams"):
        exchanges_sides()(plain)


def test_a_parameter_of_that_name_means_no_sides_where_an_op_never_mirrors(ops: None) -> None:
    class Plain(OpParams):
        """A number that is called swap."""

        swap: int = Field(1, description="how many")

    @op("plain", Plain, version=1, role="augment")
    def plain(inputs: Sequence[Sample], drawn: None, params: Plain, ctx: Context) -> Iterator[Sample]:
        yield inputs[0]

    step = bound("plain", swap=3)
    assert step.swap is None
    assert step.declared() == step.drawn_from() == {"swap": 3}


@pytest.mark.parametrize("name", ["hflip", "vflip", "transpose90", "affine"])
def test_swap_is_checked(name: str) -> None:
    with pytest.raises(ValidationError, match="swap names 'a' twice"):
        bound(name, swap=[["a", "b"], ["c", "a"]])
    for value in ("no", ["a", "b"], [["a", "b", "c"]], [["a", 3]], {"a": "b"}):
        with pytest.raises(ValidationError, match=r"expected pairs of names, such as .*, or none; got"):
            bound(name, swap=value)
    with pytest.raises(PlanError, match=r"no class 'class-x'"):
        bound(name, swap=[["class-0", "class-x"]]).params.check(Context(class_names(9)))
    with pytest.raises(PlanError, match="are a class and a label"):
        bound(name, swap=[["left-lung", "normal"]]).params.check(Context(LUNGS, LABELS))


# ---- identity --------------------------------------------------------------------------------------------------------


def test_ids_hold_what_is_exchanged_and_chance_does_not() -> None:
    context = Context(LUNGS)
    settled = bound("hflip").settle_sides(Sides().complete(LUNGS), context)
    given = bound("hflip", swap=[["left-lung", "right-lung"]])
    assert settled.declared() == given.settle_sides(Sides(), context).declared() == given.params.declared()
    assert bound("hflip", swap="none").settle_sides(Sides(), context).declared() == bound("hflip").declared() == {}
    assert bound("affine").settle_sides(Sides().complete(LUNGS), context).declared() == {}
    affine = bound("affine", mirror=0.5).settle_sides(Sides().complete(LUNGS), context)
    assert affine.declared() == {"mirror": 0.5, "swap": [["left-lung", "right-lung"]]}
    assert affine.drawn_from() == {"mirror": 0.5}


def test_without_mirror_nothing_more_is_drawn() -> None:
    for name in ("transpose90", "affine"):
        draw = OPS[name].draw
        assert draw is not None
        drawn = draw(np.random.default_rng(5), [], OPS[name].params(), Context(LUNGS))
        assert "mirror" not in drawn
        assert {**drawn, "mirror": True} == draw(
            np.random.default_rng(5), [], OPS[name].params(mirror=1), Context(LUNGS)
        )


# Names that lost their counterpart, and names that YAML would read as something else


def test_a_side_whose_counterpart_was_left_out_is_alone() -> None:
    sides = Sides(stated=(("a-left", "a-right"),), found=(("b-left", "b-right"),))
    renamed = sides.rename({"a-left": "one", "b-left": "two", "b-right": "two"}.get)
    assert (renamed.pairs, renamed.alone) == ((), ("one",)), "two sides that became one class are none"
    kept = Sides.from_json(renamed.to_json()).complete(("one", "two"), ())
    assert kept.alone == ("one",)
    assert exchange_of(None, kept, ("one", "two"), ()).refusal
    assert not exchange_of("none", kept, ("one", "two"), ()).refusal
    assert kept.override((("one", "two"),), ("one", "two")).complete(("one", "two"), ()).alone == ()
    assert kept.override("none", ("one", "two")).complete(("one", "two"), ()).alone == ()
    assert Sides(stated=(("one", "other"),)).unite(kept).alone == (), "another source has the counterpart"
    assert Sides().unite(kept).rename({"one": "uno"}.get).alone == ("uno",)
    assert kept.complete(("two",), ()).alone == (), "no table has it"


@pytest.mark.parametrize(
    "pair",
    [
        ("lung (left)", "lung, right"),
        ("left: a", "right: a"),
        ("L [1]", "R [1]"),
        ("1-left", "1-right"),
        ("no l", "r#"),
    ],
)
def test_remedies_can_be_copied_into_a_recipe(pair: tuple[str, str]) -> None:
    assert YAML(typ="safe", pure=True).load(pairs_as_yaml([pair])) == [[*pair]]
