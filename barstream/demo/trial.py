"""What ``barstream try`` runs: a service of one's own, and the bars of one's file in it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

import numpy as np

from barstream.clock import system_clock_us
from barstream.codecs.topics.bar import decode_bar
from barstream.config import Settings
from barstream.demo.sandbox import POLL_S, Sandbox
from barstream.errors import BarstreamError
from barstream.feeds.admission import Admission
from barstream.feeds.column_encoder import tick_encoder
from barstream.feeds.files import FileTicks
from barstream.feeds.load import Load, Loaded, LoadRules
from barstream.feeds.load_plan import Batch, prepare
from barstream.feeds.progress import Watcher
from barstream.feeds.refusals import AlreadyLoadedError, NoSessionError
from barstream.feeds.schedule_load import load_schedule
from barstream.kafka.clients import TopicPartition, make_consumer
from barstream.kafka.cluster import Cluster
from barstream.kafka.topics import TopicNames
from barstream.market.calendar import calendar_rows, reach_of, warning_of
from barstream.market.session import SessionRow
from barstream.model.key import split_bar_key
from barstream.model.time import DAY_US, floor_minute, iso_date_from_days, iso_from_us

NAME: Final = "try"
_NEXT_TRADING_DATE: Final = timedelta(days=4)
"""Evening ticks before a long weekend belong to the trading date after it."""
_STILL_FOR_S: Final = 10.0
_NEVER_US: Final = -1


class TrialError(BarstreamError):
    """The file cannot be tried like this: the message says what to give instead."""


@dataclass(frozen=True, slots=True)
class TrialRules:
    """How to try a file.

    Attributes:
        directory: for broker, tables, logs and settings.
        web_port: of the worker; None takes the usual one, or a free one when that is taken.
        calendar: the sessions of every series; None: around the clock, UTC.
    """

    directory: Path
    web_port: int | None = None
    calendar: str | None = None


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What came of a file.

    Attributes:
        loaded: None where the file had been loaded before.
        admission: what of it is in no bar.
        bars: final bars by timeframe, shortest first.
        synthetic: how many of those of 1m had no tick.
        rejected: ticks the worker rejected, by reason.
        seconds: from the start until all bars were there.
    """

    loaded: Loaded | None
    admission: Admission
    bars: Mapping[str, int]
    synthetic: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class Trial:
    """A file tried, in a sandbox.

    Args:
        rules: how.
        batch: the file, read.
        watcher: is told how the load goes on.

    Attributes:
        rules: how.
        sandbox: where; its context starts and stops broker and worker.

    Raises:
        CalendarError: there is no such calendar, or it does not reach the file.
    """

    def __init__(self, rules: TrialRules, batch: Batch, watcher: Watcher) -> None:
        self.rules = rules
        self._batch = batch
        self._watcher = watcher
        self._began = time.monotonic()
        self._load: Load | None = None
        self._sessions: list[SessionRow] = []
        if rules.calendar is not None:
            self._sessions = _sessions(rules.calendar, batch.ticks)
            if warning := warning_of(rules.calendar):
                watcher.say(warning)
        self.sandbox = Sandbox(
            rules.directory,
            NAME,
            rules.web_port,
            # without sessions a newcomer sees bars all the same
            "" if rules.calendar else "[bars]\nschedule = false\n",
        )

    @property
    def page(self) -> str:
        """Where the page opens at the first series of the file."""
        ticks = self._batch.ticks
        broker, symbol = ticks.names[int(ticks.series[0])]
        return f"{self.sandbox.url}#{quote(broker, safe='')}/{quote(symbol, safe='')}/1m"

    def stop(self) -> None:
        """End what is under way; leaving the context takes everything down."""
        self.sandbox.stop()
        if self._load is not None:
            self._load.stop()

    async def wait(self, seconds: float | None) -> None:
        """Until `stop` is called, or for so long.

        Raises:
            BarstreamError: a part has ended by itself.
        """
        ends = None if seconds is None else time.monotonic() + seconds
        while not self.sandbox.stopped and (ends is None or time.monotonic() < ends):
            self.sandbox.check()
            await self.sandbox.sleep(POLL_S)

    async def start(self) -> None:
        """Topics, sessions and the worker, which is not waited for.

        Raises:
            BarstreamError: a part could not be started.
        """
        await self.sandbox.create_topics()
        if self._sessions:
            await load_schedule(self.sandbox.settings, self._sessions)
        self.sandbox.start("worker", "worker", "--loglevel", "info")

    async def load(self) -> tuple[Loaded | None, Admission]:
        """Send the file; None where it was loaded before.

        Raises:
            TrialError: none of its ticks is in a session.
            BarstreamError: the load failed.
        """
        settings = self.sandbox.settings
        encoder = await tick_encoder(settings.ticks, TopicNames.of(settings).ticks)
        try:
            self._load = await prepare(
                settings,
                self._batch,
                LoadRules(grace_us=settings.bars.grace_us),
                encoder=encoder,
                clock_us=system_clock_us,
                watcher=self._watcher,
            )
        except NoSessionError as error:
            ticks = self._batch.ticks
            raise TrialError(
                f"each series must have a session of calendar {self.rules.calendar} between its "
                f"first and its last tick, found one that has none; the file reaches from "
                f"{iso_from_us(int(ticks.time_us[0]))} to {iso_from_us(int(ticks.time_us[-1]))}: "
                "try another --calendar or none, and look at --timezone"
            ) from error
        if self.sandbox.stopped:  # before there was a load to stop
            self._load.stop()
        try:
            return await self._load.run(), self._load.admission
        except AlreadyLoadedError:
            self._watcher.say(
                "was loaded before: its ticks are kept and not sent twice, and the worker makes "
                "what bars of them are missing"
            )
            return None, self._load.admission

    async def finish(self, loaded: Loaded | None, admission: Admission) -> TrialResult:
        """Wait until the worker has written every bar of the file.

        Raises:
            BarstreamError: a part has ended by itself.
        """
        settings, sandbox = self.sandbox.settings, self.sandbox
        await sandbox.worker_ready()
        finals = _Finals(settings)
        wanted = _wanted(self._batch.ticks, admission)
        async with finals.consumer:
            await finals.start()
            last_work = time.monotonic()
            while not sandbox.stopped and not finals.reach(wanted):
                sandbox.check()
                status = await sandbox.status()
                if await finals.read() or status is None or status["lag"]:
                    last_work = time.monotonic()
                elif time.monotonic() - last_work > _STILL_FOR_S:
                    break  # its last minutes are not over yet
                else:
                    await sandbox.sleep(POLL_S)
            while await finals.read():
                pass
        status = await sandbox.status()
        rejected = {} if status is None else {k: n for k, n in status["rejected"].items() if n}
        seconds = time.monotonic() - self._began
        return TrialResult(
            loaded, admission, finals.counts(), finals.synthetic(), rejected, seconds
        )


