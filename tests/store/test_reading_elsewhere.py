"""Reading in other processes, however they were started, and in threads, while a build writes the next version."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from typing import Any
from zlib import crc32

import cv2
import numpy as np
import polars as pl
import pytest
from toybox import (
    annotation,
    edit_json,
    made,
    move_a_point,
    put_hand,
    tiny_hands,
    two_versions_fixture,  # noqa: F401
    write_recipe,
)

from augforge.engine.builder import build
from augforge.errors import DatasetError
from augforge.files import file_sha256
from augforge.store import versionfiles
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.manifest import write_manifest

METHODS = [method for method in ("fork", "spawn", "forkserver") if method in get_all_start_methods()]
PATIENCE = 60  # seconds until a process that gives no answer hangs

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


@pytest.fixture(name="folder", scope="module")
def folder_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("elsewhere")
    data = tiny_hands(root / "data", range(10, 200, 12), ("a", "b"))
    made(root, data, ("{op: hflip, keep_input: true}",), classes="[a, b]", split="{val: 0.25}")
    return root / "out"


@pytest.fixture(name="dataset")
def dataset_fixture(folder: Path) -> Dataset:
    """Open, and its index used, so that Polars and Arrow have their threads."""
    dataset = open_dataset(folder)
    assert dataset.where(pl.col("split") == "train").index["area"].struct.field("a").sum() > 0
    return dataset


def everything(dataset: Dataset) -> list[Any]:
    """All that can be read without Polars."""
    val, train = dataset.split("val"), dataset.split("train")
    return [
        [digest(sample) for part in (dataset, val, train) for sample in part],
        dataset.order(3, 1, 2, 1).tolist(),
        digest(dataset.by_name(dataset[3].name)),
        [len(part) for part in dataset.payload(-1)],
        digest(dataset.take([3, 2]).split(dataset[3].split)[0]),
    ]


def digest(sample: Any) -> tuple[Any, ...]:
    pixels = sample.image.tobytes() + sample.masks.tobytes() + sample.known.tobytes()
    return crc32(pixels), sample.name, sample.group, sample.split, sample.label, sample.metadata


def answer_of(method: str, work: Callable[[Dataset], Any], dataset: Dataset) -> Any:
    """What a new process gives back; a failure if it does not within PATIENCE."""
    context = get_context(method)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=send, args=(theirs, work, dataset))  # type: ignore[attr-defined]
    process.start()
    theirs.close()
    try:
        assert ours.poll(PATIENCE), f"no answer of a process started by {method}"
        return ours.recv()
    finally:
        process.kill()
        process.join()


def send(pipe: Any, work: Callable[[Dataset], Any], dataset: Dataset) -> None:
    try:
        pipe.send(work(dataset))
    except DatasetError as error:
        pipe.send(error)


@pytest.mark.parametrize("method", METHODS)
def test_processes_read_all_there_is(method: str, dataset: Dataset) -> None:
    wanted = everything(dataset)
    assert answer_of(method, everything, dataset) == wanted


def use_index(dataset: Dataset) -> int:
    return dataset.index.height


def use_where(dataset: Dataset) -> int:
    return len(dataset.where(pl.col("split") == "val"))


def open_and_use_where(dataset: Dataset) -> int:
    return use_where(open_dataset(dataset.folder))


@pytest.mark.skipif("fork" not in METHODS, reason="no fork here")
@pytest.mark.parametrize("work", [use_index, use_where, open_and_use_where])
def test_polars_in_a_forked_process_is_an_error(work: Callable[[Dataset], int], dataset: Dataset) -> None:
    answer = answer_of("fork", work, dataset)
    assert isinstance(answer, DatasetError)
    assert "forked" in str(answer) and "before the processes start" in str(answer)
    assert "'spawn' or 'forkserver'" in str(answer)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "fork"])
def test_polars_works_in_other_processes(method: str, dataset: Dataset) -> None:
    assert answer_of(method, use_where, dataset) == use_where(dataset)


FORK_WITHOUT_POLARS = """
import os, sys
from augforge import open_dataset
dataset = open_dataset(sys.argv[1])
assert "polars" not in sys.modules
if sys.argv[2] == "loaded":
    import polars as pl
