"""Laws of periods, and their grid against the calendar of polars."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barstream.model.period import DAY, MINUTE, Period

MINUTE_US = 60_000_000
DAY_US = 1440 * MINUTE_US
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: A year from 1900 to 2200, to the microsecond: what lies before 1970 is floored down as well.
TIMES = st.integers(-25_567 * DAY_US, 84_006 * DAY_US)
WHOLE = {"m": 60, "h": 24, "d": 1, "wk": 1, "mo": 12}
SPELLED = {"m": "m", "h": "h", "d": "d", "wk": "w", "mo": "mo"}


@st.composite
def periods(draw: st.DrawFn) -> Period:
    """Any period on a grid of its own, with and without an offset."""
    unit = draw(st.sampled_from(sorted(WHOLE)))
    if draw(st.booleans()):
        sizes = [size for size in range(1, WHOLE[unit] + 1) if WHOLE[unit] % size == 0]
        return Period.parse(f"{draw(st.sampled_from(sizes))}{unit}")
    count = draw(st.integers(1, 100))
    if unit == "h":
        return Period.hours(count, offset=draw(st.integers(0, count * 60 - 1)))
    return Period.parse(f"{count}{unit}+{draw(st.integers(0, count - 1))}{unit}")


def by_polars(period: Period, ts_us: int) -> int:
    """The start of the bucket that polars finds, microseconds."""
    every = f"{period.count}{SPELLED[period.unit]}"
    shift = "m" if period.is_intraday else SPELLED[period.unit]
    offset = f"{period.offset or 0}{shift}"
    time = pl.Series([ts_us]).cast(pl.Datetime("us"))
    start = time.dt.offset_by(f"-{offset}").dt.truncate(every).dt.offset_by(offset)
    return int(start.dt.epoch("us")[0])


@given(periods(), TIMES)
def test_a_bucket_starts_where_polars_truncates_to(period: Period, ts_us: int) -> None:
    assert period.floor(ts_us) == by_polars(period, ts_us)
    if not period.is_intraday:
        assert period.floor_date(ts_us // DAY_US) * DAY_US == by_polars(period, ts_us)


@given(periods(), TIMES, st.integers(-50, 50))
def test_advancing_is_adding_that_many_periods_by_the_calendar(
    period: Period, ts_us: int, count: int
) -> None:
    start = period.floor(ts_us)
    step = f"{count * period.count}{SPELLED[period.unit]}"
    added = pl.Series([start]).cast(pl.Datetime("us")).dt.offset_by(step).dt.epoch("us")
    assert period.advance(start, count) == int(added[0])
    assert period.advance(period.advance(start, count), -count) == start


@given(periods(), TIMES)
def test_every_instant_lies_in_one_bucket_and_buckets_touch(period: Period, ts_us: int) -> None:
    #   |--- before ---|--- start: ts ---|--- end ---
    start = period.floor(ts_us)
    end = period.advance(start)
    assert start <= ts_us < end
    assert period.floor(start) == period.floor(end - 1) == start
    assert period.floor(end) == end
    assert period.floor(start - 1) == period.advance(start, -1)
    assert period.contains(start, ts_us)
    assert period.contains(start, start)
    assert not period.contains(start, end)
    assert not period.contains(start, start - 1)


@given(periods(), TIMES, TIMES)
def test_later_instants_never_lie_in_an_earlier_bucket(period: Period, a: int, b: int) -> None:
    first, second = sorted((a, b))
    assert period.floor(first) <= period.floor(second)


@given(
    st.integers(1, 2_000), st.sampled_from(["m", "h"]),
    TIMES, st.integers(0, 5 * DAY_US),
)  # fmt: skip
def test_an_anchored_grid_starts_anew_at_the_minute_of_the_open(
    count: int, unit: str, open_us: int, after_us: int
) -> None:
    # open 09:30:20   |09:30      |10:30      |11:30 ...   for 1h@session
    period = Period.parse(f"{count}{unit}@session")
    ts_us = open_us + after_us
    opened = (EPOCH + timedelta(microseconds=open_us)).replace(second=0, microsecond=0)
    size = timedelta(minutes=count) if unit == "m" else timedelta(hours=count)
    passed = (EPOCH + timedelta(microseconds=ts_us) - opened) // size
    start = (opened + passed * size - EPOCH) // timedelta(microseconds=1)
    assert period.floor(ts_us, open_us) == start
    assert period.advance(start) == start + size // timedelta(microseconds=1)
    with pytest.raises(ValueError, match="open"):
        period.floor(ts_us)


@given(periods())
def test_what_is_printed_is_parsed_to_the_same_value(period: Period) -> None:
    again = Period.parse(str(period))
    assert again == period
    assert hash(again) == hash(period)
    assert str(again) == str(period)
    assert Period.parse(f"  {str(period).upper().replace('M', 'm')} ") == period


@given(st.integers(0, 200), st.sampled_from(sorted(WHOLE)))
def test_a_size_is_taken_if_its_parent_is_a_whole_number_of_them(count: int, unit: str) -> None:
    # sixty minutes are an hour, so 120m is 2h and divides a day
    minutes = count * {"m": 1, "h": 60}.get(unit, 0)
    if unit in {"m", "h"}:
        fits = count > 0 and (60 % minutes == 0 or (minutes % 60 == 0 and 1440 % minutes == 0))
    else:
        fits = count > 0 and WHOLE[unit] % count == 0
    if fits:
        period = Period.parse(f"{count}{unit}")
        if minutes:
            assert period == Period.minutes(minutes)
            assert period.size_us == minutes * MINUTE_US
        return
    with pytest.raises(ValueError, match=f"{count}{unit}"):
        Period.parse(f"{count}{unit}")


@given(st.integers(1, 200), st.sampled_from(sorted(WHOLE)), st.integers(0, 300))
def test_an_offset_is_below_the_size(count: int, unit: str, offset: int) -> None:
    text = f"{count}{unit}+{offset}{unit}"
    if offset < count:
        assert Period.parse(text).offset == offset * (60 if unit == "h" else 1)
        return
    with pytest.raises(ValueError, match="offset"):
        Period.parse(text)


@given(st.text(max_size=6) | st.from_regex(r"[0-9]{0,3} ?[mhdwkoMHDWKO]{0,3}[+@a-z0-9]{0,9}"))
def test_a_text_is_a_period_that_prints_to_itself_or_is_refused(text: str) -> None:
    try:
        period = Period.parse(text)
    except ValueError:
        return
    assert Period.parse(str(period)) == period


@pytest.mark.parametrize("text", ["5M", "1M", "1MO", "", "m", "5", "0m", "-5m", "5m+", "1h@open"])
def test_what_is_no_period_is_refused_and_shown(text: str) -> None:
    # M is minutes to some and months to others
    with pytest.raises(ValueError, match=r"found|at least") as refused:
        Period.parse(text)
    assert text in str(refused.value)


@pytest.mark.parametrize(
    ("text", "same"), [("60m", "1h"), ("1440m", "24h"), ("60m@session", "1h@session")]
)
def test_one_length_has_one_name(text: str, same: str) -> None:
    assert Period.parse(text) == Period.parse(same)
    assert str(Period.parse(text)) == same


def test_a_minute_and_a_day_are_periods_like_others() -> None:
    assert Period.parse("1m") == MINUTE
    assert Period.parse("1d") == DAY
    with pytest.raises(ValueError, match="trading dates"):
        _ = DAY.size_us
    with pytest.raises(ValueError, match="event time"):
        MINUTE.floor_date(0)


def test_weeks_begin_on_monday_and_no_period_is_anchored_that_follows_dates() -> None:
    sunday = datetime(2024, 3, 10, tzinfo=UTC)
    monday = Period.weeks().floor((sunday - EPOCH) // timedelta(microseconds=1))
    assert EPOCH + timedelta(microseconds=monday) == datetime(2024, 3, 4, tzinfo=UTC)
    for text in ("1d@session", "1wk@session", "1mo@session", "1h+5m@session"):
        with pytest.raises(ValueError, match="anchor"):
            Period.parse(text)
