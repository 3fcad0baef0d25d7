"""A backlog through one contestant: how fast, how dear, and what is wrong with what comes out.

It lasts from the moment at which the contestant has its partitions to the moment at which the bars
of the closing ticks of all series could be read.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, replace
from typing import Final, Literal

import polars as pl

from barstream.model.time import MINUTE_US
from bench.contestants import (
    BarLog,
    Contestant,
    ContestantFailed,
    Running,
    Site,
    bar_log,
    bytes_written,
    tail,
)
from bench.oracle import VALUES, Misses, Truth, misses
from bench.process_tree import Gauge
from bench.tape import CLOSING_US, Tape
from bench.workload import batch_producer, send

Figures = dict[str, float | int | bool | None]

_LOOK_S: Final = 0.05
#: Its output stands still for so long before it is read, and, where it is through with all ticks,
#: before one more is sent.
_QUIET_S: Final = 0.5
_STUCK_S: Final = 6.0
_MOST_NUDGES: Final = 3
_MIB: Final = 1 << 20


@dataclass(frozen=True)
class Drained:
    """What came of a drain."""

    figures: Figures
    misses: Misses


def drain(
    contestant: Contestant, site: Site, tape: Tape, expected: Truth, budget_s: float
) -> Drained:
    """Drain the topic of a tape.

    Args:
        contestant: who.
        site: where.
        tape: what stands in the topic of the site.
        expected: the bars of it.
        budget_s: a contestant that needs more is cut off there, and measured by what it did.

    Raises:
        ContestantFailed: it ended, or nothing comes out of it any more.
    """
    contestant.prepare(site)
    running = contestant.start(site)
    try:
        with Gauge(running.pids) as gauge:
            bars, is_through, nudges = follow(contestant, site, running, tape, budget_s)
    finally:
        running.stop()
    rows = bars.rows
    if rows.is_empty():
        raise ContestantFailed(f"nothing came out of it in {budget_s:.0f} s: {_end(running)}")
    closing = _closing(rows, tape, _kind(contestant))
    if is_through:
        end_ms = int(closing["readable_us"].max()) / 1000  # type: ignore[arg-type]
        ticks = len(tape) - running.taken
    else:
        end_ms = int(rows["readable_us"].max()) / 1000  # type: ignore[arg-type]
        ticks = int(bars.last["tick_count"].sum()) - running.taken
    figures = _figures(gauge, running, ticks, end_ms, len(expected.bars))
    log_bytes, state_bytes = bytes_written(site)
    figures |= {
        "bytes_per_tick": (log_bytes + state_bytes) / max(1, ticks + running.taken),
        "log_bytes": log_bytes, "state_bytes": state_bytes,
        "nudges": nudges, "is_cut_off": not is_through,
    }  # fmt: skip
    return Drained(figures, _misses(contestant, bars, tape, expected, is_through=is_through))


def replay(contestant: Contestant, site: Site, tape: Tape) -> Figures | None:
    """Derive all bars of a drain anew; None: the contestant has no command for that.

    Raises:
        ContestantFailed: it could not.
    """
    began = time.monotonic()
    started = contestant.replay(site)
    if started is None:
        return None
    process, log = started
    _, status, used = os.wait4(process.pid, 0)
    # it was waited for here, for what it used
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    if process.returncode not in (0, 1):
        raise ContestantFailed(f"its replay ended with {process.returncode}: {tail(log)}")
    cpu_s = used.ru_utime + used.ru_stime
    return {
        "ticks": len(tape), "seconds": seconds, "ticks_per_s": len(tape) / seconds,
        "cpu_us_per_tick": cpu_s / len(tape) * 1e6, "peak_mib": used.ru_maxrss / 1024,
        "is_equal": process.returncode == 0,
    }  # fmt: skip


def follow(
    contestant: Contestant, site: Site, running: Running, tape: Tape, budget_s: float
) -> tuple[BarLog, bool, int]:
    """Wait until the closing bars of all series can be read.

    Returns the bars, whether they are all there, and how many ticks more were sent: a framework
    that looks for what to emit no more than once a second needs one after that second.
    """
    kind = _kind(contestant)
    bars = bar_log(contestant, site, kind)
    topic = contestant.topic(site, kind)
    size, read, nudges = -1, -1, 0
    began = moved = time.monotonic()
    while time.monotonic() - began < budget_s:
        running.raise_if_ended()
        now = site.broker.bytes_written(topic)
        if now != size:
            size, moved = now, time.monotonic()
        quiet_s = time.monotonic() - moved
        if quiet_s > _QUIET_S and read != size:
            read = size
            bars.read_on()
            if _closing(bars.rows, tape, kind)["series"].n_unique() == tape.shape.series:
                return bars, True, nudges
        if quiet_s > _STUCK_S:
            moved = time.monotonic()
            # on a busy machine one may also be quiet because it is slow
            if nudges < _MOST_NUDGES and site.broker.committed(site.name) >= len(tape):
                nudges += 1
                asyncio.run(_nudge(site, tape))
        time.sleep(_LOOK_S)
    bars.read_on()
    return bars, False, nudges


def _kind(contestant: Contestant) -> Literal["live", "final"]:
    return "final" if contestant.has_finals else "live"


def closing_buckets(tape: Tape) -> tuple[int, int]:
    """The minutes of the two closing ticks."""
    first, second = ((tape.end_us + after) // MINUTE_US * MINUTE_US for after in CLOSING_US)
    return first, second


def _closing(rows: pl.DataFrame, tape: Tape, kind: str) -> pl.DataFrame:
    """The first record of each closing bar: of finals the first one's, which the second closes."""
    bucket = closing_buckets(tape)[kind == "live"]
    return rows.filter(pl.col("bucket") == bucket).unique("series", keep="first")


