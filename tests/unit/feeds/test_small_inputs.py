"""Small files that went wrong for people who do this job; each stands for a kind."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from barstream.feeds.files import joined
from barstream.feeds.layout import TickFileError
from barstream.feeds.times import TimeFormatError, parse_times
from tests.unit.feeds.reading import read, times, written


def test_milliseconds_and_microseconds_in_one_column_are_each_read_in_their_unit(
    tmp_path: Path,
) -> None:
    source = written(
        tmp_path,
        "time,price,size\n1735689540000,100,1\n1735689599000,101,1\n"
        "1735689600000000,102,1\n1735689660000000,103,1\n",
    )
    assert read(source).time_us.tolist() == times(
        "2024-12-31T23:59:00Z", "2024-12-31T23:59:59Z", "2025-01-01T00:00:00Z",
        "2025-01-01T00:01:00Z",
    )  # fmt: skip


@pytest.mark.parametrize(("decimals", "micros"), [("", ""), ("007", ".007"), ("123456", ".123456")])
def test_a_date_and_time_written_together_is_no_epoch(
    tmp_path: Path, decimals: str, micros: str
) -> None:
    # 14 and 17 digits would be the year 2611
    source = written(tmp_path, f"time,price\n20240102170000{decimals},100\n")
    ticks = read(source)
    assert ticks.time_us.tolist() == times(f"2024-01-02T17:00:00{micros}Z")
    assert ticks.assumed_zone


def test_dates_written_together_among_other_numbers_are_dates(tmp_path: Path) -> None:
    values = [1704207845000, 20240102170000, 20240102170000007]
    wanted = times("2024-01-02T15:04:05Z", "2024-01-02T22:00:00Z", "2024-01-02T22:00:00.007Z")
    text = "time,price\n" + "".join(f"{value},1\n" for value in values)
    assert read(written(tmp_path, text), timezone="-05:00").time_us.tolist() == wanted
    numbers = parse_times(pl.Series("t", values), None, "-05:00")
    assert numbers.us.to_list() == wanted
    assert numbers.assumed


def test_fractional_epoch_seconds_are_exact_to_the_microsecond(tmp_path: Path) -> None:
    values = ("1616663618.8273", "1616663658.05", "1616663718", "1616663718.123456789")
    text = "time,price\n" + "".join(f"{value},100\n" for value in values)
    for settings in ({}, {"time_format": "s"}):
        assert read(written(tmp_path, text), **settings).time_us.tolist() == [
            1616663618_827300, 1616663658_050000, 1616663718_000000, 1616663718_123456,
        ]  # fmt: skip


def test_a_size_that_is_no_number_is_refused_and_never_zero(tmp_path: Path) -> None:
    text = 'time,price,size\n2024-01-02 17:00:00,100,"1,500"\n2024-01-02 17:00:30,101,abc\n'
    source = written(tmp_path, text + "2024-01-02 17:01:30,102,\n")
    with pytest.raises(TickFileError, match=r"2 of 3 rows.*row 2: size = '1,500'; row 3.*'abc'"):
        read(source)
    ticks = read(source, thousands=",", skip_bad=True)
    assert ticks.size is not None
    assert ticks.size[0] == 1_500
    assert ticks.counted.refused == {"undecodable": 1}
    assert ticks.size[1] != ticks.size[1]  # nothing is no size


def test_a_negative_size_is_refused_as_the_worker_would(tmp_path: Path) -> None:
    text = "time,price,size\n2024-01-02 17:00:00,100,1.5\n2024-01-02 17:00:30,101,-0.5\n"
    source = written(tmp_path, text)
    with pytest.raises(TickFileError, match=r"invalid 1\): row 3: size = '-0.5'"):
        read(source)
    assert len(read(source, skip_bad=True)) == 1


def test_a_decimal_comma_is_read_when_it_is_named(tmp_path: Path) -> None:
    text = "time;price;size\n02.01.2024 17:00:00,123;1.001,09543;1\n02.01.2024 17:00:30,456;2,5;2\n"
    source = written(tmp_path, text)
    with pytest.raises(TickFileError, match="--decimal ','"):
        read(source)
    ticks = read(source, decimal=",", thousands=".")
    assert ticks.price.tolist() == [1001.09543, 2.5]
    assert ticks.time_us.tolist() == times("2024-01-02T17:00:00.123Z", "2024-01-02T17:00:30.456Z")


def test_a_point_is_no_decimal_mark_where_the_comma_is(tmp_path: Path) -> None:
    source = written(tmp_path, "time;price\n2024-01-02 17:00:00;1.095\n")
    with pytest.raises(TickFileError, match=r"price = '1\.095'"):
        read(source, decimal=",")


def test_a_year_of_two_digits_is_not_the_first_century(tmp_path: Path) -> None:
    source = written(tmp_path, "time,price\n24-01-02 17:00:00,100\n")
    with pytest.raises(TickFileError, match="year of two digits is %y"):
        read(source)
    found = read(source, time_format="%y-%m-%d %H:%M:%S").time_us.tolist()
    assert found == times("2024-01-02T17:00:00Z")


def test_a_date_that_could_be_two_is_not_guessed(tmp_path: Path) -> None:
    source = written(tmp_path, "time,price\n01/02/2024 17:00:00,100\n")
    with pytest.raises(TimeFormatError, match=r"'%m/%d/%Y %H:%M:%S' where the month stands first"):
        read(source)


def test_a_tick_later_than_now_is_refused_and_named(tmp_path: Path) -> None:
    text = "time,price\n2024-01-02 15:00:00,1\n2042-01-02 15:00:30,2\n2024-01-02 15:01:00,3\n"
    source = written(tmp_path, text)
    with pytest.raises(TickFileError, match=r"future 1\): row 3: time = '2042-01-02 15:00:30'"):
        read(source)
    ticks = read(source, skip_bad=True)
    assert ticks.time_us.tolist() == times("2024-01-02T15:00:00Z", "2024-01-02T15:01:00Z")
    assert [row.row for row in ticks.counted.shown] == [3]


@pytest.mark.parametrize(
    "text",
    [
        "time,price,size\n2024-01-02 15:00:00,1,1,\n2024-01-02 15:01:00,2,1,\n",
        "time;price;size\n2024-01-02 15:00:00;1;1\n2024-01-02 15:01:00;2;1\n",
        "sep=;\ntime;price;size\n2024-01-02 15:00:00;1;1\n2024-01-02 15:01:00;2;1\n",
        "time\tprice\tsize\r\n2024-01-02 15:00:00\t1\t1\r\n2024-01-02 15:01:00\t2\t1\r\n",
        "\ufefftime|price|size\n\n2024-01-02 15:00:00|1|1\n\n2024-01-02 15:01:00|2|1\n\n\n",
        '"time","price","size"\n"2024-01-02 15:00:00","1","1"\n"2024-01-02 15:01:00","2","1"',
    ],
)
def test_delimiters_are_found(tmp_path: Path, text: str) -> None:
    ticks = read(written(tmp_path, text))
    assert ticks.time_us.tolist() == times("2024-01-02T15:00:00Z", "2024-01-02T15:01:00Z")
    assert ticks.price.tolist() == [1, 2]
    assert ticks.counted.rows == 2


def test_a_text_in_utf_16_is_read(tmp_path: Path) -> None:
    text = "time,price\r\n2024-01-02 15:00:00,1\r\n".encode("utf-16")
    assert len(read(written(tmp_path, text))) == 1


def test_the_same_row_twice_is_one_tick_where_a_column_tells_rows_apart(tmp_path: Path) -> None:
    row = "2024-01-02 15:00:00,1,5,"
    source = written(tmp_path, f"time,price,size,id\n{row}77\n{row}77\n{row}78\n{row}\n{row}\n")
    assert len(read(source)) == 5
    ticks = read(source, id_column="id")
    assert len(ticks) == 4  # without an id a row is itself
    assert ticks.counted.set_aside == {"duplicate": 1}


def test_a_value_that_says_there_is_no_price_is_none(tmp_path: Path) -> None:
    text = (
        "time,bid,ask\n2024-01-02 15:00:00,590.8,591.6\n"
        "2024-01-02 15:00:10,590.8,1.7976931348623157e+308\n2024-01-02 15:01:00,590.8,591.6\n"
    )
    source = written(tmp_path, text)
    ticks = read(source, no_price=(1.7976931348623157e308,))
    assert ticks.price.tolist() == [591.2, 591.2]
    assert ticks.counted.set_aside == {"no price": 1}
    carried = read(source, no_price=(1.7976931348623157e308,), carry=True)
    assert carried.price.tolist() == [591.2, 591.2, 591.2]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("2024-01-02 15:00:30,1", r"row 3: it has 2 fields, the others 3"),
        ("2024-01-02 15:00:30,1,2,3", r"row 3: it has 4 fields, the others 3"),
        ('2024-01-02 15:00:30,"1,2', r"row 3: a quote in it does not close"),
        ("2024-01-02 15:00:30,1\0,2", r"row 3: price = "),
        ("2024-01-02 15:00:30,,2", r"row 3: price is empty"),
    ],
)
def test_a_row_that_is_cut_is_named(tmp_path: Path, row: str, why: str) -> None:
    text = f"time,price,size\n2024-01-02 15:00:00,1,1\n{row}\n2024-01-02 15:01:00,2,1\n"
    source = written(tmp_path, text)
    with pytest.raises(TickFileError, match=why):
        read(source)
    ticks = read(source, skip_bad=True)
    assert (len(ticks), ticks.counted.refused.total(), ticks.counted.rows) == (2, 1, 3)


def test_two_spellings_of_one_series_are_told(tmp_path: Path) -> None:
    rows = [f"2024-01-02 15:00:0{i},{name},1" for i, name in enumerate(("BCPC", "BCpC", "IBM"))]
    ticks = read(written(tmp_path, "\n".join(["time,symbol,price", *rows]) + "\n"))
    assert ticks.names == (("X", "BCPC"), ("X", "IBM"))
    assert ticks.series.tolist() == [0, 0, 1]
    [note] = ticks.notes
    assert note.startswith("X BCPC and X BCpC are one series, X BCPC")


def test_a_row_that_two_files_hold_is_one_tick(tmp_path: Path) -> None:
    head = "time,price,id\n"
    rows = [f"2024-01-02 15:00:0{i},{i},{i}\n" for i in range(4)]
    parts = [
        read(written(tmp_path, head + "".join(some), name), id_column="id")
        for some, name in ((rows[:3], "S.a.csv"), (rows[2:], "S.b.csv"))
    ]
    ticks = joined(parts)
    assert ticks.price.tolist() == [0, 1, 2, 3]
    assert (ticks.counted.rows, ticks.counted.set_aside) == (5, {"duplicate": 1})


def test_columns_are_found_where_names_are_one_letter_or_none(tmp_path: Path) -> None:
    wanted = times("2024-01-02T15:04:05Z")
    trades = '{"T":"t","S":"AAPL","t":"2024-01-02T15:04:05Z","p":185.5,"s":100}\n'
    assert read(written(tmp_path, trades)).time_us.tolist() == wanted
    frame = ",bid,ask\n2024-01-02 15:04:05,1.0,1.5\n"
    assert read(written(tmp_path, frame)).time_us.tolist() == wanted
