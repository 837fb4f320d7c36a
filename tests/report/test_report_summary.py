"""The closing summary of a build."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from augforge.engine.summary import Summary
from augforge.report.summary import human_seconds, render_summary
from augforge.report.tables import human_bytes, plural, split_order

DONE = Summary(
    name="hands",
    version="0123456789abcdef",
    folder="data sets/hands",
    dry=False,
    samples=1032,
    splits={"test": 1, "train": 1027, "val": 4},
    steps=[
        {"step": 1, "op": "metal", "made": {"train": 14, "val": 4}, "reused": {}},
        {"step": 2, "op": "mosaic", "made": {"train": 10}, "reused": {"train": 490}},
    ],
    made=500,
    reused=532,
    exact=True,
    bytes=51_234_567,
    rejected={"metal: ring [bright]": 2, "source: no annotation": 3},
    shards=5,
    new_shards=3,
    warnings=["split 'val' is small"],
    seconds=12.5,
)


def render_text(summary: Summary, width: int = 80) -> str:
    console = Console(record=True, width=width, file=io.StringIO())
    render_summary(summary, console)
    return console.export_text()


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_summary_of_a_build() -> None:
    text = render_text(DONE)
    for fact in (
        "Warning: split 'val' is small",
        "hands  version 0123456789abcdef",
        "1,032  train 1,027  val 4  test 1",
        "500 encoded, 532 reused",
        "51.2 MB in 5 shards, 3 of them new",
        "data sets/hands",
        "12 s, 40.0 samples a second",
        "augforge inspect 'data sets/hands'",
    ):
        assert fact in text
    lines = words(text)
    assert ["1", "metal", "made", "14", "4", "18"] in lines
    assert ["2", "mosaic", "made", "10", "0", "10"] in lines
    assert ["reused", "490", "0", "490"] in lines
    assert ["metal", "ring", "[bright]", "2"] in lines
    assert ["source", "no", "annotation", "3"] in lines
    assert "about" not in text and "at most" not in text and "would" not in text


def test_a_dry_run_promises_no_more_than_it_knows() -> None:
    text = render_text(replace(DONE, dry=True, exact=False, version="", seconds=0.0))
    for fact in ("dry run: nothing was written", "would make", "at most 1,032", "at most 500", "about 51.2 MB"):
        assert fact in text
    assert ["1", "metal", "would", "make", "14", "4", "at", "most", "18"] in words(text)
    assert "samples a second" not in text and "verify" not in text
    assert "at most" not in render_text(replace(DONE, dry=True))


def test_summary_of_an_unchanged_build() -> None:
    text = render_text(replace(DONE, unchanged=True, made=0, steps=[], rejected={}, warnings=[]))
    assert "is unchanged: version 0123456789abcdef was the current one already" in text
    assert "samples a second" not in text and "Warning" not in text and "rejected by" not in text


@pytest.mark.parametrize("width", [40, 200])
def test_summary_fits_any_width(width: int) -> None:
    assert "0123456789abcdef" in render_text(DONE, width)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (51_234_567, "51.2 MB"), (999_900, "1 MB"), (7e12, "7 TB")],
)
def test_bytes(count: int, text: str) -> None:
    assert human_bytes(int(count)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.9, "9.9 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_seconds(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text


def test_words() -> None:
    assert plural(1, "class") == "1 class"
    assert plural(1200, "class") == "1,200 classes"
    assert list(split_order({"extra": 1, "val": 2, "train": 3})) == ["train", "val", "extra"]
