"""Starting a server on the loopback interface, and stopping it."""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from augforge.errors import AugforgeError, MissingExtra
from augforge.report.web.guard import Guard, new_token

if TYPE_CHECKING:
    from starlette.applications import Starlette

_HOST = "127.0.0.1"


def require_server(purpose: str) -> None:
    """Raise MissingExtra unless the packages that serve pages are installed."""
    for package in ("starlette", "uvicorn"):
        if find_spec(package) is None:
            raise MissingExtra(package, "review", purpose)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server will answer: a socket that listens already, and the token that paths begin with."""

    listener: socket.socket
    token: str

    @property
    def port(self) -> int:
        """The port on the loopback interface."""
        return int(self.listener.getsockname()[1])

    @property
    def url(self) -> str:
        """The address to open."""
        return f"http://{_HOST}:{self.port}/{self.token}/"


def listen(port: int) -> Address:
    """Take a port of the loopback interface; 0 takes a free one. AugforgeError if it is taken, or not ours to take."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise AugforgeError(
            f"port {port} on {_HOST} cannot be taken: {error.strerror}. Choose another one with --port, or 0 for a "
            "free one"
        ) from None
    return Address(listener, new_token())


def serve(app: Starlette, address: Address, ready: Callable[[str], None], *, browser: bool) -> None:
    """Serve pages until the process is interrupted.

    Args:
        app: what answers, with paths that do not have the token.
        address: where.
        ready: called with the address to open.
        browser: open it in this machine's browser.
    """
    import uvicorn

    ready(address.url)
    if browser:
        webbrowser.open(address.url)
    config = uvicorn.Config(
        Guard(app, address.token), log_level="warning", access_log=False, ws="none", server_header=False, lifespan="off"
    )
    with address.listener as listener:
        uvicorn.Server(config).run([listener])
