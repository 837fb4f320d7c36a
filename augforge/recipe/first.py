"""A first recipe for a data set: text that builds as it is, with comments that teach what can be changed."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augforge.cache.filecache import FileCache
from augforge.errors import plural, visible
from augforge.sample import IGNORE
from augforge.sources.class_lists import CLASS_LISTS
from augforge.sources.detecting.matching import Match, read_with
from augforge.sources.detecting.sets import Found
from augforge.sources.listing import Listing
from augforge.yamlfile import flow

_GENERIC = frozenset(
    [
        "data",
        "dataset",
        "datasets",
        "images",
        "train",
        "export",
        "exports",
        "annotations",
        "coco",
        "labelme",
        "yolo",
        "cvat",
        "voc",
        "masks",
        "root",
        "raw",
    ]
)
"""Names of folders that say nothing of what lies in them."""
_MOST_CLASSES, _WIDTH = 60, 112
SCHEMA = "recipe.schema.json"
"""The file of the schema beside a recipe, as the first line of the recipe names it."""

_WHY_NEEDED = {
    "boxes": "some annotations are boxes without an outline: they are filled; or drop",
    "drop_degenerate": "some outlines enclose nothing",
    "line_width": "lines and points get a width in pixels",
    "on_error": "some files are broken or do not fit: they are listed, and do not stop the build",
    "missing_mask": "some images have no mask: their classes are unknown there",
    "missing_labels": "some volumes have no labels: their classes are unknown there",
    "threshold": "masks hold grey levels: what is above this value is the class",
    "values": "what each pixel value means",
    "colors": "what each colour means: name the classes here",
    "instances": "masks number the objects of one class",
    "transposed": "rows and columns are exchanged in the files",
    "crowd": "crowds stay in their class",
    "labels": "null: nothing is labelled",
    "masks": "null: nothing is labelled",
}


@dataclass(frozen=True)
class FirstRecipe:
    """A recipe for a data set that was found.

    Attributes:
        name: of the dataset.
        text: the YAML.
        match: the format, with what it reads.
        splits: samples of each split that the data prescribes itself; what it leaves to the recipe is ``train``.
        groups: what must not part between splits.
    """

    name: str
    text: str
    match: Match
    splits: Mapping[str, int]
    groups: int

    @property
    def listing(self) -> Listing:
        """What the data set holds."""
        assert self.match.listing is not None
        return self.match.listing


def name_for(root: Path) -> str:
    """A name for the dataset of a folder, with that of the folder above where its own says nothing."""
    parts = [part for part in root.absolute().parts if part not in ("/", ".", "..")]
    chosen = parts[-1:]
    while chosen and chosen[0].casefold() in _GENERIC and len(parts) > len(chosen):
        chosen = parts[-len(chosen) - 1 :]
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(chosen[:2] if len(chosen) > 2 else chosen)).strip("-._")
    return text if re.match(r"[A-Za-z0-9]", text) else "dataset"


def write_first_recipe(found: Found, match: Match, path: str, file: str, name: str, cache: FileCache) -> FirstRecipe:
    """Compose the recipe for one of the formats that were found.

    Args:
        found: what lies at the place.
        match: the chosen one of ``found.fitting``.
        path: of the data, as the recipe is to name it.
        file: the recipe's file, as its comments name it.
        name: of the dataset.
        cache: keeps facts of files.
    """
    assert match.listing is not None
    listing = match.listing
    splits = Counter(record.split or "train" for record in listing.records)
    groups = {record.group for record in listing.records if record.split is None}
    options = _with_classes(match, cache)
    lines = [
        *_head(match, file, name),
        *_source(found, match, options, path, len({record.group for record in listing.records})),
        "",
        *_split(splits, len(groups)),
        "",
        *_steps(listing),
        "",
        *_output(listing),
    ]
    return FirstRecipe(name, "\n".join(lines) + "\n", match, dict(splits), len(groups))


def usual_name(match: Match) -> str:
    """The name of a dataset from its folder; a dataset that is read again gets another one, since it keeps its own."""
    return name_for(match.root) + ("-next" if match.format == "dataset" else "")


def describe(listing: Listing) -> str:
    """How much a listing holds: ``18 images of 3 classes``."""
    names = [name for name in listing.labels or listing.classes if name != IGNORE]
    return f"{plural(len(listing.records), 'sample')}, {plural(len(names), 'label' if listing.labels else 'class')}"


def _with_classes(match: Match, cache: FileCache) -> dict[str, Any]:
    """The options with the classes spelled out, where the format then reads the same."""
    options, listing = dict(match.options), match.listing
    assert listing is not None
    names = listing.labels or listing.classes
    if {"classes", "colors", "values"} & {*options} or match.format == "dataset" or len(names) > _MOST_CLASSES:
        return options
    numbers = [name for name in names if name != IGNORE]
    if match.format in ("index-mask", "volume") and all(name.isdecimal() for name in numbers):
        key: dict[str, Any] = {
            "values": {int(name) if match.format == "index-mask" else name: f"class-{name}" for name in numbers}
        }
    else:
        known = next((key for key, value in CLASS_LISTS.items() if {*value} == {*names}), None)
        key = {"classes": known or list(names)}
    again, _ = read_with(match.format, match.root, {**options, **key}, cache)
    same = again is not None and len(again.records) == len(listing.records)
    return {**options, **key} if same and len(again.labels or again.classes) == len(names) else options  # type: ignore[union-attr]


def _head(match: Match, file: str, name: str) -> Iterator[str]:
    yield f"# yaml-language-server: $schema={SCHEMA}"
    yield f"# Editors complete and check this file once that one lies beside it: augforge schema recipe > {SCHEMA}"
    yield "#"
    assert match.listing is not None
    yield f"# Written by augforge init: {describe(match.listing)}. It builds as it is; change what you like."
    yield f"#   augforge preview {file} -o preview.png    what each step does to a few samples"
    yield f"#   augforge build {file}"
    yield ""
    yield f"name: {flow(name)}"
    yield "seed: 0    # of all that chance decides in the steps; another seed draws anew"
    yield ""


def _source(found: Found, match: Match, options: Mapping[str, Any], path: str, groups: int) -> Iterator[str]:
    assert match.listing is not None
    listing = match.listing
    yield "source:"
    yield f"  format: {match.format}    # {_comment(match.why)}"
    for other in found.fitting:
        if other.format != match.format:
            yield f"  # It can be read as {other.format} too: {_comment(other.why)}"
    yield f"  path: {flow(path)}    # relative to this file"
    for key, value in options.items():
        yield from _option(key, value, options)
    yield from _class_hints(match, options)
    yield from _group_hints(listing, groups)


def _option(key: str, value: Any, options: Mapping[str, Any]) -> Iterator[str]:
    line = f"  {key}: {flow(value)}"
    if key == "classes" and not isinstance(value, str):
        yield "  # What the masks or labels show. The order is that of the bits, and of the channels of a network:"
    if len(line) > _WIDTH and isinstance(value, (list, tuple)):
        yield f"  {key}:"
        yield from (f"    - {flow(item)}" for item in value)
    elif len(line) > _WIDTH and isinstance(value, dict):
        yield f"  {key}:    # {_WHY_NEEDED.get(key, '')}"
        yield from (f"    {flow(inner)}: {flow(item)}" for inner, item in value.items())
    else:
        plain = value is None or key not in ("labels", "masks")
        yield f"{line}    # {_WHY_NEEDED[key]}" if key in _WHY_NEEDED and plain else line


def _class_hints(match: Match, options: Mapping[str, Any]) -> Iterator[str]:
    """How classes are renamed, merged and left out, with classes that the data has."""
    assert match.listing is not None
    names = [name for name in match.listing.labels or match.listing.classes if name != IGNORE]
    if match.format == "dataset" or "values" in options or "colors" in options or not names:
        return
    target = names[1] if len(names) > 1 else names[0]
    yield "  # class_map says what names in the files become: another class, or null for none; '*' is every other name."
    yield f"  # class_map: {flow({names[0]: target})}    # counts {_comment(names[0])} as {_comment(target)}"


def _group_hints(listing: Listing, groups: int) -> Iterator[str]:
    """What groups are, and how they are found in names."""
    count = len(listing.records)
    first = next(iter(listing.records)).name
    fact = "each sample is one" if groups == count else f"here there are {groups}"
    yield f"  # What must stay on one side of the split, such as a patient's images, is a group; {fact}. Others:"
    folder = "/" in first
    hint = {"folder": 1} if folder else {"regex": "^([^-_]+)"}
    where = "the first folder" if folder else "what stands before the first - or _"
    yield f"  # group: {flow(hint)}    # {where} of a name such as {_comment(first)}"


def _split(splits: Mapping[str, int], groups: int) -> Iterator[str]:
    own = [name for name in ("val", "test") if splits.get(name)]
    told = " and ".join(f"{splits[name]} for {name}" for name in own)
    if "val" in own or not splits.get("train"):
        yield f"# The data names its own splits, {told}; the rest is train. own_splits: false in source ignores that."
        yield "# split: {val: 0.2}"
    elif groups > 1:
        yield f"split: {{val: 0.2}}    # about a fifth of {groups} groups, chosen by their names: a group never parts"
        if own:
            yield f"# The data names {told} itself."
        yield "# split: {val: 0.2, stratify: class}    # the same share of each class on both sides"
    else:
        yield "# All samples are one group, which cannot be split: say in source.group what belongs together, and then"
        yield "# split: {val: 0.2}"


def _steps(listing: Listing) -> Iterator[str]:
    yield "# Steps run in order. What augments acts on train alone; keep_input keeps a sample beside what it became."
    yield "# augforge ops lists all steps, augforge ops rotate explains one."
    yield "steps:"
    yield "  - {op: rotate, angle_range: [-10, 10], keep_input: true}"
    yield "  # - {op: hflip, keep_input: true}    # mirrored; classes that are left or right are exchanged"
    if len(listing.records) > 3 and not listing.labels:
        yield "  # - {op: mosaic, grid: [2, 2], copies: 1, keep_input: true}    # four images in one"


def _output(listing: Listing) -> Iterator[str]:
    sizes = sorted({(record.width, record.height) for record in listing.records})
    (width, height), (most_width, most_height) = sizes[0], sizes[-1]
    several = f"images have {width}x{height} to {most_width}x{most_height} pixels"
    yield f"# {several if len(sizes) > 1 else f'images have {width}x{height} pixels'}; this makes them one size:"
    yield f"# output: {{size: {_usual_size(max(most_width, most_height))}, image: png}}"


def _usual_size(longest: int) -> int:
    """The power of two at or below a size, up to 1024."""
    return min(1024, 1 << max(longest, 32).bit_length() - 1)


def _comment(text: str) -> str:
    """Text of others as part of a comment: one line without control characters."""
    return visible(text)[:120]


_FAR = 4
"""From so many folders up on, an absolute path says more."""


def relative_path(data: Path, folder: Path) -> str:
    """The path of the data as a recipe in a folder names it; absolute where that is far away."""
    try:
        found = os.path.relpath(data.absolute(), folder.absolute())
        if (folder / found).resolve() != data.resolve():  # '..' behind a link is above what the link leads to
            found = os.path.relpath(data.resolve(), folder.resolve())
    except ValueError:  # another drive
        return str(data.absolute())
    return str(data.absolute()) if found.count("..") > _FAR else Path(found).as_posix()
