"""The exception tree and its hints."""

from __future__ import annotations

import pickle

import pytest

from augforge import errors
from augforge.errors import AugforgeError, MissingExtra, nearest


def test_every_error_is_an_augforge_error_and_in_the_docstring_tree() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) == 10
    for kind in kinds:
        assert issubclass(kind, AugforgeError)
        assert kind.__name__ in str(errors.__doc__)


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("mosiac", ["hflip", "mosaic"], " Did you mean 'mosaic'?"),
        ("zzz", ["hflip", "mosaic"], " Known: hflip, mosaic."),
        ("zzz", {"b": 1, "a": 2}, " Known: a, b."),
        ("zzz", [], ""),
        ("", ["a"], " Known: a."),
    ],
)
def test_nearest(word: str, known: list[str], hint: str) -> None:
    assert nearest(word, known) == hint


def test_missing_extra_says_how_to_install() -> None:
    error = MissingExtra("torch", "train", "Training")
    fact = (
        "Training needs torch, which is not installed. Install it: pip install 'augforge[train]', or in a checkout of"
    )
    assert str(error) == f"{fact} augforge: pip install '.[train]'"


def test_errors_cross_processes() -> None:
    error = pickle.loads(pickle.dumps(errors.TaskError("ID001 failed")))
    assert isinstance(error, errors.TaskError) and str(error) == "ID001 failed"
