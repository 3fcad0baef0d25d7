"""Mutants through a real broker and a real worker: no good tick lost, nothing said twice."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from barstream.codecs.topics.bar import bar_of
from barstream.codecs.topics.heartbeat import HeartbeatRecord
from barstream.codecs.topics.heartbeat import encode as encode_heartbeat
from barstream.market.session import SessionRow
from barstream.model.time import DAY_US
from barstream.partition.heartbeat_queue import QueuedHeartbeat
from tests.functional.records import end_offset
from tests.functional.tick_records import now_us
from tests.fuzz import topic_rows
from tests.fuzz.feeds import (
    BROKER,
    GOOD,
    PARTITIONS,
    Mixture,
    Sent,
    home,
    last_minute_us,
    schedule_records,
    sessions,
)
from tests.fuzz.reference import RefTick
from tests.pipeline import Pipeline, Record, WorkerProcess, pipeline, until
from tests.plain_bar import VALUES, in_plain
from tests.reference.series import PlainSeries

_COMPRESSIONS: Final = (None, "gzip", "snappy", "lz4", "zstd")
_AT_ONCE: Final = 2_000
_GRACE_US: Final = 5_000_000
#: Of a worker: far above what it needs, far below what a leak of these records would take.
RSS_LIMIT: Final = 1_200 << 20


@dataclass
class Watch(threading.Thread):
    """Asks a worker whether it is alive, all the time, and looks at its memory."""

    worker: WorkerProcess
    slowest_s: float = 0.0
    answers: int = 0
    failures: list[str] = field(default_factory=list)
    peak_rss: int = 0

    def __post_init__(self) -> None:
        super().__init__(name="watch", daemon=True)
        self._stopping = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        url = f"http://127.0.0.1:{self.worker.port}/health/live"
        while not self._stopping.wait(0.05):
            used_s, began = self._cpu_s(), time.monotonic()
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    answer.read()
            except OSError as error:
                self.failures.append(repr(error))
            # on a busy machine a process waits for its turn, which is no stall of its event loop
            took_s = min(time.monotonic() - began, self._cpu_s() - used_s)
            self.slowest_s = max(self.slowest_s, took_s)
            self.answers += 1
            self.peak_rss = max(self.peak_rss, self._rss())

    def _cpu_s(self) -> float:
        """CPU time the worker has used, all threads."""
        try:
            words = (
                Path(f"/proc/{self.worker.process.pid}/stat").read_text().rpartition(")")[2].split()
            )
        except OSError:
            return 0.0
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def _rss(self) -> int:
        try:
            lines = Path(f"/proc/{self.worker.process.pid}/status").read_text().splitlines()
        except OSError:
            return 0  # it has ended, which is said elsewhere
        return max(
            (int(each.split()[1]) << 10 for each in lines if each.startswith("VmRSS")), default=0
        )

    def finish(self) -> None:
        """Stop asking."""
        self._stopping.set()
        self.join(15)


@dataclass
class Result:
    """What came of a run."""

    form: str
    seed: int
    mutated: int = 0
    good: int = 0
    rows: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    mutants_that_are_ticks: int = 0
    bars: int = 0
    problems: list[str] = field(default_factory=list)
    took_s: float = 0.0
    slowest_answer_s: float = 0.0
    answers: int = 0
    peak_rss: int = 0
    records_per_s: float = 0.0


def run(bootstrap: str, name: str, directory: Path, form: Any, mutated: int, seed: int) -> Result:
    """Send until ``mutated`` mutants went through a worker, and hold what came out to the log."""
    result = Result(form.name, seed)
    options = {
        **form.options,
        "TOPICS__PARTITIONS": str(PARTITIONS),
        "HEARTBEATS__ENABLED": "false",
    }
    with pipeline(bootstrap, name, directory, **options) as made:
        mixture = Mixture(form, Random(f"{seed}/{form.name}"))
        if form.scheduled:
            asyncio.run(_send(made, made.names.market_schedule, _rows(schedule_records()), 0))
        worker = made.worker()
        watch = Watch(worker)
        watch.start()
        asyncio.run(_send(made, made.names.ticks, mixture.first(), 0))
        until(lambda: _judged(worker) >= len(GOOD), 30, "the first ticks accepted")
        began = time.monotonic()
        _send_all(made, mixture, mutated, result)
        ends = [end_offset(made, partition) for partition in range(PARTITIONS)]
        until(lambda: _judged(worker) >= sum(ends), 120, f"{sum(ends)} records judged")
        result.took_s = time.monotonic() - began
        result.records_per_s = sum(ends) / result.took_s
        _close(made, mixture, ends)
        until(lambda: _closed(made, mixture), 60, "the good series closed")
        watch.finish()
        _check(made, mixture, form, result)
        result.slowest_answer_s, result.answers = watch.slowest_s, watch.answers
        result.peak_rss = watch.peak_rss
        result.problems += watch.failures
        if worker.process.poll() is not None:
            result.problems.append(f"the worker ended:\n{worker.tail()}")
        elif (code := worker.stop()) != 0:
            result.problems.append(f"the worker ended with {code} when it was stopped")
    result.mutated, result.good = mixture.mutated, mixture.good
    return result


def _judged(worker: WorkerProcess) -> int:
    status = worker.get("/status")
    return int(status["ticks"] + sum(status["rejected"].values()))


def _rows(pairs: Iterable[tuple[bytes | None, bytes | None]]) -> list[Sent]:
    return [Sent(0, key, value, False) for key, value in pairs]


def _send_all(made: Pipeline, mixture: Mixture, mutated: int, result: Result) -> None:
    beats = _mutated_beats(mixture.chance)
    seen = _mutated_rows("series-seen", mixture.chance)
    scheduled = _mutated_rows("schedule", mixture.chance)
    for number in range(10**9):
        if mixture.mutated >= mutated:
            return
        records = list(mixture.records(_AT_ONCE))
        asyncio.run(_send(made, made.names.ticks, records, number))
        some = [next(beats) for _ in range(100)]
        asyncio.run(_send(made, made.names.heartbeats, some, number))
        rows = [next(seen) for _ in range(50)]
        asyncio.run(_send(made, made.names.series_seen, rows, number))
        result.rows += len(some) + len(rows)
        if mixture.form.scheduled:
            rows = [next(scheduled) for _ in range(50)]
            asyncio.run(_send(made, made.names.market_schedule, rows, number))
            result.rows += len(rows)


def _mutated_beats(chance: Random) -> Iterator[Sent]:
    surface = next(each for each in topic_rows.surfaces() if each.name == "heartbeats")
    while True:
        key, value = surface.make(chance)
        if key is None:  # a compacted topic takes none
            continue
        try:
            beat = QueuedHeartbeat.decode(0, key, value or b"")
        except ValueError:
            yield Sent(chance.randrange(PARTITIONS), key, value, True)
        else:
            if beat.barrier == 0 and beat.broker != BROKER:  # others wait for ticks, as they must
                yield Sent(chance.randrange(PARTITIONS), key, value, True)


def _mutated_rows(name: str, chance: Random) -> Iterator[Sent]:
    """A compacted topic takes no record without a key."""
    surface = next(each for each in topic_rows.surfaces() if each.name == name)
    while True:
        key, value = surface.make(chance)
        if key is not None:
            yield Sent(0, key, value, True)


async def _send(made: Pipeline, topic: str, records: Iterable[Sent], number: int) -> None:
    """In batches, each run with another compression."""
    producer = AIOKafkaProducer(
        bootstrap_servers=made.bootstrap,
        compression_type=_COMPRESSIONS[number % len(_COMPRESSIONS)],
        max_batch_size=900_000,
        max_request_size=4_000_000,
    )
    by_partition: dict[int, list[Sent]] = {}
    for record in records:
        by_partition.setdefault(record.partition, []).append(record)
    await producer.start()
    try:
        sent = []
        for partition, some in by_partition.items():
            batch = producer.create_batch()
            for record in some:
                headers = [("trace", b"\xff")] if record.mutated else []
                for _ in range(2):
                    if batch.append(
                        key=record.key, value=record.value, timestamp=None, headers=headers
                    ):
                        break
                    batch.close()
                    sent.append(await producer.send_batch(batch, topic, partition=partition))
                    batch = producer.create_batch()
            batch.close()
            sent.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


def _close(made: Pipeline, mixture: Mixture, ends: list[int]) -> None:
    minute_us = last_minute_us(mixture.clock_us)
    beats = []
    for symbol in GOOD:
        at = home(symbol)
        beat = HeartbeatRecord(BROKER, symbol, minute_us, ends[at], now_us(), "loader")
        beats.append(Sent(at, beat.key, encode_heartbeat(beat), False))
    asyncio.run(_send(made, made.names.heartbeats, beats, 0))


def _closed(made: Pipeline, mixture: Mixture) -> bool:
    minute_us = last_minute_us(mixture.clock_us)
    found = {bar["symbol"] for bar in made.finals() if bar["bucket_start"] == minute_us}
    return found >= set(GOOD)


# --- what must have come out ---------------------------------------------------------------------


def _check(made: Pipeline, mixture: Mixture, form: Any, result: Result) -> None:
    ticks = made.read(made.names.ticks)
    series: dict[tuple[str, str], PlainSeries] = {}
    rejected: dict[tuple[int, int], str] = {}
    minute_us = last_minute_us(mixture.clock_us)
    for record in ticks:
        found = form.judge(record.value, record.timestamp_ms * 1000)
        place = record.partition, record.offset
        if isinstance(found, str):
            rejected[place] = found
            continue
        name = found.broker, found.symbol
        if form.scheduled and (found.broker != BROKER or found.symbol not in GOOD):
            rejected[place] = "unscheduled"
            continue
        result.mutants_that_are_ticks += "trace" in record.headers
        one = series.get(name)
        if one is None:
            one = series[name] = _plain(found)
        one.tick(record.offset, found.time_us, found.price, found.size)
    for (_, symbol), one in series.items():
        for offset, why in one.rejected:
            # always open: only the sessions of a few days are told here, and all else is long past
            reason = why if form.scheduled else "late"
            if reason != "off_session":  # counted, and not written
                rejected[home(symbol), offset] = reason
    ends = Counter(record.partition for record in ticks)
    for symbol in GOOD:
        series[BROKER, symbol].heartbeat(minute_us, ends[home(symbol)])
    result.problems += _bar_problems(made, series, result)
    result.problems += _rejection_problems(made.rejected(), rejected, ticks, result)


def _plain(tick: RefTick) -> PlainSeries:
    rows = sessions(tick.symbol)
    days = {tick.time_us // DAY_US + back for back in range(-3, 10)}
    known = {row.trading_date for row in rows}
    rows += [
        SessionRow(BROKER, tick.symbol, day, 0, day * DAY_US, (day + 1) * DAY_US)
        for day in sorted(days - known)
        if tick.broker != BROKER or tick.symbol not in GOOD
    ]
    return PlainSeries(rows, _GRACE_US, 5)


def _bar_problems(
    made: Pipeline, series: dict[tuple[str, str], PlainSeries], result: Result
) -> list[str]:
    published = made.finals()
    result.bars = len(published)
    keys = [(bar["broker"], bar["symbol"], bar["bucket_start"]) for bar in published]
    problems = [f"{key} written {count} times" for key, count in Counter(keys).items() if count > 1]
    found = dict(zip(keys, published, strict=True))
    wanted = {(*name, bar["bucket"]): bar for name, one in series.items() for bar in one.finals}
    problems += [f"{key} missing" for key in wanted.keys() - found.keys()]
    problems += [f"{key} not expected" for key in found.keys() - wanted.keys()]
    for key in wanted.keys() & found.keys():
        bar, want = found[key], wanted[key]
        seen = in_plain(bar_of(bar))
        problems += [
            f"{key} {part}: expected {want[part]!r}, published {seen[part]!r}"
            for part in VALUES
            if want[part] != seen[part]
        ]
    return problems


def _rejection_problems(
    records: list[Record], wanted: dict[tuple[int, int], str], ticks: list[Record], result: Result
) -> list[str]:
    found = Counter(
        (int(r.headers["partition"]), int(r.headers["offset"]), r.headers["reason"].decode())
        for r in records
    )
    result.rejected.update(reason for *_, reason in found)
    expected = {(*place, reason) for place, reason in wanted.items()}
    problems = [f"rejected {each} {count} times" for each, count in found.items() if count > 1]
    problems += [f"rejected {each} missing" for each in expected - found.keys()]
    problems += [f"rejected {each} not expected" for each in found.keys() - expected]
    values = {(tick.partition, tick.offset): tick.value for tick in ticks}
    for record in records:
        value = values.get((int(record.headers["partition"]), int(record.headers["offset"])))
        cut = b"cut from" in record.headers["detail"]
        if record.value != (value or b"" if record.key is None else value) and not cut:
            problems.append(f"rejected {record.headers} has other bytes")
    return problems
