"""Commands that train several models: cross-validation and comparison."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from augforge.cli import options, terminal
from augforge.cli.models import need_trainer


def crossval(
    dataset: options.OneDataset = None,
    shards: options.OldShard = None,
    folds: Annotated[int, typer.Option(min=2, help="Number of folds, each held out once.")] = 5,
    split_seed: Annotated[int, typer.Option(help="Seed of the hash that assigns groups to folds.")] = 0,
    config: options.Config = None,
    overrides: options.Changes = None,
    out: Annotated[Path | None, options.out_option("Folder of the study; runs/NAME-crossval by default.")] = None,
    propose: Annotated[int, typer.Option(min=0, help="Write a review file that drops this many of the worst.")] = 0,
    by: Annotated[
        str | None,
        typer.Option(help="Hold out each value in turn instead: of metadata.COLUMN, or of a group of label_groups."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Train on all folds but one, in turn, to find samples whose labels are bad.

    Writes every sample's prediction by the model that has not seen it, and a table of label quality that a recipe can
    use: join it with `source.metadata`, and drop or weight samples by it in `where`. A group is always in one fold.
    With **--by metadata.site** or a group of labels, such as the domain, each of its values is held out in turn.
    Finished parts are kept: the same command goes on.
    """
    place = options.exactly_one("DATASET", shards, dataset)
    need_trainer()
    from augforge.store.dataset import open_dataset
    from augforge.train.config import load_config
    from augforge.train.study.crossval import crossval as cross_validate
    from augforge.train.study.crossval import render_crossval

    settings, opened = load_config(config, overrides or ()), open_dataset(place)
    folder = out or Path("runs") / f"{opened.name}-crossval"
    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible():
        result = cross_validate(
            opened, settings, folder, folds=folds, split_seed=split_seed, propose=propose, by=by, progress=progress
        )
    terminal.output(result, as_json, lambda console: render_crossval(result, console))


def compare(
    datasets: Annotated[
        list[str], typer.Argument(metavar="DATASET", help="Datasets; others are compared to the first.")
    ],
    seeds: Annotated[int, typer.Option(min=1, help="Models trained on each.")] = 3,
    budget: Annotated[int | None, typer.Option(min=1, help="Optimizer steps of each model.")] = None,
    config: options.Config = None,
    overrides: options.Changes = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the comparison.")] = Path("runs/compare"),
    source: Annotated[
        str | None, typer.Option(help="Where the raw data lies, if it was moved since the build.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Which recipe made the model better, and on which class?

    Trains the same model, with the same budget and seeds, on each dataset's training split, and scores every model on
    the source images that all datasets hold back for validation, at the source's own pixels and raw labels: recipes
    that prepare images differently stay comparable. Differences come with 95 % intervals over seeds and images. Masks
    are compared by Dice, labels by balanced accuracy.
    Finished parts are kept: the same command goes on.
    """
    need_trainer()
    from augforge.store.dataset import open_dataset
    from augforge.train.config import load_config
    from augforge.train.study.compare import compare as compare_datasets
    from augforge.train.study.forest import render_compare

    settings, opened = load_config(config, overrides or ()), [open_dataset(path) for path in datasets]
    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible():
        result = compare_datasets(opened, settings, out, seeds=seeds, budget=budget, source=source, progress=progress)
    terminal.output(result, as_json, lambda console: render_compare(result, console))


COMMANDS: list[Callable[..., None]] = [crossval, compare]
