"""What the loader foresees of its ticks, by the worker's own schedule."""

from __future__ import annotations

import numpy as np
import pytest

from barstream.feeds.admission import admit, refuse_without_session
from barstream.feeds.files import FileTicks
from barstream.feeds.load_clock import NEVER, SeriesClocks
from barstream.feeds.refusals import NoSessionError
from barstream.market.schedule import AlwaysOpenIndex, ScheduleIndex, SessionRow
from barstream.model.time import MINUTE_US, days_from_iso_date, us_from_iso

DAY = "2024-01-02"
NAMES = (("X", "A"), ("X", "B"))


def at(clock: str) -> int:
    return us_from_iso(f"{DAY}T{clock}Z")


def ticks(*rows: tuple[int, str]) -> FileTicks:
    series = np.array([number for number, _ in rows], np.int64)
    time_us = np.array([at(clock) for _, clock in rows], np.int64)
    return FileTicks(NAMES, series, time_us, np.ones(len(rows)), None, None, None)


def sessions(*symbols: str) -> ScheduleIndex:
    day = days_from_iso_date(DAY)
    return ScheduleIndex.build(
        SessionRow("X", symbol, day, 0, at("10:00:00"), at("11:00:00")) for symbol in symbols
    )


def test_ticks_outside_their_sessions_are_counted_and_the_first_is_named() -> None:
    # A, 10:00 to 11:00      | off | in | off (half-open) |      B has no session at all
    loaded = ticks((0, "09:59:59"), (0, "10:00:00"), (1, "10:30:00"), (0, "11:00:00"))
    found = admit(loaded, sessions("A"), {}, revise=False)
    assert found.accepted.tolist() == [False, True, False, False]
    assert found.no_bar == {"off_session": 2, "unscheduled": 1}
    assert found.first["off_session"] == "X A at 2024-01-02T09:59:59Z"


def test_ticks_of_closed_minutes_are_late_unless_they_revise() -> None:
    loaded = ticks((0, "10:00:59"), (0, "10:01:00"), (1, "10:00:00"))
    closed = {0: at("10:01:00")}
    assert admit(loaded, sessions("A", "B"), closed, revise=False).no_bar == {"late": 1}
    assert not admit(loaded, sessions("A", "B"), closed, revise=True).no_bar


def test_without_a_schedule_every_tick_is_in_session() -> None:
    assert admit(ticks((0, "03:00:00")), AlwaysOpenIndex(), {}, revise=False).accepted.all()
    refuse_without_session(ticks((0, "03:00:00")), AlwaysOpenIndex())


@pytest.mark.parametrize("known", [(), ("A",)])
def test_a_series_without_any_session_in_its_time_is_refused(known: tuple[str, ...]) -> None:
    loaded = ticks((0, "10:30:00"), (1, "10:30:00"))
    with pytest.raises(
        NoSessionError, match=r"schedule load --calendar NAME --broker 'X' --symbol"
    ):
        refuse_without_session(loaded, sessions(*known))
    refuse_without_session(loaded, sessions("A", "B"))


def test_a_session_between_the_ticks_is_enough() -> None:
    refuse_without_session(ticks((0, "09:00:00"), (0, "12:00:00")), sessions("A"))
    with pytest.raises(NoSessionError, match="X A must have sessions"):
        refuse_without_session(ticks((0, "11:00:00"), (0, "12:00:00")), sessions("A"))


def test_a_series_of_which_no_tick_is_accepted_is_not_closed() -> None:
    clocks = SeriesClocks(np.array([at("10:05:00"), NEVER], np.int64), MINUTE_US, 0)
    due, whole_from = clocks.closing(at("12:00:00"))
    assert due == [(0, at("10:05:00"))]
    assert whole_from == at("10:06:00")


def test_a_tick_within_the_close_tolerance_is_of_the_last_minute() -> None:
    # close 11:00, tolerance 90 s     | in    | off
    day = days_from_iso_date(DAY)
    rows = [SessionRow("X", "A", day, 0, at("10:00:00"), at("11:00:00"), 90_000_000)]
    loaded = ticks((0, "10:59:30"), (0, "11:00:00"), (0, "11:01:29"), (0, "11:01:30"))
    found = admit(loaded, ScheduleIndex.build(rows), {}, revise=False)
    assert found.accepted.tolist() == [True, True, True, False]
    last_us = at("11:00:00") - 1
    assert found.placed_us.tolist() == [at("10:59:30"), last_us, last_us, at("11:01:30")]
    assert list(found.tolerant) == [0]
    closed = {0: at("11:00:00")}
    assert admit(loaded, ScheduleIndex.build(rows), closed, revise=False).no_bar["late"] == 3
    # and such a tick alone is reason enough to load a file
    refuse_without_session(ticks((0, "11:01:00")), ScheduleIndex.build(rows))
    with pytest.raises(NoSessionError):
        refuse_without_session(ticks((0, "11:02:00")), ScheduleIndex.build(rows))
