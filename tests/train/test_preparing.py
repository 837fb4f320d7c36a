"""Raw images predicted as the model's own samples were prepared: the same answer, at the raw images' pixels."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import polars as pl
import pytest
from oracles import Bright, iou, oracle_run, predictor, put, sample_of, shapes, spec, truth, write_shapes

from augforge.engine.builder import build
from augforge.errors import TrainError
from augforge.lineage import Root
from augforge.ops.core import OPS, Candidate, Context, OpParams, op
from augforge.phantom import write_phantom
from augforge.sample import Sample
from augforge.store.dataset import Dataset, open_dataset
from augforge.train.evaluation.evaluate import evaluate
from augforge.train.prediction.ensemble import ensemble
from augforge.train.prediction.inference import Window
from augforge.train.prediction.predict import predict
from augforge.train.prediction.preparing import PassNotes, Preparer, View, whole_preparer
from augforge.train.prediction.remaining import remaining_steps
from augforge.train.prediction.table import ImagePrediction, Predictions
from augforge.train.prediction.thresholds import tune_thresholds
from augforge.train.preparation import Preparation, read_preparations, write_preparations
from augforge.train.run import TrainingRun

CLASSES = ("red", "green", "blue")
SIZES = [(120, 90), (96, 128), (64, 64)]
UPRIGHT = "{op: rotate_normalise, axis: {from: [green], to: [blue]}, fit: expand, max_angle: 60}"
STRETCH = "{op: normalise_intensity, percentiles: [0, 100]}"
EVERYWHERE = "on: [train, val, test]"
CLAHE = f"{{op: albumentations, name: CLAHE, p: 1, {EVERYWHERE}}}"


@pytest.fixture(name="data")
def data_fixture(tmp_path: Path) -> Path:
    return write_shapes(tmp_path / "data", SIZES)


def built(data: Path, steps: Sequence[str] = (), name: str = "made", output: str = "{}", source: str = "") -> Dataset:
    """A dataset of `shapes`, P0 and P1 in its split val."""
    lines = [f"name: {name}", "split: {val: [P0, P1]}", f"output: {output}"]
    lines += [f"source: {source or f'{{format: mask-folder, path: {str(data)!r}, classes: [red, green, blue]}}'}"]
    lines += ["steps:" if steps else "steps: []", *(f"  - {step}" for step in steps)]
    recipe = data.parent / f"{name}.yaml"
    recipe.write_text("\n".join(lines) + "\n")
    build(recipe, data.parent / name)
    return open_dataset(data.parent / name)


def run_on(*datasets: Dataset, width: int = 128, height: int = 128, **fields: Any) -> TrainingRun:
    """A run whose network finds what is bright, as if it had been trained on the datasets."""
    folder = datasets[0].folder.parent / "run"
    entries = tuple({"path": str(d.folder), "name": d.name, "version": d.version} for d in datasets)
    preparations = tuple(map(Preparation.of_dataset, datasets))
    return oracle_run(folder, spec(width, height, 3), datasets=entries, preparations=preparations, **fields)


def predicted(run: TrainingRun, images: Any, **options: Any) -> tuple[dict[str, Any], dict[str, ImagePrediction]]:
    """The result, and the predictions by the names of images."""
    out = run.folder.parent / "out.parquet"
    result = predict(run, images, out, **options)
    return result, {image.name: image for image in Predictions(out)}


def masks(image: ImagePrediction) -> np.ndarray:
    return np.stack([image.mask(c) for c in range(len(image.rles))], axis=-1).astype(bool)


# ---- the same answer ----


@pytest.mark.parametrize(
    ("steps", "output"),
    [
        ([], "{size: [96, 64]}"),
        ([], "{size: 96, fit: stretch}"),
        (["{op: pad, size: 160, fill: 255}"], "{}"),
        (["{op: normalise_intensity}", CLAHE], "{size: 64}"),
        ([f"{{op: rotate, angles: [24], fit: expand, {EVERYWHERE}}}"], "{size: 96}"),
        ([f"{{op: rotate, {EVERYWHERE}}}", f"{{op: rotate, {EVERYWHERE}}}"], "{}"),
        ([f"{{op: affine, swap: none, angle_range: [-40, 40], {EVERYWHERE}}}"], "{}"),
        (["{op: sliding_window, size: 64, stride: 40}"], "{}"),
        ([f"{{op: hflip, {EVERYWHERE}}}", "{op: sliding_window, size: 64, min_pixels: 30}"], "{size: 32}"),
    ],
)
def test_raw_images_get_what_the_prepared_dataset_gets(data: Path, steps: list[str], output: str) -> None:
    dataset = built(data, steps, output=output)
    run = run_on(dataset)
    raw, of_raw = predicted(run, data / "images")
    prepared, of_prepared = predicted(run, dataset)
    assert (raw["preparation"]["state"], prepared["preparation"]["state"]) == ("applied", "already")
    assert [each["step"] for each in raw["preparation"]["steps"]] == [
        *(label for label in _labels(steps)),
        *(["resize"] if "size" in output else []),
    ]
    assert raw["warnings"] == prepared["warnings"] == []
    assert [*of_raw] == [*of_prepared] == ["P0/shape", "P1/shape", "P2/shape"]
    for number, (name, image) in enumerate(of_raw.items()):
        assert (image.width, image.height) == SIZES[number]
        if "min_pixels" not in str(steps):  # there the dataset left windows out, by labels that nobody has here
            assert image.rles == of_prepared[name].rles
        assert all(image.rles)


def _labels(steps: list[str]) -> list[str]:
    names = [step.partition("op: ")[2].split(",")[0].rstrip("}") for step in steps]
    return [f"{name}.{k + 1}" if (k := names[:i].count(name)) else name for i, name in enumerate(names)]


def test_hands_are_turned_by_their_image_axis(tmp_path: Path) -> None:
    write_phantom(tmp_path / "hands", persons=2, size=192, seed=5)
    lines = ["name: made", "split: {val: [ID001]}", "source: {format: hand-bone, path: hands, classes: hand-bone}"]
    (tmp_path / "made.yaml").write_text(
        "\n".join([*lines, "steps:", "  - {op: rotate_normalise}", "output: {size: 160}"])
    )
    build(tmp_path / "made.yaml", tmp_path / "made")
    dataset = open_dataset(tmp_path / "made")
    turned = [abs(roots[0]["matrix"][0][1]) > 0.02 for roots in dataset.index["lineage"].struct.field("roots")]
    assert any(turned)
    run = changed(run_on(dataset, outputs=("bright",), thresholds=(0.5,)), input=spec(160, 160, 1))
    raw, of_raw = predicted(run, tmp_path / "hands/train/DCM", csv=tmp_path / "out.csv")
    _, of_prepared = predicted(run, dataset)
    _, as_is = predicted(run, tmp_path / "hands/train/DCM", as_is=True)
    assert {name: image.rles for name, image in of_raw.items()} == {n: image.rles for n, image in of_prepared.items()}
    assert all((image.width, image.height) == (192, 192) and image.rles[0] for image in of_raw.values())
    assert [of_raw[name].rles != as_is[name].rles for name in of_raw] != [False] * len(of_raw)
    assert raw["preparation"]["state"] == "applied"
    assert "first_pass" not in raw["preparation"]


def changed(run: TrainingRun, **fields: Any) -> TrainingRun:
    """An oracle run with other fields."""
    oracle: Any = run
    return cast("TrainingRun", replace(oracle, **fields))


# ---- steps that look at labels ----


def angle(matrix: Any) -> float:
    return math.degrees(math.atan2(matrix[0][1], matrix[0][0]))


def test_an_axis_between_classes_is_found_by_a_first_pass(data: Path) -> None:
    dataset = built(data, [UPRIGHT], output="{size: 128}")
    run = run_on(dataset)
    result, found = predicted(run, data / "images")
    assert result["preparation"]["first_pass"] == {"images": 3, "found": 3}
    assert result["warnings"] == []
    views = remaining_steps(run).prepare_for(run.predictor())._prepare
    assert views is not None
    for number, name in enumerate(("P0/shape", "P1/shape", "P2/shape")):
        root = Root.from_json(dataset.where(pl.col("name") == name).index["lineage"][0]["roots"][0])
        [view] = views(sample_of(shapes(*SIZES[number], number), name))
        assert abs(angle(root.matrix)) > 5
        assert angle(view.root.matrix) == pytest.approx(angle(root.matrix), abs=1)
        seen, drawn = masks(found[name]), truth(shapes(*SIZES[number], number))
        assert min(iou(seen[..., c], drawn[..., c]) for c in range(3)) > 0.93


def test_a_second_pass_looks_again_where_the_first_one_saw_the_image_turned(data: Path) -> None:
    dataset = built(data, [UPRIGHT.replace("}, fit", "}, fallback: keep, fit")])
    seen: list[float] = []

    def predict_views(views: Sequence[View]) -> Any:
        """Finds the classes where they are."""
        [view] = views
        seen.append(angle(view.root.matrix))
        image = shapes(*SIZES[0], 0)
        return SimpleNamespace(layers=lambda: (image[..., c].astype(np.float32) / 255 for c in range(3)))

    steps = Preparation.of_dataset(dataset).steps
    Preparer(steps, CLASSES, predict_views)(sample_of(shapes(*SIZES[0], 0)))
    assert len(seen) == 2  # the first sees the image as it is, the second as the first one turned it; then both agree
    assert seen[0] == 0
    assert abs(seen[1]) > 5


@pytest.mark.parametrize("outputs", [("red", "green", "blue"), ("red", "green")])
def test_where_the_model_finds_no_axis_the_fallback_holds_and_is_told(data: Path, outputs: tuple[str, ...]) -> None:
    """In an image without the classes, or by a model that does not predict those at one end."""
    steps = Preparation.of_dataset(built(data, [UPRIGHT.replace("}, fit", "}, fallback: keep, fit")])).steps
    image = shapes(*SIZES[0], 0) if len(outputs) == 2 else np.full((64, 64, 3), 40, np.uint8)
    preparer = Preparer(steps, outputs, answering([(image[..., c] / 255) for c in range(len(outputs))]))
    [view] = preparer(sample_of(image))
    assert angle(view.root.matrix) == 0
    [warning] = preparer.notes.warnings()
    assert "fallback held: one" in warning


def answering(layers: Sequence[np.ndarray] | np.ndarray) -> Any:
    """Predicts views by the same probabilities whatever they show."""
    return lambda views: SimpleNamespace(layers=lambda: iter(layers))


def test_an_image_that_a_step_would_drop_goes_on_and_is_told(data: Path) -> None:
    dataset = built(data, [UPRIGHT.replace("}, fit", "}, fallback: drop, fit")])
    put(data / "dark/one.png", np.full((64, 64, 3), 40, np.uint8))
    result, found = predicted(run_on(dataset), data / "dark")
    assert [*found] == ["one"]
    assert sum("would have dropped" in text for text in result["warnings"]) == 1


def test_labels_are_never_looked_at(data: Path) -> None:
    """A labelled sample is prepared like an unlabelled one: judged otherwise, the model would be flattered."""
    dataset, raw = built(data, [UPRIGHT]), built(data, name="raw")
    [upright] = Preparation.of_dataset(dataset).steps
    steps = [replace(upright, params={**upright.params, "fallback": "keep"})]
    for sample in raw:
        preparer = Preparer(steps, CLASSES, answering(np.zeros((3, sample.height, sample.width))))
        [view] = preparer(sample)
        assert angle(view.root.matrix) == 0
        assert preparer.notes.without_classes == {sample.name}


# ---- which steps remain ----


def state(run: TrainingRun, dataset: Dataset | None = None, **options: bool) -> tuple[str, list[str], list[str]]:
    found = remaining_steps(run, dataset, **options)
    return found.state, [step.label for step in found.steps], found.warnings()


def test_a_dataset_of_the_same_steps_is_not_prepared_twice(data: Path) -> None:
    pad = "{op: pad, size: 160}"
    on_train = CLAHE.replace(EVERYWHERE, "on: train")  # augments, and prepares nothing
    dataset, twin = built(data, [pad, STRETCH]), built(data, [pad, on_train, STRETCH], "twin")
    raw = built(data, name="raw")
    started = built(data, [pad, "{op: hflip, keep_input: true}"], "started")
    other = built(data, ["{op: pad, size: 200}"], "other")
    run = run_on(dataset)
    assert state(run, dataset) == state(run, twin) == ("already", [], [])
    assert state(run) == state(run, raw) == ("applied", ["pad", "normalise_intensity"], [])
    assert state(run, started) == ("applied", ["normalise_intensity"], [])
    assert state(run, raw, as_is=True) == state(run, as_is=True) == ("as-is", [], [])
    found, steps, [warning] = state(run, other)
    assert (found, steps) == ("different", [])
    assert "prepared by pad, and" in warning and "taken as they are" in warning
    assert state(run_on(raw), raw) == ("none", [], [])
    assert state(run_on(raw)) == ("none", [], [])


def test_samples_of_a_dataset_go_through_what_is_missing_and_come_back_to_the_source(data: Path) -> None:
    turned, whole = "{op: rotate, angles: [20], fit: expand, on: [train, val, test]}", built(data, name="whole")
    half = built(data, [turned], "half")
    full = built(data, [turned, "{op: pad, size: 200}"], "full", "{size: 128}")
    run = run_on(full)
    _, expected = predicted(run, full)
    for dataset, missing in ((whole, 3), (half, 2)):
        result, found = predicted(run, dataset)
        assert len(result["preparation"]["steps"]) == missing
        assert {name: image.rles for name, image in found.items()} == {n: image.rles for n, image in expected.items()}


def test_several_datasets_of_different_preparation_need_a_choice(data: Path) -> None:
    one, other = built(data, ["{op: pad, size: 160}"], "one"), built(data, ["{op: pad, size: 200}"], "other")
    raw, run = built(data, name="raw"), run_on(one, other)
    for dataset in (None, raw):
        with pytest.raises(TrainError, match=r"prepared differently: one .* by pad; other .* by pad.*--as-is"):
            remaining_steps(run, dataset)
    assert state(run, one)[0] == state(run, other)[0] == "already"
    assert state(run, as_is=True)[0] == "as-is"
    assert state(run_on(one, one))[0] == "applied"


def test_the_predictors_own_windows_stand_for_those_of_the_recipe(data: Path) -> None:
    dataset = built(data, [STRETCH, "{op: sliding_window, size: 64}"])
    run = run_on(dataset, width=64, height=64)
    own, _ = predicted(run, data / "images")
    other, found = predicted(run, data / "images", window=Window((64, 64), 0.5))
    assert [each["step"] for each in own["preparation"]["steps"]] == ["normalise_intensity", "sliding_window"]
    assert [each["step"] for each in other["preparation"]["steps"]] == ["normalise_intensity"]
    np.testing.assert_array_equal(masks(found["P0/shape"]), truth(shapes(*SIZES[0], 0)))


def test_an_op_of_another_version_is_told(data: Path) -> None:
    dataset = built(data, ["{op: pad, size: 160}"])
    run = run_on(dataset)
    old = replace(run.preparations[0], steps=(replace(run.preparations[0].steps[0], version=0),))
    run = changed(run, preparations=(old,))
    assert "pad 1, and the model's were by pad 0" in state(run)[2][0]
    again = replace(old, version="another")
    assert "pixels may differ" in state(changed(run, preparations=(again,)), dataset)[2][0]


def test_an_op_that_is_not_there_is_an_error_with_the_remedy(data: Path) -> None:
    dataset = built(data, ["{op: pad, size: 160}"])
    run, raw = run_on(dataset), built(data, name="raw")
    gone = replace(run.preparations[0].steps[0], op="polish", origin="polish-1.0")
    run = changed(run, preparations=(replace(run.preparations[0], steps=(gone,)),))
    with pytest.raises(TrainError, match=r"polish@1 of the plugin polish-1.0, which is not here.*--plugin.*--as-is"):
        remaining_steps(run, raw)
    assert state(run, raw, as_is=True)[0] == "as-is"
    refused = replace(gone, op="pad", params={"wide": 3})
    run = changed(run, preparations=(replace(run.preparations[0], steps=(refused,)),))
    with pytest.raises(TrainError, match=r"does not take its parameters"):
        remaining_steps(run)


def test_what_cannot_be_repeated_is_told_with_each_prediction(data: Path) -> None:
    dataset = built(data, ["{op: pad, size: 160, where: width > 100}"])
    result, _ = predicted(run_on(dataset), data / "images")
    assert result["preparation"] == {"state": "none", "steps": []}
    assert "went through pad, which is not repeated" in result["warnings"][0]


def test_an_image_that_a_step_refuses_is_named(data: Path) -> None:
    dataset = built(data, ["{op: normalise_intensity, bits: 16}", "{op: pad, size: 160, fill: 300}"])
    steps = Preparation.of_dataset(dataset).steps[1:]
    with pytest.raises(TrainError, match=r"image 'one' cannot be prepared by pad: fill is 300.*--as-is"):
        Preparer(steps, (), lambda views: None)(sample_of(shapes(64, 64, 1)))  # type: ignore[arg-type, return-value]


# ---- what a run records ----


def test_recorded_and_read_again(data: Path) -> None:
    dataset = built(data, [UPRIGHT, CLAHE], output="{size: [96, 64]}")
    made = Preparation.of_dataset(dataset)
    write_preparations(data, [made])
    assert read_preparations(data, ()) == (made,)
    [entry] = json.loads((data / "preparation.json").read_text())["datasets"]
    assert [(each["op"], each["version"]) for each in entry["steps"]] == [
        ("rotate_normalise", 1),
        ("albumentations", 1),
        ("resize", 2),
    ]
    assert entry["steps"][0]["params"]["axis"] == {"from": ["green"], "to": ["blue"]}
    assert entry["steps"][0]["classes"] == ["red", "green", "blue"]
    assert entry["steps"][2]["params"] == {"size": [96, 64], "fit": "letterbox", "fill": 0}
    (data / "preparation.json").write_text("{}")
    with pytest.raises(TrainError, match=r"preparation\.json is damaged.*--as-is"):
        read_preparations(data, ())


def test_a_run_of_an_earlier_version_reads_its_dataset_or_says_that_it_cannot(data: Path, tmp_path: Path) -> None:
    dataset = built(data, ["{op: pad, size: 160}"])
    entry = {"path": str(dataset.folder), "name": "made", "version": dataset.version}
    assert read_preparations(tmp_path / "run", [entry]) == (Preparation.of_dataset(dataset),)
    [unknown] = read_preparations(tmp_path / "run", [{**entry, "path": str(tmp_path / "gone")}])
    run = changed(run_on(dataset), preparations=(unknown,))
    result, found = predicted(run, data / "images")
    assert result["preparation"]["state"] == "unknown"
    assert "recorded no preparation" in result["warnings"][0] and "taken as they are" in result["warnings"][0]
    np.testing.assert_array_equal(masks(found["P1/shape"]), truth(shapes(*SIZES[1], 1)))
    assert state(run, dataset)[0] == "already"  # by its version


def test_recipes_in_a_chain_prepare_one_after_the_other(data: Path) -> None:
    first = built(data, ["{op: pad, size: 160}"], "first")
    source = f"{{format: dataset, path: {str(first.folder)!r}}}"
    second = built(data, [STRETCH], "second", source=source)
    assert [step.label for step in Preparation.of_dataset(second).steps] == ["pad", "normalise_intensity"]
    first.folder.rename(data.parent / "moved")
    unknown = Preparation.of_dataset(second)
    assert "made of another dataset, which cannot be read" in unknown.unknown


# ---- evaluate, tune-thresholds, classifiers ----


@pytest.fixture(name="dim")
def dim_fixture(tmp_path: Path) -> Path:
    """Shapes of a gray that `Bright` does not see until it is stretched."""
    data = write_shapes(tmp_path / "data", SIZES)
    for number, (width, height) in enumerate(SIZES):
        put(data / f"images/P{number}/shape.png", shapes(width, height, number) // 3)
    return data


def test_evaluate_prepares_what_was_not_prepared(dim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turn = f"{{op: rotate, angles: [0, 90], fit: expand, {EVERYWHERE}}}"
    made, raw = built(dim, [STRETCH, turn]), built(dim, name="raw")
    run = replace_spec(run_on(made))
    monkeypatch.setattr(TrainingRun, "open", lambda folder: run)
    cases = {"prepared": [made], "raw": [raw], "as is": [raw], "both": [made, raw]}
    dices = {}
    for name, datasets in cases.items():
        result = evaluate(run.folder, [each.folder for each in datasets], worst=0, as_is=name == "as is")
        dices[name] = result["mean_dice"], [each["preparation"]["state"] for each in result["datasets"]]
    assert dices["prepared"] == (pytest.approx(1, abs=0.01), ["already"])
    assert dices["raw"] == (pytest.approx(1, abs=0.01), ["applied"])
    assert dices["as is"] == (0, ["as-is"])
    assert dices["both"] == (pytest.approx(1, abs=0.01), ["already", "applied"])


def replace_spec(run: TrainingRun) -> TrainingRun:
    fields: Any = run
    fields.spec = SimpleNamespace(task="segmentation", regions=(), monitor="mean_dice")
    return run


def test_thresholds_are_tuned_on_prepared_samples(dim: Path) -> None:
    made, raw = built(dim, [STRETCH]), built(dim, name="raw")
    run = run_on(made)
    run.folder.mkdir()
    found = [tune_thresholds(run, each, as_is=as_is) for each, as_is in ((made, False), (raw, False), (raw, True))]
    assert found[0]["classes"] == found[1]["classes"] != found[2]["classes"]
    assert [each["preparation"]["state"] for each in found] == ["already", "applied", "as-is"]


def test_a_classifier_sees_prepared_images_with_their_labels(dim: Path) -> None:
    steps = Preparation.of_dataset(built(dim, [STRETCH, UPRIGHT])).steps
    sample = replace(sample_of(shapes(64, 64, 1) // 3), label=np.array([1.0], np.float32))
    prepared = whole_preparer(steps, PassNotes())(sample)
    assert prepared.image.max() == 255
    assert prepared.label is not None and prepared.label.tolist() == [1]
    windows = Preparation.of_dataset(built(dim, ["{op: sliding_window, size: 48}"], "windows")).steps
    with pytest.raises(TrainError, match=r"cut into 4 windows"):
        whole_preparer(windows, PassNotes())(sample)


def test_predictions_of_views_come_in_order_whatever_the_batch(data: Path) -> None:
    steps = Preparation.of_dataset(built(data, ["{op: sliding_window, size: 48, stride: 32}"])).steps
    samples: list[Sample] = [sample_of(shapes(*size, number), f"s{number}") for number, size in enumerate(SIZES)]
    for batch_size in (1, 2, 64):
        network = predictor(Bright(), CLASSES, spec(64, 64, 3), batch_size=batch_size).with_steps(steps, PassNotes())
        for sample, prediction in zip(samples, network.predict(iter(samples)), strict=True):
            assert (prediction.name, prediction.width, prediction.height) == (sample.name, sample.width, sample.height)
            seen = np.stack([*prediction.layers()], axis=-1) >= 0.5
            assert min(iou(seen[..., c], truth(sample.image)[..., c]) for c in range(3)) > 0.97


def test_where_the_turned_image_shows_no_classes_the_image_is_looked_at_as_it_is(tmp_path: Path) -> None:
    write_phantom(tmp_path / "hands", persons=1, size=192, seed=5)
    image = cv2.imread(str(next((tmp_path / "hands/train/DCM").rglob("*.png"))), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    image = cv2.warpAffine(image, cv2.getRotationMatrix2D((96, 96), 30, 1), (192, 192))
    upright = Preparation.of_dataset(built(write_shapes(tmp_path / "data", SIZES), [UPRIGHT])).steps[0]
    seen: list[float] = []

    def predict_views(views: Sequence[View]) -> Any:
        """Finds an axis to the upper right, by 45 degrees, in the image as it is alone."""
        seen.append(angle(views[0].root.matrix))
        layers = np.zeros((3, 192, 192), np.float32)
        if abs(seen[-1]) in (0, 45):
            layers[1, 140:144, 40:44] = layers[2, 40:44, 140:144] = 1
        return SimpleNamespace(layers=lambda: iter(layers))

    preparer = Preparer([upright], CLASSES, predict_views)
    [view] = preparer(sample_of(np.ascontiguousarray(image)))
    assert abs(seen[0]) > 5  # by the hand's own axis
    assert [round(each) for each in seen[1:]] == [0, 45]
    assert round(angle(view.root.matrix)) == 45
    assert not preparer.notes.without_classes


def test_tables_of_models_that_were_prepared_differently_join(data: Path) -> None:
    outs = []
    for name, step in (("padded", "{op: pad, size: 160}"), ("small", "{op: resize, size: 64}")):
        outs.append(data.parent / f"{name}.parquet")
        predict(run_on(built(data, [step], name)), data / "images", outs[-1], tta=["vflip"])
    assert next(iter(Predictions(outs[0]))).width == SIZES[0][0]
    assert Predictions(outs[0]).header.made_by["preparation"]["steps"][0]["op"] == "pad@1"
    joined = ensemble(outs, data.parent / "joined.parquet")
    assert joined["images"] == 3
    assert all(each["images"] == 3 for each in joined["classes"])


def test_an_axis_that_stray_parts_draw_away_is_not_believed(data: Path) -> None:
    steps = Preparation.of_dataset(built(data, [UPRIGHT.replace("}, fit", "}, fallback: keep, fit")])).steps
    image = shapes(*SIZES[0], 0)
    layers = np.moveaxis(image, 2, 0).astype(np.float32) / 255
    [view] = Preparer(steps, CLASSES, answering(layers))(sample_of(image))
    assert abs(angle(view.root.matrix)) > 5
    layers[1, 2:12, 100:115] = 1  # a part of the lower class, far off
    preparer = Preparer(steps, CLASSES, answering(layers))
    [view] = preparer(sample_of(image))
    assert angle(view.root.matrix) == 0
    assert "in several places" in next(preparer.notes.warnings())


def test_a_fallback_that_drops_is_told_only_where_it_holds(data: Path) -> None:
    steps = Preparation.of_dataset(built(data, [UPRIGHT.replace("}, fit", "}, fallback: drop, fit")])).steps
    image = shapes(*SIZES[0], 0)
    preparer = Preparer(steps, CLASSES, answering(np.moveaxis(image, 2, 0).astype(np.float32) / 255))
    [view] = preparer(sample_of(image))
    assert abs(angle(view.root.matrix)) > 5
    assert [*preparer.notes.warnings()] == []


class Level(OpParams):
    """Bring the brightest value of the training images to white."""


def test_fitted_values_go_along(dim: Path) -> None:
    with OPS.restored():

        @op("level", Level, version=1, role="prepare")
        def level(inputs: Sequence[Sample], drawn: None, params: Level, ctx: Context) -> Iterator[Sample]:
            """Multiply by what was fitted."""
            yield inputs[0].derive((inputs[0].image * (255 / ctx.fitted)).astype(np.uint8), inputs[0].masks)

        @level.measures(reads=())
        def measure_most(sample: Sample, params: Any, ctx: Context) -> dict[str, Any]:
            return {"most": int(sample.image.max())}

        @level.fits
        def fit_most(candidates: Sequence[Candidate], params: Level, ctx: Context) -> int:
            return max(int(each.features["most"]) for each in candidates if each.split == "train")

        dataset = built(dim, ["{op: level}"])
        assert dataset.manifest.fitted == {"level": 85}
        run = run_on(dataset)
        result, found = predicted(run, dim / "images")
        assert (result["preparation"]["state"], result["warnings"]) == ("applied", [])
        np.testing.assert_array_equal(masks(found["P0/shape"]), truth(shapes(*SIZES[0], 0)))
        write_preparations(dim, run.preparations)
        [step] = read_preparations(dim, ())[0].steps
        assert (step.fitted, step.origin[:7]) == (85, "sha256-")
    with pytest.raises(TrainError, match=r"level@1 of the plugin sha256-.*which is not here"):
        remaining_steps(run)
    unknown = Preparation.of_dataset(dataset)
    assert "there is no op 'level'" in unknown.unknown
