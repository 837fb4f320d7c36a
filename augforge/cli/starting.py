"""Commands to begin with: a recipe for a folder of data, what its steps do, and what editors need to know of it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from augforge.cli import terminal
from augforge.cli.completion import complete_formats
from augforge.cli.options import Json, Overrides, out_option

if TYPE_CHECKING:
    from augforge.recipe.first import FirstRecipe
    from augforge.sources.detecting.matching import Match

_KINDS = ("recipe", "train", "review")


def init(
    place: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Folder of annotated images, or a COCO .json, data.yaml, .xml or table."),
    ] = Path(),
    out: Annotated[
        Path | None, out_option("The recipe to write; - for standard output.", "NAME.yaml in this folder")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the dataset; by default that of the folder.")] = "",
    format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="The format of the data, if it is not to be found out.",
            autocompletion=complete_formats,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; take the likeliest.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a recipe that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Look at a folder of data, find its format, and write a recipe that builds.

    Says which format it is and why, how many classes, groups and splits there are, and writes a recipe with comments
    on what can be changed. In a terminal it asks for the name, and where several formats fit; with **--yes**, in CI, or
    without a terminal it takes the likeliest. Where none fits, the nearest three are shown with what is missing.
    """
    from augforge.recipe.starting import STANDARD_OUTPUT, start_recipe, summary_json

    with terminal.interruptible("nothing was written"):
        choose, ask_name = (None, None) if yes or as_json or not _may_ask() else (_ask, _ask_name)
        first, target = start_recipe(
            place, out, name=name, format=format, choose=choose, ask_name=ask_name, force=force
        )
    if target == STANDARD_OUTPUT and not as_json:
        typer.echo(first.text, nl=False)
    else:
        data = summary_json(first, target)
        terminal.output(data, as_json, lambda console: _print_found(first, target))


@contextmanager
def recipe_of(place: Path, dry_run: bool = False) -> Iterator[Path]:
    """The recipe at a place, or the one for the data that lies there; for a dry run one that is gone afterwards."""
    from augforge.recipe.starting import is_data, recipe_for

    if not is_data(place):
        yield place
    elif dry_run:
        with TemporaryDirectory(prefix="augforge-") as folder:
            yield recipe_for(place, Path(folder))
    else:
        recipe = recipe_for(place)
        terminal.remark(f"{place} is data: {recipe} is the recipe for it")
        yield recipe


def _may_ask() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty() and not os.environ.get("CI")


def _ask(what: str, matches: Sequence[Match]) -> Match:
    """Ask on the terminal which of several is meant."""
    from augforge.recipe.first import describe

    typer.echo(f"Several {what} are possible:", err=True)
    for number, each in enumerate(matches, 1):
        assert each.listing is not None
        place = f"{each.root}: " if what == "data sets" else ""
        text = f"  {number}  {place}{each.format}, {describe(each.listing)}; {each.why}"
        terminal.remark(text)
    number = 0
    while not 0 < number <= len(matches):
        number = typer.prompt("Which one", default=1, type=int, err=True)
    return matches[number - 1]


def _ask_name(usual: str) -> str:
    """Ask on the terminal for the name of the dataset."""
    return str(typer.prompt("Name of the dataset", default=usual, err=True))


def _print_found(first: FirstRecipe, target: Path) -> None:
    from augforge.recipe.first import describe

    match, listing, console = first.match, first.listing, terminal.console()
    names = listing.labels or listing.classes
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    splits = ", ".join(f"{split} {count}" for split, count in first.splits.items())
    rows = {
        "format": f"{match.format}: {match.why}",
        "data": f"{match.root}: {describe(listing)}",
        "labels" if listing.labels else "classes": shown,
        "groups": f"{first.groups} to be split" if first.groups else "the data names all splits itself",
        "own splits": splits if set(first.splits) - {"train"} else "none; the recipe holds a fifth back for val",
        "findings": "; ".join(finding.kind for finding in listing.all_findings),
        "refused": f"{len(listing.refused)} files that are not used" if listing.refused else "",
    }
    for key, text in rows.items():
        if text:
            console.print(f"{key:<11} {terminal.escape(text)}", soft_wrap=True)
    file = terminal.escape(str(target))
    console.print(f"wrote {file}. Next: augforge preview {file}, then augforge build {file}", soft_wrap=True)


def preview(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="SAMPLE", help="Source samples to show; by default some of train.")
    ] = None,
    out: Annotated[Path, out_option("The picture to write, PNG or JPEG.")] = Path("preview.png"),
    step: Annotated[int | None, typer.Option(min=1, help="Show this step alone, counted from 1.")] = None,
    samples: Annotated[int, typer.Option(min=1, max=12, help="How many samples are shown.")] = 3,
    seed: Annotated[int, typer.Option(help="Another number chooses other samples.")] = 0,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Draw what each step of a recipe does to a few samples: before and after, masks on top.

    Nothing is built, and nothing is written beside the picture. The steps act as in a build, with the same chance; but
    what is found out about all of train, such as a filter's threshold, comes from the few samples here.
    """
    from augforge.engine.previewing import preview_recipe
    from augforge.report.preview import preview_json, preview_sheet
    from augforge.report.show import save_png

    with terminal.interruptible("nothing was written"), recipe_of(recipe, dry_run=True) as file:
        found = preview_recipe(
            file, overrides=overrides or (), names=names or (), samples=samples, seed=seed, step=step
        )
    picture = preview_sheet(found)
    save_png(picture, out)
    data = {**preview_json(found), "picture": str(out)}
    size = f"{picture.shape[1]}x{picture.shape[0]}"
    terminal.output(data, as_json, lambda console: console.print(f"wrote {terminal.escape(str(out))} ({size})"))


def schema(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="recipe, train or review.", autocompletion=lambda: _KINDS)
    ],
    out: Annotated[Path | None, out_option("The file to write.", "standard output")] = None,
) -> None:
    """Print the JSON Schema of recipes, training configurations or review files, for editors and other checkers.

    Draft 2020-12, with the options of every format and the parameters of every op; a plugin's too, with **--plugin**.
    An editor that knows YAML completes and checks a file whose first line is
    **# yaml-language-server: $schema=recipe.schema.json** once that file lies beside it:
    **augforge schema recipe > recipe.schema.json**.
    """
    from augforge.errors import nearest
    from augforge.recipe.schema import config_schema, recipe_schema, review_schema

    if kind not in _KINDS:
        raise typer.BadParameter(f"'{kind}' is none of {', '.join(_KINDS)}.{nearest(kind, _KINDS)}", param_hint="KIND")
    if kind == "train":
        from augforge.train.config import TrainConfig

        found = config_schema(TrainConfig)
    else:
        found = recipe_schema() if kind == "recipe" else review_schema()
    text = json.dumps(found, ensure_ascii=False, indent=1) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        from augforge.files import replacing

        with replacing(out) as temporary:
            temporary.write_text(text, encoding="utf-8")


COMMANDS: list[Callable[..., None]] = [init, preview, schema]
