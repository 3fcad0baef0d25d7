"""The fields of a bar: the one list, from which columns, JSON, frames, models and schemas follow.

A field that is added stands here, in `barstream.model.bar.Bar` at the same place, and in
``bar.avsc`` with a default; a test holds the three to each other.
"""

from __future__ import annotations

from enum import StrEnum
from operator import attrgetter
from typing import Final, NamedTuple


class FieldKind(StrEnum):
    """What the values of a field are."""

    TEXT = "text"
    #: Start of a bucket: microseconds, of a whole minute.
    BUCKET = "bucket"
    #: Microseconds.
    TIME = "time"
    #: Days since 1970-01-01.
    DATE = "date"
    #: In 32 bits, and in 64.
    INT = "int"
    LONG = "long"
    FLOAT = "float"
    FLAG = "flag"


class BarField(NamedTuple):
    """One field.

    Attributes:
        name: as in Avro, JSON and frames.
        attribute: of `barstream.model.bar.Bar`, with the unit in its name.
        nullable: whether there are bars without it.
        is_lineage: whether it says where ticks stood in the log, and nothing of the market.
        is_price: whether it is the price of a tick.
    """

    name: str
    attribute: str
    kind: FieldKind
    nullable: bool = False
    is_lineage: bool = False
    is_price: bool = False


BAR_FIELDS: Final = (
    BarField("broker", "broker", FieldKind.TEXT),
    BarField("symbol", "symbol", FieldKind.TEXT),
    BarField("bucket_start", "bucket_start_us", FieldKind.BUCKET),
    BarField("trading_date", "trading_date", FieldKind.DATE),
    BarField("session", "session", FieldKind.INT),
    BarField("open", "open", FieldKind.FLOAT, is_price=True),
    BarField("high", "high", FieldKind.FLOAT, is_price=True),
    BarField("low", "low", FieldKind.FLOAT, is_price=True),
    BarField("close", "close", FieldKind.FLOAT, is_price=True),
    BarField("volume", "volume", FieldKind.FLOAT),
    BarField("tick_count", "tick_count", FieldKind.LONG),
    BarField("open_time", "open_time_us", FieldKind.TIME, nullable=True),
    BarField("close_time", "close_time_us", FieldKind.TIME, nullable=True),
    BarField("synthetic", "synthetic", FieldKind.FLAG),
    BarField("revision", "revision", FieldKind.INT),
    BarField("first_offset", "first_offset", FieldKind.LONG, nullable=True, is_lineage=True),
    BarField("last_offset", "last_offset", FieldKind.LONG, nullable=True, is_lineage=True),
    BarField("close_offset", "close_offset", FieldKind.LONG, nullable=True, is_lineage=True),
)
"""In the order of `barstream.model.bar.Bar`, which has ``final`` and the exact volume behind."""

BAR_KEY: Final = ("broker", "symbol", "bucket_start")

NAMES: Final = tuple(field.name for field in BAR_FIELDS)
ATTRIBUTES: Final = tuple(field.attribute for field in BAR_FIELDS)

PRICES: Final = tuple(field.name for field in BAR_FIELDS if field.is_price)

FLOATS: Final = tuple(field.name for field in BAR_FIELDS if field.kind is FieldKind.FLOAT)

values_of: Final = attrgetter(*ATTRIBUTES)
"""The values of a bar, in the order of `BAR_FIELDS`."""
