"""Files as vendors write them: the layout of each by its name, and how it is recognised.

``docs/files.md`` says of each where it comes from and what it leaves open; the tests read a
made-up file of every shape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from barstream.feeds.header import plain

_NEW_YORK: Final = "America/New_York"
_EST: Final = "-05:00"


@dataclass(frozen=True, slots=True)
class Shape:
    """One form in which a vendor writes ticks.

    Attributes:
        mapping: what to column.
        columns: of a file without header; () with one.
        needs: the columns a header must have, besides those mapped.
        row: what the first row of a file without header looks like, fields joined by a tab.
        settings: more of the layout.
        sure: whether a first row alone tells that it is this vendor's; else the file's name must.
        dated_by_name: whether times are times of day, and the date is in the file's name.
    """

    mapping: Mapping[str, str]
    columns: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    row: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    sure: bool = True
    dated_by_name: bool = False

    def fits(self, first: Sequence[str], *, header: bool) -> bool:
        """Whether a file with this first row has the shape."""
        if header != (not self.columns):
            return False
        if not header:
            return re.fullmatch(self.row, "\t".join(each.strip() for each in first)) is not None
        there = {plain(each) for each in first}
        mapped = [part for column in self.mapping.values() for part in column.split("+")]
        return all(plain(each) in there for each in (*mapped, *self.needs))

    def named(self, first: Sequence[str]) -> dict[str, str]:
        """The mapping in the spelling of the header ``first``."""
        spelled = {plain(each): each.strip() for each in first}
        return {
            what: "+".join(spelled.get(plain(part), part) for part in column.split("+"))
            for what, column in self.mapping.items()
        }


@dataclass(frozen=True, slots=True)
class Preset:
    """How a vendor writes ticks.

    Attributes:
        vendor: its name, for people.
        shapes: the forms, the first that fits is taken.
        broker: the default broker.
        file_name: finds ``symbol`` (and ``date``) in the name of a file.
        caution: what the file does not say and the user should.
    """

    vendor: str
    shapes: tuple[Shape, ...]
    broker: str
    file_name: str = r"(?P<symbol>[^.]+)"
    caution: str = ""


_NUMBER: Final = r"-?\d+(?:\.\d+)?"
_BOOLEAN: Final = "(?i:true|false)"
_MILLIS_OR_MICROS: Final = r"\d{13,16}"
#: Trades that stand: as they were, and corrected ones.
_NOT_CANCELLED: Final = ("00", "0", "01", "1")


def _binance(kind: Shape, first: Sequence[str], row: str) -> tuple[Shape, Shape]:
    """Files with a header, and those from before there was one."""
    settings = {"id_column": first[0]}
    return (
        replace(kind, settings=settings),
        replace(kind, settings=settings, needs=(), columns=tuple(first), row=row),
    )


def _databento(symbol: str) -> Shape:
    return Shape(
        {"time": "ts_event", "price": "price", "size": "size", "symbol": symbol},
        needs=("rtype", "publisher_id", "action"),
        settings={
            "scale": 9,
            "keep": (("action", ("T",)),),
            "no_price": (float(2**63 - 1) / 1e9,),
        },
    )


def _dukascopy(time: str) -> Shape:
    return Shape({"time": time, "bid": "Bid", "ask": "Ask"}, needs=("AskVolume",))


def _taq(mapping: Mapping[str, str], correction: str, **rest: Any) -> Shape:
    return Shape(
        mapping,
        needs=(correction,),
        settings={"timezone": _NEW_YORK, "keep": ((correction, _NOT_CANCELLED),)},
        **rest,
    )


PRESETS: Final[dict[str, Preset]] = {
    "algoseek": Preset(
        "Algoseek",
        (
            Shape(
                {
                    "time": "Date+Timestamp",
                    "symbol": "Ticker",
                    "price": "Price",
                    "size": "Quantity",
                },
                needs=("EventType",),
                settings={
                    "timezone": _NEW_YORK,
                    "keep": (("EventType", ("TRADE", "TRADE NB")),),
                },
            ),
        ),
        "ALGOSEEK",
    ),
    "binance-vision": Preset(
        "Binance Vision",
        (
            *_binance(
                Shape(
                    {"time": "transact_time", "price": "price", "size": "quantity"},
                    needs=("agg_trade_id",),
                ),
                (
                    "agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id",
                    "transact_time", "is_buyer_maker", "is_best_match",
                ),
                rf"\d+\t{_NUMBER}\t{_NUMBER}\t\d+\t\d+\t{_MILLIS_OR_MICROS}\t{_BOOLEAN}\t{_BOOLEAN}",
            ),
            *_binance(
                Shape(
                    {"time": "time", "price": "price", "size": "qty"},
                    needs=("id", "is_buyer_maker"),
                ),
                ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker", "is_best_match"),
                rf"\d+\t{_NUMBER}\t{_NUMBER}\t{_NUMBER}\t{_MILLIS_OR_MICROS}\t{_BOOLEAN}\t{_BOOLEAN}",
            ),
        ),
        "BINANCE",
        r"(?P<symbol>[^-.]+)-(?:trades|aggTrades)-.*",
    ),
    "databento": Preset(
        "Databento CSV",
        (_databento("symbol"), _databento("instrument_id")),
        "DATABENTO",
    ),
    "dukascopy": Preset(
        "Dukascopy",
        (_dukascopy("Local time"), _dukascopy("Gmt time")),
        "DUKASCOPY",
        r"(?P<symbol>[^_.]+).*",
    ),
    "histdata": Preset(
        "HistData",
        (
            Shape(
                {"time": "time", "bid": "bid", "ask": "ask"},
                ("time", "bid", "ask", "volume"),
                row=rf"\d{{8}} \d{{9}}\t{_NUMBER}\t{_NUMBER}\t{_NUMBER}",
                settings={"timezone": _EST},
            ),
        ),
        "HISTDATA",
        r"DAT_ASCII_(?P<symbol>[^_]+)_T_.*",
    ),
    "kraken": Preset(
        "Kraken",
        (
            Shape(
                {"time": "time", "price": "price", "size": "volume"},
                ("time", "price", "volume"),
                row=rf"\d{{10}}(?:\.\d+)?\t{_NUMBER}\t{_NUMBER}",
                sure=False,
            ),
        ),
        "KRAKEN",
    ),
    "metatrader5": Preset(
        "MetaTrader 5",
        (
            Shape(
                {"time": "<DATE>+<TIME>", "bid": "<BID>", "ask": "<ASK>"},
                needs=("<LAST>", "<FLAGS>"),
                settings={"carry": True},
            ),
        ),
        "MT5",
        r"(?P<symbol>[^_.]+).*",
        caution=(
            "MetaTrader writes the time of the broker's server without its zone: give it, for "
            "example --timezone Europe/Athens"
        ),
    ),
    "ninjatrader": Preset(
        "NinjaTrader",
        (
            Shape(
                {"time": "time", "price": "last", "size": "volume"},
                ("time", "last", "bid", "ask", "volume"),
                row=rf"\d{{8}} \d{{6}} \d{{7}}\t{_NUMBER}\t{_NUMBER}\t{_NUMBER}\t{_NUMBER}",
            ),
            Shape(
                {"time": "time", "price": "last", "size": "volume"},
                ("time", "last", "volume"),
                row=rf"\d{{8}} \d{{6}}(?: \d{{7}})?\t{_NUMBER}\t{_NUMBER}",
            ),
        ),
        "NINJATRADER",
    ),
    "taq": Preset(
        "NYSE TAQ trades",
        (
            _taq(
                {
                    "time": "Time",
                    "symbol": "Symbol",
                    "price": "Trade Price",
                    "size": "Trade Volume",
                },
                "Trade Correction Indicator",
                dated_by_name=True,
            ),
            _taq(
                {
                    "time": "DATE+TIME_M",
                    "symbol": "SYM_ROOT+SYM_SUFFIX",
                    "price": "PRICE",
                    "size": "SIZE",
                },
                "TR_CORR",
            ),
        ),
        "TAQ",
        r".*?(?P<date>\d{8}).*",
    ),
    "truefx": Preset(
        "TrueFX",
        (
            Shape(
                {"time": "time", "symbol": "symbol", "bid": "bid", "ask": "ask"},
                ("symbol", "time", "bid", "ask"),
                row=rf"[A-Z]{{3}}/[A-Z]{{3}}\t\d{{8}} \d\d:\d\d:\d\d\.\d+\t{_NUMBER}\t{_NUMBER}",
            ),
            Shape({"time": "timestamp", "bid": "bid", "ask": "ask"}, sure=False),
        ),
        "TRUEFX",
        r"(?:truefx-)?(?P<symbol>[^-.]+).*",
    ),
}  # fmt: skip


def recognised(first: Sequence[str], *, header: bool, file_name: str) -> tuple[str, Shape] | None:
    """The preset and shape of a file with this first row, where it is sure, or the name says it."""
    for name, preset in PRESETS.items():
        for shape in preset.shapes:
            sure = shape.sure or name in file_name.lower()
            if sure and shape.fits(first, header=header):
                return name, shape
    return None
