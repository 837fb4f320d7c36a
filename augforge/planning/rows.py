"""The tables and tasks of a plan: Row, Stage, Task. No pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from augforge.keys import Id
from augforge.lineage import Lineage
from augforge.ops.core import Size
from augforge.planning.steps import Step


@dataclass(frozen=True, slots=True)
class Row:
    """A sample in a table between stages: everything but pixels.

    Attributes:
        name, id, group, split, metadata: see the glossary; group, split and metadata are the anchor's.
        groups: all groups that show in it.
        width, height: pixels.
        lineage: how it was made.
        parents: names of the samples in the table before the stage that it was made from.
        tags: findings of filters that tagged it.
        overruled: findings of filters that a person's review overruled.
        licences: keys of the licences of all its source images.
        task: id of the task that made it; None for a source sample.
        step: label of the last step that changed it; empty for a source sample.
        may_move: in a dry run, whether a filter that cannot decide yet may move it to train.
    """

    name: str
    id: Id
    group: str
    split: str
    width: int
    height: int
    lineage: Lineage
    groups: tuple[str, ...] = ()
    metadata: Mapping[str, Any] | None = None
    parents: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    overruled: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    task: Id | None = None
    step: str = ""
    may_move: bool = False

    @property
    def foreseen(self) -> bool:
        """Whether it stands, in a dry run, for a sample whose name and id pixels decide; its id is its name then."""
        return self.id == self.name

    @property
    def splits(self) -> tuple[str, ...]:
        """The split that it is in, and, in a dry run, the one that a filter may move it to."""
        return (self.split, "train") if self.may_move and self.split != "train" else (self.split,)

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return (self.width, self.height)


@dataclass(frozen=True, slots=True)
class Stage:
    """Consecutive steps that run as one task for each sample.

    Attributes:
        index: from 0.
        head: the op of several inputs it begins with, if any.
        chain: one-input ops after it.
        filters: applied to the whole table at the end of the stage.
        measuring_steps: steps that need features of the samples that the chain gives.
    """

    index: int
    head: Step | None
    chain: tuple[Step, ...]
    filters: tuple[Step, ...]
    measuring_steps: tuple[Step, ...] = ()

    @property
    def first(self) -> Step | None:
        """The step it begins with: the only one that may be fitted, weigh partners or have a condition."""
        return self.head or next(iter(self.chain), None)


@dataclass(frozen=True, slots=True)
class Task:
    """One call of a stage's steps on named inputs. Its id is a digest of everything that decides its result."""

    id: Id
    inputs: tuple[Row, ...]
    head: Step | None
    copy: int
    chain: tuple[Step, ...]


def common_metadata(rows: Sequence[Row]) -> dict[str, Any]:
    """The metadata that all rows agree on: a mosaic of two men and two women has no sex."""
    first, *others = [row.metadata or {} for row in rows]
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


def inherited_row(task: Task) -> Row:
    """What the outputs of a task take over: the anchor's row, and all that its inputs say together."""
    inputs = task.inputs
    return replace(
        inputs[0],
        groups=tuple(sorted({group for row in inputs for group in row.groups})),
        metadata=common_metadata(inputs),
        parents=tuple(row.name for row in inputs),
        tags=tuple(dict.fromkeys(tag for row in inputs for tag in row.tags)),
        overruled=tuple(dict.fromkeys(text for row in inputs for text in row.overruled)),
        licences=tuple(sorted({key for row in inputs for key in row.licences})),
        task=task.id,
    )
