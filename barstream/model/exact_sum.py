"""Exact sums of floats.

Plain float addition depends on the order and grouping of its terms, so a volume added up
batch by batch would depend on how the ticks were batched.  Every finite ``float64`` is a
whole multiple of 2**-1074, so a volume is carried as that whole number, a Python ``int``,
and rounded once when it is read: the sum is exact, associative and commutative.
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
#: Sizes that are whole multiples of 2**-20 and small (lots, shares, halves) take the short way.
_FINE_BITS: Final = 20
_FINE_LIMIT: Final = 2.0**62
_WORD: Final = 32
_LARGEST: Final = sys.float_info.max
#: Below this no two floats added in `ExactSum` overflow on the way.
_SAFE: Final = 2.0**1022
_WORD_MASK: Final = (1 << _WORD) - 1


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
        return _LARGEST


def unrounded(units: int, value: float) -> int | None:
    """``units``, of which ``value`` is `float_of`; None where the float says as much."""
    return None if units_of(value) == units else units


def group_units(sizes: NDArray[np.float64], starts: NDArray[np.intp]) -> list[int]:
    """Exact sum of each group of consecutive sizes, in units of 2**-1074.

    Args:
        sizes: shape (n,), finite and not negative.
        starts: shape (g,), ascending, ``starts[0] == 0``; group i is
            ``sizes[starts[i]:starts[i + 1]]``, none of them empty.
    """
    with np.errstate(over="ignore"):
        fine = sizes * float(1 << _FINE_BITS)
    if sizes.size and float(fine.max()) * sizes.size < _FINE_LIMIT:
        whole = fine.astype(np.int64)
        if bool((whole == fine).all()):
            sums = np.add.reduceat(whole, starts)
            shift = UNIT_BITS - _FINE_BITS
            return [total << shift if total else 0 for total in sums.tolist()]
    return _group_units_by_words(sizes, starts)


def _group_units_by_words(sizes: NDArray[np.float64], starts: NDArray[np.intp]) -> list[int]:
    """Any sizes: cut every mantissa at fixed multiples of 2**32 and add the pieces as integers."""
    fraction, exponent = np.frexp(sizes)
    mantissa = np.ldexp(fraction, 53).astype(np.int64)
    # a value is mantissa * 2**(exponent - 53); counted from 2**-1074, subnormals shift right
    shift = exponent.astype(np.int64) - 53 + UNIT_BITS
    below = np.maximum(-shift, 0)
    mantissa >>= below
    shift = np.where(mantissa == 0, 0, shift + below)
    word, within = np.divmod(shift, _WORD)
    low = (mantissa & _WORD_MASK) << within
    high = (mantissa >> _WORD) << within
    pieces = (low & _WORD_MASK, (low >> _WORD) + (high & _WORD_MASK), high >> _WORD)
    totals = [0] * len(starts)
    for first in np.unique(word).tolist():
        chosen = word == first
        for step, piece in enumerate(pieces):
            sums = np.add.reduceat(np.where(chosen, piece, 0), starts)
            place = _WORD * (first + step)
            for group in np.flatnonzero(sums).tolist():
                totals[group] += int(sums[group]) << place
    return totals


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
    """Compact form of non-negative ``units``: two bytes of trailing zero bits, then the rest."""
    if not units:
        return b""
    zeros = (units & -units).bit_length() - 1
    rest = units >> zeros
    return zeros.to_bytes(2, "big") + rest.to_bytes((rest.bit_length() + 7) // 8, "big")


def from_bytes(data: bytes) -> int:
    """Inverse of `to_bytes`."""
    return int.from_bytes(data[2:], "big") << int.from_bytes(data[:2], "big") if data else 0


def to_decimal(units: int) -> str:
    """``units`` * 2**-1074 as a decimal number with every digit it has, ``0.1000...5625``."""
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
        raise ValueError(f"an exact volume is a multiple of 2**-1074, found {text!r}")
    return units
