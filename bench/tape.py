"""The tape of a shape: every tick of it in the order of arrival, with what a feed does to ticks.

The same shape, seed and scale give the same tape, in whatever process it is made.  Of the ticks

* 5 % come out of order, by less than the grace;
* 0.1 % come late, three minutes and more after the grace of their bar;
* 0.05 % come twice, the second time up to two seconds later.  Nothing tells a tick that was sent
  twice from two ticks, so both count;
* 0.01 % are bad: six ways of not being a tick (`Fault`).

Then every series has two closing ticks, in the two minutes after its last.  The first one closes
all bars before it, the second one the bar of the first.
"""

from __future__ import annotations

import asyncio
import csv
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from aiokafka import AIOKafkaProducer
from numpy.typing import NDArray

from barstream.codecs.avro.body import encode_batch
from barstream.model.key import series_key
from barstream.model.time import MINUTE_US, SECOND_US, us_from_datetime
from bench.workload import BROKER, START_US, Sent, batch_producer, garbage, send, symbol

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Shares of the ticks.
OUT_OF_ORDER: Final = 0.05
LATE: Final = 0.001
TWICE: Final = 0.0005
BAD: Final = 0.0001
#: Of the grace: a feed that is as late as the grace is one whose ticks are late.
_LEAST_LEFT: Final = 0.8
_LATE_US: Final = (3 * MINUTE_US, 5 * MINUTE_US)
_AGAIN_US: Final = 2 * SECOND_US
CLOSING_US: Final = (30 * SECOND_US, 90 * SECOND_US)
_ROWS: Final = 50_000

#: The clocks of New York went forward in the night to 10 March 2024, a Sunday.
_ZONE: Final = ZoneInfo("America/New_York")
_DATES: Final = (date(2024, 3, 8), date(2024, 3, 11))
_OPENS: Final = (time(9, 30), time(13, 0))
_SESSION_MINUTES: Final = 150
#: Minutes before an open and after a close that have ticks as well, which are off session.
_AROUND: Final = 1
#: The closing ticks are in session, too.
_LAST_MINUTES: Final = 2


class Fault(IntEnum):
    """What is wrong with a record."""

    NONE = 0
    GARBAGE = 1
    CUT = 2
    NULL = 3
    NAN_PRICE = 4
    INFINITE_PRICE = 5
    NEGATIVE_SIZE = 6


class Hours(NamedTuple):
    """One session of every series, ``[open_us, close_us)``."""

    trading_date: date
    number: int
    open_us: int
    close_us: int


