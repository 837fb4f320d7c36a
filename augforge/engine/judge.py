"""Filters over a table: fit on it, decide on each row, and let a person's review have the last word."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from augforge.cache.ledger import Ledger
from augforge.engine.jobs import WorkerContext, step_errors
from augforge.engine.measuring import features_key
from augforge.engine.outcome import Finding
from augforge.errors import PlanError, nearest
from augforge.keys import plain
from augforge.ops.conditions import FORESEEN_LATE, SAMPLE_COLUMNS, columns_named, evaluate_condition
from augforge.ops.core import Candidate, Flag
from augforge.planning.rows import Row
from augforge.planning.steps import Step
from augforge.recipe.recipe import Verdict

Chooses = Callable[[Step, Row], bool]


@dataclass
class Judge:
    """Fits and applies filters, and keeps what they found in a build.

    Attributes:
        context: class table and seed.
        ledger: holds the features.
        review: a person's verdicts by source sample name.
        fitted: values by step label, for the manifest.
        rejected: dropped rows with step and reason.
        findings: everything that any filter said.
        warnings: messages for the user.
        complete: False once features of a row were missing, as in dry runs: what follows is a guess.
    """

    context: WorkerContext
    ledger: Ledger
    review: Mapping[str, Verdict] = field(default_factory=dict)
    fitted: dict[str, Any] = field(default_factory=dict)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    complete: bool = True
    _measured: dict[str, dict[str, Any]] = field(default_factory=dict)

    def candidate(self, step: Step, row: Row) -> Candidate | None:
        """The row as a filter sees it; None if its features are not known.

        The features are remembered for conditions and filters of later steps.
        """
        features: Any = {}
        if step.bound.needs_features:
            features = self.ledger.get("features", features_key(step.bound, row.id))
            if features is None:
                return None
            self._measured.setdefault(row.id, {})[step.bound.label] = features
        return self._candidate(row, features)

    def _candidate(self, row: Row, features: Mapping[str, Any], measured: bool = True) -> Candidate:
        return Candidate(
            id=row.id,
            name=row.name,
            group=row.group,
            groups=row.groups,
            split=row.split,
            width=row.width,
            height=row.height,
            metadata=row.metadata or {},
            tags=row.tags,
            features=features,
            measured=self._measured.get(row.id, {}) if measured else {},
        )

    def fit(self, step: Step, rows: Sequence[Row]) -> Step:
        """The step with its op fitted on the rows, if it asks for that and all of them are measured."""
        op = step.bound.op
        if op.fit is None or not step.bound.needs_fitting:
            return step
        candidates = [candidate for row in rows if (candidate := self.candidate(step, row)) is not None]
        if len(candidates) < len(rows):
            self.complete = False
            return step
        with step_errors(step.bound.label, "fit"):
            value = plain(op.fit(candidates, step.bound.params, self.context.op_context(step.bound)))
        if value is not None:
            self.fitted[step.bound.label] = value
        return replace(step, bound=replace(step.bound, fitted=value))

    def weigh(self, step: Step, row: Row) -> float:
        """How likely a step's op draws the row as partner; 1 once features of a row were missing (dry runs)."""
        candidate, weigh = self.candidate(step, row), step.bound.op.weigh
        self.complete = self.complete and candidate is not None
        if candidate is None or weigh is None or not self.complete:
            return 1.0
        return weigh(candidate, step.bound.params, self.context.op_context(step.bound))

    def choices(self, first: Step | None, rows: Sequence[Row]) -> tuple[Chooses, Chooses]:
        """Whether a step of a stage acts on a row, and whether it may draw it; `first` has the conditions."""
        conditions = {} if first is None else first.conditions
        apart = first is not None and first.bound.params.partner_condition() is not None
        matching = {key: self.rows_matching(text, rows, first) for key, text in conditions.items() if first}

        def acts(step: Step, row: Row) -> bool:
            in_split = row.split in step.on or (row.may_move and "train" in step.on)
            return in_split and (step.where is None or row.name in matching["where"])

        def joins(step: Step, row: Row) -> bool:
            return row.name in matching["donors"] if "donors" in matching else apart or acts(step, row)

        return acts, joins

    def rows_matching(self, where: str, rows: Sequence[Row], step: Step) -> set[str]:
        """Names of the rows that fulfil a condition of a step; all rows if features are missing (dry runs)."""
        if any(row.foreseen for row in rows) and columns_named(where) & FORESEEN_LATE:
            self.complete = False
            return {row.name for row in rows}
        probe = step.probe(where).bound
        measured = rows if probe.needs_features else ()
        own = {row.id: self.ledger.get("features", features_key(probe, row.id)) for row in measured}
        self.complete = self.complete and None not in own.values()
        # While features are missing, all are hidden: a condition on them then fails and counts as true for every row,
        # instead of being false for the rows that were not measured.
        try:
            seen = [self._candidate(row, own.get(row.id, {}) if self.complete else {}, self.complete) for row in rows]
            verdicts = evaluate_condition(where, [candidate.columns() for candidate in seen])
        except PlanError:
            if self.complete:
                raise
            return {row.name for row in rows}
        found = {row.name for row, verdict in zip(rows, verdicts, strict=True) if verdict}
        if rows and self.complete and not found:
            self.warnings.append(
                f"step {step.index} ({step.bound.label}): none of {len(rows)} samples fulfils '{where}', so it acts on "
                "none. Correct the condition, or take the step out"
            )
        return found

    def filter(self, step: Step, rows: Sequence[Row]) -> list[Row]:
        """Apply a filter to a table: keep, tag, move or reject each row."""
        step = self.fit(step, rows)
        if self._is_undecided(step, rows):
            self.complete = False
            return list(rows)
        seen = [(row, candidate) for row in rows if (candidate := self.candidate(step, row)) is not None]
        self.complete = self.complete and len(seen) == len(rows)
        op = step.bound.op
        if len(seen) < len(rows) and (op.fit is not None or not op.decides_alone):
            # A threshold fitted on only some of the rows would differ, and so would a verdict on a part of the table.
            moves = op.moves(step.bound.params)
            return [replace(row, may_move=row.may_move or moves) for row in rows]
        with step_errors(step.bound.label, "decide"):
            ctx = self.context.op_context(step.bound)
            flags = step.bound.op.decide([candidate for _, candidate in seen], step.bound.params, ctx)
            _check_verdicts(flags, len(seen))
        judged = {
            row.name: self._apply_flag(step, row, flag)
            for (row, _), flag in zip(seen, flags, strict=True)
            if flag is not None
        }
        kept = [kept for row in rows if (kept := judged.get(row.name, row)) is not None]
        if rows and not kept:
            self.warnings.append(
                f"step {step.index} ({step.bound.label}) drops all {len(rows)} samples, such as {rows[0].name}. "
                "Correct the step, or take it out"
            )
        return kept

    def _is_undecided(self, step: Step, rows: Sequence[Row]) -> bool:
        """Whether a dry run lacks what a filter's condition looks at: measurements of earlier steps, or names."""
        condition, own = getattr(step.bound.params, "condition", None), getattr(step.bound.params, "own_columns", ())
        if not isinstance(condition, str):
            return False
        named = columns_named(condition)
        lacking = not self.complete and named - SAMPLE_COLUMNS - {*own}
        return bool(lacking or (named & FORESEEN_LATE and any(row.foreseen for row in rows)))

    def apply_review(self, rows: Sequence[Row]) -> list[Row]:
        """The source's rows without those that a person's review drops.

        A name of which the source has no sample is a warning: it may be mistyped, or the sample went away.
        """
        names = [row.name for row in rows]
        unknown = sorted(self.review.keys() - set(names))
        if unknown:
            self.warnings.append(
                f"the review names '{unknown[0]}', but the source has no usable sample of that name "
                f"({len(unknown)} such names), so this verdict has no effect.{nearest(unknown[0], names)} "
                "Correct the review file, or take the line out"
            )
        dropped = {row.name for row in rows if (review := self.review.get(row.name)) and review.verdict == "drop"}
        for row in rows:
            if row.name in dropped:
                self._reject(row, "review", "dropped by review", self.review[row.name].why)
        return [row for row in rows if row.name not in dropped]

    def _apply_flag(self, step: Step, row: Row, flag: Flag) -> Row | None:
        """The row after a filter flagged it; None if it is dropped."""
        outcome, label = self._decide_outcome(step, row, flag), step.bound.label
        self.findings.append(Finding(row, label, flag, outcome))
        if outcome == "dropped":
            score = "" if flag.score is None else f"score {flag.score:.4g}"
            self._reject(row, label, flag.reason, "; ".join(filter(None, (flag.detail, score))))
            return None
        if outcome == "tagged":
            return replace(row, tags=(*row.tags, f"{label}: {flag.reason}"))
        if outcome == "kept by review":
            return replace(row, overruled=(*row.overruled, f"{label}: {flag.reason}"))
        return replace(row, split=flag.move_to) if outcome.startswith("moved") and flag.move_to else row

    def _decide_outcome(self, step: Step, row: Row, flag: Flag) -> str:
        """What happens to a flagged row: filters drop from the splits they act on and tag elsewhere.

        A review overrules the filter only if it keeps every source image that shows in the sample.
        """
        if flag.move_to is not None:  # whole groups move together: a review must not hold back one sample of a group
            return f"moved to {flag.move_to}"
        if all((review := self.review.get(root.name)) and review.verdict == "keep" for root in row.lineage.roots):
            return "kept by review"
        # Params are typed as OpParams here; every filter's have an `action`.
        tags_only = step.bound.params.model_dump()["action"] == "tag"
        return "tagged" if tags_only or row.split not in step.on else "dropped"

    def _reject(self, row: Row, step: str, reason: str, detail: str) -> None:
        names = ("name", "id", "group", "split")
        self.rejected.append(
            {**{name: getattr(row, name) for name in names}, "step": step, "reason": reason, "detail": detail}
        )


def _check_verdicts(flags: Sequence[Flag | None], candidates: int) -> None:
    if len(flags) != candidates:
        raise ValueError(
            f"it gives {len(flags)} verdicts on {candidates} samples; expected one for each, None to keep it"
        )
    odd = next((flag for flag in flags if flag is not None and not isinstance(flag, Flag)), None)
    if odd is not None:
        raise TypeError(f"it gives {odd!r}; expected a Flag, or None to keep the sample")
