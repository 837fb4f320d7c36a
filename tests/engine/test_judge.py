"""A person's review stands above every filter, is versioned, and cannot be mistyped unseen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toybox import ids, rejected, roots, tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.engine.summary import Summary
from augforge.errors import RecipeError
from augforge.report.difference import compare_versions
from augforge.report.trace import trace_sample
from augforge.store.dataset import open_dataset
from augforge.store.manifest import read_manifest

LEVELS = (50, 90, 120, 150, 200)
DARK = "{op: where, condition: \"name <> 'ID003/image0000000000003'\"}"


def name(person: int) -> str:
    return f"ID{person:03d}/image{person:013d}"


def reviewed(
    tmp_path: Path, verdicts: dict[int | str, str], *steps: str, out: str = "out", why: str = "seen"
) -> Summary:
    """Build with a review file in a folder beside the recipe's."""
    if not (tmp_path / "data").exists():
        tiny_hands(tmp_path / "data", LEVELS)
    recipe = write_recipe(tmp_path / "recipes" / "r.yaml", tmp_path / "data", steps, classes="[a, b]")
    recipe.write_text("review: ../reviews/mine.yaml\n" + recipe.read_text())
    samples = {key if isinstance(key, str) else name(key): {"verdict": v, "why": why} for key, v in verdicts.items()}
    (tmp_path / "reviews").mkdir(exist_ok=True)
    (tmp_path / "reviews/mine.yaml").write_text(json.dumps({"samples": samples}))
    return build(recipe, tmp_path / out)


def test_drop_removes_a_sample_from_any_split(tmp_path: Path) -> None:
    summary = reviewed(tmp_path, {1: "drop", 2: "drop"}, why="nail art")  # person 2 is `val`
    assert summary.samples == 3 and not {name(1), name(2)} & set(roots(tmp_path / "out"))
    table = rejected(tmp_path / "out")
    assert sorted(table["name"]) == [name(1), name(2)]
    assert set(table["step"]) == {"review"} and set(table["detail"]) == {"nail art"}
    assert summary.rejected == {"review: dropped by review": 2}


def test_a_dropped_sample_joins_no_mosaic(tmp_path: Path) -> None:
    reviewed(tmp_path, {1: "drop"}, "{op: mosaic, grid: [1, 2], keep_input: true}")
    assert all(name(1) not in shown for shown in roots(tmp_path / "out").values())


def test_keep_overrides_a_filter(tmp_path: Path) -> None:
    reviewed(tmp_path, {}, DARK)
    assert list(rejected(tmp_path / "out")["name"]) == [name(3)]
    reviewed(tmp_path, {3: "keep"}, DARK, out="kept")
    assert rejected(tmp_path / "kept").is_empty()
    row = open_dataset(tmp_path / "kept").index.filter(open_dataset(tmp_path / "kept").index["name"] == name(3))
    assert row["tags"].to_list() == [[]], "nor is it tagged"


def test_keep_holds_for_what_is_made_of_a_sample(tmp_path: Path) -> None:
    never = '{op: where, condition: "width > 1000"}'
    summary = reviewed(tmp_path, {3: "keep", 2: "keep"}, "{op: hflip, keep_input: true}", never)
    assert set(roots(tmp_path / "out")) == {name(2), name(3), f"{name(3)}~hflip"}
    assert summary.rejected == {"where: condition not fulfilled": 6}


def test_a_mosaic_is_kept_only_if_all_its_images_are(tmp_path: Path) -> None:
    """One image that somebody looked at says nothing of the others that show in the same mosaic."""
    steps = ("{op: mosaic, grid: [1, 2]}", '{op: where, condition: "width > 1000"}')
    summary = reviewed(tmp_path, {1: "keep"}, *steps)
    assert set(roots(tmp_path / "out")) == {name(2)}, "the sample of `val` is tagged; each mosaic shows another image"
    assert summary.rejected == {"where: condition not fulfilled": 4}
    reviewed(tmp_path, {1: "keep", 3: "keep", 4: "keep", 5: "keep"}, *steps, out="kept")
    kept = roots(tmp_path / "kept")
    assert sorted(len(shown) for shown in kept.values()) == [1, 2, 2, 2, 2]


def test_the_review_is_part_of_the_version(tmp_path: Path) -> None:
    versions = [
        reviewed(tmp_path, {}, DARK).version,
        reviewed(tmp_path, {3: "keep"}, DARK).version,
        reviewed(tmp_path, {1: "drop"}, DARK).version,
        reviewed(tmp_path, {1: "drop"}, DARK, why="another reason").version,
    ]
    assert len(set(versions)) == 4
    assert reviewed(tmp_path, {}, DARK).version == versions[0]


