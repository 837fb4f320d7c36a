"""Backends: which one is chosen; builds on dask are the same as serial ones, whatever becomes of the workers."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import killing
import pytest
from toybox import MOSAIC, tiny_hands, write_recipe

import augforge.engine.worker
from augforge.cache.work import BatchWriter
from augforge.engine import backends
from augforge.engine.backends import active_backend, choose_backend, on_cluster
from augforge.engine.builder import build
from augforge.engine.execute import map_unordered
from augforge.engine.jobs import BatchResult, check_libraries
from augforge.errors import AugforgeError, DatasetError, MissingExtra
from augforge.store.codec import library_versions
from augforge.store.manifest import read_manifest
from augforge.store.verify import verify

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of libraries that dask imports
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


# ---- choosing --------------------------------------------------------------------------------------------------------


def test_the_environment_chooses_and_options_overrule_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_backend(2).name == "loky"
    monkeypatch.setenv("AUGFORGE_BACKEND", "dask")
    monkeypatch.setenv("AUGFORGE_ADDRESS", "tcp://there:8786")
    assert (choose_backend(2).name, choose_backend(2).address) == ("dask", "tcp://there:8786")
    assert choose_backend(2, address="tcp://here:1").address == "tcp://here:1"
    assert choose_backend(2, "serial").address is None


def test_what_cannot_be_chosen_says_what_can() -> None:
    with pytest.raises(
        AugforgeError, match=r"no backend 'dusk'; expected serial, loky, dask, ray. Did you mean 'dask'"
    ):
        choose_backend(2, "dusk")
    with pytest.raises(AugforgeError, match=r"--address tcp://x is for a cluster.*the backend is loky.*--backend dask"):
        choose_backend(2, address="tcp://x")


@pytest.mark.parametrize(("name", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    monkeypatch.setattr(backends, "find_spec", {"distributed": None, "ray": None}.__getitem__)
    with pytest.raises(MissingExtra, match=rf"--backend {name} needs {package}.*pip install 'augforge\[{name}\]'"):
        choose_backend(2, name)


@pytest.mark.parametrize("name", ["serial", "loky", "dask"])
def test_one_job_stays_in_this_process(name: str) -> None:
    with choose_backend(1, name).started() as jobs:
        assert jobs == 1 and not on_cluster()
        assert set(map_unordered(process_of, range(9), jobs)) == {os.getpid()}


def test_the_serial_backend_stays_in_this_process_whatever_jobs_say() -> None:
    with choose_backend(4, "serial").started() as jobs:
        assert set(map_unordered(process_of, range(20), jobs)) == {os.getpid()}


def test_a_backend_ends_with_its_block() -> None:
    with choose_backend(3, "serial").started():
        assert active_backend(3).name == "serial"
    assert active_backend(3).name == "loky"


def test_an_address_where_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "CONNECT_SECONDS", 0.3)
    with (
        pytest.raises(AugforgeError, match=r"the dask cluster at tcp://127.0.0.1:9 cannot be used.*another --address"),
        choose_backend(2, "dask", "tcp://127.0.0.1:9").started(),
    ):
        pass


# ---- what workers send -----------------------------------------------------------------------------------------------


def process_of(_item: int) -> int:
    return os.getpid()


def test_a_worker_sends_a_few_hundred_bytes_and_the_batch_is_read_from_the_work_area(tmp_path: Path) -> None:
    import pickle

    with BatchWriter(tmp_path, {"numpy": "2"}) as writer:
        for number in range(100):
            writer.record("task", str(number), {"outputs": ["x" * 50]})
            writer.add(str(number), "png", b"image", b"masks")
    sent = pickle.dumps(BatchResult(writer.batch, 100))
    assert len(sent) < 1000
    received: BatchResult = pickle.loads(sent)
    assert received.take_batch() == writer.batch and received.job_count == 100
    writer.batch.path.unlink()  # type: ignore[union-attr]
    with pytest.raises(DatasetError, match=r"a worker wrote this batch.*shared file system, or build to a URL"):
        received.take_batch()


def test_a_worker_with_other_libraries_is_refused() -> None:
    own = {"augforge": augforge.__version__, **library_versions()}
    check_libraries(own)
    with pytest.raises(AugforgeError, match=rf"it has numpy {own['numpy']} instead of 0.1\. Install the same versions"):
        check_libraries({**own, "numpy": "0.1"})


# ---- builds on dask --------------------------------------------------------------------------------------------------


@pytest.fixture(name="data", scope="module")
def data_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hands(tmp_path_factory.mktemp("data"), range(10, 250, 6))


@pytest.fixture(name="cluster", scope="module")
def cluster_fixture() -> Iterator[str]:
    """The address of a dask cluster of two worker processes."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


