"""wrist_deviation: fixed bones stay, the others turn rigidly, image and planes together, nothing tears."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import class_names
from numpy.typing import NDArray
from pydantic import ValidationError

from augforge import bitmask
from augforge.errors import PlanError
from augforge.ops import Context
from augforge.ops.wrist import WristDeviation, wrist_deviation
from augforge.phantom import Traits, render_hand
from augforge.sample import Sample
from augforge.sources.class_lists import HAND_BONES

CONTEXT = Context(class_names(9))
HAND = Context(HAND_BONES)
PARTS = {"fixed": ["class-0", "class-1"], "pivot": "class-2"}
GRAYS = (60, 90, 120, 150, 180, 210)
AIR = 30


def bend(sample: Sample, degrees: float, ctx: Context = CONTEXT, **params: Any) -> Sample:
    model = WristDeviation.model_validate(params if ctx is HAND else {**PARTS, **params})
    (made,) = wrist_deviation.apply([sample], {"angle_deg": degrees}, model, ctx)
    assert isinstance(made, Sample)
    return made


def arm(scale: int = 1, channels: int = 1, dtype: str = "uint8") -> Sample:
    """Two fixed bars below, a small disc as pivot above them, three bars and a block above that, each with its gray."""
    boxes = [
        (90, 200, 140, 300),
        (160, 200, 210, 300),
        None,
        (80, 60, 100, 150),
        (140, 20, 160, 150),
        (215, 80, 230, 150),
    ]
    height, width = 300 * scale, 300 * scale
    masks, image = bitmask.empty(height, width, 9), np.full((height, width), AIR, np.uint8)
    for c, box in enumerate(boxes):
        part = np.zeros((height, width), np.uint8)
        if box is None:
            cv2.circle(part, (150 * scale, 180 * scale), 12 * scale, 1, -1)
        else:
            x0, y0, x1, y1 = (scale * value for value in box)
            part[y0:y1, x0:x1] = 1
        bitmask.merge_class(masks, c, part)
        image[part > 0] = GRAYS[c]
    image = image.astype(dtype) * (257 if dtype == "uint16" else 1)
    shape = image if channels == 1 else np.stack([image] * channels, axis=-1)
    return Sample("arm", shape, masks, bitmask.all_bits(9))


def inner(mask: NDArray[np.uint8], pixels: int) -> NDArray[np.bool_]:
    kernel = np.ones((2 * pixels + 1,) * 2, np.uint8)
    return cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0).astype(bool)


@pytest.fixture(scope="module")
def hands() -> list[Sample]:
    made = []
    for number in range(3):
        rng = np.random.default_rng([9, number])
        hand = render_hand(rng, 512, Traits.draw(rng), hand="LR"[number % 2], turned=number == 2)
        shapes = [(HAND_BONES.index(name), [points]) for name, points in hand.polygons.items() if len(points) > 2]
        masks = bitmask.rasterise(shapes, 512, 512, len(HAND_BONES))
        made.append(Sample(f"hand-{number}", hand.image, masks, bitmask.all_bits(len(HAND_BONES))))
    return made


@pytest.mark.parametrize("degrees", [-20, -7, 4, 15])
@pytest.mark.parametrize("scale", [1, 5])
def test_fixed_bones_stay_and_the_others_turn_about_the_pivot(scale: int, degrees: float) -> None:
    """At 1500 pixels the field is computed on a grid: it must give the same."""
    sample = arm(scale)
    made = bend(sample, degrees)
    for c in (0, 1):
        np.testing.assert_array_equal(bitmask.class_mask(made.masks, c), bitmask.class_mask(sample.masks, c))
    (x, y), turn = (150 * scale, 180 * scale), math.radians(degrees)
    matrix = np.array([[math.cos(turn), math.sin(turn), 0], [-math.sin(turn), math.cos(turn), 0]])
    matrix[:, 2] = (x, y) - matrix[:, :2] @ (x, y)
    np.testing.assert_allclose(made.placements[0].matrix, matrix, atol=1e-9)
    still = bitmask.union(sample.masks, [0, 1])
    for c in range(2, 6):
        was, now = bitmask.class_mask(sample.masks, c), bitmask.class_mask(made.masks, c)
        turned = cv2.warpAffine(was, matrix, (300 * scale, 300 * scale), flags=cv2.INTER_NEAREST)
        expected = turned.astype(np.uint8) & ~still
        kernel = np.ones((3, 3) if scale == 1 else (5, 5), np.uint8)
        most, least = (np.asarray(grow(expected, kernel), np.uint8) for grow in (cv2.dilate, cv2.erode))
        assert not (now & ~most).any() and not (least & ~now).any()


@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 1), ("uint16", 1), ("uint8", 3), ("uint16", 4)])
def test_image_and_planes_follow_one_field(dtype: str, channels: int) -> None:
    """Every bone's pixels still have its own gray, and that gray is nowhere else."""
    sample = arm(dtype=dtype, channels=channels)
    made = bend(sample, 15)
    unit = 257 if dtype == "uint16" else 1
    gray = made.image if channels == 1 else made.image[..., 0]
    assert made.image.dtype == dtype and made.image.shape == sample.image.shape
    for c, value in enumerate(GRAYS):
        mask = bitmask.class_mask(made.masks, c)
        assert (gray[inner(mask, 2)] == value * unit).all()
        outside = ~cv2.dilate(mask, np.ones((5, 5), np.uint8)).astype(bool) & (gray == value * unit)
        assert outside.mean() < 0.001  # blended edges of other bones


