"""Every name that a tick may carry can be read, wherever and however it is asked for."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from barstream import Rate, TimeBucket
from barstream.cli import cli
from barstream.client.worker_client import WorkerClient
from barstream.model.bar_request import BarRequest, UnknownSeriesError
from barstream.model.key import FOLDED, MAX_NAME, NameRule
from barstream.model.period import MINUTE
from barstream.runtime.worker_log import LineFormatter
from barstream.serve.routes import VIEWS
from tests.examples import examples

from .chromium import Browser
from .conftest import TEN_US
from .memory_reads import MemoryReads, make_bar
from .test_page import browse
from .web_worker import WebWorker, web_worker

#: Each has a meaning of its own somewhere between a shell and a router.
ROUGH: Final = (
    "{X}", "{BROKER}", "{", "}", "{SYMBOL:.*}", "%2F", "%", "%25", "%ZZ", "A/B", "/", "//",
    "A/../B", "...", "A B", "Ü", "😀", "😀" * MAX_NAME, "A" * MAX_NAME, "+", "?", "#", "&", ";",
    "=", "\\", "'", '"', "<B>", "|", "^", "`", "[A]", "@", "!", "$", "*", "(", ",", ":", "~",
    "-X", "--FOLLOW", "A\nB", "\x01", "\x7f", "\ufeff", "X\u200b", "E\u0301", "1M", "RUN",
)  # fmt: skip
NAMED: Final = [view.view_path for view in VIEWS if "{broker" in view.view_path]


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[WebWorker, WebWorker]]:
    """Two workers: each series is with the first one, and known to both."""
    holder = MemoryReads(here={0})
    other = MemoryReads(partition_of=holder.partition_of, holders=holder.holders, here={1})
    with ExitStack() as stack:
        workers = [stack.enter_context(web_worker(reads)) for reads in (holder, other)]
        for partition, worker in enumerate(workers):
            holder.holders[partition] = worker.url
        yield workers[0], workers[1]


def put(workers: tuple[WebWorker, WebWorker], broker: str, symbol: str) -> None:
    """One bar of the series, unless it has it."""
    reads = workers[0].reads
    if (broker, symbol) not in reads.finals:
        reads.add(make_bar(TEN_US, broker=broker, symbol=symbol))


def target_of(path: str, broker: str, symbol: str) -> str:
    """The path of a view with its names filled in, as any client fills them in."""
    given = {"broker": quote(broker, safe=""), "symbol": quote(symbol, safe="")}
    return re.sub(r"{(broker|symbol)(:[^}]*)?}", lambda found: given[found[1]], path)


def named(body: dict[str, Any]) -> tuple[str, ...]:
    return tuple(body[name] for name in ("broker", "symbol") if name in body)


@pytest.mark.parametrize("path", NAMED)
def test_every_view_answers_for_every_name_from_every_worker(
    pair: tuple[WebWorker, WebWorker], path: str
) -> None:
    for name in ROUGH:
        for broker, symbol in ((name, "S"), ("FX", name)):
            put(pair, broker, symbol)
            for worker in pair:
                status, body = worker.get(target_of(path, broker, symbol))
                assert status == 200, body
                assert named(body) == (broker, symbol)[: len(named(body))]


@settings(max_examples=examples(100), deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_what_a_tick_may_be_called_is_read_by_that_name(
    pair: tuple[WebWorker, WebWorker], broker: str, symbol: str
) -> None:
    try:
        spelled = FOLDED.series(broker, symbol)
    except ValueError:
        return
    put(pair, *spelled)
    for worker in pair:
        target = target_of("/bars/{broker}/{symbol}", broker, symbol)
        status, body = worker.get(target)
        assert (status, named(body)) == (200, spelled)


def test_python_reads_every_name_inside_a_worker_and_over_http(
    pair: tuple[WebWorker, WebWorker],
) -> None:
    for name in ROUGH:
        put(pair, name, name)

    async def over_http(url: str) -> None:
        async with WorkerClient(url) as client:
            for name in ROUGH:
                assert len((await client.page(BarRequest(MINUTE, name, name))).bars) == 1

    for worker in pair:
        asyncio.run(over_http(worker.url))
        for name in ROUGH:
            assert len(worker.page(BarRequest(MINUTE, name, name)).bars) == 1


def test_where_case_is_kept_a_name_in_another_case_is_another_series() -> None:
    reads = MemoryReads()
    for symbol in ("BCpC", "BCPC"):
        reads.add(make_bar(TEN_US, 25.0 if symbol == "BCpC" else 150.0, symbol=symbol))

    async def over_http(url: str, symbol: str) -> float:
        async with TimeBucket.connect(url) as bars:
            [bar] = await bars.get(Rate, MINUTE).to_list(["FX", symbol])
            return bar.open

    with web_worker(reads, name_rule=NameRule(fold_case=False)) as worker:
        for symbol, price in (("BCpC", 25.0), (" BCPC ", 150.0)):
            for path in NAMED:
                status, body = worker.get(target_of(path, "FX", symbol))
                assert (status, named(body)[1:]) in ((200, (symbol.strip(),)), (200, ()))
            assert [bar.open for bar in worker.page(BarRequest(MINUTE, "FX", symbol)).bars] == [
                price
            ]
            assert asyncio.run(over_http(worker.url, symbol)) == price
        for broker, symbol in (("FX", "bcpc"), ("fx", "BCPC")):
            assert worker.get(target_of("/bars/{broker}/{symbol}", broker, symbol))[0] == 404
            with pytest.raises(UnknownSeriesError):
                worker.page(BarRequest(MINUTE, broker, symbol))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["bars", *arguments])


def test_the_command_line_reads_every_name(pair: tuple[WebWorker, WebWorker]) -> None:
    for name in ROUGH:
        put(pair, name, name)
        result = run("--json", "--url", pair[1].url, "--", name, name)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["symbol"] == name


def test_a_name_that_looks_like_an_option_is_told_where_it_stands(
    pair: tuple[WebWorker, WebWorker],
) -> None:
    result = run("FX", "-X", "--url", pair[0].url)
    assert result.exit_code == 2
    assert "stands after --" in result.stderr


@pytest.mark.parametrize("name", [".", " .. "])
def test_a_name_that_browsers_and_proxies_take_out_of_a_path_is_refused(
    pair: tuple[WebWorker, WebWorker], name: str
) -> None:
    # a series of that name could be sent, and never be seen on the page
    with pytest.raises(ValueError, match="must not be"):
        FOLDED.normalise(name)
    status, body = pair[0].get(target_of("/bars/{broker}/{symbol}", "FX", name))
    assert status == 400
    assert "must not be" in body["error"]


def test_an_argument_that_is_no_utf8_is_refused_in_a_sentence(
    pair: tuple[WebWorker, WebWorker],
) -> None:
    result = run("--url", pair[0].url, "--", "FX", "A\udcff")
    assert result.exit_code == 2
    assert "UTF-8" in result.stderr


@pytest.mark.browser
def test_the_page_shows_every_name_and_survives_an_address_typed_by_hand() -> None:
    reads = MemoryReads()
    for name in ROUGH:
        reads.add(make_bar(TEN_US, broker=name, symbol=name))

    async def look(browser: Browser) -> None:
        rows = "document.querySelectorAll('#rows tr').length"
        links = "[...document.querySelectorAll('#series a')]"
        await browser.look(worker.url, dark=False)
        await browser.until(f"{links}.length === {len(ROUGH)}")
        for name in ROUGH:
            await browser.value(
                f"{links}.find((a) => a.querySelector('.symbol').textContent === "
                f"{json.dumps(name)}).click()"
            )
            chosen = "document.querySelector('#series a[aria-current] .symbol').textContent"
            await browser.until(f"{chosen} === {json.dumps(name)} && {rows} === 1")
            assert not await browser.value("!document.querySelector('#empty').hidden")
        await browser.value("location.hash = '#50%/x'")
        await browser.until("document.querySelector('#empty').innerText.includes('50% X')")

    with web_worker(reads) as worker:
        browse(look)


def test_a_name_in_a_path_is_one_line_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("as a defect would")

    monkeypatch.setattr(MemoryReads, "owner", broken)
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(LineFormatter())
    log = logging.getLogger("barstream.serve.site")
    log.addHandler(handler)
    try:
        with web_worker(MemoryReads()) as worker:
            forged = quote("A\n2026-01-01 00:00:00Z info    ready\x1b[2J", safe="")
            assert worker.get(f"/bars/FX/{forged}")[0] == 500
    finally:
        log.removeHandler(handler)
    first, *below = out.getvalue().splitlines()
    assert first.endswith(r"path=/bars/FX/A\n2026-01-01 00:00:00Z info    ready\x1b[2J")
    assert below
    assert all(line.startswith("    ") for line in below)
