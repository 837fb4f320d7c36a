"""Comparing datasets: one validation set in the source's own pixels, refused where it would be no fair judge."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fakelearner import FakeLearner, Masks
from rich.console import Console
from toybox import annotation, edit_json, made, with_index

from augforge import bitmask
from augforge.errors import TrainError
from augforge.lineage import Root
from augforge.phantom import write_phantom
from augforge.progress import Silent
from augforge.sample import IDENTITY, Sample
from augforge.store.dataset import Dataset, open_dataset
from augforge.train.built import raw_source
from augforge.train.config import TrainConfig
from augforge.train.prediction.blend import blend, count_samples
from augforge.train.prediction.inference import Prediction
from augforge.train.study.common import common_set
from augforge.train.study.compare import compare
from augforge.train.study.forest import forest_plot, render_compare, tick_values
from augforge.train.study.scoring import score_model

CONFIG = TrainConfig.model_validate({"data": {"size": 64, "batch_size": 4}, "epochs": 3})
MOSAIC = ("{op: hflip, keep_input: true}", "{op: mosaic, keep_input: true}")
WINDOWS = ("{op: sliding_window, size: 64, stride: 32}",)
UPRIGHT = ("{op: rotate_normalise, axis: {from: [finger-11], to: [finger-8]}}", "{op: resize, size: [288, 256]}")
VAL = ["ID002", "ID004"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    write_phantom(folder / "data", persons=5, size=128, seed=3)
    return folder


def built(root: Path, name: str, steps: tuple[str, ...] = (), **recipe: Any) -> Dataset:
    folder = root / "built" / name
    if not (folder / "out").exists():
        made(folder, root / "data", steps, **{"name": name, "split": "{val: [ID002, ID004]}", **recipe})
    return open_dataset(folder / "out")


@pytest.fixture(scope="module")
def plain(root: Path) -> Dataset:
    return built(root, "plain")


@pytest.fixture(scope="module")
def mosaics(root: Path) -> Dataset:
    return built(root, "mosaics", MOSAIC)


# ---- the common validation set ---------------------------------------------------------------------------------------


def test_common_set_is_what_all_hold_back(root: Path, plain: Dataset, mosaics: Dataset) -> None:
    fewer = built(root, "fewer", split="{val: [ID004]}")  # trains on ID002, which it does not hold back
    common = common_set([plain, mosaics, fewer])
    assert common.names == sorted(name for name in plain.index["name"] if name.startswith("ID004/"))
    assert common.groups == ["ID004", "ID004"]
    assert common.left_out == {"plain": 2, "mosaics": 2, "fewer": 0}
    assert common.warnings == ()
    raw = list(common.raw_samples())
    assert [sample.name for sample in raw] == common.names
    assert all((sample.masks == plain.by_name(sample.name).masks).all() for sample in raw)


def test_nothing_in_common(root: Path, plain: Dataset) -> None:
    other = built(root, "other", split="{val: [ID001]}")
    with pytest.raises(TrainError, match=r"no source image is in the validation split of every .* other ID001/image"):
        common_set([plain, other])


def test_a_group_on_both_sides_is_refused(root: Path, plain: Dataset) -> None:
    """Another recipe splits by image, so the other hand of a patient that judges is trained on."""
    image = next(name for name in plain.split("val").index["name"].sort() if name.startswith("ID004")).split("/")[1]
    leaky = built(root, "leaky", classes="hand-bone, group: {regex: '(image[0-9]+)'}", split=f"{{val: [{image}]}}")
    assert len(leaky.split("val")) == 1
    with pytest.raises(TrainError, match=r"leaky trains on what .* judged by: ID004 is in its training split"):
        common_set([plain, leaky])


def test_a_mosaic_that_shows_a_judge_is_refused(plain: Dataset, mosaics: Dataset) -> None:
    """Whatever a training sample is called and grouped: its source images decide."""
    name = plain.split("val").index["name"][0]
    root = (
        pl.col("lineage").struct.field("roots").list.eval(pl.element().struct.with_fields(pl.lit(name).alias("name")))
    )
    train = pl.col("split") == "train"
    index = mosaics.index.with_columns(
        pl.when(train).then(pl.col("lineage").struct.with_fields(root.alias("roots"))).otherwise(pl.col("lineage"))
    )
    with pytest.raises(TrainError, match=r"mosaics trains on what .*: ID00\d is in"):
        common_set([plain, with_index(mosaics, index)])


def test_other_classes_are_refused(root: Path, plain: Dataset) -> None:
    other = built(root, "classes", classes="[Radius, Ulna], class_map: {'*': null}")
    with pytest.raises(TrainError, match=r"classes lacks .*, compared to the classes of plain"):
        common_set([plain, other])
    with pytest.raises(TrainError, match=r"plain adds .*, compared to the classes of classes"):
        common_set([other, plain])


def test_the_same_dataset_twice_and_no_validation(root: Path, plain: Dataset) -> None:
    with pytest.raises(TrainError, match=f"the same, plain {plain.version}"):
        common_set([plain, plain])
    with pytest.raises(TrainError, match=r"no validation split to judge by. Build it with `split"):
        common_set([plain, built(root, "all", split="{}")])


def test_source_that_moved(tmp_path: Path, root: Path) -> None:
    data = Path(shutil.copytree(root / "data", tmp_path / "data"))
    one, other = (made(tmp_path / name, data, steps, name=name)[1] for name, steps in (("one", ()), ("two", MOSAIC)))
    assert raw_source(one).path == str(data)
    moved = data.rename(tmp_path / "elsewhere")
    with pytest.raises(TrainError, match=rf"the source of {one.folder} is not at {data}.*--source PATH"):
        common_set([one, other])
    assert len(common_set([one, other], str(moved)).records) == 2
    with pytest.raises(TrainError, match="lists no ID002/image"):
        shutil.rmtree(moved / "train/DCM/ID002")
        shutil.rmtree(moved / "train/outputs_json/ID002")
        common_set([one, other], str(moved))
    (one.folder / "log.jsonl").unlink()
    with pytest.raises(TrainError, match=r"log.jsonl does not say .* --source PATH"):
        raw_source(one)


def test_overrides_of_the_build_count(tmp_path: Path, root: Path) -> None:
    from toybox import write_recipe

    from augforge.engine.builder import build

    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "nowhere")
    overrides = [f"source.path={root / 'data'}", "source.classes=[Ulna, Radius]", "source.class_map={'*': null}"]
    build(recipe, tmp_path / "out", overrides=overrides)
    source = raw_source(open_dataset(tmp_path / "out"))
    assert source.path == str(root / "data")
    assert source.classes == ("Ulna", "Radius")


# ---- judging ---------------------------------------------------------------------------------------------------------


def judged(learner: FakeLearner, datasets: list[Dataset], place: int) -> pl.DataFrame:
    common = common_set(datasets)
    model = learner(datasets[place], CONFIG, Path("nowhere"), Silent())
    return score_model(model, common.compared[place], common, Silent())


def pooled(table: pl.DataFrame) -> float:
    """Dice of all pixels of all classes and images together: bones of a few pixels do not rule it."""
    pixels = table.select(pl.col("intersection", "predicted", "true").sum()).row(0)
    return float(2 * pixels[0] / (pixels[1] + pixels[2]))


def test_whatever_prepared_them_samples_are_judged_in_the_sources_pixels(root: Path, plain: Dataset) -> None:
    """A model that is right about what it sees is right about the source: windows exactly, turned images nearly."""
    windows, upright = built(root, "windows", WINDOWS), built(root, "upright", UPRIGHT)
    assert len(windows.split("val")) == 36
    datasets = [plain, windows, upright]
    for place in (0, 1):
        table = judged(FakeLearner(), datasets, place)
        assert table.height == 4 * 29
        assert (table["dice"] == 1).all()
        assert (table["covered"] == 1).all()
        areas = {(row["name"], name): area for row in plain.index.to_dicts() for name, area in row["area"].items()}
        assert all(row["true"] == areas[row["name"], row["class"]] for row in table.iter_rows(named=True))
    assert pooled(judged(FakeLearner(), datasets, 2)) > 0.97


def test_a_shifted_answer_is_seen(root: Path, plain: Dataset) -> None:
    """Three pixels off in the sample must show in the source, or the way back were no way back."""

    def shifted(masks: Masks, sample: Sample, dataset: Dataset, seed: int) -> Masks:
        return np.roll(masks, 3, axis=2)

    upright = built(root, "upright", UPRIGHT)
    right, wrong = (judged(learner, [plain, upright], 1) for learner in (FakeLearner(), FakeLearner(shifted)))
    assert pooled(wrong) < pooled(right) - 0.1


def test_the_way_back_is_not_half_a_pixel_off(root: Path, plain: Dataset) -> None:
    """A turned and scaled answer, brought back, fits the raw labels best where it lies, and shifts are equally bad.

    It is twice as large: at other factors, selected mask pixels lie a little aside themselves.
    """
    common = common_set([plain, built(root, "upright", UPRIGHT)])
    compared = common.compared[1]
    model = FakeLearner()(compared.dataset, CONFIG, Path("nowhere"), Silent())
    scores: dict[tuple[int, int], list[float]] = {}
    for raw, prediction in zip(common.raw_samples(), model.predict(compared.samples(common.names)), strict=True):
        found = np.stack([*blend([prediction], [compared.views[raw.name][0].root])]) >= 0.5
        true = np.stack([*bitmask.to_masks(raw.masks, 29)]).astype(bool)
        for shift in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)):
            moved = np.roll(found, shift, axis=(1, 2))
            scores.setdefault(shift, []).append(2 * (moved & true).sum() / (moved.sum() + true.sum()))
    means = {shift: float(np.mean(values)) for shift, values in scores.items()}
    assert means[0, 0] > max(value for shift, value in means.items() if shift != (0, 0)) + 0.08
    assert means[0, 1] == pytest.approx(means[0, -1], abs=0.015)
    assert means[1, 0] == pytest.approx(means[-1, 0], abs=0.015)


def test_windows_that_overlap_are_averaged() -> None:
    """Two windows of 6 in a row of 10 pixels: both show the middle two, and nothing else is shown by both."""
    roots = [Root("a", ((1, 0, -x), (0, 1, 0)), (0, 0, 6, 4), (10, 4)) for x in (0, 4)]
    predictions = [
        Prediction("a", np.full((2, 4, 6), value, np.float32), IDENTITY, (0, 0, 6, 4), 6, 4) for value in (0.2, 0.6)
    ]
    first, second = blend(predictions, roots)
    np.testing.assert_allclose(first, [[0.2] * 4 + [0.4] * 2 + [0.6] * 4] * 4, rtol=1e-6)
    assert (first == second).all()
    assert count_samples(roots).tolist() == [[1] * 4 + [2] * 2 + [1] * 4] * 4
    half = blend(predictions[:1], roots[:1])
    assert (next(half)[:, 6:] == 0).all()


def test_what_windows_leave_out_is_absent(root: Path, plain: Dataset) -> None:
    cropped = built(root, "cropped", ("{op: sliding_window, size: 96, stride: 96, edge: drop}",))
    table = judged(FakeLearner(), [plain, cropped], 1)
    assert table["covered"].unique().to_list() == [(96 / 128) ** 2]
    lost = table.filter(pl.col("intersection") < pl.col("true"))
    assert lost.height > 5
    assert (lost["predicted"] == lost["intersection"]).all()


# ---- the comparison --------------------------------------------------------------------------------------------------


def worse_ulna(masks: Masks, sample: Sample, dataset: Dataset, seed: int) -> Masks:
    """Models of mosaics miss the second half of class 1's rows in every image; others miss a part that varies."""
    spoiled: Masks = masks.copy()
    rows = np.flatnonzero(masks[1].any(axis=1))
    kept = 0.5 if dataset.name == "mosaics" else 0.9 - 0.02 * seed
    if len(rows):
        spoiled[1, rows[int(kept * len(rows))] :] = 0
    return spoiled


