"""How far from upright `rotate_normalise` leaves hands whose lean is known, by their masks and by the image alone.

python benchmarks/quality/upright.py DATA                 a hand-bone folder with truth.csv
python benchmarks/quality/upright.py --phantom 60         generated hands of so many persons
python benchmarks/quality/upright.py DATA --changed       also the same hands turned further, mirrored, dimmer, noisy
python benchmarks/quality/upright.py DATA --sheet out.png and a contact sheet of what the image alone gave

truth.csv has the columns image and tilt_deg: degrees by which the middle finger, from finger-11's base to finger-8's
tip, leans to the right. The residual is the lean that is left: truth less the angle turned by, 0 if untouched.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from augforge.cache.filecache import FileCache
from augforge.ops import Context
from augforge.ops.upright import RotateNormalise, rotate_normalise
from augforge.phantom import write_phantom
from augforge.sample import Sample
from augforge.sources.class_lists import HAND_BONES
from augforge.sources.formats.hand_bone import HandBone

AXES: dict[str, Any] = {
    "labels: finger-11 to finger-8": {"from": ["finger-11"], "to": ["finger-8"]},
    "image": "image",
}
TILE = 300


@dataclass(frozen=True)
class Result:
    """A hand, what the op made of it, and how far from upright that is."""

    name: str
    truth: float
    made: Sample
    turned: float
    ms: float

    @property
    def residual(self) -> float:
        return (self.truth - self.turned + 180) % 360 - 180


@dataclass(frozen=True)
class Change:
    """Another picture of the same hand, and the lean it then has."""

    image: Callable[[np.ndarray], np.ndarray]
    lean: Callable[[float], float] = lambda degrees: degrees


def clockwise(degrees: float, fill: int) -> Change:
    def turn(image: np.ndarray) -> np.ndarray:
        size = (image.shape[1], image.shape[0])
        matrix = cv2.getRotationMatrix2D(((size[0] - 1) / 2, (size[1] - 1) / 2), -degrees, 0.8)
        return cv2.warpAffine(image, matrix, size, borderValue=fill)

    return Change(turn, lambda lean: lean + degrees)


def add_noise(image: np.ndarray) -> np.ndarray:
    return (image + np.random.default_rng(0).normal(0, 15, image.shape)).clip(0, 255).astype(np.uint8)


CHANGES = {
    "mirrored": Change(lambda image: np.ascontiguousarray(image[:, ::-1]), lambda lean: -lean),
    "upside down": Change(lambda image: np.ascontiguousarray(image[::-1]), lambda lean: 180 - lean),
    "turned by 25, on black": clockwise(25, 0),
    "turned by -60, on white": clockwise(-60, 255),
    "turned by 140, on gray": clockwise(140, 110),
    "half as bright": Change(lambda image: image // 2),
    "gamma 1.6": Change(lambda image: (255 * (image / 255.0) ** 1.6).astype(np.uint8)),
    "gamma 0.6": Change(lambda image: (255 * (image / 255.0) ** 0.6).astype(np.uint8)),
    "noise of 15 gray values": Change(add_noise),
    "white pillars": Change(
        lambda image: cv2.copyMakeBorder(image, 0, 0, image.shape[1] // 4, image.shape[1] // 4, 0, value=255)
    ),
    "a quarter of the size": Change(
        lambda image: cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    ),
}


def hands(data: Path) -> Iterator[tuple[Sample, float]]:
    """Labelled samples of a hand-bone folder with their lean."""
    with (data / "truth.csv").open(encoding="utf-8") as file:
        truth = {Path(row["image"]).stem: float(row["tilt_deg"]) for row in csv.DictReader(file)}
    source = HandBone(format="hand-bone", path=str(data), classes=HAND_BONES)
    with tempfile.TemporaryDirectory() as cache:
        listing = source.scan(FileCache(Path(cache) / "cache.db"))
    for record in listing.records:
        sample = source.load(record, listing.classes)
        if Path(sample.name).name in truth:
            yield sample, truth[Path(sample.name).name]


def upright(sample: Sample, truth: float, axis: Any) -> Result:
    params = RotateNormalise.model_validate({"axis": axis})
    start = time.perf_counter()
    (made,) = rotate_normalise.apply([sample], None, params, Context(HAND_BONES))
    assert isinstance(made, Sample)
    ms = 1000 * (time.perf_counter() - start)
    return Result(sample.name, truth, made, made.notes.get("angle_deg", 0.0), ms)


def apply_change(sample: Sample, truth: float, change: Change) -> tuple[Sample, float]:
    image = change.image(sample.image)
    masks = np.zeros((*image.shape[:2], sample.masks.shape[2]), np.uint8)
    return replace(sample, image=image, masks=masks, known=sample.known * 0), change.lean(truth)


def row(what: str, results: Sequence[Result], limit: float) -> str:
    left = np.abs([result.residual for result in results])
    beyond = f"{int((left > limit).sum())}"
    ms = np.median([result.ms for result in results])
    return f"| {what} | {len(left)} | {np.median(left):.2f} | {left.max():.2f} | {beyond} | {ms:.0f} |"


def sheet(results: Sequence[Result], path: Path) -> None:
    tiles = []
    for result in results:
        tile = cv2.resize(result.made.image, (TILE, TILE), interpolation=cv2.INTER_AREA)
        tile = cv2.cvtColor(tile, cv2.COLOR_GRAY2BGR)
        cv2.line(tile, (TILE // 2, 0), (TILE // 2, TILE - 1), (0, 160, 255), 1)
        caption = f"{result.truth:+.1f} turned {result.turned:+.1f} left {result.residual:+.1f}"
        tiles.append(cv2.putText(tile, caption, (5, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 255, 255), 1))
    columns = min(6, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    cv2.imwrite(str(path), np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]))


def report(data: Path, with_changes: bool, sheet_path: Path | None) -> None:
    results: dict[str, list[Result]] = {name: [] for name in AXES}
    others: dict[str, list[Result]] = {name: [] for name in CHANGES} if with_changes else {}
    for sample, truth in hands(data):
        for name, axis in AXES.items():
            results[name].append(upright(sample, truth, axis))
        for name, found in others.items():
            found.append(upright(*apply_change(sample, truth, CHANGES[name]), "image"))
    print("| axis | images | median left, degrees | worst | beyond the limit | ms |\n|---|---|---|---|---|---|")
    for name, limit in zip(AXES, (3.0, 10.0), strict=True):
        print(row(name, results[name], limit))
    for name, found in others.items():
        print(row(f"image, {name}", found, 10.0))
    for name, limit in zip(AXES, (3.0, 10.0), strict=True):
        for result in results[name]:
            if abs(result.residual) > limit:
                print(f"{result.name}: leans by {result.truth}, turned by {result.turned} ({name})")
    if sheet_path is not None:
        sheet(results["image"], sheet_path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, help="a hand-bone folder with truth.csv")
    parser.add_argument("--phantom", type=int, metavar="N", help="generated hands of N persons instead")
    parser.add_argument("--size", type=int, default=1024, help="of the generated pictures")
    parser.add_argument("--seed", type=int, default=11, help="of the generated pictures")
    parser.add_argument("--changed", action="store_true", help="also the same hands turned, mirrored, dimmer, noisy")
    parser.add_argument("--sheet", type=Path, help="where to write a contact sheet")
    chosen = parser.parse_args()
    if (chosen.data is None) == (chosen.phantom is None):
        parser.error("expected either a folder or --phantom N")
    cv2.setNumThreads(1)
    if chosen.data is not None:
        report(chosen.data, chosen.changed, chosen.sheet)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_phantom(Path(folder) / "hands", persons=chosen.phantom, size=chosen.size, seed=chosen.seed)
        report(Path(folder) / "hands", chosen.changed, chosen.sheet)


if __name__ == "__main__":
    main()
