"""What ops are given and what they give back: parameters, context, candidates, flags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from augforge.errors import PlanError, nearest
from augforge.sample import IGNORE, Box

Features = Mapping[str, Any]
"""What `measure` found in one sample, JSON-like."""


WhenFewer = Literal["refuse", "repeat", "skip"]
"""What an op of several inputs does with fewer samples than it takes: stop the build, take some again, make nothing."""


class OpParams(BaseModel):
    """Parameters of an op: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def check(self, ctx: Context) -> None:
        """Raise PlanError if the parameters do not fit the class table; called before any work."""

    def classes_wanted(self) -> tuple[tuple[str, ...], ...]:
        """The classes whose masks decide where pixels go: of each group, at least one has to show; most ops have none.

        A prediction of raw images, which have no masks, finds them by a first pass of the model.
        """
        return ()

    def declared(self) -> dict[str, Any]:
        """The parameters that differ from their defaults: what ids and random draws depend on."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def revision(self) -> int:
        """How often the pixels changed for these parameters alone, which raises no version: part of ids if above 0."""
        return 0

    def when_fewer(self) -> WhenFewer:
        """What to do for a sample if there are fewer partners than a call takes."""
        return "refuse"

    def partner_condition(self) -> str | None:
        """The condition on partners, as `where` is one on anchors; empty for all of the split, None for the anchors."""
        return None

    def applies_fitted(self) -> bool:
        """Whether what was fitted decides pixels, though the op weighs partners by it, too."""
        return False


class FilterParams(OpParams):
    """Parameters every filter has."""

    action: Literal["drop", "tag"] = Field(
        "drop", description="drop from the `on` splits and tag elsewhere, or tag only"
    )


@dataclass(frozen=True)
class Examples:
    """Parameters with which an op is tested and shown: in its contract test, and in the picture on its page.

    The contract test calls the op on images of 64x48 and 160x128 pixels with classes named ``class-0``, ``class-1``
    and so on. Use no `fill` above 128: the test marks places with brighter pixels. The picture is drawn from generated
    hands.

    Attributes:
        params: sets of parameters as in a recipe, one or more.
        picture: parameters of the picture.
        one_size: all inputs of a call must have the same size.
        hides: the op overwrites pixels, and masks may stay over them.
        extra: the extra whose packages the op needs, if any.
    """

    params: Sequence[Mapping[str, Any]] = ({},)
    picture: Mapping[str, Any] = field(default_factory=dict)
    one_size: bool = False
    hides: bool = False
    extra: str | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What an op may know besides its inputs.

    Attributes:
        classes: the class table, in bit order.
        labels: names of the label vector's entries.
        fitted: what the op's `fit` found in the training split, or None.
    """

    classes: tuple[str, ...]
    labels: tuple[str, ...] = ()
    fitted: Any = None

    @property
    def content(self) -> tuple[str, ...]:
        """The classes that stand for something in the picture: all but the reserved `ignore`."""
        return tuple(name for name in self.classes if name != IGNORE)

    def class_index(self, name: str) -> int:
        """The index of a class in the table; PlanError with the nearest known name if there is none."""
        if name not in self.classes:
            raise PlanError(f"the data has no class '{name}'.{nearest(name, self.classes)}")
        return self.classes.index(name)

    def check_classes(self, names: Iterable[str]) -> None:
        """Raise PlanError, with the nearest known name, if one of the names is not in the table."""
        for name in names:
            self.class_index(name)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sample as filters see it: no pixels, but what `measure` found in them.

    Attributes:
        id, name, group, groups, split, width, height, metadata, tags: see the glossary.
        features: what the op's own `measure` found, JSON-like.
        measured: what earlier steps measured in the same pixels, by step label.
    """

    id: str
    name: str
    group: str
    split: str
    width: int
    height: int
    metadata: Mapping[str, Any]
    tags: Sequence[str]
    features: Features
    measured: Mapping[str, Features] = field(default_factory=dict)
    groups: Sequence[str] = ()

    def columns(self) -> dict[str, Any]:
        """The sample as conditions see it: its own columns, its metadata, and what filters measured in its pixels."""
        plain = ("name", "group", "split", "width", "height")
        return {
            **{name: getattr(self, name) for name in plain},
            "tags": list(self.tags),
            "metadata": dict(self.metadata),
            **self.measured,
            **self.features,
        }


@dataclass(frozen=True, slots=True)
class Flag:
    """A filter's finding, for which a sample is dropped, tagged or moved unless a review keeps it.

    Attributes:
        reason: a few words; rejections are counted by it.
        score: how far it is beyond the threshold, on any scale; None if nothing is measured.
        move_to: the split the sample goes to instead of being dropped or tagged.
        detail: what the finding is based on, such as the name of a sample's twin.
        boxes: regions of the picture that it is based on, x0, y0, x1, y1 in pixels, half-open.
    """

    reason: str
    score: float | None = None
    move_to: str | None = None
    detail: str = ""
    boxes: tuple[Box, ...] = ()