def test_compare(tmp_path: Path, plain: Dataset, mosaics: Dataset) -> None:
    learner = FakeLearner(worse_ulna)
    found = compare([plain, mosaics], CONFIG, tmp_path, train_model=learner)
    name = plain.classes[1]
    # the same steps and seeds for both: 3 epochs of 6 training images in batches of 4
    assert len(plain.split("train")) == 6
    assert found["steps"] == 6
    assert [(run[2].seed, run[1].name, run[2].steps) for run in learner.trained] == [
        (seed, name, 6) for seed in (0, 1, 2) for name in ("plain", "mosaics")
    ]
    first, second = found["datasets"]
    assert (first["epochs"], second["epochs"]) == (4.0, round(24 / len(mosaics.split("train")), 2))
    assert first["mean"]["difference"] is None
    others = [entry for key, entry in second["by_class"].items() if key != name]
    assert all(entry["difference"]["value"] == entry["difference"]["low"] == 0 for entry in others)
    assert all(entry["difference"]["above_zero"] == 0.5 for entry in others)
    less = second["by_class"][name]["difference"]
    assert less["low"] <= less["value"] <= less["high"] < -0.1
    assert less["above_zero"] == 0
    assert second["mean"]["difference"]["value"] == pytest.approx(less["value"] / 29)
    # the table holds what the means are of
    table = pl.read_parquet(tmp_path / "scores.parquet")
    assert table.height == 2 * 3 * 4 * 29
    dice = table.filter(pl.col("class") == name).group_by("dataset").agg(pl.col("dice").mean())
    means = dict(dice.iter_rows())
    assert means["mosaics"] - means["plain"] == pytest.approx(less["value"])
    assert json.loads((tmp_path / "compare.json").read_text(encoding="utf-8")) == found


