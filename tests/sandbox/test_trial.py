"""``barstream try``: one's own file as bars, a page to look at, and nothing left running."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.pipeline import free_port
from tests.sandbox.test_demo import ADDRESS, left_over, read_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]

ROOT = Path(__file__).parents[2]
WITHIN_S = 120.0
# two minutes with ticks, one without, one with: four bars of 1m, one of them filled
TICKS = (
    "timestamp,bid,ask,ticker\n"
    "2024-01-02 15:00:05,1.0,1.2,eurusd\n2024-01-02 15:00:20,1.1,1.3,eurusd\n"
    "2024-01-02 15:01:01,1.2,1.4,eurusd\n2024-01-02 15:03:10,1.3,1.5,eurusd\n"
)


def start(*arguments: str, log: Path | None = None) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BARSTREAM_")}
    environment["PYTHONUNBUFFERED"] = "1"
    return subprocess.Popen(
        [sys.executable, "-m", "barstream", *arguments],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE if log is None else log.open("w"),
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )


def test_a_file_becomes_bars_and_what_is_kept_goes_on(tmp_path: Path) -> None:
    file, kept = tmp_path / "eur.csv", tmp_path / "kept"
    file.write_text(TICKS)
    trial = start(
        "try", str(file), "--calendar", "FX", "--keep", str(kept), "--web-port", str(free_port())
    )
    try:
        lines = read_until(trial, ADDRESS.match)
        said = "\n".join(lines)
        assert "time = timestamp (UTC assumed: no zone in the file)" in said
        assert "price = mid of bid and ask" in said
        assert "4 ticks sent" in said
        assert "final bars: 1m 4, 1 of the 1m ones filled; the first of 5m, 15m, 1h, 1d is " in said
        page = lines[-1]
        assert page.endswith("/#FILE/EURUSD/1m")
        with urllib.request.urlopen(page.partition("#")[0] + "bars/FILE/EURUSD", timeout=5) as got:
            bars = json.load(got)["bars"]
        assert [bar["synthetic"] for bar in bars] == [False, False, True, False]
        assert bars[0]["close"] == (1.1 + 1.3) / 2
        trial.send_signal(signal.SIGINT)
        rest, _ = trial.communicate(timeout=60)
        assert trial.returncode == 0
        assert rest.splitlines()[-2:] == ["stopping", f"everything is stopped, {kept} stays"]
    finally:
        trial.kill()
    assert not left_over(kept)
    # the commands that it printed
    commands = [line.strip() for line in lines if line.startswith("  ")]
    [config] = [each for each in commands if each.startswith("export BARSTREAM_CONFIG=")]
    [broker] = [each for each in commands if "barstream broker" in each]
    [worker] = [each for each in commands if each.endswith("barstream worker")]
    assert shutil.which(worker.split()[0]), "the program is called as it is found from here"
    toml = config.partition("=")[2]
    going = []
    try:
        going.append(start("--config", toml, *broker.removesuffix(" &").split()[1:]))
        read_until(going[0], lambda line: line.startswith("broker ready"))
        going.append(start("--config", toml, "worker", log=tmp_path / "worker.log"))
        deadline = time.monotonic() + WITHIN_S
        while True:
            asked = start("--config", toml, "bars", "FILE", "EURUSD", "--json")
            out, _ = asked.communicate(timeout=30)
            if asked.returncode == 0 and out.count('"bucket_start"') == 4:
                break
            assert time.monotonic() < deadline, out
            time.sleep(0.5)
    finally:
        for process in reversed(going):
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
    assert not left_over(kept)


def test_a_file_that_cannot_be_tried_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    file = tmp_path / "bars.csv"
    file.write_text("time,open,high,low,close\n2024-01-02 15:00:00,1,1,1,1\n")
    began = time.monotonic()
    trial = start("try", str(file))
    said, _ = trial.communicate(timeout=60)
    assert trial.returncode == 2
    assert len(said.splitlines()) == 1
    assert "holds bars" in said
    assert "--map price=close" in said
    assert time.monotonic() - began < 30
