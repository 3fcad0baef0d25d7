"""A history written by hand, and what `barstream explain` says of it.

All of it on Monday 2023-11-20, sessions 06:30 to 06:50 on five trading dates::

    S   06:41      5  7  6   9(late)      06:42 empty     06:43 one tick, then a heartbeat
        06:44 on   filled ... asleep from the 23rd ...    the 24th: a tick wakes it
        07:00      a session loaded when all that was over
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from barstream.cli import cli
from barstream.model.time import us_from_iso
from tests.functional.records import beat, end_offset, send_ticks
from tests.functional.tick_records import Tick
from tests.pipeline import Pipeline, until

DATES = ("2023-11-20", "2023-11-21", "2023-11-22", "2023-11-23", "2023-11-24")
OPTIONS = {
    "TOPICS__PARTITIONS": "2",
    "BARS__INACTIVE_AFTER": "2",
    "BARS__TIMEFRAMES": "5m,1h,1d,1wk",
    "BARS__PUBLISH_OFF_SESSION": "true",
}


@dataclass
class Why:
    """What the command said."""

    code: int
    report: dict[str, Any]
    text: str

    @property
    def reason(self) -> str | None:
        """Why there is no final."""
        found: str | None = self.report["reason"]
        return found


def why(
    made: Pipeline, symbol: str, time: str, *options: str, people: bool = False, **env: str
) -> Why:
    """Run the command in this process; also as ``people`` read it, if wanted."""
    arguments = ["explain", "B", symbol, time, *options]
    changed = made.env | {f"BARSTREAM_{name}": value for name, value in env.items()}
    found = CliRunner().invoke(cli, [*arguments, "--json"], env=changed, catch_exceptions=False)
    assert found.exit_code in (0, 1), found.output
    text = ""
    if people:
        shown = CliRunner().invoke(cli, arguments, env=changed, catch_exceptions=False)
        assert shown.exit_code == found.exit_code, shown.output
        text = shown.stdout
    return Why(found.exit_code, json.loads(found.stdout), text)


def at(time: str, price: float, symbol: str = "S", date: str = DATES[0]) -> Tick:
    """A tick at a time of day."""
    return Tick("B", symbol, us_from_iso(f"{date}T{time}Z"), price)


def load_sessions(made: Pipeline, directory: Path, rows: list[str]) -> None:
    """Rows ``symbol,trading_date,session,open,close`` with times of day."""
    lines = ["broker,symbol,trading_date,session,open,close"]
    for row in rows:
        symbol, date, number, opens, closes = row.split(",")
        lines.append(f"B,{symbol},{date},{number},{date}T{opens}Z,{date}T{closes}Z")
    path = directory / f"sessions-{len(rows)}.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    made.run("schedule", "load", str(path), "--yes")


def applied(made: Pipeline, count: int) -> None:
    """Wait until so many ticks have been accepted."""
    worker = made.workers[-1]
    until(lambda: worker.get("/status")["ticks"] >= count, 30, f"{count} ticks accepted")


@dataclass
class Written:
    """Offsets of what was written."""

    made: Pipeline
    directory: Path
    first: list[int]
    barrier: int


def write_history(made: Pipeline, directory: Path) -> Written:
    """Write it, with a worker running."""
    rows = [f"S,{date},0,06:30:00,06:50:00" for date in DATES]
    load_sessions(made, directory, [*rows, f"OFF,{DATES[0]},0,06:30:00,06:50:00"])
    made.worker()
    first = send_ticks(
        made,
        [
            at("06:41:10", 5.0),
            at("06:41:30", 7.0),
            at("06:41:20", 6.0),
            at("06:43:10", 8.0),  # closes 06:41 and 06:42
            at("06:41:40", 9.0),  # late
            at("07:30:00", 9.5),  # off session
            at("06:41:00", 1.0, "UNKNOWN"),
            at("07:40:00", 1.0, "OFF"),
        ],
    )
    applied(made, 4)
    send_ticks(made, [at("06:43:20", 99.0)], partition=1)
    barrier = end_offset(made)
    beat(made, "S", us_from_iso(f"{DATES[0]}T06:43:00Z"), barrier)
    until(lambda: len(made.finals_of("S")) == 3, 20, "06:43 final by heartbeat")
    until(lambda: len(made.rejected()) == 5, 20, "five ticks rejected")
    send_ticks(made, [at("06:31:00", 10.0, date=DATES[4])])
    applied(made, 5)
    load_sessions(
        made,
        directory,
        [*rows, f"S,{DATES[0]},1,07:00:00,07:05:00"],
    )
    return Written(made, directory, first, barrier)
