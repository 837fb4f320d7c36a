"""Runs a recipe's filters without building: findings to look at, and their score against a truth."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from augforge.engine.backends import choose_backend
from augforge.engine.opening import Opened, check_folder, dataset_storage, open_recipe
from augforge.engine.outcome import Finding
from augforge.engine.pipeline import Pipeline
from augforge.errors import AugforgeError, PlanError
from augforge.files import writer_lock
from augforge.progress import Progress, Silent
from augforge.recipe.recipe import load_recipe
from augforge.sample import Sample
from augforge.sources import Refused


@dataclass(frozen=True, slots=True)
class Outliers:
    """Findings of a recipe's filters.

    Attributes:
        findings: in the order of the steps.
        names: of all source samples that could be read.
        unreadable: the others.
        detectors: labels of the filters.
        remaining: names of the source samples that still show in some sample after the last filter.
        warnings: messages for the user.
    """

    findings: tuple[Finding, ...]
    names: tuple[str, ...]
    unreadable: tuple[Refused, ...]
    detectors: tuple[str, ...]
    remaining: frozenset[str]
    warnings: tuple[str, ...]
    opened: Opened
    _pipeline: Pipeline

    def load(self, finding: Finding) -> Sample:
        """The sample a finding is about, as the filter saw it."""
        return self._pipeline.load(finding.row)


@dataclass(frozen=True, slots=True)
class Score:
    """A detector against the truth, in samples.

    Attributes:
        detector: a step's label, or ``any`` for all of them together.
        hits, misses, false_alarms: outliers that are flagged, outliers that are not, and other samples that are.
        missed, wrong: their names.
    """

    detector: str
    hits: int
    misses: int
    false_alarms: int
    missed: tuple[str, ...]
    wrong: tuple[str, ...]

    @property
    def recall(self) -> float | None:
        """The share of the outliers that are flagged; None if there are none."""
        return self.hits / (self.hits + self.misses) if self.hits + self.misses else None

    @property
    def precision(self) -> float | None:
        """The share of the flagged samples that are outliers; None if none is flagged."""
        return self.hits / (self.hits + self.false_alarms) if self.hits + self.false_alarms else None


def find_outliers(
    recipe: str | Path,
    out: str | Path | None = None,
    *,
    jobs: int | None = None,
    backend: str | None = None,
    address: str | None = None,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
) -> Outliers:
    """Run a recipe as far as its last filter, and return what the filters found.

    Args:
        recipe: the YAML file.
        out: folder or URL of its dataset, whose work area keeps the measurements; default ``datasets/<name>``.
        jobs, backend, address: worker processes and where they run, as for `augforge.engine.builder.build`.
        overrides: ``key.path=value`` strings that change the recipe.
        progress: is told how far the work is.

    Raises:
        PlanError: the recipe has no filter.
    """
    loaded = load_recipe(recipe, overrides, review_to_come=True)
    filters = [step for step in loaded.steps if step.bound.op.role == "filter"]
    if not filters:
        raise PlanError(f"{recipe} has no filter. Add one, such as {{op: metal}}; augforge ops lists them")
    storage = dataset_storage(out, loaded.name)
    storage.pull()
    check_folder(storage.folder, loaded.name)
    chosen = choose_backend(jobs, backend, address)
    with writer_lock(storage.folder, "outliers"), chosen.started() as workers:
        opened = open_recipe(loaded, storage)
        steps = opened.recipe.steps[: filters[-1].index]
        pipeline = opened.pipeline(steps, workers, progress or Silent())
        outcome = opened.make_samples(pipeline, encode=False)
    unreadable = {row.name for row in outcome.refused}
    names = tuple(row.name for row in opened.table.rows if row.name not in unreadable)
    labels = tuple(step.bound.label for step in filters)
    remaining = frozenset(root.name for row in outcome.rows for root in row.lineage.roots)
    found, warnings = tuple(outcome.findings), (*opened.listing.warnings, *outcome.warnings)
    return Outliers(found, names, outcome.refused, labels, remaining, warnings, opened, pipeline)


def read_truth(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Kind of outlier by source sample name; empty for none.

    The table has a column ``outlier`` (``none`` or empty: no outlier). It names a sample by ``name``, or by ``image``
    (a file name) with or without ``person`` (its folder).
    """
    known = {name: name for name in names} | {name.rpartition("/")[2]: name for name in names}
    truth: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for line, row in enumerate(csv.DictReader(stream), start=2):
                truth[_sample_name(row, known, f"{path}:{line}")] = "" if row["outlier"] == "none" else row["outlier"]
    except (OSError, UnicodeDecodeError, KeyError) as error:
        raise AugforgeError(f"{path}: cannot be read as a truth table with a column `outlier` ({error!r})") from None
    return truth


def _sample_name(row: Mapping[str, str], known: Mapping[str, str], where: str) -> str:
    given = row.get("name") or Path(row.get("image") or "").stem
    full = f"{row['person']}/{given}" if row.get("person") and not row.get("name") else given
    name = known.get(full) or known.get(given)
    if name is None:
        raise AugforgeError(f"{where}: '{full}' is no sample of the source. Check the truth file's names")
    return name


def scores(found: Outliers, truth: Mapping[str, str]) -> list[Score]:
    """Every detector, and all together, against the truth."""
    flagged = {label: {_source_name(f) for f in found.findings if f.step == label} for label in found.detectors}
    if len(flagged) > 1:
        flagged["any"] = set().union(*flagged.values())
    unreadable = {row.name for row in found.unreadable}
    truth = {name: kind for name, kind in truth.items() if name not in unreadable}
    outliers = {name for name, kind in truth.items() if kind}
    return [_score(label, names & set(truth), outliers) for label, names in flagged.items()]


def _source_name(finding: Finding) -> str:
    return finding.row.lineage.roots[0].name


def _score(label: str, flagged: set[str], outliers: set[str]) -> Score:
    missed, wrong = sorted(outliers - flagged), sorted(flagged - outliers)
    return Score(label, len(flagged & outliers), len(missed), len(wrong), tuple(missed), tuple(wrong))
