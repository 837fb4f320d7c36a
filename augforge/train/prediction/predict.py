"""Predicting images or datasets with a trained model: run lengths in Parquet and CSV, and pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from augforge import bitmask
from augforge.errors import SourceError
from augforge.export.paths import sample_path
from augforge.files import make_folder, writing
from augforge.progress import Progress, Silent
from augforge.report.show import save_png, show_samples
from augforge.report.tables import plural, table
from augforge.sample import Image, Sample
from augforge.train.labels.tables import render_label_counts
from augforge.train.mirrored import exchange_back
from augforge.train.prediction.blend import blend, covered_pixels
from augforge.train.prediction.inference import Layer, Prediction, Window
from augforge.train.prediction.inputs import Inputs, Target, list_inputs
from augforge.train.prediction.remaining import Remaining, remaining_steps, render_preparation
from augforge.train.prediction.submission import ImageName, use_file_names, write_csv
from augforge.train.prediction.table import ImagePrediction, TableHeader, encode_image, write_predictions
from augforge.train.prediction.tta import Pairs

if TYPE_CHECKING:
    from augforge.lineage import Root
    from augforge.sources.core import Source
    from augforge.store.dataset import Dataset
    from augforge.train.run import TrainingRun, WeightsName

_MAX_SKIPPED_SHOWN = 10


class PredictedTarget(NamedTuple):
    """A target, the samples that show it, and their predictions in the same order, of masks or of labels."""

    target: Target
    samples: tuple[Sample, ...]
    predictions: tuple[Any, ...]


def predict(
    run: TrainingRun,
    images: str | Path | Source | Dataset,
    out: Path,
    *,
    csv: Path | None = None,
    image_name: ImageName = "auto",
    split: str | None = None,
    window: Window | None = None,
    tta: Sequence[str] = (),
    swap: Pairs | None = None,
    probabilities: bool = False,
    weights: WeightsName = "best",
    overlays: Path | None = None,
    batch_size: int | None = None,
    as_is: bool = False,
    on_error: Literal["error", "skip"] = "error",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Predict the classes of images at their own pixels; or their labels, with a classifier (see `predict_labels`).

    Predictions of a dataset's samples are turned back, by the lineage, to the pixels of the source image that the
    sample shows. If several samples show a pixel, such as overlapping windows, it gets the mean of their probabilities;
    if none does, nothing is predicted there. What was mirrored is mirrored back, and its sides are exchanged back. A
    sample that shows several source images, such as a mosaic, is predicted in its own pixels, under its own name.

    Images that were not prepared as the model's own samples were, as raw images are not, go through the same steps
    first; see `remaining.remaining_steps`. What is written is of the images themselves all the same.

    Args:
        run: the training run; its tuned thresholds are used, if there are any.
        images: a folder of images, an image, a dataset, or any source.
        out: the Parquet table to write; see `augforge.train.prediction.table`.
        csv: a contest's CSV to write in addition: ``image_name,class,rle``.
        image_name: in the CSV, with folders or without.
        split: of a dataset.
        window, tta, swap, weights: see `Predictor` and `TrainingRun.model`.
        probabilities: keep those above 0.3 in the table, for ensembles of means; see `table`.
        overlays: folder for a PNG of each image with its predicted classes.
        batch_size: images or windows at a time; None is that of training.
        as_is: images do not go through the preparing steps of the run's datasets.
        on_error: whether a file that cannot be read is an error, or is skipped and listed.
        progress: advances with each image.

    Returns:
        JSON-like: what was predicted, ``skipped`` files with reasons, by which steps images were prepared
        (``preparation``), ``warnings``, and for each class its images and pixels.

    Raises:
        TrainError: options do not fit, or there is nothing to predict.
        SourceError: files that cannot be read. No table is left behind.
    """
    options: dict[str, Any] = {"batch_size": batch_size, "window": window, "tta": tta, "swap": swap}
    options |= {} if weights == "best" else {"weights": weights}
    if not run.outputs:
        from augforge.train.labels.predict import predict_labels

        where: dict[str, Any] = {"csv": csv, "image_name": image_name, "split": split, "overlays": overlays}
        how: dict[str, Any] = {"as_is": as_is, "on_error": on_error, "progress": progress}
        return predict_labels(run, images, out, **where, **how, **options)
    inputs = list_inputs(images, split, on_error)
    own_window = None if window == run.window else window
    remaining = remaining_steps(run, inputs.dataset, as_is=as_is, tiled=own_window is not None)
    given = {key: value for key, value in options.items() if value is not None}
    predictor = remaining.prepare_for(run.predictor(**given))
    if csv is not None:  # names that are not unique should be reported now, not after hours of predicting
        use_file_names((target.file for target in inputs.targets), image_name)
    header = TableHeader(run.outputs, run.thresholds, describe_origin(run, inputs, remaining, tta), probabilities)
    progress = progress or Silent()
    progress.start("predict", len(inputs.targets))
    # Lazily, one after the other: images are loaded, predicted and written while the table asks for the next one.
    predicted = predict_targets(inputs, predictor, on_error)
    classes = write_predictions(out, header, _encode_targets(predicted, header, overlays, progress))
    if csv is not None:
        write_csv(out, csv, image_name)
    written = {"predictions": out, "csv": csv, "overlays": overlays}
    warnings = [*predictor.warnings, *remaining.warnings()]
    return {**report_images(run, inputs, remaining, written), "warnings": warnings, "classes": classes}


def describe_origin(run: TrainingRun, inputs: Inputs, remaining: Remaining, tta: Sequence[str]) -> dict[str, Any]:
    """What a table of predictions says of where they come from."""
    trained_on = [{"name": each["name"], "version": each["version"]} for each in run.datasets]
    made_by = {"run": run.folder.name, "trained_on": trained_on, "tta": list(tta), "images": inputs.origin}
    return {**made_by, "preparation": remaining.report()}


