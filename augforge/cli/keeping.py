"""Commands that look after a dataset: verify, repair, gc, pack, copy, files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augforge.cli import terminal
from augforge.cli.options import DatasetFolder, DatasetPlace, Jobs, Json, Version

if TYPE_CHECKING:
    from rich.console import Console

    from augforge.engine.copying import CopySummary
    from augforge.store.pack import PackSummary
    from augforge.store.verification.report import Fault


Every = Annotated[bool, typer.Option("--all", help="All versions, not the current one alone.")]
SHOWN_FAULTS = 50


def verify(
    dataset: DatasetPlace,
    version: Version = None,
    every: Every = False,
    pixels: Annotated[
        bool, typer.Option("--pixels", help="Decode every sample, and compare pixels, areas and boxes too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Prove that a dataset is what its manifest says; if it is not, name what is damaged and exit with code 1.

    Every byte is covered that a reader or a build may believe: the manifest and its copy, tags, card, index, stages,
    ledger, rejected samples, and shards. Neither size nor time of a file is trusted. A fault names the file, the
    samples that it hits and the versions they belong to (all of them with `--json`), and checking goes on.

    Shards of a URL are fetched into the cache; those that are intact there are not fetched again, only their sizes
    compared. **augforge repair** makes damaged files again.
    """
    from augforge.store.verify import check_dataset

    with terminal.progress_bars(quiet=as_json) as progress:
        report = check_dataset(dataset, version, every=every, pixels=pixels, progress=progress)
    terminal.output(report.to_json(), as_json, lambda console: _print_report(report.to_json(), console))
    if not report.ok:
        raise typer.Exit(1)


def _print_report(found: dict[str, Any], console: Console) -> None:
    _print_lines(found["problems"], console)
    for line in found["notes"]:
        console.print(f"[yellow]{terminal.escape(line)}[/yellow]", soft_wrap=True)
    count, others = len(found["problems"]), len(found["versions"]) - 1
    state = "[green]is whole[/green]" if found["ok"] else f"[red]has {count} problem{'s' * (count > 1)}[/red]"
    more = f" and {others} other version{'s' * (others > 1)}" if others > 0 else ""
    console.print(f"version {found['version']}{more} with {found['shards']} shards {state}")
    if not found["ok"]:
        console.print("Repair it: augforge repair DATASET. At a URL, upload the named files again")


def _print_lines(lines: list[str], console: Console) -> None:
    for line in lines[:SHOWN_FAULTS]:
        console.print(f"[red]{terminal.escape(line)}[/red]", soft_wrap=True)
    if len(lines) > SHOWN_FAULTS:
        console.print(f"and {len(lines) - SHOWN_FAULTS} more; all of them: --json")


def repair(
    dataset: DatasetFolder,
    version: Version = None,
    every: Every = False,
    source: Annotated[
        str | None, typer.Option(help="Where the source is now; by default where the last build found it.")
    ] = None,
    mirror: Annotated[
        str | None, typer.Option("--from", metavar="MIRROR", help="Folder or URL of a copy of the dataset.")
    ] = None,
    jobs: Jobs = 1,
    as_json: Json = False,
) -> None:
    """Make again what is damaged in a dataset, to the same SHA-256, and say what cannot be.

    A damaged manifest comes from its other copy, the card from the manifest. The samples that damage hits are made
    again from the recipe that the manifest holds and from the source; intact ones are copied. With **--from** only the
    damaged files are fetched from the mirror, and no source is needed.

    Nothing is put in place that has another digest than the manifest states. The exit code is 1 if something is still
    wrong afterwards: each fault names its samples, and why they could not be made.
    """
    from augforge.engine.repair import repair as run

    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible("what was repaired is kept"):
        found = run(dataset, version, every=every, source=source, mirror=mirror, jobs=jobs, progress=progress)
    data = {**asdict(found), "ok": not found.faults, "problems": [str(fault) for fault in found.faults]}
    terminal.output(data, as_json, lambda console: _print_repair(data, found.faults, console))
    if found.faults:
        raise typer.Exit(1)


def _print_repair(data: dict[str, Any], faults: list[Fault], console: Console) -> None:
    for file in data["repaired"]:
        console.print(f"repaired {terminal.escape(file)}", soft_wrap=True)
    _print_lines(data["problems"], console)
    for reason in dict.fromkeys(data["reasons"]):
        console.print(terminal.escape(reason), soft_wrap=True)
    hit = {name for fault in faults for name in fault.samples}
    if faults:
        console.print(f"[red]{len(faults)} faults are left, which hit {len(hit)} samples[/red]")
    else:
        count = len(data["repaired"])
        console.print(f"version {data['version']} [green]is whole[/green]; files repaired: {count}")


def gc(
    dataset: DatasetFolder,
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


def copy(
    source: Annotated[str, typer.Argument(metavar="DATASET", help="Folder or URL of a dataset.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Folder or URL of the copy, new or an earlier one.")],
    version: Version = None,
    check: Annotated[
        bool, typer.Option("--check", help="Read what the target holds already, and replace what is damaged there.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Copy a version of a dataset to another folder or URL, and make it the current one there.

    Only the files that the target lacks are copied, each after a check of its SHA-256: versions share shards, so a new
    version of a large dataset takes little. A copy that was stopped goes on where it was, and the target's current
    version stays whole until the new one is complete. The version's tags go along; the work area and the log do not.
    """
    from augforge.engine.copying import copy_version

    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible("what was copied is kept"):
        done = copy_version(source, target, version, check=check, progress=progress)
    terminal.output(asdict(done), as_json, lambda console: _print_copied(done, console))


def _print_copied(done: CopySummary, console: Console) -> None:
    state = ", which was the current one there already" if done.unchanged else ""
    console.print(
        f"copied version {done.version} of {terminal.escape(done.name)} to {terminal.escape(done.target)}{state}: "
        f"{done.copied_files} of {done.files} files, {done.copied_bytes / 1e6:,.1f} of {done.bytes / 1e6:,.1f} MB",
        soft_wrap=True,
    )


def files(dataset: DatasetPlace, version: Version = None) -> None:
    """Print the shards of a dataset's current version, one path or URL per line.

    For tools that take lists of files: shards/ may hold files of older versions too.
    """
    from augforge.store.remote import shard_locations

    for place in shard_locations(dataset, version):
        typer.echo(place)


COMMANDS: list[Callable[..., None]] = [verify, repair, gc, pack, copy, files]
