"""The ops that recipes name. Importing this package registers them all."""

from __future__ import annotations

from augforge.ops import (  # noqa: F401  one line a module, so that adding one is a line
    albumentations,
    anomaly,
    balance,
    crops,
    duplicates,
    erasing,
    geometry,
    levels,
    metal,
    mixing,
    mosaic,
    moves,
    photometry,
    pose,
    ricap,
    select,
    statistics,
    upright,
    warp,
    windows,
    wrist,
)
from augforge.ops.core import OPS, BoundOp, Context, FilterParams, Flag, Op, OpParams, filter_op, get_op, op

__all__ = [
    "OPS",
    "BoundOp",
    "Context",
    "FilterParams",
    "Flag",
    "Op",
    "OpParams",
    "filter_op",
    "get_op",
    "op",
]
