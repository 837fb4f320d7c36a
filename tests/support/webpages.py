"""Pages as tests see them: what an HTML parser finds, and a browser where one is installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from importlib.util import find_spec
from typing import Any

import polars as pl
import pytest
from toybox import with_index

from augforge.store.dataset import Dataset

HOSTILE = [
    "<script>document.title='owned'</script>",
    "\"' onmouseover=\"document.title='owned'\" x='",
    "{{ 7 * 7 }} {% raw %}",
    "Zoë 手 \u202egnp.eno",
    "long/" + "a" * 300,
    "line\nbreak\x1b[31m & &amp; &lt;",
]
_CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@dataclass
class Page(HTMLParser):
    """Elements of a page with their attributes, and the text of scripts."""

    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def parse(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    return page


def with_hostile_names(dataset: Dataset) -> Dataset:
    """The same samples with names, groups, tags, metadata and classes that try to break out of a page."""
    index, count = dataset.index, len(dataset)
    names = [f"{HOSTILE[i % len(HOSTILE)]} {i}" for i in range(count)]
    classes = [f"{HOSTILE[i % len(HOSTILE)]} class {i}" for i in range(len(dataset.classes))]
    index = index.with_columns(
        name=pl.Series(names),
        group=pl.Series([HOSTILE[i % 3] for i in range(count)]),
        tags=pl.Series([[HOSTILE[i % 2]] for i in range(count)]),
        metadata=pl.struct(pl.Series("scanner", [HOSTILE[i % 4] for i in range(count)])),
        area=pl.col("area").struct.rename_fields(classes),
        box=pl.col("box").struct.rename_fields(classes),
    )
    return with_index(dataset, index, classes=tuple(classes))


@contextmanager
def browser_page(expected: str = "", **options: Any) -> Iterator[Any]:
    """A page of a headless Chromium; the test is skipped, with the reason, without one. An error in a script fails."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if find_spec("playwright") is None or chromium is None:
        pytest.skip("needs a browser: pip install playwright, and Chromium (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_CHROMIUM)
        page = browser.new_context(**options).new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        yield page
        browser.close()
    assert not [error for error in errors if not expected or expected not in error]
