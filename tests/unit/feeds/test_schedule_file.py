"""Schedule files: what they may hold, and how they are refused."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from barstream.errors import BarstreamError
from barstream.feeds.schedule_file import ScheduleFileError, read_schedule_file
from barstream.model.time import iso_date_from_days, iso_from_us

HEADER = "broker,symbol,trading_date,session,open,close"


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    return tmp_path / "schedule.csv"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_rows_are_read_normalised_and_naive_times_are_utc(csv_file: Path) -> None:
    write(csv_file, HEADER, " oanda,eurusd,2024-01-02,0,2024-01-01 22:00,2024-01-02T22:00:00Z")

    (row,) = read_schedule_file(csv_file)

    assert (row.broker, row.symbol, row.session) == ("OANDA", "EURUSD", 0)
    assert iso_date_from_days(row.trading_date) == "2024-01-02"
    assert iso_from_us(row.open_us) == "2024-01-01T22:00:00Z"
    assert iso_from_us(row.close_us) == "2024-01-02T22:00:00Z"


def test_times_are_of_the_zone_given_through_its_clock_changes(csv_file: Path) -> None:
    write(
        csv_file,
        "broker,symbol,trading_date,open,close",
        "b,s,2024-03-08,2024-03-08 09:30,2024-03-08 16:00",
        "b,s,2024-03-11,2024-03-11 09:30,2024-03-11 16:00",
    )

    winter, summer = read_schedule_file(csv_file, ZoneInfo("America/New_York"))

    assert iso_from_us(winter.open_us) == "2024-03-08T14:30:00Z"
    assert iso_from_us(summer.open_us) == "2024-03-11T13:30:00Z"


@pytest.mark.parametrize("local", ["2024-03-10 02:30", "2024-11-03 01:30"])
def test_a_local_time_that_is_skipped_or_comes_twice_is_refused(csv_file: Path, local: str) -> None:
    write(csv_file, HEADER, f"b,s,2024-03-11,0,{local},2024-12-01 17:00")

    with pytest.raises(ScheduleFileError, match=r"line 2: .*skipped or comes twice"):
        read_schedule_file(csv_file, ZoneInfo("America/New_York"))


def test_sessions_without_a_number_are_numbered_within_their_date(csv_file: Path) -> None:
    write(
        csv_file,
        "symbol,broker,close,open,trading_date,note",
        "s,b,2024-01-02 08:00,2024-01-02 05:00,2024-01-02,afternoon",
        "s,b,2024-01-02 04:00,2024-01-02 01:30,2024-01-02,morning",
        "s,b,2024-01-03 04:00,2024-01-03 01:30,2024-01-03,",
    )

    rows = read_schedule_file(csv_file)

    assert sorted((iso_from_us(row.open_us), row.session) for row in rows) == [
        ("2024-01-02T01:30:00Z", 0),
        ("2024-01-02T05:00:00Z", 1),
        ("2024-01-03T01:30:00Z", 0),
    ]


def test_a_file_is_refused_as_a_whole_with_every_bad_line(csv_file: Path) -> None:
    write(
        csv_file,
        HEADER,
        "b,s,2024-01-02,0,2024-01-02 09:00,2024-01-02 17:00",
        "b,s,2024-01-03,0,2024-01-03 17:00,2024-01-03 09:00",
        "",
        "b,,2024-01-04,0,2024-01-04 09:00,2024-01-04 17:00",
        'b,"s",2024-01-05,x,2024-01-05 09:00,2024-01-05 17:00',
        "b,s,2024-01-06,0,2024-01-06 09:00",
        "b,s,06.01.2024,0,2024-01-06 09:00,2024-01-06 17:00",
    )

    with pytest.raises(ScheduleFileError) as refused:
        read_schedule_file(csv_file)

    reasons = dict(refused.value.problems)
    assert list(reasons) == [3, 5, 6, 7, 8]
    assert "close must be after open" in reasons[3]
    assert "missing: symbol" in reasons[5]
    assert "session must be" in reasons[6]
    assert "6 values are required, found 5" in reasons[7]
    assert all(f"line {line}: " in str(refused.value) for line in reasons)


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ("b,s,2024-01-02,1,2024-01-02 11:59,2024-01-02 17:00", "overlap"),
        ("b,s,2024-01-02,1,2024-01-02 12:00:20,2024-01-02 17:00", "share a minute"),
        ("B,S,2024-01-02,0,2024-01-02 13:00,2024-01-02 17:00", "twice"),
        ("b,s,2024-01-01,0,2024-01-02 13:00,2024-01-02 17:00", "earlier trading date"),
        ("b,s,2024-01-02,,2024-01-02 13:00,2024-01-02 17:00", "session is missing"),
    ],
)
def test_rows_that_cannot_stand_together_are_refused_with_their_lines(
    csv_file: Path, second: str, reason: str
) -> None:
    write(csv_file, HEADER, "b,s,2024-01-02,0,2024-01-02 09:00,2024-01-02 12:00:10", second)

    with pytest.raises(ScheduleFileError, match=reason) as refused:
        read_schedule_file(csv_file)

    ((line, text),) = refused.value.problems
    assert line == 3
    assert "lines 2 and 3" in text or "lines 3 and 2" in text or reason == "session is missing"


def test_a_header_without_the_columns_is_refused(csv_file: Path) -> None:
    write(csv_file, "broker,symbol,open,close", "b,s,2024-01-02 09:00,2024-01-02 12:00")

    with pytest.raises(ScheduleFileError, match="missing: trading_date"):
        read_schedule_file(csv_file)


def test_a_file_without_sessions_withdraws_nothing_by_accident(csv_file: Path) -> None:
    with pytest.raises(ScheduleFileError, match="at least one session"):
        read_schedule_file(write(csv_file, HEADER))


def test_a_parquet_file_says_the_same_as_a_csv_file(tmp_path: Path, csv_file: Path) -> None:
    write(
        csv_file,
        HEADER,
        "b,s,2024-01-02,0,2024-01-01T22:00:00,2024-01-02T22:00:00",
        "b,s,2024-01-03,0,2024-01-02T22:00:00,2024-01-03T22:00:00",
    )
    text = pl.read_csv(csv_file, infer_schema=False)
    typed = pl.DataFrame(
        {
            "broker": ["b", "b"],
            "symbol": ["s", "s"],
            "trading_date": [date(2024, 1, 2), date(2024, 1, 3)],
            "session": [0, 0],
            "open": text["open"].str.to_datetime().dt.replace_time_zone("UTC"),
            "close": text["close"].str.to_datetime(),
        }
    )
    for name, frame in (("text", text), ("typed", typed)):
        path = tmp_path / f"{name}.parquet"
        frame.write_parquet(path)
        assert read_schedule_file(path) == read_schedule_file(csv_file)


@pytest.mark.parametrize("name", ["missing.csv", "missing.parquet"])
def test_a_file_that_cannot_be_read_is_an_error_to_mend(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        BarstreamError, match=r"must be a file that can be read: No such file[^:]*$"
    ):
        read_schedule_file(tmp_path / name)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_is_found(csv_file: Path, delimiter: str) -> None:
    row = "b,s,2024-01-02,0,2024-01-02 09:00,2024-01-02 17:00"
    write(csv_file, HEADER.replace(",", delimiter), row.replace(",", delimiter))

    assert len(read_schedule_file(csv_file)) == 1


@pytest.mark.parametrize(
    "time",
    [
        # years of two digits, digits alone, hours and months that there are not
        "24-01-02T09:00", "20240102090000", "1704186000", "1704186000000", "2024-01-02 24:00",
        "2024-13-02 09:00", "02.01.2024 09:00", "09:00", "2024-01-02 09:00 EST",
        "2024-01-02 25:00:60",
    ],
)  # fmt: skip
def test_a_time_that_is_none_is_refused_in_our_words(csv_file: Path, time: str) -> None:
    write(csv_file, HEADER, f"b,s,2024-01-02,0,{time},2024-01-02 17:00")

    with pytest.raises(ScheduleFileError) as caught:
        read_schedule_file(csv_file)

    assert caught.value.problems == [
        (2, f"a time such as 2024-01-02T09:30:00Z is required, but found {time!r}")
    ]


@pytest.mark.parametrize("day", ["24-01-02", "02.01.2024", "2024-1-2", "19724", "2024-02-30"])
def test_a_date_that_is_none_is_refused_in_our_words(csv_file: Path, day: str) -> None:
    write(csv_file, HEADER, f"b,s,{day},0,2024-01-02 09:00,2024-01-02 17:00")

    with pytest.raises(ScheduleFileError, match=r"bad row:\n  line 2: a date such as 2024-01-02"):
        read_schedule_file(csv_file)


def test_a_column_that_is_there_twice_is_refused(csv_file: Path) -> None:
    write(csv_file, HEADER + ",symbol", "b,s,2024-01-02,0,2024-01-02 09:00,2024-01-02 17:00,z")

    with pytest.raises(ScheduleFileError, match="found several of symbol"):
        read_schedule_file(csv_file)


def test_a_file_that_is_no_text_in_utf_8_is_refused_in_our_words(csv_file: Path) -> None:
    csv_file.write_bytes(HEADER.encode("utf-16"))
    with pytest.raises(BarstreamError, match="save it as UTF-8"):
        read_schedule_file(csv_file)
    with pytest.raises(BarstreamError, match="must be a file that can be read: Is a directory"):
        read_schedule_file(csv_file.parent)


def test_a_close_tolerance_is_read_and_stands_in_for_one_that_is_not_said(csv_file: Path) -> None:
    day = "2024-01-{0:02},0,2024-01-{0:02} 09:00,2024-01-{0:02} 16:00"
    lines = [f"B,S,{day.format(n)},{said}" for n, said in ((2, "30"), (3, "0"), (4, ""))]
    write(csv_file, f"{HEADER},close_tolerance_s", *lines)

    rows = read_schedule_file(csv_file, close_tolerance_us=90_000_000)

    assert [row.close_tolerance_us for row in rows] == [30_000_000, 0, 90_000_000]


def test_a_tolerance_that_reaches_the_next_session_refuses_the_file(csv_file: Path) -> None:
    write(
        csv_file, HEADER, "B,S,2024-01-02,0,2024-01-02 09:00,2024-01-02 12:00",
        "B,S,2024-01-02,1,2024-01-02 12:01,2024-01-02 16:00",
    )  # fmt: skip

    assert len(read_schedule_file(csv_file, close_tolerance_us=60_000_000)) == 2
    with pytest.raises(ScheduleFileError, match=r"close tolerance before it.*\(lines 2 and 3\)"):
        read_schedule_file(csv_file, close_tolerance_us=60_000_001)
