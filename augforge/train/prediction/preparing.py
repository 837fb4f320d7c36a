"""Preparing an image for a model as the model's own samples were, and where the image then lies in what it sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from augforge import bitmask
from augforge.errors import AugforgeError, TrainError, some
from augforge.lineage import Lineage, Root
from augforge.ops.bound import BoundOp
from augforge.ops.core import Context
from augforge.sample import Drop, Sample
from augforge.train.preparation import PreparedStep

if TYPE_CHECKING:
    from augforge.train.prediction.inference import Prediction

FIRST_PASS_THRESHOLD = 0.5
"""Probability from which a pixel is a class in the first pass; an axis needs no tuned outline."""
FIRST_PASSES = 2
"""How often the axis is looked for at most: the second pass sees the image as the first one turned it."""
_NEAR = 0.12
"""Share of the longer side by which corners move in a turn of about 10 degrees: from there on, a pass looks again."""
_STEADY = 0.035
"""The same for 3 degrees: by no more may an axis move when stray parts of what was predicted are left out."""
_NOWHERE = 0.001
_INEXACT = 1.0
"""Pixels by which a recorded matrix may be off before it is told."""
_SHOWN = 5


class View(NamedTuple):
    """What a model sees of an image: a prepared sample, and where the image lies in it."""

    sample: Sample
    root: Root


class _Step(NamedTuple):
    """A recorded step, with its op as it is installed here."""

    recorded: PreparedStep
    bound: BoundOp
    context: Context


@dataclass
class PassNotes:
    """What happened while images were prepared, by their names.

    Attributes:
        first_pass: images whose classes were found by a first pass of the model.
        without_classes: those in which it did not find them in one place, so that the step's `fallback` held.
        dropped: images that a step would have dropped; they go on as they were before it.
        inexact: images that were moved in a way that a matrix cannot undo.
    """

    first_pass: set[str] = field(default_factory=set)
    without_classes: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    inexact: set[str] = field(default_factory=set)

    def warnings(self) -> Iterator[str]:
        """What a person should know of the images."""
        facts = {
            "no classes to turn by were found, or in several places; the step's fallback held": (self.without_classes),
            "a preparing step would have dropped the image; it went on as it was before": self.dropped,
            "a preparing step moves pixels as no matrix does, so predictions are off by over a pixel": self.inexact,
        }
        yield from (f"{fact}: {some(sorted(names), _SHOWN)}" for fact, names in facts.items() if names)


class Preparer:
    """Takes images through the preparing steps of a run.

    Labels are never looked at, and an image has none as a rule. A step that needs some, such as `rotate_normalise` with
    an axis between classes, gets those that the model predicts in a first pass. That pass sees the image as the step
    leaves it without labels, by its `fallback`: turned by the image's own axis, or as it is; if it finds no classes
    there, it sees the image as it is. Where the axis that it finds is far from upright, a second pass sees the image
    turned by it. An axis is believed if it stays where it is when each class is left its largest part alone: stray
    parts draw centroids away, and a weak model's axis is worse than that of the image.

    Args:
        steps: in order.
        outputs: the classes that the model predicts.
        predict: predicts the image that some views show, at its own pixels.
        notes: get what happens to the images; preparers may share them.
    """

    def __init__(
        self,
        steps: Sequence[PreparedStep],
        outputs: Sequence[str],
        predict: Callable[[Sequence[View]], Prediction],
        notes: PassNotes | None = None,
    ) -> None:
        self._steps = [_Step(each, each.bound(), Context(each.classes, fitted=each.fitted)) for each in steps]
        self._outputs, self._predict = tuple(outputs), predict
        self.notes = PassNotes() if notes is None else notes

    def __call__(self, sample: Sample) -> list[View]:
        """What the model is to see of a sample, one view or several windows.

        Raises:
            TrainError: a step cannot take the image, such as a fill that its gray values cannot hold.
        """
        return self._run(self._steps, View(sample, _whole(sample)), guess=True)

    def _run(self, steps: Sequence[_Step], view: View, guess: bool) -> list[View]:
        """All views after the steps; `guess`: whether first passes may find classes."""
        if not steps:
            return [View(_without_classes(view.sample, 1), view.root)]
        step, rest = steps[0], steps[1:]
        sample = _without_classes(view.sample, len(step.context.classes))
        labelled = self._guess(step, rest, sample) if guess else None
        made = self._apply(step, sample if labelled is None else labelled, view.root)
        if not made:
            self.notes.dropped.add(view.root.name)
            made = [View(sample, view.root)]
        return [last for each in made for last in self._run(rest, each, guess)]

    def _guess(self, step: _Step, rest: Sequence[_Step], sample: Sample) -> Sample | None:
        """The sample with the classes that a step wants to see, as the model finds them; None if it does not."""
        wanted = _wanted(step)
        if not wanted:
            return None
        self.notes.first_pass.add(sample.name)
        as_it_is = [View(sample, _whole(sample))]
        turned = self._apply(step, sample, _whole(sample)) or as_it_is
        starts = [turned] if _agree(as_it_is, turned, _NOWHERE) else [turned, as_it_is]
        predicted = all({*group} & {*self._outputs} for group in wanted)
        for start in starts if predicted else ():
            found = self._label(step, rest, sample, start)
            if found is not None:
                labelled = self._follow(step, rest, found, start)
                break
        else:
            labelled = None
        if labelled is None:
            self.notes.without_classes.add(sample.name)
        return labelled

    def _follow(self, step: _Step, rest: Sequence[_Step], found: Sample, start: Sequence[View]) -> Sample | None:
        """The sample with classes that can be believed, looking again if they turn it far; None if they cannot be."""
        made, labelled, seen = start, None, found
        for _ in range(FIRST_PASSES):
            turned, compact = (self._apply(step, each, _whole(each)) for each in (seen, _largest_parts(step, seen)))
            if not _agree(turned, compact, _STEADY):
                break
            before, made, labelled = made, turned, seen
            looked = None if _agree(before, made, _NEAR) else self._label(step, rest, seen, made)
            if looked is None:
                break
            seen = looked
        return labelled

    def _label(self, step: _Step, rest: Sequence[_Step], sample: Sample, made: Sequence[View]) -> Sample | None:
        """A sample with the classes that the model finds in views of it; None if one that is wanted is not there."""
        seen = [last for each in made for last in self._run(rest, each, guess=False)]
        layers = zip(self._outputs, self._predict(seen).layers(), strict=True)
        names = step.context.classes
        masks = {name: layer >= FIRST_PASS_THRESHOLD for name, layer in layers if name in names}
        if not all(any(masks[name].any() for name in group if name in masks) for group in _wanted(step)):
            return None
        planes = bitmask.empty(sample.height, sample.width, len(names))
        for name, mask in masks.items():
            bitmask.merge_class(planes, names.index(name), mask)
        return replace(sample, masks=planes, known=bitmask.select_bits(map(names.index, masks), len(names)))

    def _apply(self, step: _Step, sample: Sample, root: Root) -> list[View]:
        """What a step makes of a sample, in which an image lies as `root` says; nothing if it would drop it."""
        bound, recorded = step.bound, step.recorded
        try:
            made = [*bound.call([sample], step.context, bound.rng(recorded.seed, [sample.name], 0)).results]
        except (AugforgeError, ValueError) as error:
            raise TrainError(
                f"image '{sample.name}' cannot be prepared by {recorded.label}: {error}. Correct it, or take images as "
                "they are: --as-is"
            ) from error
        return [self._view(each, sample, root) for each in made if not isinstance(each, Drop)]

    def _view(self, made: Sample, sample: Sample, root: Root) -> View:
        if made is sample:
            return View(sample, root)
        off = made.notes.get("matrix_residual_px", 0)
        if off is None or off > _INEXACT:
            self.notes.inexact.add(root.name)
        bare: dict[str, Any] = {"placements": (), "mark": "", "notes": {}}
        return View(replace(made, name=sample.name, **bare), root.transform(made.placements[0]))


def whole_preparer(steps: Sequence[PreparedStep], notes: PassNotes) -> Callable[[Sample], Sample]:
    """A function that takes samples through preparing steps for a model that judges whole images; labels stay.

    It raises TrainError if a step cuts an image into several.
    """
    prepare = Preparer(steps, (), _no_first_pass, notes)

    def prepare_whole(sample: Sample) -> Sample:
        views = prepare(sample)
        if len(views) > 1:
            raise TrainError(
                f"image '{sample.name}' is cut into {len(views)} windows by its preparation, and a classifier judges "
                "whole images. Take images as they are: --as-is"
            )
        return replace(views[0].sample, label=sample.label)

    return prepare_whole


def _no_first_pass(views: Sequence[View]) -> Prediction:
    raise TypeError("a classifier predicts no masks, so no step asks for any")


def _wanted(step: _Step) -> tuple[tuple[str, ...], ...]:
    return step.bound.params.classes_wanted()


def _whole(sample: Sample) -> Root:
    """A sample as the image that shows in itself."""
    return Lineage.of_source(sample.name, sample.width, sample.height).roots[0]


def _without_classes(sample: Sample, classes: int) -> Sample:
    """A sample of so many classes, of which none is known: what an image is that nobody labelled."""
    planes = bitmask.empty(sample.height, sample.width, classes)
    return replace(sample, masks=planes, known=np.zeros(planes.shape[2], np.uint8), label=None)


def _largest_parts(step: _Step, sample: Sample) -> Sample:
    """A sample in which each class that a step wants to see has its largest connected part alone."""
    names, planes = step.context.classes, bitmask.empty(sample.height, sample.width, len(step.context.classes))
    for c in {names.index(name) for group in _wanted(step) for name in group}:
        _, parts, facts, _ = cv2.connectedComponentsWithStats(bitmask.class_mask(sample.masks, c), connectivity=8)
        if len(facts) > 1:
            bitmask.merge_class(planes, c, parts == 1 + facts[1:, cv2.CC_STAT_AREA].argmax())
    return replace(sample, masks=planes)


def _agree(before: Sequence[View], after: Sequence[View], tolerance: float) -> bool:
    """Whether the image lies in the same place in all views, up to a share of its longer side."""
    if len(before) != len(after) or not before:
        return False
    width, height = before[0].root.size
    corners = np.array([(x, y, 1) for x in (0, width) for y in (0, height)])
    moves = [
        np.abs(corners @ (np.array(one.root.matrix) - np.array(other.root.matrix)).T).max()
        for one, other in zip(before, after, strict=True)
    ]
    return bool(max(moves) <= tolerance * max(width, height))
