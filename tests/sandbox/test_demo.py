"""``barstream demo``: a market is there at once and goes on, and afterwards nothing of it runs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from barstream.broker.embedded_broker import HOST
from barstream.config import WebSettings
from barstream.demo import sandbox
from barstream.demo.venue import LISTINGS, PAST_DATES
from tests.pipeline import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]

STOP_WITHIN_S = 25.0
MINUTE = timedelta(minutes=1)
ADDRESS = re.compile(r"(http://127\.0\.0\.1:[0-9]+/)(#\S+)?")

Demo = subprocess.Popen[str]


def left_over(place: Path) -> dict[int, str]:
    """Command lines of processes that work in ``place``, by process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if command and str(place).encode() in command + environment:
            found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace")
    return found


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def start(*arguments: str, **environment: str) -> Demo:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "barstream", "demo", "--data-dir", str(tmp_path / "demo"),
                "--web-port", str(free_port()), *arguments,
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd=Path(__file__).parents[2], start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def read_until(demo: Demo, is_last: Callable[[str], object]) -> list[str]:
    """The lines up to the first that ``is_last`` says yes to."""
    assert demo.stdout is not None
    said = []
    for line in demo.stdout:
        said.append(line.rstrip("\n"))
        if is_last(said[-1]):
            return said
    raise AssertionError("the demo ended before it said so:\n" + "\n".join(said))


def wait_until_gone(place: Path) -> None:
    deadline = time.monotonic() + STOP_WITHIN_S
    while left_over(place):
        assert time.monotonic() < deadline, left_over(place)
        time.sleep(0.1)


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())


def bars_of(url: str, symbol: str, timeframe: str) -> list[dict[str, Any]]:
    """All bars of a series, ascending."""
    bars: list[dict[str, Any]] = []
    path = f"{url}bars/SIM/{symbol}?timeframe={timeframe}&limit=10000"
    following = ""
    while True:
        body = get(f"{path}{following}")
        bars += body["bars"]
        if "next_from" not in body:
            return bars
        following = f"&from={body['next_from']}"


def newest_live_bar(url: str) -> dict[str, Any]:
    """The last of them: for a moment after each minute the one before is not yet final."""
    bar: dict[str, Any] = get(f"{url}live/SIM/EURUSD?timeframe=1m")["bars"][-1]
    return bar


def starts_of(bars: list[dict[str, Any]]) -> list[datetime]:
    return [datetime.fromisoformat(bar["bucket_start"]) for bar in bars]


def assert_a_market(url: str) -> None:
    """What the page shows of it: days, a weekend, six series, a correction, a rejected tick."""
    deadline = time.monotonic() + 10
    while "invalid" not in (status := get(f"{url}status"))["rejected"]:
        assert time.monotonic() < deadline, "a tick is rejected, counted a moment after the bars"
        time.sleep(0.2)
    assert status["timeframes"] == ["1m", "5m", "15m", "1h", "4h", "1d"]
    names = [listing.symbol for listing in LISTINGS[:6]]
    series = get(f"{url}series")["series"]
    assert sorted(row["symbol"] for row in series) == sorted(names)
    assert {row["kind"] for row in series} == {"live"}
    revised = 0
    for listing in LISTINGS[:6]:
        days = bars_of(url, listing.symbol, "1d")
        assert len(days) >= PAST_DATES
        assert [bar["trading_date"] for bar in days] == sorted({b["trading_date"] for b in days})
        assert all(bar["high"] > bar["low"] for bar in days[:-1])
        minutes = bars_of(url, listing.symbol, "1m")
        gaps = [
            later - earlier
            for earlier, later in pairwise(starts_of(minutes))
            if later - earlier != MINUTE
        ]
        if listing.around_the_clock:
            assert not gaps
        else:
            assert 1 <= len(gaps) <= 2
            assert all(gap > timedelta(hours=24) for gap in gaps)
        revised += sum(bar["revision"] > 0 for bar in minutes if not bar["synthetic"])
        for timeframe in status["timeframes"]:
            assert bars_of(url, listing.symbol, timeframe)
    assert revised >= 1


