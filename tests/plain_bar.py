"""A published bar in the words of the definition (`tests.reference.series`)."""

from __future__ import annotations

from typing import Any, Final

from barstream.model.bar import Bar

#: What does not hang on where its ticks stand in the log, nor on how often it came again.
VALUES: Final = (
    "bucket", "date", "session", "ohlc", "volume", "turnover", "vwap", "count", "times",
    "synthetic",
)  # fmt: skip


def in_plain(bar: Bar) -> dict[str, Any]:
    """A bar as `PlainSeries` has it."""
    return {
        "bucket": bar.bucket_start_us, "date": bar.trading_date, "session": bar.session,
        "ohlc": (bar.open, bar.high, bar.low, bar.close), "volume": bar.volume,
        "turnover": bar.turnover, "vwap": bar.vwap, "count": bar.tick_count,
        "times": (bar.open_time_us, bar.close_time_us),
        "offsets": (bar.first_offset, bar.last_offset, bar.close_offset),
        "synthetic": bar.synthetic, "revision": bar.revision,
    }  # fmt: skip
