"""Options that several commands share, their earlier spellings, and how their texts are read.

Every command writes its result to ``-o/--out`` and takes datasets as plain arguments. Earlier spellings keep working:
hidden options and arguments that print a notice and give the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand

from augforge.cli import terminal
from augforge.cli.completion import (
    complete_classes,
    complete_datasets,
    complete_exports,
    complete_formats,
    complete_ops,
)
from augforge.errors import TrainError

if TYPE_CHECKING:
    from augforge.train.prediction.inference import Window
    from augforge.train.run import WeightsName

T = TypeVar("T")
_PICTURES = (".png", ".jpg", ".jpeg")


class Command(TyperCommand):
    """A command whose usage line leaves out hidden arguments, as its list of arguments does."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Leave hidden arguments out of the usage line."""
        shown = [param for param in self.get_params(ctx) if not getattr(param, "hidden", False)]
        return ["[OPTIONS]", *(piece for param in shown for piece in param.get_usage_pieces(ctx))]


def _notice_callback(old: str, new: str) -> Callable[[typer.Context, Any], Any]:
    """A callback for an earlier spelling: a notice on standard error names the one that replaced it."""

    def notify(context: typer.Context, value: Any) -> Any:
        if value and not context.resilient_parsing:  # shell completion parses without running the command
            terminal.notice(f"{old} is now {new}. The earlier spelling keeps working")
        return value

    return notify


def out_option(help: str, default: str = "") -> Any:
    """``-o/--out``, the option of every command that writes a result."""
    return typer.Option("--out", "-o", help=help, show_default=default or True)


OldOutput = Annotated[
    Path | None, typer.Option("--output", hidden=True, callback=_notice_callback("--output", "-o/--out"))
]
OldFolder = Annotated[
    Path | None, typer.Argument(metavar="OUT", hidden=True, callback=_notice_callback("the argument OUT", "-o OUT"))
]
OldShards = Annotated[
    list[str] | None,
    typer.Option("--shards", hidden=True, callback=_notice_callback("--shards DATASET", "the argument DATASET")),
]

