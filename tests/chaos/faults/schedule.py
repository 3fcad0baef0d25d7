"""The market schedule is rewritten while ticks are judged by it."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from barstream.codecs.session import encode_session, session_key
from barstream.core.sessions import SessionRow
from barstream.core.time import DAY_US, MINUTE_US, SECOND_US, iso_date_from_days, iso_micros_from_us
from barstream.kafka import admin_client
from barstream.schedule_loading import load_schedule
from barstream.topics import create
from tests.chaos.faults.base import Fault, Scene
from tests.chaos.faults.clock import Clock, ClockJumps
from tests.chaos.faults.sending import Row, send
from tests.pipeline import Pipeline


class Rewritten(Fault):
    """Sessions are added, moved and withdrawn by ``barstream schedule load``, twice."""

    name = "schedule_rewritten"
    longest_s = 2.0
    changes_rules = True
    needs = frozenset({"schedule"})

    def begin(self, scene: Scene) -> str:
        self._load(scene, self._changed(scene), "first.csv")
        return "sessions moved, withdrawn and added"

    def end(self, scene: Scene) -> None:
        """As it was, but for one series."""
        self._load(scene, scene.sessions[1:] + self._changed(scene)[:1], "second.csv")

    def _load(self, scene: Scene, rows: Sequence[SessionRow], name: str) -> None:
        path = scene.directory / name
        write_csv(path, rows)
        scene.made.run("schedule", "load", str(path), "--yes")

    def _changed(self, scene: Scene) -> list[SessionRow]:
        now_us = scene.feed.clock_us
        rows = []
        for number, row in enumerate(scene.sessions):
            if number % 4 == 0 and row.open_us < now_us < row.close_us:
                # closes now, inside a minute
                rows.append(replace(row, close_us=now_us + self.rng.randrange(20 * SECOND_US)))
            elif number % 4 == 1 and row.close_us - row.open_us > 4 * MINUTE_US:
                rows.append(replace(row, open_us=row.open_us + MINUTE_US + 1))
            elif number % 4 == 2 and number % 8 == 2:
                continue
            else:
                rows.append(row)
        # series that had no session get one
        scheduled = {(row.broker, row.symbol) for row in scene.sessions}
        for broker, symbol in scene.feed.names:
            if (broker, symbol) not in scheduled:
                first = scene.sessions[0]
                rows.append(replace(first, symbol=symbol, broker=broker))
        return rows


class Conflicting(Fault):
    """Rows of another program that overlap: the series keeps what it had."""

    name = "schedule_conflict"
    needs = frozenset({"schedule"})

    def begin(self, scene: Scene) -> str:
        rows = [
            replace(row, session=row.session + 20, open_us=row.open_us + MINUTE_US)
            for row in scene.sessions[:3]
        ]
        topic = scene.made.names.market_schedule
        self._keys = [session_key(row) for row in rows]
        send(scene.made, [Row(topic, session_key(row), encode_session(row)) for row in rows])
        return "overlapping rows of three sessions"

    def end(self, scene: Scene) -> None:
        send(scene.made, [Row(scene.made.names.market_schedule, key, None) for key in self._keys])


class Withdrawn(Fault):
    """All sessions of a busy series are withdrawn by another program, and come back."""

    name = "schedule_withdrawn"
    drawn = False
    shortest_s = 4.0
    longest_s = 4.0
    changes_rules = True
    needs = frozenset({"schedule", "live"})

    def begin(self, scene: Scene) -> str:
        first = scene.sessions[0]
        self._rows = [row for row in scene.sessions if row.symbol == first.symbol]
        topic = scene.made.names.market_schedule
        send(scene.made, [Row(topic, session_key(row), None) for row in self._rows])
        return f"all of {first.symbol}"

    def end(self, scene: Scene) -> None:
        topic = scene.made.names.market_schedule
        rows = [Row(topic, session_key(row), encode_session(row)) for row in self._rows]
        send(scene.made, rows)


class NeverLoaded(Fault):
    """There is no schedule at all: every tick is refused, and the worker says what to do."""

    name = "schedule_never_loaded"
    drawn = False
    needs = frozenset({"schedule"})

    def prepare(self, scene: Scene) -> None:
        scene.has_sessions = False

    def begin(self, scene: Scene) -> str:
        return "from the beginning"


class ScheduleGone(Fault):
    """The topic of the schedule is deleted, and the day of the daily reload comes."""

    name = "schedule_gone"
    drawn = False
    shortest_s = 8.0
    longest_s = 8.0
    needs = frozenset({"schedule"})

    @classmethod
    def lacks(cls) -> str | None:
        return ClockJumps.lacks()

    def prepare(self, scene: Scene) -> None:
        self._clocks = [Clock(scene.directory, slot.name) for slot in scene.crew.slots]
        for slot, clock in zip(scene.crew.slots, self._clocks, strict=True):
            slot.extra_env = {**slot.extra_env, **clock.env}

    def begin(self, scene: Scene) -> str:
        asyncio.run(_delete(scene.made, scene.made.names.market_schedule))
        for clock in self._clocks:
            clock.shift(DAY_US)
        return "topic deleted, clocks a day on"

    def end(self, scene: Scene) -> None:
        for clock in self._clocks:
            clock.shift(0)
        asyncio.run(create(scene.made.settings))
        asyncio.run(load_schedule(scene.made.settings, scene.sessions))


async def _delete(made: Pipeline, topic: str) -> None:
    async with admin_client(made.settings) as admin:
        await admin.delete_topics([topic])


def write_csv(path: Path, rows: Sequence[SessionRow]) -> None:
    """A schedule file."""
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("broker", "symbol", "trading_date", "session", "open", "close"))
        for row in rows:
            writer.writerow(
                (
                    row.broker,
                    row.symbol,
                    iso_date_from_days(row.trading_date),
                    row.session,
                    iso_micros_from_us(row.open_us),
                    iso_micros_from_us(row.close_us),
                )
            )
