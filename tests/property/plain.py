"""The definition of a bar, one tick at a time, written to be read and not to be fast.

This is the reference the vectorised core is held to.  It shares no code with it: sessions are
searched one by one, volume is a list handed to `math.fsum`, and a bar is a list of ticks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from barstream.core.sessions import SessionRow

MINUTE = 60_000_000


@dataclass
class PlainSeries:
    rows: list[SessionRow]
    grace: int
    inactive_after: int
    ticks: dict[int, list[tuple[int, int, float, float]]] = field(default_factory=dict)
    judged: dict[int, tuple[tuple[int, int], int, int]] = field(default_factory=dict)
    closed_until: int | None = None
    watermark: int | None = None
    last_close: float | None = None
    last_date: int | None = None
    fill_from: int | None = None
    finals: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[tuple[int, str]] = field(default_factory=list)
    unpriced: int = 0

    def session(self, t: int) -> SessionRow | None:
        return next((row for row in self.rows if row.open_us <= t < row.close_us), None)

    def session_of_minute(self, minute: int) -> SessionRow | None:
        for row in self.rows:
            if row.open_us < minute + MINUTE and row.close_us > minute:
                return row
        return None

    def dates(self) -> list[int]:
        return sorted({row.trading_date for row in self.rows})

    def asleep_from(self) -> int | None:
        if self.last_date is None:
            return None
        later = [date for date in self.dates() if date > self.last_date]
        if len(later) <= self.inactive_after:
            return None
        date = later[self.inactive_after]
        return min(row.open_us for row in self.rows if row.trading_date == date)

    def tick(self, offset: int, t: int, price: float, size: float) -> None:
        row = self.session(t)
        if row is None:
            self.rejected.append((offset, "off_session"))
            return
        bucket = t // MINUTE * MINUTE
        if self.closed_until is not None and bucket < self.closed_until:
            self.rejected.append((offset, "late"))
            return
        asleep = self.asleep_from()
        until = (t - self.grace) // MINUTE * MINUTE
        if asleep is not None and t >= asleep:
            self.close(until, offset + 1)
            self.fill_from = bucket
        self.ticks.setdefault(bucket, []).append((t, offset, price, size))
        judged = ((t, offset), row.trading_date, row.session)
        self.judged[bucket] = min(self.judged.get(bucket, judged), judged)
        if self.fill_from is not None:
            self.fill_from = min(self.fill_from, bucket)
        if self.watermark is None or t > self.watermark:
            self.watermark, self.last_date = t, row.trading_date
        self.close((self.watermark - self.grace) // MINUTE * MINUTE, offset + 1)

    def heartbeat(self, minute: int, position: int) -> None:
        if self.watermark is not None:
            self.close(minute + MINUTE, position)

    def close(self, until: int, close_offset: int) -> None:
        asleep = self.asleep_from()
        if self.closed_until is None:
            self.closed_until = min([until, *self.ticks])
        while self.closed_until < until:
            minute = self.closed_until
            if minute in self.ticks:
                self.final(minute, close_offset)
            elif (
                (row := self.session_of_minute(minute)) is None
                or (self.fill_from or 0) > minute
                or (asleep is not None and minute >= asleep)
            ):
                pass
            elif self.last_close is None:
                self.unpriced += 1
            else:
                p = self.last_close
                self.finals.append(
                    {
                        "bucket": minute, "date": row.trading_date, "session": row.session,
                        "ohlc": (p, p, p, p), "volume": 0.0, "count": 0, "times": (None, None),
                        "offsets": (None, None, close_offset), "synthetic": True,
                    }
                )  # fmt: skip
            self.closed_until += MINUTE

    def final(self, minute: int, close_offset: int) -> None:
        ticks = sorted(self.ticks.pop(minute))
        _, date, session = self.judged.pop(minute)
        prices = [price for _, _, price, _ in ticks]
        offsets = [offset for _, offset, _, _ in ticks]
        self.last_close = prices[-1]
        self.finals.append(
            {
                "bucket": minute, "date": date, "session": session,
                "ohlc": (prices[0], max(prices), min(prices), prices[-1]),
                "volume": math.fsum(size for *_, size in ticks), "count": len(ticks),
                "times": (ticks[0][0], ticks[-1][0]),
                "offsets": (min(offsets), max(offsets), close_offset), "synthetic": False,
            }
        )  # fmt: skip
