"""The common validation set: the source images that all compared datasets hold back for validation.

Datasets of different recipes cannot be compared on their own validation samples: one may be turned upright, another cut
into windows. So models are scored in the source: the samples of ``val`` that show a single source image go through the
model as the dataset prepared them, and the predictions are turned back to the source's pixels by the lineage's matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from augforge.cache.filecache import FileCache
from augforge.errors import TrainError, some
from augforge.lineage import Root
from augforge.train.built import raw_source
from augforge.train.mirrored import Pairs, exchange_finder
from augforge.train.prediction.blend import visible_part

if TYPE_CHECKING:
    from augforge.sample import Sample
    from augforge.sources.core import Listing, Record, Source
    from augforge.store.dataset import Dataset

SHOWN = 5
"""Names that a message lists at most."""


@dataclass(frozen=True, slots=True)
class Showing:
    """A sample that shows one source image.

    Attributes:
        row: of the sample in the validation split.
        root: where the source image lies in it.
        exchange: pairs of classes that are exchanged in it, compared with the source image.
    """

    row: int
    root: Root
    exchange: Pairs = ()


@dataclass(frozen=True, slots=True, eq=False)
class ComparedDataset:
    """One of the compared datasets.

    Attributes:
        label: its name in tables and messages.
        dataset: all of it.
        val: its validation samples.
        views: the samples that show a single source image, by its name; several if it was cut into windows.
        mixed: number of validation samples that are left out because they show several source images.
    """

    label: str
    dataset: Dataset
    val: Dataset
    views: dict[str, list[Showing]]
    mixed: int

    def samples(self, names: Iterable[str]) -> Iterator[Sample]:
        """The validation samples that show the source images of those names, in that order."""
        return (self.val[view.row] for name in names for view in self.views[name])


@dataclass(frozen=True, slots=True, eq=False)
class CommonSet:
    """The common validation set.

    Attributes:
        source: the raw data.
        classes: class table of the raw samples.
        labels: names of the entries of their label vectors.
        records: of the source images, by name.
        compared: the datasets.
        left_out: number of validation source images of each dataset that are not in the set.
        warnings: what may make the comparison doubtful.
    """

    source: Source
    classes: tuple[str, ...]
    records: tuple[Record, ...]
    compared: tuple[ComparedDataset, ...]
    left_out: dict[str, int]
    warnings: tuple[str, ...]
    labels: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of the source images."""
        return [record.name for record in self.records]

    @property
    def groups(self) -> list[str]:
        """The group of each image; of an image of several people, all of them in one name."""
        return ["+".join(_groups(record)) for record in self.records]

    def raw_samples(self) -> Iterator[Sample]:
        """The raw samples, loaded one by one."""
        return (self.source.load(record, self.classes) for record in self.records)


def common_set(datasets: Sequence[Dataset], source: str | None = None) -> CommonSet:
    """The source images that all datasets hold back for validation.

    Args:
        datasets: two or more.
        source: where the raw data is now, if it was moved since the first dataset was built.

    Raises:
        TrainError: classes differ or there are none, nothing is common, or a dataset trains on what is to be judged.
    """
    compared = tuple(map(_compared_dataset, labels_of(datasets), datasets))
    _check_same("classes", compared)
    _check_same("labels", compared)
    names = sorted(set.intersection(*(set(each.views) for each in compared)))
    if not names:
        listed = "; ".join(f"{each.label} {_some(each.views)}" for each in compared)
        raise TrainError(
            "no source image is in the validation split of every dataset, so nothing compares them. "
            f"They hold {listed}. Build them with the same `split`"
        )
    adapter = raw_source(datasets[0], source)
    listing = adapter.scan(FileCache(datasets[0].folder / "work" / "files.sqlite"))
    records = _select_records(names, listing, compared, adapter)
    _check_not_trained_on(records, listing, compared)
    left_out = {each.label: len(each.views) - len(names) for each in compared}
    warnings = tuple(_warnings(compared))
    return CommonSet(adapter, listing.classes, records, compared, left_out, warnings, listing.labels)


