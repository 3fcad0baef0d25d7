"""Bars of one series in a topic: versions of a bucket, bars of a span, and what lies beside it."""

from __future__ import annotations

from typing import Final, NamedTuple

import polars as pl

from barstream.codecs.topics.withdrawal import WithdrawalRow
from barstream.explain.facts import Neighbours, Version
from barstream.explain.window import WINDOW, Progress, backward, forward
from barstream.kafka.cluster import Cluster
from barstream.log.compaction import compacted
from barstream.log.finals import SCHEMA, bars, versions
from barstream.log.selection import Selection
from barstream.log.snapshot import Span, held, offsets_at
from barstream.model.time import SECOND_US

#: A final is written after its minute is over; clocks of brokers differ a little.
_MARGIN_US: Final = 60 * SECOND_US
#: Where bars stand in the order of their minutes, so many records are looked at to tell where ...
_PROBE: Final = 4_096
#: ... until it is known within so many, which are read in one go.
_NEAR: Final = 30_000
#: What one flush writes stands in any order: so many records of live bars on either side.
_FLUSH: Final = 40_000
#: So many bars are kept among which is the one that ended a sleep.
_WAKING: Final = 20
#: A drop writes its tombstones in transactions of at most this length.
_DROPPED_WITHIN_US: Final = 600 * SECOND_US


class SeriesPlace(NamedTuple):
    """Where the bars of a series are.

    Attributes:
        cluster: where the topics are.
        partition: of the series.
        series: broker and symbol, normalised.
        withdrawal: of the series, if it was dropped: the bars of before are left out.
        progress: told how far each reading has come.
    """

    cluster: Cluster
    partition: int
    series: tuple[str, str]
    withdrawal: WithdrawalRow | None
    progress: Progress


