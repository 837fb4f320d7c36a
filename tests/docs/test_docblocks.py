"""The reader of code blocks: what is a block, and what the comments before it say."""

from __future__ import annotations

from pathlib import Path

import docshell
import pytest
from docblocks import Block, blocks_of


def read(tmp_path: Path, text: str) -> list[Block]:
    path = tmp_path / "page.md"
    path.write_text(text, encoding="utf-8")
    return blocks_of(path)


def test_fenced_and_indented_blocks_with_their_lines(tmp_path: Path) -> None:
    text = "prose\n\n```python\nx = 1\n\ny = 2\n```\n\n- item\n\n  ```sh\n  make test\n  ```\n\n    make lint\n\nmore\n"
    assert read(tmp_path, text) == [
        Block("page.md:4", "python", "x = 1\n\ny = 2"),
        Block("page.md:12", "sh", "make test"),
        Block("page.md:15", "", "make lint"),
    ]


def test_marks_belong_to_the_block_that_follows(tmp_path: Path) -> None:
    text = "<!-- test: slow -->\n<!-- test: first\nmkdir x\n-->\n```sh\nls\n```\n\n<!-- a remark -->\n```sh\nls\n```\n"
    first, second = read(tmp_path, text)
    assert first.marks == {"slow": "", "first": "mkdir x"}
    assert first.code == "mkdir x\nls"
    assert second.marks == {}
    assert second.code == "ls"


@pytest.mark.parametrize(
    "mark", ["<!-- test: skip -->", "<!-- test: slow, why -->", "<!-- test: skim, because -->", "<!-- test: first -->"]
)
def test_a_mark_without_meaning_is_an_error(mark: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"page\.md:1: expected one of"):
        read(tmp_path, f"{mark}\n```sh\nls\n```\n")


@pytest.mark.parametrize("rest", ["prose\n\n```sh\nls\n```\n", ""])
def test_a_mark_before_no_block_is_an_error(rest: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stands before no code block"):
        read(tmp_path, f"<!-- test: slow -->\n{rest}")


def test_commands() -> None:
    text = "augforge ops  # a list\nA=1 make test \\\n  ARGS='-k x'\n\n# nothing\n"
    assert list(docshell.commands_in(text)) == [["augforge", "ops"], ["make", "test", "ARGS=-k x"]]
    assert docshell.is_shell(text)
    assert not docshell.is_shell("ROOT/\n  images/")
    assert not docshell.is_shell("the reader's folder")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("rm -rf /", "no test knows the program rm"),
        ("augforge biuld x", "no command 'biuld'"),
        ("augforge build", "(?i)recipe"),
        ("augforge build x --quick", "--quick"),
        ("augforge show x --output y.png", "earlier spelling"),
        ("augforge evaluate run --shards x", "earlier spelling"),
        ("torchrun -m augforge train x --quick", "--quick"),
    ],
)
def test_commands_that_could_not_run_are_errors(command: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        docshell.check(command.split())


def test_other_programs_are_looked_up_in_the_repository() -> None:
    for command in ("make test", "pip install '.[train]' -c constraints.txt", "python benchmarks/build.py"):
        docshell.run(next(docshell.commands_in(command)))
    for command in ("make tests", "pip install '.[training]'", "pip install -c constraint.txt .", "python build.py"):
        with pytest.raises(AssertionError):
            docshell.run(next(docshell.commands_in(command)))
