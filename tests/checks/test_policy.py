"""The policy: its examples in the documents, what replaces what, and drift."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from docblocks import blocks_of
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from augforge.checks.limits import Seen, drift
from augforge.checks.policy import Drift, read_policy
from augforge.errors import DatasetError

ROOT = Path(__file__).parents[2]
EXAMPLES = [block for block in blocks_of(ROOT / "docs/ci.md") if block.language == "yaml"]


def test_the_documents_policy_is_read(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(EXAMPLES[0].text)
    policy = read_policy(tmp_path / "policy.yaml")
    assert policy.common.min_samples == {"train": 20, "val": {"*": 5, "Radius": 10}}
    own = policy.rules_for("hands-windows")
    assert (own.min_samples, own.max_rejected) == ({"train": 100}, 0.6)
    assert (own.baseline, own.licences) == (policy.common.baseline, policy.common.licences)
    assert policy.rules_for("another") == policy.common
    assert list(policy.check_names({"hands-windows": ("Radius",)})) == []


def test_the_documents_workflow_and_hook_are_yaml() -> None:
    workflow, hook = (YAML(typ="safe").load(block.text) for block in EXAMPLES[1:])
    assert any("augforge check" in step.get("run", "") for step in workflow["jobs"]["check"]["steps"])
    assert hook["repos"][0]["hooks"][0]["entry"] == "augforge check"


def test_a_policy_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        read_policy(tmp_path / "policy.yaml")


SEEN = st.builds(Seen, st.integers(0, 50), st.none() | st.floats(0, 1))
MEASURED = st.dictionaries(st.sampled_from(["train", "val"]), st.dictionaries(st.sampled_from("abc"), SEEN))
LIMIT = st.floats(0, 5)


@given(MEASURED, LIMIT)
def test_nothing_drifts_from_itself(measured: dict[str, dict[str, Seen]], limit: float) -> None:
    assert drift(measured, measured, Drift(area=limit, count=limit)) == {}


@given(MEASURED, MEASURED, LIMIT)
def test_drift_is_what_differs_by_more_than_the_limit(
    before: dict[str, dict[str, Seen]], after: dict[str, dict[str, Seen]], limit: float
) -> None:
    def value(measured: dict[str, dict[str, Seen]], split: str, name: str, what: str) -> Any:
        return getattr(measured.get(split, {}).get(name), what, 0) or 0

    expected = set()
    for split in ("train", "val"):
        for name in "abc":
            for what in ("area", "count"):
                was, now = value(before, split, name, what), value(after, split, name, what)
                if was != now and (not was or abs(now - was) / was > limit):
                    expected.add((split, name, what))
    assert set(drift(before, after, Drift(area=limit, count=limit))) == expected
    assert drift(before, after, Drift()) == {}
