"""Rules of a partition's engine, case by case."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import TickColumns
from barstream.codecs.topics.series_seen import decode as decode_seen
from barstream.market.schedule import MarketScheduleProvider, ScheduleIndex, SessionRow
from barstream.model.rejection import Reason
from barstream.partition.heartbeat_queue import QueuedHeartbeat
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.partition.outbox import FULL_BACKLOG
from barstream.rules.series import LIVENESS_TICKS, Rules
from tests.property.engine_cases import Store

MINUTE = 60_000_000
SECOND = 1_000_000
DAY = 1440 * MINUTE
GRACE = 5 * SECOND


def provider(days: int = 30, symbols: Sequence[str] = ("X",), hours: int = 1) -> object:
    """Sessions of [00:00, hours:00) UTC on ``days`` days from day 0."""
    made = MarketScheduleProvider()
    made.swap(
        ScheduleIndex.build(
            SessionRow("B", symbol, day, 0, day * DAY, day * DAY + hours * 60 * MINUTE)
            for symbol in symbols
            for day in range(days)
        )
    )
    return made


def engine(
    *,
    inactive_after: int = 5,
    delays: dict[str, int] | None = None,
    home: Callable[[str, str], int | None] = lambda _broker, _symbol: None,
    symbols: Sequence[str] = ("X",),
    publish_off_session: bool = False,
) -> PartitionMachine:
    return PartitionMachine(
        0,
        Rules(GRACE, inactive_after, delays or {}),
        provider(symbols=symbols),  # type: ignore[arg-type]
        home,
        MachineOptions(publish_off_session=publish_off_session),
    )


def feed(
    target: PartitionMachine,
    times_us: Sequence[int],
    *,
    symbol: str = "X",
    appended_us: Sequence[int] | int | None = None,
    append_time: bool = True,
    at_end: bool = False,
    now_us: int = 0,
    start: int | None = None,
) -> None:
    """One chunk of ticks of one symbol at price 1, 2, 3...; appended at event time by default."""
    begin = (target.position or 0) if start is None else start
    n = len(times_us)
    stamps = times_us if appended_us is None else np.broadcast_to(appended_us, n)
    offsets = np.arange(begin, begin + n, dtype=np.int64)
    target.apply_ticks(
        RecordChunk(
            "ticks", 0, begin, begin + n, [b"key%d" % at for at in offsets],
            [b"value%d" % at for at in offsets], offsets, np.array(stamps, np.int64), append_time,
        ),
        TickColumns(
            np.zeros(n, np.int32), [("B", symbol)] if n else [], np.array(times_us, np.int64),
            np.arange(1.0, n + 1), np.ones(n), None, [],
        ),
        now_us,
        at_end=at_end,
    )  # fmt: skip


def beat(target: PartitionMachine, minute_us: int, *, barrier: int = 0, symbol: str = "X") -> None:
    at = target.waiting.next_offset
    target.add_heartbeat(QueuedHeartbeat(at, "B", symbol, minute_us, barrier, 1 << 59))
    target.heartbeats_read(at + 1)


def starts(target: PartitionMachine) -> list[int]:
    """Minutes of the finals waiting to be written, in minutes since day 0."""
    return [bar.bucket_start_us // MINUTE for bar in target.take().finals]


# --- where a series is seen ----------------------------------------------------------------------


def test_ticks_of_a_series_at_home_elsewhere_are_rejected_with_their_bytes() -> None:
    made = engine(home=lambda _broker, symbol: 3 if symbol == "X" else None, symbols=("X", "Y"))
    feed(made, [0, SECOND])
    feed(made, [0, SECOND], symbol="Y")
    found = made.take()
    assert [(r.offset, r.reason, r.value) for r in found.rejected] == [
        (0, Reason.PARTITION, b"value0"), (1, Reason.PARTITION, b"value1"),
    ]  # fmt: skip
    assert [series.symbol for series in found.touched] == ["Y"]
    counts = made.take_counts()
    assert (counts.accepted, counts.rejected) == (2, {Reason.PARTITION: 2})


def test_a_series_that_another_partition_claimed_first_is_refused_from_then_on() -> None:
    # two workers saw it at once; everyone follows the row that came first, see Universe.put
    homes: dict[str, int | None] = {"X": None}
    made = engine(home=lambda _broker, symbol: homes[symbol])
    feed(made, [0])
    homes["X"] = 7
    feed(made, [SECOND])
    counts = made.take_counts()
    assert (counts.accepted, counts.rejected) == (1, {Reason.PARTITION: 1})


def test_what_a_gap_is_filled_with_is_written_in_pieces() -> None:
    """
    tick of 60 series |--- four days of minutes ---| tick of each: 60 * 5,760 bars
    """
    names = [f"S{number}" for number in range(60)]
    days = 4 * 1440
    made = PartitionMachine(
        0, Rules(GRACE), MarketScheduleProvider.always_open(), lambda _broker, _symbol: None
    )
    for name in names:
        feed(made, [0], symbol=name)
    made.take()
    n = len(names)
    offsets = np.arange(n, 2 * n, dtype=np.int64)
    chunk = RecordChunk(
        "ticks", 0, n, 2 * n, [None] * n, [b"value"] * n, offsets, np.zeros(n, np.int64), True
    )
    columns = TickColumns(
        np.arange(n, dtype=np.int32), [("B", name) for name in names],
        np.full(n, days * MINUTE + GRACE), np.ones(n), np.ones(n), None, [],
    )  # fmt: skip
    closed: dict[str, list[int]] = {name: [] for name in names}
    whole = False
    while not whole:
        whole = made.apply_ticks(chunk, columns, 0, at_end=True)
        pending = made.take()
        assert len(pending.finals) < 2 * FULL_BACKLOG + days
        for bar in pending.finals:
            closed[bar.symbol].append(bar.bucket_start_us // MINUTE)
    assert all(found == list(range(days)) for found in closed.values())


def test_a_tick_that_was_refused_makes_no_home() -> None:
    # off session at 02:00 here, then accepted ticks elsewhere: this partition is not its home
    homes: dict[str, int | None] = {"X": None}
    made = engine(home=lambda _broker, symbol: homes[symbol])
    feed(made, [120 * MINUTE])
    homes["X"] = 7
    feed(made, [SECOND])
    assert made.take_counts().rejected == {Reason.OFF_SESSION: 1, Reason.PARTITION: 1}


def test_a_redelivered_tick_of_a_series_at_home_elsewhere_is_rejected_once() -> None:
    made = engine(home=lambda _broker, _symbol: 3)
    feed(made, [0, 1])
    feed(made, [0, 1, 2, 3], start=0)
    assert [tick.offset for tick in made.take().rejected] == [0, 1, 2, 3]


# --- the schedule --------------------------------------------------------------------------------


def test_an_unscheduled_series_is_rejected_and_shown_until_it_has_a_schedule() -> None:
    made = engine(symbols=("Y",))
    feed(made, [0])
    assert list(made.gate.unscheduled) == [("B", "X")]
    made._provider.swap(provider().index)  # type: ignore[attr-defined]
    feed(made, [SECOND])
    assert not made.gate.unscheduled
    found = made.take()
    assert [(r.offset, r.reason) for r in found.rejected] == [(0, Reason.UNSCHEDULED)]
    assert "barstream schedule load" in found.rejected[0].detail
    assert made.take_counts().accepted == 1


@pytest.mark.parametrize("publish", [False, True])
def test_off_session_ticks_are_counted_and_written_only_when_asked_for(publish: bool) -> None:
    # session 00:00 to 01:00: the close itself is outside
    made = engine(publish_off_session=publish)
    feed(made, [60 * MINUTE - 1, 60 * MINUTE, 61 * MINUTE])
    found = made.take()
    assert [r.offset for r in found.rejected] == ([1, 2] if publish else [])
    assert made.take_counts().rejected == {Reason.OFF_SESSION: 2}
    state = made.state.series[0]
    assert int(made.state.watermark_us[state.slot]) == 60 * MINUTE - 1


def test_a_series_whose_rows_are_withdrawn_is_unscheduled_and_closes_what_it_has() -> None:
    made = engine()
    feed(made, [0])
    made._provider.swap(ScheduleIndex())
    feed(made, [SECOND])
    beat(made, 3 * MINUTE)
    found = made.take()
    assert [(r.offset, r.reason) for r in found.rejected] == [(1, Reason.UNSCHEDULED)]
    assert [bar.bucket_start_us for bar in found.finals] == [0]


# --- liveness ------------------------------------------------------------------------------------


def live(target: PartitionMachine) -> bool:
    return target.state.is_live(target.state.series[0])


def test_a_series_is_live_while_one_of_its_last_16_ticks_was_timely() -> None:
    made = engine()
    feed(made, [0], appended_us=GRACE)  # exactly the grace is in time
    assert live(made)
    feed(made, [SECOND] * 15, appended_us=MINUTE)
    assert live(made)
    feed(made, [SECOND], appended_us=MINUTE)
    assert not live(made)
    feed(made, [2 * SECOND], appended_us=2 * SECOND + GRACE)
    assert live(made)


@pytest.mark.parametrize("cut", range(18))
def test_liveness_does_not_depend_on_the_cut(cut: int) -> None:
    appended = [0, *[MINUTE] * 17]
    made = engine()
    feed(made, [0] * cut, appended_us=appended[:cut])
    feed(made, [0] * (17 - cut), appended_us=appended[cut:17])
    assert not live(made)
    made = engine()
    feed(made, [0] * min(cut, 16), appended_us=appended[: min(cut, 16)])
    feed(made, [0] * (16 - min(cut, 16)), appended_us=appended[min(cut, 16) : 16])
    assert live(made)


@pytest.mark.parametrize("cut", range(1, 42))
def test_what_is_kept_of_liveness_does_not_depend_on_the_cut(cut: int) -> None:
    # a timely tick and a backlog behind it: in one fetch, or in two
    appended = [0, *[MINUTE] * 40]
    made = engine()
    feed(made, [0] * cut, appended_us=appended[:cut])
    feed(made, [0] * (41 - cut), appended_us=appended[cut:])
    assert made.state.since_timely[0] == LIVENESS_TICKS


def test_a_feed_delayed_by_contract_is_live_within_delay_and_grace() -> None:
    made = engine(delays={"B": MINUTE})
    feed(made, [0], appended_us=MINUTE + GRACE)
    assert live(made)
    made = engine(delays={"B": MINUTE})
    feed(made, [0], appended_us=MINUTE + GRACE + 1)
    assert not live(made)


def test_create_time_says_nothing_unless_read_at_the_end_close_to_the_clock() -> None:
    # a file of last week, stamped by its producer with event time, must not look live
    now = 7 * DAY
    made = engine()
    feed(made, [0], append_time=False, now_us=now, at_end=True)
    assert not live(made)
    made = engine()
    feed(made, [now], append_time=False, now_us=now + GRACE, at_end=False)
    assert not live(made)
    made = engine()
    feed(made, [now], append_time=False, now_us=now + GRACE, at_end=True)
    assert live(made)
    made = engine()
    feed(made, [now], append_time=False, now_us=now + GRACE + 1, at_end=True)
    assert not live(made)


def test_rejected_ticks_do_not_make_a_series_live() -> None:
    made = engine()
    feed(made, [0, 10 * MINUTE], appended_us=DAY)
    feed(made, [0], appended_us=0)  # timely, but late: its bar is final
    assert not live(made)


# --- series_seen ---------------------------------------------------------------------------------


def test_series_seen_is_written_when_date_liveness_or_hour_changes_and_only_then() -> None:
    # minute  10    11 15  hb 17 |  19: live | 61: another hour | next day
    made, store = engine(), Store()
    feed(made, [10 * MINUTE], appended_us=DAY)
    store.flush(made)
    assert len(store.seen) == 1
    feed(made, [11 * MINUTE, 15 * MINUTE], appended_us=DAY)
    beat(made, 17 * MINUTE)
    store.flush(made)
    assert len(store.seen) == 1
    feed(made, [19 * MINUTE])
    store.flush(made)
    feed(made, [20 * MINUTE])
    beat(made, 60 * MINUTE, barrier=5)
    store.flush(made)
    feed(made, [DAY])
    store.flush(made)
    rows = [decode_seen(value) for value in store.seen if value is not None]
    assert [(row.live, row.last_trading_date, row.closed_until_us) for row in rows] == [
        (False, 0, 9 * MINUTE), (True, 0, 18 * MINUTE), (True, 0, 61 * MINUTE),
        (True, 1, DAY - MINUTE),
    ]  # fmt: skip
    assert {row.first_tick_us for row in rows} == {10 * MINUTE}


def test_a_restored_series_is_not_written_to_series_seen_again() -> None:
    made, store = engine(), Store()
    feed(made, [0])
    store.flush(made)
    made, _, _ = store.restored(made._rules, made._provider, lambda _broker, _symbol: None)
    feed(made, [SECOND])
    store.flush(made)
    assert len(store.seen) == 1


# --- sleeping ------------------------------------------------------------------------------------


@pytest.mark.law("L9")
def test_a_series_falls_asleep_by_heartbeat_and_wakes_filling_nothing_before_its_tick() -> None:
    # day  0      1          2          3         4
    #      tick   filled     filled     asleep    tick at 00:10
    made = engine(inactive_after=2)
    feed(made, [58 * MINUTE])
    beat(made, 3 * DAY + 30 * MINUTE)
    # 00:58, 00:59 of day 0, all of days 1 and 2; nothing from the first open of day 3
    wanted = [58, 59, *(day * 1440 + minute for day in (1, 2) for minute in range(60))]
    assert starts(made) == wanted
    feed(made, [4 * DAY + 10 * MINUTE, 4 * DAY + 12 * MINUTE])
    beat(made, 4 * DAY + 13 * MINUTE, barrier=made.position or 0)
    assert starts(made) == [4 * 1440 + minute for minute in (10, 11, 12, 13)]


@pytest.mark.law("L9")
def test_a_series_falls_asleep_by_watermark_alike() -> None:
    made = engine(inactive_after=2)
    feed(made, [58 * MINUTE, 4 * DAY + 10 * MINUTE, 4 * DAY + 12 * MINUTE])
    beat(made, 4 * DAY + 13 * MINUTE, barrier=3)
    wanted = [58, 59, *(day * 1440 + minute for day in (1, 2) for minute in range(60))]
    assert starts(made) == wanted + [4 * 1440 + minute for minute in (10, 11, 12, 13)]


def test_a_tick_before_the_waking_one_moves_the_start_of_filling_back() -> None:
    # woken by 00:10, then 00:08 arrives within the grace: 00:09 is filled
    made = PartitionMachine(
        0, Rules(5 * MINUTE, 2), provider(), lambda _broker, _symbol: None  # type: ignore[arg-type]
    )  # fmt: skip
    feed(made, [58 * MINUTE, 4 * DAY + 10 * MINUTE, 4 * DAY + 8 * MINUTE])
    starts(made)
    beat(made, 4 * DAY + 11 * MINUTE, barrier=3)
    assert starts(made) == [4 * 1440 + minute for minute in (8, 9, 10, 11)]


def test_what_was_open_yet_when_a_series_woke_is_filled_all_the_same() -> None:
    # day  0      1        2                    3
    #      tick   filled   |== 00:40 .. not due ==|   tick at 00:10
    made = PartitionMachine(
        0, Rules(DAY - 30 * MINUTE, 2), provider(), lambda _broker, _symbol: None  # type: ignore[arg-type]
    )  # fmt: skip
    feed(made, [58 * MINUTE, 3 * DAY + 10 * MINUTE])
    assert starts(made)[-1] == 2 * 1440 + 39
    feed(made, [4 * DAY + 59 * MINUTE])
    wanted = [2 * 1440 + minute for minute in range(40, 60)]
    assert starts(made) == wanted + [3 * 1440 + minute for minute in range(10, 60)]


def test_how_far_a_quiet_series_is_filled_follows_a_schedule_that_changes() -> None:
    # its last bar is of day 0; day 2, to be filled, is withdrawn, and so day 3 is filled instead
    made = engine(inactive_after=2)
    feed(made, [58 * MINUTE])
    beat(made, 59 * MINUTE)
    starts(made)
    rows = [
        SessionRow("B", "X", day, 0, day * DAY, day * DAY + 60 * MINUTE) for day in (0, 1, 3, 4)
    ]
    made._provider.swap(ScheduleIndex.build(rows))
    beat(made, 4 * DAY + 30 * MINUTE)
    assert starts(made) == [day * 1440 + minute for day in (1, 3) for minute in range(60)]


@pytest.mark.law("L8")
def test_a_heartbeat_of_a_series_without_a_price_makes_no_bar_and_is_counted() -> None:
    made = engine()
    feed(made, [])
    made.position = 0
    beat(made, 5 * MINUTE)
    assert starts(made) == []
    assert made.take_counts().unpriced_minutes == 1


# --- live rows -----------------------------------------------------------------------------------


def test_live_carries_the_newest_values_once_per_change() -> None:
    made = engine()
    feed(made, [0, SECOND])
    feed(made, [2 * SECOND])
    (bar,) = made.take().live
    assert (bar.tick_count, bar.close, bar.final) == (3, 1.0, False)
    assert made.take().live == []
    feed(made, [3 * SECOND, MINUTE + GRACE])
    pending = made.take()
    assert [bar.bucket_start_us for bar in pending.finals] == [0]
    assert [bar.bucket_start_us for bar in pending.live] == [MINUTE]


def test_a_closed_bar_gets_no_live_row_even_when_no_live_row_showed_it() -> None:
    made = engine()
    feed(made, [0, 10 * MINUTE])
    feed(made, [SECOND])  # late
    pending = made.take()
    assert [bar.bucket_start_us // MINUTE for bar in pending.live] == [10]


def test_a_flush_that_may_not_show_live_bars_leaves_them_to_the_next() -> None:
    # a flush for the sake of a final comes sooner than the live interval allows
    made = engine(symbols=("X", "Y"))
    feed(made, [0], symbol="Y")
    feed(made, [0, MINUTE + GRACE])
    pending = made.take(live=False)
    assert len(pending.finals) == 1
    assert pending.live == []
    assert (made.outbox.has_live, made.outbox.dirty) == (True, True)
    assert {(bar.symbol, bar.bucket_start_us) for bar in made.take().live} == {
        ("X", MINUTE), ("Y", 0),
    }  # fmt: skip
    assert (made.outbox.has_live, made.outbox.dirty) == (False, False)


def test_a_bar_that_closes_before_it_was_shown_live_is_not_shown_afterwards() -> None:
    made = engine()
    feed(made, [0])
    made.take(live=False)
    beat(made, 0, barrier=1)
    pending = made.take()
    assert (len(pending.finals), pending.live) == (1, [])


def test_an_open_bar_that_did_not_change_is_not_shown_again() -> None:
    # 00:59 and 01:01 are both open within the grace; only the second gets another tick
    made = engine()
    feed(made, [59 * SECOND, 61 * SECOND])
    assert [bar.bucket_start_us for bar in made.take().live] == [0, MINUTE]
    feed(made, [62 * SECOND])
    assert [bar.bucket_start_us for bar in made.take().live] == [MINUTE]


def test_heartbeats_close_no_more_than_there_is_room_for_until_it_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker that was away has hours of them; what they close waits in memory for one flush."""
    monkeypatch.setattr("barstream.partition.machine.FULL_BACKLOG", 10)
    made = engine()
    feed(made, [0])
    for minute in range(40):
        at = made.waiting.next_offset
        made.add_heartbeat(QueuedHeartbeat(at, "B", "X", minute * MINUTE, 1, 1 << 59))
        made.waiting.next_offset = at + 1
    found = []
    for _ in range(4):
        made.release()
        found.append(starts(made))
    assert found == [list(range(at, at + 10)) for at in range(0, 40, 10)]
