"""How far a hand on a radiograph leans, from the image alone: the line from the middle finger's tip to the wrist."""

from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge.ops.filters.hand_shape import Finger, Gray, Hand, Point, find_hand, reduce_picture, remove_padding
from augforge.sample import Image

_STEPS, _LANES = 120, 61
"""Size of the strip along the middle ray in which the bones are sought."""
_BEND = 0.2
"""Cost of a step aside by one lane."""


def hand_tilt(image: Image) -> float | None:
    """Degrees by which the middle finger's ray leans from straight up, positive to the right; None without a hand.

    A hand is found by its fingers, so it may point anywhere: the palm, not the picture, says where up is.
    """
    gray = reduce_picture(image)
    hand = find_hand(gray)
    if hand is None:
        return None
    ray = _middle_ray(remove_padding(gray), hand, middle_finger(hand))
    x, y = ray[:10].mean(axis=0) - ray[-10:].mean(axis=0)
    return round(math.degrees(math.atan2(x, -y)), 2)


def middle_finger(hand: Hand) -> Finger:
    """The third finger of five. Of fewer: counted from the thumb if it shows, else the one that reaches farthest."""
    fingers = hand.fingers
    if len(fingers) == 5:
        return fingers[2]
    if len(fingers) == 4:
        inner = [fingers[2]] if _is_thumb(fingers, hand) else [fingers[1]] if _is_thumb(fingers[::-1], hand) else []
        fingers = tuple(inner) or fingers[1:3]
    return max(fingers, key=lambda finger: math.dist(finger.tip, hand.centre))


def _is_thumb(fingers: tuple[Finger, ...], hand: Hand) -> bool:
    """Whether the first finger begins nearer to the wrist and is spread farther than the others."""
    begins = [math.dist(finger.base, hand.centre) for finger in fingers]
    turns = [_degrees_between(a, b) for a, b in pairwise(fingers)]
    return begins[0] < 0.92 * begins[1] and begins[0] < 0.95 * begins[-1] and turns[0] > 1.5 * max(turns[1:])


def _degrees_between(a: Finger, b: Finger) -> float:
    """Degrees between two fingers."""
    return math.degrees(math.acos(min(1.0, float(a.direction @ b.direction))))


def _middle_ray(gray: Gray, hand: Hand, finger: Finger) -> Point:
    """Points (n, 2) along the brightest path from a finger's tip through its metacarpal to the palm's centre."""
    toward = finger.tip - hand.centre
    axis = finger.direction + toward / math.hypot(*toward)
    axis /= math.hypot(*axis)
    down = np.linspace(0, math.hypot(*toward) + 0.2 * hand.radius, _STEPS)
    aside = np.linspace(-0.55, 0.55, _LANES) * hand.radius
    across = np.array([-axis[1], axis[0]])
    points = finger.tip - down[:, None, None] * axis + aside[None, :, None] * across
    x, y = (points[..., i].astype(np.float32) for i in (0, 1))
    strip = np.asarray(cv2.remap(gray, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
    lanes = _brightest_path(_ridge_strength(strip, 0.09 * hand.radius / (aside[1] - aside[0])))
    return np.asarray(points[np.arange(_STEPS), lanes])


def _ridge_strength(strip: Gray, width: float) -> Gray:
    """How much brighter each place is than its sides, at a bone's width in lanes; at most 1, for metal is no bone."""
    narrow = cv2.GaussianBlur(strip, (0, 0), width, sigmaY=2)
    ridge = narrow - cv2.GaussianBlur(strip, (0, 0), 3 * width, sigmaY=2)
    usual = float(np.median(np.abs(ridge).max(axis=1))) + 0.01
    return np.asarray(np.clip(ridge / usual, -1, 1), np.float32)


def _brightest_path(value: Gray) -> NDArray[np.int64]:
    """The lane at each step of the path with the largest sum, by dynamic programming."""
    lanes = np.arange(value.shape[1])
    steps = np.arange(-2, 3)
    neighbours = np.clip(lanes + steps[:, None], 0, len(lanes) - 1)
    cost = _BEND * steps[:, None] ** 2
    total, came = value[0] - 0.5 * np.abs(lanes / (len(lanes) - 1) - 0.5) * 2, []
    for row in value[1:]:
        options = total[neighbours] - cost
        best = options.argmax(axis=0)
        came.append(neighbours[best, lanes])
        total = options[best, lanes] + row
    path = [int(total.argmax())]
    for origin in reversed(came):
        path.append(int(origin[path[-1]]))
    return np.array(path[::-1])
