"""Commands about versions: what happened, what differs, where samples came from, what a build would do and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from augforge.cli import terminal
from augforge.cli.completion import complete_samples
from augforge.cli.options import DatasetPlace, Jobs, Json, Overrides, Rename, Version, out_option

if TYPE_CHECKING:
    from rich.console import Console

Folder = Annotated[str, typer.Argument(metavar="DATASET", help="Folder of a dataset.")]


def log(dataset: Folder, as_json: Json = False) -> None:
    """List the versions of a dataset, newest first: time, recipe, samples of each split, parent, tags.

    The parent is the version that was current before. Failed builds are listed too, with their first error, and so
    are checkouts. Everything comes from manifests and `log.jsonl`; damaged lines of it are left out and named.

    **augforge diff DATASET@VERSION DATASET** compares two of them, and **augforge checkout** makes one current.
    """
    from augforge.report.history import render_history
    from augforge.store.history import history

    found = history(dataset)
    terminal.output(asdict(found), as_json, lambda console: render_history(found, console))


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A dataset: DATASET, or DATASET@VERSION; folder or URL.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What to compare it with, named in the same way.")],
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with code 1 if anything differs.")] = False,
    as_json: Json = False,
) -> None:
    """Say what differs between two versions, or two datasets, and why.

    **augforge diff datasets/hands@baseline datasets/hands**: a version stands behind an @ as its tag or the beginning
    of its name; without it, the current one is meant.

    Samples that were added, removed and changed, and through what: a source image or its annotation, a step's
    parameters, an op's version, other partners, a filter. Then classes, splits, tags, rejected samples, fitted values,
    libraries, and the recipes' lines. Indexes and tables are compared, no pixels. The text shows examples, `--json` has
    every sample.
    """
    from augforge.report.difference import compare_versions
    from augforge.report.difference_text import render_difference
    from augforge.store.tables import open_place

    report = compare_versions(open_place(a), open_place(b))
    terminal.output(report, as_json, lambda console: render_difference(report, console))
    if exit_code and not report["equal"]:
        raise typer.Exit(1)


def trace(
    dataset: DatasetPlace,
    sample: Annotated[
        str,
        typer.Argument(
            metavar="SAMPLE", help="Name of a sample, as the index has it.", autocompletion=complete_samples
        ),
    ],
    out: Annotated[Path | None, out_option("A picture of the tree to write, PNG or JPEG.", "none")] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Make the sample again from its source, and compare the pixels.")
    ] = False,
    source: Annotated[
        str | None, typer.Option(help="Where the source is now; by default where the last build found it.")
    ] = None,
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Say how a sample came about: every step with what it drew, down to the source images.

    **--replay** reads the source again, performs only the tasks that this sample needs, encodes it as it is stored,
    and compares the pixel digests of image and masks. The exit code is then 0 if they are equal, and 1 if they differ
    or the sample cannot be made any more; the reason is printed. Nothing is written to the dataset.
    """
    from augforge.engine.replay import replay_sample
    from augforge.report.show import save_png
    from augforge.report.trace import render_trace, trace_sample
    from augforge.report.tree_picture import tree_picture
    from augforge.store.dataset import open_dataset

    opened = open_dataset(dataset, version)
    found = trace_sample(opened, sample)
    if out is not None:
        save_png(tree_picture(opened, found), out)
        terminal.remark(f"wrote {out}")
    done = None
    if replay:
        with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible("nothing was written"):
            done = replay_sample(opened, sample, source, progress)
    data = {**found, "replay": None if done is None else asdict(done)}
    terminal.output(data, as_json, lambda console: render_trace(found, done, console))
    if done is not None and done.verdict != "equal":
        raise typer.Exit(1)


def explain(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")],
    out: Annotated[str | None, out_option("Folder or URL of the dataset; datasets/NAME by default.")] = None,
    jobs: Jobs = 1,
    overrides: Overrides = None,
    rename: Rename = False,
    as_json: Json = False,
) -> None:
    """Say what a build would do, and why, without doing it: every task that would run, grouped by its reason.

    The plan is compared with the current version. Reasons are a source image or annotation that changed or is new, a
    parameter, an op's version, other partners, a library's version, pixels or measurements that are gone, or that there
    is no dataset yet. If a build would give the current version again, that is said. The exit code is 0 in any case.

    With **--json**, `version` is the current version, and `next_version` the one that a build would give; null if that
    depends on pixels that are still to be made, as `version_note` then says. `unchanged` is true, false, or null.

    Takes the options of `build`, so that the same line can be built afterwards. **augforge diff** says what came of it.
    """
    from augforge.engine.explaining import explain as plan
    from augforge.report.explanation import explanation_json, render_explanation

    with terminal.interruptible("nothing was written"):
        found = plan(recipe, out, jobs=jobs, overrides=overrides or (), rename=rename)
    terminal.output(explanation_json(found), as_json, lambda console: render_explanation(found, console))


def tag(
    dataset: Folder,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The tag, such as baseline; without it, all are listed.")
    ] = None,
    version: Annotated[
        str | None,
        typer.Argument(metavar="VERSION", help="Its tag, or the beginning of its name; by default the current one."),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", "-d", help="Take the tag away; the version stays.")] = False,
    as_json: Json = False,
) -> None:
    """Give a version a name, list such names, or take one away.

    Wherever a version is named, its tag can be named instead: **--version baseline**, **DATASET@baseline**. A tag that
    exists moves to the version given. `gc` keeps tagged versions. Tags stand in `tags.yaml` beside the manifest.
    """
    from augforge.store.history import delete_tag, list_tags, tag_version

    if delete and (name is None or version is not None):
        raise typer.BadParameter("expected the NAME of the tag to take away, and no VERSION", param_hint="--delete")
    if name is None:
        tags = list_tags(dataset)
        terminal.output({"tags": tags}, as_json, lambda console: _print_tags(tags, console))
        return
    found = delete_tag(dataset, name) if delete else tag_version(dataset, name, version)
    text = f"{name} no longer names version {found}" if delete else f"{name} names version {found}"
    terminal.output({"tag": name, "version": found, "deleted": delete}, as_json, lambda console: console.print(text))


def _print_tags(tags: dict[str, str], console: Console) -> None:
    for name, version in tags.items():
        console.print(f"{version}  {terminal.escape(name)}", soft_wrap=True)
    if not tags:
        console.print("No version has a tag. Give one: augforge tag DATASET NAME [VERSION]")


def checkout(
    dataset: Folder,
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="The version: a tag, or the beginning of its name.")
    ],
    as_json: Json = False,
) -> None:
    """Make a version of a dataset the current one.

    Only `manifest.yaml` and the card are replaced: nothing is copied, and no version is lost. Whoever is reading sees
    the old version or the new one, and a running build makes it an error. **augforge log** lists the
    versions. The next build of a recipe makes its own result current again.
    """
    from augforge.store.history import checkout as make_current

    manifest = make_current(dataset, version)
    found = {"name": manifest.name, "version": manifest.version, "samples": manifest.samples}
    terminal.output(
        found, as_json, lambda console: console.print(f"version {manifest.version} of {manifest.name} is current")
    )


COMMANDS: list[Callable[..., None]] = [log, diff, trace, explain, tag, checkout]
