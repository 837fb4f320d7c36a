"""Conditions over a table of samples, as recipes write them: SQL expressions that Polars evaluates.

A recipe may come from somebody else. Polars reads files that a subquery names, parses and evaluates recursively (a
thousand terms overflow the stack), and pads a text to whatever length it is given. So a condition is taken apart into
words and signs first, and refused if it asks for any of that.

Polars is imported only where a condition is parsed or evaluated, so that planning without conditions does not load it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from augforge.errors import PlanError, first_line, nearest, shorten

if TYPE_CHECKING:
    import polars as pl


_SHOWN = 200
"""Characters of what Polars says that a message quotes: it may repeat the condition."""
_TEXT = re.compile(r"'(?:[^']|'')*'")
_FIELD = r'\b{column}"?\s*\.\s*(?:"((?:[^"]|"")+)"|(\w+))'

SAMPLE_COLUMNS = frozenset(("name", "group", "split", "width", "height", "tags", "metadata"))
"""The columns of every sample that conditions see; what steps measured stands beside them."""
FORESEEN_LATE = frozenset(("name", "width", "height"))
"""Those of them that pixels may decide, so that a dry run does not know them of every sample."""

MAX_LENGTH = 20_000
"""Most characters of a condition: room for some hundred names in ``name IN (...)``."""
MAX_PARTS = 600
"""Most words and signs, without the values and commas of lists: about 200 comparisons joined by AND and OR."""
MAX_DEPTH = 30
"""Most brackets inside one another."""
_PART = re.compile(
    r"""(?P<quoted>(?P<prefix>\w|\$)?(?:'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`))|(?P<comment>--|/\*|\$)"""
    r"""|(?P<word>[^\W\d]\w*)|(?P<number>[\d.]+(?:e[+-]?\d+)?)|(?P<open>[(\[])|(?P<close>[)\]])|(?P<comma>,)|(?P<sign>\S)""",
    re.IGNORECASE,
)
_READERS = re.compile(r"(read|scan)_[a-z]+\s*\(", re.IGNORECASE)
_SUBQUERY = "a subquery, which may read files"
_REFUSED = {
    **dict.fromkeys(("select", "table", "values", "with", "exists", "(from"), _SUBQUERY),
    **dict.fromkeys(("lpad", "rpad", "repeat", "replace", "regexp_replace"), "a function that makes texts longer"),
}


def check_syntax(expression: str) -> str:
    """Return the expression itself. Raises ValueError if it is too long, asks for too much, or cannot be parsed."""
    import polars as pl

    _check_limits(expression)
    try:
        pl.sql_expr(expression)
    except _faults() as error:
        raise ValueError(
            f"{shorten(expression)} is no condition ({first_line(error)[:_SHOWN]}). Write SQL such as: "
            "metadata.age >= 6 AND abs(tilt.angle_deg) > 10. Quote names with dashes and SQL words: \"group\" = 'ID001'"
        ) from None
    return expression


def _check_limits(expression: str) -> None:
    """Raise ValueError for a condition that is too long or too deep, or has words that it must not have.

    Polars has to see the same quotes as this does. So comments, and quotes with a letter before them, are refused.
    """
    if len(expression) > MAX_LENGTH:
        raise ValueError(f"the condition has {len(expression)} characters; expected at most {MAX_LENGTH}")
    if _READERS.search(expression):
        raise _refusal(expression, "a function that reads files")
    parts = depth = deepest = 0
    before = ""
    for found in _PART.finditer(expression):
        kind, text = found.lastgroup or "", found.group().lower()
        if kind == "comment" or found["prefix"]:
            raise _refusal(expression, f"{text[:2]}, a comment or a quote of a special kind")
        fact = None if before == "." else _REFUSED.get(text) or _REFUSED.get(before + text)
        if fact:
            raise _refusal(expression, f"{text.upper()}, {fact}")
        depth += (kind == "open") - (kind == "close")
        deepest = max(deepest, depth)
        parts += kind in ("word", "sign", "open")
        before = text
    if deepest > MAX_DEPTH or parts > MAX_PARTS:
        fact = f"{parts} words and signs, {deepest} levels of brackets"
        raise ValueError(
            f"the condition has {fact}; expected at most {MAX_PARTS} and {MAX_DEPTH}. Shorten it: name IN ('a', 'b')"
        )


def _refusal(expression: str, fact: str) -> ValueError:
    return ValueError(f"{shorten(expression)} is no condition: it has {fact}. Compare columns with values")


def _faults() -> tuple[type[BaseException], ...]:
    from polars.exceptions import PanicException, PolarsError

    return PolarsError, PanicException  # it panics on some input


def metadata_named(expression: str) -> set[str]:
    """The columns of metadata that a condition names: ``metadata.age``, ``metadata."Patient ID"``."""
    return fields_named(expression, "metadata")


def fields_named(expression: str, column: str) -> set[str]:
    """The fields of a column that a condition names: ``area.lung``, ``area."left lung"``."""
    pattern = _FIELD.format(column=re.escape(column))
    found = re.findall(pattern, _TEXT.sub("''", expression), re.IGNORECASE)
    return {quoted.replace('""', '"') or plain for quoted, plain in found}


def columns_named(expression: str) -> set[str]:
    """The columns of samples that a condition names, without the fields in them: ``metadata``, ``split``, ``tilt``."""
    import polars as pl

    return {*pl.sql_expr(expression).meta.root_names()}


def evaluate_condition(expression: str, rows: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Say for each row whether it meets the condition; a row for which the result is null does not.

    Args:
        expression: SQL over the rows' keys; a dot leads to nested values.
        rows: the table.

    Raises:
        PlanError: a column is unknown, or the expression is not true or false.
    """
    if not rows:
        return []
    import polars as pl

    table = pl.DataFrame(rows, infer_schema_length=None, strict=False)
    try:
        result = table.with_columns(pl.sql_expr(expression).alias("holds"))["holds"]
    except _faults() as error:
        problem = shorten(first_line(error)[:_SHOWN].partition(";")[0])  # Polars goes on to list its columns
        raise PlanError(
            f"where: {shorten(expression)} cannot be evaluated: {problem}.{_suggest_columns(table)}"
        ) from None
    if result.dtype != pl.Boolean:
        raise PlanError(
            f"where: {shorten(expression)} gives {result.dtype}; expected true or false. Compare it with a value"
        )
    return result.fill_null(False).to_list()


def _suggest_columns(table: pl.DataFrame) -> str:
    import polars as pl

    names = []
    for name, dtype in table.schema.items():
        fields = dtype.fields if isinstance(dtype, pl.Struct) else []
        names += [f"{name}.{field.name}" for field in fields] or [name]
    return nearest("", names)
