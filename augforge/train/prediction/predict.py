"""Predicting images or datasets with a trained model: run lengths in Parquet and CSV, and pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from augforge import bitmask
from augforge.errors import SourceError, TrainError
from augforge.export.places import place_of
from augforge.progress import Progress, Silent
from augforge.report.show import save_png, show_samples
from augforge.report.tables import plural, table
from augforge.sample import Image, Sample
from augforge.sources.core import Source
from augforge.store.dataset import Dataset
from augforge.train.prediction.blend import blend, covered_pixels
from augforge.train.prediction.inference import Layer, Prediction, Predictor, Window
from augforge.train.prediction.inputs import Inputs, Target, list_inputs
from augforge.train.prediction.submission import ImageName, use_file_names, write_csv
from augforge.train.prediction.table import ImagePrediction, TableHeader, encode_image, write_predictions
from augforge.train.prediction.tta import Pairs

if TYPE_CHECKING:
    from augforge.train.run import TrainingRun

_SHOWN = 10

Seen = tuple[Target, tuple[Sample, ...], tuple[Prediction, ...]]
"""A target, its samples and their predictions."""


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
    overlays: Path | None = None,
    batch_size: int | None = None,
    on_error: Literal["error", "skip"] = "error",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Predict the classes of images at their own pixels.

    A dataset's samples are turned back to the pixels of the source image that they show, through the lineage. Where
    several show one, such as windows, the mean of their probabilities counts; where none does, nothing is predicted. A
    sample that shows several source images, such as a mosaic, or that was mirrored with its left and right classes
    exchanged, is predicted in its own pixels, under its own name.

    Args:
        run: the training run; its tuned thresholds count, if there are any.
        images: a folder of images, an image, a dataset, or any source.
        out: the Parquet table to write; see `augforge.train.prediction.table`.
        csv: a contest's CSV to write besides: ``image_name,class,rle``.
        image_name: in the CSV, with folders or without.
        split: of a dataset.
        window, tta, swap: see `Predictor`.
        probabilities: keep those above 0.3 in the table, for ensembles of means; see `table`.
        overlays: folder for a PNG of each image with its predicted classes.
        batch_size: images or windows at a time; None is that of training.
        on_error: whether a file that cannot be read stops it, or is skipped and listed.
        progress: is told of each image.

    Returns:
        JSON-like: what was predicted, ``skipped`` files with reasons, and by class the images and pixels found.

    Raises:
        TrainError: the run predicts labels, options do not fit, or there is nothing to predict.
        SourceError: files that cannot be read. No table is left behind.
    """
    predictor = _predictor(run, batch_size=batch_size, window=window, tta=tta, swap=swap)
    inputs = list_inputs(images, split, on_error)
    if csv is not None:
        use_file_names((target.file for target in inputs.targets), image_name)  # rather now than after hours
    trained_on = [{"name": each["name"], "version": each["version"]} for each in run.datasets]
    made_by = {"run": run.folder.name, "trained_on": trained_on, "tta": list(tta), "images": inputs.origin}
    header = TableHeader(run.outputs, run.thresholds, made_by, probabilities)
    progress = progress or Silent()
    progress.start("predict", len(inputs.targets))
    seen = _seen(inputs, predictor, on_error)
    classes = write_predictions(out, header, _predicted(seen, header, overlays, progress))
    if csv is not None:
        write_csv(out, csv, image_name)
    places = {"predictions": out, "csv": csv, "overlays": overlays}
    return {
        "run": str(run.folder),
        "images": len(inputs.targets) - len(inputs.unreadable),
        **{key: None if path is None else str(path) for key, path in places.items()},
        "skipped": [*inputs.skipped, *inputs.unreadable],
        "classes": classes,
    }


def _predictor(run: TrainingRun, **options: Any) -> Predictor:
    if not run.outputs:
        raise TrainError(f"{run.folder} classifies whole images; expected a run that predicts masks. Take another run")
    return run.predictor(**{key: value for key, value in options.items() if value is not None})


