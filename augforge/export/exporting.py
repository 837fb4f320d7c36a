"""Exporting a dataset: everything is checked first, then written to a folder that appears only when it is complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import ValidationError

from augforge.errors import AugforgeError, nearest
from augforge.export.core import Entry, Options
from augforge.export.formats import FORMATS
from augforge.export.listing import prepare_job, write_table
from augforge.export.output import check_unused, output_folder
from augforge.progress import Progress
from augforge.store.dataset import Dataset
from augforge.yamlfile import parse_scalar

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """A report of what an export wrote.

    Attributes:
        format, options: the format and all its options.
        path: the folder.
        dataset, version: name and version of the dataset.
        splits: number of samples per split.
        files, bytes: totals.
        notes: remarks, such as on what the format cannot represent, and how often each applies.
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
) -> ExportSummary:
    """Write a dataset in another format. The same dataset, splits and options give the same bytes.

    Args:
        dataset: a dataset, or a part of one.
        out: a new or empty folder; the files appear in it when all are complete.
        to: name of the format; see `FORMATS`.
        splits: export only these; empty for all.
        options: of the format.
        progress: advances with each shard that is checked, and then with each sample.

    Raises:
        AugforgeError: an unknown format, split or option, a folder that is in use, or samples that the format cannot
            represent. Nothing is left behind.
        DatasetError: the dataset is damaged.
    """
    checked = parse_options(to, options or {})
    format, target = FORMATS[to], Path(out)
    check_unused(target)
    part = dataset.where(pl.col("split").is_in(list(splits))) if splits else dataset
    with output_folder(target) as folder:
        job, entries = prepare_job(part, folder, splits, format, checked)
        _check_dataset(part, progress)
        if progress is not None:
            progress.start(f"export {to}", sum(job.splits.values()))
        format.write(job, _report_progress(entries, progress), checked)
        write_table(job, part)
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return ExportSummary(
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


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Options from ``KEY=VALUE`` texts; AugforgeError for a text of another form, or a duplicate key."""
    found: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise AugforgeError(f"--set {text} is no option; expected KEY=VALUE, such as masks=polygons")
        if key in found:
            raise AugforgeError(f"--set gives {key} twice. Give it once")
        # `order` lists class names, which stay text even if they look like a number or `*` like a YAML alias.
        found[key] = value if key == "order" else parse_scalar(value)
    return found


def parse_options(to: str, given: Mapping[str, Any]) -> Options:
    """Check the options of a format; AugforgeError with the nearest name for an unknown format or option."""
    if to not in FORMATS:
        raise AugforgeError(f"no export format is named '{to}'.{nearest(to, FORMATS)}")
    model = FORMATS[to].options
    try:
        return model.model_validate(dict(given))
    except ValidationError as caught:
        problems = [_describe_error(to, model, dict(error)) for error in caught.errors()]
        raise AugforgeError("\n".join(dict.fromkeys(problems))) from None


def _describe_error(to: str, model: type[Options], error: Mapping[str, Any]) -> str:
    key = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        return f"the format {to} has no option '{key}'.{nearest(key, model.model_fields) or ' It has none.'}"
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")
    return f"option {key} of {to}: {message}, got {error['input']!r}. Correct --set {key}=..."


def _check_dataset(dataset: Dataset, progress: Progress | None) -> None:
    """Find damage before anything is written: images are copied without being decoded, which would show it."""
    if progress is None:
        dataset.check()
    else:
        progress.start("check", dataset.index["shard"].n_unique())
        dataset.check(progress.advance)


def _report_progress(entries: Iterable[Entry], progress: Progress | None) -> Iterator[Entry]:
    """The same entries; the progress advances after each has been written."""
    for entry in entries:
        yield entry
        if progress is not None:
            progress.advance(1)


def render_export_summary(done: ExportSummary, console: Console) -> None:
    """Print what an export wrote, and its notes."""
    splits = ", ".join(f"{split} {count:,}" for split, count in done.splits.items())
    console.print(
        f"wrote {sum(done.splits.values()):,} samples ({splits}) as {done.format}: {done.files:,} files, "
        f"{done.bytes / 1e6:,.1f} MB in {done.path}",
        markup=False,
        soft_wrap=True,
    )
    for note, count in done.notes.items():
        console.print(f"note: {note}: {count:,}", markup=False, soft_wrap=True)
