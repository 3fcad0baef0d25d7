"""The metrics of workers while a run goes on: what one answers, and a watch that keeps it all."""

from __future__ import annotations

import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.chaos.observation import memory_mib
from tests.pipeline import WorkerProcess

Labels = frozenset[tuple[str, str]]
Samples = dict[tuple[str, Labels], float]
"""Value by name and labels."""
Targets = Mapping[str, WorkerProcess | None]
"""Who is in each slot; None: nobody."""

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
    """Scrapes every slot once a second until it is stopped, as Prometheus scrapes its targets.

    Attributes:
        seen: answers in order, by slot; one that does not answer shows ``up`` 0.
        peak_mib: the most memory that a worker had.
        descriptors: the most files that a worker had open.
    """

    def __init__(self, targets: Callable[[], Targets], every_s: float = 1.0) -> None:
        super().__init__(name="watch", daemon=True)
        self.seen: dict[str, list[Numbers]] = {}
        self.peak_mib = 0.0
        self.descriptors = 0
        self._targets = targets
        self._every_s = every_s
        self._stopping = threading.Event()
        self._lock = threading.Lock()

    def run(self) -> None:
        while not self._stopping.wait(self._every_s):
            self.look()

    def look(self) -> None:
        """Scrape all now, as before one of them is ended."""
        with self._lock:
            for name, worker in self._targets().items():
                samples = {} if worker is None else scrape(worker, 0.5).samples
                up = {("up", Labels()): float(bool(samples))}
                self.seen.setdefault(name, []).append(Numbers(samples | up, time.time()))
                if worker is not None:
                    self._weigh(worker)

    def _weigh(self, worker: WorkerProcess) -> None:
        place = Path(f"/proc/{worker.process.pid}")
        try:
            peak_mib = memory_mib(worker.process.pid)[1]
            descriptors = len(list((place / "fd").iterdir()))
        except OSError:  # it has ended
            return
        self.peak_mib = max(self.peak_mib, peak_mib)
        self.descriptors = max(self.descriptors, descriptors)

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        self.join(10)
