"""One phantom radiograph, composed of skeleton, placement, film and metal."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge.phantom.anatomy import SPARSE, Points, Skeleton, Traits, lean_of, pose_hand
from augforge.phantom.metal import Shape, forearm_plate, implant, metal_map, ring
from augforge.phantom.placement import place_hand
from augforge.phantom.radiograph import Film, Image, expose, mark, shield
from augforge.sources.class_lists import HAND_BONES

MAX_UPRIGHT_LEAN = 4.0
TURNED_LEAN = (12.0, 45.0)


@dataclass(frozen=True)
class Hand:
    """A radiograph with its ground truth.

    Attributes:
        image: uint8 (size, size).
        polygons: outline of each class in integer pixels, (n, 2); empty if nothing of it is visible.
        tilt_deg: of the middle finger's axis from straight up, positive to the right.
    """

    image: NDArray[np.uint8]
    polygons: dict[str, NDArray[np.int64]]
    tilt_deg: float


def render_hand(
    rng: np.random.Generator,
    size: int,
    traits: Traits,
    *,
    hand: str = "L",
    outlier: str = "none",
    turned: bool = False,
    bent: bool = False,
    burnt: float | None = None,
) -> Hand:
    """Draw one hand.

    The outlines cover what is visible: a bone that leaves the picture or the exposed film ends there.

    Args:
        rng: decides everything that is not given.
        size: side of the square picture in pixels.
        traits: of the person.
        hand: "L" or "R".
        outlier: "none", "ring", "implant" or "plate", which is an implant on the forearm.
        turned: whether the hand leans by 12 to 45 degrees instead of at most 4.
        bent: whether one or two fingers are bent.
        burnt: overexpose the film until the middle of the radius has this gray value, so that bone burns out near 255.
    """
    fingers = tuple(rng.choice((1, 3, 4), size=rng.integers(1, 3), replace=False).tolist()) if bent else ()
    skeleton = pose_hand(rng, traits, fingers)
    lean = rng.choice((-1, 1)) * rng.uniform(*TURNED_LEAN) if turned else rng.uniform(-1, 1) * MAX_UPRIGHT_LEAN
    style = str(rng.choice(("gray", "dark", "plain"), p=(0.45, 0.3, 0.25)))
    placement = place_hand(
        rng,
        skeleton,
        size,
        right=hand == "R",
        enlarge=traits.scale**-0.6,
        lean=float(lean),
        turned=turned,
        framed=style != "plain",
    )
    film = Film.draw(rng, style)
    gray = expose(rng, skeleton, traits, placement, film)
    marker = str(rng.choice(("none", "letter", "block"), p=(0.35, 0.35, 0.3)))
    if marker != "none":
        gray = mark(rng, gray, placement, hand, marker)
    if outlier != "none":
        opacity = metal_map(_draw_metal(rng, outlier, skeleton, traits), placement)
    if burnt is not None:
        gray = _overexpose(gray, placement.pixels(skeleton.bones["Radius"].outline), film.air, burnt)
    if outlier != "none":
        gray += (255.0 - gray) * opacity
    gray = shield(gray, placement, film)

    axis = placement.pixels(np.array([skeleton.bones["finger-11"].axis[0], skeleton.bones["finger-8"].axis[1]]))
    outlines = {label: placement.pixels(skeleton.bones[label].outline[::SPARSE]) for label in HAND_BONES}
    polygons = {label: placement.visible(outline) for label, outline in outlines.items()}
    return Hand(np.rint(np.clip(gray, 0, 255)).astype(np.uint8), polygons, lean_of(axis))


def _draw_metal(rng: np.random.Generator, outlier: str, skeleton: Skeleton, traits: Traits) -> list[Shape]:
    if outlier == "ring":
        return ring(rng, skeleton, traits.stoutness)
    return forearm_plate(rng, skeleton) if outlier == "plate" else implant(rng, skeleton)


def _overexpose(gray: Image, bone: Points, air: float, level: float) -> Image:
    """Multiply what is above air until the median over a bone, of which only the visible part counts, has a level."""
    cover = np.zeros(gray.shape, np.uint8)
    cv2.fillPoly(cover, [np.rint(bone).astype(np.int32)], 1)
    middle = float(np.median(gray[cover > 0])) if cover.any() else 255.0
    return np.asarray(np.minimum(air + (gray - air) * ((level - air) / (middle - air)), 255.0), np.float32)
