"""What somebody sees who opens the page: the series, its bars and its prices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from barstream.model.bar import Bar
from barstream.model.time import MINUTE_US
from barstream.serve.reads import Stats

from .chromium import Browser
from .conftest import TEN_US, an_hour
from .memory_reads import FIVE, MemoryReads, make_bar
from .test_page import ROWS, WIDER, browse
from .web_worker import web_worker

pytestmark = pytest.mark.browser

NAME = "document.querySelector('#name').innerText"
READOUT = "document.querySelector('#readout').innerText"
# innerText leaves out rows that are not rendered yet, see content-visibility of the list
LIST = "document.querySelector('#series').textContent"
#: Of the pane of the candles, the runs of columns that hold a body: where they begin and end.
BODIES = """(() => {
  const canvas = document.querySelector('#chart td:nth-child(2) canvas');
  const context = canvas.getContext('2d');
  const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
  const style = getComputedStyle(document.documentElement);
  const colours = ['--up', '--down'].map((name) => {
    const hex = style.getPropertyValue(name).trim();
    return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)).join();
  });
  const runs = [];
  for (let x = 0, inside = false; x < width; x++) {
    let count = 0;
    for (let y = 0; y < height; y++) {
      const at = 4 * (y * width + x);
      if (colours.includes([...data.slice(at, at + 3)].join())) count++;
    }
    // less is the line of the last price
    if (count < 2) inside = false;
    else if (inside) runs.at(-1)[1] = x;
    else { runs.push([x, x]); inside = true; }
  }
  return runs.map(([from, to]) => ({ width: to - from + 1, middle: (from + to) / 2 / width }));
})()"""


#: How far down that pane the lowest pixel of a body or wick is, 0 to 1.
LOWEST = """(() => {
  const canvas = document.querySelector('#chart td:nth-child(2) canvas');
  const { data, width, height } = canvas.getContext('2d')
    .getImageData(0, 0, canvas.width, canvas.height);
  const hex = getComputedStyle(document.documentElement).getPropertyValue('--up').trim();
  const up = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)).join();
  for (let at = data.length - 4; at >= 0; at -= 4) {
    if ([...data.slice(at, at + 3)].join() === up) return Math.floor(at / 4 / width) / height;
  }
})()"""


def some(count: int, **changes: Any) -> list[Bar]:
    """Bars that rise, one a minute."""
    bars = []
    for at in range(count):
        price = 1.1 + at / 1000
        bar = make_bar(TEN_US + at * MINUTE_US, price, final=at < count - 1)
        bars.append(bar.replace(**{"open": price, "close": price + 0.0005, **changes}))
    return bars


def of(*bars: Bar, numbers: Stats | None = None) -> MemoryReads:
    reads = MemoryReads() if numbers is None else MemoryReads(numbers=numbers)
    reads.add(*bars)
    return reads


def test_it_opens_the_series_that_was_looked_at_last_else_the_one_with_the_newest_tick() -> None:
    """Not the first of the list, which may be the thinnest; a link goes before both."""
    reads = an_hour("THIN")
    reads.add(make_bar(TEN_US + 61 * MINUTE_US, symbol="BUSY", final=False))
    reads.add(make_bar(TEN_US + 60 * MINUTE_US, symbol="ZLAST", final=False))

    async def look(browser: Browser) -> None:
        async def opened(name: str, address: str = "") -> None:
            await browser.look("about:blank", dark=False)
            await browser.look(worker.url + "/" + address, dark=False)
            await browser.until(f"{ROWS} && ({NAME}).includes({name!r})")

        await opened("BUSY")
        await browser.value("location.hash = '#FX/THIN/5m'")
        await browser.until(f"({NAME}).includes('THIN')")
        await opened("THIN")
        assert await browser.value("location.hash") == "#FX/THIN/5m"
        await opened("ZLAST", "#FX/ZLAST")
        await opened("ZLAST")
        # one that is gone is not asked for
        for table in (reads.finals, reads.open_bars, reads.partition_of):
            table.pop(("FX", "ZLAST"), None)
        await opened("BUSY")
        await browser.value("localStorage.setItem('barstream-looked-at', '{')")
        await opened("BUSY")

    with web_worker(reads) as worker:
        browse(look)


@pytest.mark.parametrize(
    ("count", "first", "last"), [(1, 0.5, 0.5), (3, 0.25, 0.75), (40, 0.02, 0.98)]
)
def test_few_bars_fill_the_width_and_are_no_walls(count: int, first: float, last: float) -> None:
    async def look(browser: Browser) -> None:
        await browser.look(worker.url, dark=False)
        await browser.until(f"{ROWS} && ({BODIES}).length === {count}")
        bodies = await browser.value(BODIES)
        assert bodies[0]["middle"] == pytest.approx(first, abs=0.02)
        assert bodies[-1]["middle"] == pytest.approx(last, abs=0.02)
        assert max(body["width"] for body in bodies) <= 40
        # on a screen half as wide they fill that
        await browser.call(
            "Emulation.setDeviceMetricsOverride",
            width=800, height=700, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        await browser.until(f"(({BODIES}).at(-1).middle - {last}) ** 2 < 0.001")

    with web_worker(of(*some(count))) as worker:
        browse(look)


def test_of_many_bars_the_recent_ones_are_shown_and_a_new_one_comes_into_view() -> None:
    tall = {"open": 1.1, "low": 1.1, "high": 1.2, "close": 1.2}

    async def look(browser: Browser) -> None:
        await browser.look(worker.url, dark=False)
        await browser.until(f"{ROWS} && ({BODIES}).length > 90")
        bodies = await browser.value(BODIES)
        assert len(bodies) < 130
        assert 0.9 < bodies[-1]["middle"] < 1
        before, newest = some(401, **tall)[-2:]
        newest = newest.replace(close=1.2345, high=1.2345)
        worker.reads.add(before.replace(final=True, close_offset=107), newest)
        await browser.until("document.querySelector('#price').innerText === '1.2345'")
        await browser.until(f"({BODIES}).at(-1).middle > 0.9")
        assert len(await browser.value(BODIES)) == pytest.approx(len(bodies), abs=5)

    with web_worker(of(*some(400, **tall))) as worker:
        browse(look)


def test_few_bars_still_fill_the_width_when_another_one_comes() -> None:
    async def look(browser: Browser) -> None:
        await browser.look(worker.url, dark=False)
        await browser.until(f"{ROWS} && ({BODIES}).length === 3")
        worker.reads.add(*some(4))
        await browser.until(f"({BODIES}).length === 4")
        bodies = await browser.value(BODIES)
        assert [body["middle"] for body in bodies] == pytest.approx([0.2, 0.4, 0.6, 0.8], abs=0.02)

    with web_worker(of(*some(3))) as worker:
        browse(look)


DRAWN = """(() => {
  window.drawn = new Set();
  const draw = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
    window.drawn.add(text);
    return draw.call(this, text, ...rest);
  };
})()"""


def prices_in(text: str) -> set[str]:
    return set(re.findall(r"\b\d+\.\d+\b(?!%)", text))


def test_a_price_has_the_decimals_of_its_series_in_every_place() -> None:
    """A mid of 1.1215600000000001 needs five; so have 1.5 and the labels of the axis."""
    bars = some(30, open=1.5, high=1.5, low=1.1215600000000001, close=1.1215600000000001)
    reads = of(*bars)
    reads.add(*bars, period=FIVE)
    places = ("#series", "#price", "#readout", "#rows")

    async def look(browser: Browser) -> None:
        await browser.before(DRAWN)
        for timeframe in ("", "/5m"):
            await browser.look("about:blank", dark=False)
            await browser.look(f"{worker.url}/#FX/EURUSD{timeframe}", dark=False)
            await browser.until(f"{ROWS} === 12 && ({LIST}).includes('.')")
            for place in places:
                text = await browser.until(f"document.querySelector('{place}').innerText")
                shown = prices_in(text.replace("10.00", ""))
                assert shown, place
                assert all(re.fullmatch(r"\d\.\d{5}", price) for price in shown), (place, shown)
            await browser.until("[...drawn].some(text => text.includes('.'))")
            drawn = prices_in("\n".join(await browser.value("[...drawn]")))
            assert "1.12156" in drawn
            assert all(re.fullmatch(r"\d\.\d{5}", price) for price in drawn), drawn
        assert "1.12156" in await browser.value("document.title")

    with web_worker(reads) as worker:
        browse(look)


def test_the_price_moves_in_list_and_title_at_once_and_its_change_names_what_it_is_against() -> (
    None
):
    yesterday = make_bar(TEN_US - 1440 * MINUTE_US, 2.0, spread=0.0)
    reads = of(yesterday, *some(3))

    async def look(browser: Browser) -> None:
        await browser.look(worker.url, dark=False)
        await browser.until(f"{ROWS} && document.querySelector('#change').innerText")
        worker.reads.add(some(3)[-1].replace(close=2.5, high=2.5))
        await browser.until("document.querySelector('#price').innerText.startsWith('2.5')")
        # in the same moment: no second question is waited for
        assert "2.5" in await browser.value(LIST)
        change = await browser.value("document.querySelector('#change').innerText")
        assert change == "+25.00% since the close of Sun 3 Mar 2024"
        assert "+25.00%" in await browser.value(LIST)
        assert change in await browser.value("document.querySelector('#series a').title")
        worker.reads.add(some(3)[-1].replace(close=2.0, high=2.5))
        await browser.until("document.querySelector('#change').innerText.startsWith('0.00%')")
        assert await browser.value("document.querySelector('#change').className") == ""

    with web_worker(reads) as worker:
        browse(look)


def test_a_series_without_an_earlier_date_is_compared_to_its_open_and_says_so() -> None:
    async def look(browser: Browser) -> None:
        await browser.look(worker.url, dark=False)
        said = "since the open of Mon 4 Mar 2024"
        await browser.until(f"document.querySelector('#change').innerText.endsWith('{said}')")

    with web_worker(of(*some(3))) as worker:
        browse(look)


#: Keeps how far left of its canvas a time is drawn, and which times are drawn at all.
WATCH_TIMES = """
  window.times = { left: Infinity, seen: new Set() };
  const fillText = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (text, x, ...rest) {
    if (/^\\s*(\\d\\d:\\d\\d|\\d+ [A-Z][a-z]{2})$/.test(text)) {
      const room = this.measureText(text).width - this.measureText(text.trim()).width;
      times.left = Math.min(times.left, x - this.measureText(text).width / 2 + room);
      times.seen.add(text.trim());
    }
    return fillText.call(this, text, x, ...rest);
  };
