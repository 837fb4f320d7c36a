"""The command for continuous integration: check what a repository records."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from augforge.cli import terminal
from augforge.cli.options import Json
from augforge.errors import AugforgeError

COULD_NOT = 3
_FORMATS = ("text", "github")


def check(
    place: Annotated[
        str | None,
        typer.Argument(
            metavar="PLACE",
            help="A registry, a dataset (DATASET or DATASET@VERSION) or a recipe; ./data_manifest.yaml by default.",
        ),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The policy; by default policy.yaml beside registry or recipe, if any."),
    ] = None,
    datasets: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder or URL of a registry's datasets; by default datasets/ beside it."),
    ] = None,
    require_data: Annotated[
        bool, typer.Option("--require-data", help="Exit with code 3 if a source or dataset does not lie here.")
    ] = False,
    pixels: Annotated[bool, typer.Option("--pixels", help="Decode every sample, as verify --pixels does.")] = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the results as JUnit XML too.")] = None,
    format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="text, or github for annotations too, the default in GitHub Actions."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check what a repository records: recipes, digests, versions, datasets, splits, and the policy.

    Recipes parse; digests and versions of recipes, sources and datasets agree with what registry and manifests say;
    datasets are whole; no group and no equal pixels are in two splits, and no sample has a parent in another split;
    and what `policy.yaml` demands. Where no data lies, structure and digests are checked, and the rest is named.

    The exit code is 0 if all is fine, 1 if something was found, 2 for wrong usage, 3 if something could not be checked
    that should have been, 130 if interrupted. docs/ci.md describes the policy, and the use in CI.
    """
    from augforge.checks import Options, UsageError, find_targets, run_checks
    from augforge.checks.machines import annotation_lines, write_junit
    from augforge.checks.text import render_report

    if format not in (None, *_FORMATS):
        raise typer.BadParameter(f"'{format}'; expected {' or '.join(_FORMATS)}", param_hint="--format")
    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible("nothing was written"):
        try:
            targets = find_targets(place, Options(policy, datasets, pixels))
            progress.start("check", len(targets.subjects))
            report = run_checks(targets.subjects, targets.first, require_data, progress.advance)
            if junit is not None:
                write_junit(report, junit)
        except UsageError as error:
            raise typer.BadParameter(str(error), param_hint="PLACE") from None
        except AugforgeError as error:
            terminal.notice(f"could not check: {error}")
            raise typer.Exit(COULD_NOT) from None
    terminal.output(report.to_json(), as_json, lambda console: render_report(report, console))
    if not as_json and (format == "github" or (format is None and os.environ.get("GITHUB_ACTIONS") == "true")):
        for line in annotation_lines(report):
            typer.echo(line)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


COMMANDS: list[Callable[..., None]] = [check]
