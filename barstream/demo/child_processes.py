"""Child processes that end with us, whatever happens, and whose last words are shown.

Each child leads a process group of its own, so Ctrl-C reaches only us and stopping a child
stops what it started as well.  On Linux it gets SIGTERM when we are killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from barstream.broker import child_process
from barstream.errors import BarstreamError

LAST_LINES: Final = 20
TERM_WITHIN_S: Final = 12.0
_GROUP_GONE_WITHIN_S: Final = 3.0


class ChildFailedError(BarstreamError):
    """A part of the demo ended by itself: the message holds the end of its log."""


class Child:
    """One running program and its log."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    def check(self) -> None:
        """Raise when it has ended.

        Raises:
            ChildFailedError: with the tail of its log.
        """
        code = self.process.poll()
        if code is not None:
            lines = self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
            raise ChildFailedError(
                f"the {self.name} must keep running, but it ended with exit code {code}; the end "
                f"of {self.log}:\n  " + "\n  ".join(lines or ["(it printed nothing)"])
            )

    def stop(self) -> None:
        """SIGTERM, then SIGKILL for what is left of its process group."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(TERM_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._signal_group(signal.SIGKILL)
                self.process.wait()
        deadline = time.monotonic() + _GROUP_GONE_WITHIN_S
        while self._signal_group(signal.SIGTERM):
            if time.monotonic() > deadline:
                self._signal_group(signal.SIGKILL)
                return
            time.sleep(0.05)

    def _signal_group(self, number: signal.Signals) -> bool:
        """Whether there was anyone left to signal."""
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


class ChildProcesses:
    """The programs of the demo; leaving the context stops them, the last started first."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = dict(environment)
        self._running: list[Child] = []

    def start(self, name: str, arguments: Sequence[str]) -> Child:
        """Run ``python -m barstream ARGUMENTS`` with its output in ``NAME.log``."""
        command = [sys.executable, "-m", "barstream", *arguments]
        if sys.platform.startswith("linux"):
            command = [
                sys.executable,
                "-I",
                "-S",
                child_process.__file__,
                str(os.getpid()),
                *command,
            ]
        path = self._logs / f"{name}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        child = Child(name, process, path)
        self._running.append(child)
        return child

    def check(self) -> None:
        """Raise when one of them has ended.

        Raises:
            ChildFailedError: names it, with the end of its log.
        """
        for child in self._running:
            child.check()

    def stop(self) -> None:
        """Stop all that run."""
        while self._running:
            self._running.pop().stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
