"""Plans: how steps are cut into stages, what `p`, `copies`, `on` and `keep_input` mean, names, and what ids hang on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augforge.errors import PlanError
from augforge.lineage import Lineage
from augforge.ops import OPS, BoundOp, FilterParams, OpParams, filter_op, op
from augforge.planning.identity import ExpectedSample, call_id, drawn_copies, expect_samples, output_name
from augforge.planning.plan import check_names, cut_stages, expect_of_task, plan_stage
from augforge.planning.rows import Row, Stage, Task, common_metadata
from augforge.planning.steps import SPLITS, Step

SEED = 21
property_test = settings(deadline=None, max_examples=60)


class Toy(OpParams):
    strength: float = 1.0
    take: int = 2


class ToyFilter(FilterParams):
    limit: float = 0.5


def register_toys() -> None:
    """Ops of every shape; none of them is ever called."""

    def never(*arguments: Any) -> Any:
        raise AssertionError("planning calls no op")

    op("toy_prepare", Toy, version=1, role="prepare")(never)
    op("toy_draw", Toy, version=1, role="augment")(never).draws(never)
    op("toy_reads", Toy, version=1, role="augment", reads=("age",))(never)
    op("toy_maybe", Toy, version=1, role="augment", exact=False)(never)
    op("toy_windows", Toy, version=1, role="prepare")(never).gives_sizes(lambda sizes, params: [(5, 5), (5, 4), (5, 3)])
    op("toy_nothing", Toy, version=1, role="prepare")(never).gives_sizes(lambda sizes, params: [])
    join = op("toy_join", Toy, version=1, role="augment")(never)
    join.counts_inputs(lambda params: params.take)
    weighed = op("toy_weighed", Toy, version=1, role="augment")(never)
    weighed.counts_inputs(lambda params: 2)
    weighed.weighs(never)
    fitted = op("toy_fit", Toy, version=1, role="prepare")(never)
    fitted.measures(reads=())(never)
    fitted.fits(never)
    filter_op("toy_filter", ToyFilter, version=1)(never).measures(reads=())(never)


@pytest.fixture(autouse=True, scope="module")
def toys() -> Iterator[None]:
    with OPS.restored():
        register_toys()
        yield


def step(
    name: str,
    index: int = 1,
    occurrence: int = 0,
    p: float = 1.0,
    copies: int = 1,
    on: Sequence[str] = ("train",),
    keep_input: bool = False,
    where: str | None = None,
    **params: Any,
) -> Step:
    return Step(index, BoundOp(name, OPS[name].params(**params), occurrence), p, copies, tuple(on), keep_input, where)


def row(name: str = "a", split: str = "train", **changes: Any) -> Row:
    fields: dict[str, Any] = {
        "id": f"id-{name}",
        "group": f"group-{name}",
        "width": 8,
        "height": 6,
        "metadata": {"age": 7, "sex": "F"},
    }
    return Row(name=name, split=split, lineage=Lineage.of_source(name, 8, 6), **(fields | changes))


def plan(rows: Sequence[Row], *steps: Step, seed: int = SEED) -> tuple[list[Row], list[Task]]:
    """The untouched rows and the tasks of a single stage."""
    stages = cut_stages(steps)
    assert len(stages) == 1 or (len(stages) == 2 and stages[0] == Stage(0, None, (), ()))
    return plan_stage(stages[-1], rows, seed, lambda step, row: 1.0)


def leaves(chain: Sequence[Step], given: Row | None = None, seed: int = SEED) -> list[ExpectedSample]:
    given = given or row()
    return list(expect_samples(given.name, given.id, given.size, chain, seed, given.metadata).samples)


def names(chain: Sequence[Step], **given: Any) -> list[str]:
    return [leaf.name for leaf in leaves(chain, row(**given))]


# ---- stages ----------------------------------------------------------------------------------------------------------

KINDS = {"p": "toy_prepare", "h": "hflip", "m": "mosaic", "j": "toy_join", "f": "toy_filter", "t": "toy_fit"}


def described(stages: Sequence[Stage]) -> str:
    letters = {name: letter for letter, name in KINDS.items()}

    def spell(steps: Sequence[Step]) -> str:
        return "".join(letters[s.bound.name] for s in steps)

    return " ".join(f"{spell([s.head]) if s.head else ''}[{spell(s.chain)}]{spell(s.filters)}" for s in stages)


@pytest.mark.parametrize(
    ("steps", "stages"),
    [
        ("", "[]"),
        ("p", "[p]"),
        ("phh", "[phh]"),
        ("m", "[] m[]"),
        ("phm", "[ph] m[]"),
        ("mhp", "[] m[hp]"),
        ("mj", "[] m[] j[]"),
        ("hmphjp", "[h] m[ph] j[p]"),
        ("f", "[]f"),
        ("ff", "[]ff"),
        ("fh", "[]f [h]"),
        ("hff", "[h]ff"),
        ("hfmfh", "[h]f m[]f [h]"),
        ("mhfp", "[] m[h]f [p]"),
        ("t", "[] [t]"),
        ("htp", "[h] [tp]"),
        ("tt", "[] [t] [t]"),
        ("mt", "[] m[] [t]"),
        ("tfm", "[] [t]f m[]"),
    ],
)
def test_stages(steps: str, stages: str) -> None:
    assert described(cut_stages([step(KINDS[letter], i + 1) for i, letter in enumerate(steps)])) == stages


@pytest.mark.parametrize("first", list("phmjft"))
def test_stages_hold_every_step_once_and_in_order(first: str) -> None:
    for letters in product(first, *["phmjft"] * 3):
        steps = [step(KINDS[letter], i + 1) for i, letter in enumerate(letters)]
        stages = cut_stages(steps)
        assert [stage.index for stage in stages] == list(range(len(stages)))
        held = [[s for s in (stage.head, *stage.chain, *stage.filters) if s is not None] for stage in stages]
        assert [s for part in held for s in part] == steps
        for stage in stages:
            assert not any(s.bound.op.role == "filter" for s in stage.chain)
            inner = stage.chain if stage.head or stage.index == 0 else stage.chain[1:]
            assert not any(s.bound.op.fit for s in inner)
        for before, stage in pairwise(stages):
            assert stage.head or before.filters or stage.chain[0].bound.op.fit  # no cut without a reason


def test_measures_are_taken_where_they_are_needed() -> None:
    """A filter's at its stage's end; a fitted op's at the end of the stage before, from the samples it will get."""
    flip, first, fitted, last = step("hflip"), step("toy_filter", 2), step("toy_fit", 3), step("toy_filter", 4)
    stages = cut_stages([flip, first, fitted, last])
    assert [stage.measuring_steps for stage in stages] == [(first, fitted), (last,)]
    assert [stage.measuring_steps for stage in cut_stages([fitted])] == [(fitted,), ()]


