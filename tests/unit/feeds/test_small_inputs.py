"""Small files that went wrong for people who do this job; each stands for a kind."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from barstream.feeds.encoder import FeedFields, NumberField
from barstream.feeds.event_time import TimeFormatError, parse_times
from barstream.feeds.files import joined
from barstream.feeds.layout import TickFileError
from barstream.feeds.load_plan import read_batch, read_in_order
from barstream.feeds.options import FileOptions, layout_of
from barstream.feeds.progress import Silent
from tests.unit.feeds.text_files import NOW_US, read, times, written, zipped

OPTIONS = FileOptions(broker_default="X", symbol_by_name=True)


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


FOUR_DECIMALS = FeedFields(NumberField(4, 2.0**63), size=NumberField(0, 2.0**63))


def test_what_the_feed_does_not_hold_is_named_by_row_and_left_out_by_reason(tmp_path: Path) -> None:
    text = (
        "time,last,qty\n2024-01-02 15:00:00,1.2345,1\n2024-01-02 15:00:01,1.23456,1\n"
        "2024-01-02 15:00:02,1.5,1.5\n2024-01-02 15:00:03,1e15,\n2024-01-02 15:00:04,1.5,\n"
        "2024-01-02 15:00:05,x,1\n"
    )
    source = written(tmp_path, text)
    with pytest.raises(TickFileError) as error:
        read(source, feed=FOUR_DECIMALS)
    told = str(error.value)
    assert "4 of 6 rows of ticks.csv cannot be sent as ticks (decimals 2, range 1, undecod" in told
    assert "row 3: price (last) = '1.23456'; row 4: size (qty) = '1.5'" in told
    assert "The feed has 4 decimals in price, 0 decimals in size" in told
    ticks = read(source, feed=FOUR_DECIMALS, skip_bad=True)
    assert ticks.counted.refused == {"decimals": 2, "range": 1, "undecodable": 1}
    assert ticks.price.tolist() == [1.2345, 1.5]


def test_a_number_too_large_for_the_feed_says_how_large_it_may_be(tmp_path: Path) -> None:
    source = written(tmp_path, "time,last,qty\n2024-01-02 15:00:03,1e15,1\n")
    feed = FeedFields(NumberField(4, 2.0**63))
    with pytest.raises(TickFileError, match=r"The feed takes price below 9\.223e\+14\. Corr"):
        read(source, feed=feed)


def test_a_mid_that_the_feed_does_not_hold_is_named_by_both_sides(tmp_path: Path) -> None:
    text = "time,bid,ask\n2024-01-02 15:00:00,1.2345,1.2346\n2024-01-02 15:00:00,1.1,1.2\n"
    source = written(tmp_path, text)
    with pytest.raises(TickFileError, match=r"row 2: bid = '1\.2345' and ask = '1\.2346'"):
        read(source, feed=FOUR_DECIMALS)
    assert len(read(source, feed=FOUR_DECIMALS, skip_bad=True)) == 1
    sides = FeedFields(None, (NumberField(4), NumberField(4)))
    assert len(read(source, feed=sides)) == 2


def test_numbers_that_a_float_of_32_bits_rounds_are_counted(tmp_path: Path) -> None:
    source = written(tmp_path, "time,last\n2024-01-02 15:00:00,1.5\n2024-01-02 15:00:00,1.1\n")
    single = FeedFields(NumberField(end=2.0**128, single=True))
    assert read(source, feed=single).counted.rounded == 1
    assert read(source).counted.rounded == 0


@pytest.mark.parametrize(
    ("value", "time_format", "cut"),
    [
        ("1704207845123456789", None, True),
        ("1704207845123456000", None, False),
        ("1704207845123456789", "ns", True),
        ("1704207845123456000", "ns", False),
        ("1704207845.1234567", None, True),
        ("1704207845.123456", None, False),
        ("1704207845123.4567", None, True),
        ("1704207845123.456", "ms", False),
        ("1704207845123456.7", "us", True),
        ("2024-01-02 15:00:00.1234567", None, True),
        ("2024-01-02 15:00:00.1234560", None, False),
        ("2024-01-02T15:00:00.123456789Z", None, True),
        ("20240102150000123456789", None, True),
        ("20240102150000123456000", None, False),
        ("20240102 150000123", None, False),
        ("20240102 1500001234567", None, True),
        ("20240102150000123", None, False),
    ],
)
def test_times_finer_than_a_microsecond_are_cut_and_counted(
    tmp_path: Path, value: str, time_format: str | None, cut: bool
) -> None:
    source = written(tmp_path, f"time,last\n{value},1\n")
    assert read(source, time_format=time_format).counted.cut == cut


def test_a_feed_in_milliseconds_cuts_more_times_and_keeps_their_order(tmp_path: Path) -> None:
    text = "time,last\n2024-01-02 15:00:00.0019,2\n2024-01-02 15:00:00.0011,1\n"
    source = written(tmp_path, text + "2024-01-02 15:00:00.002,3\n")
    feed = FeedFields(time_us=1_000)
    layout = layout_of(source, FileOptions(broker="X", symbol="S")).layout
    batch = read_in_order([source], [layout], Silent(), sorted_only=False, feed=feed)
    assert batch.ticks.counted.cut == 2
    assert batch.ticks.price.tolist() == [1, 2, 3]
    assert batch.ticks.time_us.tolist() == times(
        "2024-01-02T15:00:00.001Z", "2024-01-02T15:00:00.001Z", "2024-01-02T15:00:00.002Z"
    )


def test_nanoseconds_of_a_typed_column_are_cut_and_counted() -> None:
    column = pl.Series([1_704_207_845_123_456_789, 1_704_207_845_123_456_000])
    for each in (column, column.cast(pl.Datetime("ns"))):
        cut = parse_times(each, None, None).cut
        assert cut is not None
        assert cut.to_list() == [True, False]


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
        ('2024-01-02 15:00:30,"1,2', r"row 3: a quote in it is not closed"),
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


def test_a_packed_text_may_be_in_utf_16_as_well(tmp_path: Path) -> None:
    text = "time,price\r\n2024-01-02 15:00:00,1\r\n"
    for encoding in ("utf-16", "utf-32"):
        data = text.encode(encoding)
        for packed in (data, gzip.compress(data), zipped(data)):
            assert len(read(written(tmp_path, packed))) == 1
    with pytest.raises(TickFileError, match="save it as UTF-8"):
        read(written(tmp_path, text.encode("utf-16-le")))


def test_lines_may_end_as_those_of_an_old_mac(tmp_path: Path) -> None:
    text = "time,price\r2024-01-02 15:00:00,1\r2024-01-02 15:01:00,2\r"
    for packed in (text.encode(), gzip.compress(text.encode())):
        ticks = read(written(tmp_path, packed))
        assert ticks.price.tolist() == [1, 2]


@pytest.mark.parametrize(
    "text", ["", "\n \n\n", "time,price\n", "time,price", "sep=;\n\ntime;price\n"]
)
def test_a_file_without_a_row_says_so(tmp_path: Path, text: str) -> None:
    source = written(tmp_path, text)
    with pytest.raises(TickFileError, match=r"ticks\.csv holds no ticks: it has no rows"):
        read_in_order([source], [layout_of(source, OPTIONS).layout], Silent(), sorted_only=False)


def test_an_array_of_json_is_told_from_lines_of_it(tmp_path: Path) -> None:
    source = written(tmp_path, '[{"time":"2024-01-02T15:00:00Z","price":1}]\n')
    with pytest.raises(TickFileError, match="one JSON object a line, but holds a JSON array"):
        read(source)


@pytest.mark.parametrize(
    ("row", "fields"), [("2024-01-02 15:00:00,1,5", 3), ("7,2024-01-02 15:00:00,1", 3),
                        ("2024-01-02 15:00:00,1,,5", 4)],
)  # fmt: skip
def test_a_row_with_more_fields_than_the_header_is_no_shorter_one(
    tmp_path: Path, row: str, fields: int
) -> None:
    # 1,5 may be a number, and rows of R begin with one that the header does not name
    source = written(tmp_path, f"time,price\n{row}\n{row}\n{row}\n")
    with pytest.raises(
        TickFileError, match=rf"3 of 3 rows.*it has {fields} fields, but the header has 2"
    ):
        read(source)
    mixed = written(
        tmp_path, f"time,price\n2024-01-02 15:00:00,1,\n{row}\n2024-01-02 15:01:00,2,\n"
    )
    ticks = read(mixed, skip_bad=True)
    assert ticks.price.tolist() == [1, 2]
    assert [each.row for each in ticks.counted.shown] == [3]
    assert ticks.counted.rows == 3


def test_of_columns_with_one_name_it_is_said_which_is_taken(tmp_path: Path) -> None:
    source = written(tmp_path, "time,price,size,price\n2024-01-02 15:00:00,1,2,9\n")
    assert layout_of(source, OPTIONS).caution == (
        "several columns are named 'price': the first is taken, the second is 'price (2)'"
    )
    mapping = {"time": "time", "price": "price (2)"}
    assert read(source, mapping=mapping).price.tolist() == [9]
    assert not layout_of(source, replace(OPTIONS, mapping=mapping)).caution


class Noted(Silent):
    """Keeps what the user should know."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