class _Finals:
    """The final bars of every timeframe, counted as they are committed."""

    def __init__(self, settings: Settings) -> None:
        cluster = Cluster(settings)
        names = cluster.names
        self.consumer = make_consumer(cluster)
        self._timeframe = {names.final_1m: "1m"}
        self._timeframe |= {topic: str(period) for period, topic in names.rollups.items()}
        self._partitions = range(settings.topics.partitions)
        self._bars: dict[str, dict[bytes, bool]] = {each: {} for each in self._timeframe.values()}
        self._newest: dict[tuple[str, str], int] = {}

    async def start(self) -> None:
        """Read from the beginning of every topic."""
        assigned = [TopicPartition(topic, n) for topic in self._timeframe for n in self._partitions]
        self.consumer.assign(assigned)
        await self.consumer.seek_to_beginning(*assigned)

    async def read(self) -> int:
        """Take what has come; how many records."""
        found = 0
        for partition, records in (await self.consumer.getmany(timeout_ms=100)).items():
            timeframe = self._timeframe[partition.topic]
            found += len(records)
            for record in records:
                if record.value is None:
                    self._bars[timeframe].pop(record.key, None)
                    continue
                synthetic = False
                if timeframe == "1m":
                    synthetic = decode_bar(record.value).synthetic
                    broker, symbol, start_us = split_bar_key(record.key)
                    name = (broker, symbol)
                    self._newest[name] = max(self._newest.get(name, start_us), start_us)
                self._bars[timeframe][record.key] = synthetic
        return found

    def reach(self, wanted: Mapping[tuple[str, str], int]) -> bool:
        """Whether each series has its bar of the minute ``wanted``, or a later one."""
        return all(self._newest.get(name, minute - 1) >= minute for name, minute in wanted.items())

    def counts(self) -> dict[str, int]:
        """How many there are, by timeframe."""
        return {timeframe: len(bars) for timeframe, bars in self._bars.items()}

    def synthetic(self) -> int:
        """How many of those of 1m had no tick."""
        return sum(self._bars["1m"].values())


def _sessions(calendar: str, ticks: FileTicks) -> list[SessionRow]:
    """The sessions of every series over the dates of its ticks, as far as the calendar reaches."""
    first, last = (
        date.fromisoformat(iso_date_from_days(int(us) // DAY_US))
        for us in (ticks.time_us.min(), ticks.time_us.max())
    )
    begin, end = reach_of(calendar)
    around = first - timedelta(days=1), last + _NEXT_TRADING_DATE
    symbols: dict[str, list[str]] = {}
    for broker, symbol in ticks.names:
        symbols.setdefault(broker, []).append(symbol)
    return [
        row
        for broker, its in symbols.items()
        for row in calendar_rows(
            calendar, broker, its, max(around[0], min(first, begin)), min(around[1], max(last, end))
        )
    ]


def _wanted(ticks: FileTicks, admission: Admission) -> dict[tuple[str, str], int]:
    """The minute of the last tick of each series that is in a bar."""
    last_us = np.full(len(ticks.names), _NEVER_US, np.int64)
    accepted = admission.accepted
    np.maximum.at(last_us, ticks.series[accepted], admission.placed_us[accepted])
    return {
        name: floor_minute(us)
        for name, us in zip(ticks.names, last_us.tolist(), strict=True)
        if us != _NEVER_US
    }
