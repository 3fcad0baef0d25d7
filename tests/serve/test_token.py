"""With a token set, nothing but the signs of life is answered to who does not show it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner

from barstream import Period, Rate, TimeBucket
from barstream.cli import cli
from barstream.client.worker_client import WorkerClient, WorkerRefusedError
from barstream.config import load_settings
from barstream.errors import BarstreamError, ConfigError
from barstream.serve.routes import VIEWS, is_loopback
from tests.pipeline import free_port

from .chromium import chromium, find_chromium
from .conftest import an_hour
from .memory_reads import MemoryReads, make_bar
from .web_worker import WebWorker, web_worker

TOKEN = "Tq7.example-token/0123456789=="
SHOWN = {"Authorization": f"Bearer {TOKEN}"}
#: Faust's own views, and what is not there at all.
NOT_OURS = ["/table", "/table/", "/graph", "/router/series/", "/stats", "/bars/", "/nothing"]


@pytest.fixture(scope="module")
def guarded() -> Iterator[WebWorker]:
    with web_worker(an_hour(), token=TOKEN) as running:
        yield running


def paths(worker: WebWorker) -> list[str]:
    """Every route of the running app, with names put in."""
    found = []
    routes = worker.app.web.web_app.router.resources()  # type: ignore[attr-defined]
    for resource in routes:
        path = resource.canonical.replace("{broker}", "FX").replace("{symbol}", "EURUSD")
        found.append(path)
    return found


def test_every_route_wants_the_token_but_the_sign_of_life_and_what_the_page_needs(
    guarded: WebWorker,
) -> None:
    free = set()
    asked = paths(guarded)
    assert len(asked) == len(VIEWS) + 1
    for path in [*asked, *NOT_OURS]:
        status, headers, body = guarded.raw("/static/main.js" if path == "/static" else path)
        if status != 401:
            free.add(path)
            continue
        assert headers["WWW-Authenticate"] == 'Bearer realm="barstream"'
        assert "token" in json.loads(body)["error"]
        assert b"EURUSD" not in body
        shown = guarded.raw(path, headers=SHOWN)[0]
        assert shown in ((404,) if path in NOT_OURS else (200,)), path
    assert free == {"/", "/health/live", "/static"}


def test_only_our_routes_are_registered(guarded: WebWorker) -> None:
    # without what a name in a path may be
    ours = {re.sub(r":[^}]+}", "}", view.view_path) for view in VIEWS} | {"/static"}
    resources = guarded.app.web.web_app.router.resources()  # type: ignore[attr-defined]
    assert {resource.canonical for resource in resources} == ours


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Bearer x{TOKEN}",
        f"Bearer {TOKEN.lower()}",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}, Bearer {TOKEN}",
        "Bearer \xe4\xf6\xfc",
    ],
)
def test_anything_but_the_token_is_refused(guarded: WebWorker, header: str) -> None:
    assert guarded.raw("/status", headers={"Authorization": header})[0] == 401


def test_a_forwarded_request_and_a_token_in_the_address_open_nothing(guarded: WebWorker) -> None:
    assert guarded.raw("/bars", headers={"X-Barstream-Forwarded": "1"})[0] == 401
    assert guarded.raw(f"/status?token={TOKEN}&access_token={TOKEN}")[0] == 401


def test_the_scheme_may_be_written_in_any_case(guarded: WebWorker) -> None:
    assert guarded.raw("/status", headers={"Authorization": f"bearer {TOKEN}"})[0] == 200


def _two(token_of_second: str | None) -> tuple[MemoryReads, MemoryReads]:
    """Two workers' reads: EURUSD at the first, USDJPY at the second."""
    first, second = MemoryReads(), MemoryReads(here={1})
    first.add(make_bar(60_000_000, symbol="EURUSD"))
    second.partition_of["FX", "USDJPY"] = 1
    second.add(make_bar(60_000_000, symbol="USDJPY"))
    for reads in (first, second):
        reads.partition_of = {("FX", "EURUSD"): 0, ("FX", "USDJPY"): 1}
    assert token_of_second is None or len(token_of_second) > 15
    return first, second


def _joined(first: WebWorker, second: WebWorker) -> None:
    for worker in (first, second):
        worker.reads.holders = {0: first.url, 1: second.url}


def test_workers_show_each_other_the_token() -> None:
    one, two = _two(TOKEN)
    with web_worker(one, token=TOKEN) as first, web_worker(two, token=TOKEN) as second:
        _joined(first, second)
        status, _, body = first.raw("/bars/FX/USDJPY", headers=SHOWN)
        assert (status, len(json.loads(body)["bars"])) == (200, 1)
        status, _, body = first.raw("/bars", headers=SHOWN)
        assert (status, len(json.loads(body)["bars"])) == (200, 2)


