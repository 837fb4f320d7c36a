"""Where work is performed: in this process, in others of this machine, on a dask or on a ray cluster.

All of them are joblib's own backends; this module chooses one, connects to its cluster, and gives its errors a name.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from augforge.errors import AugforgeError, MissingExtra, first_line, nearest

BACKEND_VARIABLE = "AUGFORGE_BACKEND"
ADDRESS_VARIABLE = "AUGFORGE_ADDRESS"
CONNECT_SECONDS = 30
"""How long a cluster may take to answer, and to have its first worker."""
RETRIES = 3
"""How often dask gives a task to another worker, and ray starts a worker again, when a worker is lost."""
_PARENT_POLL = 0.5
"""Seconds between two looks of a worker at whether its parent still lives."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A way to perform work, ready to use.

    Attributes:
        name: ``serial``, ``loky``, ``dask`` or ``ray``.
        jobs: how many workers there are.
        config: what `joblib.parallel_config` takes for it.
        lost: the errors that mean that a worker is gone, and its batch with it.
        is_cluster: its workers may run on other machines, in another folder.
    """

    name: str
    jobs: int
    config: Mapping[str, Any] = field(default_factory=dict)
    lost: tuple[type[BaseException], ...] = ()
    is_cluster: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """A backend that was asked for, and can be started; nothing runs yet.

    Attributes:
        name: of the backend.
        jobs: how many workers are wanted; None for the default of the backend.
        address: of the cluster; None to start one on this machine.
    """

    name: str
    jobs: int | None
    address: str | None

    @contextmanager
    def started(self) -> Iterator[int]:
        """Make this the backend of `augforge.engine.execute.map_unordered`, and give its number of workers.

        Raises:
            AugforgeError: no cluster answers at the address, or it has no worker.
        """
        with _STARTERS[self.name](self.jobs, self.address) as backend:
            token = _ACTIVE.set(backend)
            try:
                yield backend.jobs
            finally:
                _ACTIVE.reset(token)


_ACTIVE: ContextVar[Backend | None] = ContextVar("backend", default=None)


def active_backend(jobs: int) -> Backend:
    """The backend that was started; without one, processes of this machine."""
    return _ACTIVE.get() or _loky_backend(jobs)


def on_cluster() -> bool:
    """Whether the backend that was started has workers in other folders, and perhaps on other machines."""
    backend = _ACTIVE.get()
    return backend is not None and backend.is_cluster


def choose_backend(jobs: int | None, name: str | None = None, address: str | None = None) -> Chosen:
    """The backend that options or the environment ask for.

    Args:
        jobs: how many workers, -1 for one per core; None is one process, or all workers of a cluster. With 1 the work
            is done in this process, whatever the backend.
        name: ``serial``, ``loky``, ``dask`` or ``ray``; None is `$AUGFORGE_BACKEND`, or else ``loky``.
        address: of a cluster; None is `$AUGFORGE_ADDRESS`, or else a cluster that is started on this machine.

    Raises:
        AugforgeError: there is no such backend, or an address was given for one that has none.
        MissingExtra: the backend's package is not installed.
    """
    name = name or os.environ.get(BACKEND_VARIABLE) or "loky"
    if name not in _STARTERS:
        raise AugforgeError(f"there is no backend '{name}'; expected {', '.join(_STARTERS)}.{nearest(name, _STARTERS)}")
    if name not in _PACKAGES:
        if address:
            raise AugforgeError(
                f"--address {address} is for a cluster, and the backend is {name}. Add --backend dask or --backend ray"
            )
        return Chosen(name, jobs, None)
    if find_spec(_PACKAGES[name]) is None:
        raise MissingExtra(_PACKAGES[name], name, f"--backend {name}")
    return Chosen(name, jobs, address or os.environ.get(ADDRESS_VARIABLE) or None)


_PACKAGES = {"dask": "distributed", "ray": "ray"}
"""The package that a backend needs, which an extra of the backend's name installs."""


def worker_count(jobs: int) -> int:
    """Number of processes that `jobs` asks for: 0 and -1 are all cores, -2 is all but one, and so on."""
    if jobs > 0:
        return jobs
    return max(1, (os.cpu_count() or 1) + min(0, jobs + 1))


# ---- this machine ----------------------------------------------------------------------------------------------------


@contextmanager
def _start_serial(_jobs: int | None, _address: str | None) -> Iterator[Backend]:
    yield Backend("serial", 1)


@contextmanager
def _start_loky(jobs: int | None, _address: str | None) -> Iterator[Backend]:
    yield _loky_backend(worker_count(1 if jobs is None else jobs))


def _loky_backend(jobs: int) -> Backend:
    config = {"backend": "loky", "initializer": _end_with_parent, "initargs": (os.getpid(),)}
    return Backend("loky", jobs, config, (TerminatedWorkerError,))


