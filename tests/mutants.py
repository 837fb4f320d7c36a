"""Change the code that decides what a dataset holds, one thing at a time, and see if a test fails: ``make mutants``.

A mutant that no test fails for shows what is not tested. It may be harmless too: compare a limit that is never met. The
package and its tests are copied to temporary folders, one for each job; the checkout stays as it is.

    python tests/mutants.py --module judge --limit 20 --jobs 2 -o mutants.md
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[1]
PIPELINE, BUILDER = "tests/engine/test_pipeline.py", "tests/engine/test_builder.py"
TESTS: dict[str, tuple[str, ...]] = {
    "augforge/planning/identity.py": ("tests/planning/test_plan.py", PIPELINE),
    "augforge/planning/partners.py": ("tests/planning/test_partners.py", PIPELINE),
    "augforge/planning/plan.py": ("tests/planning/test_plan.py", PIPELINE),
    "augforge/planning/preparing.py": ("tests/planning/test_preparing_steps.py", "tests/train/test_preparing.py"),
    "augforge/planning/rows.py": ("tests/planning/test_plan.py", PIPELINE),
    "augforge/planning/splits.py": ("tests/planning/test_splits.py", "tests/recipe/test_recipe.py"),
    "augforge/planning/stratify.py": ("tests/planning/test_stratify.py",),
    "augforge/planning/steps.py": (
        "tests/planning/test_steps.py",
        "tests/planning/test_plan.py",
        "tests/recipe/test_recipe.py",
    ),
    "augforge/engine/judge.py": ("tests/engine/test_judge.py", PIPELINE),
    "augforge/engine/outcome.py": (PIPELINE, BUILDER),
    "augforge/engine/publish.py": ("tests/engine/test_publish.py", PIPELINE, BUILDER),
    "augforge/store/shard.py": (
        "tests/store/test_shard.py",
        "tests/store/test_verify.py",
        "tests/store/test_dataset.py",
    ),
}
"""Modules, and the quick tests that should notice a change in them, the most likely first."""

COPIED = ("augforge", "tests", "recipes", "docs", "pyproject.toml", "data_manifest.yaml", "policy.yaml")
LEAST_SECONDS, SLOWER = 30.0, 4.0
"""A mutant may take this long, or so many times as long as the unchanged code; then it counts as found."""

_QUICK = {
    "PYTHONDONTWRITEBYTECODE": "1",  # a mutant of the same size, written in the same second, would meet old bytecode
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
}

_PAIRS: tuple[tuple[type[ast.AST], type[ast.AST]], ...] = (
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn)),
    *((ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.FloorDiv), (ast.BitAnd, ast.BitOr)),
)
_SWAPS = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])}
_CALLS = {"any": "all", "all": "any", "min": "max", "max": "min"}


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        module: the file, relative to the root.
        line: from 1.
        source: the whole file, changed.
        diff: the lines that differ.
    """

    module: str
    line: int
    source: str
    diff: str


# ---- changes ---------------------------------------------------------------------------------------------------------


def mutants_of(module: str, source: str) -> list[Mutant]:
    """Every change of a module that this script knows, in the order of its lines."""
    found: dict[str, Mutant] = {}
    for node, text in _changes(ast.parse(source)):
        changed = _replaced(source, node, text)
        if changed != source:
            found.setdefault(changed, Mutant(module, node.lineno, changed, _diff(source, changed)))
    return sorted(found.values(), key=lambda mutant: mutant.line)


def _changes(tree: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Nodes with the code to put in their place."""
    for node in _nodes(tree):
        if isinstance(node, ast.expr):
            yield from ((node, f"({ast.unparse(changed)})") for changed in _expressions(node))
        elif isinstance(node, ast.stmt):
            yield from ((node, text) for text in _statements(node))


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but annotations, decorators and f-strings: those change no behaviour, or messages alone."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list") or isinstance(value, ast.JoinedStr):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                yield from _nodes(child)


def _expressions(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.Compare):
        yield from _comparisons(node)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(_SWAPS[type(node.op)](), node.values)  # type: ignore[arg-type]
    elif isinstance(node, ast.BinOp) and type(node.op) in _SWAPS:
        yield ast.BinOp(node.left, _SWAPS[type(node.op)](), node.right)  # type: ignore[arg-type]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CALLS:
        yield ast.Call(ast.Name(_CALLS[node.func.id]), node.args, node.keywords)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield ast.Constant(node.value + 1)


def _comparisons(node: ast.Compare) -> Iterator[ast.expr]:
    for i, operator in enumerate(node.ops):
        swapped = _SWAPS[type(operator)]()
        yield ast.Compare(node.left, [*node.ops[:i], swapped, *node.ops[i + 1 :]], node.comparators)  # type: ignore[list-item]
    if len(node.ops) == 1 and isinstance(node.ops[0], ast.LtE):  # of sets: "a part of" becomes "has something of"
        yield ast.BinOp(node.left, ast.BitAnd(), node.comparators[0])


def _statements(node: ast.stmt) -> Iterator[str]:
    """What stands in place of a statement that is taken out."""
    if isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield "return None"
    elif isinstance(node, ast.AugAssign):
        yield "pass"
        if type(node.op) in _SWAPS:
            yield ast.unparse(ast.AugAssign(node.target, _SWAPS[type(node.op)](), node.value))  # type: ignore[arg-type]
    elif isinstance(node, (ast.Raise, ast.Delete, ast.Continue, ast.Break)) or _has_effect(node):
        yield "pass"


def _has_effect(node: ast.stmt) -> bool:
    """Whether it calls something, or sets a part of something; a name that is never set would only be missed."""
    if isinstance(node, ast.Assign):
        return not isinstance(node.targets[0], (ast.Name, ast.Tuple))
    return isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)  # constants are docstrings


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _replaced(source: str, node: ast.expr | ast.stmt, text: str) -> str:
    """The source with a node's code replaced; columns of `ast` count bytes."""
    lines = source.encode().splitlines(keepends=True)
    start, end = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    before, after = lines[start][: node.col_offset], lines[end][node.end_col_offset :]
    return b"".join([*lines[:start], before + text.encode() + after, *lines[end + 1 :]]).decode()


def _diff(before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))


