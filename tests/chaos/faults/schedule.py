"""The market schedule is rewritten while ticks are judged by it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from barstream.codecs.session import encode_session, session_key
from barstream.core.sessions import SessionRow
from barstream.core.time import MINUTE_US, SECOND_US, iso_date_from_days, iso_micros_from_us
from tests.chaos.faults.base import Fault, Scene
from tests.chaos.faults.sending import Row, send


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