def test_finished_runs_are_reused(tmp_path: Path, root: Path, plain: Dataset, mosaics: Dataset) -> None:
    stopped = FakeLearner(worse_ulna, stop_after=3)
    with pytest.raises(KeyboardInterrupt):
        compare([plain, mosaics], CONFIG, tmp_path, train_model=stopped)
    rest = FakeLearner(worse_ulna)
    found = compare([plain, mosaics], CONFIG, tmp_path, train_model=rest)
    assert len(rest.trained) == 3
    assert found == compare([plain, mosaics], CONFIG, tmp_path / "new", train_model=FakeLearner(worse_ulna))
    assert found == compare([plain, mosaics], CONFIG, tmp_path, train_model=FakeLearner(stop_after=0))
    # another seed or budget is another run, and another common set is another judgement of the same runs
    cases: list[tuple[dict[str, Any], int]] = [({"seeds": 4}, 2), ({"budget": 5}, 6)]
    for options, runs in cases:
        more = FakeLearner(worse_ulna)
        compare([plain, mosaics], CONFIG, tmp_path, train_model=more, **options)
        assert len(more.trained) == runs
    again = FakeLearner(worse_ulna)
    fewer = built(root, "fewer", split="{val: [ID004]}")
    found = compare([plain, mosaics, fewer], CONFIG, tmp_path, train_model=again)
    assert sum("holds back 2 images more" in note for note in found["notes"]) == 2
    folders = {run[0] for run in again.trained}
    assert len(folders) == 9
    assert {folder.name for folder in folders} >= {run[0].name for run in rest.trained}


