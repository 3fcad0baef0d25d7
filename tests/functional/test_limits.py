"""What comes from outside may be of any size: it is refused, and the worker goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from barstream.kafka.topics import make_plan
from tests.bombs import bomb
from tests.chaos.observation import memory_mib
from tests.functional.records import Out, producer, scrape, send, send_ticks
from tests.functional.test_kinds_of_feeds import configure
from tests.functional.tick_records import MINUTE_US, SECOND_US, Tick, now_us
from tests.memory_cgroup import MemoryCgroup, figure_mib, memory_cgroup
from tests.pipeline import Pipeline, WorkerProcess, pipeline, until
from tests.prometheus import Prometheus

pytestmark = pytest.mark.kafka

ALWAYS_OPEN = {"BARS__SCHEDULE": "false", "TOPICS__PARTITIONS": "1"}


def send_raw(made: Pipeline, data: bytearray) -> None:
    """Send a record batch as it is."""

    async def go() -> None:
        async with producer(made) as to:
            batch = to.create_batch()
            batch.append(key=b"k", value=b"", timestamp=None)
            batch.close()
            batch._buffer = data
            await (await to.send_batch(batch, made.names.ticks, partition=0))

    asyncio.run(go())


def peak_mib(worker: WorkerProcess) -> float:
    """The most memory it has had."""
    return memory_mib(worker.process.pid)[1]


@pytest.fixture
def cgroup() -> Iterator[MemoryCgroup]:
    with memory_cgroup(figure_mib()) as made:
        yield made


def ticks(start_us: int, count: int) -> list[Tick]:
    return [Tick("B", "S", start_us + n * MINUTE_US, 1.0 + n) for n in range(count)]


def test_a_batch_of_17_kb_that_unpacks_to_512_mib_is_rejected_and_passed(
    kafka: Any, unique: str, tmp_path: Path, cgroup: MemoryCgroup
) -> None:
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        worker = made.worker(prefix=cgroup.prefix)
        right = ticks((now_us() // MINUTE_US - 10) * MINUTE_US + 30 * SECOND_US, 4)
        send_ticks(made, right[:2])
        until(lambda: worker.get("/status")["ticks"] == 2, 20, "the ticks before it")
        before = peak_mib(worker)
        data = bomb(512)
        assert len(data) < 20_000
        send_raw(made, data)
        send_ticks(made, right[2:])
        until(lambda: worker.get("/status")["ticks"] == 4, 20, "the ticks after it")
        assert peak_mib(worker) - before < 160
        assert cgroup.kills == 0
        until(lambda: len(made.rejected()) == 1, 20, "its rejection")
        said = dict(made.rejected()[0].headers)
        assert said["reason"] == b"too_large"
        assert said["offset"] == b"2"
        assert b"offsets 2 to 2 unpacks to more than 67,108,864 bytes" in said["detail"]
        assert 'barstream_ticks_rejected_total{reason="too_large"} 1.0' in scrape(worker)
        # a worker that stops begins no flush: what it has applied is read again by the next
        until(lambda: len(made.finals_of("S")) == 3, 20, "finals behind it")
        assert worker.stop() == 0
        assert [bar["open"] for bar in made.finals_of("S")] == [1.0, 2.0, 3.0]
        made.run("verify")


def large_batch(made: Pipeline, ticks: Sequence[Tick]) -> None:
    """Send ticks in one compressed batch."""

    async def go() -> None:
        async with producer(made, compression_type="zstd", max_batch_size=8 << 20) as to:
            batch = to.create_batch()
            for tick in ticks:
                assert batch.append(key=tick.key, value=tick.value, timestamp=None)
            batch.close()
            await (await to.send_batch(batch, made.names.ticks, partition=0))

    asyncio.run(go())


def test_verify_goes_by_what_was_refused_and_not_by_the_limit_of_now(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    minute_us = (now_us() // MINUTE_US - 10) * MINUTE_US
    some = [Tick("B", "S", minute_us + n, 1.0) for n in range(40_000)]
    assert sum(len(tick.value) for tick in some) > 1 << 20
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        large_batch(made, some)
        worker = made.worker()
        send_ticks(made, ticks(minute_us + 2 * MINUTE_US, 1))
        until(lambda: made.position() == len(some) + 1, 30, "a batch that is read, and a final")
        assert worker.stop() == 0
        assert made.finals_of("S")[0]["tick_count"] == len(some)
        large_batch(made, [tick._replace(time_us=tick.time_us + 3 * MINUTE_US) for tick in some])
        worker = made.worker(extra_env={"BARSTREAM_TICKS__MAX_BATCH_MIB": "1"})
        until(lambda: len(made.rejected()) == 1, 20, "a batch that is refused")
        until(lambda: made.position() == 2 * len(some) + 1, 20, "its position")
        assert worker.stop() == 0
        for limit in ("64", "1"):
            made.env["BARSTREAM_TICKS__MAX_BATCH_MIB"] = limit
            made.run("verify")


def test_batches_just_below_the_limit_are_unpacked_as_they_are_applied(
    kafka: Any, unique: str, tmp_path: Path, cgroup: MemoryCgroup
) -> None:
    # a fetch holds a hundred of them, and a queue of sixteen would be a gigabyte
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        idle = made.worker()
        before = peak_mib(idle)
        assert not idle.stop()
        below = bomb(48)
        for _ in range(24):
            send_raw(made, below)
        right = ticks((now_us() // MINUTE_US - 10) * MINUTE_US + 30 * SECOND_US, 2)
        send_ticks(made, right)
        worker = made.worker(prefix=cgroup.prefix)
        until(lambda: worker.get("/status")["ticks"] == 2, 60, "the ticks behind them")
        assert peak_mib(worker) - before < 400
        assert cgroup.kills == 0
        until(lambda: len(made.rejected()) == 24, 20, "their rejections")
        assert not worker.stop()


def test_garbage_of_hundreds_of_kilobytes_each_waits_by_its_bytes(
    kafka: Any, unique: str, tmp_path: Path, cgroup: MemoryCgroup
) -> None:
    # 100 of them are far from 20,000 rows, and would all be held at once
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        idle = made.worker()
        before = peak_mib(idle)
        assert not idle.stop()
        send(made, [Out(b"k", b"\xff" * 900_000) for _ in range(100)])
        worker = made.worker(prefix=cgroup.prefix)
        all_of_them = 'barstream_ticks_rejected_total{reason="undecodable"} 100.0'
        until(lambda: all_of_them in scrape(worker), 30, "all rejected")
        assert peak_mib(worker) - before < 160
        assert cgroup.kills == 0
        until(lambda: len(made.rejected()) == 100, 20, "all in their topic")
        assert not worker.stop()


def test_a_topic_that_takes_small_batches_gets_small_ones(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # 200,000 bytes a batch everywhere, but for ticks: one of 300 kB ended the worker at every start
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        for plan in make_plan(made.settings):
            if plan.logical != "ticks":
                # what is not said anew is as the broker has it
                config = {**plan.config, "max.message.bytes": "200000"}
                configure(made, plan.name, **config)
        assert "200,000" in made.run("topics", "check", check=False)
        send(made, [Out(b"k", b"\xff" * 300_000)])
        minute_us = now_us() // MINUTE_US * MINUTE_US
        # thousands of bars: more than fit a batch
        send_ticks(made, [*ticks(minute_us - 3_000 * MINUTE_US, 1), *ticks(minute_us, 1)])
        worker = made.worker()
        until(lambda: len(made.finals_of("S")) >= 2_999, 40, "the gap filled")
        (rejected,) = made.rejected()
        assert rejected.value is not None
        assert 150_000 < len(rejected.value) < 200_000
        assert b"is cut from 300000 bytes" in dict(rejected.headers)["detail"]
        assert not worker.stop()


def test_ticks_of_series_beyond_the_limit_are_rejected_and_told(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    options = ALWAYS_OPEN | {"BARS__MAX_SERIES": "2"}
    with pipeline(kafka.bootstrap, unique, tmp_path, **options) as made:
        worker = made.worker()
        prometheus = Prometheus(f"http://{worker.host}:{worker.port}")
        assert not prometheus.fires("BarstreamRejectedTooManySeries")
        assert not prometheus.fires("BarstreamSeriesNearLimit")
        start_us = (now_us() // MINUTE_US - 5) * MINUTE_US
        send_ticks(made, [Tick("B", f"S{n}", start_us, 1.0) for n in range(5)])
        until(
            lambda: worker.get("/status")["rejected"].get("too_many_series") == 3,
            20,
            "three of five",
        )
        assert worker.get("/status")["ticks"] == 2
        assert prometheus.fires("BarstreamRejectedTooManySeries")
        assert prometheus.fires("BarstreamSeriesNearLimit")
        assert worker.stop() == 0
