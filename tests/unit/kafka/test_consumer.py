"""A fetcher ends when it is closed, whatever it was waiting for."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiokafka.errors import NodeNotReadyError

from barstream.kafka.consumer import PacedFetcher


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


def test_a_fetch_that_is_closed_while_the_broker_is_gone_ends_without_an_error() -> None:
    """aiokafka pauses after a fetch that failed, and closing awaits the fetch it has cancelled."""

    class Gone:
        async def send(self, node_id: int, request: object) -> None:
            raise NodeNotReadyError

    class NoTopics:
        topics = ()

    async def go() -> None:
        fetcher = object.__new__(PacedFetcher)
        fetcher._client = Gone()
        fetcher._retry_backoff = 60
        fetch = asyncio.create_task(fetcher._proc_fetch_request(None, 1, NoTopics()))
        done, _ = await asyncio.wait({fetch}, timeout=0.1)
        assert not done
        fetch.cancel()
        assert await fetch is False

    asyncio.run(go())
