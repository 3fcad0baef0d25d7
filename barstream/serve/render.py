"""Rows as the API shows them: bars, series, times."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from barstream.codecs.topics.bar_json import bar_to_json
from barstream.model.bar import Bar
from barstream.model.time import iso_date_from_days, iso_micros_from_us
from barstream.serve.reads import Reference, SeriesInfo

#: Bars rendered before the event loop gets its turn again: about 10 ms.
CHUNK: Final = 1000


def bar_json(bar: Bar) -> dict[str, Any]:
    """A bar as the API shows it: its fields and ``status``, ``final`` or ``live``."""
    return {**bar_to_json(bar), "status": "final" if bar.final else "live"}


async def rendered(bars: Sequence[Bar]) -> list[dict[str, Any]]:
    """Every bar as the API shows it."""
    rows: list[dict[str, Any]] = []
    for first in range(0, len(bars), CHUNK):
        rows.extend(map(bar_json, bars[first : first + CHUNK]))
        await asyncio.sleep(0)
    return rows


def series_json(info: SeriesInfo) -> dict[str, Any]:
    """A row of the series list as the API shows it."""
    reference = info.reference
    return {
        "broker": info.broker,
        "symbol": info.symbol,
        "partition": info.partition,
        "kind": info.kind,
        "last_tick": time_text(info.last_tick_us),
        "watermark": time_text(info.watermark_us),
        "closed_until": time_text(info.closed_until_us),
        "previous_close": info.previous_close,
        "last_price": info.last_price,
        "price_decimals": info.price_decimals,
        "reference": None if reference is None else _reference_json(reference),
        "here": info.here,
        "url": info.url,
    }


def _reference_json(reference: Reference) -> dict[str, Any]:
    return {
        "kind": reference.kind,
        "price": reference.price,
        "trading_date": iso_date_from_days(reference.trading_date),
    }


def time_text(us: int | None) -> str | None:
    """``2013-01-01T22:00:00.250000Z``, or None."""
    return None if us is None else iso_micros_from_us(us)
