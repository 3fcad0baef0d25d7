"""How feeds are stopped on the command line."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable


class stopped_by_signals:  # noqa: N801  reads as a statement
    """Ctrl-C and SIGTERM call ``stop`` once; a second signal ends the program at once."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopped)

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _restore(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    def _stopped(self) -> None:
        self._restore()
        self._stop()
