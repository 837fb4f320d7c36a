"""augforge outliers: findings without a build, a sheet, and scores against a truth."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from augforge.cli import app as cli
from augforge.engine.outliers import find_outliers, read_truth, scores
from augforge.errors import AugforgeError, PlanError
from augforge.phantom import write_phantom
from augforge.report.outliers import MARK, outlier_sheet, outliers_json
from augforge.store.dataset import open_dataset

RECIPE = """
name: phantom
source: {{format: hand-bone, path: hands}}
split: {{val: 0.3}}
{review}
steps: [{steps}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve generated persons, some with rings and implants, and a recipe."""
    folder = tmp_path_factory.mktemp("outliers")
    write_phantom(folder / "hands", persons=12, size=512, seed=7)
    (folder / "recipe.yaml").write_text(RECIPE.format(review="", steps="{op: metal}, {op: hflip}"))
    return folder


def ask(folder: Path, *arguments: str) -> dict[str, Any]:
    command = ["outliers", str(folder / "recipe.yaml"), "--out", str(folder / "work"), "--json", *arguments]
    result = CliRunner().invoke(cli.app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def truth_of(folder: Path) -> dict[str, str]:
    with (folder / "hands" / "truth.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    return {f"{row['person']}/{Path(row['image']).stem}": row["outlier"] for row in rows}


def test_findings_are_scored_against_a_truth(folder: Path) -> None:
    found = ask(folder, "--truth", str(folder / "hands" / "truth.csv"))
    outliers = {name for name, kind in truth_of(folder).items() if kind != "none"}
    flagged = {finding["name"] for finding in found["findings"]}
    (score,) = found["scores"]
    assert (found["samples"], found["detectors"], score["detector"]) == (24, ["metal"], "metal")
    assert score["hits"] == len(flagged & outliers)
    assert set(score["misses"]) == outliers - flagged and set(score["false_alarms"]) == flagged - outliers
    assert score["recall"] == pytest.approx(len(flagged & outliers) / len(outliers))
    assert score["recall"] >= 0.6 and len(outliers) >= 3


def test_nothing_is_built_and_nothing_is_dropped_twice(folder: Path) -> None:
    first, second = ask(folder), ask(folder)
    assert first == second
    assert not (folder / "work" / "manifest.yaml").exists()


def test_every_finding_says_what_becomes_of_it(folder: Path) -> None:
    for finding in ask(folder)["findings"]:
        assert finding["outcome"] == ("dropped" if finding["split"] == "train" else "tagged")
        assert finding["reason"] in {"ring", "implant"} and finding["score"] >= 1
        x0, y0, x1, y1 = finding["boxes"][0]
        assert 0 <= x0 < x1 <= 512 and 0 <= y0 < y1 <= 512


def test_the_sheet_marks_the_regions(folder: Path, tmp_path: Path) -> None:
    ask(folder, "-o", str(tmp_path / "sheet.png"))
    with Image.open(tmp_path / "sheet.png") as picture:
        marked = sum(count for count, colour in picture.convert("RGB").getcolors(1 << 24) if colour == MARK)
    assert marked > 100


def test_a_review_stands_above_the_detector(folder: Path, tmp_path: Path) -> None:
    name = next(f["name"] for f in ask(folder)["findings"] if f["split"] == "train")
    review = {"samples": {name: {"verdict": "keep", "why": "a scar"}}}
    (folder / "review.yaml").write_text(json.dumps(review))
    (folder / "reviewed.yaml").write_text(RECIPE.format(review="review: review.yaml", steps="{op: metal}"))
    found = find_outliers(folder / "reviewed.yaml", tmp_path / "out")
    assert {f.outcome for f in found.findings if f.row.name == name} == {"kept by review"}
    built = CliRunner().invoke(cli.app, ["build", str(folder / "reviewed.yaml"), "--out", str(tmp_path / "out")])
    assert built.exit_code == 0
    assert name in open_dataset(tmp_path / "out").index["name"].to_list()


def test_a_recipe_without_filters_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "plain.yaml").write_text(RECIPE.format(review="", steps="{op: hflip}"))
    with pytest.raises(PlanError, match="no filter"):
        find_outliers(folder / "plain.yaml", tmp_path / "out")


def test_truth_tables(tmp_path: Path) -> None:
    names = ["ID1/a", "ID2/b"]
    table = tmp_path / "truth.csv"
    table.write_text("name,outlier\nID1/a,none\nID2/b,ring\n")
    assert read_truth(table, names) == {"ID1/a": "", "ID2/b": "ring"}
    table.write_text("image,outlier\na.png,\nb.png,plate\n")
    assert read_truth(table, names) == {"ID1/a": "", "ID2/b": "plate"}
    table.write_text("image,outlier\nc.png,ring\n")
    with pytest.raises(AugforgeError, match=r"truth\.csv:2: 'c' is no sample"):
        read_truth(table, names)
    table.write_text("image,kind\na.png,ring\n")
    with pytest.raises(AugforgeError, match="outlier"):
        read_truth(table, names)


def test_several_detectors_are_scored_together(folder: Path, tmp_path: Path) -> None:
    (folder / "two.yaml").write_text(RECIPE.format(review="", steps="{op: metal}, {op: min_area, pixels: 1}"))
    found = find_outliers(folder / "two.yaml", tmp_path / "out")
    scored = scores(found, {name: "" if kind == "none" else kind for name, kind in truth_of(folder).items()})
    assert [score.detector for score in scored] == ["metal", "min_area", "any"]
    assert outliers_json(found, scored)["scores"][1]["precision"] is None
    assert outlier_sheet(found, limit=1).shape[2] == 3
