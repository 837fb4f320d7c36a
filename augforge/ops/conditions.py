"""Conditions over a table of samples, as recipes write them: SQL expressions that Polars evaluates.

Polars is imported only where a condition is parsed or evaluated, so that planning without conditions does not load it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from augforge.errors import PlanError, nearest

if TYPE_CHECKING:
    import polars as pl


_TEXT = re.compile(r"'(?:[^']|'')*'")
_FIELD = r'\b{column}"?\s*\.\s*(?:"((?:[^"]|"")+)"|(\w+))'

SAMPLE_COLUMNS = frozenset(("name", "group", "split", "width", "height", "tags", "metadata"))
"""The columns of every sample that conditions see; what steps measured stands beside them."""
FORESEEN_LATE = frozenset(("name", "width", "height"))
"""Those of them that pixels may decide, so that a dry run does not know them of every sample."""


def check_syntax(expression: str) -> str:
    """Return the expression itself. Raises ValueError if it cannot be parsed."""
    import polars as pl
    from polars.exceptions import PolarsError

    try:
        pl.sql_expr(expression)
    except PolarsError as error:
        raise ValueError(
            f"'{expression}' is no condition ({_first_line(error)}). Write SQL such as: metadata.age >= 6 AND "
            "abs(tilt.angle_deg) > 10. Quote names with dashes and SQL words: \"group\" = 'ID001'"
        ) from None
    return expression


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
    from polars.exceptions import PolarsError

    table = pl.DataFrame(rows, infer_schema_length=None, strict=False)
    try:
        result = table.with_columns(pl.sql_expr(expression).alias("holds"))["holds"]
    except PolarsError as error:
        problem = _first_line(error).partition(";")[0]  # Polars goes on to list its columns
        raise PlanError(f"where: '{expression}' cannot be evaluated: {problem}.{_suggest_columns(table)}") from None
    if result.dtype != pl.Boolean:
        raise PlanError(f"where: '{expression}' gives {result.dtype}; expected true or false. Compare it with a value")
    return result.fill_null(False).to_list()


def _suggest_columns(table: pl.DataFrame) -> str:
    import polars as pl

    names = []
    for name, dtype in table.schema.items():
        fields = dtype.fields if isinstance(dtype, pl.Struct) else []
        names += [f"{name}.{field.name}" for field in fields] or [name]
    return nearest("", names)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
