"""The tick partitions this worker holds: taken over, watched and given up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from barstream.cancellation import cancel
from barstream.codecs.topics.batch_mark import BatchMark
from barstream.codecs.topics.rules import RulesRow
from barstream.errors import LostChunk, ReadingStalled, StateUnusable, TailLost, TicksGone
from barstream.kafka.cluster import Cluster
from barstream.kafka.continuity import check_continued
from barstream.kafka.offsets import extents
from barstream.kafka.topic_monitor import TopicMonitor
from barstream.kafka.topics.batch_size import largest_batches
from barstream.kafka.topics.outputs import OutputTopics
from barstream.kafka.transaction_coordinator import told_when_silent
from barstream.kafka.writer import PartitionWriter
from barstream.market.schedule import MarketScheduleProvider, ScheduleIndex
from barstream.market.universe import SeriesSeen, Universe
from barstream.metrics import Metrics
from barstream.model.period import Period
from barstream.partition.finals_view import FinalsView
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.rules.series import NEVER_US, Rules
from barstream.runtime.added_timeframes import fill_added
from barstream.runtime.assignment_deadline import settle
from barstream.runtime.partition_task import FlushTarget, PartitionTask
from barstream.runtime.restore_progress import RestoreProgress
from barstream.runtime.restored_state import check_written, restore_engine
from barstream.runtime.rollup_audit import RollUpAudit
from barstream.runtime.standby import StandbyPartition, Standbys
from barstream.runtime.table_restore import restored
from barstream.runtime.tally import Tally
from barstream.runtime.transactional_id import renew
from barstream.store.finals import FinalsPartition
from barstream.store.table_budget import TableBudget
from barstream.store.tables import LocalStores, Stores

log = logging.getLogger(__name__)

#: A fenced worker that sees no rebalance within this time does not know what it holds: it stops.
_FENCED_GRACE_S: Final = 60.0

Crash = Callable[[BaseException], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class AssignmentSettings:
    """What the partitions held need of the settings, in their own units."""

    app_id: str
    rules: Rules
    live_interval_s: float
    publish_off_session: bool
    ticks_topic: str
    heartbeat_topic: str
    outputs: OutputTopics
    cluster: Cluster
    settle_within_s: float = 120.0
    judged_by: RulesRow | None = None
    max_series: int | None = None
    budget: TableBudget | None = None

    @property
    def periods(self) -> tuple[Period, ...]:
        """Of the upper bars."""
        return tuple(self.outputs.rollups)


class Assignment:
    """Takes partitions over, and says which of them an event is for.

    Args:
        settings: see `AssignmentSettings`.
        stores: RocksDB store by table topic: the series table and the finals.
        provider: the market schedule.
        universe: where series of all partitions are seen.
        metrics: numbers of this worker.
        crash: ends the worker with an error.
    """

    def __init__(
        self,
        settings: AssignmentSettings,
        stores: Stores,
        provider: MarketScheduleProvider,
        universe: Universe,
        metrics: Metrics,
        crash: Crash,
    ) -> None:
        self.settings = settings
        self.generation = -1
        #: How far the restore under way has come; None when there is none.
        self.progress: RestoreProgress | None = None
        #: Rows read back at the last assignment, and seconds it took.
        self.read_back: tuple[int, float] = (0, 0.0)
        #: Whether the assignment under way is complete, recovery of Faust included.
        self.settled: Callable[[], bool] = lambda: True
        self.tally = Tally(metrics, settings.rules)
        self._stores = LocalStores(
            stores, settings.outputs, self._is_damaged, settings.budget, self._lost_tail
        )
        self.standbys = Standbys(settings.cluster, self._stores, self._is_settled, crash)
        self._provider = provider
        self._universe = universe
        universe.on_conflict(self._claimed_twice)
        provider.on_change(self._schedule_changed)
        self._metrics = metrics
        self.crash = crash
        self._owned: dict[int, PartitionTask] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._starts: dict[tuple[str, int], int] = {}
        self.monitor = TopicMonitor(
            settings.cluster, settings.ticks_topic, (settings.heartbeat_topic,)
        )
        self._watching: asyncio.Task[None] | None = None
        self._ending: asyncio.Future[None] | None = None

    @property
    def owned(self) -> Mapping[int, PartitionTask]:
        """The partitions held, by number."""
        return self._owned

    @property
    def start_positions(self) -> Mapping[tuple[str, int], int]:
        """Where to read on, by (topic, partition) of ticks and heartbeats."""
        return self._starts

    def on_disk(self) -> list[int]:
        """Partitions of which there are local tables."""
        return self._stores.on_disk()

    @property
    def restoring(self) -> bool:
        """Whether tables are being read back."""
        return self.progress is not None

    @property
    def stored(self) -> dict[int, PartitionTask | StandbyPartition]:
        """The partitions that are on this worker's disk and kept up to date, by number."""
        return {**self.standbys.held, **self._owned}

    async def assign(
        self, partitions: Collection[int], generation: int, standbys: Collection[int] = ()
    ) -> None:
        """Take over ``partitions``: fence, restore, and know where to read on.

        Args:
            partitions: to be held by this worker.
            generation: of the consumer group.
            standbys: those to keep a copy of.

        Raises:
            TicksGone: the tick topic does not hold what comes next.
            StateUnusable: a local store contradicts its changelog.
            DescriptorsShort: the local tables cannot all be opened.
            ReadingStalled: the changelogs cannot be read to their ends.
        """
        await self.revoke()
        self.generation = generation
        self.progress = progress = RestoreProgress()
        try:
            await self._stores.admit(self.settings.cluster, self.settings.app_id)
            self._stores.keep({*partitions, *standbys})
            await self._assign(sorted(partitions), progress)
        finally:
            self.progress = None
        self._metrics.partitions.set(len(self._owned))
        self.standbys.start(set(standbys).difference(partitions))

    async def _assign(self, partitions: list[int], progress: RestoreProgress) -> None:
        settings = self.settings
        sizes = await largest_batches(settings.cluster, settings.outputs.names)
        outputs = replace(settings.outputs, largest_rejected=sizes[settings.outputs.rejected])
        producers = {
            partition: PartitionWriter(
                settings.cluster, f"{settings.app_id}-{partition}", largest=sizes
            )
            for partition in partitions
        }
        # first of all: from here on no one else can write to these partitions
        try:
            with told_when_silent():
                await asyncio.gather(*(producer.start() for producer in producers.values()))
        except BaseException:  # the worker stops, or ends by this error
            await asyncio.gather(*(producer.stop() for producer in producers.values()))
            raise
        progress.fenced = True
        tables = await restored(settings.cluster, self._stores, partitions, progress, self._metrics)
        self.read_back = (progress.rows, progress.seconds)
        await self.monitor.identify()
        ticks = await extents(settings.cluster, settings.ticks_topic, partitions)
        beats = await extents(settings.cluster, settings.heartbeat_topic, partitions)
        options = MachineOptions(
            settings.periods, settings.outputs.live_rollups, settings.publish_off_session,
            settings.judged_by, settings.max_series,
        )  # fmt: skip
        engines: dict[int, PartitionMachine] = {}
        for partition in partitions:
            engine = engines[partition] = PartitionMachine(
                partition,
                settings.rules,
                self._provider,
                self._home_of,
                options,
                book=FinalsView(
                    {
                        period: cast("FinalsPartition", tables[partition][topic])
                        for period, topic in settings.outputs.finals_by_period.items()
                    }
                ),
            )
            engine.state.use_schedule(self._provider.index)
            rows_of = tables[partition][settings.outputs.series]
            start = restore_engine(
                engine, rows_of, settings.ticks_topic, self.monitor.identity, ticks[partition],
                beats[partition],
            )  # fmt: skip
            check_written(start.written, tables[partition], self._stores.ids)
            self._say_changes(engine)
            self._starts[settings.ticks_topic, partition] = start.ticks
            self._starts[settings.heartbeat_topic, partition] = start.heartbeats
        await self._check_last(engines.values())
        target = FlushTarget(
            outputs, settings.live_interval_s, self.monitor.identity, self._stores.ids
        )
        for partition, engine in engines.items():
            owned = PartitionTask(
                engine,
                producers[partition],
                tables[partition],
                target,
                self.tally,
                RollUpAudit(engine.state, engine.book, self._metrics),
            )
            self._owned[partition] = owned
            self._metrics.show_partition(partition)
            self._tasks[partition] = asyncio.create_task(self._run(owned))
        self._watching = asyncio.create_task(self._watched())

    async def _check_last(self, engines: Iterable[PartitionMachine]) -> None:
        """Make sure that the ticks applied last are still there."""
        await self.check_last(
            {
                engine.partition: (engine.position, engine.last_batch)
                for engine in engines
                if engine.position is not None and engine.last_batch is not None
            }
        )

    async def check_last(self, read: Mapping[int, tuple[int, BatchMark]]) -> None:
        """Find out whether the ticks that were applied last are still there; a loss is counted.

        Args:
            read: by partition the first offset not applied, and the batch with the one before.

        Raises:
            TailLost: other ticks stand where some were applied.
        """
        try:
            await check_continued(self.settings.cluster, self.settings.ticks_topic, read)
        except TailLost:
            self._lost_tail(self.settings.ticks_topic)
            raise

    def _lost_tail(self, topic: str) -> None:
        self._metrics.lost_tails.labels(topic).inc()

    def _say_changes(self, engine: PartitionMachine) -> None:
        """Rules that change with every rebalance are those of two workers that differ."""
        if engine.rules_changed:
            self._metrics.rules_changes.inc()
            log.warning(
                "rules change, workers of one app_id need the same settings: partition=%d "
                "offset=%d changes=%s",
                engine.partition, engine.position or 0, "; ".join(engine.rules_changed),
            )  # fmt: skip

    def _is_settled(self) -> bool:
        return self.settled()

    def _is_damaged(self, error: StateUnusable) -> None:
        if self._ending is None:
            self._ending = asyncio.ensure_future(self.crash(error))

    async def revoke(self) -> None:
        """Give up everything: wait for flushes under way, drop the memory."""
        self._starts = {}  # so that no assignment is read on where another one began
        await self.standbys.stop()
        watching, self._watching = self._watching, None
        if watching is not None and watching is not asyncio.current_task():
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        owned, self._owned = self._owned, {}
        tasks, self._tasks = self._tasks, {}
        await asyncio.gather(
            *(part.stop(tasks.get(partition)) for partition, part in owned.items())
        )
        for partition in owned:
            self._metrics.forget_partition(partition)
        self._metrics.partitions.set(0)

    async def _run(self, owned: PartitionTask) -> None:
        try:
            await owned.run(self._fenced, self._is_settled)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            log.exception("flush failed: partition=%d", owned.partition)
            await self.crash(error)

    async def _watched(self) -> None:
        watches: list[Coroutine[Any, Any, None]] = [
            self.monitor.watch(self._reached),
            self.monitor.watch_reading(self._positions),
            renew(self.settings.cluster, self._owned.values),
            settle(self.settled, self.settings.settle_within_s, self._owned),
        ]
        for owned in self._owned.values():
            watches.append(fill_added(owned))
            if owned.audit is not None:
                watches.append(owned.audit.run())
        tasks = [asyncio.create_task(each) for each in watches]
        try:
            error = await first_failure(tasks)
        finally:
            await cancel(tasks)
        if error is not None:  # whatever it is: a worker that is not watched must not go on
            if not isinstance(error, TicksGone | ReadingStalled):
                log.error("a watch failed", exc_info=error)
            await self.crash(error)

    def _positions(self) -> dict[int, int]:
        """By partition: the first offset not applied yet."""
        return {
            partition: owned.engine.position or 0
            for partition, owned in self._owned.items()
            if not owned.fenced
        }

    def _reached(self) -> dict[int, int]:
        """By partition: the end offset that the ticks applied, or a barrier, call for."""
        return {
            partition: max(owned.engine.position or 0, owned.engine.waiting.barrier() or 0)
            for partition, owned in self._owned.items()
        }

    async def _fenced(self, owned: PartitionTask) -> None:
        """Another worker took over while this one was frozen or cut off: write nothing more."""
        log.warning(
            "another worker took the partition over, nothing was written: partition=%d",
            owned.partition,
        )
        generation = self.generation
        await asyncio.sleep(_FENCED_GRACE_S)
        if self.generation == generation and self._owned.get(owned.partition) is owned:
            await self.crash(
                LostChunk(
                    f"partition {owned.partition} was taken over by another worker and no "
                    f"rebalance followed within {_FENCED_GRACE_S:.0f} s: this worker stops"
                )
            )

    def _home_of(self, broker: str, symbol: str) -> int | None:
        """Where a series is at home: as everyone has read it, else as it was accepted here."""
        if (row := self._universe.get(broker, symbol)) is not None:
            return row.partition
        for owned in self._owned.values():
            series = owned.engine.state.get(broker, symbol)
            if series is not None and series.first_tick_us != NEVER_US:
                return owned.partition
        return None

    def _claimed_twice(self, kept: SeriesSeen) -> None:
        """A series was seen in a second partition: its home says so again, so that it lasts."""
        owned = self._owned.get(kept.partition)
        if owned is not None:
            owned.engine.outbox.show_again(kept.broker, kept.symbol)
            owned.wake()

    def _schedule_changed(self, _: ScheduleIndex) -> None:
        for owned in self._owned.values():
            if not owned.fenced:
                owned.engine.schedule_changed()
                owned.wake()

    def owner(self, event: Any) -> PartitionTask | None:
        """The partition an event is for; None when it was fetched under another assignment."""
        if event.message.generation_id != self.generation:
            return None
        owned = self._owned.get(event.message.partition)
        return None if owned is None or owned.fenced else owned


async def first_failure(tasks: Collection[asyncio.Task[None]]) -> BaseException | None:
    """The error of the first of ``tasks`` that fails; None when all have ended without one.

    One that was cancelled has failed as well: whoever runs it cancels it later, and a client may
    leave a cancellation of its own in it.
    """
    left = set(tasks)
    while left:
        ended, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            if task.cancelled():
                return RuntimeError(f"cancelled by nobody: {task.get_coro()}")
            if (error := task.exception()) is not None:
                return error
    return None