# ---- what a step does ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("p", "copies", "keep_input"), list(product([0.0, 0.5, 1.0], [1, 3], [False, True])), ids=str)
@pytest.mark.parametrize("name", ["hflip", "toy_join"])
def test_table_of_p_copies_and_keep_input(name: str, p: float, copies: int, keep_input: bool) -> None:
    acting = step(name, p=p, copies=copies, keep_input=keep_input, on=["train", "val"])
    rows = [row(f"{split}{i}", split) for split in SPLITS for i in range(12)]
    untouched, tasks = plan(rows, acting)
    assert all(task.id for task in tasks) and len({task.id for task in tasks}) == len(tasks)
    made: dict[str, list[str]] = {given.name: [] for given in rows}
    for kept in untouched:
        made[kept.name].append(kept.name)
    for task in tasks:
        made[task.inputs[0].name] += [leaf.name for leaf in expect_of_task(task, SEED).samples]
    seen = set()
    for acted in rows:
        copied = drawn_copies(acting, SEED, acted.name) if acted.split in acting.on else []
        seen |= {(acted.split, len(copied))}
        passes = keep_input or not copied or acted.split == "test"
        new = [output_name(acting, acted.name, copy) for copy in copied]
        assert made[acted.name] == [acted.name] * passes + new
    if p in (0, 1):
        assert {count for split, count in seen if split != "test"} == {copies * int(p)}
    else:
        assert len(seen) > 2  # chance had its way


