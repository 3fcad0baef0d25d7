"""Bars by prefix: the same inside a worker and over HTTP, every bar asked for and no other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from barstream import Period, Rate, TimeBucket
from barstream.client import NotBoundError, bind, time_bucket
from barstream.errors import BarstreamError
from barstream.model.bar import Bar
from barstream.model.bar_request import (
    BarPage,
    BarRequest,
    BarsUnavailableError,
    UnknownPeriodError,
    UnknownSeriesError,
)
from barstream.model.period import MINUTE
from barstream.model.time import MINUTE_US, us_from_iso
from barstream.pipeline import MarketSchedule, Tick
from barstream.serve.reads import Readiness
from tests.serve.memory_reads import FIVE

from .conftest import MINUTES, TEN_US, Read, Service

EVERY = [("CFD", "S", 0), *(("FX", symbol, m) for symbol, n in MINUTES.items() for m in range(n))]


def named(bars: list[Bar]) -> list[tuple[str, str, int]]:
    return [(b.broker, b.symbol, (b.bucket_start_us - TEN_US) // MINUTE_US) for b in bars]


def listed(*arguments: Any, **options: Any) -> Read:
    return lambda bars: bars.to_list(*arguments, **options)


@pytest.mark.parametrize(
    ("prefix", "options", "wanted"),
    [
        ([], {}, EVERY),
        (["fx"], {}, EVERY[1:]),
        (["FX", "S"], {}, [("FX", "S", m) for m in range(12)]),
        (["FX", "t/€"], {}, [("FX", "T/€", m) for m in range(3)]),
        (["FX", "S", "2024-03-04T10:03:59Z"], {}, [("FX", "S", 3)]),
        (["FX", "S", datetime(2024, 3, 4, 10, 11, tzinfo=UTC)], {}, [("FX", "S", 11)]),
        (["FX", "S", "2024-03-04T10:12"], {}, []),
        (["FX", "S"], {"start": "2024-03-04T10:09:30"}, [("FX", "S", m) for m in (9, 10, 11)]),
        (["FX", "S"], {"end": "2024-03-04T10:01:30"}, [("FX", "S", m) for m in (0, 1)]),
        (["FX", "S"], {"end": "2024-03-04T10:01:00"}, [("FX", "S", 0)]),
        (["FX"], {"start": "2024-03-04T10:10"}, [("FX", "S", m) for m in (10, 11)]),
        ([], {"descending": True}, EVERY[::-1]),
        ([], {"limit": 9}, EVERY[:9]),
        (["FX", "S"], {"limit": 2, "descending": True}, [("FX", "S", m) for m in (11, 10)]),
        (["NOSUCH"], {}, []),
    ],
)
@pytest.mark.parametrize("page", [1, 4, 5000])
def test_a_prefix_reads_its_bars_and_no_others_inside_and_outside(
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    page: int,
    prefix: list[Any],
    options: dict[str, Any],
    wanted: list[tuple[str, str, int]],
) -> None:
    # however many pages it takes, and on whichever workers the series are
    monkeypatch.setattr(time_bucket, "_PAGE", page)
    inside = service.inside(listed(prefix, **options))
    assert named(inside) == wanted
    assert service.outside(listed(prefix, **options), worker=1) == inside
    assert service.inside(listed(prefix, **options), worker=2) == inside


def test_times_floor_to_the_bucket_of_the_period(service: Service) -> None:
    for way in service.ways():
        bars = way(listed(["FX", "S", "2024-03-04T10:04:59"]), FIVE)
        assert [bar.bucket_start_us for bar in bars] == [TEN_US]
        assert way(listed(["FX", "S"], start="2024-03-04T10:04"), FIVE) == bars
        assert way(listed(["FX", "S"], start="2024-03-04T10:05"), FIVE) == []


def test_days_and_months_of_any_year_can_be_asked_for(service: Service) -> None:
    # the first buckets of the calendar begin before the first time a worker takes
    for way in service.ways():
        for start in ("1000-01-01", "0001-01-01", datetime.min.replace(tzinfo=UTC)):
            assert len(way(listed(["FX", "S"], start=start, end="9999-12-31T23:59:59"))) == 12


def test_a_scan_gives_the_same_bars_one_by_one(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_bucket, "_PAGE", 3)

    async def scanned(bars: TimeBucket) -> list[Bar]:
        return [bar async for bar in bars.scan(["FX"], limit=20)]

    for way in service.ways():
        assert way(scanned) == way(listed(["FX"], limit=20))


@pytest.mark.parametrize(
    ("prefix", "options", "error", "said"),
    [
        (["FX", None], {}, TypeError, "leave the part out"),
        (["FX", "S", "2024-03-04", "5m"], {}, ValueError, "at most 3 parts"),
        (["FX", "S", 1709546400], {}, TypeError, "ISO 8601"),
        (["FX", "S", "2024-03-04"], {"end": "2024-03-05"}, ValueError, "one bucket"),
        (["FX", "S", "0999-03-04"], {}, ValueError, "1000 to 9999"),
        (["FX"], {"start": "2024-03-04", "end": "2024-03-04"}, ValueError, "start must be before"),
        (["FX"], {"start": "soon"}, ValueError, "start must be a datetime"),
        (["FX"], {"end": 7}, TypeError, "end must be a datetime"),
        ("FX", {}, TypeError, "is a list"),
        ([], {"limit": 0}, ValueError, "1 or more"),
        ([], {"limit": True}, TypeError, "whole number"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_read(
    prefix: Any, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    # nothing is bound here: a read would fail in another way
    bars = TimeBucket.get(Rate, MINUTE)
    for refused in (bars.to_list, bars.to_frame):
        with pytest.raises(error, match=said):
            asyncio.run(refused(prefix, **options))
    with pytest.raises(error, match=said):
        bars.scan(prefix, **options)


def test_only_bars_of_a_period_can_be_read() -> None:
    with pytest.raises(ValueError, match="Tick with the key"):
        TimeBucket.get(Tick, MINUTE)
    with pytest.raises(ValueError, match="trading_date"):
        TimeBucket.get(MarketSchedule, MINUTE)
    wrong: Any = "5m"
    with pytest.raises(TypeError, match=r"Period\.parse"):
        TimeBucket.get(Rate, wrong)


def test_without_a_worker_it_says_to_connect() -> None:
    with pytest.raises(NotBoundError, match=r"TimeBucket\.connect"):
        asyncio.run(TimeBucket.get(Rate, MINUTE).to_list([]))


def test_what_is_no_url_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(BarstreamError, match="URL of a worker"):
        TimeBucket.connect("localhost:6066")


def test_a_series_nobody_has_seen_is_no_empty_list(service: Service) -> None:
    for way in service.ways():
        with pytest.raises(UnknownSeriesError, match="FX U"):
            way(listed(["FX", "U"]))


@pytest.mark.parametrize("period", [Period.minutes(15), Period.hours(1)])
def test_a_period_that_is_not_made_is_refused(service: Service, period: Period) -> None:
    # hours of another grid are other bars, although both are called 1h
    shifted = Period.hours(1, offset=30)
    for worker in service.workers:
        worker.reads.periods = (MINUTE, FIVE, shifted)
    for way in service.ways():
        for prefix in (["FX", "S"], []):
            with pytest.raises(UnknownPeriodError, match="pipeline"):
                way(listed(prefix), period)
            way(listed(prefix), shifted)


def test_a_worker_that_recovers_gives_no_half_of_an_answer(service: Service) -> None:
    # the third worker holds S2, which is in the middle of every longer list
    service.workers[2].reads.readiness = Readiness(False, ["restoring partition 2"])
    for way in service.ways():
        assert len(way(listed(["FX", "S"]))) == 12
        for prefix in (["FX", "S2"], ["FX"], []):
            with pytest.raises(BarsUnavailableError, match="restoring partition 2") as raised:
                way(listed(prefix))
            assert raised.value.missing == ((2, service.workers[2].url),)


def test_no_worker_at_the_url_is_said_so() -> None:
    async def read() -> None:
        async with TimeBucket.connect("http://127.0.0.1:9") as nobody:
            await nobody.get(Rate, MINUTE).to_list([])

    with pytest.raises(BarsUnavailableError, match=r"no worker answers at http://127\.0\.0\.1:9"):
        asyncio.run(read())


def test_what_is_no_worker_is_told_from_one(tmp_path: Path) -> None:
    (tmp_path / "bars").write_text("<html>", encoding="utf-8")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        async def read() -> None:
            async with TimeBucket.connect(f"http://127.0.0.1:{server.server_port}") as other:
                await other.get(Rate, MINUTE).to_list([])

        with pytest.raises(BarsUnavailableError, match="no worker of barstream"):
            asyncio.run(read())
        server.shutdown()


def test_what_retention_has_deleted_is_told(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a list that begins late looks like a series that began late; the page that says so may not
    # be the last one
    monkeypatch.setattr(time_bucket, "_PAGE", 4)
    service.workers[1].reads.retained["FX", "S"] = TEN_US
    assert service.inside(listed(["FX", "S"]), worker=1).retained_from_us == TEN_US
    for way in service.ways():
        assert way(listed(["FX", "S"])).retained_from_us == TEN_US
        assert way(listed([])).retained_from_us == TEN_US
        assert way(listed(["FX", "S2"])).retained_from_us is None


def test_a_cancelled_read_asks_for_no_further_page(service: Service) -> None:
    asked: list[BarRequest] = []
    third = asyncio.Event()

    class Endless:
        """A series that never ends."""

        async def page(self, request: BarRequest) -> BarPage:
            asked.append(request)
            if len(asked) == 3:
                third.set()
            await asyncio.sleep(0)
            page = await service.workers[1].bars.page(BarRequest(MINUTE, "FX", "S"))
            return BarPage(page.bars, request.following(page.bars[-1]))

    async def cancelled(read: Any) -> None:
        asked.clear()
        third.clear()
        reading = asyncio.ensure_future(read)
        await third.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        so_far = len(asked)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(asked) == so_far

    async def every(bars: AsyncIterator[Bar]) -> None:
        async for _ in bars:
            pass

    bind(Endless())
    bars = TimeBucket.get(Rate, MINUTE)
    loop = service.workers[1].loop
    for read in (bars.to_list([]), bars.to_frame([]), every(bars.scan([]))):
        asyncio.run_coroutine_threadsafe(cancelled(read), loop).result(20)


def test_bars_of_sessions_are_found_by_any_time_inside_them() -> None:
    # only the worker that holds the series knows its sessions, so it floors the time
    asked: list[BarRequest] = []

    class Asked:
        async def page(self, request: BarRequest) -> BarPage:
            asked.append(request)
            return BarPage([])

    bind(Asked())
    time_us = us_from_iso("2024-03-04T10:45:00Z")
    for period in (Period.hours(1, anchor="session"), Period.hours(1)):
        asyncio.run(TimeBucket.get(Rate, period).to_list(["FX", "S", "2024-03-04T10:45"]))
    assert [(r.from_us, r.to_us) for r in asked] == [(time_us, time_us + 1), (TEN_US, TEN_US + 1)]
