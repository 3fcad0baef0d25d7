"""Names of series, and keys: their parts are declared once, and bytes derived from that.

A key is its parts joined by NUL, so that the prefix of one series never matches another
(``S`` and ``S2``).  A time is fixed-width ISO 8601 text: it sorts as time does, and unlike a
binary integer it contains no NUL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final, Literal

from barstream.model.time import iso_from_us, us_from_datetime, us_from_iso

#: What a caller may give for a part: a name, or a time as datetime, date or ISO 8601 text.
KeyValue = str | datetime | date
PartKind = Literal["text", "time"]
Floor = Callable[[int], int]

#: Longer names are garbage, and would make keys no broker takes.
MAX_NAME: Final = 200
_STEPS: Final = (".", "..")
#: What Python makes of an argument of the command line that is no UTF-8.
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def trimmed(name: str) -> str:
    """A broker or symbol without the spaces around it, in the case it is written in.

    Raises:
        ValueError: nothing is left after trimming, the name is too long, contains NUL or half a
            surrogate pair, or is one that no URL can carry.
    """
    spelled = name.strip()
    if len(spelled) > MAX_NAME:
        raise ValueError(
            f"a broker or symbol must have at most {MAX_NAME} characters, found {len(spelled)}"
        )
    if not spelled:
        raise ValueError(
            f"a broker or symbol must have a character that is not a space, found {name!r}"
        )
    if "\0" in spelled:
        raise ValueError(f"a broker or symbol must not contain NUL, found {name!r}")
    if _SURROGATE.search(spelled):
        raise ValueError(f"a broker or symbol must be text that UTF-8 can spell, found {name!r}")
    if spelled in _STEPS:
        raise ValueError(
            f"a broker or symbol must not be {spelled!r}, a step in the path of a URL: browsers "
            "and proxies take it out, so nobody could read the series"
        )
    return spelled


def is_stored_name(name: str) -> bool:
    """Whether a worker may have written ``name``, under whatever rule: trimmed, and of a length."""
    return 0 < len(name) <= MAX_NAME and name == name.strip() and "\0" not in name


@dataclass(frozen=True, slots=True)
class NameRule:
    """How the names of a service are spelled: trimmed, and in upper case unless that is off.

    Attributes:
        fold_case: ``eurusd`` and ``EURUSD`` are one series; off, two.
    """

    fold_case: bool = True

    def normalise(self, name: str) -> str:
        """The one spelling of a broker or symbol.

        Raises:
            ValueError: as `trimmed`.
        """
        # upper case may be longer than what it is of: ß is SS
        return trimmed(name.strip().upper() if self.fold_case else name)

    def series(self, broker: str, symbol: str) -> tuple[str, str]:
        """The name of a series.

        Raises:
            ValueError: as `trimmed`.
        """
        return self.normalise(broker), self.normalise(symbol)


#: Of a service that says nothing else.
FOLDED: Final = NameRule()


@dataclass(frozen=True, slots=True)
class KeyPart:
    """A part of a key: its name, and whether it is a name (``text``) or a ``time``."""

    name: str
    kind: PartKind


@dataclass(frozen=True, slots=True)
class KeyLayout:
    """The parts of a key in their order, and every way between values and bytes.

    Raises:
        ValueError: there is no part, or two have the same name.
    """

    parts: tuple[KeyPart, ...]
    #: Positions of the times: names stand in a key as they are.
    _times: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = self.names
        if not names or len(set(names)) < len(names):
            raise ValueError(f"a key must have parts, each name once; found {list(names)}")
        times = tuple(at for at, part in enumerate(self.parts) if part.kind == "time")
        object.__setattr__(self, "_times", times)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parts, in their order."""
        return tuple(part.name for part in self.parts)

    def raw(self, *values: Any) -> bytes:
        """The key of values that are known to be right: normalised names, microseconds UTC."""
        texts = list(values)
        for at in self._times:
            if at < len(texts):
                texts[at] = iso_from_us(texts[at])
        return "\0".join(texts).encode()

    def raws(self, *columns: Sequence[Any]) -> list[bytes]:
        """The keys of many values, a column for each part, as `raw` makes them.

        Keys written together have few times among them, and each is spelled once.
        """
        texts = list(columns)
        for at in self._times:
            spelled = {time_us: iso_from_us(time_us) for time_us in set(texts[at])}
            texts[at] = [spelled[time_us] for time_us in texts[at]]
        return ["\0".join(row).encode() for row in zip(*texts, strict=True)]

    def split(self, key: bytes) -> tuple[Any, ...]:
        """The values of a key: names as ``str``, times as microseconds UTC.

        Raises:
            ValueError: the key does not have these parts, or a time is none.
        """
        values: list[Any] = key.decode().split("\0")
        if len(values) != len(self.parts):
            raise ValueError(f"a key has {len(self.parts)} parts ({self._list()}), found {key!r}")
        for at in self._times:
            values[at] = us_from_iso(values[at])
        return tuple(values)

    def read(self, values: Sequence[KeyValue], floor: Floor | None = None) -> tuple[str | int, ...]:
        """The first parts of a key as a caller gives them: names trimmed, times microseconds.

        Whoever is asked for them spells names by the rule of its service.

        Args:
            values: as many as wanted, in the order of the parts.  A naive datetime, and text
                without a zone, is UTC; a date is its 00:00 UTC.
            floor: what becomes of times, such as the start of the bucket that holds them.

        Raises:
            TypeError: a value is None or of no such kind, or the values are one text.
            ValueError: there are more values than parts, a name is empty, a text is no time.
        """
        if isinstance(values, str | bytes):
            raise TypeError(f"a prefix is a list such as [{self._list()}], found {values!r}")
        if len(values) > len(self.parts):
            raise ValueError(
                f"a key has at most {len(self.parts)} parts ({self._list()}), found {len(values)}: "
                f"{list(values)!r}"
            )
        found: list[str | int] = []
        for part, value in zip(self.parts, values, strict=False):
            if part.kind == "text":
                found.append(_name(part.name, value))
            else:
                ts_us = _time(part.name, value)
                found.append(ts_us if floor is None else floor(ts_us))
        return tuple(found)

    def key(self, values: Sequence[KeyValue], floor: Floor | None = None) -> bytes:
        """The key of all parts, as `read` takes them.

        Raises:
            TypeError: as `read`.
            ValueError: as `read`, or there are fewer values than parts.
        """
        found = self.read(values, floor)
        if len(found) < len(self.parts):
            raise ValueError(
                f"a key has {len(self.parts)} parts ({self._list()}), found {len(found)}: "
                f"{list(values)!r}"
            )
        return self.raw(*found)

    def prefix(self, values: Sequence[KeyValue], floor: Floor | None = None) -> tuple[bytes, bytes]:
        """Bounds of the keys that begin with these values: ``first <= key < end``.

        No values are all keys.  Fewer than there are parts end with NUL, so that ``S`` never
        matches ``S2``; all of them are the one key.

        Raises:
            TypeError: as `read`.
            ValueError: as `read`.
        """
        found = self.read(values, floor)
        if not found:
            return b"", _AFTER_ALL
        begin = self.raw(*found)
        if len(found) == len(self.parts):
            return begin, begin + b"\0"
        return begin + b"\0", begin + b"\1"

    def _list(self) -> str:
        return ", ".join(self.names)


