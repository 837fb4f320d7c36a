"""Predicting the labels of images or datasets: a table of probabilities, and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from augforge.export.paths import sample_path
from augforge.files import make_folder, writing
from augforge.progress import Progress, Silent
from augforge.report.show import save_png
from augforge.train.labels.groups import predicted_labels
from augforge.train.labels.pictures import label_picture
from augforge.train.labels.predictor import label_predictor
from augforge.train.labels.table import LabelHeader, LabelRow, check_csv_labels, write_label_csv, write_labels
from augforge.train.prediction.inputs import list_inputs
from augforge.train.prediction.predict import PredictedTarget, describe_origin, predict_targets, report_images
from augforge.train.prediction.remaining import remaining_steps
from augforge.train.prediction.submission import ImageName, use_file_names

if TYPE_CHECKING:
    from augforge.sources.core import Source
    from augforge.store.dataset import Dataset
    from augforge.train.run import TrainingRun


def predict_labels(
    run: TrainingRun,
    images: str | Path | Source | Dataset,
    out: Path,
    *,
    csv: Path | None = None,
    image_name: ImageName = "auto",
    split: str | None = None,
    overlays: Path | None = None,
    as_is: bool = False,
    on_error: Literal["error", "skip"] = "error",
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Predict the labels of images.

    A source image that several samples of a dataset show, such as windows, gets the mean of their probabilities.

    Args:
        run: a classifier; tuned thresholds of its labels are used, if there are any.
        images, split, on_error: as in `prediction.predict.predict`.
        out: the Parquet table to write; see `augforge.train.labels.table`.
        csv: a CSV to write in addition, with a column of probabilities for each label.
        image_name: in the CSV, with folders or without.
        overlays: folder for a picture of each image with its predicted labels.
        as_is: images do not go through the preparing steps of the run's datasets.
        progress: advances with each image.
        options: of `label_predictor`.

    Returns:
        JSON-like: what was predicted, ``skipped`` files with reasons, and for each label its images.

    Raises:
        TrainError: options do not fit, or there is nothing to predict.
        SourceError: files that cannot be read. No table is left behind.
    """
    inputs = list_inputs(images, split, on_error)
    remaining = remaining_steps(run, inputs.dataset, as_is=as_is)
    predictor = remaining.prepare_for(label_predictor(run, **options))
    if csv is not None:  # reported now, not after hours of predicting
        check_csv_labels(run.labels)
        use_file_names((target.file for target in inputs.targets), image_name)
    origin = describe_origin(run, inputs, remaining, options.get("tta") or ())
    header = LabelHeader(run.spec.groups, run.thresholds, origin)
    progress = progress or Silent()
    progress.start("predict", len(inputs.targets))
    rows = _label_rows(predict_targets(inputs, predictor, on_error), header, overlays, progress)
    classes = write_labels(out, header, rows)
    if csv is not None:
        write_label_csv(out, csv, image_name)
    written = {"predictions": out, "csv": csv, "overlays": overlays}
    warnings = [*predictor.warnings, *remaining.warnings()]
    report = report_images(run, inputs, remaining, written)
    return {**report, "task": "classification", "warnings": warnings, "classes": classes}


def _label_rows(
    predicted: Iterable[PredictedTarget], header: LabelHeader, overlays: Path | None, progress: Progress
) -> Iterator[LabelRow]:
    for each in predicted:
        rows = np.array([prediction.probabilities for prediction in each.predictions], np.float64)
        root, sample = each.target.parts[0].root, each.samples[0]
        width, height = (sample.width, sample.height) if root is None else root.size
        row = LabelRow(each.target.name, each.target.file, width, height, rows.mean(axis=0).astype(np.float32))
        if overlays is not None:
            _draw(each, row, header, overlays)
        yield row
        progress.advance(1)


def _draw(predicted: PredictedTarget, row: LabelRow, header: LabelHeader, folder: Path) -> None:
    path = folder / f"{sample_path(row.name)}.png"
    with writing(path):
        make_folder(path.parent)
    flags = predicted_labels(header.groups, row.probabilities[None], header.thresholds)[0]
    save_png(label_picture(predicted.samples[0], header.labels, row.probabilities, flags), path)
