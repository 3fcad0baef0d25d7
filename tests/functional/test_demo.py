"""``barstream demo``: bars appear, and afterwards nothing of it runs any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]

START_WITHIN_S = 60.0
STOP_WITHIN_S = 25.0


def left_over(place: Path) -> list[str]:
    """Command lines of processes that work in ``place``."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if command and str(place).encode() in command + environment:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        root = Path(__file__).parents[2]
        process = subprocess.Popen(
            [sys.executable, "-m", "barstream", "demo", "--data-dir", str(tmp_path), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=root,
            start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def read_until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(f"the demo ended before it said {words!r}:\n{said}")


def wait_until_gone(place: Path) -> None:
    deadline = time.monotonic() + STOP_WITHIN_S
    while left_over(place):
        assert time.monotonic() < deadline, left_over(place)
        time.sleep(0.1)


def test_the_demo_shows_final_bars_and_ends_by_itself(
    start_demo: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    demo = start_demo("--for", "100")
    said, _ = demo.communicate(timeout=160)
    assert demo.returncode == 0, said
    assert "http://127.0.0.1:" in said
    assert "First final bar expected at" in said
    assert "EURUSD" in said
    assert not left_over(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_demo_leaves_nothing_running(
    start_demo: Callable[..., subprocess.Popen[str]], tmp_path: Path, number: signal.Signals
) -> None:
    demo = start_demo()
    read_until(demo, "First final bar expected")
    assert len(left_over(tmp_path)) >= 4  # demo, broker, worker, feed
    demo.send_signal(number)
    said, _ = demo.communicate(timeout=STOP_WITHIN_S)
    assert demo.returncode == 0, said
    assert not left_over(tmp_path)


def test_a_killed_demo_leaves_nothing_running(
    start_demo: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    demo = start_demo()
    read_until(demo, "First final bar expected")
    demo.kill()
    demo.wait()
    wait_until_gone(tmp_path)


def test_a_part_that_fails_is_shown_with_its_last_words(
    start_demo: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    demo = start_demo()
    said = read_until(demo, "First final bar expected")
    [feed] = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _is_feed(entry, tmp_path)
    ]
    os.kill(feed, signal.SIGKILL)
    rest, _ = demo.communicate(timeout=STOP_WITHIN_S)
    assert demo.returncode != 0, said + rest
    assert "the feed must keep running" in rest
    assert "feed.log" in rest
    assert not left_over(tmp_path)


def _is_feed(entry: Path, place: Path) -> bool:
    try:
        command = (entry / "cmdline").read_bytes()
        return b"simulate" in command and str(place).encode() in (entry / "environ").read_bytes()
    except OSError:
        return False
