"""Bar by bar: what is equal, what differs, what is not compared."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from barstream.cli.replay_lines import lines_of
from barstream.model.bar import Bar
from barstream.model.period import MINUTE, Period
from barstream.replay.compare import BarDifference, ComparisonCounts, compare
from barstream.replay.request import BadSuffix, checked_suffix
from barstream.replay.scope import Derived, Scope, SeriesScope
from barstream.rules.series import FOREVER_US, NEVER_US
from barstream.runtime.flush import bar_rows
from tests.sample_bar import SAMPLE

MINUTE_US = 60_000_000
FIVE = Period.minutes(5)
BAR = SAMPLE.replace(
    trading_date=1,
    tick_count=4,
    open_time_us=1,
    close_time_us=9,
    first_offset=0,
    last_offset=3,
    close_offset=7,
)


def scope(start_us: int = NEVER_US, closed_us: int = 10 * MINUTE_US, **more: Any) -> Scope:
    derived = Derived(0, 0, 100, NEVER_US, FOREVER_US, None, None, True, 5, "reject")
    uppers = {"5m": (0, 5 * MINUTE_US)}
    return Scope(replace(derived, **more), {("B", "X"): SeriesScope(start_us, closed_us, uppers)})


def values(*bars: Bar) -> dict[bytes, bytes]:
    return {row.key: row.value for row in bar_rows(bars) if row.key and row.value}


def compared(
    published: list[Bar], replayed: list[Bar], where: Scope | None = None, period: Period = MINUTE
) -> tuple[list[BarDifference], dict[str, int]]:
    tally = ComparisonCounts()
    found = list(compare(period, where or scope(), values(*published), values(*replayed), tally))
    return found, {name: count for name, count in asdict(tally).items() if count}


def at(minute: int, **more: Any) -> Bar:
    return BAR.replace(bucket_start_us=minute * MINUTE_US, **more)


def test_the_same_bytes_are_equal() -> None:
    assert compared([at(0), at(1)], [at(0), at(1)]) == ([], {"equal": 2})


@pytest.mark.parametrize(
    ("field", "old", "new"),
    [
        ("open", 1.0, 1.25), ("high", 2.0, 2.5), ("low", 0.5, 0.25), ("close", 1.5, 1.75),
        ("turnover", 3.75, 3.0), ("tick_count", 4, 5), ("synthetic", False, True),
        ("revision", 0, 1), ("first_offset", 0, 1), ("last_offset", 3, 4), ("close_offset", 7, 8),
        ("session", 0, 1),
    ],
)  # fmt: skip
def test_every_field_is_compared(field: str, old: object, new: object) -> None:
    found, tally = compared([at(0)], [at(0, **{field: new})])
    follows = {"vwap": (1.25, 1.0)} if field == "turnover" else {}
    assert [each.changed for each in found] == [{field: (old, new)} | follows]
    alone = {"close_alone": 1} if field == "close_offset" else {}
    assert tally == {"different": 1} | alone


def test_a_bar_that_closed_elsewhere_and_has_other_values_is_not_close_alone() -> None:
    assert compared([at(0)], [at(0, close_offset=8, low=0.25)])[1] == {"different": 1}


def test_an_exact_sum_is_printed_only_where_the_float_does_not_tell() -> None:
    # of late ticks that were merged the exact sum has hundreds of digits
    found, _ = compared([at(0)], [at(0, volume=3.75, volume_units=7 << 1000)])
    assert lines_of(found) == [
        "B X 1m 1970-01-01T00:00:00Z  different", "  volume: 3.0 -> 3.75", "  vwap: 1.25 -> 1.0"
    ]  # fmt: skip
    found, _ = compared([at(0)], [at(0, volume_units=7 << 10, turnover_units=-3)])
    assert lines_of(found)[1:] == ["  volume_exact: None -> 7168", "  turnover_exact: None -> -3"]


@pytest.mark.parametrize(
    ("older", "replayed", "alone"),
    [
        ({}, {}, True), ({}, {"turnover_units": 3}, True), ({}, {"low": 0.25}, False),
        ({"turnover": 3.0}, {}, False), ({}, {"turnover": None, "low": 0.25}, False),
    ],
)  # fmt: skip
def test_bars_that_have_got_a_turnover_are_told_from_the_others(
    older: dict[str, Any], replayed: dict[str, Any], alone: bool
) -> None:
    """After an upgrade a replay differs in that from every bar, and in nothing else."""
    published = {"turnover": None} | older
    found, tally = compared([at(0, **published)], [at(0, **replayed)])
    assert [each.is_turnover_alone for each in found] == [alone]
    assert tally == {"different": 1} | ({"turnover_alone": 1} if alone else {})
    assert compared([at(0, turnover=None)], [at(0, turnover=None)])[1] == {"equal": 1}


def test_what_late_ticks_after_the_end_of_a_replay_made_or_revised_is_not_compared() -> None:
    """It ended at offset 100; on a running system ticks go on coming."""
    newer = {"close_offset": 101, "tick_count": 5}
    revised, made = at(0, revision=1, **newer), at(1, **newer)
    assert compared([revised, made], [at(0)]) == ([], {"open": 2})
    closed_later = at(0, **newer)
    assert compared([closed_later], [at(0)])[1] == {"different": 1}
    until_the_end = at(0, revision=1, close_offset=100, tick_count=5)
    assert compared([until_the_end], [at(0)])[1] == {"different": 1}


def test_a_bar_on_one_side_alone() -> None:
    found, tally = compared([at(0)], [at(1)])
    assert [each.kind for each in found] == ["only_published", "only_replayed"]
    assert tally == {"only_published": 1, "only_replayed": 1}


def test_what_is_published_and_is_no_bar_stands_for_none() -> None:
    tally = ComparisonCounts()
    good = values(at(0))
    garbage = dict.fromkeys(good, b"\xff") | {b"no key of ours": b"\xff"}
    found = list(compare(MINUTE, scope(), garbage, good, tally))
    assert [each.kind for each in found] == ["only_replayed"]
    assert [each.kind for each in compare(MINUTE, scope(), garbage, {}, tally)] == [
        "only_published"
    ]


def test_a_higher_published_revision_alone_is_a_switch_over_and_no_difference() -> None:
    assert compared([at(0, revision=2)], [at(0, revision=1)])[1] == {"equal": 1, "mended": 1}
    assert compared([at(0, revision=2, low=0.1)], [at(0, revision=1)])[1] == {"different": 1}


def test_bars_before_the_start_and_after_the_end_are_not_compared() -> None:
    # start |==== inside ====| closed until ... open     to: outside
    where = scope(2 * MINUTE_US, 4 * MINUTE_US, to_us=6 * MINUTE_US)
    found, tally = compared([at(1), at(3), at(5), at(7)], [], where)
    assert [each.to_json()["bucket_start"] for each in found] == ["1970-01-01T00:03:00Z"]
    assert tally == {"only_published": 1, "open": 1}


def test_an_upper_bar_that_begins_before_the_replay_is_marked() -> None:
    found, tally = compared([at(0)], [at(0, high=9.0)], scope(2 * MINUTE_US), FIVE)
    assert found[0].to_json()["partly_replayed"] is True
    assert tally == {"different": 1, "partly": 1}


def test_of_a_series_the_replay_knows_nothing_of_everything_published_differs() -> None:
    assert compared([at(0, symbol="Z")], [])[1] == {"only_published": 1}
    assert compared([at(0, symbol="Z")], [], scope(broker="B", symbol="X"))[1] == {}


def test_a_scope_comes_back_from_its_rows_and_not_without_the_last() -> None:
    where = scope(2 * MINUTE_US, 4 * MINUTE_US, to_us=6 * MINUTE_US)
    rows = where.rows()
    assert Scope.of(dict(rows)) == where
    assert Scope.of(dict(rows[:-1])) is None


@pytest.mark.parametrize("suffix", ["", "A", "a.b", "-a", "a" * 33, "a b"])
def test_a_suffix_must_be_fit_for_a_topic(suffix: str) -> None:
    with pytest.raises(BadSuffix, match="a suffix must be"):
        checked_suffix(suffix)
