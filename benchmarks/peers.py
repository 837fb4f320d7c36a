"""augforge beside other containers and other ways to build: same samples, one run, one thread.

    make bench-peers                                # installs the others in .venv-peers; minutes; prints Markdown
    .venv-peers/bin/python benchmarks/peers.py --size 512 --persons 4 --rounds 2      # a quick look

Reading: each container gets the same images and masks, once in its natural form (PNGs, or arrays if it is made for
arrays) and once holding our bit-planes as bytes. Reading means an image and a stack of masks, uint8 (C, H, W), and is
compared with the samples before it is timed: in random order, and one after the other. Files are in the page cache.

Building: every image is flipped together with its 29 masks and written. What is made is compared with a flip by numpy.

What is not installed or fails is said in its row. `--chart FILE` draws the random reads as an SVG.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
from peer_builds import BUILDS, Source
from peer_chart import draw_chart
from peer_containers import CONTAINERS, Fields

import augforge
from augforge import bitmask
from augforge.phantom import write_phantom
from augforge.store.dataset import Dataset, open_dataset

Array: TypeAlias = np.ndarray[Any, Any]


class Pixels(NamedTuple):
    """An image (H, W), and a stack of masks of 0 and 1, uint8 (C, H, W)."""

    image: Array
    masks: Array


# ---- forms: how an image and its masks become fields of a container, and back ----------------------------------------


def png(pixels: Array) -> bytes:
    return bytes(cv2.imencode(".png", pixels)[1])


def unpng(data: bytes) -> Array:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))


def from_pngs(fields: Fields) -> Pixels:
    return Pixels(unpng(fields["image"]), np.stack([unpng(data) for data in fields["masks"]]))


def from_planes(fields: Fields) -> Pixels:
    image = unpng(fields["image"])
    return Pixels(image, bitmask.to_stack(bitmask.decode(fields["masks"], *image.shape, CLASSES), CLASSES))


CLASSES = 29
FORMS: dict[str, tuple[Callable[[Pixels], Fields], Callable[[Fields], Pixels]]] = {
    "a PNG a class": (lambda p: {"image": png(p.image), "masks": [png(mask) for mask in p.masks]}, from_pngs),
    "arrays": (
        lambda p: {"image": p.image, "masks": p.masks},
        lambda fields: Pixels(np.asarray(fields["image"]), np.asarray(fields["masks"])),
    ),
    "our planes": (
        lambda p: {"image": png(p.image), "masks": bitmask.encode(bitmask.from_masks(p.masks))},
        from_planes,
    ),
}


# ---- measuring -------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """What was measured of a container: milliseconds and kilobytes of a sample, or why nothing was."""

    name: str
    form: str
    write: float = 0.0
    kilobytes: float = 0.0
    random: float | None = None
    in_order: float | None = None
    problem: str = ""

    def cells(self) -> list[str]:
        if self.problem:
            return [self.name, self.form, self.problem, "", "", ""]
        times = ["only in order" if value is None else f"{value:.1f}" for value in (self.random, self.in_order)]
        return [self.name, self.form, f"{self.write:.0f}", f"{self.kilobytes:,.0f}", *times]


def best_of(rounds: int, work: Callable[[], object]) -> float:
    """Seconds of the quickest round."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def require_equal(found: Pixels, expected: Pixels, what: str) -> None:
    if not (np.array_equal(found.image, expected.image) and np.array_equal(found.masks, expected.masks)):
        raise ValueError(f"{what} gives other pixels than it was given")


def measure_container(name: str, form: str, samples: Sequence[Pixels], folder: Path, rounds: int) -> Row:
    pack, unpack = FORMS[form]
    container = CONTAINERS[name](folder, form)
    folder.mkdir(parents=True)
    start = time.perf_counter()
    container.write(pack(sample) for sample in samples)
    written, count = time.perf_counter() - start, len(samples)
    container.open()
    for found, expected in zip(container, samples, strict=True):
        require_equal(unpack(found), expected, name)
    try:
        require_equal(unpack(container.read(count - 1)), samples[-1], name)
        order = random.sample(range(count), count)
        at_random = best_of(rounds, lambda: [unpack(container.read(i)).masks.nbytes for i in order])
    except LookupError:
        at_random = None
    in_order = best_of(rounds, lambda: [unpack(fields).masks.nbytes for fields in container])
    times = [None if value is None else value / count * 1e3 for value in (at_random, in_order)]
    return Row(name, form, written / count * 1e3, size_of(folder) / count / 1024, *times)


def try_container(name: str, form: str, samples: Sequence[Pixels], folder: Path, rounds: int) -> Row:
    try:
        return measure_container(name, form, samples, folder, rounds)
    except Exception as error:  # the others go on, and the table says it
        return Row(name, form, problem=problem_of(CONTAINERS[name].package, error))


def problem_of(package: str, error: Exception) -> str:
    try:
        found = version(package)
    except PackageNotFoundError:
        return "not installed: pip could not build it here"
    return f"{found} fails: {type(error).__name__}: {' '.join(str(error).split())[:90]}"


def measure_augforge(folder: Path, seconds: float, dataset: Dataset, samples: Sequence[Pixels], rounds: int) -> Row:
    def read(i: int) -> Pixels:
        sample = dataset[i]
        return Pixels(sample.image, bitmask.to_stack(sample.masks, CLASSES))

    for i, expected in enumerate(samples):
        require_equal(read(i), expected, "augforge")
    count = len(samples)
    order = random.sample(range(count), count)
    at_random = best_of(rounds, lambda: [read(i).masks.nbytes for i in order]) / count
    in_order = best_of(rounds, lambda: [read(i).masks.nbytes for i in range(count)]) / count
    stored = size_of(folder / "shards") + size_of(folder / "index")
    return Row("augforge", "a build", seconds / count * 1e3, stored / count / 1024, at_random * 1e3, in_order * 1e3)


