"""A worker: everything it is made of, put together in one place."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache, partial
from signal import Signals
from typing import Any, Final, cast

import faust
from faust.types import TP
from mode import Service

import agents.bars
import agents.heartbeats
import agents.retention
import agents.schedule
import tables.finals
import tables.series
from barstream.client import bind
from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import TickDecoder
from barstream.codecs.topics.rules import RulesRow
from barstream.codecs.topics.series_seen import UniverseReading
from barstream.config import Settings
from barstream.errors import TailLost
from barstream.garbage_collection import collect_rarely
from barstream.heartbeat.leader import HeartbeatTopics, Leader, LeaderPauses, PlanSources
from barstream.kafka.client_id import client_id
from barstream.kafka.cluster import Cluster
from barstream.kafka.consumer_group import Declaration
from barstream.kafka.topic_follower import TopicFollower
from barstream.kafka.topics import require
from barstream.kafka.topics.outputs import OutputTopics
from barstream.kafka.troubles import Troubles, span
from barstream.market.schedule import MarketScheduleProvider
from barstream.market.universe import Universe
from barstream.metrics import Metrics
from barstream.model.key import NameRule
from barstream.model.time import SECOND_US
from barstream.planner import plan_of
from barstream.rules.heartbeat_plan import HeartbeatRules
from barstream.rules.series import Rules
from barstream.runtime.agreement import Agreement, AgreementService
from barstream.runtime.app import BarstreamApp, make_app
from barstream.runtime.assignment import Assignment, AssignmentSettings
from barstream.runtime.driver import Consumer
from barstream.runtime.intake import Intake
from barstream.runtime.last_failure import LastFailure, note_end
from barstream.runtime.lifecycle import Lifecycle, LifecycleService, say_start
from barstream.runtime.schedule import ScheduleService
from barstream.runtime.spellings import Spellings, refuse_unreachable
from barstream.runtime.worker_log import configure
from barstream.serve.connections import BACKLOG
from barstream.serve.health import Reporting
from barstream.serve.routes import (
    Limits,
    WebAddressError,
    app_options,
    is_loopback,
    page_url,
    register,
    require_address,
)
from barstream.serve.worker_reads import WorkerReads
from barstream.store.directory_lock import DirectoryLock
from barstream.store.table_budget import TableBudget

log = logging.getLogger(__name__)

#: A registry has a few dozen schemas; of what random bytes look like it is asked no more than this.
_UNKNOWN_SCHEMAS_A_MINUTE: Final = 100

#: A shutdown that takes longer hangs; ending it is as safe as kill -9.
_STOP_WITHIN_S: Final = 20.0
#: Asked for where all that may be had is refused; and what no limit is reckoned as.
_OPEN_FILES: Final = (65_536, 10_240)
_NO_LIMIT: Final = 1 << 20


class Preparation(Service):
    """What must be known before the first tick is judged: schedule, universe, tick schemas."""

    def __init__(
        self,
        schedule: ScheduleService,
        reader: TopicFollower,
        universe: Universe,
        decoder: TickDecoder,
        name_rule: NameRule,
    ) -> None:
        super().__init__()
        self._schedule = schedule
        self._reader = reader
        self._universe = universe
        self._name_rule = name_rule
        self._decoder = decoder

    async def on_start(self) -> None:
        """Start reading; the schedule service was started before this one."""
        await self._reader.start()
        await self._decoder.start()

    async def on_stop(self) -> None:
        """Stop reading."""
        await self._reader.stop()

    async def done(self) -> None:
        """Wait until everything that was there at the start has been read.

        Raises:
            BarstreamError: the schedule or the universe cannot be read.
            NameRuleChanged: there are series that ticks would no longer reach.
        """
        await asyncio.gather(self._schedule.loaded(), self._reader.caught_up())
        refuse_unreachable(self._universe, self._name_rule)


class PreparedPartitions(Assignment):
    """Takes nothing over before the preparation is done."""

    preparation: Preparation

    async def assign(self, partitions: Any, generation: int, standbys: Any = ()) -> None:
        """Wait for schedule and universe, then take over."""
        await self.preparation.done()
        await super().assign(partitions, generation, standbys)


class ConsumerReading:
    """Steers the consumer of the app; see `barstream.runtime.intake.ReadControl`."""

    def __init__(self, app: BarstreamApp) -> None:
        self._app = app

    def stop(self, topic: str, partition: int) -> None:
        """Fetch no more of a partition."""
        cast("Consumer", self._app.consumer).stop_reading(TP(topic, partition))

    async def resume(self, topic: str, partition: int, offset: int) -> None:
        """Fetch it again from ``offset``."""
        await cast("Consumer", self._app.consumer).resume_reading(TP(topic, partition), offset)

    def goes_on(self, chunk: RecordChunk) -> bool:
        """Whether no seek came between the fetch of ``chunk`` and now."""
        return cast("Consumer", self._app.consumer).goes_on(chunk)


class Process(faust.Worker):
    """Faust's, without a spinner and without words and logging of its own."""

    def __init__(self, app: BarstreamApp) -> None:
        super().__init__(app, quiet=True, override_logging=False, redirect_stdouts=False)
        self.spinner = None
        self._barstream = app

    async def start(self) -> None:
        """Start, and run until it stops; what fails while it starts crashes no service of Faust."""
        try:
            await super().start()
        except Exception as error:
            if self._barstream.failure is None:
                self._barstream.failure = error
            raise

    def _schedule_shutdown(self, signal: Signals) -> None:
        if not self._signal_stop_time:
            log.info("stopping: %s", signal.name)
        super()._schedule_shutdown(signal)


