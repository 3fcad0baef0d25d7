"""Two workers on a real Kafka: code inside either of them and a program outside read the same.

Sessions of broker X, UTC, ticks in [..]; the grid of 1h@session begins at 09:17::

    S   Mon 09:17 [.....] 10:40   11:30 [...] 12:05    Tue 09:17 [....] 10:31 (a live minute)
    S2  Mon 09:17 [.] 09:30
    Z   24 hours  [.] (in another partition, on the other worker)
"""

from __future__ import annotations

import asyncio
import json
import random
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from barstream import Bar, Period, Rate, TimeBucket
from barstream.model.bar_request import UnknownPeriodError, UnknownSeriesError
from barstream.model.time import MINUTE_US, SECOND_US, us_from_iso
from tests.functional.tick_records import Tick, send_ticks
from tests.pipeline import Pipeline, WorkerProcess, pipeline, until

pytestmark = pytest.mark.kafka

TIMEFRAMES = ("5m", "1h@session", "1d", "1wk")
PERIODS = [Period.parse(text) for text in ("1m", *TIMEFRAMES)]
ROWS = """broker,symbol,trading_date,open,close
X,S,2024-03-04,2024-03-04T09:17Z,2024-03-04T10:40Z
X,S,2024-03-04,2024-03-04T11:30Z,2024-03-04T12:05Z
X,S,2024-03-05,2024-03-05T09:17Z,2024-03-05T10:40Z
X,S2,2024-03-04,2024-03-04T09:17Z,2024-03-04T09:30Z
Y,Z,2024-03-04,2024-03-04T00:00Z,2024-03-04T23:59Z
"""
#: Partition of each series' ticks, and the spans they come in, every 20 seconds or so.
SPANS = {
    ("X", "S"): (0, [("2024-03-04T09:17", 83), ("2024-03-04T11:30", 35), ("2024-03-05T09:17", 74)]),
    ("X", "S2"): (1, [("2024-03-04T09:17", 13)]),
    ("Y", "Z"): (2, [("2024-03-04T03:00", 50)]),
}
#: The last bucket with ticks of S, and the tick that closes it.
LAST, CLOSING = "2024-03-05T10:30", "2024-03-05T10:37:30"


def ticks_of(broker: str, symbol: str) -> list[Tick]:
    chosen = random.Random(f"{broker} {symbol}")
    found: list[Tick] = []
    for start, minutes in SPANS[broker, symbol][1]:
        at_us, end_us = us_from_iso(start), us_from_iso(start) + minutes * MINUTE_US
        while at_us < end_us:
            price, size = round(chosen.gauss(100, 3), 4), chosen.choice([0.1, 0.3, 7.0])
            found.append(Tick(broker, symbol, at_us, price, size))
            at_us += (
                chosen.randrange(5, 35) * SECOND_US if chosen.random() < 0.95 else 4 * MINUTE_US
            )
    return found


