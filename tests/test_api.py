"""What `import augforge` offers: listed, imported on first use, and the same as the modules have."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from toybox import two_versions_fixture
from webpages import parse

import augforge

__all__ = ["two_versions_fixture"]


def test_everything_is_listed_and_documented() -> None:
    assert set(augforge.__all__) <= set(dir(augforge))
    for name in augforge.__all__:
        found = getattr(augforge, name)
        assert inspect.getdoc(found), name
        if inspect.isfunction(found):
            assert "return" in inspect.get_annotations(found), name


def test_names_are_imported_on_first_use() -> None:
    heavy = "['numpy', 'polars', 'cv2', 'pyarrow', 'pydantic', 'jinja2']"
    code = f"import sys, augforge; dir(augforge); print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    name: Any = "nonsense"
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        getattr(augforge, name)


def test_the_functions_do_what_the_commands_do(
    two_versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # away from this repository's policy
    toy, recipe = two_versions / "toy", two_versions / "recipe.yaml"
    dataset = augforge.open_dataset(toy)
    assert augforge.verify(toy) == []
    assert augforge.check(str(toy)).exit_code == 0
    first = json.loads((toy / "log.jsonl").read_text().splitlines()[0])["version"]
    assert not augforge.diff(augforge.open_dataset(toy, first), dataset)["equal"]
    assert augforge.plan(recipe, toy).unchanged
    figures = augforge.write_report(dataset[:3], tmp_path / "report.html", thumbnails=1)
    assert figures["samples"] == 3 and parse((tmp_path / "report.html").read_text(encoding="utf-8")).all("figure")
    assert augforge.export_dataset(dataset[:2], tmp_path / "coco", "coco").files > 0
