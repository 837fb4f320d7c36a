"""What every op in the registry keeps to, whoever wrote it.

Its `Examples` say what it is called with. What it gives is kept in golden.json, so that changed pixels are seen.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import class_names, make_sample
from pydantic import ValidationError

from augforge import bitmask
from augforge.errors import PlanError
from augforge.keys import canonical_json, digest, rng_for
from augforge.ops import OPS, BoundOp, Context, Flag, Op, OpParams
from augforge.ops.core import Candidate
from augforge.sample import IDENTITY, Box, Drop, Placement, Sample
from augforge.store.codec import pixel_digest

SHIPPED = {name: op for name, op in OPS.items() if not op.origin}
KINDS = {"gray": ("uint8", 1), "gray16": ("uint16", 1), "rgb": ("uint8", 3), "rgba": ("uint8", 4)}
COUNTS = (1, 8, 9, 29, 70)
LABELS = ("left", "right", "both")
SQUARE = 24
GOLDEN = Path(__file__).with_name("golden.json")


@dataclass(frozen=True)
class Case:
    """An op with one of its examples."""

    op: Op[Any]
    params: OpParams

    def __str__(self) -> str:
        return f"{self.op} {canonical_json(self.params.declared())}"

    @property
    def slots(self) -> range:
        return range(self.op.inputs(self.params))

    def fits(self, classes: int) -> bool:
        try:
            self.params.check(Context(class_names(classes)))
        except PlanError:
            return False
        return True

    def inputs(self, height: int = 48, width: int = 64, **kind: Any) -> list[Sample]:
        """One sample a slot, each of its own size if the op can take that."""
        odd = not self.op.examples.one_size
        return [make_sample(height + 4 * i * odd, width - 3 * i * odd, seed=i, **kind) for i in self.slots]

    def named(self, classes: int) -> np.ndarray:
        """Bits of the classes that the parameters name: those the op may move from one class to another."""
        words = set(strings(self.params.model_dump(mode="json")))
        return bitmask.select_bits([c for c, name in enumerate(class_names(classes)) if name in words], classes)


@dataclass(frozen=True)
class Call:
    """An op called as a worker calls it."""

    case: Case
    inputs: Sequence[Sample]
    classes: int = 9
    copy: int = 0

    @cached_property
    def context(self) -> Context:
        bare, bound = Context(class_names(self.classes), LABELS), BoundOp(self.case.op.name, self.case.params)
        if self.case.op.fit is None or not bound.fits:
            return bare
        return replace(bare, fitted=self.case.op.fit(self.candidates(bare), self.case.params, bare))

    def candidates(self, ctx: Context) -> list[Candidate]:
        return [candidate(self.case, sample, ctx) for sample in self.inputs]

    def drawn(self) -> Any:
        op, params = self.case.op, self.case.params
        if op.draw is None:
            return None
        rng = rng_for(21, op.name, 0, params.declared(), [sample.name for sample in self.inputs], self.copy)
        return op.draw(rng, self.inputs, params, self.context)

    def results(self, inputs: Sequence[Sample] | None = None) -> list[Sample | Drop]:
        """What the op makes of its inputs, or with the same draw of others."""
        return list(self.case.op.apply(inputs or self.inputs, self.drawn(), self.case.params, self.context))

    def samples(self) -> list[Sample]:
        return [made for made in self.results() if isinstance(made, Sample)]


def candidate(case: Case, sample: Sample, ctx: Context) -> Candidate:
    bound = BoundOp(case.op.name, case.params)
    return Candidate(
        id=digest(sample.name),
        name=sample.name,
        group=sample.group,
        split=sample.split,
        width=sample.width,
        height=sample.height,
        metadata=sample.metadata,
        tags=(),
        features=bound.measure(sample, ctx) if bound.measures else {},
    )


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from strings([*value, *value.values()])
    elif isinstance(value, Sequence):
        for item in value:
            yield from strings(item)


CASES = [Case(op, op.params.model_validate(example)) for op in SHIPPED.values() for example in op.examples.params]
CHANGING = [case for case in CASES if case.op.role != "filter"]
FILTERS = [case for case in CASES if case.op.role == "filter"]
MATRIX = [
    (case, kind, n)
    for case in CHANGING
    for kind in KINDS
    for n in COUNTS
    if case.fits(n) and (kind == "gray" or n in (9, 29))
]


def every(cases: Sequence[Case]) -> pytest.MarkDecorator:
    marked = [pytest.param(c, marks=pytest.mark.extras) if c.op.examples.extra else c for c in cases]
    return pytest.mark.parametrize("case", marked, ids=str)


every_op = pytest.mark.parametrize("op", SHIPPED.values(), ids=str)
every_case = every(CASES)
changing = every(CHANGING)
filters = every(FILTERS)


def everything(results: Sequence[Sample | Drop]) -> list[Any]:
    """All that an op gave, comparable."""
    return [made if isinstance(made, Drop) else told(made) for made in results]


def told(sample: Sample) -> list[Any]:
    label = None if sample.label is None else sample.label.tobytes()
    arrays = [pixel_digest(sample.image, sample.masks), sample.known.tobytes(), label]
    return [
        *arrays,
        sample.name,
        sample.group,
        sample.split,
        sample.metadata,
        sample.placements,
        sample.mark,
        sample.notes,
    ]


def bits_held(sample: Sample) -> np.ndarray:
    """Bit vector (P,) of the classes of which the masks hold a pixel."""
    return np.bitwise_or.reduce(sample.masks.reshape(-1, sample.masks.shape[2]), axis=0)


# The interface


@every_op
def test_every_op_has_examples(op: Op[Any]) -> None:
    assert op.examples.params, "an op needs one example or more: `examples=Examples([{}])` are its defaults"
    assert op.params.model_validate(op.examples.picture)


@every_case
def test_every_example_fits_nine_classes(case: Case) -> None:
    case.params.check(Context(class_names(9)))


@every_op
def test_op_is_well_made(op: Op[Any]) -> None:
    assert op.name == op.name.lower() and op.name.replace("_", "").isalnum()
    assert isinstance(op.version, int) and op.version >= 1
    assert op.role in ("prepare", "augment", "filter")
    assert set(op.measure_reads) <= op.params.model_fields.keys()


@every_op
def test_params_are_documented(op: Op[Any]) -> None:
    assert op.params.__doc__ and op.params.__doc__.strip() and op.params.__doc__ != OpParams.__doc__
    assert [name for name, field in op.params.model_fields.items() if not field.description] == []


@every_case
def test_params_are_frozen_and_strict(case: Case) -> None:
    with pytest.raises(ValidationError, match="surely_unknown"):
        case.op.params.model_validate({**case.params.declared(), "surely_unknown": 1})
    assert case.op.params.model_config["frozen"]
    assert case.op.params.model_validate(json.loads(canonical_json(case.params.declared()))) == case.params


# Ops that make samples


@pytest.mark.parametrize(
    ("case", "kind", "classes"), MATRIX, ids=[f"{case}-{kind}-{classes}" for case, kind, classes in MATRIX]
)
def test_output_is_of_the_inputs_kind(case: Case, kind: str, classes: int) -> None:
    dtype, channels = KINDS[kind]
    inputs = case.inputs(classes=classes, dtype=dtype, channels=channels)
    allowed = np.bitwise_or.reduce([bits_held(sample) for sample in inputs]) | case.named(classes)
    call = Call(case, inputs, classes)
    results = call.results()
    assert all(isinstance(made, Sample | Drop) for made in results)
    for made in results:
        if isinstance(made, Drop):
            assert made.reason
            continue
        assert made.image.dtype == f"uint{getattr(case.params, 'bits', dtype[4:])}"
        assert made.image.shape[2:] == inputs[0].image.shape[2:]
        assert made.masks.shape == (made.height, made.width, bitmask.plane_count(classes))
        assert not bitmask.invented_bits(made.masks, classes)
        assert not (bits_held(made) & ~allowed).any(), "a class that no input shows"
        assert made.known.dtype == np.uint8 and not (made.known & ~bitmask.all_bits(classes)).any()
    sizes = [(made.width, made.height) for made in call.samples()]
    promised = case.op.sizes([(sample.width, sample.height) for sample in inputs], case.params)
    if case.op.exact(case.params):
        assert sizes == promised
    else:
        assert len(sizes) <= len(promised) and set(sizes) <= set(promised)


@changing
def test_inputs_are_untouched(case: Case) -> None:
    inputs = case.inputs()
    for writable in (True, False):
        for array in (array for sample in inputs for array in (sample.image, sample.masks, sample.known)):
            array.setflags(write=writable)
        before = everything(inputs)
        Call(case, inputs).results()
        assert everything(inputs) == before


@changing
def test_same_key_same_bytes(case: Case) -> None:
    inputs = case.inputs()
    first = everything(Call(case, inputs).results())
    assert everything(Call(case, inputs).results()) == first
    assert everything(Call(case, case.inputs()).results()) == first


@changing
def test_memory_layout_does_not_matter(case: Case) -> None:
    inputs = case.inputs(classes=29)
    planar = [replace(s, masks=np.moveaxis(bitmask.planar(s.masks), 0, -1)) for s in inputs]
    assert everything(Call(case, planar, 29).results()) == everything(Call(case, inputs, 29).results())


@changing
def test_outputs_are_told_apart(case: Case) -> None:
    marks = [made.mark for made in Call(case, case.inputs()).samples()]
    assert len(set(marks)) == len(marks)


@changing
def test_only_declared_metadata_is_read(case: Case) -> None:
    inputs = case.inputs()
    bare = [replace(s, metadata={key: s.metadata[key] for key in case.op.reads}) for s in inputs]
    given = [told(replace(made, metadata={})) for made in Call(case, inputs).samples()]
    assert [told(replace(made, metadata={})) for made in Call(case, bare).samples()] == given


@every([case for case in CHANGING if case.op.draw])
def test_draws_are_json_and_differ_between_copies(case: Case) -> None:
    calls = [Call(case, case.inputs(), copy=copy) for copy in range(16)]
    drawn = [call.drawn() for call in calls]
    assert len({canonical_json(draw) for draw in drawn}) > 1
    assert drawn[0] == Call(case, case.inputs()).drawn()
    recorded = json.loads(json.dumps(drawn[0]))
    again = list(case.op.apply(calls[0].inputs, recorded, case.params, calls[0].context))
    assert everything(again) == everything(calls[0].results())


@changing
def test_unknown_classes_stay_unknown(case: Case) -> None:
    rng = np.random.default_rng(3)
    known = [bitmask.flags_to_bits(rng.random(29) < 0.7) for _ in case.slots]
    inputs = [replace(s, known=k, masks=s.masks & k) for s, k in zip(case.inputs(classes=29), known, strict=True)]
    allowed = np.bitwise_and.reduce(known) | case.named(29)
    for made in Call(case, inputs, 29).samples():
        assert not (made.masks & ~made.known).any(), "pixels of a class that is not known"
        assert not (made.known & ~allowed).any(), "known, though an input does not know it"


@changing
def test_unlabelled_samples_stay_unlabelled(case: Case) -> None:
    inputs = [replace(s, known=s.known * 0, masks=s.masks * 0) for s in case.inputs()]
    for made in Call(case, inputs).samples():
        assert not made.known.any() and not made.masks.any()


@changing
def test_labels_pass_or_mix(case: Case) -> None:
    vectors = np.eye(3, dtype=np.float32)
    inputs = [replace(s, label=vectors[i % 3]) for i, s in enumerate(case.inputs())]
    for made in Call(case, inputs).samples():
        assert made.label is not None and made.label.dtype == np.float32 and made.label.shape == (3,)
        assert made.label.min() >= 0 and made.label.sum() == pytest.approx(1, abs=1e-6)
        if len(inputs) == 1:
            np.testing.assert_array_equal(made.label, vectors[0])
    for made in Call(case, case.inputs()).samples():
        assert made.label is None


@changing
def test_placements_lead_to_the_pixels(case: Case) -> None:
    """A bright square of one class, planted in one input, lies where the matrix says: in image and masks."""
    seen = 0
    for slot in case.slots:
        for copy in range(12 if case.op.draw else 1):
            call = Call(case, planted(case, slot), copy=copy)
            dark = call.results([replace(s, image=np.zeros_like(s.image)) for s in call.inputs])
            for made, without in zip(call.results(), dark, strict=True):
                if isinstance(made, Sample) and isinstance(without, Sample):
                    made = replace(made, placements=(placement_of_input(made),)) if made in call.inputs else made
                    check_placements(made, call.inputs)
                    seen += check_square(case, made, without, call.inputs, slot)
    assert seen, "the square was never seen whole: choose an example that shows it"


def planted(case: Case, slot: int) -> list[Sample]:
    """Black images with some masks, and one bright square of class 8 in the image of that slot."""
    inputs = []
    for i, sample in enumerate(case.inputs(128, 160)):
        image, masks = np.zeros_like(sample.image), bitmask.keep(sample.masks, bitmask.select_bits(range(8), 9))
        if i == slot:
            x, y = corner(sample)
            image[y : y + SQUARE, x : x + SQUARE] = 255
            bitmask.set_class(masks, 8, image)
        inputs.append(replace(sample, image=image, masks=masks))
    return inputs


def corner(sample: Sample) -> tuple[int, int]:
    """Where the square is planted: off the centre, so that a mirrored matrix shows."""
    return sample.width // 2 - 20, sample.height // 2 - 9


def placement_of_input(sample: Sample) -> Placement:
    """Where an input that passes on lies: it fills itself."""
    return Placement(IDENTITY, (0, 0, sample.width, sample.height))


def check_placements(made: Sample, inputs: Sequence[Sample]) -> None:
    assert made.placements and len(set(made.placements)) == len(made.placements), "one placement for each that shows"
    assert {placement.input for placement in made.placements} <= set(range(len(inputs)))
    for x0, y0, x1, y1 in (placement.clip for placement in made.placements):
        assert 0 <= x0 <= x1 <= made.width and 0 <= y0 <= y1 <= made.height
    json.dumps([[placement.matrix, placement.clip] for placement in made.placements])


def check_square(case: Case, made: Sample, dark: Sample, inputs: Sequence[Sample], slot: int) -> bool:
    """Check the planted square; False where it does not show whole, and so has no centre to compare.

    ``dark`` is made of the same inputs without the square's light, so that the difference is the square.
    """
    mask = bitmask.class_mask(made.masks, 8).astype(bool)
    light = np.abs(made.image.astype(int) - dark.image)
    bright = (light > light.max() / 2) & (light > 2)
    inside = np.zeros_like(mask)
    for x0, y0, x1, y1 in (placement.clip for placement in made.placements if placement.input == slot):
        inside[y0:y1, x0:x1] = True
    assert not (bright & ~inside).any(), "the image shows where no placement says so"
    assert not (mask & ~inside).any(), "the masks show where no placement says so"
    own = [placement for placement in made.placements if placement.input == slot]
    if len(own) != 1:
        return False
    corners = square_corners(inputs[slot], own[0])
    if case.op.examples.hides:
        assert not (bright & ~mask).any() or case.params.model_dump()["masks"] == "clear"
        return bool(bright.any() and np.ptp(np.argwhere(bright), axis=0).max() < SQUARE)
    if not within(corners, own[0].clip):
        return False
    others = [placement for placement in made.placements if placement is not own[0]]
    if any(meets(corners, placement.clip) for placement in others) and mask.sum() < 0.95 * SQUARE**2:
        return False  # something was laid over it
    np.testing.assert_allclose(centre(mask), corners.mean(axis=0), atol=1)
    np.testing.assert_allclose(centre(bright), centre(mask), atol=1)
    assert not (bright & ~grown(mask)).any() and not (mask & ~grown(bright)).any(), "image and masks part"
    return True


def grown(mask: np.ndarray) -> np.ndarray:
    """The mask and its 8 neighbours."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)


