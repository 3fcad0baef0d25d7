"""Waiting for a bucket: at once when it is final, as soon as it is, or an error that says why."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from barstream.client import BucketTimeoutError
from barstream.model.bar import Bar
from barstream.model.bar_request import UnknownPeriodError
from barstream.model.time import MINUTE_US
from barstream.serve.reads import Readiness
from tests.serve.memory_reads import HOUR, make_bar

from .conftest import TEN_US, Read, Service

#: Of S of FX: 10:11 is live, 10:12 not begun.
LIVE, NEXT = "2024-03-04T10:11:20Z", "2024-03-04T10:12:00Z"


def waited(time_text: str, timeout: float, symbol: str = "S", **options: Any) -> Read:
    return lambda bars: bars.wait_for(["FX", symbol, time_text], timeout, **options)


@contextmanager
def later(service: Service, *bars: Bar, after_s: float = 0.15) -> Iterator[None]:
    """These come while the block runs."""
    reads = service.workers[1].reads
    loop = service.workers[1].loop
    timer = threading.Timer(after_s, loop.call_soon_threadsafe, [lambda: reads.add(*bars)])
    timer.start()
    try:
        yield
    finally:
        timer.join()


def minute(number: int, **changes: Any) -> Bar:
    return make_bar(TEN_US + number * MINUTE_US, symbol="S").replace(**changes)


def test_a_bucket_that_is_final_is_answered_at_once(service: Service) -> None:
    for way in service.ways():
        bar = way(waited("2024-03-04T10:03:59Z", 0.5))
        assert (bar.bucket_start_us, bar.final) == (TEN_US + 3 * MINUTE_US, True)


@pytest.mark.parametrize("way", [Service.inside, Service.outside])
def test_a_live_bucket_is_waited_for_until_it_is_final(service: Service, way: Any) -> None:
    final = minute(11, close=7.5)
    with later(service, final):
        assert way(service, waited(LIVE, 20)) == final


@pytest.mark.parametrize("way", [Service.inside, Service.outside])
def test_a_bucket_that_has_not_begun_is_waited_for(service: Service, way: Any) -> None:
    final = minute(12)
    begun = later(service, minute(11), minute(12, final=False, close_offset=None))
    with begun, later(service, final, after_s=0.4):
        assert way(service, waited(NEXT, 20)) == final


@pytest.mark.parametrize("way", [Service.inside, Service.outside])
def test_a_revision_is_waited_for_when_it_is_asked_for(service: Service, way: Any) -> None:
    # a final that a late tick is known to change; without asking, the first final will do
    revised = minute(3, revision=2)
    with later(service, revised):
        assert way(service, waited("2024-03-04T10:03", 20, revision=1)) == revised
    assert way(service, waited("2024-03-04T10:03", 20)) == revised


@pytest.mark.parametrize("way", [Service.inside, Service.outside])
def test_a_series_without_a_tick_yet_is_waited_for(service: Service, way: Any) -> None:
    first = minute(0, symbol="NEW")
    reads = service.workers[1].reads

    def arrive() -> None:
        reads.partition_of["FX", "NEW"] = 1
        reads.add(first)

    timer = threading.Timer(0.2, service.workers[1].loop.call_soon_threadsafe, [arrive])
    timer.start()
    assert way(service, waited("2024-03-04T10:00", 20, symbol="NEW")) == first


@pytest.mark.parametrize("way", [Service.inside, Service.outside])
def test_a_worker_that_recovers_is_waited_for(service: Service, way: Any) -> None:
    reads = service.workers[1].reads
    reads.readiness = Readiness(False, ["restoring"])

    def recover() -> None:
        reads.readiness = Readiness(True)

    timer = threading.Timer(0.2, service.workers[1].loop.call_soon_threadsafe, [recover])
    timer.start()
    assert way(service, waited("2024-03-04T10:03", 20)).final


def not_in_time(service: Service, read: Read) -> Iterator[BucketTimeoutError]:
    for way in service.ways():
        began = time.monotonic()
        with pytest.raises(TimeoutError) as raised:
            way(read)
        assert time.monotonic() - began < 3
        assert isinstance(raised.value, BucketTimeoutError)
        yield raised.value


def test_what_was_waited_for_and_what_there_is_are_told(service: Service) -> None:
    for error in not_in_time(service, waited(LIVE, 0.3)):
        assert "FX S 1m of 2024-03-04T10:11:00Z was not final within 0.3 s" in str(error)
        assert "it is 2024-03-04T10:11:00Z (live)" in str(error)
        assert error.found is not None
        assert not error.found.final
    for error in not_in_time(service, waited(NEXT, 0.3)):
        assert "the newest bar is 2024-03-04T10:11:00Z (live)" in str(error)
        assert error.found is None
        assert error.newest is not None
        assert error.newest.bucket_start_us == TEN_US + 11 * MINUTE_US


def test_a_bucket_that_was_passed_over_is_told(service: Service) -> None:
    # outside a session no bar will ever come, however long one waits
    for error in not_in_time(service, waited("2024-03-04T09:59", 0.3)):
        assert "later than it" in str(error)
        assert "session" in str(error)


def test_too_few_revisions_are_told(service: Service) -> None:
    for error in not_in_time(service, waited("2024-03-04T10:03", 0.3, revision=1)):
        assert "not final with revision 1" in str(error)
        assert "it is 2024-03-04T10:03:00Z (final, revision 0)" in str(error)


def test_why_nothing_is_known_is_told(service: Service) -> None:
    for error in not_in_time(service, waited(NEXT, 0.3, symbol="NOSUCH")):
        assert "FX NOSUCH" in str(error)
        assert error.newest is None
    service.workers[1].reads.readiness = Readiness(False, ["restoring partition 1"])
    for error in not_in_time(service, waited(NEXT, 0.3)):
        assert "restoring partition 1" in str(error)


def test_a_worker_that_hangs_does_not_hold_up_the_timeout(service: Service) -> None:
    service.workers[1].loop.call_soon_threadsafe(time.sleep, 1.0)
    with pytest.raises(BucketTimeoutError, match="no worker has answered yet"):
        service.outside(waited(LIVE, 0.3), worker=1)


def test_a_period_that_is_not_made_is_not_waited_for(service: Service) -> None:
    for worker in service.workers:
        worker.reads.periods = [period for period in worker.reads.periods if period != HOUR]
    for way in service.ways():
        with pytest.raises(UnknownPeriodError):
            way(waited(LIVE, 30), HOUR)


def test_a_bucket_needs_all_parts_of_its_key(service: Service) -> None:
    for way in service.ways():
        with pytest.raises(ValueError, match="has 3 parts"):
            way(lambda bars: bars.wait_for(["FX", "S"], 1))


def test_a_wait_can_be_cancelled(service: Service) -> None:
    async def cancelled(bars: Any) -> None:
        waiting = asyncio.ensure_future(bars.wait_for(["FX", "S", NEXT], 60))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    for way in service.ways():
        way(cancelled)
