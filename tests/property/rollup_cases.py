"""Partitions with upper bars: what their flushes leave behind, and going on from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

from rocksdict import Options, Rdict

from barstream.codecs.topics.bar import decode_bar
from barstream.kafka.offsets import Extent
from barstream.kafka.topics.outputs import OutputTopics
from barstream.market.schedule import MarketScheduleProvider
from barstream.model.bar import Bar
from barstream.model.bar_fields import NAMES, values_of
from barstream.model.period import MINUTE, Period
from barstream.partition.finals_view import FinalsView
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.rules.series import Rules
from barstream.runtime.flush import build_flush
from barstream.runtime.restored_state import restore_engine
from barstream.store.finals import FinalsPartition
from barstream.store.rocksdb import LocalPartition

TIMEFRAMES: Final = (
    "5m", "15m", "1h", "4h", "4h+1h", "7m+3m", "5m@session", "45m@session", "4h@session",
    "1d", "1wk", "1mo",
)  # fmt: skip
PERIODS: Final = tuple(Period.parse(text) for text in TIMEFRAMES)
TOPICS: Final = OutputTopics(
    "ticks", "1m", "live", "rejected", "series", "seen",
    {period: str(period) for period in PERIODS},
)  # fmt: skip


class Disk:
    """A RocksDB for each period, emptied and used again, because opening one takes long."""

    def __init__(self, path: Path, periods: Sequence[Period] = PERIODS) -> None:
        self._databases = {
            period: Rdict(str(path / str(period)), Options(raw_mode=True))
            for period in (MINUTE, *periods)
        }

    def emptied(self) -> dict[Period, FinalsPartition]:
        """Stores of finals, with nothing in them."""
        found: dict[Period, FinalsPartition] = {}
        for period, database in self._databases.items():
            database.delete_range(b"", b"\xff" * 8)
            store = SimpleNamespace(
                offset_key=b"__offset", _db_for_partition=lambda _, database=database: database
            )
            found[period] = FinalsPartition(store, 0)
        return found

    def close(self) -> None:
        """Close the databases."""
        for database in self._databases.values():
            database.close()


@dataclass
class Worker:
    """A partition as a worker holds it; `crash` throws away what was not flushed."""

    rules: Rules
    provider: MarketScheduleProvider
    stores: dict[Period, FinalsPartition]
    engine: PartitionMachine = field(init=False)
    #: Rows of the topics of finals, in order.
    written: dict[Period, list[Bar]] = field(default_factory=dict)
    series: dict[bytes, bytes] = field(default_factory=dict)
    _offset: int = 0

    def __post_init__(self) -> None:
        self.engine = self._new()

    def _new(self) -> PartitionMachine:
        engine = PartitionMachine(
            0, self.rules, self.provider, lambda _broker, _symbol: None,
            MachineOptions([p for p in self.stores if p != MINUTE]), book=FinalsView(self.stores),
        )  # fmt: skip
        engine.state.use_schedule(self.provider.index)
        return engine

    def flush(self) -> None:
        """Write what there is, as one transaction and the stores after it."""
        pending = self.engine.take()
        flush = build_flush(pending, self.engine.state, 0, TOPICS, None)
        for (topic, _), rows in flush.rows.items():
            if topic == TOPICS.series:
                self.series.update((row.key or b"", row.value or b"") for row in rows)
            elif topic not in {TOPICS.live, TOPICS.rejected, TOPICS.series_seen}:
                period = Period.parse(topic)
                bars = [decode_bar(row.value) for row in rows if row.value is not None]
                self.written.setdefault(period, []).extend(bars)
                self._offset += len(rows)
                self.stores[period].write(
                    [(row.key, row.value) for row in rows if row.key is not None], self._offset
                )
        self.engine.book.committed(MINUTE, pending.finals)
        for period, bar in pending.rollups:
            self.engine.book.committed(period, (bar,))
        self.engine.release()

    def crash(self) -> tuple[int, int]:
        """Go on from the last flush: the first tick and the first heartbeat to be read."""
        self.stores = {p: FinalsPartition(s._store, 0) for p, s in self.stores.items()}
        self.engine = self._new()
        rows = cast("LocalPartition", self.series)  # what is asked of it, a dict has
        start = restore_engine(
            self.engine, rows, "ticks", None, Extent(0, 1 << 40), Extent(0, 1 << 40)
        )
        self.engine.judge_all()
        return start.ticks, start.heartbeats

    def finals(self, period: Period, symbol: str) -> dict[int, Bar]:
        """The newest row of each bucket, ascending."""
        rows = [bar for bar in self.written.get(period, ()) if bar.symbol == symbol]
        newest = {bar.bucket_start_us: bar for bar in rows}
        return dict(sorted(newest.items()))


def as_row(bar: Bar) -> dict[str, Any]:
    """The bar by the field names of its schema, without those of its series."""
    row = dict(zip(NAMES, values_of(bar), strict=True))
    return {name: row[name] for name in NAMES if name not in {"broker", "symbol"}}


def rows_by_bucket(bars: Sequence[Bar]) -> list[dict[str, Any]]:
    """The bars as rows, ascending."""
    return [as_row(bar) for bar in sorted(bars, key=lambda bar: bar.bucket_start_us)]
