"""Partitions held: whatever watches them has not ended in silence."""

from __future__ import annotations

import asyncio

from barstream.runtime.assignment import first_failure


async def _fails() -> None:
    raise ValueError("seen")


def test_the_first_that_fails_is_told_and_one_that_just_ends_is_not() -> None:
    async def go() -> BaseException | None:
        tasks = [asyncio.create_task(each) for each in (asyncio.sleep(0), _fails())]
        return await first_failure(tasks)

    assert str(asyncio.run(go())) == "seen"


def test_one_that_was_cancelled_by_itself_has_failed() -> None:
    async def go() -> BaseException | None:
        tasks = [asyncio.create_task(asyncio.sleep(3600)) for _ in range(2)]
        tasks[1].cancel()
        async with asyncio.timeout(20):
            found = await first_failure(tasks)
        tasks[0].cancel()
        return found

    assert isinstance(asyncio.run(go()), RuntimeError)


def test_when_all_have_ended_there_is_nothing_to_tell() -> None:
    async def go() -> BaseException | None:
        return await first_failure([asyncio.create_task(asyncio.sleep(0))])

    assert asyncio.run(go()) is None
