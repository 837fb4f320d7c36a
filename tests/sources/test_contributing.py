"""The source in CONTRIBUTING.md keeps the contract, as it stands there."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from sourcecontract import Check, checks_for
from sourceexamples import MaskFolder

from augforge.sources import SOURCES, Source

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"


class MaskFolders(MaskFolder):
    format = "mask-folders"
    exempt: ClassVar[Mapping[str, str]] = {
        **MaskFolder.exempt,
        "unlabelled_samples_know_nothing": "a mask that is missing says that the class is not there",
    }


def source_in_contributing(folder: Path) -> type[Source]:
    """The source of the code block, imported as a module of its own."""
    blocks = re.findall(r"^```python\n(.*?)^```", CONTRIBUTING.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (code,) = [block for block in blocks if "class MaskFolders(Source)" in block]
    path = folder / "mask_folders.py"
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("mask_folders", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules["mask_folders"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: type[Source] = module.MaskFolders
    return found


@pytest.fixture(name="registered", scope="module")
def registered_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The source, known by its name in recipes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES, "mask-folders", source_in_contributing(tmp_path_factory.mktemp("module")))
        yield


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("check", checks_for(MaskFolders()))
def test_the_source_in_contributing_keeps_the_contract(check: Check, tmp_path: Path) -> None:
    check(MaskFolders(), tmp_path / "data")
