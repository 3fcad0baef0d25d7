"""Keys: parts declared once, bytes and ranges derived from that."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barstream.model.key import (
    BAR_KEY,
    SERIES_KEY,
    KeyLayout,
    KeyPart,
    NameRule,
    bar_key,
    is_stored_name,
    series_key,
    split_bar_key,
    split_series_key,
)
from barstream.model.period import Period
from barstream.model.time import us_from_iso
from barstream.pipeline import Rate

NAIVE = datetime.fromisoformat
NAMES = st.sampled_from(["S", "S2", "S\1", "S ", "s", "SÉ", "A", "\x7f", "𝄞", "FX:EUR/USD"])
TIMES = st.datetimes(min_value=NAIVE("1000-01-01"), max_value=NAIVE("9999-12-31T23:59")).map(
    lambda when: when.replace(second=0, microsecond=0)
)


def test_the_key_of_a_bar_is_the_one_its_model_declares() -> None:
    # the engine writes by the one and the reader seeks by the other
    assert Rate.key_parts == BAR_KEY.parts


def test_the_bytes_are_those_that_lie_in_kafka_and_on_disk() -> None:
    # programs in other languages write and read these; they may never change
    start_us = us_from_iso("2013-01-01T22:00:00Z")
    assert bar_key("OANDA", "EURUSD", start_us) == b"OANDA\0EURUSD\x002013-01-01T22:00:00Z"
    assert bar_key("B", "S", us_from_iso("0999-01-01T00:00:00Z")) == b"B\0S\x000999-01-01T00:00:00Z"
    assert bar_key("B", "S", start_us + 999_999) == bar_key("B", "S", start_us)
    assert series_key("OANDA", "EURUSD") == b"OANDA\0EURUSD"
    assert BAR_KEY.prefix(["OANDA"]) == (b"OANDA\0", b"OANDA\1")


@given(NAMES, NAMES, TIMES)
def test_a_key_splits_into_what_it_was_made_of(broker: str, symbol: str, when: datetime) -> None:
    broker, symbol = NameRule().series(broker, symbol)
    start_us = us_from_iso(when.isoformat())
    assert split_bar_key(bar_key(broker, symbol, start_us)) == (broker, symbol, start_us)
    assert split_series_key(series_key(broker, symbol)) == (broker, symbol)
    assert BAR_KEY.key([broker, symbol, when]) == bar_key(broker, symbol, start_us)


@given(st.lists(st.tuples(NAMES, NAMES, TIMES)))
def test_keys_of_columns_are_those_made_one_by_one(rows: list[tuple[str, str, datetime]]) -> None:
    bars = [(broker, symbol, us_from_iso(when.isoformat())) for broker, symbol, when in rows]
    columns = zip(*bars, strict=True) if bars else ((), (), ())
    assert BAR_KEY.raws(*columns) == [bar_key(*bar) for bar in bars]
    names = [bar[:2] for bar in bars]
    assert SERIES_KEY.raws(*(zip(*names, strict=True) if bars else ((), ()))) == [
        series_key(*name) for name in names
    ]


@pytest.mark.parametrize("key", [b"B", b"B\0S\0002013-01-01T22:00:00Z\0more", b"B\0S\0later"])
def test_bytes_of_another_layout_do_not_split(key: bytes) -> None:
    with pytest.raises(ValueError, match=r"has 3 parts|a time such as"):
        split_bar_key(key)


@given(st.lists(st.tuples(NAMES, NAMES, TIMES), max_size=12), st.tuples(NAMES, NAMES, TIMES))
def test_a_prefix_bounds_the_keys_that_begin_with_its_parts_and_no_others(
    rows: Sequence[tuple[str, str, datetime]], asked: tuple[str, str, datetime]
) -> None:
    # S never matches S2, and an end that is too near would lose the last bars in silence
    rows = [*rows, asked]
    for parts in range(4):
        first, end = BAR_KEY.prefix(asked[:parts])
        for row in rows:
            begins = BAR_KEY.read(row)[:parts] == BAR_KEY.read(asked)[:parts]
            assert (first <= BAR_KEY.key(row) < end) == begins


@given(st.tuples(NAMES, NAMES, TIMES), st.tuples(NAMES, NAMES, TIMES))
def test_keys_of_a_series_sort_as_time_does(
    row: tuple[str, str, datetime], other: tuple[str, str, datetime]
) -> None:
    same_series = *row[:2], other[2]
    assert (BAR_KEY.key(row) < BAR_KEY.key(same_series)) == (row[2] < other[2])


def test_own_rows_of_a_store_are_not_in_the_range_of_all_keys() -> None:
    # what a store notes for itself begins with bytes that are no UTF-8
    first, end = BAR_KEY.prefix([])
    assert first <= bar_key("\U0010ffff", "S", 0) < end
    assert not first <= b"\xfe" < end


@pytest.mark.parametrize(
    "spelling",
    [
        "2013-01-01T22:07:30Z",
        "2013-01-02 01:07:30+03:00",
        "2013-01-01T22:07:30",
        NAIVE("2013-01-01T22:07:30"),
        datetime(2013, 1, 1, 22, 7, 30, tzinfo=UTC),
        datetime(2013, 1, 1, 17, 7, 30, tzinfo=timezone(timedelta(hours=-5))),
    ],
)
def test_a_time_is_a_datetime_or_text_and_floors_to_its_bucket(spelling: Any) -> None:
    # without a zone it is UTC, wherever the program runs
    key = BAR_KEY.key(["b", "s", spelling], Period.minutes(5).floor)
    assert key == b"b\0s\x002013-01-01T22:05:00Z"


def test_a_date_is_the_start_of_its_day() -> None:
    assert BAR_KEY.read(["b", "s", date(2013, 1, 2)])[2] == us_from_iso("2013-01-02")


def test_names_in_a_key_are_trimmed_and_their_case_is_for_whoever_is_asked() -> None:
    # a client over HTTP does not know whether the service folds case
    assert SERIES_KEY.key([" oanda", "BCpC "]) == series_key("oanda", "BCpC")


def test_one_rule_spells_names_with_or_without_their_case() -> None:
    assert NameRule().series(" oanda", "BCpC ") == ("OANDA", "BCPC")
    assert NameRule(fold_case=False).series(" oanda", "BCpC ") == ("oanda", "BCpC")
    # longer in upper case than as it is written: what is stored counts
    with pytest.raises(ValueError, match="at most 200 characters, found 400"):
        NameRule().normalise("ß" * 200)
    assert NameRule(fold_case=False).normalise("ß" * 200)


@given(st.text(max_size=300), st.booleans())
def test_what_is_spelled_once_stays_so(name: str, fold_case: bool) -> None:
    """A row is stored under one name, and asked for by it again and again."""
    rule = NameRule(fold_case)
    try:
        spelled = rule.normalise(name)
    except ValueError:
        return
    assert rule.normalise(spelled) == spelled
    assert is_stored_name(spelled)
    assert not is_stored_name(f"{spelled} ")


@pytest.mark.parametrize(
    ("values", "error", "said"),
    [
        (["B", "S", "2013-01-01", "5m"], ValueError, "at most 3 parts"),
        (["B", None], TypeError, "leave the part out"),
        ([None], TypeError, "broker must be text"),
        (["B", "S", None], TypeError, "leave the part out"),
        (["B", "S", 1357077600], TypeError, "datetime or ISO 8601"),
        (["B", "S", "yesterday"], ValueError, "'yesterday'"),
        (["B", "S", datetime.min.replace(tzinfo=timezone(timedelta(hours=3)))], ValueError, "must"),
        ([7], TypeError, "broker must be text"),
        (["B", "  "], ValueError, "symbol: "),
        (["B\0S"], ValueError, "NUL"),
        ("OANDA", TypeError, "is a list"),
    ],
)
def test_what_cannot_be_a_prefix_is_refused_with_the_reason(
    values: Any, error: type[Exception], said: str
) -> None:
    # an answer to another question than the one meant would look right
    with pytest.raises(error, match=said):
        BAR_KEY.prefix(values)


def test_a_key_needs_all_its_parts() -> None:
    with pytest.raises(ValueError, match="has 3 parts"):
        BAR_KEY.key(["B", "S"])


def test_a_layout_has_parts_and_each_name_once() -> None:
    with pytest.raises(ValueError, match="must have parts"):
        KeyLayout(())
    with pytest.raises(ValueError, match="each name once"):
        KeyLayout((KeyPart("a", "text"), KeyPart("a", "time")))


def test_a_time_may_stand_in_the_middle_of_a_key() -> None:
    layout = KeyLayout((KeyPart("day", "time"), KeyPart("symbol", "text")))
    key = layout.key(["2013-01-02", "s"])
    assert layout.split(key) == (us_from_iso("2013-01-02"), "s")
    first, end = layout.prefix([NAIVE("2013-01-02")])
    assert first <= key < end
    assert not first <= layout.key([NAIVE("2013-01-02") + timedelta(minutes=1), "s"]) < end
