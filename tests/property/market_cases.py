"""Logs of real trading hours: ticks none of which is too late, and what should come of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
from hypothesis import strategies as st

from barstream.market.schedule import MarketScheduleProvider, ScheduleIndex
from barstream.rules.series import Rules
from tests.offline_rollups import (
    Session,
    bucket_end,
    closed_buckets,
    in_session,
    minutes_of,
    rolled,
    with_buckets,
)
from tests.property.engine_cases import Beat, Tick
from tests.property.session_cases import MINUTE, rows_of, schedules

DAY_US = 1440 * MINUTE
#: No series of these cases falls asleep.
NEVER_ASLEEP = 1_000
SCHEMA = {"time_us": pl.Int64, "price": pl.Float64, "size": pl.Float64, "offset": pl.Int64}


@dataclass
class Market:
    """One log of one or two series, each with hours of its own; ``end`` is the end offset."""

    sessions: dict[str, list[Session]]
    rules: Rules
    ticks: list[Tick]
    beats: list[Beat]
    end: int

    @property
    def provider(self) -> MarketScheduleProvider:
        provider = MarketScheduleProvider()
        rows = [row for name, some in self.sessions.items() for row in rows_of(name, some)]
        provider.swap(ScheduleIndex.build(rows))
        return provider

    def accepted(self, name: str) -> pl.DataFrame:
        """The ticks of a series that are in session; none of them is late."""
        mine = [(t.time_us, t.price, t.size, t.offset) for t in self.ticks if t.symbol == name]
        return in_session(pl.DataFrame(mine, SCHEMA, orient="row"), self.sessions[name])

    def closed_until(self, name: str) -> int:
        """Every minute before it is closed in the end."""
        latest = self.accepted(name)["time_us"].max()
        assert isinstance(latest, int)
        closed = (latest - self.rules.grace_us) // MINUTE * MINUTE
        return max([closed, *(b.minute_us + MINUTE for b in self.beats if b.symbol == name)])

    def finals(self, name: str, timeframe: str) -> pl.DataFrame:
        """The upper bars that are final in the end."""
        closed_until = self.closed_until(name)
        every = minutes_of(self.sessions[name])
        bars = self._bars(name, timeframe, every.filter(pl.col("minute") < closed_until))
        over = {
            bucket
            for bucket in closed_buckets(every, timeframe, closed_until)
            if self._is_sure(name, timeframe, bucket)
        }
        return bars.filter(pl.col("bucket_start").is_in(over))

    def live(self, name: str, timeframe: str) -> pl.DataFrame:
        """The upper bars that are open in the end: closed minutes, and open ones with ticks."""
        begun = self.accepted(name)["time_us"] // MINUTE * MINUTE
        known = (pl.col("minute") < self.closed_until(name)) | pl.col("minute").is_in(
            begun.to_list()
        )
        bars = self._bars(name, timeframe, minutes_of(self.sessions[name]).filter(known))
        final = self.finals(name, timeframe)["bucket_start"]
        return bars.filter(~pl.col("bucket_start").is_in(final.to_list()))

    def _bars(self, name: str, timeframe: str, minutes: pl.DataFrame) -> pl.DataFrame:
        ticks = self.accepted(name)
        # nothing is known of a series before its first price
        first = min(ticks["time_us"].to_list())
        minutes = minutes.filter(pl.col("minute") >= first // MINUTE * MINUTE)
        closed = ticks.filter(
            (pl.col("time_us") // MINUTE * MINUTE).is_in(minutes["minute"].to_list())
        )
        return rolled(closed, minutes, timeframe)

    def _is_sure(self, name: str, timeframe: str, bucket: int) -> bool:
        """Whether no session can be added to it: weeks and months alone ask."""
        if not timeframe.endswith(("wk", "mo")):
            return True
        end = bucket_end(bucket, timeframe)
        passed = max((b.appended_us for b in self.beats if b.symbol == name), default=-1)
        last_date = max(session[0] for session in self.sessions[name])
        return last_date * DAY_US >= end or passed >= end + self.rules.grace_us


def buckets_of(market: Market, name: str, timeframe: str) -> Iterator[tuple[int, int]]:
    """Of each bucket of the schedule: its start and its last in-session minute, ascending."""
    placed = with_buckets(minutes_of(market.sessions[name]), timeframe)
    last = placed.group_by("bucket").agg(pl.col("minute").max()).sort("bucket")
    yield from last.iter_rows()


@st.composite
def _times(draw: st.DrawFn, sessions: list[Session]) -> list[int]:
    """Event times, mostly in session, often at an edge of a session or of a minute."""
    times: list[int] = []
    for _ in range(draw(st.integers(1, 25))):
        _, _, open_us, close_us = draw(st.sampled_from(sessions))
        place = draw(st.integers(0, 8))
        minute = draw(st.integers(0, (close_us - open_us) // MINUTE)) * MINUTE
        inside = open_us + min(minute + draw(st.integers(0, MINUTE - 1)), close_us - open_us - 1)
        at_an_edge = {
            0: open_us, 1: open_us - 1, 2: close_us - 1, 3: close_us,
            4: max(open_us, inside // MINUTE * MINUTE),
        }  # fmt: skip
        times += [at_an_edge.get(place, inside)] * draw(st.sampled_from([1, 1, 1, 2]))
    first = sessions[0][2]
    return [*times, draw(st.integers(first, first + MINUTE // 2))]


@st.composite
def markets(draw: st.DrawFn, *, exact: bool = True) -> Market:
    """A market, and heartbeats none of which closes a minute that a tick still comes for.

    Ticks come out of order by less than the grace.  With ``exact`` the sizes of a minute, of a
    day, of any bar add up to a float.
    """
    sizes = [0.0, 1.0, 0.25, 2.5, 1000.0] if exact else [0.0, 0.1, 0.3, 1e17, 3e-9, 1.0]
    grace = draw(st.sampled_from([0, 5_000_000, 60_000_000, 150_000_000]))
    sessions = {name: draw(schedules()) for name in ["ALPHA", "BETA"][: draw(st.integers(1, 2))]}
    coming: list[tuple[int, str, int]] = []
    for name, some in sessions.items():
        times = draw(_times(some))
        coming += [(time_us + draw(st.integers(0, grace)), name, time_us) for time_us in times]
    ticks: list[Tick] = []
    offset = 0
    for _, name, time_us in sorted(coming):
        offset += draw(st.sampled_from([1, 1, 3]))
        price, size = draw(st.integers(-20, 110)) / 10, draw(st.sampled_from(sizes))
        ticks.append(Tick(offset, name, time_us, price, size))
    end = offset + draw(st.integers(1, 3))
    beats = draw(_beats(sessions, ticks, end, grace))
    return Market(sessions, Rules(grace, NEVER_ASLEEP), ticks, beats, end)


@st.composite
def _beats(
    draw: st.DrawFn, sessions: dict[str, list[Session]], ticks: list[Tick], end: int, grace: int
) -> list[Beat]:
    found: list[tuple[int, int, Beat]] = []
    for name, some in sessions.items():
        opens = [(open_us, close_us) for _, _, open_us, close_us in some]
        mine = [
            tick for tick in ticks
            if tick.symbol == name and any(a <= tick.time_us < b for a, b in opens)
        ]  # fmt: skip
        # of a series without a price heartbeats close nothing: from the second tick on
        for at in draw(st.lists(st.integers(1, max(1, len(mine) - 1)), max_size=4)):
            if at < len(mine):
                ahead = min(tick.time_us for tick in mine[at:]) // MINUTE - 1
                found.append((mine[at].offset, ahead * MINUTE, _beat(name, mine[at].offset, ahead)))
        if draw(st.integers(0, 3)):
            last = -(-draw(st.sampled_from(opens))[1] // MINUTE) - 1
            ahead = max(last, max(tick.time_us for tick in mine) // MINUTE)
            found.append((end, ahead * MINUTE, _beat(name, end, ahead)))
    # appended in the order of the log, none before its minute and the grace are over; where
    # weeks are told to be over by it, long after
    late = draw(st.sampled_from([0, 0, 60 * DAY_US]))
    appended = 0
    beats: list[Beat] = []
    for number, (barrier, _, beat) in enumerate(sorted(found, key=lambda each: each[:2])):
        appended = max(appended, beat.minute_us + MINUTE + grace + (late if barrier == end else 0))
        beats.append(beat._replace(offset=number, appended_us=appended))
    return beats


def _beat(name: str, barrier: int, minute: int) -> Beat:
    return Beat(0, name, minute * MINUTE, barrier, 0)
