"""What a signal does to a command that runs until it is stopped."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Sends itself a signal twice, and then, when the handlers are back, a third time.
PROGRAM = """
import asyncio, signal, sys
from barstream.cli import feed_stop

feed_stop._TWICE_S = 0.05

async def main():
    number = signal.Signals[sys.argv[1]]
    with feed_stop.stopped_by_signals(lambda: print("stop", flush=True)):
        signal.raise_signal(number)
        await asyncio.sleep(0)
        signal.raise_signal(number)
        while signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            await asyncio.sleep(0.01)
        print("waits", flush=True)
        signal.raise_signal(number)
        print("goes on", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_signal_that_comes_twice_at_once_is_one_and_a_later_one_ends_the_program(
    number: str,
) -> None:
    """`timeout` and terminals send to a process and to its group: each of us hears it twice."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, number],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.split("\n") == ["stop", "waits", ""], done.stderr
    assert done.returncode != 0
