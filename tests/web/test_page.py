"""The page, looked at in a real browser."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from barstream.core.time import MINUTE_US
from barstream.web.reads import Readiness, Stats

from .chromium import Browser, chromium, find_chromium
from .conftest import TEN_US, an_hour
from .memory_reads import MemoryReads, make_bar
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
        await browser.until(f"({TOP_ROW}).includes('live')")
        start_us = TEN_US + 60 * MINUTE_US
        open_bar = worker.reads.open_bars["FX", "EURUSD"][start_us]
        worker.reads.add(replace(open_bar, close=1.2345, high=1.2345))
        await browser.until(f"({TOP_ROW}).includes('1.2345')")
        worker.reads.add(replace(open_bar, close=1.3456, high=1.3456, final=True))
        await browser.until(f"({TOP_ROW}).includes('1.3456') && ({TOP_ROW}).includes('final')")
        worker.reads.add(make_bar(start_us + MINUTE_US, 1.4, final=False))
        await browser.until(f"({TOP_ROW}).includes('11:01')")

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
        (Stats("b", leader=True, rejected={"undecodable": 9}), "undecodable: 9"),
    ],
)
def test_an_empty_page_says_why_and_what_to_run(numbers: Stats, said: str) -> None:
    async def look(browser: Browser) -> None:
        await browser.look(worker.url, dark=False)
        await browser.until(f"({EMPTY}).includes({said!r})")

    with web_worker(MemoryReads(numbers=numbers)) as worker:
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