def labels_of(datasets: Sequence[Dataset]) -> list[str]:
    """Distinct labels for the datasets: their names, with versions if names are not distinct.

    Raises:
        TrainError: the same dataset is given twice.
    """
    versions = [dataset.version for dataset in datasets]
    if len(set(versions)) < len(versions):
        twice = next(d for d in datasets if versions.count(d.version) > 1)
        raise TrainError(f"two of the datasets are the same, {twice.name} {twice.version}. Name datasets that differ")
    names = [dataset.name for dataset in datasets]
    if len(set(names)) == len(names):
        return names
    return [f"{dataset.name} {dataset.version[:8]}" for dataset in datasets]


def _compared_dataset(label: str, dataset: Dataset) -> ComparedDataset:
    if not dataset.manifest.splits.get("val"):
        raise TrainError(f"{dataset.folder} has no validation split to judge by. Build it with `split: {{val: 0.2}}`")
    val = dataset.split("val")
    views: dict[str, list[Showing]] = {}
    find_exchange, left_out = exchange_finder(dataset), 0
    for row, lineage in enumerate(val.index["lineage"].to_list()):
        roots = lineage["roots"]
        exchange = find_exchange(lineage) if len(roots) == 1 else None
        root = Root.from_json(roots[0])
        if exchange is None:
            left_out += 1
        elif (
            min(visible_part(root)[0].size) > 0
        ):  # a window beside a turned image shows nothing of it, only filled border
            views.setdefault(root.name, []).append(Showing(row, root, exchange))
    return ComparedDataset(label, dataset, val, views, left_out)


def _check_same(table: Literal["classes", "labels"], compared: Sequence[ComparedDataset]) -> None:
    first = compared[0]
    names = {*getattr(first.dataset, table)}
    for other in compared[1:]:
        theirs = {*getattr(other.dataset, table)}
        missing, more = sorted(names - theirs), sorted(theirs - names)
        if missing or more:
            facts = " and ".join(
                [f"lacks {', '.join(missing)}"] * bool(missing) + [f"adds {', '.join(more)}"] * bool(more)
            )
            raise TrainError(
                f"{other.label} {facts}, compared to the {table} of {first.label}; models of different {table} cannot "
                f"be compared. Build both with the same {table} in `source`"
            )


def _select_records(
    names: Sequence[str], listing: Listing, compared: Sequence[ComparedDataset], source: Source
) -> tuple[Record, ...]:
    """The records of the named source images; TrainError if the source is not the one the datasets were made of."""
    records = {record.name: record for record in listing.records}
    missing = [name for name in names if name not in records]
    if missing:
        raise TrainError(f"{source.path} lists no {_some(missing)}; is it the source? Say where it lies: --source PATH")
    for each in compared:
        for name in names:
            size, record = each.views[name][0].root.size, records[name]
            if size != (record.width, record.height):
                raise TrainError(
                    f"{name} is {record.width}x{record.height} in {source.path}, and was {size[0]}x{size[1]} when "
                    f"{each.label} was built. Build {each.label} again, or correct --source PATH"
                )
    return tuple(records[name] for name in names)


def _check_not_trained_on(records: Sequence[Record], listing: Listing, compared: Sequence[ComparedDataset]) -> None:
    """Raise TrainError if a dataset trains on a group of the common validation set."""
    judged = {group for record in records for group in _groups(record)}
    group_of = {record.name: _groups(record) for record in listing.records}
    for each in compared:
        shared = judged & trained_groups(each.dataset, group_of)
        if shared:
            raise TrainError(
                f"{each.label} trains on what the models would be judged by: {_some(shared)} is in its training split "
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


def _warnings(compared: Sequence[ComparedDataset]) -> Iterator[str]:
    if len({each.dataset.manifest.source.digest for each in compared}) > 1:
        yield (
            "the datasets were built from different states or choices of the source; all are judged by the images and "
            f"labels of the source of {compared[0].label} as they are now"
        )
    for each in compared:
        if each.mixed:
            yield f"{each.mixed} validation samples of {each.label} show several source images and are left out"


def _some(names: Iterable[Any]) -> str:
    """A few names, and how many more."""
    return some(sorted(names), SHOWN) or "none"
