"""A wrong file: its series is dropped and loaded again, and nothing of the first load is left."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from barstream.codecs.avro.body import decode
from barstream.codecs.topics.load_position import decode as decode_position
from barstream.feeds.load_positions import positions_topic
from tests.functional.records import MORNING_US, expected
from tests.functional.tick_records import SECOND_US, Tick
from tests.functional.verification import copies_of, differences, verified
from tests.offline import differences as bar_differences
from tests.pipeline import Pipeline, Record, WorkerProcess, pipeline, until
from tests.replay.replays import newest, replay

pytestmark = pytest.mark.kafka

COUNT = 600
"""Ticks of a series, five seconds apart: fifty minutes."""


def ticks_of(symbol: str, scale: float) -> list[Tick]:
    chance = random.Random(symbol)
    return [
        Tick("B", symbol, MORNING_US + at * 5 * SECOND_US, scale * chance.randrange(900, 1100) / 8,
             chance.random())
        for at in range(COUNT)
    ]  # fmt: skip


def write(file: Path, *ticks: Tick) -> list[str]:
    """The file, and the command that loads it."""
    rows = [f"{t.symbol},{t.time_us},{t.price!r},{t.size!r}" for t in ticks]
    file.write_text("\n".join(["s,t,p,q", *rows]) + "\n")
    maps = [f"--map={name}={column}" for name, column in zip(
        ("symbol", "time", "price", "size"), "stpq", strict=True
    )]  # fmt: skip
    return ["ticks", "load", str(file), "--broker", "B", *maps]


def bars_topics(made: Pipeline) -> list[str]:
    names = made.names
    return [
        names.final_1m, names.live_1m, *names.rollups.values(), *names.live_rollups.values(),
        names.heartbeats,
    ]  # fmt: skip


def of_series(values: dict[bytes, bytes], symbol: str) -> dict[bytes, bytes]:
    return {
        key: value for key, value in values.items() if key.startswith(f"B\0{symbol}\0".encode())
    }


def close_prices(worker: WorkerProcess, symbol: str) -> dict[str, float]:
    """Every final minute, as the worker reads it from its disk."""
    answer = worker.get(f"/bars/B/{symbol}?limit=1000")
    bars = answer.get("bars", [])
    return {bar["bucket_start"]: bar["close"] for bar in bars if bar["status"] == "final"}


def check_restarted(made: Pipeline, directory: str) -> None:
    """A worker with that directory has the right bars, and those of the other series."""
    worker = made.worker(directory=directory)
    until(lambda: len(close_prices(worker, "WRONG")) >= 50, 30, "the right bars")
    assert max(close_prices(worker, "WRONG").values()) < 200, directory
    assert len(close_prices(worker, "OTHER")) == 50
    assert worker.stop() == 0


def first_again(published: list[Record]) -> list[Record]:
    """A bar that was withdrawn, there once more."""
    first = next(each for each in published if (each.key or b"").startswith(b"B\0WRONG\0"))
    return [*published, first]


def test_a_dropped_series_is_gone_can_be_loaded_again_and_verifies_all_along(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    wrong, right, other = ticks_of("WRONG", 100.0), ticks_of("WRONG", 1.0), ticks_of("OTHER", 1.0)
    options = {
        "TOPICS__PARTITIONS": "1", "BARS__SCHEDULE": "false", "BARS__TIMEFRAMES": "5m,15m",
    }  # fmt: skip
    with pipeline(kafka.bootstrap, unique, tmp_path, **options) as made:
        worker = made.worker()
        both = write(tmp_path / "wrong.csv", *wrong, *other)
        made.run(*both)
        until(lambda: len(close_prices(worker, "WRONG")) >= 50, 30, "all minutes are final")
        until(lambda: len(close_prices(worker, "OTHER")) >= 50, 30, "of the other as well")
        drop = "series", "drop", "B", "WRONG"
        assert "stop them all" in made.run(*drop, "--yes", check=False)
        assert worker.stop() == 0
        before = {topic: newest(made, topic) for topic in bars_topics(made)}
        assert all(of_series(before[topic], "WRONG") for topic in bars_topics(made))

        # nobody is there to type its name
        assert "nothing was changed" in made.run(*drop, check=False)
        assert {topic: newest(made, topic) for topic in bars_topics(made)} == before
        would, did = map(json.loads, made.run(*drop, "--yes", "--json").splitlines())
        assert did == would | {"type": "dropped"}
        assert (did["ticks"], did["bars"]["1m"]["count"], did["bars"]["15m"]["count"]) == (
            COUNT, 50, 4,
        )  # fmt: skip
        for topic in bars_topics(made):
            found = newest(made, topic)
            assert of_series(found, "WRONG") == {}, topic
            assert found == of_series(before[topic], "OTHER"), topic
        assert b"B\0WRONG" not in newest(made, made.names.series)
        assert b"B\0WRONG" not in newest(made, made.names.series_seen)
        outcome = verified(made.settings)
        assert outcome.findings.kept == []
        assert outcome.accounts.withdrawn == COUNT
        assert "nothing came since" in made.run(*drop, "--yes")
        assert "was dropped" in made.run(
            "explain", "B", "WRONG", "2023-11-20T06:45:00Z", check=False
        )

        # the same file may come again, but not what was not dropped
        assert "only B WRONG were dropped" in made.run(*both, check=False)
        made.run(*write(tmp_path / "right.csv", *right))
        loads = [decode_position(r.value or b"") for r in made.read(positions_topic(made.settings))
                 if r.key is not None and not r.key.startswith(b"\0")]  # fmt: skip
        assert loads[-1].rows == COUNT

        # with the disk of the worker that knew the wrong bars, and with none
        for directory in ("w0", "empty"):
            check_restarted(made, directory)
        stands = newest(made, made.names.final_1m)
        minutes = [decode("bar", value) for _, value in sorted(of_series(stands, "WRONG").items())]
        assert bar_differences(expected(enumerate(right)), minutes) == []
        assert of_series(stands, "OTHER") == of_series(before[made.names.final_1m], "OTHER")
        outcome = verified(made.settings)
        assert outcome.findings.kept == []
        assert (outcome.accounts.withdrawn, outcome.accounts.in_bars) == (COUNT, 2 * COUNT)
        said = replay(made, "--suffix", "new")
        assert (said.code, said.differences) == (0, []), said.text

        lies = differences(verified(copies_of(made).with_topic("rate_1m_final", first_again)))
        assert "withdrawn" in {each.rule for each in lies}
