"""A shell for the commands that documents show: `augforge` runs in this process, other programs are looked up.

Options are added to long commands so that they end in seconds; nothing is installed, and no make target runs.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tinyrun
import typer
from typer.testing import CliRunner

from augforge.cli import app as cli

REPOSITORY = Path(__file__).parents[2]
_NETWORK = tuple(tinyrun.settings(*tinyrun.NETWORK, "data.batch_size=4", "steps=2"))
SMALL: dict[str, tuple[str, ...]] = {
    "sample-data": ("--persons", "4", "--size", "96"),
    "build": ("--jobs", "1"),
    "train": _NETWORK,
    "crossval": ("--folds", "2", "--propose", "1", *_NETWORK),
    "compare": ("--seeds", "1", "--budget", "1", *_NETWORK),
    "predict": ("--batch-size", "2"),
}
"""Options that stand after those of the document, and so overrule them."""


def commands() -> dict[str, Any]:
    """The commands of augforge by name."""
    group: Any = typer.main.get_command(cli.app)
    found: dict[str, Any] = group.commands
    return found


def commands_in(text: str) -> Iterator[list[str]]:
    """The words of each command, without comments; a backslash at the end of a line joins it with the next."""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):  # a variable for this command alone
            del words[0]
        if words:
            yield words


def is_shell(text: str) -> bool:
    """Whether every line of an unlabelled block begins with a program that this shell knows."""
    try:
        commands = list(commands_in(text))
    except ValueError:  # an open quotation mark
        return False
    return bool(commands) and all(words[0] in PROGRAMS for words in commands)


def check(words: Sequence[str]) -> None:
    """That a command could run: its program is known, and augforge takes these options. ValueError if not."""
    if words[0] not in PROGRAMS:
        raise ValueError(f"no test knows the program {words[0]}. Mark the block with a reason, or add it to PROGRAMS")
    if "augforge" in words:  # by itself, or started by torchrun
        _parse(words[words.index("augforge") + 1 :])


def run(words: Sequence[str]) -> None:
    """Run a command in the current folder."""
    check(words)
    words, target = (words[:-2], Path(words[-1])) if len(words) > 2 and words[-2] == ">" else (words, None)
    printed = PROGRAMS[words[0]](words[1:])
    if target is not None:
        target.write_text(printed or "", encoding="utf-8")


def _parse(arguments: Sequence[str]) -> None:
    """Parse the options of a command without running it; ValueError if augforge refuses them."""
    until = arguments.index(">") if ">" in arguments else len(arguments)
    name, *rest = arguments[:until] or [""]
    if name not in commands():
        raise ValueError(f"augforge has no command '{name}'")
    try:
        given = commands()[name].make_context(name, rest).params
    except Exception as error:  # of click: a usage error
        raise ValueError(f"augforge {' '.join(arguments)}: {error}") from error
    earlier = [param.name for param in commands()[name].params if param.hidden and given[param.name] is not None]
    if earlier:
        raise ValueError(f"augforge {' '.join(arguments)}: this is an earlier spelling. Write the present one")


def _augforge(arguments: Sequence[str]) -> str:
    result = CliRunner().invoke(cli.app, [*arguments, *SMALL.get(arguments[0], ())], catch_exceptions=False)
    assert result.exit_code == 0, f"augforge {' '.join(arguments)}:\n{result.output}"
    assert "notice:" not in result.stderr, result.stderr
    return result.stdout


def _make(arguments: Sequence[str]) -> None:
    targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    unknown = [word for word in arguments if "=" not in word and word not in targets]
    assert not unknown, f"the Makefile has no target {unknown}"


def _pip(arguments: Sequence[str]) -> None:
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    for extras in re.findall(r"\[([\w,-]+)\]", " ".join(arguments)):
        unknown = [extra for extra in extras.split(",") if not re.search(rf"^{extra} = \[", text, re.MULTILINE)]
        assert not unknown, f"pyproject.toml has no extra {unknown}"
    for file in (arguments[i + 1] for i, word in enumerate(arguments) if word == "-c"):
        assert (REPOSITORY / file).is_file(), f"there is no {file}"


def _python(arguments: Sequence[str]) -> None:
    script = next((word for word in arguments if word.endswith(".py")), None)
    assert script is None or (REPOSITORY / script).is_file(), f"there is no {script}"


def _torchrun(arguments: Sequence[str]) -> None:
    raise AssertionError("tests start no processes on GPUs. Mark the block with a reason")


def _script(arguments: Sequence[str]) -> None:
    assert (REPOSITORY / ".ci/run").is_file()


def _mkdir(arguments: Sequence[str]) -> None:
    Path(arguments[-1]).mkdir(parents=True, exist_ok=True)


def _copy(arguments: Sequence[str]) -> None:
    source, target = map(Path, arguments[-2:])
    shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)


PROGRAMS: dict[str, Callable[[Sequence[str]], str | None]] = {
    "augforge": _augforge,
    "make": _make,
    "pip": _pip,
    "python": _python,
    "torchrun": _torchrun,
    ".ci/run": _script,
    "mkdir": _mkdir,
    "cp": _copy,
}