def test_rows_that_pass_are_the_very_same() -> None:
    rows = [row("a"), row("b", "val"), row("c", "test")]
    untouched, tasks = plan(rows, step("hflip", p=0.0), step("toy_draw", 2, on=["val"]))
    assert untouched == [rows[0], rows[2]]
    assert [(task.inputs, task.head, task.copy, [s.bound.name for s in task.chain]) for task in tasks] == [
        ((rows[1],), None, 0, ["toy_draw"])
    ]


def test_nothing_to_do() -> None:
    rows = [row("a"), row("b", "val")]
    assert plan(rows) == (rows, [])
    assert plan([], step("hflip")) == ([], [])
    assert plan([], step("mosaic")) == ([], [])


def test_an_op_that_gives_nothing_is_still_a_task() -> None:
    """Where the sizes say that nothing is left, such as windows larger than the image, the input does not pass."""
    untouched, tasks = plan([row()], step("toy_nothing"))
    assert untouched == [] and len(tasks) == 1
    assert expect_of_task(tasks[0], SEED).samples == ()


def test_chance_is_fair_and_hangs_on_names_alone() -> None:
    many = [f"n{i}" for i in range(1500)]
    flip = step("hflip", p=0.3, copies=2)
    drawn = np.array([[copy in drawn_copies(flip, SEED, name) for copy in (0, 1)] for name in many])
    assert (abs(drawn.mean(axis=0) - 0.3) < 0.04).all()
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.08  # copies are drawn apart
    assert [drawn_copies(flip, SEED, name) for name in reversed(many)][::-1] == [
        drawn_copies(flip, SEED, name) for name in many
    ]
    assert [drawn_copies(flip, SEED, n) for n in many] != [drawn_copies(flip, SEED + 1, n) for n in many]
    assert [drawn_copies(flip, SEED, n) for n in many] != [
        drawn_copies(step("hflip", occurrence=1, p=0.3, copies=2), SEED, n) for n in many
    ]
    assert [drawn_copies(flip, SEED, n) for n in many] == [
        drawn_copies(step("hflip", 7, p=0.3, copies=2), SEED, n) for n in many
    ]


@property_test
@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 5), st.text(min_size=1, max_size=5))
def test_a_larger_p_or_more_copies_only_add(p: float, q: float, copies: int, name: str) -> None:
    low, high = sorted((p, q))
    fewer = drawn_copies(step("hflip", p=low, copies=copies), SEED, name)
    assert set(fewer) <= set(drawn_copies(step("hflip", p=high, copies=copies), SEED, name))
    assert set(fewer) <= set(drawn_copies(step("hflip", p=low, copies=copies + 1), SEED, name))


def test_two_steps_multiply() -> None:
    chain = [step("hflip", copies=2, keep_input=True), step("toy_draw", 2, keep_input=True), step("toy_prepare", 3)]
    assert names(chain) == [
        "a",
        "a~toy_draw",
        "a~hflip",
        "a~hflip~toy_draw",
        "a~hflip-2",
        "a~hflip-2~toy_draw",
    ]
    assert [leaf.step_label for leaf in leaves(chain)] == ["toy_prepare"] * 6
    assert [leaf.step_label for leaf in leaves(chain[:2])] == ["", "toy_draw", "hflip", "toy_draw", "hflip", "toy_draw"]


def test_fused_steps_act_on_the_splits_they_name() -> None:
    chain = [step("hflip"), step("toy_draw", 2, on=["train", "val"]), step("toy_prepare", 3, on=SPLITS)]
    rows = [row(split, split) for split in SPLITS]
    _, tasks = plan(rows, *chain)
    assert {task.inputs[0].name: [s.bound.name for s in task.chain] for task in tasks} == {
        "train": ["hflip", "toy_draw", "toy_prepare"],
        "val": ["toy_draw", "toy_prepare"],
        "test": ["toy_prepare"],
    }


