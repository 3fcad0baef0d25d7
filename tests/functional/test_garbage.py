"""Garbage in the tick topic lands in `ticks_rejected` and disturbs no tick around it."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from barstream.codecs.avro.body import encode
from tests.functional.records import (
    MORNING_US,
    Out,
    beat,
    end_offset,
    problems,
    send,
    send_ticks,
)
from tests.functional.tick_records import MINUTE_US, SECOND_US, Tick, now_us
from tests.pipeline import pipeline, until

pytestmark = pytest.mark.kafka

ALWAYS_OPEN = {"BARS__SCHEDULE": "false", "TOPICS__PARTITIONS": "1"}
RECORDS = 20_000


def garbage(chance: random.Random, number: int) -> tuple[bytes | None, str]:
    """A value that is no tick, and the reason it has to be refused with."""
    good = Tick("B", "X", MORNING_US + number, 5.0)
    kinds: list[tuple[bytes | None, str]] = [
        (chance.randbytes(chance.randrange(1, 60)) + b"\xff" * 11, "undecodable"),
        (None, "undecodable"),
        (b"", "undecodable"),
        (json.dumps({"symbol": "X", "price": 1}).encode(), "undecodable"),
        (encode("session", {"broker": "B", "symbol": "X", "trading_date": 1, "session": 0,
                            "open": 1, "close": 2}), "undecodable"),
        (good.value[:-3], "undecodable"),
        (good.value + b"\0", "undecodable"),
        (good._replace(price=float("nan")).value, "invalid"),
        (good._replace(price=float("inf")).value, "invalid"),
        (good._replace(size=-1.0).value, "invalid"),
        (good._replace(symbol="  ").value, "invalid"),
        (good._replace(time_us=now_us() + 3_600 * SECOND_US).value, "future"),
        (good._replace(time_us=1 << 62).value, "invalid"),
    ]  # fmt: skip
    return kinds[number % len(kinds)]


@pytest.mark.law("L16")
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_garbage_at_any_share_is_set_aside_with_its_bytes_and_disturbs_no_tick(
    kafka: Any, unique: str, tmp_path: Path, share: float
) -> None:
    chance = random.Random(share)
    records: list[Out] = []
    ticks: list[tuple[int, Tick]] = []
    bad: dict[int, tuple[bytes | None, bytes | None, str]] = {}
    for at in range(RECORDS):
        if chance.random() < share:
            value, reason = garbage(chance, len(bad))
            key = chance.choice([None, b"B\0X", b"\xff\x00junk"])
            bad[at] = (key, value, reason)
            records.append(Out(key, value, headers=[("trace", b"abc")]))
        else:
            tick = Tick("B", "X", MORNING_US + at * 10_000, chance.randrange(800, 999) / 8)
            ticks.append((at, tick))
            records.append(Out.of(tick))
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        offsets = send(made, records)
        assert offsets == list(range(RECORDS))
        last_us = ticks[-1][1].time_us // MINUTE_US * MINUTE_US
        beat(made, "X", last_us, RECORDS)
        worker = made.worker()
        began = time.monotonic()

        def judged() -> bool:
            status = worker.get("/status")
            return bool(status["ticks"] + sum(status["rejected"].values()) >= RECORDS)

        until(judged, 40, "all judged")
        took_s = time.monotonic() - began
        until(lambda: any(b["bucket_start"] == last_us for b in made.finals()), 15, "all closed")
        assert problems(made, "X", ticks) == []
        # the heartbeat's final is written by the flush that writes what stood before it
        rejected = made.rejected()
        found = {int(r.headers["offset"]): r for r in rejected}
        assert found.keys() == bad.keys()
        assert len(rejected) == len(bad), "one was written twice"
        for at, (key, value, reason) in bad.items():
            row = found[at]
            assert row.headers["reason"] == reason.encode(), (value, row.headers)
            assert (row.key, row.value) == (key, b"" if key is value is None else value)
            assert row.headers["topic"] == made.names.ticks.encode()
            assert row.headers["partition"] == b"0"
            assert row.headers["detail"]
        by_reason = worker.get("/status")["rejected"]
        reasons = [reason for *_, reason in bad.values()]
        assert by_reason == {reason: reasons.count(reason) for reason in set(reasons)}
        # without garbage it is a fraction of a second; 1,300 a second would be a collapse
        assert took_s < 15, f"{RECORDS / took_s:,.0f} records/s"
        assert worker.stop() == 0


def test_a_tick_as_large_as_a_broker_takes_does_not_stop_the_worker(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # its row in ticks_rejected also has headers, and would be larger than the broker takes
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        worker = made.worker()
        send(made, [Out(b"k" * 500_000, b"v" * 500_000)])
        send_ticks(made, [Tick("B", "X", MORNING_US, 5.0)])
        until(lambda: worker.get("/status")["ticks"] == 1, 20, "the tick behind it accepted")
        until(lambda: len(made.rejected()) == 1, 20, "the large one written")
        (row,) = made.rejected()
        assert (row.value or b"").startswith(b"v" * 100_000)
        assert b"cut from 500000 bytes" in row.headers["detail"]
        assert worker.stop() == 0


@pytest.mark.law("L17")
def test_ticks_of_a_series_in_a_second_partition_are_rejected_also_after_a_restart(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # partition 0: X X        X            partition 1:     X X    (restart)   X
    with pipeline(
        kafka.bootstrap, unique, tmp_path, BARS__SCHEDULE="false", TOPICS__PARTITIONS="2"
    ) as made:
        worker = made.worker()
        home = [Tick("B", "X", MORNING_US + i * SECOND_US, 5.0 + i) for i in range(3)]
        away = [Tick("b ", "x", MORNING_US + i * SECOND_US, 99.0) for i in range(3)]
        offsets = send_ticks(made, home[:2], 0)
        until(lambda: worker.get("/status")["ticks"] == 2, 15, "at home in 0")
        send_ticks(made, [*away[:2], Tick("B", "Y", MORNING_US, 1.0)], 1)
        until(lambda: len(made.rejected()) == 2, 15, "rejected")
        assert worker.stop() == 0
        worker = made.worker(directory="w1")
        send_ticks(made, away[2:], 1)
        until(lambda: len(made.rejected()) == 3, 15, "rejected after the restart")
        offsets += send_ticks(made, home[2:], 0)
        beat(made, "X", MORNING_US, end_offset(made, 0), 0)
        until(lambda: bool(made.finals_of("X")), 15, "final")
        assert problems(made, "X", zip(offsets, home, strict=True)) == []
        for record in made.rejected():
            assert record.headers["reason"] == b"partition"
            assert (record.partition, record.headers["partition"]) == (1, b"1")
        assert worker.stop() == 0
