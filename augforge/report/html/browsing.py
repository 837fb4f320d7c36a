"""The report of a large dataset, served: the page itself, and all samples page by page, with thumbnails made lazily."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl

from augforge.report.html.page import Report, render_page, render_report
from augforge.report.html.pixels import Tile, tile_facts
from augforge.report.html.thumbnails import make_thumbnail
from augforge.store.dataset import Dataset

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

PAGE = 36
"""Samples of a page."""
_KEPT = 400
"""Thumbnails that are kept, so that going back is quick."""
FILTERS = ("split", "step", "class", "tag", "name")


def report_app(dataset: Dataset, report: Report) -> Starlette:
    """What answers requests for a report: ``/`` and ``/samples?page=2&split=val&class=heart``."""
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse
    from starlette.routing import Route

    page, gallery = render_report(report), Gallery(dataset)

    def show_report(request: Request) -> Response:
        return HTMLResponse(page)

    def show_samples(request: Request) -> Response:
        wanted = {name: request.query_params.get(name, "") for name in FILTERS}
        return HTMLResponse(gallery.render(wanted, request.query_params.get("page", "1")))

    return Starlette(routes=[Route("/", show_report), Route("/samples", show_samples)])


class Gallery:
    """All samples of a dataset, page by page.

    Args:
        dataset: what is shown.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._tile = lru_cache(_KEPT)(self._make_tile)
        columns = dataset.index.select("split", "step", "tags")
        self._choices = {
            "split": list(dataset.manifest.splits),
            "step": sorted((name or "source") for name in columns["step"].unique()),
            "class": list(dataset.classes),
            "tag": sorted(columns["tags"].explode().drop_nulls().unique()),
        }

    def render(self, wanted: Mapping[str, str], page: str) -> str:
        """A page of the samples that match; a number that is none, or beyond the last page, is brought into range."""
        positions = self.find(wanted)
        last = max(1, -(-len(positions) // PAGE))
        number = min(max(1, int(page) if page.isascii() and page.isdigit() else 1), last)
        chosen = positions[(number - 1) * PAGE : number * PAGE]
        return render_page(
            "samples.html.j2",
            "report.js",
            name=self._dataset.name,
            names=self._dataset.classes,
            tiles=[self._tile(position) for position in chosen],
            found=len(positions),
            page=number,
            last=last,
            wanted=wanted,
            choices=self._choices,
        )

    def find(self, wanted: Mapping[str, str]) -> Sequence[int]:
        """Positions of the samples that match all filters that are given, sorted by split and name."""
        index = self._dataset.index
        found = index.with_row_index("position").filter(*self._conditions(wanted), pl.lit(True))
        return found.sort("split", "name")["position"].to_list()

    def _conditions(self, wanted: Mapping[str, str]) -> list[pl.Expr]:
        area = pl.col("area").struct
        known = wanted["class"] in self._dataset.classes
        conditions = {
            "split": pl.col("split") == wanted["split"],
            "step": pl.col("step").fill_null("source").replace("", "source") == wanted["step"],
            "class": (area.field(wanted["class"]) > 0).fill_null(False) if known else pl.lit(False),
            "tag": pl.col("tags").list.contains(wanted["tag"]).fill_null(False),
            "name": pl.col("name").str.contains(wanted["name"], literal=True),
        }
        return [condition for name, condition in conditions.items() if wanted[name]]

    def _make_tile(self, position: int) -> Tile:
        thumbnail = make_thumbnail(self._dataset[position], self._dataset.classes)
        return Tile(tile_facts(self._dataset, position), thumbnail)
