"""A hook of a wrong signature is an error of mypy at its line, not one of a build."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # half a minute without mypy's cache, a second with it

ROOT = Path(__file__).parents[2]

RIGHT = """
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from augforge.ops import Candidate, Context, FilterParams, Flag, OpParams, filter_op, op, table_filter
from augforge.sample import Drop, Sample


class Gain(OpParams):
    low: float = 0.8


class Dark(FilterParams):
    least: float = 9


@op("gain", Gain, version=1, role="augment")
def gain(inputs: Sequence[Sample], drawn: float, params: Gain, ctx: Context) -> Iterator[Sample | Drop]:
    yield inputs[0] if drawn > params.low else Drop("dark")


@gain.draws
def draw_gain(rng: np.random.Generator, inputs: Sequence[Sample], params: Gain, ctx: Context) -> float:
    return float(rng.uniform(params.low, 1))


@gain.counts_inputs
def count_inputs(params: Gain) -> int:
    return 1


@gain.gives_sizes
def sizes(sizes: Sequence[tuple[int, int]], params: Gain) -> list[tuple[int, int]]:
    return [sizes[0]]


@gain.weighs
def weight(candidate: Candidate, params: Gain, ctx: Context) -> float:
    return params.low


@filter_op("dark", Dark, version=1)
def dark(candidate: Candidate, params: Dark, ctx: Context) -> Flag | None:
    return Flag("dark") if candidate.features["mean"] < params.least else None


@dark.measures(reads=())
def measure_mean(sample: Sample, params: Any, ctx: Context) -> Mapping[str, Any]:
    return {"mean": float(sample.image.mean())}


@dark.fits
def fit_mean(candidates: Sequence[Candidate], params: Dark, ctx: Context) -> float:
    return 1.0


@table_filter("all_dark", Dark, version=1)
def all_dark(candidates: Sequence[Candidate], params: Dark, ctx: Context) -> list[Flag | None]:
    return [None for _ in candidates]
"""

WRONG = {
    "draws, parameters swapped": """
@gain.draws
def _a(inputs: Sequence[Sample], rng: np.random.Generator, params: Gain, ctx: Context) -> float:
    return 1.0
""",
    "draws, for other params": """
@gain.draws
def _b(rng: np.random.Generator, inputs: Sequence[Sample], params: Dark, ctx: Context) -> float:
    return params.least
""",
    "apply, gives integers": """
@op("wrong", Gain, version=1, role="augment")
def _c(inputs: Sequence[Sample], drawn: float, params: Gain, ctx: Context) -> list[int]:
    return [1]
""",
    "apply, without the context": """
@op("wrong", Gain, version=1, role="augment")
def _d(inputs: Sequence[Sample], drawn: float, params: Gain) -> list[Sample]:
    return []
""",
    "measures, gives a number": """
@dark.measures(reads=())
def _e(sample: Sample, params: Any, ctx: Context) -> float:
    return 1.0
""",
    "decide, gives a bool": """
@filter_op("wrong", Dark, version=1)
def _f(candidate: Candidate, params: Dark, ctx: Context) -> bool:
    return True
""",
    "decide, of params that are no filter's": """
@filter_op("wrong", Gain, version=1)
def _g(candidate: Candidate, params: Gain, ctx: Context) -> Flag | None:
    return None
""",
    "decide on a table, one verdict": """
@table_filter("wrong", Dark, version=1)
def _h(candidates: Sequence[Candidate], params: Dark, ctx: Context) -> Flag | None:
    return None
""",
    "gives sizes, one tuple": """
@gain.gives_sizes
def _i(sizes: Sequence[tuple[int, int]], params: Gain) -> tuple[int, int]:
    return sizes[0]
""",
    "counts inputs, gives None": """
@gain.counts_inputs
def _j(params: Gain) -> None:
    return None
""",
    "fits, takes one candidate": """
@dark.fits
def _k(candidate: Candidate, params: Dark, ctx: Context) -> float:
    return 1.0
""",
    "weighs, gives a string": """
@gain.weighs
def _l(candidate: Candidate, params: Gain, ctx: Context) -> str:
    return "1"
""",
}


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Mypy's errors by snippet: the right one and the wrong ones, checked in one run, as `make lint` would."""
    from mypy import api  # slow to import, so only where these tests run

    path, texts = tmp_path_factory.mktemp("snippets") / "snippets.py", {"right": RIGHT, **WRONG}
    path.write_text("\n".join(texts.values()))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        report, trouble, _ = api.run(["--strict", "--config-file", "pyproject.toml", str(path)])
    assert not trouble, trouble
    owners = [name for name, text in texts.items() for _ in f"{text}\n".splitlines()]
    found: dict[str, list[str]] = {name: [] for name in texts}
    for line, message in re.findall(r"snippets\.py:(\d+): error: (.*)", report):
        found[owners[int(line) - 1]].append(message)
    return found


def test_right_hooks_pass(errors: dict[str, list[str]]) -> None:
    assert errors["right"] == []


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_hook_is_an_error_at_its_line(errors: dict[str, list[str]], name: str) -> None:
    assert len(errors[name]) == 1 and re.search(r"\[(arg-type|type-var)\]$", errors[name][0]), errors[name]
