"""Every code block of the documents runs, on small data, or says why it does not.

tests/support/docblocks.py tells how to mark a block. The blocks of one document run in order, in one folder, as a
reader would run them: a checkout's recipes/ lies there, and nothing else.
"""

from __future__ import annotations

import re
import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import docshell
import pytest
from docblocks import Block, blocks_of

from augforge.ops import OPS
from augforge.recipe.recipe import load_recipe

ROOT = docshell.REPOSITORY
DOCUMENTS = sorted(path for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md") for path in ROOT.glob(pattern))
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
_SPAN = re.compile(r"`(augforge [a-z][^`]*)`")


def blocks(name: str) -> list[Block]:
    return blocks_of(ROOT / name, name)


def language_of(block: Block) -> str:
    """A block's language; that of an unlabelled one is seen by its first words."""
    return block.language or ("sh" if docshell.is_shell(block.text) else "text")


# ---- what holds for every document -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_block_is_run_or_marked_with_a_reason(name: str) -> None:
    for block in blocks(name):
        assert language_of(block) in RUNNERS or "skip" in block.marks, (
            f"{block.place}: no test knows how to run {language_of(block)}. Take one of {sorted(RUNNERS)}, or write "
            "<!-- test: skip, REASON --> before it"
        )


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_one_that_augforge_takes(name: str) -> None:
    """Those of slow and skipped blocks too; documents use no earlier spelling."""
    for block in blocks(name):
        if language_of(block) == "sh":
            for words in docshell.commands_in(block.code):
                if "augforge" in words or "skip" not in block.marks:
                    docshell.check(words)


@pytest.mark.parametrize("name", NAMES)
def test_options_in_prose_exist(name: str) -> None:
    commands = docshell.commands()
    for span in _SPAN.findall((ROOT / name).read_text(encoding="utf-8").replace("\n", " ")):
        _, command, *words = span.split()
        assert command in commands, f"{name}: {span}: augforge has no such command"
        options = {spelling for param in commands[command].params for spelling in (*param.opts, *param.secondary_opts)}
        told = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert told <= {*options, "--help", "-h"}, f"{name}: {span}: no such option"


# ---- running them ----------------------------------------------------------------------------------------------------


def runnable(name: str, slow: bool) -> list[Block]:
    found = [block for block in blocks(name) if "skip" not in block.marks and language_of(block) != "text"]
    return found if slow else [block for block in found if "slow" not in block.marks]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with recipes/. Hugging Face's `datasets` keeps its cache there and calls nobody."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    if "datasets" in sys.modules:
        monkeypatch.setattr(sys.modules["datasets"].config, "HF_DATASETS_CACHE", tmp_path / "hf")
    return tmp_path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the libraries that documents import
@pytest.mark.parametrize("name", [name for name in NAMES if runnable(name, slow=False)])
def test_blocks_run(name: str, workplace: Path) -> None:
    run_all(runnable(name, slow=False), workplace)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", [name for name in NAMES if any("slow" in block.marks for block in blocks(name))])
def test_slow_blocks_run(name: str, workplace: Path) -> None:
    run_all(runnable(name, slow=True), workplace)


def run_all(found: list[Block], workplace: Path) -> None:
    before = set(sys.modules)
    try:
        with OPS.restored():
            for number, block in enumerate(found):
                try:
                    RUNNERS[language_of(block)](block, workplace, number)
                except BaseException as error:
                    raise AssertionError(f"{block.place} failed: {error}") from error
    finally:
        for name in set(sys.modules) - before:
            if getattr(sys.modules[name], "__doc_block__", False):
                del sys.modules[name]


def run_python(block: Block, workplace: Path, number: int) -> None:
    """Import the block as a module, so that ops, sources and models are defined as in a file; then run its tests."""
    file = workplace / f"block_{number}.py"
    file.write_text(block.code + "\n", encoding="utf-8")
    name = block.marks.get("module", file.stem)
    spec = spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module: Any = module_from_spec(spec)
    module.__doc_block__ = True
    sys.modules[name] = module
    spec.loader.exec_module(module)
    for function in [value for key, value in vars(module).items() if key.startswith("test_")]:
        function(**{key: workplace for key in function.__annotations__ if key == "tmp_path"})


def run_shell(block: Block, workplace: Path, number: int) -> None:
    for words in docshell.commands_in(block.code):
        docshell.run(words)


def load_yaml(block: Block, workplace: Path, number: int) -> None:
    """The block is a recipe, in recipes/."""
    file = workplace / f"recipes/block-{number}.yaml"
    file.write_text(block.code + "\n", encoding="utf-8")
    assert load_recipe(file).name


def keep_text(block: Block, workplace: Path, number: int) -> None:
    """Nothing to run."""


RUNNERS = {"python": run_python, "sh": run_shell, "yaml": load_yaml, "text": keep_text}


@pytest.mark.parametrize("name", NAMES)
def test_text_hides_no_code(name: str) -> None:
    for block in blocks(name):
        if language_of(block) == "text":
            first = re.search(r"^(augforge|pip|make|python|import|from) |^steps:", block.text, re.MULTILINE)
            assert first is None or "skip" in block.marks, f"{block.place}: {first[0]}... Give it a fence: ```sh"
