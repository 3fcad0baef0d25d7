"""Two real minutes of a market, lived through once and looked at by many tests.

Wall clock, with m the first minute and the grace after each end::

          m                     m+1                   m+2
          |---------------------|---------------------|--|
  STEADY  |xxxxxxxxxxxxxxxxxxxxx|xxx                  |     a tick each 25 ms, then silence
  QUIET   |xxx                  |                     |     three ticks, then nothing at all
  ENDS    |x                    ]                     |     its session ends with m
  INSIDE  |xx   ]o              |                     |     its session ends inside m
  LATER   |x                    |                     ]     its last minute is empty
  USDJPY  |  a file of 2013 is loaded
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from barstream.codecs.avro.body import decode
from barstream.codecs.topics.heartbeat import HeartbeatRecord
from barstream.codecs.topics.heartbeat import decode as decode_heartbeat
from barstream.model.key import bar_key
from barstream.model.period import Period
from barstream.model.time import iso_date_from_days, iso_micros_from_us
from tests.functional.recorded_ticks import TRUEFX
from tests.functional.tick_records import MINUTE_US, SECOND_US, Tick, feed, now_us
from tests.pipeline import Pipeline, Record, WorkerProcess, until

BROKER = "NOW"
STEADY_EVERY_S = 0.025
#: Time needed inside the first minute, to load rows and send what belongs into it.
_NEEDED_US = 25 * SECOND_US


@dataclass
class Minutes:
    """What was sent, and every record there was in the end."""

    made: Pipeline
    worker: WorkerProcess
    directory: Path
    grace_us: int
    minute_us: int
    inside_close_us: int = 0
    sent: dict[str, list[Tick]] = field(default_factory=dict)
    off_session_offset: int = -1
    seen_live: dict[str, Any] = field(default_factory=dict)
    seen_bars: dict[str, Any] = field(default_factory=dict)
    finals: list[Record] = field(default_factory=list)
    live: list[Record] = field(default_factory=list)
    rollups: dict[Period, list[Record]] = field(default_factory=dict)
    heartbeats: list[tuple[Record, HeartbeatRecord]] = field(default_factory=list)

    def final_of(self, symbol: str, minute_us: int) -> dict[str, Any]:
        """The one final of a bucket."""
        found = [r for r in self.finals if r.key == bar_key(BROKER, symbol, minute_us)]
        assert len(found) == 1, f"{len(found)} finals of {symbol} {minute_us}"
        assert found[0].value is not None
        return decode("bar", found[0].value)

    def buckets(self, symbol: str) -> list[int]:
        """Bucket starts of the finals of a series of today, ascending."""
        bars = [decode("bar", r.value) for r in self.finals if r.value is not None]
        mine = [bar for bar in bars if (bar["broker"], bar["symbol"]) == (BROKER, symbol)]
        return sorted(bar["bucket_start"] for bar in mine)

    def upper(self, period: Period, symbol: str) -> list[tuple[int, dict[str, Any]]]:
        """Append time (us) and values of the upper finals of a series of today, as written."""
        bars = [
            (record.timestamp_ms * 1000, decode("bar", record.value))
            for record in self.rollups[period]
            if record.value is not None
        ]
        return [bar for bar in bars if (bar[1]["broker"], bar[1]["symbol"]) == (BROKER, symbol)]

    def delays_s(self) -> dict[tuple[str, int], float]:
        """Append time of each final of today less the end of its minute and the grace, in s."""
        found: dict[tuple[str, int], float] = {}
        for record in self.finals:
            assert record.value is not None
            bar = decode("bar", record.value)
            if bar["broker"] == BROKER:
                due_us = bar["bucket_start"] + MINUTE_US + self.grace_us
                delay_us = record.timestamp_ms * 1000 - due_us
                found[bar["symbol"], bar["bucket_start"]] = delay_us / SECOND_US
        return found


def live_through(made: Pipeline, directory: Path) -> Minutes:
    """Live through it: 90 to 150 s."""
    always = [part for name in ("STEADY", "QUIET") for part in ("--symbol", name)]
    made.run("schedule", "load", "--calendar", "24x7", "--broker", BROKER, *always, "--yes")
    TRUEFX.load_schedule(made)
    worker = made.worker()
    until(lambda: bool(worker.get("/status")["leader"]), 20, "heartbeats led")
    grace_us = made.settings.bars.grace_us
    start_us = now_us()
    minute_us = start_us - start_us % MINUTE_US
    if start_us - minute_us > MINUTE_US - _NEEDED_US:
        minute_us += MINUTE_US
    lived = Minutes(made, worker, directory, grace_us, minute_us)
    time.sleep(max(0, minute_us - now_us()) / SECOND_US)
    inside_us = now_us() + 9 * SECOND_US
    lived.inside_close_us = inside_us - inside_us % SECOND_US + 250_000
    _load_sessions(lived)
    asyncio.run(_feed_and_load(lived))
    over_us = minute_us + 2 * MINUTE_US + grace_us
    time.sleep(max(0, over_us - now_us()) / SECOND_US)
    path = f"/bars/{BROKER}/QUIET"
    until(lambda: _finals(worker.get(path)) >= 2, 15, "the empty minute of QUIET final")
    until(lambda: _finals(worker.get(f"/bars/{BROKER}/LATER")) >= 2, 15, "LATER to its end")
    time.sleep(1.5)  # whatever should not come has had its time, too
    names = made.names
    lived.finals, lived.live = made.read(names.final_1m), made.read(names.live_1m)
    lived.rollups = {period: made.read(topic) for period, topic in names.rollups.items()}
    lived.heartbeats = [
        (record, decode_heartbeat(record.value))
        for record in made.read(names.heartbeats)
        if record.value is not None
    ]
    return lived


def _finals(body: dict[str, Any]) -> int:
    return sum(bar["status"] == "final" for bar in body.get("bars", ()))


def _load_sessions(lived: Minutes) -> None:
    """Rows for the near future, read by a worker that runs already."""
    opened = lived.minute_us - 10 * MINUTE_US
    closes = {
        "ENDS": lived.minute_us + MINUTE_US,
        "INSIDE": lived.inside_close_us,
        "LATER": lived.minute_us + 2 * MINUTE_US,
    }
    day = iso_date_from_days(lived.minute_us // (1440 * MINUTE_US))
    lines = ["broker,symbol,trading_date,open,close"]
    lines += [
        f"{BROKER},{symbol},{day},{iso_micros_from_us(opened)},{iso_micros_from_us(close)}"
        for symbol, close in closes.items()
    ]
    path = lived.made.directory / "sessions.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    lived.made.run("schedule", "load", str(path), "--yes")
    known = f"/schedule/{BROKER}/LATER"
    until(lambda: bool(lived.worker.get(known)["scheduled"]), 10, "rows known to the worker")


async def _feed_and_load(lived: Minutes) -> None:
    made = lived.made
    async with feed(made.bootstrap, made.names.ticks) as to:

        async def send(symbol: str, time_us: int, price: float) -> int:
            tick = Tick(BROKER, symbol, time_us, price)
            lived.sent.setdefault(symbol, []).append(tick)
            return await to.tick(tick)

        async def steady() -> None:
            count = 0
            while now_us() < lived.minute_us + MINUTE_US + 5 * SECOND_US:
                count += 1
                await send("STEADY", now_us(), 100 + count % 17 / 16)
                await asyncio.sleep(STEADY_EVERY_S)

        async def few() -> None:
            for price in (7.5, 9.0, 8.25):
                await send("QUIET", now_us(), price)
            await send("ENDS", now_us(), 3.5)
            await send("LATER", now_us(), 4.5)
            await send("INSIDE", now_us(), 5.5)
            close_us = lived.inside_close_us
            assert now_us() < close_us, "the session ended before its ticks were sent: slow machine"
            await asyncio.sleep((close_us + 10_000 - now_us()) / SECOND_US)
            await send("INSIDE", close_us - 1, 6.5)
            lived.off_session_offset = await to.tick(Tick(BROKER, "INSIDE", close_us, 99.0))

        async def history() -> None:
            await asyncio.to_thread(TRUEFX.load, made, lived.directory)

        async def look() -> None:
            await asyncio.sleep(3)
            worker = lived.worker
            lived.seen_live = await asyncio.to_thread(worker.get, f"/live/{BROKER}/STEADY")
            lived.seen_bars = await asyncio.to_thread(worker.get, f"/bars/{BROKER}/STEADY")

        await asyncio.gather(steady(), few(), history(), look())
