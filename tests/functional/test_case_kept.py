"""A preferred share beside its common one: two series by a setting, or one that is spoken of.

Every part of the service has to spell names by the same rule, so every part is asked here.
"""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from barstream.config import load_settings
from tests.functional.tick_records import Tick, send_ticks
from tests.pipeline import Pipeline, WorkerProcess, pipeline, until
from tests.prometheus import Prometheus

pytestmark = pytest.mark.kafka

ROWS = """time,symbol,price,size
2024-01-02 15:00:00,BCPC,150,100
2024-01-02 15:00:10,BCpC,25,300
2024-01-02 15:00:20,BCPC,151,100
2024-01-02 15:01:20,BCPC,151,100
"""
MINUTE = "2024-01-02T15:00:00Z"
SAME_VALUES = re.compile(r"nothing differs|(\d+) bars? differs?, \1 of them in close_offset alone")
HOURS = "2024-01-02,2024-01-02T14:30:00Z,2024-01-02T21:00:00Z"
THEN_US = 1_704_207_660_000_000
"""15:01:00 of that day."""


def load(made: Pipeline, folder: Path, rows: str = ROWS) -> str:
    path = folder / "ticks.csv"
    path.write_text(rows)
    return made.run(
        "ticks", "load", str(path), "--broker", "x", "--map", "time=time", "--map", "price=price",
        "--map", "size=size", "--map", "symbol=symbol",
    )  # fmt: skip


def lows(worker: WorkerProcess, broker: str, symbol: str) -> list[float]:
    bars = worker.get(f"/bars/{broker}/{symbol}").get("bars", [])
    return [bar["low"] for bar in bars if bar["status"] == "final"]


def metric(worker: WorkerProcess, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def test_case_is_kept_by_every_part_of_the_service(kafka: Any, unique: str, tmp_path: Path) -> None:
    kept = {"TICKS__FOLD_CASE": "false", "HEARTBEATS__FEED_DELAY_S__Xy": "60"}
    with pipeline(kafka.bootstrap, unique, tmp_path, **kept) as made:
        assert made.settings.heartbeats.feed_delay_us == {"Xy": 60_000_000}
        file = tmp_path / "hours.csv"
        file.write_text(f"broker,symbol,trading_date,open,close\nx,BCPC,{HOURS}\n")
        made.run("schedule", "load", str(file), "--yes")
        made.run(
            "schedule", "load", "--calendar", "24x7", "--broker", "x", "--symbol", "BCpC",
            "--from", "2024-01-01", "--to", "2024-01-04", "--yes",
        )  # fmt: skip
        worker = made.worker()
        load(made, tmp_path)
        until(lambda: lows(worker, "x", "BCpC") == [25.0], 30, "the preferred share")
        until(lambda: lows(worker, "x", "BCPC")[:1] == [150.0], 30, "the common share")
        for other in ("bcpc", "BCPc"):
            assert "has no bars" in worker.get(f"/bars/x/{other}")["error"]
        assert lows(worker, "X", "BCPC") == []
        assert len(worker.get("/schedule/x/BCPC")["sessions"]) == 0
        assert worker.get("/schedule/x/BCPC")["scheduled"] is True
        assert worker.get("/where/x/BCpC")["scheduled"] is True

        url = f"http://127.0.0.1:{worker.port}"
        bars = made.run("bars", "x", "BCpC", "--json", "--url", url).splitlines()
        assert [json.loads(bar)["symbol"] for bar in bars] == ["BCpC"]
        assert "2024-01-02" in made.run("schedule", "show", "x", "BCPC")
        explained = json.loads(made.run("explain", "x", "BCpC", MINUTE, "--json"))
        assert (explained["status"], len(explained["ticks"]["shown"])) == ("final", 1)
        for names in ([], ["x"], ["x", "BCpC"]):
            made.run("verify", *names)
        made.run("replay", "--suffix", "all", "x", "BCpC")
        # closes that are derived anew may lie elsewhere, for the same values
        anew = made.run(
            "replay", "--suffix", "anew", "--anew", "--schedule", str(file), check=False
        )
        assert SAME_VALUES.search(anew), anew

        send_ticks(made.bootstrap, made.names.ticks, [Tick("X", "bcpc", THEN_US, 1.0)])
        said = "'X' 'bcpc' are unscheduled, and 'x' 'BC"
        until(lambda: said in worker.log.read_text(), 15, "the name that was meant")
        assert worker.stop() == 0

        # what is kept with its case is not reached by ticks that are folded
        folding = made.worker(extra_env={"BARSTREAM_TICKS__FOLD_CASE": "true"}, wait=False)
        assert folding.process.wait(60) == 1
        assert "ticks.fold_case must stay false" in folding.tail()
        assert "x BCPC, x BCpC" in folding.tail()


def test_folded_spellings_are_one_series_and_said_to_be(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    with pipeline(kafka.bootstrap, unique, tmp_path, BARS__SCHEDULE="false") as made:
        worker = made.worker()
        prometheus = Prometheus(f"http://{worker.host}:{worker.port}")
        assert not prometheus.fires("BarstreamSeriesRespelled")
        load(made, tmp_path, ROWS + "2024-01-02 15:00:30,{x},7,1\n")
        until(lambda: lows(worker, "X", "bcpc")[:1] == [25.0], 30, "one series")
        until(lambda: lows(worker, "x", "%7Bx%7D") == [7.0], 30, "a name with braces")
        # the loader has told its spellings already; a feed of another program sends what it has
        feed = [Tick("X", name, THEN_US + 60_000_000, 151.0) for name in ("BCPC", "BCpC")]
        send_ticks(made.bootstrap, made.names.ticks, feed)
        until(lambda: metric(worker, "barstream_series_respelled_total") == 1, 15, "it is counted")
        assert prometheus.fires("BarstreamSeriesRespelled")
        assert "bars are of X BCPC" in worker.log.read_text()
        (respelled,) = worker.get("/status")["respelled"]
        assert [each["symbol"] for each in respelled["spellings"]] == ["BCPC", "BCpC"]
        made.run("verify")
        assert load_settings(env=made.env).ticks.fold_case is True
        assert worker.stop() == 0

        # kept from here on: what was folded before is still one series to those who look back
        made.options["TICKS__FOLD_CASE"] = "false"
        worker = made.worker()
        later_us = THEN_US + 200_000_000
        feed = [Tick("X", "BCpC", later_us + n * 70_000_000, 26.0) for n in range(2)]
        send_ticks(made.bootstrap, made.names.ticks, feed)
        until(lambda: lows(worker, "X", "BCpC") == [26.0], 30, "a series of its own")
        assert worker.stop() == 0
        made.run("verify")
        assert "nothing differs" in made.run("replay", "--suffix", "kept", check=False)
