"""Some who read bars while faults are at work, from any worker and of any series."""

from __future__ import annotations

import random
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from tests.pipeline import WorkerProcess

#: One that waits for a frozen worker must not keep the others from asking.
_READERS: Final = 3
_EVERY_S: Final = 0.7


class Reads:
    """Each asks about once a second until they are stopped.

    Args:
        running: the workers that may be asked.
        names: of the series.
        seed: decides who is asked for what.
        on_error: called after an answer with status 500.

    Attributes:
        outcomes: answers by status; ``none`` for a worker that did not answer.
    """

    def __init__(
        self,
        running: Callable[[], Sequence[WorkerProcess | None]],
        names: Sequence[tuple[str, str]],
        seed: int,
        on_error: Callable[[], None],
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self._running = running
        self._names = list(names)
        self._rng = random.Random(seed)
        self._on_error = on_error
        self._stopping = threading.Event()
        self._readers = [
            threading.Thread(target=self._ask, name=f"reads-{number}", daemon=True)
            for number in range(_READERS)
        ]

    def start(self) -> None:
        """Begin to ask."""
        for reader in self._readers:
            reader.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()
        for reader in self._readers:
            if reader.ident is not None:
                reader.join(15)

    def _ask(self) -> None:
        while not self._stopping.wait(_EVERY_S):
            workers = [worker for worker in self._running() if worker is not None]
            if workers:
                self._read(self._rng.choice(workers))

    def _read(self, worker: WorkerProcess) -> None:
        broker, symbol = self._rng.choice(self._names)
        timeframe = self._rng.choice(("1m", "5m"))
        url = f"http://{worker.host}:{worker.port}/bars/{broker}/{symbol}?timeframe={timeframe}"
        try:
            with urllib.request.urlopen(f"{url}&limit=50", timeout=7) as got:
                got.read()
                self.outcomes[str(got.status)] += 1
        except urllib.error.HTTPError as error:
            self.outcomes[str(error.code)] += 1
            if error.code == 500:
                self._on_error()
        except OSError:
            self.outcomes["none"] += 1
