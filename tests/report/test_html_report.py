"""The report: its figures are those of the decoded samples, and its page is safe, whole and fit for every reader."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from toybox import two_versions_fixture, with_index
from typer.testing import CliRunner
from webpages import HOSTILE, parse, with_hostile_names

from augforge import bitmask
from augforge.cli.app import app
from augforge.errors import AugforgeError, DatasetError
from augforge.report.html.charts import draw_bars, draw_boxes, draw_histogram
from augforge.report.html.classes import GRID, occur_together, position_map
from augforge.report.html.columns import bin_edges, metadata_facts
from augforge.report.html.facts import gather_facts
from augforge.report.html.opening import open_against, open_shown
from augforge.report.html.page import make_report, render_report, write_report
from augforge.report.html.pixels import read_pixels, tile_facts
from augforge.report.html.thumbnails import make_thumbnail
from augforge.report.trace import trace_sample
from augforge.store.dataset import Dataset, open_dataset

__all__ = ["two_versions_fixture"]


@pytest.fixture(scope="module", name="dataset")
def dataset_fixture(two_versions: Path) -> Dataset:
    """The toy with metadata: an age in years, a sex, and a remark in free text."""
    toy = open_dataset(two_versions / "toy")
    number = pl.int_range(len(toy))
    metadata = pl.struct(
        age=pl.when(number % 5 != 0).then(20 + number % 30),
        sex=pl.when(number % 2 == 0).then(pl.lit("F")).otherwise(pl.lit("M")),
        remark=pl.concat_str(pl.lit("said "), number.cast(pl.String)),
    )
    return with_index(toy, toy.index.with_columns(metadata=metadata))


@pytest.fixture(scope="module", name="facts")
def facts_fixture(dataset: Dataset) -> dict[str, Any]:
    return gather_facts(dataset)


@pytest.fixture(scope="module", name="html")
def html_fixture(dataset: Dataset) -> str:
    return render_report(make_report(dataset))


def test_sizes_of_classes_are_those_of_the_decoded_masks(dataset: Dataset, facts: dict[str, Any]) -> None:
    for c in (0, 7, 28):
        areas = [int(bitmask.class_mask(sample.masks, c).sum()) for sample in dataset]
        sides = [100 * (area / (96 * 96)) ** 0.5 for area in areas if area]
        assert facts["classes"][c]["samples"] == len(sides)
        assert facts["classes"][c]["side"] == pytest.approx(np.quantile(sides, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist())


def test_a_map_of_positions_counts_the_boxes_that_hold_the_centre_of_a_cell() -> None:
    boxes = [[0, 0, 48, 24], [10, 5, 90, 40], None, [95, 47, 96, 48]]
    found = position_map(pl.Series(boxes), pl.Series([96] * 4), pl.Series([48] * 4))
    assert found is not None
    for y in range(GRID):
        for x in range(GRID):
            px, py = (x + 0.5) / GRID * 96, (y + 0.5) / GRID * 48
            held = sum(b[0] <= px < b[2] and b[1] <= py < b[3] for b in boxes[:2] if b)
            held += (x, y) == (GRID - 1, GRID - 1)  # a box between the centres marks the cell that holds it
            assert found[y][x] == pytest.approx(held / 3, abs=1e-4), (x, y)


def test_no_box_makes_no_map() -> None:
    assert position_map(pl.Series([None], dtype=pl.List(pl.Int32)), pl.Series([9]), pl.Series([9])) is None


def test_classes_that_occur_together_are_counted_in_pairs(dataset: Dataset) -> None:
    names = dataset.classes[:5]
    found = occur_together(dataset.index, names)
    areas = dataset.index["area"].to_list()
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            assert found[i][j] == sum(bool(row[a]) and bool(row[b]) for row in areas)


def test_overlaps_are_shares_of_the_pixels(dataset: Dataset) -> None:
    pixels = read_pixels(dataset, len(dataset))
    overlaps = pixels.overlaps()
    masks = [list(bitmask.to_masks(sample.masks, len(dataset.classes))) for sample in dataset]
    for a, b in ((19, 20), (21, 22), (0, 1)):
        area = sum(int(each[a].sum()) for each in masks)
        both = sum(int((each[a] & each[b]).sum()) for each in masks)
        assert overlaps[a][b] == pytest.approx(both / area)


def test_intensities_count_pixels_of_each_split(dataset: Dataset) -> None:
    pixels = read_pixels(dataset, len(dataset))
    for split in ("train", "val"):
        images = [sample.image[::2, ::2] for sample in dataset if sample.split == split]
        expected = Counter(int(value) // 8 for image in images for value in image.ravel())
        assert pixels.intensities[split].tolist() == [expected[i] for i in range(32)]


def test_metadata_are_counted_by_split_and_class_and_texts_are_not_listed(dataset: Dataset) -> None:
    columns = {column["name"]: column for column in metadata_facts(dataset)}
    rows = dataset.index.select("split", "metadata", "area").to_dicts()
    ages = [row["metadata"]["age"] for row in rows if row["split"] == "val" and row["metadata"]["age"] is not None]
    assert sum(columns["age"]["per_split"]["val"]) == len(ages)
    sexes = Counter(row["metadata"]["sex"] for row in rows if row["area"]["Ulna"])
    assert columns["sex"]["by_class"]["Ulna"] == [sexes[value] for value in columns["sex"]["values"]]
    assert columns["remark"] == {"name": "remark", "samples": len(dataset), "different": len(dataset), "kind": "texts"}
    assert "said 3" not in json.dumps(columns)


def test_names_of_people_with_several_images_are_not_listed(dataset: Dataset) -> None:
    named = dataset.index.with_columns(metadata=pl.struct(name=pl.concat_str(pl.lit("Ms "), "group")))
    (column,) = metadata_facts(with_index(dataset, named))
    assert 1 < column["different"] < 20 and column["kind"] == "texts"
    assert "Ms ID" not in parse(render_report(make_report(with_index(dataset, named), thumbnails=1))).text


def test_bins_of_few_whole_numbers_hold_one_each() -> None:
    assert bin_edges([1, 3, 2]) == [0.5, 1.5, 2.5, 3.5]
    assert bin_edges([5.0]) == [4.5, 5.5]
    assert bin_edges([]) == [-0.5, 0.5, 1.5]
    edges = bin_edges([0.0, 1.5])
    assert len(edges) == 21 and (edges[0], edges[-1]) == (0.0, 1.5)


def test_groups_in_several_splits_and_equal_pixels_are_leaks(dataset: Dataset) -> None:
    index = dataset.index.sort("split")
    assert gather_facts(dataset)["groups_by_split"]["leaks"] == []
    first, last = index.row(0, named=True), index.row(-1, named=True)
    moved = pl.when(pl.col("name") == last["name"])
    leaking = index.with_columns(
        groups=moved.then(pl.lit([first["group"], last["group"]])).otherwise("groups"),
        pixel_digest=moved.then(pl.lit(first["pixel_digest"])).otherwise("pixel_digest"),
    )
    groups = gather_facts(with_index(dataset, leaking))["groups_by_split"]
    assert [leak["group"] for leak in groups["leaks"]] == [first["group"]]
    assert groups["twins"] == [
        {"split": sorted([first["split"], last["split"]]), "names": sorted([first["name"], last["name"]])}
    ]


def test_the_group_that_differs_most_comes_first(dataset: Dataset) -> None:
    group = dataset.index["group"][0]
    area = pl.col("area").struct
    larger = pl.when(pl.col("group") == group).then(area.field("Ulna") * 25).otherwise(area.field("Ulna"))
    changed = dataset.index.with_columns(area.with_fields(Ulna=larger))
    unusual = gather_facts(with_index(dataset, changed))["groups_by_split"]["unusual"]
    assert (unusual[0]["group"], unusual[0]["class"]) == (group, "Ulna")
    assert 3 < unusual[0]["factor"] < 7  # the root of 25, against a median that it belongs to


def test_steps_count_every_sample_that_they_made(dataset: Dataset, facts: dict[str, Any]) -> None:
    made: set[tuple[str, str]] = set()

    def gather(node: dict[str, Any]) -> None:
        made.update((step["step"], node["id"]) for step in node["steps"])
        for parent in node["parents"]:
            gather(parent)

    for name in dataset.index["name"]:
        gather(trace_sample(dataset, name)["tree"])
    counted = {row["step"]: sum(row["per_split"].values()) for row in facts["lineage"]}
    assert counted == Counter(step for step, _ in made)
    assert list(counted) == ["hflip", "mosaic"]  # in the order of the recipe


def test_histograms_of_draws_hold_every_draw(dataset: Dataset, facts: dict[str, Any]) -> None:
    steps = [step for row in dataset.index["lineage"] for step in row["steps"] if step["step"] == "mosaic"]
    columns = [value for step in steps for value in json.loads(step["drawn"])["columns"]]
    (row,) = (row for row in facts["drawn"] if (row["step"], row["value"]) == ("mosaic", "columns"))
    assert sum(row["counts"]) == len(columns)
    assert (row["edges"][0], row["edges"][-1]) == pytest.approx((min(columns), max(columns)))


def test_the_page_loads_nothing_and_runs_no_script_but_its_own(html: str) -> None:
    page = parse(html)
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href", "xlink:href", "action"):
            assert "http" not in attributes.get(name, ""), (tag, attributes)
    (script,) = page.scripts
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and policy.startswith("default-src 'none'")
    assert not re.search(r"url\(|@import", html)


def test_the_page_speaks_to_screen_readers(html: str) -> None:
    page = parse(html)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(image.get("alt") for image in page.all("img"))
    for svg in page.all("svg"):
        assert svg.get("aria-hidden") == "true" or (svg.get("role") == "img" and svg.get("aria-label"))
    for attributes in page.all("section"):
        assert attributes["aria-labelledby"] in ids
    for link in page.all("a"):
        assert link["href"].removeprefix("#") in ids
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in pairwise(levels))
    assert page.all("html")[0]["lang"] == "en"


def test_every_figure_has_its_numbers_in_a_table(html: str) -> None:
    page = parse(html)
    charts = [svg for svg in page.all("svg") if svg.get("class") == "pygal-chart"]
    assert len(charts) == len(page.all("figure")) >= 8


def test_hostile_names_stay_text(dataset: Dataset) -> None:
    hostile = with_hostile_names(dataset)
    html = render_report(make_report(hostile, hostile))
    page = parse(html)
    assert len(page.scripts) == len(page.all("script")) == 1
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert HOSTILE[0] in page.text and "{{ 7 * 7 }}" in page.text
    assert "\x1b" not in html


def test_a_thumbnail_draws_what_the_mask_holds_and_nothing_unknown(dataset: Dataset) -> None:
    sample = dataset[0]
    thumbnail = make_thumbnail(sample, dataset.classes)
    assert (thumbnail.width, thumbnail.height) == (96, 96)  # small images are not enlarged
    areas, _ = bitmask.areas_and_boxes(sample.masks, len(dataset.classes))
    assert [outline.index for outline in thumbnail.outlines] == np.flatnonzero(areas).tolist()
    (outline,) = (each for each in thumbnail.outlines if each.index == 27)
    points = np.array([[float(v) for v in pair.split()] for pair in re.split("[MLZ]", outline.path) if pair.strip()])
    mask = bitmask.class_mask(sample.masks, 27)
    assert all(mask[int(y), int(x)] for x, y in points)  # corners are centres of pixels of the class


def test_a_chart_says_its_values_in_picture_and_table() -> None:
    chart = draw_bars("samples", ["a<b>", "c"], {"train": [3, 4], "val": [1, 0]})
    assert "<b>" not in chart.svg and chart.rows == (("a<b>", "3", "1"), ("c", "4", "0"))
    assert {"a&lt;b&gt;: 3", "c: 4", "a&lt;b&gt;: 1"} <= set(re.findall(r"<title>(.*?)</title>", chart.svg))
    assert "s-train" in chart.svg and "s-val" in chart.svg and "<script" not in chart.svg


def test_a_number_has_all_its_digits() -> None:
    rows = draw_bars("samples", ["a", "b"], {"train": [12_345, 0.25], "val": [1_234_567, 1_234_567.2]}).rows
    assert rows == (("a", "12,345", "1,234,567"), ("b", "0.25", "1,234,567"))


def test_a_sample_with_two_tags_is_flagged_once(dataset: Dataset) -> None:
    two = pl.when(pl.int_range(len(dataset)) < 3).then(pl.lit(["blur", "metal"])).otherwise(pl.lit([]))
    report = make_report(with_index(dataset, dataset.index.with_columns(tags=two)), thumbnails=2)
    assert report.facts["flagged"] == 3
    assert "<dt>Flagged</dt><dd>3</dd>" in render_report(report)


def test_a_label_that_is_unknown_is_not_given(dataset: Dataset) -> None:
    label = pl.lit([1.0, None], dtype=pl.List(pl.Float32))
    assert tile_facts(with_index(dataset, dataset.index.with_columns(label=label), labels=("a", "b")), 0)["labels"] == [
        "a"
    ]


def test_a_box_has_the_quartiles_that_it_was_given() -> None:
    chart = draw_boxes("size", ["a"], [[1.0, 2.0, 3.0, 7.0, 9.0]])
    (title,) = re.findall(r"<title>(.*?)</title>", chart.svg, re.DOTALL)
    assert [float(number) for number in re.findall(r": ([\d.]+)", title.removeprefix("a"))] == [1, 2, 3, 7, 9]


def test_a_histogram_names_whole_numbers_and_ranges() -> None:
    whole = draw_histogram("n", [0.5, 1.5, 2.5], {"": [4, 5]})
    assert whole.rows == (("1", "4"), ("2", "5"))
    assert draw_histogram("n", [0.0, 0.25, 0.5], {"": [4, 5]}).rows[1] == ("0.25 to 0.5", "5")


def test_changes_are_those_that_diff_finds(two_versions: Path, dataset: Dataset) -> None:
    toy = open_dataset(two_versions / "toy")
    first = json.loads((two_versions / "toy/log.jsonl").read_text().splitlines()[0])["version"]
    before = open_against(first, toy)
    assert before is not None and before.version == first
    page = parse(render_report(make_report(toy, before)))
    assert "image or annotation changed" in page.text


def test_a_dataset_without_classes_metadata_or_steps_has_a_page(dataset: Dataset) -> None:
    nothing = dataset.index.with_columns(
        area=pl.struct(*(pl.lit(None, pl.Int64).alias(name) for name in dataset.classes)),
        box=pl.struct(*(pl.lit(None, pl.List(pl.Int32)).alias(name) for name in dataset.classes)),
    ).drop("metadata")
    page = parse(render_report(make_report(with_index(dataset, nothing), thumbnails=0)))
    assert "No sample shows a class." in page.text and "The samples have no metadata." in page.text


def test_a_recipe_stands_for_the_dataset_that_was_built_from_it(
    two_versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=r"was not built yet.*Build it: augforge build"):
        open_shown(str(two_versions / "recipe.yaml"))
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/toy").symlink_to(two_versions / "toy")
    shown, note = open_shown(str(two_versions / "recipe.yaml"))
    assert (shown.name, note) == ("toy", "")
    changed = tmp_path / "recipe.yaml"
    changed.write_text((two_versions / "recipe.yaml").read_text().replace("seed: 21", "seed: 22"))
    assert "was changed since" in open_shown(str(changed))[1]


def test_a_page_is_written_whole_or_refused(dataset: Dataset, tmp_path: Path) -> None:
    report = make_report(dataset, thumbnails=2)
    with pytest.raises(AugforgeError, match=r"Name the report page\.html"):
        write_report(report, tmp_path / "page.txt")
    with pytest.raises(AugforgeError, match=r"does not exist\. Make it first"):
        write_report(report, tmp_path / "none/page.html")
    write_report(report, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8").endswith("</html>")


def test_the_command_writes_a_page_and_prints_the_figures(two_versions: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["report", str(two_versions / "toy"), "-o", str(out), "--thumbnails", "3", "--json"])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert figures["samples"] == len(open_dataset(two_versions / "toy"))
    page = parse(out.read_text(encoding="utf-8"))
    assert len([button for button in page.all("button") if button.get("class") == "tile"]) == 3
