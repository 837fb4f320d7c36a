"""The contract test finds what it is for: each of these ops breaks one rule, and `check_op` names it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import BaseModel, Field

import augforge
from augforge import bitmask
from augforge.ops import OPS, Context, Examples, FilterParams, Flag, Op, OpParams, filter_op, op
from augforge.ops.contract import check_op, checks_of
from augforge.sample import Drop, Placement, Sample


class Params(OpParams):
    """Parameters of a made op."""

    amount: int = Field(3, description="of whatever")


class Thresholds(FilterParams):
    """Parameters of a made filter."""


class Undocumented(OpParams):
    """A parameter without a description."""

    amount: int = 3


class Lenient(BaseModel):
    """Takes whatever is given."""

    amount: int = Field(3, description="of whatever")
    declared: ClassVar[Any] = OpParams.declared
    check: ClassVar[Any] = OpParams.check


class Misfit(OpParams):
    """Its default names a class that the examples' table does not have."""

    name: str = Field("Radius", description="a class")

    def check(self, ctx: Context) -> None:
        ctx.class_index(self.name)


Apply = Callable[[Any, Any, Any, Context], Iterator[Any]]


def keep(inputs: Any, drawn: Any, params: Any, ctx: Context) -> Iterator[Sample]:
    """A right op: it gives a copy of its input."""
    yield inputs[0].derive(inputs[0].image.copy(), np.array(inputs[0].masks, order="C"))


def make_op(
    apply: Apply = keep, params: Any = Params, *, version: int = 1, inputs: int = 1, **declared: Any
) -> Op[Any]:
    made: Op[Any] = op("toy", params, version=version, role="augment", **declared)(apply)
    made.counts_inputs(lambda params: inputs)
    return made


def making_two(apply: Apply) -> Op[Any]:
    made = make_op(apply)
    made.gives_sizes(lambda sizes, params: [sizes[0], sizes[0]])
    return made


def weighing(weight: float) -> Op[Any]:
    made = make_op()
    made.weighs(lambda candidate, params, ctx: weight)
    return made


def make_filter(measure: Callable[[Sample], Any] = lambda sample: {}, flag: Any = None) -> Op[Any]:
    @filter_op("toy", Thresholds, version=1)
    def toy(candidate: Any, params: Thresholds, ctx: Context) -> Any:
        return flag

    toy.measures(reads=())(lambda sample, params, ctx: measure(sample))
    return toy


def drawing(draw: Callable[[np.random.Generator], Any], apply: Apply = keep) -> Op[Any]:
    made = make_op(apply)
    made.draws(lambda rng, inputs, params, ctx: draw(rng))
    return made


def changing(**changes: Callable[[Sample], Any]) -> Apply:
    """An op that gives its input with some fields changed."""

    def apply(inputs: Any, drawn: Any, params: Any, ctx: Context) -> Iterator[Sample]:
        (made,) = keep(inputs, drawn, params, ctx)
        yield replace(made, **{name: change(inputs[0]) for name, change in changes.items()})

    return apply


def writes_image(inputs: Any, drawn: Any, params: Any, ctx: Context) -> Iterator[Sample]:
    if inputs[0].image.flags.writeable:
        inputs[0].image[0, 0] += 1
    yield from keep(inputs, drawn, params, ctx)


def writes_masks(inputs: Any, drawn: Any, params: Any, ctx: Context) -> Iterator[Sample]:
    inputs[0].masks[:] = 0
    yield from keep(inputs, drawn, params, ctx)


def invents_class(inputs: Any, drawn: Any, params: Any, ctx: Context) -> Iterator[Sample]:
    """Every class of the table has a pixel, also those that the input does not show."""
    (made,) = keep(inputs, drawn, params, ctx)
    made.masks[0, 0] |= bitmask.all_bits(len(ctx.classes))
    yield made


def invents_bit(inputs: Any, drawn: Any, params: Any, ctx: Context) -> Iterator[Sample]:
    """The last bit of the last plane is set, which is no class's."""
    (made,) = keep(inputs, drawn, params, ctx)
    made.masks[0, 0, -1] |= 128
    yield made


def halves(inputs: Any, drawn: Any, params: Any, ctx: Context) -> Iterator[Sample]:
    yield inputs[0].derive(inputs[0].image[::2].copy(), np.ascontiguousarray(inputs[0].masks[::2]))


