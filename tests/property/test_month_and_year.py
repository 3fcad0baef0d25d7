"""A month of real ticks and a year of made ones: upper bars are those polars builds from them."""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from barstream.model.period import Period
from barstream.rules.series import Rules
from tests.offline_rollups import Session, differences
from tests.property.engine_cases import Beat, Tick, chunk, deliver
from tests.property.market_cases import NEVER_ASLEEP, Market
from tests.property.rollup_cases import Disk, Worker, rows_by_bucket
from tests.property.session_cases import EPOCH, FX, MINUTE, sessions_of

GRACE_US = 5_000_000
CHUNK = 4_000


def trading_week(
    first: date, last: date, holidays: frozenset[date], half_days: frozenset[date]
) -> list[Session]:
    """Sessions of the FX week, 17:00 to 17:00 in New York; half days end at noon."""
    days = (first + timedelta(days=n) for n in range((last - first).days + 1))
    found: list[Session] = []
    for day in days:
        if day.weekday() not in FX.weekend and day not in holidays:
            ((open_us, close_us),) = sessions_of(FX, day)
            if day in half_days:
                close_us -= 300 * MINUTE
            found.append(((day - EPOCH).days, 0, open_us, close_us))
    return found


def live_through(market: Market, worker: Worker) -> None:
    """In chunks of thousands of ticks, heartbeats before theirs; a crash after each third chunk."""
    worker.flush()
    beats = list(market.beats)
    for number, start in enumerate(range(0, market.end, CHUNK)):
        end = min(start + CHUNK, market.end)
        inside = market.ticks[start:end]
        due = [beat for beat in beats if beat.barrier <= end]
        deliver(worker.engine, due)
        beats = [beat for beat in beats if beat.barrier > end]
        while not worker.engine.apply_ticks(*chunk(inside, start, end), 0, at_end=False):
            worker.flush()
        if number % 3 == 1:
            worker.flush()
            position, _ = worker.crash()
            assert position == end
    worker.flush()
    while worker.engine.outbox.has_rows or worker.engine.outbox.dirty:
        worker.flush()


def closed_to_its_end(sessions: list[Session], ticks: list[Tick]) -> Market:
    """The market with a heartbeat of the last minute there is, appended a year after it."""
    last = -(-sessions[-1][3] // MINUTE) * MINUTE - MINUTE
    end = len(ticks)
    beat = Beat(0, "ALPHA", last, end, last + 525_600 * MINUTE)
    return Market({"ALPHA": sessions}, Rules(GRACE_US, NEVER_ASLEEP), ticks, [beat], end)


def assert_equal(market: Market, timeframes: list[str], path: Path) -> dict[str, pl.DataFrame]:
    """Every final of each timeframe, field by field; what was expected."""
    disk = Disk(path, [Period.parse(text) for text in timeframes])
    try:
        worker = Worker(market.rules, market.provider, disk.emptied())
        live_through(market, worker)
        found: dict[str, pl.DataFrame] = {}
        for text in timeframes:
            bars = worker.written[Period.parse(text)]
            found[text] = market.finals("ALPHA", text)
            assert differences(found[text], rows_by_bucket(bars)) == [], text
            assert len(bars) == len(found[text]), f"{text}: written twice"
            assert {bar.revision for bar in bars} == {0}
    finally:
        disk.close()
    return found


@pytest.mark.slow
def test_a_month_of_real_ticks(data_dir_real: Path, tmp_path: Path) -> None:
    # 28,761 recorded minutes of February 2013, weekends and gaps inside
    file = data_dir_real / "usdjpy-m1-2013-as-ticks.csv.gz"
    if not file.exists():
        pytest.skip(f"{file.name} is not in {data_dir_real}")
    time = pl.col("time").str.to_datetime(time_unit="us", time_zone="UTC").dt.epoch("us")
    rows = pl.read_csv(file).select(time_us=time, price="price", size="size").sort("time_us")
    ticks = [Tick(n, "ALPHA", *row) for n, row in enumerate(rows.iter_rows())]
    sessions = trading_week(date(2013, 1, 28), date(2013, 3, 8), frozenset(), frozenset())
    market = closed_to_its_end(sessions, ticks)

    bars = assert_equal(
        market, ["5m", "15m", "1h", "4h", "4h@session", "1d", "1wk", "1mo"], tmp_path
    )

    # of February 20 trading dates of 24 hours, and those of March to the end of the schedule
    days = bars["1d"]
    assert len(days.filter(pl.col("trading_date") < (date(2013, 3, 1) - EPOCH).days)) == 20
    assert days["tick_count"].sum() == len(market.accepted("ALPHA"))
    assert len(bars["1mo"]) == 2
    assert bars["1wk"]["bucket_start"].to_list() == [
        (date(2013, 1, 28) + timedelta(weeks=n) - EPOCH).days * 1440 * MINUTE for n in range(6)
    ]


@pytest.mark.slow
def test_a_simulated_year(tmp_path: Path) -> None:
    # 2024: holidays, half days, both changes of the clock; 6,000 minutes have ticks, some none
    holidays = frozenset({date(2024, 1, 1), date(2024, 3, 29), date(2024, 12, 25)})
    half_days = frozenset({date(2024, 7, 3), date(2024, 11, 29), date(2024, 12, 24)})
    sessions = trading_week(date(2024, 1, 1), date(2024, 12, 31), holidays, half_days)
    dice = random.Random(2024)
    times: list[int] = []
    for _ in range(6_000):
        _, _, open_us, close_us = dice.choice(sessions)
        minute = dice.randrange(open_us, close_us, MINUTE)
        times += [minute + dice.randrange(MINUTE) for _ in range(dice.randint(1, 3))]
    times += [sessions[0][2], *(dice.choice(sessions)[3] for _ in range(50))]  # closes: off session
    ticks = [
        Tick(n, "ALPHA", time_us, dice.randint(900, 1100) / 10, dice.choice([0.1, 0.3, 1e9, 2.5]))
        for n, time_us in enumerate(sorted(times))
    ]
    market = closed_to_its_end(sessions, ticks)

    bars = assert_equal(market, ["5m", "1h", "1d", "1wk", "1mo"], tmp_path)

    assert len(bars["1d"]) == len(sessions) == 262 - len(holidays)
    assert len(bars["1wk"]) == 53
    assert len(bars["1mo"]) == 12
    assert bars["5m"]["synthetic"].sum() > 60_000
