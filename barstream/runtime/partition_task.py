"""A tick partition this worker holds: its engine, its producer and its local store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

from barstream.codecs.topics.state import WrittenUpTo
from barstream.kafka.clients import ProducerFenced
from barstream.kafka.flush import Flush
from barstream.kafka.topics.outputs import OutputTopics
from barstream.kafka.writer import PartitionWriter, TopicOfId, Written
from barstream.model.period import MINUTE
from barstream.partition.machine import PartitionMachine
from barstream.partition.outbox import Emission
from barstream.runtime.flush import build_flush, by_period
from barstream.runtime.rollup_audit import RollUpAudit
from barstream.runtime.tally import Tally
from barstream.store.finals import FinalsPartition
from barstream.store.rocksdb import LocalPartition

log = logging.getLogger(__name__)

#: Between two flushes lies at least so many times what the last one took.
_REST: Final = 4.0
#: A flush that no broker answers is not waited for longer when the partition is given up.
_GIVE_UP_AFTER_S: Final = 5.0
#: How often a position that moved without a row to write is written.
_IDLE_S: Final = 1.0
#: ... but a flush that was slow (a coordinator moved, a disk hung) delays the next no longer.
_LONGEST_REST_S: Final = 0.5
_MAX_EVENTS: Final = 64
_SETTLED_POLL_S: Final = 0.05


class Acknowledged(Protocol):
    """A Faust event, as far as flushing needs it."""

    def ack(self) -> bool:
        """Mark it as processed."""
        ...


@dataclass(frozen=True, slots=True)
class FlushTarget:
    """Where a partition writes, and how often.

    Attributes:
        topics: names of what is written.
        live_interval_s: so often live bars at most.
        ticks_id: identity of the tick topic; None: brokers give none.
        ids: those of the topics the tables are copies of.
    """

    topics: OutputTopics
    live_interval_s: float
    ticks_id: str | None = None
    ids: Mapping[str, str] = field(default_factory=dict)


class PartitionTask:
    """Flushes what its engine has to write: one transaction, then the disk, then the acks.

    A flush carries everything of one position: finals, live updates of open bars, rejected
    ticks, series rows and the position row.  So a final and the state that says "closed" appear
    together or not at all, and no live record ever follows the final of its bucket.
    """

    def __init__(
        self,
        engine: PartitionMachine,
        producer: PartitionWriter,
        tables: dict[str, LocalPartition],
        target: FlushTarget,
        tally: Tally,
        audit: RollUpAudit | None = None,
    ) -> None:
        self.engine = engine
        self.audit = audit
        self.producer = producer
        self.tables = tables
        self.fenced = False
        self._topics = target.topics
        self._tally = tally
        self._live_interval_s = target.live_interval_s
        self._topic_id = target.ticks_id
        self._ids = target.ids
        #: By topic of the tables the last offset that is known to be there.
        self._reached = {
            topic: -1 if (at := table.offset()) is None else at for topic, table in tables.items()
        }
        self._events: list[Acknowledged] = []
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._under_way: asyncio.Future[None] | None = None
        self._finals_not_before = self._live_not_before = 0.0
        self._flushed_at = 0.0

    @property
    def partition(self) -> int:
        """Number of the tick partition."""
        return self.engine.partition

    @property
    def finals(self) -> dict[str, FinalsPartition]:
        """Local stores of the finals by topic, minutes first."""
        return {
            topic: cast("FinalsPartition", self.tables[topic])
            for topic in self._topics.finals_by_period.values()
        }

    def applied(self, event: Acknowledged) -> None:
        """``event`` has been applied; it is acknowledged with the flush that covers it."""
        self._events.append(event)
        self._wake.set()

    def wake(self) -> None:
        """There is something to write that no event brought."""
        self._wake.set()

    def renew(self, rest_s: float) -> None:
        """Write the position if nothing was written for ``rest_s``; see `transactional_id`."""
        if time.monotonic() - self._flushed_at >= rest_s:
            self.engine.outbox.position_moved()
            self._wake.set()

    async def room(self) -> None:
        """Wait until the next chunk may be applied: memory is bounded by what is not flushed."""
        while not self.fenced and (self.engine.outbox.is_full or len(self._events) > _MAX_EVENTS):
            self._room.clear()
            await self._room.wait()

    async def run(
        self,
        on_fenced: Callable[[PartitionTask], Awaitable[None]],
        settled: Callable[[], bool] = lambda: True,
    ) -> None:
        """Flush until cancelled; a flush that has begun is always waited for.

        Nothing is written before the assignment is complete (``settled``): Faust's recovery
        compares what was restored with the end of the changelogs, and waits for ever for what came
        in between.
        """
        while not settled():  # noqa: ASYNC110  Faust has no event for it
            await asyncio.sleep(_SETTLED_POLL_S)
        while True:
            await self._due()
            self._under_way = asyncio.ensure_future(self.flush())
            try:
                await asyncio.shield(self._under_way)
            except ProducerFenced:
                self._was_fenced()
                await on_fenced(self)
                return

    def _was_fenced(self) -> None:
        self.fenced = True
        self._room.set()
        self._tally.fenced()

    async def _due(self) -> None:
        """Return when there is something to write and its time has come."""
        while True:
            await self._wake.wait()
            now = time.monotonic()
            outbox = self.engine.outbox
            if outbox.has_finals or outbox.is_full:
                wait = self._finals_not_before - now
            elif outbox.has_rows:
                wait = max(self._live_not_before, self._finals_not_before) - now
            else:
                wait = self._flushed_at + _IDLE_S - now
            if wait <= 0 or outbox.is_full or len(self._events) > _MAX_EVENTS:
                return
            self._wake.clear()
            try:
                # a final that comes meanwhile is not kept waiting for the live interval; not by
                # `wait_for`, which up to Python 3.11 drops a cancellation that comes with it: the
                # partition would never be given up
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                self._wake.set()

    async def flush(self) -> None:
        """Write everything that waits; one flush at a time."""
        async with self._flushing:
            self._wake.clear()
            if self.fenced or not self.engine.outbox.dirty:
                return
            began = time.monotonic()
            live = began >= self._live_not_before
            emitted, events = self.engine.take(live=live), self._events
            self._events = []
            flush = build_flush(
                emitted, self.engine.state, self.partition, self._topics, self._topic_id,
                self._finals_reached(),
            )  # fmt: skip
            written = await self.producer.write(
                flush.rows, self._at_least(flush), read_from=self._read_from(emitted)
            )
            self._store(emitted, flush, written)
            for event in events:
                event.ack()
            self._note(emitted, flush, began, live=live)

    def _read_from(self, emitted: Emission) -> TopicOfId | None:
        """What is asked of the tick topic with finals, which cannot be taken back.

        A topic may be made again between two fetches that both succeed, and the second brings the
        very offset that comes next.
        """
        if self._topic_id is None or not (emitted.finals or emitted.rollups):
            return None
        return TopicOfId(self._topics.ticks, self._topic_id)

    def _finals_reached(self) -> dict[str, WrittenUpTo]:
        return {
            topic: WrittenUpTo(self._reached[topic], self._ids.get(topic))
            for topic in self._topics.finals_by_period.values()
            if topic in self._reached
        }

    def _at_least(self, flush: Flush) -> dict[tuple[str, int], int]:
        """Where the rows of the tables must come to: what was written before lies below them."""
        return {
            place: flush.at_least(*place, self._reached[place[0]])
            for place in flush.rows
            if place[0] in self._reached
        }

    def _store(
        self, emitted: Emission, flush: Flush, written: Mapping[tuple[str, int], Written]
    ) -> None:
        for place, rows in flush.rows.items():
            table = self.tables.get(place[0])
            if table is not None:
                offset, last_batch = written[place]
                table.write(
                    ((row.key, row.value) for row in rows if row.key is not None),
                    offset,
                    last_batch,
                )
                self._reached[place[0]] = offset
        book = self.engine.book
        book.committed(MINUTE, emitted.finals)
        for period, bars in by_period(emitted.rollups).items():
            book.committed(period, bars)
        if self.audit is not None:
            self.audit.committed(emitted.rollups)

    def _note(self, emitted: Emission, flush: Flush, began: float, *, live: bool) -> None:
        now = time.monotonic()
        took = now - began
        self._flushed_at = now
        self._finals_not_before = now + min(took * _REST, _LONGEST_REST_S)
        if live:
            self._live_not_before = began + self._live_interval_s
        self.engine.release()  # heartbeats that waited for room
        if self.engine.outbox.has_rows:
            self._wake.set()  # what this flush did not write is due without another event
        self._room.set()
        self._tally.flushed(len(flush), len(emitted.live), took)
        self._tally.count(self.partition, self.engine.take_counts())

    async def stop(self, task: asyncio.Task[Any] | None) -> None:
        """Wait for the flush under way, begin no other, and let the producer go."""
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if not self.fenced and self._under_way is not None:
            try:
                # whether it was committed or not, the next owner finds the truth in Kafka
                async with asyncio.timeout(_GIVE_UP_AFTER_S):
                    await self._under_way
            except ProducerFenced:
                self._was_fenced()
            except Exception as error:  # noqa: BLE001  what it had is read again by the next owner
                log.warning("flush given up: partition=%d %r", self.partition, error)
        async with self._flushing:
            self.fenced = True
            self._room.set()
        await self.producer.stop()
