"""Commands about what a dataset keeps and passes on: gc, pack."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augforge.cli import terminal
from augforge.cli.options import DatasetPlace, Json, Version

if TYPE_CHECKING:
    from rich.console import Console

    from augforge.store.pack import PackSummary


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
    console.print(f"{done} {_amount(found)}", soft_wrap=True)
    if found["recent"]["files"]:
        console.print(f"kept {_amount(found['recent'])} of the last 24 hours; --now removes them too", soft_wrap=True)
    if found["foreign"]:
        more = f" and {len(found['foreign']) - 5} more" if len(found["foreign"]) > 5 else ""
        names = terminal.escape(", ".join(found["foreign"][:5]))
        console.print(f"left alone, since augforge did not make it: {names}{more}", soft_wrap=True)


def _amount(found: dict[str, Any]) -> str:
    from augforge.report.tables import plural

    versions = f", {plural(len(found['versions']), 'version')}" if found["versions"] else ""
    return f"{plural(found['files'], 'file')}, {found['bytes']:,} bytes{versions}"


def pack(
    dataset: DatasetPlace,
    out: Annotated[str, typer.Argument(metavar="OUT.tar", help="The archive to write; - for standard output.")],
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Pack one version of a dataset into a tar archive, for somebody else.

    It unpacks to a dataset that opens, verifies and rebuilds, and holds this version alone: its manifest, tables and
    shards, the card, and its tags. Left out are the work area, other versions, and `log.jsonl`, which says where and
    by whom the dataset was built. Every file is compared with its digest in the manifest while it is written; if one
    is damaged, it is named, and there is no archive. The same version gives the same archive, byte for byte.

    What goes along may be personal data: names and groups of samples, the recipe with the path of its source, and the
    metadata columns, which are named. With `-`, the report goes to standard error.
    """
    from augforge.store.pack import pack as run

    to_stdout = out == "-"
    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible("nothing was written"):
        done = run(dataset, sys.stdout.buffer if to_stdout else Path(out), version, progress)
    if as_json:
        typer.echo(json.dumps(asdict(done), ensure_ascii=False, indent=2), err=to_stdout)
    else:
        _print_packed(done, terminal.console(stderr=to_stdout))


def _print_packed(done: PackSummary, console: Console) -> None:
    console.print(
        f"packed version {done.version} of {terminal.escape(done.name)}: {done.samples:,} samples, {done.files} files, "
        f"{done.archive_bytes / 1e6:,.1f} MB in {terminal.escape(done.path)}",
        soft_wrap=True,
    )
    console.print(f"SHA-256 {done.archive_sha256}", soft_wrap=True)
    columns = terminal.escape(", ".join(done.metadata)) or "none"
    console.print(f"Names and groups of samples and the recipe go along; metadata columns: {columns}", soft_wrap=True)
    if done.unchecked:
        files = terminal.escape(", ".join(done.unchecked))
        console.print(f"[yellow]unchecked, since the manifest has no digest of it: {files}[/yellow]", soft_wrap=True)


COMMANDS: list[Callable[..., None]] = [gc, pack]
