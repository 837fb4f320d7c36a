"""How many of the images with metal the filter `metal` finds, and how many of its findings are false.

python benchmarks/quality/metal.py DATA                  a hand-bone folder with truth.csv, or any folder of images
python benchmarks/quality/metal.py --phantom 60          generated hands of so many persons
python benchmarks/quality/metal.py --burnt 30            overexposed hands of so many persons, with and without a plate
python benchmarks/quality/metal.py DATA --sheet out.png  and a contact sheet with the regions marked

A truth file has the columns image and outlier; "none" is no metal. Without one, what is flagged is listed.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.ops import Context
from augforge.ops.filters.metal import Metal, Region, find_metal, metal
from augforge.phantom import Traits, render_hand, write_phantom
from augforge.sample import Sample
from augforge.sources.class_lists import HAND_BONES
from augforge.sources.formats.hand_bone import HandBone
from augforge.sources.scan.images import read_image

NOTHING = "none"
IMAGES = (".png", ".jpg", ".jpeg")
TILE = 380


@dataclass(frozen=True)
class Result:
    """What the filter found in one image, with or without its masks, and how long that took."""

    sample: Sample
    masks: bool
    truth: str | None
    found: Sequence[Region]
    ms: float

    @property
    def description(self) -> str:
        regions = ", ".join(f"{region.kind} {region.score:.2f} at {region.box}" for region in self.found)
        masks = "with" if self.masks else "without"
        return f"{self.sample.name} ({masks} masks): truth {self.truth}, found {regions or NOTHING}"


def samples(data: Path) -> Iterator[tuple[Sample, tuple[str, ...]]]:
    """Samples and class table of a hand-bone folder, or plain images without masks of any other folder."""
    if (data / "train" / "DCM").is_dir():
        source = HandBone(format="hand-bone", path=str(data), classes=HAND_BONES)
        with tempfile.TemporaryDirectory() as cache:
            listing = source.scan(FileCache(Path(cache) / "cache.db"))
        for record in listing.records:
            yield source.load(record, listing.classes), listing.classes
        return
    for path in sorted(path for path in data.rglob("*") if path.suffix.lower() in IMAGES and "masks" not in path.parts):
        image = read_image(path)
        yield Sample(path.stem, image, np.zeros((*image.shape[:2], 1), np.uint8), np.zeros(1, np.uint8)), ("anything",)


def overexposed(persons: int, size: int, seed: int) -> Iterator[Sample]:
    """For each person a hand with a plate on the forearm and the same without, the radius's median at 215 to 235."""
    for person in range(persons):
        draw = np.random.default_rng([seed, person])
        traits, level, at = Traits.draw(draw), float(draw.uniform(215, 235)), int(draw.integers(2**31))
        for outlier in ("plate", NOTHING):
            rng = np.random.default_rng(at)
            made = render_hand(rng, size, traits, outlier=outlier, turned=person % 3 == 0, burnt=level)
            rings = [(HAND_BONES.index(name), [ring]) for name, ring in made.polygons.items() if len(ring) > 2]
            masks = bitmask.rasterise(rings, size, size, len(HAND_BONES))
            yield Sample(f"{person}-{outlier}", made.image, masks, bitmask.all_bits(len(HAND_BONES)))


def truth_of(data: Path, file: Path | None) -> dict[str, str]:
    """Image name without suffix to its outlier."""
    file = file or data / "truth.csv"
    if not file.exists():
        return {}
    with file.open(encoding="utf-8", newline="") as rows:
        return {Path(row["image"]).stem: row["outlier"] for row in csv.DictReader(rows)}


def score(sample: Sample, classes: tuple[str, ...], truth: dict[str, str]) -> Iterator[Result]:
    """The filter's findings with masks, where there are any, and without."""
    bare = replace(sample, masks=np.zeros_like(sample.masks), known=np.zeros_like(sample.known))
    for given in (sample, bare) if sample.masks.any() else (bare,):
        start = time.perf_counter()
        assert metal.measure is not None
        features = metal.measure(given, Metal(), Context(classes))
        ms = (time.perf_counter() - start) * 1e3
        expected = truth.get(Path(sample.name).name) if truth else None
        yield Result(sample, given is sample, expected, find_metal(features, Metal()), ms)


