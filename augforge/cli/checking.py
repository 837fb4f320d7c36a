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
            help="A registry, a dataset (DATASET or DATASET@VERSION) or a recipe, or the folder of a source with its "
            "--format; ./data_manifest.yaml by default.",
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
        list[str] | None,
        typer.Option(
            metavar="FORMAT",
            help="text, or github for annotations too, the default in GitHub Actions; or the format of the source that "
            "PLACE is, such as coco. May be repeated.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of the source, such as classes=hand-bone. May be repeated."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="What is implausible is an error.")] = False,
    as_json: Json = False,
) -> None:
    """Check what a repository records: recipes, digests, versions, datasets, splits, and the policy.

    Recipes parse; digests and versions of recipes, sources and datasets agree with what registry and manifests say;
    datasets are whole; no group and no equal pixels are in two splits, and no sample has a parent in another split;
    and what `policy.yaml` demands. Where no data lies, structure and digests are checked, and the rest is named.

    What is implausible about a source or its splits is a warning, and with **--strict** an error. A folder of raw data
    is looked at without a recipe: **augforge check data/nuts --format coco**.

    The exit code is 0 if all is fine, 1 if something was found, 2 for wrong usage, 3 if something could not be checked
    that should have been, 130 if interrupted. docs/ci.md describes the policy, and the use in CI.
    """
    from augforge.checks import Options, UsageError, find_targets, run_checks
    from augforge.checks.machines import annotation_lines, write_junit
    from augforge.checks.text import render_report

    printed, of_source = _formats(format or [])
    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible("nothing was written"):
        try:
            targets = find_targets(place, Options(policy, datasets, pixels, of_source, tuple(settings or ()), strict))
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
    if not as_json and (printed == "github" or (printed is None and os.environ.get("GITHUB_ACTIONS") == "true")):
        for line in annotation_lines(report):
            typer.echo(line)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _formats(given: list[str]) -> tuple[str | None, str | None]:
    """How the report is printed, and the format of the source that is checked, as far as they are given."""
    from augforge.errors import nearest
    from augforge.sources import SOURCES

    printed = [each for each in given if each in _FORMATS]
    others = [each for each in given if each not in _FORMATS]
    for each in others:
        if each not in SOURCES:
            hint = nearest(each, [*_FORMATS, *SOURCES])
            fact = f"'{each}'; expected {' or '.join(_FORMATS)}, or the format of a source.{hint}"
            raise typer.BadParameter(fact, param_hint="--format")
    if len(printed) > 1 or len(others) > 1:
        raise typer.BadParameter("it is given twice; expected once each", param_hint="--format")
    return next(iter(printed), None), next(iter(others), None)


COMMANDS: list[Callable[..., None]] = [check]
