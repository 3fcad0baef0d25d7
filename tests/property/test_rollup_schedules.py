"""A schedule that changes while bars are made: upper bars follow the minutes there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barstream.market.schedule import ScheduleIndex
from barstream.model.bar import Bar
from barstream.model.period import MINUTE as MINUTES
from barstream.model.period import Period
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.rules.series import Rules
from tests.examples import examples
from tests.offline_rollups import FIELDS, Session, closed_buckets, minutes_of, with_buckets
from tests.property.engine_cases import Beat, Tick, deliver, feed
from tests.property.market_cases import DAY_US, NEVER_ASLEEP, Market
from tests.property.rollup_cases import as_row, rows_by_bucket
from tests.property.session_cases import MINUTE, rows_of, schedules

TIMEFRAMES = ("5m", "1h", "4h+1h", "1d", "1wk", "1mo")
PERIODS = [Period.parse(text) for text in TIMEFRAMES]


def folded(children: Sequence[Bar], timeframe: str) -> list[dict[str, Any]]:
    """The bars that finals come to, ascending; by polars, without the revision."""
    names = [*FIELDS, "close_offset"]
    rows = pl.DataFrame([{name: as_row(bar)[name] for name in names} for bar in children])
    if timeframe.endswith(("wk", "mo")):
        rows = pl.DataFrame(folded(children, "1d"), schema=rows.schema)
    rows = with_buckets(rows.with_columns(minute="bucket_start"), timeframe)
    parents: list[dict[str, Any]] = []
    for (bucket,), part in rows.group_by("bucket", maintain_order=True):
        priced = part.filter(~pl.col("synthetic"))
        shown = priced if len(priced) else part
        first, last = shown.row(0, named=True), shown.row(-1, named=True)
        parents.append({
            "bucket_start": bucket,
            "trading_date": part["trading_date"][0], "session": part["session"][0],
            "open": first["open"], "high": shown["high"].max(), "low": shown["low"].min(),
            "close": last["close"], "volume": math.fsum(part["volume"]),
            "tick_count": part["tick_count"].sum(), "open_time": first["open_time"],
            "close_time": last["close_time"], "synthetic": not len(priced),
            "first_offset": shown["first_offset"].min(), "last_offset": shown["last_offset"].max(),
            "close_offset": part["close_offset"].max(),
        })  # fmt: skip
    return parents


@st.composite
def changed(draw: st.DrawFn, sessions: list[Session], closed_us: int) -> list[Session]:
    """The same trading dates, but what is still to come begins, ends or falls out otherwise."""
    found: list[Session] = []
    following = [*(session[2] for session in sessions[1:]), sessions[-1][3] + 60 * MINUTE]
    for (trading_date, number, open_us, close_us), limit_us in zip(
        sessions, following, strict=True
    ):
        if close_us <= closed_us:
            found.append((trading_date, number, open_us, close_us))
            continue
        begun = open_us < closed_us
        if not begun and draw(st.integers(0, 4)) == 0:
            continue
        later = 0 if begun else draw(st.sampled_from([0, 0, 1, 7])) * MINUTE
        start_us = max(closed_us, open_us) // MINUTE + later // MINUTE
        room = max(1, (limit_us // MINUTE) - start_us)
        minutes = draw(st.integers(1, min(room, 400)))
        if draw(st.booleans()) and (start_us + minutes) * MINUTE <= limit_us:
            ends_us = (start_us + minutes) * MINUTE
            found.append((trading_date, number, open_us + later, ends_us))
        else:
            found.append((trading_date, number, open_us, close_us))
    return [row for row in found if row[2] < row[3]] or sessions


@pytest.mark.slow
@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), schedules(), st.integers(0, 3))
def test_upper_bars_are_folds_of_their_minutes_and_complete_by_the_newest_schedule(
    data: st.DataObject, sessions: list[Session], changes: int
) -> None:
    # first rows |---------|     |-----------|   |-------|
    # then              ^  |     |------|        gone          ^ minutes closed to here, by these
    market = Market({"ALPHA": sessions}, Rules(0, NEVER_ASLEEP), [], [], 1)
    provider = market.provider
    engine = PartitionMachine(
        0, market.rules, provider, lambda _b, _s: None, MachineOptions(periods=PERIODS)
    )
    closed_us = sessions[0][2] // MINUTE * MINUTE
    feed(engine, [Tick(0, "ALPHA", sessions[0][2], 10.0, 0.25)], 0, 1)
    offset = 1
    for number in range(changes + 1):
        ahead = minutes_of(sessions).filter(pl.col("minute") >= closed_us)["minute"].to_list()
        if not ahead:
            break
        tick_us = data.draw(st.sampled_from(ahead))
        inside = next(a for _, _, a, b in sessions if a < tick_us + MINUTE and tick_us < b)
        price = data.draw(st.integers(90, 110)) / 10
        tick = Tick(offset, "ALPHA", max(tick_us, inside), price, 0.5)
        feed(engine, [tick], offset, offset + 1)
        offset += 1
        later = [minute for minute in ahead if minute >= tick_us]
        beat_us = later[-1] if number == changes else data.draw(st.sampled_from(later))
        deliver(engine, [Beat(number, "ALPHA", beat_us, offset, beat_us + MINUTE)])
        closed_us = beat_us + MINUTE
        if number < changes:
            sessions = data.draw(changed(sessions, closed_us))
            provider.swap(ScheduleIndex.build(rows_of("ALPHA", sessions)))
            engine.schedule_changed()
        assert_complete(engine, sessions, closed_us)


def assert_complete(engine: PartitionMachine, sessions: list[Session], closed_us: int) -> None:
    children = engine.book.between(MINUTES, "B", "ALPHA", 0, 1 << 60)
    if not children:
        return
    last_date = max(session[0] for session in sessions)
    for period, text in zip(PERIODS, TIMEFRAMES, strict=True):
        bars = engine.book.between(period, "B", "ALPHA", 0, 1 << 60)
        every = folded(children, text)
        over = closed_buckets(minutes_of(sessions), text, closed_us)
        if text.endswith(("wk", "mo")):
            over = {bucket for bucket in over if last_date * DAY_US >= period.advance(bucket)}
        found = {row["bucket_start"]: row for row in rows_by_bucket(bars)}
        for row in every:
            bucket = row["bucket_start"]
            if bucket in over:
                assert bucket in found, (text, bucket)
            if bucket in found:
                assert row.items() <= found[bucket].items(), (text, bucket)
        assert found.keys() <= {row["bucket_start"] for row in every}