def files_of(folder: Path) -> dict[str, bytes]:
    """All files of a version, by name."""
    parts = [folder / "manifest.yaml", *(folder / "shards").iterdir(), *(folder / "index").iterdir()]
    return {path.name: path.read_bytes() for path in parts}


def test_a_build_on_dask_gives_the_bytes_of_a_serial_one(tmp_path: Path, data: Path, cluster: str) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", data, MOSAIC, classes="[a, b]")
    build(recipe, tmp_path / "serial", backend="serial")
    build(recipe, tmp_path / "dask", backend="dask", address=cluster)
    assert files_of(tmp_path / "dask") == files_of(tmp_path / "serial")
    assert verify(tmp_path / "dask", pixels=True) == []


def test_relative_paths_mean_the_same_to_workers_elsewhere(
    tmp_path: Path, data: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the cluster's workers stay where they were started
    Path("data").symlink_to(data)
    recipe = write_recipe(Path("recipe.yaml"), Path("data"), MOSAIC, classes="[a, b]")
    summary = build(recipe, "out", backend="dask", address=cluster)
    assert summary.made == summary.samples and read_manifest(Path("out")).version == summary.version
    again = build(recipe, "out", overrides=["seed=5"], backend="dask", address=cluster)  # workers read its shards
    build(recipe, "serial")
    assert again.reused == build(recipe, "serial", overrides=["seed=5"]).reused > 0


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
@pytest.mark.parametrize(("first", "then"), [("dask", "serial"), ("serial", "dask")])
def test_a_killed_build_goes_on_with_another_backend(
    tmp_path: Path, data: Path, cluster: str, first: str, then: str
) -> None:
    recipe, places = write_recipe(tmp_path / "recipe.yaml", data, MOSAIC, classes="[a, b]"), {"dask": cluster}
    undisturbed = build(recipe, tmp_path / "undisturbed")
    assert killing.run(killing.build_some_batches, recipe, tmp_path / "out", first, places.get(first), 5, at=-1) is None
    kept = len(list((tmp_path / "out" / "work").glob("*.json")))
    assert kept >= 5
    summary = build(recipe, tmp_path / "out", backend=then, address=places.get(then))
    assert summary.version == undisturbed.version and summary.reused >= 5
    assert files_of(tmp_path / "out") == files_of(tmp_path / "undisturbed")


def end_worker_once(arguments: tuple[str, int]) -> int:
    flag, item = arguments
    if item == 3 and not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def end_worker_at_three(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("name", ["loky", "dask"])
def test_a_lost_worker_costs_nothing_but_its_items(tmp_path: Path, name: str, cluster: str) -> None:
    items = [(str(tmp_path / "flag"), number) for number in range(12)]
    with choose_backend(2, name, cluster if name == "dask" else None).started() as jobs:
        assert sorted(map_unordered(end_worker_once, items, jobs)) == list(range(12))
    assert (tmp_path / "flag").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("name", ["loky", pytest.param("dask", marks=pytest.mark.slow)])
def test_an_item_that_ends_every_worker_is_named(name: str) -> None:
    done = []
    with choose_backend(2, name).started() as jobs, pytest.raises(AugforgeError, match="while it performed item 3,"):
        for item in map_unordered(end_worker_at_three, range(12), jobs, lambda item: f"item {item}"):
            done.append(item)  # noqa: PERF402 - what came before the error counts
    assert len(done) == len(set(done)) and 3 not in done
