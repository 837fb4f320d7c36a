"""The command line: parse, call one function, print. Heavy modules are imported by the command that needs them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from augforge.cli import checking as cli_checking
from augforge.cli import history as cli_history
from augforge.cli import keeping as cli_keeping
from augforge.cli import looking as cli_looking
from augforge.cli import models as cli_models
from augforge.cli import pages as cli_pages
from augforge.cli import starting as cli_starting
from augforge.cli import studies as cli_studies
from augforge.cli import terminal
from augforge.cli.completion import complete_exports, complete_samples
from augforge.cli.entry import run_app
from augforge.cli.everywhere import Debug, Plugins, use_common_options, with_common_options
from augforge.cli.options import (
    Address,
    Backend,
    CacheMb,
    Command,
    DatasetPlace,
    Json,
    NewFolder,
    OldFolder,
    OldOutput,
    Overrides,
    Rename,
    Strict,
    Version,
    Workers,
    exactly_one,
    out_option,
    outliers_places,
)
from augforge.cli.starting import recipe_of

app = typer.Typer(
    name="augforge",
    help="Turn annotated images into versioned training sets.\n\n"
    "A recipe (YAML) says where the images are, what to do with them, and how to store the result: "
    "**augforge build recipes/mosaic.yaml**. For a folder of data, **augforge init FOLDER** writes one. No data? "
    "**augforge sample-data -o data/hands**.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Entry point; see `cli.entry.run_app`."""
    run_app(app)


@app.command(cls=Command)
def build(
    recipe: Annotated[
        Path,
        typer.Argument(metavar="RECIPE", help="The recipe, a YAML file; or a folder of data, which gets one."),
    ],
    out: Annotated[
        str | None, out_option("Folder of the dataset, or a URL such as s3://bucket/hands; datasets/NAME by default.")
    ] = None,
    jobs: Workers = None,
    backend: Backend = None,
    address: Address = None,
    overrides: Overrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only report what would be made, and what reused.")
    ] = False,
    reuse: Annotated[bool, typer.Option(help="Reuse what earlier versions and interrupted builds made.")] = True,
    rehash: Annotated[
        bool, typer.Option("--rehash", help="Read every source file again, even if it looks untouched.")
    ] = False,
    register: Annotated[bool, typer.Option("--register", help="Add the result to ./data_manifest.yaml.")] = False,
    rename: Rename = False,
    strict: Strict = False,
    cache_mb: CacheMb = 512,
    as_json: Json = False,
) -> None:
    """Build the dataset that a recipe describes.

    Given a folder of data, it first does what **augforge init --yes** does: it finds the format and writes NAME.yaml
    in the current folder, or takes the recipe of that name that reads the folder. A dry run writes nothing.

    The result is the same bytes for any number of jobs. What did not change since the last build is copied, and a
    build that was stopped continues where it was. The previous version stays whole until the new one is complete.

    With **--dry-run --json**, `version` is the version that a build would give, and `unchanged` says whether that is
    the current one. Where it depends on pixels that are still to be made, `version` is empty and `version_note` says
    so; `unchanged` is then false, or null if it is not known either.
    """
    from augforge.engine.builder import build as run
    from augforge.report.summary import render_summary

    with (
        terminal.progress_bars(quiet=as_json) as progress,
        terminal.interruptible(),
        recipe_of(recipe, dry_run) as file,
    ):
        summary = run(
            file,
            out,
            jobs=jobs,
            backend=backend,
            address=address,
            overrides=overrides or (),
            dry_run=dry_run,
            reuse=reuse,
            rehash=rehash,
            register=register,
            rename=rename,
            strict=strict,
            cache_mb=cache_mb,
            progress=progress,
        )
    terminal.output(asdict(summary), as_json, lambda console: render_summary(summary, console))


