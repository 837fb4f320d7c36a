"""augforge's build against the bare loop and the usual script: same source and same work, compared in one run.

    python benchmarks/build.py                     # 16 images of 2048x2048; about 5 minutes; prints Markdown
    python benchmarks/build.py --persons 2 --rounds 1 --small 40     # a quick look

Every contestant runs in a process of its own and is timed after its imports and a first small run: what a process does
once is not part of the cost of a sample, and is reported separately. Contestants take turns, round after round, so that
other load on the machine disturbs all alike, and the best round of each counts. First, the pixels of the bare loop and
the masks of the usual script are checked to be those of augforge's dataset.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Case -> the recipe's steps. To add an op: a line here, and its function in usual_script.OPS.
CASES: dict[str, list[dict[str, Any]]] = {
    "hflip": [{"op": "hflip"}],
    "hflip, input kept": [{"op": "hflip", "keep_input": True}],
    "mosaic": [{"op": "mosaic"}],
    "mosaic, input kept": [{"op": "mosaic", "keep_input": True}],
}
LIBRARIES = ("numpy", "opencv-python-headless", "zstandard", "pyarrow", "polars", "joblib")

# ---- children: one contestant each, in a process of its own ----------------------------------------------------------


@dataclass
class Stopwatch:
    """Wall and CPU seconds of a block; CPU of this process and of the children that ended in the block."""

    wall: float = 0.0
    cpu: float = 0.0

    def __enter__(self) -> Stopwatch:
        self._start = time.perf_counter(), cpu_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self._start[0], cpu_seconds() - self._start[1]


def cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@dataclass
class Phases:
    """The Progress of a build that measures its phases; time between phases counts as planning."""

    seconds: dict[str, float] = field(default_factory=dict)

    def begin(self) -> None:
        self._label, self._last = "listing and planning", time.perf_counter()

    def start(self, label: str, total: int) -> None:
        self._lap()
        self._label, self._left = label, total

    def advance(self, count: int) -> None:
        self._left -= count
        if self._left == 0:
            self._lap()
            self._label = "planning and publishing"

    def end(self) -> None:
        self._lap()

    def _lap(self) -> None:
        now = time.perf_counter()
        self.seconds[self._label] = self.seconds.get(self._label, 0.0) + now - self._last
        self._last = now


def child_bare(plan: str, out: str | None = None, processes: int = 1) -> dict[str, Any]:
    """Decode, rasterise, op, encode: the minimum of work. The results are written to one file if `out` is given."""
    from concurrent.futures import ProcessPoolExecutor

    tasks, classes = read_plan(plan)
    bare_loop(tasks[:1], classes)
    if processes == 1:
        with Stopwatch() as watch:
            bare_loop(tasks, classes, out)
        return asdict(watch)
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(bare_loop, [tasks[:1]] * processes, [classes] * processes))  # processes are up
        with Stopwatch() as watch:
            list(pool.map(bare_loop, [[task] for task in tasks], [classes] * len(tasks)))
    return {"wall": watch.wall, "cpu": None}


def bare_loop(tasks: Sequence[Any], classes: Sequence[str], out: str | None = None) -> list[str]:
    """Make all samples of the tasks; returns their names."""
    import cv2

    cv2.setNumThreads(1)
    made = []
    with Path(out or os.devnull).open("wb") as stream:
        for name, image, planes in bare_samples(tasks, classes):
            for data in encode(image, planes):
                if out:
                    stream.write(data)
            made.append(name)
    return made


def bare_samples(tasks: Sequence[Any], classes: Sequence[str]) -> Iterable[tuple[str, Any, Any]]:
    from usual_script import OPS

    from augforge.ops.geometry import scale_planes

    for task in tasks:
        shrinking = {"scale": lambda planes, size: scale_planes(planes, *size)} if task.op == "mosaic" else {}
        images, planes = zip(*(load_parent(parent, classes) for parent in task.parents), strict=True)
        op = OPS[task.op]
        yield task.name, op(images, task, False), op(planes, task, True, **shrinking)
        if task.keep:
            yield task.keep, images[0], planes[0]


def load_parent(parent: Any, classes: Sequence[str]) -> tuple[Any, Any]:
    import cv2

    from augforge import bitmask

    image: Any = cv2.imread(parent.image, cv2.IMREAD_UNCHANGED)
    entries = json.loads(Path(parent.annotation).read_bytes())["annotations"]
    polygons = ((classes.index(entry["label"]), [entry["points"]]) for entry in entries)
    return image, bitmask.rasterise(polygons, image.shape[0], image.shape[1], len(classes))


def encode(image: Any, planes: Any) -> tuple[bytes, bytes]:
    import cv2

    from augforge import bitmask

    return cv2.imencode(".png", image)[1].tobytes(), bitmask.encode(planes)


def child_build(recipe: str, outs: list[str], jobs: int = 1, warm: str = "") -> dict[str, Any]:
    """augforge's build, once for each of `outs`, in one process: with 2 jobs the second build finds running workers.

    Args:
        warm: the recipe of a tiny source that is built first with one job, so that one-time work is not measured.
    """
    from augforge import build
    from augforge.ops import OPS

    assert OPS
    first = 0.0
    if warm:
        with Stopwatch() as watch:
            build(warm, Path(outs[0]) / "warm")
        first = watch.wall
        shutil.rmtree(outs[0])
    runs = []
    for out in outs:
        phases = Phases()
        with Stopwatch() as watch:
            phases.begin()
            summary = build(recipe, out, jobs=jobs, progress=phases)
            phases.end()
        runs.append({**asdict(watch), "phases": phases.seconds, "summary": asdict(summary)})
    cpu = runs[0]["cpu"] if jobs == 1 else None
    return {"runs": runs, "wall": runs[0]["wall"], "cpu": cpu, "first": first, **_worker_peak(jobs)}


def _worker_peak(jobs: int) -> dict[str, int]:
    """Peak memory of the workers; none with 1 job, which works in this process, whose peak is reported anyway."""
    if jobs == 1:
        return {}
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)
    return {"worker_peak": peak(resource.RUSAGE_CHILDREN)}


def peak(who: int) -> int:
    """Peak resident bytes."""
    return resource.getrusage(who).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def child_usual(plan: str, out: str, processes: int = 1) -> dict[str, Any]:
    import usual_script

    tasks, classes = read_plan(plan)
    usual_script.run(tasks[:1], classes, Path(out), 1)
    shutil.rmtree(out)
    with Stopwatch() as watch:
        usual_script.run(tasks, classes, Path(out), processes)
    written = sum(file.stat().st_size for file in Path(out).rglob("*.png"))
    images = sum(file.stat().st_size for file in Path(out).rglob("image.png"))
    return {**asdict(watch), "bytes": written, "image_bytes": images}


def child_plan(dataset: str, source: str, plan: str) -> dict[str, Any]:
    """Write what augforge did to a file, for the others to repeat, and check that they get the same."""
    from augforge import open_dataset

    opened, root = open_dataset(dataset), Path(source) / "train"
    tasks = []
    made = [row for row in opened.index.to_dicts() if row["lineage"]["steps"]]
    for row in made:
        step = row["lineage"]["steps"][-1]
        parents = [
            {
                "image": str(root / "DCM" / f"{p['name']}.png"),
                "annotation": str(root / "outputs_json" / f"{p['name']}.json"),
                "matrix": p["matrix"],
                "clip": p["clip"],
            }
            for p in step["parents"]
        ]
        op, size = step["op"].split("@")[0], [row["width"], row["height"]]
        keep = step["parents"][0]["name"] if len(opened) > len(made) else ""
        tasks.append({"name": row["name"], "op": op, "parents": parents, "size": size, "keep": keep})
    Path(plan).write_text(json.dumps({"tasks": tasks, "classes": opened.classes}), encoding="utf-8")
    _check_same(opened, *read_plan(plan), Path(plan).with_suffix(".check"))
    return {
        "samples": len(opened),
        "image_bytes": int(opened.index["image_bytes"].sum()),
        "mask_bytes": int(opened.index["masks_bytes"].sum()),
        "shard_bytes": sum(shard.bytes for shard in opened.manifest.shards),
        "index_bytes": sum(file.stat().st_size for file in (Path(dataset) / "index").iterdir()),
    }


def _check_same(opened: Any, tasks: Sequence[Any], classes: Sequence[str], scratch: Path) -> None:
    """Every sample of the bare loop, and one of the usual script, pixel for pixel."""
    import cv2
    import usual_script

    from augforge import bitmask
    from augforge.store.codec import pixel_digest

    digests = dict(opened.index.select("name", "pixel_digest").iter_rows())
    for name, image, planes in bare_samples(tasks, classes):
        if pixel_digest(image, planes) != digests.pop(name):
            raise SystemExit(f"the bare loop's pixels of {name} are not augforge's")
    if digests:
        raise SystemExit(f"the bare loop did not make {', '.join(digests)}")
    usual_script.make(tasks[0], classes, scratch)
    sample = opened.by_name(tasks[0].name)
    for name, mask in zip(classes, bitmask.to_masks(sample.masks, len(classes)), strict=True):
        found: Any = cv2.imread(str(scratch / tasks[0].name / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        if (found != mask * 255).any():
            raise SystemExit(f"the usual script's mask {name} of {tasks[0].name} is not augforge's")


def child_read(dataset: str, rounds: int = 5) -> dict[str, Any]:
    """CPU milliseconds per sample, each the best of the rounds, in random order and in turn.

    `dataset[i]`, also with interleaved planes and with a stack of masks; decoding its bytes from memory; and OpenCV's
    decode of its own PNG of the image.
    """
    import cv2

    from augforge import bitmask, open_dataset
    from augforge.store.codec import decode_image

    cv2.setNumThreads(1)
    opened, count = open_dataset(dataset), len(open_dataset(dataset).classes)
    payloads = [tuple(bytes(part) for part in opened.payload(i)) for i in range(len(opened))]
    pngs: list[Any] = [cv2.imencode(".png", sample.image)[1] for sample in opened]
    sizes = opened.index.select("height", "width").rows()
    works: dict[str, Callable[[int], Any]] = {
        "ours": lambda i: opened[i],
        "plain": lambda i: (decode_image(payloads[i][0]), bitmask.decode(payloads[i][1], *sizes[i], count)),
        "opencv": lambda i: cv2.imdecode(pngs[i], cv2.IMREAD_UNCHANGED),
        "interleaved": lambda i: bitmask.contiguous(opened[i].masks),
        "stack": lambda i: bitmask.to_stack(opened[i].masks, count),
    }
    best = {name: [1e9] * len(opened) for name in works}
    for _ in range(rounds):
        for i in random.sample(range(len(opened)), len(opened)):
            for name, work in works.items():
                start = time.process_time()
                work(i)
                best[name][i] = min(best[name][i], time.process_time() - start)
    return {name: statistics.mean(times) * 1e3 for name, times in best.items()}


def child_phantom(out: str, persons: int, size: int) -> dict[str, Any]:
    from augforge.phantom import write_phantom

    return {"images": write_phantom(out, persons=persons, size=size, seed=7).images}


def read_plan(path: str) -> tuple[list[Any], list[str]]:
    from usual_script import Parent, Task

    content = json.loads(Path(path).read_text(encoding="utf-8"))
    tasks = [Task(**{**t, "parents": [Parent(**p) for p in t["parents"]]}) for t in content["tasks"]]
    return tasks, content["classes"]


CHILDREN: dict[str, Callable[..., dict[str, Any]]] = {
    "bare": child_bare,
    "build": child_build,
    "usual": child_usual,
    "plan": child_plan,
    "read": child_read,
    "phantom": child_phantom,
}


def call(child: str, **options: Any) -> dict[str, Any]:
    """Run a child process; returns what it measured, and `process`: its wall seconds, including imports."""
    start = time.perf_counter()
    command = [sys.executable, __file__, "--child", child, json.dumps(options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True)
    if done.returncode:
        raise SystemExit(f"contestant {child} failed")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**result, "process": time.perf_counter() - start}


# ---- the contest -----------------------------------------------------------------------------------------------------


@dataclass
class Contest:
    """One case: its dataset, the plan of its work, and every contestant's rounds."""

    name: str
    folder: Path
    source: Path
    rounds: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    sizes: dict[str, Any] = field(default_factory=dict)

    @property
    def recipe(self) -> Path:
        return self.folder / "recipe.yaml"

    @property
    def warm(self) -> Path:
        return self.folder / "warm.yaml"

    @property
    def plan(self) -> Path:
        return self.folder / "plan.json"

    @property
    def dataset(self) -> Path:
        return self.folder / "kept"

    def prepare(self) -> None:
        write_recipe(self.recipe, self.source, CASES[self.name])
        write_recipe(self.warm, self.source.with_name("tiny"), CASES[self.name])
        call("build", recipe=str(self.recipe), outs=[str(self.dataset)])
        self.sizes = call("plan", dataset=str(self.dataset), source=str(self.source), plan=str(self.plan))

    def round(self, usual: bool) -> None:
        plan, recipe, warm = str(self.plan), str(self.recipe), str(self.warm)
        self._take("bare loop", "bare", plan=plan)
        self._take("augforge, 1 job", "build", recipe=recipe, outs=self._outs(1), warm=warm)
        self._take("bare loop, written to a file", "bare", plan=plan, out=self._outs(1)[0])
        self._take("augforge, 2 jobs", "build", recipe=recipe, outs=self._outs(2), jobs=2, warm=warm)
        self._take("bare loop, 2 processes", "bare", plan=plan, processes=2)
        if usual:
            self._take("usual script, 1 process", "usual", plan=plan, out=self._outs(1)[0])
            self._take("usual script, 2 processes", "usual", plan=plan, out=self._outs(1)[0], processes=2)

    def _outs(self, count: int) -> list[str]:
        return [str(self.folder / f"out{i}") for i in range(count)]

    def _take(self, label: str, child: str, **options: Any) -> None:
        self.rounds.setdefault(label, []).append(call(child, **options))
        for out in self._outs(2):
            shutil.rmtree(out) if Path(out).is_dir() else Path(out).unlink(missing_ok=True)

    def walls(self, label: str) -> list[float]:
        """Seconds of each round."""
        if label == "augforge, 2 jobs, workers up":
            return [run["wall"] for run in self.runs("augforge, 2 jobs", 1)]
        return [found["wall"] for found in self.rounds[label]]

    def runs(self, label: str, number: int) -> list[dict[str, Any]]:
        """The first or the second build of each round."""
        return [found["runs"][number] for found in self.rounds[label]]

    def best(self, label: str) -> float:
        return min(self.walls(label))

    def cpu(self, label: str) -> float | None:
        found = [r["cpu"] for r in self.rounds.get(label, []) if r.get("cpu")]
        return min(found) if found else None

    def fastest(self, label: str) -> dict[str, Any]:
        return min(self.rounds[label], key=lambda found: found["wall"])