class BarTopic:
    """One series in one partition of a topic of bars, read by key.

    Args:
        topic: of finals or live bars of a period.
        place: see `SeriesPlace`.
        open_us: the bars of a series were written minute after minute, but for those no farther
            apart than this, which were open together; None: some were revised, or written anew.
        is_live: of live bars.
    """

    def __init__(
        self,
        topic: str,
        place: SeriesPlace,
        *,
        open_us: int | None = None,
        is_live: bool = False,
    ) -> None:
        self._withdrawal = place.withdrawal
        # bars that were dropped may have come again
        self._open_us = open_us if place.withdrawal is None else None
        self._slack = _FLUSH if is_live else 0
        self._cluster = place.cluster
        self._topic = topic
        self._partition = place.partition
        self._series = place.series
        self._progress = place.progress
        self._held: Span | None = None
        self._recent: tuple[int, pl.DataFrame] | None = None

    async def begin(self) -> int:
        """Offset at which the partition begins."""
        return (await self._whole()).begin

    async def versions(self, bucket_us: int, since_us: int) -> tuple[Version, ...]:
        """Every record of one bucket, oldest first; none was appended before ``since_us``."""
        if self._open_us is None:
            wanted = Selection(*self._series, bucket_us, bucket_us + 1)
            return _versions(await self._from(since_us, wanted))
        found, _ = await self._near(bucket_us, bucket_us, since_us)
        key = pl.col("key").bin.ends_with(Selection.stamp(bucket_us))
        return _versions(found.filter(key))

    async def between(self, from_us: int, to_us: int, since_us: int) -> tuple[Version, ...]:
        """The newest version of each bar with ``from_us <= bucket start < to_us``, ascending."""
        wanted = Selection(*self._series, from_us, to_us)
        if self._open_us is None:
            found = await self._from(since_us, wanted)
        else:
            found, _ = await self._near(from_us, to_us, since_us)
            found = found[wanted.positions(found["key"].to_list())]
        return _versions(compacted(found).filter(pl.col("kind") == "bar").sort("bucket_start"))

    async def around(self, bucket_us: int, since_us: int) -> tuple[tuple[Version, ...], Neighbours]:
        """Every record of one bucket, and what lies beside it; of a bar with ticks not far back."""
        found, begin = await self._near(bucket_us, bucket_us, since_us)
        key = pl.col("key").bin.ends_with(Selection.stamp(bucket_us))
        own = _versions(found.filter(key))
        newest = own[-1].bar if own else None
        if newest is None or newest.synthetic:
            return own, await self._neighbours(found, bucket_us, begin)
        before = found.filter((pl.col("kind") == "bar") & (pl.col("bucket_start") < bucket_us))
        return own, Neighbours(_newest_real(before), after=_first(_after(found, bucket_us)))

    async def neighbours(self, bucket_us: int, since_us: int) -> Neighbours:
        """Finals of the series beside a bucket."""
        found, begin = await self._near(bucket_us, bucket_us, since_us)
        return await self._neighbours(found, bucket_us, begin)

    async def _near(self, from_us: int, until_us: int, since_us: int) -> tuple[pl.DataFrame, int]:
        """Bars of the series in a span of time, beside it and after it, and from which offset on.

        The bucket that starts at ``until_us`` is in it.
        """
        begin, end = await self._offset_at(since_us), (await self._whole()).end
        apart_us, step = self._open_us, WINDOW
        if apart_us is not None:
            near = await self._begin_of(from_us - apart_us, Span(begin, end))
            begin, step = max(begin, near - self._slack), _NEAR
        parts = [pl.DataFrame(schema=SCHEMA)]
        for window in forward(Span(begin, end), "bars", self._progress, step):
            if window.begin >= end:
                break
            parts.append(await self._read(window, Selection(*self._series)))
            if apart_us is not None and _reaches(parts[-1], until_us + apart_us):
                end = min(end, window.end + self._slack)
        return pl.concat(parts), begin

    async def _begin_of(self, bucket_us: int, span: Span) -> int:
        """An offset before which every bar of the series is earlier than a bucket; it is near."""
        low, high, probe = span.begin, span.end, _PROBE
        while high - low > _NEAR:
            middle = (low + high) // 2
            window = Span(middle, min(middle + probe, high))
            found = await self._read(window, Selection(*self._series))
            starts = found["bucket_start"].drop_nulls()
            if starts.is_empty():
                if window.end == high:
                    high = middle  # what comes behind was looked at before
                    continue
                probe *= 4
                continue
            probe = _PROBE
            if starts.to_numpy().max() < bucket_us:
                low = middle
            else:
                high = middle
        return low

    async def _neighbours(self, found: pl.DataFrame, bucket_us: int, begin: int) -> Neighbours:
        is_bar = pl.col("kind") == "bar"
        after = _after(found, bucket_us)
        before = found.filter(is_bar & (pl.col("bucket_start") < bucket_us))
        older = await self._older(bucket_us, begin, _newest_real(before))
        before = pl.concat([older, before]).sort("bucket_start", "offset")
        return Neighbours(
            _last(before.filter(~pl.col("synthetic"))),
            _last(before),
            _first(after),
            _waking(after),
            await self._earliest(pl.concat([before, after])),
        )

    async def _older(self, bucket_us: int, end: int, known: Version | None) -> pl.DataFrame:
        """Finals before the bucket that stand below offset ``end``, back to a real one."""
        if known is not None:
            return pl.DataFrame(schema=SCHEMA)
        whole = await self._whole()
        wanted = Selection(*self._series, None, bucket_us)
        for window in backward(Span(whole.begin, end), "earlier bars", self._progress):
            found = await self._read(window, wanted)
            if _newest_real(found) is not None:
                return found
        return pl.DataFrame(schema=SCHEMA)

    async def _earliest(self, known: pl.DataFrame) -> int | None:
        """Bucket start of the first bar of the series; only asked where some were deleted."""
        whole = await self._whole()
        if whole.begin:
            for window in forward(whole, "the first bar", self._progress):
                found = await self._read(window, Selection(*self._series))
                found = found.filter(pl.col("kind") == "bar")
                if len(found):
                    known = found
                    break
        starts = known["bucket_start"].drop_nulls()
        return None if not len(starts) else int(starts.to_numpy().min())

    async def _from(self, since_us: int, wanted: Selection) -> pl.DataFrame:
        begin = await self._offset_at(since_us)
        whole = await self._whole()
        parts = [
            await self._read(window, wanted)
            for window in forward(Span(begin, whole.end), "bars", self._progress)
        ]
        return pl.concat(parts) if parts else pl.DataFrame(schema=SCHEMA)

    async def _read(self, window: Span, wanted: Selection) -> pl.DataFrame:
        found = await versions(self._cluster, self._topic, {self._partition: window}, wanted)
        if self._withdrawal is None:
            return found
        # what was made of ticks after these was closed above them
        before = pl.col("close_offset") <= self._withdrawal.end(self._partition).ticks
        until_us = self._withdrawal.withdrawn_at_us + _DROPPED_WITHIN_US
        tombstone = (pl.col("kind") == "tombstone") & (pl.col("appended_us") <= until_us)
        return found.filter(~(before.fill_null(value=False) | tombstone))

    async def _whole(self) -> Span:
        if self._held is None:
            spans = await held(self._cluster, self._topic, [self._partition])
            self._held = spans[self._partition]
        return self._held

    async def _offset_at(self, time_us: int) -> int:
        spans = {self._partition: await self._whole()}
        at = await offsets_at(self._cluster, self._topic, spans, time_us - _MARGIN_US)
        return at[self._partition]


def _versions(found: pl.DataFrame) -> tuple[Version, ...]:
    """Rows in their order; what cannot be read is left out."""
    made = []
    for row in found.filter(pl.col("kind") != "unreadable").iter_slices(1):
        bar = bars(row)
        made.append(Version(row["offset"][0], row["appended_us"][0], bar[0] if bar else None))
    return tuple(made)


def _after(found: pl.DataFrame, bucket_us: int) -> pl.DataFrame:
    """Bars after a bucket; first of all the first version of the next one."""
    after = found.filter((pl.col("kind") == "bar") & (pl.col("bucket_start") > bucket_us))
    return after.sort("bucket_start", "offset")


def _reaches(found: pl.DataFrame, bucket_us: int) -> bool:
    """Whether a bucket or a later one is among them."""
    starts = found["bucket_start"].drop_nulls()
    return not starts.is_empty() and bool(starts.to_numpy().max() >= bucket_us)


def _waking(after: pl.DataFrame) -> tuple[Version, ...]:
    """Of the bars with ticks, in their first versions, those with the lowest offsets."""
    first = after.unique("key", keep="first", maintain_order=True)
    reals = first.filter(~pl.col("synthetic")).sort("first_offset")
    return _versions(reals.head(_WAKING))


def _newest_real(found: pl.DataFrame) -> Version | None:
    real = found.filter((pl.col("kind") == "bar") & ~pl.col("synthetic"))
    return _last(real.sort("bucket_start", "offset"))


def _last(found: pl.DataFrame) -> Version | None:
    return _versions(found.tail(1))[0] if len(found) else None


def _first(found: pl.DataFrame) -> Version | None:
    return _versions(found.head(1))[0] if len(found) else None
