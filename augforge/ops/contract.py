"""The contract test of ops: what every op keeps to, whoever wrote it.

An op's author calls it in a test, for an op of a plugin as for one of augforge's own::

    from augforge.ops import OPS
    from augforge.ops.contract import check_op

    def test_contract() -> None:
        check_op(OPS["gain"])

It calls the op with each of its `Examples` on made images of several types, channels and class counts. Each rule is a
function of its own; `checks_of` gives them one by one, for tests that report each apart. Nothing here runs in a build.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from augforge.errors import PlanError
from augforge.keys import canonical_json
from augforge.ops.contract_mirrors import check_sides_are_exchanged
from augforge.ops.contract_outputs import (
    KINDS,
    check_inputs_are_untouched,
    check_labels_pass_or_mix,
    check_marks_are_unique,
    check_memory_layout_does_not_matter,
    check_only_declared_metadata_is_read,
    check_outputs,
    check_same_key_same_bytes,
    check_unknown_classes_stay_unknown,
    check_unlabelled_samples_stay_unlabelled,
)
from augforge.ops.contract_placements import check_placements_lead_to_the_pixels
from augforge.ops.contract_samples import (
    LABELS,
    Call,
    Case,
    class_names,
    differences,
    make_collection,
    require,
    set_writable,
)
from augforge.ops.core import OPS, Context, Flag, Op, OpParams

CLASS_COUNTS = (1, 8, 9, 29, 70)
COPIES = 16
"""How often an op draws: not every draw may be the same."""


@dataclass(frozen=True)
class Check:
    """A rule of the contract with what it is checked on: an op, or one of its examples. Called, it raises."""

    rule: Callable[..., None]
    subject: Op[Any] | Case
    arguments: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return "-".join(map(str, (self.rule.__name__.removeprefix("check_"), self.subject, *self.arguments)))

    def __call__(self) -> None:
        """Check the rule. Raises AssertionError with op, example, rule and what is wrong."""
        try:
            self.rule(self.subject, *self.arguments)
        except Exception as error:
            message = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            raise AssertionError(f"{self.subject} breaks a rule of ops, {self.rule.__name__}: {message}") from error


def check_op(op: Op[Any]) -> None:
    """Check that an op keeps to all rules, on all its examples. Raises AssertionError at the first that it breaks."""
    for check in checks_of(op):
        check()


def checks_of(op: Op[Any]) -> Iterator[Check]:
    """Every rule that applies to an op, on each of its examples."""
    yield from (Check(rule, op) for rule in RULES_OF_OPS)
    for case in cases_of(op):
        yield from (Check(rule, case) for rule in RULES_OF_EXAMPLES)
        if op.draw is not None:
            yield Check(check_draws, case)
        if op.role == "filter":
            yield Check(check_filter_decides_from_what_it_measured, case)
        else:
            yield from (Check(check_outputs, case, arguments) for arguments in matrix_of(case))
            yield from (Check(rule, case) for rule in RULES_OF_SAMPLES)
        if op.weigh is not None:
            yield Check(check_weights, case)


def cases_of(op: Op[Any]) -> list[Case]:
    """The op with each of its examples."""
    return [Case(op, op.params.model_validate(example)) for example in op.examples.params]


def matrix_of(case: Case) -> Iterator[tuple[str, int]]:
    """Types of images and class counts with which an op is called: each type with 9 and 29 classes, gray with all."""
    for kind in KINDS:
        for classes in CLASS_COUNTS:
            if case.fits(classes) and (kind == "gray" or classes in (9, 29)):
                yield kind, classes


# Rules of every op


def check_has_examples(op: Op[Any]) -> None:
    """An op has at least one example, and its parameters for the picture are valid."""
    require(op.examples.params, "it has no example; `examples=Examples([{}])` are the defaults")
    op.params.model_validate(op.examples.picture)


def check_declaration(op: Op[Any]) -> None:
    """Name, version, role and what `measure` reads are of the right form, and the op is found by its name."""
    name = op.name
    require(name == name.lower() and name.replace("_", "").isalnum(), f"name {name!r}; expected lower_case_words")
    require(isinstance(op.version, int) and op.version >= 1, f"version {op.version!r}; expected 1 or more")
    require(op.role in ("prepare", "augment", "filter"), f"role {op.role!r}; expected prepare, augment or filter")
    unknown = set(op.measure_reads) - op.params.model_fields.keys()
    require(not unknown, f"`measures(reads=...)` names {sorted(unknown)}; expected names of parameters")
    require(OPS.get(name) is op, "it is not in OPS; make it with `op`, `filter_op` or `table_filter`")


def check_params_are_documented(op: Op[Any]) -> None:
    """The model of the parameters has a docstring, and each parameter a description: they are the op's page."""
    text = op.params.__doc__
    require(text and text.strip() and text != OpParams.__doc__, f"{op.params.__name__} has no docstring of its own")
    missing = [name for name, field in op.params.model_fields.items() if not field.description]
    require(not missing, f"parameters without a description: {missing}; write Field(..., description=...)")


