"""The Faust application: its settings, and where our own recovery and positions come in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Protocol, cast

import faust
from faust.auth import SASLCredentials, SSLCredentials
from faust.types import TP
from faust.types.auth import CredentialsT
from mode import Service
from yarl import URL

from barstream.cancellation import cancel
from barstream.config import Settings
from barstream.kafka.client_id import client_id
from barstream.kafka.connection import password, ssl_context
from barstream.kafka.consumer_group import Declaration
from barstream.runtime.assignor import PartitionAssignor
from barstream.runtime.driver import GroupFailed, Transport
from barstream.runtime.membership import Membership

log = logging.getLogger(__name__)


class Assignments(Protocol):
    """Who takes partitions over and gives them up."""

    @property
    def start_positions(self) -> Mapping[tuple[str, int], int]:
        """Where to read on, by (topic, partition)."""
        ...

    async def assign(
        self, partitions: set[int], generation: int, standbys: Collection[int] = ()
    ) -> None:
        """Take over these tick partitions, and keep copies of those."""
        ...

    async def revoke(self) -> None:
        """Give up everything."""
        ...


class BarstreamApp(faust.App):
    """A Faust app that restores in bulk and reads on from its own position rows.

    Attributes:
        columnar_topics: topics that arrive as one `RecordChunk` per fetch.
        assignments: takes partitions over; set before the app starts.
        before_stop: called first thing when the app stops or crashes.
        before_revoke: called first thing when a rebalance begins or the app stops.
        after_assign: called with the assignment when it is complete.
        membership: whether its partitions are still its own.
        failure: the error that crashed the worker.
        give_up_within_s: a rebalance that takes longer to begin ends the worker, which would
            stand still outside of the group for ever.
        first_services: started before the app consumes anything.
        on_disk: partitions of which there are local tables.
        standby_replicas: workers that keep a warm copy of each partition, beside its owner.
        declaration: what this worker says of itself to its group; None: nothing.
    """

    columnar_topics: frozenset[str] = frozenset()
    ticks_topic: str = "ticks"
    standby_replicas: int = 0
    declaration: Declaration | None = None
    on_disk: Callable[[], Collection[int]] = staticmethod(lambda: ())
    assignments: Assignments
    membership: Membership
    failure: BaseException | None = None
    give_up_within_s: float = 30.0
    #: Rebalance of the assignment that came last, and of the one its recovery was told of last.
    _assigned_in: int = -1
    _handed_over: int = -1
    first_services: tuple[Service, ...] = ()
    before_stop: Callable[[], None] = staticmethod(lambda: None)
    before_revoke: Callable[[], None] = staticmethod(lambda: None)
    after_assign: Callable[[set[TP]], Awaitable[None] | None] = staticmethod(lambda _: None)

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    def start_positions(self) -> dict[TP, int]:
        """Where each assigned partition of ticks and heartbeats is to be read on."""
        assigned = self.consumer.assignment()
        return {
            TP(topic, partition): offset
            for (topic, partition), offset in self.assignments.start_positions.items()
            if TP(topic, partition) in assigned
        }

    async def on_start(self) -> None:
        """Start what the engine needs before the first assignment comes."""
        self._watch_recovery()
        await super().on_start()
        for service in self.first_services:
            await self.add_runtime_dependency(service)

    async def _on_partitions_revoked(self, revoked: set[TP]) -> None:
        self.before_revoke()
        # not a timeout: what hangs here may well be something that loses its cancellation
        giving_up = asyncio.ensure_future(self._give_up(revoked))
        done, _ = await asyncio.wait({giving_up}, timeout=self.give_up_within_s)
        if done:
            giving_up.result()
            return
        await self.crash(
            GroupFailed(
                f"partitions must be given up within {self.give_up_within_s:g} s when the group "
                "asks for them, and were not: this worker stops, others have them by now; start "
                "it again"
            )
        )

    async def _give_up(self, revoked: set[TP]) -> None:
        await super()._on_partitions_revoked(revoked)
        await self._guarded(self.assignments.revoke())

    def on_rebalance_end(self) -> None:
        """End the rebalance, unless it is the recovery of an assignment before that has ended.

        Faust compares generations, waits for a seek, and says then that the rebalance is over,
        whatever has begun meanwhile.  Partitions would be written to while they are taken over,
        and the recovery of their tables, which knows their end, would wait for ever.
        """
        recovery = cast("Any", self.tables).recovery
        is_last = self._handed_over == self.rebalancing_count
        if is_last and not recovery.signal_recovery_start.is_set():
            super().on_rebalance_end()

    def _watch_recovery(self) -> None:
        """Know of which rebalance the assignment is that Faust's recovery was told last.

        Generations do not tell: a member that joins again may be given the same one.
        """
        recovery = cast("Any", self.tables).recovery
        tell = recovery.on_rebalance

        async def told(*arguments: Any, **named: Any) -> None:
            rebalance = self._assigned_in
            await tell(*arguments, **named)
            if recovery.signal_recovery_start.is_set():  # else the next rebalance has begun
                self._handed_over = rebalance

        recovery.on_rebalance = told

    async def _on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._assigned_in = self.rebalancing_count
        if not self.should_stop:
            # Faust stops the flow when partitions are revoked; of a worker that held none it is
            # still open, and what is fetched before Faust knows where it goes ends the worker
            self.consumer.stop_flow()
            self.flow_control.suspend()
            mine = {tp.partition for tp in assigned if tp.topic == self.ticks_topic}
            actives = self.assignor.assigned_actives()
            mine = {p for p in mine if not actives or TP(self.ticks_topic, p) in actives}
            standbys = cast("PartitionAssignor", self.assignor).standbys
            if not await self._guarded(self._take_over(mine, generation_id, standbys)):
                return
        await super()._on_partitions_assigned(assigned, generation_id)
        await self._guarded(_maybe(self.after_assign(assigned)))

    async def _take_over(
        self, partitions: set[int], generation: int, standbys: Collection[int]
    ) -> None:
        """Take partitions over, unless the worker is to stop first.

        What is awaited for it, such as the transaction coordinator, may never come; and until the
        group's consumer has its answer it cannot be stopped.
        """
        taking = asyncio.create_task(self.assignments.assign(partitions, generation, standbys))
        stopping = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait({taking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not taking.done():
                await cancel([taking])
                await self.assignments.revoke()
        if not taking.cancelled():
            taking.result()

    async def _guarded(self, step: Awaitable[None]) -> bool:
        """Run one step of a rebalance; an error crashes the worker, Faust would only log it."""
        try:
            await step
        except Exception as error:
            log.exception("rebalance failed")
            await self.crash(error)
            return False
        return True

    async def crash(self, reason: BaseException) -> None:
        """Stop the worker because of ``reason``; the first one is remembered."""
        if self.failure is None:
            self.failure = reason
        self.before_stop()
        await super().crash(reason)

    def _crash(self, reason: BaseException) -> None:
        """Remember why also when a service of Faust's own ends the worker."""
        if self.failure is None:
            self.failure = reason
        super()._crash(reason)

    async def on_stop(self) -> None:
        """Give up the partitions before Faust drops the stores they write to."""
        self.before_stop()
        self.before_revoke()
        await self.assignments.revoke()
        await super().on_stop()