@pytest.mark.parametrize(
    ("time", "zone", "used"),
    [
        ("2024-01-02 15:00:00", "America/New_York", True),
        ("2024-01-02 15:00:00Z", "America/New_York", False),
        ("1704207600", "America/New_York", False),
        ("2024-01-02 15:00:00Z", None, True),
    ],
)
def test_a_zone_that_is_said_for_nothing_is_told(
    tmp_path: Path, time: str, zone: str | None, used: bool
) -> None:
    source = written(tmp_path, f"time,price\n{time},1\n")
    noted = Noted()
    read_batch([source], replace(OPTIONS, settings={"timezone": zone}), noted, latest_us=NOW_US)
    told = (
        "times in the file carry their own zone, or count from 1970 in UTC; "
        "--timezone America/New_York is not used"
    )
    assert noted.said == ([] if used else [told])


@pytest.mark.parametrize("bad", ["2842-01-02 15:00:00,1", "2024-01-02 15:00:00,x"])
def test_a_row_that_is_refused_makes_no_other_a_repetition(tmp_path: Path, bad: str) -> None:
    good = "2024-01-02 15:00:00,1,7\n"
    source = written(tmp_path, f"time,price,id\n{bad},7\n{good}{good}")
    ticks = read(source, id_column="id", skip_bad=True)
    assert ticks.price.tolist() == [1]
    assert ticks.counted.refused.total() == 1
    assert ticks.counted.set_aside == {"duplicate": 1}


