"""Who may ask a local server: whoever has the address with its token, from a page of the server itself.

A server on the loopback interface can be reached by every user of the machine, and by every page that the browser has
open. So the path begins with a token that nobody can guess; the Host header must name the loopback interface, which no
foreign name can (DNS rebinding); and what changes something must come from a page of this server, as JSON. The port is
not compared: who forwards it by SSH sees another one.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_SAFE = ("GET", "HEAD")
_HEADERS = {
    b"cache-control": b"no-store",
    b"referrer-policy": b"no-referrer",  # the address has the token in it
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"cross-origin-resource-policy": b"same-origin",
}


def new_token() -> str:
    """A token for one run of a server: 32 characters that nobody can guess."""
    return secrets.token_urlsafe(24)


class Guard:
    """Lets requests pass that may ask, with the token taken off their path; refuses the others.

    Args:
        app: what answers.
        token: the first part of every path.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it; WebSockets are refused by not being accepted."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope["method"], scope["path"], headers)
        if refusal is not None:
            await _refuse(send, *refusal)
            return
        prefix = f"/{self._token}"
        inner = {**scope, "root_path": prefix}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_HEADERS.items()]}
            await send(message)

        await self._app(inner, receive, send_with_headers)

    def _refusal(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """The status and the reason of a refusal; None for a request that may pass."""
        host = headers.get("host", "")
        if _host_name(host) not in LOOPBACK:
            return 421, "this server answers to 127.0.0.1 and localhost alone"
        first, _, _ = path.removeprefix("/").partition("/")
        if not secrets.compare_digest(first.encode(), self._token.encode()):
            return 404, "not found; open the address that augforge printed, with its token"
        if method in _SAFE:
            return None
        if headers.get("origin", "") != f"http://{host}":
            return 403, "only pages of this server may change something"
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return 415, "expected JSON"
        return None


def _host_name(host: str) -> str:
    """The name in a Host header, without its port, in small letters; empty if it is none."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
    return f"[{name}]" if ":" in name else name


async def _refuse(send: Send, status: int, reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *_HEADERS.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": reason.encode()})
