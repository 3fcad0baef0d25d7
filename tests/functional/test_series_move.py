"""A series whose home is the wrong partition: it moves, its history stays, its feed goes on."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from barstream.codecs.avro.body import decode
from tests.chaos.drill import long_drill
from tests.functional.records import MORNING_US, Out, producer, send_all
from tests.functional.tick_records import SECOND_US, Tick
from tests.functional.verification import verified
from tests.pipeline import ROOT, Pipeline, WorkerProcess, pipeline, until
from tests.replay.replays import newest, replay

pytestmark = pytest.mark.kafka

#: Five seconds apart: twenty minutes.
COUNT = 240
MOVE = ("series", "move", "B", "MOVED", "--to-partition", "1", "--yes")
TWO_PARTITIONS = {
    "TOPICS__PARTITIONS": "2", "BARS__SCHEDULE": "false", "BARS__TIMEFRAMES": "5m",
    "HEARTBEATS__ENABLED": "false", "KAFKA__SESSION_TIMEOUT_S": "5",
}  # fmt: skip


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


def past_and_strays(made: Pipeline, worker: WorkerProcess) -> dict[str, dict[str, Any]]:
    """Bars of a past in partition 0, and ticks of its feed that were rejected in partition 1."""
    send(made, 0, ticks_of("MOVED", 0, COUNT))  # by a loader with another key
    send(made, 1, ticks_of("OTHER", 0, COUNT))
    until(lambda: len(minutes(worker, "MOVED")) == 19, 30, "its bars")
    until(lambda: len(minutes(worker, "OTHER")) == 19, 30, "those of the other")
    before = {symbol: minutes(worker, symbol) for symbol in ("MOVED", "OTHER")}
    send(made, 1, ticks_of("MOVED", COUNT, COUNT + 60))  # its feed
    until(lambda: refused(worker) == 60, 30, "the strays")
    return before


def test_a_series_moves_with_its_history_and_its_feed_goes_on(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    with pipeline(kafka.bootstrap, unique, tmp_path, **TWO_PARTITIONS) as made:
        worker = made.worker()
        before = past_and_strays(made, worker)
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


def started(made: Pipeline) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "barstream", *MOVE], cwd=ROOT, env=made.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def check_moved(made: Pipeline, before: dict[str, Any]) -> None:
    """It is at home in partition 1 with all its bars, each tick once."""
    assert "is the home" in made.run(*MOVE, check=False)
    send(made, 1, ticks_of("MOVED", COUNT + 60, COUNT + 120))
    worker = made.worker(directory="after")
    until(lambda: len(minutes(worker, "MOVED")) == 29, 60, "its past and its feed")
    found = minutes(worker, "MOVED")
    assert {at: found[at] for at in before} == before
    assert all(bar["tick_count"] == 12 for bar in found.values()), "each tick once"
    assert worker.stop() == 0
    assert verified(made.settings).findings.kept == []


@pytest.mark.chaos
@long_drill
def test_a_move_that_is_killed_is_whole_or_not_there(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    with pipeline(kafka.bootstrap, unique, tmp_path, **TWO_PARTITIONS) as made:
        worker = made.worker()
        before = past_and_strays(made, worker)["MOVED"]
        assert worker.stop() == 0
        there = newest(made, made.names.final_1m)
        for tenths in range(8, 60, 4):
            move = started(made)
            try:
                said, _ = move.communicate(timeout=tenths / 10)
            except subprocess.TimeoutExpired:
                move.kill()
                move.communicate()
                continue
            assert move.returncode == 0, said
            break
        else:
            said = made.run(
                *MOVE, check=False
            )  # killed each time, the last time after all was done
        assert newest(made, made.names.final_1m) != there
        check_moved(made, before)


@pytest.mark.chaos
@long_drill
@pytest.mark.parametrize("after_s", [0.0, 1.0, 2.0, 3.0])
def test_a_worker_that_starts_and_ticks_that_come_in_the_middle_of_a_move_lose_nothing(
    kafka: Any, unique: str, tmp_path: Path, after_s: float
) -> None:
    """Whoever fences the other goes on; a move that lost is made again."""
    with pipeline(kafka.bootstrap, unique, tmp_path, **TWO_PARTITIONS) as made:
        worker = made.worker()
        before = past_and_strays(made, worker)["MOVED"]
        assert worker.stop() == 0
        move = started(made)
        time.sleep(after_s)
        worker = made.worker(directory="meanwhile")
        send(made, 1, ticks_of("OTHER", COUNT, COUNT + 12))
        said, _ = move.communicate(timeout=60)
        until(lambda: len(minutes(worker, "OTHER")) == 20, 60, "the other series goes on")
        assert worker.stop() == 0
        if move.returncode:
            assert "Traceback" not in said
            assert "stop them all" in said or "another" in said, said
            made.run(*MOVE)
        check_moved(made, before)
