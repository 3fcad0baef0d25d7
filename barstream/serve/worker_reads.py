"""Answers to the web views, from the partitions this worker holds."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from heapq import merge
from itertools import islice

from barstream.market.schedule import MarketScheduleProvider
from barstream.market.session import Session
from barstream.market.universe import SeriesSeen, Universe
from barstream.model.bar import Bar
from barstream.model.period import MINUTE, Period
from barstream.model.time import MINUTE_US, floor_minute
from barstream.partition.finals_view import span
from barstream.rules.series import NEVER_US
from barstream.runtime.assignment import Assignment
from barstream.runtime.partition_task import PartitionTask
from barstream.serve.health import Reporting
from barstream.serve.reads import (
    NotHereError,
    Owner,
    Placement,
    Readiness,
    SeriesInfo,
    Stats,
)
from barstream.serve.series_list import Kinds, Prices


class WorkerReads:
    """The engine as the web sees it; see `barstream.serve.reads.Reads`."""

    def __init__(
        self,
        partitions: Assignment,
        provider: MarketScheduleProvider,
        universe: Universe,
        reporting: Reporting,
    ) -> None:
        self._partitions = partitions
        self._provider = provider
        self._universe = universe
        self._reporting = reporting
        self._kinds = Kinds(provider, partitions.settings.rules.inactive_after)
        self._prices = Prices(self.periods)

    @property
    def periods(self) -> Sequence[Period]:
        return (MINUTE, *self._partitions.settings.periods)

    def bars(
        self,
        broker: str,
        symbol: str,
        period: Period,
        from_us: int,
        to_us: int,
        limit: int,
        *,
        descending: bool,
    ) -> Sequence[Bar]:
        engine = self._here(broker, symbol).engine
        bounds = span(broker, symbol, from_us, to_us)
        rows = engine.book.rows(period, *bounds, limit, descending=descending)
        found = {bar.bucket_start_us: bar for _, bar in rows}
        # what no flush has committed yet is shown as live; the stored final wins
        for bar in engine.book.uncommitted(period, broker, symbol):
            found.setdefault(bar.bucket_start_us, _as_live(bar))
        for bar in engine.live(broker, symbol, period):
            found.setdefault(bar.bucket_start_us, bar)
        chosen = sorted((start for start in found if from_us <= start < to_us), reverse=descending)
        return [found[start] for start in chosen[:limit]]

    def bucket_of(self, broker: str, symbol: str, period: Period, ts_us: int) -> int:
        if period.anchor == "utc":
            return period.floor(ts_us)
        schedule = self._provider.index.for_series(broker, symbol)
        minute_us = floor_minute(ts_us)
        if schedule is None:
            return ts_us
        # no two sessions share a minute
        session = next(iter(schedule.sessions_between(minute_us, minute_us + MINUTE_US)), None)
        return ts_us if session is None else period.floor(ts_us, session.open_us)

    def retained_from_us(self, broker: str, symbol: str, period: Period) -> int | None:
        book = self._here(broker, symbol).engine.book
        return book.retained_from_us(period, broker, symbol)

    def live(self, broker: str, symbol: str, period: Period) -> Sequence[Bar]:
        return self._here(broker, symbol).engine.live(broker, symbol, period)

    def names(self, partitions: Iterable[int]) -> list[tuple[str, str]]:
        held, found = self._reporting.held, []
        for partition in partitions:
            if partition not in held:
                raise NotHereError(f"partition {partition} is not on this worker")
            found += [
                (series.broker, series.symbol)
                for series in held[partition].engine.state
                if series.first_tick_us != NEVER_US
            ]
        return sorted(found)

    def known(self) -> Iterable[tuple[str, str]]:
        yield from (row.name for row in self._universe.rows())
        yield from self._provider.index.series()

    def placement(self) -> Placement:
        return self._reporting.placement()

    def series(
        self, partitions: Collection[int], after: tuple[str, str] | None = None
    ) -> Iterable[SeriesInfo]:
        held, holders = self._reporting.held, self._reporting.placement().holders
        here = {
            (series.broker, series.symbol): owned
            for partition, owned in held.items()
            if partition in partitions
            for series in owned.engine.state
            if series.first_tick_us != NEVER_US
        }
        rows = self._universe.rows()
        first = 0 if after is None else bisect_right(rows, after, key=_name)
        # lazily: of tens of thousands a page needs some hundreds
        elsewhere = (
            row.name
            for row in islice(rows, first, None)
            if row.partition in partitions
            and row.name not in here
            and self._holder(*row.name) is None
        )
        for name in merge(sorted(n for n in here if after is None or n > after), elsewhere):
            if name in here:
                yield self._info(here[name], *name)
            elif (row := self._universe.get(*name)) is not None:
                yield SeriesInfo(
                    row.broker,
                    row.symbol,
                    row.partition,
                    self._kinds.of_row(row),
                    closed_until_us=None if row.closed_until_us < 0 else row.closed_until_us,
                    here=row.partition in held,
                    url=holders.get(row.partition),
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
            self._reporting.placement().holders.get(row.partition),
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

    def _here(self, broker: str, symbol: str) -> PartitionTask:
        owned = self._holder(broker, symbol)
        if owned is None and (row := self._universe.get(broker, symbol)) is not None:
            owned = self._reporting.held.get(row.partition)
        if owned is None:
            raise NotHereError(f"{broker} {symbol} is not on this worker")
        return owned

    def _holder(self, broker: str, symbol: str) -> PartitionTask | None:
        for owned in self._reporting.held.values():
            series = owned.engine.state.get(broker, symbol)
            if series is not None and series.first_tick_us != NEVER_US:
                return owned
        return None

    def _holds(self, owned: PartitionTask) -> bool:
        return self._partitions.owned.get(owned.partition) is owned and not owned.fenced

    def _info(self, owned: PartitionTask, broker: str, symbol: str) -> SeriesInfo:
        engine, state = owned.engine, owned.engine.state
        series = state.get(broker, symbol)
        # its stores are closed when it goes, and who takes the rows may let others work
        if series is None or not self._holds(owned):
            raise NotHereError(f"partition {owned.partition} is not on this worker")
        closed = int(state.closed_until_us[series.slot])
        watermark = int(state.watermark_us[series.slot])
        return SeriesInfo(
            broker,
            symbol,
            owned.partition,
            self._kinds.of_state(owned.partition, state, series),
            last_tick_us=watermark,
            watermark_us=watermark,
            closed_until_us=None if closed == NEVER_US else closed,
            previous_close=series.previous_close,
            last_price=self._prices.newest(series),
            price_decimals=self._prices.decimals(engine, series),
            reference=self._prices.reference(engine, series),
        )


def _name(row: SeriesSeen) -> tuple[str, str]:
    return row.name


def _as_live(bar: Bar) -> Bar:
    """A copy of a final whose transaction is not committed yet: not to be called final."""
    return bar.replace(close_offset=None, final=False)
