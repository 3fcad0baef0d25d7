"""The bars that must come out of a tape, and in what the published ones differ from them.

Nothing here is barstream's: the rules are those of docs/laws.md, put down once more in arrays, and
``tests/unit/bench/test_oracle.py`` holds them to ``tests/reference``, which takes one tick at a
time.

A tick is late when its bar was closed before it came: when the bar's end and the grace are not
after the latest event time of any tick of its **series** before it.  Frameworks measure lateness
by a clock of their own, mostly by the latest event time of the whole **partition**, which is the
stricter rule, or not at all.  Bars with a tick that the two rules, or none, would judge otherwise
are *contested*: a difference there is what the framework means by late.  Any other is a mistake.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from barstream.model.time import MINUTE_US
from bench.tape import Fault, Flags, Floats, Hours, Ints, Tape

PRICES: Final = ("open", "high", "low", "close")
VALUES: Final = (*PRICES, "volume", "tick_count")
_KEY: Final = ["series", "bucket"]
#: Sums of floats in another order than the exact one differ by less than this.
_ROUNDING: Final = 1e-9
#: More microseconds than a tape is long.
_APART: Final = 1 << 44


@dataclass(frozen=True)
class Verdict:
    """What becomes of each tick of a tape.

    Attributes:
        is_readable: it is a tick; is_inside: and in a session.
        is_late: and its bar was closed; is_late_for_partition: by the clock of its partition.
        latest_us: by series, the event time that its bars are closed by; -1: it has no tick.
    """

    is_readable: Flags
    is_inside: Flags
    is_late: Flags
    is_late_for_partition: Flags
    latest_us: Ints

    @property
    def is_accepted(self) -> Flags:
        """It is in a bar."""
        return self.is_inside & ~self.is_late


@dataclass(frozen=True)
class Truth:
    """The bars of a tape.

    Attributes:
        bars: series, bucket, `VALUES`, is_synthetic; by series and bucket.
        contested: series and bucket of those that are a matter of what is late.
        accepted, late, off_session, bad: numbers of ticks.
    """

    bars: pl.DataFrame
    contested: pl.DataFrame
    accepted: int
    late: int
    off_session: int
    bad: int


@dataclass(frozen=True)
class Misses:
    """In what published bars differ from the truth.

    Attributes:
        expected: bars that must be there.
        missing, extra: bars that are not there, or should not be.
        open, high, low, close, volume, tick_count: bars in which each differs.
        differ: bars in which any does.
        ticks_lost: ticks that should be in bars and are not; ticks_taken: and the other way round.
        contested: of the bars missing, extra or different, those that what is late decides.
    """

    expected: int = 0
    missing: int = 0
    extra: int = 0
    open: int = 0
    high: int = 0
    low: int = 0
    close: int = 0
    volume: int = 0
    tick_count: int = 0
    differ: int = 0
    ticks_lost: int = 0
    ticks_taken: int = 0
    contested: int = 0

    @property
    def bars(self) -> int:
        """Bars that are not as they must be."""
        return self.missing + self.extra + self.differ

    @property
    def mistakes(self) -> int:
        """Those that nothing but a mistake explains."""
        return self.bars - self.contested

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self) | {"bars": self.bars, "mistakes": self.mistakes}


def verdict(tape: Tape, grace_us: int) -> Verdict:
    """What becomes of each tick, in the order of the tape."""
    readable = tape.fault == Fault.NONE
    inside = readable & _in_session(tape.time_us, tape.shape.hours)
    by_series = np.argsort(tape.series, kind="stable")
    before = np.empty(len(tape), np.int64)
    before[by_series] = _latest_before(
        tape.series[by_series], tape.time_us[by_series], inside[by_series]
    )
    partition_before = _latest_before(tape.partition, tape.time_us, inside)
    closes_us = tape.time_us // MINUTE_US * MINUTE_US + MINUTE_US + grace_us
    latest = np.full(tape.shape.series, -1, np.int64)
    np.maximum.at(latest, tape.series[inside], tape.time_us[inside])
    return Verdict(
        readable, inside, inside & (closes_us <= before), inside & (closes_us <= partition_before),
        latest,
    )  # fmt: skip


def truth(tape: Tape, grace_us: int, until_us: int | None = None) -> Truth:
    """The final bars of a tape.

    Args:
        tape: the ticks.
        grace_us: how long after its end a bar waits.
        until_us: the minute up to which (exclusive) all is closed, as heartbeats do; None: what
            the ticks close by themselves.
    """
    judged = verdict(tape, grace_us)
    rows = np.flatnonzero(judged.is_accepted)
    bucket = tape.time_us[rows] // MINUTE_US * MINUTE_US
    # by series, bucket, event time and order of arrival
    order = np.lexsort((rows, tape.time_us[rows], tape.series[rows]))
    rows, bucket = rows[order], bucket[order]
    series, price, size = tape.series[rows], tape.price[rows], tape.size[rows]
    begins = np.ones(len(rows), bool)
    begins[1:] = (np.diff(series) != 0) | (np.diff(bucket) != 0)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(rows)) - 1
    real = {
        "series": series[first],
        "bucket": bucket[first],
        "open": price[first],
        "high": np.maximum.reduceat(price, first),
        "low": np.minimum.reduceat(price, first),
        "close": price[last],
        "volume": _exact_sums(size, first),
        "tick_count": last - first + 1,
    }
    if until_us is None:
        closed = (judged.latest_us - grace_us) // MINUTE_US * MINUTE_US
    else:
        closed = np.full(tape.shape.series, until_us)
    is_contested = (judged.is_late | judged.is_late_for_partition) & judged.is_inside
    contested = pl.DataFrame(
        {
            "series": tape.series[is_contested],
            "bucket": tape.time_us[is_contested] // MINUTE_US * MINUTE_US,
        }
    ).unique()
    return Truth(
        _filled(real, closed, tape.shape.hours), contested, len(rows), int(judged.is_late.sum()),
        int((judged.is_readable & ~judged.is_inside).sum()), int((~judged.is_readable).sum()),
    )  # fmt: skip


def misses(expected: Truth, published: pl.DataFrame, *, has_fills: bool) -> Misses:
    """In what ``published`` differs.

    Args:
        expected: see `truth`.
        published: series, bucket, `VALUES`: the last record of each bar, of the same buckets.
        has_fills: empty minutes are published as well, and volume is the exact sum; otherwise
            neither is asked for.
    """
    wanted = expected.bars if has_fills else expected.bars.filter(~pl.col("is_synthetic"))
    both = wanted.join(published, on=_KEY, how="full", suffix="_published", coalesce=True)
    published_there = pl.col("tick_count_published").is_not_null()
    wanted_there = pl.col("tick_count").is_not_null()
    tolerance = 0.0 if has_fills else _ROUNDING
    is_wrong = {
        name: (pl.col(name) != pl.col(f"{name}_published"))
        if name != "volume"
        else (pl.col(name) - pl.col("volume_published")).abs() > tolerance * pl.col(name).abs()
        for name in VALUES
    }
    lost = (
        pl.col("tick_count").fill_null(0).cast(pl.Int64)
        - pl.col("tick_count_published").fill_null(0).cast(pl.Int64)
    )  # fmt: skip
    rows = both.select(
        *_KEY,
        missing=wanted_there & ~published_there,
        extra=published_there & ~wanted_there,
        lost=lost,
        **{name: is_wrong[name] & wanted_there & published_there for name in VALUES},
    ).with_columns(differ=pl.any_horizontal(*VALUES))
    wrong = rows.filter(pl.col("missing") | pl.col("extra") | pl.col("differ"))
    counts = {
        name: int(wrong[name].fill_null(value=True).sum())
        for name in ("missing", "extra", "differ", *VALUES)
    }
    return Misses(
        expected=len(wanted),
        ticks_lost=int(wrong["lost"].clip(lower_bound=0).sum()),
        ticks_taken=-int(wrong["lost"].clip(upper_bound=0).sum()),
        contested=len(wrong.join(expected.contested, on=_KEY, how="semi")),
        **counts,
    )


def _in_session(time_us: Ints, hours: Sequence[Hours]) -> Flags:
    if not hours:
        return np.ones(len(time_us), bool)
    at = np.searchsorted(np.array([each.open_us for each in hours]), time_us, side="right") - 1
    closes = np.array([each.close_us for each in hours])
    inside: Flags = (at >= 0) & (time_us < closes[np.maximum(at, 0)])
    return inside


def _latest_before(group: Ints, time_us: Ints, counts: Flags) -> Ints:
    """Latest time in the group before each row; rows of a group stand together."""
    base = int(time_us.min()) if len(time_us) else 0
    # groups ascend, so that one running maximum starts anew with each; 0 is no time
    floor = group * _APART
    latest = np.maximum.accumulate(np.where(counts, floor + time_us - base + 1, floor))
    before = np.roll(latest, 1)
    if len(before):
        before[0] = 0
    inside = before - floor
    return np.where(inside > 0, inside + base - 1, np.iinfo(np.int64).min)


def _exact_sums(size: Floats, first: Ints) -> Floats:
    """Exactly rounded, as plain addition is not."""
    values, begins = size.tolist(), first.tolist()
    ends = [*begins[1:], len(values)]
    return np.array([math.fsum(values[a:b]) for a, b in zip(begins, ends, strict=True)])


def _filled(real: dict[str, NDArray[Any]], closed: Ints, hours: Sequence[Hours]) -> pl.DataFrame:
    """Every minute in session from the first bar of a series to where it is closed."""
    bucket = real["bucket"]
    if hours:
        grid = np.concatenate([np.arange(h.open_us, h.close_us, MINUTE_US) for h in hours])
    else:
        grid = np.arange(bucket.min(), max(bucket.max(), closed.max()) + MINUTE_US, MINUTE_US)
    series, start = np.unique(real["series"], return_index=True)
    first = np.searchsorted(grid, bucket[start])
    counts = np.maximum(0, np.searchsorted(grid, closed[series]) - first)
    every = np.repeat(series, counts)
    place = np.arange(len(every)) - np.repeat(np.cumsum(counts) - counts, counts)
    minute = grid[np.repeat(first, counts) + place]

    # the last bar with ticks at or before each minute
    there = real["series"] * _APART + (bucket - grid[0])
    source = np.searchsorted(there, every * _APART + (minute - grid[0]), side="right") - 1
    is_synthetic = bucket[source] != minute
    close = real["close"][source]
    values = {name: np.where(is_synthetic, close, real[name][source]) for name in PRICES}
    return pl.DataFrame(
        {
            "series": every,
            "bucket": minute,
            **values,
            "volume": np.where(is_synthetic, 0.0, real["volume"][source]),
            "tick_count": np.where(is_synthetic, 0, real["tick_count"][source]),
            "is_synthetic": is_synthetic,
        }
    )
