"""Feeds that are not plain: stamped by their producer, delayed by contract, of another clock."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from barstream.model.time import iso_from_us
from tests.functional.records import (
    Out,
    Phase,
    admin,
    metric,
    problems,
    scrape,
    send,
    send_ticks,
)
from tests.functional.tick_records import MINUTE_US, SECOND_US, Tick, now_us
from tests.pipeline import Pipeline, pipeline, until

pytestmark = pytest.mark.kafka

ALWAYS_OPEN = {"BARS__SCHEDULE": "false", "TOPICS__PARTITIONS": "1"}
DAY_US = 1440 * MINUTE_US


def configure(made: Pipeline, topic: str, **config: str) -> None:
    """Set configurations of a topic; underscores stand for dots."""

    async def go() -> None:
        async with admin(made) as client:
            values = {name.replace("_", "."): value for name, value in config.items()}
            await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, values)])

    asyncio.run(go())


def test_on_a_create_time_topic_a_live_feed_closes_by_heartbeat_and_an_old_file_does_not(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # NOW  | tick of the last minute, stamped with its event time, read at the end: live
    # OLD  | the day before, stamped with event time as careless loaders do: historical
    phase = Phase(25)
    with pipeline(
        kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN, BARS__GRACE_S=str(phase.span_s)
    ) as made:
        configure(made, made.names.ticks, message_timestamp_type="CreateTime")
        assert "CreateTime" in made.run("topics", "check", check=False)
        worker = made.worker()
        old = [
            Tick("B", "OLD", phase.minute_us - DAY_US + i * 20 * SECOND_US, 1.0 + i)
            for i in range(20)
        ]
        send(made, [Out.of(tick, timestamp_ms=tick.time_us // 1000) for tick in old])
        until(lambda: worker.get("/status")["ticks"] == len(old), 15, "the old ticks applied")
        tick = Tick("B", "NOW", phase.minute_us + 59 * SECOND_US, 5.0)
        send(made, [Out.of(tick, timestamp_ms=tick.time_us // 1000)])
        until(lambda: bool(made.finals_of("NOW")), 45, "NOW final by heartbeat")
        assert problems(made, "NOW", [(0, tick)]) == []
        (at_ms,) = [
            r.timestamp_ms for r in made.read(made.names.final_1m) if b"\0NOW\0" in (r.key or b"")
        ]
        assert 0 <= at_ms / 1000 - phase.due_us / SECOND_US < 1.5
        # only its own watermark closes the old one, and nothing is filled up to today
        last = old[-1].time_us
        closed_until = (last - phase.span_s * SECOND_US) // MINUTE_US * MINUTE_US
        assert made.finals_of("OLD")[-1]["bucket_start"] < closed_until
        assert not [b for b in made.read(made.names.heartbeats) if b"\0OLD\0" in (b.key or b"")]
        text = scrape(worker)
        assert 'barstream_series{kind="historical"} 1.0' in text
        assert 'barstream_series{kind="live"} 1.0' in text
        assert not made.rejected()


def test_a_tick_of_2100_whose_timestamp_is_as_wrong_is_future_by_the_clock_of_the_worker(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # minutes  0     1     2     3              50 min on             2100
    #          A     A     A     A       B (stamped alike)   C (stamped alike)
    # B and C come between the first and the second A, and close nothing
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN, BARS__GRACE_S="5") as made:
        configure(
            made, made.names.ticks, message_timestamp_type="CreateTime",
            # brokers before 4.0 take any timestamp
            message_timestamp_after_max_ms=str(2**63 - 1),
        )  # fmt: skip
        assert "clock of the worker" in made.run("topics", "check", check=False)
        worker = made.worker()
        start_us = (now_us() // MINUTE_US - 10) * MINUTE_US + 30 * SECOND_US
        right = [Tick("B", "S", start_us + n * MINUTE_US, 1.0 + n) for n in range(4)]
        wrong = [
            Tick("B", "S", now_us() + 50 * MINUTE_US, 9.0),
            Tick("B", "S", 4_102_444_800 * SECOND_US, 9.0),
        ]
        sent = [right[0], *wrong, *right[1:]]
        send(made, [Out.of(tick, timestamp_ms=tick.time_us // 1000) for tick in sent])
        until(lambda: worker.get("/status")["ticks"] == len(right), 20, "the right ticks applied")
        until(lambda: len(made.rejected()) == len(wrong), 20, "the wrong ones rejected")
        for record in made.rejected():
            said = dict(record.headers)
            assert said["reason"] == b"future"
            assert b"clock of the worker" in said["detail"]
        until(lambda: len(made.finals_of("S")) >= 3, 20, "the minutes of the right ones final")
        worker.stop()
        finals = made.finals_of("S")
        assert [(bar["open"], bar["synthetic"]) for bar in finals[:3]] == [
            (1.0, False), (2.0, False), (3.0, False),
        ]  # fmt: skip
        made.run("verify")
        made.run("replay", "--suffix", "again", "B", "S")
        assert "nothing differs" in made.run("replay", "diff", "--suffix", "again")
        minute = iso_from_us(start_us // MINUTE_US * MINUTE_US)
        told = json.loads(made.run("explain", "B", "S", minute, "--json"))
        assert told["closed_by"]["tick"]["offset"] == sent.index(right[1])


def test_a_feed_delayed_by_contract_closes_that_much_later_and_loses_nothing(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # grace 1 s.  DELAYED may be `delay` late: live, closed at due_us, ticks until then accepted.
    # PROMPT has no such contract: ticks as old make it historical, no heartbeat closes it.
    phase = Phase(24)
    with pipeline(
        kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN, BARS__GRACE_S="1",
        HEARTBEATS__FEED_DELAY_S=f'{{"delayed": {phase.span_s}}}',
    ) as made:  # fmt: skip
        made.worker()
        first = Tick("DELAYED", "X", phase.minute_us + 58 * SECOND_US, 5.0)
        prompt = Tick("PROMPT", "Y", first.time_us, 5.0)
        offsets = send_ticks(made, [first, prompt])
        # what the minute still lacks comes in the last second but three before it closes
        until(lambda: now_us() > phase.due_us - 3 * SECOND_US, 30, "just before it is due")
        last = first._replace(time_us=phase.minute_us + 57 * SECOND_US, price=7.0)
        offsets += send_ticks(made, [last])
        until(lambda: bool(made.finals_of("X")), 30, "final by heartbeat")
        assert problems(made, "X", [(offsets[0], first), (offsets[2], last)]) == []
        (record,) = made.read(made.names.final_1m)
        late_s = record.timestamp_ms / 1000 - phase.due_us / SECOND_US
        assert 1 <= late_s < 2.5, "due at the end of its minute + delay + grace"
        assert not made.finals_of("Y")
        assert not made.rejected()


def test_a_leader_whose_clock_is_ten_minutes_fast_closes_nothing_and_says_so(
    kafka: Any, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # by its clock the minutes of the feed are long due; by the broker's they have not ended
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(
        "import time\n"
        "real, real_ns = time.time, time.time_ns\n"
        "time.time = lambda: real() + 600\n"
        "time.time_ns = lambda: real_ns() + 600_000_000_000\n"
    )
    # the leader looks when a minute is due: soon after the worker is ready, at any second
    grace_s = str(Phase().span_s + 120)
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN, BARS__GRACE_S=grace_s) as made:
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "clock"))
        worker = made.worker()
        monkeypatch.delenv("PYTHONPATH")
        send_ticks(made, [Tick("B", "X", now_us(), 5.0)])
        until(
            lambda: abs(metric(scrape(worker), "barstream_clock_offset_seconds") - 600) < 2,
            80, "the offset measured",
        )  # fmt: skip
        assert "clock is off the broker's" in worker.tail(400)
        send_ticks(made, [Tick("B", "X", now_us(), 6.0)])
        until(lambda: worker.get("/status")["ticks"] == 2, 15, "accepted, not late")
        assert metric(scrape(worker), "barstream_heartbeats_sent_total") == 0
        assert not made.read(made.names.heartbeats)
        assert not made.finals()
        assert not made.rejected()
        assert worker.stop() == 0
