"""Ticks from which every bar follows by a formula, and what an answer of the API may look like.

Three ticks a minute and series, so that any bar of any timeframe can be written down without
asking anyone; an answer is held to the formula and to what was answered before it was asked.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np

from barstream.codecs.avro.body import encode_batch
from barstream.feeds.bulk_producer import BulkSender, Routes, bulk_writer
from barstream.kafka.cluster import Cluster
from barstream.model.time import MINUTE_US, iso_from_us, us_from_iso
from tests.pipeline import Pipeline

BROKER: Final = "RD"
SYMBOLS: Final = tuple(f"S{number}" for number in range(12))
START_US: Final = us_from_iso("2024-03-04T00:00:00Z")
#: Minutes of history that are there before the first read.
HISTORY: Final = 720
SECONDS: Final = (6, 30, 54)
#: Minutes by timeframe.
SIZES: Final = {"1m": 1, "5m": 5, "1h": 60}


def price(number: int, minute: int, tick: int) -> float:
    return round(100 + number + (minute * 7 + tick * 13 + number * 3) % 101 / 100, 2)


def expected(number: int, minute: int, size: int) -> dict[str, Any]:
    """The bar of ``size`` minutes from ``minute`` on."""
    prices = [price(number, m, tick) for m in range(minute, minute + size) for tick in range(3)]
    return {
        "open": prices[0],
        "high": max(prices),
        "low": min(prices),
        "close": prices[-1],
        "volume": 6.0 * size,
        "tick_count": 3 * size,
        "synthetic": False,
        "revision": 0,
    }


def minute_of(bar: dict[str, Any]) -> int:
    return (us_from_iso(bar["bucket_start"]) - START_US) // MINUTE_US


def time_of(minute: int) -> str:
    return iso_from_us(START_US + minute * MINUTE_US)


class Minutes(threading.Thread):
    """Sends the history, then a minute of every series every ``every_s`` until it is stopped."""

    def __init__(self, made: Pipeline, every_s: float = 0.25) -> None:
        super().__init__(name="minutes", daemon=True)
        self._made = made
        self._every_s = every_s
        self._stopping = threading.Event()
        self.failure: BaseException | None = None
        self.sent = 0

    def run(self) -> None:
        try:
            asyncio.run(self._send())
        except BaseException as error:  # noqa: BLE001  raised again by `finish`
            self.failure = error

    def finish(self) -> None:
        """Stop, and raise what went wrong."""
        self._stopping.set()
        self.join(30)
        if self.failure is not None:
            raise self.failure

    async def _send(self) -> None:
        names = [(BROKER, symbol) for symbol in SYMBOLS]
        routes = Routes.of(names, self._made.settings.topics.partitions)
        writer = bulk_writer(Cluster(self._made.settings))
        await writer.start()
        sender = BulkSender(writer, self._made.names.ticks, routes)
        try:
            while not self._stopping.is_set():
                for tick in range(3):
                    await sender.send(np.arange(len(SYMBOLS)), self._values(self.sent, tick))
                self.sent += 1
                if self.sent >= HISTORY:
                    await sender.flush()
                    await asyncio.sleep(self._every_s)
        finally:
            await writer.stop()

    def _values(self, minute: int, tick: int) -> list[bytes | None]:
        count = len(SYMBOLS)
        time_us = START_US + minute * MINUTE_US + SECONDS[tick] * 1_000_000
        columns = {
            "broker": [BROKER] * count,
            "symbol": list(SYMBOLS),
            "time": [time_us] * count,
            "price": [price(number, minute, tick) for number in range(count)],
            "size": [float(tick + 1)] * count,
        }
        return list(encode_batch("tick", columns))


@dataclass
class Seen:
    """The latest bucket that was answered as final, by series and timeframe."""

    final: dict[tuple[int, str], int] = field(default_factory=dict)

    def copy(self) -> dict[tuple[int, str], int]:
        return dict(self.final)

    def note(self, timeframe: str, bars: list[dict[str, Any]]) -> None:
        for bar in bars:
            if bar["status"] == "final":
                key = SYMBOLS.index(bar["symbol"]), timeframe
                self.final[key] = max(self.final.get(key, -1), minute_of(bar))


@dataclass(frozen=True)
class Asked:
    """A read of bars: of one series, or of all."""

    timeframe: str
    number: int | None
    from_minute: int
    to_minute: int
    limit: int
    descending: bool

    @property
    def path(self) -> str:
        place = "/bars" if self.number is None else f"/bars/{BROKER}/{SYMBOLS[self.number]}"
        order = "desc" if self.descending else "asc"
        return (
            f"{place}?timeframe={self.timeframe}&from={time_of(self.from_minute)}"
            f"&to={time_of(self.to_minute)}&limit={self.limit}&order={order}"
        )

    def problems(self, body: dict[str, Any], before: dict[tuple[int, str], int]) -> list[str]:
        """What is wrong with an answer; ``before`` was seen before it was asked for."""
        bars, size = body["bars"], SIZES[self.timeframe]
        if len(bars) > self.limit:
            return [f"{len(bars)} bars, asked for {self.limit}"]
        if body["truncated"] and len(bars) != self.limit:
            return [f"truncated after {len(bars)} of {self.limit} bars"]
        if self.number is None and body["complete"] is not True:
            return ["not complete"]
        numbers = list(range(len(SYMBOLS))) if self.number is None else [self.number]
        numbers.sort(key=lambda number: SYMBOLS[number], reverse=self.descending)
        problems: list[str] = []
        at = 0
        for number in numbers:
            mine = []
            while at < len(bars) and bars[at]["symbol"] == SYMBOLS[number]:
                mine.append(bars[at])
                at += 1
            cut = body["truncated"] and at == len(bars)
            known = before.get((number, self.timeframe), -1)
            problems += self._series(number, mine, known, size, cut=cut)
            if cut:
                break
        if at < len(bars):
            problems.append(f"out of order from {bars[at]['symbol']} {bars[at]['bucket_start']}")
        return problems

    def _series(
        self, number: int, bars: list[dict[str, Any]], known: int, size: int, *, cut: bool
    ) -> list[str]:
        name = f"{SYMBOLS[number]} {self.timeframe}"
        found = [minute_of(bar) for bar in bars]
        first = self.from_minute // size * size
        last = (self.to_minute - 1) // size * size  # the last bucket asked for
        wanted_last = min(last, known)
        ascending = found[::-1] if self.descending else found
        problems = []
        if any(later - earlier != size for earlier, later in pairwise(ascending)):
            problems.append(f"{name}: a hole or a jump in {ascending}")
        starts = not found and wanted_last < first
        begin_needed = not (cut and self.descending)
        end_needed = not (cut and not self.descending)
        if not starts and begin_needed and (not found or ascending[0] != first):
            problems.append(f"{name}: begins {ascending[:1]}, expected {first}")
        if not starts and end_needed and (not found or not wanted_last <= ascending[-1] <= last):
            problems.append(f"{name}: ends {ascending[-1:]}, expected {wanted_last} to {last}")
        for bar, minute in zip(bars, found, strict=True):
            wanted = expected(number, minute, size)
            if bar["status"] == "final":
                wrong = {key: bar[key] for key, value in wanted.items() if bar[key] != value}
                if wrong:
                    problems.append(f"{name} {minute}: {wrong}, expected {wanted}")
            elif minute <= known:
                problems.append(f"{name} {minute}: live, and was final before")
            elif bar["open"] != wanted["open"]:
                problems.append(f"{name} {minute}: live, opens {bar['open']}")
        return problems
