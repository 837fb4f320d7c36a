"""Exporting a dataset: everything is checked first, then written to a folder that appears only when it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from augforge.errors import AugforgeError, nearest
from augforge.export.core import Entry, Options
from augforge.export.formats import FORMATS
from augforge.export.listing import listed, write_table
from augforge.progress import Progress
from augforge.store.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote.

    Attributes:
        format, options: how.
        path: the folder.
        dataset, version: what.
        splits: samples of each.
        files, bytes: in all.
        notes: what the format could not hold or holds in a way worth saying, and how often.
    """

    format: str
    options: dict[str, Any]
    path: str
    dataset: str
    version: str
    splits: dict[str, int]
    files: int
    bytes: int
    notes: dict[str, int]


def export(
    dataset: Dataset,
    out: str | Path,
    to: str,
    *,
    splits: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write a dataset in another format. The same dataset, splits and options give the same bytes.

    Args:
        dataset: as `open_dataset` gives it, or a part of it.
        out: a folder, new or empty; the files appear in it when they are complete.
        to: the format; see `FORMATS`.
        splits: only these; none for all.
        options: of the format.
        progress: is told of each shard that is checked, then of each sample.

    Raises:
        AugforgeError: an unknown format, split or option, a folder that is in use, samples that the format cannot
            hold, or (DatasetError) a dataset that is not whole. Nothing is left behind.
    """
    checked = checked_options(to, options or {})
    format, target = FORMATS[to], Path(out)
    _check_unused(target)
    part = dataset.where(pl.col("split").is_in(list(splits))) if splits else dataset
    with _appearing(target) as folder:
        job, entries = listed(part, folder, splits, format, checked)
        _check_whole(part, progress)
        if progress is not None:
            progress.start(f"export {to}", sum(job.splits.values()))
        format.write(job, _told(entries, progress), checked)
        write_table(job, part)
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Exported(
        format=to,
        options=checked.model_dump(mode="json"),
        path=str(target),
        dataset=job.dataset,
        version=job.version,
        splits=dict(job.splits),
        files=len(sizes),
        bytes=sum(sizes),
        notes=dict(sorted(job.notes.items())),
    )


def checked_options(to: str, given: Mapping[str, Any]) -> Options:
    """The options of a format. AugforgeError with the nearest name for an unknown format or option."""
    if to not in FORMATS:
        raise AugforgeError(f"no export format is named '{to}'.{nearest(to, FORMATS)}")
    model = FORMATS[to].options
    try:
        return model.model_validate(dict(given))
    except ValidationError as caught:
        problems = [_complaint(to, model, dict(error)) for error in caught.errors()]
        raise AugforgeError("\n".join(dict.fromkeys(problems))) from None


def _complaint(to: str, model: type[Options], error: Mapping[str, Any]) -> str:
    key = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        return f"the format {to} has no option '{key}'.{nearest(key, model.model_fields) or ' It has none.'}"
    said = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")
    return f"option {key} of {to}: {said}, got {error['input']!r}. Correct --set {key}=..."


def _check_unused(target: Path) -> None:
    building = _building(target)
    if building.exists():
        raise AugforgeError(
            f"{building} is there, so another export to {target} is running or was killed. Wait for it, or delete that "
            "folder."
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise AugforgeError(
            f"{target} exists and is not empty; an export needs a new or empty folder. "
            "Choose another folder or delete this one."
        )


def _building(target: Path) -> Path:
    """Where an export is made: in its folder if that exists, which may be a mount point or the shell's, else beside."""
    real = target.resolve()
    return (real if real.exists() else real.parent) / f".{real.name}.tmp"


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A temporary folder whose files are in ``target`` when the block ends well, and vanish otherwise."""
    real, building = target.resolve(), _building(target)
    try:
        building.mkdir(parents=True)
        try:
            yield building
            _move(building, real)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        place = str(error.filename or building).replace(str(building), str(target))
        raise AugforgeError(f"{place} cannot be written: {error.strerror}. Choose another folder") from error


def _move(building: Path, real: Path) -> None:
    """Let what was built take its place."""
    if building.parent != real:
        building.rename(real)
        return
    for path in list(building.iterdir()):
        path.rename(real / path.name)


def _check_whole(dataset: Dataset, progress: Progress | None) -> None:
    """Find every changed byte before anything is written: images are copied, and nothing would decode them."""
    if progress is None:
        dataset.check()
    else:
        progress.start("check", dataset.index["shard"].n_unique())
        dataset.check(progress.advance)


def _told(entries: Iterable[Entry], progress: Progress | None) -> Iterator[Entry]:
    for entry in entries:
        yield entry
        if progress is not None:
            progress.advance(1)
