"""Names of others in the terminal: shown, never obeyed."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Group
from rich.text import Text
from rich.tree import Tree

from augforge.cli import terminal
from augforge.cli.safeconsole import SafeConsole
from augforge.errors import visible, visible_json
from augforge.report.tables import block, pairs, table

NAME = "a\x1b[2J\x9b31m\u202eb\nc\ud800"
SHOWN = r"a\x1b[2J\x9b31m\u202eb\nc\ud800"


def printed(*objects: object, **options: object) -> str:
    stream = io.StringIO()
    SafeConsole(file=stream, width=200, highlight=False).print(*objects, **options)
    return stream.getvalue()


def test_texts_are_one_line() -> None:
    assert printed(NAME, markup=False) == f"{SHOWN}\n"
    assert printed(Text(NAME)) == f"{SHOWN}\n"
    assert printed(Text.assemble(("x", "bold"), NAME)) == f"x{SHOWN}\n"
    assert printed("\nNext:") == "\nNext:\n"


def test_cells_are_one_line_and_no_markup() -> None:
    shown = table("name", NAME)
    shown.add_row(NAME, Text("[bold]x[/nothing]"))
    shown.add_row("[bold]x[/nothing]", Text(NAME))
    text = printed(shown)
    assert text.count(SHOWN) == 3 and text.count("[bold]x[/nothing]") == 2 and len(text.splitlines()) == 4
    assert printed(pairs({NAME: NAME})) == f"{SHOWN}  {SHOWN}\n"


def test_whatever_else_is_rendered() -> None:
    tree = Tree(Text("a\x1bb"))
    tree.add("c\x9bd")
    assert [line.strip(" └─") for line in printed(tree).splitlines()] == [r"a\x1bb", r"c\x9bd"]
    assert printed(Group(Text("a\x1b"), Text("b"))) == "a\\x1b\nb\n"
    assert printed(block(Text("a\nb\u202e"))) == "a\nb\\u202e\n"


def test_styles_still_work() -> None:
    stream = io.StringIO()
    console = SafeConsole(file=stream, force_terminal=True, color_system="standard", highlight=False)
    console.print("[red]x\x1b[/red]")
    assert stream.getvalue() == "\x1b[31mx\\x1b\x1b[0m\n"


def test_further_lines_of_an_error_are_indented(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_error("sample a\nerror: all is well\n  - listed\x1b", "error")
    assert capsys.readouterr().err == "error: sample a\n  error: all is well\n  - listed\\x1b [error]\n"


def test_json_stays_exact(capsys: pytest.CaptureFixture[str]) -> None:
    data = {NAME: [NAME, "Größe", "가\U000e0041"]}
    terminal.output(data, True, lambda console: None)
    text = capsys.readouterr().out
    assert json.loads(text) == data
    assert "Größe" in text and not set(text) & set("\x1b\x9b\u202e\ud800\U000e0041")


def test_ordinary_texts_stay() -> None:
    for text in ("ID001/image~flip-2@512,0", "Größe 가 ガ", "tab\there", "emoji 👩\u200d🔬"):
        assert visible(text) == text and visible_json(text) == text
    assert visible("a\nb", lines=True) == "a\nb"
