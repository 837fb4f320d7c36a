"""How cost grows: builds of thousands to a million small images; CPU time and memory a sample, with fitted exponents.

    python benchmarks/scale.py                                # 1,000 to 10,000 images, 2 and 29 classes
    python benchmarks/scale.py --images 1000 10000 100000     # as docs/benchmarks.md has it
    python benchmarks/scale.py --folder DIR --images 60000    # keep what was made, and time only what is not there yet

Images of 64x64 with one index mask each and three steps. Each figure comes from a process of its own: a whole build, a
build in which nothing changed, one after an image was edited, and what people do with the dataset. CPU time counts,
since the machine may be shared; the driver is the process that plans and publishes. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SIZE, FOLDER = 64, 1000
RECIPE = """\
name: scale
seed: 3
source:
  format: index-mask
  path: {data}
  classes: [{classes}]
split: {{val: 0.1, compare: bytes}}
steps:
  - {{op: hflip}}
  - {{op: rotate, angle_range: [-10, 10]}}
  - {{op: affine}}
output: {{image: png}}
"""
MOSAIC = "  - {op: mosaic, grid: [2, 2]}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 3000, 10_000])
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 29])
    parser.add_argument("--jobs", type=int, default=2, help="processes of the whole build")
    parser.add_argument("--mosaic", action="store_true", help="a mosaic as last step: partners are drawn")
    parser.add_argument("--folder", type=Path, help="where images and datasets are kept")
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=list(PHASES))
    parser.add_argument("--json", type=Path, help="a file for all figures")
    parser.add_argument("--one", nargs=4, metavar=("PHASE", "FOLDER", "RECIPE", "JOBS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        phase, folder, recipe, jobs = options.one
        measure(phase, Path(folder), Path(recipe), int(jobs))
        return
    with tempfile.TemporaryDirectory() as scratch:
        found = list(run_all(options, options.folder or Path(scratch)))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    for table in (phases_table(found), exponents_table(found)):
        print("\n".join(table), end="\n\n")


def run_all(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    for classes in options.classes:
        for images in sorted(options.images):
            place = folder / f"{images}-{classes}{'-mosaic' if options.mosaic else ''}"
            recipe = make(place, images, classes, options.mosaic)
            for phase in options.phases:
                if phase == "build" and (place / "dataset" / "manifest.yaml").exists():
                    continue
                if phase == "edit":
                    edit(place / "data")
                figures = measure_in_process(phase, place / "dataset", recipe, options.jobs)
                print(f"{classes} classes, {images} images, {phase}: {figures}", file=sys.stderr, flush=True)
                yield {"images": images, "classes": classes, "phase": phase, **figures}


# ---- data ------------------------------------------------------------------------------------------------------------


def make(place: Path, images: int, classes: int, mosaic: bool) -> Path:
    """Images and masks, all different, in folders of FOLDER, and the recipe; ten images are of one group."""
    recipe = place / "recipe.yaml"
    if recipe.exists():
        return recipe
    for number in range(images):
        name = f"{number // FOLDER:04d}/p{number // 10:06d}-{number:07d}.png"
        image, mask = draw(number, classes)
        write(place / "data/images" / name, image)
        write(place / "data/masks" / name, mask)
    text = RECIPE.format(data=place / "data", classes=", ".join(f"c{i}" for i in range(classes)))
    text = text.replace("source:\n", 'source:\n  group: {regex: "/(p[0-9]+)-"}\n')
    recipe.write_text(text.replace("output:", f"{MOSAIC}output:") if mosaic else text)
    time.sleep(3)  # files as young as that are looked at again by the next build
    return recipe


def draw(number: int, classes: int, edited: bool = False) -> tuple[Any, Any]:
    """A smooth picture that no other number gives, and a box for each of up to four classes."""
    rng = np.random.default_rng([number, edited])
    x = np.linspace(0, 4, SIZE)
    wave = np.sin(x[:, None] * rng.uniform(1, 3) + rng.uniform(0, 6)) * np.cos(x * rng.uniform(1, 3))
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for class_ in [number % classes, *rng.integers(0, classes, 3)]:
        top, left = rng.integers(0, SIZE - 20, 2)
        mask[top : top + 18, left : left + 18] = class_ + 1
    return (wave * 100 + 128).astype(np.uint8), mask


def edit(data: Path) -> None:
    """Change the first image."""
    path = min((data / "images/0000").iterdir())
    write(path, draw(0, 2, edited=True)[0] + np.uint8(time.time_ns() % 50))


def write(path: Path, pixels: Any) -> None:
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


# ---- what is measured ------------------------------------------------------------------------------------------------


def build(folder: Path, recipe: Path, jobs: int) -> Any:
    from augforge.engine.builder import build as build_dataset

    return build_dataset(recipe, folder, jobs=jobs).made


def build_again(folder: Path, recipe: Path, jobs: int) -> Any:
    return build(folder, recipe, 1)


def open_it(folder: Path, recipe: Path, jobs: int) -> Any:
    from augforge import open_dataset

    return len(open_dataset(folder))


def first_sample(folder: Path, recipe: Path, jobs: int) -> Any:
    from augforge import open_dataset

    return open_dataset(folder)[0].name


def inspect(folder: Path, recipe: Path, jobs: int) -> Any:
    return len(run_command("inspect", str(folder)))


def diff(folder: Path, recipe: Path, jobs: int) -> Any:
    versions = sorted(path.stem for path in (folder / "versions").glob("*.yaml"))
    return len(run_command("diff", f"{folder}@{versions[0]}", f"{folder}@{versions[-1]}"))


def run_command(*words: str) -> str:
    from typer.testing import CliRunner

    from augforge.cli.app import app

    result = CliRunner().invoke(app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


PHASES: dict[str, Callable[[Path, Path, int], Any]] = {
    "build": build,
    "noop": build_again,
    "edit": build_again,
    "open": open_it,
    "first": first_sample,
    "inspect": inspect,
    "diff": diff,
}


def measure_in_process(phase: str, folder: Path, recipe: Path, jobs: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", phase, str(folder), str(recipe), str(jobs)]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    figures: dict[str, Any] = json.loads(lines[-1])
    return figures


def measure(phase: str, folder: Path, recipe: Path, jobs: int) -> None:
    """CPU seconds of driver and workers, wall seconds, and the driver's memory before and at its peak, in MB."""
    import augforge.engine.builder  # noqa: F401 (what is imported is no cost of a sample)

    before, started = peak(), time.perf_counter()
    cpu = time.process_time()
    said = PHASES[phase](folder, recipe, jobs)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - started
    end_workers()
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        json.dumps(
            {
                "cpu": round(cpu, 3),
                "workers_cpu": round(workers.ru_utime + workers.ru_stime, 3),
                "wall": round(wall, 3),
                "before_mb": round(before, 1),
                "peak_mb": round(peak(), 1),
                "worker_mb": round(workers.ru_maxrss / 1024, 1),
                "said": said,
            }
        )
    )


