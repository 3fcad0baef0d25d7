"""What ``make demo`` runs: broker, topics, schedule, feed, worker, and the bars they make."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from barstream.calendars import ALWAYS_OPEN, calendar_rows
from barstream.clock import system_clock_us
from barstream.codecs.bar import decode_bar
from barstream.core.time import MINUTE_US, SECOND_US, floor_minute
from barstream.demo.sandbox import POLL_S, Sandbox
from barstream.demo.shown import DemoScreen, local_clock
from barstream.feeds.simulate import Simulation, SimulationRules
from barstream.kafka import client_options
from barstream.schedule_loading import load_schedule
from barstream.topics import TopicNames

BROKER_NAME: Final = "SIM"
_DAYS_AHEAD: Final = 30


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
        self._sandbox = Sandbox(rules.directory, "demo", rules.web_port)
        self.finals = 0

    def stop(self) -> None:
        """Take everything down."""
        self._sandbox.stop()

    async def run(self) -> None:
        """Start all parts, show finals, stop all parts.

        Raises:
            ChildFailedError: a part ended by itself.
            BarstreamError: a part could not be started.
        """
        began = time.monotonic()
        async with self._sandbox:
            await self._start_parts()
            await self._follow(began)
            self._screen.say("stopping", "dim")

    async def _start_parts(self) -> None:
        rules, sandbox = self._rules, self._sandbox
        with self._screen.step("topics"):
            await sandbox.create_topics()
        symbols = Simulation(SimulationRules(series=rules.series)).market.symbols
        today = datetime.now(UTC).date()
        with self._screen.step(f"schedule: {len(symbols)} series, open day and night"):
            await load_schedule(
                sandbox.settings,
                calendar_rows(
                    ALWAYS_OPEN,
                    BROKER_NAME,
                    symbols,
                    today - timedelta(days=1),
                    today + timedelta(days=_DAYS_AHEAD),
                ),
            )
        feed = ["ticks", "simulate", "--series", str(rules.series), "--broker", BROKER_NAME]
        feed += ["--rate", f"{rules.rate_per_s:g}", "--seed", str(time.time_ns() % 1_000_000)]
        feed += ["--out-of-order-share", "0.03", "--duplicate-share", "0.002"]
        feed += ["--late-share", "0.002", "--bad-share", "0.003"]
        with self._screen.step("worker"):
            sandbox.start("worker", "worker", "--loglevel", "info")
            await sandbox.worker_ready()
        with self._screen.step(f"feed: {rules.rate_per_s:g} ticks/s, some late, some bad"):
            sandbox.start("feed", *feed)
        now_us = system_clock_us()
        grace_us = sandbox.settings.bars.grace_us
        first_us = floor_minute(now_us) + MINUTE_US + grace_us + SECOND_US
        self._screen.say(f"Page: {sandbox.url}", "bold")
        self._screen.say(f"Settings for other commands: export BARSTREAM_CONFIG={sandbox.toml}")
        self._screen.say(f"First final bar expected at {local_clock(first_us, seconds=True)}")

    async def _follow(self, began: float) -> None:
        """Show finals as they appear in their topic, committed ones only."""
        sandbox, settings = self._sandbox, self._sandbox.settings
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
            while not sandbox.stopped:
                sandbox.check()
                seconds = self._rules.seconds
                if seconds is not None and time.monotonic() - began > seconds:
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
                await sandbox.sleep(POLL_S)