def test_a_middle_that_no_float_holds_is_invalid_as_the_worker_says(tmp_path: Path) -> None:
    source = written(tmp_path, "time,bid,ask\n2024-01-02 15:00:00,1.7e308,1.7e308\n")
    with pytest.raises(TickFileError, match=r"\(invalid 1\): row 2: bid = .* and ask = "):
        read(source)


@pytest.mark.parametrize("value", ["0", "1.7976931348623157e+308", "3.4028234663852886e+38"])
def test_what_often_means_no_price_is_asked_about(tmp_path: Path, value: str) -> None:
    rows = f"2024-01-02 15:00:00,5,{value}\n2024-01-02 15:00:01,5,6\n"
    [note] = read(written(tmp_path, "time,bid,ask\n" + rows)).notes
    assert note == (
        f"ask is {value} in 1 row and is taken as a price; if it means that there is no price, "
        f"give --no-price {value}"
    )
    assert not read(written(tmp_path, "time,bid,ask\n" + rows), no_price=(float(value),)).notes
    # a price of nothing is one: of an option, or in April 2020 of oil
    zero = "time,price\n2024-01-02 15:00:00,0\n2024-01-02 15:00:00,-37.63\n"
    assert not read(written(tmp_path, zero)).notes


def test_one_side_of_a_quote_is_mapped_as_a_price(tmp_path: Path) -> None:
    source = written(tmp_path, "time,bid,ask\n2024-01-02 15:00:00,5,6\n")
    with pytest.raises(TickFileError, match="--map price=COLUMN"):
        read(source, mapping={"time": "time", "price": "ask", "bid": "bid"})


@pytest.mark.parametrize("option", ["decimal", "thousands"])
@pytest.mark.parametrize("mark", ["", ".,", "1", "e", "-", '"', "\n"])
def test_a_mark_that_can_be_none_is_refused(tmp_path: Path, option: str, mark: str) -> None:
    # with an empty decimal mark 1 was read as 0.1
    with pytest.raises(TickFileError, match=f"--{option} must be one character"):
        read(written(tmp_path, "time,price\n2024-01-02 15:00:00,1\n"), **{option: mark})


#: What stands in a column, and the number that it is: None where it is none, NaN where it is one
#: that no price or size can be.
NUMBERS = {
    "1e3": 1000.0, " 5 ": 5.0, "+5": 5.0, "5.": 5.0, ".5": 0.5, "0": 0.0, "1E-3": 0.001,
    "NaN": float("nan"), "inf": float("nan"), "-inf": float("nan"), "1e400": float("nan"),
    "abc": None, "1_000": None, "0x10": None, "\uff11\uff12": None, "\u0663": None, "null": None,
    "N/A": None,
    "1 000": None, "1'000": None, "5%": None, "$5": None, "1/2": None, "--": None, "1e": None,
    "1.2.3": None, "=5": None, "1\xa0000": None, "5,": None,
}  # fmt: skip


@pytest.mark.parametrize("what", ["price", "size"])
@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_is_read_or_refused_and_never_another(
    tmp_path: Path, what: str, text: str
) -> None:
    number = NUMBERS[text]
    price, size = (text, "1") if what == "price" else ("1", text)
    source = written(tmp_path, f"time;price;size\n2024-01-02 15:00:00;{price};{size}\n")
    ticks = read(source, skip_bad=True)
    if number is not None and number == number:  # noqa: PLR0124 - NaN
        assert getattr(ticks, what).tolist() == [number]
    else:
        reason = "undecodable" if number is None else "invalid"
        assert (len(ticks), ticks.counted.refused) == (0, {reason: 1})