def naive_pixels(dataset: Dataset, i: int) -> Pixels:
    """A sample decoded by the definition of the layout alone."""
    import zstandard

    image, masks = dataset.payload(i)
    picture = unpng(bytes(image))
    layers = np.frombuffer(zstandard.ZstdDecompressor().decompress(masks), np.uint8).reshape(-1, *picture.shape)
    return Pixels(picture, np.stack([layers[c // 8] >> c % 8 & 1 for c in range(CLASSES)]))


def build_ours(source: Path, work: Path, steps: Sequence[Fields]) -> tuple[Path, float]:
    """Build a dataset, and say how many seconds it took."""
    recipe = work / "recipe.yaml"
    lines = [f"name: bench\nsource: {{format: hand-bone, path: {source}, classes: hand-bone}}\nsteps:"]
    recipe.write_text("\n  - ".join([*lines, *map(str, steps)]) + ("" if steps else " []") + "\n", encoding="utf-8")
    start = time.perf_counter()
    augforge.build(recipe, work / "dataset")
    return work / "dataset", time.perf_counter() - start


def compare_reading(source: Path, work: Path, rounds: int) -> list[Row]:
    build_ours(source, fresh(work / "warm"), [])  # what a process does once is not the cost of a sample
    folder, seconds = build_ours(source, fresh(work / "ours"), [])
    dataset = open_dataset(folder)
    samples = [naive_pixels(dataset, i) for i in range(len(dataset))]
    rows = [measure_augforge(folder, seconds, dataset, samples, rounds)]
    for name, kind in CONTAINERS.items():
        for form in (kind.natural, "our planes"):
            place = work / kind.package / form.replace(" ", "-")
            rows.append(try_container(name, form, samples, place, rounds))
            shutil.rmtree(place, ignore_errors=True)
    return rows


def fresh(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def compare_building(source: Path, work: Path, rounds: int) -> list[list[str]]:
    given = Source.read(source)
    expected = [Pixels(image[:, ::-1], masks[:, :, ::-1]) for image, masks in given.samples()]

    def ours(place: Path) -> None:
        folder, _ = build_ours(source, fresh(place), [{"op": "hflip"}])
        dataset = open_dataset(folder)
        names = [f"{name}~hflip" for name in given.names]
        for name, pixels in zip(names, expected, strict=True):
            sample = dataset.by_name(name)
            require_equal(Pixels(sample.image, bitmask.to_stack(sample.masks, CLASSES)), pixels, "augforge")

    rows = []
    times = [build_ours(source, fresh(work / f"ours{n}"), [{"op": "hflip"}])[1] for n in range(rounds + 1)]
    ours(work / "checked")
    size = size_of(work / "ours0/dataset/shards") / len(given.names) / 1024
    rows.append(["augforge", f"{min(times) / len(given.names) * 1e3:.0f}", f"{size:,.0f}"])
    for name, (package, build, read_back) in BUILDS.items():
        try:
            importlib.import_module(package)
            seconds = min(timed(build, given, fresh(work / package / str(n))) for n in range(rounds))
            for found, pixels in zip(read_back(given, work / package / "0"), expected, strict=True):
                require_equal(Pixels(*found), pixels, name)
            size = size_of(work / package / "0") / len(given.names) / 1024
            rows.append([name, f"{seconds / len(given.names) * 1e3:.0f}", f"{size:,.0f}"])
        except Exception as error:  # as above
            rows.append([name, problem_of(package, error), ""])
        shutil.rmtree(work / package, ignore_errors=True)
    return rows


def timed(build: Callable[[Source, Path], None], given: Source, folder: Path) -> float:
    start = time.perf_counter()
    build(given, folder)
    return time.perf_counter() - start


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print(f"\n| {' | '.join(head)} |\n|---|{'---|' * (len(head) - 1)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, help="pixels a side")
    parser.add_argument("--persons", type=int, default=4, help="two images each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chart", type=Path, help="SVG of the random reads")
    parser.add_argument("--work", help="folder for the data; default: the system's")
    options = parser.parse_args()
    size = f"{options.size}x{options.size}"
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        work = Path(folder)
        write_phantom(work / "data", persons=options.persons, size=options.size, seed=7)
        building = compare_building(work / "data", fresh(work / "building"), options.rounds)
        reading = compare_reading(work / "data", fresh(work / "reading"), options.rounds)
    print(
        f"{2 * options.persons} images of {options.size}x{options.size}, {CLASSES} classes, best of {options.rounds};"
    )
    print(f"{platform.machine()}, Python {platform.python_version()}, {', '.join(found_versions())}.")
    print_table(("flip, one process", "ms a sample", "KB a sample"), building)
    print_table(
        ("container", "holds", "write, ms", "KB", "random, ms", "in order, ms"), [row.cells() for row in reading]
    )
    if options.chart:
        bars = [(f"{row.name}, {row.form}", row.random or row.in_order or 0.0) for row in reading if not row.problem]
        title = f"Reading an image and {CLASSES} masks of {size}, milliseconds"
        options.chart.write_text(draw_chart(title, bars), encoding="utf-8")


def found_versions() -> Iterator[str]:
    for package in ("numpy", "opencv-python-headless", *(kind.package for kind in CONTAINERS.values()), "datumaro"):
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"no {package}"


if __name__ == "__main__":
    main()