def write_recipe(path: Path, source: Path, steps: list[dict[str, Any]]) -> None:
    """A recipe; JSON is YAML. No validation split: every image does its work."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"name": "bench", "source": {"format": "hand-bone", "path": str(source)}, "steps": steps}
    path.write_text(json.dumps(content), encoding="utf-8")


def rebuilds(folder: Path, count: int) -> dict[str, Any]:
    """Many small sources: build, build again unchanged, change one annotation, build again. Each in a new process."""
    source, recipe, out = folder / "source", folder / "recipe.yaml", folder / "out"
    call("phantom", out=str(source), persons=count // 2, size=256)
    write_recipe(recipe, source, [{"op": "mosaic", "keep_input": True}])
    found: dict[str, Any] = {"sources": count, "full": _build_once(recipe, out)}
    found["same"] = min((_build_once(recipe, out) for _ in range(3)), key=lambda run: run["wall"])
    before = set((out / "shards").iterdir())
    annotation = sorted((source / "train/outputs_json").rglob("*.json"))[count // 3]
    document = json.loads(annotation.read_text(encoding="utf-8"))
    document["annotations"][0]["points"][0][0] += 2
    annotation.write_text(json.dumps(document), encoding="utf-8")
    found["one"] = _build_once(recipe, out)
    found["one"]["new_bytes"] = sum(f.stat().st_size for f in set((out / "shards").iterdir()) - before)
    return found


def _build_once(recipe: Path, out: Path) -> dict[str, Any]:
    found = call("build", recipe=str(recipe), outs=[str(out)])
    return {**found["runs"][0], "process": found["process"], "peak": found["peak"]}


def wall_of(*command: str, runs: int = 7) -> float:
    """Best wall seconds of a command."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
    return min(times)


