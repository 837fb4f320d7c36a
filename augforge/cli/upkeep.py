"""Commands that look after a dataset: prove that it is whole, and repair it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augforge.cli import terminal
from augforge.cli.options import DatasetPlace, Jobs, Json, Version

if TYPE_CHECKING:
    from rich.console import Console

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
    dataset: DatasetPlace,
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


COMMANDS: list[Callable[..., None]] = [verify, repair]
