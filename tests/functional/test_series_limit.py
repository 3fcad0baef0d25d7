"""Names that somebody makes up: no more series are taken than may be, and garbage is dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.functional.records import MORNING_US, scrape
from tests.functional.test_series_move import minutes, send
from tests.functional.tick_records import MINUTE_US, Tick
from tests.functional.verification import verified
from tests.pipeline import WorkerProcess, pipeline, until
from tests.replay.replays import newest, replay

pytestmark = pytest.mark.kafka


def tick(symbol: str, minute: int) -> Tick:
    return Tick("B", symbol, MORNING_US + minute * MINUTE_US, 1.0 + minute)


def rejected(worker: WorkerProcess) -> int:
    return int(worker.get("/status")["rejected"].get("too_many_series", 0))


def test_a_full_partition_takes_no_other_series_until_garbage_is_dropped(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    options = {
        "TOPICS__PARTITIONS": "1", "BARS__SCHEDULE": "false", "BARS__TIMEFRAMES": "5m",
        "HEARTBEATS__ENABLED": "false", "BARS__MAX_SERIES": "2",
    }  # fmt: skip
    with pipeline(kafka.bootstrap, unique, tmp_path, **options) as made:
        worker = made.worker()
        # nine minutes of A are over; X1 came second, X2 and NEW come to a full partition
        send(made, 0, [tick("A", 0), tick("X1", 0), tick("X2", 0), tick("NEW", 0)])
        send(made, 0, [tick("A", minute) for minute in range(1, 11)])
        until(lambda: len(minutes(worker, "A")) == 9, 30, "those that were taken go on")
        until(lambda: rejected(worker) == 2, 30, "the others")
        assert 'barstream_series_taken_ratio{partition="0"} 1.0' in scrape(worker)
        assert worker.stop() == 0
        assert "every other new series are rejected as too_many_series" in worker.tail()
        assert verified(made.settings).findings.kept == []

        drop = "series", "drop", "--asleep-for", "30", "--ticks-below", "5"
        assert "1 series would be dropped" in made.run(*drop, "--dry-run")
        would, did = map(json.loads, made.run(*drop, "--yes", "--json").splitlines())
        assert did == would | {"type": "dropped"}
        assert (did["symbol"], did["ticks"], did["last_trading_date"]) == ("X1", 1, "2023-11-20")
        for topic in (made.names.series, made.names.series_seen, made.names.live_1m):
            assert not any(key.startswith(b"B\0X1") for key in newest(made, topic)), topic
        assert "0 series would be dropped" in made.run(*drop)

        worker = made.worker()
        send(made, 0, [tick("NEW", minute) for minute in range(1, 5)])
        until(lambda: len(minutes(worker, "NEW")) == 2, 30, "the place is free")
        send(made, 0, [tick("X1", 9)])
        until(lambda: rejected(worker) == 1, 30, "and taken")
        assert worker.stop() == 0
        outcome = verified(made.settings)
        assert outcome.findings.kept == []
        assert outcome.accounts.withdrawn == 1
        said = replay(made, "--suffix", "new")
        assert (said.code, said.differences) == (0, []), said.text
        assert "too_many_series" in made.run(
            "explain", "B", "X2", "2023-11-20T06:40:00Z", check=False
        )
