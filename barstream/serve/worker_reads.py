"""Answers to the web views, from the partitions this worker holds."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

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
from barstream.serve.reads import (
    NotHereError,
    Owner,
    Placement,
    Readiness,
    SeriesInfo,
)
from barstream.serve.series_list import Kinds, Prices

if TYPE_CHECKING:
    from barstream.runtime.app import BarstreamApp


class WorkerReads:
    """The engine as the web sees it; see `barstream.serve.reads.Reads`.

    Attributes:
        url: base URL of this worker.
        periods: of the bars there are, the shortest first.
        app, partitions, provider: of this worker.
    """

    def __init__(
        self,
        app: BarstreamApp,
        partitions: Assignment,
        provider: MarketScheduleProvider,
        universe: Universe,
    ) -> None:
        self.url = str(app.conf.canonical_url).rstrip("/")
        self.periods: Sequence[Period] = (MINUTE, *partitions.settings.periods)
        self.app = app
        self.partitions = partitions
        self.provider = provider
        self._universe = universe
        self._ticks_topic = partitions.settings.ticks_topic
        self._kinds = Kinds(provider, partitions.settings.rules.inactive_after)
        self._prices = Prices(self.periods)

    @property
    def held(self) -> Mapping[int, PartitionTask]:
        """The partitions that are this worker's: not those another one may have taken over."""
        if not self.app.membership.sure:
            return {}
        return {
            partition: owned
            for partition, owned in self.partitions.owned.items()
            if not owned.fenced
        }

    @property
    def here(self) -> Collection[int]:
        return self.held.keys()

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
        view = engine.book
        found = {bar.bucket_start_us: bar for bar in engine.live(broker, symbol, period)}
        # what no flush has committed yet is not to be called final: its transaction may fail
        found |= {
            bar.bucket_start_us: bar.replace(close_offset=None, final=False)
            for bar in view.uncommitted(period, broker, symbol)
            if from_us <= bar.bucket_start_us < to_us
        }
        # the stored final wins
        bounds = span(broker, symbol, from_us, to_us)
        rows = view.rows(period, *bounds, limit, descending=descending)
        found |= {bar.bucket_start_us: bar for _, bar in rows}
        chosen = sorted((start for start in found if from_us <= start < to_us), reverse=descending)
        return [found[start] for start in chosen[:limit]]

    def bucket_of(self, broker: str, symbol: str, period: Period, ts_us: int) -> int:
        if period.anchor == "utc":
            return period.floor(ts_us)
        schedule = self.provider.index.for_series(broker, symbol)
        minute_us = floor_minute(ts_us)
        if schedule is None:
            return ts_us
        # no two sessions share a minute
        session = next(iter(schedule.sessions_between(minute_us, minute_us + MINUTE_US)), None)
        return ts_us if session is None else period.floor(ts_us, session.open_us)

    def retained_from_us(self, broker: str, symbol: str, period: Period) -> int | None:
        view = self._here(broker, symbol).engine.book
        return view.retained_from_us(period, broker, symbol)

    def live(self, broker: str, symbol: str, period: Period) -> Sequence[Bar]:
        return self._here(broker, symbol).engine.live(broker, symbol, period)

    def names(self, partitions: Iterable[int]) -> list[tuple[str, str]]:
        held, found = self.held, []
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
        yield from self.provider.index.series()

    def placement(self) -> Placement:
        holders: dict[int, str | None] = dict.fromkeys(range(self.partition_count()))
        for url, topics in self.distribution().items():
            holders.update(dict.fromkeys(topics.get(self._ticks_topic, ()), str(url).rstrip("/")))
        return Placement(self.url, frozenset(self.held), holders)

    def distribution(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """Partitions by topic by worker, as the group's leader told at the last assignment."""
        return cast("Any", self.app.assignor).external_topic_distribution  # type: ignore[no-any-return]

    def partition_count(self) -> int:
        """How many tick partitions there are; 0 until the consumer knows."""
        return self.app.consumer.topic_partitions(self._ticks_topic) or 0

    def series(
        self, partitions: Collection[int], after: tuple[str, str] | None = None
    ) -> Iterable[SeriesInfo]:
        held, holders = self.held, self.placement().holders
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
            row.partition in self.held,
            self.placement().holders.get(row.partition),
        )

    def schedule(
        self, broker: str, symbol: str, from_us: int, to_us: int
    ) -> Iterable[Session] | None:
        schedule = self.provider.index.for_series(broker, symbol)
        return None if schedule is None else schedule.sessions_between(from_us, to_us)

    def ready(self) -> Readiness:
        reasons: list[str] = []
        if not self.provider.ready:
            reasons.append("the market schedule is being read")
        if (restoring := self.partitions.progress) is not None:
            reasons.append(restoring.awaited)
        elif self.app.rebalancing or self.partitions.generation < 0:
            reasons.append("partitions are being assigned")
        elif not self.app.membership.sure:
            reasons.append(self._silence())
        reasons += [
            f"another worker has taken partition {partition} over, a rebalance is awaited"
            for partition, owned in sorted(self.partitions.owned.items())
            if owned.fenced
        ]
        progress: dict[str, Any] = {"partitions": len(self.held)}
        if restoring is not None:
            progress |= restoring.shown()
        return Readiness(not reasons, reasons, progress)

    def _silence(self) -> str:
        membership = self.app.membership
        silent_s = membership.silent_s
        heard = "has not answered yet" if silent_s is None else f"was silent for {silent_s:.0f} s"
        return (
            f"the coordinator of the consumer group {heard}: {membership.session_timeout_s:g} s "
            "after the last word another worker may have taken over"
        )

    def _here(self, broker: str, symbol: str) -> PartitionTask:
        owned = self._holder(broker, symbol)
        if owned is None and (row := self._universe.get(broker, symbol)) is not None:
            owned = self.held.get(row.partition)
        if owned is None:
            raise NotHereError(f"{broker} {symbol} is not on this worker")
        return owned

    def _holder(self, broker: str, symbol: str) -> PartitionTask | None:
        for owned in self.held.values():
            series = owned.engine.state.get(broker, symbol)
            if series is not None and series.first_tick_us != NEVER_US:
                return owned
        return None

    def _holds(self, owned: PartitionTask) -> bool:
        return self.partitions.owned.get(owned.partition) is owned and not owned.fenced

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
