"""Axes, and lines and cells that lie where their numbers say."""

from __future__ import annotations

import numpy as np
import pytest

from augforge.report.paint import INK
from augforge.train.evaluation.charts import PANEL, Axis, Line, cells, chart

RED = (255, 0, 0)


def rows_near_red(picture: np.ndarray) -> np.ndarray:
    """Rows that hold red, or red blended with what is below."""
    red = picture.astype(int)
    return np.flatnonzero((red[..., 0] - red[..., 1] > 60).any(axis=1))


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis(0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (Axis(3, 808), [200, 400, 600, 800]),
        (Axis(-0.02, 0.05), [-0.02, 0, 0.02, 0.04]),
        (Axis(0.03, 2, log=True), [0.05, 0.1, 0.2, 0.5, 1, 2]),
        (Axis(1e-5, 20, log=True), [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10]),
    ],
)
def test_ticks_are_round_and_in_range(axis: Axis, ticks: list[float]) -> None:
    assert axis.ticks() == pytest.approx(ticks)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 3e5])
@pytest.mark.parametrize("log", [False, True])
def test_every_axis_has_a_few_ticks(scale: float, log: bool) -> None:
    for high in (1.01, 1.7, 4.0, 8.0, 60.0):
        axis = Axis(scale, high * scale, log)
        ticks = axis.ticks()
        assert len(ticks) <= 9
        assert all(axis.low * (1 - 1e-9) <= tick <= axis.high * (1 + 1e-9) for tick in ticks)
        assert len(ticks) >= (1 if log else 2) or (log and high < 2.6)


def test_shares_of_plain_and_logarithmic_axes() -> None:
    assert Axis(2, 6).shares(np.array([2.0, 3.0, 6.0])).tolist() == [0, 0.25, 1]
    found = Axis(0.01, 100, log=True).shares(np.array([0.01, 1.0, 100.0, 0.0]))
    assert found[:3] == pytest.approx([0, 0.5, 1])
    assert np.isnan(found[3])


def test_axes_around_values_hold_them_and_are_never_empty() -> None:
    axis = Axis.around(np.array([1.0, np.nan, 3.0, np.inf]))
    assert (axis.low, axis.high) == pytest.approx((0.9, 3.1))
    assert Axis.around(np.array([5.0])).low < 5 < Axis.around(np.array([5.0])).high
    assert Axis.around(np.array([0.0, 0.1, 10.0]), log=True).low > 0
    assert Axis.around(np.array([])).low < Axis.around(np.array([])).high


def test_a_line_runs_where_its_numbers_are() -> None:
    flat = Line(np.array([0.0, 10.0]), np.array([0.75, 0.75]), RED)
    picture = chart("flat", [flat], (400, 300), x=Axis(0, 10), y=Axis(0, 1))
    assert picture.shape == (300, 400, 3)
    panel = np.flatnonzero((picture[:, 200] == PANEL).all(axis=1))
    expected = panel[0] + 0.25 * (panel[-1] - panel[0])
    assert rows_near_red(picture).mean() == pytest.approx(expected, abs=1)
    assert np.ptp(rows_near_red(picture.transpose(1, 0, 2))) > 350


def test_a_line_is_broken_where_nothing_was_measured_and_a_lone_point_is_a_dot() -> None:
    y = np.array([0.5, 0.5, np.nan, 0.5, np.nan, np.nan])
    picture = chart("gap", [Line(np.arange(6.0), y, RED)], (600, 200), x=Axis(0, 5), y=Axis(0, 1))
    held = rows_near_red(picture.transpose(1, 0, 2))
    left, right = np.flatnonzero((picture[60] == PANEL).all(axis=1))[[0, -1]]
    places = (held - left) / (right - left) * 5
    assert places[0] < 0.05
    assert not ((places > 1.05) & (places < 2.9)).any()
    assert ((places > 2.95) & (places < 3.05)).any()
    assert places[-1] < 3.1


def test_cells_have_their_colours_and_places() -> None:
    colours = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 13
    picture = cells(["one", "two"], ["a", "b", "c"], [["", "", ""], ["", "7", ""]], colours, side=40)
    corner = picture.shape[0] - 80, picture.shape[1] - 120
    for r in range(2):
        for c in range(3):
            place = picture[corner[0] + r * 40 + 2, corner[1] + c * 40 + 2]
            assert place.tolist() == colours[r, c].tolist()
    written = picture[corner[0] + 40 :, corner[1] + 40 : corner[1] + 78]
    assert (written[:38] != colours[1, 1]).any()  # the 7
    assert not (picture[corner[0] : corner[0] + 38, corner[1] : corner[1] + 38] != colours[0, 0]).any()
    assert (picture[: corner[0]] == INK).all(axis=2).any()  # names above
