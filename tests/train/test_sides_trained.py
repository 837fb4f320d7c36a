"""Sides in training and prediction: test-time augmentation, online steps, and what was mirrored turned back."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from fakelearner import FakeLearner
from oracles import oracle_run, predictor, sample_of, spec
from sided import LUNGS, build_sided, layers, put_lungs
from torch import Tensor, nn
from toybox import with_index

from augforge import bitmask
from augforge.errors import TrainError
from augforge.ops.core import Context
from augforge.ops.sides import Sides
from augforge.progress import Silent
from augforge.store.dataset import Dataset
from augforge.train.config import TrainConfig
from augforge.train.data.inputspec import RunSpec
from augforge.train.data.loading import TrainingBatches
from augforge.train.data.online import Online, online_steps
from augforge.train.data.trainingset import TrainingSet
from augforge.train.mirrored import exchange_finder
from augforge.train.prediction.inputs import list_inputs
from augforge.train.prediction.predict import predict
from augforge.train.prediction.table import Predictions
from augforge.train.run import TrainingRun
from augforge.train.rundata import RunData
from augforge.train.study.common import common_set
from augforge.train.study.scoring import score_model

SIZE = 64
CODES = np.array([[20, 40], [60, 80]], np.uint8)
"""Gray values of the four corners, by which an observer sees which way round a picture is."""
LEVELS = (110, 170, 230)


class Anatomist(nn.Module):
    """Knows its anatomy: sees by the corners whether the body is mirrored, and what is left then is the right one."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([self.one((image[0] * 255).round()) for image in images])

    def one(self, image: Tensor) -> Tensor:
        found = [torch.tensor(level - 3.0) < image for level in LEVELS]
        ahead = [torch.tensor(level + 3.0) > image for level in LEVELS]
        heart, one, other = (a & b for a, b in zip(found, ahead, strict=True))
        places = {int(code): divmod(i, 2) for i, code in enumerate(CODES.ravel())}
        (y0, x0), (y1, x1), (y2, x2) = (places[int(image[y, x])] for y, x in ((0, 0), (0, -1), (-1, 0)))
        mirrored = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0) < 0
        return torch.stack([heart, *((other, one) if mirrored else (one, other))]).float() * 20 - 10