def _end_with_parent(parent: int) -> None:
    """Start a thread that ends this worker process soon after its parent; a killed parent cannot end it itself.

    Linux could do that (PR_SET_PDEATHSIG), but it ends the worker as soon as the parent's *thread* that started it
    ends, and workers are kept for the next build, which may come from another thread.
    """
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    if sys.platform == "win32":  # where a process keeps the number of a parent that has ended
        synchronize, forever = 0x00100000, -1
        handle = ctypes.windll.kernel32.OpenProcess(synchronize, False, parent)
        ctypes.windll.kernel32.WaitForSingleObject(handle, forever)
    else:
        while os.getppid() == parent:
            time.sleep(_PARENT_POLL)
    os._exit(1)


# ---- clusters --------------------------------------------------------------------------------------------------------


@contextmanager
def _start_dask(jobs: int | None, address: str | None) -> Iterator[Backend]:
    if jobs == 1:
        yield Backend("serial", 1)
        return
    from dask import config
    from distributed import LocalCluster
    from distributed.scheduler import KilledWorker

    with ExitStack() as stack, config.set({"distributed.scheduler.allowed-failures": RETRIES}):
        cluster: Any = address
        if address is None:  # a scheduler and worker processes on this machine
            wanted = worker_count(-1 if jobs is None else jobs)
            options = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
            cluster = stack.enter_context(LocalCluster(n_workers=wanted, **options))
        client = stack.enter_context(_connect_to_dask(cluster))
        count = _at_most(jobs, sum(client.ncores().values()))
        joblib.register_parallel_backend(_TELLING_DASK, _telling_dask_backend)
        yield Backend("dask", count, {"backend": _TELLING_DASK, "client": client}, (KilledWorker,), True)


_TELLING_DASK = "dask that tells of lost tasks"


def _telling_dask_backend(**options: Any) -> Any:
    """joblib's backend for dask, which calls back for tasks that dask gives up too.

    joblib's own (1.5) calls back for results alone: who waits for one of any task would wait forever.
    """
    from joblib._dask import DaskDistributedBackend

    backend = DaskDistributedBackend(**options)
    submit = backend.submit

    def submit_and_tell(call: Any, callback: Callable[[Any], None] | None = None) -> Any:
        future = submit(call, callback)
        if callback is not None:
            future.add_done_callback(lambda done: callback(done.exception()) if done.exception() else None)
        return future

    backend.submit = submit_and_tell
    return backend


def _connect_to_dask(cluster: Any) -> Any:
    """A client of a cluster that has a worker."""
    from distributed import Client

    try:
        client = Client(cluster, timeout=CONNECT_SECONDS, set_as_default=False)
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except BaseException:
            client.close()
            raise
    except (OSError, ValueError) as error:
        raise _unreachable("dask", cluster, error) from error
    return client


@contextmanager
def _start_ray(jobs: int | None, address: str | None) -> Iterator[Backend]:
    if jobs == 1:
        yield Backend("serial", 1)
        return
    import ray
    from ray.exceptions import RayActorError, WorkerCrashedError
    from ray.util.joblib.ray_backend import RayBackend

    own = not ray.is_initialized()
    if own:
        wanted = None if address else worker_count(-1 if jobs is None else jobs)
        try:
            ray.init(address=address or "local", num_cpus=wanted, log_to_driver=False, logging_level="ERROR")
        except (OSError, ValueError, RuntimeError) as error:
            raise _unreachable("ray", address, error) from error
    try:
        count = _at_most(jobs, int(ray.cluster_resources().get("CPU", 0)))
        joblib_backend = RayBackend(ray_remote_args={"max_restarts": RETRIES})
        joblib_backend.supports_return_generator = True  # it calls back for each result, which is all that it takes
        yield Backend("ray", count, {"backend": joblib_backend}, (RayActorError, WorkerCrashedError), True)
    finally:
        if own:
            ray.shutdown()


def _unreachable(name: str, address: str | None, error: Exception) -> AugforgeError:
    place = f"the {name} cluster at {address}" if isinstance(address, str) else f"a {name} cluster on this machine"
    return AugforgeError(
        f"{place} cannot be used ({first_line(error)}). See that its scheduler and a worker run and can be reached "
        "from here, or give another --address"
    )


def _at_most(jobs: int | None, count: int) -> int:
    """How many of a cluster's workers are used: as many as wanted, and all of them without a number."""
    return max(1, count if jobs is None or jobs < 1 else min(jobs, count))


_STARTERS: dict[str, Callable[[int | None, str | None], AbstractContextManager[Backend]]] = {
    "serial": _start_serial,
    "loky": _start_loky,
    "dask": _start_dask,
    "ray": _start_ray,
}
