"""Filters called as a build calls them, on made hands, and the faults that they are to find."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import cv2
import numpy as np

from augforge import bitmask
from augforge.ops import OPS, BoundOp, Context, Flag
from augforge.ops.contract_samples import replace_class
from augforge.ops.core import Candidate
from augforge.phantom import Traits, render_hand
from augforge.sample import Sample
from augforge.sources.class_lists import HAND_BONES

BONES = Context(HAND_BONES)
PERSONS = 40
BENT = (3, 17, 31)
"""Persons one of whose hands has bent fingers."""


@cache
def features(name: str, sample: Sample, classes: tuple[str, ...]) -> Any:
    """What a filter measures, through JSON; none of these looks at its params."""
    assert OPS[name].measure_reads == ()
    found = BoundOp(name, OPS[name].params()).measure(sample, Context(classes))
    return json.loads(json.dumps(found, allow_nan=False))


def candidate(name: str, sample: Sample, ctx: Context = BONES) -> Candidate:
    return Candidate(
        id=sample.name,
        name=sample.name,
        group=sample.group,
        split=sample.split,
        width=sample.width,
        height=sample.height,
        metadata={},
        tags=(),
        features=features(name, sample, ctx.classes),
    )


def fit_context(name: str, samples: Sequence[Sample], ctx: Context = BONES, **params: Any) -> Context:
    """The context after `fit` on the samples, through JSON."""
    rows = [candidate(name, sample, ctx) for sample in samples]
    op = OPS[name]
    assert op.fit is not None
    return replace(ctx, fitted=json.loads(json.dumps(op.fit(rows, op.params(**params), ctx), allow_nan=False)))


def find_flags(name: str, samples: Sequence[Sample], ctx: Context, **params: Any) -> dict[str, Flag]:
    """Findings by sample name; ctx from `fitted` where the filter fits."""
    rows = [candidate(name, sample, ctx) for sample in samples]
    flags = OPS[name].decide(rows, OPS[name].params.model_validate(params), ctx)
    return {row.name: flag for row, flag in zip(rows, flags, strict=True) if flag is not None}


@cache
def hands(size: int = 256) -> tuple[Sample, ...]:
    """Two hands of each of 40 persons, some turned, three of them with bent fingers."""
    made = []
    for person in range(PERSONS):
        traits = Traits.draw(np.random.default_rng([5, person]))
        for side, hand in enumerate("LR"):
            rng = np.random.default_rng([5, person, side])
            drawn = render_hand(
                rng, size, traits, hand=hand, turned=person % 4 == 1, bent=person in BENT and hand == "R"
            )
            rings = [(HAND_BONES.index(bone), [ring]) for bone, ring in drawn.polygons.items() if len(ring) > 2]
            masks = bitmask.rasterise(rings, size, size, len(HAND_BONES))
            name, known = f"P{person:02}/{hand}", bitmask.all_bits(len(HAND_BONES))
            made.append(Sample(name, drawn.image, masks, known, group=f"P{person:02}"))
    return tuple(made)


def is_bent(name: str) -> bool:
    return name in {f"P{person:02}/R" for person in BENT}


def bone_mask(sample: Sample, bone: str) -> np.ndarray:
    return bitmask.class_mask(sample.masks, HAND_BONES.index(bone))


def replace_masks(sample: Sample, changes: Mapping[str, np.ndarray]) -> Sample:
    masks = np.array(sample.masks)
    for bone, pixels in changes.items():
        masks = replace_class(masks, HAND_BONES.index(bone), pixels)
    return replace(sample, masks=masks)


def swap_labels(sample: Sample, rng: np.random.Generator) -> tuple[Sample, list[str]]:
    """Two classes' labels exchanged."""
    one, other = (HAND_BONES[i] for i in rng.choice(len(HAND_BONES), 2, replace=False))
    return replace_masks(sample, {one: bone_mask(sample, other), other: bone_mask(sample, one)}), [one, other]


def truncate_class(sample: Sample, rng: np.random.Generator) -> tuple[Sample, list[str]]:
    """Two fifths of a class cut off in some direction."""
    bone = HAND_BONES[rng.integers(len(HAND_BONES))]
    pixels, turn = bone_mask(sample, bone), rng.uniform(0, 2 * np.pi)
    y, x = np.nonzero(pixels)
    along = x * np.cos(turn) + y * np.sin(turn)
    left = np.zeros_like(pixels)
    left[y[along <= np.quantile(along, 0.6)], x[along <= np.quantile(along, 0.6)]] = 1
    return replace_masks(sample, {bone: left}), [bone]


def shift_class(sample: Sample, rng: np.random.Generator) -> tuple[Sample, list[str]]:
    """A class moved by 5 % of the picture."""
    bone, turn = HAND_BONES[rng.integers(len(HAND_BONES))], rng.uniform(0, 2 * np.pi)
    step = np.rint(0.05 * sample.width * np.array([np.cos(turn), np.sin(turn)]))
    matrix = np.array([[1, 0, step[0]], [0, 1, step[1]]])
    moved = cv2.warpAffine(bone_mask(sample, bone), matrix, (sample.width, sample.height), flags=cv2.INTER_NEAREST)
    return replace_masks(sample, {bone: moved}), [bone]


def fold_polygon(sample: Sample, rng: np.random.Generator) -> tuple[Sample, list[str]]:
    """A polygon of 12 points, two of which changed places."""
    bone = HAND_BONES[rng.integers(len(HAND_BONES))]
    outlines, _ = cv2.findContours(bone_mask(sample, bone), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=len)[:, 0]
    points = outline[np.linspace(0, len(outline) - 1, 13).astype(int)[:-1]]
    at = int(rng.integers(12))
    points[[at, (at + 6) % 12]] = points[[(at + 6) % 12, at]]
    pixels = np.zeros_like(bone_mask(sample, bone))
    cv2.fillPoly(pixels, [points.astype(np.int32)], (1,))
    return replace_masks(sample, {bone: pixels}), [bone]


def expose(sample: Sample, gamma: float) -> Sample:
    return replace(sample, image=np.rint(255 * (sample.image / 255) ** gamma).astype(np.uint8))


def measure_recall(name: str, fault: Any, ctx: Context, count: int = 40) -> tuple[float, float]:
    """Which share of samples with a fault is flagged, and which share of those names a class that is at fault."""
    rng, found, right = np.random.default_rng(9), 0, 0
    sound = [sample for sample in hands() if not is_bent(sample.name)]
    for at in rng.choice(len(sound), count, replace=False):
        broken, bones = fault(sound[at], rng)
        flags = find_flags(name, [broken], ctx)
        found += bool(flags)
        right += any(
            bone in flag.detail.replace(" z=", ",").replace(" ", ",").split(",")
            for flag in flags.values()
            for bone in bones
        )
    return found / count, right / max(found, 1)
