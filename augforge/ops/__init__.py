"""The ops that recipes name. Importing this package registers them all."""

from __future__ import annotations

from augforge.ops import (
    albumentations,
    balance,
    crops,
    erasing,
    geometry,
    mixing,
    mosaic,
    moves,
    photometry,
    ricap,
    upright,
    warp,
    windows,
    wrist,
)
from augforge.ops.core import OPS, BoundOp, Context, FilterParams, Flag, Op, OpParams, filter_op, get_op, op
from augforge.ops.filters import anomaly, duplicates, levels, metal, pose, select, statistics

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
