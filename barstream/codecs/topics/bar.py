"""Bars as the rows of their topics: Avro, one by one and in columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import pyarrow as pa

from barstream.codecs.avro.body import decode, decode_batch
from barstream.model.bar import Bar
from barstream.model.bar_fields import EXACT_FIELDS, NAMES, STORED, values_of
from barstream.model.exact_sum import from_decimal, to_decimal

#: What is put behind a body that was written before there were all fields: a null for each.
#: ``turnover``, ``vwap`` and ``turnover_exact`` came together, ``volume_exact`` before them.
_MISSING: Final = (b"\0" * 3, b"\0" * 4)
#: From so many on, columns are faster than one by one.
_MANY: Final = 12
_STORED: Final = tuple(field.attribute for field in STORED)
_Read = TypeVar("_Read")


def decode_bar(value: bytes) -> Bar:
    """The final bar in a record of a bar topic.

    Raises:
        ValueError: the bytes are no body of ``bar.avsc``.
    """
    return bar_of(decode_row(value))


def decode_row(value: bytes) -> dict[str, Any]:
    """The row of ``bar.avsc`` in a record; null what there was not when it was written.

    Raises:
        ValueError: the bytes are no body of ``bar.avsc``.
    """
    return _completed(lambda nulls: decode("bar", value + nulls))


def _completed(read: Callable[[bytes], _Read]) -> _Read:
    """What ``read`` makes of bodies with nothing, or nulls of fields they lack, behind each."""
    try:
        return read(b"")
    except ValueError:
        for nulls in _MISSING:
            with suppress(ValueError):
                return read(nulls)
        raise


def bar_of(row: dict[str, Any]) -> Bar:
    """The final bar of a row of ``bar.avsc``."""
    exact = _exact_of(row[field.name] for field in EXACT_FIELDS)
    return Bar(**{field.attribute: row[field.name] for field in STORED}, **exact)


def _exact_of(said: Iterable[str | None]) -> dict[str, Any]:
    """Attributes of the exact sums that are said, in the order of `EXACT_FIELDS`."""
    return {
        field.attribute: from_decimal(text)
        for field, text in zip(EXACT_FIELDS, said, strict=True)
        if text is not None
    }


def decode_columns(values: Sequence[bytes]) -> pa.RecordBatch:
    """The fields of ``bar.avsc`` of many records, in columns.

    Raises:
        ValueError: some bytes are no body of ``bar.avsc``.
    """
    return _completed(
        lambda nulls: decode_batch("bar", [value + nulls for value in values] if nulls else values)
    )


def decode_bars(values: Sequence[bytes]) -> list[Bar]:
    """The final bars in many records of a bar topic, in order: in columns, five times as fast.

    Raises:
        ValueError: some bytes are no body of ``bar.avsc``.
    """
    if len(values) < _MANY:
        return [decode_bar(value) for value in values]
    try:
        columns = decode_columns(values)
    except ValueError:  # which one is no bar is said of it alone
        return [decode_bar(value) for value in values]
    stored = [columns.column(field.name).to_pylist() for field in STORED]
    exact = [columns.column(field.name).to_pylist() for field in EXACT_FIELDS]
    return [
        Bar(**dict(zip(_STORED, row, strict=True)), **_exact_of(said))
        for row, said in zip(zip(*stored, strict=True), zip(*exact, strict=True), strict=True)
    ]


def bar_columns(bars: Sequence[Bar]) -> dict[str, list[Any]]:
    """The fields of ``bar.avsc``, one list a field."""
    values = zip(*map(values_of, bars), strict=True) if bars else ((),) * len(NAMES)
    columns = {name: list(column) for name, column in zip(NAMES, values, strict=True)}
    for field in EXACT_FIELDS:
        exact = [getattr(bar, field.attribute) for bar in bars]
        columns[field.name] = [None if units is None else to_decimal(units) for units in exact]
    return columns
