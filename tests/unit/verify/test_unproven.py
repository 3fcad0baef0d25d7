"""What retention and compaction have taken excuses what they may have held, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import polars as pl
import pytest

from barstream.codecs.avro.body import decode, encode
from barstream.log import heartbeats as heartbeats_history
from barstream.log.selection import Selection
from barstream.market.schedule import SessionRow
from barstream.model.time import DAY_US, MINUTE_US, SECOND_US
from barstream.rules.series import Rules
from barstream.verify.graces import Graces
from barstream.verify.proof import Heartbeats
from barstream.verify.series_number import SeriesNumbers
from barstream.verify.task import Outcome
from barstream.verify.tick_class import Judge
from tests.property.engine_cases import Case, Store, Tick, feed
from tests.property.verify_cases import Begins, untold, verdict

GRACE_US = 5 * SECOND_US
DUE_US = MINUTE_US + GRACE_US
"""When minute 0 may be closed."""


# -- heartbeats -----------------------------------------------------------------------------------


def log(*rows: tuple[int, int, str, int, int], begin: int = 0, by: str = "planner") -> Heartbeats:
    """Heartbeats of (offset, append time, symbol, minute, barrier)."""
    frame = pl.DataFrame(
        [(0, at, appended_us, "X", symbol, minute_us, barrier, 0, by)
         for at, appended_us, symbol, minute_us, barrier in rows],
        schema=cast("Any", heartbeats_history.SCHEMA), orient="row",
    )  # fmt: skip
    numbers = SeriesNumbers()
    numbers.number(("X", "A"))
    judge = Judge(0, numbers, Selection(), untold(), {})
    return Heartbeats(frame, [Graces.of(GRACE_US)], begin, judge)


@pytest.mark.parametrize(
    ("begin", "first_appended_us", "lost"),
    [(3, DUE_US, True), (3, DUE_US - 1, False), (0, DUE_US, False)],
)
def test_a_deleted_heartbeat_closed_only_what_was_over_before_the_first_that_is_left(
    begin: int, first_appended_us: int, lost: bool
) -> None:
    beats = log((begin, first_appended_us, "B", -MINUTE_US, 0), begin=begin)
    assert beats.may_be_lost(0, 0, 10) is lost


def test_where_all_heartbeats_are_deleted_any_may_have_been_there() -> None:
    assert log(begin=3).may_be_lost(0, 0, 10)
    assert not log().may_be_lost(0, 0, 10)


@pytest.mark.parametrize(
    ("hole_us", "symbol", "minute_us", "barrier", "lost"),
    [
        (DUE_US, "A", 0, 11, True),
        (DUE_US - 1, "A", 0, 11, False),  # it was missing before the minute was over
        (DUE_US, "A", 0, 10, False),  # its barrier proves the close: nothing need be missing
        (DUE_US, "B", 0, 11, False),
        (DUE_US, "A", -MINUTE_US, 11, False),
        (DUE_US, "A", MINUTE_US, 11, False),  # nor could that of a later minute close it then
        (DUE_US + MINUTE_US, "A", MINUTE_US, 11, True),
    ],
)
def test_a_compacted_heartbeat_was_appended_when_its_minute_was_over(
    hole_us: int, symbol: str, minute_us: int, barrier: int, lost: bool
) -> None:
    beats = log(
        (0, 0, "B", -2 * MINUTE_US, 0), (5, hole_us, "B", -2 * MINUTE_US, 0),
        (7, 9 * MINUTE_US, symbol, minute_us, barrier),
    )  # fmt: skip
    assert beats.may_be_lost(0, 0, 10) is lost


@pytest.mark.parametrize(
    ("by", "offset", "lost"),
    [("planner", 1, False), ("planner", 2, False), ("planner", 3, True), ("loader", 2, True)],
)
def test_the_marker_of_a_transaction_is_no_missing_heartbeat(
    by: str, offset: int, lost: bool
) -> None:
    beats = log((0, 0, "B", -2 * MINUTE_US, 0), (offset, DUE_US, "A", 0, 11), by=by)
    assert beats.may_be_lost(0, 0, 10) is lost


def test_what_is_missing_before_the_first_heartbeat_may_have_been_compacted() -> None:
    assert log((1, DUE_US, "A", 0, 11)).may_be_lost(0, 0, 10)
    assert not log((0, DUE_US, "A", 0, 11)).may_be_lost(0, 0, 10)


# -- ticks ----------------------------------------------------------------------------------------


def case_of(ticks: Sequence[Tick], late_policy: Any = "reject") -> Case:
    """Sessions of five minutes at the beginning of each day."""
    rows = {
        name: [SessionRow("B", name, day, 0, day * DAY_US, day * DAY_US + 5 * MINUTE_US)
               for day in range(9)]
        for name in ("A", "B")
    }  # fmt: skip
    rules = Rules(GRACE_US, 1, {}, late_policy)
    return Case(rows, rules, list(ticks), [], ticks[-1].offset + 1)


def written(case: Case) -> Store:
    engine, store = case.engine(), Store()
    for at in range(case.end):
        feed(engine, case.ticks, at, at + 1)
        store.flush(engine)
    return store


def judged(case: Case, store: Store, **begins: int) -> Outcome:
    return verdict(
        case, store.finals, store.rejected, store.series, [(0, case.end)], begins=Begins(**begins)
    )


def found(outcome: Outcome) -> set[tuple[str, str]]:
    return {(each.kind, each.rule) for each in outcome.findings.kept}


def closed_at(store: Store, at: int, close_offset: int) -> None:
    """Let the final at a place of the log say that it closed elsewhere."""
    key, value = store.finals[at]
    store.finals[at] = (
        key,
        encode("bar", decode("bar", value or b"") | {"close_offset": close_offset}),
    )


#: The tick at 1 closes the first minute of A at 2.
CLOSED_AT_2 = [
    Tick(0, "A", 0, 1.0), Tick(1, "A", DUE_US, 2.0), Tick(2, "B", DUE_US, 3.0),
    Tick(3, "B", DUE_US, 3.0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("begin", "close_offset", "expected"),
    [
        (1, 2, {("unproven", "ticks_gone")}),
        (2, 2, {("unproven", "ticks_gone"), ("unproven", "close")}),
        (1, 3, {("unproven", "ticks_gone"), ("difference", "close")}),
        (2, 3, {("unproven", "ticks_gone"), ("difference", "close")}),
        (3, 3, {("unproven", "ticks_gone"), ("unproven", "close")}),
        (3, 4, {("unproven", "ticks_gone"), ("difference", "close")}),
    ],
)
def test_a_close_is_unproven_where_the_tick_before_it_is_deleted(
    begin: int, close_offset: int, expected: set[tuple[str, str]]
) -> None:
    case = case_of(CLOSED_AT_2)
    store = written(case)
    closed_at(store, 0, close_offset)
    assert found(judged(case, store, ticks=begin)) == expected


@pytest.mark.parametrize("begin", [0, 1])
def test_a_bar_whose_first_tick_is_there_is_held_to_its_ticks(begin: int) -> None:
    case = case_of([Tick(0, "B", 0, 1.0), Tick(1, "A", 0, 1.0), Tick(2, "A", DUE_US, 2.0)])
    store = written(case)
    assert found(judged(case, store, ticks=begin)) == set()
    key, value = store.finals[0]
    store.finals[0] = key, encode("bar", decode("bar", value or b"") | {"high": 9.0})
    assert found(judged(case, store, ticks=begin)) == {("difference", "field")}
    assert found(judged(case, store, ticks=2)) == {("unproven", "ticks_gone")}


@pytest.mark.parametrize(
    ("begin", "expected"),
    [(0, set()), (1, {("unproven", "ticks_gone")}),
     (2, {("unproven", "ticks_gone"), ("unproven", "close")})],
)  # fmt: skip
def test_a_revised_bar_was_closed_where_its_first_version_says(
    begin: int, expected: set[tuple[str, str]]
) -> None:
    late = [*CLOSED_AT_2, Tick(4, "A", SECOND_US, 7.0), Tick(5, "B", DUE_US, 3.0)]
    case = case_of(late, "revise")
    store = written(case)
    assert decode("bar", store.finals[-1][1] or b"")["revision"] == 1
    assert found(judged(case, store, ticks=begin)) == expected


DAYS_US = 5 * DAY_US
#: A wakes after days asleep with the tick at 3; the one at 4 closes its minute at 5.
WOKEN = [
    Tick(0, "A", 0, 1.0), Tick(1, "B", 0, 1.0), Tick(2, "A", DUE_US, 1.0),
    Tick(3, "A", DAYS_US, 4.0), Tick(4, "A", DAYS_US + DUE_US, 5.0), Tick(5, "B", SECOND_US, 3.0),
]  # fmt: skip


@pytest.mark.parametrize("begin", [0, 1, 2, 3])
def test_a_tick_refused_while_its_series_was_open_is_no_late_one(begin: int) -> None:
    case = case_of(WOKEN)
    store = written(case)
    assert found(judged(case, store)) == set()
    (woken,) = [
        at for at, (_, value) in enumerate(store.finals)
        if decode("bar", value or b"")["bucket_start"] == DAYS_US
    ]  # fmt: skip
    del store.finals[woken]
    store.rejected.append((None, None, {"offset": b"3", "reason": b"late"}))
    assert ("difference", "late") in found(judged(case, store, ticks=begin))


def test_a_tick_refused_before_the_first_price_may_have_been_late_by_a_deleted_one() -> None:
    case = case_of([Tick(0, "A", 4 * MINUTE_US, 1.0), Tick(1, "A", 0, 1.0), Tick(2, "B", 0, 1.0)])
    store = written(case)
    assert [headers["reason"] for _, _, headers in store.rejected] == [b"late"]
    assert found(judged(case, store)) == set()
    assert found(judged(case, store, ticks=1)) == {("unproven", "late")}


# -- rejections -----------------------------------------------------------------------------------

GARBAGE = [
    Tick(0, "A", 0, 1.0), Tick(1, "A", 0, None), Tick(2, "A", 0, 2.0), Tick(3, "A", 0, None),
    Tick(4, "A", 0, 3.0), Tick(5, "A", 0, None), Tick(6, "A", DUE_US, 4.0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("begin", "dropped", "differences", "unproven"),
    [
        (0, [], [], 0),
        (1, [], [], 1),
        (2, [], [], 2),
        (3, [], [], 3),
        (0, [0], [1], 0),
        (1, [1], [], 2),  # row 0 is deleted, and row 1 might have been as well
        (1, [2], [5], 1),
    ],
)
def test_rejections_are_unproven_below_the_first_that_is_left(
    begin: int, dropped: list[int], differences: list[int], unproven: int
) -> None:
    case = case_of(GARBAGE)
    store = written(case)
    for row in dropped:
        # still a row, of another partition's tick: its place in the topic stays
        key, value, headers = store.rejected[row]
        store.rejected[row] = key, value, headers | {"partition": b"1"}
    outcome = judged(case, store, rejected=begin)
    assert [each.offset for each in outcome.findings.kept] == differences
    assert {each.kind for each in outcome.findings.kept} <= {"difference"}
    assert outcome.accounts.unproven == unproven
    assert len(outcome.notes) == (unproven > 0)
