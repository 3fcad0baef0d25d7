"""What a process and all it has started take: CPU time, and resident memory at its peak."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Final, NamedTuple, Self

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_EVERY_S: Final = 0.1


class Usage(NamedTuple):
    """A look: when (ms since the epoch), CPU seconds until then, resident bytes then."""

    at_ms: float
    cpu_s: float
    resident: int


def cpu_seconds(pid: int) -> float:
    """User and system seconds a process has used, without those of its children."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def tree(pid: int) -> list[int]:
    """A process and its descendants that are alive."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:  # it ended meanwhile
                continue
    return found


def usage(pids: list[int]) -> Usage:
    """Of processes and their descendants; those that ended count as what their parents say."""
    cpu, resident = 0, 0
    for root in pids:
        for pid in tree(root):
            try:
                fields = _stat(pid)
                # of itself, and of the children it has waited for
                cpu += sum(int(each) for each in fields[11:15])
                resident += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
            except OSError:
                continue
    return Usage(time.time() * 1000, cpu / _TICKS_A_SECOND, resident)


class Gauge:
    """Looks at processes ten times a second, in a thread of its own, while it is entered."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.looks: list[Usage] = []

    def __enter__(self) -> Self:
        self.looks.append(usage(self._pids))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self.looks.append(usage(self._pids))

    def cpu_s(self, from_ms: float, until_ms: float) -> float:
        """CPU seconds between two times, each to a tenth of a second."""
        return self._at(until_ms).cpu_s - self._at(from_ms).cpu_s

    @property
    def peak(self) -> int:
        """Most resident bytes seen."""
        return max(each.resident for each in self.looks)

    def _at(self, ms: float) -> Usage:
        return min(self.looks, key=lambda each: abs(each.at_ms - ms))


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
