"""The common validation set: what several datasets hold back alike, as the source has it.

Datasets of different recipes cannot be compared on their own validation samples: one may be turned upright, one cut
into windows. So models are judged in the source: the samples of ``val`` that show one source image each go through the
model as the dataset prepared them, and the predictions are turned back to the source's pixels by the lineage's matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from augforge.cache.filecache import FileCache
from augforge.errors import TrainError, some
from augforge.lineage import Root
from augforge.sample import Sample
from augforge.sources import Listing, Record, Source
from augforge.store.dataset import Dataset
from augforge.train.prediction.blend import window
from augforge.train.prediction.mirrored import exchanges_classes, is_mirrored
from augforge.train.study.learner import need_masks
from augforge.train.study.raw import raw_source

SHOWN = 5
"""Names that a message lists at most."""


@dataclass(frozen=True, slots=True)
class View:
    """A sample that shows one source image: its row in the validation split, and where the source image lies in it."""

    row: int
    root: Root


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A dataset as one of those compared.

    Attributes:
        label: what it is called.
        dataset: all of it.
        val: its validation samples.
        views: those that show one source image, by its name; several where it was cut into windows.
        mixed: how many validation samples show several source images and are left out.
    """

    label: str
    dataset: Dataset
    val: Dataset
    views: dict[str, list[View]]
    mixed: int

    def samples(self, names: Iterable[str]) -> Iterator[Sample]:
        """The validation samples that show the source images of those names, in that order."""
        return (self.val[view.row] for name in names for view in self.views[name])


@dataclass(frozen=True, slots=True, eq=False)
class Common:
    """The common validation set.

    Attributes:
        source: the raw data.
        classes: class table of the raw samples.
        records: of the source images, by name.
        sides: the datasets.
        left_out: validation source images of each dataset that are not in the set.
        warnings: what may make the comparison doubtful.
    """

    source: Source
    classes: tuple[str, ...]
    records: tuple[Record, ...]
    sides: tuple[Side, ...]
    left_out: dict[str, int]
    warnings: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        return [record.name for record in self.records]

    @property
    def groups(self) -> list[str]:
        """The group of each image; of an image of several people, all in one name."""
        return ["+".join(_groups(record)) for record in self.records]

    def raw(self) -> Iterator[Sample]:
        """The raw samples, loaded one by one."""
        return (self.source.load(record, self.classes) for record in self.records)


def common_set(datasets: Sequence[Dataset], source: str | None = None) -> Common:
    """What all datasets hold back for validation.

    Args:
        datasets: two or more.
        source: where the raw data lies, if not where the first dataset was built from.

    Raises:
        TrainError: classes differ or are none, nothing is common, or a dataset trains on what is to be judged.
    """
    need_masks(datasets[0])
    sides = tuple(map(_side, labels_of(datasets), datasets))
    _check_classes(sides)
    names = sorted(set.intersection(*(set(side.views) for side in sides)))
    if not names:
        held = "; ".join(f"{side.label} {_some(side.views)}" for side in sides)
        raise TrainError(
            f"no source image is in the validation split of every dataset, so nothing compares them. They hold {held}. "
            "Build them with the same `split`"
        )
    adapter = raw_source(datasets[0], source)
    listing = adapter.scan(FileCache(datasets[0].folder / "work" / "files.sqlite"))
    records = _records(names, listing, sides, adapter)
    _check_apart(records, listing, sides)
    left_out = {side.label: len(side.views) - len(names) for side in sides}
    return Common(adapter, listing.classes, records, sides, left_out, tuple(_warnings(sides)))


def labels_of(datasets: Sequence[Dataset]) -> list[str]:
    """What the datasets are called: their names, with versions where those are the same.

    Raises:
        TrainError: a dataset stands there twice.
    """
    versions = [dataset.version for dataset in datasets]
    if len(set(versions)) < len(versions):
        twice = next(d for d in datasets if versions.count(d.version) > 1)
        raise TrainError(f"two of the datasets are the same, {twice.name} {twice.version}. Name datasets that differ")
    names = [dataset.name for dataset in datasets]
    if len(set(names)) == len(names):
        return names
    return [f"{dataset.name} {dataset.version[:8]}" for dataset in datasets]