@dataclass
class Running:
    made: Pipeline
    workers: list[WorkerProcess]

    def inside(
        self, worker: int, period: Period, read: str, *arguments: Any, **options: Any
    ) -> Any:
        asked = {
            "period": str(period), "read": read, "arguments": arguments, "options": options,
        }  # fmt: skip
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.workers[worker].port}/inside", json.dumps(asked).encode()
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return [Bar(**row) for row in json.load(answer)]

    def outside(
        self, worker: int, period: Period, read: str, *arguments: Any, **options: Any
    ) -> Any:
        async def reading() -> Any:
            url = f"http://127.0.0.1:{self.workers[worker].port}"
            async with TimeBucket.connect(url) as service:
                return await getattr(service.get(Rate, period), read)(*arguments, **options)

        found = asyncio.run(reading())
        return found if isinstance(found, list) else [found]

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Until it holds, or a worker has ended."""

        def ended() -> bool:
            return any(worker.process.poll() is not None for worker in self.workers)

        try:
            until(lambda: ended() or condition(), 90, what)
            assert not ended(), what
        except AssertionError as error:
            raise AssertionError(
                "\n".join([str(error), *(w.tail() for w in self.workers)])
            ) from error

    def is_shared(self) -> bool:
        """Whether each of the workers has partitions, and all are taken."""
        try:
            held = [len(worker.get("/status")["partitions"]) for worker in self.workers]
        except OSError:  # it starts, or has too much else to do
            return False
        return all(held) and sum(held) == 4 and all(worker.ready for worker in self.workers)

    def is_settled(self, worker: int, series: tuple[str, str]) -> bool:
        """Whether its last minute is open with all its ticks, and the ones before committed."""
        ticks = ticks_of(*series)
        last_us = ticks[-1].time_us // MINUTE_US * MINUTE_US
        asked = list(series)
        try:
            found = self.outside(worker, PERIODS[0], "to_list", asked, limit=2, descending=True)
        except UnknownSeriesError:  # this worker has not heard of it yet
            return False
        if [bar.final for bar in found] != [False, True]:
            return False
        count = sum(tick.time_us >= last_us for tick in ticks)
        return bool((found[0].bucket_start_us, found[0].tick_count) == (last_us, count))

    def send(self, ticks: list[Tick], partition: int) -> None:
        send_ticks(self.made.bootstrap, self.made.names.ticks, ticks, partition)


@pytest.fixture(scope="module")
def running(kafka: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("timebucket")
    name = f"t{random.SystemRandom().getrandbits(32):08x}"
    options = {"TOPICS__PARTITIONS": "4", "BARS__TIMEFRAMES": ",".join(TIMEFRAMES)}
    with pipeline(kafka.bootstrap, name, directory, **options) as made:
        (directory / "rows.csv").write_text(ROWS, encoding="utf-8")
        made.run("schedule", "load", str(directory / "rows.csv"), "--yes")
        program = ("tests.client.inside_worker",)
        workers = [
            made.worker(directory=f"w{number}", program=program, wait=False) for number in range(2)
        ]
        running = Running(made, workers)
        running.wait(running.is_shared, "both workers hold partitions and are ready")
        for (broker, symbol), (partition, _) in SPANS.items():
            running.send(ticks_of(broker, symbol), partition)
        for worker in range(2):
            for series in SPANS:
                settled = partial(running.is_settled, worker, series)
                running.wait(settled, f"every tick of {series} applied, every final committed")
        yield running


@pytest.mark.parametrize("period", PERIODS, ids=str)
@pytest.mark.parametrize(
    ("prefix", "options"),
    [
        ([], {}),
        (["x"], {}),
        (["X", "S"], {}),
        (["X", "S"], {"start": "2024-03-04T10:20:30", "end": "2024-03-05T09:40"}),
        (["X", "S"], {"limit": 3, "descending": True}),
        (["X", "S", "2024-03-04T11:44:10"], {}),
        (["Y", "Z"], {"start": "2024-03-04T03:10"}),
    ],
)  # fmt: skip
def test_every_way_of_reading_gives_the_same_bars(
    running: Running, period: Period, prefix: list[str], options: dict[str, Any]
) -> None:
    # each worker reads its own partitions from its disk and the rest from the other one
    ways = [
        way(worker, period, "to_list", prefix, **options)
        for worker in range(2)
        for way in (running.inside, running.outside)
    ]
    assert ways[0]
    assert all(bars == ways[0] for bars in ways)
    keys = [(bar.broker, bar.symbol, bar.bucket_start_us) for bar in ways[0]]
    assert keys == sorted(set(keys), reverse=options.get("descending", False))


def test_live_and_final_bars_are_merged(running: Running) -> None:
    for period in PERIODS:
        bars = running.inside(0, period, "to_list", ["X", "S"])
        assert [bar.final for bar in bars[-1:]] == [False]
        if period.is_intraday:
            assert sum(bar.final for bar in bars) >= len(bars) - 2


def test_hours_of_sessions_are_found_by_any_time_inside(running: Running) -> None:
    hour = Period.hours(1, anchor="session")
    opened = us_from_iso("2024-03-04T10:17Z")
    for way in (running.inside, running.outside):
        for time in ("2024-03-04T10:17", "2024-03-04T10:39:59Z"):
            (bar,) = way(1, hour, "to_list", ["X", "S", time])
            assert bar.bucket_start_us == opened
        assert way(0, hour, "to_list", ["X", "S", "2024-03-04T10:45"]) == []
    with pytest.raises(UnknownPeriodError):
        running.outside(0, Period.hours(1), "to_list", ["X", "S"])


def test_each_way_of_reading_pages_through_all_bars(running: Running) -> None:
    bars = running.inside(0, PERIODS[0], "to_list", [])
    assert len(bars) > 150
    for way in (running.inside, running.outside):
        halves = [
            way(1, PERIODS[0], "to_list", ["X", "S"], end="2024-03-04T11:00"),
            way(1, PERIODS[0], "to_list", ["X", "S"], start="2024-03-04T11:00"),
        ]
        joined = [bar for half in halves for bar in half]
        assert joined == [bar for bar in bars if (bar.broker, bar.symbol) == ("X", "S")]
        assert all(one.bucket_start_us < other.bucket_start_us for one, other in pairwise(joined))


def test_code_of_ones_own_reads_on_a_worker_of_its_own(running: Running) -> None:
    # the program of docs/timebucket.md says the newest bar of S every ten seconds
    (bar,) = running.outside(0, PERIODS[1], "to_list", ["X", "S"], limit=1, descending=True)
    said = f"newest S {bar.close}"
    for worker in running.workers:
        until(lambda w=worker: said in w.log.read_text(), 30, f"{said} in {worker.log}")  # type: ignore[misc]


def test_a_bucket_is_waited_for_inside_and_outside(running: Running) -> None:
    # last of all here: its tick moves the end of S
    five = Period.minutes(5)
    with ThreadPoolExecutor(4) as pool:
        waits = [
            pool.submit(way, worker, five, "wait_for", ["X", "S", LAST], 60)
            for worker in range(2)
            for way in (running.inside, running.outside)
        ]
        running.send([Tick("X", "S", us_from_iso(CLOSING), 101.0)], 0)
        found = [wait.result(70) for wait in waits]
    assert all(bars == found[0] for bars in found)
    (bar,) = found[0]
    assert (bar.bucket_start_us, bar.final) == (us_from_iso(LAST), True)
    assert running.outside(0, five, "to_list", ["X", "S", LAST]) == [bar]
