"""Which rules and sessions held at an offset, from the rows of the log and the schedule's topic."""

from __future__ import annotations

from dataclasses import replace

from barstream.codecs.topics.rules import RulesRow
from barstream.codecs.topics.session import encode_session, session_key
from barstream.log.rules import Regimes
from barstream.log.schedule import ScheduleRecord
from barstream.market.schedule import ScheduleIndex
from barstream.market.session import SessionRow
from barstream.model.time import DAY_US, MINUTE_US

NAME = ("B", "X")
NOW = RulesRow(5_000_000, 5_000_000, "reject", 5, False, "tests")


def session(date: int, open_us: int, close_us: int, number: int = 0) -> SessionRow:
    return SessionRow(*NAME, date, number, date * DAY_US + open_us, date * DAY_US + close_us)


def record(offset: int, row: SessionRow) -> ScheduleRecord:
    return ScheduleRecord(0, offset, 1_000 + offset, session_key(row), encode_session(row))


SHORT, LONG = session(7, 0, MINUTE_US), session(7, 0, 5 * MINUTE_US)
RECORDS = [record(0, session(6, 0, MINUTE_US)), record(3, SHORT), record(6, LONG)]


def told(*places: tuple[int, int, int], **fields: object) -> list[RulesRow]:
    """Rows of (offset of ticks, end of the schedule, sessions there)."""
    return [
        replace(NOW, from_offset=at, schedule={0: end}, sessions=count, **fields)  # type: ignore[arg-type]
        for at, end, count in places
    ]


def closes(regimes: Regimes[ScheduleIndex], offset: int) -> list[int]:
    """When sessions of the series close, by the rows in force at an offset."""
    schedule = regimes.at(offset).index.for_series(*NAME)
    return [] if schedule is None else [s.close_us for s in schedule.sessions_between(0, 1 << 60)]


def test_the_sessions_at_an_offset_are_those_that_had_been_read() -> None:
    # ticks      0..3 none | 4..8 the first day | 9..  both days
    regimes = Regimes.of(told((0, 0, 0), (4, 1, 1), (9, 4, 2)), RECORDS, NOW)
    assert closes(regimes, 3) == []
    assert closes(regimes, 4) == [6 * DAY_US + MINUTE_US]
    assert closes(regimes, 9) == [6 * DAY_US + MINUTE_US, SHORT.close_us]
    assert regimes.is_told
    now = regimes.now.for_series(*NAME)
    assert now is not None
    assert next(now.sessions_between(7 * DAY_US, 8 * DAY_US)).close_us == LONG.close_us


def test_a_row_that_compaction_took_may_have_been_of_any_hours() -> None:
    kept = [RECORDS[0], RECORDS[2]]  # the short session of day 7 is overwritten and gone
    regimes = Regimes.of(told((0, 4, 2)), kept, NOW)
    assert regimes.may_have_lost(NAME, 7 * DAY_US, 0)
    assert not regimes.may_have_lost(NAME, 2 * DAY_US, 0)
    assert not Regimes.of(told((0, 4, 2)), RECORDS, NOW).may_have_lost(NAME, 7 * DAY_US, 0)


def test_rows_that_contradict_each_other_leave_the_hours_that_the_row_names() -> None:
    clash = record(9, session(7, 4 * MINUTE_US, 9 * MINUTE_US, number=1))
    rows = [
        *told((0, 7, 2)),
        *told((5, 10, 3), kept={NAME: {0: 4}}),
        *told((8, 10, 3), kept={NAME: {}}),  # a worker that started with them knows no others
    ]
    regimes = Regimes.of(rows, [*RECORDS, clash], NOW)
    assert closes(regimes, 2)[-1] == LONG.close_us
    assert closes(regimes, 5)[-1] == SHORT.close_us
    assert closes(regimes, 8) == []


def test_what_comes_before_the_first_row_is_not_told() -> None:
    regimes = Regimes.of(told((40, 7, 2)), RECORDS, replace(NOW, grace_us=1))
    assert (regimes.told_from, regimes.at(39).is_told, regimes.at(40).is_told) == (40, False, True)
    assert regimes.at(39).rules.grace_us == 1


def test_names_are_spelled_as_they_were_where_a_tick_stands() -> None:
    # ticks    0 .. 8 folded, so the rows are of X  |  9 ..  x is a series of its own
    lower = record(9, SessionRow("B", "x", 8, 0, 8 * DAY_US, 8 * DAY_US + MINUTE_US))
    rows = [
        *told((0, 10, 4), fold_case=True),
        *told((9, 10, 4), fold_case=False),
    ]
    regimes = Regimes.of(rows, [*RECORDS, lower], replace(NOW, fold_case=False))
    assert closes(regimes, 0)[-1] == 8 * DAY_US + MINUTE_US
    assert closes(regimes, 9)[-1] == LONG.close_us
    assert regimes.at(9).index.for_series("B", "x") is not None
    assert regimes.at(0).index.for_series("B", "x") is None


def test_a_row_that_says_nothing_of_the_case_is_read_by_that_of_now() -> None:
    regimes = Regimes.of(told((0, 1, 1)), RECORDS, replace(NOW, fold_case=False))
    assert regimes.at(0).rules.fold_case is False


def test_after_a_switch_over_nothing_is_told_of_before() -> None:
    rows = [*told((0, 0, 0), (4, 1, 1)), *told((9, 4, 2), rewritten=True)]
    regimes = Regimes.of(rows, RECORDS, NOW)
    assert regimes.told_from == 9
    assert closes(regimes, 4)[-1] == LONG.close_us, "the rows of now are the best there is"


def test_of_one_series_rows_of_others_begin_a_regime_where_they_changed_and_are_not_read() -> None:
    # the log says by it what came after what; a row that was written again as it was says nothing
    def other(offset: int, close_us: int) -> ScheduleRecord:
        return record(offset, SessionRow("B", "Y", 7, 0, 7 * DAY_US, 7 * DAY_US + close_us))

    records = [*RECORDS, other(8, 1), other(9, 2), other(10, 2)]
    rows = told((0, 9, 3), (4, 10, 3), (6, 11, 3))
    one, every = Regimes.of(rows, records, NOW, NAME), Regimes.of(rows, records, NOW)
    assert one.begin.tolist() == every.begin.tolist() == [0, 4]
    assert [closes(one, at) for at in range(8)] == [closes(every, at) for at in range(8)]
    assert every.at(4).index.for_series("B", "Y") is not None
    assert one.at(4).index.for_series("B", "Y") is None


def test_of_one_series_a_regime_begins_too_where_compaction_may_have_taken_what_changed() -> None:
    # offset 9 is gone, as the same row was written again at 10: what it said then is not known
    newest = record(10, SessionRow("B", "Y", 7, 0, 7 * DAY_US, 7 * DAY_US + 2))
    rows = told((0, 9, 2), (4, 10, 2), (6, 11, 3))
    assert Regimes.of(rows, [*RECORDS, newest], NOW, NAME).begin.tolist() == [0, 4, 6]
