"""The report in a real browser: every control, hostile names, both themes, and the width of a telephone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toybox import two_versions_fixture
from webpages import browser_page, with_hostile_names

from augforge.report.html.page import make_report, write_report
from augforge.store.dataset import Dataset, open_dataset

__all__ = ["two_versions_fixture"]
pytestmark = pytest.mark.slow

OPEN = "document.getElementById('large').open"


@pytest.fixture(scope="module", name="dataset")
def dataset_fixture(two_versions: Path) -> Dataset:
    return open_dataset(two_versions / "toy")


@pytest.fixture(scope="module", name="file")
def file_fixture(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(make_report(dataset), path)
    return path.as_uri()


@pytest.fixture(name="page")
def page_fixture(file: str) -> Iterator[Any]:
    with browser_page() as page:
        page.goto(file)
        yield page


def shown(page: Any, selector: str) -> int:
    return int(page.evaluate(f"[...document.querySelectorAll({selector!r})].filter(e => e.checkVisibility()).length"))


def test_classes_are_shown_and_hidden(page: Any) -> None:
    assert shown(page, ".gallery .o.c0") > 0
    page.uncheck("[data-class='0']")
    assert shown(page, ".gallery .o.c0") == 0 and shown(page, ".gallery .o.c1") > 0
    page.click("[data-all='0']")
    assert shown(page, ".gallery .o") == 0
    page.click("[data-all='1']")
    assert shown(page, ".gallery .o.c0") > 0
    page.uncheck("#fill")
    assert page.evaluate("getComputedStyle(document.querySelector('.o')).fillOpacity") == "0"


def test_filters_leave_the_samples_that_match(page: Any, dataset: Dataset) -> None:
    page.select_option("[data-filter='split']", "val")
    val = len(dataset.split("val"))
    assert shown(page, ".gallery > li") == val
    assert page.inner_text("#tiles-shown").startswith(f"{val} of ")
    page.select_option("[data-filter='split']", "")
    assert shown(page, ".gallery > li") == len(dataset)


def test_the_large_view_works_with_keys_alone(page: Any) -> None:
    page.focus(".tile >> nth=0")
    page.keyboard.press("Enter")
    assert page.evaluate(OPEN)
    first = page.inner_text("#large-name")
    view = "document.querySelector('.stage svg').getAttribute('viewBox')"
    whole = page.evaluate(view)
    page.keyboard.press("+")
    near = page.evaluate(view)
    assert float(near.split()[2]) < float(whole.split()[2])
    page.keyboard.press("Shift+ArrowRight")
    assert float(page.evaluate(view).split()[0]) > float(near.split()[0])
    page.keyboard.press("0")
    assert [float(v) for v in page.evaluate(view).split()] == [float(v) for v in whole.split()]
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#large-name") != first
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#large-name") == first
    page.keyboard.press("Escape")
    assert not page.evaluate(OPEN)
    assert page.evaluate("document.activeElement.className") == "tile"


def test_the_large_view_works_with_buttons_and_the_wheel(page: Any) -> None:
    page.click(".tile >> nth=1")
    for action in ("next", "previous", "in", "out", "whole"):
        page.click(f"[data-do='{action}']")
    page.mouse.move(400, 400)
    page.mouse.wheel(0, -200)
    page.wait_for_function("() => document.querySelector('.stage svg').viewBox.baseVal.width < 96")
    page.click("[data-do='close']")
    assert not page.evaluate(OPEN)


def test_numbers_of_a_chart_open(page: Any) -> None:
    page.click("#classes figure summary >> nth=0")
    assert shown(page, "#classes figure table") >= 1


def test_nothing_is_asked_of_any_server(file: str) -> None:
    with browser_page() as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file)
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_window_and_its_texts_can_be_read(
    dataset: Dataset, tmp_path: Path, theme: Any, width: int
) -> None:
    path = tmp_path / "hostile.html"
    write_report(make_report(with_hostile_names(dataset)), path)
    with browser_page(viewport={"width": width, "height": 900}, color_scheme=theme) as page:
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.title() != "owned"
        page.hover("h1")
        contrast = page.evaluate(CONTRAST)
        assert contrast > 4.5, "WCAG 2.2, success criterion 1.4.3"
        page.click(".tile >> nth=0")
        assert page.evaluate("document.documentElement.scrollWidth") <= width and page.title() != "owned"


CONTRAST = """(() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor;
    if (!c.startsWith("rgba(0, 0, 0, 0")) return c; } };
  return Math.min(...[...document.querySelectorAll("p, td, th, dt, dd, a, .soft, .split, .tag, summary, label")]
    .filter((e) => e.checkVisibility() && e.innerText.trim() && !e.closest(".matrix td"))
    .map((e) => [light(getComputedStyle(e).color), light(behind(e))])
    .map(([a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)));
})()"""
