"""Names of series and the keys made from them.

A key is its parts joined by NUL, so that the prefix of one series never matches another
(``S`` and ``S2``).  ``bucket_start`` is fixed-width ISO 8601 text: it sorts as time does,
and unlike a binary integer it contains no NUL.
"""

from __future__ import annotations

from typing import Final

from barstream.core.time import iso_from_us, us_from_iso

#: Longer names are garbage, and would make keys no broker takes.
MAX_NAME: Final = 200


def normalise(name: str) -> str:
    """The one spelling of a broker or symbol: trimmed, upper case.

    Raises:
        ValueError: nothing is left after trimming, the name contains NUL or is too long.
    """
    spelled = name.strip().upper()
    if len(spelled) > MAX_NAME:
        raise ValueError(
            f"a broker or symbol must have at most {MAX_NAME} characters, found {len(spelled)}"
        )
    if not spelled:
        raise ValueError("a broker or symbol needs at least one character that is not a space")
    if "\0" in spelled:
        raise ValueError(f"a broker or symbol must not contain NUL, found {name!r}")
    return spelled


def series_key(broker: str, symbol: str) -> bytes:
    """``broker NUL symbol``: the key of ticks and of a series' rows."""
    return f"{broker}\0{symbol}".encode()


def bar_key(broker: str, symbol: str, bucket_start_us: int) -> bytes:
    """``broker NUL symbol NUL 2013-01-01T22:00:00Z``: the key of a bar or a heartbeat."""
    return f"{broker}\0{symbol}\0{iso_from_us(bucket_start_us)}".encode()


def split_series_key(key: bytes) -> tuple[str, str]:
    """Broker and symbol of a series key.

    Raises:
        ValueError: the key does not have two parts.
    """
    broker, symbol = key.decode().split("\0")
    return broker, symbol


def split_bar_key(key: bytes) -> tuple[str, str, int]:
    """Broker, symbol and bucket start in microseconds of a bar key.

    Raises:
        ValueError: the key does not have three parts, or the third is no time.
    """
    broker, symbol, start = key.decode().split("\0")
    return broker, symbol, us_from_iso(start)