def _predicted(
    seen: Iterable[Seen], header: TableHeader, overlays: Path | None, progress: Progress
) -> Iterator[ImagePrediction]:
    keep = header.probabilities
    for target, samples, parts in seen:
        layers = zip(_layers(target, parts), header.thresholds, strict=True)
        classes = ((layer >= threshold, threshold, layer if keep else None) for layer, threshold in layers)
        predicted = encode_image(target.name, target.file, classes)
        if overlays is not None:
            _draw(predicted, _picture(target, samples), header, overlays)
        yield predicted
        progress.advance(1)


def _seen(inputs: Inputs, predictor: Predictor, on_error: Literal["error", "skip"]) -> Iterator[Seen]:
    """Each target that can be read, with its samples and their predictions."""
    read: deque[Target] = deque()

    def loaded() -> Iterator[Sample]:
        for target in inputs.targets:
            try:
                samples = [part.load() for part in target.parts]
            except SourceError as error:
                if on_error == "error":
                    raise
                inputs.unreadable.append({"name": target.name, "reason": str(error)})
            else:
                read.append(target)
                yield from samples

    pairs = predictor.pairs(loaded())
    for pair in pairs:
        target = read.popleft()
        samples, found = zip(pair, *islice(pairs, len(target.parts) - 1), strict=True)
        if len(found) > 1:  # an image's windows are held together: half the precision, half the memory
            found = tuple(replace(each, probabilities=each.probabilities.astype(np.float16)) for each in found)
        yield target, samples, found


def _layers(target: Target, parts: Sequence[Prediction]) -> Iterator[Layer]:
    """Probabilities of each class at the target's own pixels."""
    roots = [part.root for part in target.parts if part.root is not None]
    if not roots:
        return parts[0].layers()
    return parts[0].in_source(roots[0]).layers() if len(roots) == 1 else blend(parts, roots)


def _picture(target: Target, samples: Sequence[Sample]) -> Image:
    """The target's own pixels, as far as its samples show them; black elsewhere."""
    roots = [part.root for part in target.parts if part.root is not None]
    if not roots:
        return samples[0].image
    (width, height), first = roots[0].size, samples[0].image
    picture: NDArray[Any] = np.zeros((height, width, *first.shape[2:]), first.dtype)
    for sample, root in zip(samples, roots, strict=True):
        flags, edge = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
        back = cv2.warpAffine(sample.image, np.array(root.matrix), root.size, flags=flags, borderMode=edge)
        shown = covered_pixels(root)
        picture[shown] = back[shown]
    return picture


def _draw(predicted: ImagePrediction, picture: Image, header: TableHeader, folder: Path) -> None:
    known = bitmask.all_bits(len(header.classes))
    path = folder / f"{place_of(predicted.name)}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    sample = Sample(predicted.name, picture, predicted.planes(), known, split="predicted")
    save_png(show_samples([sample], header.classes), path)


def render_predictions(found: dict[str, Any], console: Console) -> None:
    """Print what `predict` or `ensemble` did for people."""
    shown = table("class", "threshold", "images", "pixels", right=3)
    for entry in found["classes"]:
        numbers = (f"{entry['threshold']:.2f}", f"{entry['images']:,}", f"{entry['pixels']:,}")
        shown.add_row(Text(entry["name"]), *numbers, style="" if entry["images"] else "yellow")
    console.print(shown, "", sep="\n")
    skipped = found.get("skipped", [])
    for entry in skipped[:_SHOWN]:
        console.print(Text(f"skipped {entry['name']}: {entry['reason']}", "yellow"))
    if len(skipped) > _SHOWN:
        console.print(Text(f"... and {len(skipped) - _SHOWN:,} more", "yellow"))
    places = [found[key] for key in ("predictions", "csv", "overlays") if found.get(key)]
    console.print(Text(f"{plural(found['images'], 'image')}: {', '.join(places)}"), soft_wrap=True)
