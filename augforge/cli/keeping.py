"""Commands about what a dataset keeps and passes on: gc, pack."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augforge.cli import terminal
from augforge.cli.options import DatasetPlace, Json

if TYPE_CHECKING:
    from rich.console import Console


def gc(
    dataset: DatasetPlace,
    keep: Annotated[
        int | None,
        typer.Option(min=1, help="How many versions to keep, the newest, beside those with a tag; all without it."),
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Remove also what is younger than 24 hours. Nobody may be reading it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report what would be removed.")] = False,
    as_json: Json = False,
) -> None:
    """Empty a dataset's work area, and remove old versions and the shards that no version names.

    The current version and those with a tag always stay. So do, unless **--now** is given, files younger than 24
    hours and versions that were current in that time: a training may be reading them, and a build that was stopped
    goes on from its work area. Give a version that is read for longer a tag.

    All manifests are checked first; if one is damaged, nothing is removed. Only files with names that augforge makes
    are removed, and links are not followed: notes of yours stay. Takes a folder, not a URL.
    """
    from augforge.store.gc import collect

    found = collect(dataset, keep, now=now, dry_run=dry_run)
    terminal.output(found, as_json, lambda console: _print_collected(found, console))


def _print_collected(found: dict[str, Any], console: Console) -> None:
    done = "would remove" if found["dry_run"] else "removed"
    console.print(f"{done} {_amount(found)}")
    if found["recent"]["files"]:
        console.print(f"kept {_amount(found['recent'])} of the last 24 hours; --now removes them too")
    if found["foreign"]:
        more = f" and {len(found['foreign']) - 5} more" if len(found["foreign"]) > 5 else ""
        names = terminal.escape(", ".join(found["foreign"][:5]))
        console.print(f"left alone, since augforge did not make it: {names}{more}", soft_wrap=True)


def _amount(found: dict[str, Any]) -> str:
    versions = f", {len(found['versions'])} versions" if found["versions"] else ""
    return f"{found['files']:,} files, {found['bytes']:,} bytes{versions}"


COMMANDS: list[Callable[..., None]] = [gc]
