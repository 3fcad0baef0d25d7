"""The definition of a bar, one tick at a time, written to be read and not to be fast.

This is the reference the vectorised core is held to.  It shares no code with it: sessions are
searched one by one, volume and turnover are lists handed to `math.fsum`, and a bar is a list of
ticks.

``finals`` are the bars as they were when they became final; ``bars`` are those that stand, which
differ once a late tick has revised them (policy revise).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import takewhile
from typing import Any

from barstream.market.session import SessionRow

MINUTE = 60_000_000


LARGEST = sys.float_info.max


def rounded_sum(values: Iterable[float]) -> float:
    """Rounded once; the largest float, with its sign, where floats end, and never -0.0."""
    every = list(values)
    try:
        return math.fsum(every) + 0.0
    except OverflowError:
        pass
    # what overflowed on the way may come back
    exactly = sum(map(Fraction, every), Fraction(0))
    if abs(exactly) > Fraction(LARGEST):
        return LARGEST if exactly > 0 else -LARGEST
    return float(exactly)


def turnover(ticks: Iterable[tuple[int, int, float, float]]) -> float:
    """What the sizes cost at their prices: each product is rounded, then their sum."""
    return rounded_sum(bounded(price * size) for _, _, price, size in ticks)


def vwap(spent: float, volume: float) -> float | None:
    """Of a turnover and a volume, as they are published."""
    return bounded(spent / volume) + 0.0 if volume else None


def bounded(value: float) -> float:
    """The largest float, with its sign, where floats end."""
    return max(-LARGEST, min(value, LARGEST))


@dataclass
class PlainSeries:
    rows: list[SessionRow]
    grace: int
    inactive_after: int
    revises: bool = False
    kept_from: int = 0
    ticks: dict[int, list[tuple[int, int, float, float]]] = field(default_factory=dict)
    judged: dict[int, tuple[tuple[int, int], int, int]] = field(default_factory=dict)
    first_bucket: int | None = None
    closed_until: int | None = None
    watermark: int | None = None
    last_close: float | None = None
    last_date: int | None = None
    filled_date: int | None = None
    finals: list[dict[str, Any]] = field(default_factory=list)
    bars: dict[int, dict[str, Any]] = field(default_factory=dict)
    ticks_of: dict[int, list[tuple[int, int, float, float]]] = field(default_factory=dict)
    rejected: list[tuple[int, str]] = field(default_factory=list)
    unpriced: int = 0

    def session(self, t: int) -> SessionRow | None:
        for row in self.rows:
            if row.open_us <= t < row.close_us + row.close_tolerance_us:
                return row
        return None

    def session_of_minute(self, minute: int) -> SessionRow | None:
        for row in self.rows:
            if row.open_us < minute + MINUTE and row.close_us > minute:
                return row
        return None

    def dates(self) -> list[int]:
        return sorted({row.trading_date for row in self.rows})

    def asleep_from(self, seen_on: int | None) -> int | None:
        if seen_on is None:
            return None
        later = [date for date in self.dates() if date > seen_on]
        if len(later) <= self.inactive_after:
            return None
        date = later[self.inactive_after]
        # of the minute the session opens in, nothing is filled either
        return min(row.open_us for row in self.rows if row.trading_date == date) // MINUTE * MINUTE

    def tick(self, offset: int, t: int, price: float, size: float) -> None:
        row = self.session(t)
        if row is None:
            self.rejected.append((offset, "off_session"))
            return
        # a print after the close is kept at the last instant of the session
        at = min(t, row.close_us - 1)
        bucket = at // MINUTE * MINUTE
        if self.closed_until is not None and bucket < self.closed_until:
            self.late(bucket, (t, offset, price, size), row)
            return
        self.first_bucket = min(self.first_bucket or bucket, bucket)
        self.ticks.setdefault(bucket, []).append((t, offset, price, size))
        judged = ((t, offset), row.trading_date, row.session)
        self.judged[bucket] = min(self.judged.get(bucket, judged), judged)
        if self.watermark is None or at > self.watermark:
            self.watermark, self.last_date = at, row.trading_date
        self.close((self.watermark - self.grace) // MINUTE * MINUTE, offset + 1)

    def minute_of(self, t: int) -> int:
        row = self.session(t)
        return (t if row is None else min(t, row.close_us - 1)) // MINUTE * MINUTE

    def over(self, minute: int) -> int:
        """From when on no event time is of the minute, or of one before it."""
        closed = [row for row in self.rows if row.close_us <= minute + MINUTE]
        return max([minute + MINUTE, *(row.close_us + row.close_tolerance_us for row in closed)])

    def heartbeat(self, minute: int, position: int) -> None:
        if self.watermark is not None:
            self.close(minute + MINUTE, position)

    def close(self, until: int, close_offset: int) -> None:
        if self.closed_until is None:
            self.closed_until = min([until, *self.ticks])
        while self.closed_until < until:
            minute = self.closed_until
            # after the last bar with ticks, until it is asleep
            asleep = self.asleep_from(self.filled_date)
            if minute in self.ticks:
                self.final(minute, close_offset)
            elif (row := self.session_of_minute(minute)) is None or (
                asleep is not None and minute >= asleep
            ):
                pass
            elif self.last_close is None:
                self.unpriced += 1
            else:
                self.became_final(self.flat(minute, row, self.last_close, close_offset))
            self.closed_until += MINUTE

    def final(self, minute: int, close_offset: int) -> None:
        ticks = self.ticks.pop(minute)
        _, date, session = self.judged.pop(minute)
        self.ticks_of[minute] = ticks
        self.became_final(self.real(minute, date, session, ticks, close_offset))
        self.last_close = self.bars[minute]["ohlc"][-1]
        self.filled_date = date

    def became_final(self, bar: dict[str, Any]) -> None:
        self.finals.append(bar)
        self.bars[bar["bucket"]] = bar

    def real(
        self, minute: int, date: int, session: int, ticks: list[Any], close_offset: int
    ) -> dict[str, Any]:
        ticks = sorted(ticks)
        prices = [price for _, _, price, _ in ticks]
        offsets = [offset for _, offset, _, _ in ticks]
        volume, spent = rounded_sum(size for *_, size in ticks), turnover(ticks)
        return {
            "bucket": minute, "date": date, "session": session,
            "ohlc": (prices[0], max(prices), min(prices), prices[-1]),
            "volume": volume, "turnover": spent, "vwap": vwap(spent, volume), "count": len(ticks),
            "times": (ticks[0][0], ticks[-1][0]),
            "offsets": (min(offsets), max(offsets), close_offset), "synthetic": False,
            "revision": 0,
        }  # fmt: skip

    def flat(self, minute: int, row: SessionRow, price: float, close_offset: int) -> dict[str, Any]:
        return {
            "bucket": minute, "date": row.trading_date, "session": row.session,
            "ohlc": (price, price, price, price), "volume": 0.0, "turnover": 0.0,
            "vwap": None, "count": 0,
            "times": (None, None), "offsets": (None, None, close_offset), "synthetic": True,
            "revision": 0,
        }  # fmt: skip

    def is_kept(self, bucket: int) -> bool:
        """Bars before ``kept_from`` are deleted; a minute without one may have had one there."""
        assert self.first_bucket is not None
        known = any(self.kept_from <= minute <= bucket for minute in self.bars)
        return bucket >= self.kept_from and (known or bucket < self.first_bucket)

    def late(self, bucket: int, tick: tuple[int, int, float, float], row: SessionRow) -> None:
        """A tick whose minute is closed: refused or, under the policy revise, merged."""
        _, offset, _, _ = tick
        if not self.revises or not self.is_kept(bucket):
            self.rejected.append((offset, "late"))
            return
        assert self.closed_until is not None
        there = self.bars.get(bucket)
        date, session = (
            (there["date"], there["session"]) if there else (row.trading_date, row.session)
        )
        self.ticks_of.setdefault(bucket, []).append(tick)
        bar = self.real(bucket, date, session, self.ticks_of[bucket], offset + 1)
        self.bars[bucket] = bar
        close = bar["ohlc"][-1]
        later = sorted(minute for minute in self.bars if minute > bucket)
        following = list(takewhile(lambda minute: self.bars[minute]["synthetic"], later))

        # the bar and the synthetic ones that follow it are revised, up to the next real one
        if there is not None:
            bar["revision"] = there["revision"] + 1
        for minute in following:
            was = self.bars[minute]
            self.bars[minute] = was | {
                "ohlc": (close,) * 4, "offsets": (None, None, offset + 1),
                "revision": was["revision"] + 1,
            }  # fmt: skip

        # after a bar that was not there before, what is in session is filled, up to the next bar
        asleep = self.asleep_from(row.trading_date)
        if there is None:
            end = later[0] if later else self.closed_until
            for minute in range(bucket + MINUTE, end, MINUTE):
                in_session = self.session_of_minute(minute)
                if in_session is not None and (asleep is None or minute < asleep):
                    self.bars[minute] = self.flat(minute, in_session, close, offset + 1)

        # filling goes on from the last bar with ticks
        if following == later:
            self.last_close = close
            self.filled_date = date
