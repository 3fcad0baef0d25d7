"""Formats as Python's own ``strptime`` takes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barstream.feeds.event_time import TimeFormatError, parse_times
from barstream.feeds.strptime import python_format
from barstream.model.time import us_from_datetime

DATES = (
    "%Y-%m-%d",
    "%d.%m.%Y",
    "%m/%d/%y",
    "%Y%m%d",
    "%d %b %Y",
    "%B %d, %Y",
    "%Y %j",
    "%a %d %b %Y",
)
CLOCKS = ("%H:%M:%S", "%H%M%S", "%I:%M:%S %p", "%H:%M")
FRACTIONS = ("", ".%f", ",%f", " %f", "%f")
ZONES = ("", "%z", " %z", " GMT%z", " %Z")
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2068, 1, 1))  # noqa: DTZ001 - zones are added


def of_python(text: str, time_format: str) -> int | None:
    try:
        found = datetime.strptime(text, time_format)  # noqa: DTZ007 - the zone is in the format
    except ValueError:
        return None
    us = us_from_datetime(found if found.tzinfo else found.replace(tzinfo=UTC))
    return us if us >= 0 else None


def ours(texts: list[str], time_format: str) -> list[int | None]:
    try:
        return parse_times(pl.Series("t", texts), time_format, None).us.to_list()
    except TimeFormatError as error:
        assert "fits no value" in str(error)  # noqa: PT017 - the other kind is a bug
        return [None] * len(texts)


@settings(deadline=None)
@given(
    when=TIMES,
    date=st.sampled_from(DATES),
    clock=st.sampled_from(CLOCKS),
    fraction=st.sampled_from(FRACTIONS),
    zone=st.sampled_from(ZONES),
    width=st.integers(1, 6),
    offset=st.integers(-14 * 4, 14 * 4),
    cut=st.integers(0, 6),
    junk=st.sampled_from(["", "x", " ", "0", "-"]),
)
def test_a_column_is_read_as_python_reads_each_text(
    when: datetime, date: str, clock: str, fraction: str, zone: str, width: int, offset: int,
    cut: int, junk: str,
) -> None:  # fmt: skip
    time_format = f"{date} {clock}{fraction}{zone}"
    aware = when.replace(tzinfo=timezone(timedelta(minutes=15 * offset)))
    if "%Z" in zone:
        aware = when.replace(tzinfo=UTC)
    written = f"{when.microsecond:06}"[:width]
    text = aware.strftime(time_format.replace("%f", written))
    for variant in (text, text[: len(text) - cut] + junk):
        # a seventh digit of %f, which Python does not take, is cut
        seventh = fraction and not zone and (width, cut, junk) == (6, 0, "0") and variant != text
        expected = of_python((text if seventh else variant).strip(), time_format)
        assert ours([variant], time_format) == [expected]


@pytest.mark.parametrize(
    ("time_format", "text", "micros"),
    [
        ("%d.%m.%Y %H:%M:%S.%f GMT%z", "02.01.2024 00:00:00.605 GMT-0000", 605_000),
        ("%Y%m%d %H%M%S%f", "20240102 000000605", 605_000),
        ("%Y%m%d %H%M%S%f", "20240102 0000006", 600_000),
        # finer than Python has it: cut to the microsecond
        ("%Y%m%d %H%M%S %f", "20240102 000000 6051239", 605_123),
        ("%Y-%m-%d %H:%M:%S.%f", "2024-01-02 00:00:00.605123999", 605_123),
        # polars' own directives mean what they mean there
        ("%Y-%m-%d %H:%M:%S%.f", "2024-01-02 00:00:00.605", 605_000),
        ("%Y%m%d %H%M%S%3f", "20240102 000000605", 605_000),
        ("%Y-%m-%d %H:%M:%S%.f%:z", "2024-01-02 01:00:00.605+01:00", 605_000),
    ],
)
def test_a_fraction_keeps_its_value(time_format: str, text: str, micros: int) -> None:
    start = us_from_datetime(datetime(2024, 1, 2, tzinfo=UTC))
    assert ours([text], time_format) == [start + micros]


@pytest.mark.parametrize("time_format", ["%Y-%m-%d %Q", "%Y-%Y", "%m-%d"])
def test_a_format_that_cannot_be_one_is_explained(time_format: str) -> None:
    with pytest.raises(TimeFormatError, match="--time-format"):
        parse_times(pl.Series("t", ["2024-01-02 1"]), time_format, None)


def test_a_format_of_polars_is_left_to_polars() -> None:
    assert python_format("%Y-%m-%d %H:%M:%S%.f") is None


def test_seconds_since_the_epoch_are_in_no_other_zone() -> None:
    column = pl.Series("t", ["1704207845"])
    for time_format in ("%s", "s", None):
        found = parse_times(column, time_format, "America/New_York")
        assert found.us.to_list() == [1_704_207_845_000_000]
        assert not found.assumed
