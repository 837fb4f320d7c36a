"""Stages with toy ops: filters, fits, weights, drops, several outputs; and what is remembered of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from toybox import class_pixels, ids, made, rejected, roots, tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.engine.summary import Summary
from augforge.errors import PlanError, TaskError
from augforge.ops.core import OPS, FilterParams, Flag, OpParams, filter_op, op, table_filter
from augforge.sample import Drop
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.manifest import read_manifest
from augforge.store.verify import verify

LEVELS = (10, 20, 90, 100, 110, 120, 130, 200)
"""Gray levels of persons 1 to 8; person 2 is `val`."""

SMALL = "{op: mosaic, grid: [1, 2], keep_input: true}"
called: Counter[str] = Counter()
"""How often each toy op did anything, by function."""


def name(person: int) -> str:
    return f"ID{person:03d}/image{person:013d}"


class Dim(FilterParams):
    below: float = 50
    column: int = 12


class Odd(FilterParams):
    within: float = 60


class Tiles(OpParams):
    columns: int = 2


class Center(OpParams):
    by: int = 1


class Skip(OpParams):
    above: int = 125


class Pair(OpParams):
    pass


@pytest.fixture(autouse=True)
def toy_ops() -> Iterator[None]:
    called.clear()
    with OPS.restored():
        _register_filters()
        _register_ops()
        yield


def _register_filters() -> None:
    @filter_op("toy_dim", Dim, version=1)
    def toy_dim(candidate: Any, params: Dim, ctx: Any) -> Flag | None:
        level = candidate.features["level"]
        return Flag("too dark", params.below - level) if level < params.below else None

    @toy_dim.measures(reads=("column",))
    def _(sample: Any, params: Any, ctx: Any) -> dict[str, Any]:
        called["measure"] += 1
        assert vars(params).keys() == {"column"}
        return {"level": float(sample.image[8:, params.column].mean())}

    @filter_op("toy_odd", Odd, version=1)
    def toy_odd(candidate: Any, params: Odd, ctx: Any) -> Flag | None:
        return Flag("odd") if abs(candidate.features["level"] - ctx.fitted["mean"]) > params.within else None

    @toy_odd.measures(reads=())
    def _(sample: Any, params: Any, ctx: Any) -> dict[str, Any]:
        called["measure odd"] += 1
        return {"level": float(sample.image[8:].mean())}

    @toy_odd.fits
    def _(candidates: Any, params: Odd, ctx: Any) -> dict[str, float]:
        return {"mean": float(np.mean([c.features["level"] for c in candidates if c.split == "train"]))}


def _register_ops() -> None:  # noqa: C901  (ten small ops)
    @op("toy_tiles", Tiles, version=1, role="prepare", exact=False)
    def tiles(inputs: Any, drawn: Any, params: Tiles, ctx: Any) -> Any:
        called["tiles"] += 1
        width = inputs[0].width // params.columns
        for x in range(0, width * params.columns, width):
            part = slice(x, x + width)
            image, masks = inputs[0].image[:, part].copy(), inputs[0].masks[:, part].copy()
            yield inputs[0].derive(image, masks, matrix=((1, 0, -x), (0, 1, 0)), mark=f"@{x},0")

    @tiles.gives_sizes
    def _(sizes: Any, params: Tiles) -> Any:
        return [(sizes[0][0] // params.columns, sizes[0][1])] * params.columns

    @op("toy_center", Center, version=1, role="prepare")
    def center(inputs: Any, drawn: Any, params: Center, ctx: Any) -> Any:
        called["center"] += 1
        yield inputs[0].derive(inputs[0].image // 2 + np.uint8(ctx.fitted % 100), inputs[0].masks)

    @center.measures(reads=())
    def _(sample: Any, params: Any, ctx: Any) -> dict[str, Any]:
        return {"level": float(sample.image[8:].mean())}

    @center.fits
    def _(candidates: Any, params: Center, ctx: Any) -> int:
        return round(float(np.median([c.features["level"] for c in candidates if c.split == "train"])))

    @op("toy_skip", Skip, version=1, role="augment", exact=False)
    def skip(inputs: Any, drawn: Any, params: Skip, ctx: Any) -> Any:
        called["skip"] += 1
        bright = inputs[0].image[8:].mean() > params.above
        yield Drop("too bright") if bright else inputs[0].derive(inputs[0].image + np.uint8(1), inputs[0].masks)

    @op("toy_pair", Pair, version=1, role="augment")
    def pair(inputs: Any, drawn: Any, params: Pair, ctx: Any) -> Any:
        image = np.maximum(inputs[0].image, inputs[1].image)
        placements = tuple(_whole(sample, i) for i, sample in enumerate(inputs))
        yield inputs[0].derive(image, inputs[0].masks | inputs[1].masks, placements=placements)

    @pair.counts_inputs
    def _(params: Pair) -> int:
        return 2

    @pair.measures(reads=())
    def _(sample: Any, params: Any, ctx: Any) -> dict[str, Any]:
        called["measure pair"] += 1
        return {"level": float(sample.image[8:].mean())}

    @pair.weighs
    def _(candidate: Any, params: Pair, ctx: Any) -> float:
        return 1.0 if candidate.features["level"] > 115 else 0.0


def _whole(sample: Any, i: int) -> Any:
    from augforge.sample import IDENTITY, Placement

    return Placement(IDENTITY, (0, 0, sample.width, sample.height), i)


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hands(tmp_path_factory.mktemp("pipeline") / "data", LEVELS)


def run(tmp_path: Path, hands: Path, *steps: str, **recipe: Any) -> tuple[Summary, Dataset]:
    summary, dataset = made(tmp_path, hands, steps, classes="[a, b]", **recipe)
    assert verify(tmp_path / "out", pixels=True) == []
    return summary, dataset


def tags(dataset: Dataset) -> dict[str, list[str]]:
    return {row["name"]: row["tags"] for row in dataset.index.iter_rows(named=True) if row["tags"]}


# ---- filters ---------------------------------------------------------------------------------------------------------


def test_filter_drops_from_train_and_tags_elsewhere(tmp_path: Path, hands: Path) -> None:
    summary, dataset = run(tmp_path, hands, "{op: toy_dim}")
    assert summary.splits == {"train": 6, "val": 1}
    assert summary.rejected == {"toy_dim: too dark": 1} == read_manifest(tmp_path / "out").rejected
    assert tags(dataset) == {name(2): ["toy_dim: too dark"]}
    (row,) = rejected(tmp_path / "out").to_dicts()
    assert (row["name"], row["group"], row["split"]) == (name(1), "ID001", "train")
    assert (row["step"], row["reason"], row["detail"]) == ("toy_dim", "too dark", "score 40")
    assert len(row["id"]) == 32
    assert name(1) not in ids(tmp_path / "out")


def test_a_filter_keeps_ids_and_names(tmp_path: Path, hands: Path) -> None:
    run(tmp_path, hands)
    before = ids(tmp_path / "out")
    summary, _ = run(tmp_path, hands, "{op: toy_dim}")
    after = ids(tmp_path / "out")
    assert after == {key: value for key, value in before.items() if key != name(1)}
    assert summary.made == 0


def test_action_tag_drops_nothing(tmp_path: Path, hands: Path) -> None:
    summary, dataset = run(tmp_path, hands, "{op: toy_dim, action: tag}")
    assert (summary.samples, summary.rejected) == (8, {})
    assert tags(dataset) == {name(1): ["toy_dim: too dark"], name(2): ["toy_dim: too dark"]}


def test_filter_drops_where_it_is_told(tmp_path: Path, hands: Path) -> None:
    summary, dataset = run(tmp_path, hands, "{op: toy_dim, on: [val, train], below: 15}")
    assert summary.splits == {"train": 6, "val": 1}
    summary, dataset = run(tmp_path, hands, "{op: toy_dim, on: val, below: 15}")
    assert summary.splits == {"train": 7, "val": 1}
    assert tags(dataset) == {name(1): ["toy_dim: too dark"]}


def test_fit_sees_train_alone_and_stands_in_the_manifest(tmp_path: Path, hands: Path) -> None:
    _, dataset = run(tmp_path, hands, "{op: toy_odd}")
    wanted = np.mean([level for person, level in enumerate(LEVELS, 1) if person != 2])
    assert read_manifest(tmp_path / "out").fitted == {"toy_odd": {"mean": wanted}}
    assert set(rejected(tmp_path / "out")["name"]) == {name(1), name(8)}
    assert tags(dataset) == {name(2): ["toy_odd: odd"]}


def test_thresholds_change_without_measuring_anew(tmp_path: Path, hands: Path) -> None:
    run(tmp_path, hands, "{op: toy_dim}")
    assert called["measure"] == 8
    summary, _ = run(tmp_path, hands, "{op: toy_dim, below: 95}")
    assert (called["measure"], summary.made) == (8, 0)
    assert set(rejected(tmp_path / "out")["name"]) == {name(1), name(3)}
    summary, _ = run(tmp_path, hands, "{op: toy_dim, below: 0}")
    assert (called["measure"], summary.samples) == (8, 8)
    run(tmp_path, hands, "{op: toy_dim, column: 3}")
    assert called["measure"] == 16
    (tmp_path / "data").mkdir()
    more = tiny_hands(tmp_path / "data", (*LEVELS, 40))
    run(tmp_path, more, "{op: toy_dim, column: 3}")
    assert called["measure"] == 17


def test_measurements_outlive_the_work_area(tmp_path: Path, hands: Path) -> None:
    import shutil

    run(tmp_path, hands, "{op: hflip, keep_input: true}", "{op: toy_dim}")
    done = called["measure"]
    shutil.rmtree(tmp_path / "out/work")
    summary, _ = run(tmp_path, hands, "{op: hflip, keep_input: true}", "{op: toy_dim, below: 95}")
    assert (called["measure"], summary.made) == (done, 0)


def test_filter_behind_a_flip_judges_what_came_out(tmp_path: Path, hands: Path) -> None:
    steps = ["{op: hflip, keep_input: true}", "{op: toy_dim, column: 1}"]
    summary, _ = run(tmp_path, hands, *steps)
    assert summary.splits == {"train": 12, "val": 1}
    assert set(rejected(tmp_path / "out")["name"]) == {name(1), f"{name(1)}~hflip"}
    assert called["measure"] == 15
    again, _ = run(tmp_path, hands, steps[0], "{op: toy_dim, column: 2}")
    assert (called["measure"], again.made) == (30, 0)


def test_two_filters_in_a_row(tmp_path: Path, hands: Path) -> None:
    summary, dataset = run(tmp_path, hands, "{op: toy_dim}", "{op: toy_odd}", "{op: toy_dim, below: 95, action: tag}")
    assert summary.rejected == {"toy_dim: too dark": 1, "toy_odd: odd": 1}
    mean = read_manifest(tmp_path / "out").fitted["toy_odd"]["mean"]
    assert mean == np.mean([90, 100, 110, 120, 130, 200])  # of what the first one left
    assert tags(dataset)[name(2)] == ["toy_dim: too dark", "toy_odd: odd", "toy_dim.2: too dark"]
    assert tags(dataset)[name(3)] == ["toy_dim.2: too dark"]


def test_mosaic_takes_survivors_alone(tmp_path: Path, hands: Path) -> None:
    run(tmp_path, hands, "{op: toy_dim, below: 105}", SMALL)
    shown = set().union(*roots(tmp_path / "out").values())
    assert shown == {name(person) for person in (2, 5, 6, 7, 8)}
    run(tmp_path, hands, SMALL)
    before = roots(tmp_path / "out")
    assert name(1) in set().union(*before.values())
    run(tmp_path, hands, "{op: toy_dim}", SMALL)
    after = roots(tmp_path / "out")
    assert all(after[key] == before[key] for key in after if name(1) not in before[key])  # a filter redraws nothing


def test_filter_as_the_last_step(tmp_path: Path, hands: Path) -> None:
    summary, _ = run(tmp_path, hands, SMALL, "{op: toy_dim, below: 100}", output="{image: jpeg}")
    found = rejected(tmp_path / "out")
    assert {name(1), name(3)} <= set(found["name"])
    assert summary.samples == 15 - found.height
    again, _ = run(tmp_path, hands, SMALL, "{op: toy_dim, below: 0}", output="{image: jpeg}")
    assert (again.samples, again.reused) == (15, summary.samples)


def test_empty_split_after_filtering(tmp_path: Path, hands: Path) -> None:
    summary, _ = run(tmp_path, hands, "{op: toy_dim, below: 300}")
    assert summary.splits == {"val": 1}
    assert summary.rejected == {"toy_dim: too dark": 7}
    with pytest.raises(PlanError, match=r"\(mosaic\) joins 2 samples, but split 'train' holds 1"):
        run(tmp_path, hands, "{op: toy_dim, below: 195}", SMALL)


def test_nothing_left_at_all(tmp_path: Path, hands: Path) -> None:
    summary, dataset = run(tmp_path, hands, "{op: toy_dim, below: 300, on: [train, val]}")
    assert (summary.samples, len(dataset), summary.shards) == (0, 0, 0)


def test_a_filter_that_leaves_out_a_sample_is_an_error(tmp_path: Path, hands: Path) -> None:
    """Its verdicts would fall on the wrong samples."""

    @table_filter("toy_short", FilterParams, version=1)
    def toy_short(candidates: Any, params: Any, ctx: Any) -> list[Flag | None]:
        return [Flag("odd") for candidate in candidates if candidate.name != name(3)]

    with pytest.raises(
        TaskError, match=r"step toy_short \(decide\): it gives \d+ verdicts on \d+ samples; expected one"
    ):
        run(tmp_path, hands, "{op: toy_short}")


@pytest.mark.parametrize(
    ("fitted", "verdict", "message"),
    [
        (np.float32(3), None, r"step toy_wrong \(fit\): .*float32 is not JSON serializable; give finite plain numbers"),
        (float("nan"), None, r"step toy_wrong \(fit\): .*give finite plain numbers"),
        (1.0, True, r"step toy_wrong \(decide\): TypeError: it gives True; expected a Flag"),
        (1.0, KeyError("lut"), r"step toy_wrong \(decide\): KeyError: 'lut'"),
    ],
)
def test_failing_filters_are_named(tmp_path: Path, hands: Path, fitted: Any, verdict: Any, message: str) -> None:
    @filter_op("toy_wrong", FilterParams, version=1)
    def toy_wrong(candidate: Any, params: Any, ctx: Any) -> Any:
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    toy_wrong.fits(lambda candidates, params, ctx: fitted)
    with pytest.raises(TaskError, match=message) as caught:
        run(tmp_path, hands, "{op: toy_wrong}")
    assert caught.value.failures[0].traceback.startswith("Traceback")
    assert json.loads((tmp_path / "out/log.jsonl").read_text().splitlines()[-1])["failures"][0]["step"] == "toy_wrong"


def test_a_numpy_number_from_fit_is_a_plain_number(tmp_path: Path, hands: Path) -> None:
    @filter_op("toy_quantile", FilterParams, version=1)
    def toy_quantile(candidate: Any, params: Any, ctx: Any) -> Flag | None:
        assert type(ctx.fitted) is float
        return None

    toy_quantile.fits(lambda candidates, params, ctx: np.quantile([1.0, 2.0], 0.5))
    run(tmp_path, hands, "{op: toy_quantile}")
    assert read_manifest(tmp_path / "out").fitted == {"toy_quantile": 1.5}


def test_an_op_that_exits_is_a_failed_task(tmp_path: Path, hands: Path) -> None:
    @op("toy_exit", OpParams, version=1, role="augment")
    def toy_exit(inputs: Any, drawn: Any, params: Any, ctx: Any) -> Any:
        raise SystemExit(1)

    with pytest.raises(TaskError, match=r"tasks failed.*\n.*\(toy_exit\): SystemExit: 1"):
        run(tmp_path, hands, "{op: toy_exit}")


def test_failing_measure_names_sample_and_filter(tmp_path: Path, hands: Path) -> None:
    with pytest.raises(TaskError, match=rf"{name(1)} \(toy_dim \(measure\)\): IndexError"):
        run(tmp_path, hands, "{op: toy_dim, column: 99}")


def test_dry_run_with_a_filter_is_at_most(tmp_path: Path, hands: Path) -> None:
    steps = ["{op: toy_odd}", "{op: hflip, keep_input: true}"]
    recipe = write_recipe(tmp_path / "recipe.yaml", hands, steps, classes="[a, b]")
    dry = build(recipe, tmp_path / "out", dry_run=True)
    assert (dry.exact, dry.samples, called["measure odd"]) == (False, 15, 0)
    real = build(recipe, tmp_path / "out")
    assert (real.exact, real.samples) == (True, 11)
    again = build(recipe, tmp_path / "out", dry_run=True)
    assert (again.exact, again.samples, again.made, again.reused) == (True, 11, 0, 11)
    assert again.rejected == real.rejected


# ---- drops and several outputs ---------------------------------------------------------------------------------------


def test_drops_are_rejections_and_remembered(tmp_path: Path, hands: Path) -> None:
    summary, _ = run(tmp_path, hands, "{op: toy_skip}")
    assert summary.splits == {"train": 5, "val": 1}
    found = rejected(tmp_path / "out")
    assert found["name"].to_list() == [f"{name(7)}~toy_skip", f"{name(8)}~toy_skip"]
    assert found["reason"].to_list() == ["too bright"] * 2
    assert found["group"].to_list() == ["ID007", "ID008"]
    assert called["skip"] == 7
    again, _ = run(tmp_path, hands, "{op: toy_skip}")
    assert (again.unchanged, called["skip"]) == (True, 7)
    kept, _ = run(tmp_path, hands, "{op: toy_skip, keep_input: true}")
    assert kept.splits == {"train": 12, "val": 1}


def test_several_outputs_have_marks(tmp_path: Path, hands: Path) -> None:
    summary, dataset = run(tmp_path, hands, "{op: toy_tiles}", "{op: hflip, keep_input: true}")
    assert summary.splits == {"train": 28, "val": 2}
    wanted = {f"{name(3)}~toy_tiles@0,0", f"{name(3)}~toy_tiles@12,0", f"{name(3)}~toy_tiles@12,0~hflip"}
    assert wanted < set(ids(tmp_path / "out"))
    assert len(set(ids(tmp_path / "out").values())) == 30
    right = dataset.by_name(f"{name(3)}~toy_tiles@12,0")
    assert right.image.shape == (16, 12)
    row = dataset.index.filter(pl.col("name") == right.name).row(0, named=True)
    root = {"name": name(3), "matrix": [[1, 0, -12], [0, 1, 0]], "clip": [0, 0, 12, 16], "size": [24, 16]}
    assert row["lineage"]["roots"] == [root]
    again, _ = run(tmp_path, hands, "{op: toy_tiles}", "{op: hflip, keep_input: true}")
    assert (again.made, called["tiles"]) == (0, 8)
    assert [step["reused"] for step in again.steps] == [{"train": 14, "val": 2}, {"train": 14}]


def test_masks_follow_the_tiles(tmp_path: Path, hands: Path) -> None:
    _, dataset = run(tmp_path, hands, "{op: toy_tiles, columns: 3, keep_input: true}")
    for person in (1, 4, 8):
        whole = dataset.by_name(name(person))
        parts = [dataset.by_name(f"{name(person)}~toy_tiles@{x},0") for x in (0, 8, 16)]
        for c in range(2):
            assert (np.hstack([class_pixels(part, c) for part in parts]) == class_pixels(whole, c)).all()


# ---- fits and weights ------------------------------------------------------------------------------------------------


def test_fitted_value_enters_the_id(tmp_path: Path, hands: Path) -> None:
    _, dataset = run(tmp_path, hands, "{op: toy_center}")
    assert read_manifest(tmp_path / "out").fitted == {"toy_center": 110}
    assert dataset.by_name(name(3)).image[12, 12] == 90 // 2 + 10
    before, done = ids(tmp_path / "out"), called["center"]
    more = tiny_hands(tmp_path / "data", (*LEVELS, 111))  # the median moves from 110 to round(110.5), an even 110
    run(tmp_path, more, "{op: toy_center}")
    assert called["center"] == done + 1
    assert {key: ids(tmp_path / "out")[key] for key in before} == before
    brighter = tiny_hands(tmp_path / "brighter", (*LEVELS, 118, 119))
    _, dataset = run(tmp_path, brighter, "{op: toy_center}")
    fitted = read_manifest(tmp_path / "out").fitted["toy_center"]
    assert fitted == 118
    assert called["center"] == done + 1 + 10
    assert all(ids(tmp_path / "out")[key] != before[key] for key in before)
    assert dataset.by_name(name(3)).image[12, 12] == 90 // 2 + 18


def test_fit_behind_another_step_sees_its_pixels(tmp_path: Path, hands: Path) -> None:
    run(tmp_path, hands, "{op: toy_center}", "{op: toy_center}")
    fitted = read_manifest(tmp_path / "out").fitted
    assert fitted == {"toy_center": 110, "toy_center.2": 110 // 2 + 10}


def test_partners_are_drawn_by_weight(tmp_path: Path, hands: Path) -> None:
    summary, dataset = run(tmp_path, hands, "{op: toy_pair, copies: 6, keep_input: true}")
    pairs = dataset.where(pl.col("step") == "toy_pair").index
    assert pairs.height == 7 * 6
    partners = Counter(row["parents"][1] for row in pairs.iter_rows(named=True))
    assert set(partners) == {name(person) for person in (6, 7, 8)}
    assert all(row["parents"][0] != row["parents"][1] for row in pairs.iter_rows(named=True))
    assert called["measure pair"] == 8
    assert summary.splits == {"train": 49, "val": 1}


def test_too_few_partners_of_any_weight(tmp_path: Path, hands: Path) -> None:
    dim = tiny_hands(tmp_path / "data", (10, 20, 30, 40))
    with pytest.raises(PlanError, match="weight above 0"):
        run(tmp_path, dim, "{op: toy_pair}")


def test_stages_in_a_long_chain(tmp_path: Path, hands: Path) -> None:
    """Filter, fit, tiles, mosaic and a last resize; nothing is made twice, and every parent is in the stage table."""
    steps = ["{op: toy_dim, below: 15}", "{op: toy_center}", "{op: toy_tiles}", SMALL]
    summary, dataset = run(tmp_path, hands, *steps, output="{size: 20}")
    assert summary.splits == {"train": 24, "val": 2}
    assert set(zip(dataset.index["width"], dataset.index["height"], strict=True)) == {(20, 20)}
    stages = pl.read_parquet(tmp_path / f"out/index/{summary.version}.stages.parquet")
    parents = set(dataset.index["parents"].explode().drop_nulls()) | set(stages["parents"].explode().drop_nulls())
    assert parents <= set(stages["name"])
    done = called.copy()
    again, _ = run(tmp_path, hands, *steps, output="{size: 20}")
    assert (again.unchanged, again.made, called) == (True, 0, done)
    drawn = [json.loads(step["drawn"]) for row in dataset.index["lineage"] for step in row["steps"] if step["drawn"]]
    assert len(drawn) == 12
    assert all(0.3 <= d["columns"][0] <= 0.7 for d in drawn)


def test_dry_run_with_fits_and_weights_is_at_most(tmp_path: Path, hands: Path) -> None:
    steps = ["{op: toy_center}", "{op: toy_pair, keep_input: true}"]
    recipe = write_recipe(tmp_path / "recipe.yaml", hands, steps, classes="[a, b]")
    dry = build(recipe, tmp_path / "out", dry_run=True)
    assert (dry.exact, dry.samples) == (False, 15)
    with pytest.raises(PlanError, match="weight above 0"):
        build(recipe, tmp_path / "out")  # every level is below 115 after `toy_center`
    with pytest.raises(PlanError, match="weight above 0"):  # now all that decides is known
        build(recipe, tmp_path / "out", dry_run=True)


def test_dry_run_before_a_fit_is_at_most(tmp_path: Path, hands: Path) -> None:
    """What an op is fitted on may change what it makes: until all is measured, all may have to be made again."""
    run(tmp_path, hands, "{op: toy_center}")
    tiny_hands(tmp_path / "data", (*LEVELS, 111))
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "data", ["{op: toy_center}"], classes="[a, b]")
    dry = build(recipe, tmp_path / "out", dry_run=True)
    assert (dry.exact, dry.made) == (False, 9)
    assert build(recipe, tmp_path / "out").made == 1  # the median stays 110


def test_dry_run_with_a_condition_on_measurements_is_at_most(tmp_path: Path, hands: Path) -> None:
    steps = ["{op: toy_dim, action: tag}", '{op: hflip, keep_input: true, where: "toy_dim.level > 105"}']
    recipe = write_recipe(tmp_path / "recipe.yaml", hands, steps, classes="[a, b]")
    dry = build(recipe, tmp_path / "out", dry_run=True)
    assert (dry.exact, dry.splits) == (False, {"train": 14, "val": 1})
    real = build(recipe, tmp_path / "out")
    assert real.splits == {"train": 11, "val": 1}
    dry = build(recipe, tmp_path / "out", dry_run=True)
    assert (dry.exact, dry.splits, dry.made) == (True, real.splits, 0)


def test_a_condition_on_what_is_not_there_is_an_error(tmp_path: Path, hands: Path) -> None:
    """No step before it measures anything of that name."""
    with pytest.raises(PlanError, match="there is no column 'toy_dim'"):
        run(tmp_path, hands, '{op: hflip, where: "toy_dim.level > 105"}')


def test_every_sample_is_made_once_where_stages_share_it(tmp_path: Path, hands: Path) -> None:
    """Payloads of inner stages may be lost: they are made again for whatever needs them."""
    import shutil

    steps = [
        "{op: hflip}",
        SMALL.replace("keep_input", "copies: 2, keep_input"),
        "{op: hflip, keep_input: true, p: 0.5}",
    ]
    first, _ = run(tmp_path, hands, *steps)
    shutil.rmtree(tmp_path / "out/work")
    write_recipe(tmp_path / "recipe.yaml", hands, [*steps, "{op: resize, size: 10}"], classes="[a, b]")
    later = build(tmp_path / "recipe.yaml", tmp_path / "out")
    fresh = build(tmp_path / "recipe.yaml", tmp_path / "fresh")
    assert later.version == fresh.version != first.version
    assert open_dataset(tmp_path / "out").index.equals(open_dataset(tmp_path / "fresh").index)
