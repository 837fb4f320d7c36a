"""Commands around models: train, evaluate, predict. Each imports torch only when it is called."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from augforge.cli import options, terminal
from augforge.errors import MissingExtra


def train(
    datasets: options.Datasets = None,
    shards: options.Shards = None,
    config: options.Config = None,
    overrides: options.Changes = None,
    out: Annotated[Path | None, options.out_option("Folder of the run; runs/NAME of the dataset by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume a run that was stopped.")] = False,
    show_config: Annotated[bool, typer.Option("--show-config", help="Print the whole configuration and stop.")] = False,
    as_json: options.Json = False,
) -> None:
    """Train a segmentation network on the shards of datasets; a classifier where they hold labels alone.

    Without a configuration: Unet++ with a resnet34 encoder, BCE and Dice loss, AdamW, cosine schedule, 12 epochs, AMP
    where the device is fast at it. **--show-config** prints every key with its value, meaning and choices, to
    begin a file from.

    Labels of which exactly one is true are learnt by cross entropy, others one by one by BCE; `task` and `label_groups`
    say more. The network that did best on the split `val` is kept. The same command gives the same bytes on the same
    machine, stopped and resumed too. On several GPUs: **torchrun --nproc-per-node 4 -m augforge train --shards ...**
    """
    from augforge.train.config import load_config

    settings = load_config(config, overrides or ())
    if show_config:
        from augforge.train.configtext import commented_yaml

        typer.echo(commented_yaml(settings), nl=False)
        return
    places = options.datasets_of(shards, datasets)
    need_trainer()
    from augforge.store.dataset import open_dataset
    from augforge.train.loop import train as train_model
    from augforge.train.summary import render_summary

    opened = [open_dataset(place) for place in places]
    folder = out or Path("runs") / opened[0].name
    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible(_RESUMABLE):
        summary = train_model(opened, settings, folder, resume=resume, progress=progress, log=terminal.remark)
    if os.environ.get("RANK", "0") == "0":  # of torchrun's processes, the first one prints for all
        terminal.output(summary, as_json, lambda console: render_summary(summary, console))


def evaluate(
    run: options.RunFolder,
    datasets: options.Datasets = None,
    shards: options.OldShards = None,
    split: options.Split = "val",
    tolerance: Annotated[
        float, typer.Option(min=0, help="Pixels by which an outline may be off in surface Dice.")
    ] = 2.0,
    worst: Annotated[
        int, typer.Option(min=0, help="Number of samples with the lowest Dice, or the highest loss, to draw.")
    ] = 8,
    tta: options.Tta = None,
    swap: options.Swap = None,
    weights: options.Weights = "best",
    as_is: options.AsIs = False,
    out: Annotated[Path | None, options.out_option("Folder for tables and pictures; by default below RUN.")] = None,
    as_json: options.Json = False,
) -> None:
    """Evaluate a model on the samples of a split, at their full size.

    Dice and IoU by class, mean Dice as the hand-bone contest computes it, surface Dice and HD95 of the outlines,
    calibration, and which classes are confused, missed or invented. Of labels: accuracy, balanced accuracy, mAP, AUROC,
    F1 and confusion. Writes a table with one row per sample, and pictures of the worst samples.

    Samples of a dataset that was not built by the preparing steps of the model's own recipe (upright, resize, CLAHE) go
    through them first, and are judged at their own pixels all the same.
    """
    places = options.datasets_of(shards, datasets)
    need_trainer()
    from augforge.train.evaluation.evaluate import evaluate as evaluate_run
    from augforge.train.evaluation.tables import render_evaluation

    # Passed only if asked for: a classifier accepts none.
    augmentation: dict[str, Any] = {"tta": tta, "swap": options.pairs_of(swap)} if tta else {}
    augmentation |= {"weights": options.weights_of(weights)} if weights != "best" else {}
    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible("nothing was written"):
        result = evaluate_run(
            run,
            places,
            split=split,
            surface_tolerance=tolerance,
            worst=worst,
            out=out,
            as_is=as_is,
            progress=progress,
            **augmentation,
        )
    terminal.output(result, as_json, lambda console: render_evaluation(result, console))


def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a training run.")],
    images: Annotated[
        str | None, typer.Argument(metavar="IMAGES", help="A folder of images, one image, or a dataset.")
    ] = None,
    crossval: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Instead of RUN: all models of a crossval, whose probabilities are averaged."),
    ] = None,
    weights: options.Weights = "best",
    out: Annotated[Path | None, options.out_option("The table to write.", "predictions.parquet")] = None,
    old_output: options.OldOutput = None,
    csv: options.Csv = None,
    image_name: options.ImageName = "auto",
    split: Annotated[str | None, typer.Option(help="Only this split of a dataset.")] = None,
    window: Annotated[
        int | None, typer.Option(help="Predict by sliding windows of this many pixels, not whole images.")
    ] = None,
    overlap: Annotated[float, typer.Option(help="Share of a window that the next one covers too.")] = 0.25,
    scale: Annotated[
        str | None, typer.Option(help="Scale of images before windows are cut: a factor, or fit, as in training.")
    ] = None,
    tta: options.Tta = None,
    swap: options.Swap = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Keep probabilities above 0.3, for ensembles.")
    ] = False,
    overlays: Annotated[Path | None, typer.Option(help="Folder for a picture of each image with its classes.")] = None,
    batch_size: options.BatchSize = None,
    as_is: options.AsIs = False,
    skip_broken: Annotated[bool, typer.Option("--skip-broken", help="Leave out files that cannot be read.")] = False,
    as_json: options.Json = False,
) -> None:
    """Predict the classes of images, at their own pixels; or their labels, with a classifier.

    The table has one row per image and class, with its run lengths; **--csv** also writes a contest's file. Predictions
    of a dataset's samples are turned back to the pixels of the source images that the samples were made from. With
    labels, table and CSV have one row per image with the probability of each label.

    Images first go through the steps by which the recipe prepared the model's own samples (upright, resize, CLAHE),
    unless they are samples of a dataset that was built by the same ones. Masks come at the images' own pixels.
    """
    need_trainer()
    from augforge.train.prediction.predict import predict as predict_images
    from augforge.train.prediction.predict import render_predictions
    from augforge.train.run import TrainingRun
    from augforge.train.study.foldruns import FoldRuns

    folder, images = options.run_and_images(run, images, crossval)
    trained = TrainingRun.open(folder) if crossval is None else FoldRuns.open(folder)
    windows = options.window_of(window, overlap, scale, crop=trained.config.data.crop is not None)
    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible("nothing was written"):
        result = predict_images(
            trained,
            images,
            old_output or out or Path("predictions.parquet"),
            csv=csv,
            image_name=image_name,  # type: ignore[arg-type]
            split=split,
            window=windows or trained.window,
            tta=tta or (),
            swap=options.pairs_of(swap),
            probabilities=probabilities,
            weights=options.weights_of(weights),
            overlays=overlays,
            batch_size=batch_size,
            as_is=as_is,
            on_error="skip" if skip_broken else "error",
            progress=progress,
        )
    terminal.output(result, as_json, lambda console: render_predictions(result, console))


def tune_thresholds(
    run: options.RunFolder,
    dataset: options.OneDataset = None,
    shards: options.OldShard = None,
    split: options.Split = "val",
    tta: options.Tta = None,
    swap: options.Swap = None,
    as_is: options.AsIs = False,
    as_json: options.Json = False,
) -> None:
    """Find each class's threshold of the highest Dice, or each label's of the highest F1; predict uses them then.

    They fit the split that they were found on: evaluate them on another one.
    """
    place = options.exactly_one("DATASET", shards, dataset)
    need_trainer()
    from augforge.store.dataset import open_dataset
    from augforge.train.prediction.thresholds import render_thresholds
    from augforge.train.prediction.thresholds import tune_thresholds as tune
    from augforge.train.run import TrainingRun

    trained, opened = TrainingRun.open(run), open_dataset(place)
    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible("nothing was written"):
        result = tune(
            trained, opened, split, progress=progress, as_is=as_is, tta=tta or (), swap=options.pairs_of(swap)
        )
    terminal.output(result, as_json, lambda console: render_thresholds(result, console))


def ensemble(
    tables: Annotated[list[Path], typer.Argument(metavar="TABLE", help="Tables that augforge predict wrote.")],
    out: Annotated[Path | None, options.out_option("The table to write.", "ensemble.parquet")] = None,
    old_output: options.OldOutput = None,
    method: Annotated[str, typer.Option(help="vote: of the masks, by pixel; mean: of the probabilities.")] = "vote",
    weight: Annotated[
        list[float] | None, typer.Option(help="Weight of each table, in order; equal without it.")
    ] = None,
    class_weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS=X,X", help="Weights of the tables for one class or label, as Pisiform=3,1. May be repeated."
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Of mean: the probability; of vote: the share of the weight.")
    ] = None,
    csv: options.Csv = None,
    image_name: options.ImageName = "auto",
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Keep mean probabilities above 0.3.")] = False,
    as_json: options.Json = False,
) -> None:
    """Join the predictions of several models for the same images.

    With **vote**, a pixel is a class if more than half of the models say so; **mean** needs tables that were written
    with **--probabilities**, or tables of labels. Memory does not grow with the number of images.
    """
    need_trainer()
    from augforge.train.prediction.ensemble import ensemble as join
    from augforge.train.prediction.predict import render_predictions

    with terminal.progress_bars(quiet=as_json) as progress, terminal.interruptible("nothing was written"):
        result = join(
            tables,
            old_output or out or Path("ensemble.parquet"),
            method,  # type: ignore[arg-type]
            weights=weight,
            class_weights=options.class_weights_of(class_weight),
            threshold=threshold,
            csv=csv,
            image_name=image_name,  # type: ignore[arg-type]
            probabilities=probabilities,
            progress=progress,
        )
    terminal.output(result, as_json, lambda console: render_predictions(result, console))


def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that holds runs, at any depth.")] = Path(
        "runs"
    ),
    as_json: options.Json = False,
) -> None:
    """List the training runs below a folder: dataset, network, steps, and the best score by the figure that chose it.

    Runs that are not finished are listed too, with the steps done so far. Scores by different figures, and on different
    datasets, cannot be compared with each other.
    """
    need_trainer()
    from augforge.train.runs import list_runs, render_runs

    found = list_runs(folder)
    terminal.output(found, as_json, lambda console: render_runs(found, console))


def need_trainer() -> None:
    """Raise MissingExtra unless the packages of the trainer are installed."""
    for module, package in (("torch", "torch"), ("segmentation_models_pytorch", "segmentation-models-pytorch")):
        if find_spec(module) is None:
            raise MissingExtra(package, "train", "the trainer")


_RESUMABLE = "what was trained so far is kept. The same command with --resume goes on from there"

COMMANDS: list[Callable[..., None]] = [train, evaluate, predict, tune_thresholds, ensemble, runs]
