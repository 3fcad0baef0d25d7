"""A series whose home is the wrong partition: it moves, its history stays, its feed goes on."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from barstream.codecs.avro.body import decode
from tests.functional.records import MORNING_US, Out, producer, send_all
from tests.functional.tick_records import SECOND_US, Tick
from tests.functional.verification import verified
from tests.pipeline import Pipeline, WorkerProcess, pipeline, until
from tests.replay.replays import newest, replay

pytestmark = pytest.mark.kafka

#: Five seconds apart: twenty minutes.
COUNT = 240


def ticks_of(symbol: str, begin: int, end: int) -> list[Tick]:
    chance = random.Random(symbol)
    made = [
        Tick("B", symbol, MORNING_US + at * 5 * SECOND_US, chance.randrange(900, 1100) / 8,
             chance.random())
        for at in range(end)
    ]  # fmt: skip
    return made[begin:]


def send(made: Pipeline, partition: int, ticks: Sequence[Tick]) -> None:
    async def sent() -> None:
        async with producer(made) as to:
            await send_all(to, made.names.ticks, [Out.of(tick, partition) for tick in ticks])

    asyncio.run(sent())


def minutes(worker: WorkerProcess, symbol: str) -> dict[str, Any]:
    """Every final minute, as a worker answers it, without the places of its ticks."""
    bars = worker.get(f"/bars/B/{symbol}?limit=1000").get("bars", [])
    return {
        bar["bucket_start"]: {name: bar[name] for name in ("open", "high", "low", "close", "volume",
                                                           "tick_count", "synthetic")}
        for bar in bars if bar["status"] == "final"
    }  # fmt: skip


def refused(worker: WorkerProcess) -> int:
    """How many ticks were rejected for their partition."""
    return int(worker.get("/status")["rejected"].get("partition", 0))


def check_restarted(made: Pipeline, directory: str, other: dict[str, Any]) -> dict[str, Any]:
    """What a worker with that directory has of it; the other series is as it was."""
    worker = made.worker(directory=directory)
    until(lambda: len(minutes(worker, "MOVED")) == 29, 30, directory)
    found = minutes(worker, "MOVED")
    assert minutes(worker, "OTHER") == other
    assert worker.stop() == 0
    return found


def test_a_series_moves_with_its_history_and_its_feed_goes_on(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    options = {
        "TOPICS__PARTITIONS": "2", "BARS__SCHEDULE": "false", "BARS__TIMEFRAMES": "5m",
        "HEARTBEATS__ENABLED": "false",
    }  # fmt: skip
    with pipeline(kafka.bootstrap, unique, tmp_path, **options) as made:
        worker = made.worker()
        send(made, 0, ticks_of("MOVED", 0, COUNT))  # the past, by a loader with another key
        send(made, 1, ticks_of("OTHER", 0, COUNT))
        until(lambda: len(minutes(worker, "MOVED")) == 19, 30, "its bars")
        until(lambda: len(minutes(worker, "OTHER")) == 19, 30, "those of the other")
        before = {symbol: minutes(worker, symbol) for symbol in ("MOVED", "OTHER")}
        send(made, 1, ticks_of("MOVED", COUNT, COUNT + 60))  # its feed
        until(lambda: refused(worker) == 60, 30, "the strays")
        move = "series", "move", "B", "MOVED", "--to-partition", "1"
        assert "stop them all" in made.run(*move, "--yes", check=False)
        assert worker.stop() == 0

        assert "is the home" in made.run(*move[:-1], "0", "--yes", check=False)
        assert "has the partitions 0 to 1" in made.run(*move[:-1], "7", "--yes", check=False)
        there = newest(made, made.names.final_1m)
        assert "nothing was changed" in made.run(*move, check=False)
        assert newest(made, made.names.final_1m) == there
        would, did = map(json.loads, made.run(*move, "--yes", "--json").splitlines())
        assert did == would | {"type": "moved"}
        assert (did["ticks"], did["strays"], did["left"], did["bars"]["1m"]) == (COUNT, 60, 0, 19)
        outcome = verified(made.settings)
        assert outcome.findings.kept == []

        send(made, 1, ticks_of("MOVED", COUNT + 60, COUNT + 120))
        send(made, 0, ticks_of("MOVED", COUNT + 120, COUNT + 121))  # its key is the old one here
        for directory in ("w0", "empty"):
            found = check_restarted(made, directory, before["OTHER"])
            assert {at: found[at] for at in before["MOVED"]} == before["MOVED"]
            assert all(bar["tick_count"] == 12 for bar in found.values()), "each tick once"
        bars = [decode("bar", value) for key, value in newest(made, made.names.final_1m).items()
                if key.startswith(b"B\0MOVED\0")]  # fmt: skip
        assert len(bars) == 29
        outcome = verified(made.settings)
        assert outcome.findings.kept == []
        assert outcome.accounts.elsewhere == 1
        said = replay(made, "--suffix", "new")
        assert (said.code, said.differences) == (0, []), said.text
        assert "final" in made.run("explain", "B", "MOVED", "2023-11-20T06:45:00Z", check=False)
