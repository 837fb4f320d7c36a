"""The bones of a posed hand, as outlines in millimetres.

Hand coordinates: a left hand seen from the back, thumb to the right, fingers up (y grows downward), origin in the
middle of the capitate. Lengths and widths follow the usual adult proportions of the long bones of the hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augforge.sources.class_lists import HAND_BONES

Points = NDArray[np.float64]  # (n, 2), x right and y down

DENSE = 6  # points per spline segment of a drawn outline
SPARSE = 3  # every third of them goes into the annotation
FOREARM = ("Radius", "Ulna")


@dataclass(frozen=True)
class Traits:
    """Traits that both hands of a person share. ``scale`` is 1.0 for a height of 175 cm."""

    age: int
    male: bool
    height_cm: float
    weight_kg: float
    scale: float
    stoutness: float  # width of the soft tissue, about 0.9 to 1.2
    slimness: float  # width of the bones, about 0.9 to 1.1
    spread: float  # 0 fingers together, 1 wide apart
    lengths: tuple[float, ...]  # one factor for each ray, thumb first

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Traits:
        """Random traits of a person aged 9 to 84."""
        age = int(np.clip(rng.normal(34, 19), 9, 84))
        male = bool(rng.random() < 0.5)
        adult = rng.normal(174.0 if male else 161.0, 5.5)
        height = float(round(adult * min(1.0, 0.74 + 0.26 * (age - 8) / 10), 1))
        bmi = float(np.clip(rng.normal(23.0 if age > 17 else 19.5, 2.8), 15.5, 36.0))
        return cls(
            age=age,
            male=male,
            height_cm=height,
            weight_kg=float(round(bmi * (height / 100) ** 2, 1)),
            scale=height / 175.0 * float(rng.normal(1.0, 0.015)),
            stoutness=float(np.clip(1.0 + (bmi - 23.0) * 0.018, 0.9, 1.2)),
            slimness=float(rng.normal(1.02 if male else 0.96, 0.03)),
            spread=float(rng.uniform(0.15, 1.0)),
            lengths=tuple(float(f) for f in rng.normal(1.0, 0.02, 5)),
        )

    @property
    def is_growing(self) -> bool:
        """Whether the growth plates are still open; they show as dark lines near the ends of the bones."""
        return self.age < 16


@dataclass(frozen=True)
class Bone:
    """One bone. ``axis`` runs from its base, nearer the body, to its tip; the outline is closed without repetition."""

    label: str
    kind: str  # "metacarpal", "phalanx", "distal", "carpal", "forearm", "pea"
    outline: Points
    axis: Points  # (2, 2)
    width: float  # half the width of the shaft


@dataclass(frozen=True)
class Skeleton:
    """All bones of one hand, and the chains of joints that the soft tissue surrounds."""

    bones: dict[str, Bone]
    chains: tuple[Points, ...]  # for each ray the ends of its bones, wrist to fingertip


@dataclass(frozen=True)
class _Ray:
    last: int  # number of the metacarpal's class
    base: tuple[float, float]
    angles: tuple[float, ...]  # lean of each bone in degrees, positive to the thumb's side
    splay: float  # additional lean at spread 1
    lengths: tuple[float, ...]
    widths: tuple[tuple[float, float, float], ...]  # half widths of base, shaft, head


_RAYS = (
    _Ray(3, (28.5, -7), (37, 30, 28), 11, (45, 31, 22), ((7.2, 5.0, 6.9), (7.2, 4.5, 5.9), (6.5, 3.5, 4.6))),
    _Ray(7, (13.5, -12.5), (9, 8, 6, 4), 9, (66, 40, 23, 17),
         ((7.6, 4.2, 6.8), (6.9, 4.4, 5.3), (6.2, 3.8, 4.7), (5.0, 2.6, 3.7))),
    _Ray(11, (1.5, -12.5), (1.5, 0, -1, -1), 0, (65, 44, 28, 18),
         ((6.8, 4.2, 6.8), (7.0, 4.6, 5.6), (6.5, 4.0, 5.0), (5.3, 2.8, 3.9))),
    _Ray(15, (-9.5, -13), (-5.5, -5, -4, -3), -6, (58, 41, 26, 18),
         ((5.6, 3.5, 6.0), (6.5, 4.2, 5.2), (6.1, 3.8, 4.8), (5.1, 2.7, 3.8))),
    _Ray(19, (-17.5, -11.5), (-14.5, -14, -10, -6), -12, (53, 32, 19, 16),
         ((6.2, 3.7, 5.8), (5.9, 3.5, 4.5), (5.1, 3.1, 4.0), (4.4, 2.3, 3.3))),
)  # fmt: skip

# One side of a long bone: position along the axis, then the shares of base, shaft and head in the half width there.
_PROFILES = {
    "metacarpal": ((-0.005, 0.62, 0, 0), (0.03, 1, 0, 0), (0.12, 0.86, 0, 0), (0.27, 0.22, 0.78, 0), (0.5, 0, 1, 0),
                   (0.7, 0, 0.85, 0.15), (0.83, 0, 0.28, 0.72), (0.91, 0, 0, 1), (0.97, 0, 0, 0.78), (1, 0, 0, 0.35)),
    "phalanx": ((0.022, 0.4, 0, 0), (0, 0.84, 0, 0), (0.055, 1, 0, 0), (0.16, 0.72, 0.28, 0), (0.33, 0.18, 0.82, 0),
                (0.58, 0, 1, 0), (0.78, 0, 0.62, 0.38), (0.9, 0, 0, 1), (0.965, 0, 0, 0.92), (0.995, 0, 0, 0.5)),
    "distal": ((0.01, 0.45, 0, 0), (0, 0.85, 0, 0), (0.07, 1, 0, 0), (0.2, 0.6, 0.4, 0), (0.38, 0.1, 0.9, 0),
               (0.58, 0, 1, 0), (0.75, 0, 0.45, 0.55), (0.87, 0, 0, 1), (0.95, 0, 0, 0.8), (1, 0, 0, 0.35)),
}  # fmt: skip

# Projected outlines of the wrist. They overlap where the bones lie behind one another.
_WRIST: dict[str, tuple[tuple[float, float], ...]] = {
    "Trapezium": ((14.5, -9), (19, -11.5), (25, -9.5), (28, -5), (26.5, 0.5), (22, 3.5), (17, 3.5), (13.5, -1)),
    "Trapezoid": ((6.5, -10.5), (11.5, -13.8), (17, -12.5), (18, -7), (16, -1), (11, 1), (7.5, -2)),
    "Capitate": ((-6, -12.5), (0, -14.2), (6.8, -13), (7.4, -7.5), (5.6, -1), (6, 5), (3.4, 10), (-1.5, 11),
                 (-5.3, 7), (-5, 0), (-6.5, -7)),
    "Hamate": ((-20, -11), (-13.5, -14.5), (-6, -13.6), (-4.2, -7), (-3.6, 1), (-4.6, 8.4), (-8.5, 7), (-14, 1.5),
               (-19.5, -5)),
    "Scaphoid": ((0.8, 15), (3, 9.6), (8, 5.4), (12, 0), (16.5, -0.4), (19.4, 3.8), (18, 9), (13.5, 13.8),
                 (8.5, 17.6), (3.6, 18.8)),
    "Lunate": ((-12.8, 13.2), (-9.5, 9.2), (-4, 9), (1.2, 11.4), (2.2, 16), (-1.5, 20.6), (-7.5, 21.4), (-12, 18.2)),
    "Triquetrum": ((-24, 1), (-19.5, -1.5), (-14, 3.6), (-9.8, 9.4), (-11.4, 14.2), (-16.5, 15), (-22, 10.5)),
    "Pisiform": ((-22, 6.8), (-19.6, 2.8), (-16, 3.4), (-14, 7.6), (-15.2, 12), (-18.8, 13.2), (-21.6, 11)),
    "Radius": ((22, 13), (16.5, 14.6), (9, 17.8), (1, 20.6), (-6.5, 22.4), (-9.4, 24.6), (-9, 31), (-6, 42), (-3.5, 60),
               (-2.5, 110), (-2.5, 180), (13, 180), (13, 110), (14.5, 60), (18, 43), (21.6, 31), (24, 22), (24.4, 16)),
    "Ulna": ((-27, 21.8), (-25, 22.8), (-21, 24.6), (-14, 25), (-11.4, 28), (-12, 35), (-14.4, 46), (-15.2, 62),
             (-15.2, 110), (-15.2, 180), (-25.4, 180), (-25.4, 110), (-25.4, 62), (-26, 46), (-28, 35), (-28.8, 27)),
}  # fmt: skip


def pose_hand(rng: np.random.Generator, traits: Traits, bent: tuple[int, ...] = ()) -> Skeleton:
    """The skeleton of a left hand in millimetres. ``bent`` are the rays with bent fingers, 1 (index) to 4 (little)."""
    bones: dict[str, Bone] = {}
    chains = []
    spread = float(np.clip(traits.spread + rng.normal(0, 0.1), 0.05, 1.1))
    for number, ray in enumerate(_RAYS):
        ray_bones, chain = _pose_ray(rng, traits, ray, number, spread, number in bent)
        bones.update((bone.label, bone) for bone in ray_bones)
        chains.append(chain)
    bones.update((bone.label, bone) for bone in _wrist(rng, traits))
    ordered = {label: bones.pop(label) for label in HAND_BONES}
    thumb = ordered["finger-3"].axis
    inward = direction(lean_of(thumb) - 90.0)
    beside = thumb[0] + 0.97 * (thumb[1] - thumb[0]) + inward * 7.4 * traits.scale
    ordered["sesamoid"] = _pea("sesamoid", beside, np.array([2.0, 2.5]) * traits.scale)
    hook = np.array([-12.5, -5.0]) * traits.scale + rng.normal(0, 0.4, 2)
    ordered["hook"] = _pea("hook", hook, np.array([2.3, 3.2]) * traits.scale)
    return Skeleton(ordered, tuple(chains))


def spline(points: Points, per_segment: int) -> Points:
    """A closed Catmull-Rom curve through (n, 2) points: (n * per_segment, 2), beginning at the first point."""
    p0, p1, p2, p3 = (np.roll(points, shift, axis=0)[:, None] for shift in (1, 0, -1, -2))
    t = (np.arange(per_segment) / per_segment)[None, :, None]
    curve = 2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    return np.asarray(0.5 * curve.reshape(-1, 2), np.float64)


def direction(degrees: float) -> Points:
    """The unit vector (2,) that leans to the right of straight up by this many degrees."""
    lean = np.radians(degrees)
    return np.array([np.sin(lean), -np.cos(lean)])


def lean_of(axis: Points) -> float:
    """The lean of a (2, 2) axis from straight up in degrees, positive to the right."""
    dx, dy = axis[1] - axis[0]
    return float(np.degrees(np.arctan2(dx, -dy)))


def _pose_ray(
    rng: np.random.Generator, traits: Traits, ray: _Ray, number: int, spread: float, bent: bool
) -> tuple[list[Bone], Points]:
    """The bones of one ray, from the metacarpal outward, and the ends of their axes."""
    wobble = rng.normal(0, 1.2, len(ray.lengths))
    leans = np.array(ray.angles) + wobble + ray.splay * spread * np.array([0.12, 1, 0.95, 0.9])[: len(wobble)]
    factors = traits.lengths[number] * rng.normal(1.0, 0.012, len(wobble))
    if number == 0:
        leans += rng.normal(0, 6) + np.cumsum(rng.normal(0, 4, 3))
    if bent:  # flexed joints: seen from above the outer bones are shorter and lean aside
        aside = rng.choice([-1.0, 1.0]) if number not in (1, 4) else (-1.0 if number == 1 else 1.0)
        leans += aside * np.cumsum([0, rng.uniform(1, 5), rng.uniform(12, 24), rng.uniform(8, 16)])
        factors = factors * np.array([1, 0.95, rng.uniform(0.68, 0.85), rng.uniform(0.6, 0.8)])
    start = np.array(ray.base) * traits.scale + rng.normal(0, 0.5, 2)
    bones, chain = [], [start]
    for step, (lean, factor) in enumerate(zip(leans, factors, strict=True)):
        kind = "metacarpal" if step == 0 else "distal" if step == len(leans) - 1 else "phalanx"
        tip = start + direction(float(lean)) * ray.lengths[step] * traits.scale * float(factor)
        widths = np.array(ray.widths[step]) * traits.scale * traits.slimness
        bones.append(_long_bone(rng, f"finger-{ray.last - step}", kind, np.array([start, tip]), widths))
        chain.append(tip)
        gap = 2.0 if traits.is_growing else 1.5  # cartilage does not show
        start = tip + direction(float(lean)) * gap * traits.scale
    return bones, np.array(chain)


def _long_bone(rng: np.random.Generator, label: str, kind: str, axis: Points, widths: Points) -> Bone:
    """A bone with a flared base, a waist and a rounded head around its axis."""
    profile = np.array(_PROFILES[kind])
    half = profile[:, 1:] @ widths
    along = np.concatenate([profile[:, 0], profile[::-1, 0]])
    across = np.concatenate([half, -half[::-1]]) * rng.normal(1.0, 0.022, 2 * len(half))
    bow = rng.normal(0, 0.35) * 4 * along * (1 - along)
    along_axis = axis[1] - axis[0]
    normal = np.array([-along_axis[1], along_axis[0]]) / np.hypot(*along_axis)
    control = axis[0] + along[:, None] * along_axis + (across + bow)[:, None] * normal
    return Bone(label, kind, spline(control, DENSE), axis, float(widths[1]))


def _wrist(rng: np.random.Generator, traits: Traits) -> list[Bone]:
    """Carpals, radius and ulna, each varied a little from the table."""
    stretch = traits.scale * rng.normal(1.0, 0.015, 2)
    bones = []
    for label, table in _WRIST.items():
        forearm = label in FOREARM
        control = np.array(table) + rng.normal(0, 0.2 if forearm else 0.35, (len(table), 2)) + rng.normal(0, 0.25, 2)
        control *= stretch
        middle = control.mean(axis=0)
        top, bottom = control[control[:, 1].argmin()], control[control[:, 1].argmax()]
        axis = np.array([[middle[0], bottom[1]], [middle[0], top[1]]])
        width = float(np.ptp(control[:, 0])) / 2
        bones.append(Bone(label, "forearm" if forearm else "carpal", spline(control, DENSE), axis, width))
    return bones


def _pea(label: str, centre: Points, radii: Points) -> Bone:
    """A small round body that is visible but not annotated: the sesamoid of the thumb, the hook of the hamate."""
    turn = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    control = centre + np.stack([np.cos(turn), np.sin(turn)], axis=1) * radii
    return Bone(label, "pea", spline(control, DENSE), np.array([centre + radii, centre - radii]), float(radii[0]))