async def _maybe(result: Awaitable[None] | None) -> None:
    if result is not None:
        await result


def faust_credentials(settings: Settings) -> CredentialsT | None:
    """The same security for Faust's own clients; None: plain text."""
    kafka = settings.kafka
    context = ssl_context(kafka)
    if kafka.security_protocol.startswith("SASL_"):
        return SASLCredentials(
            username=kafka.sasl_username,
            password=password(kafka),
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return None if context is None else SSLCredentials(context)


def make_app(settings: Settings, web_options: Mapping[str, Any]) -> BarstreamApp:
    """The app of ``settings``, without tables and agents.

    Args:
        settings: what is in force.
        web_options: how its web server listens, see `barstream.serve.routes.app_options`.
    """
    kafka = settings.kafka
    app = BarstreamApp(
        settings.app_id,
        broker=[URL(f"kafka://{server}") for server in settings.bootstrap.split(",")],
        broker_credentials=faust_credentials(settings),
        broker_client_id=client_id(settings.app_id),
        store="rocksdb://",
        datadir=settings.data_dir,
        origin="barstream",
        autodiscover=False,
        # an event is a chunk of up to 65,536 ticks
        stream_buffer_maxsize=16,
        consumer_max_fetch_size=2 << 20,
        # chunks: what a fetch holds is unpacked as it is handed out, and may be large
        broker_max_poll_records=8,
        # waiting for unacknowledged events in a rebalance took 20 to 61 s: flushes are waited
        # for instead, and what was not flushed is read again
        stream_wait_empty=False,
        topic_disable_leader=True,
        PartitionAssignor=PartitionAssignor,
        # a standby goes row by row through Faust's recovery (0.1 ms a row of every other worker),
        # and what it has still in hand when it becomes active would overwrite newer rows: ours
        # are handed out by our assignor, and followed in bulk
        table_standby_replicas=0,
        topic_allow_declare=False,
        stream_recovery_delay=0,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=kafka.group_instance_id,
        # a member without an active partition stops polling; it must stay in the group
        broker_max_poll_interval=10_000,
        broker_session_timeout=kafka.session_timeout_s,
        broker_heartbeat_interval=kafka.session_timeout_s / 3,
        broker_request_timeout=kafka.request_timeout_s,
        broker_commit_interval=5.0,
        key_serializer="raw",
        value_serializer="raw",
        web_enabled=True,
        **web_options,
    )
    app.membership = Membership(kafka.session_timeout_s)
    app.standby_replicas = settings.recovery.standby_replicas
    app.declaration = Declaration.of(settings)
    return app


def bytes_topic(app: BarstreamApp, name: str) -> Any:
    """A topic of raw keys and values that Faust neither creates nor decodes."""
    return app.topic(
        name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw",
        internal=False,
    )  # fmt: skip


def bytes_table(app: BarstreamApp, name: str, topic: str, meaning: str) -> Any:
    """A RocksDB table of raw bytes with ``topic`` as its changelog.

    Keys are bytes because Faust quotes ``str`` keys as JSON, which hash to other partitions.
    """
    return app.Table(
        name,
        key_type=bytes,
        value_type=bytes,
        changelog_topic=bytes_topic(app, topic),
        help=meaning,
        # how its databases are opened: see `barstream.store.table_budget`.  Faust takes entries
        # out of the dict
        options={"driver": "rocksdict"},
    )
