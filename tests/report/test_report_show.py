"""Legends, shown samples and contact sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from augforge import bitmask
from augforge.engine.builder import build
from augforge.errors import AugforgeError
from augforge.phantom import write_phantom
from augforge.report import show
from augforge.report.colours import colour_of
from augforge.report.paint import MUTED
from augforge.sample import Sample
from augforge.store.dataset import Dataset, open_dataset

CLASSES = tuple(f"bone-{c}" for c in range(12))
RECIPE = """\
name: tiny
source: {format: hand-bone, path: phantom, classes: hand-bone}
split: {val: 0.5}
steps:
  - {op: hflip, keep_input: true}
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """2 persons in train and val, one without labels in test, and the train half mirrored: 8 samples of 128x128."""
    folder = tmp_path_factory.mktemp("show")
    write_phantom(folder / "phantom", persons=2, size=128, seed=7, test_persons=1)
    (folder / "tiny.yaml").write_text(RECIPE)
    build(folder / "tiny.yaml", folder / "tiny")
    return open_dataset(folder / "tiny")


def sample(name: str, height: int, width: int, held: dict[int, slice], known: range = range(12)) -> Sample:
    masks = bitmask.empty(height, width, 12)
    for c, rows in held.items():
        mask = np.zeros((height, width), np.uint8)
        mask[rows] = 1
        bitmask.merge_class(masks, c, mask)
    return Sample(name, np.full((height, width), 90, np.uint8), masks, bitmask.select_bits(known, 12))


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=2).any())


def test_legend_has_a_chip_for_each_class_present() -> None:
    chips = show.legend(CLASSES, [0, 4], 500)
    assert chips.shape[1] == 500
    assert has(chips, colour_of(0)) and has(chips, colour_of(4))
    assert not has(chips, colour_of(1))


def test_legend_wraps_into_columns() -> None:
    wide, narrow = (show.legend(CLASSES, range(12), width) for width in (2000, 100))
    assert narrow.shape[1] == 100
    assert len(narrow) > 11 * len(wide)
    for c in range(12):
        assert has(narrow, colour_of(c))


def test_legend_greys_what_is_unlabelled() -> None:
    chips = show.legend(CLASSES, [0], 600, unknown=[7])
    assert has(chips, colour_of(0)) and not has(chips, colour_of(7))
    assert has(chips, MUTED)
    assert not has(show.legend(CLASSES, [0], 600), MUTED)


def test_legend_without_classes() -> None:
    assert has(show.legend(CLASSES, [], 300), MUTED)


def test_legend_shortens_names_that_do_not_fit() -> None:
    assert show.legend(["x" * 400], [0], 120).shape[1] == 120


def test_one_sample_is_shown_large() -> None:
    one = sample("a", 300, 600, {0: slice(0, 100)})
    picture = show.show_samples([one], CLASSES, {"a": ["metal"]})
    assert picture.shape[1] == 600 + 4 * 12
    assert 300 < picture.shape[0] < 500
    assert has(picture, colour_of(0)) and has(picture, show.SPLIT_COLOURS["train"])
    assert has(picture, show._TAG) and not has(show.show_samples([one], CLASSES), show._TAG)


def test_parents_and_reviews_stand_below_in_lines_of_their_own() -> None:
    several = [sample("a", 60, 60, {0: slice(0, 9)}), sample("b", 60, 60, {0: slice(0, 9)})]
    plain = show.show_samples(several, CLASSES)
    made = show.show_samples(several, CLASSES, parents={"a": ["p", "q", "r"], "b": []})
    told = show.show_samples(several, CLASSES, parents={"a": ["p", "q", "r"]}, reviews={"b": ["review: keep b"] * 4})
    assert plain.shape[0] < made.shape[0] < told.shape[0], "as many lines as the longest caption has"
    assert (made.shape[0] - plain.shape[0]) % 3 == 0 and has(told, show._TAG) and not has(made, show._TAG)


def test_small_samples_are_enlarged() -> None:
    assert show.show_samples([sample("a", 16, 16, {0: slice(0, 8)})], CLASSES).shape[1] == 512 + 4 * 12


def test_several_samples_share_a_legend() -> None:
    several = [
        sample("a", 80, 60, {0: slice(0, 9)}),
        sample("b", 60, 80, {5: slice(5, 30)}, range(6)),
        sample("c", 9, 9, {}),
    ]
    picture = show.show_samples(several, CLASSES)
    assert picture.shape[1] == 2 * 512 + 4 * 12 + 2 * 12
    assert has(picture, colour_of(0)) and has(picture, colour_of(5))