# ---- tables ----------------------------------------------------------------------------------------------------------


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def contest_table(contest: Contest) -> str:
    samples = contest.sizes["samples"]
    labels = list(contest.rounds)
    labels.insert(labels.index("augforge, 2 jobs") + 1, "augforge, 2 jobs, workers up")
    base, ours = contest.best("bare loop"), contest.best("augforge, 1 job")

    def row(label: str) -> list[str]:
        wall, cpu = contest.best(label), contest.cpu(label)
        middle = statistics.median(contest.walls(label)) / samples * 1e3
        per = ["" if value is None else f"{value / samples * 1e3:.1f}" for value in (wall, cpu)]
        return [label, per[0], f"{middle:.1f}", per[1], f"{wall / base:.2f}", f"{wall / ours:.2f}"]

    head = ["ms per sample", "best wall", "median wall", "best CPU", "wall / bare loop", "wall / augforge, 1 job"]
    return f"### {contest.name}: {samples} samples\n\n" + table(head, map(row, labels))


def goals_table(
    contests: Sequence[Contest], read: dict[str, Any], again: dict[str, Any], start: dict[str, float]
) -> str:
    rows = [row for contest in contests for row in contest_rows(contest)]
    ratio, each = read["ours"] / read["plain"], read["ours"]
    rows.append(("random read / decoding the same bytes from memory", "<= 1.15", f"{ratio:.3f} ({each:.1f} ms)"))
    own = read["opencv"]
    rows.append(("`dataset[i]` / OpenCV's decode of its own PNG", "<= 0.55", f"{each / own:.2f} ({own:.1f} ms)"))
    rows.append(("with interleaved planes / OpenCV's decode of its own PNG", "", f"{read['interleaved'] / own:.2f}"))
    rows.append(("an image and a stack of 29 masks", "<= 40 ms", f"{read['stack']:.1f} ms"))
    rows += rebuild_rows(again) if again else []
    rows.append(("`augforge --help`", "< 0.3 s", f"{start['help']:.2f} s (python alone {start['python']:.2f} s)"))
    return table(["what", "goal", "measured"], rows)


