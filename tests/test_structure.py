"""The house: how many rooms and floors it has, and how large they are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "augforge").rglob("*.py"))
LINES, TOP_MODULES, CHAIN = 300, 10, 14


def test_modules_are_short() -> None:
    long = {str(path.relative_to(ROOT)): lines for path in MODULES if (lines := count_lines(path)) > LINES}
    assert not long, f"longer than {LINES} lines: split them, or make them simpler"


def count_lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


def test_few_modules_lie_beside_the_packages() -> None:
    assert len(list((ROOT / "augforge").glob("*.py"))) <= TOP_MODULES


def test_import_chains_are_short() -> None:
    """The longest path of imports at module level: what a reader has to follow, and what one import loads."""
    imports = module_level_imports()

    @cache
    def chain(module: str) -> tuple[str, ...]:
        return (module, *max((chain(below) for below in imports[module]), key=len, default=()))

    longest = max(map(chain, imports), key=len)
    assert len(longest) <= CHAIN, " > ".join(longest)


def module_level_imports() -> dict[str, set[str]]:
    """Which modules of augforge each one imports when it is imported itself; imports for types alone left out."""
    graph = grimp.build_graph("augforge", exclude_type_checking_imports=True, cache_dir=None)
    return {
        module: {
            other for other in graph.find_modules_directly_imported_by(module) if at_module_level(graph, module, other)
        }
        for module in graph.modules
    }


def at_module_level(graph: grimp.ImportGraph, module: str, other: str) -> bool:
    """Whether a module imports another outside of functions: such a line is not indented."""
    found = graph.get_import_details(importer=module, imported=other)
    path = ROOT / Path(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    lines = file.read_text(encoding="utf-8").split("\n")
    return any(not lines[detail["line_number"] - 1].startswith(" ") for detail in found)


def functions() -> Iterator[tuple[str, int]]:
    """Name and length in lines of each function."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                yield f"{path.relative_to(ROOT)}:{node.name}", (node.end_lineno or 0) - node.lineno + 1


def test_functions_are_short() -> None:
    lengths = sorted(length for _, length in functions())
    assert lengths[len(lengths) // 2] <= 8 and lengths[len(lengths) * 9 // 10] <= 30
    assert not [name for name, length in functions() if length > 80]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_hooks_and_helpers_have_names(path: Path) -> None:
    names = {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}
    assert "_" not in names
