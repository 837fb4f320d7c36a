"""Text and grids: what is too wide is shortened, what is missing stays blank."""

from __future__ import annotations

import numpy as np
import pytest

from augforge.report.paint import BACKGROUND, INK, blank, centre, elide, grid, line_height, stack, text_flow, text_line
from augforge.report.paint import text_width as width_of


def ink(picture: np.ndarray) -> np.ndarray:
    return np.asarray((picture != BACKGROUND).any(axis=2))


def test_elide_keeps_both_ends() -> None:
    name = "mosaic/ID009/image1661130829704-1"
    short = elide(name, 120)
    assert width_of(short) <= 120
    assert short.startswith("mosaic")
    assert short.endswith("-1")
    assert "…" in short
    assert elide(name, 1000) == name
    assert elide(name, 2) == ""


@pytest.mark.parametrize("size", [12, 14, 24])
def test_a_line_is_not_cut_off(size: int) -> None:
    strip = text_line([("Agjpqy|()", INK), ("second", INK)], 400, size)
    assert strip.shape == (line_height(size), 400, 3)
    drawn = ink(strip)
    assert drawn.any()
    assert not drawn[0].any() and not drawn[-1].any()
    assert ink(text_line([("a long caption that cannot fit", INK)], 90, size)).any()


def test_text_flows_into_lines() -> None:
    spans = [(f"word {i}", INK) for i in range(6)]
    assert text_flow(spans, 1000).shape[0] == line_height()
    assert text_flow(spans, width_of("word 0") + 4).shape[0] == 6 * line_height()


def test_grid_and_stack() -> None:
    cell = blank(4, 6, (255, 0, 0))
    sheet = grid([cell, None, cell], 2, (3, 5))
    assert sheet.shape == (11, 17, 3)
    assert ink(sheet).sum() == 2 * 4 * 6
    assert ink(sheet)[7:, :6].all()
    assert stack([sheet, cell], 2).shape == (11 + 2 + 4 + 4, 17 + 4, 3)
    assert ink(centre(cell, 8, 10))[2:6, 2:8].all()
