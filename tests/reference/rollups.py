"""The definition of an upper bar, event by event: its values, when it is final, its revision.

Minutes come from `PlainSeries`, values straight from the accepted ticks (`offline_rollups`).  A
bar is final with the first event after which no minute of its bucket is left that is in session,
not closed and not slept through; its revision counts the children that became final after that.
Nothing of `barstream.rules.rollup` or `barstream.model.period` is used here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import polars as pl

from barstream.market.session import SessionRow
from tests.offline_rollups import (
    FIELDS,
    bucket_end,
    minutes_of,
    rolled,
    with_buckets,
)
from tests.property.engine_cases import Case
from tests.reference.log import LoggedTick
from tests.reference.series import MINUTE, PlainSeries

DAY_US = 86_400_000_000


class Step(NamedTuple):
    """A series after one of its events; ``passed_us`` is the latest append time of a heartbeat."""

    closed_until: int | None
    asleep: int | None
    finals: int
    passed_us: int


@dataclass
class History:
    """One series, and how far it was after each event."""

    series: PlainSeries
    steps: list[Step] = field(default_factory=list)
    ticks: list[LoggedTick] = field(default_factory=list)

    def note(self, passed_us: int) -> None:
        """An event is over."""
        series = self.series
        asleep = series.asleep_from(series.last_date)
        before = self.steps[-1].passed_us if self.steps else -1
        step = Step(series.closed_until, asleep, len(series.finals), max(before, passed_us))
        self.steps.append(step)

    @property
    def accepted(self) -> pl.DataFrame:
        """The ticks that entered a bar."""
        refused = {offset for offset, _ in self.series.rejected}
        kept = [t for t in self.ticks if t.offset not in refused]
        return pl.DataFrame(
            [(t.time_us, self._placed(t.time_us), t.price, t.size, t.offset) for t in kept],
            schema={"time_us": pl.Int64, "placed_us": pl.Int64, "price": pl.Float64,
                    "size": pl.Float64, "offset": pl.Int64},
            orient="row",
        )  # fmt: skip

    def _placed(self, time_us: int) -> int:
        row = self.series.session(time_us)
        assert row is not None
        return min(time_us, row.close_us - 1)

    @property
    def sessions(self) -> list[tuple[int, int, int, int]]:
        """The schedule, ascending."""
        rows: list[SessionRow] = sorted(self.series.rows, key=lambda row: row.open_us)
        return [(row.trading_date, row.session, row.open_us, row.close_us) for row in rows]


def histories(case: Case, delivered_at: Sequence[int] | None = None) -> dict[str, History]:
    """Every series of a case, each legal heartbeat at its barrier or when it came, if later."""
    found = {name: History(case.series(name)) for name in case.rows}
    for at, _, event in case.log(delivered_at):
        history = found[event.symbol]
        if isinstance(event, LoggedTick):
            history.ticks.append(event)
            history.series.tick(event.offset, event.time_us, event.price, event.size)
            history.note(-1)
        elif history.series.watermark is not None:
            history.series.heartbeat(event.minute_us, at)
            history.note(event.appended_us)
    return found


@dataclass
class Parent:
    """When a bar became final (number of the event), and the events that revised it."""

    final_at: int
    revised_at: list[int]


def expected(history: History, timeframe: str, grace_us: int) -> list[dict[str, Any]]:
    """The finals of a timeframe after the last event, ascending, with revision."""
    finals = history.series.finals
    if not finals:
        return []
    opens = {row[:2]: row[2] for row in history.sessions}
    columns = {
        "minute": [bar["bucket"] for bar in finals],
        "trading_date": [bar["date"] for bar in finals],
        "session": [bar["session"] for bar in finals],
        "open": [opens[bar["date"], bar["session"]] for bar in finals],
        "close_offset": [bar["offsets"][2] for bar in finals],
    }
    minutes = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.Int64))
    closed = minutes["minute"].to_list()
    ticks = history.accepted
    ticks = ticks.filter((pl.col("placed_us") // MINUTE * MINUTE).is_in(closed))
    parents = _parents(history, minutes, timeframe, grace_us)
    if timeframe.endswith(("wk", "mo")):
        # a day that is not final yet is no child
        days = _parents(history, minutes, "1d", grace_us)
        minutes = minutes.filter((pl.col("trading_date") * DAY_US).is_in(list(days)))
        starts = minutes["minute"].to_list()
        ticks = ticks.filter((pl.col("placed_us") // MINUTE * MINUTE).is_in(starts))
        if not len(minutes):
            return []
    rows = rolled(ticks, minutes, timeframe).iter_rows(named=True)
    return [
        {name: row[name] for name in (*FIELDS, "close_offset")}
        | {"revision": len(parents[row["bucket_start"]].revised_at)}
        for row in rows
        if row["bucket_start"] in parents
    ]


def _parents(
    history: History, minutes: pl.DataFrame, timeframe: str, grace_us: int
) -> dict[int, Parent]:
    """The bars that are final, by bucket."""
    of_days = timeframe.endswith(("wk", "mo"))
    if of_days:
        days = _parents(history, minutes, "1d", grace_us)
        children: dict[int, list[int]] = {}
        revisions: dict[int, list[int]] = {}
        placed = with_buckets(minutes.unique("trading_date"), timeframe)
        for date, bucket in placed.select("trading_date", "bucket").iter_rows():
            if date * DAY_US in days:
                children.setdefault(bucket, []).append(days[date * DAY_US].final_at)
                revisions.setdefault(bucket, []).extend(days[date * DAY_US].revised_at)
    else:
        born = [
            next(number for number, step in enumerate(history.steps) if step.finals > at)
            for at in range(len(minutes))
        ]
        children, revisions = {}, {}
        for bucket, event in zip(with_buckets(minutes, timeframe)["bucket"], born, strict=True):
            children.setdefault(bucket, []).append(event)
    scheduled: dict[int, list[int]] = {}
    every = with_buckets(minutes_of(history.sessions), timeframe)
    for bucket, minute in every.select("bucket", "minute").iter_rows():
        scheduled.setdefault(bucket, []).append(minute)
    last_date = max(row[0] for row in history.sessions)
    found: dict[int, Parent] = {}
    for bucket, events in children.items():
        end = bucket_end(bucket, timeframe) if of_days else 0
        for number, step in enumerate(history.steps):
            if number < min(events) or not _is_over(scheduled[bucket], step):
                continue
            if not of_days or last_date * DAY_US >= end or step.passed_us >= end + grace_us:
                later = [event for event in events if event > number]
                # a child's own revisions before the parent was final are in the sum as well
                found[bucket] = Parent(number, sorted(later + revisions.get(bucket, [])))
                break
    return found


def _is_over(minutes: list[int], step: Step) -> bool:
    closed = step.closed_until
    # a session that opens inside a minute is slept through from the start of that minute
    asleep = None if step.asleep is None else step.asleep // MINUTE * MINUTE
    return closed is not None and not any(
        minute >= closed and (asleep is None or minute < asleep) for minute in minutes
    )
