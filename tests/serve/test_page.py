"""The page, looked at in a real browser."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from barstream.kafka.consumer_group import Declaration, Member
from barstream.model.time import MINUTE_US
from barstream.runtime.agreement import Other, SettingDifference
from barstream.serve.reads import Readiness, Stats
from tests.pipeline import free_port

from .chromium import Browser, chromium, find_chromium
from .conftest import TEN_US, an_hour
from .memory_reads import FIVE, MemoryReads, make_bar
from .web_worker import WebWorker, web_worker

pytestmark = pytest.mark.browser

ROWS = "document.querySelectorAll('#rows tr').length"
TOP_ROW = "document.querySelector('#rows tr')?.innerText.replaceAll('\\t', ' ') ?? ''"
EMPTY = "document.querySelector('#empty:not([hidden])')?.innerText ?? ''"
WIDER = "document.documentElement.scrollWidth > innerWidth"


def browse(body: Callable[[Browser], Awaitable[None]]) -> None:
    find_chromium()

    async def run() -> None:
        async with chromium() as browser:
            await body(browser)
            # the browser itself logs each answer of 400 and above
            unexpected = [text for text in browser.problems if "Failed to load" not in text]
            assert unexpected == []

    asyncio.run(run())


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_a_chart_and_its_bars_are_shown_at_any_width_and_in_both_colours(
    shared_worker: WebWorker, width: int, dark: bool, tmp_path: Path
) -> None:
    async def look(browser: Browser) -> None:
        await browser.look(shared_worker.url, width, dark=dark)
        await browser.until(f"{ROWS} === 12")
        assert "2024-03-04 11:00" in await browser.value(TOP_ROW)
        assert await browser.value("document.querySelectorAll('#rows .synthetic').length") == 2
        assert await browser.value("document.querySelectorAll('#chart canvas').length > 1")
        assert not await browser.value(WIDER)
        assert browser.problems == []
        await browser.screenshot(tmp_path / "page.png")

    browse(look)


def test_the_live_bar_moves_and_becomes_final(worker: WebWorker) -> None:
    async def look(browser: Browser) -> None:
        await browser.look(worker.url, dark=False)
        await browser.until(f"({TOP_ROW}).includes('open')")
        start_us = TEN_US + 60 * MINUTE_US
        open_bar = worker.reads.open_bars["FX", "EURUSD"][start_us]
        worker.reads.add(open_bar.replace(close=1.2345, high=1.2345))
        await browser.until(f"({TOP_ROW}).includes('1.2345')")
        worker.reads.add(open_bar.replace(close=1.3456, high=1.3456, final=True))
        await browser.until(f"({TOP_ROW}).includes('1.3456') && ({TOP_ROW}).includes('final')")
        worker.reads.add(make_bar(start_us + MINUTE_US, 1.4, final=False))
        await browser.until(f"({TOP_ROW}).includes('11:01')")

    browse(look)


def test_series_of_many_pages_are_all_in_the_list() -> None:
    reads = an_hour()
    for number in range(1_200):
        reads.add(make_bar(TEN_US, symbol=f"S{number:04}"))

    async def look(browser: Browser) -> None:
        with web_worker(reads) as worker:
            await browser.look(worker.url, dark=False)
            await browser.until("document.querySelectorAll('#series a').length === 1201")

    browse(look)


def test_another_timeframe_is_one_click_away_and_in_the_address(
    worker: WebWorker, tmp_path: Path
) -> None:
    buttons = "[...document.querySelectorAll('#timeframes button')]"
    pressed = f"{buttons}.filter(b => b.ariaPressed === 'true').map(b => b.innerText).join()"

    async def look(browser: Browser) -> None:
        await browser.look(worker.url + "/#FX/EURUSD", dark=False)
        await browser.until(f"{ROWS} === 12")
        assert await browser.value(f"{buttons}.map(b => b.innerText).join()") == "1m,5m,1h"
        assert await browser.value(pressed) == "1m"
        await browser.value(f"{buttons}[1].click()")
        await browser.until(f"{pressed} === '5m' && ({TOP_ROW}).includes('1.20625')")
        assert await browser.value("location.hash") == "#FX/EURUSD/5m"
        rows = await browser.value("document.querySelector('#rows').innerText")
        assert rows.count("revision 1") == 1
        assert "2024-03-04 10:50" in next(r for r in rows.splitlines() if "revision" in r)
        await browser.screenshot(tmp_path / "five.png")
        # the open bar of five minutes moves as well
        bar = worker.reads.rollups[FIVE]["FX", "EURUSD"][TEN_US + 60 * MINUTE_US]
        worker.reads.add(bar.replace(close=1.2345), period=FIVE)
        await browser.until(f"({TOP_ROW}).includes('1.23450') && ({TOP_ROW}).includes('open')")
        await browser.value("history.back()")
        await browser.until(f"{pressed} === '1m' && ({TOP_ROW}).includes('1.10725')")

    browse(look)


def test_a_timeframe_that_is_none_says_which_there_are(worker: WebWorker) -> None:
    async def look(browser: Browser) -> None:
        await browser.look(worker.url + "/#FX/EURUSD/7m", dark=False)
        await browser.until(f"({EMPTY}).includes('1m, 5m, 1h')")

    browse(look)


def test_an_owner_that_is_gone_leaves_the_last_bars_and_says_that_they_are_old() -> None:
    """Old bars that look like new ones would be the worst answer."""
    stale = "document.querySelector('#stale:not([hidden])')?.innerText ?? ''"
    missing = "document.querySelector('#missing:not([hidden])')?.innerText ?? ''"

    async def look(browser: Browser) -> None:
        await browser.look(worker.url + "/#FX/USDJPY", dark=False)
        await browser.until(f"{ROWS} === 12")
        worker.reads.holders[1] = f"http://127.0.0.1:{free_port()}"
        await browser.until(f"({stale}).includes('not up to date')")
        assert await browser.value(f"{ROWS} === 12")
        await browser.until(f"({missing}).includes('partition 1')")
        worker.reads.holders[1] = other.url
        await browser.until(f"({stale}) === '' && ({missing}) === ''")

    with web_worker(an_hour("USDJPY")) as other, web_worker(an_hour()) as worker:
        other.reads.partition_of["FX", "USDJPY"] = 1
        other.reads.here = {1}
        worker.reads.partition_of["FX", "USDJPY"] = 1
        worker.reads.holders |= {0: worker.url, 1: other.url}
        browse(look)


def test_older_bars_are_loaded_when_the_left_end_is_reached() -> None:
    reads = MemoryReads()
    reads.add(*(make_bar(TEN_US + minute * MINUTE_US) for minute in range(1200)))

    async def look(browser: Browser) -> None:
        await browser.look(worker.url, dark=False)
        await browser.until(f"{ROWS} === 12")
        for _ in range(30):
            await browser.call(
                "Input.dispatchMouseEvent",
                type="mouseWheel", x=600, y=400, deltaX=-2000, deltaY=0,
            )  # fmt: skip
        await browser.until(
            "performance.getEntriesByType('resource').some(e => e.name.includes('&to='))"
        )

    with web_worker(reads) as worker:
        browse(look)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (Stats("b", leader=True, partitions=(0,), scheduled_series=5), "barstream ticks simulate"),
        (Stats("b", leader=True, partitions=(0,), scheduled_series=0), "No market schedule"),
        (
            Stats("b", leader=True, rejected={"unscheduled": 9}, unscheduled=(("FX", "<b>X"),)),
            "FX <b>X",
        ),
        (Stats("b", leader=True, rejected={"undecodable": 9}), "9 ticks that could not be decoded"),
    ],
)
def test_an_empty_page_says_why_and_what_to_run(numbers: Stats, said: str) -> None:
    async def look(browser: Browser) -> None:
        await browser.look(worker.url, dark=False)
        await browser.until(f"({EMPTY}).includes({said!r})")

    with web_worker(MemoryReads(numbers=numbers)) as worker:
        browse(look)


def test_a_worker_with_other_settings_is_named_beside_the_list(worker: WebWorker) -> None:
    declared = Declaration("1.0", {"bars.grace_s": "7.0"})
    there = Member("b-there-2", "/10.0.0.2", "http://10.0.0.2:6066", declared)
    differing = Other(there, (SettingDifference("bars.grace_s", "5.0", "7.0"),))
    notice = "document.getElementById('disagreement')"

    async def look(browser: Browser) -> None:
        await browser.look(worker.url, dark=False)
        await browser.until(f"{ROWS} === 12 && {notice}.hidden")
        worker.reads.numbers = Stats("b", leader=True, others=[differing])
        said = "http://10.0.0.2:6066 has bars.grace_s 7.0, here 5.0"
        await browser.until(f"!{notice}.hidden && {notice}.textContent.includes({said!r})")

    browse(look)


def test_a_recovering_worker_shows_its_progress_and_then_its_bars(worker: WebWorker) -> None:
    async def look(browser: Browser) -> None:
        worker.reads.readiness = Readiness(False, ["restoring finals"], {"rows_remaining": 1234})
        await browser.look(worker.url, dark=False)
        await browser.until(f"({EMPTY}).includes('rows remaining: 1234')")
        worker.reads.readiness = Readiness(True)
        await browser.until(f"{ROWS} === 12")

    browse(look)


def test_a_series_of_another_worker_is_shown_here(worker: WebWorker) -> None:
    async def look(browser: Browser) -> None:
        await browser.look(worker.url + "/#FX/USDJPY", dark=False)
        await browser.until(f"{ROWS} === 12")
        assert "USDJPY" in await browser.value("document.querySelector('#name').innerText")
        await browser.until("document.querySelectorAll('#series li').length === 2")

    with web_worker(an_hour("USDJPY")) as other:
        other.reads.partition_of["FX", "USDJPY"] = 3
        other.reads.here = {3}
        worker.reads.partition_of["FX", "USDJPY"] = 3
        worker.reads.holders |= {0: worker.url, 3: other.url}
        browse(look)
