"""Answers to the web views, from the partitions this worker holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from barstream.core.bars import Bar
from barstream.core.keys import bar_key, series_key
from barstream.core.period import MINUTE
from barstream.core.schedule import MarketScheduleProvider
from barstream.core.sessions import Session
from barstream.core.state import NEVER_US, PartitionState, SeriesState
from barstream.core.time import ceil_minute
from barstream.core.universe import Universe
from barstream.engine.owned import OwnedPartition
from barstream.engine.partitions import Partitions
from barstream.web.kinds import Kinds
from barstream.web.reads import NotHereError, Owner, Readiness, SeriesInfo, Stats
from barstream.web.reporting import Reporting

_LATEST_US: Final = 253_402_300_740_000_000  # 9999-12-31T23:59, the last minute a key can name


class WorkerReads:
    """The engine as the web sees it; see `barstream.web.reads.Reads`."""

    def __init__(
        self,
        partitions: Partitions,
        provider: MarketScheduleProvider,
        universe: Universe,
        reporting: Reporting,
    ) -> None:
        self._partitions = partitions
        self._provider = provider
        self._universe = universe
        self._reporting = reporting
        self._kinds = Kinds(provider, partitions.settings.rules.inactive_after)

    def bars(
        self,
        broker: str,
        symbol: str,
        from_us: int,
        to_us: int,
        limit: int,
        *,
        descending: bool,
    ) -> Sequence[Bar]:
        owned = self._here(broker, symbol)
        first = bar_key(broker, symbol, max(0, ceil_minute(from_us)))
        end = (
            bar_key(broker, symbol, ceil_minute(to_us))
            if to_us < _LATEST_US
            else series_key(broker, symbol) + b"\1"
        )
        book = owned.engine.book
        rows = book.rows(MINUTE, first, end, descending=descending)
        found = {bar.bucket_start_us: bar for _, bar in islice(rows, limit)}
        # what no flush has committed yet is shown as live; the stored final wins
        for bar in book.uncommitted(MINUTE, broker, symbol):
            found.setdefault(bar.bucket_start_us, _as_live(bar))
        for bar in self.live(broker, symbol):
            found.setdefault(bar.bucket_start_us, bar)
        chosen = sorted((start for start in found if from_us <= start < to_us), reverse=descending)
        return [found[start] for start in chosen[:limit]]

    def retained_from_us(self, broker: str, symbol: str) -> int | None:
        return self._here(broker, symbol).engine.book.retained_from_us(MINUTE, broker, symbol)

    def live(self, broker: str, symbol: str) -> Sequence[Bar]:
        series = self._here(broker, symbol).engine.state.get(broker, symbol)
        if series is None:
            return []
        return [
            series.open_bars[bucket].to_bar(broker, symbol, None)
            for bucket in sorted(series.open_bars)
        ]

    def series(self) -> Iterable[SeriesInfo]:
        here: set[tuple[str, str]] = set()
        for owned in self._reporting.held.values():
            state = owned.engine.state
            for series in state:
                if series.first_tick_us != NEVER_US:
                    here.add((series.broker, series.symbol))
                    yield self._info(owned.partition, state, series)
        for row in self._universe.rows():
            if row.name not in here:
                yield SeriesInfo(
                    row.broker,
                    row.symbol,
                    row.partition,
                    self._kinds.of_row(row),
                    closed_until_us=None if row.closed_until_us < 0 else row.closed_until_us,
                    here=row.partition in self._reporting.held,
                    url=self._reporting.url_of(row.partition),
                )

    def owner(self, broker: str, symbol: str) -> Owner:
        owned = self._holder(broker, symbol)
        if owned is not None:
            return Owner(owned.partition, True)
        row = self._universe.get(broker, symbol)
        if row is None:
            return Owner(None, False)
        return Owner(
            row.partition,
            row.partition in self._reporting.held,
            self._reporting.url_of(row.partition),
        )

    def schedule(
        self, broker: str, symbol: str, from_us: int, to_us: int
    ) -> Iterable[Session] | None:
        schedule = self._provider.index.for_series(broker, symbol)
        return None if schedule is None else schedule.sessions_between(from_us, to_us)

    def ready(self) -> Readiness:
        return self._reporting.readiness()

    def stats(self) -> Stats:
        return self._reporting.stats()

    def _here(self, broker: str, symbol: str) -> OwnedPartition:
        owned = self._holder(broker, symbol)
        if owned is None and (row := self._universe.get(broker, symbol)) is not None:
            owned = self._reporting.held.get(row.partition)
        if owned is None:
            raise NotHereError(f"{broker} {symbol} is not on this worker")
        return owned

    def _holder(self, broker: str, symbol: str) -> OwnedPartition | None:
        for owned in self._reporting.held.values():
            series = owned.engine.state.get(broker, symbol)
            if series is not None and series.first_tick_us != NEVER_US:
                return owned
        return None

    def _info(self, partition: int, state: PartitionState, series: SeriesState) -> SeriesInfo:
        closed = int(state.closed_until_us[series.slot])
        watermark = int(state.watermark_us[series.slot])
        return SeriesInfo(
            series.broker,
            series.symbol,
            partition,
            self._kinds.of_state(partition, state, series),
            last_tick_us=watermark,
            watermark_us=watermark,
            closed_until_us=None if closed == NEVER_US else closed,
            previous_close=series.previous_close,
        )


def _as_live(bar: Bar) -> Bar:
    """A copy of a final whose transaction is not committed yet: not to be called final."""
    return replace(bar, close_offset=None, final=False)
