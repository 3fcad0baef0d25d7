"""Files of the kinds that other loaders got wrong, as a user loads them: what comes out, and how.

Each was met elsewhere by people who do this job.  The columns of most are named with ``--map``,
as they were then.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from click.testing import CliRunner, Result

from barstream.cli import cli

MAP: Final = ("--map", "time=time", "--map", "price=price", "--map", "size=size")
SERIES: Final = ("--broker", "X", "--symbol", "S")
L: Final = (*MAP, *SERIES)

MIXED_UNITS: Final = (
    "time,price,size\n1735689540000,100,1\n1735689599000,101,1\n1735689600000000,102,1\n"
    "1735689660000000,103,1\n"
)
COMPACT: Final = "time,price,size\n20240102170000{0},100,1\n20240102170130{0},102,1\n"
FRACTIONS: Final = "time,price,size\n1616663618.8273,100,1\n1616663658.05,101,1\n"
THOUSANDS: Final = (
    'time,price,size\n2024-01-02 17:00:00,100,"1,500"\n2024-01-02 17:00:30,101,abc\n'
    "2024-01-02 17:01:30,102,\n"
)
NEGATIVE_SIZE: Final = (
    "time,price,size\n2024-01-02 17:00:00,100,1.5\n2024-01-02 17:00:30,101,-0.5\n"
    "2024-01-02 17:01:30,102,2\n"
)
DECIMAL_COMMA: Final = (
    "time;price;size\n02.01.2024 17:00:00,123;1,09543;1\n02.01.2024 17:00:30,456;1,09550;2\n"
)
TWO_DIGITS: Final = "time,price,size\n24-01-02 17:00:00,100,1\n24-01-02 17:01:00,101,1\n"
FUTURE: Final = "time,price,size\n2840-01-02 15:00:00,3.5,1\n2840-01-02 15:01:00,3.6,1\n"
TYPO: Final = (
    "time,price,size\n2024-01-02 15:00:00,1,1\n2842-01-02 15:00:30,2,1\n2024-01-02 15:01:00,3,1\n"
)
CASE: Final = (
    "time,symbol,price,size\n2024-01-02 15:00:00,BCPC,150,100\n2024-01-02 15:00:10,BCpC,25,300\n"
)
REPEATED: Final = (
    "time,price,size,id\n2024-01-02 15:00:00,1,5,77\n2024-01-02 15:00:00,1,5,77\n"
    "2024-01-02 15:01:00,2,1,78\n"
)
SENTINEL: Final = (
    "time,bid,ask\n2024-01-02 15:00:00,590.8,591.6\n"
    "2024-01-02 15:00:10,590.8,1.7976931348623157e+308\n"
)
DUKASCOPY: Final = (
    "Local time,Ask,Bid,AskVolume,BidVolume\r\n"
    "02.01.2024 00:00:00.605 GMT-0000,1581.15,1580.787,400,700\r\n"
    "02.01.2024 00:01:01.000 GMT+0000,1581.171,1580.808,400,700\r\n"
)
METATRADER: Final = (
    "<DATE>\t<TIME>\t<BID>\t<ASK>\t<LAST>\t<VOLUME>\t<FLAGS>\n"
    "2024.01.02\t00:00:01.123\t1.1000\t1.1002\t\t\t6\n"
    "2024.01.02\t00:00:02.123\t1.1001\t\t\t\t2\n"
    "2024.01.02\t00:00:03.500\t\t1.1003\t\t\t4\n"
)
NINJATRADER: Final = (
    "20240102 050000 1234567;1.1;1.1;1.2;5\n20240102 050030 7654321;1.11;1.1;1.2;6\n"
)
ALGOSEEK: Final = (
    "Date,Timestamp,EventType,Ticker,Price,Quantity\n"
    "20240102,09:30:00.123456789,TRADE,IBM,160.1,100\n"
    "20240102,09:30:00.223456789,QUOTE BID,IBM,159.0,300\n"
    "20240102,09:31:00.323456789,TRADE CANCELLED,IBM,160.1,100\n"
)
SEMICOLONS: Final = "time;price;size\n2024-01-02 15:00:00;1;1\n"


class Read(NamedTuple):
    """A file that is read."""

    text: str
    options: tuple[str, ...]
    times: tuple[str, ...]
    prices: tuple[float, ...]
    sizes: tuple[float | None, ...] | None = None
    symbols: tuple[str, ...] | None = None
    said: str = ""
    code: int = 0
    result: dict[str, Any] = {}  # noqa: RUF012 - never changed


class Refused(NamedTuple):
    """A file that is not, and what is said of it."""

    text: str
    options: tuple[str, ...]
    said: tuple[str, ...]


READ: Final = {
    "milliseconds, then microseconds": Read(
        MIXED_UNITS, L,
        ("2024-12-31T23:59:00", "2024-12-31T23:59:59", "2025-01-01T00:00:00",
         "2025-01-01T00:01:00"),
        (100, 101, 102, 103),
    ),
    "fourteen digits": Read(
        COMPACT.format(""), L, ("2024-01-02T17:00:00", "2024-01-02T17:01:30"), (100, 102),
    ),
    "seventeen digits": Read(
        COMPACT.format("007"), L, ("2024-01-02T17:00:00.007", "2024-01-02T17:01:30.007"),
        (100, 102),
    ),
    "fractions of epoch seconds": Read(
        FRACTIONS, L, ("2021-03-25T09:13:38.827300", "2021-03-25T09:14:18.050"), (100, 101),
    ),
    "and with their unit": Read(
        FRACTIONS, (*L, "--time-format", "s"),
        ("2021-03-25T09:13:38.827300", "2021-03-25T09:14:18.050"), (100, 101),
    ),
    "thousands that are named": Read(
        THOUSANDS, (*L, "--thousands", ",", "--skip-bad"),
        ("2024-01-02T17:00:00", "2024-01-02T17:01:30"), (100, 102), (1500, None), code=1,
        result={"refused": {"undecodable": 1}},
    ),
    "a size below 0 left out": Read(
        NEGATIVE_SIZE, (*L, "--skip-bad"), ("2024-01-02T17:00:00", "2024-01-02T17:01:30"),
        (100, 102), (1.5, 2), code=1, result={"refused": {"invalid": 1}},
    ),
    "a decimal comma that is named": Read(
        DECIMAL_COMMA, (*L, "--decimal", ","),
        ("2024-01-02T17:00:00.123", "2024-01-02T17:00:30.456"), (1.09543, 1.0955),
    ),
    "a year of two digits that is described": Read(
        TWO_DIGITS, (*L, "--time-format", "%y-%m-%d %H:%M:%S"),
        ("2024-01-02T17:00:00", "2024-01-02T17:01:00"), (100, 101),
    ),
    "Dukascopy": Read(
        DUKASCOPY, (*SERIES, "--preset", "dukascopy"),
        ("2024-01-02T00:00:00.605", "2024-01-02T00:01:01"),
        ((1581.15 + 1580.787) / 2, (1581.171 + 1580.808) / 2),
    ),
    "MetaTrader 5": Read(
        METATRADER, (*SERIES, "--preset", "metatrader5"),
        ("2024-01-02T00:00:01.123", "2024-01-02T00:00:02.123", "2024-01-02T00:00:03.500"),
        ((1.1 + 1.1002) / 2, (1.1001 + 1.1002) / 2, (1.1001 + 1.1003) / 2),
        said="the time of the broker's server without its zone: give it, for example --timezone",
    ),
    "NinjaTrader": Read(
        NINJATRADER, (*SERIES, "--preset", "ninjatrader"),
        ("2024-01-02T05:00:00.123456", "2024-01-02T05:00:30.765432"), (1.1, 1.11), (5, 6),
    ),
    "Algoseek": Read(
        ALGOSEEK, ("--preset", "algoseek", "--broker", "X"), ("2024-01-02T14:30:00.123456",),
        (160.1,), symbols=("IBM",),
        result={"set_aside": {"EventType QUOTE BID": 1, "EventType TRADE CANCELLED": 1}},
    ),
    "two spellings": Read(
        CASE, (*MAP, "--broker", "X"), ("2024-01-02T15:00:00", "2024-01-02T15:00:10"), (150, 25),
        symbols=("BCPC", "BCPC"),
        said="X BCPC and X BCpC are one series, X BCPC: names are read in upper case unless "
        "ticks.fold_case is off",
    ),
    "commas at the end": Read(
        "time,price,size\n2024-01-02 15:00:00,1,1,\n2024-01-02 15:01:00,2,1,\n", L,
        ("2024-01-02T15:00:00", "2024-01-02T15:01:00"), (1, 2),
    ),
    "semicolons": Read(SEMICOLONS, L, ("2024-01-02T15:00:00",), (1,)),
    "a line of a spreadsheet": Read("sep=;\n" + SEMICOLONS, L, ("2024-01-02T15:00:00",), (1,)),
    "an id": Read(
        REPEATED, (*L, "--id", "id"), ("2024-01-02T15:00:00", "2024-01-02T15:01:00"), (1, 2),
        result={"rows": 3, "set_aside": {"duplicate": 1}},
    ),
    "a price that is none": Read(
        SENTINEL, (*SERIES, "--no-price", "1.7976931348623157e308"), ("2024-01-02T15:00:00",),
        (591.2,), result={"set_aside": {"no price": 1}},
    ),
    "and that is the one before": Read(
        SENTINEL, (*SERIES, "--no-price", "1.7976931348623157e308", "--carry"),
        ("2024-01-02T15:00:00", "2024-01-02T15:00:10"), (591.2, 591.2),
    ),
    "and that nobody named": Read(
        SENTINEL, SERIES, ("2024-01-02T15:00:00", "2024-01-02T15:00:10"),
        (591.2, (590.8 + 1.7976931348623157e308) / 2),
        said="ask is 1.7976931348623157e+308 in 1 row and is taken as a price; if it means that "
        "there is no price, give --no-price 1.7976931348623157e+308",
    ),
    "one row of a far year left out": Read(
        TYPO, (*L, "--skip-bad"), ("2024-01-02T15:00:00", "2024-01-02T15:01:00"), (1, 3),
        code=1, result={"refused": {"future": 1}, "last": "2024-01-02T15:01:00.000000Z"},
    ),
    "milliseconds behind %f, and a zone": Read(
        "time,price,size\n02.01.2024 00:00:00.605 GMT+0100,1,1\n",
        (*L, "--time-format", "%d.%m.%Y %H:%M:%S.%f GMT%z"), ("2024-01-01T23:00:00.605",), (1,),
        result={"zone_assumed": False},
    ),
    "milliseconds right behind the seconds": Read(
        "time,price,size\n20240102 170000065,1,1\n", (*L, "--time-format", "%Y%m%d %H%M%S%f"),
        ("2024-01-02T17:00:00.065",), (1,), result={"zone_assumed": True},
    ),
}  # fmt: skip

REFUSED: Final = {
    "thousands": Refused(
        THOUSANDS, L, ("2 of 3 rows", "row 2: size = '1,500'; row 3: size = 'abc'", "--thousands")
    ),
    "a size below 0": Refused(
        NEGATIVE_SIZE, L, ("1 of 3 rows", "(invalid 1): row 3: size = '-0.5'")
    ),
    "a decimal comma": Refused(DECIMAL_COMMA, L, ("row 2: price = '1,09543'", "--decimal ','")),
    "a year of two digits": Refused(
        TWO_DIGITS, L, ("2 of 2 rows", "time = '24-01-02 17:00:00'", "'%y-%m-%d %H:%M:%S'")
    ),
    "the future": Refused(
        FUTURE, L, ("(future 2)", "row 2: time = '2840-01-02 15:00:00'", "not be later than now")
    ),
    "one row of a far year": Refused(
        TYPO, L, ("1 of 3 rows", "(future 1): row 3: time = '2842-01-02 15:00:30'")
    ),
    "semicolons, by another delimiter": Refused(
        SEMICOLONS, (*L, "--delimiter", ","), ("no column 'time'; it has time;price;size",)
    ),
    "milliseconds that were said to be microseconds": Refused(
        MIXED_UNITS, (*L, "--time-format", "us"),
        ("2 of 4 rows", "row 2: time = '1735689540000'",
         "By its size it is no number of microseconds since 1970"),
    ),
}  # fmt: skip


def load(tmp_path: Path, text: str, *options: str) -> Result:
    path = tmp_path / "ticks.csv"
    path.write_bytes(text.encode())
    return CliRunner().invoke(cli, ["ticks", "load", str(path), "--dry-run", *options])


@pytest.mark.parametrize("case", READ)
def test_each_is_read_as_it_was_meant_and_said_so(tmp_path: Path, case: str) -> None:
    wanted = READ[case]
    said = load(tmp_path, wanted.text, *wanted.options, "--json")
    assert said.exit_code == wanted.code, said.output
    *ticks, result = map(json.loads, said.stdout.splitlines())
    assert [tick["time"] for tick in ticks] == [micros(time) for time in wanted.times]
    assert len(ticks) == result["total"]
    assert [tick["price"] for tick in ticks] == list(wanted.prices)
    assert [tick["symbol"] for tick in ticks] == list(wanted.symbols or ["S"] * len(ticks))
    if wanted.sizes is not None:
        assert [tick["size"] for tick in ticks] == list(wanted.sizes)
    assert {name: result[name] for name in wanted.result} == wanted.result
    assert result["rows"] == result["total"] + sum(
        sum(result[what].values()) for what in ("refused", "set_aside")
    )
    assert wanted.said in said.stderr
    assert wanted.said or not said.stderr


def micros(time: str) -> str:
    """A time in seconds or finer, as the command prints it."""
    seconds, _, decimals = time.partition(".")
    return f"{seconds}.{decimals:0<6}Z"


@pytest.mark.parametrize("case", REFUSED)
def test_each_that_cannot_be_is_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    refused = REFUSED[case]
    said = load(tmp_path, refused.text, *refused.options)
    assert said.exit_code == 2, said.output
    assert not said.stdout
    assert said.stderr.startswith("barstream: ")
    assert said.stderr.count("\n") == 1
    for words in refused.said:
        assert words in said.stderr


def test_where_case_is_kept_two_spellings_are_two_series(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text(CASE)
    said = CliRunner().invoke(
        cli,
        ["ticks", "load", str(path), "--dry-run", "--json", *MAP, "--broker", "X"],
        env={"BARSTREAM_TICKS__FOLD_CASE": "false"},
    )
    assert said.exit_code == 0, said.output
    ticks = [json.loads(line) for line in said.stdout.splitlines()[:2]]
    assert [(tick["symbol"], tick["price"]) for tick in ticks] == [("BCPC", 150), ("BCpC", 25)]
    assert not said.stderr


def test_times_without_a_zone_are_taken_for_utc_with_a_word(tmp_path: Path) -> None:
    said = load(tmp_path, SEMICOLONS, *L).stdout
    assert "time = time (UTC assumed: no zone in the file)" in said
    assert "times without a zone taken as UTC" in said
    said = load(tmp_path, SEMICOLONS, *L, "--timezone", "-05:00").stdout
    assert "time = time (in -05:00)" in said
    assert "from 2024-01-02T20:00:00.000000Z" in said


def test_a_price_finer_than_the_feed_is_refused_and_never_rounded(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text("time,price,size\n2024-01-02 15:00:00,1.23456,1\n")
    said = CliRunner().invoke(
        cli,
        ["ticks", "load", str(path), "--dry-run", *L],
        env={"BARSTREAM_TICKS__PRICE_SCALE": "4", "BARSTREAM_TICKS__FORMAT": "json"},
    )
    assert said.exit_code == 2, said.output
    assert "row 2: price = '1.23456'" in said.stderr
