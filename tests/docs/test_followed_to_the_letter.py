"""CONTRIBUTING.md followed to the letter, in a copy of the repository, for an op and for a source."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_FILE = re.compile(
    r"`((?:augforge|tests)/[\w/]+\.py)`(?:(?!`(?:augforge|tests)/).)*?\n```python\n(.*?)^```", re.DOTALL | re.MULTILINE
)


def files_to_write() -> dict[str, str]:
    """Each code block, by the path that is named right before it."""
    return dict(_FILE.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository with the new files, as somebody has it who typed them in."""
    copy = tmp_path_factory.mktemp("fresh") / "augforge"
    left = shutil.ignore_patterns(".git", ".venv*", ".*_cache", "__pycache__", "/data", "datasets", "runs")
    shutil.copytree(ROOT, copy, ignore=left)
    for place, code in files_to_write().items():
        assert not (copy / place).exists(), f"CONTRIBUTING.md adds {place}, which is there already"
        (copy / place).write_text(code, encoding="utf-8")
    return copy


def run(copy: Path, *command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    environment["PYTHONPATH"] = str(copy)
    done = subprocess.run([sys.executable, *command], cwd=copy, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def test_every_block_has_a_file() -> None:
    assert sorted(files_to_write()) == [
        "augforge/ops/gain.py",
        "augforge/sources/formats/mask_folders.py",
        "tests/ops/test_gain.py",
        "tests/sources/formats/test_mask_folders.py",
    ]


@pytest.mark.slow
def test_an_op_and_a_source_end_green(copy: Path) -> None:
    run(copy, "docs/ops/make.py", "gain")
    new = ("tests/ops/test_gain.py", "tests/sources/formats/test_mask_folders.py")
    run(copy, "-m", "pytest", "-q", *new)
    run(copy, "-m", "pytest", "-q", "tests/ops/test_contract.py", "-k", "gain or every or golden")
    run(
        copy, "-m", "pytest", "-q", "tests/docs/test_docs_ops.py", "tests/test_structure.py", "tests/ops/test_golden.py"
    )
    run(copy, "-m", "pytest", "-q", "tests/report/test_report_pages.py")
    run(copy, "-m", "pytest", "-q", "tests/sources/test_source_contract.py", "-k", "every_format")
    run(copy, "-m", "ruff", "check", *files_to_write())
    run(copy, "-m", "ruff", "format", "--check", *files_to_write())
    run(copy, "-m", "mypy", "--strict")
    run(copy, "-m", "vulture")
    assert "gain@1" in (copy / "tests/ops/golden.json").read_text()