def report(results: Sequence[Result]) -> None:
    """Print recall, precision and time, then every miss and false alarm."""
    heads = ("masks", "images", "metal", "found", "false", "recall", "precision", "kind", "ms")
    print(" ".join(f"{head:>9}" for head in heads))
    for masks in sorted({result.masks for result in results}, reverse=True):
        part = [result for result in results if result.masks == masks]
        print(line("with" if masks else "without", part))
    for result in results:
        if bool(result.found) != (result.truth not in (None, NOTHING)):
            outcome = "false alarm" if result.found and result.truth else "found" if result.found else "missed"
            print(outcome, result.description)


def line(name: str, part: Sequence[Result]) -> str:
    positive = [result for result in part if result.truth not in (None, NOTHING)]
    found = [result for result in positive if result.found]
    false = sum(bool(result.found) for result in part) - len(found)
    kind = sum((result.found[0].kind == "ring") == (result.truth == "ring") for result in found)
    ms = float(np.median([result.ms for result in part]))
    shares = [share(len(found), len(positive)), share(len(found), len(found) + false), share(kind, len(found))]
    cells = (name, len(part), len(positive), len(found), false, *shares, round(ms))
    return " ".join(f"{cell:>9}" for cell in cells)


def share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "-"


def tile(result: Result) -> np.ndarray:
    """The image with its regions marked: green where the truth agrees, red where not, yellow where there is none."""
    image = result.sample.image if result.sample.image.ndim == 2 else result.sample.image[..., :3].max(axis=2)
    scale = TILE / max(image.shape)
    small = cv2.resize(
        (image / (image.max() or 1) * 255).astype(np.uint8), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
    )
    canvas = np.zeros((TILE, TILE, 3), np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small[:TILE, :TILE, None]
    right = bool(result.found) == (result.truth != NOTHING)
    colour = (0, 220, 255) if result.truth is None else (90, 220, 60) if right else (60, 60, 255)
    for region in result.found:
        x0, y0, x1, y1 = (round(at * scale) for at in region.box)
        cv2.rectangle(canvas, (x0 - 3, y0 - 3), (x1 + 3, y1 + 3), colour, 1)
        cv2.putText(
            canvas,
            f"{region.kind} {region.score:.1f}",
            (max(x0 - 10, 2), max(y0 - 6, 22)),
            0,
            0.4,
            colour,
            1,
            cv2.LINE_AA,
        )
    title = f"{Path(result.sample.name).name[-20:]} {result.truth or ''}"
    cv2.putText(canvas, title, (4, 12), 0, 0.4, colour, 1, cv2.LINE_AA)
    return canvas


def write_sheet(results: Sequence[Result], path: Path, columns: int = 6) -> None:
    tiles = [tile(result) for result in results]
    tiles += [np.zeros((TILE, TILE, 3), np.uint8)] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    cv2.imwrite(str(path), np.vstack(rows))


def run(data: Path, truth_file: Path | None, sheet: Path | None, most: int) -> None:
    truth = truth_of(data, truth_file)
    show([result for sample, classes in samples(data) for result in score(sample, classes, truth)], sheet, most)


def show(results: Sequence[Result], sheet: Path | None, most: int) -> None:
    report(results)
    if sheet is not None:
        shown = [result for result in results if not result.masks]
        shown.sort(key=lambda result: (not result.found) + (result.truth in (None, NOTHING)))
        write_sheet(shown[:most], sheet)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="folder of images")
    parser.add_argument("--truth", type=Path, help="CSV with the columns image and outlier; default DATA/truth.csv")
    parser.add_argument("--phantom", type=int, metavar="PERSONS", help="generate hands of so many persons instead")
    parser.add_argument("--burnt", type=int, metavar="PERSONS", help="generate overexposed hands instead, two a person")
    parser.add_argument("--size", type=int, default=1024, help="pixels of a generated image")
    parser.add_argument("--seed", type=int, default=7, help="of the generated hands")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet without masks, the flagged first")
    parser.add_argument("--most", type=int, default=60, help="images on the sheet")
    given = parser.parse_args()
    if sum(chosen is not None for chosen in (given.data, given.phantom, given.burnt)) != 1:
        parser.error("name a folder, --phantom PERSONS or --burnt PERSONS, and only one of them")
    if given.burnt is not None:
        made = list(overexposed(given.burnt, given.size, given.seed))
        truth = {sample.name: sample.name.split("-")[1] for sample in made}
        show([result for sample in made for result in score(sample, HAND_BONES, truth)], given.sheet, given.most)
        return
    if given.phantom is None:
        run(given.data, given.truth, given.sheet, given.most)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_phantom(Path(folder) / "hands", persons=given.phantom, size=given.size, seed=given.seed)
        run(Path(folder) / "hands", given.truth, given.sheet, given.most)


if __name__ == "__main__":
    main()
