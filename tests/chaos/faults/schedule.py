"""The market schedule is rewritten while ticks are judged by it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from barstream.codecs.topics.session import encode_session, session_key
from barstream.feeds.schedule_load import load_schedule
from barstream.kafka.connection import admin_client
from barstream.kafka.topics import create
from barstream.market.session import SessionRow
from barstream.model.time import DAY_US, MINUTE_US, SECOND_US
from tests.chaos.faults.base import HISTORY_SPEED, Fault, Scene
from tests.chaos.faults.clock import Clock, ClockJumps
from tests.chaos.faults.raw_records import Row, send
from tests.pipeline import Pipeline, until

_AHEAD_S: Final = 12


class Rewritten(Fault):
    """Sessions to come are added, moved and withdrawn while workers judge ticks, twice.

    What changes lies `_AHEAD_S` of the wall clock ahead of the feed, as it does for who mends a
    schedule in time: rows that change what a tick was judged by a moment ago leave bars of which
    nobody can tell from the topics which rows their ticks met.
    """

    name = "schedule_rewritten"
    longest_s = 2.0
    changes_rules = True
    needs = frozenset({"schedule"})

    def begin(self, scene: Scene) -> str:
        scene.least_s = max(scene.least_s, 2 * _AHEAD_S)
        return self._load(scene, scene.sessions)

    def end(self, scene: Scene) -> None:
        """Once more, from what is in force by now."""
        scene.notes.append(f"schedule_rewritten again: {self._load(scene, self._rows)}")

    def _load(self, scene: Scene, before: Sequence[SessionRow]) -> str:
        wall_us = _AHEAD_S * SECOND_US
        began = time.monotonic()
        ahead_us = wall_us if scene.live else int(wall_us * HISTORY_SPEED)
        self._rows = self._changed(scene, before, scene.feed.clock_us + ahead_us)
        done = asyncio.run(load_schedule(scene.made.settings, self._rows))
        took = time.monotonic() - began
        if took > _AHEAD_S - 2:
            raise AssertionError(f"the schedule was loaded in {took:.1f} s, too late for its rows")
        return (
            f"{len(done.added)} sessions added, {len(done.changed)} changed, "
            f"{len(done.withdrawn)} withdrawn"
        )

    def _changed(
        self, scene: Scene, before: Sequence[SessionRow], from_us: int
    ) -> list[SessionRow]:
        """``before``, other from ``from_us`` on."""
        rows: list[SessionRow] = []
        for number, row in enumerate(before):
            shift_us = self.rng.randrange(1, 50 * SECOND_US)
            if row.open_us > from_us + MINUTE_US:
                if number % 3 == 0 and row.close_us - row.open_us > 2 * MINUTE_US:
                    rows.append(replace(row, open_us=row.open_us + shift_us))
                elif number % 3 < 2:
                    rows.append(row)
            elif row.open_us < from_us < row.close_us - 4 * MINUTE_US and number % 2 == 0:
                # shut from within one minute to within another
                shut_us = from_us + shift_us
                rows.append(replace(row, close_us=shut_us))
                again = replace(row, open_us=shut_us + 2 * MINUTE_US, session=row.session + 40)
                rows.append(again)
            else:
                rows.append(row)
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
    """All sessions of a series are withdrawn, after the verdict: workers show that it is left out.

    After it, because the ticks of the minute that was open then are in no bar any more.
    """

    name = "schedule_withdrawn"
    drawn = False
    needs = frozenset({"schedule", "live"})

    def begin(self, scene: Scene) -> str:
        return "comes after the verdict"

    def after(self, scene: Scene) -> None:
        first = scene.sessions[0]
        rows = [row for row in scene.sessions if row.symbol == first.symbol]
        topic = scene.made.names.market_schedule
        send(scene.made, [Row(topic, session_key(row), None) for row in rows])
        shown = "barstream_heartbeats_skipped_series"
        until(
            lambda: any(
                slot.numbers().get(shown, {"why": "unscheduled"}) for slot in scene.crew.running
            ),
            90,
            "a worker shows that it leaves the series out",
        )
        time.sleep(2)  # so that it is scraped too


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
