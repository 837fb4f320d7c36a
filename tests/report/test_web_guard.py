"""Local servers: only whoever has the address gets an answer, and only pages of the server change something."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from toybox import two_versions_fixture
from typer.testing import CliRunner
from webpages import parse, with_hostile_names

from augforge.cli.app import app as command_line
from augforge.errors import AugforgeError, MissingExtra
from augforge.report.html.browsing import PAGE, Gallery, report_app
from augforge.report.html.page import make_report
from augforge.report.web.guard import Guard, new_token
from augforge.report.web.serving import listen, require_server
from augforge.store.dataset import Dataset, open_dataset

__all__ = ["two_versions_fixture"]

KEY = "of-this-run"
BASE = "http://127.0.0.1:8765"


def answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.url.path)


@pytest.fixture(name="client")
def client_fixture() -> TestClient:
    app = Starlette(routes=[Route("/", answer), Route("/change", answer, methods=["POST"])])
    return TestClient(Guard(app, KEY), base_url=BASE)


def post(client: TestClient, **headers: str) -> int:
    sent = {"origin": BASE, "content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return client.post(f"/{KEY}/change", content="{}", headers={k: v for k, v in sent.items() if v}).status_code


def test_the_token_opens_the_page(client: TestClient) -> None:
    found = client.get(f"/{KEY}/")
    assert found.status_code == 200
    assert found.headers["referrer-policy"] == "no-referrer" and found.headers["cache-control"] == "no-store"
    assert found.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("path", ["/", "/other-token/", f"/{KEY}x/", f"/{KEY[:-1]}/", f"/x/{KEY}/", f"//{KEY}/"])
def test_without_the_token_there_is_nothing(client: TestClient, path: str) -> None:
    assert client.get(BASE + path).status_code == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "127.0.0.2", "", "[::"]
)
def test_other_hosts_are_refused_though_they_have_the_token(client: TestClient, host: str) -> None:
    """As after DNS rebinding: the browser asks this server, and believes it to be another one."""
    assert client.get(f"/{KEY}/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:9000", "localhost:8765", "LOCALHOST", "[::1]:8765"])
def test_any_port_of_this_machine_may_ask_as_ssh_forwards_it(client: TestClient, host: str) -> None:
    assert client.get(f"/{KEY}/", headers={"host": host}).status_code == 200


def test_changes_come_from_pages_of_the_server_alone(client: TestClient) -> None:
    assert post(client) == 200
    assert post(client, host="localhost:9000", origin="http://localhost:9000") == 200
    for origin in ("http://evil.example", "http://127.0.0.1:9999", "https://127.0.0.1:8765", "null", ""):
        assert post(client, origin=origin) == 403
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert post(client, content_type=kind) == 415


def test_tokens_are_long_and_never_the_same() -> None:
    assert len({new_token() for _ in range(50)}) == 50 and min(len(new_token()) for _ in range(50)) >= 32


def test_a_server_listens_on_the_loopback_interface_alone() -> None:
    address = listen(0)
    with address.listener as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        assert address.url == f"http://127.0.0.1:{address.port}/{address.token}/"
        with pytest.raises(AugforgeError, match=f"port {address.port} on 127.0.0.1 cannot be taken.*--port"):
            listen(address.port)
        with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.2", address.port), timeout=5):
            pass


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("augforge.report.web.serving.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'augforge\[review\]'"):
        require_server("--serve")


@pytest.fixture(scope="module", name="dataset")
def dataset_fixture(two_versions: Path) -> Dataset:
    return with_hostile_names(open_dataset(two_versions / "toy"))


def test_samples_are_found_by_every_filter(dataset: Dataset) -> None:
    gallery, nothing = Gallery(dataset), dict.fromkeys(("split", "step", "class", "tag", "name"), "")
    index = dataset.index
    assert len(gallery.find(nothing)) == len(dataset)
    val = {index["name"][position] for position in gallery.find({**nothing, "split": "val"})}
    assert val == set(index.filter(index["split"] == "val")["name"])
    mosaics = {index["name"][position] for position in gallery.find({**nothing, "step": "mosaic"})}
    assert mosaics == set(index.filter(index["step"] == "mosaic")["name"])
    sources = {index["name"][position] for position in gallery.find({**nothing, "step": "source"})}
    assert sources == {row["name"] for row in index.iter_rows(named=True) if not row["step"]}
    name = index["name"][3]
    assert gallery.find({**nothing, "name": name}) == [3]
    tag = index["tags"][0][0]
    assert gallery.find({**nothing, "tag": tag}) == [i for i in gallery.find(nothing) if tag in index["tags"][i]]
    shown = dataset.classes[0]
    assert {*gallery.find({**nothing, "class": shown})} == {i for i, row in enumerate(index["area"]) if row[shown]}
    assert gallery.find({**nothing, "class": "no such class"}) == []


def test_the_served_report_has_pages_of_samples(dataset: Dataset) -> None:
    app = report_app(dataset, make_report(dataset, thumbnails=2, pages="samples"))
    client = TestClient(Guard(app, KEY), base_url=BASE)
    first = parse(client.get(f"/{KEY}/").text)
    assert {"href": "samples"} in first.all("a")
    for number in ("1", "2", "99", "-3", "two", "²"):
        page = parse(client.get(f"/{KEY}/samples", params={"page": number, "split": "train"}).text)
        tiles = [button for button in page.all("button") if button.get("class") == "tile"]
        assert 0 < len(tiles) <= PAGE and len(page.scripts) == 1
    hostile = {"name": "<script>alert(1)</script>"}
    page = parse(client.get(f"/{KEY}/samples", params=hostile).text)
    assert len(page.scripts) == 1 and "0 samples" in page.text


def test_a_page_is_served_or_written_not_both(two_versions: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        command_line, ["report", str(two_versions / "toy"), "--serve", "-o", str(tmp_path / "x.html")]
    )
    assert done.exit_code == 2 and "--serve writes no file" in done.output


@pytest.mark.slow
@pytest.mark.parametrize("command", ["report", "review"])
def test_the_command_serves_until_it_is_interrupted(two_versions: Path, tmp_path: Path, command: str) -> None:
    place = [str(two_versions / "toy"), "--serve"] if command == "report" else [str(two_versions / "recipe.yaml")]
    place += ["--dataset", str(two_versions / "toy"), "--file", str(tmp_path / "r.yaml")] if command == "review" else []
    program = [sys.executable, "-m", "augforge", command, *place, "--no-browser", "--json"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        assert server.stdout is not None and server.stderr is not None
        printed = "".join(iter(server.stdout.readline, "}\n")) + "}"
        url = json.loads(printed)["url"]
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 (our own)
            assert parse(answer.read().decode()).all("h1")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(url.rsplit("/", 2)[0] + "/", timeout=60)  # noqa: S310
        server.send_signal(signal.SIGINT)
        _, stderr = server.communicate(timeout=60)
        assert "Traceback" not in stderr
