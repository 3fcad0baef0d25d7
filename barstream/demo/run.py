"""What ``make demo`` runs: broker, topics, schedule, feed, worker, and the bars they make."""

from __future__ import annotations

import asyncio
import os
import socket
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from barstream.broker import EmbeddedBroker
from barstream.calendars import ALWAYS_OPEN, calendar_rows
from barstream.clock import system_clock_us
from barstream.codecs.bar import decode_bar
from barstream.config import Settings, load_settings
from barstream.core.time import MINUTE_US, SECOND_US, floor_minute
from barstream.demo.children import Children
from barstream.demo.shown import DemoScreen, local_clock
from barstream.errors import BarstreamError
from barstream.feeds.simulate import Simulation, SimulationRules
from barstream.kafka import client_options
from barstream.schedule_loading import load_schedule
from barstream.topics import TopicNames, create

BROKER_NAME: Final = "SIM"
READY_WITHIN_S: Final = 60.0
_HOST: Final = "127.0.0.1"
_DAYS_AHEAD: Final = 30
_POLL_S: Final = 0.3


class DemoError(BarstreamError):
    """The demo did not come up: the message says which part, its log is named."""


@dataclass(frozen=True, slots=True)
class DemoRules:
    """What the demo runs.

    Attributes:
        directory: for broker, tables and logs.
        web_port: of the worker; None takes a free one.
        series: how many, from busy to thin.
        rate_per_s: ticks over all series.
        seconds: end by itself after so long; None: when stopped.
    """

    directory: Path
    web_port: int | None = None
    series: int = 6
    rate_per_s: float = 40.0
    seconds: float | None = None


class Demo:
    """Everything in one go; `run` returns when it is stopped or its time is over."""

    def __init__(self, rules: DemoRules, screen: DemoScreen) -> None:
        self._rules = rules
        self._screen = screen
        self._stop = asyncio.Event()
        self._port = rules.web_port or free_port()
        self.finals = 0

    def stop(self) -> None:
        """Take everything down."""
        self._stop.set()

    @property
    def url(self) -> str:
        """Where the page of the worker is."""
        return f"http://{_HOST}:{self._port}/"

    async def run(self) -> None:
        """Start all parts, show finals, stop all parts.

        Raises:
            ChildFailedError: a part ended by itself.
            BarstreamError: a part could not be started.
        """
        began = time.monotonic()
        place = self._rules.directory
        logs = place / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        broker = EmbeddedBroker(place / "broker")
        try:
            with self._screen.step("broker"):
                # In this thread: the broker ends when the thread that started it does.
                broker.start()
            settings, environment = self._settings(broker.bootstrap)
            with Children(logs, environment) as children:
                await self._start_parts(settings, children)
                await self._follow(settings, children, broker, began)
                self._screen.say("stopping", "dim")
                await asyncio.to_thread(children.stop)
        finally:
            await asyncio.to_thread(broker.stop)

    def _settings(self, bootstrap: str) -> tuple[Settings, dict[str, str]]:
        """Settings of the demo alone, and the environment that gives them to its parts.

        The user's own settings must not send the demo to a real Kafka.
        """
        place = self._rules.directory
        path = place / "demo.toml"
        path.write_text(
            'app_id = "demo"\n'
            f'bootstrap = "{bootstrap}"\n'
            f"data_dir = '{place / 'worker'}'\n"
            f'[web]\nhost = "{_HOST}"\nport = {self._port}\n'
        )
        kept = {k: v for k, v in os.environ.items() if not k.startswith("BARSTREAM_")}
        return load_settings(path, env={}), {
            **kept,
            "BARSTREAM_CONFIG": str(path),
            "PYTHONUNBUFFERED": "1",
        }

    async def _start_parts(self, settings: Settings, children: Children) -> None:
        rules = self._rules
        with self._screen.step("topics"):
            await create(settings)
        symbols = Simulation(SimulationRules(series=rules.series)).market.symbols
        today = datetime.now(UTC).date()
        with self._screen.step(f"schedule: {len(symbols)} series, open day and night"):
            await load_schedule(
                settings,
                calendar_rows(
                    ALWAYS_OPEN,
                    BROKER_NAME,
                    symbols,
                    today - timedelta(days=1),
                    today + timedelta(days=_DAYS_AHEAD),
                ),
            )
        worker = ["worker", "--loglevel", "info"]
        feed = ["ticks", "simulate", "--series", str(rules.series), "--broker", BROKER_NAME]
        feed += ["--rate", f"{rules.rate_per_s:g}", "--seed", str(time.time_ns() % 1_000_000)]
        feed += ["--out-of-order-share", "0.03", "--duplicate-share", "0.002"]
        feed += ["--late-share", "0.002", "--bad-share", "0.003"]
        with self._screen.step("worker"):
            children.start("worker", worker)
            await self._worker_answers(children)
        with self._screen.step(f"feed: {rules.rate_per_s:g} ticks/s, some late, some bad"):
            children.start("feed", feed)
        now_us = system_clock_us()
        first_us = floor_minute(now_us) + MINUTE_US + settings.bars.grace_us + SECOND_US
        self._screen.say(f"Page: {self.url}", "bold")
        self._screen.say(f"Settings for other commands: export BARSTREAM_CONFIG={self._toml()}")
        self._screen.say(f"First final bar expected at {local_clock(first_us, seconds=True)}")

    def _toml(self) -> Path:
        return self._rules.directory / "demo.toml"

    async def _worker_answers(self, children: Children) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._stop.is_set():
            children.check()
            if await asyncio.to_thread(_ok, f"{self.url}health/ready"):
                return
            if time.monotonic() > deadline:
                raise DemoError(
                    f"the worker must be ready within {READY_WITHIN_S:.0f} s, it is not; its log "
                    f"is {self._rules.directory / 'logs' / 'worker.log'}"
                )
            await self._sleep(_POLL_S)

    async def _follow(
        self, settings: Settings, children: Children, broker: EmbeddedBroker, began: float
    ) -> None:
        """Show finals as they appear in their topic, committed ones only."""
        topic = TopicNames.of(settings).final_1m
        consumer = AIOKafkaConsumer(
            **client_options(settings),
            group_id=None,
            isolation_level="read_committed",
            enable_auto_commit=False,
        )
        async with consumer:
            numbers = range(settings.topics.partitions)
            assigned = [TopicPartition(topic, number) for number in numbers]
            consumer.assign(assigned)
            await consumer.seek_to_end(*assigned)
            while not self._stop.is_set():
                children.check()
                broker.check()
                if (
                    self._rules.seconds is not None
                    and time.monotonic() - began > self._rules.seconds
                ):
                    return
                # The embedded broker answers a fetch at once, also with nothing: an idle consumer
                # would ask it thousands of times a second.
                consumer.resume(*assigned)
                polled = await consumer.getmany(timeout_ms=20)
                consumer.pause(*assigned)
                bars = [decode_bar(r.value) for rs in polled.values() for r in rs if r.value]
                for bar in sorted(bars, key=lambda b: (b.bucket_start_us, b.symbol)):
                    self._screen.bar(bar)
                self.finals += len(bars)
                await self._sleep(_POLL_S)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as trial:
        trial.bind((_HOST, 0))
        return int(trial.getsockname()[1])


def _ok(url: str) -> bool:
    # a worker is near; a proxy for the wide world does not know it
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
