"""``ticks load``: a file into Kafka, exactly once, and the heartbeats that close its bars.

Ticks go in event-time order whatever the order of the file, so one clock per series runs
forward.  A chunk of ticks, the heartbeats they make due and the position after them are one
transaction (why that is exact: ``positions.py``); a last transaction closes each series
through its own range.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from barstream.codecs.topics.load_position import LoadPosition
from barstream.feeds.encoder import TickEncoder
from barstream.feeds.load_clock import AS_FAST_EVERY_US, NEVER, PACED_EVERY_US, SeriesClocks
from barstream.feeds.load_positions import (
    LoadRecords,
    check_same_ticks,
    positions_topic,
    read_records,
)
from barstream.feeds.load_transaction import LoadContents, LoadWriter
from barstream.feeds.progress import Watcher
from barstream.feeds.refusals import (
    AlreadyClosedError,
    AlreadyLoadedError,
    LoadInterruptedError,
)
from barstream.kafka.clients import KafkaError, ProducerFenced
from barstream.kafka.cluster import Cluster
from barstream.model.time import MINUTE_US, SECOND_US, iso_from_us

CHUNK_ROWS: Final = 50_000
CLOCKS_DIFFER_US: Final = SECOND_US
"""The broker's clock judges heartbeats; it may be this much behind ours."""
WAIT_FOR_LAST_MINUTE_US: Final = 3 * MINUTE_US
_PACED_SLEEP_S: Final = (0.1, 1.0)

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LoadRules:
    """How to load.

    Attributes:
        pace: event time per wall time, 1 is the original pace; None is as fast as possible.
        heartbeats: whether to close the bars of what is loaded.
        again: load from the start, whatever was loaded or closed before.
        without_sessions: send series that have no session, whose ticks make no bar.
        grace_us: the grace of the bars.
        chunk_rows: ticks a transaction.
    """

    grace_us: int
    pace: float | None = None
    heartbeats: bool = True
    again: bool = False
    without_sessions: bool = False
    chunk_rows: int = CHUNK_ROWS


@dataclass(frozen=True, slots=True)
class Loaded:
    """How a load ended."""

    ticks: int
    """Sent by this run."""
    resumed_at: int
    total: int
    heartbeats: int
    done: bool
    """False: stopped before the end; the same command goes on from here."""


