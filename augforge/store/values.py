"""What the values of a manifest may be: it may have been forged, and its names become paths."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from augforge.errors import shorten
from augforge.sample import SPLITS

SHARD_PATH = r"shards/[^/\\\x00-\x1f]+\.parquet"
"""Paths of shards: none leads out of the dataset."""


class Frozen(BaseModel):
    """Base of what a manifest is made of: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _check_split(value: str) -> str:
    if value not in SPLITS:
        raise ValueError(f"the split {shorten(value)} does not exist; expected {', '.join(SPLITS)}")
    return value


def _check_apart(value: list[str]) -> list[str]:
    twice = next((name for name, count in Counter(value).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"the name {shorten(twice)} stands there twice; expected each once")
    return value


def _check_pairs(value: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    from augforge.ops.sides import check_pairs  # loader processes import this module, and need no op

    check_pairs(value, "sides")
    return value


SplitName = Annotated[str, AfterValidator(_check_split)]
Count = Annotated[int, Field(ge=0, lt=1 << 48)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Names = Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=256), AfterValidator(_check_apart)]
Labels = Annotated[list[str], AfterValidator(_check_apart)]
DatasetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)]
Version = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
SidePairs = Annotated[tuple[tuple[str, str], ...], AfterValidator(_check_pairs)]
