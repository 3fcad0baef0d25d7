"""Heartbeats as bytes: ``schemas/heartbeat.avsc``, a plain Avro body without framing."""

from __future__ import annotations

from io import BytesIO
from typing import Any, Literal, NamedTuple, cast

import fastavro

from barstream.codecs.avro import load_schema
from barstream.core.keys import bar_key

Source = Literal["planner", "loader"]

_SCHEMA = fastavro.parse_schema(load_schema("heartbeat"))


class HeartbeatRecord(NamedTuple):
    """Minute ``bucket_start_us`` of a series is over once ``barrier`` is applied."""

    broker: str
    symbol: str
    bucket_start_us: int
    barrier: int
    """End offset (exclusive) of the series' tick partition at sending."""
    sent_at_us: int
    source: str

    @property
    def key(self) -> bytes:
        """``broker NUL symbol NUL bucket_start``."""
        return bar_key(self.broker, self.symbol, self.bucket_start_us)


def encode(record: HeartbeatRecord) -> bytes:
    """The value of a heartbeat record; its key is ``record.key``."""
    out = BytesIO()
    fastavro.schemaless_writer(
        out,
        _SCHEMA,
        {
            "broker": record.broker,
            "symbol": record.symbol,
            "bucket_start": record.bucket_start_us,
            "barrier": record.barrier,
            "sent_at": record.sent_at_us,
            "source": record.source,
        },
    )
    return out.getvalue()


def decode(value: bytes) -> HeartbeatRecord:
    """The heartbeat in ``value``.

    Raises:
        ValueError: the bytes are not one heartbeat.
    """
    row = decode_body(value, _SCHEMA, "a heartbeat")
    return HeartbeatRecord(
        row["broker"],
        row["symbol"],
        row["bucket_start"],
        row["barrier"],
        row["sent_at"],
        row["source"],
    )


def decode_body(value: bytes, schema: Any, what: str) -> dict[str, Any]:
    """One plain Avro body, all of ``value``.

    Raises:
        ValueError: the bytes are cut short, left over, or no Avro of ``schema``.
    """
    body = BytesIO(value)
    try:
        row = fastavro.schemaless_reader(body, schema, None)
    except (ValueError, EOFError, LookupError, OverflowError, MemoryError, TypeError) as error:
        raise ValueError(f"{len(value)} bytes are not {what}: {error!r}") from error
    if body.tell() != len(value):
        raise ValueError(f"{len(value) - body.tell()} bytes are left over after {what}")
    return cast("dict[str, Any]", row)
