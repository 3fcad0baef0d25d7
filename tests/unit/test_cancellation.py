"""A task that loses its cancellation is cancelled again."""

from __future__ import annotations

import asyncio

from barstream.cancellation import cancel


async def _loses(times: int) -> None:
    """As a loop around `asyncio.wait_for`, which may have its result at the same time."""
    for _ in range(times):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue
    await asyncio.sleep(3600)


def test_tasks_that_lose_it_end_as_well() -> None:
    async def go() -> list[bool]:
        tasks = [asyncio.create_task(_loses(times)) for times in (0, 1, 3)]
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await cancel(tasks, again_s=0.01)
        return [task.cancelled() for task in tasks]

    assert asyncio.run(go()) == [True, True, True]


def test_who_has_ended_is_left_alone() -> None:
    async def go() -> int:
        task = asyncio.create_task(asyncio.sleep(0, 7))
        await task
        await cancel([task])
        return task.result()

    assert asyncio.run(go()) == 7