# ---- trying them -----------------------------------------------------------------------------------------------------


def copy_of(root: Path, folder: Path) -> Path:
    """The package and its tests, to be changed freely."""
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (root / name).exists():
            shutil.copy(root / name, folder / name)
    return folder


def passes(folder: Path, tests: Sequence[str], seconds: float | None = None) -> bool:
    """Whether the tests pass in a copy; taking too long counts as failing."""
    environment = {**os.environ, "PYTHONPATH": str(folder), **_QUICK}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        return process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a run that takes too long, with the worker processes that it started."""
    if process.poll() is None:
        os.killpg(process.pid, 9) if hasattr(os, "killpg") else process.kill()
        process.wait()


def limits(folder: Path, modules: Iterable[str], tests_of: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Seconds that a mutant of each module may take. RuntimeError if its tests fail on the unchanged code."""
    known: dict[Sequence[str], float] = {}
    found = {}
    for module in modules:
        tests = tests_of[module]
        if tests not in known:
            start = time.monotonic()
            if not passes(folder, tests):
                raise RuntimeError(f"the tests of {module} fail before anything is changed: {' '.join(tests)}")
            known[tests] = time.monotonic() - start
        found[module] = max(LEAST_SECONDS, SLOWER * known[tests])
    return found


def survivors(
    root: Path,
    mutants: Sequence[Mutant],
    tests_of: Mapping[str, Sequence[str]],
    jobs: int = 1,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Mutant]:
    """The mutants that no test fails for, in order.

    Raises:
        RuntimeError: a test fails on the unchanged code.
    """
    with ExitStack() as stack:
        folders: SimpleQueue[Path] = SimpleQueue()
        for _ in range(jobs):
            folders.put(copy_of(root, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mutants-")))))
        first = folders.get()
        seconds = limits(first, dict.fromkeys(mutant.module for mutant in mutants), tests_of)
        folders.put(first)

        def lives(mutant: Mutant) -> bool:
            folder = folders.get()
            file = folder / mutant.module
            before = file.read_bytes()
            try:
                file.write_text(mutant.source, encoding="utf-8")
                lived = passes(folder, tests_of[mutant.module], seconds[mutant.module])
            finally:
                file.write_bytes(before)
                folders.put(folder)
            tell(f"{'survived' if lived else 'found   '}  {mutant.module}:{mutant.line}")
            return lived

        with ThreadPoolExecutor(jobs) as pool:
            lived = list(pool.map(lives, mutants))
    return [mutant for mutant, is_alive in zip(mutants, lived, strict=True) if is_alive]


# ---- the command -----------------------------------------------------------------------------------------------------


def report(tried: Sequence[Mutant], alive: Sequence[Mutant], note: str) -> str:
    """What came out, as Markdown."""
    counts, left = (Counter(mutant.module for mutant in group) for group in (tried, alive))
    rows = [f"| `{module}` | {counts[module]} | {left[module]} |" for module in sorted(counts)]
    parts = [f"{len(tried)} mutants, {len(alive)} survived. {note}\n"]
    parts += ["\n".join(["| module | mutants | survived |", "|---|---|---|", *rows]), ""]
    parts += [f"`{mutant.module}:{mutant.line}`\n\n```diff\n{mutant.diff}\n```\n" for mutant in alive]
    return "\n".join(["# Mutants\n", *parts])


def main(arguments: Sequence[str] | None = None) -> None:
    """Try mutants and list those that survive; the exit code is 0 either way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", action="append", help="only modules whose path contains this; may be repeated")
    parser.add_argument("--limit", type=int, help="try so many, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of that drawing")
    parser.add_argument("--jobs", "-j", type=int, default=1, help="how many to try at a time")
    parser.add_argument("--out", "-o", type=Path, help="a Markdown file to write")
    chosen = parser.parse_args(arguments)
    modules = [path for path in TESTS if not chosen.module or any(part in path for part in chosen.module)]
    found = [mutant for path in modules for mutant in mutants_of(path, (ROOT / path).read_text(encoding="utf-8"))]
    if chosen.limit is not None and chosen.limit < len(found):
        picked = random.Random(chosen.seed).sample(range(len(found)), chosen.limit)
        found = [found[i] for i in sorted(picked)]
    alive = survivors(ROOT, found, TESTS, chosen.jobs, lambda line: print(line, flush=True))  # noqa: T201
    note = f"`python tests/mutants.py {' '.join(arguments if arguments is not None else sys.argv[1:])}`"
    text = report(found, alive, note)
    print(text)  # noqa: T201
    if chosen.out is not None:
        chosen.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