def test_corrected_labels_are_judged_anew(tmp_path: Path, root: Path) -> None:
    data = Path(shutil.copytree(root / "data", tmp_path / "data"))
    datasets = [made(tmp_path / name, data, steps, name=name)[1] for name, steps in (("one", ()), ("two", MOSAIC))]
    before = compare(datasets, CONFIG, tmp_path / "study", seeds=1, train_model=FakeLearner())
    assert before["datasets"][0]["mean"]["dice"] == 1
    person = next((data / "train/outputs_json/ID002").glob("*.json"))
    edit_json(annotation(data, f"ID002/{person.stem}"), lambda document: document["annotations"].pop())
    after = compare(datasets, CONFIG, tmp_path / "study", seeds=1, train_model=FakeLearner())
    assert after["datasets"][0]["mean"]["dice"] < 1


def test_one_dataset_is_no_comparison(tmp_path: Path, plain: Dataset) -> None:
    with pytest.raises(TrainError, match="expected two or more"):
        compare([plain], CONFIG, tmp_path, train_model=FakeLearner())


def test_seeds_beyond_the_longest_are_refused(tmp_path: Path, plain: Dataset, mosaics: Dataset) -> None:
    config = CONFIG.model_copy(update={"seed": 2**63 - 2})
    with pytest.raises(TrainError, match="3 seeds go beyond 9223372036854775807"):
        compare([plain, mosaics], config, tmp_path, seeds=3, train_model=FakeLearner())
    found = compare([plain, mosaics], config, tmp_path, seeds=2, train_model=FakeLearner())
    assert found["seeds"] == [2**63 - 2, 2**63 - 1]


