"""Somebody who reads bars while faults are at work, from any worker and of any series."""

from __future__ import annotations

import random
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence

from tests.pipeline import WorkerProcess

_EVERY_S = 0.3


class Reads(threading.Thread):
    """Asks a few times a second until it is stopped.

    Attributes:
        outcomes: answers by status; ``none`` for a worker that did not answer.
    """

    def __init__(
        self,
        running: Callable[[], Sequence[WorkerProcess | None]],
        names: Sequence[tuple[str, str]],
        seed: int,
    ) -> None:
        super().__init__(name="reads", daemon=True)
        self.outcomes: Counter[str] = Counter()
        self._running = running
        self._names = list(names)
        self._rng = random.Random(seed)
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(_EVERY_S):
            workers = [worker for worker in self._running() if worker is not None]
            if workers:
                self._read(self._rng.choice(workers))

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()
        if self.ident is not None:
            self.join(15)

    def _read(self, worker: WorkerProcess) -> None:
        broker, symbol = self._rng.choice(self._names)
        timeframe = self._rng.choice(("1m", "5m"))
        url = f"http://{worker.host}:{worker.port}/bars/{broker}/{symbol}?timeframe={timeframe}&limit=50"
        try:
            with urllib.request.urlopen(url, timeout=7) as got:
                got.read()
                self.outcomes[str(got.status)] += 1
        except urllib.error.HTTPError as error:
            self.outcomes[str(error.code)] += 1
        except OSError:
            self.outcomes["none"] += 1