def test_a_market_with_a_past_is_there_and_goes_on_without_a_hole(
    start_demo: Callable[..., Demo], tmp_path: Path
) -> None:
    """
    ::

        made up before the start    | live
        x x x x x x x x x x x x x x | x x x    one final a minute, across the start too
    """
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {tmp_path / "opened"}\n')
    browser.chmod(0o755)
    demo = start_demo("--open", BROWSER=f"{browser} %s")
    said = read_until(demo, lambda line: "http://" in line)
    address = ADDRESS.fullmatch(said[-1])
    assert address, said
    assert address[2] == "#SIM/EURUSD/1m"
    url = address[1]
    assert f"  export BARSTREAM_CONFIG={tmp_path / 'demo' / 'demo.toml'}" in said
    assert_a_market(url)
    before = newest_live_bar(url)
    deadline = time.monotonic() + 10
    while newest_live_bar(url) == before:
        assert time.monotonic() < deadline, "the live bar must move"
        time.sleep(0.1)
    assert (tmp_path / "opened").read_text() == address[0]

    header, *_ = read_until(demo, lambda line: line.startswith("UTC"))
    assert header.split()[:3] == ["UTC", "bar", "series"]
    read_until(demo, lambda line: " 1m   NZDUSD " in line)
    assert_a_market(url)
    demo.send_signal(signal.SIGINT)
    rest, _ = demo.communicate(timeout=STOP_WITHIN_S)
    assert demo.returncode == 0, rest
    assert "everything is stopped" in rest
    assert not left_over(tmp_path)


def test_a_page_at_another_port_than_the_usual_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = free_port()
    monkeypatch.setattr(sandbox, "WebSettings", lambda: WebSettings(port=usual))

    async def note(directory: str, web_port: int | None = None) -> str:
        async with sandbox.Sandbox(tmp_path / directory, "demo", web_port) as made:
            return made.port_note

    assert asyncio.run(note("free")) == ""
    with socket.create_server((HOST, usual)):
        told = asyncio.run(note("taken"))
        assert told == f"Port {usual} is taken, so the page is at another."
        assert asyncio.run(note("given", free_port())) == ""


def test_a_demo_ends_by_itself_and_its_directory_is_not_used_twice(
    start_demo: Callable[..., Demo], tmp_path: Path
) -> None:
    """A second past in the same topics would come late and change every bar."""
    demo = start_demo("--for", "1", "--series", "2")
    said, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0, said
    assert "everything is stopped" in said
    assert not left_over(tmp_path)
    again = start_demo("--for", "1")
    said, _ = again.communicate(timeout=30)
    assert again.returncode == 2
    assert "name another, or delete it" in said


def test_a_demo_that_is_stopped_while_it_starts_leaves_nothing_running(
    start_demo: Callable[..., Demo], tmp_path: Path
) -> None:
    demo = start_demo()
    read_until(demo, lambda line: "history" in line)
    assert len(left_over(tmp_path)) >= 3  # demo, broker, worker
    demo.send_signal(signal.SIGTERM)
    said, _ = demo.communicate(timeout=STOP_WITHIN_S)
    assert demo.returncode == 0, said
    assert "http://" not in said
    assert not left_over(tmp_path)


def test_a_killed_demo_leaves_nothing_running(
    start_demo: Callable[..., Demo], tmp_path: Path
) -> None:
    demo = start_demo("--series", "1")
    read_until(demo, ADDRESS.fullmatch)
    demo.kill()
    demo.wait()
    wait_until_gone(tmp_path)


def test_a_part_that_fails_is_shown_with_its_last_words(
    start_demo: Callable[..., Demo], tmp_path: Path
) -> None:
    demo = start_demo("--series", "1")
    read_until(demo, ADDRESS.fullmatch)
    workers = [number for number, line in left_over(tmp_path).items() if "barstream worker" in line]
    assert workers
    for number in workers:
        os.kill(number, signal.SIGKILL)
    rest, _ = demo.communicate(timeout=STOP_WITHIN_S)
    assert demo.returncode != 0, rest
    assert "the worker must keep running" in rest
    assert "worker.log" in rest
    assert not left_over(tmp_path)
