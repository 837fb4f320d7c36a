"""Bit-planes against one mask per class: 2048x2048, 29 overlapping bones, one core, best of several runs.

python benchmarks/bitmask.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from augforge import bitmask
from augforge.ops.covering import cover_planes, move_planes
from augforge.ops.geometry import sample_planes
from augforge.ops.warp import map_centre, rotation_terms

SIZE, CLASSES = 2048, 29


def best_ms(work: Callable[[], Any], runs: int = 9) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def bones() -> list[tuple[int, list[np.ndarray]]]:
    """29 rotated ovals of 150 points, each a few hundred pixels long, overlapping their neighbours."""
    rng = np.random.default_rng(0)
    turn = np.linspace(0, 2 * np.pi, 150, endpoint=False)
    shapes = []
    for c in range(CLASSES):
        angle, centre = rng.uniform(0, np.pi), rng.uniform(300, 1750, 2)
        oval = np.stack([np.cos(turn) * rng.uniform(120, 220), np.sin(turn) * rng.uniform(40, 90)], axis=1)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shapes.append((c, [oval @ rotation + centre]))
    return shapes


def fill_each(polygons: list[tuple[int, list[np.ndarray]]]) -> list[np.ndarray]:
    masks = [np.zeros((SIZE, SIZE), np.uint8) for _ in polygons]
    for c, rings in polygons:
        cv2.fillPoly(masks[c], [np.rint(ring).astype(np.int32) for ring in rings], (255,))
    return masks


def by_area(masks: list[np.ndarray], size: int) -> list[np.ndarray]:
    return [cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA) >= 128 for mask in masks]


def turned(scale: float) -> np.ndarray:
    """The matrix of a turn by 7 degrees about the centre, and of a factor."""
    a, b, c, d = (scale * value for value in rotation_terms(7))
    return np.array(map_centre((a, b, c, d), (SIZE, SIZE), (SIZE, SIZE)))


def warped(masks: list[np.ndarray], matrix: np.ndarray) -> list[np.ndarray]:
    return [cv2.warpAffine(mask, matrix, (SIZE, SIZE), flags=cv2.INTER_NEAREST) for mask in masks]


def nearest(masks: list[np.ndarray], size: int) -> list[np.ndarray]:
    return [cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST_EXACT) for mask in masks]


def main() -> None:
    cv2.setNumThreads(1)
    polygons = bones()
    masks = fill_each(polygons)
    planes = bitmask.rasterise(polygons, SIZE, SIZE, CLASSES)
    layers = bitmask.planar(planes)
    stored, view = bitmask.encode(planes), np.moveaxis(layers, 0, -1)
    pngs = [cv2.imencode(".png", mask)[1] for mask in masks]
    everything, pairs = bitmask.all_bits(CLASSES), [(0, 1), (2, 20)]
    rows: list[tuple[str, Callable[[], Any], Callable[[], Any] | None]] = [
        ("rasterise", lambda: bitmask.rasterise(polygons, SIZE, SIZE, CLASSES), lambda: fill_each(polygons)),
        ("from_masks", lambda: bitmask.from_masks(masks), None),
        (
            "areas_and_boxes",
            lambda: bitmask.areas_and_boxes(planes, CLASSES),
            lambda: [(cv2.countNonZero(mask), cv2.boundingRect(mask)) for mask in masks],
        ),
        ("areas_and_boxes, planar view", lambda: bitmask.areas_and_boxes(view, CLASSES), None),
        (
            "encode",
            lambda: bitmask.encode(planes),
            lambda: [cv2.imencode(".png", mask) for mask in masks],
        ),
        ("encode, planar view", lambda: bitmask.encode(view), None),
        (
            "decode",
            lambda: bitmask.decode(stored, SIZE, SIZE, CLASSES),
            lambda: [cv2.imdecode(png, cv2.IMREAD_GRAYSCALE) for png in pngs],
        ),
        (
            "flip",
            lambda: bitmask.per_plane(lambda part: cv2.flip(part, 1), planes),
            lambda: [cv2.flip(mask, 1) for mask in masks],
        ),
        *(
            (
                f"shrink to {size}",
                lambda size=size: bitmask.shrink(planes, size, size),
                lambda size=size: by_area(masks, size),
            )
            for size in (1024, 700, 512)
        ),
        ("shrink to 1024, planar view", lambda: bitmask.shrink(view, 1024, 1024), None),
        ("nearest exact to 1024", lambda: sample_planes(planes, 1024, 1024), lambda: nearest(masks, 1024)),
        ("nearest exact to 1024, planar view", lambda: sample_planes(view, 1024, 1024), None),
        *(
            (
                f"warp by {scale} by {name}",
                lambda move=move, scale=scale: move(planes, turned(scale), (SIZE, SIZE)),
                lambda scale=scale: warped(masks, turned(scale)),
            )
            for scale in (1, 0.5)
            for name, move in (("nearest", move_planes), ("area", cover_planes))
        ),
        ("planar", lambda: bitmask.planar(planes), lambda: np.ascontiguousarray(np.moveaxis(planes, -1, 0))),
        ("interleave", lambda: bitmask.interleave(layers), lambda: np.ascontiguousarray(view)),
        ("to_masks", lambda: sum(1 for _ in bitmask.to_masks(planes, CLASSES)), None),
        ("union", lambda: bitmask.union(planes), lambda: np.bitwise_or.reduce(masks)),
        ("overlap_count", lambda: bitmask.overlap_count(planes), None),
        ("keep", lambda: bitmask.keep(planes, everything), None),
        ("swap_classes", lambda: bitmask.swap_classes(planes, pairs), None),
    ]
    print(f"{'':36}{'planes':>10}{'29 masks or numpy':>20}")
    for name, ours, plain in rows:
        print(f"{name:36}{best_ms(ours):7.2f} ms" + (f"{best_ms(plain, 3):17.2f} ms" if plain else ""))
    print(f"stored: {len(stored)} bytes; as PNGs {sum(map(len, pngs))} bytes")


if __name__ == "__main__":
    main()
