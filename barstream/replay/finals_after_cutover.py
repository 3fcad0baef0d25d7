"""The finals of a partition as they will stand after a switch-over, in memory."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping

from barstream.market.schedule import Series
from barstream.model.bar import Bar
from barstream.model.period import MINUTE, Period

_Place = tuple[Period, str, str]


class Merged:
    """See `barstream.model.finals.Finals`.

    Args:
        cut_us: by series the first minute that is left, where earlier ones were deleted.
    """

    def __init__(self, cut_us: Mapping[Series, int]) -> None:
        self._cut_us = cut_us
        self._bars: dict[_Place, dict[int, Bar]] = {}
        self._buckets: dict[_Place, list[int]] = {}

    def load(self, period: Period, bars: Iterable[Bar]) -> None:
        """What is published, in any order."""
        places: set[_Place] = set()
        for bar in bars:
            place = period, bar.broker, bar.symbol
            self._bars.setdefault(place, {})[bar.bucket_start_us] = bar
            places.add(place)
        self._buckets.update({place: sorted(self._bars[place]) for place in places})

    def put(self, period: Period, bar: Bar) -> None:
        """A bar that is added or changed."""
        place = period, bar.broker, bar.symbol
        bars = self._bars.setdefault(place, {})
        if bar.bucket_start_us not in bars:
            insort(self._buckets.setdefault(place, []), bar.bucket_start_us)
        bars[bar.bucket_start_us] = bar

    def remove(self, period: Period, broker: str, symbol: str, bucket_us: int) -> None:
        """A bar that is withdrawn."""
        place = period, broker, symbol
        if self._bars.get(place, {}).pop(bucket_us, None) is not None:
            self._buckets[place].remove(bucket_us)

    def get(self, period: Period, broker: str, symbol: str, bucket_us: int) -> Bar | None:
        """The bar of a bucket."""
        return self._bars.get((period, broker, symbol), {}).get(bucket_us)

    def between(
        self, period: Period, broker: str, symbol: str, from_us: int, to_us: int
    ) -> list[Bar]:
        """Bars with ``from_us <= bucket_start_us < to_us``, ascending."""
        place = period, broker, symbol
        buckets, bars = self._buckets.get(place, []), self._bars.get(place, {})
        return [
            bars[at] for at in buckets[bisect_left(buckets, from_us) : bisect_left(buckets, to_us)]
        ]

    def first(self, period: Period, broker: str, symbol: str) -> Bar | None:
        """The earliest bar of a series."""
        buckets = self._buckets.get((period, broker, symbol))
        return self._bars[period, broker, symbol][buckets[0]] if buckets else None

    def before(self, period: Period, broker: str, symbol: str, before_us: int) -> Bar | None:
        """The last bar that starts before ``before_us``."""
        place = period, broker, symbol
        buckets = self._buckets.get(place, [])
        at = bisect_left(buckets, before_us)
        return self._bars[place][buckets[at - 1]] if at else None

    def after(self, period: Period, broker: str, symbol: str, bucket_us: int) -> Bar | None:
        """The first bar that starts after ``bucket_us``."""
        place = period, broker, symbol
        buckets = self._buckets.get(place, [])
        at = bisect_left(buckets, bucket_us + 1)
        return self._bars[place][buckets[at]] if at < len(buckets) else None

    def retained_from_us(self, period: Period, broker: str, symbol: str) -> int | None:
        """Minutes before this were deleted; None: none were."""
        return self._cut_us.get((broker, symbol)) if period == MINUTE else None
