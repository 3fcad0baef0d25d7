"""What ``make demo`` runs: a market with a past, a feed that goes on with it, and a worker."""

from __future__ import annotations

import threading
import time
import webbrowser
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from barstream.clock import system_clock_us
from barstream.codecs.topics.bar import decode_bar
from barstream.config.periods import periods_in_force
from barstream.demo.display import DemoScreen, FinalBar, FinalsTable
from barstream.demo.feed import DemoFeed
from barstream.demo.sandbox import POLL_S, Sandbox, program_name
from barstream.demo.tape import record
from barstream.demo.venue import BROKER, LISTINGS, PAST_DATES, Listing, sessions
from barstream.feeds.schedule_load import load_schedule
from barstream.kafka.clients import TopicPartition, make_consumer
from barstream.kafka.cluster import Cluster
from barstream.market.session import SessionRow
from barstream.model.period import MINUTE
from barstream.model.time import MINUTE_US, datetime_from_us, floor_minute

_SETTINGS: Final = """
[topics]
partitions = 2
[bars]
late_policy = "revise"
timeframes = ["5m", "15m", "1h", "4h", "1d"]
"""


@dataclass(frozen=True, slots=True)
class DemoRules:
    """What the demo runs.

    Attributes:
        directory: for broker, tables and logs.
        web_port: of the worker; None takes the usual one, or a free one when that is taken.
        series: how many, from busy to thin.
        rate_per_s: ticks of the live feed over all series, on average over a day.
        seconds: end by itself after so long; None: when stopped.
        open_page: open the page in a browser.
        kept: whether ``directory`` is still there afterwards.
    """

    directory: Path
    web_port: int | None = None
    series: int = 6
    rate_per_s: float = 6.0
    seconds: float | None = None
    open_page: bool = False
    kept: bool = False