OldShard = Annotated[
    str | None,
    typer.Option("--shards", hidden=True, callback=_notice_callback("--shards DATASET", "the argument DATASET")),
]
CacheMb = Annotated[int, typer.Option("--cache-mb", min=0, help="Megabytes of source samples that each worker keeps.")]
NewFolder = Annotated[Path | None, out_option("Folder to write; must be new or empty. Required.")]
DatasetPlace = Annotated[
    str, typer.Argument(metavar="DATASET", help="Folder or URL of a dataset.", autocompletion=complete_datasets)
]
DatasetFolder = Annotated[
    str, typer.Argument(metavar="DATASET", help="Folder of a dataset.", autocompletion=complete_datasets)
]
Version = Annotated[
    str | None, typer.Option(help="A version other than the current one: its tag, or the beginning of its name.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change the recipe: source.path=../data, steps.0.p=0.5. May be repeated."),
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", help="Worker processes; -1 for one per core.")]
Workers = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        help="Workers; -1 for one per core. By default this process, or all workers of a cluster. With 1 the work is "
        "done in this process.",
    ),
]
Backend = Annotated[
    str | None,
    typer.Option(
        help="Where workers run: serial, loky (processes of this machine), dask, ray. Default: $AUGFORGE_BACKEND, else "
        "loky."
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Of a dask scheduler (tcp://host:8786) or a ray cluster (host:6379, auto). Default: $AUGFORGE_ADDRESS, "
        "else one is started on this machine."
    ),
]
Rename = Annotated[
    bool, typer.Option("--rename", help="Go on with a dataset of another name, which gets that of the recipe.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="What is implausible and not accepted by the recipe is an error.")
]
_PAGE = "The one to show; without a name, all are listed."
OpName = Annotated[str | None, typer.Argument(metavar="NAME", help=_PAGE, autocompletion=complete_ops)]
FormatName = Annotated[str | None, typer.Argument(metavar="NAME", help=_PAGE, autocompletion=complete_formats)]
ExportName = Annotated[str | None, typer.Argument(metavar="NAME", help=_PAGE, autocompletion=complete_exports)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run.")]
Shards = Annotated[
    list[str] | None, typer.Option(metavar="DATASET [DATASET]...", help="Another way to name the datasets.")
]
OneDataset = Annotated[
    str | None,
    typer.Argument(metavar="DATASET", help="A dataset: folder or URL. Required.", autocompletion=complete_datasets),
]
Datasets = Annotated[
    list[str] | None,
    typer.Argument(metavar="DATASET", help="One or more datasets: folders or URLs.", autocompletion=complete_datasets),
]
Split = Annotated[str, typer.Option(help="The split whose samples are used.")]
Tta = Annotated[
    list[str] | None,
    typer.Option(
        help="Also predict a changed view of each image: hflip, vflip, turn90, scale1.25, brightness+0.2. May be "
        "repeated."
    ),
]
Swap = Annotated[
    list[str] | None,
    typer.Option(
        help="Classes or labels that mirrored views exchange, such as left-lung:right-lung, or none; by default the "
        "sides that the run was trained with. May be repeated.",
        autocompletion=complete_classes,
    ),
]
Csv = Annotated[
    Path | None, typer.Option(help="Also write a CSV: image_name,class,rle; of labels, image_name and probabilities.")
]
Weights = Annotated[
    str, typer.Option(help="Which networks of the run: best, last, or snapshots (of a cyclic schedule, averaged).")
]
Config = Annotated[
    Path | None, typer.Option(help="The configuration, a YAML file; augforge train --show-config prints one.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change the configuration: model.encoder=resnet18. May be repeated."),
]
ImageName = Annotated[
    str, typer.Option(help="How the CSV names images: file, path, or auto (the file name if it is unique).")
]
AsIs = Annotated[
    bool,
    typer.Option("--as-is", help="Take images as they are; do not prepare them as the model's own samples were."),
]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Images or windows per batch; by default as in training.")]


def exactly_one(argument: str, *values: T | None) -> T:
    """The one value that was given, under a new or an earlier spelling.

    Raises:
        typer.BadParameter: none was given, or several.
    """
    found = [value for value in values if value is not None]
    if len(found) != 1:
        fact = f"it was given {len(found)} times. Give it once" if found else "it is required, but was not given"
        raise typer.BadParameter(fact, param_hint=argument)
    return found[0]


def datasets_of(shards: list[str] | None, datasets: list[str] | None) -> list[str]:
    """The datasets of ``--shards``, then those of plain arguments.

    Raises:
        typer.BadParameter: there are none.
    """
    return exactly_one("DATASET", [*(shards or ()), *(datasets or ())] or None)


def outliers_places(dataset: str | None, outs: list[Path]) -> tuple[str | None, Path | None]:
    """The dataset's folder and the contact sheet of ``augforge outliers``, whose ``--out`` once meant the folder."""
    sheets = [path for path in outs if path.suffix.lower() in _PICTURES]
    folders = [path for path in outs if path not in sheets]
    if folders:
        terminal.notice(f"--out {folders[-1]} is no .png or .jpg file: it is used as the argument DATASET, as before")
    folder = exactly_one("DATASET", dataset, str(folders[-1]) if folders else None) if dataset or folders else None
    return folder, sheets[-1] if sheets else None


def run_and_images(run: str, images: str | None, crossval: Path | None) -> tuple[Path, str]:
    """The folder of the models and the images: with ``--crossval DIR``, the only argument is the images.

    Raises:
        typer.BadParameter: there are none, or one too many.
    """
    if crossval is not None and images is not None:
        raise typer.BadParameter("--crossval DIR stands instead of RUN. Give IMAGES alone", param_hint="RUN")
    if crossval is not None:
        return crossval, run
    return Path(run), exactly_one("IMAGES", images)


def weights_of(name: str) -> WeightsName:
    """The name of a run's weights; TrainError if there are none of that name."""
    if name not in ("best", "last", "snapshots"):
        raise TrainError(f"--weights {name}: expected best, last or snapshots")
    return name  # type: ignore[return-value]


def class_weights_of(texts: list[str] | None) -> dict[str, list[float]]:
    """Weights of tables by class, from ``CLASS=X,X`` texts; TrainError if a text is none such."""
    found = {}
    for text in texts or ():
        name, _, numbers = text.rpartition("=")
        try:
            found[name] = [float(number) for number in numbers.split(",")]
        except ValueError:
            raise TrainError(f"--class-weight {text}: expected a number for each table, such as Pisiform=3,1") from None
    return found


def pairs_of(swap: list[str] | None) -> list[tuple[str, str]] | None:
    """Pairs of classes from ``left:right`` texts, an empty list from ``none``, and None if there are no texts."""
    if swap is None or swap == ["none"]:
        return None if swap is None else []
    pairs = [(left, right) for left, _, right in (text.partition(":") for text in swap)]
    for left, right in pairs:
        if not left or not right:
            raise TrainError(f"--swap {left}: expected two classes, such as left-lung:right-lung, or none")
    return pairs


def window_of(size: int | None, overlap: float, scale: str | None, crop: bool) -> Window | None:
    """The sliding windows that the options ask for, or None. ``fit`` scales images as in training."""
    from augforge.train.prediction.inference import Window

    if size is None:
        return None
    scale = scale or ("fit" if crop else "1")
    try:
        return Window((size, size), overlap, None if scale == "fit" else float(scale))
    except ValueError:
        raise TrainError(f"--scale {scale}: expected a factor, such as 0.5, or fit") from None
