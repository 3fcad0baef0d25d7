"""Bars back from the JSON that `codecs.topics.bar.bar_to_json` and the web views write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from barstream.model.bar import Bar
from barstream.model.time import days_from_iso_date, us_from_iso


def bar_from_json(row: Mapping[str, Any]) -> Bar:
    """The bar of one JSON object; ``status`` says whether it is final, as does ``close_offset``.

    Raises:
        KeyError: a field is missing.
        ValueError: a time or date is none.
    """
    close_offset = row["close_offset"]
    status = row.get("status")
    return Bar(
        row["broker"],
        row["symbol"],
        us_from_iso(row["bucket_start"]),
        days_from_iso_date(row["trading_date"]),
        row["session"],
        row["open"],
        row["high"],
        row["low"],
        row["close"],
        row["volume"],
        row["tick_count"],
        _time_us(row["open_time"]),
        _time_us(row["close_time"]),
        row["synthetic"],
        row["revision"],
        row["first_offset"],
        row["last_offset"],
        close_offset,
        close_offset is not None if status is None else status == "final",
    )


def _time_us(text: str | None) -> int | None:
    return None if text is None else us_from_iso(text)
