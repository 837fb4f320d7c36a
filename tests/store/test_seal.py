"""Seals: damage of a sealed text file shows, wherever it is."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augforge.store.seal import is_sealed, seal, seal_problem


@pytest.mark.parametrize("html", [False, True])
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\r")))
def test_a_sealed_text_has_no_problem(html: bool, text: str) -> None:
    data = seal(text, html).encode()
    assert is_sealed(data)
    assert seal_problem(data) is None
    assert data.startswith(text.encode())


def test_the_seal_is_the_plain_sha256_of_what_stands_above() -> None:
    assert seal("a: 1\n").splitlines()[1].split()[-1] == hashlib.sha256(b"a: 1\n").hexdigest()


@pytest.mark.parametrize("html", [False, True])
def test_every_flipped_bit_is_noticed(html: bool) -> None:
    data = seal("name: toy\nclasses: [é]", html).encode()
    for position in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            assert seal_problem(bytes(damaged)) is not None, (position, bit)


def test_cut_or_longer_text_is_noticed() -> None:
    data = seal("a: 1").encode()
    assert "no seal" in str(seal_problem(data + b"b: 2\n"))
    assert all(seal_problem(data[:length]) is not None for length in range(len(data) - 1))
