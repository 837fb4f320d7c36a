"""Every op, augforge's own and those of installed plugins, keeps to the contract of `augforge.ops.contract`.

What augforge's own give is kept in golden.json, so that changed pixels are seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from golden import check_golden, check_no_stale

from augforge.ops import OPS
from augforge.ops.contract import Check, cases_of, checks_of
from augforge.ops.contract_samples import Case

GOLDEN = Path(__file__).with_name("golden.json")
CHECKS = [check for op in OPS.values() for check in checks_of(op)]
SHIPPED = [case for op in OPS.values() if not op.origin for case in cases_of(op)]


def params_of(subjects: Iterable[Check | Case]) -> list[Any]:
    """A test's parameters; those that call an op which needs an extra are marked."""
    return [pytest.param(s, id=str(s), marks=pytest.mark.extras if needs_extra(s) else ()) for s in subjects]


def needs_extra(subject: Any) -> bool:
    case = subject.subject if isinstance(subject, Check) else subject
    return isinstance(case, Case) and case.op.examples.extra is not None


@pytest.mark.parametrize("check", params_of(CHECKS))
def test_contract(check: Check) -> None:
    check()


@pytest.mark.parametrize("case", params_of(SHIPPED))
def test_golden(case: Case) -> None:
    check_golden(GOLDEN, case)


def test_golden_holds_nothing_else() -> None:
    check_no_stale(GOLDEN, [str(case) for case in SHIPPED])
