"""balance: repeats samples of rare or small classes and thins out samples without any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from augforge.ops.combine import (
    ClassWeights,
    check_weighted_classes,
    register_class_weights,
    resolve_weights,
    shown_labels,
)
from augforge.ops.core import Context, Examples, OpParams, Size, op
from augforge.ops.filters.select import measure_contents
from augforge.sample import Drop, Sample


class Balance(OpParams):
    """Repeat samples by the classes they hold, after the repeat factors of LVIS (Gupta et al. 2019, arXiv:1908.03195).

    Each class has a weight: by its rarity, by its smallness, or as given. A sample comes as often as the square root of
    its heaviest class's weight, at most `most` times; chance decides about the fraction. Of the samples that hold no
    class with a weight above 1, a drawn share, `others`, is kept. Repeats have the same pixels under other names.

    Labels of a label vector, from 0.5 on, count like classes where the weights name them, and for `rare` where the data
    has no classes.
    """

    weights: ClassWeights = Field(
        "rare",
        description="weights of classes or labels: by their rarity or smallness in train, or given, such as "
        "{finger-16: 4}",
    )
    most: int = Field(4, ge=1, le=100, description="how often a sample comes at most")
    others: float = Field(
        1.0, ge=0, le=1, description="share that is kept of the samples without a class of weight above 1"
    )

    def check(self, ctx: Context) -> None:
        """Raise PlanError if what has a weight is neither a class nor a label."""
        check_weighted_classes(self.weights, ctx)


@op(
    "balance",
    Balance,
    version=1,
    role="augment",
    exact=False,
    examples=Examples(
        [{"weights": {"class-8": 2}, "others": 0.5}, {"others": 0.5}], picture={"weights": {"Pisiform": 9}}
    ),
)
def balance(inputs: Sequence[Sample], drawn: dict[str, Any], params: Balance, ctx: Context) -> Iterator[Sample | Drop]:
    """Give the sample as often as was drawn: itself, then repeats that are told apart by their marks."""
    sample = inputs[0]
    if drawn["times"] == 0:
        yield Drop("thinned out")
        return
    yield sample
    for repeat in range(2, drawn["times"] + 1):
        yield sample.derive(sample.image, sample.masks, mark=f"@{repeat}")


@balance.gives_sizes
def repeated_sizes(sizes: Sequence[Size], params: Balance) -> list[Size]:
    """Say that there are at most `most` outputs of the input's size."""
    return [sizes[0]] * params.most


register_class_weights(balance)


@balance.draws
def draw_repeats(rng: np.random.Generator, inputs: Sequence[Sample], params: Balance, ctx: Context) -> dict[str, Any]:
    """Draw how often the sample is repeated; 0 drops it."""
    weights = resolve_weights(params.weights, ctx)
    weight = _heaviest_class(inputs[0], weights, ctx)
    if weight <= 1:
        return {"times": int(rng.random() < params.others)}
    factor = min(params.most, weight**0.5)
    return {"times": int(factor) + int(rng.random() < factor % 1)}


def _heaviest_class(sample: Sample, weights: Mapping[str, float], ctx: Context) -> float:
    contents = measure_contents(sample, ctx)
    held = {**shown_labels(contents), **{name: bool(area) for name, area in contents["area"].items()}}
    return max((weights.get(name, 1.0) for name, holds in held.items() if holds), default=1.0)
