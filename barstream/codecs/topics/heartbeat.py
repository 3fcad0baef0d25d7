"""Heartbeats as bytes: ``schemas/heartbeat.avsc``, a plain Avro body without framing."""

from __future__ import annotations

from typing import Literal, NamedTuple

from barstream.codecs.avro import body
from barstream.model.key import bar_key

Source = Literal["planner", "loader"]


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
    return body.encode(
        "heartbeat",
        {
            "broker": record.broker,
            "symbol": record.symbol,
            "bucket_start": record.bucket_start_us,
            "barrier": record.barrier,
            "sent_at": record.sent_at_us,
            "source": record.source,
        },
    )


def decode(value: bytes) -> HeartbeatRecord:
    """The heartbeat in ``value``.

    Raises:
        ValueError: the bytes are not one heartbeat.
    """
    row = body.decode("heartbeat", value)
    return HeartbeatRecord(
        row["broker"],
        row["symbol"],
        row["bucket_start"],
        row["barrier"],
        row["sent_at"],
        row["source"],
    )
