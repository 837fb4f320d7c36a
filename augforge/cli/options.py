"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from augforge.errors import TrainError

if TYPE_CHECKING:
    from augforge.train.prediction.inference import Window

DatasetPlace = Annotated[str, typer.Argument(metavar="DATASET", help="Folder of a dataset, or its URL.")]
Version = Annotated[str | None, typer.Option(help="Another version than the current one; its beginning is enough.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change the recipe: source.path=../data, steps.0.p=0.5. May be given often."),
]
PageName = Annotated[str | None, typer.Argument(metavar="[NAME]", help="One of them; none: a list of all.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run.")]
Shards = Annotated[list[str], typer.Option(metavar="DATASET [DATASET]...", help="Datasets: folders or URLs.")]
MoreShards = Annotated[list[str] | None, typer.Argument(metavar="DATASET", help="More datasets.", hidden=True)]
Split = Annotated[str, typer.Option(help="Which samples of it.")]
Tta = Annotated[
    list[str] | None, typer.Option(help="See each image again: hflip, vflip, scale1.25. May be given often.")
]
Swap = Annotated[
    list[str] | None,
    typer.Option(help="Classes that hflip exchanges, left-lung:right-lung; or none. May be given often."),
]
Csv = Annotated[Path | None, typer.Option(help="A contest's CSV to write besides: image_name,class,rle.")]
Config = Annotated[Path | None, typer.Option(help="The configuration, a YAML file; see augforge train --help.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change the configuration: model.encoder=resnet18. May be given often."),
]
ImageName = Annotated[
    str, typer.Option(help="Images in the CSV: file, path, or auto: the file name where it is unique.")
]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Images or windows at a time; that of training without it.")]


def pairs_of(swap: list[str] | None) -> list[tuple[str, str]] | None:
    """Pairs of classes from ``left:right`` texts, or none of them from ``none``; None where nothing is said."""
    if swap is None or swap == ["none"]:
        return None if swap is None else []
    pairs = [(left, right) for left, _, right in (text.partition(":") for text in swap)]
    for left, right in pairs:
        if not left or not right:
            raise TrainError(f"--swap {left}: expected two classes, such as left-lung:right-lung, or none")
    return pairs


def window_of(size: int | None, overlap: float, scale: str | None, crop: bool) -> Window | None:
    """The windows that options ask for; ``fit`` scales images as in training, as a network trained on crops needs."""
    from augforge.train.prediction.inference import Window

    if size is None:
        return None
    scale = scale or ("fit" if crop else "1")
    try:
        return Window((size, size), overlap, None if scale == "fit" else float(scale))
    except ValueError:
        raise TrainError(f"--scale {scale}: expected a factor, such as 0.5, or fit") from None
