"""Event times as files hold them: what each value is taken for, and what is not guessed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from barstream.feeds.event_time import TimeFormatError, parse_times
from barstream.feeds.layout import TickFileError
from barstream.model.time import us_from_iso
from tests.unit.feeds.test_vendors import FILES
from tests.unit.feeds.text_files import read, times, written

NEW_YORK = "America/New_York"


def us_of(values: list[Any], time_format: str | None = None, zone: str | None = None) -> list[Any]:
    us: list[Any] = parse_times(pl.Series("t", values), time_format, zone).us.to_list()
    return us


@pytest.mark.parametrize(
    "unit",
    ["1735689540|s", "1735689540.5|s", "1735689540000|ms", "1735689540000.25|ms",
     "1735689540000000|us", "1735689540000000000|ns"],
)  # fmt: skip
def test_any_two_units_may_stand_in_one_column(unit: str) -> None:
    value, name = unit.split("|")
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
    wanted = round(float(value) / per_second[name] * 4) * 250_000
    wanted += {"1735689540000.25": 250}.get(value, 0)
    for other in ("1735689600", "1735689600000", "1735689600000000", "1735689600000000000"):
        assert us_of([value, other]) == [wanted, us_from_iso("2025-01-01T00:00:00Z")]
        assert us_of([other, value]) == [us_from_iso("2025-01-01T00:00:00Z"), wanted]


#: Each would be a time of 1970 to 1989, were it a number since 1970.
NOT_SINCE_1970 = [
    20240102,  # a day
    45293,  # a day of a spreadsheet
    34200123,  # milliseconds of a day
    103000123,  # a time of day, to the millisecond
    103000123456,  # to the microsecond
    103000123456789,  # to the nanosecond
    240102170000,  # a year of two digits
    13012024170000,  # the day first
]


@pytest.mark.parametrize("value", NOT_SINCE_1970)
def test_digits_that_are_no_time_since_1970_are_not_taken_for_one(value: int) -> None:
    good = 1_735_689_540
    wanted = [None, us_from_iso("2024-12-31T23:59:00Z")]
    assert us_of([value, good]) == wanted
    assert us_of([float(value), float(good)]) == wanted
    assert us_of([f"{value}", f"{good}"]) == wanted
    assert us_of([45293.7083, 1_735_689_540.0]) == wanted  # a time of a spreadsheet


def test_they_are_told_what_digits_alone_mean(tmp_path: Path) -> None:
    source = written(tmp_path, "time,price\n103000123,1\n103000456,1\n")
    with pytest.raises(TickFileError, match=r"Digits alone .* after 1989. Say with --time-format"):
        read(source)
    found = read(source, time_format="%H%M%S%f", date="20240102").time_us.tolist()
    assert found == times("2024-01-02T10:30:00.123Z", "2024-01-02T10:30:00.456Z")


def test_a_date_and_time_written_together_may_end_with_the_minute_or_a_zone() -> None:
    noon = us_from_iso("2024-01-02T17:00:00Z")
    assert us_of([202401021700, 20240102170000]) == [noon, noon]
    assert us_of([20240102170000.0, None]) == [noon, None]  # a null makes floats of a column
    for text in (
        "20240102170000Z", "20240102T170000Z", "20240102T180000+0100", "20240102 120000-05:00",
        "20240102T170000.000Z", "20240102 170000 UTC",
    ):  # fmt: skip
        found = parse_times(pl.Series("t", [text]), None, NEW_YORK)
        assert found.us.to_list() == [noon], text
        assert not found.assumed


@pytest.mark.parametrize(
    ("unit", "value"),
    [("ms", 1735689540), ("us", 1735689540000), ("ns", 1735689540000000), ("us", 1735689540),
     ("s", 1735689540000), ("ms", 1735689540000000), ("us", 1735689540000000000)],
)  # fmt: skip
def test_a_number_of_another_unit_than_was_said_is_refused(unit: str, value: int) -> None:
    """c01: milliseconds read as microseconds became bars of January 1970."""
    for column in ([value], [float(value)], [str(value)]):
        assert us_of(column, unit) == [None]


def test_a_unit_that_was_said_may_count_from_any_start() -> None:
    assert us_of([0, 5_000], "ms") == [0, 5_000_000]
    assert us_of(["0", "5000"], "ms") == [0, 5_000_000]


@pytest.mark.parametrize("form", [None, "%Y-%m-%d %H:%M:%S"])
def test_an_hour_that_is_there_twice_or_never_is_named_as_such(
    tmp_path: Path, form: str | None
) -> None:
    # 01:00 ─ 01:59 (summer) ─ 01:00 ─ 01:59 (winter) ─ 02:00
    twice = [f"2024-11-03 01:{n // 60:02}:{n % 60:02}" for n in range(150)]
    never = ["2024-03-10 02:30:00"]
    for rows in (twice, never, [*twice, "2024-11-03 02:00:00"]):
        text = "time,price\n" + "".join(f"{row},1\n" for row in rows)
        source = written(tmp_path, text)
        with pytest.raises(
            TickFileError, match="In America/New_York the clock skips or repeats this hour"
        ):
            read(source, timezone=NEW_YORK, time_format=form)
    ticks = read(source, timezone=NEW_YORK, time_format=form, skip_bad=True)
    assert ticks.time_us.tolist() == times("2024-11-03T07:00:00Z")
    assert ticks.counted.refused == {"undecodable": 150}


def test_the_hours_beside_it_are_what_they_are() -> None:
    texts = ["2024-03-10 01:59:59", "2024-03-10 03:00:00", "2024-11-03 00:59:59",
             "2024-11-03 02:00:00", "2024-11-03 01:30:00-05:00"]  # fmt: skip
    assert us_of(texts, None, NEW_YORK) == times(
        "2024-03-10T06:59:59Z", "2024-03-10T07:00:00Z", "2024-11-03T04:59:59Z",
        "2024-11-03T07:00:00Z", "2024-11-03T06:30:00Z",
    )  # fmt: skip


def test_rows_that_are_no_times_hide_none_that_come_after_them(tmp_path: Path) -> None:
    text = "time,price\n" + "x,1\n" * 500 + "02.01.2024 17:00:00,2\n1735689540,3\n"
    ticks = read(written(tmp_path, text), skip_bad=True)
    assert ticks.time_us.tolist() == times("2024-01-02T17:00:00Z", "2024-12-31T23:59:00Z")
    assert ticks.counted.refused == {"undecodable": 500}


@pytest.mark.parametrize("zone", ["+25:00", "+5:75", "-14:01", "Mars/Base", "PST", "", "Europe"])
def test_a_zone_that_there_is_not_is_refused(zone: str) -> None:
    with pytest.raises(TimeFormatError, match="IANA name"):
        us_of(["2024-01-02 17:00:00"], None, zone)


def test_a_zone_that_was_misspelt_is_asked_for() -> None:
    with pytest.raises(TimeFormatError, match=r"did you mean (.* or )?America/New_York"):
        us_of(["2024-01-02 17:00:00"], None, "Amerika/New_York")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # the second after the last of a minute, as the worker and the schedule have it
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("2016-12-31 23:59:60.5", "2017-01-01T00:00:00.5Z"),
        ("2024-01-02 24:00:00", None),
        ("2024-01-02 17:60:00", None),
        ("2024-02-30 17:00:00", None),
        ("2024-01-02", None),  # a day is no time of a tick
        ("17:00:00", None),
        ("01/02/2024 17:00:00", None),
        ("2024-01-02 17:00:00 EST", None),
    ],
)
def test_what_there_is_not_is_no_time(text: str, wanted: str | None) -> None:
    found = us_of([text, "2024-01-02 15:00:00"])
    assert found == [wanted and us_from_iso(wanted), us_from_iso("2024-01-02T15:00:00Z")]


def test_a_time_before_1970_is_invalid_as_the_worker_says(tmp_path: Path) -> None:
    source = written(tmp_path, "time,price\n1969-12-31 23:00:00,1\n2024-01-02 15:00:00,1\n")
    with pytest.raises(
        TickFileError, match=r"\(invalid 1\): row 2.* must not be earlier than 1970"
    ):
        read(source)
    lines = written(tmp_path, '{"time":-5,"price":1}\n{"time":1735689540,"price":1}\n')
    assert read(lines, skip_bad=True).counted.refused == {"invalid": 1}


def test_a_format_without_a_year_wants_the_day(tmp_path: Path) -> None:
    source = written(tmp_path, "time,price\n17:00:00.5,1\n")
    with pytest.raises(TimeFormatError, match="--date YYYYMMDD"):
        read(source, time_format="%H:%M:%S.%f")
    for form in (None, "%H:%M:%S.%f", "%H:%M:%S%.f"):
        ticks = read(source, time_format=form, date="20240102")
        assert ticks.time_us.tolist() == times("2024-01-02T17:00:00.5Z")
    twice = written(tmp_path, "time,price\n01:30:00,1\n")
    with pytest.raises(TickFileError, match="In America/New_York the clock skips or repeats"):
        read(twice, date="20241103", time_format="%H:%M:%S", timezone=NEW_YORK)
    with pytest.raises(TickFileError, match="--date is for times of day"):
        read(source, time_format="ms", date="20240102")


#: The others have times since 1970, or their day in the name of the file.
WITH_YEARS = sorted(
    {case for case, (_, _, text, _) in FILES.items() if re.search(r"2024[-. 01]", text)}
    - {"taq of the exchange"}
)


@pytest.mark.parametrize("case", WITH_YEARS)
def test_no_preset_takes_a_year_of_two_digits_for_another(tmp_path: Path, case: str) -> None:
    preset, name, text, _ = FILES[case]
    short = text.replace("2024", "24")
    with pytest.raises((TickFileError, TimeFormatError)):
        read(written(tmp_path, short, name), preset=preset)
