"""Which preparing steps images still have to go through before a run's model sees them as it saw its own samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from rich.console import Console
from rich.text import Text

from augforge.errors import TrainError
from augforge.train.prediction.preparing import PassNotes
from augforge.train.preparation import Preparation, PreparedStep

if TYPE_CHECKING:
    from augforge.store.dataset import Dataset
    from augforge.train.run import TrainingRun

State = Literal["applied", "already", "none", "as-is", "unknown", "different"]


class Preparing(Protocol):
    """What predicts samples, of masks or of labels, and can prepare them first."""

    def with_steps(self: P, steps: Sequence[PreparedStep], notes: PassNotes) -> P:
        """One that takes samples through preparing steps first, and notes what happens."""


P = TypeVar("P", bound=Preparing)


@dataclass(slots=True)
class Remaining:
    """The steps that images still have to go through, and what happened once they did.

    Attributes:
        state: ``applied``: these steps are; ``already``: the dataset was built by the same steps; ``none``: the model's
            samples were not prepared; ``as-is``: a person switched it off; ``unknown``: nobody knows how the model's
            samples were prepared; ``different``: the dataset was prepared in another way. But for ``applied``, images
            are taken as they are.
        steps: in order.
        told: what a person should know before images are predicted.
        notes: what happened to the images of all predictors that `prepare_for` gave.
    """

    state: State
    steps: tuple[PreparedStep, ...] = ()
    told: tuple[str, ...] = ()
    notes: PassNotes = field(default_factory=PassNotes)

    def prepare_for(self, predictor: P) -> P:
        """The predictor, which takes samples through the steps first; what happens there is noted here."""
        return predictor.with_steps(self.steps, self.notes)

    def report(self) -> dict[str, Any]:
        """JSON-like: state and steps, and of how many images a first pass of the model found the classes."""
        steps = [{"step": each.label, "op": str(each), "params": each.params} for each in self.steps]
        report: dict[str, Any] = {"state": self.state, "steps": steps}
        if not self.notes.first_pass:
            return report
        images = len(self.notes.first_pass)
        return {**report, "first_pass": {"images": images, "found": images - len(self.notes.without_classes)}}

    def warnings(self) -> list[str]:
        """What a person should know."""
        return [*self.told, *self.notes.warnings()]


def remaining_steps(
    run: TrainingRun, dataset: Dataset | None = None, *, as_is: bool = False, tiled: bool = False
) -> Remaining:
    """Which preparing steps of a run's datasets images still have to go through.

    Args:
        run: a training run.
        dataset: the one that the images are samples of; None if they are raw images.
        as_is: take images as they are.
        tiled: they are predicted by the predictor's own sliding windows, which stand for those of the recipe.

    Raises:
        TrainError: the run's datasets were prepared in different ways, or an op is not installed here.
    """
    if as_is:
        return Remaining("as-is")
    recorded = run.preparations
    own = None if dataset is None else Preparation.of_dataset(dataset)
    alike = [each for each in recorded if own is not None and _same(own, each)]
    if own is not None and alike:
        return Remaining("already" if own.steps else "none", told=tuple(_differences(own, alike[0])))
    unknown = [each.unknown for each in recorded if each.unknown]
    if unknown:
        return Remaining("unknown", told=(f"{unknown[0].rstrip('.')}. {_TAKEN_AS_IS}",))
    if own is not None and own.unknown:
        return Remaining("unknown", told=(f"{own.unknown.rstrip('.')}. {_TAKEN_AS_IS}",))
    chosen = _single(recorded)
    rest = chosen.steps if own is None else _after(own, chosen)
    if rest is None:
        fact = f"{dataset and dataset.folder} was prepared by {own}, and what the model was trained on by {chosen}"
        return Remaining("different", told=(f"{fact}. {_TAKEN_AS_IS}",))
    if tiled:
        rest = tuple(each for each in rest if each.op != "sliding_window")
    warnings = (*_left_out(chosen), *_changes(rest), *_blind(rest, raw=own is None))
    return Remaining("applied" if rest else "none", rest, warnings)


def preparation_line(report: Mapping[str, Any]) -> str:
    """What `Remaining.report` says, for people; empty if there is nothing to say."""
    labels = ", ".join(each["step"] for each in report["steps"])
    line = {
        "applied": f"Prepared as the model's own samples were: {labels}",
        "already": "Prepared by the same steps as the model's own samples when the dataset was built",
        "as-is": "Taken as they are: --as-is",
    }.get(report["state"], "")
    passes = report.get("first_pass")
    return f"{line}; a first pass found the classes in {passes['found']} of {passes['images']}" if passes else line


def render_preparation(result: Mapping[str, Any], console: Console) -> None:
    """Print what a result says of the preparation of its images, and its warnings."""
    line = preparation_line(result["preparation"]) if "preparation" in result else ""
    if line:
        console.print(Text(line), soft_wrap=True)
    for warning in result.get("warnings", ()):
        console.print(Text(f"warning: {warning}", "yellow"), soft_wrap=True)


_TAKEN_AS_IS = "The images are taken as they are"


def _same(one: Preparation, other: Preparation) -> bool:
    """Whether two datasets were prepared alike, as far as that is known."""
    if one.version == other.version:
        return True
    known = not one.unknown and not other.unknown
    return known and one.left_out == other.left_out and one.identities() == other.identities()


def _differences(own: Preparation, other: Preparation) -> Iterator[str]:
    """What to say of steps by which two datasets were prepared alike, but for the op's version or what was fitted."""
    for one, model in zip(own.steps, other.steps, strict=False):
        if (str(one), one.origin, one.fitted) != (str(model), model.origin, model.fitted):
            yield (
                f"{own.name} was prepared by {one.label} ({one}), and what the model was trained on by {model}, or "
                "with other fitted values: pixels may differ"
            )


def _single(recorded: Sequence[Preparation]) -> Preparation:
    """How all datasets of a run were prepared."""
    first = recorded[0] if recorded else Preparation("", "")
    if any(each.identities() != first.identities() for each in recorded):
        listed = "; ".join(f"{each.name} {each.version} by {each}" for each in recorded)
        raise TrainError(
            f"the model's datasets were prepared differently: {listed}. Build the images by one of these recipes and "
            "predict that dataset, or take them as they are: --as-is"
        )
    return first


def _after(own: Preparation, chosen: Preparation) -> tuple[PreparedStep, ...] | None:
    """The steps that a dataset has not gone through yet; None if it went through others."""
    done = own.identities()
    return chosen.steps[len(done) :] if chosen.identities()[: len(done)] == done else None


def _left_out(chosen: Preparation) -> Iterator[str]:
    for label, reason in chosen.left_out:
        yield (
            f"the samples that the model was trained on went through {label}, which is not repeated on these images: "
            f"{reason}"
        )


def _changes(steps: Sequence[PreparedStep]) -> Iterator[str]:
    """What to say of ops that are installed in another version."""
    yield from filter(None, (each.change() for each in steps))


def _blind(steps: Sequence[PreparedStep], raw: bool) -> Iterator[str]:
    """What to say of ops that look at metadata, which raw images do not have."""
    for step in steps:
        reads = step.bound().op.reads
        if raw and reads:
            yield f"{step.label} looks at metadata ({', '.join(reads)}), which images alone do not have"
