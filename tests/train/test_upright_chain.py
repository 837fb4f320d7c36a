"""The contest's chain with a trained network: trained upright, tilted radiographs in, the same Dice out."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracles import put
from toybox import made
from typer.testing import CliRunner

from augforge import bitmask
from augforge.cli.app import app
from augforge.engine.builder import build
from augforge.phantom import write_phantom
from augforge.sources.raster.runs import parse_runs, runs_mask
from augforge.store.dataset import Dataset, open_dataset
from augforge.train.config import load_config
from augforge.train.evaluation.evaluate import evaluate
from augforge.train.loop import train

pytestmark = pytest.mark.slow

SIZE, SPLIT = 192, "{val: [ID002, ID004]}"
CONFIG = load_config(
    None,
    ["model.architecture=unet", "model.encoder=tu-test_resnet"]
    + ["model.options={decoder_channels: [64, 48, 32, 32, 32]}", "loss=[{name: dice}]", "data.size=96"]
    + ["data.batch_size=4", "data.workers=0", "optimizer.lr=0.003", "precision=fp32", "threads=1"]
    + ["steps=40", "validate_every=0"],
)
CHAIN = (
    "{op: metal}",
    "{op: rotate_normalise}",
    "{op: hflip, keep_input: true}",
    "{op: mosaic, partners: uniform, keep_input: true}",
    "{op: rotate, angle_range: [-30, 30], where: \"name NOT LIKE 'mosaic/%'\", keep_input: true}",
)


@pytest.fixture(scope="module", name="root")
def root_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network trained on the chain; tilted radiographs as files and as a dataset; and that dataset turned upright."""
    root = tmp_path_factory.mktemp("chain")
    write_phantom(root / "data", persons=5, size=SIZE, seed=11)
    _, chain = made(root / "chain", root / "data", CHAIN, name="chain", split=SPLIT)
    train([chain], CONFIG, root / "run")
    tilt = "{op: rotate, angle_range: [-40, 40], fit: expand, on: val}"
    _, tilted = made(root / "tilted", root / "data", [tilt], name="tilted", split=SPLIT)
    for sample in tilted.split("val"):
        put(root / f"images/{sample.name}.png", sample.image)
    source = f"{{format: dataset, path: {json.dumps(str(tilted.folder))}}}"
    recipe = f"name: prepared\nsource: {source}\nsteps:\n  - {{op: rotate_normalise}}\n"
    (root / "prepared.yaml").write_text(recipe)
    build(root / "prepared.yaml", root / "prepared")
    return root


def ask(*arguments: str | Path) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def dice_of_csv(path: Path, dataset: Dataset) -> float:
    """Mean over images and classes of a contest's file against the labels, 1 if neither has a pixel."""
    with path.open(newline="", encoding="utf-8") as stream:
        predicted = {(row["image_name"], row["class"]): row["rle"] for row in csv.DictReader(stream)}
    scores = []
    for sample in dataset.split("val"):
        file = f"{sample.name.rpartition('/')[2]}.png"
        for c, name in enumerate(dataset.classes):
            drawn = bitmask.class_mask(sample.masks, c).astype(bool)
            runs = parse_runs(predicted[file, name], drawn.size, 1, file)
            seen = runs_mask(runs, sample.height, sample.width, "row").astype(bool)
            both = drawn.sum() + seen.sum()
            scores.append(1.0 if both == 0 else 2 * (drawn & seen).sum() / both)
    return float(np.mean(scores))


def test_tilted_radiographs_get_the_dice_of_the_prepared_set(root: Path) -> None:
    tilted, prepared = open_dataset(root / "tilted/out"), open_dataset(root / "prepared")
    turns = [abs(roots[0]["matrix"][0][1]) for roots in prepared.split("val").index["lineage"].struct.field("roots")]
    assert max(turns) > 0.3  # by more than 17 degrees
    run, files = root / "run", [root / f"{name}.csv" for name in ("raw", "prepared", "as-is")]
    told = ask("predict", run, root / "images", "-o", root / "raw.parquet", "--csv", files[0])
    same = ask("predict", run, prepared.folder, "--split", "val", "-o", root / "prepared.parquet", "--csv", files[1])
    ask("predict", run, root / "images", "-o", root / "as-is.parquet", "--csv", files[2], "--as-is")
    assert [each["step"] for each in told["preparation"]["steps"]] == ["rotate_normalise"]
    assert same["preparation"]["state"] == "already"
    dice = [dice_of_csv(file, tilted) for file in files]  # at the tilted images' own size
    assert dice[0] == pytest.approx(dice[1], abs=0.005)
    assert files[0].read_bytes() != files[2].read_bytes()
    judged = evaluate(run, [tilted.folder], worst=0)
    assert judged["mean_dice"] == pytest.approx(dice[0], abs=0.005)
    assert judged["datasets"][0]["preparation"]["state"] == "applied"


def test_the_run_holds_its_preparation_as_json(root: Path) -> None:
    [entry] = json.loads((root / "run/preparation.json").read_text())["datasets"]
    assert [(step["op"], step["version"]) for step in entry["steps"]] == [("rotate_normalise", 1)]
    assert entry["left_out"] == []
    assert entry["unknown"] == ""
