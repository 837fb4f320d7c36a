"""What every source keeps to, whoever wrote it: the checks of `sourcecontract` on an example of each format.

A new format has its example in its own test; CONTRIBUTING.md shows one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sourcecontract import CHECKS, Check, SourceExample, checks_for
from sourceexamples import EXAMPLES

from augforge.sources import SOURCES

EXTRAS = {"datumaro"}  # formats that need a library of an extra; `make test-extras` tests them


def cases() -> list[Any]:
    """Every example with every check that it has to pass."""
    return [
        pytest.param(
            example,
            *check.values,
            id=f"{example.format}-{check.id}",
            marks=[*check.marks, *[pytest.mark.extras] * (example.format in EXTRAS)],
        )
        for example in EXAMPLES
        for check in checks_for(example)
    ]


@pytest.mark.parametrize(("example", "check"), cases())
def test_contract(example: SourceExample, check: Check, tmp_path: Path) -> None:
    check(example, tmp_path / "data")


def test_every_format_has_an_example() -> None:
    """A format without one here has it in its own test, as CONTRIBUTING.md shows."""
    tests = (path.read_text(encoding="utf-8") for path in (Path(__file__).parent / "formats").glob("test_*.py"))
    elsewhere = {name for text in tests for name in re.findall(r'^    format = "([^"]+)"$', text, re.MULTILINE)}
    assert {example.format for example in EXAMPLES} | elsewhere == set(SOURCES)
    assert len(CHECKS) > 20