def test_positive_is_counter_clockwise() -> None:
    before, after = arm(), bend(arm(), 10)
    tops = []
    for sample in (before, after):
        y, x = np.nonzero(bitmask.class_mask(sample.masks, 4))
        tops.append(x[y < y.min() + 5].mean())
    assert tops[1] < tops[0] - 20


def test_nothing_turned_changes_nothing() -> None:
    sample = arm()
    made = bend(sample, 0)
    np.testing.assert_array_equal(made.image, sample.image)
    np.testing.assert_array_equal(made.masks, sample.masks)


@pytest.mark.parametrize("degrees", [-18, 12])
def test_hand_stays_whole(degrees: float, hands: list[Sample]) -> None:
    """No bone is lost or grows, none has a hole, and no background shows inside of the hand."""
    for sample in hands:
        made = bend(sample, degrees, HAND)
        before, boxes = bitmask.areas_and_boxes(sample.masks, 29)
        after, _ = bitmask.areas_and_boxes(made.masks, 29)
        rim = (boxes[:, :2].min(axis=1) < 40) | (boxes[:, 2:].max(axis=1) > 472)  # what the turn may push out
        for c in map(int, np.flatnonzero((before > 0) & ~rim)):
            loose = 0.45 if HAND_BONES[c] in ("Scaphoid", "Lunate", "Triquetrum", "Pisiform") else 0.06
            assert abs(after[c] / before[c] - 1) < loose, HAND_BONES[c]
            mask = bitmask.class_mask(made.masks, c)
            assert cv2.connectedComponents(mask)[0] <= 1 + (loose > 0.1) + 1
        for name in ("Radius", "Ulna"):
            c = HAND_BONES.index(name)
            np.testing.assert_array_equal(bitmask.class_mask(made.masks, c), bitmask.class_mask(sample.masks, c))


def test_soft_tissue_bends_smoothly(hands: list[Sample]) -> None:
    """What the image says of a ramp across the picture: neighbours stay neighbours, but for gaps between bones."""
    sample = hands[0]
    x, y = np.meshgrid(np.arange(512), np.arange(512))
    for ramp in (x, y):
        made = bend(replace(sample, image=(10_000 + 60 * ramp).astype(np.uint16)), 12, HAND)
        came = (made.image.astype(float) - 10_000) / 60
        inside = inner((made.image > 0).astype(np.uint8), 2)  # nearer to the border it is blended with the fill
        jump = np.abs(np.diff(came, axis=1))[inside[:, 1:] & inside[:, :-1]]
        assert np.quantile(jump, 0.998) < 2 and jump.max() < 25


@pytest.mark.parametrize("missing", [[2], [0, 1], range(9)])
def test_without_pivot_or_forearm_the_input_itself_passes(missing: list[int]) -> None:
    sample = arm()
    known = bitmask.select_bits([c for c in range(9) if c not in missing], 9)
    bare = replace(sample, known=known, masks=bitmask.keep(sample.masks, known))
    assert bend(bare, 10) is bare


def test_one_fixed_bone_is_enough() -> None:
    sample = arm()
    known = bitmask.select_bits([c for c in range(9) if c != 1], 9)
    assert bend(replace(sample, known=known, masks=bitmask.keep(sample.masks, known)), 10) is not sample


def test_findings_are_in_the_notes() -> None:
    assert bend(arm(), 7.5).notes == {"angle_deg": 7.5, "pivot": [150, 180]}


def test_border_is_filled() -> None:
    made = bend(arm(), 20, fill=222)
    assert made.image[0, 0] == 222 or made.image[0, -1] == 222
    with pytest.raises(ValueError, match="expected at most 255"):
        bend(arm(), 20, fill=300)


def test_draw_is_even_over_the_range() -> None:
    rng, params = np.random.default_rng(0), WristDeviation.model_validate({"angle_range": [-5, 20]})
    assert wrist_deviation.draw is not None
    drawn = [wrist_deviation.draw(rng, [], params, HAND)["angle_deg"] for _ in range(1000)]
    assert -5 <= min(drawn) < -4.8 and 19.8 < max(drawn) <= 20 and abs(np.mean(drawn) - 7.5) < 0.8


@pytest.mark.parametrize(
    "params", [{"angle_range": [5, -5]}, {"angle_range": [0, 60]}, {"fixed": []}, {"pivot": "Ulna"}]
)
def test_refuses(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WristDeviation.model_validate(params)


def test_unknown_class_names_the_nearest() -> None:
    with pytest.raises(PlanError, match=r"no class 'lunate'. Did you mean 'Lunate'\?"):
        WristDeviation(pivot="lunate").check(HAND)