def _figures(gauge: Gauge, running: Running, ticks: int, end_ms: float, bars: int) -> Figures:
    seconds = (end_ms - running.at_ms) / 1000
    cpu_s = gauge.cpu_s(running.at_ms, end_ms)
    # ticks that were taken before it could be followed leave too little to measure of a small tape
    is_enough = seconds > 0 and ticks > 0
    return {
        "ticks": ticks, "taken": running.taken, "seconds": seconds,
        "bars": bars,
        "ticks_per_s": ticks / seconds if is_enough else None,
        "cpu_us_per_tick": cpu_s / ticks * 1e6 if is_enough else None,
        "peak_mib": gauge.peak / _MIB,
    }  # fmt: skip


def _misses(
    contestant: Contestant, bars: BarLog, tape: Tape, expected: Truth, *, is_through: bool
) -> Misses:
    last = bars.last.select("series", "bucket", *VALUES)
    until = closing_buckets(tape)[1]
    if is_through:
        return misses(
            expected, last.filter(pl.col("bucket") < until), has_fills=contestant.has_fills
        )
    # where it was cut off, each partition is judged up to two minutes before its latest bar
    partition = pl.col("series") % tape.partitions
    limits = last.group_by(partition.alias("partition")).agg(
        limit=pl.col("bucket").max() - 2 * MINUTE_US
    )

    def reached(rows: pl.DataFrame) -> pl.DataFrame:
        placed = rows.with_columns(partition=partition).join(limits, on="partition")
        return placed.filter(pl.col("bucket") < pl.col("limit")).drop("partition", "limit")

    part = replace(expected, bars=reached(expected.bars))
    return misses(part, reached(last), has_fills=contestant.has_fills)


async def _nudge(site: Site, tape: Tape) -> None:
    """The last closing tick of every partition once more: its bar is not asked for."""
    producer = batch_producer(site.broker.options)
    await producer.start()
    try:
        for partition in range(tape.partitions):
            last = int(tape.starts[partition + 1]) - 1
            records = tape.records(slice(last, last + 1))
            await asyncio.gather(*await send(producer, site.ticks, partition, *records))
    finally:
        await producer.stop()


def _end(running: Running) -> str:
    return tail(running.logs[0])
