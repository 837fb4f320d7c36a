"""The mosaic's `align` against Ultralytics' and darknet's rules, and whom `partners` draws."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import class_names
from provenance import check_provenance, make_traceable
from toybox import made as built
from toybox import put_hand

from augforge.keys import rng_for
from augforge.ops import OPS, Context
from augforge.ops.mosaic import Mosaic
from augforge.sample import Sample

MOSAIC, CTX = OPS["mosaic"], Context(class_names(9))


def call_mosaic(inputs: list[Sample], key: int, **params: Any) -> tuple[Sample, dict[str, Any]]:
    checked = Mosaic.model_validate(params)
    assert MOSAIC.draw is not None
    drawn = MOSAIC.draw(rng_for(21, key), inputs, checked, CTX)
    (made,) = MOSAIC.apply(inputs, drawn, checked, CTX)
    assert isinstance(made, Sample)
    return made, drawn


@pytest.mark.parametrize("key", range(8))
def test_ultralytics_rule(key: int) -> None:
    """Every image keeps its scale, its inner corner is at the centre, and it is cut at the rim (their _mosaic4)."""
    inputs = [make_traceable(slot, 40 + 3 * slot, 60 - 4 * slot) for slot in range(4)]
    params = {"size": [120, 80], "center_range": [0.25, 0.75], "fit": "crop", "align": "centre", "fill": 114}
    made, drawn = call_mosaic(inputs, key, **params)
    xc, yc = round(drawn["columns"][0] * 120), round(drawn["rows"][0] * 80)
    assert 30 <= xc <= 90 and 20 <= yc <= 60
    for slot, given in enumerate(inputs):
        w, h = given.width, given.height
        corner = {0: (xc - w, yc - h), 1: (xc, yc - h), 2: (xc - w, yc), 3: (xc, yc)}[drawn["tiles"][slot]]
        placement = next(p for p in made.placements if p.input == slot)
        assert placement.matrix == ((1.0, 0.0, corner[0]), (0.0, 1.0, corner[1]))
        x1, y1 = min(corner[0] + w, 120), min(corner[1] + h, 80)
        assert placement.clip == (max(corner[0], 0), max(corner[1], 0), x1, y1)
        part = made.image[placement.clip[1] : y1, placement.clip[0] : x1]
        np.testing.assert_array_equal(
            part,
            given.image[placement.clip[1] - corner[1] :, placement.clip[0] - corner[0] :][
                : part.shape[0], : part.shape[1]
            ],
        )


@pytest.mark.parametrize("grid", [[2, 2], [1, 2], [3, 3], [2, 3]])
@pytest.mark.parametrize("align", ["drawn", "centre"])
def test_every_pixel_is_traced(align: str, grid: list[int]) -> None:
    inputs = [make_traceable(slot % 5, 30 + slot, 40 - slot) for slot in range(grid[0] * grid[1])]
    if len(inputs) > 5:
        inputs = [make_traceable(0, 30, 40)] * len(inputs)
    for key in range(5):
        made, _ = call_mosaic(inputs, key, grid=grid, fit="crop", align=align, size=[90, 70])
        if len({id(given) for given in inputs}) == len(inputs):
            filled = made.image > 0
            check_provenance(made, inputs)
            assert filled.any()
        for x0, y0, x1, y1 in (placement.clip for placement in made.placements):
            assert 0 <= x0 <= x1 <= 90 and 0 <= y0 <= y1 <= 70


def test_an_image_larger_than_its_tile_is_shifted_all_the_way() -> None:
    """At the drawn alignment an image larger than its tile shows any part of itself, both ends included."""
    inputs = [make_traceable(slot, 20, 24) for slot in range(2)]
    starts: Counter[int] = Counter()
    for key in range(600):
        made, _ = call_mosaic(inputs, key, grid=[1, 2], center_range=[0.5, 0.5], fit="crop")
        placement = made.placements[0]
        starts[placement.clip[0] - int(placement.matrix[0][2])] += 1
    assert set(starts) == set(range(13))


@pytest.mark.parametrize(
    ("partners", "share"), [("uniform", 2 / 7), ("rare", 4 * 2 / (4 * 2 + 5)), ("{rare: 32}", 64 / 69)]
)
def test_partners_that_hold_rare_classes_are_drawn_more_often(tmp_path: Path, partners: str, share: float) -> None:
    """Two of eight persons hold `rare`: its weight is 8 / 2 = 4. Drawn for the 6 anchors that do not."""
    data = tmp_path / "data"
    for person in range(1, 9):
        names = ("a", "rare") if person in (2, 5) else ("a", "b", "rare")  # put_hand leaves every third class out
        put_hand(data, person, np.full((12, 12), 20 * person, np.uint8), names)
    step = f"{{op: mosaic, grid: [1, 2], partners: {partners}, copies: 50}}"
    _, dataset = built(tmp_path, data, [step], classes="[a, b, rare]", split="{}")
    pairs = [row["parents"] for row in dataset.index.iter_rows(named=True)]
    drawn = [partner[:5] in ("ID002", "ID005") for anchor, partner in pairs if anchor[:5] not in ("ID002", "ID005")]
    assert len(drawn) == 300
    assert np.mean(drawn) == pytest.approx(share, abs=3.5 * (share * (1 - share) / 300) ** 0.5)
