"""The picture: soft tissue and bone attenuate the beam, and the film and its frame record the rest.

Attenuation is summed as a dimensionless depth (``exp(-depth)`` of the beam passes) and converted to gray values at the
end, so that overlapping bones are brighter, as on a real radiograph.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge.phantom.anatomy import Bone, Points, Skeleton, Traits
from augforge.phantom.placement import Placement, rotation

Image = NDArray[np.float32]

_GRID = 256  # the distance to the skin is smooth: it is computed on a coarse grid and enlarged
_SHIFT = 4
_MELT = 1.9  # mm over which neighbouring parts merge smoothly
_ROUND = 10.0  # mm below the skin where the tissue has its full thickness
_THICKER = ((-110.0, -80.0, -50.0, -25.0, 0.0, 20.0, 60.0), (1.0, 1.15, 1.6, 2.05, 2.6, 3.1, 3.0))
_CORTEX = {"metacarpal": 1.9, "phalanx": 1.6, "distal": 1.0, "carpal": 0.8, "forearm": 1.7, "pea": 0.8}
_DENSITY = {"metacarpal": 0.62, "phalanx": 0.56, "distal": 0.4, "carpal": 0.56, "forearm": 0.78, "pea": 0.16}


@dataclass(frozen=True)
class Film:
    """How the picture was taken. Gray values are 0..255."""

    air: float  # gray value where nothing attenuates the beam
    shielded: float  # gray value outside the exposed area
    tissue: float  # attenuation by tissue
    bone: float  # attenuation by bone
    gamma: float
    slope: Points  # (2,) change of the air level across the picture
    noise: float
    edge: float  # brightness of the exposed area's rim, 0 none

    @classmethod
    def draw(cls, rng: np.random.Generator, style: str) -> Film:
        """A random film: "gray", bright in a lighter frame; "dark", with black air; or "plain", anything between."""
        air = {"gray": rng.uniform(52, 84), "dark": rng.uniform(1, 7), "plain": rng.uniform(12, 48)}[style]
        lighter = rng.uniform(22, 45) if rng.random() < 0.6 else -0.35 * air
        return cls(
            air=float(air),
            shielded=0.0 if style == "dark" else float(air + lighter),
            tissue=float(rng.uniform(1.1, 1.45)),
            bone=float(rng.uniform(1.15, 1.55)),
            gamma=float(rng.uniform(0.9, 1.12)),
            slope=rng.normal(0, 5.0 if style != "dark" else 0.8, 2),
            noise=float(rng.uniform(0.7, 1.9)),
            edge=float(rng.uniform(15, 50)) if rng.random() < 0.5 else 0.0,
        )


def expose(rng: np.random.Generator, skeleton: Skeleton, traits: Traits, placement: Placement, film: Film) -> Image:
    """The radiograph without metal and marks: float32 (size, size), gray values of about 0 to 255."""
    depth = _tissue(skeleton, traits, placement) * film.tissue
    bones = _bones(rng, skeleton, traits, placement)
    depth += bones * film.bone
    rise = 1.0 - np.exp(-depth)
    air = film.air + _air_variation(placement.size, film)
    gray = air + (250.0 - air) * (rise if film.gamma == 1 else np.power(rise, film.gamma))
    grain = rng.standard_normal(gray.shape, dtype=np.float32)
    gray = cv2.GaussianBlur(gray, (0, 0), 0.55 + 0.25 * placement.size / 1024)
    gray += cv2.GaussianBlur(grain, (0, 0), 0.6) * (film.noise * (0.9 + 1.2 * rise))
    return np.asarray(gray, np.float32)


def shield(gray: Image, placement: Placement, film: Film) -> Image:
    """Cover the film outside the exposed area; some films have a bright rim along it."""
    inside = np.zeros(gray.shape, np.uint8)
    fixed = np.rint(np.clip(placement.exposed, -3e4, 3e4) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillConvexPoly(inside, fixed, 255, cv2.LINE_AA, _SHIFT)
    if inside.min() == 255:
        return gray
    if film.edge:
        rim = max(1, round(placement.size / 700))
        cv2.line(gray, _pixel(placement.exposed[0]), _pixel(placement.exposed[1]), film.air + film.edge * 2, rim)
    share = inside.astype(np.float32) / 255.0
    return np.asarray(film.shielded + (gray - film.shielded) * share, np.float32)


def mark(rng: np.random.Generator, gray: Image, placement: Placement, letter: str, kind: str) -> Image:
    """Draw a side marker, a "letter" or a "block", into a lower corner of the exposed area."""
    size = placement.size
    patch = np.zeros((96, 96), np.uint8)
    if kind == "letter":
        cv2.putText(patch, letter, (18, 78), cv2.FONT_HERSHEY_SIMPLEX, 2.9, 255, 9, cv2.LINE_AA)
        level, height = 250.0, 0.055 * size
    else:
        patch[4:92, 34:62] = 255
        patch[70:80, 40:56] = 90
        level, height = float(rng.choice([2.0, 20.0, 215.0, 252.0])), rng.uniform(0.1, 0.16) * size
    span = size - 1.0
    corner = np.array([0.06 if letter == "R" else 0.94, rng.uniform(0.8, 0.9)]) * span
    low, high = np.clip(placement.exposed.min(axis=0), 0, span), np.clip(placement.exposed.max(axis=0), 0, span)
    if placement.frame_lean == 0:
        corner[0] = low[0] + 0.045 * size if letter == "R" else high[0] - 0.045 * size
    turn = rotation(placement.frame_lean) * (height / 96)
    matrix = np.column_stack([turn, corner - turn @ np.array([48.0, 48.0])])
    share = cv2.warpAffine(patch, matrix, (size, size), flags=cv2.INTER_LINEAR).astype(np.float32) / 255.0
    return np.asarray(gray + (level - gray) * share, np.float32)


def _tissue(skeleton: Skeleton, traits: Traits, placement: Placement) -> Image:
    """Depth of the soft tissue at each pixel, (size, size)."""
    size = placement.size
    grid = min(size, _GRID)
    centres = (np.arange(grid) + 0.5) * size / grid - 0.5
    x, y = np.meshgrid(centres, centres)
    points = placement.millimetres(np.stack([x.ravel(), y.ravel()], axis=1)).astype(np.float32)
    total = np.zeros(len(points), np.float32)
    for start, end, r0, r1 in _flesh(skeleton, traits):
        total += np.exp(np.minimum(-_distance(points, start, end, r0, r1) / _MELT, 60.0))
    below_skin = _MELT * np.log(np.maximum(total, np.float32(1e-20)))
    thicker = np.interp(points[:, 1] / traits.scale, *_THICKER).astype(np.float32)
    enlarge = [cv2.resize(a.reshape(grid, grid), (size, size), interpolation=cv2.INTER_CUBIC)
               for a in (below_skin, thicker)]  # fmt: skip
    into = np.clip(enlarge[0] / (_ROUND * traits.scale), 0.0, 1.0)
    return np.asarray(np.sqrt(into * (2.0 - into)) * enlarge[1] * (0.25 * traits.scale), np.float32)


def _flesh(skeleton: Skeleton, traits: Traits) -> list[tuple[Points, Points, float, float]]:
    """Tapered capsules (start, end, radii) in mm that fingers, palm, wrist and forearm are made of."""
    parts: list[tuple[Points, Points, float, float]] = []
    size, stout = traits.scale, traits.scale * traits.stoutness
    for number, chain in enumerate(skeleton.chains):
        radii = [9.5, 9.8, 9.6, 8.0] if number == 0 else [9.5, 9.3, 8.6, 7.5, 6.3]
        slim = (1.0, 0.98, 1.0, 0.96, 0.84)[number] * stout
        for step, (a, b) in enumerate(pairwise(chain)):
            beyond = (b - a) / np.hypot(*(b - a)) * (0.8 * size if step == len(chain) - 2 else 0.0)
            parts.append((a, b + beyond, radii[step] * slim, radii[step + 1] * slim))
    webs = [(chain[0], chain[1] + (chain[2] - chain[1]) * 0.3) for chain in skeleton.chains[1:]]
    for (a0, a1), (b0, b1) in pairwise(webs):
        parts.append(((a0 + b0) / 2, (a1 + b1) / 2, 8.0 * size, 8.0 * size))
        parts.append((a1, b1, 7.0 * size, 7.0 * size))
    thumb, index = skeleton.chains[0], skeleton.chains[1]
    for t, u, r in ((0.2, 0.1, 10.0), (0.35, 0.24, 10.0), (0.5, 0.36, 9.0), (0.64, 0.46, 8.0), (0.76, 0.54, 6.0)):
        parts.append((thumb[0] + (thumb[1] - thumb[0]) * t, index[0] + (index[1] - index[0]) * u, r * size, r * size))
    wrist = (((-16, -14), (-14, 18), 11, 15), ((14, -8), (10, 22), 16, 16), ((-14, 18), (-14, 80), 15, 16),
             ((10, 22), (5, 80), 16, 18), ((-14, 80), (-16, 180), 16, 20), ((5, 80), (6, 180), 18, 22),
             ((0, -20), (-3, 20), 14, 14))  # fmt: skip
    parts += [(np.array(a) * size, np.array(b) * size, r0 * stout, r1 * stout) for a, b, r0, r1 in wrist]
    return parts


def _distance(points: Image, start: Points, end: Points, r0: float, r1: float) -> Image:
    """Signed distance (n,) of (n, 2) points from a capsule whose radius goes from r0 to r1; negative inside."""
    (dx, dy), x, y = end - start, points[:, 0] - np.float32(start[0]), points[:, 1] - np.float32(start[1])
    dx, dy = np.float32(dx), np.float32(dy)
    t = np.clip((x * dx + y * dy) / (dx * dx + dy * dy), 0.0, 1.0)
    off_axis = np.sqrt((x - t * dx) ** 2 + (y - t * dy) ** 2)
    return np.asarray(off_axis - np.float32(r0) - t * np.float32(r1 - r0), np.float32)


def _bones(rng: np.random.Generator, skeleton: Skeleton, traits: Traits, placement: Placement) -> Image:
    """Depth of all bones together, (size, size)."""
    size = placement.size
    depth = np.zeros((size, size), np.float32)
    texture = _trabeculae(rng, placement)
    for bone in skeleton.bones.values():
        outline = placement.pixels(bone.outline)
        low = np.maximum(np.floor(outline.min(axis=0)).astype(int) - 2, 0)
        high = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + 3, size)
        if np.any(high <= low):
            continue
        window = (slice(low[1], high[1]), slice(low[0], high[0]))
        depth[window] += _bone_depth(bone, outline, low, high, traits, placement) * (1.0 + texture[window])
    return depth


def _bone_depth(
    bone: Bone, outline: Points, low: NDArray[np.int_], high: NDArray[np.int_], traits: Traits, placement: Placement
) -> Image:
    """Depth of one bone in the window low..high: a dense shell around a softer core, open growth plates darker."""
    width, height = high - low
    cover = np.zeros((height, width), np.uint8)
    cv2.fillPoly(cover, [np.rint((outline - low) * (1 << _SHIFT)).astype(np.int32)], 255, cv2.LINE_AA, _SHIFT)
    padded = cv2.copyMakeBorder((cover > 127).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    inward = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1] / np.float32(placement.scale)  # mm
    along = _along(bone, low, high, placement)
    shaft = np.exp(-(((along - 0.5) / 0.27) ** 2)) if bone.kind not in ("carpal", "pea") else 0.0 * along
    if bone.kind == "forearm":
        shaft = np.clip((0.93 - along) / 0.15, 0.0, 1.0)
    shell = np.float32(0.55) + (_CORTEX[bone.kind] * traits.scale - 0.55) * shaft
    rim = np.exp(-(((inward - 0.6 * shell) / shell) ** 2))
    core = 0.7 - 0.3 * shaft + 0.16 * (1.0 - shaft) * np.clip(inward / 5.0, 0.0, 1.0)
    rounded = np.clip(0.22 + inward / (1.5 - 0.8 * shaft), 0.0, 1.0)  # thin at the edge, like round bodies
    depth = cover / np.float32(255) * rounded * (core + (0.3 + 0.46 * shaft) * rim)
    if traits.is_growing:
        depth *= _growth_plate(bone, along)
    return np.asarray(depth * _DENSITY[bone.kind] * traits.scale, np.float32)


def _along(bone: Bone, low: NDArray[np.int_], high: NDArray[np.int_], placement: Placement) -> Image:
    """Position along the bone's axis at each pixel of a window, 0 at its base and 1 at its tip."""
    base, tip = placement.pixels(bone.axis)
    axis = (tip - base) / ((tip - base) @ (tip - base))
    x = (np.arange(low[0], high[0]) - base[0]) * axis[0]
    y = (np.arange(low[1], high[1]) - base[1]) * axis[1]
    return np.asarray(x[None, :] + y[:, None], np.float32)


