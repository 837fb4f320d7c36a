"""What a build would do, and why. Nothing is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from augforge.engine import execute
from augforge.engine.foresight import PlannedWork, Planner
from augforge.engine.opening import check_folder, dataset_folder, open_recipe
from augforge.engine.outcome import Outcome
from augforge.engine.publish import Finished
from augforge.progress import Silent
from augforge.recipe.recipe import load_recipe
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.manifest import rejected_digest, tags_digest


@dataclass
class Explanation:
    """What a build would do.

    Attributes:
        version: the current version, or None.
        unchanged: whether the build would give that version again.
        exact: False if the plan is "at most", because pixels decide.
        work: every task.
        samples: how many the current version has ``now``, how many are ``planned``, and how many of them are ``added``,
            ``removed`` and ``changed``; None for these while pixels decide, since then not all names are known.
    """

    name: str
    folder: str
    version: str | None
    unchanged: bool
    exact: bool
    samples: dict[str, int | None]
    work: list[PlannedWork] = field(default_factory=list)


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
        out: folder of the dataset, default ``datasets/<name>``.
        jobs: worker processes that the build would have; the plan is the same for any number.
        overrides: ``key.path=value`` strings that change the recipe.
        rename: the folder may hold a dataset of another name.

    Raises:
        RecipeError, SourceError, PlanError, DatasetError: as a build would, before any work.
    """
    loaded = load_recipe(recipe, overrides)
    folder = dataset_folder(out, loaded.name)
    check_folder(folder, loaded.name, rename)
    opened = open_recipe(loaded, folder, remember=False)
    pipeline = opened.pipeline(loaded.steps, execute.worker_count(jobs), Silent())
    outcome = opened.make_samples(pipeline, dry=True)
    before = open_dataset(folder) if (folder / "manifest.yaml").exists() else None
    work = list(Planner(opened, pipeline, outcome, before).work())
    return Explanation(
        name=loaded.name,
        folder=str(folder),
        version=before.version if before else None,
        unchanged=before is not None and outcome.counts.exact and _gives(before, Finished(opened, outcome)),
        exact=outcome.counts.exact,
        samples=_count_samples(before, outcome),
        work=work,
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


def _gives(before: Dataset, finished: Finished) -> bool:
    """Whether a plan has the samples, tags and rejections of a version, so that it gives the same version."""
    manifest, rows = before.manifest, finished.outcome.rows
    return (
        {(row.name, row.id, row.split) for row in rows} == set(before.index.select("name", "id", "split").iter_rows())
        and tags_digest((row.name, row.tags) for row in rows) == manifest.tags_digest
        and rejected_digest(finished.rejected()) == manifest.rejected_digest
        and (str(finished.encoding), finished.opened.libraries) == (manifest.encoding, manifest.made_by)
        and [*finished.listing.classes] == manifest.classes
        and [*finished.listing.labels] == manifest.labels
    )


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
