"""From numbers as written to prices, sizes and times; every formula stands here once.

- A whole number ``v`` with ``s`` decimal places is the float64 nearest to ``v / 10**s``: 112345
  with 5 places is exactly ``float("1.12345")``.  So are decimals and numbers in text.
- ``mid = (bid + ask) / 2`` in float64, of the values so obtained.
- A float32 keeps its value: 1.1 written as an Avro float is 1.100000023841858.
- Times become whole microseconds: nanoseconds are cut (floor), fractions of floats rounded to
  the nearest, half to even; a text may have more digits than six, which are cut.

Each function judges element by element, so a value never depends on its neighbours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from barstream.model.time import END_OF_TIME_US, us_from_iso

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]
Mask = NDArray[np.bool_]
TimeUnit = Literal["us", "ms", "s", "ns", "iso", "auto"]

#: No time at all; never leaves the codecs.
NO_TIME: Final = -1

_UNITS_IN_A_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
#: ``auto`` by size: 1e11 is 5138 in seconds and March 1973 in milliseconds, and so on upward.
_AUTO: Final = ((10**11, "s"), (10**14, "ms"), (10**17, "us"), (2**63, "ns"))
_EXACT: Final = 1 << 53
#: One way alone to read each digit: two ways (``\d+\.?\d*``) take the square of the length, hours
#: for a record of a megabyte of digits and a letter.
_NUMBER: Final = re.compile(
    r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf(inity)?)", re.IGNORECASE | re.ASCII
)
_WHOLE: Final = re.compile(r"[+-]?\d{1,40}", re.ASCII)


def floats_of_longs(values: Longs, scale: int = 0) -> Floats:
    """``value / 10**scale``, each the nearest float64."""
    numbers = values.astype(np.float64)
    if not scale:
        return numbers
    numbers /= 10.0**scale  # one rounding: both operands are exact below 2**53
    large = (values >= _EXACT) | (values <= -_EXACT)
    if large.any():
        numbers[large] = [value / 10**scale for value in values[large].tolist()]
    return numbers


def floats_of_ints(values: Iterable[int], scale: int) -> Floats:
    """The same for whole numbers of any size; infinite where float64 ends."""
    return np.array([_ratio(value, scale) for value in values], np.float64)


def floats_of_decimals(values: Iterable[bytes], scale: int) -> Floats:
    """Avro decimals: two's complement, big endian; no bytes at all is 0."""
    return floats_of_ints((int.from_bytes(v, "big", signed=True) for v in values), scale)


def floats_of_texts(values: list[str], scale: int = 0) -> tuple[Floats, Mask]:
    """Numbers in text (with a scale: whole numbers in text), and which are none."""
    pattern = _WHOLE if scale else _NUMBER
    stripped = [value.strip() for value in values]
    bad = np.array([pattern.fullmatch(value) is None for value in stripped], np.bool_)
    numbers = np.zeros(len(values))
    good = np.flatnonzero(~bad)
    numbers[good] = [
        _ratio(int(stripped[at]), scale) if scale else float(stripped[at]) for at in good.tolist()
    ]
    return numbers, bad


def _ratio(value: int, scale: int) -> float:
    divisor: int = 10**scale
    try:
        return value / divisor
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def times_of_longs(values: Longs, unit: TimeUnit) -> Longs:
    """Microseconds of whole numbers in ``unit``; `NO_TIME` outside 1970 to 9999."""
    if unit == "auto":
        out = np.full(len(values), NO_TIME, np.int64)
        lower = 0
        for upper, name in _AUTO:
            inside = values >= lower
            if upper < 2**63:
                inside &= values < upper
            if inside.any():
                out[inside] = times_of_longs(values[inside], _unit(name))
            lower = upper
        return out
    in_a_second = _UNITS_IN_A_SECOND[unit]
    if in_a_second > 1_000_000:
        known = values >= 0
        times = values // (in_a_second // 1_000_000)
    else:
        factor = 1_000_000 // in_a_second
        known = (values >= 0) & (values < END_OF_TIME_US // factor)
        # Wraps around where it is not known, which is not used.
        times = values if factor == 1 else values * factor
    return times if known.all() else np.where(known, times, NO_TIME)


def times_of_floats(values: Floats, unit: TimeUnit) -> Longs:
    """Microseconds of fractional numbers in ``unit``; `NO_TIME` outside 1970 to 9999."""
    known = (values >= 0) & (values < 2.0**63)  # false for NaN as well
    if unit == "auto":
        out = np.full(len(values), NO_TIME, np.int64)
        lower = 0.0
        for upper, name in _AUTO:
            inside = known & (values >= lower) & (values < upper)
            if inside.any():
                out[inside] = times_of_floats(values[inside], _unit(name))
            lower = float(upper)
        return out
    factor = 1_000_000 / _UNITS_IN_A_SECOND[unit]
    scaled = np.rint(np.where(known, values, 0.0) * factor)
    known &= scaled < END_OF_TIME_US
    return np.where(known, scaled, NO_TIME).astype(np.int64)


def times_of_texts(values: list[str], unit: TimeUnit) -> tuple[Longs, Mask]:
    """Microseconds of texts, and which are no text of ``unit`` at all.

    ``iso`` and ``auto`` want ISO 8601 (UTC without a zone), the others a number.
    """
    times = np.full(len(values), NO_TIME, np.int64)
    bad = np.zeros(len(values), np.bool_)
    for at, text in enumerate(values):
        word = text.strip()
        if unit in ("iso", "auto"):
            times[at] = _iso(word)
        elif _WHOLE.fullmatch(word):
            number = int(word)
            if abs(number) < 2**63:
                times[at] = times_of_longs(np.array([number]), unit)[0]
        elif _NUMBER.fullmatch(word):
            times[at] = times_of_floats(np.array([float(word)]), unit)[0]
        else:
            bad[at] = True
    return times, bad


def _iso(text: str) -> int:
    try:
        us = us_from_iso(text)
    except (ValueError, OverflowError):
        return NO_TIME
    return us if 0 <= us < END_OF_TIME_US else NO_TIME


def _unit(name: str) -> TimeUnit:
    return name  # type: ignore[return-value]