def check_example_fits_nine_classes(case: Case) -> None:
    """An example fits classes named class-0 to class-8."""
    try:
        case.params.check(Context(class_names(9)))
    except PlanError as error:
        raise AssertionError(f"{error}. Examples may name class-0 to class-8") from error


def check_params_are_frozen_and_strict(case: Case) -> None:
    """Parameters cannot be changed, refuse unknown names, and come back the same from JSON."""
    try:
        case.op.params.model_validate({**case.params.declared(), "surely_unknown": 1})
    except ValidationError as error:
        require("surely_unknown" in str(error), f"the message on an unknown parameter does not name it: {error}")
    else:
        raise AssertionError("an unknown parameter is accepted; derive the model from OpParams or FilterParams")
    require(case.op.params.model_config.get("frozen"), "parameters can be changed; keep OpParams' model_config")
    again = case.op.params.model_validate(json.loads(canonical_json(case.params.declared())))
    require(again == case.params, f"through JSON the parameters become {again!r}")


# Rules of chance, filters and partners


def check_draws(case: Case) -> None:
    """What an op draws is JSON-like, differs between copies, and gives the same when it is read from a lineage."""
    calls = [Call(case, case.inputs(), copy=copy) for copy in range(COPIES)]
    drawn = [call.drawn() for call in calls]
    require(len(set(map(canonical_json, drawn))) > 1, f"{COPIES} copies all draw {drawn[0]}; is `rng` used?")
    again = Call(case, case.inputs()).drawn()
    require(
        again == drawn[0], f"from the same generator it draws {drawn[0]}, then {again}; all chance comes from `rng`"
    )
    changed = differences(calls[0].replay(json.loads(json.dumps(drawn[0]))), calls[0].results())
    require(not changed, f"what it drew gives something else after JSON ({changed}); draw JSON-like values")


def check_filter_decides_from_what_it_measured(case: Case) -> None:
    """A filter's measurements and fit are JSON-like and repeatable, and it gives one verdict per candidate."""
    samples = make_collection()
    set_writable(samples, False)
    call, bare = Call(case, samples), Context(class_names(9), LABELS)
    candidates = call.candidates(bare)
    features = [candidate.features for candidate in candidates]
    require(_through_json(features) == features, "features are not JSON-like: they change when they are kept")
    require(call.candidates(bare) == candidates, "measured twice, a sample has other features")
    require(_through_json(call.context.fitted) == call.context.fitted, "what is fitted is not JSON-like")
    flags = case.op.decide(candidates, case.params, call.context)
    require(len(flags) == len(candidates), f"{len(flags)} verdicts on {len(candidates)} candidates")
    for flag in flags:
        require(flag is None or (isinstance(flag, Flag) and flag.reason), f"verdict {flag!r}; expected None or a Flag")
        finite = flag is None or flag.score is None or math.isfinite(flag.score)
        require(finite, f"the score of {flag!r} is not finite")


def _through_json(value: Any) -> Any:
    return json.loads(canonical_json(value))


def check_weights(case: Case) -> None:
    """Weights of partners are finite and not negative."""
    call = Call(case, make_collection())
    if case.op.weigh is not None:
        weights = [case.op.weigh(c, case.params, call.context) for c in call.candidates(call.context)]
        require(all(math.isfinite(w) and w >= 0 for w in weights), f"weights {weights}; expected 0 or more")


RULES_OF_OPS = (check_has_examples, check_declaration, check_params_are_documented)
RULES_OF_EXAMPLES = (check_example_fits_nine_classes, check_params_are_frozen_and_strict)
RULES_OF_SAMPLES = (
    check_inputs_are_untouched,
    check_same_key_same_bytes,
    check_memory_layout_does_not_matter,
    check_marks_are_unique,
    check_only_declared_metadata_is_read,
    check_unknown_classes_stay_unknown,
    check_unlabelled_samples_stay_unlabelled,
    check_labels_pass_or_mix,
    check_placements_lead_to_the_pixels,
    check_sides_are_exchanged,
)