def test_a_worker_with_another_token_is_named_and_not_answered_for() -> None:
    one, two = _two(None)
    with web_worker(one, token=TOKEN) as first, web_worker(two, token=TOKEN[::-1] + "aa") as second:
        _joined(first, second)
        status, _, body = first.raw("/bars/FX/USDJPY", headers=SHOWN)
        assert status == 503
        assert "the same on all workers" in json.loads(body)["error"]
        assert first.raw("/bars", headers=SHOWN)[0] == 503


def test_the_client_and_timebucket_show_it_or_say_what_is_wanted(guarded: WebWorker) -> None:
    async def status(token: str | None) -> Mapping[str, Any]:
        async with WorkerClient(guarded.url, token) as client:
            return await client.get("/status", {})

    assert asyncio.run(status(TOKEN))["ready"]
    with pytest.raises(WorkerRefusedError, match="BARSTREAM_WEB__TOKEN") as refused:
        asyncio.run(status(None))
    assert refused.value.status == 401

    async def read(token: str | None) -> int:
        async with TimeBucket.connect(guarded.url, token=token) as service:
            return len(await service.get(Rate, Period.minutes(1)).to_list(["FX", "EURUSD"]))

    assert asyncio.run(read(TOKEN)) == 61
    with pytest.raises(BarstreamError, match="token"):
        asyncio.run(read(None))


def test_the_command_takes_it_from_the_settings(guarded: WebWorker) -> None:
    arguments = ["bars", "FX", "EURUSD", "--json", "--url", guarded.url]
    found = CliRunner().invoke(cli, arguments, env={"BARSTREAM_WEB__TOKEN": TOKEN})
    assert (found.exit_code, len(found.stdout.splitlines())) == (0, 50), found.output
    refused = CliRunner().invoke(cli, arguments, env={"BARSTREAM_WEB__TOKEN": ""})
    assert refused.exit_code == 2
    assert "BARSTREAM_WEB__TOKEN" in refused.output


def test_the_token_does_not_follow_a_redirect_to_another_host() -> None:
    seen: list[Any] = []

    async def go() -> None:
        async def away(request: web.Request) -> web.Response:
            raise web.HTTPFound(f"http://localhost:{elsewhere}/taken")

        async def taken(request: web.Request) -> web.Response:
            seen.append(request.headers.get("Authorization"))
            return web.json_response({"bars": []})

        elsewhere, here = free_port(), free_port()
        runners = []
        for port, handler in ((here, away), (elsewhere, taken)):
            app = web.Application()
            app.router.add_get("/{path:.*}", handler)
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "localhost", port).start()
            runners.append(runner)
        async with WorkerClient(f"http://localhost:{here}", TOKEN) as client:
            await client.get("/status", {})
        service = TimeBucket.connect(f"http://localhost:{here}", token=TOKEN)
        bars = service.get(Rate, Period.minutes(1))
        with pytest.raises((BarstreamError, KeyError)):
            await bars.to_list(["FX", "EURUSD"])
        await service.close()
        for runner in runners:
            await runner.cleanup()

    asyncio.run(go())
    assert seen == [None, None]


@pytest.mark.parametrize("bad", ["short", "has a space in its middle", "ümläut-ümläut-ümläut"])
def test_a_token_that_a_header_cannot_carry_or_somebody_guesses_is_refused(bad: str) -> None:
    with pytest.raises(ConfigError, match="16 characters") as refused:
        load_settings(env={"BARSTREAM_WEB__TOKEN": bad})
    assert bad not in str(refused.value)


def test_what_is_reached_from_this_machine_alone() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "")))


@pytest.mark.browser
def test_the_page_asks_once_and_keeps_the_token_out_of_the_address(guarded: WebWorker) -> None:
    find_chromium()
    asked = "!document.getElementById('ask').hidden"
    rows = "document.querySelectorAll('#rows tr').length"

    async def look() -> None:
        async with chromium() as browser:
            await browser.look(guarded.url, dark=False)
            await browser.until(asked)
            await _type(browser, "a-wrong-token-0123")
            await browser.until("!document.getElementById('refused').hidden")
            await _type(browser, TOKEN)
            await browser.until(f"{rows} === 12")
            assert not await browser.value(asked)
            assert TOKEN not in await browser.value("location.href")
            assert TOKEN not in await browser.value("JSON.stringify({...localStorage})")
            await browser.call("Page.reload")
            await browser.until(f"{rows} === 12")

    asyncio.run(look())


async def _type(browser: Any, text: str) -> None:
    await browser.value(f"document.getElementById('token').value = {json.dumps(text)}")
    await browser.value("document.querySelector('#ask button').click()")
