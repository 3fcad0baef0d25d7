"""What the columns of a file are, by their names: a file that says it needs no ``--map``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "time": (
        "time", "timestamp", "datetime", "eventtime", "tradetime", "quotetime", "transacttime",
        "exchangetime", "exchtime", "tsevent", "ts", "tsms", "tsus", "tsns", "timestampms",
        "timestampus", "timestampns", "timeutc", "utctime", "timestamputc", "datetimeutc",
        "utcdatetime", "gmttime", "localtime", "sipts", "siptimestamp", "participanttimestamp",
        "unixtime", "epoch", "epochms", "t",
    ),
    "price": (
        "price", "tradeprice", "px", "lastprice", "last", "executionprice", "dealprice", "mid",
        "midprice", "rate", "p",
    ),
    "bid": ("bid", "bidprice", "bestbid", "bidpx", "bestbidprice", "b"),
    "ask": ("ask", "askprice", "bestask", "askpx", "bestaskprice", "offer", "offerprice", "a"),
    "size": (
        "size", "volume", "qty", "quantity", "amount", "vol", "tradesize", "tradevolume",
        "tradeqty", "lastsize", "shares", "baseqty", "v", "q",
    ),
    "symbol": (
        "symbol", "ticker", "instrument", "sym", "pair", "symbolname", "security", "currencypair",
        "product", "productid", "rawsymbol", "s",
    ),
    "broker": ("broker", "exchange", "venue", "provider", "mic", "exch", "feed"),
}  # fmt: skip
"""Spellings by preference, without case, spaces and signs."""
UNNAMED: Final = "column {}"
"""What a column without a name is called, by its number."""
_BARS: Final = ("open", "high", "low", "close")


def columns_by_name(columns: tuple[str, ...]) -> dict[str, str]:
    """Which columns are what: a mapping as ``--map`` gives it, with what was found.

    A price column goes before bid and ask; a date and a time in two columns are joined.
    """
    # {"T": "t", "t": "2024-..."}: of two spellings the one without capitals is meant
    by_name: dict[str, str] = {column: column for column in columns if column == plain(column)}
    for column in columns:
        by_name.setdefault(plain(column), column)
    found = {}
    for what, names in _NAMES.items():
        if name := next((each for each in names if each in by_name), None):
            found[what] = by_name[name]
    if "date" in by_name and found.get("time", "") != by_name["date"]:
        if "time" in found:
            found["time"] = f"{by_name['date']}+{found['time']}"
        else:
            found["time"] = by_name["date"]
    if "time" not in found and columns[:1] == (UNNAMED.format(1),):
        found["time"] = columns[0]  # pandas writes its index first, without a name
    if "price" in found and plain(found["price"]) in ("price", "tradeprice", "px", "p"):
        found.pop("bid", None)
        found.pop("ask", None)
    elif "bid" in found and "ask" in found:
        found.pop("price", None)
    else:
        found.pop("bid", None)
        found.pop("ask", None)
    return found


def are_bars(columns: Sequence[str]) -> bool:
    """Whether these are the columns of bars, which are no ticks."""
    return set(_BARS) <= {plain(column) for column in columns}


def is_header(row: Sequence[str]) -> bool:
    """Whether a first row names columns: no field of it is a number or begins like a time."""
    return not any(re.match(r"\s*[+-]?\.?\d", field) for field in row) and any(
        field.strip() for field in row
    )


def plain(column: str) -> str:
    """A name without case, spaces and signs."""
    return re.sub(r"[^0-9a-z]", "", column.lower())
