"""How long the bars of one series take to read, as the number of series in the store grows.

    python -m bench.prefix_reads
    python -m bench.prefix_reads --series 100 10000 --rounds 50 --json

No broker is needed.  The local store of a worker holds the bars of all series (names such as S1,
S10 and S100, each the beginning of others); read are the bars of a few of them, by ``TimeBucket``
as code inside the worker does.  The stores are read in turn within each round, so that whatever
else the machine does meets all of them alike: quote the ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import tables.finals
from barstream import Bar, Period, Rate, TimeBucket
from barstream.client import bind
from barstream.config import Settings
from barstream.market.schedule import MarketScheduleProvider
from barstream.market.universe import Universe
from barstream.metrics import Metrics
from barstream.model.period import MINUTE
from barstream.model.time import MINUTE_US
from barstream.partition.finals_view import FinalsView
from barstream.partition.machine import PartitionMachine
from barstream.rules.series import Rules
from barstream.runtime.app import BarstreamApp, make_app
from barstream.runtime.flush import bar_rows
from barstream.serve.owner import Peers, Router
from barstream.serve.query import RoutedBars
from barstream.serve.worker_reads import WorkerReads
from barstream.store.finals import FinalsPartition

START_US = 1_700_006_400_000_000
#: Series that are read, spread over the keys.
READ = 20
URL = "http://127.0.0.1:1"


@dataclass
class Worker:
    """A worker that holds one partition with so many series."""

    series: int
    source: RoutedBars
    read: list[str]
    store_bytes: int
    seconds: list[float] = field(default_factory=list)


def a_bar(symbol: str, number: int) -> Bar:
    """Plausible, and as large as a real one."""
    start_us, price = START_US + number * MINUTE_US, 1.1 + number % 97 / 1e4
    return Bar(
        broker="DEMO",
        symbol=symbol,
        bucket_start_us=start_us,
        trading_date=start_us // (1440 * MINUTE_US),
        session=0,
        open=price,
        high=price + 3e-4,
        low=price - 2e-4,
        close=price + 1e-4,
        volume=41.7,
        turnover=41.7 * price,
        tick_count=40,
        open_time_us=start_us + 120_000,
        close_time_us=start_us + 59_700_000,
        synthetic=False,
        revision=0,
        first_offset=10**9,
        last_offset=10**9 + 999,
        close_offset=10**9 + 1000,
    )


def worker_with(series: int, bars: int, others: int, directory: Path) -> Worker:
    """Its finals on disk, ``bars`` of each series that is read and ``others`` of the rest."""
    app: Any = make_app(Settings(data_dir=directory), {})
    (name,) = tables.finals.declare(app, {MINUTE: "rate_1m_final"}).values()
    store: Any = app.tables[name].data
    partition = FinalsPartition(store, 0)
    symbols = [f"S{number}" for number in range(series)]
    read = symbols[:: max(1, series // READ)][:READ]
    engine = PartitionMachine(
        0, Rules(0, 5), MarketScheduleProvider.always_open(), lambda _broker, _symbol: None,
        book=FinalsView({MINUTE: partition}),
    )  # fmt: skip
    for symbol in symbols:
        engine.state.add("DEMO", symbol).first_tick_us = START_US
    for number in range(max(bars, others)):
        # in the order of a worker: all series of a minute at once
        made = [a_bar(symbol, number) for symbol in (symbols if number < others else read)]
        rows = [(row.key or b"", row.value) for row in bar_rows(made)]
        partition.write(rows, number * series)
    db = store._db_for_partition(0)
    db.flush()
    reads = WorkerReads(
        cast("BarstreamApp", MEMBER),
        cast("Any", Held({0: SimpleNamespace(engine=engine, partition=0, fenced=False)})),
        MarketScheduleProvider.always_open(),
        Universe(),
    )
    size = sum(int(file["size"]) for file in db.live_files())
    return Worker(series, RoutedBars(reads, Router(reads, Peers(Metrics()))), read, size)


#: The worker alone in its group.
MEMBER = SimpleNamespace(
    conf=SimpleNamespace(canonical_url=URL),
    membership=SimpleNamespace(sure=True),
    rebalancing=False,
    assignor=SimpleNamespace(external_topic_distribution={URL: {"ticks": [0]}}),
    consumer=SimpleNamespace(topic_partitions=lambda _topic: 1),
)


@dataclass
class Held:
    """The one partition there is."""

    owned: dict[int, Any]
    settings: Any = field(
        default_factory=lambda: SimpleNamespace(
            periods=(), rules=Rules(0, 5), ticks_topic="ticks", heartbeat_topic="hb_1m"
        )
    )
    progress: None = None
    generation: int = 1


async def measure(workers: Sequence[Worker], bars: int, rounds: int) -> None:
    """Read every chosen series of every worker once a round."""
    bucket = TimeBucket.get(Rate, Period.minutes(1))
    for number in range(rounds + 1):
        for worker in workers:
            bind(worker.source)
            for symbol in worker.read:
                began = time.perf_counter()
                found = await bucket.to_list(["DEMO", symbol], limit=bars)
                took = time.perf_counter() - began
                if len(found) != bars or {bar.symbol for bar in found} != {symbol}:
                    raise AssertionError(f"{symbol}: read {len(found)} bars, there are {bars}")
                if number:  # the first round warms the caches
                    worker.seconds.append(took)


def report(workers: Sequence[Worker], bars: int) -> str:
    """A table in Markdown; ratios are to the first row."""
    lines = [
        f"| series | store, MB | {bars} bars of one: median, ms | p99, ms | ratio of medians |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    first = statistics.median(workers[0].seconds)
    for worker in workers:
        middle = statistics.median(worker.seconds)
        lines.append(
            f"| {worker.series:,} | {worker.store_bytes / 1e6:.0f} | {middle * 1e3:.2f} | "
            f"{p99(worker.seconds) * 1e3:.2f} | {middle / first:.2f} |"
        )
    return "\n".join(lines)


def p99(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--series", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--bars", type=int, default=500, help="of a series that is read")
    parser.add_argument("--others", type=int, default=100, help="of every other series")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="one object a number of series")
    shape = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        workers = [
            worker_with(series, shape.bars, shape.others, Path(directory) / str(series))
            for series in shape.series
        ]
        asyncio.run(measure(workers, shape.bars, shape.rounds))
    if not shape.json:
        print(report(workers, shape.bars))
        return
    for worker in workers:
        median, last = statistics.median(worker.seconds), p99(worker.seconds)
        print(json.dumps({"series": worker.series, "median_s": median, "p99_s": last}))


if __name__ == "__main__":
    main()
