"""Pages of ops, sources and export formats: complete, and their examples are recipes that load."""

from __future__ import annotations

import io
import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from augforge.errors import AugforgeError
from augforge.export import FORMATS
from augforge.ops import OPS
from augforge.planning.steps import SPLITS
from augforge.recipe.recipe import load_recipe
from augforge.report import pages
from augforge.sources import SOURCES


def render_text(render: Any, *args: Any) -> str:
    console = Console(record=True, width=80, file=io.StringIO())
    render(*args, console)
    return console.export_text()


def load(folder: Path, source: str, steps: str = "") -> Any:
    path = folder / "recipe.yaml"
    path.write_text(f"name: x\n{source}\n" + (f"steps:\n{textwrap.indent(steps, '  ')}\n" if steps else ""))
    return load_recipe(path)


@pytest.mark.parametrize("name", sorted(OPS))
def test_op_examples_are_recipes(name: str, tmp_path: Path) -> None:
    page = pages.op_page(name)
    recipe = load(tmp_path, pages.source_page("hand-bone")["example"], page["example"])
    step = recipe.steps[0]
    assert step.bound.name == name
    assert list(step.on) == page["on"]
    assert step.bound.op.inputs(step.bound.params) == page["inputs"]


@pytest.mark.parametrize("name", sorted(OPS))
def test_op_pages_are_complete(name: str) -> None:
    page = pages.op_page(name)
    assert json.loads(json.dumps(page)) == page
    assert page["version"] == OPS[name].version
    assert page["summary"].endswith(".")
    assert [field["name"] for field in page["parameters"]] == list(OPS[name].params.model_fields)
    assert all(field["description"] for field in [*page["parameters"], *page["step_keys"]])
    text = render_text(pages.render_op, page)
    assert all(field["name"] in text for field in [*page["parameters"], *page["step_keys"]])
    assert page["example"] in text


def test_the_page_of_mosaic() -> None:
    page = pages.op_page("mosaic")
    fields = {field["name"]: field for field in page["parameters"]}
    assert page["inputs"] == 4 and page["draws"] and page["on"] == ["train"]
    assert fields["grid"]["type"] == "[int, int]" and fields["grid"]["default"] == [2, 2]
    assert fields["size"]["type"] == "int or [int, int] or null"
    assert fields["fit"]["type"] == "cover | contain | stretch | crop"
    text = render_text(pages.render_op, page)
    for fact in ("version 2", "4 samples", "arXiv:2004.10934", "[0.3, 0.7]", "keep_input"):
        assert fact in text


def test_roles_decide_where_a_step_acts() -> None:
    assert pages.op_page("resize")["on"] == list(SPLITS)
    keys = {key["name"]: key for key in pages.op_page("hflip")["step_keys"]}
    assert {"p", "copies", "on", "keep_input"} <= set(keys)
    assert keys["on"]["default"] == ["train"]


def test_filters_have_no_copies() -> None:
    from augforge.ops.core import Examples, FilterParams, Op

    class TooDark(FilterParams):
        """Leave out dark images."""

    op = Op("too_dark", 1, "filter", TooDark, Examples(), __name__, ("age",), measure=lambda *_: {}, fit=lambda *_: 1)
    with OPS.restored():
        OPS.add("too_dark", op, __name__)
        page = pages.op_page("too_dark")
    assert [key["name"] for key in page["step_keys"]] == ["on"]
    assert page["example"] == "- {op: too_dark, action: drop}"
    text = render_text(pages.render_op, page)
    assert "drops or tags" in text and "thresholds" in text and "metadata: age" in text


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_source_pages(name: str, tmp_path: Path) -> None:
    page = pages.source_page(name)
    assert json.loads(json.dumps(page)) == page
    assert load(tmp_path, page["example"]).source.format == name
    text = render_text(pages.render_source, page)
    assert page["layout"].splitlines()[0] in text
    assert all(option["name"] in text and option["description"] for option in page["options"])


def test_source_examples_show_what_matters() -> None:
    def example(name: str) -> str:
        return str(pages.source_page(name)["example"])

    assert example("union").count("path:") == 1
    for name, keys in {
        "volume": ("values", "window", "axis"),
        "dicom": ("masks", "window", "tags"),
        "csv": ("table", "image", "rle", "class_column"),
        "datumaro": ("dataset_format", "boxes"),
        "index-mask": ("values", "void"),
    }.items():
        assert all(f"\n  {key}: " in example(name) for key in keys)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_export_pages(name: str) -> None:
    page = pages.export_page(name)
    assert json.loads(json.dumps(page)) == page
    assert page["layout"].startswith("OUT/\n") and page["summary"].endswith(".")
    assert [option["name"] for option in page["options"]] == list(FORMATS[name].options.model_fields)
    text = render_text(pages.render_export, page)
    assert all(option["name"] in text and option["description"] for option in page["options"])
    assert page["read_back"] in text and f"--to {name}\n" in text and page["layout"].splitlines()[-1] in text


def test_export_pages_state_where_polygons_lie_and_what_is_lost() -> None:
    for name, facts in {
        "coco": ("along the edges of pixels", "not instances", "bridged"),
        "yolo": ("quarter pixel", "touch are one", "98 %", "bridged"),
        "labelme": ("quarter pixel", "98 %", "bridged"),
    }.items():
        assert all(fact in pages.export_page(name)["description"] for fact in facts)


def test_only_the_page_of_datasets_mentions_urls() -> None:
    for name in SOURCES:
        (path,) = (option for option in pages.source_page(name)["options"] if option["name"] == "path")
        assert ("URL" in path["description"]) == (name == "dataset")


def test_a_class_list_is_named() -> None:
    options = {option["name"]: option for option in pages.source_page("hand-bone")["options"]}
    assert options["classes"]["default"] == "hand-bone"
    assert "format" not in options


def test_tables_list_all() -> None:
    ops, sources = render_text(pages.ops_table), render_text(pages.sources_table)
    assert all(name in ops for name in OPS)
    assert all(name in sources for name in SOURCES)
    assert max(map(len, ops.splitlines())) <= 80


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(AugforgeError, match=r"no op is named 'mosiac'\. Did you mean 'mosaic'"):
        pages.op_page("mosiac")
    with pytest.raises(AugforgeError, match="Did you mean 'hand-bone'"):
        pages.source_page("hand_bone")
