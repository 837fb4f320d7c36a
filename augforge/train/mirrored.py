"""Samples that show their source image mirrored: which classes were exchanged in them, so that it can be undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from augforge.errors import TrainError
from augforge.ops.mirror import step_may_mirror
from augforge.ops.sidenames import Pair
from augforge.ops.sides import mirror_order
from augforge.sample import is_reflection
from augforge.store.sides import sides_of
from augforge.train.built import built_recipe

if TYPE_CHECKING:
    from augforge.store.dataset import Dataset
    from augforge.train.labels.predictor import LabelPrediction
    from augforge.train.prediction.inference import Prediction

Predicted = TypeVar("Predicted", bound="Prediction | LabelPrediction")
Pairs = tuple[Pair, ...]
Lineage = Mapping[str, Any]
"""The lineage of a sample, as the index has it."""


def exchange_finder(dataset: Dataset) -> Callable[[Lineage], Pairs | None]:
    """What finds the pairs of classes that are exchanged in a sample, compared with its only source image.

    None if nobody can tell: steps that exchange different pairs mirrored the sample, some of them before its last
    stage, of which alone a lineage has the steps.
    """
    exchanges = _exchanges_of_steps(dataset)
    different = {frozenset(pairs) for pairs in exchanges.values()}
    if len(different) > 1:
        return lambda lineage: _walk(lineage, exchanges)
    pairs = next(iter(exchanges.values()), ())
    return lambda lineage: pairs if is_reflection(lineage["roots"][0]["matrix"]) else ()


def _walk(lineage: Lineage, exchanges: Mapping[str, Pairs]) -> Pairs | None:
    """Follow a sample through the steps of its last stage; a pair that was exchanged twice is as it was."""
    times: Counter[Pair] = Counter()
    mirrored = False
    for step in lineage["steps"] or ():
        placed = list(step["parents"] or ())
        if len(placed) == 1 and is_reflection(placed[0]["matrix"]):
            times.update(exchanges.get(step["step"], ()))
            mirrored = not mirrored
    if mirrored != is_reflection(lineage["roots"][0]["matrix"]):
        return None
    return tuple(pair for pair, count in times.items() if count % 2)


def _exchanges_of_steps(dataset: Dataset) -> dict[str, Pairs]:
    """The pairs of classes that each step exchanges which may mirror, perhaps none, by its label."""
    sides, steps = sides_of(dataset.manifest).pairs, built_recipe(dataset).data.get("steps") or ()
    names = (*dataset.classes, *dataset.labels)
    exchanges = [_pairs_of(step.get("swap"), sides, names) for step in steps]
    if not any(exchanges):
        return {}
    seen: Counter[str] = Counter()
    found = {}
    for step, pairs in zip(steps, exchanges, strict=True):
        name = str(step.get("op"))
        seen[name] += 1
        if step_may_mirror(step):
            found[name if seen[name] == 1 else f"{name}.{seen[name]}"] = pairs
    return found


def _pairs_of(swap: Any, sides: Pairs, names: Sequence[str]) -> Pairs:
    pairs = sides if swap is None else () if swap == "none" else [tuple(pair) for pair in swap]
    return tuple((left, right) for left, right in pairs if left in names and right in names)


def exchange_back(prediction: Predicted, pairs: Pairs, outputs: Sequence[str]) -> Predicted:
    """A prediction with the classes or labels of each pair exchanged, as an image needs that was shown mirrored.

    Raises:
        TrainError: of a pair, one alone is predicted.
    """
    lone = next((each for each in pairs if len({*each} & {*outputs}) == 1), None)
    if lone is not None:
        raise TrainError(
            f"{prediction.name} was mirrored, and in its image {lone[0]} and {lone[1]} are exchanged back; expected a "
            "model that predicts both or neither. Predict samples that are not mirrored, such as --split val"
        )
    shown = [each for each in pairs if each[0] in outputs]
    if not shown:
        return prediction
    return replace(prediction, probabilities=prediction.probabilities[mirror_order(outputs, shown)])
