"""The fields of a series' row and of its open bars: the one list that rows are made and read by.

A field that is added stands here, in ``series_state.avsc`` with a default, and in
`barstream.rules.series` or `barstream.model.bar.PartialBar`; a test holds them to each other.  Rows
are of another version then (`barstream.codecs.topics.row_version`).
"""

from __future__ import annotations

from enum import StrEnum
from operator import attrgetter
from typing import Final, NamedTuple


class StateKind(StrEnum):
    """What the values of a field are, and so what a row must say of it."""

    NAME = "name"
    #: Microseconds, or `barstream.rules.series.NEVER_US`.
    TIME = "time"
    #: Days since 1970-01-01; None before there was one.
    DATE = "date"
    #: None before there was one.
    PRICE = "price"
    COUNT = "count"


class StateField(NamedTuple):
    """One field of a row.

    Attributes:
        name: as in ``series_state.avsc``.
        attribute: of `barstream.rules.series.SeriesState`, or a column of `PartitionState`.
        is_column: whether it is one.
    """

    name: str
    attribute: str
    kind: StateKind
    is_column: bool = False


SERIES_FIELDS: Final = (
    StateField("broker", "broker", StateKind.NAME),
    StateField("symbol", "symbol", StateKind.NAME),
    StateField("closed_until", "closed_until_us", StateKind.TIME, is_column=True),
    StateField("watermark", "watermark_us", StateKind.TIME, is_column=True),
    StateField("previous_close", "previous_close", StateKind.PRICE),
    StateField("filled_date", "filled_date", StateKind.DATE),
    StateField("first_tick", "first_tick_us", StateKind.TIME),
    StateField("last_trading_date", "last_trading_date", StateKind.DATE),
    StateField("since_timely", "since_timely", StateKind.COUNT, is_column=True),
)
"""As the schema has them; the open bars come behind."""

EXACT: Final = ("volume", "turnover")
"""Of an open bar, one behind the other: exact, and so bytes; see `barstream.model.exact_sum`."""

OPEN_BAR_FIELDS: Final[tuple[tuple[str, str], ...]] = (
    ("bucket_start", "bucket_us"),
    ("trading_date", "trading_date"),
    ("session", "session"),
    ("open", "open"),
    ("open_time", "open_time_us"),
    ("open_offset", "open_offset"),
    ("high", "high"),
    ("low", "low"),
    ("close", "close"),
    ("close_time", "close_time_us"),
    ("last_tick_offset", "close_offset"),
    ("volume", "volume_units"),
    ("turnover", "turnover_units"),
    ("tick_count", "tick_count"),
    ("first_offset", "first_offset"),
    ("last_offset", "last_offset"),
)
"""Names in the schema and in `barstream.model.bar.PartialBar`, in the order of both."""

OPEN_BAR_NAMES: Final = tuple(name for name, _ in OPEN_BAR_FIELDS)

open_bar_values: Final = attrgetter(*(attribute for _, attribute in OPEN_BAR_FIELDS))
"""The values of a partial bar, in the order of `OPEN_BAR_FIELDS`."""
