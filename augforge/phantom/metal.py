"""Rings and implants: sharp, opaque shapes, in millimetres of the hand's coordinates."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge.phantom.anatomy import Points, Skeleton, spline
from augforge.phantom.placement import Placement

Shape = tuple[Points, float]  # an outline in mm and its opacity, 0 to 1; later shapes replace earlier ones

_RING_FINGERS = ("finger-6", "finger-10", "finger-14", "finger-18")
_SHIFT = 4  # bits of sub-pixel precision when filling


def ring(rng: np.random.Generator, skeleton: Skeleton, stoutness: float) -> list[Shape]:
    """A ring around a proximal phalanx, seen nearly from the side: a flat ellipse with a slit."""
    bone = skeleton.bones[str(rng.choice(_RING_FINGERS, p=(0.15, 0.2, 0.5, 0.15)))]
    along = (bone.axis[1] - bone.axis[0]) / np.hypot(*(bone.axis[1] - bone.axis[0]))
    centre = bone.axis[0] + (bone.axis[1] - bone.axis[0]) * rng.uniform(0.42, 0.62)
    reach, depth = bone.width * 2.05 * stoutness + 0.6, rng.uniform(2.5, 3.5)
    slit = rng.uniform(0.1, 0.32)
    return [
        (_ellipse(centre, along, reach, depth), 1.0),
        (_ellipse(centre, along, reach - rng.uniform(2.2, 3.2), depth * slit), 0.0),
    ]


def implant(rng: np.random.Generator, skeleton: Skeleton) -> list[Shape]:
    """A plate on a metacarpal, a plate on the radius, wires through the wrist or a screw in the scaphoid."""
    kind = rng.choice(("metacarpal", "radius", "wires", "screw"), p=(0.35, 0.3, 0.2, 0.15))
    if kind == "metacarpal":
        axis = skeleton.bones[str(rng.choice(("finger-7", "finger-11", "finger-19")))].axis
        start, end = axis[0] + (axis[1] - axis[0]) * 0.2, axis[0] + (axis[1] - axis[0]) * 0.8
        return _plate(rng, start, end, holes=int(rng.integers(4, 7)), half=1.9)
    if kind == "radius":
        return _radius_plate(rng, skeleton.bones["Radius"].axis[1])
    if kind == "wires":
        styloid = skeleton.bones["Radius"].axis[1] + np.array([15.0, 1.0])
        ways = np.array([[-21.0, 30.0], [-15.0, 38.0]]) + rng.normal(0, 2, (2, 2))
        return [(_bar(styloid + (1.5 * i, -5.0 * i), styloid + way, 0.65), 1.0) for i, way in enumerate(ways)]
    return _screw(skeleton.bones["Scaphoid"].outline.mean(axis=0), np.array([0.72, -0.69]), 10.0)


def forearm_plate(rng: np.random.Generator, skeleton: Skeleton) -> list[Shape]:
    """A T-shaped plate on the radius, or a straight one along the radius or the ulna."""
    kind = str(rng.choice(("T", "Radius", "Ulna"), p=(0.5, 0.3, 0.2)))
    if kind == "T":
        return _radius_plate(rng, skeleton.bones["Radius"].axis[1])
    top = skeleton.bones[kind].axis[1]
    start, end = top + (rng.normal(0, 1.5), rng.uniform(6, 12)), top + (rng.normal(0, 2.5), rng.uniform(44, 60))
    return _plate(rng, start, end, holes=int(rng.integers(5, 8)), half=float(rng.uniform(2.2, 3.4)))


def metal_map(shapes: list[Shape], placement: Placement) -> NDArray[np.float32]:
    """Opacity of the metal at each pixel: float32 (size, size), 0 to 1."""
    canvas = np.zeros((placement.size, placement.size), np.uint8)
    for outline, opacity in shapes:
        fixed = np.rint(placement.pixels(outline) * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(canvas, [fixed], round(255 * opacity), cv2.LINE_AA, _SHIFT)
    return canvas.astype(np.float32) / 255.0


def _plate(rng: np.random.Generator, start: Points, end: Points, *, holes: int, half: float) -> list[Shape]:
    """A waisted plate with a screw through each hole, all seen a little from the side."""
    along = (end - start) / np.hypot(*(end - start))
    across = np.array([-along[1], along[0]])
    places = [start + (end - start) * t for t in np.linspace(0, 1, holes)]
    shapes: list[Shape] = [(_bar(start, end, half * 0.8), 1.0)]
    shapes += [(_ellipse(place, along, half * 1.25, half * 1.25), 1.0) for place in places]
    aside = rng.normal(0, 2.2) + rng.normal(0, 0.4, holes)
    shapes += [(_bar(p, p + across * 2.0 * a, 0.9), 1.0) for p, a in zip(places, aside, strict=True)]
    shapes += [(_ellipse(place, along, half * 0.4, half * 0.4), 0.55) for place in places]
    return shapes


def _radius_plate(rng: np.random.Generator, top: Points) -> list[Shape]:
    """The T-shaped plate for a broken wrist, with pegs that reach toward the joint."""
    head = spline(np.array([[-9, 13], [-4, 11], [4, 9.5], [11, 9], [13, 13], [8, 17], [3, 20], [-5, 19]], float), 5)
    pegs = [np.array([x, 12.0 - 0.16 * x]) for x in np.linspace(-6, 10, 4)]
    stem = _plate(rng, top + np.array([0.0, 18.0]), top + np.array([-1.5, 52.0]), holes=5, half=3.0)
    shapes: list[Shape] = [(_bar(top + p, top + p + (rng.normal(0, 0.8), -4.2), 0.9), 1.0) for p in pegs]
    heads = [(_ellipse(top + p, np.array([0.0, 1.0]), 0.9, 0.9), 0.6) for p in pegs]
    return [(head + top, 1.0), *stem, *shapes, *heads]


def _screw(centre: Points, along: Points, half_length: float) -> list[Shape]:
    """A headless screw; its thread shows as a row of teeth."""
    core = _bar(centre - along * half_length, centre + along * half_length, 1.0)
    teeth = [_ellipse(centre + along * half_length * t, along, 1.6, 0.4) for t in np.linspace(-0.9, 0.9, 13)]
    return [(outline, 1.0) for outline in (core, *teeth)]


def _ellipse(centre: Points, along: Points, across_half: float, along_half: float) -> Points:
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)[:, None]
    across = np.array([-along[1], along[0]])
    return np.asarray(centre + np.cos(turn) * across_half * across + np.sin(turn) * along_half * along)


def _bar(start: Points, end: Points, half: float) -> Points:
    """A bar with rounded ends."""
    along = (end - start) / max(float(np.hypot(*(end - start))), 1e-9)
    across = np.array([-along[1], along[0]])
    turn = np.linspace(0, np.pi, 9)[:, None]
    cap = np.cos(turn) * across + np.sin(turn) * along
    return np.concatenate([end + half * cap, start - half * cap])