def contest_rows(c: Contest) -> Iterable[tuple[str, str, str]]:
    ours, bare = c.best("augforge, 1 job"), c.best("bare loop")
    middle = median_ratio(c, "augforge, 1 job", "bare loop")
    cpu = (c.cpu("augforge, 1 job") or 0) / (c.cpu("bare loop") or 1)
    wall = f"wall {ours / bare:.2f} (median of rounds {middle:.2f}), CPU {cpu:.2f}"
    yield f"{c.name}: build / bare loop", "<= 1.25", wall
    yield f"{c.name}: build / bare loop that writes", "", f"wall {ours / c.best('bare loop, written to a file'):.2f}"
    goal = ">= 3" if "flip" in c.name else ">= 4" if "rotate" in c.name else ""
    slower = (c.cpu("usual script, 1 process") or 0) / (c.cpu("augforge, 1 job") or 1)
    usual_wall = f"wall {c.best('usual script, 1 process') / ours:.2f}, CPU {slower:.2f}"
    yield f"{c.name}: usual script / build, 1 process each", goal, usual_wall
    cold, warm = ours / c.best("augforge, 2 jobs"), ours / c.best("augforge, 2 jobs, workers up")
    ceiling, usual = bare / c.best("bare loop, 2 processes"), c.best("usual script, 1 process")
    usual /= c.best("usual script, 2 processes")
    stages = min(map(in_parallel, c.runs("augforge, 1 job", 0))) / min(map(in_parallel, c.runs("augforge, 2 jobs", 1)))
    two = f"{warm:.2f} workers up (stages and shards {stages:.2f}); {cold:.2f} with their start"
    two += f"; bare loop {ceiling:.2f}; usual script {usual:.2f}"
    yield f"{c.name}: 1 job / 2 jobs", ">= 1.85", two
    yield f"{c.name}: bytes beyond the image's", "< 2 %", bytes_beyond(c)
    own = max(found["peak"] for found in c.rounds["augforge, 1 job"]) / 1e6
    worker = max(found["worker_peak"] for found in c.rounds["augforge, 2 jobs"]) / 1e6
    yield f"{c.name}: peak memory", "< 1500 MB", f"{own:.0f} MB with 1 job; a worker {worker:.0f} MB"
    phases = c.fastest("augforge, 1 job")["runs"][0]["phases"]
    spent = "; ".join(f"{name} {s / c.sizes['samples'] * 1e3:.1f}" for name, s in phases.items())
    yield f"{c.name}: build, 1 job, ms a sample", "", spent
    first = min(found["first"] for found in c.rounds["augforge, 1 job"])
    yield f"{c.name}: first build of a process, 4 images of 64x64", "", f"{first:.2f} s"


