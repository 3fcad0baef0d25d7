"""A fetcher ends when it is closed, whatever it was waiting for."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from barstream.transport.pacing import PacedFetcher


async def _loses_a_cancellation() -> None:
    """As aiokafka's routine does while it awaits the fetches of an assignment that was lost."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    await asyncio.sleep(60)


def test_a_fetcher_that_loses_its_first_cancellation_is_closed_all_the_same() -> None:
    async def go() -> None:
        fetcher = object.__new__(PacedFetcher)
        fetcher._fetch_task = asyncio.create_task(_loses_a_cancellation())
        fetcher._fetch_waiters = set()
        fetcher._pending_tasks = set()
        await asyncio.sleep(0)
        closing = asyncio.create_task(fetcher.close())
        done, _ = await asyncio.wait({closing}, timeout=5)
        assert done
        assert fetcher._fetch_task.cancelled()

    asyncio.run(go())
