"""The review in a real browser: every key and button, two tabs, hostile names, 10,000 cases, both themes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from reviewing import case_of
from webpages import HOSTILE, browser_page

from augforge import bitmask
from augforge.engine.verdicts import VerdictFile
from augforge.recipe.recipe import Verdict
from augforge.report.review.app import review_app
from augforge.report.review.desk import Desk
from augforge.report.web.guard import Guard
from augforge.report.web.serving import listen

pytestmark = pytest.mark.slow


@contextmanager
def served(desk: Desk) -> Iterator[str]:
    address = listen(0)
    config = uvicorn.Config(Guard(review_app(desk), address.token), log_level="error", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([address.listener],))
    thread.start()
    try:
        yield address.url
    finally:
        server.should_exit = True
        thread.join()
        address.listener.close()


@pytest.fixture(name="desk")
def desk_fixture(tmp_path: Path) -> Desk:
    file = VerdictFile(tmp_path / "review.yaml")
    file.create()
    wrong = bitmask.from_masks(np.ones((1, 40, 60), np.uint8))
    guess = case_of("guess", predict=lambda: wrong, predicted_classes=("bone",))
    return Desk("toy", [case_of("a", boxes=((5, 10, 25, 30),)), guess, *map(case_of, HOSTILE)], file, "a note")


@pytest.fixture(name="page")
def page_fixture(desk: Desk) -> Iterator[Any]:
    with served(desk) as url, browser_page() as page:
        page.goto(url)
        page.wait_for_selector("#stage svg")
        yield page


def said(desk: Desk) -> dict[str, tuple[str, str]]:
    return {name: (verdict.verdict, verdict.why) for name, verdict in desk.file.read().items()}


def wait_for_name(page: Any, name: str) -> None:
    page.wait_for_function("name => document.getElementById('name').textContent === name", arg=name)


def test_keys_judge_and_go_on(page: Any, desk: Desk) -> None:
    wait_for_name(page, "a")
    page.keyboard.press("r")
    page.keyboard.type("ring k d u")  # letters that are keys elsewhere
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    wait_for_name(page, "guess")
    page.keyboard.press("k")
    wait_for_name(page, HOSTILE[0])
    assert said(desk) == {"a": ("drop", "ring k d u"), "guess": ("keep", "")}
    page.keyboard.press("u")
    wait_for_name(page, "guess")
    page.keyboard.press("u")
    wait_for_name(page, "a")
    page.wait_for_selector("[data-do=undo][disabled]")
    assert said(desk) == {}


def test_buttons_do_the_same(page: Any, desk: Desk) -> None:
    page.fill("#why", 'it\'s "metal"')
    page.click("[data-do=drop]")
    wait_for_name(page, "guess")
    assert said(desk) == {"a": ("drop", 'it\'s "metal"')}
    page.select_option("#state", "drop")
    wait_for_name(page, "a")
    assert page.input_value("#why") == 'it\'s "metal"'
    page.focus("#why")
    page.fill("#why", "better")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.getElementById('problem').hidden")
    page.wait_for_timeout(300)
    assert said(desk) == {"a": ("drop", "better")}
    page.click("[data-do=clear]")
    page.wait_for_function("() => document.getElementById('verdict').textContent === 'none'")
    assert said(desk) == {}


def test_truth_and_prediction_change_by_a_key(page: Any) -> None:
    page.keyboard.press("n")
    wait_for_name(page, "guess")
    page.wait_for_selector("#switch:visible")
    truth = page.get_attribute("#stage path", "d")
    page.keyboard.press("t")
    assert page.get_attribute("#stage path.guess", "d") != truth
    page.keyboard.press("m")
    assert page.query_selector("#stage path") is None
    page.click("[data-do=masks]")
    page.click("[data-do=switch]")
    assert page.get_attribute("#stage path", "d") == truth
    page.keyboard.press("p")
    wait_for_name(page, "a")
    page.wait_for_selector("#stage rect.box")
    assert not page.is_visible("#switch")


def test_the_picture_is_enlarged_and_moved(page: Any) -> None:
    box = "document.querySelector('#stage svg').getAttribute('viewBox').split(' ').map(Number)"
    whole = page.evaluate(box)
    page.keyboard.press("+")
    near = page.evaluate(box)
    assert near[2] < whole[2]
    page.keyboard.press("Shift+ArrowRight")
    assert page.evaluate(box)[0] > near[0]
    page.click("[data-do=out]")
    page.click("[data-do=whole]")
    assert page.evaluate(box) == whole


def test_filters_choose_cases(page: Any) -> None:
    page.fill("#search", "gue")
    wait_for_name(page, "guess")
    assert page.inner_text("#found") == "1 of 1"
    page.fill("#search", "no such name")
    wait_for_name(page, "Nothing is left here")
    page.fill("#search", "")
    page.select_option("#kind", "metal")
    wait_for_name(page, "a")


def test_a_conflict_is_shown_and_a_person_decides(desk: Desk) -> None:
    with served(desk) as url, browser_page(expected="409") as page:
        page.goto(url)
        page.wait_for_selector("#stage svg")
        desk.file.put("a", Verdict(verdict="keep", why="Bob"), None)  # another tab, a moment ago
        page.keyboard.press("d")
        page.wait_for_selector("#problem:visible")
        assert "keep (Bob)" in page.inner_text("#problem") and "Yours: drop" in page.inner_text("#problem")
        assert said(desk) == {"a": ("keep", "Bob")}
        page.click("text=write mine")
        page.wait_for_selector("#problem", state="hidden")
        assert said(desk) == {"a": ("drop", "")}


def test_verdicts_of_others_appear(page: Any, desk: Desk) -> None:
    desk.file.put("a", Verdict(verdict="keep", why="Bob"), None)
    page.wait_for_function("() => document.getElementById('why').value === 'Bob'", timeout=15_000)
    assert page.inner_text("#verdict") == "keep"


def test_hostile_names_are_text(page: Any, desk: Desk) -> None:
    for name in HOSTILE:
        wait_for_name(page, "a" if name == HOSTILE[0] else page.text_content("#name"))
    page.select_option("#state", "")
    for _ in desk.cases:
        page.keyboard.press("d")
        page.wait_for_timeout(250)
    assert page.title() != "owned"
    assert set(said(desk)) == {case.name for case in desk.cases}


def test_ten_thousand_cases_stay_quick_to_go_through(tmp_path: Path) -> None:
    file = VerdictFile(tmp_path / "review.yaml")
    file.create()
    desk = Desk("large", [case_of(f"ID{i:05d}") for i in range(10_000)], file)
    with served(desk) as url, browser_page() as page:
        page.goto(url)
        page.wait_for_selector("#stage svg")
        assert page.inner_text("#found") == "1 of 10000"
        page.keyboard.press("k")
        wait_for_name(page, "ID00001")
        page.fill("#search", "ID09999")
        wait_for_name(page, "ID09999")
        assert page.evaluate("document.querySelectorAll('*').length") < 500


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_window(desk: Desk, theme: Any, width: int) -> None:
    with served(desk) as url, browser_page(viewport={"width": width, "height": 800}, color_scheme=theme) as page:
        page.goto(url)
        page.select_option("#state", "")
        for _ in desk.cases:
            page.wait_for_selector("#stage svg")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.click("[data-do=next]")
