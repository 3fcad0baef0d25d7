"""The fields of a bar: the one list, from which columns, JSON, frames, models and schemas follow.

A field that is added stands here, in `barstream.model.bar.Bar` at the same place, and at the end
of ``bar.avsc`` with a default: who reads a plain body by the schema of before stops there.  A test
holds the three to each other.
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
        is_sum: whether it is a sum over the ticks, and so 0 without one.
        is_derived: whether it follows from others, and is stored in records alone.
    """

    name: str
    attribute: str
    kind: FieldKind
    nullable: bool = False
    is_lineage: bool = False
    is_price: bool = False
    is_sum: bool = False
    is_derived: bool = False


class ExactField(NamedTuple):
    """What a sum is exactly, of a bar to which late ticks may be added: in its record alone.

    Attributes:
        name: in Avro, a decimal number.
        attribute: of `barstream.model.bar.Bar`, see `barstream.model.exact_sum`.
        rounded: the field that is this, rounded.
    """

    name: str
    attribute: str
    rounded: str


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
    BarField("volume", "volume", FieldKind.FLOAT, is_sum=True),
    BarField("turnover", "turnover", FieldKind.FLOAT, nullable=True, is_sum=True),
    BarField("vwap", "vwap", FieldKind.FLOAT, nullable=True, is_derived=True),
    BarField("tick_count", "tick_count", FieldKind.LONG, is_sum=True),
    BarField("open_time", "open_time_us", FieldKind.TIME, nullable=True),
    BarField("close_time", "close_time_us", FieldKind.TIME, nullable=True),
    BarField("synthetic", "synthetic", FieldKind.FLAG),
    BarField("revision", "revision", FieldKind.INT),
    BarField("first_offset", "first_offset", FieldKind.LONG, nullable=True, is_lineage=True),
    BarField("last_offset", "last_offset", FieldKind.LONG, nullable=True, is_lineage=True),
    BarField("close_offset", "close_offset", FieldKind.LONG, nullable=True, is_lineage=True),
)
"""In the order of `barstream.model.bar.Bar`, which has ``final`` and the exact sums behind."""

EXACT_FIELDS: Final = (
    ExactField("volume_exact", "volume_units", "volume"),
    ExactField("turnover_exact", "turnover_units", "turnover"),
)

NAMES: Final = tuple(field.name for field in BAR_FIELDS)
ATTRIBUTES: Final = tuple(field.attribute for field in BAR_FIELDS)

PRICES: Final = tuple(field.name for field in BAR_FIELDS if field.is_price)

FLOATS: Final = tuple(field.name for field in BAR_FIELDS if field.kind is FieldKind.FLOAT)

STORED: Final = tuple(field for field in BAR_FIELDS if not field.is_derived)
"""What a bar is made of."""

values_of: Final = attrgetter(*ATTRIBUTES)
"""The values of a bar, in the order of `BAR_FIELDS`."""
