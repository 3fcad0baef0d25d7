"""How feeds are stopped on the command line."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Final

#: A signal that comes again within this time was sent once, to a process and to its group.
_TWICE_S: Final = 1.0


class stopped_by_signals:  # noqa: N801  reads as a statement
    """Ctrl-C and SIGTERM call ``stop`` once; a second signal ends the program at once."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._restoring: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopped)

    def __exit__(self, *_: object) -> None:
        if self._restoring is not None:
            self._restoring.cancel()
        self._restore()

    def _restore(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    def _stopped(self) -> None:
        if self._restoring is None:
            self._restoring = asyncio.get_running_loop().call_later(_TWICE_S, self._restore)
            self._stop()
