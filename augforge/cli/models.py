"""Commands around models: train, measure, predict, compare. Torch is imported by the command that needs it."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from augforge.cli import terminal
from augforge.cli.options import (
    BatchSize,
    Changes,
    Config,
    Csv,
    ImageName,
    Json,
    MoreShards,
    RunFolder,
    Shards,
    Split,
    Swap,
    Tta,
    pairs_of,
    window_of,
)
from augforge.errors import MissingExtra


def train(
    shards: Shards,
    more: MoreShards = None,
    config: Config = None,
    overrides: Changes = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; runs/NAME of the dataset without it.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    show_config: Annotated[bool, typer.Option("--show-config", help="Print the whole configuration and stop.")] = False,
    as_json: Json = False,
) -> None:
    """Train a segmentation network on the shards of datasets; a classifier where they hold labels alone.

    Without a configuration: Unet++ with a resnet34 encoder, BCE and Dice loss, AdamW, cosine schedule, 12 epochs, AMP
    where the device is fast at it. **--show-config** prints every key with its value, to begin a file from.

    The network that did best on the split `val` is kept. The same command gives the same bytes on the same machine,
    stopped and resumed too. On several GPUs: **torchrun --nproc-per-node 4 -m augforge train --shards ...**
    """
    from augforge.train.config import load_config

    told = load_config(config, overrides or ())
    if show_config:
        typer.echo(told.to_yaml(), nl=False)
        return
    _need_trainer()
    from augforge.store.dataset import open_dataset
    from augforge.train.loop import train as run
    from augforge.train.summary import render_summary

    datasets = [open_dataset(place) for place in (*shards, *(more or ()))]
    errors = terminal.console(stderr=True)
    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible(_STOPPED):
        summary = run(
            datasets,
            told,
            out or Path("runs") / datasets[0].name,
            resume=resume,
            progress=progress,
            log=lambda line: errors.print(terminal.escaped(line), soft_wrap=True),
        )
    if os.environ.get("RANK", "0") == "0":  # one of torchrun's processes speaks for all
        terminal.output(summary, as_json, lambda console: render_summary(summary, console))


def evaluate(
    run: RunFolder,
    shards: Shards,
    more: MoreShards = None,
    split: Split = "val",
    tolerance: Annotated[
        float, typer.Option(min=0, help="Pixels by which an outline may be off, of surface Dice.")
    ] = 2.0,
    worst: Annotated[int, typer.Option(min=0, help="Samples to draw, those of the lowest Dice.")] = 8,
    tta: Tta = None,
    swap: Swap = None,
    out: Annotated[Path | None, typer.Option(help="Folder for tables and pictures; by default below RUN.")] = None,
    as_json: Json = False,
) -> None:
    """Measure a model by the samples of a split, at their full size.

    Dice and IoU by class, mean Dice as the hand-bone contest counts it, surface Dice and HD95 of the outlines,
    calibration, what is confused with what, missed and invented. Writes a table with a row a sample, and pictures of
    the worst samples.
    """
    _need_trainer()
    from augforge.train.evaluation.evaluate import evaluate as measure
    from augforge.train.evaluation.tables import render_evaluation

    ways: dict[str, Any] = {"tta": tta, "swap": pairs_of(swap)} if tta else {}  # a classifier has none
    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible("nothing was written"):
        found = measure(
            run,
            [*shards, *(more or ())],
            split=split,
            surface_tolerance=tolerance,
            worst=worst,
            out=out,
            progress=progress,
            **ways,
        )
    terminal.output(found, as_json, lambda console: render_evaluation(found, console))


def predict(
    run: RunFolder,
    images: Annotated[str, typer.Argument(metavar="IMAGES", help="A folder of images, one image, or a dataset.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The table to write.")] = Path("predictions.parquet"),
    csv: Csv = None,
    image_name: ImageName = "auto",
    split: Annotated[str | None, typer.Option(help="Of a dataset: only this split.")] = None,
    window: Annotated[
        int | None, typer.Option(help="Sliding windows of so many pixels instead of whole images.")
    ] = None,
    overlap: Annotated[float, typer.Option(help="Share of a window that the next one covers too.")] = 0.25,
    scale: Annotated[
        str | None, typer.Option(help="Of images before windows are cut: a factor, or fit, as in training.")
    ] = None,
    tta: Tta = None,
    swap: Swap = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Keep those above 0.3, for ensembles.")
    ] = False,
    overlays: Annotated[Path | None, typer.Option(help="Folder for a picture of each image with its classes.")] = None,
    batch_size: BatchSize = None,
    skip_broken: Annotated[bool, typer.Option("--skip-broken", help="Leave out files that cannot be read.")] = False,
    as_json: Json = False,
) -> None:
    """Predict the classes of images, at their own pixels.

    The table has a row an image and class with its run lengths; **--csv** writes a contest's file besides. A dataset's
    samples are turned back to the pixels of the source images that they were made from.
    """
    _need_trainer()
    from augforge.train.prediction.predict import predict as run_it
    from augforge.train.prediction.predict import render_predictions
    from augforge.train.run import TrainingRun

    opened = TrainingRun.open(run)
    windows = window_of(window, overlap, scale, crop=opened.config.data.crop is not None)
    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible("nothing was written"):
        found = run_it(
            opened,
            images,
            output,
            csv=csv,
            image_name=image_name,  # type: ignore[arg-type]
            split=split,
            window=windows or opened.window,
            tta=tta or (),
            swap=pairs_of(swap),
            probabilities=probabilities,
            overlays=overlays,
            batch_size=batch_size,
            on_error="skip" if skip_broken else "error",
            progress=progress,
        )
    terminal.output(found, as_json, lambda console: render_predictions(found, console))


def tune_thresholds(
    run: RunFolder,
    shards: Annotated[str, typer.Option(metavar="DATASET", help="A dataset: folder or URL.")],
    split: Split = "val",
    tta: Tta = None,
    swap: Swap = None,
    as_json: Json = False,
) -> None:
    """Find each class's threshold of the highest Dice; predict uses them from then on.

    They suit the split that they were found on: judge them on another.
    """
    _need_trainer()
    from augforge.store.dataset import open_dataset
    from augforge.train.prediction.thresholds import render_thresholds
    from augforge.train.prediction.thresholds import tune_thresholds as tune
    from augforge.train.run import TrainingRun

    ways: dict[str, Any] = {"tta": tta or (), "swap": pairs_of(swap)}
    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible("nothing was written"):
        found = tune(TrainingRun.open(run), open_dataset(shards), split, progress=progress, **ways)
    terminal.output(found, as_json, lambda console: render_thresholds(found, console))


def ensemble(
    tables: Annotated[list[Path], typer.Argument(metavar="TABLE...", help="Tables that augforge predict wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The table to write.")] = Path("ensemble.parquet"),
    method: Annotated[str, typer.Option(help="vote: of the masks, by pixel; mean: of the probabilities.")] = "vote",
    weight: Annotated[list[float] | None, typer.Option(help="Of each table, in order; alike without it.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Of mean: probability; of vote: share of the weight.")] = None,
    csv: Csv = None,
    image_name: ImageName = "auto",
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Keep the mean ones above 0.3.")] = False,
    as_json: Json = False,
) -> None:
    """Join the predictions of several models for the same images.

    **vote** takes what more than half of the models say; **mean** needs tables that were written with
    **--probabilities**. Memory does not grow with the number of images.
    """
    _need_trainer()
    from augforge.train.prediction.ensemble import ensemble as join
    from augforge.train.prediction.predict import render_predictions

    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible("nothing was written"):
        found = join(
            tables,
            output,
            method,  # type: ignore[arg-type]
            weights=weight,
            threshold=threshold,
            csv=csv,
            image_name=image_name,  # type: ignore[arg-type]
            probabilities=probabilities,
            progress=progress,
        )
    terminal.output(found, as_json, lambda console: render_predictions(found, console))


def crossval(
    shards: Annotated[str, typer.Option(metavar="DATASET", help="A dataset: folder or URL.")],
    folds: Annotated[int, typer.Option(min=2, help="Parts of the groups, each held back once.")] = 5,
    split_seed: Annotated[int, typer.Option(help="Of the hash that deals groups into folds.")] = 0,
    config: Config = None,
    overrides: Changes = None,
    out: Annotated[Path | None, typer.Option(help="Folder; runs/NAME-crossval without it.")] = None,
    propose: Annotated[int, typer.Option(min=0, help="Write a review file that drops so many of the worst.")] = 0,
    as_json: Json = False,
) -> None:
    """Train on all folds but one, in turn, to find samples whose labels are bad.

    Writes every sample's prediction by the model that has not seen it, and a table of label quality that a recipe can
    use: join it with `source.metadata`, and drop or weigh by it in `where`. Groups are never parted. What is finished
    is kept: the same command goes on.
    """
    _need_trainer()
    from augforge.store.dataset import open_dataset
    from augforge.train.config import load_config
    from augforge.train.study.crossval import crossval as run_it
    from augforge.train.study.crossval import render_crossval

    told = load_config(config, overrides or ())
    dataset = open_dataset(shards)
    folder = out or Path("runs") / f"{dataset.name}-crossval"
    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible():
        found = run_it(dataset, told, folder, folds=folds, split_seed=split_seed, propose=propose, progress=progress)
    terminal.output(found, as_json, lambda console: render_crossval(found, console))


def compare(
    datasets: Annotated[
        list[str], typer.Argument(metavar="DATASET...", help="Datasets; others are compared to the first.")
    ],
    seeds: Annotated[int, typer.Option(min=1, help="Models trained on each.")] = 3,
    budget: Annotated[int | None, typer.Option(min=1, help="Optimizer steps of each model.")] = None,
    config: Config = None,
    overrides: Changes = None,
    out: Annotated[Path, typer.Option(help="Folder of the comparison.")] = Path("runs/compare"),
    source: Annotated[
        str | None, typer.Option(help="Where the raw data lies, if it was moved since the build.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Which recipe made the model better, and on which class?

    Trains the same model, with the same budget and seeds, on each dataset's training split, and judges every model by
    the source images that all of them hold back for validation, at the source's own pixels and raw labels: recipes
    that prepare differently stay comparable. Differences come with 95 % intervals over seeds and images.
    What is finished is kept: the same command goes on.
    """
    _need_trainer()
    from augforge.store.dataset import open_dataset
    from augforge.train.config import load_config
    from augforge.train.study.compare import compare as run_it
    from augforge.train.study.forest import render_compare

    told = load_config(config, overrides or ())
    opened = [open_dataset(path) for path in datasets]
    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible():
        found = run_it(opened, told, out, seeds=seeds, budget=budget, source=source, progress=progress)
    terminal.output(found, as_json, lambda console: render_compare(found, console))


def _need_trainer() -> None:
    for module, package in (("torch", "torch"), ("segmentation_models_pytorch", "segmentation-models-pytorch")):
        if find_spec(module) is None:
            raise MissingExtra(package, "train", "the trainer")


_STOPPED = "what was trained so far is kept. The same command with --resume goes on from there"

COMMANDS: list[Callable[..., None]] = [train, evaluate, predict, tune_thresholds, ensemble, crossval, compare]
