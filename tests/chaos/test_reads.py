"""Reads through any worker while workers come and go: right and complete, or an explicit error."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.chaos.drill import ALWAYS_OPEN, metric, seeded, soon
from tests.chaos.readable import BROKER, HISTORY, SIZES, SYMBOLS, Asked, Minutes, Seen
from tests.pipeline import Pipeline, WorkerProcess, pipeline

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

LONG: Final = os.environ.get("BARSTREAM_CHAOS") == "1"
#: Reads in all, of which a share is sent while nothing is done to the workers.
READS: Final = 10_000 if LONG else 1_500
TIMED: Final = 1_000 if LONG else 200
READERS: Final = 6
#: 5 s of routing, and what two cores add to it while workers start beside (10 s was seen).
LONGEST_S: Final = 30.0
#: Between being refused and asking again.
PATIENCE_S: Final = 0.1


@dataclass
class Readers:
    """Random reads of random workers, each answer held to what is known when it is asked."""

    made: Pipeline
    random: random.Random
    workers: list[WorkerProcess]
    seen: Seen = field(default_factory=Seen)
    outcomes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    #: By worker, when it woke: what was asked of it before then waited for that.
    woke: dict[int, float] = field(default_factory=dict)
    reads: int = 0

    async def run(self, until: Callable[[], bool]) -> None:
        """Read until there is something to report, or ``until`` says so."""
        async with session() as opened, asyncio.TaskGroup() as group:
            for _ in range(READERS):
                group.create_task(self._read(opened, until))

    async def _read(self, opened: aiohttp.ClientSession, until: Callable[[], bool]) -> None:
        while not until() and not self.problems:
            worker = self.random.choice(self.workers)
            if not await self.one(opened, worker, self._asked()):
                await asyncio.sleep(PATIENCE_S)

    async def one(
        self, opened: aiohttp.ClientSession, worker: WorkerProcess, asked: Asked | str
    ) -> bool:
        """One read; whether it was answered, and not refused."""
        before, began = self.seen.copy(), time.monotonic()
        url = f"http://127.0.0.1:{worker.port}"
        path = asked if isinstance(asked, str) else asked.path
        try:
            async with opened.get(url + path) as answer:
                status, body = answer.status, await answer.json()
                by = answer.headers["X-Barstream-Worker"]
        except aiohttp.ClientError as error:
            # the worker asked was killed: there is no answer to be judged
            self.outcomes["no connection"] += 1
            if worker in self.workers and worker.process.poll() is None:
                self.problems.append(f"{url} is alive and broke off: {error!r}")
            return False
        self.reads += 1
        if began > self.woke.get(worker.port, 0.0):
            took = time.monotonic() - began, f"{status} {path} of {url}: {body.get('error')}"
            self.slowest = max(self.slowest, took)
        found: list[str] = []
        if status == 200:
            self.outcomes["own" if by == url else "routed"] += 1
            found = self._judge(asked, body, before)
        elif status == 503 and body["error"] and body["what_to_do"]:
            self.outcomes[self._why(body)] += 1
        else:
            found = [f"{status} {body}"]
        self.problems += [f"{path} of {url}, answered by {by}: {each}" for each in found]
        return status == 200

    async def freeze(self, worker: WorkerProcess, replaced: Callable[[], Awaitable[None]]) -> None:
        """Stop it until it is replaced, and judge what it says first of all when it wakes.

        Its connections are open before, and it is asked while it is stopped: so it may answer
        before it has heard of anything.
        """
        late = Asked("1m", None, HISTORY - 5, 10 * HISTORY, 10_000, descending=False)
        each = [replace(late, number=number) for number in range(len(SYMBOLS))]
        async with session() as opened:
            await asyncio.gather(*(self.one(opened, worker, asked) for asked in each))
            worker.signal(signal.SIGSTOP)
            self.workers.remove(worker)
            await replaced()
            async with asyncio.TaskGroup() as group:
                for asked in (*each, late):
                    group.create_task(self.one(opened, worker, asked))
                await asyncio.sleep(1)  # until the kernel has taken them for it
                worker.signal(signal.SIGCONT)
                self.woke[worker.port] = time.monotonic()
        self.workers.append(worker)

    def _asked(self) -> Asked | str:
        """Mostly one series, now and then all of them, the list, the open bars."""
        roll = self.random.random()
        if roll < 0.1:
            symbol = self.random.choice(SYMBOLS)
            return self.random.choice(["/series", "/live", f"/where/{BROKER}/{symbol}"])
        timeframe = self.random.choice(list(SIZES))
        known = max(1, *self.seen.final.values()) if self.seen.final else HISTORY
        to_minute = self.random.choice([known + 600, self.random.randint(1, known)])
        from_minute = max(0, min(to_minute, known) - self.random.randint(1, 700))
        number = None if roll < 0.25 else self.random.randrange(len(SYMBOLS))
        limit = self.random.choice([1, 7, 100, 500, 1000])
        return Asked(timeframe, number, from_minute, to_minute, limit, self.random.random() < 0.5)

    def _judge(
        self, asked: Asked | str, body: dict[str, Any], before: dict[tuple[int, str], int]
    ) -> list[str]:
        if isinstance(asked, Asked):
            found = asked.problems(body, before)
            if not found:
                self.seen.note(asked.timeframe, body["bars"])
            return found
        if asked == "/series":
            rows = body["series"]
            whole = body["complete"] and [row["symbol"] for row in rows] == sorted(SYMBOLS)
            known = all(row["closed_until"] is not None for row in rows)
            return [] if whole and known else [f"the list is {body}"]
        if asked == "/live":
            ends = {row["symbol"]: row["bucket_start"] for row in body["bars"]}
            return [] if body["complete"] and set(ends) <= set(SYMBOLS) else [f"live {body}"]
        return [] if body["partition"] in range(4) and body["partitions"] == 4 else [f"{body}"]

    def _why(self, body: dict[str, Any]) -> str:
        if "missing" in body:
            return "503 a part is missing"
        return "503 routed" if body.get("partition") is not None else "503 not ready"


def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=90))


def held(workers: list[WorkerProcess]) -> bool:
    """All are ready and hold all four partitions between them."""
    counts = [metric(worker, "barstream_partitions") for worker in workers]
    return all(worker.ready for worker in workers) and sum(counts) == 4 and max(counts) <= 2


@pytest.mark.timeout(1800)
def test_every_answer_is_complete_and_right_or_an_explicit_error(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    """Three workers; a fourth joins, one is frozen until it is replaced and wakes, one is killed.

    Meanwhile bars go on being made, so a worker that answered from what it no longer owns would
    show fewer finals than somebody was shown before.
    """
    rng = seeded()
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        minutes = Minutes(made)
        minutes.start()
        workers = [made.worker(directory=f"w{number}") for number in range(3)]
        soon(lambda: held(workers), "partitions are shared")
        soon(lambda: all(closed(worker) for worker in workers), "the history is closed", 90)
        readers = Readers(made, rng, list(workers))
        asyncio.run(go(made, readers, rng))
        minutes.finish()
        assert readers.problems == []
        for _ in range(5):
            assert_all_answer(readers)
        report(readers, asyncio.run(timed(readers)))
        for kind in ("own", "routed"):
            assert readers.outcomes[kind] > READS / 10, readers.outcomes
        assert readers.slowest[0] < LONGEST_S, readers.slowest


def closed(worker: WorkerProcess) -> bool:
    rows = worker.get("/series").get("series", [])
    ends = [row["closed_until"] or "" for row in rows]
    return len(ends) == len(SYMBOLS) and min(ends) >= "2024-03-04T11:59"


async def go(made: Pipeline, readers: Readers, rng: random.Random) -> None:
    """Read all the time, and do harm meanwhile."""
    done = asyncio.Event()
    reading = asyncio.create_task(readers.run(lambda: done.is_set() and readers.reads >= READS))

    async def reached(share: float) -> None:
        while readers.reads < READS * share and not reading.done():  # noqa: ASYNC110  a count
            await asyncio.sleep(0.05)

    async def settled() -> None:
        deadline = time.monotonic() + 120
        while not await asyncio.to_thread(held, readers.workers) and not reading.done():
            assert time.monotonic() < deadline, "partitions do not settle"
            await asyncio.sleep(0.2)

    async def harm() -> None:
        await reached(0.2)
        comes = await asyncio.to_thread(made.worker, directory="w3")
        readers.workers.append(comes)
        await settled()
        await reached(0.4)
        frozen = rng.choice(readers.workers)
        others = [worker for worker in readers.workers if worker is not frozen]

        async def replaced() -> None:
            await settled_on(others, reading)
            await moved_on(readers, reading)

        await readers.freeze(frozen, replaced)
        await settled()
        await reached(0.7)
        victim = rng.choice(readers.workers)
        victim.kill()
        readers.workers.remove(victim)
        await settled()
        done.set()

    await harm()
    await reading


async def moved_on(readers: Readers, reading: asyncio.Task[None]) -> None:
    """Wait until somebody was shown finals of every series that a frozen worker cannot have."""
    before = readers.seen.copy()
    keys = [(number, "1m") for number in range(len(SYMBOLS))]
    while not reading.done():
        if all(readers.seen.final.get(key, 0) > before.get(key, 0) + 1 for key in keys):
            return
        await asyncio.sleep(0.1)


async def settled_on(workers: list[WorkerProcess], reading: asyncio.Task[None]) -> None:
    """Wait until these have taken over what a frozen one held."""
    deadline = time.monotonic() + 120
    while not reading.done():
        counts = [await asyncio.to_thread(metric, w, "barstream_partitions") for w in workers]
        if sum(counts) == 4:
            return
        assert time.monotonic() < deadline, "nobody takes over"
        await asyncio.sleep(0.2)


def assert_all_answer(readers: Readers) -> None:
    """Now that nothing moves, every worker answers for every series."""
    for worker in readers.workers:
        for number, symbol in enumerate(SYMBOLS):
            asked = Asked("1m", number, 0, HISTORY, 1000, descending=False)
            found = asked.problems(worker.get(asked.path), readers.seen.copy())
            assert found == [], (symbol, found)
        asked = Asked("1h", None, 0, HISTORY, 1000, descending=False)
        assert asked.problems(worker.get(asked.path), readers.seen.copy()) == []


async def timed(readers: Readers) -> dict[str, list[float]]:
    """Seconds of reads of 500 bars, one after another, by whether they were passed on."""
    took: dict[str, list[float]] = {"own": [], "routed": []}
    async with aiohttp.ClientSession() as session:
        while len(took["routed"]) < TIMED:
            worker, symbol = readers.random.choice(readers.workers), readers.random.choice(SYMBOLS)
            url = f"http://127.0.0.1:{worker.port}"
            began = time.perf_counter()
            async with session.get(f"{url}/bars/{BROKER}/{symbol}?limit=500") as answer:
                body = await answer.json()
                by = answer.headers["X-Barstream-Worker"]
            assert len(body["bars"]) == 500
            took["own" if by == url else "routed"].append(time.perf_counter() - began)
    return took


def report(readers: Readers, took: dict[str, list[float]]) -> None:
    """What `pytest -s` shows."""
    print(f"{readers.reads} reads: {dict(readers.outcomes)}, slowest {readers.slowest}")  # noqa: T201
    for kind, seconds in took.items():
        ordered = sorted(seconds)
        p50, p99 = (ordered[int(len(ordered) * q)] * 1000 for q in (0.5, 0.99))
        print(f"500 bars, {kind}: n={len(ordered)} p50={p50:.1f} ms p99={p99:.1f} ms")  # noqa: T201