@dataclass(frozen=True)
class Shape:
    """How many series, how many ticks in a bar, how many bars.

    Attributes:
        is_paced: whether it is fed at a rate as well; there only the number of series matters.
        has_sessions: a lunch break and a change of the clock; else it trades around the clock.
    """

    name: str
    series: int
    per_bar: int
    bars: int
    is_paced: bool = False
    has_sessions: bool = False

    def scaled(self, scale: float) -> Shape:
        """With so many times the bars, at least four, in each of its sessions if it has any."""
        least = 16 if self.has_sessions else 4
        return replace(self, bars=max(least, round(self.bars * scale)))

    def at_rate(self, rate: int, seconds: float) -> Shape:
        """As long as ``seconds``, at ``rate`` ticks a second."""
        per_bar = max(1, round(rate * 60 / self.series))
        return replace(self, per_bar=per_bar, bars=max(1, -(-round(seconds) // 60)))

    @property
    def hours(self) -> list[Hours]:
        """Its sessions, ascending; none: around the clock."""
        if not self.has_sessions:
            return []
        length = timedelta(minutes=self.bars // 4 + _LAST_MINUTES)
        found: list[Hours] = []
        for day in _DATES:
            for number, begin in enumerate(_OPENS):
                opens = datetime.combine(day, begin, _ZONE).astimezone(UTC)
                found.append(
                    Hours(day, number, us_from_datetime(opens), us_from_datetime(opens + length))
                )
        return found

    @property
    def minutes(self) -> Ints:
        """Starts of the minutes in which ticks arrive, ascending."""
        if not self.has_sessions:
            return START_US + MINUTE_US * np.arange(self.bars)
        spans = [
            np.arange(each.open_us - _AROUND * MINUTE_US, each.close_us, MINUTE_US)
            for each in self.hours
        ]
        # the closing ticks have the last minutes to themselves
        spans[-1] = spans[-1][:-_LAST_MINUTES]
        for number in range(len(spans) - 1):
            end = self.hours[number].close_us
            spans[number] = np.append(spans[number], end + MINUTE_US * np.arange(_AROUND))
        return np.concatenate(spans)


SHAPES: Final[Mapping[str, Shape]] = {
    shape.name: shape
    for shape in (
        Shape("dense", 500, 120, 60, is_paced=True),
        Shape("sparse", 500, 5, 480),
        Shape("many", 10_000, 30, 12, is_paced=True),
        Shape("many-thin", 10_000, 3, 40),
        Shape("sessions", 500, 5, 4 * _SESSION_MINUTES, has_sessions=True),
    )
}


@dataclass(frozen=True)
class Tape:
    """Ticks in columns, by partition and, within one, by arrival.

    Attributes:
        starts: where each partition begins, and where the last one ends.
        arrival_us: when the feed sends it; time_us: its event time.
        end_us: of the minute of the last ticks but the closing ones.
    """

    shape: Shape
    starts: Ints
    series: Ints
    arrival_us: Ints
    time_us: Ints
    price: Floats
    size: Floats
    fault: NDArray[np.int8]
    end_us: int

    def __len__(self) -> int:
        return len(self.series)

    @property
    def partitions(self) -> int:
        """Their number."""
        return len(self.starts) - 1

    @property
    def partition(self) -> Ints:
        """Of each tick."""
        return np.repeat(np.arange(self.partitions), np.diff(self.starts))

    def shifted(self, by_us: int) -> Tape:
        """The same at another time."""
        return replace(
            self, arrival_us=self.arrival_us + by_us, time_us=self.time_us + by_us,
            end_us=self.end_us + by_us,
        )  # fmt: skip

    def before(self, us: int) -> Tape:
        """What arrives before ``us``; without the closing ticks when that is the end."""
        kept = self.arrival_us < us
        counts = np.bincount(self.partition[kept], minlength=self.partitions)
        return replace(
            self, starts=np.append(0, np.cumsum(counts)), series=self.series[kept],
            arrival_us=self.arrival_us[kept], time_us=self.time_us[kept], price=self.price[kept],
            size=self.size[kept], fault=self.fault[kept], end_us=min(self.end_us, us),
        )  # fmt: skip

    def records(self, rows: slice | Ints) -> tuple[list[bytes], list[bytes | None]]:
        """Keys and values of some ticks."""
        names, keys = _names(self.shape.series)
        which = self.series[rows].tolist()
        values: list[bytes | None] = list(
            encode_batch(
                "tick",
                {
                    "broker": [BROKER] * len(which),
                    "symbol": [names[number] for number in which],
                    "time": self.time_us[rows],
                    "price": self.price[rows],
                    "size": self.size[rows],
                },
            )
        )
        fault = self.fault[rows]
        for at in np.flatnonzero((fault > Fault.NONE) & (fault < Fault.NAN_PRICE)).tolist():
            value = values[at] or b""
            if fault[at] == Fault.GARBAGE:
                values[at] = garbage(np.random.default_rng(zlib.crc32(value)))
            else:
                values[at] = value[:-3] if fault[at] == Fault.CUT else None
        return [keys[number] for number in which], values


@cache
def _names(series: int) -> tuple[list[str], list[bytes]]:
    """Symbols, and keys of records."""
    names = [symbol(number) for number in range(series)]
    return names, [series_key(BROKER, name) for name in names]


def make_tape(shape: Shape, *, seed: int, grace_us: int, partitions: int) -> Tape:
    """The tape of a shape; series i is in partition ``i % partitions``."""
    rng = np.random.default_rng([seed, zlib.crc32(shape.name.encode())])
    minutes, step_us = shape.minutes, MINUTE_US // shape.per_bar
    series = np.tile(np.repeat(np.arange(shape.series), shape.per_bar), len(minutes))
    count = len(series)
    place = np.tile(np.arange(shape.per_bar), shape.series * len(minutes))
    arrival = np.repeat(minutes, shape.series * shape.per_bar) + place * step_us
    arrival += rng.integers(0, step_us, count)
    price = np.round(100 + rng.standard_normal(count), 3)
    size = np.round(rng.random(count) * 10, 2)

    # each tick has at most one thing done to it
    drawn = rng.permutation(count)
    numbers = [max(len(Fault), round(share * count)) for share in (OUT_OF_ORDER, LATE, TWICE, BAD)]
    unordered, late, twice, bad = np.split(drawn[: sum(numbers)], np.cumsum(numbers)[:-1])
    event = arrival.copy()
    event[unordered] -= rng.integers(1, max(2, int(_LEAST_LEFT * grace_us)), len(unordered))
    event[late] -= grace_us + rng.integers(*_LATE_US, len(late))
    fault = np.zeros(count, np.int8)
    fault[bad] = 1 + np.arange(len(bad)) % (len(Fault) - 1)
    price[fault == Fault.NAN_PRICE] = np.nan
    price[fault == Fault.INFINITE_PRICE] = np.inf
    size[fault == Fault.NEGATIVE_SIZE] *= -1
    size[fault == Fault.NEGATIVE_SIZE] -= 1

    end_us = int(minutes[-1]) + MINUTE_US
    every = np.arange(shape.series)
    closing = [end_us + after_us + every for after_us in CLOSING_US]
    arrival = np.concatenate([arrival, arrival[twice] + rng.integers(0, _AGAIN_US, len(twice)),
                              *closing])  # fmt: skip
    series = np.concatenate([series, series[twice], every, every])
    event = np.concatenate([event, event[twice], *closing])
    last = np.round(100 + rng.standard_normal(2 * shape.series), 3)
    price = np.concatenate([price, price[twice], last])
    size = np.concatenate([size, size[twice], np.ones(2 * shape.series)])
    fault = np.concatenate([fault, np.zeros(len(twice) + 2 * shape.series, np.int8)])

    partition = series % partitions
    order = np.lexsort((arrival, partition))
    starts = np.append(0, np.cumsum(np.bincount(partition, minlength=partitions)))
    return Tape(
        shape, starts, series[order], arrival[order], event[order], price[order], size[order],
        fault[order], end_us,
    )  # fmt: skip


async def write(options: Mapping[str, Any], topic: str, tape: Tape) -> None:
    """Write a tape as fast as possible."""
    producer = batch_producer(options)
    await producer.start()
    try:
        await write_all(producer, topic, tape)
    finally:
        await producer.stop()


async def write_all(producer: AIOKafkaProducer, topic: str, tape: Tape) -> None:
    """Write a tape through a producer that runs, to all partitions alike."""
    longest = int(np.diff(tape.starts).max())
    for first in range(0, longest, _ROWS):
        sent: Sent = []
        for partition in range(tape.partitions):
            begin, end = int(tape.starts[partition]) + first, int(tape.starts[partition + 1])
            if begin < end:
                records = tape.records(slice(begin, min(end, begin + _ROWS)))
                sent += await send(producer, topic, partition, *records)
        await asyncio.gather(*sent)


def write_schedule(path: Path, shape: Shape) -> Sequence[str]:
    """A file of the sessions for ``barstream schedule load``; the options to load it with."""
    with path.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["broker", "symbol", "trading_date", "session", "open", "close"])
        for number in range(shape.series):
            for each in shape.hours:
                local = [
                    datetime.fromtimestamp(us / SECOND_US, _ZONE).replace(tzinfo=None).isoformat()
                    for us in (each.open_us, each.close_us)
                ]
                rows.writerow([BROKER, symbol(number), each.trading_date, each.number, *local])
    return [str(path), "--timezone", str(_ZONE), "--yes"]
