"""Gathering the cases of a recipe: what its filters find, what is implausible, and what was judged already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from augforge.engine.opening import Opened, check_folder, dataset_folder, open_recipe
from augforge.engine.outcome import Finding
from augforge.engine.outliers import Outliers, find_outliers
from augforge.planning.rows import Row
from augforge.progress import Progress
from augforge.recipe.recipe import load_recipe
from augforge.report.review.case import Case, Reason, View, merge_cases


def gather_cases(
    recipe: str, out: str | None, *, jobs: int, overrides: Sequence[str], every: bool, progress: Progress
) -> tuple[Opened, list[Case]]:
    """The cases of a recipe: what its filters find, what is implausible, and what its review names already.

    Args:
        recipe: the YAML file.
        out: folder of its dataset, whose work area keeps measurements; by default ``datasets/NAME``.
        jobs: worker processes.
        overrides: ``key.path=value`` strings that change the recipe.
        every: all other source images too, without a reason.
        progress: is told how far the work is.

    Returns:
        the opened recipe, and the cases, findings first, sorted by name within each kind.
    """
    loaded = load_recipe(recipe, overrides)
    if any(step.bound.op.role == "filter" for step in loaded.steps):
        found = find_outliers(recipe, out, jobs=jobs, overrides=overrides, progress=progress)
        opened = found.opened
        cases = list(_filter_cases(found))
    else:
        folder = dataset_folder(out, loaded.name)
        check_folder(folder, loaded.name)
        opened = open_recipe(loaded, folder, remember=False, enforce=False)
        cases = []
    rows = {row.name: row for row in opened.table.rows}
    cases += [*_implausible_cases(opened, rows), *_reviewed_cases(opened, rows)]
    if every:
        cases += [source_case(opened, row, ()) for _, row in sorted(rows.items())]
    return opened, merge_cases(cases)


def source_case(opened: Opened, row: Row, reasons: Iterable[Reason]) -> Case:
    """A case of a source image, shown as the source has it."""
    return Case(row.name, row.group, row.split, tuple(reasons), source_view(opened, row.name))


def source_view(opened: Opened, name: str) -> View:
    """A source image with its labels."""
    classes = opened.listing.classes
    return View(lambda: opened.recipe.source.load(opened.listing.records.by_name(name), classes), classes)


def _filter_cases(found: Outliers) -> Iterator[Case]:
    for finding in found.findings:
        for root in finding.row.lineage.roots:
            yield _filter_case(found, finding, root.name)


def _filter_case(found: Outliers, finding: Finding, name: str) -> Case:
    flag, row = finding.flag, finding.row
    text = ", ".join(filter(None, (flag.reason, flag.detail, finding.outcome)))
    view = View(lambda: found.load(finding), found.opened.listing.classes, tuple(flag.boxes))
    return Case(name, row.group, row.split, (Reason(finding.step, text, flag.score),), view)


def _implausible_cases(opened: Opened, rows: Mapping[str, Row]) -> Iterator[Case]:
    """Source images that findings name; names of files and groups are none of theirs."""
    for found in opened.findings.open:
        reason = Reason("implausible", f"{found.kind}: {found.message}")
        for name in found.names:
            if name in rows:
                yield source_case(opened, rows[name], (reason,))


def _reviewed_cases(opened: Opened, rows: Mapping[str, Row]) -> Iterator[Case]:
    """Source images that the review names already; names that are none of the source's are a finding of the build."""
    for name, verdict in sorted(opened.recipe.review.items()):
        if name in rows:
            yield source_case(opened, rows[name], (Reason("review", verdict.why or verdict.verdict),))