class Worker:
    """The parts of a worker, wired; `run` starts it and returns its exit code.

    Args:
        settings: what is in force.
        loglevel: see `barstream.runtime.worker_log.configure`.
    """

    def __init__(self, settings: Settings, loglevel: str = "info") -> None:
        self.lifecycle = Lifecycle()
        self._loglevel = loglevel
        self.plan = plan_of(settings)
        self.settings = settings = self.plan.settings
        self.cluster = Cluster(settings)
        self.metrics = Metrics()
        self.metrics.show_timeframes(*(period.timeframe for period in self.plan.periods))
        self.provider = MarketScheduleProvider(settings.ticks.name_rule)
        self.universe = Universe()
        self.app: BarstreamApp = make_app(settings, app_options(settings.web))
        self.schedule = agents.schedule.declare(self.app, settings, self.provider)
        self.decoder = TickDecoder(
            settings.ticks,
            max_future_skew_us=settings.bars.max_future_skew_us,
            unknown_schemas_a_minute=_UNKNOWN_SCHEMAS_A_MINUTE,
        )
        self.reading = UniverseReading(self.universe)
        reader = TopicFollower(
            self.cluster.names.series_seen,
            self.reading,
            cluster=self.cluster,
            on_failure=self._failed,
        )
        self.preparation = Preparation(
            self.schedule, reader, self.universe, self.decoder, settings.ticks.name_rule
        )
        self.partitions = self._engine()
        self.partitions.preparation = self.preparation
        self.partitions.settled = lambda: not self.app.rebalancing
        self.leader = self._leader(reader)
        self._wire()

    def _engine(self) -> PreparedPartitions:
        settings, names = self.settings, self.cluster.names
        outputs = OutputTopics(
            names.ticks, names.final_1m, names.live_1m, names.ticks_rejected, names.series,
            names.series_seen, names.rollups, names.live_rollups,
        )  # fmt: skip
        tables.series.declare(self.app, outputs.series)
        declared = tables.finals.declare(self.app, outputs.finals_by_period)
        declared[outputs.series] = "series"
        return PreparedPartitions(
            AssignmentSettings(
                settings.app_id,
                Rules(
                    settings.bars.grace_us,
                    settings.bars.inactive_after,
                    settings.heartbeats.feed_delay_us,
                    settings.bars.late_policy,
                ),
                settings.bars.live_interval_ms / 1000,
                settings.bars.publish_off_session,
                names.ticks,
                names.heartbeats,
                outputs,
                self.cluster,
                settings.recovery.settle_within_s,
                RulesRow.of(settings),
                settings.bars.max_series,
                TableBudget(
                    len(declared),
                    _descriptors,
                    settings.web.max_connections + 2 * BACKLOG,
                    settings.storage.block_cache_mb << 20,
                    settings.storage.write_buffer_mb << 20,
                    lambda: cast("Consumer", self.app.consumer).topic_partitions(names.ticks),
                ),
            ),
            {topic: partial(self._store, table) for topic, table in declared.items()},
            self.provider,
            self.universe,
            self.metrics,
            self.app.crash,
        )

    def _store(self, table: str) -> Any:
        """The RocksDB store of a table; Faust opens it when the app starts."""
        return cast("Any", self.app.tables[table]).data

    def _leader(self, universe: TopicFollower) -> Leader:
        settings, names = self.settings, self.cluster.names
        leader = Leader(
            PlanSources(
                HeartbeatRules.of(settings), self.provider, self.universe, self.plan.periods
            ),
            HeartbeatTopics(
                self.cluster, names.ticks, names.heartbeats, f"{settings.app_id}-heartbeats"
            ),
            LeaderPauses(
                jitter_us=settings.heartbeats.jitter_ms * 1000,
                resume_hold_us=round(settings.heartbeats.resume_hold_s * SECOND_US),
                # by then a worker that was deposed has lost its assignment too
                reclaim_s=settings.kafka.session_timeout_s + 9,
            ),
            ready=lambda: universe.is_caught_up,
            rebalancing=lambda: bool(self.app.rebalancing),
        )
        if self.plan.heartbeats:
            agents.heartbeats.declare(self.app, leader)
        return leader

    def _wire(self) -> None:
        app, names = self.app, self.cluster.names
        app.columnar_topics = frozenset({names.ticks, names.heartbeats})
        app.ticks_topic = names.ticks
        app.assignments = self.partitions
        app.on_disk = self.partitions.on_disk
        app.before_stop = self._stopping
        app.before_revoke = self.leader.revoked
        app.after_assign = self._assigned
        declaration = app.declaration or Declaration.of(self.settings)
        agreement = Agreement(client_id(self.settings.app_id), declaration)
        agreeing = AgreementService(
            agreement, self.settings.app_id, self.cluster, lambda: self.partitions.generation
        )
        rule = self.settings.ticks.name_rule
        spellings = Spellings(rule, lambda: self.provider.index, self.metrics)
        intake = Intake(
            self.partitions, self.decoder, ConsumerReading(app), self.metrics, spellings
        )
        agents.bars.declare(app, intake, names.ticks, names.heartbeats)
        reads = WorkerReads(app, self.partitions, self.provider, self.universe)
        reporting = Reporting(reads, self.reading, self.schedule, self.leader, spellings, agreement)
        self.metrics.before_scrape.append(partial(reporting.update, self.metrics))
        self._seen = reporting.seen
        agents.retention.declare(app, self.partitions, self.cluster)
        app.first_services = (*app.first_services, self.preparation, agreeing)
        # what agents of the same process read bars with
        web = self.settings.web
        shown = None if web.token is None else web.token.get_secret_value()
        bound = register(
            app, reads, reporting.stats, self.metrics, token=shown, name_rule=rule, hosts=web.hosts,
            limits=Limits(web.max_connections, web.max_rows),
        )  # fmt: skip
        bind(bound)

    def _assigned(self, assigned: set[TP]) -> Awaitable[None] | None:
        self.metrics.rebalances.inc()
        if TP(self.cluster.names.heartbeats, 0) in assigned:
            self.leader.assigned()
        return None

    def _stopping(self) -> None:
        self.lifecycle.end()
        self.leader.end()
        _limit_shutdown(self.app, self._note_end)

    def _failed(self, error: BaseException) -> None:
        # kept, or it may be collected before it has run
        self._crashing = asyncio.get_running_loop().create_task(self.app.crash(error))

    def run(self) -> int:
        """Run until stopped by a signal or an error; what it needs is looked at before it joins.

        How the process logs is configured here, in place of how it is by then.

        Returns:
            0 after a signal, 1 after an error (see ``app.failure``).

        Raises:
            BarstreamError: it cannot start: the data directory, the port, the brokers or the
                topics.
        """
        troubles = configure(self._loglevel)
        _raise_descriptors()
        lock = DirectoryLock(self.settings.data_dir)
        try:
            require_address(self.settings.web)
            asyncio.run(require(self.settings))
            self._show_last_failure()
            return self._run(troubles)
        finally:
            troubles.close()
            lock.release()

    def _show_last_failure(self) -> None:
        found = LastFailure.read(self.settings.data_dir)
        if found is None:
            return
        self.metrics.last_failure.labels(found.reason).set(found.time_s)
        if found.reason == TailLost.__name__:
            self.metrics.lost_tails.labels(self.cluster.names.ticks).inc()

    def _run(self, troubles: Troubles) -> int:
        lifecycle = LifecycleService(
            self.lifecycle, troubles, self._seen, self.cluster,
            lambda: cast("Consumer", self.app.consumer).brokers(),
        )  # fmt: skip
        self.app.first_services = (*self.app.first_services, lifecycle)
        say_start(self.plan, page_url(self.settings.web))
        self._warn_of_open_web()
        gc.collect()
        gc.freeze()
        collect_rarely()
        try:
            Process(self.app).execute_from_commandline()
        except SystemExit as ended:  # Faust always ends with it
            code = 1 if self.app.failure is not None or ended.code else 0
        troubles.close()  # the last word is why it ended
        if isinstance(self.app.failure, WebAddressError):
            raise self.app.failure  # as if the port had been taken a moment earlier
        if self.app.failure is not None:
            log.error("worker stopped: %s", self.app.failure)
        self._note_end()
        if code == 0:
            log.info("stopped after %s, nothing is lost", span(self.lifecycle.uptime_s))
        return code

    def _note_end(self) -> None:
        note_end(self.settings.data_dir, self.app.failure)

    def _warn_of_open_web(self) -> None:
        web = self.settings.web
        if web.token is None and not is_loopback(web.host):
            log.warning(
                "web.host is %s and there is no web.token: whoever reaches port %d reads every "
                "bar, series and number of this service",
                web.host,
                web.port,
            )


def _raise_descriptors() -> None:
    """Take as many descriptors as the process may have; the default of 1,024 is of other times."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, *_OPEN_FILES):
        # a kernel may refuse what it says is allowed, as that of macOS does
        with suppress(ValueError, OSError):
            if wanted == hard or _descriptors() < wanted:
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            break
    log.debug("open files: this process may have %d, before %d", _descriptors(), soft)


def _descriptors() -> int:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _NO_LIMIT if soft == resource.RLIM_INFINITY else soft


@cache
def _limit_shutdown(app: BarstreamApp, note: Callable[[], None]) -> None:
    """End a shutdown that hangs; what was not flushed is read again at the next start.

    Counted from its very beginning, because Faust waits without end for brokers that are gone.
    """

    def end() -> None:
        for handler in logging.getLogger().handlers:  # what was left out so far
            handler.close()
        log.error("not stopped within %.0f s, ended: nothing is lost", _STOP_WITHIN_S)
        if app.failure is not None:  # the last words, as in an orderly end
            log.error("worker stopped: %s", app.failure)
        note()
        os._exit(1)

    timer = threading.Timer(_STOP_WITHIN_S, end)
    timer.daemon = True
    timer.start()