def test_nothing_to_show_is_an_error() -> None:
    with pytest.raises(AugforgeError, match="no sample to show"):
        show.show_samples([], CLASSES)


def index_of(*strata: tuple[str, str, int]) -> pl.DataFrame:
    rows = [(split, step, f"{split}{step}{i:03}") for split, step, count in strata for i in range(count)]
    return pl.DataFrame(rows, ["split", "step", "name"], orient="row").sample(fraction=1, shuffle=True, seed=3)


def test_rows_of_every_split_and_step_are_chosen() -> None:
    index = index_of(("train", "", 90), ("train", "mosaic", 200), ("val", "", 3), ("test", "", 1))
    chosen = index[show.choose_rows(index, 12)]
    counts = dict(chosen.group_by(pl.concat_str("split", pl.lit(" "), "step")).len().rows())
    assert counts == {"train ": 4, "train mosaic": 4, "val ": 3, "test ": 1}
    assert chosen["split"].to_list() == ["train"] * 8 + ["val"] * 3 + ["test"]
    assert chosen["name"].to_list()[:4] == ["train011", "train033", "train056", "train078"]


def test_all_rows_are_chosen_if_the_limit_allows() -> None:
    index = index_of(("val", "", 3), ("train", "", 4))
    chosen = index[show.choose_rows(index, 50)]["name"].to_list()
    assert chosen == [f"train{i:03}" for i in range(4)] + [f"val{i:03}" for i in range(3)]
    assert len(show.choose_rows(index, 1)) == 1
    assert show.choose_rows(index, 0) == []


def test_sheet(dataset: Dataset) -> None:
    picture = show.contact_sheet(dataset, tile=100, columns=3, limit=7)
    assert picture.shape[1] == 3 * 100 + 2 * 12 + 2 * 18
    assert picture.shape[0] > 3 * 100
    for split in ("train", "val", "test"):
        assert has(picture, show.SPLIT_COLOURS[split])  # in the captions and in the header
    for c in range(29):
        assert has(picture, colour_of(c))


def test_sheet_has_as_many_rows_as_it_needs(dataset: Dataset) -> None:
    one, two = (show.contact_sheet(dataset, tile=200, columns=4, limit=limit) for limit in (4, 5))
    assert one.shape[1] == two.shape[1]
    assert len(two) - len(one) > 200
    assert show.contact_sheet(dataset, tile=60, limit=1).shape[1] == 60 + 2 * 18


def test_sheet_of_one_split(dataset: Dataset) -> None:
    picture = show.contact_sheet(dataset, tile=100, split="val")
    assert has(picture, show.SPLIT_COLOURS["val"]) and not has(picture, show.SPLIT_COLOURS["train"])
    unlabelled = show.contact_sheet(dataset, tile=100, split="test")
    assert not has(unlabelled, colour_of(0))
    with pytest.raises(AugforgeError, match="Did you mean 'train'"):
        show.contact_sheet(dataset, split="trian")


def test_sheet_without_samples_is_an_error(dataset: Dataset) -> None:
    with pytest.raises(AugforgeError, match="no sample to show"):
        show.contact_sheet(dataset.where(pl.col("name") == "nobody"))


def test_captions_name_split_step_and_tags() -> None:
    row = {"name": "a~hflip", "split": "train", "step": "hflip", "tags": ["metal"], "area": {"x": 3, "y": None}}
    words = [[text for text, _ in line] for line in show._caption(row)]
    assert words == [["a~hflip"], ["train", "hflip", "metal"]]
    source = {"name": "a", "split": "test", "step": "", "tags": [], "area": {"x": None, "y": None}}
    assert [text for text, _ in show._caption(source)[1]] == ["test", "source", "unlabelled"]


@pytest.mark.parametrize("name", ["a.png", "b.JPG"])
def test_pictures_are_saved(tmp_path: Path, name: str) -> None:
    picture = np.zeros((6, 8, 3), np.uint8)
    picture[..., 0] = 255
    show.save_png(picture, tmp_path / name)
    with Image.open(tmp_path / name) as saved:
        assert np.abs(np.asarray(saved).astype(int) - picture).max() <= 3  # red, not blue


def test_save_png_errors_name_a_remedy(tmp_path: Path) -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(AugforgeError, match=r"Name the picture sheet\.png"):
        show.save_png(picture, tmp_path / "sheet.bmp")
    with pytest.raises(AugforgeError, match="mkdir -p"):
        show.save_png(picture, tmp_path / "missing" / "a.png")
