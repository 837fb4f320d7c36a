"""A build on a ray cluster: a head and a worker node on this machine, in processes of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
from toybox import MOSAIC, tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.store.manifest import read_manifest
from augforge.store.verify import verify

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed"),
    pytest.mark.slow,
    pytest.mark.extras,
    pytest.mark.skipif(sys.platform == "win32", reason="processes are ended by signals"),
    pytest.mark.filterwarnings("ignore"),  # of what ray does with its processes and sockets
]


ENVIRONMENT = {
    **os.environ,
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef",  # made up
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]),
}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start_node(*arguments: str) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).parent / "ray"), "start", *arguments, "--block", "--num-cpus=1"]
    return subprocess.Popen(
        [*command, "--node-ip-address=127.0.0.1", "--disable-usage-stats"],
        env=ENVIRONMENT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def stop_node(node: subprocess.Popen[bytes]) -> None:
    """End a node and the processes that it has started; `ray stop` would end those of others too."""
    node.terminate()  # ray then ends its own processes
    with suppress(subprocess.TimeoutExpired):
        node.wait(20)
    with suppress(ProcessLookupError):
        os.killpg(node.pid, signal.SIGKILL)


@pytest.fixture(name="cluster", scope="module")
def cluster_fixture() -> Iterator[str]:
    """The address of a ray cluster of two nodes, which ask for a token."""
    address = f"127.0.0.1:{free_port()}"
    nodes = [start_node("--head", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false")]
    try:
        wait_for_workers(address, 1)
        nodes.append(start_node(f"--address={address}"))
        wait_for_workers(address, 2)
        yield address
    finally:
        for node in reversed(nodes):
            stop_node(node)


def drive(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own: ray reads its token when it is imported."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)


def wait_for_workers(address: str, count: int) -> None:
    code = """
        import sys
        from augforge.engine.backends import choose_backend
        with choose_backend(None, "ray", sys.argv[1]).started() as jobs:
            print("workers", jobs)
    """
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        done = drive(code, address)
        if f"workers {count}" in done.stdout:
            return
        time.sleep(1)
    raise TimeoutError(f"ray at {address} has no {count} workers: {done.stdout} {done.stderr}")


def test_a_build_on_ray_gives_the_bytes_of_a_serial_one(tmp_path: Path, cluster: str) -> None:
    data = tiny_hands(tmp_path / "data", range(10, 250, 6))
    recipe = write_recipe(tmp_path / "recipe.yaml", data, MOSAIC, classes="[a, b]")
    build(recipe, tmp_path / "serial")
    code = """
        from augforge.cli import main
        main()
    """
    done = drive(code, "build", recipe, "--out", tmp_path / "ray", "--backend", "ray", "--address", cluster)
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "ray") == read_manifest(tmp_path / "serial")
    assert verify(tmp_path / "ray", pixels=True) == []


def end_worker(arguments: tuple[str, int]) -> int:
    flag, item = arguments
    if item == 3 and not Path(flag).exists():
        if flag != "none":
            Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_a_lost_worker_costs_nothing_but_its_items(tmp_path: Path, cluster: str) -> None:
    code = """
        import sys
        from test_ray import end_worker
        from augforge.engine.backends import choose_backend
        from augforge.engine.execute import map_unordered
        from augforge.errors import AugforgeError

        address, flag = sys.argv[1:]
        with choose_backend(2, "ray", address).started() as jobs:
            print(sorted(map_unordered(end_worker, [(flag, number) for number in range(12)], jobs)))
            try:
                list(map_unordered(end_worker, [("none", i) for i in range(8)], jobs, lambda item: f"item {item[1]}"))
            except AugforgeError as error:
                print(error)
    """
    done = drive(code, cluster, tmp_path / "flag")
    assert str(list(range(12))) in done.stdout, done.stderr
    assert "while it performed item 3," in done.stdout, done.stderr