def report_images(
    run: TrainingRun, inputs: Inputs, remaining: Remaining, written: Mapping[str, Path | None]
) -> dict[str, Any]:
    """What was predicted, which files were skipped, and what was written."""
    return {
        "run": str(run.folder),
        "images": len(inputs.targets) - len(inputs.unreadable),
        **{key: None if path is None else str(path) for key, path in written.items()},
        "skipped": [*inputs.skipped, *inputs.unreadable],
        "preparation": remaining.report(),
    }


class Pairing(Protocol):
    """What predicts samples one by one."""

    outputs: tuple[str, ...]

    def pairs(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, Any]]:
        """Each sample with its prediction, in order."""


def predict_targets(
    inputs: Inputs, predictor: Pairing, on_error: Literal["error", "skip"]
) -> Iterator[PredictedTarget]:
    """Each target that can be read, with its samples and their predictions.

    The predictor takes one stream of samples and reads ahead of what it returns. So `loaded` remembers, in order, the
    targets whose samples it has passed on; the predictions that come back belong to the first of them.
    """
    loaded: deque[Target] = deque()

    def load_samples() -> Iterator[Sample]:
        for target in inputs.targets:
            try:
                samples = [part.load() for part in target.parts]
            except SourceError as error:
                if on_error == "error":
                    raise
                inputs.unreadable.append({"name": target.name, "reason": str(error)})
            else:
                loaded.append(target)
                yield from samples

    pairs = predictor.pairs(load_samples())
    for first_pair in pairs:  # asking for the first pair loads its target; the target's other pairs follow
        target = loaded.popleft()
        samples, predictions = zip(first_pair, *islice(pairs, len(target.parts) - 1), strict=True)
        predictions = tuple(
            exchange_back(each, part.exchange, predictor.outputs)
            for each, part in zip(predictions, target.parts, strict=True)
        )
        if len(predictions) > 1:  # all windows of an image are in memory together: half the precision, half the memory
            predictions = tuple(each.half() for each in predictions)
        yield PredictedTarget(target, samples, predictions)


def _encode_targets(
    predicted: Iterable[PredictedTarget], header: TableHeader, overlays: Path | None, progress: Progress
) -> Iterator[ImagePrediction]:
    keep = header.probabilities
    for each in predicted:
        layers = zip(_target_layers(each), header.thresholds, strict=True)
        classes = ((layer >= threshold, threshold, layer if keep else None) for layer, threshold in layers)
        image = encode_image(each.target.name, each.target.file, classes)
        if overlays is not None:
            _draw_overlay(image, _target_picture(each), header, overlays)
        yield image
        progress.advance(1)


def _target_layers(predicted: PredictedTarget) -> Iterator[Layer]:
    """Probabilities of each class at the target's own pixels."""
    predictions: Sequence[Prediction] = predicted.predictions
    roots = _roots(predicted.target)
    if not roots:
        return predictions[0].layers()
    return predictions[0].in_source(roots[0]).layers() if len(roots) == 1 else blend(predictions, roots)


def _target_picture(predicted: PredictedTarget) -> Image:
    """The target's own pixels, as far as its samples show them; black elsewhere."""
    samples, roots = predicted.samples, _roots(predicted.target)
    if not roots:
        return samples[0].image
    (width, height), first = roots[0].size, samples[0].image
    picture: NDArray[Any] = np.zeros((height, width, *first.shape[2:]), first.dtype)
    for sample, root in zip(samples, roots, strict=True):
        flags, edge = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
        in_source = cv2.warpAffine(sample.image, np.array(root.matrix), root.size, flags=flags, borderMode=edge)
        covered = covered_pixels(root)
        picture[covered] = in_source[covered]
    return picture


def _roots(target: Target) -> list[Root]:
    """Where the target lies in each sample; empty if its only sample is the target itself."""
    return [part.root for part in target.parts if part.root is not None]


def _draw_overlay(image: ImagePrediction, picture: Image, header: TableHeader, folder: Path) -> None:
    known = bitmask.all_bits(len(header.classes))
    path = folder / f"{sample_path(image.name)}.png"
    with writing(path):
        make_folder(path.parent)
    sample = Sample(image.name, picture, image.planes(), known, split="predicted")
    save_png(show_samples([sample], header.classes), path)


def render_predictions(result: dict[str, Any], console: Console) -> None:
    """Print the result of `predict` or `ensemble`."""
    render = render_label_counts if result.get("task") == "classification" else _render_class_counts
    render(result, console)
    render_preparation(result, console)
    skipped = result.get("skipped", [])
    for entry in skipped[:_MAX_SKIPPED_SHOWN]:
        console.print(Text(f"skipped {entry['name']}: {entry['reason']}", "yellow"))
    if len(skipped) > _MAX_SKIPPED_SHOWN:
        console.print(Text(f"... and {len(skipped) - _MAX_SKIPPED_SHOWN:,} more", "yellow"))
    written = [result[key] for key in ("predictions", "csv", "overlays") if result.get(key)]
    console.print(Text(f"{plural(result['images'], 'image')}: {', '.join(written)}"), soft_wrap=True)


def _render_class_counts(result: Mapping[str, Any], console: Console) -> None:
    classes = table("class", "threshold", "images", "pixels", right=3)
    for entry in result["classes"]:
        numbers = (f"{entry['threshold']:.2f}", f"{entry['images']:,}", f"{entry['pixels']:,}")
        classes.add_row(Text(entry["name"]), *numbers, style="" if entry["images"] else "yellow")
    console.print(classes, "", sep="\n")
