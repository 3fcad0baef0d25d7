"""Exact sums of floats.

Plain float addition depends on the order and grouping of its terms, so a volume added up
batch by batch would depend on how the ticks were batched.  Every finite ``float64`` is a
whole multiple of 2**-1074, so a sum is carried as that whole number, a Python ``int``, and
rounded once when it is read: it is exact, associative and commutative.  Sizes are not
negative; what is paid for them is where a price is.
"""

from __future__ import annotations

import math
import sys
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Bits right of the binary point: 2**-1074 is the smallest positive float64.
UNIT_BITS: Final = 1074
_UNITS: Final = 1 << UNIT_BITS
#: Sums of so many bits, and a sign, are an int64 with some to spare.
_SUM_BITS: Final = 62
#: 2**1023 is the largest power of two that is a float64.
_LARGEST_SHIFT: Final = 1000
_LARGEST: Final = sys.float_info.max
#: Below this no two floats added in `ExactSum` overflow on the way.
_SAFE: Final = 2.0**1022
#: In the two bytes before the digits of a sum; more zeros than bits this high do not occur.
_NEGATIVE: Final = 1 << 15


def units_of(value: float) -> int:
    """The whole number of 2**-1074 in a finite ``value``."""
    numerator, denominator = value.as_integer_ratio()
    return numerator * (_UNITS // denominator)


def float_of(units: int) -> float:
    """The float nearest to ``units`` * 2**-1074, ties to even; the largest where floats end.

    Sizes of garbage add up to more than a float64 holds, and an infinity is no volume that JSON
    could carry.
    """
    try:
        return units / _UNITS
    except OverflowError:
        return _LARGEST if units > 0 else -_LARGEST


def product(price: float, size: float) -> float:
    """What ``size`` costs at ``price``, rounded once; the largest float where floats end."""
    return min(max(price * size, -_LARGEST), _LARGEST)


def products(prices: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """`product` of each, shape (n,)."""
    with np.errstate(over="ignore"):
        found = prices * sizes
    # rare, and to look for it takes less than to bound every one
    if len(found) and not math.isfinite(float(found.max()) - float(found.min())):
        np.clip(found, -_LARGEST, _LARGEST, out=found)
    return found


def ratio(total: float, count: float) -> float:
    """``total`` / ``count``, which is not 0; the largest float where floats end, and never -0.0."""
    found = total / count
    if -_LARGEST <= found <= _LARGEST:
        return found + 0.0
    return math.copysign(_LARGEST, found)


def unrounded(units: int, value: float) -> int | None:
    """``units``, of which ``value`` is `float_of`; None where the float says as much."""
    return None if units_of(value) == units else units


def group_units(values: NDArray[np.float64], starts: NDArray[np.intp]) -> list[int]:
    """Exact sum of each group of consecutive values, in units of 2**-1074.

    What is cut off every value from above is a whole number, so small that all of them together
    are an int64; so is what is cut off the rest, until there is none::

        value     ±|------ whole ------|------ whole ------|-- ...
                                    2**-bits          2**-(2 * bits) of the largest value

    Sizes of lots take one cut and prices of a few decimals times sizes two, however many there are.

    Args:
        values: shape (n,), finite.
        starts: shape (g,), ascending, ``starts[0] == 0``; group i is
            ``values[starts[i]:starts[i + 1]]``, none of them empty.
    """
    largest = max(float(values.max()), -float(values.min())) if values.size else 0.0
    if largest == 0.0:
        return [0] * len(starts)
    bits = _SUM_BITS - values.size.bit_length()
    shift = min(bits - math.frexp(largest)[1], _LARGEST_SHIFT)
    rest = values * 2.0**shift
    # towards zero, so that the rest is exact: below the next lower one, that of -1e-30 would be 1.0
    whole = np.trunc(rest)
    sums: list[int] = np.add.reduceat(whole.astype(np.int64), starts).tolist()
    if shift < 0:  # to have made a value smaller was exact only as far as it is whole
        rests = group_units(values - whole * 2.0**-shift, starts)
        return [(a << UNIT_BITS - shift) + b for a, b in zip(sums, rests, strict=True)]
    rest -= whole
    while rest.any():
        rest *= 2.0**bits
        shift += bits
        np.trunc(rest, out=whole)
        below: list[int] = np.add.reduceat(whole.astype(np.int64), starts).tolist()
        sums = [(a << bits) + b for a, b in zip(sums, below, strict=True)]
        rest -= whole
    up = UNIT_BITS - shift
    return [total << up for total in sums] if up >= 0 else [total >> -up for total in sums]


class ExactSum:
    """A sum of floats that is rounded once, however it was added up.

    Carried as a few floats that do not overlap, whose sum is exact (Shewchuk 1997, as in
    `math.fsum`): a bar of a day takes up 1,440 volumes without keeping them.  Where such floats
    would overflow it goes on as a whole number of 2**-1074.
    """

    __slots__ = ("_parts", "_units")

    def __init__(self) -> None:
        self._parts: list[float] = []
        self._units: int | None = None

    def add(self, value: float) -> None:
        """Add a finite number."""
        if value == 0.0:
            return
        kept = 0
        parts = self._parts
        if self._units is not None or abs(value) + (abs(parts[-1]) if parts else 0.0) > _SAFE:
            self._units = sum(map(units_of, parts), self._units or 0) + units_of(value)
            parts.clear()
            return
        for part in parts:
            large, small = (value, part) if abs(value) >= abs(part) else (part, value)
            value = large + small
            rest = small - (value - large)
            if rest:
                parts[kept] = rest
                kept += 1
        parts[kept:] = [value]

    def copy(self) -> ExactSum:
        """Another sum that stands where this one does."""
        other = ExactSum()
        other._parts = self._parts.copy()
        other._units = self._units
        return other

    @property
    def value(self) -> float:
        """The float nearest to the sum, ties to even; see `float_of` for where floats end."""
        return math.fsum(self._parts) if self._units is None else float_of(self._units)


def to_bytes(units: int) -> bytes:
    """Compact form: two bytes of sign (the highest bit) and trailing zero bits, then the rest."""
    if not units:
        return b""
    zeros = (units & -units).bit_length() - 1
    rest = abs(units) >> zeros
    head = zeros if units > 0 else zeros | _NEGATIVE
    return head.to_bytes(2, "big") + rest.to_bytes((rest.bit_length() + 7) // 8, "big")


def from_bytes(data: bytes) -> int:
    """Inverse of `to_bytes`."""
    if not data:
        return 0
    head = int.from_bytes(data[:2], "big")
    units = int.from_bytes(data[2:], "big") << (head & ~_NEGATIVE)
    return -units if head & _NEGATIVE else units


def is_form(data: bytes, most_bits: int, *, signed: bool) -> bool:
    """Whether bytes are what `to_bytes` makes of a sum of at most so many bits."""
    # zeros are stated in two bytes: a row of ten bytes could ask for a number of 32 kilobits
    head = int.from_bytes(data[:2], "big")
    if head & _NEGATIVE and not signed:
        return False
    if (head & ~_NEGATIVE) + 8 * len(data) > most_bits + 16:
        return False
    return to_bytes(from_bytes(data)) == data


def to_decimal(units: int) -> str:
    """``units`` * 2**-1074 as a decimal number with every digit it has, ``-0.1000...5625``."""
    if units < 0:
        return f"-{to_decimal(-units)}"
    zeros = (units & -units).bit_length() - 1 if units else 0
    places = max(0, UNIT_BITS - zeros)
    # units / 2**1074 is a whole number of 10**-places, because 2**-1 is 5 * 10**-1
    digits = str((units >> (UNIT_BITS - places)) * 5**places).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits


def from_decimal(text: str) -> int:
    """Inverse of `to_decimal`.

    Raises:
        ValueError: the text is no whole multiple of 2**-1074.
    """
    whole, _, fraction = text.partition(".")
    parts: int = 10 ** len(fraction)
    units, rest = divmod(int(whole + fraction) << UNIT_BITS, parts)
    if rest:
        raise ValueError(f"an exact sum is a multiple of 2**-1074, found {text!r}")
    return units
