"""Consumers that do not spin on a broker which answers an empty fetch at once, and that end.

Kafka holds a fetch without data for ``fetch_max_wait_ms``; the embedded broker does not, and an
idle consumer then asks thousands of times a second and takes a core.

A consumer that leaves its group loses its assignment, and its fetcher then awaits what it had
asked for.  A cancellation that comes just there is taken for theirs: the fetcher waits for an
assignment that never comes, and whoever closes it waits for the fetcher.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any, Final

from aiokafka.consumer import consumer
from aiokafka.consumer.fetcher import Fetcher

from barstream.cancellation import cancel

#: No broker that waits answers an empty fetch within this time.
_AT_ONCE_S: Final = 0.005
_PAUSE_S: Final = 0.02
_AGAIN_S: Final = 0.1


class PacedFetcher(Fetcher):  # type: ignore[misc]
    """Pauses after a fetch that was empty and answered at once; ends when it is closed."""

    async def close(self) -> None:
        """End it, also when it loses the first cancellation."""
        self._closed = True
        await cancel([self._fetch_task], _AGAIN_S)
        await super().close()

    async def _proc_fetch_request(self, assignment: Any, node_id: int, request: Any) -> bool:
        began = time.monotonic()
        # Closing cancels a fetch and awaits it: what ends in a pause, in ours or in that which
        # aiokafka makes when the broker is gone, ends without an error.
        with suppress(asyncio.CancelledError):
            if await super()._proc_fetch_request(assignment, node_id, request):
                return True
            if time.monotonic() - began < _AT_ONCE_S:
                await asyncio.sleep(_PAUSE_S)
        return False


def install() -> None:
    """Make every consumer of this process fetch with `PacedFetcher`."""
    consumer.Fetcher = PacedFetcher
