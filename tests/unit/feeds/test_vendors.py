"""Files as vendors write them: a made-up one of each shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from barstream.cli.file_options import PRESETS as OFFERED
from barstream.feeds.layout import TickFileError
from barstream.feeds.options import FileOptions, layout_of
from barstream.feeds.presets import PRESETS
from tests.unit.feeds.text_files import read, times, written

FILES: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    # case: preset, name of the file, its text, what is in it
    "algoseek": (
        "algoseek",
        "IBM.csv",
        (
            "Date,Timestamp,EventType,Ticker,Price,Quantity,Exchange,Conditions\n"
            "20240102,09:30:00.123456789,TRADE,IBM,160.1,100,NYSE,0\n"
            "20240102,09:30:00.223456789,QUOTE BID,IBM,159.0,300,NYSE,0\n"
            "20240102,09:30:01.223456789,TRADE NB,IBM,160.2,50,ARCA,0\n"
            "20240102,09:31:00.323456789,TRADE CANCELLED,IBM,160.1,100,NYSE,0\n"
        ),
        {
            "symbol": "IBM",
            "times": ["2024-01-02T14:30:00.123456Z", "2024-01-02T14:30:01.223456Z"],
            "price": [160.1, 160.2],
            "size": [100, 50],
            "aside": 2,
        },
    ),
    "binance trades": (
        "binance-vision",
        "BTCUSDT-trades-2024-12-31.csv",
        (
            "4360000001,93548.8,0.001,93.5488,1735689599999,True,True\n"
            "4360000001,93548.8,0.001,93.5488,1735689599999,True,True\n"
            "4360000002,93549.0,0.25,23387.25,1735689600000123,False,True\n"
        ),
        {
            "symbol": "BTCUSDT",
            "times": ["2024-12-31T23:59:59.999Z", "2025-01-01T00:00:00.000123Z"],
            "price": [93548.8, 93549.0],
            "size": [0.001, 0.25],
            "aside": 1,
        },
    ),
    "binance futures trades": (
        "binance-vision",
        "BTCUSDT-trades-2024-01-02.csv",
        "id,price,qty,quote_qty,time,is_buyer_maker\n1,42000.1,0.5,21000.05,1704153600007,true\n",
        {
            "symbol": "BTCUSDT",
            "times": ["2024-01-02T00:00:00.007Z"],
            "price": [42000.1],
            "size": [0.5],
            "aside": 0,
        },
    ),
    "binance aggregated": (
        "binance-vision",
        "ETHBTC-aggTrades-2024-01-02.csv",
        "8,0.05301,1.2,10,11,1704153600007,False,True\n",
        {
            "symbol": "ETHBTC",
            "times": ["2024-01-02T00:00:00.007Z"],
            "price": [0.05301],
            "size": [1.2],
            "aside": 0,
        },
    ),
    "databento whole": (
        "databento",
        "glbx-mdp3-20240102.trades.csv",
        (
            "ts_recv,ts_event,rtype,publisher_id,instrument_id,action,side,depth,price,size,flags,"
            "ts_in_delta,sequence,symbol\n"
            "1704205800000000500,1704205800000000123,0,1,5482,T,A,0,4790250000000,3,0,10,7,ESH4\n"
            "1704205800000000500,1704205800000000124,0,1,5482,A,A,0,4790500000000,3,0,10,8,ESH4\n"
            "1704205801000000500,1704205801000000123,0,1,5482,T,A,0,9223372036854775807,3,0,10,9,ESH4\n"
        ),
        {
            "symbol": "ESH4",
            "times": ["2024-01-02T14:30:00Z"],
            "price": [4790.25],
            "size": [3],
            "aside": 2,
        },
    ),
    "databento pretty": (
        "databento",
        "xnas.csv",
        (
            "ts_recv,ts_event,rtype,publisher_id,instrument_id,action,side,depth,price,size,flags,"
            "ts_in_delta,sequence,symbol\n"
            "2024-01-02T14:30:00.1Z,2024-01-02T14:30:00.000001999Z,0,2,38,T,N,0,185.640000000,10,0,1,2,"
            "AAPL\n"
        ),
        {
            "symbol": "AAPL",
            "times": ["2024-01-02T14:30:00.000001Z"],
            "price": [185.64],
            "size": [10],
            "aside": 0,
        },
    ),
    "dukascopy": (
        "dukascopy",
        "XAUUSD_Ticks_02.01.2024-02.01.2024.csv",
        (
            "Local time,Ask,Bid,AskVolume,BidVolume\r\n"
            "02.01.2024 00:00:00.605 GMT-0000,1581.15,1580.787,400,700\r\n"
            "02.01.2024 00:01:01.000 GMT+0100,1581.171,1580.808,400,700\r\n"
        ),
        {
            "symbol": "XAUUSD",
            "times": ["2024-01-02T00:00:00.605Z", "2024-01-01T23:01:01Z"],
            "price": [(1581.15 + 1580.787) / 2, (1581.171 + 1580.808) / 2],
            "size": None,
            "aside": 0,
        },
    ),
    "histdata": (
        "histdata",
        "DAT_ASCII_EURUSD_T_202401.csv",
        "20240102 170000065,1.1,1.2,0\n20240102 170010447,1.3,1.4,0\n",
        {
            "symbol": "EURUSD",
            "times": ["2024-01-02T22:00:00.065Z", "2024-01-02T22:00:10.447Z"],
            "price": [(1.1 + 1.2) / 2, (1.3 + 1.4) / 2],
            "size": None,
            "aside": 0,
        },
    ),
    "kraken": (
        "kraken",
        "XBTUSD.csv",
        "1616663618,52000.1,0.5\n1616663618.8273,52000.2,0.25\n",
        {
            "symbol": "XBTUSD",
            "times": ["2021-03-25T09:13:38Z", "2021-03-25T09:13:38.8273Z"],
            "price": [52000.1, 52000.2],
            "size": [0.5, 0.25],
            "aside": 0,
        },
    ),
    "metatrader 5": (
        "metatrader5",
        "EURUSD_202401020000_202401022359.csv",
        (
            "<DATE>\t<TIME>\t<BID>\t<ASK>\t<LAST>\t<VOLUME>\t<FLAGS>\n"
            "2024.01.02\t00:00:00.100\t1.2000\t\t\t\t2\n"
            "2024.01.02\t00:00:01.123\t1.1000\t1.1002\t\t\t6\n"
            "2024.01.02\t00:00:02.123\t1.1001\t\t\t\t2\n"
            "2024.01.02\t00:00:02.500\t\t\t1.1\t5\t24\n"
            "2024.01.02\t00:00:03.500\t\t1.1003\t\t\t4\n"
        ),
        {
            "symbol": "EURUSD",
            "times": [
                "2024-01-02T00:00:01.123Z",
                "2024-01-02T00:00:02.123Z",
                "2024-01-02T00:00:03.5Z",
            ],
            "price": [(1.1 + 1.1002) / 2, (1.1001 + 1.1002) / 2, (1.1001 + 1.1003) / 2],
            "size": None,
            "aside": 2,
        },
    ),
    "ninjatrader": (
        "ninjatrader",
        "ES 03-24.Last.txt",
        "20240102 050000 1234567;1.1;1.1;1.2;5\n20240102 050030 7654321;1.11;1.1;1.2;6\n",
        {
            "symbol": "ES 03-24",
            "times": ["2024-01-02T05:00:00.123456Z", "2024-01-02T05:00:30.765432Z"],
            "price": [1.1, 1.11],
            "size": [5, 6],
            "aside": 0,
        },
    ),
    "taq of the exchange": (
        "taq",
        "EQY_US_ALL_TRADE_20240102.csv",
        (
            "Time|Exchange|Symbol|Sale Condition|Trade Volume|Trade Price|"
            "Trade Stop Stock Indicator|Trade Correction Indicator|Sequence Number\n"
            "093000123456789|N|BRK B|@   |100|160.1|N|00|1\n"
            "093001123456789|N|BRK B|@   |100|160.2|N|08|2\n"
            "END|20240102|2||||||\n"
        ),
        {
            "symbol": "BRK B",
            "times": ["2024-01-02T14:30:00.123456Z"],
            "price": [160.1],
            "size": [100],
            "aside": 2,
        },
    ),
    "taq of wrds": (
        "taq",
        "taq.csv",
        (
            "DATE,TIME_M,EX,SYM_ROOT,SYM_SUFFIX,TR_SCOND,SIZE,PRICE,TR_CORR\n"
            "20240102,9:30:00.123456789,N,BRK,B,@,100,160.1,00\n"
        ),
        {
            "symbol": "BRK B",
            "times": ["2024-01-02T14:30:00.123456Z"],
            "price": [160.1],
            "size": [100],
            "aside": 0,
        },
    ),
    "truefx": (
        "truefx",
        "EURUSD-2024-01.csv",
        "EUR/USD,20240102 00:00:00.345,1.32601,1.32608\n",
        {
            "symbol": "EUR/USD",
            "times": ["2024-01-02T00:00:00.345Z"],
            "price": [(1.32601 + 1.32608) / 2],
            "size": None,
            "aside": 0,
        },
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_of_each_vendor_is_read(tmp_path: Path, case: str) -> None:
    preset, name, text, wanted = FILES[case]
    ticks = read(written(tmp_path, text, name), preset=preset)
    assert [symbol for _, symbol in ticks.names] == [wanted["symbol"].upper()]
    assert ticks.time_us.tolist() == times(*wanted["times"])
    assert ticks.price.tolist() == wanted["price"]
    assert (None if ticks.size is None else ticks.size.tolist()) == wanted["size"]
    assert ticks.counted.set_aside.total() == wanted["aside"]


@pytest.mark.parametrize("case", [case for case in FILES if case != "kraken"])
def test_what_only_one_vendor_writes_is_recognised(tmp_path: Path, case: str) -> None:
    preset, name, text, _ = FILES[case]
    assert layout_of(written(tmp_path, text, name), FileOptions()).preset == preset


@pytest.mark.parametrize(
    ("name", "text", "preset"),
    [
        (
            "truefx-usdjpy-ticks.csv",
            "timestamp,bid,ask\n2013-01-01 22:00:00.295Z,86.6,86.7\n",
            "truefx",
        ),
        ("Kraken_XBTUSD.csv", FILES["kraken"][2], "kraken"),
        ("usdjpy-ticks.csv", "timestamp,bid,ask\n2013-01-01 22:00:00.295Z,86.6,86.7\n", None),
        ("truefx-trades.csv", "timestamp,price\n2013-01-01 22:00:00.295Z,86.6\n", None),
    ],
)
def test_what_anybody_might_write_is_recognised_by_the_name_of_the_file(
    tmp_path: Path, name: str, text: str, preset: str | None
) -> None:
    found = layout_of(
        written(tmp_path, text, name), FileOptions(broker_default="X", symbol_by_name=True)
    )
    assert found.preset == preset
    assert found.layout.broker == (PRESETS[preset].broker if preset else "X")


def test_every_preset_is_tried_and_offered() -> None:
    assert {preset for preset, *_ in FILES.values()} == set(PRESETS) == set(OFFERED)


def test_a_zone_that_is_said_goes_before_that_of_the_preset(tmp_path: Path) -> None:
    _, name, text, _ = FILES["histdata"]
    source = written(tmp_path, text, name)
    assert read(source, timezone="UTC").time_us[0] == times("2024-01-02T17:00:00.065Z")[0]
    said = FileOptions(settings={"timezone": "UTC"})
    assert layout_of(source, said).caution == (
        "--timezone UTC is used; as a rule HistData writes times in -05:00"
    )
    for alike in (FileOptions(), FileOptions(settings={"timezone": "-05:00"})):
        assert not layout_of(source, alike).caution


def test_a_file_of_another_shape_is_refused_with_what_the_preset_wants(tmp_path: Path) -> None:
    source = written(tmp_path, "a,b\n1,2\n")
    with pytest.raises(TickFileError, match="--preset kraken wants the columns time,price,volume"):
        read(source, preset="kraken")


def test_times_of_day_want_a_date(tmp_path: Path) -> None:
    _, _, text, _ = FILES["taq of the exchange"]
    with pytest.raises(TickFileError, match="--date YYYYMMDD"):
        read(written(tmp_path, text, "trades.csv"))
    assert len(read(written(tmp_path, text, "trades.csv"), date="20240102")) == 1


def test_each_preset_has_a_line_in_the_docs() -> None:
    page = (Path(__file__).parents[3] / "docs" / "files.md").read_text()
    missing = [name for name in PRESETS if f"| `{name}` |" not in page]
    assert not missing


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("histdata-eurusd-20200101-ticks.csv", "EURUSD"),
        ("ticks_of_XAUUSD.csv", "XAUUSD"),
        ("orders.csv", "ORDERS"),
        ("sample-ticks.csv", "SAMPLE-TICKS"),
    ],
)
def test_a_symbol_is_found_in_the_name_of_a_file(tmp_path: Path, name: str, symbol: str) -> None:
    ticks = read(written(tmp_path, "time,price\n2024-01-02 15:00:00,1\n", name))
    assert ticks.names == (("X", symbol),)