child = os.fork()
if child == 0:
    import polars as pl
    os._exit(len(dataset.where(pl.col("split") == "val")))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif("fork" not in METHODS, reason="no fork here")
@pytest.mark.parametrize("polars", ["loaded", "absent"])
def test_where_works_in_a_process_forked_before_polars_was_used(polars: str, folder: Path) -> None:
    """As those of a fork server that imports modules ahead."""
    if polars == "loaded" and sys.platform != "linux":
        pytest.skip("only Linux names threads")
    command = [sys.executable, "-c", FORK_WITHOUT_POLARS, str(folder), polars]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout.split() == [str(open_dataset(folder).manifest.splits["val"])], done.stderr


def read_colour(dataset: Dataset) -> int:
    return sum(int(sample.image.sum()) for sample in dataset)


@pytest.mark.skipif("fork" not in METHODS, reason="no fork here")
def test_large_colour_images_are_read_in_forked_processes(tmp_path: Path) -> None:
    """OpenCV converts them in threads, which are not there after a fork."""
    rng = np.random.default_rng(0)
    for number in (1, 2, 3):
        put_hand(tmp_path / "data", number, rng.integers(0, 255, (700, 900, 3), np.uint8), ["a"])
    _, dataset = made(tmp_path, tmp_path / "data", classes="[a]")
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 5)
    wanted = read_colour(dataset)
    assert answer_of("fork", read_colour, dataset) == wanted


# ---- threads ----


def test_threads_read_while_maps_are_dropped(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versionfiles, "OPEN_SHARDS", 1)
    fresh, wanted = open_dataset(dataset.folder), [digest(sample) for sample in dataset]
    assert len({*dataset.index["shard"]}) > 1

    def read(seed: int) -> bool:
        order = np.random.default_rng(seed).permutation(len(fresh))
        return all(digest(fresh[int(i)]) == wanted[i] for i in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(40)))
    assert len(fresh._files._maps) <= 8


@pytest.mark.skipif("fork" not in METHODS, reason="no fork here")
def test_a_fork_while_threads_read(dataset: Dataset) -> None:
    """Whatever a thread holds at the moment of the fork, the new process does not wait for it."""
    wanted, stop = everything(dataset), threading.Event()

    def read() -> None:
        while not stop.is_set():
            everything(dataset)

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(read) for _ in range(3)]
        try:
            for _ in range(5):
                assert answer_of("fork", everything, dataset) == wanted
        finally:
            stop.set()
        for each in running:
            each.result()


# ---- copies of a dataset behind a URL ----


