"""An S3 server on this machine, moto's, behind a proxy that breaks requests on purpose."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

BROKEN = b"<Error><Code>InternalError</Code><Message>broken on purpose</Message></Error>"
STALL_SECONDS = 3.0
"""How long a stalled request waits: longer than the time limit that tests set."""


@dataclass
class Faults:
    """What the proxy does to requests.

    Attributes:
        rules: each is asked with method and path, and gives the fault, or None: ``500``, ``stall`` (no answer in time),
            ``cut`` (half a body, then the connection ends), ``lost`` (the store acts, and the answer is an error).
        requests: method and path of all requests so far.
        ranges: of each request that has one, the bytes it asks for.
        delay: seconds added to each request.
    """

    rules: list[Callable[[str, str], str | None]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    delay: float = 0.0

    def every(self, number: int, fault: str, method: str = "GET", part: str = "") -> None:
        """Break each request of a method, with a part in its path, whose number is a multiple of one; the first too."""
        seen = 0

        def rule(asked: str, path: str) -> str | None:
            nonlocal seen
            if asked != method or part not in path:
                return None
            seen += 1
            return fault if (seen - 1) % number == 0 else None

        self.rules.append(rule)

    def first(self, count: int, fault: str, method: str = "GET", part: str = "") -> None:
        """Break the first requests of a method with a part in their path."""
        left = [count]

        def rule(asked: str, path: str) -> str | None:
            if asked != method or part not in path or not left[0]:
                return None
            left[0] -= 1
            return fault

        self.rules.append(rule)

    def fault_of(self, method: str, path: str) -> str | None:
        return next(filter(None, (rule(method, path) for rule in list(self.rules))), None)


class _Handler(BaseHTTPRequestHandler):
    """Passes requests on to the server behind the proxy, or breaks them."""

    upstream: tuple[str, int]
    faults: Faults
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.faults.requests.append((self.command, self.path))
        self.faults.ranges += filter(None, [self.headers.get("Range")])
        fault = self.faults.fault_of(self.command, self.path)
        time.sleep(self.faults.delay)
        if fault == "stall":
            time.sleep(STALL_SECONDS)
            self.close_connection = True
        elif fault == "500":
            self.answer(500, {}, BROKEN)
        else:
            self.pass_on(body, fault)

    def pass_on(self, body: bytes, fault: str | None) -> None:
        connection = http.client.HTTPConnection(*self.upstream, timeout=30)
        headers = {key: value for key, value in self.headers.items() if key.lower() != "connection"}
        connection.request(self.command, self.path, body, headers)
        response = connection.getresponse()
        data = response.read()
        kept = {key: value for key, value in response.getheaders() if key.lower() not in _NOT_KEPT}
        if self.command == "HEAD":
            kept["Content-Length"] = response.getheader("Content-Length") or "0"
        connection.close()
        if fault == "lost":
            self.answer(500, {}, BROKEN)
        else:
            self.answer(response.status, kept, data, cut=fault == "cut")

    def answer(self, status: int, headers: dict[str, str], data: bytes, cut: bool = False) -> None:
        self.send_response_only(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = self.close_connection or cut

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any


@contextmanager
def proxy(upstream: tuple[str, int], faults: Faults) -> Iterator[str]:
    """The address of a proxy before a server."""
    handler = type("Handler", (_Handler,), {"upstream": upstream, "faults": faults})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


_NOT_KEPT = {"connection", "content-length", "transfer-encoding", "date", "server"}


def clear_memory() -> None:
    """Forget all objects behind ``memory://``, and the folders that fsspec remembers."""
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@contextmanager
def s3_store(faults: Faults) -> Iterator[str]:
    """The URL of an empty bucket. The environment says where its server is, with time limits of a second.

    The bucket has a name that no other test uses, since all of moto's servers in a process share their state.
    """
    from moto import server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    running.start()
    try:
        with proxy(("127.0.0.1", port), faults) as address, pytest.MonkeyPatch.context() as patch:
            for name, value in {
                "AWS_ENDPOINT_URL": address,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AUGFORGE_TIMEOUT": "1",
            }.items():
                patch.setenv(name, value)
            import s3fs

            s3fs.S3FileSystem.clear_instance_cache()
            s3fs.S3FileSystem(skip_instance_cache=True).mkdir("faulty")
            yield "s3://faulty"
            s3fs.S3FileSystem.clear_instance_cache()
    finally:
        running.stop()
