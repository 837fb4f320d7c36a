"""Canonical JSON, digests and random streams: pinned, uniform, and the same in every process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augforge.keys import canonical_json, digest, digest_of_texts, hash64, rng_for, unit_hash

property_test = settings(deadline=None, max_examples=60)
scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcß", max_size=3), inner, max_size=3),
    max_leaves=12,
)


def turned(value: Any) -> Any:
    """The same value with every dict's keys in reverse order and every list as a tuple."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return tuple(map(turned, value)) if isinstance(value, list) else value


def test_golden_values() -> None:
    """Every dataset's ids and draws hang on these: a change here re-makes everything everywhere."""
    assert canonical_json({"b": [1, 2.5, None, True], "a": {"ä": "x"}}) == '{"a":{"ä":"x"},"b":[1,2.5,null,true]}'
    assert digest("a", 1, [2.5, None], {"k": "ä"}) == "d0753d815400bf2e49d48f2564c176d2"
    assert digest() == "4f53cda18c2baa0c0354bb5f9a3ecbe5"
    assert hash64("a", 1) == 1395860404624038653
    assert unit_hash("fire", 21, "hflip", 0, "ID001/a", 0) == 0.10404600076599069
    rng = rng_for(21, "mosaic", 0, {}, ["a", "b"], 0)
    assert rng.integers(0, 2**63, 3).tolist() == [3327661054619595531, 4777307673940163391, 7291297064077021257]
    assert rng.random(2).tolist() == [0.21339126308253853, 0.38105242678764484]
    assert rng.permutation(6).tolist() == [4, 5, 1, 2, 3, 0]


@property_test
@given(values)
def test_key_order_and_tuples_do_not_matter(value: Any) -> None:
    assert canonical_json(turned(value)) == canonical_json(value)
    assert digest(turned(value)) == digest(value)


@property_test
@given(values, values)
def test_unequal_values_have_unequal_digests(one: Any, other: Any) -> None:
    assert (digest(one) == digest(other)) == (canonical_json(one) == canonical_json(other))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [{"a": -float("inf")}], {1, 2}, b"x", object()])
def test_values_that_are_not_json_are_refused(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        canonical_json(value)
    for function in (digest, hash64, unit_hash, rng_for):
        with pytest.raises((ValueError, TypeError)):
            function("a", value)


def test_parts_are_not_concatenated() -> None:
    kinds = [
        ("ab", "c"),
        ("a", "bc"),
        ("abc",),
        (["ab", "c"],),
        ("a", "b", "c"),
        (1,),
        ("1",),
        (1.0,),
        (True,),
        (None,),
        (),
    ]
    assert len({digest(*parts) for parts in kinds}) == len(kinds)
    assert len({hash64(*parts) for parts in kinds}) == len(kinds)


def test_digest_is_128_bits_of_hexadecimal() -> None:
    assert all(len(digest(i)) == 32 and int(digest(i), 16) >= 0 for i in range(50))


def test_uniform() -> None:
    units = np.array([unit_hash("u", i) for i in range(10_000)])
    assert ((units >= 0) & (units < 1)).all()
    counts, _ = np.histogram(units, 50, (0, 1))
    assert ((counts - 200) ** 2 / 200).sum() < 100  # chi-square with 49 degrees of freedom: p < 0.0001 beyond 95
    assert abs(np.corrcoef(units[:-1], units[1:])[0, 1]) < 0.04
    bits = np.array([[hash64("b", i) >> bit & 1 for bit in range(64)] for i in range(1000)]).mean(axis=0)
    assert (abs(bits - 0.5) < 0.07).all()


def test_unit_hash_stays_below_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("augforge.keys.hash64", lambda *_: 2**64 - 1)
    assert unit_hash("x") < 1


def test_streams_are_independent_and_repeatable() -> None:
    first = [rng_for(seed, "op", 0, {}, ["a"], copy).random() for seed in range(10) for copy in range(10)]
    again = [rng_for(seed, "op", 0, {}, ["a"], copy).random() for seed in range(10) for copy in range(10)]
    assert first == again and len(set(first)) == 100
    assert 0.35 < np.mean(first) < 0.65


def test_global_random_state_is_untouched() -> None:
    before = json.dumps(np.random.get_state(legacy=False), default=np.ndarray.tolist)  # noqa: NPY002
    rng_for(1, "x").random(100)
    assert json.dumps(np.random.get_state(legacy=False), default=np.ndarray.tolist) == before  # noqa: NPY002


SCRIPT = """
from augforge.keys import digest, hash64, rng_for
from augforge.ops import OPS, BoundOp
from augforge.planning.partners import Partners
from augforge.planning.splits import Split
from augforge.planning.splits import assign_splits
names = {f"ID{i:03}" for i in range(40)}
mosaic = BoundOp("mosaic", OPS["mosaic"].params())
print(digest({"b": 1, "a": [2]}), hash64("x"), rng_for(3, "y").random(),
      sorted(assign_splits(names, Split(val=0.001, test=0.3))[0].items()), assign_splits(names, Split(val=1e-9))[1],
      Partners(mosaic, list(names), 5, {name: 1.0 for name in names}).of("ID003", 1))
"""


def test_every_process_agrees() -> None:
    """Hash randomisation of Python, which changes the order of sets, changes nothing."""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "77")
    }
    assert len(outputs) == 1 and "ID003" in outputs.pop()


@property_test
@given(st.lists(values, max_size=4))
def test_a_digest_of_texts_is_the_digest(parts: list[Any]) -> None:
    assert digest_of_texts(*map(canonical_json, parts)) == digest(*parts)
