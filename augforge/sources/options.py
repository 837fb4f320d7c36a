"""Options that sources share: groups, metadata tables, and what becomes of boxes and crowds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from augforge.sources.patterns import check_pattern

Boxes = Literal["error", "rectangle", "drop"]
"""What becomes of a box without a mask."""

Crowd = Literal["ignore", "class", "drop"]
"""What becomes of a crowd: many objects annotated with one outline."""

DROP_DEGENERATE: bool = Field(
    False,
    description="leave out polygons of fewer than three distinct points, and tell how many; otherwise they are errors",
)
"""The option of every source of polygons for those that enclose nothing."""

REST = "*"
"""The key in ``class_map`` that stands for all labels that are neither in the map nor in the classes."""


def _require_group(pattern: str) -> str:
    if not check_pattern(pattern):
        raise ValueError(f"'{pattern}' captures nothing; put what is sought in (brackets)")
    return pattern


Pattern = Annotated[str, AfterValidator(_require_group)]
"""A regular expression with at least one (group)."""


class _StrictModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GroupBy(_StrictModel):
    """Where a sample's group comes from; exactly one of the three is given."""

    folder: Annotated[int, Field(ge=1)] | None = Field(None, description="n-th folder of the sample's name, from 1")
    regex: Pattern | None = Field(None, description="expression sought in the name; its first (group) is the group")
    column: str | None = Field(None, description="column of the joined metadata")

    @model_validator(mode="after")
    def _check_one_way(self) -> GroupBy:
        given = [key for key in ("folder", "regex", "column") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of folder, regex and column, got {', '.join(given) or 'none'}")
        return self


class Join(_StrictModel):
    """A table with metadata about samples or groups, joined by a key."""

    table: str = Field(description="the table, relative to source.path: .csv, .xlsx or .parquet")
    key: str | None = Field(None, description="column that names the sample or group; null takes the first")
    columns: tuple[str, ...] | None = Field(
        None, description="what is taken of it, which must be the same in all rows of a key; null takes all"
    )
    on: Literal["name", "stem", "group"] = Field(
        "name", description="what the key names: the sample's whole name, its last part, or its group"
    )


class MetadataColumns(_StrictModel):
    """Which columns of metadata go into the dataset: all of them, if neither `drop` nor `keep` is given."""

    drop: tuple[str, ...] | None = Field(None, description="columns that are left out")
    keep: tuple[str, ...] | None = Field(None, description="the only columns that are taken")

    @model_validator(mode="after")
    def _check(self) -> MetadataColumns:
        if self.drop is not None and self.keep is not None:
            raise ValueError("`drop` and `keep` are both given; expected one of them")
        return self

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that are named, to be kept or to be dropped."""
        return self.drop or self.keep or ()

    def takes(self, name: str) -> bool:
        """Whether a column goes into the dataset."""
        return name not in (self.drop or ()) if self.keep is None else name in self.keep