#: No UTF-8 begins with this byte, so it is past every key; own notes of a store may follow it.
_AFTER_ALL: Final = b"\xf5"


def _name(part: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{part} must be text, found {value!r}{_leave_out(value)}")
    try:
        return trimmed(value)
    except ValueError as error:
        raise ValueError(f"{part}: {error}") from None


def _time(part: str, value: object) -> int:
    try:
        if isinstance(value, datetime):
            ts_us = us_from_datetime(value)
        elif isinstance(value, date):
            ts_us = us_from_datetime(datetime(value.year, value.month, value.day, tzinfo=UTC))
        elif isinstance(value, str):
            ts_us = us_from_iso(value)
        else:
            # a number might be seconds, milliseconds or microseconds: wrong by a factor is silent
            raise TypeError(
                f"{part} must be a datetime or ISO 8601 text, found {value!r}{_leave_out(value)}"
            )
        iso_from_us(ts_us)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{part} must be a datetime or ISO 8601 text such as 2013-01-01T22:00:00Z, found "
            f"{value!r}"
        ) from None
    return ts_us


def _leave_out(value: object) -> str:
    return "; to read all of them, leave the part out" if value is None else ""


#: Key of ticks and of a series' rows, and where every key of its bars begins.
SERIES_KEY: Final = KeyLayout((KeyPart("broker", "text"), KeyPart("symbol", "text")))
#: Key of a bar or a heartbeat.
BAR_KEY: Final = KeyLayout((*SERIES_KEY.parts, KeyPart("bucket_start", "time")))


def series_key(broker: str, symbol: str) -> bytes:
    """``broker NUL symbol``: the key of ticks and of a series' rows."""
    return SERIES_KEY.raw(broker, symbol)


def bar_key(broker: str, symbol: str, bucket_start_us: int) -> bytes:
    """``broker NUL symbol NUL 2013-01-01T22:00:00Z``: the key of a bar or a heartbeat."""
    return BAR_KEY.raw(broker, symbol, bucket_start_us)


def split_series_key(key: bytes) -> tuple[str, str]:
    """Broker and symbol of a series key.

    Raises:
        ValueError: the key does not have two parts.
    """
    broker, symbol = SERIES_KEY.split(key)
    return broker, symbol


def split_bar_key(key: bytes) -> tuple[str, str, int]:
    """Broker, symbol and bucket start in microseconds of a bar key.

    Raises:
        ValueError: the key does not have three parts, or the third is no time.
    """
    broker, symbol, start_us = BAR_KEY.split(key)
    return broker, symbol, start_us
