"""Ticks at a rate, and how soon bars are there: live, final, and after the ticks have stopped.

All times are the broker's own (`bench.topic_log`) against the time at which the feed had to send a
tick, or the end of a minute and the grace.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import polars as pl

from barstream.model.time import MINUTE_US, SECOND_US
from bench.contestants import Contestant, Site, bar_log, bytes_written, tail
from bench.drain import Drained, Figures
from bench.feed import paced_tape
from bench.oracle import VALUES, Truth, misses, truth, verdict
from bench.percentiles import percentiles
from bench.process_tree import Gauge
from bench.tape import Tape
from bench.workload import START_US
from tests.pipeline import ROOT

_BEGIN_S: Final = 2.0
#: What is not final so long after its time never is.
_WAIT_S: Final = 10.0
_MIB: Final = 1 << 20
_BAR: Final = ["series", "bucket"]


@dataclass(frozen=True)
class Pace:
    """Ticks a second, for how long; the first tenth, at most 10 s, warms up and is not measured."""

    rate: int
    seconds: float
    seed: int

    @property
    def warm_up_us(self) -> int:
        """Not measured."""
        return round(min(10.0, self.seconds / 10) * SECOND_US)


class FeedFailed(RuntimeError):
    """The feed ended before it was through; no figure of that run counts."""


def open_loop(contestant: Contestant, site: Site, pace: Pace) -> Drained:
    """Feed a contestant, then stop the ticks and wait for its last bars.

    Raises:
        ContestantFailed: it ended.
        FeedFailed: the feed did.
    """
    site.broker.create(site.ticks, site.partitions)
    contestant.prepare(site)
    tape = paced_tape(
        site.shape.name, pace.rate, pace.seconds, seed=pace.seed, grace_us=site.grace_us,
        partitions=site.partitions,
    )  # fmt: skip
    running = contestant.start(site)
    try:
        with Gauge(running.pids) as gauge, (site.directory / "feed.log").open("wb") as errors:
            feeding = subprocess.Popen(
                [
                    sys.executable, "-m", "bench.feed", site.broker.bootstrap, site.ticks,
                    site.shape.name, str(pace.rate), str(pace.seconds), str(pace.seed),
                    str(site.grace_us), str(site.partitions),
                ],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
            try:
                fed, begin_us = _fed(feeding, site)
                tape = tape.shifted(begin_us - START_US)
                _wait_for_last(tape, site)
                running.raise_if_ended()
            finally:
                feeding.kill()
                feeding.wait()
    finally:
        running.stop()
    end_us = begin_us + round(pace.seconds * SECOND_US)
    log_bytes, state_bytes = bytes_written(site)
    cpu_s = gauge.cpu_s((begin_us + pace.warm_up_us) / 1000, end_us / 1000)
    figures: Figures = {
        "ticks": len(tape), "rate": pace.rate,
        "core_share": cpu_s / ((end_us - begin_us - pace.warm_up_us) / SECOND_US),
        "peak_mib": gauge.peak / _MIB, "bytes_per_tick": (log_bytes + state_bytes) / len(tape),
        "log_bytes": log_bytes, "state_bytes": state_bytes, **fed,
    }  # fmt: skip
    return _judged(contestant, site, tape, pace, figures, begin_us, end_us)


def _fed(feeding: subprocess.Popen[str], site: Site) -> tuple[dict[str, float], int]:
    """What the feed says at its end, and when it began."""
    assert feeding.stdin is not None
    assert feeding.stdout is not None
    if feeding.stdout.readline() != "ready\n":
        raise FeedFailed(f"the feed must say that it is ready: {tail(site.directory / 'feed.log')}")
    begin_us = round((time.time() + _BEGIN_S) * SECOND_US)
    feeding.stdin.write(f"{begin_us}\n")
    feeding.stdin.flush()
    said = feeding.stdout.readline()
    if not said:
        raise FeedFailed(f"the feed ended early: {tail(site.directory / 'feed.log')}")
    return json.loads(said), begin_us


def _wait_for_last(tape: Tape, site: Site) -> None:
    last_us = tape.end_us // MINUTE_US * MINUTE_US + MINUTE_US + site.grace_us
    time.sleep(max(0.0, last_us / SECOND_US + _WAIT_S - time.time()))


def _judged(
    contestant: Contestant, site: Site, tape: Tape, pace: Pace, figures: Figures, begin_us: int,
    end_us: int,
) -> Drained:  # fmt: skip
    counted = begin_us + pace.warm_up_us
    kinds: list[Literal["live", "final"]] = []
    kinds += ["live"] if contestant.has_live else []
    kinds += ["final"] if contestant.has_finals else []
    logs = {kind: bar_log(contestant, site, kind) for kind in kinds}
    for log in logs.values():
        log.read_on()
    if contestant.has_live:
        figures |= live_delays(tape, logs["live"].rows, site.grace_us, counted)
    expected = truth(tape, site.grace_us, _minute_after(end_us))
    finals = logs["final"].rows if contestant.has_finals else None
    figures |= final_delays(expected, finals, site.grace_us, counted, end_us)
    # what only ticks close is asked for where some did, which is not so of the last bars
    is_closed_by_ticks = contestant.has_finals and not contestant.has_fills
    until_us = end_us - SECOND_US - site.grace_us if is_closed_by_ticks else _minute_after(end_us)
    over = pl.col("bucket") + MINUTE_US <= until_us
    judged = replace(expected, bars=expected.bars.filter(over))
    published = logs[kinds[-1]].last.filter(over).select(*_BAR, *VALUES)
    return Drained(figures, misses(judged, published, has_fills=contestant.has_fills))


def live_delays(tape: Tape, live: pl.DataFrame, grace_us: int, from_us: int) -> Figures:
    """From when a tick was due to the first live record that has it in it.

    The n-th tick of a bar is in the first record of the bar that counts n ticks.

    Args:
        tape: the ticks.
        live: records of live bars.
        grace_us: of the oracle, which says what is in bars.
        from_us: ticks that were due before are not measured.
    """
    accepted = verdict(tape, grace_us).is_accepted
    ticks = pl.DataFrame(
        {
            "series": tape.series[accepted],
            "bucket": tape.time_us[accepted] // MINUTE_US * MINUTE_US,
            "due_us": tape.arrival_us[accepted],
        }
    ).with_columns(rank=pl.int_range(1, pl.len() + 1).over(_BAR).cast(pl.Int64))
    records = live.select(*_BAR, "tick_count", "readable_us").sort("tick_count")
    seen = ticks.sort("rank").join_asof(
        records, left_on="rank", right_on="tick_count", by=_BAR, strategy="forward",
        check_sortedness=False,
    )  # fmt: skip
    counted = seen.filter(pl.col("due_us") >= from_us)
    delays = counted.drop_nulls("readable_us").select(pl.col("readable_us") - pl.col("due_us"))
    return {
        **percentiles(delays.to_series().to_numpy(), "live"),
        "live_never": counted["readable_us"].null_count(),
    }


def final_delays(
    expected: Truth, finals: pl.DataFrame | None, grace_us: int, from_us: int, end_us: int
) -> Figures:
    """From the end of a minute and the grace to its final, of bars with ticks.

    Those whose time came while ticks still did (``final``) apart from those whose time came after
    (``quiet``), which nothing but a clock closes.
    """
    real = expected.bars.filter(~pl.col("is_synthetic")).select(
        *_BAR, due_us=pl.col("bucket") + MINUTE_US + grace_us
    )
    real = real.filter(pl.col("due_us") >= from_us)
    if finals is None:
        readable = real.with_columns(readable_us=pl.lit(None, pl.Int64))
    else:
        first = finals.unique(_BAR, keep="first").select(*_BAR, "readable_us")
        readable = real.join(first, on=_BAR, how="left")
    found: Figures = {}
    for name, rows in (
        ("final", readable.filter(pl.col("due_us") <= end_us)),
        ("quiet", readable.filter(pl.col("due_us") > end_us)),
    ):
        delays = rows.drop_nulls("readable_us").select(pl.col("readable_us") - pl.col("due_us"))
        found |= percentiles(delays.to_series().to_numpy().astype(np.int64), name)
        found[f"{name}_bars"] = len(rows)
        found[f"{name}_never"] = rows["readable_us"].null_count()
    return found


def _minute_after(us: int) -> int:
    return -(-us // MINUTE_US) * MINUTE_US
