"""Commands to look at a dataset, in the terminal or in a browser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from augforge.cli import terminal
from augforge.cli.options import DatasetPlace, Jobs, Json, Overrides, Version, out_option

if TYPE_CHECKING:
    from augforge.report.html.page import Report
    from augforge.report.review.case import Case
    from augforge.store.dataset import Dataset

Place = Annotated[
    str, typer.Argument(metavar="DATASET|RECIPE", help="Folder or URL of a dataset; or a recipe that was built.")
]
Port = Annotated[
    int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 for a free one. Fixed, it can be forwarded by SSH.")
]
Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser of this machine.")]


def report(
    place: Place,
    out: Annotated[Path | None, out_option("The page to write, one file of HTML.", "report.html")] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="Show what changed since: DATASET@VERSION, another dataset, or a version of this one.",
        ),
    ] = None,
    thumbnails: Annotated[int, typer.Option(min=0, help="Samples of the gallery; these alone are decoded.")] = 48,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page on 127.0.0.1 instead, with all samples page by page.")
    ] = False,
    port: Port = 0,
    browser: Browser = True,
    version: Version = None,
    as_json: Json = False,
) -> None:
    """Write one page of HTML that shows a dataset: pictures, classes, splits, leaks, metadata, findings, steps.

    The file opens from disk and loads nothing from anywhere, so that it can be sent to somebody else. It holds names
    of samples and groups, thumbnails, the recipe, the dataset's folder, and values of metadata that are numbers or few;
    the recipe's `metadata` leaves columns out.

    Nearly all figures come from the index, without decoding a pixel. Intensities, overlaps and pictures are those of
    the samples in the gallery, of each split and step alike.

    **--serve** shows the same in the browser, and all samples with filters by split, step, class, tag and name; it
    needs `pip install 'augforge[review]'`.

    **augforge report datasets/hands --against datasets/hands@baseline** also shows what changed. With **--json** the
    figures are printed, and a page is written only if `-o` names one.
    """
    from augforge.report.html.facts import gather_facts
    from augforge.report.html.opening import open_against, open_shown
    from augforge.report.html.page import make_report, report_dataset

    if serve:
        require_no_file(out)
    shown, note = open_shown(place, version)
    before = open_against(against, shown)
    if serve:
        _serve_report(make_report(shown, before, thumbnails, pages="samples", note=note), shown, port, browser, as_json)
        return
    path = out or (None if as_json else Path("report.html"))
    if path is None:
        facts = gather_facts(shown, before)
    else:
        facts = report_dataset(shown, path, before, thumbnails=thumbnails, note=note)
    if note:
        terminal.remark(note)
    terminal.output(
        facts, as_json, lambda console: console.print(f"wrote {terminal.escape(str(path))}", soft_wrap=True)
    )


def require_no_file(out: Path | None) -> None:
    """Raise if a file is asked for, and a server at the same time; or if there is nothing to serve with."""
    from augforge.report.web.serving import require_server

    if out is not None:
        raise typer.BadParameter("--serve writes no file; leave one of the two out", param_hint="-o/--out")
    require_server("--serve")


def _serve_report(made: Report, shown: Dataset, port: int, browser: bool, as_json: bool) -> None:
    from augforge.report.html.browsing import report_app
    from augforge.report.web.serving import listen, serve

    serve(report_app(shown, made), listen(port), lambda url: tell_address(url, as_json), browser=browser)


def tell_address(url: str, as_json: bool) -> None:
    """Print where a page is served; the address has the token in it, and is for the person who started it alone."""
    terminal.output(
        {"url": url},
        as_json,
        lambda console: console.print(url, "Ctrl+C ends it.", sep="\n", soft_wrap=True, markup=False),
    )


def review(
    place: Place,
    file: Annotated[
        Path | None,
        typer.Option(
            help="The review file; by default the one that the recipe names, or review.yaml beside the recipe."
        ),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--dataset", help="Folder of the recipe's dataset; datasets/NAME by default.")
    ] = None,
    crossval: Annotated[
        list[Path] | None, typer.Option(help="Also the labels that a cross-validation doubts. May be repeated.")
    ] = None,
    run: Annotated[
        list[Path] | None, typer.Option(help="Also the worst predictions of an evaluated run. May be repeated.")
    ] = None,
    worst: Annotated[int, typer.Option(min=1, help="How many of each --crossval and --run.")] = 50,
    every: Annotated[bool, typer.Option("--all", help="Also source images that nothing speaks against.")] = False,
    port: Port = 0,
    browser: Browser = True,
    jobs: Jobs = 1,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Judge source images in the browser: keep or drop, with a reason, into the review file of a recipe.

    Shown are the source images that filters flag, that findings of a build name, that the review file names already,
    and with **--crossval** and **--run** those that models disagree with; there the labels and the prediction change
    by a key. Verdicts are written at once, one entry at a time; comments in the file stay. If somebody else gave a
    verdict on the same image meanwhile, the page shows both.

    The page is served on 127.0.0.1, at an address with a token, until Ctrl+C. On another machine: **augforge review
    RECIPE --no-browser --port 8765** there, and `ssh -L 8765:127.0.0.1:8765 HOST` here; then open the address that
    was printed. Needs `pip install 'augforge[review]'`.
    """
    from augforge.report.review.app import review_app
    from augforge.report.review.opening import open_desk
    from augforge.report.web.serving import listen, require_server, serve

    require_server("augforge review")
    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible("nothing was written"):
        suspects = _suspects(crossval or (), run or (), worst)
        desk = open_desk(
            place, file, folder, suspects, every=every, jobs=jobs, overrides=overrides or (), progress=progress
        )
    address = listen(port)
    if desk.note:
        terminal.remark(desk.note)
    serve(review_app(desk), address, lambda url: tell_address(url, as_json), browser=browser)


def _suspects(crossval: Sequence[Path], run: Sequence[Path], worst: int) -> list[Case]:
    """The source images that models disagree with; the trainer is imported only where it is asked for."""
    if not crossval and not run:
        return []
    from augforge.train.suspects import doubted_labels, worst_predictions

    doubted = [case for folder in crossval for case in doubted_labels(folder, worst)]
    return doubted + [case for folder in run for case in worst_predictions(folder, worst)]


def inspect(dataset: DatasetPlace, version: Version = None, as_json: Json = False) -> None:
    """Summarise a dataset: splits, classes, sizes, rejections, recipe."""
    from augforge.report.inspect import inspect as summarise
    from augforge.report.inspect import render_inspect
    from augforge.store.dataset import open_dataset

    found = summarise(open_dataset(dataset, version))
    terminal.output(found, as_json, lambda console: render_inspect(found, console))


COMMANDS: list[Callable[..., None]] = [inspect, report, review]
