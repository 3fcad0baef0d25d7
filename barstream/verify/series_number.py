"""Series as numbers, so that ticks and bars of millions are joined by integers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from barstream.model.time import MINUTE_US

#: Minutes up to the year 9999 take 33 bits; offsets of a partition 43 are enough for.
_MINUTE_BITS: Final = 34
_OFFSET_BITS: Final = 43

Name = tuple[str, str]
"""Broker and symbol."""


class SeriesNumbers:
    """Numbers series from 0 in the order they are met."""

    def __init__(self) -> None:
        self.names: list[Name] = []
        self._known: dict[Name, int] = {}

    def __len__(self) -> int:
        return len(self.names)

    def number(self, name: Name) -> int:
        """The number of a series, a new one if it has none."""
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = len(self.names)
            self.names.append(name)
        return found

    def numbers(self, names: Iterable[Name]) -> NDArray[np.int64]:
        """Numbers of several."""
        return np.fromiter((self.number(name) for name in names), np.int64)

    def get(self, name: Name) -> int | None:
        """The number of a series, None if it was never met."""
        return self._known.get(name)


def minute_key(series: NDArray[np.int64], bucket_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """One integer for series and minute, ascending by series, then by time."""
    return (series << _MINUTE_BITS) | (bucket_us // MINUTE_US)


def offset_key(series: NDArray[np.int64], offset: NDArray[np.int64]) -> NDArray[np.int64]:
    """One integer for series and offset, ascending by series, then by offset."""
    return (series << _OFFSET_BITS) | np.minimum(offset, (1 << _OFFSET_BITS) - 1)


def find(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of ``wanted`` stands in the ascending ``keys``; -1 where it does not."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    at = np.searchsorted(keys, wanted)
    at[at == len(keys)] = 0
    return np.where(keys[at] == wanted, at, -1)