def _growth_plate(bone: Bone, along: Image) -> Image:
    """A factor for the depth of a growing bone: a dark seam of cartilage between two dense lines, near one end."""
    if bone.kind in ("carpal", "pea"):
        return np.ones_like(along)
    length = float(np.hypot(*(bone.axis[1] - bone.axis[0])))
    at_head = bone.kind == "forearm" or (bone.kind == "metacarpal" and bone.label != "finger-3")
    away = (1.0 - along if at_head else along) * length
    seam = away - {"forearm": 13.0, "metacarpal": 9.0}.get(bone.kind, 3.6)
    dense, dark = np.exp(-((np.abs(seam) - 1.3) ** 2)), np.exp(-((seam / 0.75) ** 2))
    return np.asarray(1.0 + 0.28 * dense - 0.62 * dark, np.float32)


def _trabeculae(rng: np.random.Generator, placement: Placement) -> Image:
    """The fine grain inside bones, (size, size), around 0: short strands along the hand and coarser spots."""
    grain = np.zeros((placement.size, placement.size), np.float32)
    for across, along, strength in ((0.36, 1.1, 0.075), (0.8, 1.0, 0.05)):  # mm
        tile = rng.standard_normal((512, 512), dtype=np.float32) * np.float32(strength)
        onto = np.column_stack([placement.matrix @ np.diag([across, along]), placement.offset])
        grain += cv2.warpAffine(tile, onto, grain.shape, borderMode=cv2.BORDER_WRAP)
    return grain


def _air_variation(size: int, film: Film) -> Image:
    """Heel effect and vignetting: deviation of the air level at each pixel."""
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    tilt = ramp[None, :] * np.float32(film.slope[0]) + ramp[:, None] * np.float32(film.slope[1])
    return np.asarray(tilt - np.float32(0.06 * film.air) * (ramp[None, :] ** 2 + ramp[:, None] ** 2), np.float32)


def _pixel(point: Points) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
