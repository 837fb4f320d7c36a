"""docs/ops: every op has a picture and stands on the page."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from augforge.ops import OPS

FOLDER = Path(__file__).parents[2] / "docs/ops"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_ops_make", FOLDER / "make.py")
    assert spec is not None and spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shipped() -> list[str]:
    return [name for name, op in OPS.items() if not op.origin]


def remedy(*names: str) -> str:
    """How the page and the pictures of new ops are made; the page alone needs any one name."""
    chosen = " ".join(names or shipped()[:1])
    return f"run `make docs-ops ARGS='{chosen}'` (`python docs/ops/make.py {chosen}`) and commit docs/ops"


def test_the_page_is_the_scripts(script: ModuleType) -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    missing = [name for name in shipped() if f"\n## {name}\n" not in page]
    assert page == script.page(), f"docs/ops/README.md is out of date; {remedy(*missing)}"


@pytest.mark.parametrize("name", shipped())
def test_every_op_stands_on_the_page_with_a_picture(name: str) -> None:
    page, picture = (FOLDER / "README.md").read_text(encoding="utf-8"), FOLDER / f"{name}.png"
    assert f"\n## {name}\n" in page and f"![{name}]({name}.png)" in page, f"{name} is not there; {remedy(name)}"
    assert picture.is_file(), f"no picture of {name}; {remedy(name)}"
    assert picture.stat().st_size < 60_000
    with Image.open(picture) as image:
        assert min(image.size) > 200 and np.asarray(image.convert("L")).std() > 10


def test_no_picture_is_left_over_and_all_are_small() -> None:
    pictures = list(FOLDER.glob("*.png"))
    left_over = {picture.stem for picture in pictures} - set(shipped())
    assert not left_over, f"pictures of ops that are no more: {sorted(left_over)}; delete them"
    assert sum(picture.stat().st_size for picture in pictures) < 1_500_000


def test_what_is_not_offered_is_explained(script: ModuleType) -> None:
    assert "snapmix" not in OPS and "class activation map" in script.page()
