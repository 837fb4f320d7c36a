"""The ops that recipes name. `OPS` imports their modules at the first look-up."""

from __future__ import annotations

from augforge.ops.bound import BoundOp
from augforge.ops.core import (
    OPS,
    Candidate,
    Context,
    Examples,
    FilterParams,
    Flag,
    Op,
    OpParams,
    filter_op,
    op,
    table_filter,
)
from augforge.sample import Drop

__all__ = [
    "OPS",
    "BoundOp",
    "Candidate",
    "Context",
    "Drop",
    "Examples",
    "FilterParams",
    "Flag",
    "Op",
    "OpParams",
    "filter_op",
    "op",
    "table_filter",
]
