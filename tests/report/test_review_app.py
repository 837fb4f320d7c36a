"""The review: its cases, and what its server answers; without a browser."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reviewing import case_of, sample_of
from starlette.testclient import TestClient
from toybox import tiny_hands, write_recipe
from typer.testing import CliRunner
from webpages import HOSTILE, parse

from augforge import bitmask
from augforge.cli.app import app as command_line
from augforge.engine.builder import build
from augforge.engine.verdicts import VerdictFile
from augforge.errors import DatasetError
from augforge.progress import Silent
from augforge.recipe.recipe import Verdict, load_recipe
from augforge.report.review.app import review_app
from augforge.report.review.case import Case, View, merge_cases
from augforge.report.review.desk import Desk
from augforge.report.review.opening import open_desk
from augforge.report.web.guard import Guard
from augforge.sample import Sample

FILTER = "{op: where, condition: \"name <> 'ID002/image0000000000002'\"}"
BASE, KEY = "http://127.0.0.1:8765", "of-this-run"


@pytest.fixture(name="recipe")
def recipe_fixture(tmp_path: Path) -> Path:
    tiny_hands(tmp_path / "data", (10, 60, 90, 120))
    return write_recipe(tmp_path / "recipe.yaml", tmp_path / "data", [FILTER], split="{val: [ID001]}", classes="[a, b]")


def desk_of(place: Path, folder: Path | None = None, suspects: Sequence[Case] = (), **options: Any) -> Desk:
    found = {"every": False, "jobs": 1, "overrides": (), "progress": Silent(), **options}
    return open_desk(str(place), found.pop("file", None), folder, suspects, **found)


@pytest.fixture(name="desk")
def desk_fixture(tmp_path: Path) -> Desk:
    file = VerdictFile(tmp_path / "review.yaml")
    file.create()
    wrong = bitmask.from_masks(np.ones((2, 20, 30), np.uint8))
    guess = case_of("b", predict=lambda: wrong, predicted_classes=("other", "bone"))
    return Desk("toy", [case_of("a", boxes=((5, 10, 25, 30),)), guess, *map(case_of, HOSTILE)], file)


@pytest.fixture(name="client")
def client_fixture(desk: Desk) -> TestClient:
    headers = {"origin": BASE, "content-type": "application/json"}
    return TestClient(Guard(review_app(desk), KEY), base_url=f"{BASE}/{KEY}/", headers=headers)


def judge(client: TestClient, name: str, verdict: Any, seen: Any = None) -> Any:
    return client.post("verdict", content=json.dumps({"name": name, "verdict": verdict, "seen": seen}))


def test_cases_are_what_the_filters_find(recipe: Path, tmp_path: Path) -> None:
    desk = desk_of(recipe, tmp_path / "out")
    assert [(case.name, case.reasons[0].kind) for case in desk.cases] == [("ID002/image0000000000002", "where")]
    assert "dropped" in desk.cases[0].reasons[0].text
    assert desk.file.path == tmp_path / "review.yaml" and "review: review.yaml" in desk.note
    assert np.array_equal(desk.cases[0].view.load().image[8:, 8:], np.full((8, 16), 60))


def test_verdicts_reach_the_build(recipe: Path, tmp_path: Path) -> None:
    desk = desk_of(recipe, tmp_path / "out", every=True)
    assert len(desk.cases) == 4
    desk.judge("ID002/image0000000000002", Verdict(verdict="keep", why="a phantom"), None)
    desk.judge("ID003/image0000000000003", Verdict(verdict="drop"), None)
    recipe.write_text(recipe.read_text() + "review: review.yaml\n")
    assert load_recipe(recipe).review == dict(desk.file.read())
    assert build(recipe, tmp_path / "out").samples == 3
    again = desk_of(recipe, tmp_path / "out")
    assert again.note == ""
    kinds = {case.name: {reason.kind for reason in case.reasons} for case in again.cases}
    assert kinds["ID003/image0000000000003"] == {"review"}


def test_a_review_file_that_the_recipe_names_and_nobody_wrote_is_made(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(recipe.read_text() + "review: verdicts/mine.yaml\n")
    desk = desk_of(recipe, tmp_path / "out")
    assert desk.file.path == tmp_path / "verdicts/mine.yaml" and dict(desk.file.read()) == {}


def test_a_dataset_stands_for_its_recipe(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(recipe, tmp_path / "out", overrides=["seed=5"])
    assert [case.name for case in desk_of(tmp_path / "out").cases] == ["ID002/image0000000000002"]
    recipe.rename(tmp_path / "other.yaml")
    with pytest.raises(DatasetError, match=r"which is not there\. .*name the recipe: augforge review RECIPE --dataset"):
        desk_of(tmp_path / "out")


def test_a_recipe_without_filters_has_cases_too(tmp_path: Path) -> None:
    tiny_hands(tmp_path / "data", (10, 60))
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "data", split="{}", classes="[a, b]")
    assert desk_of(recipe, tmp_path / "out").cases == []
    assert len(desk_of(recipe, tmp_path / "out", every=True).cases) == 2
    assert not (tmp_path / "out").exists()


def test_images_that_only_models_know_are_told(recipe: Path, tmp_path: Path) -> None:
    suspects = [case_of("ID001/image0000000000001"), case_of("stranger")]
    desk = desk_of(recipe, tmp_path / "out", suspects)
    assert desk.cases[0].name == "ID001/image0000000000001"
    assert "does not have: stranger" in desk.note


def test_what_several_say_of_one_image_is_one_case() -> None:
    plain, boxed = case_of("a"), case_of("a", boxes=((0, 0, 1, 1),))
    guessed = case_of("a", predict=lambda: sample_of("a").masks, predicted_classes=("bone",))
    (merged,) = merge_cases([plain, boxed, guessed, plain])
    assert merged.view is guessed.view and len(merged.reasons) == 1


def test_the_page_runs_its_own_script_alone_and_asks_its_own_server_alone(client: TestClient) -> None:
    page = parse(client.get("").text)
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert "connect-src 'self'" in policy and "default-src 'none'" in policy
    assert len(page.scripts) == 1
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_pictures_have_labels_predictions_and_marked_regions(client: TestClient) -> None:
    first = client.get("picture/0").json()
    assert (first["width"], first["height"], first["prediction"]) == (60, 40, None)
    assert first["boxes"] == [[5, 10, 25, 30]] and [each["name"] for each in first["truth"]] == ["bone"]
    second = client.get("picture/1").json()
    assert [each["name"] for each in second["prediction"]] == ["other", "bone"]
    assert second["prediction"][1]["colour"] == second["truth"][0]["colour"]  # one class, one colour
    assert "59.5 39.5" in second["prediction"][0]["path"]  # its planes are half as large
    assert client.get("picture/99").status_code == 404


def test_a_picture_that_cannot_be_read_says_why(desk: Desk, client: TestClient) -> None:
    def fail() -> Sample:
        raise DatasetError("the shard is damaged")

    desk.cases = [replace(desk.cases[0], view=View(fail, ("bone",)))]
    answer = client.get("picture/0")
    assert answer.status_code == 500 and answer.json() == {"error": "the shard is damaged"}


def test_verdicts_are_written_and_answered(desk: Desk, client: TestClient) -> None:
    drop = {"verdict": "drop", "why": "ring"}
    assert judge(client, "a", drop).json() == {"verdicts": {"a": drop}}
    assert dict(desk.file.read()) == {"a": Verdict(verdict="drop", why="ring")}
    assert client.get("cases").json()["verdicts"] == {"a": drop}
    assert judge(client, "a", None, drop).json() == {"verdicts": {}}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_judged_like_others(desk: Desk, client: TestClient, name: str) -> None:
    assert judge(client, name, {"verdict": "keep", "why": name}).status_code == 200
    assert desk.file.read()[name].why == name


def test_a_second_tab_meets_a_conflict(desk: Desk, client: TestClient) -> None:
    judge(client, "a", {"verdict": "drop", "why": "ring"})
    answer = judge(client, "a", {"verdict": "keep", "why": ""})
    assert answer.status_code == 409 and answer.json()["present"] == {"verdict": "drop", "why": "ring"}
    assert desk.file.read()["a"].verdict == "drop"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400),
        ("[]", 400),
        ('{"name": "a"}', 400),
        ('{"name": "a", "verdict": {"verdict": "burn"}, "seen": null}', 400),
        ('{"name": "nobody", "verdict": null, "seen": null}', 404),
        ('{"name": "' + "a" * 200_000 + '", "verdict": null, "seen": null}', 413),
    ],
)
def test_what_is_no_verdict_is_refused(desk: Desk, client: TestClient, body: str, status: int) -> None:
    assert client.post("verdict", content=body).status_code == status
    assert dict(desk.file.read()) == {}


def test_ten_thousand_cases_are_listed_at_once(tmp_path: Path) -> None:
    file = VerdictFile(tmp_path / "review.yaml")
    file.create()
    desk = Desk("large", [case_of(f"ID{i:05d}") for i in range(10_000)], file)
    client = TestClient(Guard(review_app(desk), KEY), base_url=f"{BASE}/{KEY}/")
    answer = client.get("cases")
    assert len(answer.json()["cases"]) == 10_000 and len(answer.content) < 3_000_000


def test_the_command_needs_a_recipe_or_a_dataset(tmp_path: Path) -> None:
    done = CliRunner().invoke(command_line, ["review", str(tmp_path), "--no-browser"])
    assert done.exit_code == 1 and "is no dataset" in str(done.exception)