def mirrors_image_only(inputs: Any, drawn: Any, params: Any, ctx: Context) -> Iterator[Sample]:
    matrix = ((-1.0, 0.0, inputs[0].width - 1.0), (0.0, 1.0, 0.0))
    yield inputs[0].derive(inputs[0].image[:, ::-1].copy(), bitmask.contiguous(inputs[0].masks), matrix=matrix)


def mirrors_untold(inputs: Any, drawn: Any, params: Any, ctx: Context) -> Iterator[Sample]:
    yield inputs[0].derive(inputs[0].image[:, ::-1].copy(), np.ascontiguousarray(inputs[0].masks[:, ::-1]))


def mirrors(inputs: Any, drawn: Any, params: Any, ctx: Context) -> Iterator[Sample]:
    sample, matrix = inputs[0], ((-1, 0, inputs[0].width - 1), (0, 1, 0))
    yield sample.derive(sample.image[:, ::-1].copy(), sample.masks[:, ::-1].copy(), matrix=matrix)


def gives_twice(inputs: Any, drawn: Any, params: Any, ctx: Context) -> Iterator[Sample]:
    yield from keep(inputs, drawn, params, ctx)
    yield from keep(inputs, drawn, params, ctx)


def gives_the_memory(inputs: Any, drawn: Any, params: Any, ctx: Context) -> Iterator[Sample]:
    planar = inputs[0].masks.strides[-1] != 1 and inputs[0].masks.shape[2] > 1
    yield inputs[0].derive(inputs[0].image + np.uint8(planar), bitmask.contiguous(inputs[0].masks))


def looks_at_age(inputs: Any, drawn: Any, params: Any, ctx: Context) -> Iterator[Sample]:
    older = inputs[0].image + np.uint8(inputs[0].metadata.get("age", 0))
    yield inputs[0].derive(older, bitmask.contiguous(inputs[0].masks))


def counts_calls() -> Apply:
    calls = iter(range(1_000_000))

    def apply(inputs: Any, drawn: Any, params: Any, ctx: Context) -> Iterator[Sample]:
        yield inputs[0].derive(inputs[0].image + np.uint8(next(calls) % 7), bitmask.contiguous(inputs[0].masks))

    return apply


def unites(inputs: Any, drawn: Any, params: Any, ctx: Context) -> Iterator[Sample]:
    """Two inputs, of which the first one's `known` is kept, though the second one's masks show."""
    one, other = inputs
    placements = (Placement(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), (0, 0, one.width, one.height)),)
    yield one.derive(one.image.copy(), bitmask.contiguous(one.masks | other.masks), placements=placements)


def takes_only_gray(inputs: Any, drawn: Any, params: Any, ctx: Context) -> Iterator[Sample]:
    if inputs[0].image.ndim > 2:
        raise ValueError("gray images only")
    yield from keep(inputs, drawn, params, ctx)


def shows_drawn_type(inputs: Any, drawn: Any, params: Any, ctx: Context) -> Iterator[Sample]:
    yield inputs[0].derive(inputs[0].image + np.uint8(isinstance(drawn, tuple)), bitmask.contiguous(inputs[0].masks))


ONE_SIZE = Examples(one_size=True)
state = iter(range(1_000_000))
always = Flag("always")