class Demo:
    """Everything in one go; `run` returns when it is stopped or its time is over."""

    def __init__(self, rules: DemoRules, screen: DemoScreen) -> None:
        self._rules = rules
        self._screen = screen
        self._sandbox = Sandbox(rules.directory, "demo", rules.web_port, _SETTINGS)
        self._listings = LISTINGS[: rules.series]
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
        async with AsyncExitStack() as stack:
            with self._screen.step("broker") as told:
                await stack.enter_async_context(self._sandbox)
                told("embedded")
            hours = await self._topics_and_schedule()
            # It takes longest to start, and has nothing to do yet: the past is made meanwhile.
            self._sandbox.start("worker", "worker", "--loglevel", "info")
            feed = await stack.enter_async_context(DemoFeed(self._sandbox, self._rules.rate_per_s))
            await self._start_market(feed, hours)
            if not self._sandbox.stopped:
                self._show_address()
                await self._follow(feed, began)
            self._screen.say("stopping", "dim")

    async def _topics_and_schedule(self) -> list[list[SessionRow]]:
        sandbox, listings = self._sandbox, self._listings
        with self._screen.step("topics") as told:
            await sandbox.create_topics()
            told("ticks, sessions, bars of 1m " + " ".join(sandbox.settings.bars.timeframes))
        with self._screen.step("schedule") as told:
            now_us = system_clock_us()
            hours = [sessions(listing, now_us) for listing in listings]
            await load_schedule(sandbox.settings, [row for rows in hours for row in rows])
            told(_hours_in_words(listings))
        return hours

    async def _start_market(self, feed: DemoFeed, hours: Sequence[Sequence[SessionRow]]) -> None:
        rules, sandbox = self._rules, self._sandbox
        with self._screen.step("history") as told:
            seed = time.time_ns() % 1_000_000
            tape = record(self._listings, hours, system_clock_us(), rules.rate_per_s, seed)
            await feed.start(tape, seed)
            told(f"{len(tape.ticks):,} ticks of {PAST_DATES} trading dates, made up")
        if not sandbox.stopped:
            await self._bars_of_history(feed)

    async def _bars_of_history(self, feed: DemoFeed) -> None:
        rules, sandbox = self._rules, self._sandbox
        with self._screen.step("worker"):
            await sandbox.worker_ready()
        if sandbox.stopped:
            return
        with self._screen.step("bars of history") as told:
            feed.check()
            await sandbox.caught_up(within=int(rules.rate_per_s))
            rate = f"{rules.rate_per_s:g} ticks/s"
            told(f"and a live feed of {rate} goes on from there, now and then with a bad tick")

    def _show_address(self) -> None:
        sandbox, screen = self._sandbox, self._screen
        symbol = self._listings[0].symbol
        address = f"{sandbox.url}#{BROKER}/{symbol}/1m"
        due_us = floor_minute(system_clock_us()) + MINUTE_US + sandbox.settings.bars.grace_us
        kept = f"{sandbox.directory} stays" if self._rules.kept else "nothing of it stays"
        program = program_name()
        screen.say("In another terminal, from the same directory:")
        screen.say(f"  export BARSTREAM_CONFIG={sandbox.toml}")
        screen.say(f"  {program} bars {BROKER} {symbol} --timeframe 15m --limit 8")
        closed = datetime_from_us(due_us - sandbox.settings.bars.grace_us - 3 * MINUTE_US)
        screen.say(f"  {program} explain {BROKER} {symbol} {closed:%Y-%m-%dT%H:%M}")
        screen.say(f"  {program} verify")
        due = datetime_from_us(due_us)
        screen.say(f"New final bars are printed here, the next at {due:%H:%M:%S} UTC.")
        if sandbox.port_note:
            screen.say(sandbox.port_note)
        screen.say(f"Ctrl-C ends everything; {kept}. The page:")
        if self._rules.open_page:
            # A text browser would not return until it is left.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        screen.say(address, "bold")

    async def _follow(self, feed: DemoFeed, began: float) -> None:
        """Show finals as they appear in their topics, committed ones only."""
        sandbox, settings = self._sandbox, self._sandbox.settings
        cluster = Cluster(settings)
        names = cluster.names
        periods = (MINUTE, *periods_in_force(settings).upper)
        period_of = {names.finals(period): period for period in periods}
        table = FinalsTable(
            self._screen, periods, {listing.symbol: listing.decimals for listing in self._listings}
        )
        table.begin(await self._rejected())
        consumer = make_consumer(cluster)
        async with consumer:
            # what late ticks of the history change is no news
            since_us = floor_minute(system_clock_us())
            assigned = [
                TopicPartition(topic, number)
                for topic in period_of
                for number in range(settings.topics.partitions)
            ]
            consumer.assign(assigned)
            await consumer.seek_to_end(*assigned)
            waiting: list[FinalBar] = []
            while not sandbox.stopped:
                sandbox.check()
                feed.check()
                seconds = self._rules.seconds
                if seconds is not None and time.monotonic() - began > seconds:
                    return
                # The embedded broker answers a fetch at once, also with nothing: an idle consumer
                # would ask it thousands of times a second.
                consumer.resume(*assigned)
                polled = await consumer.getmany(timeout_ms=20)
                consumer.pause(*assigned)
                finals = [
                    FinalBar(period_of[partition.topic], decode_bar(record.value))
                    for partition, records in polled.items()
                    for record in records
                    if record.value
                ]
                new = [each for each in finals if each.end_us > since_us]
                waiting += new
                self.finals += len(new)
                # Those of one minute come within a moment, by partition; together they are read.
                if waiting and not new:
                    table.bars(waiting)
                    table.rejected(await self._rejected())
                    waiting = []
                await sandbox.sleep(POLL_S)

    async def _rejected(self) -> dict[str, int]:
        """Rejected ticks by reason; empty while the worker is too busy to say."""
        status = await self._sandbox.status() or {}
        return dict(status.get("rejected", {}))


def _hours_in_words(listings: Sequence[Listing]) -> str:
    always = [listing.symbol for listing in listings if listing.around_the_clock]
    words = f"{len(listings)} series; past weekends are closed, today is open"
    return f"{words}; {', '.join(always)} never closes" if always else words