def body(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture with its codes, and the masks of heart, left and right, (3, H, W)."""
    rng = np.random.default_rng(seed)
    image, masks = np.zeros((SIZE, SIZE), np.uint8), np.zeros((3, SIZE, SIZE), bool)
    for c, level in enumerate(LEVELS):
        x, y = rng.integers(4, 12), rng.integers(4 + 18 * c, 8 + 18 * c)
        masks[c, y : y + 9 + c, x : x + 20 + 3 * c] = True
        image[masks[c]] = level
    image[:: SIZE - 1, :: SIZE - 1] = CODES
    return image, masks


def put_bodies(root: Path, names: tuple[str, str, str] = LUNGS, count: int = 4) -> Path:
    for number in range(count):
        image, masks = body(number)
        for path, array in [
            (f"images/p{number}.png", image),
            *((f"masks/{name}/p{number}.png", mask * np.uint8(255)) for name, mask in zip(names, masks, strict=True)),
        ]:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / path), array)
    return root


# ---- test-time augmentation ------------------------------------------------------------------------------------------


def found(outputs: tuple[str, ...] = LUNGS, **options: Any) -> np.ndarray:
    [prediction] = predictor(Anatomist(), outputs, spec(SIZE, SIZE), **options).predict([sample_of(body(1)[0])])
    return np.asarray(prediction.probabilities)


@pytest.mark.parametrize("tta", [["hflip"], ["vflip"], ["hflip", "vflip"]])
def test_a_right_model_stays_right_under_any_mirror(tta: list[str]) -> None:
    np.testing.assert_array_equal(found() >= 0.5, body(1)[1])
    np.testing.assert_allclose(found(tta=tta), found(), atol=1e-6)
    declared = Sides((("a", "b"),))
    np.testing.assert_allclose(found(("h", "a", "b"), tta=tta, sides=declared), found(), atol=1e-6)
    assert np.abs(found(("h", "a", "b"), tta=tta) - found()).max() > 0.3, "without sides it does not"
    assert np.abs(found(tta=tta, swap=()) - found()).max() > 0.3, "nor if a person says so"
    none = Sides().override("none", LUNGS)
    assert np.abs(found(tta=tta, sides=none) - found()).max() > 0.3


def test_pairs_found_by_name_are_told() -> None:
    def warnings(**options: Any) -> list[str]:
        return predictor(Anatomist(), LUNGS, spec(SIZE, SIZE), **options).warnings

    assert warnings() == warnings(tta=["scale1.25"]) == warnings(tta=["vflip"], swap=()) == []
    [told] = warnings(tta=["vflip"])
    assert "left-lung and right-lung" in told and "--swap none" in told
    assert warnings(tta=["vflip"], sides=Sides((("left-lung", "right-lung"),))) == []


@pytest.mark.parametrize(("outputs", "sides"), [(("left-lung", "heart"), None), (("a", "heart"), Sides((("a", "b"),)))])
def test_a_side_without_counterpart_is_refused(outputs: tuple[str, ...], sides: Sides | None) -> None:
    with pytest.raises(TrainError, match="--swap none"):
        predictor(Anatomist(), outputs, spec(SIZE, SIZE), tta=["vflip"], sides=sides)
    predictor(Anatomist(), outputs, spec(SIZE, SIZE), tta=["vflip"], sides=sides, swap=())


def test_a_run_records_its_sides_and_one_of_before_has_none() -> None:
    sides = Sides((("a", "b"),), (("left", "right"),), ("c",))
    run = RunSpec("segmentation", ("a", "b"), (), (), spec(32, 32), sides=sides)
    stored = json.loads(json.dumps(asdict(run)))
    assert RunSpec.from_json(stored) == run
    del stored["sides"]
    assert RunSpec.from_json(stored).sides is None


# ---- training --------------------------------------------------------------------------------------------------------


def test_a_training_set_has_the_sides_of_its_datasets(tmp_path: Path) -> None:
    data = put_bodies(tmp_path / "data", ("cor", "sinistra", "dextra"))
    options = {"format": "mask-folder", "path": str(data)}
    _, declared = build_sided(tmp_path / "a", {**options, "sides": [["sinistra", "dextra"]]})
    _, other = build_sided(tmp_path / "b", {**options, "sides": [["sinistra", "cor"]]})
    _, silent = build_sided(tmp_path / "c", options, seed=1)
    assert TrainingSet([silent, declared]).sides.stated == (("sinistra", "dextra"),)
    with pytest.raises(TrainError, match="sides names 'sinistra' twice"):
        TrainingSet([declared, other])


@pytest.mark.parametrize("op", [{"op": "hflip"}, {"op": "vflip"}, {"op": "transpose90", "mirror": 1}])
def test_online_mirrors_exchange_sides(op: dict[str, Any], tmp_path: Path) -> None:
    _, dataset = build_sided(tmp_path, {"format": "mask-folder", "path": str(put_lungs(tmp_path / "data"))})
    context = Context(dataset.classes)

    def augmented(*steps: dict[str, Any], sides: Sides | None = None) -> np.ndarray:
        made = Online(online_steps(steps), context, len(dataset), dataset.__getitem__, sides)
        return layers(made.sample(1, 0, 0))

    plain = augmented({**op, "swap": "none"})
    np.testing.assert_array_equal(augmented(op), plain[[0, 2, 1]])
    np.testing.assert_array_equal(augmented(op, sides=Sides((("heart", "left-lung"),))), plain[[1, 0, 2]])
    once = augmented(op, {"op": "albumentations", "name": "Emboss"}, {"op": "rotate_normalise", "p": 0.999})
    np.testing.assert_array_equal(once, plain[[0, 2, 1]], "a later step that moves nothing exchanges nothing")


def small_config(**data: Any) -> TrainConfig:
    return TrainConfig.model_validate({"data": {"size": SIZE, "batch_size": 1, "workers": 0, **data}})


def test_batches_and_runs_know_the_sides_of_their_datasets(tmp_path: Path) -> None:
    data = put_bodies(tmp_path / "data", ("cor", "sinistra", "dextra"))
    source = {"format": "mask-folder", "path": str(data), "sides": [["sinistra", "dextra"]]}
    _, dataset = build_sided(tmp_path, source, split={"val": 0.5})

    def first(**step: Any) -> np.ndarray:
        settings = small_config(online=[{"op": "hflip", **step}]).data
        batch = next(TrainingBatches(TrainingSet([dataset]), spec(SIZE, SIZE), settings, 0).stream())
        return np.asarray(bitmask.class_layers(batch.planes[0].numpy(), [0, 1, 2]))

    exchanged = [dataset.classes.index(name) for name in ("cor", "sinistra", "dextra")]
    plain = first(swap="none")
    assert plain[exchanged[1]].any()
    np.testing.assert_array_equal(first()[exchanged], plain[[exchanged[0], exchanged[2], exchanged[1]]])
    run = RunData([dataset], small_config(online=[{"op": "hflip"}]), torch.device("cpu"))
    assert run.spec.sides is not None and run.spec.sides.stated == (("sinistra", "dextra"),) and not run.warnings


def test_a_run_tells_what_it_exchanges_by_names_alone(tmp_path: Path) -> None:
    source = {"format": "mask-folder", "path": str(put_bodies(tmp_path / "data"))}
    _, dataset = build_sided(tmp_path, source, split={"val": 0.5})

    def warnings(*steps: dict[str, Any]) -> list[str]:
        return RunData([dataset], small_config(online=list(steps)), torch.device("cpu")).warnings

    assert warnings() == warnings({"op": "rotate"}) == warnings({"op": "hflip", "swap": "none"}) == []
    [told] = warnings({"op": "transpose90", "mirror": 0.5})
    assert "left-lung and right-lung" in told and "swap: none" in told


def test_a_runs_predictor_mirrors_by_the_runs_sides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(TrainingRun, "model", lambda run, weights="best": Anatomist())
    names, image = ("h", "a", "b"), sample_of(body(1)[0])

    def found_by(sides: Sides | None, **options: Any) -> np.ndarray:
        run = RunSpec("segmentation", names, (), (), spec(SIZE, SIZE), sides=sides)
        [prediction] = TrainingRun(tmp_path, small_config(), run).predictor(tta=["vflip"], **options).predict([image])
        return np.asarray(prediction.probabilities)

    np.testing.assert_allclose(found_by(Sides((("a", "b"),))), found(), atol=1e-6)
    assert np.abs(found_by(None) - found()).max() > 0.3, "such names say nothing"
    np.testing.assert_allclose(found_by(None, swap=[("a", "b")]), found(), atol=1e-6)


def test_online_refuses_a_side_without_counterpart() -> None:
    with pytest.raises(TrainError, match=r"data\.online: hflip: a mirror puts left-lung on the other side.*swap: none"):
        Online(online_steps([{"op": "hflip"}]), Context(("left-lung", "heart")), 1, lambda i: sample_of(body(1)[0]))


# ---- turned back -----------------------------------------------------------------------------------------------------

MIRRORED: dict[str, tuple[dict[str, Any], ...]] = {
    "hflip": ({"op": "hflip"},),
    "vflip": ({"op": "vflip"},),
    "both": ({"op": "hflip"}, {"op": "vflip"}),
    "quarters": ({"op": "transpose90", "quarters": [1], "mirror": 1},),
    "affine": ({"op": "affine", "mirror": 1, "shear_range": [0, 0], "translate_range": [0, 0], "scale_range": [1, 1]},),
    "library": ({"op": "albumentations", "name": "Transpose"},),
    "two stages": ({"op": "vflip"}, {"op": "hflip", "where": "width > 1"}),
    "swap in a step": ({"op": "hflip", "swap": [["left-lung", "right-lung"]]},),
    "one of two steps": ({"op": "hflip"}, {"op": "vflip", "swap": "none"}),
}


def mirrored_dataset(folder: Path, steps: tuple[dict[str, Any], ...], **options: Any) -> Dataset:
    data = put_bodies(folder / "data")
    everywhere = [{**step, "on": ["train", "val"], "keep_input": True} for step in steps]
    source = {"format": "mask-folder", "path": str(data), **options}
    return build_sided(folder, source, *everywhere, split={"val": 0.5})[1]


@pytest.mark.parametrize("name", MIRRORED)
def test_mirrored_samples_come_back_with_their_sides(name: str, tmp_path: Path) -> None:
    """A model that answers with a sample's own labels has Dice 1 in the source, whatever was done to the sample."""
    dataset = mirrored_dataset(tmp_path, MIRRORED[name])
    other = build_sided(tmp_path / "b", {"format": "mask-folder", "path": str(tmp_path / "data")}, split={"val": 0.5})
    common = common_set([dataset, other[1]])
    compared = common.compared[0]
    assert not compared.mixed and any(view.exchange for views in compared.views.values() for view in views)
    model = FakeLearner()(dataset, TrainConfig(), tmp_path / "run", Silent())
    scores = score_model(model, compared, common, Silent())
    assert min(scores["dice"].to_list()) > 0.99


def test_predictions_of_a_mirrored_dataset_are_those_of_its_source(tmp_path: Path) -> None:
    dataset = mirrored_dataset(tmp_path, ({"op": "hflip"}, {"op": "vflip"}))
    run = oracle_run(tmp_path / "run", spec(SIZE, SIZE), outputs=LUNGS, model=Anatomist())
    result = predict(run, dataset, tmp_path / "out.parquet")
    assert result["images"] == 4 and result["warnings"] == []
    assert all(len(target.parts) == 4 for target in list_inputs(dataset).targets)
    for image in Predictions(tmp_path / "out.parquet"):
        masks = np.stack([*bitmask.to_masks(image.planes(), 3)]).astype(bool)
        np.testing.assert_array_equal(masks, body(int(image.name[1:]))[1])


def test_what_was_built_before_augforge_knew_sides_is_turned_back_as_it_was_built(tmp_path: Path) -> None:
    dataset = mirrored_dataset(tmp_path, ({"op": "hflip"},), sides="none")
    old = with_index(dataset, dataset.index, sides=None)
    assert not any(part.exchange for target in list_inputs(old).targets for part in target.parts)
    swapped = mirrored_dataset(tmp_path / "swapped", MIRRORED["swap in a step"])
    old = with_index(swapped, swapped.index, sides=None)
    exchanged = [part.exchange for target in list_inputs(old).targets for part in target.parts]
    assert exchanged.count((("left-lung", "right-lung"),)) == exchanged.count(()) == 4
    both = mirrored_dataset(tmp_path / "both", MIRRORED["one of two steps"])
    finder = exchange_finder(both)
    lineages = dict(both.index.select("name", "lineage").iter_rows())
    told = {name.partition("~")[2]: finder(lineage) for name, lineage in lineages.items()}
    pair = (("left-lung", "right-lung"),)
    assert told == {"": (), "hflip": pair, "vflip": (), "hflip~vflip": pair}


def test_a_model_of_one_side_alone_cannot_be_turned_back(tmp_path: Path) -> None:
    dataset = mirrored_dataset(tmp_path, ({"op": "hflip"},))
    run = oracle_run(tmp_path / "run", spec(SIZE, SIZE), outputs=("heart", "left-lung", "x"), model=Anatomist())
    with pytest.raises(TrainError, match="left-lung and right-lung are exchanged back"):
        predict(run, dataset, tmp_path / "out.parquet")
