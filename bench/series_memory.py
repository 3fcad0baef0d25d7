"""What a series takes of a worker's memory, and whether that grows while it runs.

    python -m bench.series_memory                  # tables in Markdown
    python -m bench.series_memory --series 10000 --minutes 1 65 130

No broker is needed.  One partition with all series is fed a tick of each every minute through the
engine, flushed as a worker flushes, into real local stores.  Counted is what Python has allocated
(``tracemalloc``) and not given back, by the module that did; RocksDB's own memory is bounded apart
from it, see docs/sizes.md.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import tables.finals
from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import TickColumns
from barstream.config import Settings
from barstream.kafka.topics.outputs import OutputTopics
from barstream.market.schedule import MarketScheduleProvider
from barstream.model.period import MINUTE, Period
from barstream.model.time import MINUTE_US
from barstream.partition.finals_view import FinalsView
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.rules.series import Rules
from barstream.runtime.app import make_app
from barstream.runtime.flush import bar_rows, build_flush, by_period
from barstream.store.finals import FinalsPartition

BROKER, START_US = "BENCH", 1_700_006_400_000_000
PERIODS = tuple(map(Period.parse, ("5m", "15m", "1h", "1d")))


class Partition:
    """An engine over real stores, without Kafka."""

    def __init__(self, directory: Path) -> None:
        app: Any = make_app(Settings(data_dir=directory), {})
        declared = tables.finals.declare(
            app, {period: f"rate_{period.timeframe}_final" for period in (MINUTE, *PERIODS)}
        )
        stores = {
            period: FinalsPartition(app.tables[name].data, 0)
            for period, name in zip((MINUTE, *PERIODS), declared.values(), strict=True)
        }
        self.stores = stores
        self.book = FinalsView(stores)
        self.engine = PartitionMachine(
            0, Rules(), MarketScheduleProvider.always_open(), lambda _broker, _symbol: None,
            book=self.book, options=MachineOptions(periods=PERIODS),
        )  # fmt: skip
        self.topics = OutputTopics(
            "ticks", "1m", "live", "rejected", "series", "seen", {p: str(p) for p in PERIODS}
        )
        self._written = 0

    def tick_of_each(self, names: list[tuple[str, str]], minute: int) -> None:
        """One tick of every series in a minute, applied and flushed."""
        count, begin = len(names), self.engine.position or 0
        times = np.full(count, START_US + minute * MINUTE_US, np.int64)
        nothing: list[bytes | None] = [None] * count
        offsets = np.arange(begin, begin + count, dtype=np.int64)
        chunk = RecordChunk(
            "ticks", 0, begin, begin + count, nothing, nothing, offsets, times, append_time=True
        )
        columns = TickColumns(
            np.arange(count, dtype=np.int32), names, times, np.full(count, 1.25), np.ones(count),
            None, [],
        )  # fmt: skip
        while not self.engine.apply_ticks(chunk, columns, 0, at_end=True):
            self.flush()
        self.flush()

    def flush(self) -> None:
        """As a worker does, but for Kafka."""
        pending = self.engine.take()
        build_flush(pending, self.engine.state, 0, self.topics, None)
        rows = {MINUTE: pending.finals, **by_period(pending.rollups)}
        for period, bars in rows.items():
            self._written += len(bars) + 1
            pairs = [(row.key or b"", row.value) for row in bar_rows(bars)]
            self.stores[period].write(pairs, self._written)
            self.book.committed(period, bars)


def traced() -> tuple[int, Counter[str]]:
    """Bytes Python holds, all and by file."""
    gc.collect()
    found: Counter[str] = Counter()
    for entry in tracemalloc.take_snapshot().statistics("filename"):
        found["/".join(Path(entry.traceback[0].filename).parts[-2:])] += entry.size
    return sum(found.values()), found


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--series", type=int, default=1000)
    options.add_argument("--minutes", type=int, nargs="+", default=[1, 65, 130])
    shape = options.parse_args()
    names = [(BROKER, f"S{number:05d}") for number in range(shape.series)]
    print("| minutes | bytes a series | most of it |\n| ---: | ---: | --- |")
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        # modules are imported when they are used first, which is not what a series takes
        Partition(Path(directory) / "first").tick_of_each(names[:10], 0)
        partition = Partition(Path(directory) / "measured")
        tracemalloc.start()
        before, _ = traced()
        at = 0
        for minutes in shape.minutes:
            while at < minutes:
                partition.tick_of_each(names, at)
                at += 1
            total, by_file = traced()
            most = ", ".join(
                f"{name} {size / shape.series:.0f}" for name, size in by_file.most_common(8)
            )
            print(f"| {minutes} | {(total - before) / shape.series:.0f} | {most} |", flush=True)


if __name__ == "__main__":
    main()
