"""Laws of roll-ups: however ticks come, an upper bar equals one built straight from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from barstream.market.schedule import ScheduleIndex
from barstream.model.period import Period
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.rules.series import Rules
from tests.examples import examples
from tests.offline_rollups import Session, bucket_end, differences
from tests.property.engine_cases import Beat, Case, Tick, cases, cuts, deliver, feed
from tests.property.market_cases import DAY_US, NEVER_ASLEEP, Market, buckets_of, markets
from tests.property.rollup_cases import PERIODS, TIMEFRAMES, Disk, Worker, rows_by_bucket
from tests.property.session_cases import MINUTE, rows_of, schedules
from tests.property.test_engine import closing_offsets
from tests.reference.rollups import expected, histories


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    databases = Disk(Path(tmp_path_factory.mktemp("finals")))
    yield databases
    databases.close()


def live_through(
    data: st.DataObject,
    ticks: list[Tick],
    beats: list[Beat],
    due: list[int],
    end: int,
    worker: Worker,
) -> None:
    """Chunks, heartbeats before their barrier, flushes and crashes wherever ``data`` says.

    ``due[i]`` is the offset by which heartbeat i has come.
    """
    worker.flush()
    position = seen = crashes = 0
    while position < end:
        for start, stop in cuts(data.draw, position, end):
            must = sum(at <= stop for at in due)
            upto = max(seen, data.draw(st.integers(must, len(beats))))
            deliver(worker.engine, beats[seen:upto])
            seen = upto
            feed(worker.engine, ticks, start, stop)
            position = stop
            if data.draw(st.booleans()):
                worker.flush()
            if crashes < 3 and data.draw(st.integers(0, 4)) == 0:
                crashes += 1
                position, first_beat = worker.crash()
                seen = sum(beat.offset < first_beat for beat in beats)
                break
    deliver(worker.engine, beats[seen:])
    worker.flush()


def some_timeframes(data: st.DataObject) -> list[tuple[Period, str]]:
    """A few of them: every example takes up them all, comparing is what takes long."""
    every = list(zip(PERIODS, TIMEFRAMES, strict=True))
    return data.draw(st.lists(st.sampled_from(every), min_size=4, max_size=5, unique=True))


@st.composite
def slow_cases(draw: st.DrawFn) -> Case:
    """Cases, some with a grace that spans sessions, so that several close at once."""
    case = draw(cases())
    more = draw(st.sampled_from([0, 0, 150, 400])) * 1_000_000
    rules = replace(case.rules, grace_us=case.rules.grace_us + more)
    beats = [beat._replace(appended_us=beat.appended_us + more) for beat in case.beats]
    return replace(case, rules=rules, beats=beats)


@pytest.mark.law("L11")
@pytest.mark.slow
@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), slow_cases())
def test_upper_bars_are_those_of_one_tick_at_a_time_whatever_the_batches_and_crashes(
    disk: Disk, data: st.DataObject, case: Case
) -> None:
    # late ticks, garbage, early heartbeats, series that fall asleep: see `engine_cases.cases`
    worker = Worker(case.rules, case.provider, disk.emptied())
    live_through(data, case.ticks, case.beats, closing_offsets(case), case.end, worker)
    for name, history in histories(case).items():
        for period, text in zip(PERIODS, TIMEFRAMES, strict=True):
            found = rows_by_bucket(list(worker.finals(period, name).values()))
            assert found == expected(history, text, case.rules.grace_us), (name, text)


def test_after_a_crash_an_anchored_bar_takes_nothing_of_the_session_after_it(disk: Disk) -> None:
    # 45m   |x..|             |     nominal end far behind: two sessions close with one heartbeat
    # 45m        |.x..|             after a crash between minutes 0 and 1
    day = 100 * DAY_US
    sessions = [(100, 0, day, day + 3 * MINUTE), (100, 1, day + 4 * MINUTE, day + 8 * MINUTE)]
    ticks = [Tick(0, "ALPHA", day, 1.0), Tick(1, "ALPHA", day + 5 * MINUTE, 2.0)]
    market = Market({"ALPHA": sessions}, Rules(400_000_000, NEVER_ASLEEP), ticks, [], 2)
    worker = Worker(market.rules, market.provider, disk.emptied())
    feed(worker.engine, ticks, 0, 2)
    deliver(worker.engine, [Beat(0, "ALPHA", day, 2, day + DAY_US)])
    worker.flush()
    worker.crash()
    deliver(worker.engine, [Beat(1, "ALPHA", day + 7 * MINUTE, 2, day + DAY_US)])
    worker.flush()
    bars = worker.written[Period.parse("45m@session")]
    found = [(bar.bucket_start_us - day, bar.tick_count, bar.close) for bar in bars]
    assert found == [(0, 1, 1.0), (4 * MINUTE, 1, 2.0)]


def lived(data: st.DataObject, market: Market, disk: Disk) -> Worker:
    worker = Worker(market.rules, market.provider, disk.emptied())
    due = [data.draw(st.integers(beat.barrier, market.end)) for beat in market.beats]
    live_through(data, market.ticks, market.beats, due, market.end, worker)
    return worker


@pytest.mark.slow
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), markets())
def test_in_real_trading_hours_every_upper_final_is_the_bar_polars_builds_from_the_ticks(
    disk: Disk, data: st.DataObject, market: Market
) -> None:
    worker = lived(data, market, disk)
    for name in market.sessions:
        for period, text in some_timeframes(data):
            wanted = market.finals(name, text)
            bars = worker.finals(period, name)
            assert differences(wanted, rows_by_bucket(list(bars.values()))) == [], (name, text)
            # sizes that add up to a float: rounding a minute at a time changes nothing
            assert wanted["volume"].to_list() == wanted["volume_of_ticks"].to_list()
            # once and for all: nothing came too late, so nothing was revised
            written = [bar for bar in worker.written.get(period, []) if bar.symbol == name]
            assert len(written) == len(bars), text
            assert not any(bar.revision for bar in written)


@pytest.mark.law("L2")
@pytest.mark.slow
@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), markets(exact=False))
def test_volume_is_the_exactly_rounded_sum_of_the_children_and_live_bars_show_what_is_open(
    disk: Disk, data: st.DataObject, market: Market
) -> None:
    # 1e17 + 0.1 + 0.3: any other order of adding, or adding rounded sums up, shows
    worker = lived(data, market, disk)
    for name in market.sessions:
        for period, text in some_timeframes(data):
            bars = rows_by_bucket(list(worker.finals(period, name).values()))
            assert differences(market.finals(name, text), bars) == [], (name, text)
            live = worker.engine.live("B", name, period)
            assert differences(market.live(name, text), rows_by_bucket(live)) == [], (name, text)
            assert not any(bar.final or bar.close_offset is not None for bar in live)


@pytest.mark.law("L12")
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), schedules(), st.sampled_from(TIMEFRAMES))
def test_an_upper_bar_is_final_with_its_last_in_session_minute_and_not_at_its_nominal_end(
    data: st.DataObject, sessions: list[Session], text: str
) -> None:
    # 4h bucket, session to 16:00    12:00 |-----------|.....| 16:00  final with minute 14:59
    assume(len(sessions) > 1)
    market = Market({"ALPHA": sessions}, Rules(0, NEVER_ASLEEP), [], [], 1)
    engine = PartitionMachine(
        0,
        market.rules,
        market.provider,
        lambda _b, _s: None,
        MachineOptions(periods=periods_for(text)),
    )
    feed(engine, [Tick(0, "ALPHA", sessions[0][2], 10.0)], 0, 1)
    period = Period.parse(text)
    of_days = text.endswith(("wk", "mo"))
    places = list(buckets_of(market, "ALPHA", text))
    if of_days:
        places.pop()  # more rows may come: see below
    for number, (bucket, last) in enumerate(data.draw(st.sampled_from([places, places[:3]]))):
        before = last - MINUTE
        deliver(engine, [Beat(2 * number, "ALPHA", before, 1, before + MINUTE)])
        assert engine.book.get(period, "B", "ALPHA", bucket) is None, bucket
        deliver(engine, [Beat(2 * number + 1, "ALPHA", last, 1, last + MINUTE)])
        assert engine.book.get(period, "B", "ALPHA", bucket) is not None, bucket


def periods_for(text: str) -> list[Period]:
    """The period alone, or with the days it is made from."""
    return [*([Period.parse("1d")] if text.endswith(("wk", "mo")) else []), Period.parse(text)]


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), schedules(), st.sampled_from(["1wk", "1mo"]))
def test_a_week_where_the_schedule_ends_waits_for_a_later_row_or_for_its_end_to_have_passed(
    data: st.DataObject, sessions: list[Session], text: str
) -> None:
    # Mon Tue Wed | (rows end here) .....  nominal end + grace   last minute of Wed sent again
    grace = data.draw(st.sampled_from([0, 5_000_000]))
    market = Market({"ALPHA": sessions}, Rules(grace, NEVER_ASLEEP), [], [], 1)
    provider = market.provider
    engine = PartitionMachine(
        0,
        market.rules,
        provider,
        lambda _b, _s: None,
        MachineOptions(periods=periods_for(text)),
    )
    feed(engine, [Tick(0, "ALPHA", sessions[0][2], 10.0)], 0, 1)
    period = Period.parse(text)
    bucket, last = list(buckets_of(market, "ALPHA", text))[-1]
    end = bucket_end(bucket, text)

    def is_final() -> bool:
        return engine.book.get(period, "B", "ALPHA", bucket) is not None

    deliver(engine, [Beat(0, "ALPHA", last, 1, last + MINUTE + grace)])
    assume(last + MINUTE < end)  # the last session may reach into the next week
    assert not is_final()
    deliver(engine, [Beat(1, "ALPHA", last, 1, end + grace - 1)])
    assert not is_final()
    if data.draw(st.booleans()):
        deliver(engine, [Beat(2, "ALPHA", last, 1, end + grace)])
        assert is_final()
        return
    # a row of the next bucket says that this one is whole; one inside it is waited for
    date = end // DAY_US - data.draw(st.sampled_from([0, 1]))
    open_us = max(date * DAY_US, sessions[-1][3] + MINUTE)
    added = -(-open_us // MINUTE) + 4
    more = [*sessions, (date, 9, open_us, open_us + 5 * MINUTE)]
    provider.swap(ScheduleIndex.build(rows_of("ALPHA", more)))
    engine.schedule_changed()
    if date * DAY_US == end:
        assert is_final()
        return
    assume((added + 2) * MINUTE < end)
    assert not is_final()
    deliver(engine, [Beat(2, "ALPHA", added * MINUTE, 1, end + grace - 1)])
    assert not is_final()
    deliver(engine, [Beat(3, "ALPHA", added * MINUTE, 1, end + grace)])
    assert is_final()
