"""Regular expressions of recipes: as in Python's re, and over in time."""

from __future__ import annotations

import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augforge.sources.patterns import check_pattern, search

NFD = unicodedata.normalize("NFD", "müller_é-7/ガ1")
PATTERNS = (
    *(
        r"^(\w+?)_",
        r"([^\W_]+)",
        r"(\d+)$",
        r"(.*)/",
        r"(?i)(MULLER)?",
        r"\b(\w)",
        r"(?P<a>.)(?=.*(?P=a))",
        r"(?<!x)(.)",
    ),
    *(r"([a-z]+)\W", r"(\S+?)(?:-|$)", r"([^/]*)$", r"(x)?(.)", r"(\w{2,3})", r"\B(.)"),
)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("text", [NFD, unicodedata.normalize("NFC", NFD), "", "ID001/image12~flip-2", "a‿b_c"])
def test_matches_as_re_does(pattern: str, text: str) -> None:
    expected = re.search(pattern, text)
    found = search(pattern, text)
    assert found == (None if expected is None else [expected.group(), *expected.groups()])


@given(st.sampled_from(PATTERNS), st.text(st.sampled_from("ab1_-/ é\u0308\u203fß가"), max_size=12))
def test_matches_any_name_as_re_does(pattern: str, text: str) -> None:
    for how in ("search", "fullmatch"):
        expected = getattr(re, how)(pattern, text)
        assert search(pattern, text, how) == (None if expected is None else [expected.group(), *expected.groups()])


@pytest.mark.parametrize(
    "pattern", [r"(a*)*(a*)*(a*)*b$|(?:a+a+)+c|(a|aa)+$(?<=b)", r"(a|a|aa)+?(a|aa)+?(aaa|a)+?b", r"((a+)+)+\1b"]
)
def test_a_search_ends(pattern: str) -> None:
    begun = time.process_time()
    try:
        assert search(pattern, "a" * 250) is None
    except ValueError as error:
        assert "takes more than 0.5 s" in str(error)
    assert time.process_time() - begun < 3


@pytest.mark.parametrize(
    ("pattern", "fact"),
    [
        ("(((((a{1000}){1000}){1000}){1000}){1000})", "repeats too much"),
        ("(a{1000}){1000}", "repeats too much"),
        ("(?:a{,5000}b?){40}(x)", "repeats too much"),
        ("a{99999999999}", "no regular expression"),
        ("(" * 400 + "a" + ")" * 400, "no regular expression|nested too deeply"),
        ("(a|" * 500 + "b", "at most 1000"),
        ("(a", "no regular expression"),
        (r"(\h)", "no regular expression"),
    ],
)
def test_what_is_no_expression(pattern: str, fact: str) -> None:
    with pytest.raises(ValueError, match=fact):
        check_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [(r"(\d{4})-(\d{2})", 2), (r"([0-9a-f]{32}_){4}", 1), (r"[{5}]{1000}", 0), (r"\(a", 0), ("", 0)],
)
def test_ordinary_expressions(pattern: str, groups: int) -> None:
    assert check_pattern(pattern) == groups