def test_notes_are_honest(tmp_path: Path, root: Path, plain: Dataset) -> None:
    cropped = built(root, "cropped", ("{op: sliding_window, size: 96, stride: 96, edge: drop}",))
    config = CONFIG.model_copy(update={"data": CONFIG.data.model_copy(update={"size": None})})
    found = compare([plain, cropped], config, tmp_path, seeds=1, train_model=FakeLearner())
    said = " ".join(found["notes"])
    assert "29 differences by class, 1.4 would" in said
    assert "over images alone" in said
    assert "2 groups say little" in said
    assert "cropped show 56.2% of the images' pixels" in said
    assert "plain 128x128, cropped 96x96" in found["warnings"][0]


# ---- for people ------------------------------------------------------------------------------------------------------


def test_tables_and_picture(tmp_path: Path, plain: Dataset, mosaics: Dataset) -> None:
    found = compare([plain, mosaics], CONFIG, tmp_path, train_model=FakeLearner(worse_ulna))
    out = io.StringIO()
    render_compare(found, Console(width=80, file=out))
    text = out.getvalue()
    difference = found["datasets"][1]["by_class"][plain.classes[1]]["difference"]
    assert f"{difference['value']:+.4f}" in text
    assert f"{difference['low']:+.4f} to {difference['high']:+.4f}" in text
    picture = forest_plot(found)
    assert picture.dtype == np.uint8
    assert picture.shape[0] > 30 * 28
    unknown = dict.fromkeys(("value", "low", "high", "above_zero"))
    found["datasets"][1]["by_class"][plain.classes[0]] = {
        "dice": None,
        "low": None,
        "high": None,
        "difference": unknown,
    }
    render_compare(found, Console(width=80, file=io.StringIO()))
    assert forest_plot(found).shape == picture.shape


def test_classes_that_nobody_predicts_have_no_interval(tmp_path: Path, plain: Dataset, mosaics: Dataset) -> None:
    """An interval of width 0 would look certain, and nothing was compared."""
    by_none, by_one = plain.classes[:2]

    def spoil(masks: Masks, sample: Sample, dataset: Dataset, seed: int) -> Masks:
        kept = masks.copy()
        kept[[0, 1] if dataset is mosaics else [0]] = 0
        return np.asarray(kept)

    found = compare([plain, mosaics], CONFIG, tmp_path, seeds=1, train_model=FakeLearner(spoil))
    first, second = (entry["by_class"] for entry in found["datasets"])
    assert [second[name]["never_predicted"] for name in plain.classes[:3]] == [True, True, False]
    assert [first[name]["never_predicted"] for name in plain.classes[:3]] == [True, False, False]
    assert second[by_none]["difference"]["never_predicted"]
    assert not second[by_one]["difference"]["never_predicted"]
    out = io.StringIO()
    render_compare(found, Console(width=90, file=out))
    rows = {line.split()[0]: line for line in out.getvalue().splitlines() if line.strip()}
    assert "never predicted" in rows[by_none] and " to " not in rows[by_none]
    assert "never predicted" not in rows[by_one] and " to " in rows[by_one]
    assert any(f"models of mosaics never predict {by_none}, {by_one}, in no image" in note for note in found["notes"])
    assert forest_plot(found).dtype == np.uint8


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (-0.05, 0.11, [-0.05, 0, 0.05, 0.1]),
        (-0.3, 0.01, [-0.3, -0.2, -0.1, 0]),
        (-1e-3, 2e-3, [-1e-3, -5e-4, 0, 5e-4, 1e-3, 1.5e-3, 2e-3]),
    ],
)
def test_ticks(low: float, high: float, ticks: list[float]) -> None:
    assert tick_values(low, high) == pytest.approx(ticks)
