"""Dropping a series: the way back from a wrong load.

Its bars, heartbeats and state are withdrawn with tombstones; its ticks stay, for their topic is a
log, and a row says that those below an offset are withdrawn (`barstream.codecs.topics.withdrawal`).

A partition is dropped in one transaction with the transactional id of its worker, so a worker that
comes up meanwhile is fenced or fences the drop.  The partition that has bars or state comes last:
what is done before it only says of ticks that made no bar that they never will.  A drop that was
ended on the way is done again, and finds what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.topics.load_position import LoadPosition
from barstream.codecs.topics.load_position import decode as decode_position
from barstream.codecs.topics.withdrawal import WithdrawalRow, is_withdrawal_key
from barstream.config import Settings
from barstream.errors import BarstreamError
from barstream.feeds.load_positions import LoadRecords, load_records
from barstream.kafka.cluster import Cluster
from barstream.kafka.consumer_group import require_no_workers
from barstream.kafka.fence import fenced_partitions
from barstream.log.series import series_seen
from barstream.log.snapshot import held
from barstream.market.schedule import Series
from barstream.market.universe import SeriesSeen, did_you_mean, nearest_series
from barstream.model.time import SECOND_US, iso_from_us
from barstream.series.contents import Holding, HoldingReader, add_last, tombstones

#: A feed that sent a tick so lately is live.
_LIVE_US: Final = 300 * SECOND_US
#: A load that wrote so lately may go on.
_LOADS_US: Final = 60 * SECOND_US


class DropRefused(BarstreamError):
    """A series cannot be dropped now, or there is nothing to drop; the message says what to do."""


@dataclass
class Drop:
    """One series, on its way out.

    Args:
        settings: completed by the pipeline's declaration.
        name: of the series, normalised.
        clock: microseconds since the epoch.
        progress: told by `outlook` how many ticks more were read.
    """

    settings: Settings
    name: Series
    clock: Callable[[], int]
    progress: Callable[[int], None] = lambda _: None
    seen: SeriesSeen | None = None
    #: The topic of load positions, if there is one.
    records: LoadRecords | None = None
    _cluster: Cluster = field(init=False)
    _holdings: HoldingReader = field(init=False)

    def __post_init__(self) -> None:
        self._cluster = Cluster(self.settings)
        self._holdings = HoldingReader(self._cluster, self.name, self._refuse_live, self.progress)

    @property
    def _home(self) -> int | None:
        return None if self.seen is None else self.seen.partition

    @property
    def _spelled(self) -> str:
        return " ".join(self.name)

    async def outlook(self, partitions: Sequence[int]) -> list[Holding]:
        """What would be withdrawn; nothing is written, nobody is fenced.

        Raises:
            WorkersRunning: they would not know of it.
            DropRefused: the feed is live, the series is being loaded, or nobody knows it.
            BarstreamError: a topic cannot be read.
        """
        await require_no_workers(self.settings)
        universe = await series_seen(self._cluster)
        self.seen = universe.get(self.name)
        self.records = await load_records(self.settings)
        spans = await held(self._cluster, self._cluster.names.ticks, partitions)
        found = [
            await self._holdings.read(number, spans[number], self._home)
            for number in sorted(partitions)
        ]
        if all(part.is_empty and part.before is None for part in found):
            hint = did_you_mean(nearest_series(self.name, universe))
            raise DropRefused(
                f"a series that has ticks or bars is required, {self._spelled} has none{hint}"
            )
        mine = {part.partition for part in found if not part.is_empty}
        refuse_loading(self.records, self._cluster.names.ticks, mine, self.clock())
        return sorted(found, key=lambda part: (part.is_known, part.partition))

    async def run(self, outlook: Sequence[Holding]) -> list[Holding]:
        """Withdraw it; what was withdrawn, by partition.

        Args:
            outlook: what `outlook` gave; what has come since is withdrawn as well.

        Raises:
            WorkersRunning, DropRefused: as `outlook`; partitions before are done.
            BarstreamError: a partition cannot be written.
        """
        self._holdings.progress = lambda _: None
        at_us = self.clock()
        names = self._cluster.names
        todo = [part for part in outlook if not part.is_empty]
        whole = self._before(outlook)
        done: list[Holding] = []
        for part in todo:
            number = part.partition
            async with fenced_partitions(
                self._cluster, [number], (*names.bars, names.series), DropRefused,
                "withdrawn",
            ) as producers:  # fmt: skip
                now = await self._holdings.read_again(part, self._home)
                row = WithdrawalRow(*self.name, at_us, {number: now.end})
                whole = row.joined(whole)
                flush = tombstones(names, now, row.joined(now.before))
                if part is todo[-1]:
                    add_last(flush, names, whole, self.records)
                await producers[number].write(flush.rows)
            done.append(now)
        return done

    # -- what keeps it from being dropped ---------------------------------------------------------

    def _refuse_live(self, chunk: RecordChunk, at: Any, time_us: Any) -> None:
        """A tick that came as it happened, minutes ago: the next would begin the series anew."""
        heartbeats = self.settings.heartbeats
        late_us = heartbeats.feed_delay_us.get(self.name[0], 0) + self.settings.bars.grace_us
        since_us = self.clock() - _LIVE_US
        stamps = chunk.timestamps_us[at]
        live = time_us >= since_us - late_us
        if chunk.append_time:
            live &= (stamps - time_us <= late_us) & (stamps >= since_us)
        if live.any():
            place = int(np.flatnonzero(live)[-1])
            raise DropRefused(
                f"a feed that was stopped is required, but {self._spelled} is live: its tick at "
                f"offset {int(chunk.offsets[at[place]])} of {chunk.topic}[{chunk.partition}] came "
                f"as it happened, at {iso_from_us(int(time_us[place]))}. Stop the feed, and drop "
                f"it {_LIVE_US // (60 * SECOND_US)} minutes after its last tick"
            )

    # -- what is written --------------------------------------------------------------------------

    def _before(self, parts: Sequence[Holding]) -> WithdrawalRow | None:
        """What was withdrawn before, of all partitions."""
        row = None if self.records is None else self.records.withdrawal(self.name)
        for part in parts:
            if part.before is not None:
                row = part.before.joined(row)
        return row


def refuse_loading(
    records: LoadRecords | None, ticks_topic: str, mine: Collection[int], now_us: int
) -> None:
    """A load that still runs would go on where it is, with the rest of its file.

    Args:
        records: of loads; None: there was never one.
        ticks_topic: the topic of ours.
        mine: partitions of it that are to be written.
        now_us: microseconds since the epoch.

    Raises:
        DropRefused: one wrote to them in the last minute.
    """
    for position in () if records is None else _positions(records, ticks_topic):
        age_us = now_us - position.updated_at_us
        if not position.done and age_us < _LOADS_US and position.last_ticks.keys() & mine:
            raise DropRefused(
                f"a load that has ended is required, but that of {position.file} wrote tick "
                f"{position.rows:,} of {position.total:,} {max(0, age_us) // SECOND_US} s ago: "
                f"let it end, or end it with Ctrl-C and wait {_LOADS_US // SECOND_US} s"
            )


def _positions(records: LoadRecords, ticks_topic: str) -> Iterator[LoadPosition]:
    for key, value in records.by_key.items():
        if is_withdrawal_key(key):
            continue
        try:
            position = decode_position(value)
        except ValueError:
            continue  # the load it is of says so
        if position.ticks_topic == ticks_topic:
            yield position
