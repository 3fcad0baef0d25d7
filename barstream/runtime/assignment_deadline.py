"""Seeing that an assignment comes to its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Final

from barstream.errors import ReadingStalled

_POLL_S: Final = 0.5


async def settle(settled: Callable[[], bool], within_s: float, held: Collection[int]) -> None:
    """Wait for the end of an assignment.

    Faust's own recovery finds nothing to do after ours, but it ends silently when a high
    watermark reads None, and it can miss its own end signal: the worker would hold partitions
    and never read them.

    Args:
        settled: whether it has come.
        within_s: how long it may take.
        held: the partitions, for the message.

    Raises:
        ReadingStalled: it did not come.
    """
    deadline = time.monotonic() + within_s
    while not settled():
        if time.monotonic() > deadline:
            raise ReadingStalled(
                f"partitions {sorted(held)} must be read within {within_s:.0f} s after they were "
                "restored, but their assignment has not come to its end: the worker stops, so "
                "that another one takes over; start it again"
            )
        await asyncio.sleep(_POLL_S)
