"""The source in CONTRIBUTING.md keeps the contract, with the example that stands there."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from sourcecontract import Check, SourceExample, checks_for

from augforge.catalogue import load_plugin
from augforge.sources import SOURCES

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"


def code_of(first_line: str, word: str) -> str:
    """The code block that begins with a docstring and holds a word."""
    blocks = re.findall(r"^```python\n(.*?)^```", CONTRIBUTING.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    code: str
    (code,) = [block for block in blocks if block.startswith(first_line) and word in block]
    return code


def example_in_contributing() -> SourceExample:
    """The example of the second code block, defined in a module of its own."""
    module = sys.modules["contributed_example"] = ModuleType("contributed_example")
    exec(code_of('"""Images beside', "SourceExample"), vars(module))
    example: SourceExample = module.MaskFolders()
    return example


EXAMPLE = example_in_contributing()


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The source of the first code block, known by its name in recipes."""
    path = tmp_path_factory.mktemp("module") / "mask_folders.py"
    path.write_text(code_of('"""Images beside', "@source"), encoding="utf-8")
    with SOURCES.restored():
        load_plugin(path)
        yield


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("check", checks_for(EXAMPLE))
def test_the_source_in_contributing_keeps_the_contract(check: Check, tmp_path: Path) -> None:
    check(EXAMPLE, tmp_path / "data")