"""
PAINTED = """new Promise(done =>
  requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"""


@pytest.mark.parametrize(("count", "first"), [(53, "10:00"), (300, None)])
def test_no_label_of_the_time_axis_is_cut_at_the_left(count: int, first: str | None) -> None:
    """Neither that of the first bar nor, as the view moves along, one that leaves it."""

    async def look(browser: Browser) -> None:
        await browser.before(WATCH_TIMES)
        await browser.look(worker.url, dark=False)
        await browser.until(f"{ROWS} && times.seen.size > 2")
        # each width shows one bar more
        for width in range(1200, 1328, 8):
            await browser.call(
                "Emulation.setDeviceMetricsOverride",
                width=width, height=700, deviceScaleFactor=1, mobile=False,
            )  # fmt: skip
            assert await browser.value(PAINTED)
            assert await browser.value("times.left") >= 0, width
        assert first is None or await browser.value(f"times.seen.has({first!r})")

    with web_worker(of(*some(count))) as worker:
        browse(look)


#: What is drawn of a bar when every bar has one colour.
SHAPES = """(async () => {
  const { candles } = await import('/static/candles.js');
  const shape = (bar, barSpacing) => {
    const canvas = new OffscreenCanvas(64, 64), context = canvas.getContext('2d');
    const view = candles();
    view.update({
      bars: [{ x: 32, originalData: { bar, mark: '#000' }, barColor: '#000' }],
      barSpacing, visibleRange: { from: 0, to: 1 },
    });
    const scope = { context, horizontalPixelRatio: 1, verticalPixelRatio: 1 };
    view.draw({ useBitmapCoordinateSpace: (draw) => draw(scope) }, (price) => 64 - price);
    return context.getImageData(0, 0, 64, 64).data.join();
  };
  const prices = { open: 30, high: 30, low: 30, close: 30 };
  const flat = { ...prices, status: 'final', tick_count: 5, revision: 0 };
  const bars = {
    'no tick': { ...flat, synthetic: true, tick_count: 0 },
    'one price': flat,
    'one price, live': { ...flat, status: 'live' },
    'one price, revised': { ...flat, revision: 1 },
    'no tick, revised': { ...flat, synthetic: true, tick_count: 0, revision: 1 },
    'moved': { ...flat, open: 20, high: 40, low: 10 },
    'moved, live': { ...flat, open: 20, high: 40, low: 10, status: 'live' },
    'moved, revised': { ...flat, open: 20, high: 40, low: 10, revision: 1 },
  };
  return [8, 40].map((spacing) => Object.values(bars).map((bar) => shape(bar, spacing)));
})()"""


def test_what_sets_a_bar_apart_is_seen_without_its_colour() -> None:
    async def look(browser: Browser) -> None:
        await browser.look(worker.url, dark=False)
        await browser.until(f"{ROWS}")
        for shapes in await browser.value(SHAPES):
            assert len(set(shapes)) == len(shapes) == 8

    with web_worker(of(*some(3))) as worker:
        browse(look)


def test_table_and_readout_say_what_sets_a_bar_apart() -> None:
    bars = [
        make_bar(TEN_US, synthetic=True),
        make_bar(TEN_US + MINUTE_US, spread=0.0),
        make_bar(TEN_US + 2 * MINUTE_US).replace(revision=2),
        make_bar(TEN_US + 3 * MINUTE_US, final=False).replace(tick_count=1),
    ]

    async def look(browser: Browser) -> None:
        await browser.look(worker.url, dark=False)
        await browser.until(f"{ROWS} === 4")
        cells = "[...document.querySelectorAll('#rows .status')].map(cell => cell.innerText)"
        assert await browser.value(cells) == [
            "open", "final, revision 2", "final, one price", "final, no tick",
        ]  # fmt: skip
        readout = await browser.value(READOUT)
        assert "1 tick\n" in readout
        assert "open" in readout

    with web_worker(of(*bars)) as worker:
        browse(look)


@pytest.mark.parametrize(("volume", "shown"), [(0.0, False), (10.0, True)])
def test_volume_is_shown_where_the_feed_has_one(volume: float, shown: bool) -> None:
    async def look(browser: Browser) -> None:
        await browser.look(worker.url, dark=False)
        await browser.until(f"{ROWS}")
        cells = "[...document.querySelectorAll('#bars .volume')].map(cell => cell.offsetWidth > 0)"
        assert set(await browser.value(cells)) == {shown}
        assert ("Vol" in await browser.value(READOUT)) is shown
        # what it is the average of, weighted by size, needs one too
        assert ("VWAP" in await browser.value(READOUT)) is shown
        # the candles have the room to themselves
        assert (await browser.value(LOWEST) > 0.85) is not shown

    with web_worker(of(*some(5, volume=volume))) as worker:
        browse(look)


@pytest.mark.parametrize(
    ("rejected", "total", "words"),
    [
        ({"late": 1}, "1 tick", ["1 tick late, after the bar was final (late)"]),
        (
            {"undecodable": 1, "off_session": 1200, "late": 0, "new": 2, "too_large": 1},
            "1,204 ticks",
            [
                "1,200 ticks outside the sessions of the market (off_session)",
                "2 ticks rejected (new)",
                "1 tick that could not be decoded (undecodable)",
                "1 tick in a batch too large to unpack (too_large)",
            ],
        ),
    ],
)
def test_rejected_ticks_say_why_to_the_mouse_and_to_the_keyboard(
    rejected: dict[str, int], total: str, words: Sequence[str]
) -> None:
    numbers = Stats("b", leader=True, partitions=(0,), lag=1, rejected=rejected)
    inside = "document.activeElement.closest('#rejected') !== null"
    spoken = "[...document.querySelectorAll('#rejected li')].filter(e => e.checkVisibility())"

    async def look(browser: Browser) -> None:
        await browser.look(worker.url, dark=False)
        await browser.until(f"{ROWS}")
        text = await browser.value("document.querySelector('#status').innerText")
        assert f"rejected {total}" in text
        assert "lag 1 tick\n" in text.replace("  ", "\n") + "\n"
        assert await browser.value("document.querySelector('#rejected').title") == "\n".join(words)
        assert await browser.value(f"{spoken}.length") == 0
        for _ in range(3):
            await browser.press("Tab")
            if await browser.value(inside):
                break
        await browser.press("Enter")
        await browser.until(f"{spoken}.length === {len(words)}")
        assert await browser.value(f"{spoken}.map(e => e.innerText)") == list(words)
        # the numbers go on, and leave focus and what was opened alone
        worker.reads.numbers = replace(numbers, lag=2)
        await browser.until("document.querySelector('#lag').innerText === '2 ticks'")
        assert await browser.value(f"{inside} && {spoken}.length === {len(words)}")

    with web_worker(of(*some(3), numbers=numbers)) as worker:
        browse(look)


@pytest.mark.parametrize("others", [False, True])
def test_the_broker_stands_in_the_list_where_there_are_several(others: bool) -> None:
    reads = of(*some(3), make_bar(TEN_US, symbol="USDJPY"))
    if others:
        reads.add(make_bar(TEN_US, broker="OTHER"))

    async def look(browser: Browser) -> None:
        await browser.look(worker.url, dark=False)
        await browser.until(f"{ROWS} && ({LIST}).includes('USDJPY')")
        assert ("FX" in await browser.value(LIST)) is others
        assert ("OTHER" in await browser.value(LIST)) is others

    with web_worker(reads) as worker:
        browse(look)


def test_on_a_phone_the_list_has_prices_and_a_filter_and_only_the_table_is_wider() -> None:
    async def look(browser: Browser) -> None:
        await browser.look(worker.url, 390, 844, dark=False)
        await browser.until(f"{ROWS} === 12 && ({LIST}).includes('1.10725')")
        assert not await browser.value(WIDER)
        assert await browser.value("document.querySelector('#filter').checkVisibility()")
        table = "document.querySelector('.scroll')"
        assert await browser.value(f"{table}.scrollWidth > {table}.clientWidth + 50")
        # that there is more is seen: two shades and the covers that scroll over them
        assert await browser.value(
            f"getComputedStyle({table}).backgroundAttachment.split(', ').join()"
        ) == ("local,local,scroll,scroll,scroll")
        assert await browser.value(f"{table}.tabIndex") == 0

    with web_worker(an_hour()) as worker:
        browse(look)


def test_the_list_is_filtered_and_says_when_nothing_has_that_name() -> None:
    async def look(browser: Browser) -> None:
        await browser.look(worker.url, dark=False)
        await browser.until(f"({LIST}).includes('USDJPY')")

        async def filtered(text: str) -> None:
            await browser.value(
                f"document.querySelector('#filter').value = {text!r};"
                "document.querySelector('#filter').dispatchEvent(new Event('input'))"
            )

        await filtered("jpy")
        assert "EURUSD" not in await browser.value(LIST)
        assert "USDJPY" in await browser.value(LIST)
        await filtered("nothing")
        assert await browser.value("document.querySelector('#none').checkVisibility()")

    with web_worker(of(*some(3), make_bar(TEN_US, symbol="USDJPY"))) as worker:
        browse(look)


def test_the_readout_stays_with_the_bar_under_the_cursor_while_new_ticks_come() -> None:
    async def look(browser: Browser) -> None:
        await browser.look(worker.url, dark=False)
        await browser.until(f"{ROWS} && ({BODIES}).length === 3")
        await browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=480, y=400)
        await browser.until(f"({READOUT}).startsWith('2024-03-04 10:00')")
        worker.reads.add(some(3)[-1].replace(close=1.9, high=1.9))
        await browser.until("document.querySelector('#price').innerText.startsWith('1.9')")
        assert (await browser.value(READOUT)).startswith("2024-03-04 10:00")

    with web_worker(of(*some(3))) as worker:
        browse(look)