def end_workers() -> None:
    """Let the processes of a build end, since only then their time is known."""
    if "joblib.externals.loky" in sys.modules:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True)


def peak() -> float:
    """The largest memory of this process so far, in MB; a forked process begins with its parent's in `ru_maxrss`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


# ---- tables ----------------------------------------------------------------------------------------------------------


def phases_table(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "| classes | images | phase | CPU s, driver | workers | wall s | driver MB (before) |"
    yield "|---:|---:|---|---:|---:|---:|---:|"
    for row in found:
        memory = f"{row['peak_mb']:.0f} ({row['before_mb']:.0f})"
        times = f"{row['cpu']:.2f} | {row['workers_cpu']:.1f} | {row['wall']:.2f}"
        yield f"| {row['classes']} | {row['images']:,} | {row['phase']} | {times} | {memory} |"


def exponents_table(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What an image more costs between the smallest and the largest set, and the exponent fitted to the CPU time."""
    yield "| classes | phase | driver KB an image more | CPU ms an image more | exponent of CPU |"
    yield "|---:|---|---:|---:|---:|"
    for classes, phase in dict.fromkeys((row["classes"], row["phase"]) for row in found):
        rows = [row for row in found if (row["classes"], row["phase"]) == (classes, phase)]
        if len(rows) < 2:
            continue
        least, most = rows[0], rows[-1]
        more = most["images"] - least["images"]
        memory = (most["peak_mb"] - least["peak_mb"]) * 1024 / more
        cpu = (total_cpu(most) - total_cpu(least)) * 1000 / more
        yield f"| {classes} | {phase} | {memory:.2f} | {cpu:.3f} | {exponent(rows):.2f} |"


def exponent(rows: Sequence[dict[str, Any]]) -> float:
    """The slope of log time over log images, by least squares."""
    x = np.log([row["images"] for row in rows])
    y = np.log([max(total_cpu(row), 1e-3) for row in rows])
    return float(np.polyfit(x, y, 1)[0])


def total_cpu(row: dict[str, Any]) -> float:
    return math.fsum((row["cpu"], row["workers_cpu"]))


if __name__ == "__main__":
    main()
