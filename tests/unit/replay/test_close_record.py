"""When bars were closed, read from the finals."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from barstream.log.rules import Regime, Regimes
from barstream.market.schedule import ScheduleIndex
from barstream.replay.close_record import in_order, recorded_closes
from barstream.replay.heartbeats import from_finals
from barstream.rules.series import Rules
from tests.property.verify_cases import rules_row

MINUTE = 60_000_000
SCHEMA = {
    "offset": pl.Int64, "key": pl.Binary, "kind": pl.String, "broker": pl.String,
    "symbol": pl.String, "bucket_start": pl.Int64, "revision": pl.Int32,
    "first_offset": pl.Int64, "close_offset": pl.Int64,
}  # fmt: skip
#: Of a log that does not say by which rules it was judged.
_OPEN = ScheduleIndex()
UNTOLD = Regimes([Regime(0, 0, rules_row(Rules()), _OPEN, is_told=False)], _OPEN)


def versions(*rows: tuple[int, int, int] | int) -> pl.DataFrame:
    """Finals of one series in log order: (minute, revision, close offset), or minute: withdrawn."""
    made = [
        (at, b"%d" % row, "tombstone", None, None, None, None, None, None)
        if isinstance(row, int)
        else (at, b"%d" % row[0], "bar", "B", "X", row[0] * MINUTE, row[1], 2, row[2])
        for at, row in enumerate(rows)
    ]
    return pl.DataFrame(made, schema=SCHEMA, orient="row")


def told(frame: pl.DataFrame, *, revises: bool = False) -> list[tuple[int, int]]:
    closes, _ = recorded_closes(frame, revises=revises)
    return [(at // MINUTE, offset) for _, _, at, offset, _, _ in closes.iter_rows()]


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), max_size=9))
def test_what_is_kept_never_descends_and_no_other_choice_keeps_more(values: list[int]) -> None:
    kept = in_order(np.array(values, np.int64))
    chosen = [value for value, keep in zip(values, kept.tolist(), strict=True) if keep]
    assert chosen == sorted(chosen)
    longest = max(
        size
        for size in range(len(values) + 1)
        if any(list(some) == sorted(some) for some in combinations(values, size))
    )
    assert len(chosen) == longest


def test_the_newest_version_says_where_a_bar_was_closed() -> None:
    # a switch-over may have mended it since
    assert told(versions((0, 0, 10), (1, 0, 20), (0, 1, 12))) == [(0, 12), (1, 20)]


def test_with_revisions_the_first_version_says_it() -> None:
    # late ticks raised the close offset of the others
    frame = versions((0, 0, 10), (1, 0, 20), (0, 1, 55))
    assert told(frame, revises=True) == [(0, 10), (1, 20)]


def test_a_revision_whose_first_version_is_gone_says_nothing() -> None:
    assert told(versions((0, 2, 15), (1, 0, 20)), revises=True) == [(1, 20)]


def test_what_was_withdrawn_says_nothing() -> None:
    frame = versions((0, 0, 10), (1, 0, 20), 0)
    assert told(frame) == [(1, 20)]
    assert told(frame, revises=True) == [(1, 20)]
    again = versions((0, 0, 10), 0, (0, 0, 12))
    assert told(again, revises=True) == [(0, 12)]


def test_an_offset_that_stands_out_of_order_is_left_out_and_counted() -> None:
    frame = versions((0, 0, 10), (1, 0, 5_000), (2, 0, 20), (3, 0, 0), (4, 0, 30))
    closes, unreliable = recorded_closes(frame, revises=False)
    assert closes["close_offset"].to_list() == [10, 20, 30]
    assert unreliable == 2


def test_a_heartbeat_of_the_log_is_taken_no_earlier_than_the_closes_up_to_its_minute() -> None:
    # finals      0:10  1:20        the worker lagged: it took the one for minute 2 after 20
    # heartbeats              2:15
    closes, _ = recorded_closes(versions((0, 0, 10), (1, 0, 20)), revises=False)
    sent = pl.DataFrame(
        {
            "offset": [0, 1], "appended_us": [7, 8], "broker": ["B", "B"], "symbol": ["X", "X"],
            "bucket_start": [2 * MINUTE, 0], "barrier": [15, 3],
        }
    )  # fmt: skip
    beats = from_finals(closes, sent, UNTOLD)
    assert beats.select("bucket_start", "barrier", "appended_us").rows() == [
        (0, 10, 8), (0, 10, None), (2 * MINUTE, 20, 7), (MINUTE, 20, None),
    ]  # fmt: skip


def test_a_heartbeat_from_before_the_first_tick_closes_nothing_later_either() -> None:
    # ticks         2:first
    # heartbeats  1:minute 1         taken before there was a price: minute 1 is still open
    # finals               0:10
    closes, _ = recorded_closes(versions((0, 0, 10)), revises=False)
    sent = pl.DataFrame(
        {
            "offset": [0], "appended_us": [7], "broker": ["B"], "symbol": ["X"],
            "bucket_start": [MINUTE], "barrier": [1],
        }
    )  # fmt: skip
    beats = from_finals(closes, sent, UNTOLD)
    assert beats.select("bucket_start", "barrier").rows() == [(0, 10)]