class Load:
    """One file on its way into Kafka.

    Args:
        contents: what is sent.
        rules: how.
        encoder: ticks to record values.
        cluster: where the topics are.
        clock_us: the wall clock.
        watcher: is told of the progress.
    """

    def __init__(
        self,
        contents: LoadContents,
        rules: LoadRules,
        *,
        encoder: TickEncoder,
        cluster: Cluster,
        clock_us: Callable[[], int],
        watcher: Watcher,
    ) -> None:
        ticks, admission = contents.ticks, contents.admission
        self.admission = admission
        self._ticks = ticks
        self._closed_until = contents.closed_until
        self._positions = positions_topic(cluster.settings)
        self._rules = rules
        self._cluster = cluster
        self._clock_us = clock_us
        self._watcher = watcher
        self._stop = asyncio.Event()
        self._last_us = np.full(len(ticks.names), NEVER, np.int64)
        accepted = admission.accepted
        np.maximum.at(self._last_us, ticks.series[accepted], admission.placed_us[accepted])
        every_us = AS_FAST_EVERY_US if rules.pace is None else PACED_EVERY_US
        self._clocks = SeriesClocks(
            self._last_us, every_us, rules.grace_us + CLOCKS_DIFFER_US, admission.tolerant
        )
        self._writer = LoadWriter(contents, encoder, cluster, clock_us)

    def stop(self) -> None:
        """End after the transaction under way; the same load goes on from there later."""
        self._stop.set()

    async def run(self) -> Loaded:
        """Load what is not loaded yet.

        Raises:
            AlreadyLoadedError: this file was loaded to its end before.
            AlreadyClosedError: the file begins in minutes that are closed.
            PositionUnknownError: where to go on cannot be told.
            LoadInterruptedError: Kafka failed, or another run of the same load took over.
        """
        begin = 0
        try:
            await self._writer.start()  # ends what a killed run left open: see positions.py
            begin = await self._where_to_begin()
            self._watcher.begin(begin, len(self._ticks))
            await self._send_ticks(begin)
            if not self._stop.is_set():
                await self._close()
        except ProducerFenced as error:
            raise LoadInterruptedError(
                "another `ticks load` of the same file took over; this one ends at tick "
                f"{self._writer.position.rows:,}"
            ) from error
        except KafkaError as error:
            raise LoadInterruptedError(
                f"Kafka took {self._writer.position.rows:,} of {len(self._ticks):,} ticks, then "
                f"failed ({error!r}): run the same command again, it goes on from there"
            ) from error
        finally:
            await self._writer.stop()
        position = self._writer.position
        return Loaded(
            position.rows - begin, begin, position.total, self._writer.heartbeats, position.done
        )

    async def _where_to_begin(self) -> int:
        records = await read_records(self._cluster, self._positions)
        found = records.position(self._writer.position.load_id)
        if self._rules.again:
            return 0
        if found is None or self._was_dropped(records, found):
            self._refuse_closed()
            return 0
        await check_same_ticks(self._cluster, found)
        if found.done:
            raise AlreadyLoadedError(
                f"{found.file} was loaded before, all {found.total:,} ticks of it, at "
                f"{iso_from_us(found.updated_at_us)}. A second load would count them twice or have "
                "them rejected as late: load it with --again if that is wanted"
            )
        self._writer.position = found
        self._pass(0, found.rows)
        if found.rows:
            self._watcher.say(f"going on at tick {found.rows:,} of {found.total:,}")
        return found.rows

    def _was_dropped(self, records: LoadRecords, found: LoadPosition) -> bool:
        """Whether all series of the file were dropped since, so that it was never loaded.

        Raises:
            AlreadyLoadedError: some were, and the others would be counted twice.
        """
        names = self._ticks.names
        dropped = records.withdrawn(found, names)
        if 0 < len(dropped) < len(names):
            more = f" and {len(dropped) - 3} more" if len(dropped) > 3 else ""
            raise AlreadyLoadedError(
                f"{found.file} was loaded before, and of its {len(names):,} series only "
                f"{', '.join(' '.join(name) for name in dropped[:3])}{more} were dropped since. A "
                "second load would count the others twice or have them rejected as late: load a "
                "file of what was dropped alone, or drop the others as well"
            )
        return bool(dropped)

    def _refuse_closed(self) -> None:
        first_us = np.full(len(self._ticks.names), np.iinfo(np.int64).max, np.int64)
        accepted = self.admission.accepted
        placed_us = self.admission.placed_us[accepted]
        np.minimum.at(first_us, self._ticks.series[accepted], placed_us)
        closed = [
            f"{broker} {symbol} begins at {iso_from_us(int(first_us[i]))} and is closed until "
            f"{iso_from_us(self._closed_until[i])}"
            for i, (broker, symbol) in enumerate(self._ticks.names)
            if i in self._closed_until and first_us[i] < self._closed_until[i]
        ]
        if closed:
            more = f" (and {len(closed) - 3} more series)" if len(closed) > 3 else ""
            raise AlreadyClosedError(
                f"the file must begin after what is closed: {'; '.join(closed[:3])}{more}. Ticks "
                "in closed minutes are rejected as late: load it with --again if that is wanted, "
                "or under another --broker or --symbol"
            )

    async def _send_ticks(self, begin: int) -> None:
        if self._rules.pace is None:
            for start in range(begin, len(self._ticks), self._rules.chunk_rows):
                if self._stop.is_set():
                    return
                await self._chunk(start, min(start + self._rules.chunk_rows, len(self._ticks)))
            return
        await self._send_paced(begin, self._rules.pace)

    async def _send_paced(self, begin: int, pace: float) -> None:
        time_us, total = self._ticks.time_us, len(self._ticks)
        if begin >= total:
            return
        loop = asyncio.get_running_loop()
        began_s, origin_us = loop.time(), int(time_us[begin])
        at = begin
        while at < total and not self._stop.is_set():
            clock_us = origin_us + int((loop.time() - began_s) * pace * SECOND_US)
            end = int(np.searchsorted(time_us, clock_us, side="right"))
            end = min(end, at + self._rules.chunk_rows)
            if end < total:
                self._clocks.pace(clock_us if end == at else int(time_us[end - 1]))
            await self._chunk(at, end)
            at = end
            if at < total:
                ahead_s = (int(time_us[at]) - origin_us) / SECOND_US / pace
                wait_s = began_s + ahead_s - loop.time()
                shortest, longest = _PACED_SLEEP_S
                await self._sleep(min(max(wait_s, shortest), longest))

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    def _pass(self, start: int, end: int) -> None:
        accepted = self.admission.accepted[start:end]
        series, placed_us = self._ticks.series[start:end], self.admission.placed_us[start:end]
        self._clocks.passed(series[accepted], placed_us[accepted])

    async def _chunk(self, start: int, end: int) -> None:
        self._pass(start, end)
        due = self._clocks.due(self._clock_us()) if self._rules.heartbeats else []
        if start == end and not due:
            return
        await self._writer.chunk(start, end, due)
        self._watcher.advance(end - start)

    async def _close(self) -> None:
        """The last heartbeat of each series, and the load is done."""
        due: list[tuple[int, int]] = []
        if self._rules.heartbeats:
            due, whole_from_us = self._clocks.closing(self._clock_us())
            wait_us = whole_from_us - self._clock_us()
            if 0 < wait_us <= WAIT_FOR_LAST_MINUTE_US:
                self._watcher.say(
                    f"waiting until {iso_from_us(whole_from_us + SECOND_US)}, when the last minute "
                    "of the file is over"
                )
                await self._sleep(wait_us / SECOND_US + 0.01)
                if self._stop.is_set():
                    return
                due, whole_from_us = self._clocks.closing(self._clock_us())
            if whole_from_us > self._clock_us():
                self._watcher.say(
                    f"the file reaches {iso_from_us(int(self._last_us.max()))}, which is not over "
                    "yet: its last minutes are left to later ticks"
                )
        await self._writer.close(due)