PIXELS, FILTER = "placements_lead_to_the_pixels", "filter_decides_from_what_it_measured"
BROKEN: dict[str, tuple[Callable[[], Op[Any]], str, str]] = {
    "no example": (lambda: make_op(examples=Examples([])), "has_examples", "no example"),
    "picture": (lambda: make_op(examples=Examples(picture={"size": 3})), "has_examples", "size"),
    "version": (lambda: make_op(version=0), "declaration", "version 0"),
    "description": (lambda: make_op(params=Undocumented), "params_are_documented", "['amount']"),
    "lenient": (lambda: make_op(params=Lenient), "params_are_frozen_and_strict", "an unknown parameter is accepted"),
    "writes image": (lambda: make_op(writes_image), "inputs_are_untouched", "writes into its inputs (result 0: image)"),
    "writes masks": (lambda: make_op(writes_masks), "inputs_are_untouched", "(result 0: masks)"),
    "invented class": (lambda: make_op(invents_class), "outputs", "invents classes that no input shows: ["),
    "invented bit": (lambda: make_op(invents_bit), "outputs", "a bit beyond the 1 classes"),
    "known": (lambda: make_op(changing(known=lambda s: s.known | 255)), "outputs", "`known` has bits beyond"),
    "no sample": (lambda: make_op(lambda *given: iter([None])), "outputs", "gives ['NoneType']"),
    "no reason": (lambda: make_op(lambda *given: iter([Drop("")]), exact=False), "outputs", "a Drop without a reason"),
    "dtype": (lambda: make_op(changing(image=lambda s: s.image.astype(np.uint16))), "outputs", "image of uint16"),
    "color": (lambda: make_op(takes_only_gray), "outputs", "ValueError: gray images only"),
    "sizes": (lambda: make_op(halves), "outputs", "outputs of sizes [(64, 24)], promised were [(64, 48)]"),
    "at most": (lambda: make_op(halves, exact=False), "outputs", "promised were at most [(64, 48)]"),
    "state": (lambda: make_op(counts_calls()), "same_key_same_bytes", "called again it gives something else"),
    "memory": (lambda: make_op(gives_the_memory), "memory_layout_does_not_matter", "planar masks give something else"),
    "marks": (lambda: making_two(gives_twice), "marks_are_unique", "duplicate marks among ['', '']"),
    "misfit": (lambda: make_op(params=Misfit), "example_fits_nine_classes", "has no class 'Radius'"),
    "labels the unlabelled": (
        lambda: make_op(changing(known=lambda s: s.known if s.known.any() else s.known | 1)),
        "unlabelled_samples_stay_unlabelled",
        "an output of unlabelled inputs is labelled",
    ),
    "weight": (lambda: weighing(-1.0), "weights", "expected 0 or more"),
    "metadata": (lambda: make_op(looks_at_age), "only_declared_metadata_is_read", "name it in `reads=`"),
    "joint known": (lambda: make_op(unites, inputs=2, examples=ONE_SIZE), "unknown_classes_stay_unknown", "not known"),
    "label": (
        lambda: make_op(changing(label=lambda s: np.ones(3, np.float32))),
        "labels_pass_or_mix",
        "expected shares whose sum is 1",
    ),
    "image only": (lambda: make_op(mirrors_image_only), PIXELS, "not where the matrix says"),
    "no matrix": (lambda: make_op(mirrors_untold), PIXELS, "not where the matrix says"),
    "mirror without a word": (lambda: make_op(mirrors), "sides_are_exchanged", "say so by `exchanges_sides`"),
    "no placement": (lambda: make_op(changing(placements=lambda s: ())), PIXELS, "no placements"),
    "draws state": (lambda: drawing(lambda rng: next(state)), "draws", "from the same generator it draws"),
    "draws nothing": (lambda: drawing(lambda rng: 1), "draws", "16 copies all draw 1"),
    "draws tuples": (
        lambda: drawing(lambda rng: (rng.random(),), shows_drawn_type),
        "draws",
        "gives something else after JSON (result 0: image)",
    ),
    "draws arrays": (lambda: drawing(lambda rng: rng.random(1)), "draws", "not JSON serializable"),
    "features": (lambda: make_filter(lambda s: {1: 2}), FILTER, "not JSON-like"),
    "random features": (lambda: make_filter(lambda s: {"n": next(state)}), FILTER, "measured twice"),
    "verdict": (lambda: make_filter(flag=True), FILTER, "verdict True"),
    "score": (lambda: make_filter(flag=replace(always, score=float("nan"))), FILTER, "not finite"),
}


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with OPS.restored():
        yield


def test_a_right_op_passes() -> None:
    check_op(make_op())


def test_a_right_filter_passes() -> None:
    check_op(make_filter(lambda sample: {"mean": float(sample.image.mean())}, always))


def test_a_right_drawing_op_passes() -> None:
    check_op(drawing(lambda rng: float(rng.random())))


@pytest.mark.parametrize("name", BROKEN)
def test_broken_ops_are_found(name: str) -> None:
    make, rule, message = BROKEN[name]
    with pytest.raises(
        AssertionError, match=rf"(?s)^toy@\d.* breaks a rule of ops, check_{rule}: .*{re.escape(message)}"
    ):
        check_op(make())


def test_every_rule_is_broken_by_some_op() -> None:
    rules = {check.rule.__name__ for op in OPS.values() for check in checks_of(op)}
    broken = {f"check_{rule}" for _, rule, _ in BROKEN.values()}
    assert rules - broken == set()


def test_the_contract_needs_no_pytest_and_nothing_needs_the_contract() -> None:
    package = Path(augforge.__file__).parent
    for path in package.rglob("*.py"):
        imported = re.findall(r"^\s*(?:from|import) ([\w.]+)", path.read_text(encoding="utf-8"), re.M)
        if path.name.startswith("contract"):
            assert "pytest" not in imported
        else:
            assert not [name for name in imported if name.startswith("augforge.ops.contract")], path
