"""Commands to begin with: lists and pages of what recipes can use, and data to try it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer

from augforge.cli import terminal
from augforge.cli.options import ExportName, FormatName, Json, NewFolder, OldFolder, OpName, exactly_one


def ops(name: OpName = None, as_json: Json = False) -> None:
    """List the ops that recipes can use, or show one with its parameters."""
    _print_pages("ops", name, as_json)


def sources(name: FormatName = None, as_json: Json = False) -> None:
    """List the data formats that recipes can read, or show one with its layout and options."""
    _print_pages("sources", name, as_json)


def exports(name: ExportName = None, as_json: Json = False) -> None:
    """List the formats that datasets can be exported to, or show one: files, options, the recipe that reads it back."""
    _print_pages("exports", name, as_json)


def sample_data(
    out: NewFolder = None,
    old_out: OldFolder = None,
    persons: Annotated[int, typer.Option(min=1, help="Persons; each has two hands.")] = 12,
    size: Annotated[int, typer.Option(min=64, help="Width and height in pixels.")] = 1024,
    seed: Annotated[int, typer.Option(help="Seed of the drawing; another seed gives other hands.")] = 7,
    test_persons: Annotated[int, typer.Option(min=0, help="Persons without labels, in test/.")] = 0,
    as_json: Json = False,
) -> None:
    """Write generated hand radiographs with 29 bones, in the hand-bone layout, to try everything on."""
    from augforge.phantom import write_phantom

    folder = exactly_one("-o/--out", out, old_out)
    with terminal.progress_bars(quiet=as_json) as progress:
        progress.start("sample data", (persons + test_persons) * 2)
        done = write_phantom(
            folder,
            persons=persons,
            size=size,
            seed=seed,
            test_persons=test_persons,
            progress=lambda count, total: progress.advance(1),
        )
    found = {**asdict(done), "path": str(done.path)}
    terminal.output(
        found, as_json, lambda console: console.print(f"wrote {done.images} images to {terminal.escape(str(folder))}")
    )


def _print_pages(kind: str, name: str | None, as_json: bool) -> None:
    """Print the page of that name, or a list of all."""
    from augforge.report.pages import KINDS

    names, page_of, table, render = KINDS[kind]
    if name is None:
        terminal.output([page_of(each) for each in sorted(names)], as_json, table)
    else:
        page = page_of(name)
        terminal.output(page, as_json, lambda console: render(page, console))


COMMANDS: list[Callable[..., None]] = [ops, sources, exports, sample_data]
