"""Sliding windows: full coverage, the right ones kept, every pixel traced."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import class_names, make_sample
from provenance import check_provenance, make_traceable
from pydantic import ValidationError
from toybox import made as built
from toybox import tiny_hands

from augforge import bitmask
from augforge.keys import rng_for
from augforge.ops import OPS, Context
from augforge.ops.windows import SlidingWindow, window_starts
from augforge.sample import Drop, Sample

WINDOW, CTX = OPS["sliding_window"], Context(class_names(9))


def windows(sample: Sample, key: Any = 0, **params: Any) -> dict[tuple[int, int], Sample]:
    """Kept windows by offset."""
    checked = SlidingWindow.model_validate(params)
    assert WINDOW.draw is not None
    drawn = WINDOW.draw(rng_for(21, key), [sample], checked, CTX)
    made = [window for window in WINDOW.apply([sample], drawn, checked, CTX) if isinstance(window, Sample)]
    return {tuple(window.notes["offset"]): window for window in made}


@pytest.mark.parametrize("edge", ["shift", "pad", "drop"])
@pytest.mark.parametrize(
    ("length", "size", "stride"), list(product([1, 7, 16, 17, 31, 100], [7, 16], [1, 3, 7, 16, 40]))
)
def test_starts_by_definition(length: int, size: int, stride: int, edge: str) -> None:
    found = window_starts(length, size, stride, edge)
    assert found == sorted(set(found)) and found[0] == 0
    if length <= size:
        assert found == [0]
        return
    regular = [start for start in range(0, length, stride) if start + size <= length]
    assert found[: len(regular)] == regular and len(found) - len(regular) <= (edge != "drop")
    assert all(start < length for start in found), "a window beyond the picture"
    if edge != "pad":
        assert max(found) + size <= length
    if edge != "drop" and stride <= size:
        covered = np.zeros(max(found) + size, bool)
        for start in found:
            covered[start : start + size] = True
        assert covered[:length].all()


@pytest.mark.parametrize("edge", ["shift", "pad", "drop"])
@pytest.mark.parametrize("stride", [None, 7, [10, 30]])
@pytest.mark.parametrize("size", [16, [20, 33], [64, 48], [100, 80], [30, 60]])
def test_every_pixel_is_traced(size: Any, stride: Any, edge: str) -> None:
    sample = make_traceable()
    found = windows(sample, size=size, stride=stride, edge=edge)
    params = SlidingWindow.model_validate({"size": size, "stride": stride, "edge": edge})
    assert [(w.width, w.height) for w in found.values()] == WINDOW.sizes([(64, 48)], params)
    seen = np.zeros(sample.image.size + 1, int)
    for (x, y), window in found.items():
        check_provenance(window, [sample])
        assert window.mark == f"@{x},{y}"
        assert window.image[0, 0] == sample.image[y, x]
        seen[window.image.ravel()] += 1
    if edge != "drop" and (stride is None or stride == 7):
        assert (seen[1:] > 0).all()


def test_small_pictures_are_padded_at_right_and_bottom() -> None:
    sample = replace(make_traceable(), image=np.full((48, 64), 9, np.uint8))
    (window,) = windows(sample, size=100, fill=3).values()
    assert (window.image[:48, :64] == 9).all() and (window.image[48:] == 3).all() and (window.image[:, 64:] == 3).all()
    assert window.placements[0].clip == (0, 0, 64, 48)


def brute(sample: Sample, box: tuple[int, int, int, int], least: int, rim: int = 0, centre: bool = False) -> bool:
    """Whether any class has enough pixels, counted one by one."""
    x0, y0, x1, y1 = box
    found = False
    for mask in bitmask.to_masks(sample.masks, 9):
        inside = mask[y0:y1, x0:x1]
        count = inside.sum()
        if rim and not inside[rim : inside.shape[0] - rim, rim : inside.shape[1] - rim].any():
            count = 0
        if centre:
            h, w = inside.shape[0] // 4, inside.shape[1] // 4
            count = min(count, inside[h : inside.shape[0] - h, w : inside.shape[1] - w].sum())
        found |= count >= least
    return found


@pytest.mark.parametrize(
    "rule",
    [{}, {"drop_edge_only": True, "rim": 5}, {"keep": "centre"}, {"drop_edge_only": True, "rim": 2, "keep": "centre"}],
)
@pytest.mark.parametrize("least", [1, 40, 90])
def test_windows_that_hold_enough_are_kept(least: int, rule: dict[str, Any]) -> None:
    kept = empty = 0
    for seed in range(4):
        sample = make_sample(96, 120, seed=seed)
        sample = replace(sample, masks=bitmask.keep(sample.masks, bitmask.select_bits([1 + seed, 5 + seed // 2], 9)))
        found = windows(sample, size=[24, 16], stride=8, min_pixels=least, **rule)
        for x, y in windows(sample, size=[24, 16], stride=8):
            rim, centre = rule.get("rim", 0), "keep" in rule
            assert ((x, y) in found) == brute(sample, (x, y, x + 24, y + 16), least, rim, centre)
            kept, empty = kept + ((x, y) in found), empty + ((x, y) not in found)
    assert kept > 20 and empty > 20


def test_only_classes_of_interest_count() -> None:
    sample = make_sample(96, 120, seed=1)
    alone = replace(sample, masks=bitmask.keep(sample.masks, bitmask.select_bits([3], 9)))
    rule = {"size": 16, "min_pixels": 40}
    assert list(windows(sample, classes=["class-3"], **rule)) == list(windows(alone, **rule))


def test_a_share_of_the_empty_ones_is_kept() -> None:
    sample = make_sample(320, 320)
    bare = replace(sample, masks=sample.masks * 0)
    rule = {"size": 8, "stride": 4, "min_pixels": 1}
    every = len(windows(bare, size=8, stride=4))
    counts = [len(windows(bare, key, **rule, empty_share=0.3)) / every for key in range(3)]
    np.testing.assert_allclose(counts, 0.3, atol=0.03)
    assert len(windows(bare, **rule, empty_share=1)) == every and not windows(bare, **rule)


def test_a_class_elsewhere_redraws_nothing() -> None:
    sample = make_sample(160, 160)
    masks = sample.masks * 0
    bare = replace(sample, masks=masks)
    before = set(windows(bare, size=16, min_pixels=1, empty_share=0.4))
    masks = masks.copy()
    masks[40, 40, 0] = 1
    after = set(windows(replace(sample, masks=masks), size=16, min_pixels=1, empty_share=0.4))
    assert before | {(32, 32)} == after
    wider = replace(make_sample(160, 200), masks=np.zeros((160, 200, 2), np.uint8))
    assert before == {at for at in windows(wider, size=16, min_pixels=1, empty_share=0.4) if at[0] < 160}


def test_the_draw_is_small_in_the_lineage() -> None:
    assert WINDOW.draw is not None
    drawn = WINDOW.draw(rng_for(1), [make_sample(400, 400)], SlidingWindow(size=8), CTX)
    assert len(str(drawn)) < 30, "it is recorded with every window"


def test_unlabelled_pictures_keep_every_window() -> None:
    """Nobody said that they are empty."""
    sample = make_sample(96, 120)
    unlabelled = replace(sample, masks=sample.masks * 0, known=sample.known * 0)
    assert len(windows(unlabelled, size=24, min_pixels=9)) == len(windows(sample, size=24))
    known = bitmask.select_bits([2], 9)
    partly = replace(sample, masks=sample.masks * 0, known=known)
    assert not windows(partly, size=24, min_pixels=9)
    assert windows(partly, size=24, min_pixels=9, classes=["class-1"])


def test_a_picture_without_any_is_dropped() -> None:
    sample = make_sample()
    params = SlidingWindow(size=16, min_pixels=1)
    made = list(WINDOW.apply([replace(sample, masks=sample.masks * 0)], {"salt": 1}, params, CTX))
    assert made == [Drop("no window kept")]


def test_exact_only_where_all_are_kept() -> None:
    assert WINDOW.exact(SlidingWindow(size=9)) and not WINDOW.exact(SlidingWindow(size=9, min_pixels=1))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"drop_edge_only": True}, "all are kept; set `min_pixels`"),
        ({"keep": "centre"}, "all are kept; set `min_pixels`"),
        ({"classes": ["a"]}, "all are kept; set `min_pixels`"),
        ({"empty_share": 0.1}, "all are kept; set `min_pixels`"),
        ({"min_pixels": 1, "drop_edge_only": True, "rim": 8}, "leaves nothing of the window"),
    ],
)
def test_choices_without_effect_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SlidingWindow.model_validate({"size": 16, **wrong})


def test_names_offsets_and_matrices_from_end_to_end(tmp_path: Path) -> None:
    tiny_hands(tmp_path / "data", [50, 90, 120])
    step = "{op: sliding_window, size: [10, 8], stride: [7, 8]}"
    _, dataset = built(tmp_path, tmp_path / "data", [step], classes="[a, b]")
    assert len(dataset.index) == 3 * 3 * 2
    name = "ID001/image0000000000001"
    rows = {row["name"]: row for row in dataset.index.iter_rows(named=True)}
    made = {f"{name}~sliding_window@{x},{y}" for x, y in product((0, 7, 14), (0, 8))}
    assert {key for key in rows if key.startswith(name)} == made
    lineage = rows[f"{name}~sliding_window@14,8"]["lineage"]
    assert lineage["roots"][0]["matrix"] == [[1, 0, -14], [0, 1, -8]]
    assert json.loads(lineage["steps"][-1]["notes"]) == {"offset": [14, 8]}