def test_steps_behind_a_mosaic_act_on_what_passed_it_and_on_what_it_made() -> None:
    rows = [row(f"t{i}") for i in range(4)] + [row("v", "val")]
    untouched, tasks = plan(rows, step("mosaic", keep_input=True), step("hflip", 2))
    assert untouched == [rows[-1]]
    assert [leaf.name for task in tasks for leaf in expect_of_task(task, SEED).samples] == [
        *(f"t{i}~hflip" for i in range(4)),
        *(f"mosaic/t{i}-1~hflip" for i in range(4)),
    ]


def test_a_mosaic_joins_distinct_samples_of_one_split() -> None:
    rows = [row(f"{split}{i}", split) for split in ("train", "val") for i in range(9)]
    untouched, tasks = plan(rows, step("mosaic", copies=3, on=["train", "val"]))
    assert untouched == [] and len(tasks) == 18 * 3
    for task in tasks:
        assert len({given.name for given in task.inputs}) == 4
        assert len({given.split for given in task.inputs}) == 1
    assert {(task.inputs[0].name, task.copy) for task in tasks} == {
        (given.name, copy) for given in rows for copy in range(3)
    }
    partners = {tuple(given.name for given in task.inputs[1:]) for task in tasks}
    assert len(partners) > 40  # copies differ


def test_the_order_of_rows_changes_no_task() -> None:
    rows = [row(f"t{i}") for i in range(8)]
    chain = (step("mosaic", p=0.5, keep_input=True), step("hflip", 2, p=0.5))
    first, again = plan(rows, *chain), plan(rows[::-1], *chain)
    assert {task.id for task in first[1]} == {task.id for task in again[1]}
    assert {given.name for given in first[0]} == {given.name for given in again[0]}


def test_too_few_samples() -> None:
    rows = [row(f"t{i}") for i in range(3)] + [row(f"v{i}", "val") for i in range(9)]
    with pytest.raises(PlanError) as caught:
        plan(rows, step("mosaic", 4))
    assert str(caught.value) == (
        "step 4 (mosaic) joins 4 samples, but split 'train' holds 3. "
        "Add samples, or let the step act on other splits with `on`, or say what to do with `fewer`"
    )
    assert len(plan(rows, step("mosaic", on=["val"]))[1]) == 9
    assert len(plan(rows, step("mosaic", grid=(1, 2)))[1]) == 3


def test_weights_come_from_the_step_and_rows() -> None:
    asked = []

    def weigh(asking: Step, given: Row) -> float:
        asked.append((asking.bound.name, given.name))
        return 0.0 if given.name == "t0" else 1.0

    rows = [row(f"t{i}") for i in range(6)] + [row("v", "val")]
    stage = cut_stages([step("toy_weighed", copies=20)])[-1]
    _, tasks = plan_stage(stage, rows, SEED, weigh)
    assert asked == [("toy_weighed", f"t{i}") for i in range(6)]
    assert {task.inputs[0].name for task in tasks} == {f"t{i}" for i in range(6)}
    assert {task.inputs[1].name for task in tasks} == {f"t{i}" for i in range(1, 6)}


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chain", "made"),
    [
        ([("hflip", {})], ["a~hflip"]),
        ([("hflip", {"copies": 3})], ["a~hflip", "a~hflip-2", "a~hflip-3"]),
        ([("hflip", {"keep_input": True})], ["a", "a~hflip"]),
        ([("hflip", {"occurrence": 1})], ["a~hflip.2"]),
        ([("hflip", {"occurrence": 2, "copies": 2})], ["a~hflip.3", "a~hflip.3-2"]),
        ([("hflip", {}), ("hflip", {"occurrence": 1})], ["a~hflip~hflip.2"]),
        ([("toy_prepare", {})], ["a"]),
        ([("resize", {"size": 4})], ["a"]),
        ([("toy_prepare", {"copies": 2})], ["a~toy_prepare", "a~toy_prepare-2"]),
        ([("toy_prepare", {"keep_input": True})], ["a", "a~toy_prepare"]),
        ([("toy_windows", {})], ["a~toy_windows@0", "a~toy_windows@1", "a~toy_windows@2"]),
    ],
)
def test_names(chain: list[tuple[str, dict[str, Any]]], made: list[str]) -> None:
    assert names([step(name, i + 1, **options) for i, (name, options) in enumerate(chain)]) == made


