"""The page of a report: one file of HTML that opens from disk, with its pictures, charts, style and script inside.

Names come from other people's files. Jinja escapes every one of them, and a policy in the page's head
(Content-Security-Policy) lets it load nothing from anywhere and run no script but its own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from augforge.errors import AugforgeError, plural, visible
from augforge.files import write_text
from augforge.report.html.charts import format_number
from augforge.report.html.drawing import draw_charts
from augforge.report.html.facts import gather_facts
from augforge.report.html.families import Family, read_families
from augforge.report.html.pixels import Pixels, read_pixels
from augforge.report.html.thumbnails import class_colour, encode_heat
from augforge.report.tables import human_bytes
from augforge.store.dataset import Dataset

THUMBNAILS = 48
"""Samples of the gallery, unless somebody asks for more."""
MATRIX = 40
"""Classes of a matrix; of more, those that show in most samples."""


@dataclass(frozen=True)
class Report:
    """A report before it is written.

    Attributes:
        facts: see `gather_facts`.
        pixels: the gallery, and what its samples show.
        families: samples made of several, with their parts.
        pages: address of pages of further thumbnails; empty in a file.
        note: something to say on top; empty for nothing.
    """

    facts: dict[str, Any]
    pixels: Pixels
    families: list[Family]
    pages: str = ""
    note: str = ""


def make_report(
    dataset: Dataset, against: Dataset | None = None, thumbnails: int = THUMBNAILS, pages: str = "", note: str = ""
) -> Report:
    """Gather what a report shows of a dataset; `thumbnails` is the largest number of samples that are decoded."""
    facts = gather_facts(dataset, against)
    return Report(facts, read_pixels(dataset, thumbnails), read_families(dataset), pages, note)


def report_dataset(
    dataset: Dataset, out: str | Path, against: Dataset | None = None, *, thumbnails: int = THUMBNAILS, note: str = ""
) -> dict[str, Any]:
    """Write the report of a dataset, or of a part of one, as one file of HTML.

    Args:
        dataset: what is shown.
        out: the file, whose name ends in .html.
        against: an earlier version, or another dataset, to show what changed since.
        thumbnails: most samples that are decoded and shown.
        note: something to say on top.

    Returns:
        the figures that it shows, see `gather_facts`.

    Raises:
        AugforgeError: the name does not end in .html, or there is no such folder.
        StorageError: there is no space or right to write it.
        DatasetError: the dataset is damaged.
    """
    made = make_report(dataset, against, thumbnails, note=note)
    write_report(made, Path(out))
    return made.facts


def write_report(report: Report, path: Path) -> None:
    """Write a report as one file.

    Raises:
        AugforgeError: the name does not end in .html, or there is no such folder.
        StorageError: there is no space or right to write it.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise AugforgeError(f"{path} does not end in .html. Name the report {path.stem}.html")
    if not path.parent.is_dir():
        raise AugforgeError(f"the folder {path.parent} does not exist. Make it first: mkdir -p {path.parent}")
    write_text(path, render_report(report))


def render_report(report: Report) -> str:
    """The page as text."""
    return render_page(
        "report.html.j2", "report.js", report=report, facts=report.facts, families=report.families, **_choices(report)
    )


def _choices(report: Report) -> dict[str, Any]:
    """The charts, and which classes a page and its matrices show."""
    classes = report.facts["classes"]
    shown = [i for i, entry in enumerate(classes) if entry["samples"]]
    most = sorted(sorted(shown, key=lambda i: -classes[i]["samples"])[:MATRIX])
    return {
        "matrix": most,
        "shown": shown,
        "splits": list(report.facts["splits"]),
        "quiet": len(classes) - len(shown),
        "drawn": draw_charts(report.facts, report.pixels),
    }


def render_page(template: str, script: str, **values: Any) -> str:
    """A template of this package with its style sheet and a script, which alone its policy lets run."""
    code = asset(script)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    page = _environment().get_template(template)
    return page.render(style=asset("page.css"), script=code, script_digest=digest, **values)


def render_fragment(template: str, **values: Any) -> str:
    """A template of this package without style sheet and script, as notebooks show it."""
    return _environment().get_template(template).render(**values)


@cache
def asset(name: str) -> str:
    """A file beside the templates, without spaces at its ends: browsers compare a script's digest byte by byte."""
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8").strip()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("augforge.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        {
            "number": format_number,
            "percent": _percent,
            "name": visible,
            "human_bytes": human_bytes,
            "some": _some,
        }
    )
    environment.globals.update(
        {
            "heat": encode_heat,
            "colour": class_colour,
            "plural": plural,
            "describe_position": describe_position,
        }
    )
    return environment


def _percent(share: float | None) -> str:
    """A share for people: ``0``, ``<1 %``, ``37 %``; nothing for None."""
    if share is None:
        return ""
    return "0" if share == 0 else "<1 %" if share < 0.01 else f"{share:.0%}".replace("%", " %")


def _some(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(visible, names[:most])) + more


def describe_position(shares: Sequence[Sequence[float]]) -> str:
    """Where a map of positions has its middle, in words for those who do not see it: ``middle 48 % from the left``."""
    rows = [sum(row) for row in shares]
    columns = [sum(column) for column in zip(*shares, strict=True)]
    total = sum(rows)
    x, y = (sum((i + 0.5) * share for i, share in enumerate(line)) / total / len(line) for line in (columns, rows))
    return f"middle {x:.0%} from the left, {y:.0%} from the top".replace("%", " %")
