"""What a row of a series must be: one that is not would become wrong bars without a word.

A changelog is written by workers alone, in transactions, and Kafka keeps checksums; so what fails
here was written by another program, or stands on a disk that lies.  A number that is wrong but
possible cannot be told from a right one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from barstream.codecs.topics.state_fields import SERIES_FIELDS, StateKind
from barstream.market.session import LONGEST_TOLERANCE_US
from barstream.model import exact_sum
from barstream.model.key import is_stored_name, series_key
from barstream.model.time import DAY_US, END_OF_TIME_US, MINUTE_US
from barstream.rules.series import NEVER_US

#: Bits of more than ``2**50`` of the largest float: what no sum comes to.
_SUM_BITS: Final = exact_sum.UNIT_BITS + 1024 + 50
#: Of a tick in the first minute of 1970 the minutes before are closed, by as much as the grace.
_SLACK_US: Final = 31 * DAY_US


def check_series(key: bytes, row: Mapping[str, Any]) -> None:
    """Refuse a row, as ``series_state.avsc`` has it, that no worker writes.

    Raises:
        ValueError: which rule it breaks.
    """
    broker, symbol = row["broker"], row["symbol"]
    _must(key == series_key(broker, symbol), f"the row is of {broker} {symbol}, the key is {key!r}")
    _must(is_stored_name(broker) and is_stored_name(symbol), "names are trimmed")
    for name, _, kind, _ in SERIES_FIELDS:
        value = row[name]
        if kind is StateKind.TIME:
            _must(_is_time_or_never(value), f"{name} {value} is no time from 1970 to 9999")
        elif kind is StateKind.PRICE:
            _must(value is None or math.isfinite(value), f"{name} {value} is no price")
        elif kind is StateKind.DATE:
            _must(value is None or _is_date(value), f"{name} {value} is no day from 1970 to 9999")
        elif kind is StateKind.COUNT:
            _must(value >= 0, f"{name} {value}")
    closed_us = row["closed_until"]
    aligned = closed_us == NEVER_US or closed_us % MINUTE_US == 0
    _must(aligned, f"closed_until {closed_us} is not the start of a minute")
    starts = [bar["bucket_start"] for bar in row["open_bars"]]
    _must(starts == sorted(set(starts)), "open bars ascend")
    for bar in row["open_bars"]:
        _check_bar(row, bar)


def _check_bar(row: Mapping[str, Any], bar: Mapping[str, Any]) -> None:
    start, first, last = bar["bucket_start"], bar["first_offset"], bar["last_offset"]
    _must(start % MINUTE_US == 0 and 0 <= start < END_OF_TIME_US, f"{start} starts no minute")
    _must(start >= row["closed_until"], f"the bar at {start} is open, and closed")
    _must(_is_date(bar["trading_date"]) and bar["session"] >= 0, "the session of a bar is one")
    low, high = bar["low"], bar["high"]
    prices = (low, bar["open"], bar["close"], high)
    _must(all(map(math.isfinite, prices)), f"prices {prices} of the bar at {start} are finite")
    within = low <= bar["open"] <= high and low <= bar["close"] <= high
    _must(within, f"open and close of the bar at {start} lie between low and high")
    times = (bar["open_time"], bar["close_time"])
    # a tick within the close tolerance of its session lies after its minute and the watermark
    end = start + MINUTE_US + LONGEST_TOLERANCE_US
    _must(start <= times[0] <= times[1] < end, f"times {times} of the bar at {start}")
    is_passed = start <= row["watermark"] and times[1] <= row["watermark"] + LONGEST_TOLERANCE_US
    _must(is_passed, f"the bar at {start} is of ticks after the watermark")
    _must(row["first_tick"] <= times[0], f"the bar at {start} is of ticks before the first")
    offsets = (bar["open_offset"], bar["last_tick_offset"])
    _must(0 <= first <= min(offsets) and max(offsets) <= last, f"offsets of the bar at {start}")
    _must(1 <= bar["tick_count"] <= last - first + 1, f"tick_count {bar['tick_count']} at {start}")
    is_volume = exact_sum.is_form(bar["volume"], _SUM_BITS, signed=False)
    _must(is_volume, f"the volume of the bar at {start} is a sum of sizes")
    turnover = bar["turnover"]
    is_turnover = turnover is None or exact_sum.is_form(turnover, _SUM_BITS, signed=True)
    _must(is_turnover, f"the turnover of the bar at {start} is a sum of floats")


def _must(holds: bool, rule: str) -> None:
    if not holds:
        raise ValueError(rule)


def _is_time_or_never(us: int) -> bool:
    return us == NEVER_US or -_SLACK_US <= us < END_OF_TIME_US + _SLACK_US


def _is_date(days: int) -> bool:
    return -1 <= days <= END_OF_TIME_US // DAY_US