def _side(label: str, dataset: Dataset) -> Side:
    if not dataset.manifest.splits.get("val"):
        raise TrainError(f"{dataset.folder} has no validation split to judge by. Build it with `split: {{val: 0.2}}`")
    val = dataset.split("val")
    views: dict[str, list[View]] = {}
    roots = val.index["lineage"].struct.field("roots").to_list()
    exchanged, left_out = exchanges_classes(dataset), 0
    for row, found in enumerate(roots):
        root = Root.from_json(found[0])
        if len(found) != 1 or (exchanged and is_mirrored(root)):
            left_out += 1
        elif min(window(root)[0].size) > 0:  # a window beside a turned image shows only what was filled
            views.setdefault(root.name, []).append(View(row, root))
    return Side(label, dataset, val, views, left_out)


def _check_classes(sides: Sequence[Side]) -> None:
    first = sides[0]
    for side in sides[1:]:
        missing = sorted({*first.dataset.classes} - {*side.dataset.classes})
        more = sorted({*side.dataset.classes} - {*first.dataset.classes})
        if missing or more:
            said = " and ".join(
                [f"lacks {', '.join(missing)}"] * bool(missing) + [f"adds {', '.join(more)}"] * bool(more)
            )
            raise TrainError(
                f"{side.label} {said}, compared to the classes of {first.label}; models of different classes cannot "
                "be compared. Build both with the same `source.classes`"
            )


def _records(names: Sequence[str], listing: Listing, sides: Sequence[Side], source: Source) -> tuple[Record, ...]:
    """The records of the source images; TrainError where the source is not what the datasets were made of."""
    records = {record.name: record for record in listing.records}
    lost = [name for name in names if name not in records]
    if lost:
        raise TrainError(f"{source.path} lists no {_some(lost)}; is it the source? Say where it lies: --source PATH")
    for side in sides:
        for name in names:
            size, record = side.views[name][0].root.size, records[name]
            if size != (record.width, record.height):
                raise TrainError(
                    f"{name} is {record.width}x{record.height} in {source.path}, and was {size[0]}x{size[1]} when "
                    f"{side.label} was built. Build {side.label} again, or correct --source PATH"
                )
    return tuple(records[name] for name in names)


def _check_apart(records: Sequence[Record], listing: Listing, sides: Sequence[Side]) -> None:
    """Raise TrainError where a dataset trains on a group that the models are judged by."""
    judged = {group for record in records for group in _groups(record)}
    group_of = {record.name: _groups(record) for record in listing.records}
    for side in sides:
        seen = judged & trained_groups(side.dataset, group_of)
        if seen:
            raise TrainError(
                f"{side.label} trains on what the models would be judged by: {_some(seen)} is in its training split "
                "and in the common validation set. Build the datasets with the same `split`"
            )


def trained_groups(dataset: Dataset, group_of: dict[str, tuple[str, ...]]) -> set[str]:
    """All groups that show in a dataset's training split, by its own index and by the groups of its source images."""
    train = dataset.index.filter(dataset.index["split"] == "train")
    roots = (root["name"] for roots in train["lineage"].struct.field("roots").to_list() for root in roots)
    by_root = {group for name in roots for group in group_of.get(name, ())}
    return {*train["group"], *train["groups"].explode().drop_nulls(), *by_root}


def _groups(record: Record) -> tuple[str, ...]:
    return tuple(record.data.get("groups") or (record.group,))


def _warnings(sides: Sequence[Side]) -> Iterator[str]:
    if len({side.dataset.manifest.source.digest for side in sides}) > 1:
        yield (
            "the datasets were built from different states or choices of the source; all are judged by the images and "
            f"labels of the source of {sides[0].label} as they are now"
        )
    for side in sides:
        if side.mixed:
            yield f"{side.mixed} validation samples of {side.label} show several source images and are left out"


def _some(names: Iterable[Any]) -> str:
    """A few names, and how many more."""
    return some(sorted(names), SHOWN) or "none"
