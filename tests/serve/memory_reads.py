"""A whole `Reads` in memory: what the engine answers, without Kafka."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from barstream.market.schedule import ScheduleIndex, Session
from barstream.model.bar import Bar
from barstream.model.period import MINUTE, Period
from barstream.model.time import MINUTE_US
from barstream.serve.reads import (
    NotHereError,
    Owner,
    Placement,
    Readiness,
    Reference,
    SeriesInfo,
    Stats,
)
from barstream.serve.series_list import decimals_of
from tests.sample_bar import SAMPLE

Series = tuple[str, str]
FIVE, HOUR = Period.minutes(5), Period.hours(1)


@dataclass
class MemoryReads:
    """One worker: by default alone, with partition 0 and bars of minutes and five minutes.

    Several of them share ``partition_of`` and ``holders``, see `tests.serve.conftest`.
    """

    finals: dict[Series, dict[int, Bar]] = field(default_factory=dict)
    open_bars: dict[Series, dict[int, Bar]] = field(default_factory=dict)
    rollups: dict[Period, dict[Series, dict[int, Bar]]] = field(default_factory=dict)
    retained: dict[Series, int] = field(default_factory=dict)
    partition_of: dict[Series, int] = field(default_factory=dict)
    holders: dict[int, str | None] = field(default_factory=dict)
    here: set[int] = field(default_factory=lambda: {0})
    url: str = "http://127.0.0.1:1"
    index: ScheduleIndex = field(default_factory=ScheduleIndex)
    readiness: Readiness = Readiness(True)
    numbers: Stats = Stats("barstream", leader=True, partitions=(0,))
    periods: Sequence[Period] = (MINUTE, FIVE, HOUR)

    def add(self, *bars: Bar, period: Period = MINUTE) -> None:
        for bar in bars:
            series = (bar.broker, bar.symbol)
            self.partition_of.setdefault(series, 0)
            if period != MINUTE:
                table = self.rollups.setdefault(period, {}).setdefault(series, {})
                table[bar.bucket_start_us] = bar
                continue
            (self.finals if bar.final else self.open_bars).setdefault(series, {})[
                bar.bucket_start_us
            ] = bar
            if bar.final:
                self.open_bars.get(series, {}).pop(bar.bucket_start_us, None)

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
        merged = self._of((broker, symbol), period)
        starts = sorted((us for us in merged if from_us <= us < to_us), reverse=descending)
        return [merged[us] for us in starts[:limit]]

    def _of(self, series: Series, period: Period) -> dict[int, Bar]:
        if self.partition_of.get(series) not in self.here:
            raise NotHereError(f"{series} is not here")
        if period != MINUTE:
            return self.rollups.get(period, {}).get(series, {})
        return {**self.open_bars.get(series, {}), **self.finals.get(series, {})}

    def bucket_of(self, broker: str, symbol: str, period: Period, ts_us: int) -> int:
        return period.floor(ts_us)

    def retained_from_us(self, broker: str, symbol: str, period: Period) -> int | None:
        self._of((broker, symbol), period)
        return self.retained.get((broker, symbol))

    def live(self, broker: str, symbol: str, period: Period) -> Sequence[Bar]:
        bars = self._of((broker, symbol), period)
        return [bar for _, bar in sorted(bars.items()) if not bar.final]

    def names(self, partitions: Iterable[int]) -> list[Series]:
        wanted = set(partitions)
        if not wanted <= self.here:
            raise NotHereError(f"{wanted - self.here} are not here")
        return sorted(name for name in self._known() if self.partition_of[name] in wanted)

    def _known(self) -> set[Series]:
        upper = (series for table in self.rollups.values() for series in table)
        return {*self.finals, *self.open_bars, *upper}

    def known(self) -> Iterable[Series]:
        return self.partition_of.keys() | set(self.index.series())

    def placement(self) -> Placement:
        holders = self.holders or dict.fromkeys(self.here, self.url)
        return Placement(self.url, frozenset(self.here), holders)

    def series(
        self, partitions: Collection[int], after: Series | None = None
    ) -> Iterable[SeriesInfo]:
        for (broker, symbol), partition in sorted(self.partition_of.items()):
            if partition not in partitions or (after is not None and (broker, symbol) <= after):
                continue
            if partition not in self.here:
                url = self.holders.get(partition)
                yield SeriesInfo(broker, symbol, partition, "live", here=False, url=url)
                continue
            finals = self.finals.get((broker, symbol), {})
            minutes = {**self.open_bars.get((broker, symbol), {}), **finals}
            last = max(minutes, default=None)
            prices = {each for bar in minutes.values() for each in (bar.open, bar.high, bar.close)}
            yield SeriesInfo(
                broker,
                symbol,
                partition,
                "live" if self.open_bars.get((broker, symbol)) else "historical",
                last_tick_us=last,
                watermark_us=last,
                closed_until_us=max(finals) + MINUTE_US if finals else None,
                previous_close=finals[max(finals)].close if finals else None,
                last_price=None if last is None else minutes[last].close,
                price_decimals=max(map(decimals_of, prices), default=0),
                reference=_reference([bar for _, bar in sorted(minutes.items())]),
            )

    def owner(self, broker: str, symbol: str) -> Owner:
        partition = self.partition_of.get((broker, symbol))
        if partition is None or partition in self.here:
            return Owner(partition, here=partition is not None)
        return Owner(partition, here=False, url=self.holders.get(partition))

    def schedule(
        self, broker: str, symbol: str, from_us: int, to_us: int
    ) -> Iterable[Session] | None:
        found = self.index.for_series(broker, symbol)
        return None if found is None else found.sessions_between(from_us, to_us)

    def ready(self) -> Readiness:
        return self.readiness


def _reference(bars: Sequence[Bar]) -> Reference | None:
    if not bars:
        return None
    today = bars[-1].trading_date
    before = [bar for bar in bars if bar.trading_date < today]
    if before:
        return Reference("close", before[-1].close, before[-1].trading_date)
    return Reference("open", bars[0].open, today)


def make_bar(
    start_us: int,
    price: float = 1.1,
    *,
    symbol: str = "EURUSD",
    broker: str = "FX",
    final: bool = True,
    synthetic: bool = False,
    spread: float = 0.0005,
    volume: float = 10.0,
) -> Bar:
    """A plausible bar; a synthetic one is flat."""
    if synthetic:
        spread, volume = 0.0, 0.0
    return SAMPLE.replace(
        broker=broker,
        symbol=symbol,
        bucket_start_us=start_us,
        trading_date=start_us // (1440 * MINUTE_US),
        open=round(price, 6),
        high=round(price + spread, 6),
        low=round(price - spread, 6),
        close=round(price + spread / 2, 6),
        volume=volume,
        turnover=volume * round(price, 6),
        tick_count=0 if synthetic else 7,
        open_time_us=None if synthetic else start_us + 250_000,
        close_time_us=None if synthetic else start_us + 59_000_000,
        synthetic=synthetic,
        first_offset=None if synthetic else 100,
        last_offset=None if synthetic else 106,
        close_offset=107 if final else None,
        final=final,
    )
