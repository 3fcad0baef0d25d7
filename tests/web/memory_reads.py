"""A whole `Reads` in memory: what the engine answers, without Kafka."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from barstream.core.bars import Bar
from barstream.core.schedule import ScheduleIndex, Session
from barstream.core.time import MINUTE_US
from barstream.web.reads import Owner, Readiness, SeriesInfo, Stats

Series = tuple[str, str]


@dataclass
class MemoryReads:
    finals: dict[Series, dict[int, Bar]] = field(default_factory=dict)
    open_bars: dict[Series, dict[int, Bar]] = field(default_factory=dict)
    elsewhere: dict[Series, Owner] = field(default_factory=dict)
    retained: dict[Series, int] = field(default_factory=dict)
    index: ScheduleIndex = field(default_factory=ScheduleIndex)
    readiness: Readiness = Readiness(True)
    numbers: Stats = Stats("barstream", leader=True, partitions=(0,))

    def add(self, *bars: Bar) -> None:
        for bar in bars:
            series = (bar.broker, bar.symbol)
            (self.finals if bar.final else self.open_bars).setdefault(series, {})[
                bar.bucket_start_us
            ] = bar
            if bar.final:
                self.open_bars.get(series, {}).pop(bar.bucket_start_us, None)

    def bars(
        self, broker: str, symbol: str, from_us: int, to_us: int, limit: int, *, descending: bool
    ) -> Sequence[Bar]:
        series = (broker, symbol)
        merged = {**self.open_bars.get(series, {}), **self.finals.get(series, {})}
        starts = sorted((us for us in merged if from_us <= us < to_us), reverse=descending)
        return [merged[us] for us in starts[:limit]]

    def retained_from_us(self, broker: str, symbol: str) -> int | None:
        return self.retained.get((broker, symbol))

    def live(self, broker: str, symbol: str) -> Sequence[Bar]:
        return [bar for _, bar in sorted(self.open_bars.get((broker, symbol), {}).items())]

    def series(self) -> Iterable[SeriesInfo]:
        for broker, symbol in {*self.finals, *self.open_bars}:
            finals = self.finals.get((broker, symbol), {})
            last = max([*finals, *self.open_bars.get((broker, symbol), {})])
            yield SeriesInfo(
                broker,
                symbol,
                0,
                "live" if self.open_bars.get((broker, symbol)) else "historical",
                last_tick_us=last,
                watermark_us=last,
                closed_until_us=max(finals) + MINUTE_US if finals else None,
                previous_close=finals[max(finals)].close if finals else None,
            )
        for (broker, symbol), owner in self.elsewhere.items():
            assert owner.partition is not None
            yield SeriesInfo(broker, symbol, owner.partition, "live", here=False, url=owner.url)

    def owner(self, broker: str, symbol: str) -> Owner:
        series = (broker, symbol)
        if series in self.elsewhere:
            return self.elsewhere[series]
        known = series in self.finals or series in self.open_bars
        return Owner(0 if known else None, here=known)

    def schedule(
        self, broker: str, symbol: str, from_us: int, to_us: int
    ) -> Iterable[Session] | None:
        found = self.index.for_series(broker, symbol)
        return None if found is None else found.sessions_between(from_us, to_us)

    def ready(self) -> Readiness:
        return self.readiness

    def stats(self) -> Stats:
        return self.numbers


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
    return Bar(
        broker,
        symbol,
        start_us,
        start_us // (1440 * MINUTE_US),
        0,
        open=round(price, 6),
        high=round(price + spread, 6),
        low=round(price - spread, 6),
        close=round(price + spread / 2, 6),
        volume=volume,
        tick_count=0 if synthetic else 7,
        open_time_us=None if synthetic else start_us + 250_000,
        close_time_us=None if synthetic else start_us + 59_000_000,
        synthetic=synthetic,
        revision=0,
        first_offset=None if synthetic else 100,
        last_offset=None if synthetic else 106,
        close_offset=107 if final else None,
        final=final,
    )
