"""Cancellation that arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, Final

#: Longer than a client is given to close its connections, which a second one would interrupt.
_AGAIN_S: Final = 8.0


async def cancel(tasks: Collection[asyncio.Task[Any]], again_s: float = _AGAIN_S) -> None:
    """Cancel tasks and wait until they have ended; again where one has lost it.

    `asyncio.wait_for`, by which aiokafka waits for answers, drops a cancellation that comes
    together with its result before Python 3.12, and a loop around it would never end.
    """
    while left := {task for task in tasks if not task.done()}:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=again_s)
