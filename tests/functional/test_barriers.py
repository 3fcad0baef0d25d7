"""A heartbeat closes when what was in Kafka at its sending has been applied, and not before."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.functional.records import (
    MORNING_US,
    Out,
    Phase,
    beat,
    end_offset,
    problems,
    producer,
    scrape,
    send,
    send_all,
    send_ticks,
)
from tests.functional.tick_records import MINUTE_US, SECOND_US, Tick
from tests.pipeline import pipeline, until

pytestmark = pytest.mark.kafka

ALWAYS_OPEN = {"BARS__SCHEDULE": "false", "TOPICS__PARTITIONS": "1"}


def test_a_quiet_partition_closes_when_its_last_records_are_markers_or_aborted_ticks(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # offset 0 tick | 1 commit | 2, 3 aborted ticks | 4 abort      barrier 5, nothing follows
    phase = Phase()
    with pipeline(
        kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN, BARS__GRACE_S=str(phase.span_s)
    ) as made:
        made.worker()
        good = Tick("B", "X", phase.minute_us + 59 * SECOND_US, 5.0)
        send(made, [Out.of(good)], "commit")
        wild = [good._replace(price=p, time_us=good.time_us + i) for i, p in enumerate((9.0, 1.0))]
        send(made, [Out.of(tick) for tick in wild], "abort")
        until(lambda: bool(made.finals()), 45, "the minute final by heartbeat")
        assert problems(made, "X", [(0, good)]) == []
        (bar,) = made.finals()
        assert (bar["close_offset"], end_offset(made)) == (5, 5)
        (record,) = made.read(made.names.final_1m)
        late_s = record.timestamp_ms / 1000 - phase.due_us / SECOND_US
        assert 0 <= late_s < 1.5, f"final {late_s:.2f} s after it was due"
        assert not made.rejected()


@pytest.mark.law("L6")
def test_a_barrier_is_met_by_what_was_applied_and_not_by_what_was_fetched(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # 120,000 ticks of one minute in any order | barrier | 10 more of it: late
    chance = random.Random(3)
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        ticks = [
            Tick(
                "B", "X", MORNING_US + chance.randrange(MINUTE_US), chance.randrange(900, 1100) / 8
            )
            for _ in range(120_000)
        ]
        offsets = send_ticks(made, ticks)
        beat(made, "X", MORNING_US, end_offset(made))
        late = send_ticks(made, [Tick("B", "X", MORNING_US + i, 1e6) for i in range(10)])
        made.worker()  # reads the heartbeat long before it has applied the ticks
        until(lambda: len(made.rejected()) >= 10, 30, "late ticks rejected")
        assert problems(made, "X", zip(offsets, ticks, strict=True)) == []
        (bar,) = made.finals()
        assert bar["close_offset"] == len(ticks)
        found = made.rejected()
        assert [int(record.headers["offset"]) for record in found] == late
        assert {record.headers["reason"] for record in found} == {b"late"}


@pytest.mark.parametrize("ending", ["commit", "abort"])
def test_a_barrier_waits_for_the_transaction_that_was_open_when_it_was_sent(
    kafka: Any, unique: str, tmp_path: Path, ending: str
) -> None:
    # 0 tick | 1 tick, not committed yet | barrier 2 ... then its marker
    first = Tick("B", "X", MORNING_US, 5.0)
    second = first._replace(price=7.0, time_us=MORNING_US + SECOND_US)
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        worker = made.worker()

        async def go() -> None:
            async with producer(made, transactional_id=unique) as to:
                await asyncio.to_thread(send_ticks, made, [first])
                await to.begin_transaction()
                await send_all(to, made.names.ticks, [Out.of(second)])
                barrier = await asyncio.to_thread(end_offset, made)
                assert barrier == 2
                await asyncio.to_thread(beat, made, "X", MORNING_US, barrier)
                await asyncio.to_thread(_waits, worker)
                await asyncio.sleep(1)
                assert not await asyncio.to_thread(made.finals)
                if ending == "commit":
                    await to.commit_transaction()
                else:
                    await to.abort_transaction()

        asyncio.run(go())
        until(lambda: bool(made.finals()), 20, "final when the transaction has ended")
        ticks = [(0, first), (1, second)] if ending == "commit" else [(0, first)]
        assert problems(made, "X", ticks) == []


def _waits(worker: Any) -> None:
    """Until the heartbeat has been read and waits."""
    until(lambda: 'barstream_heartbeats_waiting{partition="0"} 1.0' in scrape(worker), 15, "wait")


@pytest.mark.law("L7")
def test_a_heartbeat_from_before_the_end_of_its_minute_closes_nothing_and_is_counted(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # a leader whose clock is ten minutes fast, were it not stopped: bucket + 1 m + grace > append
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        worker = made.worker()
        minute_us = time.time_ns() // 1000 // MINUTE_US * MINUTE_US
        send_ticks(made, [Tick("B", "X", minute_us, 5.0)])
        beat(made, "X", minute_us + 10 * MINUTE_US, 1)
        until(lambda: "barstream_heartbeats_illegal_total 1.0" in scrape(worker), 15, "counted")
        send_ticks(made, [Tick("B", "X", minute_us + 1, 6.0)])
        until(lambda: worker.get("/status")["ticks"] == 2, 10, "both ticks accepted")
        assert not made.finals()