@app.command(cls=Command)
def outliers(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe with filters.")],
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="DATASET",
            help="Folder or URL of the recipe's dataset, where measurements are kept; datasets/NAME by default.",
        ),
    ] = None,
    out: Annotated[
        list[Path] | None, typer.Option("--out", "-o", metavar="PICTURE", help="A contact sheet to write, PNG or JPEG.")
    ] = None,
    old_output: OldOutput = None,
    truth: Annotated[Path | None, typer.Option(help="A CSV file with a column `outlier`, to score against.")] = None,
    jobs: Workers = None,
    backend: Backend = None,
    address: Address = None,
    overrides: Overrides = None,
    limit: Annotated[int, typer.Option(min=1, help="Findings on the contact sheet.")] = 60,
    review: Annotated[
        Path | None,
        typer.Option("--write-review", metavar="FILE", help="A first review file to write: what the filters drop."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a recipe's filters find, without building: detector, reason, score, and the region marked.

    Write the names of samples that are fine into the recipe's `review` file (verdict: keep): a person's word is final.
    **--write-review review.yaml** makes a first one, with a verdict on each source image that the filters drop.
    """
    from augforge.engine.outliers import find_outliers, read_truth, scores
    from augforge.engine.reviewing import write_review
    from augforge.report.outliers import outlier_sheet, outliers_json, render_outliers
    from augforge.report.show import save_png
    from augforge.report.tables import plural

    folder, sheet = outliers_places(dataset, [*(out or ()), *([old_output] if old_output else [])])
    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible():
        found = find_outliers(
            recipe,
            folder,
            jobs=jobs,
            backend=backend,
            address=address,
            overrides=overrides or (),
            progress=progress,
        )
    scored = scores(found, read_truth(truth, [*found.names, *(row.name for row in found.unreadable)])) if truth else []
    if sheet is not None:
        save_png(outlier_sheet(found, limit), sheet)
        terminal.remark(f"wrote {sheet}")
    if review is not None:
        count = write_review(found, review)
        terminal.remark(f"wrote {review} with {plural(count, 'verdict')}")
    terminal.output(outliers_json(found, scored), as_json, lambda console: render_outliers(found, scored, console))


@app.command(cls=Command)
def show(
    dataset: DatasetPlace,
    samples: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SAMPLE",
            help="Names of samples; without any, a contact sheet.",
            autocompletion=complete_samples,
        ),
    ] = None,
    out: Annotated[Path | None, out_option("The picture to write, PNG or JPEG.", "show.png")] = None,
    old_output: OldOutput = None,
    split: Annotated[str | None, typer.Option(help="Only this split, on a contact sheet.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Samples on a contact sheet.")] = 24,
    version: Version = None,
) -> None:
    """Draw samples with their class masks and what they were made of, or a contact sheet of the dataset, to a PNG."""
    from augforge.report.show import contact_sheet, review_texts, save_png, show_samples
    from augforge.store.dataset import open_dataset

    opened = open_dataset(dataset, version)
    if samples:
        parents = dict(opened.index.select("name", "parents").iter_rows())
        shown = [opened.by_name(name) for name in samples]
        picture = show_samples(shown, opened.classes, parents=parents, reviews=review_texts(opened.index))
    else:
        picture = contact_sheet(opened, split=split, limit=limit)
    path = old_output or out or Path("show.png")
    save_png(picture, path)
    terminal.console().print(f"wrote {terminal.escape(str(path))} ({picture.shape[1]}x{picture.shape[0]})")


@app.command(cls=Command)
def export(
    dataset: DatasetPlace,
    to: Annotated[
        str, typer.Option(help="The format, as augforge exports lists them.", autocompletion=complete_exports)
    ],
    out: NewFolder = None,
    old_out: OldFolder = None,
    split: Annotated[list[str] | None, typer.Option(help="Only this split. May be repeated.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of the format, such as masks=polygons. May be repeated."),
    ] = None,
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Write a dataset in a format that other tools read.

    Formats: coco, yolo, labelme, mask-folder, index-mask, webdataset, csv. **augforge exports NAME** shows one: its
    files, its options, and the recipe that reads it back.

    Images are copied as they are stored, after a check that the dataset is whole. The same dataset gives the same
    bytes, and the files appear in the folder only when all of them are complete.
    """
    from augforge.export import export as run
    from augforge.export import parse_settings, render_export_summary
    from augforge.store.dataset import open_dataset

    folder = exactly_one("-o/--out", out, old_out)
    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible("nothing was written"):
        done = run(
            open_dataset(dataset, version),
            folder,
            to,
            splits=split or (),
            options=parse_settings(overrides or ()),
            progress=progress,
        )
    terminal.output(asdict(done), as_json, lambda console: render_export_summary(done, console))


for module in (cli_starting, cli_looking, cli_keeping, cli_pages, cli_history, cli_checking, cli_models, cli_studies):
    for command in module.COMMANDS:
        app.command(cls=Command)(command)
for registered in app.registered_commands:
    assert registered.callback is not None
    registered.callback = with_common_options(registered.callback)


@app.callback(invoke_without_command=True)
def _before_commands(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    plugin: Plugins = None,
    debug: Debug = False,
) -> None:
    use_common_options(plugin, debug)
    if version:
        from augforge import __version__

        typer.echo(__version__)
        raise typer.Exit()
