"""Files of ticks: the three recorded ones against another reader, and what users bring."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from barstream.feeds.container import TickSource
from barstream.feeds.event_time import TimeFormatError, parse_times
from barstream.feeds.files import identity, read_ticks
from barstream.feeds.layout import FileLayout, TickFileError
from barstream.feeds.order import disorders, in_time_order, refuse_unsorted
from barstream.feeds.refusals import UnsortedError
from barstream.model.time import us_from_datetime, us_from_iso

HISTDATA = FileLayout(
    {"time": "1", "bid": "2", "ask": "3", "size": "4"},
    broker="histdata",
    symbol="eurusd",
    timezone="-05:00",
    header=False,
)
TRUEFX = FileLayout(
    {"time": "timestamp", "bid": "bid", "ask": "ask"}, broker="truefx", symbol="usdjpy"
)
AS_TICKS = FileLayout(
    {"time": "time", "price": "price", "size": "size"}, broker="fxcm", symbol="usdjpy"
)


def test_truefx_is_read_as_it_stands(data_dir_real: Path) -> None:
    path = data_dir_real / "truefx-usdjpy-ticks.csv"
    ticks = read_ticks(path, TRUEFX)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert ticks.names == (("TRUEFX", "USDJPY"),)
    assert ticks.time_us.tolist() == [us_from_iso(row["timestamp"]) for row in rows]
    assert ticks.price.tolist() == [(float(r["bid"]) + float(r["ask"])) / 2 for r in rows]
    assert ticks.size is None


def test_histdata_has_no_header_and_is_five_hours_behind_utc(data_dir_real: Path) -> None:
    path = data_dir_real / "histdata-eurusd-20200101-ticks.csv"
    ticks = read_ticks(path, HISTDATA)
    assert len(ticks) == 9_500
    assert ticks.bid is not None
    assert ticks.ask is not None
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    local = [datetime.strptime(r[0] + "000", "%Y%m%d %H%M%S%f").replace(tzinfo=UTC) for r in rows]
    assert ticks.time_us.tolist() == [us_from_datetime(t + timedelta(hours=5)) for t in local]
    assert ticks.bid.tolist() == [float(row[1]) for row in rows]
    assert ticks.ask.tolist() == [float(row[2]) for row in rows]
    assert ticks.time_us[0] == us_from_iso("2020-01-01T22:00:00.065Z")
    assert ticks.size is not None
    assert not ticks.size.any()


def test_the_packed_file_is_read(data_dir_real: Path) -> None:
    path = data_dir_real / "usdjpy-m1-2013-as-ticks.csv.gz"
    ticks = read_ticks(path, AS_TICKS)
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(ticks) == len(rows) == 4 * 28_761
    assert ticks.time_us.tolist() == [us_from_iso(row["time"]) for row in rows]
    assert ticks.price.tolist() == [float(row["price"]) for row in rows]
    assert ticks.size is not None
    assert ticks.size.tolist() == [float(row["size"]) for row in rows]


@pytest.mark.parametrize(
    ("text", "timezone"),
    [
        ("2024-01-02T15:04:05.123456Z", None),
        ("2024-01-02 15:04:05.123456", None),
        ("2024-01-02 10:04:05.123456", "-05:00"),
        ("2024-01-02 10:04:05.123456", "America/New_York"),
        ("2024-01-02T20:34:05.123456+05:30", "America/New_York"),
        ("20240102 15:04:05.123456", "UTC"),
        ("1704207845123456", None),
    ],
)
def test_the_usual_ways_to_write_a_time(text: str, timezone: str | None) -> None:
    found = parse_times(pl.Series("t", [text]), None, timezone)
    assert found.us.to_list() == [us_from_iso("2024-01-02T15:04:05.123456Z")]


@pytest.mark.parametrize(("value", "unit"), [(1_704_207_845, "s"), (1_704_207_845_000, "ms")])
def test_numbers_are_told_apart_by_their_size(value: int, unit: str) -> None:
    expected = [us_from_iso("2024-01-02T15:04:05Z")]
    assert parse_times(pl.Series("t", [value]), None, None).us.to_list() == expected
    assert parse_times(pl.Series("t", [value]), unit, None).us.to_list() == expected


def test_lines_of_one_file_may_differ_in_their_decimals() -> None:
    texts = ["2024-01-02 15:04:05", "2024-01-02 15:04:05.5", "2024-01-02 15:04"]
    found = parse_times(pl.Series("t", texts), None, None).us.to_list()
    assert found == [us_from_iso(text) for text in texts]


def test_an_hour_the_clock_repeats_is_not_guessed() -> None:
    texts = ["2024-11-03 01:30:00", "2024-11-03 12:00:00"]
    found = parse_times(pl.Series("t", texts), None, "America/New_York").us.to_list()
    assert found == [None, us_from_iso("2024-11-03T17:00:00Z")]


def test_unknown_formats_and_zones_are_explained() -> None:
    with pytest.raises(TimeFormatError, match="--time-format"):
        parse_times(pl.Series("t", ["2.1.2024"]), None, None)
    with pytest.raises(TimeFormatError, match="IANA"):
        parse_times(pl.Series("t", ["2024-01-02 15:04:05"]), None, "Mars/Olympus")


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "ticks.csv"
    path.write_text(text)
    return path


MANY = FileLayout({"time": "t", "price": "p", "symbol": "s"}, broker=" sim ")


def test_a_file_may_hold_many_series(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "s,t,p\nb,2024-01-02 00:00:02,2\n B ,2024-01-02 00:00:03,2\na,2024-01-02 00:00:01,1\n",
    )
    ticks = read_ticks(path, MANY)
    assert ticks.names == (("SIM", "B"), ("SIM", "A"))
    assert ticks.series.tolist() == [0, 0, 1]
    assert not disorders(ticks)  # sorted by symbol is in order
    assert in_time_order(ticks).series.tolist() == [1, 0, 0]


def test_a_series_that_goes_back_in_time_is_found(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "s,t,p\na,2024-01-02 00:00:05,1\nb,2024-01-02 00:00:01,1\na,2024-01-02 00:00:02,2\n",
    )
    ticks = read_ticks(path, MANY)
    [found] = disorders(ticks)
    assert (found.symbol, found.ticks, found.by_us) == ("A", 1, 3_000_000)
    with pytest.raises(UnsortedError, match="SIM A"):
        refuse_unsorted([found])


def test_equal_times_keep_the_order_of_the_file(tmp_path: Path) -> None:
    rows = "".join(f"a,2024-01-02 00:00:0{i % 2},{i}\n" for i in range(10))
    ticks = in_time_order(read_ticks(written(tmp_path, "s,t,p\n" + rows), MANY))
    assert ticks.price.tolist() == [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]


def test_rows_that_are_no_ticks_are_shown_or_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "s,t,p\na,2024-01-02 00:00:05,1\na,nonsense,1\na,2024-01-02,nan\n")
    with pytest.raises(TickFileError, match=r"2 of 3 rows.*row 3.*nonsense"):
        read_ticks(path, MANY)
    layout = FileLayout(MANY.mapping, broker="sim", skip_bad=True)
    ticks = read_ticks(path, layout)
    assert (len(ticks), ticks.counted.refused.total()) == (1, 2)


def test_parquet_with_aware_times_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ticks.parquet"
    when = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    pl.DataFrame({"t": [when], "p": [1.5], "s": ["x"]}).write_parquet(path)
    ticks = read_ticks(path, MANY)
    assert ticks.time_us.tolist() == [us_from_datetime(when)]
    assert ticks.price.tolist() == [1.5]


def test_date_and_time_may_be_two_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "d,t,p\n2024-01-02,03:04:05,1\n")
    layout = FileLayout({"time": "d+t", "price": "p"}, broker="b", symbol="s")
    assert read_ticks(path, layout).time_us.tolist() == [us_from_iso("2024-01-02T03:04:05Z")]


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"price": "p"}, "time"),
        ({"time": "t"}, "price"),
        ({"time": "t", "price": "p", "volume": "v"}, "volume"),
        ({"time": "t", "price": "p"}, "broker"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused(mapping: dict[str, str], message: str) -> None:
    with pytest.raises(TickFileError, match=message):
        FileLayout(mapping)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "2024-01-02 00:00:05,1,a\n")
    with pytest.raises(TickFileError, match=r"no column 't'.*--no-header"):
        read_ticks(path, MANY)


def test_the_identity_follows_content_layout_and_topic(tmp_path: Path) -> None:
    path = written(tmp_path, "s,t,p\na,2024-01-02 00:00:05,1\n")
    one = identity([TickSource(path.name, path)], [MANY], "ticks")
    copy = tmp_path / "copy.csv"
    copy.write_bytes(path.read_bytes())
    assert identity([TickSource(copy.name, copy)], [MANY], "ticks") == one
    assert identity([TickSource(path.name, path)], [MANY], "other") != one
    assert (
        identity([TickSource(path.name, path)], [FileLayout(MANY.mapping, broker="other")], "ticks")
        != one
    )
    copy.write_text("s,t,p\na,2024-01-02 00:00:05,2\n")
    assert identity([TickSource(copy.name, copy)], [MANY], "ticks") != one
    assert np.isfinite(read_ticks(copy, MANY).price).all()
