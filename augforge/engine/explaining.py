"""What a build would do, and why. Nothing is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from augforge.engine.backends import worker_count
from augforge.engine.comparing import compare_pictures
from augforge.engine.findings import Accepted
from augforge.engine.foresight import PlannedWork, Planner
from augforge.engine.opening import Opened, check_folder, dataset_storage, open_recipe
from augforge.engine.outcome import Outcome
from augforge.engine.versioning import current_dataset, foresee_version
from augforge.progress import Silent
from augforge.recipe.recipe import load_recipe
from augforge.sources.listing import Finding
from augforge.store.dataset import Dataset


@dataclass
class Explanation:
    """What a build would do.

    Attributes:
        version: the current version, or None.
        unchanged: whether the build would give that version again; None if that depends on pixels.
        next_version: the version that it would give, or None if that is not known.
        version_note: why it is not known, or empty.
        exact: False if the plan is "at most", because pixels decide.
        work: every task.
        samples: how many the current version has ``now``, how many are ``planned``, and how many of them are ``added``,
            ``removed`` and ``changed``; None for these while pixels decide, since then not all names are known.
        findings, accepted: what is implausible about source and splits, and what of it the recipe accepts.
    """

    name: str
    folder: str
    version: str | None
    unchanged: bool | None
    exact: bool
    samples: dict[str, int | None]
    work: list[PlannedWork] = field(default_factory=list)
    next_version: str | None = None
    version_note: str = ""
    findings: list[Finding] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)


def explain(
    recipe: str | Path,
    out: str | Path | None = None,
    *,
    jobs: int = 1,
    overrides: Sequence[str] = (),
    rename: bool = False,
) -> Explanation:
    """Plan a build as a dry run does, and say why each task would run.

    Args:
        recipe: the YAML file.
        out: folder or URL of the dataset, default ``datasets/<name>``.
        jobs: worker processes that the build would have; the plan is the same for any number.
        overrides: ``key.path=value`` strings that change the recipe.
        rename: the folder may hold a dataset of another name.

    Raises:
        RecipeError, SourceError, PlanError, DatasetError: as a build would, before any work.
    """
    loaded = load_recipe(recipe, overrides)
    storage = dataset_storage(out, loaded.name)
    storage.pull()
    check_folder(storage.folder, loaded.name, rename)
    return explain_opened(open_recipe(loaded, storage, remember=False), jobs)


def explain_opened(opened: Opened, jobs: int = 1) -> Explanation:
    """`explain` for a recipe whose source is listed already.

    Raises:
        SourceError, PlanError, DatasetError: as a build would, before any work or before its commit.
    """
    loaded = opened.recipe
    pipeline = opened.pipeline(loaded.steps, worker_count(jobs), Silent())
    outcome = opened.make_samples(pipeline, dry=True)
    finished = compare_pictures(opened, pipeline, outcome, dry=True)
    before = current_dataset(finished)
    found = foresee_version(finished, before)
    work = list(Planner(opened, pipeline, outcome, before).work())
    return Explanation(
        name=loaded.name,
        folder=opened.storage.place,
        version=before.version if before else None,
        unchanged=found.unchanged,
        exact=outcome.counts.exact,
        samples=_count_samples(before, outcome),
        work=work,
        next_version=found.version,
        version_note=found.note,
        findings=list(finished.findings.open),
        accepted=list(finished.findings.accepted),
    )


def _count_samples(before: Dataset | None, outcome: Outcome) -> dict[str, int | None]:
    """How the samples of a plan differ from those of a version."""
    planned = {row.name: row.id for row in outcome.rows}
    now = dict(before.index.select("name", "id").iter_rows()) if before else {}
    counts: dict[str, int | None] = {"now": len(now), "planned": len(planned)}
    if not outcome.counts.exact:
        return {**counts, **dict.fromkeys(("added", "removed", "changed"))}
    changed = sum(now[name] != planned[name] for name in now.keys() & planned.keys())
    return {
        **counts,
        "added": len(planned.keys() - now.keys()),
        "removed": len(now.keys() - planned.keys()),
        "changed": changed,
    }


def count_reasons(work: Iterable[PlannedWork], examples: int = 3) -> list[dict[str, Any]]:
    """Tasks by work, step and reason, the most frequent first; source samples count together, with examples.

    A task with several reasons counts for each of them.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    shown: dict[tuple[str, ...], dict[str, None]] = {}
    for each in work:
        keys = {}
        for kind, what, detail in each.reasons:
            key = (each.work, each.step, kind, "" if kind == "source" else what, detail)
            keys[key] = what if kind == "source" else each.sample
        counts.update(keys.keys())
        for key, example in keys.items():
            if len(names := shown.setdefault(key, {})) < examples:
                names[example] = None
    columns = ("work", "step", "kind", "what", "detail")
    return [
        {**dict(zip(columns, key, strict=True)), "tasks": count, "examples": list(shown[key])}
        for key, count in counts.most_common()
    ]
