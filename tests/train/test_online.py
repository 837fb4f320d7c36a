"""Online augmentation: the ops of recipes, drawn anew in each epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import class_names, make_sample

from augforge import bitmask
from augforge.errors import TrainError
from augforge.ops.core import OPS, Context, OpParams, filter_op, op
from augforge.planning.steps import Step
from augforge.sample import Drop, Sample
from augforge.train.config import load_config
from augforge.train.data.online import Online, online_steps

SAMPLES = [make_sample(seed=seed) for seed in range(6)]
CONTEXT = Context(class_names(9))


@pytest.fixture
def ops() -> Iterator[None]:
    with OPS.restored():
        yield


def online(*steps: dict[str, Any], samples: list[Sample] | None = None) -> Online:
    chosen = SAMPLES if samples is None else samples
    return Online(online_steps(steps), CONTEXT, len(chosen), chosen.__getitem__)


def pixels(sample: Sample) -> bytes:
    return sample.image.tobytes() + bitmask.planar(sample.masks).tobytes()


# ---- what may stand there --------------------------------------------------------------------------------------------


def told(tmp_path: Path, *steps: str) -> str:
    path = tmp_path / "train.yaml"
    path.write_text("\n".join(["data:", "  online:", *(f"    - {step}" for step in steps), ""]), encoding="utf-8")
    with pytest.raises(TrainError) as caught:
        load_config(path)
    return str(caught.value).removeprefix(f"{path.parent}/")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("{op: rotat}", "there is no op 'rotat'. Did you mean 'rotate'?"),
        ("{p: 0.5}", "'op' is missing"),
        ("{op: rotate, angels: [1, 2]}", "unknown key for op 'rotate'. Did you mean 'angles'?"),
        ("{op: rotate, angles: [1, two]}", "expected a number, got 'two'"),
        ("{op: rotate, pp: 1}", "unknown key for op 'rotate'. Did you mean 'p'?"),
        ("{op: hflip, p: 1.5}", "p: expected at most 1, got 1.5"),
        ("{op: hflip, copies: 2}", "copies: no key of an online step: each epoch makes one sample of a sample"),
        ("{op: hflip, keep_input: true}", "p below 1 lets the sample itself through"),
        ("{op: hflip, on: train}", "online steps act on the training samples alone"),
        ("{op: hflip, where: age > 6}", "put the step there"),
        ("{op: empty}", "'empty' is a filter, and nothing is dropped online. Put it into the recipe"),
        ("{op: mosaic, partners: rare}", "'mosaic' with these parameters is fitted on the whole training split"),
        ("{op: copy_paste, classes: [a], donors: area.a > 9}", "'copy_paste' chooses donors by a condition on the"),
        ("{op: resize, size: 64}", "'resize' prepares samples, and validation would not be prepared alike"),
    ],
)
def test_complaints_name_file_and_line(step: str, message: str, tmp_path: Path) -> None:
    found = told(tmp_path, "{op: hflip}", step)
    assert found.startswith("train.yaml:4: data.online.1")
    assert message in found


def test_complaints_without_a_file() -> None:
    with pytest.raises(TrainError, match=r"the configuration: data\.online\.0\.op: there is no op 'hflop'.*'hflip'"):
        online_steps([{"op": "hflop"}])


def test_steps() -> None:
    first, second = online_steps([{"op": "hflip", "p": 0.25}, {"op": "hflip"}])
    assert (first.p, second.p) == (0.25, 1)
    assert (first.bound.label, second.bound.label) == ("hflip", "hflip.2")
    assert online_steps([{"op": "pad", "multiple": 32, "p": 0.5}])[0].bound.name == "pad"


def test_the_class_table_is_asked_before_any_pixel() -> None:
    with pytest.raises(TrainError, match=r"data\.online: hflip: the data has no class 'class-x'.*Did you mean"):
        online({"op": "hflip", "swap": [["class-1", "class-x"]]})


def test_too_few_partners() -> None:
    with pytest.raises(TrainError, match="mosaic takes 4 samples at a time, but the training split has 3"):
        online({"op": "mosaic"}, samples=SAMPLES[:3])


# ---- what comes out --------------------------------------------------------------------------------------------------


def test_hflip_mirrors_and_exchanges() -> None:
    found = online({"op": "hflip", "swap": [["class-0", "class-3"]]}).sample(2, 1)
    masks = list(bitmask.to_masks(SAMPLES[2].masks, 9))
    masks[0], masks[3] = masks[3], masks[0]
    np.testing.assert_array_equal(found.image, SAMPLES[2].image[:, ::-1])
    np.testing.assert_array_equal(list(bitmask.to_masks(found.masks, 9)), [mask[:, ::-1] for mask in masks])


def test_none_and_never() -> None:
    assert online().sample(3, 1) is SAMPLES[3]
    assert online({"op": "hflip", "p": 0}).sample(3, 1) is SAMPLES[3]


def test_chance_depends_on_what_it_is_told_alone() -> None:
    steps = {"op": "rotate", "angle_range": [-20, 20]}, {"op": "mosaic", "p": 0.5}
    first, second = online(*steps), online(*steps)
    keys = [(i, epoch) for i in range(6) for epoch in range(3)]
    forwards = {key: pixels(first.sample(*key)) for key in keys}
    backwards = {key: pixels(second.sample(*key)) for key in reversed(keys)}
    assert forwards == backwards
    assert len({*forwards.values()}) == len(keys)


def test_a_step_behind_redraws_nothing() -> None:
    one = online({"op": "rotate", "angle_range": [-20, 20]})
    two = online({"op": "rotate", "angle_range": [-20, 20]}, {"op": "hflip"})
    np.testing.assert_array_equal(two.sample(1, 5).image, cv2.flip(one.sample(1, 5).image, 1))


def test_p_is_how_often() -> None:
    half = online({"op": "hflip", "p": 0.3})
    count = sum(half.sample(epoch % 6, epoch) is not SAMPLES[epoch % 6] for epoch in range(1000))
    assert 240 < count < 360  # 4 standard deviations


def test_two_steps_of_an_op_draw_apart() -> None:
    twice = online({"op": "hflip", "p": 0.5}, {"op": "hflip", "p": 0.5})
    found = [twice.sample(0, epoch).image[0, 0] for epoch in range(60)]
    assert {*map(int, found)} == {int(SAMPLES[0].image[0, 0]), int(SAMPLES[0].image[0, -1])}


def record(inputs: list[tuple[str, ...]], name: str = "blend", count: int = 3) -> None:
    """An op that keeps the names of what it was given, and adds the images up."""

    @op(name, OpParams, version=1, role="augment")
    def blend(given: Sequence[Sample], drawn: None, params: OpParams, ctx: Context) -> Iterator[Sample]:
        inputs.append(tuple(sample.name for sample in given))
        total = np.stack([sample.image for sample in given]).sum(axis=0, dtype=np.uint8)
        yield given[0].derive(total, given[0].masks)

    @blend.counts_inputs
    def _(params: OpParams) -> int:
        return count


def test_partners_are_others_and_all_come(ops: None) -> None:
    seen: list[tuple[str, ...]] = []
    record(seen)
    blend = online({"op": "blend"})
    for epoch in range(200):
        blend.sample(epoch % 6, epoch)
    assert all(len({*names}) == 3 for names in seen)
    assert [names[0] for names in seen] == [f"sample-{epoch % 6}" for epoch in range(200)]
    partners = {names[1:] for names in seen if names[0] == "sample-0"}
    assert {name for pair in partners for name in pair} == {f"sample-{i}" for i in range(1, 6)}
    assert len(partners) > 10  # of 20 ordered pairs


def test_partners_pass_the_steps_before(ops: None) -> None:
    """As in a recipe, whose mosaic joins what the steps before it made."""
    record([], count=2)
    joined = online({"op": "hflip"}, {"op": "blend"}, samples=SAMPLES[:2]).sample(0, 1)
    np.testing.assert_array_equal(joined.image, np.add(SAMPLES[0].image, SAMPLES[1].image)[:, ::-1])


def test_partners_draw_for_themselves(ops: None) -> None:
    record([], count=2)
    joined = online({"op": "hflip", "p": 0.5}, {"op": "blend"}, samples=SAMPLES[:2])
    one, other = SAMPLES[0].image, SAMPLES[1].image
    ways = {np.add(a, b).tobytes() for a in (one, one[:, ::-1]) for b in (other, other[:, ::-1])}
    assert {joined.sample(0, epoch).image.tobytes() for epoch in range(40)} == ways


def several(name: str, make: Callable[[Sample], list[Sample | Drop]]) -> None:
    @op(name, OpParams, version=1, role="augment", exact=False)
    def _(given: Sequence[Sample], drawn: None, params: OpParams, ctx: Context) -> list[Sample | Drop]:
        return make(given[0])


def test_one_of_several_by_chance(ops: None) -> None:
    several("spread", lambda sample: [replace(sample, name=f"n{i}") for i in range(3)])
    found = {online({"op": "spread"}).sample(0, epoch).name for epoch in range(40)}
    assert found == {"n0", "n1", "n2"}


def test_the_sample_itself_where_an_op_drops_it(ops: None) -> None:
    several("refuse", lambda sample: [Drop("no")])
    assert online({"op": "refuse"}).sample(4, 0) is SAMPLES[4]


def test_a_failing_op_is_named() -> None:
    mixed = [make_sample(seed=0), make_sample(seed=1, dtype="uint16")]
    with pytest.raises(TrainError, match=r"data\.online: cutmix of sample 'sample-0': images of different kinds"):
        online({"op": "cutmix"}, samples=mixed).sample(0, 0)


def test_filters_with_own_names_too(ops: None) -> None:
    from augforge.ops.core import FilterParams

    filter_op("dim", FilterParams, version=1)(lambda candidate, params, ctx: None)
    with pytest.raises(TrainError, match="'dim' is a filter"):
        online_steps([{"op": "dim"}])


def test_steps_are_plain_values() -> None:
    assert online_steps([{"op": "hflip"}]) == online_steps([{"op": "hflip", "p": 1.0}])
    assert isinstance(online_steps([{"op": "hflip"}])[0], Step)


@pytest.mark.parametrize("op", ["mosaic", "ricap"])
def test_fewer_samples_than_tiles(op: str) -> None:
    with pytest.raises(TrainError, match="takes 4 samples at a time, but the training split has 2"):
        online({"op": op}, samples=SAMPLES[:2])
    skipping = online({"op": op, "fewer": "skip"}, samples=SAMPLES[:2])
    assert pixels(skipping.sample(1, 0)) == pixels(SAMPLES[1])
    repeating = online({"op": op, "fewer": "repeat"}, samples=SAMPLES[:2])
    assert len({pixels(repeating.sample(0, epoch)) for epoch in range(4)}) == 4