def test_a_review_remakes_nothing(tmp_path: Path) -> None:
    reviewed(tmp_path, {}, "{op: hflip, keep_input: true}")
    before = ids(tmp_path / "out")
    summary = reviewed(tmp_path, {1: "drop"}, "{op: hflip, keep_input: true}")
    assert summary.made == 0 and ids(tmp_path / "out").items() <= before.items()


@pytest.mark.parametrize(
    ("typo", "told"),
    [
        ("ID003/image000000000003", "Did you mean 'ID003/image0000000000003'"),
        (f"{name(3)}~hflip", "Did you mean 'ID003/image0000000000003'"),
        ("nothing-alike", "Known: ID001/"),
    ],
)
def test_a_name_without_sample_is_a_warning(tmp_path: Path, typo: str, told: str) -> None:
    summary = reviewed(tmp_path, {typo: "drop", 1: "keep"})
    (warning,) = summary.warnings
    assert warning.startswith(f"the review names '{typo}'") and "no usable sample of that name" in warning
    assert told in warning and "Correct the review file" in warning
    assert summary.samples == len(LEVELS)


def test_the_manifest_holds_the_review_verbatim(tmp_path: Path) -> None:
    reviewed(tmp_path, {3: "keep"}, DARK)
    text = (tmp_path / "reviews/mine.yaml").read_text()
    entry = read_manifest(tmp_path / "out").review
    assert entry is not None and entry.text == text
    (tmp_path / "reviews/mine.yaml").write_text(f"# a comment\n{text}")
    build(tmp_path / "recipes/r.yaml", tmp_path / "out")
    again = read_manifest(tmp_path / "out").review
    assert again is not None and (again.digest, again.text[:3]) == (entry.digest, "# a")


def test_a_verdict_stands_beside_every_sample_that_shows_the_image(tmp_path: Path) -> None:
    never = '{op: where, condition: "width > 1000"}'
    reviewed(tmp_path, {3: "keep", 2: "keep"}, "{op: hflip, keep_input: true}", never)
    index = open_dataset(tmp_path / "out").index
    assert set(index["name"]) == {name(2), name(3), f"{name(3)}~hflip"}
    for shown, review, overruled in index.select("name", "review", "overruled").iter_rows():
        assert review == [{"sample": shown.partition("~")[0], "verdict": "keep", "why": "seen"}]
        assert overruled == ["where: condition not fulfilled"]


def test_samples_that_no_review_names_have_none(tmp_path: Path) -> None:
    reviewed(tmp_path, {1: "keep"}, "{op: mosaic, grid: [1, 2], keep_input: true}")
    rows = open_dataset(tmp_path / "out").index.select("lineage", "review", "overruled").to_dicts()
    for row in rows:
        shows = name(1) in {root["name"] for root in row["lineage"]["roots"]}
        assert (row["review"] is not None) == shows and row["overruled"] is None
    assert 0 < sum(row["review"] is not None for row in rows) < len(rows)


def test_diff_and_trace_tell_the_review(tmp_path: Path) -> None:
    reviewed(tmp_path, {}, DARK)
    before = open_dataset(tmp_path / "out")
    reviewed(tmp_path, {3: "keep"}, DARK)
    report = compare_versions(before, open_dataset(tmp_path / "out"))
    assert report["review"] == [{"sample": name(3), "a": None, "b": "keep: seen"}]
    reviewed(tmp_path, {1: "drop"}, DARK)
    dropped = compare_versions(open_dataset(tmp_path / "out"), before)
    assert {(cause["change"], cause["kind"], cause["what"]) for cause in dropped["causes"]} == {
        ("added", "rejected", "review")
    }
    reviewed(tmp_path, {3: "keep"}, DARK)
    traced = trace_sample(open_dataset(tmp_path / "out"), name(3))
    assert traced["review"] == [{"sample": name(3), "verdict": "keep", "why": "seen"}]
    assert traced["overruled"] == ["where: condition not fulfilled"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("samples: {x: {verdict: maybe}}", "mine.yaml:1"),
        ("samples: {x: {why: because}}", "mine.yaml:1"),
        ("samples: {x: drop}", "mine.yaml:1"),
        ("sample: {}", "mine.yaml:1"),
    ],
)
def test_a_broken_review_names_its_line(tmp_path: Path, text: str, told: str) -> None:
    reviewed(tmp_path, {})
    (tmp_path / "reviews/mine.yaml").write_text(text)
    with pytest.raises(RecipeError, match=told):
        build(tmp_path / "recipes/r.yaml", tmp_path / "out")


def test_a_missing_review_is_an_error(tmp_path: Path) -> None:
    reviewed(tmp_path, {})
    (tmp_path / "reviews/mine.yaml").unlink()
    with pytest.raises(RecipeError, match=r"mine\.yaml"):
        build(tmp_path / "recipes/r.yaml", tmp_path / "out")
