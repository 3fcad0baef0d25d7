"""Ticks in and bars out, for the peers that are Python programs.

Imports nothing of barstream: Quix Streams runs in an environment of its own, which has none.
"""

from __future__ import annotations

import json
import math
import os
import time
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import fastavro

ROOT: Final = Path(__file__).parents[2]
TICK_SCHEMA: Final = ROOT / "barstream" / "schemas" / "tick.avsc"
BAR_SCHEMA: Final = Path(__file__).with_name("bar.avsc")
MINUTE_US: Final = 60_000_000
#: 9999-12-31T23:59:59.999999Z, the last time barstream takes.
_LAST_US: Final = 253_402_300_799_999_999
_UNREADABLE: Final = (ValueError, EOFError, IndexError, OverflowError, MemoryError, TypeError)

#: Event time in microseconds, price, size.
Tick = tuple[int, float, float]
#: Open, high, low, close, volume, count, first and last event time: as a store has it.
Fold = list[Any]


def _schema(path: Path) -> Any:
    """A parsed schema whose times stay whole numbers: nobody asks for datetimes, which cost."""
    schema = json.loads(path.read_text())
    for field in schema["fields"]:
        if isinstance(field["type"], dict):
            field["type"] = field["type"]["type"]
    return fastavro.parse_schema(schema)


class TickReader:
    """Plain Avro bodies to ticks; counts what cannot be read."""

    def __init__(self) -> None:
        self._schema = _schema(TICK_SCHEMA)
        self.skipped = 0

    def read(self, value: bytes | None) -> Tick | None:
        """None where the bytes are no tick: cut short, left over, no number, time out of range."""
        body = BytesIO(value or b"")
        try:
            row: Any = fastavro.schemaless_reader(body, self._schema, None)
        except _UNREADABLE:
            self.skipped += 1
            return None
        when, price, size = row["time"], row["price"], row["size"]
        good = (
            body.tell() == len(value or b"")
            and bool(row["broker"] and row["symbol"])
            and 0 <= when <= _LAST_US
            and math.isfinite(price)
            and math.isfinite(size)
            and size >= 0
        )
        if not good:
            self.skipped += 1
            return None
        return when, price, size


def folded(fold: Fold | None, tick: Tick) -> Fold:
    """One more tick taken in; open and close by event time, then by the order of the log."""
    when, price, size = tick
    if not fold:
        return [price, price, price, price, size, 1, when, when]
    if when < fold[6]:
        fold[6], fold[0] = when, price
    if when >= fold[7]:
        fold[7], fold[3] = when, price
    if price > fold[1]:
        fold[1] = price
    if price < fold[2]:
        fold[2] = price
    fold[4] += size
    fold[5] += 1
    return fold


class BarWriter:
    """Folds to plain bodies of `bar.avsc`."""

    def __init__(self) -> None:
        self._schema = _schema(BAR_SCHEMA)

    def body(self, series: bytes, start_us: int, fold: Fold) -> bytes:
        """Of the series with this key (broker NUL symbol) and the minute that begins then."""
        broker, _, symbol = series.decode().partition("\0")
        row = {
            "broker": broker, "symbol": symbol, "bucket_start": start_us,
            "open": fold[0], "high": fold[1], "low": fold[2], "close": fold[3],
            "volume": fold[4], "tick_count": fold[5],
        }  # fmt: skip
        out = BytesIO()
        fastavro.schemaless_writer(out, self._schema, row)
        return out.getvalue()


def say(event: str, **facts: object) -> None:
    """One line of JSON on standard output, past whatever a framework has made of ``sys.stdout``.

    A new line before it as well: Faust's worker hides the cursor, on whatever line that is.
    """
    os.write(1, f"\n{json.dumps({'event': event, **facts})}\n".encode())


def say_assigned() -> None:
    """Partitions are assigned and it is about to read."""
    say("assigned", at_ms=time.time_ns() // 1_000_000)
