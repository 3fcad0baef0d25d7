"""Keeps a worker's market schedule in step with topic ``market_schedule``.

Every worker reads the whole topic with a reader of its own, judges nothing before it has
all of it, and from then on swaps in a new index as rows arrive.  Once a day the topic is
read anew, so that nothing a long-lived connection may have missed survives the night.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from croniter import croniter
from mode import Service

from barstream.cancellation import cancel
from barstream.clock import system_clock_us
from barstream.codecs.registry import RegistryError
from barstream.codecs.topics.schedule_rows import ScheduleRows
from barstream.codecs.topics.session import NO_REGISTRY
from barstream.codecs.topics.session_schemas import SessionSchemas
from barstream.config import Settings
from barstream.kafka.cluster import Cluster
from barstream.kafka.topic_follower import TopicFollower
from barstream.kafka.topics import TopicNames
from barstream.market.schedule import AlwaysOpenIndex, MarketScheduleProvider, Series
from barstream.model.time import SECOND_US, datetime_from_us, iso_from_us, us_from_datetime

log = logging.getLogger(__name__)

RELOAD_AT: Final = "5 0 * * *"
"""Each day at 00:05 UTC."""
POLL_S: Final = 0.1
LONGEST_WAIT_POLLS: Final = 5
"""Rows that keep arriving are applied after so many polls all the same."""
REFUSED_LOGGED: Final = 8
"""So many rows that are none are shown of one load; `/status` has them all."""
SERIES_A_STEP: Final = 10
"""Series judged without a break; the event loop gets its turn in between."""


def next_reload_us(after_us: int) -> int:
    """The first 00:05 UTC after ``after_us``."""
    due: datetime = croniter(RELOAD_AT, datetime_from_us(after_us)).get_next(datetime)
    return us_from_datetime(due)


@dataclass(frozen=True, slots=True)
class ScheduleStatus:
    """What a worker knows of its schedule; times in microseconds, None where not yet.

    ``refused`` are records of the topic that are no row; ``problems`` say why, and which rows
    contradict each other.
    """

    ready: bool
    always_open: bool
    version: int
    rows: int
    series: int
    refused: int
    problems: tuple[str, ...]
    last_change_us: int | None
    last_reload_us: int | None
    next_reload_us: int | None
    last_error: str | None
    failures: int
    hint: str | None


class ScheduleService(Service):
    """Reads the schedule into ``provider``; without a schedule join, opens it for always.

    A topic that cannot be read at first start crashes the service, and with it the worker.
    Later failures keep the index there is, are reported in ``status`` and tried again.

    Args:
        settings: ``bars.schedule`` off means 24x7 on the UTC calendar, without a topic.
        table: an empty table whose rows are written by the schemas given.
        provider: the provider to keep; a new one by default.
        clock: microseconds since the epoch.
        retry_s: how long after a failed reload the next one is tried.
        reload_timeout_s: a reload that has not caught up by then has failed.
    """

    def __init__(
        self,
        settings: Settings,
        table: Callable[[SessionSchemas], ScheduleRows],
        provider: MarketScheduleProvider | None = None,
        *,
        clock: Callable[[], int] = system_clock_us,
        retry_s: float = 30.0,
        reload_timeout_s: float = 120.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.provider = provider or MarketScheduleProvider(settings.ticks.name_rule)
        self.topic = TopicNames.of(settings).market_schedule
        self._settings = settings
        self._clock = clock
        self._retry_us = round(retry_s * SECOND_US)
        self._reload_timeout_s = reload_timeout_s
        self._table = table
        self._rows = table(NO_REGISTRY)
        self._schemas_due_us = 0
        self._reader: TopicFollower | None = None
        self._reload: asyncio.Task[tuple[TopicFollower, ScheduleRows]] | None = None
        self._loaded = asyncio.Event()
        self._first_failure: Exception | None = None
        self._row_count = 0
        self._records_seen = 0
        self._polls_waited = 0
        self._last_change_us: int | None = None
        self._last_reload_us: int | None = None
        self._next_reload_us: int | None = None
        self._last_error: str | None = None
        self._failures = 0

    @property
    def status(self) -> ScheduleStatus:
        """The state to show in metrics, views and ``doctor``."""
        index = self.provider.index
        conflicts = [str(each) for found in index.problems.values() for each in found]
        return ScheduleStatus(
            ready=self.provider.ready,
            always_open=index.always_open,
            version=index.version,
            rows=self._row_count,
            series=len(index),
            refused=len(self._rows.refused),
            problems=(*conflicts, *self._rows.refused.values()),
            last_change_us=self._last_change_us,
            last_reload_us=self._last_reload_us,
            next_reload_us=self._next_reload_us,
            last_error=self._last_error,
            failures=self._failures,
            hint=self._hint(),
        )

    def _hint(self) -> str | None:
        index = self.provider.index
        if not self.provider.ready or index.always_open or len(index):
            return None
        return (
            f"topic {self.topic} holds no sessions, so every tick is rejected as unscheduled: run "
            "`barstream schedule load --calendar FX --broker BROKER --symbol SYMBOL`, or set "
            "`schedule = false` in [bars] to run 24x7"
        )

    async def loaded(self) -> None:
        """Wait until the schedule was read to its end once; raises what prevented it."""
        await self._loaded.wait()
        if self._first_failure is not None:
            raise self._first_failure

    async def on_start(self) -> None:
        if not self._settings.bars.schedule:
            self.provider.swap(AlwaysOpenIndex())
            self._loaded.set()

    async def on_stop(self) -> None:
        if self._reload is not None:
            await cancel([self._reload])
        if self._reader is not None:
            await self._reader.stop()

    @Service.task
    async def _follow(self) -> None:
        if not self._settings.bars.schedule:
            return
        try:
            self._reader, self._rows = await self._load()
            await self._take_over()
        except Exception as error:
            self._first_failure, self._last_error = error, str(error)
            raise
        finally:
            self._loaded.set()
        if hint := self._hint():
            log.warning("%s", hint)
        while not self.should_stop:
            await self.sleep(POLL_S)
            await self._apply_arrivals()
            await self._reload_when_due()

    async def _load(self) -> tuple[TopicFollower, ScheduleRows]:
        ticks = self._settings.ticks
        rows = self._table(SessionSchemas.of(ticks.registry_url, ticks.name_rule))
        # made anew for each load: certificates may have been renewed since
        reader = TopicFollower(self.topic, rows.apply, cluster=Cluster(self._settings))
        await reader.start()
        try:
            await reader.caught_up()
            await rows.fetch_schemas()
        except BaseException:
            await reader.stop()
            raise
        return reader, rows

    async def _apply_arrivals(self) -> None:
        if not self._rows.is_dirty:
            return
        still_arriving = self._rows.records != self._records_seen
        self._records_seen = self._rows.records
        self._polls_waited += 1
        if not still_arriving or self._polls_waited >= LONGEST_WAIT_POLLS:
            self._polls_waited = 0
            await self._fetch_schemas()
            await self._publish(self._rows.take_dirty())

    async def _fetch_schemas(self) -> None:
        now_us = self._clock()
        if now_us < self._schemas_due_us:
            return
        try:
            await self._rows.fetch_schemas()
        except RegistryError as error:
            self._fail(f"rows wait for the schema they name: {error}")
            self._schemas_due_us = now_us + self._retry_us

    async def _reload_when_due(self) -> None:
        now_us = self._clock()
        if self._reload is None:
            if self._reader is not None and self._reader.failure is not None:
                self._fail(f"the reader of {self.topic} ended: {self._reader.failure!r}")
                self._reader, self._next_reload_us = None, now_us
            if self._next_reload_us is not None and now_us >= self._next_reload_us:
                load = asyncio.wait_for(self._load(), self._reload_timeout_s)
                self._reload = asyncio.create_task(load, name="reload of the schedule")
        elif self._reload.done():
            finished, self._reload = self._reload, None
            try:
                reader, rows = finished.result()
            except Exception as error:  # noqa: BLE001 - whatever it was, the index there is stays
                self._fail(f"reload failed: {error!r}")
                self._next_reload_us = now_us + self._retry_us
                return
            if self._reader is not None:
                await self._reader.stop()
            self._reader, self._rows = reader, rows
            await self._take_over()

    async def _take_over(self) -> None:
        self._rows.take_dirty()
        index = self.provider.index
        # A series may be gone from the topic altogether: compaction removes its tombstones.
        await self._publish({*index.series(), *index.problems, *self._rows.series()})
        now_us = self._clock()
        self._last_reload_us, self._last_error = now_us, None
        self._next_reload_us = next_reload_us(now_us)
        log.debug(
            "schedule loaded rows=%d series=%d next_reload=%s",
            self._row_count,
            len(self.provider.index),
            iso_from_us(self._next_reload_us),
        )

    async def _publish(self, touched: Collection[Series]) -> None:
        current = index = self.provider.index
        waiting = list(touched)
        while waiting:
            step, waiting = waiting[:SERIES_A_STEP], waiting[SERIES_A_STEP:]
            index = index.updated({series: self._rows.rows_of(series) for series in step})
            if waiting:
                await asyncio.sleep(0)
            else:
                # what came meanwhile as well: an index is that of one place of the topic, which
                # is what the log says of it
                waiting = list(self._rows.take_dirty())
        self._row_count = len(self._rows)
        self._log_refused()
        index = index.succeeding(current, self._rows.ends, self._row_count)
        if self.provider.ready and not index.changed and index.problems == current.problems:
            return
        for series, conflicts in index.problems.items():
            if conflicts != current.problems.get(series):
                for conflict in conflicts:
                    log.error("schedule rows refused, the series keeps what it had: %s", conflict)
        self._last_change_us = self._clock()
        self.provider.swap(index)

    def _log_refused(self) -> None:
        reasons = self._rows.take_refused()
        for reason in reasons[:REFUSED_LOGGED]:
            log.error("schedule row refused, it stands for nothing: %s", reason)
        if len(reasons) > REFUSED_LOGGED:
            log.error("%d schedule rows refused, the first are above", len(reasons))

    def _fail(self, text: str) -> None:
        self._last_error = text
        self._failures += 1
        log.error("schedule not reloaded, the index there is stays: %s", text)
