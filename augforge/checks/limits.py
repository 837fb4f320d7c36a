"""Checks of what the policy demands: samples of each class, drift from a baseline, rejected samples, licences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from augforge.checks.core import Check, Finding, NotChecked, Result
from augforge.checks.policy import EVERY, Drift
from augforge.checks.subject import Subject
from augforge.errors import DatasetError, some
from augforge.store.dataset import Dataset, open_dataset

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Seen:
    """How much of a class a split shows.

    Attributes:
        count: the number of samples in which it is seen.
        area: the mean share of the image that it covers in them; None for a label.
    """

    count: int
    area: float | None


def measure_classes(dataset: Dataset) -> dict[str, dict[str, Seen]]:
    """For each split of a dataset, what is seen of each class and label."""
    return {
        split: {**_classes_of(part, dataset.classes), **_labels_of(part, dataset.labels)}
        for (split,), part in dataset.index.group_by("split")
    }


def _classes_of(index: pl.DataFrame, classes: tuple[str, ...]) -> dict[str, Seen]:
    pixels = index["width"].cast(pl.Int64) * index["height"]
    found = {}
    for name in classes:
        area = index["area"].struct.field(name).fill_null(0)  # null is not known
        shares = (area / pixels).filter(area > 0).to_numpy()
        found[name] = Seen(len(shares), float(shares.mean()) if len(shares) else None)
    return found


def _labels_of(index: pl.DataFrame, labels: tuple[str, ...]) -> dict[str, Seen]:
    values = index["label"].drop_nulls().to_list()
    return {name: Seen(sum((value[i] or 0) > 0 for value in values), None) for i, name in enumerate(labels)}


def find_rare_classes(subject: Subject) -> Iterator[Result]:
    """Each class is seen in as many samples of each split as the policy demands."""
    seen = measure_classes(subject.dataset)
    for split, demanded in subject.rules.min_samples.items():
        numbers = {EVERY: demanded} if isinstance(demanded, int) else demanded
        rare = {
            name: (seen.get(split, {}).get(name, Seen(0, None)).count, least)
            for name in (*subject.dataset.classes, *subject.dataset.labels)
            if (name != "ignore" or name in numbers) and (least := numbers.get(name, numbers.get(EVERY, 0)))
        }
        rare = {name: (count, least) for name, (count, least) in rare.items() if count < least}
        if rare:
            yield _rare(subject, split, rare)


def _rare(subject: Subject, split: str, rare: Mapping[str, tuple[int, int]]) -> Finding:
    file, line = _place(subject, "min_samples", split)
    texts = [f"{name} ({count}, at least {least} should)" for name, (count, least) in rare.items()]
    return Finding(
        "too few samples",
        f"{subject.name}: too few samples of {split} show {some(texts, _SHOWN)}",
        "Add samples of these classes, weight them in the recipe, or change the policy",
        "error",
        file,
        line,
        tuple(rare),
    )


def find_drift(subject: Subject) -> Iterator[Result]:
    """Counts and areas of the classes are near those of the baseline."""
    baseline, limits = subject.rules.baseline, subject.rules.max_drift
    try:
        before = open_dataset(subject.place, baseline)
    except DatasetError as error:
        file, line = _place(subject, "baseline")
        remedy = f"Name the version to compare with: augforge tag {subject.place} {baseline} VERSION"
        yield Finding("no baseline", f"{subject.name}: {error}", remedy, "error", file, line)
        return
    drifted = drift(measure_classes(before), measure_classes(subject.dataset), limits)
    if drifted:
        file, line = _place(subject, "max_drift")
        texts = [f"{what} of {name} in {split}: {text}" for (split, name, what), text in drifted.items()]
        yield Finding(
            "drift",
            f"{subject.name}: further from {baseline} than the policy allows: {some(texts, _SHOWN)}",
            f"See why: augforge diff {subject.place}@{baseline} {subject.place}; if it is meant, tag a new baseline",
            file=file,
            line=line,
            names=tuple(dict.fromkeys(name for _, name, _ in drifted)),
        )


def drift(
    before: Mapping[str, Mapping[str, Seen]], after: Mapping[str, Mapping[str, Seen]], limits: Drift
) -> dict[tuple[str, str, str], str]:
    """What changed by more than the limits, by split, class and ``area`` or ``count``, in words.

    A change is a share of the value before; of what was not there before, any change is infinite.
    """
    found = {}
    nothing = Seen(0, None)
    for split in sorted({*before, *after}):
        old, new = before.get(split, {}), after.get(split, {})
        for name in dict.fromkeys((*old, *new)):
            for what, limit in (("area", limits.area), ("count", limits.count)):
                was, now = (getattr(each.get(name, nothing), what) or 0 for each in (old, new))
                change = abs(now - was) / was if was else math.inf if now else 0.0
                if limit is not None and change > limit:
                    shown = "new" if change == math.inf else f"{change:.1%}"
                    found[split, name, what] = f"{shown} ({was:.4g} to {now:.4g}, at most {limit:.1%})"
    return found


def find_too_many_rejected(subject: Subject) -> Iterator[Result]:
    """No larger share of the samples was rejected than the policy allows."""
    limit, manifest = subject.rules.max_rejected, subject.manifest
    if manifest is None or limit is None:
        return
    rejected = sum(manifest.rejected.values())
    share = rejected / max(1, rejected + manifest.samples)
    if share > limit:
        file, line = _place(subject, "max_rejected")
        reasons = [f"{count} for {reason}" for reason, count in manifest.rejected.items()]
        yield Finding(
            "too many rejected",
            f"{subject.name}: {share:.1%} of the samples were rejected, at most {limit:.1%} may be: "
            f"{some(reasons, _SHOWN)}",
            "Look at them: the table of rejected samples in index/, or augforge outliers RECIPE",
            "error",
            file,
            line,
            tuple(manifest.rejected),
        )


def find_other_licences(subject: Subject) -> Iterator[Result]:
    """Every licence that registry and dataset state for the source is allowed, and there is one."""
    allowed, recorded = subject.rules.licences or [], subject.recorded
    licences = _stated_licences(subject)
    if recorded is None and subject.manifest is None:
        yield NotChecked("no registry and no dataset says which licence the source has")
        return
    refused = [name for name in licences if name not in allowed]
    yield from _unlicensed_images(subject, allowed)
    if refused or not licences:
        file, line = _place(subject, "licences")
        fact = f"has the licence {some(refused)}" if refused else "has no licence"
        where = recorded.file.name if recorded else "the recipe"
        source = recorded.dataset.source if recorded else subject.name
        message = f"{subject.name}: source '{source}' {fact}; allowed are {some(allowed)}"
        remedy = f"State the right licence in {where}, or do not use the source"
        yield Finding("licence not allowed", message, remedy, "error", file, line, tuple(refused) or (source,))


def _unlicensed_images(subject: Subject, allowed: list[str]) -> Iterator[Finding]:
    """Samples of which no licence is known, though others of the dataset have one."""
    manifest = subject.manifest
    if manifest is None or not manifest.licences or not subject.has_dataset:
        return
    index = subject.dataset.index
    names = index.filter(pl.col("licences").list.len().fill_null(0) == 0)["name"].to_list()
    if names:
        yield Finding(
            "licence not allowed",
            f"{subject.name}: {len(names)} of {index.height} samples have no licence, such as {some(names, _SHOWN)}; "
            f"allowed are {some(allowed)}",
            "State it at the source that lacks one: source.licence in the recipe",
            "error",
            *_place(subject, "licences"),
            tuple(names),
        )


def _stated_licences(subject: Subject) -> list[str]:
    """The licences of the registry's source, and those that the dataset has of its images."""
    entry = subject.recorded.source if subject.recorded else None
    stated = [each.name for each in subject.manifest.licences] if subject.manifest else []
    return list(dict.fromkeys([*([entry.licence] if entry and entry.licence else []), *stated]))


def _place(subject: Subject, *keys: str) -> tuple[str | None, int | None]:
    """Where a rule of the policy stands."""
    return subject.policy.place(subject.name, *keys) if subject.policy else (None, None)


CHECKS = [
    Check("samples", find_rare_classes, lambda subject: bool(subject.rules.min_samples), True),
    Check("drift", find_drift, lambda subject: subject.rules.max_drift != Drift(), True),
    Check("rejected", find_too_many_rejected, lambda subject: subject.rules.max_rejected is not None, True),
    Check("licences", find_other_licences, lambda subject: subject.rules.licences is not None),
]
