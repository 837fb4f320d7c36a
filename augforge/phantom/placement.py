"""Where a hand is in the picture: the map from millimetres to pixels, and the exposed part of the film."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augforge.phantom.anatomy import FOREARM, Points, Skeleton, lean_of

_FULL_SCALE = 4.0 / 1024  # pixels per millimetre and per pixel of the picture's side
_SKIN = 9.0  # mm of soft tissue around the outermost bones
_MARGIN = 0.03  # share of the picture that stays free around the hand


@dataclass(frozen=True)
class Placement:
    """Pixel = matrix @ hand point + offset. Integer pixel coordinates are pixel centres."""

    matrix: Points  # (2, 2)
    offset: Points  # (2,)
    scale: float  # pixels per millimetre
    size: int
    exposed: Points  # (4, 2) pixels, clockwise: the film was shielded outside
    frame_lean: float  # degrees by which the film is turned

    def pixels(self, points: Points) -> Points:
        """Hand millimetres (n, 2) to pixels (n, 2)."""
        return _transform(points, self.matrix) + self.offset

    def millimetres(self, pixels: Points) -> Points:
        """Pixels (n, 2) to hand millimetres (n, 2)."""
        return _transform(pixels - self.offset, np.asarray(np.linalg.inv(self.matrix), np.float64))

    def visible(self, outline: Points) -> NDArray[np.int64]:
        """The part of an outline, in pixels, that is inside the exposed area and the picture; rounded, int64 (n, 2)."""
        border = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (self.size - 1.0)
        shown = np.rint(clip_convex(clip_convex(outline, self.exposed), border)).astype(np.int64)
        return np.asarray(shown[np.any(shown != np.roll(shown, 1, axis=0), axis=1)])


def place_hand(
    rng: np.random.Generator,
    skeleton: Skeleton,
    size: int,
    *,
    right: bool,
    enlarge: float,
    lean: float,
    turned: bool,
    framed: bool,
) -> Placement:
    """Place a hand in a square picture so that its middle finger leans by ``lean`` degrees.

    An upright forearm leaves the picture at the lower border.

    Args:
        rng: varies scale, offset and margins.
        skeleton: of a left hand, in millimetres.
        size: side of the picture in pixels.
        right: mirror it to a right hand.
        enlarge: factor on the usual scale: children's hands are imaged larger.
        lean: degrees, positive to the right.
        turned: whether the hand, and the film with it, was turned.
        framed: whether the exposed area is smaller than the picture.
    """
    mirror = np.diag([-1.0 if right else 1.0, 1.0])
    middle = np.array([skeleton.bones["finger-11"].axis[0], skeleton.bones["finger-8"].axis[1]])
    turn = rotation(lean - lean_of(middle @ mirror)) @ mirror
    frame_lean = lean if turned else 0.0
    posed = np.concatenate([bone.outline for bone in skeleton.bones.values() if bone.label not in FOREARM]) @ turn.T
    box = _box_in_frame(rng, posed, frame_lean)

    reach = posed if not turned else np.concatenate([posed, _corners(box, 0)[2:] @ rotation(frame_lean).T])
    low, high = reach.min(axis=0) - _SKIN, reach.max(axis=0) + _SKIN
    if not turned:
        high[1] = box[3]
    scale = min(_FULL_SCALE * rng.uniform(0.98, 1.06) * enlarge, float(np.min((1 - 2 * _MARGIN) / (high - low)))) * size
    offset = size / 2 - scale * (low + high) / 2 + rng.uniform(-0.015, 0.015, 2) * size
    if not turned:  # cut the forearm off at the lower border
        offset[1] = size - 1 - scale * high[1]
    elif not framed:  # push the wrist toward the corner through which the forearm leaves
        offset[1] = (1 - _MARGIN) * size - scale * (posed[:, 1].max() + _SKIN)
    margin = rng.uniform(9, 22) if framed else 1000.0
    exposed = _corners(box, margin, keep_bottom=framed and turned) @ rotation(frame_lean).T * scale + offset
    return Placement(scale * turn, offset, scale, size, exposed, frame_lean)


def rotation(degrees: float) -> Points:
    """The 2x2 matrix that turns a picture clockwise."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s], [s, c]])


def _transform(points: Points, matrix: Points) -> Points:
    """matrix @ point for (n, 2) points, written out: BLAS may round differently with another number of threads."""
    x, y = points[:, 0], points[:, 1]
    return np.stack([matrix[0, 0] * x + matrix[0, 1] * y, matrix[1, 0] * x + matrix[1, 1] * y], axis=1)


def clip_convex(polygon: Points, window: Points) -> Points:
    """The part of a polygon, (n, 2), inside a convex window whose corners run clockwise on the screen."""
    for start, end in zip(window, np.roll(window, -1, axis=0), strict=True):
        along = end - start
        side = along[0] * (polygon[:, 1] - start[1]) - along[1] * (polygon[:, 0] - start[0])
        if np.all(side >= 0):
            continue
        following, next_side = np.roll(polygon, -1, axis=0), np.roll(side, -1)
        kept: list[Points] = []
        for point, after, here, there in zip(polygon, following, side, next_side, strict=True):
            if here >= 0:
                kept.append(point)
            if (here >= 0) != (there >= 0):
                kept.append(point + (after - point) * here / (here - there))
        if not kept:
            return np.empty((0, 2))
        polygon = np.array(kept)
    return polygon


def _box_in_frame(rng: np.random.Generator, posed: Points, frame_lean: float) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the hand along the directions of the film, in mm; the bottom cuts the forearm."""
    in_frame = posed @ rotation(-frame_lean).T
    low, high = in_frame.min(axis=0) - _SKIN, in_frame.max(axis=0) + _SKIN
    return float(low[0]), float(low[1]), float(high[0]), float(high[1] + rng.uniform(8, 22))


def _corners(box: tuple[float, float, float, float], margin: float, keep_bottom: bool = True) -> Points:
    left, top, right, bottom = box
    below = bottom if keep_bottom else bottom + 1000.0
    return np.array(
        [[left - margin, top - margin], [right + margin, top - margin], [right + margin, below], [left - margin, below]]
    )