@pytest.mark.skipif("fork" not in METHODS, reason="no fork here")
def test_readers_that_find_the_same_damaged_copy(
    folder: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All get what is behind the URL: one of them fetches the copy again, and the others find it whole."""
    monkeypatch.setenv("AUGFORGE_CACHE", str(tmp_path / "cache"))
    far, wanted = open_dataset(folder.as_uri()), everything(dataset)
    assert everything(far) == wanted
    for copy in (far.folder / "shards").glob("*.parquet"):
        copy.write_bytes(bytes(copy.stat().st_size))
    with ThreadPoolExecutor(4) as pool:
        forked = [pool.submit(answer_of, "fork", everything, far) for _ in range(2)]
        here = [pool.submit(everything, far) for _ in range(2)]
        assert [each.result() for each in (*forked, *here)] == [wanted] * 4


# ---- while the dataset goes on ----


@pytest.mark.parametrize(
    "method", [METHODS[0], *(pytest.param(other, marks=pytest.mark.slow) for other in METHODS[1:])]
)
def test_a_build_of_the_next_version_disturbs_no_reader(method: str, tmp_path: Path) -> None:
    data = tiny_hands(tmp_path / "data", [10, 60, 110, 160], ("a", "b"))
    recipe = write_recipe(tmp_path / "recipe.yaml", data, classes="[a, b]", split="{val: [ID002]}")
    build(recipe, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    wanted, version = everything(dataset), dataset.version
    with ThreadPoolExecutor(1) as pool:
        edit_json(annotation(data, "ID001/image0000000000001"), move_a_point)
        building = pool.submit(build, recipe, tmp_path / "out")
        answers = [answer_of(method, everything, dataset) for _ in range(2)]
        building.result()
    assert answers == [wanted] * 2
    assert open_dataset(tmp_path / "out").version != version
    assert everything(dataset) == wanted and dataset.index.height == 4


# ---- how much a process holds ----

SAMPLES = 20_000
MEASURE = """
import os, sys
from augforge import open_dataset

def pss(kind):
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) * 1024

small, large = sys.argv[1:]
warm = open_dataset(small)
warm.split("train")[0]
before = pss("Pss:")
dataset = open_dataset(large)
train = dataset.split("train")
train[0]
print((pss("Pss:") - before) / (len(dataset) + len(train)), flush=True)
child = os.fork()
if child == 0:
    before = pss("Private_Dirty:")
    for i in range(len(train)):
        train._table.names[i], train._table.metadata_of(i), train._table.label[i], train._table.known[i]
    train[len(train) - 1]
    print((pss("Private_Dirty:") - before) / len(train), flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


def enlarge(folder: Path, target: Path) -> Path:
    """A dataset of many samples: those of another one again and again, with names, labels and metadata of their own."""
    whole = open_dataset(folder)
    table = pl.concat([whole.index] * -(-SAMPLES // len(whole)))[:SAMPLES].with_row_index("row")
    name = pl.col("name") + "~rotate-" + pl.col("row").cast(pl.String)
    label = pl.concat_list([(pl.col("row") * c).sin().cast(pl.Float32) for c in range(5)])
    person = pl.col("row") // 4
    notes = name.str.slice(9)
    metadata = pl.struct(age=person % 90, sex=pl.lit("F"), height=person.sqrt(), side=pl.lit("left"), note=notes)
    index = table.with_columns(name=name, label=label, metadata=metadata).drop("row")
    shutil.copytree(folder / "shards", target / "shards")
    path = target / whole.manifest.index_path
    path.parent.mkdir()
    index.write_parquet(path)
    changes = {"samples": SAMPLES, "labels": list("abcde"), "index_sha256": file_sha256(path), "files": []}
    write_manifest(target, whole.manifest.model_copy(update=changes))
    return target


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory of a process is its own")
def test_memory_of_a_process_per_sample(two_versions: Path, tmp_path: Path) -> None:
    """29 classes, metadata and labels; a dataset, and its training split beside it."""
    large = enlarge(two_versions / "toy", tmp_path / "large")
    command = [sys.executable, "-c", MEASURE, str(two_versions / "toy"), str(large)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    opened, forked = map(float, done.stdout.split())
    assert opened < 400, done.stderr
    assert forked < 100, "a forked process shares its parent's table"


def test_pickles_are_small(dataset: Dataset) -> None:
    """What a spawned process gets: no table with objects for each value, and nothing that was only looked at."""
    size = len(pickle.dumps(dataset))
    fresh = len(pickle.dumps(open_dataset(dataset.folder)))
    assert size == fresh
    manifest = len(pickle.dumps(dataset.manifest))
    assert (size - manifest) / len(dataset) < 400
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.index.equals(dataset.index)
    part = dataset.where(pl.col("step") == "hflip").take([3, 1])
    assert pickle.loads(pickle.dumps(part)).index.equals(part.index)
