"""The metrics of workers while a run goes on: what one answers, and a watch that keeps it all."""

from __future__ import annotations

import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from tests.pipeline import WorkerProcess

Labels = frozenset[tuple[str, str]]
Samples = dict[tuple[str, Labels], float]
"""Value by name and labels."""

_LINE: Final = re.compile(r"^(barstream_\w+)(?:\{(.*)\})? (\S+)$")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Numbers:
    """One answer of ``/metrics``."""

    def __init__(self, samples: Samples | None = None, at_s: float = 0.0) -> None:
        self.samples: Final[Samples] = samples or {}
        self.at_s: Final = at_s

    def matching(self, name: str, labels: Mapping[str, str] | None = None) -> Iterator[float]:
        """Values of a metric whose labels contain ``labels``."""
        wanted = frozenset((labels or {}).items())
        return (v for (n, found), v in self.samples.items() if n == name and wanted <= found)

    def get(self, name: str, labels: Mapping[str, str] | None = None) -> float:
        """Sum over the labels of a metric; 0 where it is not shown."""
        return sum(self.matching(name, labels))


def parse(text: str) -> Samples:
    """Our samples in Prometheus text."""
    found: Samples = {}
    for line in text.splitlines():
        if matched := _LINE.match(line):
            name, labels, value = matched.groups()
            found[name, frozenset(_LABEL.findall(labels or ""))] = float(value)
    return found


def scrape(worker: WorkerProcess, timeout_s: float = 1.0) -> Numbers:
    """The metrics of a worker; none where it does not answer."""
    url = f"http://{worker.host}:{worker.port}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as got:
            return Numbers(parse(got.read().decode()), time.time())
    except (OSError, ValueError):
        return Numbers()


class Watch(threading.Thread):
    """Scrapes whoever runs, once a second, until it is stopped.

    Attributes:
        seen: answers in order, by process id: a worker that was started again is another one.
        silent: process ids that did not answer at least once after they had.
    """

    def __init__(self, running: Callable[[], Iterable[WorkerProcess]], every_s: float = 1.0):
        super().__init__(name="watch", daemon=True)
        self.seen: dict[int, list[Numbers]] = {}
        self.silent: set[int] = set()
        self._running = running
        self._every_s = every_s
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(self._every_s):
            for worker in list(self._running()):
                self.look(worker)

    def look(self, worker: WorkerProcess) -> None:
        """Scrape one worker now, as before it is ended."""
        pid = worker.process.pid
        numbers = scrape(worker)
        if numbers.samples:
            self.seen.setdefault(pid, []).append(numbers)
        elif pid in self.seen:
            self.silent.add(pid)

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        self.join(10)