def in_parallel(run: dict[str, Any]) -> float:
    """Seconds of the phases that are divided among workers."""
    return sum(seconds for label, seconds in run["phases"].items() if "planning" not in label)


def bytes_beyond(c: Contest) -> str:
    size, usual = c.sizes, c.rounds["usual script, 1 process"][0]
    masks, image = (size[key] / size["samples"] / 1e3 for key in ("mask_bytes", "image_bytes"))
    shards, index = size["shard_bytes"] / size["image_bytes"] - 1, size["index_bytes"] / size["image_bytes"]
    pngs = usual["bytes"] / usual["image_bytes"] - 1
    return f"{shards:.2%} (masks {masks:.0f} KB, image {image:.0f} KB); index {index:.2%} more; usual script {pngs:.1%}"


def median_ratio(contest: Contest, one: str, other: str) -> float:
    return statistics.median(a / b for a, b in zip(contest.walls(one), contest.walls(other), strict=True))


def rebuild_rows(again: dict[str, Any]) -> Iterable[tuple[str, str, str]]:
    full, same, one = again["full"], again["same"], again["one"]
    samples, made = full["summary"]["samples"], one["summary"]["made"]
    each, memory = full["wall"] / samples * 1e3, full["peak"] / 1e6
    yield (
        f"full build of {again['sources']} sources, {samples} samples of 256x256",
        "",
        f"{full['wall']:.1f} s, {each:.1f} ms a sample, peak {memory:.0f} MB",
    )
    yield "rebuild, nothing changed", "< 2 s", f"{same['wall']:.2f} s ({same['process']:.2f} s with Python's imports)"
    more, copied = (one["cpu"] - same["cpu"]) / full["cpu"], one["new_bytes"] / full["summary"]["bytes"]
    work = f"{made} of {samples} samples made ({made / samples:.2%}); CPU beyond an unchanged rebuild {more:.2%}"
    yield "rebuild, one annotation changed", "< 2 % of the work", f"{work}; {copied:.0%} of the bytes copied"
    yield "rebuild, one annotation changed, wall", "", f"{one['wall']:.2f} s"


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def compete(folder: Path, options: argparse.Namespace) -> list[Contest]:
    say(f"phantom of {options.persons} persons at {options.size}x{options.size}")
    call("phantom", out=str(folder / "source"), persons=options.persons, size=options.size)
    call("phantom", out=str(folder / "tiny"), persons=2, size=64)
    names = options.cases.split(";") if options.cases else list(CASES)
    contests = [Contest(name, folder / f"case{i}", folder / "source") for i, name in enumerate(names)]
    for contest in contests:
        contest.prepare()
    for i in range(options.rounds):
        for contest in contests:
            say(f"round {i + 1} of {options.rounds}: {contest.name}")
            contest.round(usual=i < options.usual_rounds)
    return contests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--persons", type=int, default=8, help="two images each")
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--usual-rounds", type=int, default=1, help="rounds that the usual script takes part in")
    parser.add_argument("--small", type=int, default=800, help="sources of 256x256 for the rebuilds; 0: none")
    parser.add_argument("--cases", help="some of: " + "; ".join(CASES))
    parser.add_argument("--json", type=Path, help="write every round here")
    options = parser.parse_args()
    if options.child:
        result = CHILDREN[options.child[0]](**json.loads(options.child[1]))
        print(json.dumps({"peak": peak(resource.RUSAGE_SELF), **result}))
        return
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        contests = compete(Path(scratch), options)
        say("random reads")
        read = call("read", dataset=str(contests[0].dataset))
        say(f"rebuilds of {options.small} sources")
        again = rebuilds(Path(scratch) / "small", options.small) if options.small else {}
        console = shutil.which("augforge", path=str(Path(sys.executable).parent)) or "augforge"
        start = {"help": wall_of(console, "--help"), "python": wall_of(sys.executable, "-c", "pass")}
    report = [conditions(options), *map(contest_table, contests), goals_table(contests, read, again, start)]
    print("\n".join(report))
    say(f"took {time.monotonic() - started:.0f} s")
    if options.json:
        rounds = [{"name": c.name, "sizes": c.sizes, "rounds": c.rounds} for c in contests]
        content = {"contests": rounds, "read": read, "rebuilds": again, "start": start}
        options.json.write_text(json.dumps(content), encoding="utf-8")


def conditions(options: argparse.Namespace) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    work = f"{2 * options.persons} images of {options.size}x{options.size}, best of {options.rounds} rounds"
    return f"{time.strftime('%Y-%m-%d')}, {machine}, {versions}; {work}.\n"


if __name__ == "__main__":
    main()
