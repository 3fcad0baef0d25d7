"""Which names a worker answers to: its own, so that no page of another site reads it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from barstream.config import load_settings
from barstream.errors import ConfigError
from barstream.serve.access import is_answered
from barstream.serve.owner import Answer, Peers
from barstream.serve.routes import VIEWS

from .conftest import an_hour
from .web_worker import WebWorker, web_worker

TOKEN = "Tq7.example-token/0123456789=="
SHOWN = {"Authorization": f"Bearer {TOKEN}"}
PATHS = ["/", "/bars", "/bars/FX/EURUSD", "/status", "/health/live", "/static/main.js", "/nothing"]


@pytest.fixture(scope="module")
def named() -> Iterator[WebWorker]:
    with web_worker(an_hour(), hosts=("bars.example.org", "*.bars.svc")) as running:
        yield running


@pytest.mark.parametrize("path", PATHS)
def test_a_host_that_is_no_name_of_the_worker_is_answered_with_421(
    named: WebWorker, path: str
) -> None:
    status, headers, body = named.raw(path, headers={"Host": "rebound.example.com:6066"})
    assert status == 421
    assert headers["Cache-Control"] == "no-store"
    assert b"EURUSD" not in body
    told = json.loads(body)
    assert told["error"].endswith("must be a name of this worker, found 'rebound.example.com:6066'")
    assert "web.hosts" in told["what_to_do"]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:1",
        "localhost:6066",
        "LOCALHOST.",
        "page.localhost",
        "10.1.2.3:6066",  # a probe of Kubernetes, Prometheus, a proxy in front
        "[::1]:6066",
        "[fd00::7]",
        socket.gethostname(),
        "bars.example.org",
        "Bars.Example.org:443",
        "one.bars.svc",
        "one.default.bars.svc:6066",
        "",
    ],
)
def test_its_own_names_and_every_address_are_answered(named: WebWorker, host: str) -> None:
    assert named.raw("/bars/FX/EURUSD?limit=1", headers={"Host": host})[0] == 200


def test_a_client_that_names_no_host_is_answered(named: WebWorker) -> None:
    port = int(named.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /health/live HTTP/1.0\r\n\r\n")
        assert client.recv(100).split()[1] == b"200"


@pytest.mark.parametrize(
    "host",
    [
        "bars.example.org.evil.com",
        "evil-bars.example.org",
        "bars.svc",  # above what *.bars.svc stands for
        "127.0.0.1.evil.com",
        "localhost.evil.com",
        "0x7f000001",
        "2130706433",
        "127.1",
        "[::1",
        "::1]",
        "evil.com@127.0.0.1",
        "127.0.0.1:80:80",
        "127.0.0.1/evil.com",
        "\x00",
        "a." * 4_000 + "bars.svc",
    ],
)
def test_what_only_looks_like_a_name_of_the_worker_is_none(host: str) -> None:
    assert not is_answered(host, frozenset({"bars.example.org", "*.bars.svc"}))


def test_one_star_stands_for_every_name() -> None:
    assert is_answered("anything.example.com", frozenset({"*"}))


def test_two_hosts_of_which_one_is_not_ours_are_refused(named: WebWorker) -> None:
    port = int(named.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.com\r\n\r\n")
        # by the parser (400), or by us
        assert client.recv(100).split()[1] in {b"400", b"421"}


def test_who_shows_the_token_may_ask_under_any_name() -> None:
    foreign = {"Host": "proxy.example.com"}
    with web_worker(an_hour(), token=TOKEN) as guarded:
        assert guarded.raw("/status", headers={**SHOWN, **foreign})[0] == 200
        assert guarded.raw("/status", headers=foreign)[0] == 421
        # the empty page would ask for the token, and give it to who owns that name
        assert guarded.raw("/", headers=foreign)[0] == 421
        assert guarded.raw("/status")[0] == 401


def test_every_route_is_behind_it(named: WebWorker) -> None:
    app = named.app.web.web_app  # type: ignore[attr-defined]
    paths = [resource.canonical for resource in app.router.resources()]
    assert len(paths) == len(VIEWS) + 1
    for path in paths:
        assert named.raw(path, headers={"Host": "evil.com"})[0] == 421, path


@pytest.mark.parametrize("name", ["http://bars", "bars:6066", "a b", "*.*.org", "[::1]"])
def test_a_setting_that_is_no_name_of_a_host_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"web\.hosts.*must be the name of a host"):
        load_settings(env={"BARSTREAM_WEB__HOSTS": f"good.example.org,{name}"})


def test_names_come_from_the_environment_separated_by_commas() -> None:
    settings = load_settings(env={"BARSTREAM_WEB__HOSTS": "Bars.example.org, *.svc"})
    assert settings.web.hosts == ("bars.example.org", "*.svc")


def test_a_worker_that_refuses_the_name_it_is_passed_on_to_by_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would otherwise be told as a partition that moves, for ever."""

    async def refused(*_: object) -> Answer:
        return Answer(421, b'{"error": "the host asked for must be ..."}', "application/json", "")

    monkeypatch.setattr(Peers, "ask", refused)
    reads = an_hour()
    reads.partition_of["FX", "USDJPY"] = 1
    reads.holders = {0: "http://one", 1: "http://two"}
    with web_worker(reads) as worker:
        status, body = worker.get("/bars/FX/USDJPY")
    assert (status, body["partition"]) == (503, 1)
    assert "http://two, which holds it, refuses: the host asked for must be" in body["error"]
