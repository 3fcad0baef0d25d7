"""Rows of the `series` table: series states and the position of their partition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

import fastavro

from barstream.codecs.avro.body import decode, encode, load_schema, without_logical_types
from barstream.codecs.topics.batch_mark import BatchMark
from barstream.codecs.topics.row_version import (
    FIRST,
    ROW_VERSION,
    WITH_TURNOVER,
    is_first,
    version_of,
)
from barstream.codecs.topics.state_checks import check_series
from barstream.codecs.topics.state_fields import (
    EXACT,
    OPEN_BAR_NAMES,
    SERIES_FIELDS,
    StateField,
    open_bar_values,
)
from barstream.model import exact_sum
from barstream.model.bar import PartialBar
from barstream.rules.series import LIVENESS_TICKS, PartitionState, SeriesState

#: Sorts before every series: a broker is never empty.
POSITION_KEY: Final = b"\0position"
#: A series that had its last tick on this date is asleep.
_LONG_AGO: Final = 0
_NULL: Final = b"\0"


class WrittenUpTo(NamedTuple):
    """An offset that a topic must hold, inclusive, and the identity of the topic where known."""

    offset: int
    topic_id: str | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """How far a tick partition has been applied; fields as in ``position.avsc``."""

    next_offset: int
    heartbeat_offset: int
    topic_id: str | None = None
    #: Periods of the upper bars that lack nothing, as text; None: not known.
    periods: tuple[str, ...] | None = None
    #: The batch that holds the last offset below `next_offset`; None: not known.
    last_batch: BatchMark | None = None
    #: By topic of finals what it must hold; None: not known.
    written: Mapping[str, WrittenUpTo] | None = None


def encode_position(position: Position) -> bytes:
    """Value of the position row."""
    return encode(
        "position",
        {
            "row_version": ROW_VERSION,
            "next_offset": position.next_offset,
            "heartbeat_offset": position.heartbeat_offset,
            "topic_id": position.topic_id,
            "periods": None if position.periods is None else " ".join(position.periods),
            "last_batch": None if position.last_batch is None else position.last_batch._asdict(),
            "written": None
            if position.written is None
            else [
                {"topic": topic, **upto._asdict()}
                for topic, upto in sorted(position.written.items())
            ],
        },
    )


def decode_position(value: bytes) -> Position:
    """Inverse of `encode_position`.

    Raises:
        RowTooNew: a later release has written it.
        ValueError: the bytes are no position row, or say what none can.
    """
    row = _first_position(value) if is_first(value) else decode("position", value)
    if row["next_offset"] < 0 or row["heartbeat_offset"] < 0:
        raise ValueError(f"offsets are 0 or more, found {row}")
    periods, last, written = row["periods"], row["last_batch"], row["written"]
    return Position(
        row["next_offset"],
        row["heartbeat_offset"],
        row["topic_id"],
        None if periods is None else tuple(periods.split()),
        None if last is None else BatchMark(**last),
        None if written is None else {each.pop("topic"): WrittenUpTo(**each) for each in written},
    )


def _first_position(value: bytes) -> dict[str, Any]:
    """One without a version, which ends before what came with it."""
    value = ROW_VERSION + value + 2 * _NULL
    try:
        return decode("position", value)
    except ValueError:
        # written before there was `periods`: its body ends where that begins
        return decode("position", value + _NULL)


def encode_series(partition: PartitionState, series: SeriesState) -> bytes:
    """Value of the row of ``series``."""
    return encode(
        "series_state",
        {
            "row_version": ROW_VERSION,
            **{each.name: _value(each, partition, series) for each in SERIES_FIELDS},
            "open_bars": [_open_bar(bar) for _, bar in sorted(series.open_bars.items())],
        },
    )


def _value(field: StateField, partition: PartitionState, series: SeriesState) -> Any:
    if field.is_column:
        return int(getattr(partition, field.attribute)[series.slot])
    return getattr(series, field.attribute)


def decode_series(value: bytes) -> dict[str, Any]:
    """The row of a series; fields as in ``series_state.avsc``.

    Raises:
        RowTooNew: a later release has written it.
        ValueError: the bytes are no row of a series.
    """
    version = version_of(value)
    if version >= WITH_TURNOVER:
        return decode("series_state", value)
    if version == FIRST:
        value = ROW_VERSION + value
    try:
        row = decode("series_state", value, _before_turnover(has_filled_date=True))
    except ValueError as error:
        try:
            row = decode("series_state", value, _before_turnover(has_filled_date=False))
        except ValueError:
            raise error from None
    row["open_bars"] = [bar | {"turnover": None} for bar in row["open_bars"]]
    if "filled_date" in row:
        return row
    woken = row.pop("fill_from") > row["closed_until"]
    # woken, it was not to be filled before the tick that woke it; else no later than the date of
    # the last tick, and of a series without open bars that is it
    return row | {"filled_date": _LONG_AGO if woken else row["last_trading_date"]}


@cache
def _before_turnover(*, has_filled_date: bool) -> Any:
    """As rows were before open bars had a turnover.

    And before there was a filled date: no number of the field that it came for is that of a branch.
    """
    schema = without_logical_types(load_schema("series_state"))
    *fields, bars = schema["fields"]
    if not has_filled_date:
        fields = [
            {"name": "fill_from", "type": "long"} if field["name"] == "filled_date" else field
            for field in fields
        ]
    item = bars["type"]["items"]
    item = {**item, "fields": [each for each in item["fields"] if each["name"] != "turnover"]}
    bars = {**bars, "type": {**bars["type"], "items": item}}
    return fastavro.parse_schema({**schema, "fields": [*fields, bars]})


def restore_series(partition: PartitionState, key: bytes, value: bytes) -> SeriesState:
    """Put the series of a row back into ``partition``.

    Raises:
        RowTooNew: a later release has written it.
        ValueError: the bytes are no row of a series, or say what none can.
    """
    row = decode_series(value)
    check_series(key, row)
    series = partition.add(row["broker"], row["symbol"])
    # rows of before it was bounded hold as many ticks as a fetch had after the last timely one
    row["since_timely"] = min(row["since_timely"], LIVENESS_TICKS)
    for name, attribute, _, is_column in SERIES_FIELDS:
        if is_column:
            getattr(partition, attribute)[series.slot] = row[name]
        else:
            setattr(series, attribute, row[name])
    series.open_bars = {bar["bucket_start"]: open_bar_of(bar) for bar in row["open_bars"]}
    partition.saw_trading_date(series, row["last_trading_date"])
    partition.saw_final(series, row["filled_date"])
    return series


def _open_bar(bar: PartialBar) -> dict[str, Any]:
    row = dict(zip(OPEN_BAR_NAMES, open_bar_values(bar), strict=True))
    for name in EXACT:
        units = row[name]
        row[name] = None if units is None else exact_sum.to_bytes(units)
    return row


def open_bar_of(row: dict[str, Any]) -> PartialBar:
    """The bar of a row ``OpenBar``."""
    sums = {name: None if row[name] is None else exact_sum.from_bytes(row[name]) for name in EXACT}
    row = row | sums
    return PartialBar(*(row[name] for name in OPEN_BAR_NAMES))