def test_names_of_what_has_several_parents() -> None:
    assert output_name(step("mosaic"), "ID001/a", 0) == "mosaic/ID001/a-1"
    assert output_name(step("mosaic"), "ID001/a", 2) == "mosaic/ID001/a-3"
    assert output_name(step("mosaic", occurrence=1), "a", 0) == "mosaic.2/a-1"
    assert output_name(step("toy_join", take=2), "a", 0) == "toy_join/a-1"
    assert output_name(step("toy_windows", copies=2), "a", 1, "@512,0") == "a~toy_windows-2@512,0"


@property_test
@given(st.lists(st.sampled_from(["hflip", "toy_prepare", "toy_draw", "toy_windows"]), max_size=4), st.data())
def test_names_are_unique_whatever_the_chain(ops: list[str], data: st.DataObject) -> None:
    """Also where windows are counted only, and copies of them are made."""
    chain = [
        step(
            name,
            i + 1,
            ops[:i].count(name),
            p=data.draw(st.sampled_from([0.5, 1.0])),
            copies=data.draw(st.integers(1, 3)),
            keep_input=data.draw(st.booleans()),
        )
        for i, name in enumerate(ops)
    ]
    made = leaves(chain)
    assert len({leaf.name for leaf in made}) == len(made) > 0
    known = [leaf.id for leaf in made if leaf.id is not None]
    assert len(set(known)) == len(known)


def test_check_names() -> None:
    check_names([row("a"), row("b")])
    with pytest.raises(PlanError) as caught:
        check_names([row("a"), row("b"), row("a", "val"), row("b"), row("c")])
    assert str(caught.value).startswith("2 names stand for more than one sample, such as 'a'. Names must be unique;")


# ---- what is known before --------------------------------------------------------------------------------------------


def test_sizes_are_known_before() -> None:
    chain = [step("resize", size=(12, 9)), step("hflip", 2, keep_input=True)]
    assert [leaf.size for leaf in leaves(chain)] == [(12, 9), (12, 9)]
    rows = [row(f"t{i}", width=10 + i, height=20 + i) for i in range(4)]
    _, tasks = plan(rows, step("mosaic"))
    assert [expect_of_task(task, SEED).samples[0].size for task in tasks] == [(10 + i, 20 + i) for i in range(4)]
    _, tasks = plan(rows, step("mosaic", size=(6, 4)))
    assert {expect_of_task(task, SEED).samples[0].size for task in tasks} == {(6, 4)}


def test_what_pixels_decide_is_counted_and_has_no_id() -> None:
    windows = leaves([step("toy_windows"), step("hflip", 2)])
    assert [(leaf.id, leaf.size, leaf.step_label, leaf.exact) for leaf in windows] == [
        (None, (5, 5), "hflip", True),
        (None, (5, 4), "hflip", True),
        (None, (5, 3), "hflip", True),
    ]
    (maybe,) = leaves([step("toy_maybe"), step("hflip", 2)])
    assert maybe.id is None and not maybe.exact
    assert [leaf.exact for leaf in leaves([step("toy_maybe", keep_input=True)])] == [True, False]


# ---- ids -------------------------------------------------------------------------------------------------------------


def made_ids(chain: Sequence[Step], given: Row | None = None, seed: int = SEED) -> list[str | None]:
    return [leaf.id for leaf in leaves(chain, given, seed)]


def mosaic_ids(rows: Sequence[Row], acting: Step, seed: int = SEED) -> dict[str, Any]:
    """Name to id, and the names of the parents, of all that a step of several inputs makes."""
    _, tasks = plan(rows, acting, seed=seed)
    return {
        leaf.name: (leaf.id, [given.name for given in task.inputs])
        for task in tasks
        for leaf in expect_of_task(task, seed).samples
    }


