"""What reading costs: comparing payloads with their digests, and memory of a process per sample.

    python benchmarks/reading.py                  # about two minutes; prints Markdown
    python benchmarks/reading.py --sizes 512 --samples 20000

Cost of the check: CPU time of `Dataset.payload` with and without it, and of decoding the same samples, in turn and in
one process; the best round counts. Memory: of a process that opens a dataset of many samples with 29 classes, metadata
and labels; what a forked process adds while it reads; and of the index as a Polars table, which was held before.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import polars as pl

import augforge
from augforge.files import file_sha256
from augforge.phantom import write_phantom
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.manifest import write_manifest


def build(root: Path, size: int, encoding: str) -> Path:
    folder = root / f"{size}-{encoding}"
    write_phantom(folder / "data", persons=max(2, (8 << 20) // size**2 // 2) if size > 64 else 60, size=size, seed=7)
    (folder / "recipe.yaml").write_text(
        f"name: bench\nsource: {{format: hand-bone, path: data, classes: hand-bone}}\nsteps: []\n"
        f"output: {{image: {encoding}}}\n",
        encoding="utf-8",
    )
    augforge.build(folder / "recipe.yaml", folder / "out")
    return folder / "out"


def best(work: Callable[[], None], rounds: int) -> float:
    """CPU seconds of the best round."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def check_row(folder: Path, size: int, encoding: str, rounds: int) -> str:
    checked, plain = open_dataset(folder), open_dataset(folder, check=False)
    repeats = max(1, 4096 // size)

    def payloads(dataset: Dataset) -> None:
        for _ in range(repeats):
            for i in range(len(dataset)):
                dataset.payload(i)

    def samples(dataset: Dataset) -> None:
        for i in range(len(dataset)):
            dataset[i]

    samples(checked)
    times = [
        best(work, rounds) for work in (lambda: payloads(checked), lambda: payloads(plain), lambda: samples(plain))
    ]
    count = len(checked)
    check, decode = (times[0] - times[1]) / repeats / count, times[2] / count
    stored = sum(len(part) for i in range(count) for part in checked.payload(i)) / count
    cells = [f"{size}x{size}", encoding, f"{stored / 1024:,.0f} KB", f"{decode * 1e3:.2f} ms", f"{check * 1e6:.1f} us"]
    return f"| {' | '.join([*cells, f'{check / decode:.2%}'])} |"


# ---- memory ----


def enlarge(folder: Path, target: Path, samples: int) -> Path:
    """A dataset of many samples: those of another one again and again, with names, labels and metadata of their own."""
    whole = open_dataset(folder)
    table = pl.concat([whole.index] * -(-samples // len(whole)))[:samples].with_row_index("row")
    row = pl.col("row")
    metadata = pl.struct(age=row // 4 % 90, sex=pl.lit("F"), height=(row // 4).sqrt(), side=pl.lit("left"))
    index = table.with_columns(
        name=pl.col("name") + "~rotate-" + row.cast(pl.String),
        label=pl.concat_list([(row * c).sin().cast(pl.Float32) for c in range(5)]),
        metadata=metadata,
    ).drop("row")
    path = target / whole.manifest.index_path
    path.parent.mkdir(parents=True)
    (target / "shards").symlink_to(folder / "shards")
    index.write_parquet(path)
    changes = {"samples": samples, "labels": list("abcde"), "index_sha256": file_sha256(path), "files": []}
    write_manifest(target, whole.manifest.model_copy(update=changes))
    return target


def own_bytes(kind: str = "Pss:") -> int:
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) * 1024


def measure(small: str, large: str) -> None:
    """In a process of its own: bytes per sample, as JSON, one object a line."""
    open_dataset(small).split("train")[0]
    before, start = own_bytes(), time.perf_counter()
    dataset = open_dataset(large)
    seconds, opened = time.perf_counter() - start, own_bytes()
    count = len(dataset)
    found = {"open": (opened - before) / count, "seconds": seconds, "pickle": len(pickle.dumps(dataset)) / count}
    train = dataset.split("train")
    found["split"] = (own_bytes() - opened) / len(train)
    child = os.fork()
    if child == 0:
        before = own_bytes("Private_Dirty:")
        for i in range(len(train)):
            train._table.names[i], train._table.metadata_of(i), train._table.label[i], train._table.known[i]
        print(json.dumps({"forked": (own_bytes("Private_Dirty:") - before) / len(train)}), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    before = own_bytes()
    assert dataset.index.height == count
    print(json.dumps({**found, "index": (own_bytes() - before) / count}))


def memory_rows(folder: Path, root: Path, samples: int) -> str:
    large = enlarge(folder, root / "large", samples)
    command = [sys.executable, __file__, "--measure", str(folder), str(large)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = {}
    for line in done.stdout.splitlines():
        found |= json.loads(line)
    rows = {
        f"an open dataset ({found['seconds']:.2f} s to open)": found["open"],
        "its training split beside it": found["split"],
        "a forked process that reads every row of it, in addition": found["forked"],
        "pickled for a spawned process": found["pickle"],
        "`index`, if it is used": found["index"],
    }
    return "\n".join(f"| {what} | {value:,.0f} |" for what, value in rows.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 512, 2048])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--samples", type=int, default=100_000, help="of the dataset whose memory is measured")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as work:
        root = Path(work)
        kinds = [(size, encoding) for size in options.sizes for encoding in ("png", "jpeg")]
        folders = {kind: build(root, *kind) for kind in kinds}
        print("| image | encoding | payload | decoding | check | check / decoding |\n|---|---|---:|---:|---:|---:|")
        print("\n".join(check_row(folders[kind], *kind, options.rounds) for kind in kinds))
        if sys.platform == "linux":
            print(f"\n| {options.samples:,} samples | bytes a sample |\n|---|---:|")
            print(memory_rows(folders[kinds[0]], root, options.samples))


if __name__ == "__main__":
    main()
