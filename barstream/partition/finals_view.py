"""All finals of a partition: those on disk, and over them those no flush has committed yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, Protocol

from barstream.codecs.topics.bar import decode_bars
from barstream.errors import StateUnusable
from barstream.model.bar import Bar
from barstream.model.key import bar_key, series_key
from barstream.model.period import Period
from barstream.model.time import LAST_MINUTE_US, ceil_minute

_MEND: Final = (
    "Stop the worker, move its data directory away and start it again: the table is restored from "
    "Kafka. If it says so again, the topic itself was written by another program: start over under "
    "another app_id and topics.base"
)
Overlay = dict[tuple[str, str], dict[int, Bar]]


class StoredFinals(Protocol):
    """The committed finals of a period in one partition: rows by `bar_key`, ascending."""

    def get(self, key: bytes) -> bytes | None:
        """The row of a key."""
        ...

    def range(self, first: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Rows with ``first <= key < end``."""
        ...

    def range_back(self, first: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The same, from the last to the first."""
        ...

    def retained_from_us(self, broker: str, symbol: str) -> int | None:
        """Finals of a series that start before this were deleted; None: none were."""
        ...


class FinalsView:
    """Finals by period, series and bucket; see `barstream.model.finals.Finals`.

    Args:
        stores: local store of the finals by period; a period that has none is kept in memory.
    """

    def __init__(self, stores: Mapping[Period, StoredFinals]) -> None:
        self.stores = stores
        #: Final in memory, not committed: by period, series and bucket.
        self._new: dict[Period, Overlay] = {}
        self._revisions: dict[tuple[str, str], int] = {}

    def put(self, period: Period, bar: Bar) -> None:
        """A new final, or a revision of one."""
        if bar.revision:
            name = bar.broker, bar.symbol
            self._revisions[name] = self._revisions.get(name, 0) + 1
        series = self._new.setdefault(period, {}).setdefault((bar.broker, bar.symbol), {})
        series[bar.bucket_start_us] = bar

    def committed(self, period: Period, bars: Iterable[Bar]) -> None:
        """These are in the local store now; what was revised since stays."""
        if period not in self.stores:
            return
        overlay = self._new.get(period, {})
        for bar in bars:
            name = bar.broker, bar.symbol
            series = overlay.get(name)
            if series is not None and series.get(bar.bucket_start_us) is bar:
                del series[bar.bucket_start_us]
                if not series:
                    del overlay[name]

    def revisions(self, broker: str, symbol: str) -> int:
        """How often finals of a series were revised since the worker has it.

        What was read of them before holds as long as this stays.
        """
        return self._revisions.get((broker, symbol), 0)

    def get(self, period: Period, broker: str, symbol: str, bucket_us: int) -> Bar | None:
        """The newest version of a final; None when there is none."""
        found = self._new.get(period, {}).get((broker, symbol), {}).get(bucket_us)
        if found is not None or period not in self.stores:
            return found
        value = self.stores[period].get(bar_key(broker, symbol, bucket_us))
        if value is None:
            return None
        bar = _decoded([value])[0]
        _check(bar, broker, symbol, bucket_us, bucket_us + 1)
        return bar

    def between(
        self, period: Period, broker: str, symbol: str, from_us: int, to_us: int
    ) -> list[Bar]:
        """Finals with ``from_us <= bucket_start_us < to_us``, ascending; the newest versions."""
        found: dict[int, Bar] = {}
        if period in self.stores:
            first, end = span(broker, symbol, from_us, to_us)
            values = [value for _, value in self.stores[period].range(first, end)]
            bars = _decoded(values)
            for bar in bars:
                _check(bar, broker, symbol, from_us, to_us)
            found = {bar.bucket_start_us: bar for bar in bars}
        new = self._new.get(period, {}).get((broker, symbol))
        if not new:
            return list(found.values())
        found.update((at, bar) for at, bar in new.items() if from_us <= at < to_us)
        return [found[bucket_us] for bucket_us in sorted(found)]

    def before(self, period: Period, broker: str, symbol: str, before_us: int) -> Bar | None:
        """The last final with ``bucket_start_us < before_us``."""
        stored = next(self.rows(period, *span(broker, symbol, 0, before_us), descending=True), None)
        new = self._new.get(period, {}).get((broker, symbol), {})
        latest = max((bucket_us for bucket_us in new if bucket_us < before_us), default=None)
        if latest is None or (stored is not None and stored[1].bucket_start_us > latest):
            return None if stored is None else stored[1]
        return new[latest]

    def first(self, period: Period, broker: str, symbol: str) -> Bar | None:
        """The earliest final of a series."""
        rows = self.rows(period, *span(broker, symbol, 0, LAST_MINUTE_US + 1))
        bars = [bar for _, bar in islice(rows, 1)]
        bars.extend(self._new.get(period, {}).get((broker, symbol), {}).values())
        return min(bars, key=lambda bar: bar.bucket_start_us, default=None)

    def retained_from_us(self, period: Period, broker: str, symbol: str) -> int | None:
        """Finals of the series that start before this were deleted; None: none were."""
        store = self.stores.get(period)
        return None if store is None else store.retained_from_us(broker, symbol)

    def rows(
        self,
        period: Period,
        first: bytes,
        end: bytes,
        limit: int | None = None,
        *,
        descending: bool = False,
    ) -> Iterator[tuple[bytes, Bar]]:
        """Committed finals with ``first <= key < end``, at most ``limit``, by one seek."""
        store = self.stores.get(period)
        if store is None:
            return
        scan = (store.range_back if descending else store.range)(first, end)
        if limit is None:
            for key, value in scan:
                yield key, _decoded([value])[0]
            return
        rows = list(islice(scan, limit))
        bars = _decoded([value for _, value in rows])
        for (key, _), bar in zip(rows, bars, strict=True):
            yield key, bar

    def uncommitted(
        self, period: Period, broker: str | None = None, symbol: str | None = None
    ) -> list[Bar]:
        """Finals no flush has committed yet, in no order; of one series, a broker, or all."""
        overlay = self._new.get(period, {})
        if broker is not None and symbol is not None:
            return list(overlay.get((broker, symbol), {}).values())
        return [
            bar
            for name, series in overlay.items()
            if broker is None or name[0] == broker
            for bar in series.values()
        ]


class RevisableFinals:
    """The finals as late ticks may change them: not where retention has cut an upper bar.

    Args:
        finals: all of them.
        whole_from_us: of a series the minute before which an upper bar could not follow; None:
            there is none.
    """

    def __init__(self, finals: FinalsView, whole_from_us: Callable[[str, str], int | None]) -> None:
        self._whole_from_us = whole_from_us
        self.get, self.between, self.put = finals.get, finals.between, finals.put
        self.before, self.first = finals.before, finals.first

    def retained_from_us(self, _: Period, broker: str, symbol: str) -> int | None:
        """Minutes before this take no late tick."""
        return self._whole_from_us(broker, symbol)


def _decoded(values: Sequence[bytes]) -> list[Bar]:
    """Bars of rows.

    Raises:
        StateUnusable: a row is no bar.
    """
    try:
        return decode_bars(values)
    except ValueError as error:
        raise StateUnusable(
            f"a row of the finals must be a bar, found: {error}. {_MEND}"
        ) from error


def _check(bar: Bar, broker: str, symbol: str, from_us: int, to_us: int) -> None:
    """Refuse a bar that its key does not name: what is folded of it would be wrong."""
    if (bar.broker, bar.symbol) == (broker, symbol) and from_us <= bar.bucket_start_us < to_us:
        return
    raise StateUnusable(
        f"a row of the finals must be the bar its key says, found one of {bar.broker} {bar.symbol} "
        f"at {bar.bucket_start_us} us under a key of {broker} {symbol} from {from_us} us. {_MEND}"
    )


def span(broker: str, symbol: str, from_us: int, to_us: int) -> tuple[bytes, bytes]:
    """Bounds of the keys of one series' buckets that start in [from_us, to_us)."""
    first = bar_key(broker, symbol, min(ceil_minute(max(0, from_us)), LAST_MINUTE_US))
    if to_us > LAST_MINUTE_US:
        return first, series_key(broker, symbol) + b"\1"
    return first, bar_key(broker, symbol, ceil_minute(max(0, to_us)))