@pytest.mark.parametrize(
    ("same", "other"),
    [
        (step("hflip", swap=()), step("hflip")),
        (step("hflip"), step("hflip", 9)),
        (step("hflip"), step("hflip", on=SPLITS)),
        (step("hflip"), step("hflip", p=1.0)),
        (step("resize", size=8, fit="letterbox", fill=0), step("resize", size=8)),
    ],
)
def test_what_an_id_does_not_hang_on(same: Step, other: Step) -> None:
    assert made_ids([same]) == made_ids([other])
    assert plan([row()], same)[1][0].id == plan([row()], other)[1][0].id


def test_ids_hang_on_input_op_params_and_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    base = made_ids([step("hflip")])
    others = [
        made_ids([step("hflip")], row(id="edited")),
        made_ids([step("hflip")], row("b", id="id-a")),
        made_ids([step("hflip", swap=(("l", "r"),))]),
        made_ids([step("hflip", occurrence=1)]),
        made_ids([step("toy_draw")]),
        made_ids([step("hflip", copies=2)])[1:],
        made_ids([step("hflip"), step("hflip", 2)]),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(OPS["hflip"], "version", 2)
        others.append(made_ids([step("hflip")]))
    assert len({str(ids) for ids in [base, *others]}) == 1 + len(others)
    assert made_ids([step("hflip")]) == base
    assert made_ids([step("hflip", copies=2)])[:1] == base  # one more copy leaves the first as it was
    assert made_ids([step("hflip", p=0.999999)]) == base
    assert made_ids([step("hflip", keep_input=True)]) == [row().id, *base]


def test_calls_are_told_apart_by_copy() -> None:
    """The id of a call also stands for what it refused to make, which has no name of its own."""
    inputs = [("a", "id-a")]
    assert len({call_id(step("hflip", copies=3), inputs, copy, SEED, None) for copy in range(3)}) == 3


def test_a_fitted_value_is_part_of_the_id() -> None:
    plain = step("toy_prepare")
    fitted = replace(plain, bound=replace(plain.bound, fitted={"level": 3}))
    assert made_ids([plain]) != made_ids([fitted])
    assert plan([row()], plain)[1][0].id != plan([row()], fitted)[1][0].id


def test_the_seed_matters_where_chance_does() -> None:
    assert made_ids([step("hflip")], seed=1) == made_ids([step("hflip")], seed=2)
    assert made_ids([step("toy_draw")], seed=1) != made_ids([step("toy_draw")], seed=2)
    cases: list[tuple[str, dict[str, Any], bool]]
    cases = [("hflip", {}, True), ("hflip", {"p": 0.99}, False), ("toy_draw", {}, False)]
    for name, options, same in cases:
        acting = step(name, **options)
        tasks = [plan([row("n4")], acting, seed=seed)[1] for seed in (1, 2)]
        assert (tasks[0][0].id == tasks[1][0].id) == same
    rows = [row(f"t{i}") for i in range(4)]  # all four are always joined, so only the draw differs
    assert mosaic_ids(rows, step("mosaic"), 1) != mosaic_ids(rows, step("mosaic"), 2)


def test_metadata_matters_where_it_is_read() -> None:
    old, same = row(metadata={"age": 7, "sex": "F"}), row(metadata={"age": 7, "sex": "M"})
    older, none = row(metadata={"age": 8, "sex": "F"}), row(metadata=None)
    for name, differs in [("hflip", False), ("toy_reads", True)]:
        chain = [step(name), step("toy_prepare", 2)]
        ids = [made_ids(chain, given) for given in (old, same, older, none)]
        tasks = [plan([given], *chain)[1][0].id for given in (old, same, older, none)]
        assert ids[0] == ids[1] and tasks[0] == tasks[1]
        assert (len({str(i) for i in ids}), len(set(tasks))) == ((3, 3) if differs else (1, 1))


def test_a_mosaic_hangs_on_its_parents_alone() -> None:
    """One edited sample changes the ids of the mosaics it is in, their partners stay, and the others are untouched."""
    rows = [row(f"t{i}") for i in range(30)]
    before = mosaic_ids(rows, step("mosaic", copies=2))
    edited = mosaic_ids(
        [replace(given, id="edited") if given.name == "t7" else given for given in rows], step("mosaic", copies=2)
    )
    assert {name: parents for name, (_, parents) in edited.items()} == {
        name: parents for name, (_, parents) in before.items()
    }
    for name, (made, parents) in before.items():
        assert (edited[name][0] != made) == ("t7" in parents)


INGREDIENTS: dict[str, Any] = {
    "id": {"given": {"id": "other"}},
    "name": {"given": {"name": "b", "id": "id-a"}},
    "read metadata": {"given": {"metadata": {"age": 8}}},
    "p": {"options": {"p": 0.9999}},
    "copies": {"options": {"copies": 2}},
    "keep_input": {"options": {"keep_input": True}},
    "params": {"options": {"strength": 2.0}},
    "occurrence": {"options": {"occurrence": 1}},
    "op": {"op": "toy_draw"},
    "split": {"given": {"split": "val"}, "same": True},
    "group": {"given": {"group": "other", "groups": ("x",)}, "same": True},
    "other metadata": {"given": {"metadata": {"age": 7, "sex": "M"}}, "same": True},
    "tags": {"given": {"tags": ("odd",), "parents": ("x",)}, "same": True},
    "index": {"options": {"index": 5}, "same": True},
    "spelt out": {"options": {"strength": 1.0, "take": 2}, "same": True},
}


@pytest.mark.parametrize("ingredient", INGREDIENTS)
def test_task_ids_hang_on_what_decides_the_result(ingredient: str) -> None:
    change = INGREDIENTS[ingredient]
    everywhere: dict[str, Any] = {"on": SPLITS}
    _, (base,) = plan([row()], step("toy_reads", **everywhere))
    changed = step(change.get("op", "toy_reads"), **(everywhere | change.get("options", {})))
    _, (other,) = plan([row(**change.get("given", {}))], changed)
    assert (base.id == other.id) == change.get("same", False)


def test_task_ids_tell_chains_apart() -> None:
    """Every chain of up to three of these steps is another task."""
    steps = [step("hflip"), step("toy_draw"), step("toy_prepare"), step("toy_reads", strength=3)]
    chains = [chain for length in (1, 2, 3) for chain in product(steps, repeat=length)]
    assert len({plan([row()], *chain)[1][0].id for chain in chains}) == len(chains)


def test_task_ids_of_several_inputs() -> None:
    rows = [row(f"t{i}") for i in range(2)]

    def ids(*steps: Step, given: Sequence[Row] = rows, seed: int = SEED) -> list[str]:
        return [task.id for task in plan(given, *steps, seed=seed)[1]]

    base = ids(step("toy_join"))
    assert len(set(base)) == 2  # t0 with t1 is not t1 with t0
    assert ids(step("toy_join"), seed=99) == base
    for other in [
        ids(step("toy_join", copies=2)),
        ids(step("toy_join", strength=2)),
        ids(step("toy_join", occurrence=1)),
        ids(step("toy_join"), step("hflip", 2)),
        ids(step("toy_join", p=0.9999)),
        ids(step("toy_join"), given=[rows[0], replace(rows[1], id="edited")]),
        ids(step("toy_join"), given=[replace(rows[0], id="edited"), rows[1]]),
    ]:
        assert not set(base) & set(other)


def test_an_untouched_split_never_changes_a_task() -> None:
    rows = [row(f"t{i}") for i in range(5)]
    acting = step("mosaic", keep_input=True)
    alone = plan(rows, acting)[1]
    assert [task.id for task in plan([*rows, row("v", "val")], acting)[1]] == [task.id for task in alone]


# ---- metadata of several ---------------------------------------------------------------------------------------------


def test_common_metadata() -> None:
    men = [row(metadata={"sex": "M", "age": age}) for age in (3, 4)]
    assert common_metadata(men) == {"sex": "M"}
    assert common_metadata([*men, row(metadata={"sex": "F"})]) == {}
    assert common_metadata([row(metadata=None), *men]) == {}
    assert common_metadata(men[:1]) == {"sex": "M", "age": 3}