def square_corners(sample: Sample, placement: Placement) -> np.ndarray:
    """Corners (4, 2) of the planted square in the output."""
    x, y = corner(sample)
    corners = [(u - 0.5, v - 0.5, 1) for u in (x, x + SQUARE) for v in (y, y + SQUARE)]
    return np.array(corners) @ np.array(placement.matrix).T


def within(corners: np.ndarray, clip: Box) -> bool:
    return bool((corners > np.array(clip[:2]) - 0.51).all() and (corners < np.array(clip[2:]) - 0.49).all())


def meets(corners: np.ndarray, clip: Box) -> bool:
    low, high = corners.min(axis=0), corners.max(axis=0)
    return bool((low < np.array(clip[2:]) - 0.5).all() and (high > np.array(clip[:2]) - 0.5).all())


def centre(mask: np.ndarray) -> np.ndarray:
    """Centre x, y of the pixels set."""
    assert mask.any(), "nothing of the square shows"
    return np.argwhere(mask).mean(axis=0)[::-1]


# Filters


def collection() -> list[Sample]:
    """Samples of many kinds: without labels, without objects, twice the same, dark."""
    samples = [make_sample(seed=seed) for seed in range(12)]
    samples[3] = replace(samples[3], known=samples[3].known * 0, masks=samples[3].masks * 0)
    samples[5] = replace(samples[5], masks=samples[5].masks * 0)
    samples[7] = replace(samples[7], image=samples[2].image, masks=samples[2].masks)
    samples[9] = replace(samples[9], image=samples[9].image // 16, split="val")
    return samples


@filters
def test_filter_decides_from_what_it_measured(case: Case) -> None:
    samples = collection()
    for array in (array for sample in samples for array in (sample.image, sample.masks, sample.known)):
        array.setflags(write=False)
    call, bare = Call(case, samples), Context(class_names(9), LABELS)
    candidates = call.candidates(bare)
    assert [json.loads(canonical_json(c.features)) for c in candidates] == [c.features for c in candidates]
    assert call.candidates(bare) == candidates, "measured twice, and not the same"
    assert json.loads(canonical_json(call.context.fitted)) == call.context.fitted
    flags = case.op.decide(candidates, case.params, call.context)
    assert len(flags) == len(candidates)
    for found in flags:
        assert found is None or (isinstance(found, Flag) and found.reason)
        assert found is None or found.score is None or math.isfinite(found.score)


@every([case for case in CASES if case.op.weigh])
def test_weights_are_finite_and_not_negative(case: Case) -> None:
    call = Call(case, collection())
    assert case.op.weigh is not None
    weights = [case.op.weigh(c, case.params, call.context) for c in call.candidates(call.context)]
    assert all(math.isfinite(weight) and weight >= 0 for weight in weights)


# Golden results: the same version, the same pixels


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    """The kept results. AUGFORGE_GOLDEN=write adds what is missing and removes what is gone; it replaces nothing."""
    kept = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("AUGFORGE_GOLDEN") == "write":
        known = {key: kept[key] for key in kept if not stale(key)}
        kept = known | {str(case): golden_result(case) for case in CASES if str(case) not in known}
        lines = [f"{json.dumps(key)}: {json.dumps(kept[key])}" for key in sorted(kept)]
        GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return kept


@every_case
def test_golden(case: Case, golden: dict[str, Any]) -> None:
    found = golden_result(case)
    if str(case) not in golden:
        line = f"{json.dumps(str(case))}: {json.dumps(found)}"
        pytest.fail(f"no golden result. AUGFORGE_GOLDEN=write adds it to {GOLDEN.name}:\n{line}", pytrace=False)
    if not alike(found, golden[str(case)]):
        pytest.fail(
            f"{case.op} gives other results than it did:\nnow  {found}\nthen {golden[str(case)]}\n"
            f"If that is meant, raise version= of {case.op.name} and run the tests with AUGFORGE_GOLDEN=write",
            pytrace=False,
        )


def test_golden_holds_nothing_else(golden: dict[str, Any]) -> None:
    left = sorted(filter(stale, golden))
    assert not left, f"{GOLDEN.name} holds what no example makes; AUGFORGE_GOLDEN=write removes {left}"


def stale(key: str) -> bool:
    """Whether no example makes a golden result."""
    return key not in map(str, CASES)


def golden_result(case: Case) -> dict[str, Any]:
    """What an op gives, told so that it is the same on every CPU.

    Resampling may differ by one gray value between CPU families. So: a digest of the masks and of evenly gray images,
    and of noisy images some gray values, compared with that tolerance.
    """
    if case.op.role == "filter":
        call = Call(case, collection())
        candidates = call.candidates(call.context)
        flags = case.op.decide(candidates, case.params, call.context)
        features = [c.features for c in candidates]
        return {"features": features, "fitted": call.context.fitted, "reasons": [f and f.reason for f in flags]}
    noisy = case.inputs()
    even = [replace(s, image=np.full_like(s.image, 40 + 20 * i)) for i, s in enumerate(noisy)]
    return {
        "even": digest([plain(made) for made in Call(case, even).results()]),
        "noisy": [gray_values(made) for made in Call(case, noisy).samples()],
    }


def plain(made: Sample | Drop) -> list[Any]:
    if isinstance(made, Drop):
        return ["drop", made.reason]
    return [pixel_digest(made.image, made.masks), made.known.tobytes().hex(), made.mark]


def gray_values(made: Sample) -> list[int]:
    """Gray values of 5x5 pixels, the corners among them."""
    rows, columns = (np.linspace(0, length - 1, 5).astype(int) for length in (made.height, made.width))
    return [int(value) for value in made.image[np.ix_(rows, columns)].ravel()]


def alike(found: Any, kept: Any) -> bool:
    """Equal, but for one in integers and a thousandth in other numbers."""
    if isinstance(kept, dict):
        return found.keys() == kept.keys() and all(alike(found[key], kept[key]) for key in kept)
    if isinstance(kept, list):
        return len(found) == len(kept) and all(map(alike, found, kept))
    if isinstance(kept, float):
        return math.isclose(found, kept, rel_tol=1e-3, abs_tol=1e-6)
    if type(kept) is int:
        return abs(found - kept) <= 1
    return bool(found == kept)
