"""balance: samples of rare or small classes repeated, samples without any thinned out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from augforge import bitmask
from augforge.ops.combine import ClassWeights, check_weighted_classes, register_class_weights, resolve_weights
from augforge.ops.core import Context, Examples, OpParams, Size, op
from augforge.sample import Drop, Sample


class Balance(OpParams):
    """Repeat samples by the classes they hold, after the repeat factors of LVIS (Gupta et al. 2019, arXiv:1908.03195).

    Each class has a weight (by its rarity, its smallness, or given); a sample is repeated as often as the root of its
    heaviest class's weight says, at most `most` times; the fraction left is settled by chance. Of the samples that hold
    no class with a weight above 1, the drawn share `others` is kept. Repeats hold the same pixels under other names.
    """

    weights: ClassWeights = Field(
        "rare", description="of the classes: by rarity or smallness in train, or given, such as {finger-16: 4}"
    )
    most: int = Field(4, ge=1, le=100, description="greatest number of repeats")
    others: float = Field(1.0, ge=0, le=1, description="share kept of the samples that hold no weighty class")

    def check(self, ctx: Context) -> None:
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
    sample = inputs[0]
    if drawn["times"] == 0:
        yield Drop("thinned out")
        return
    yield sample
    for repeat in range(2, drawn["times"] + 1):
        yield sample.derive(sample.image, sample.masks, mark=f"@{repeat}")


@balance.gives_sizes
def repeated_sizes(sizes: Sequence[Size], params: Balance) -> list[Size]:
    return [sizes[0]] * params.most


register_class_weights(balance)


@balance.draws
def draw_repeats(rng: np.random.Generator, inputs: Sequence[Sample], params: Balance, ctx: Context) -> dict[str, Any]:
    weights = resolve_weights(params.weights, ctx)
    weight = _heaviest_class(inputs[0], weights, ctx)
    if weight <= 1:
        return {"times": int(rng.random() < params.others)}
    factor = min(params.most, weight**0.5)
    return {"times": int(factor) + int(rng.random() < factor % 1)}


def _heaviest_class(sample: Sample, weights: Mapping[str, float], ctx: Context) -> float:
    areas, _ = bitmask.areas_and_boxes(sample.masks, len(ctx.classes))
    return max((weights.get(name, 1.0) for name, area in zip(ctx.classes, areas, strict=True) if area), default=1.0)
