"""Ids, numbers and flags of COCO files, as tools write them: ``1``, ``1.0`` and ``"1"`` are the same id."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from augforge.errors import SourceError, shorten
from augforge.sources.raster.values import is_name

CocoId: TypeAlias = int | str
"""An id of an image or category."""

REMEDY = "Correct it there or export it again."

_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})(\.0+)?")
_FLAGS: dict[Any, bool] = {0: False, 1: True, "0": False, "1": True, "false": False, "true": True, None: False}


def read_id(value: Any) -> CocoId | None:
    """The id that a JSON value stands for, or None if it is none. ``"007"`` is text, as it may differ from 7."""
    if type(value) is float and value.is_integer():
        return int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value.partition(".")[0])
    return value if type(value) is int or is_name(value) else None


def require_id(value: Any, where: str) -> CocoId:
    """`read_id`; raises SourceError, which begins with ``where``, if the value is no id."""
    found = read_id(value)
    if found is None:
        fact = "is missing" if value is None else f"is {shorten(value)}"
        raise SourceError(f"{where} {fact}; expected an id, a whole number or text. {REMEDY}")
    return found


def read_flag(value: Any, where: str) -> bool:
    """Whether a flag such as ``iscrowd`` is set. Raises SourceError unless it is 0 or 1, as a number or as text."""
    key = value.lower() if isinstance(value, str) else value
    if isinstance(key, list | dict) or key not in _FLAGS:
        raise SourceError(f"{where} is {shorten(value)}; expected 0 or 1. {REMEDY}")
    return _FLAGS[key]
