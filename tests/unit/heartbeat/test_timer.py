"""Waiting by the clock: a fake one that the test moves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from barstream.heartbeat.timer import Waker
from barstream.model.time import MINUTE_US, SECOND_US
from barstream.rules.heartbeat_plan import HeartbeatRules

START_US = 28_000_000 * MINUTE_US
RULES = HeartbeatRules(5 * SECOND_US, 5)


class FakeClock:
    def __init__(self, now_us: int) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us


def woken(move: Callable[[FakeClock, Waker], None]) -> bool:
    """Whether a wait that began at 00 s ends within 0.2 s of what ``move`` did."""

    async def scene() -> bool:
        clock = FakeClock(START_US)
        waker = Waker(RULES, clock, 0, nap_s=0.01)
        waker.begin()
        waiting = asyncio.create_task(waker.wait(lambda: False))
        await asyncio.sleep(0.03)
        assert not waiting.done()
        move(clock, waker)
        done, _ = await asyncio.wait({waiting}, timeout=0.2)
        waiting.cancel()
        return bool(done)

    return asyncio.run(scene())


def set_to(seconds: float) -> Callable[[FakeClock, Waker], None]:
    def move(clock: FakeClock, waker: Waker) -> None:
        clock.now_us = START_US + round(seconds * SECOND_US)

    return move


def test_it_wakes_when_the_clock_has_reached_the_due_instant_and_not_before() -> None:
    assert not woken(set_to(4.9))
    assert woken(set_to(5.0))


def test_a_clock_that_jumps_ahead_by_hours_wakes_at_once() -> None:
    assert woken(set_to(10_000))


def test_a_clock_that_is_set_back_is_followed() -> None:
    # Set back an hour: the next due instant is five seconds past a minute an hour ago.
    def move(clock: FakeClock, waker: Waker) -> None:
        clock.now_us = START_US - 60 * MINUTE_US
        asyncio.get_running_loop().call_later(
            0.05, setattr, clock, "now_us", START_US - 60 * MINUTE_US + 5 * SECOND_US
        )

    assert woken(move)


def test_a_nudge_and_being_asked_back_end_the_wait_whatever_the_clock_says() -> None:
    assert woken(lambda _clock, waker: waker.nudge())
    assert woken(lambda _clock, waker: waker.again_in(0.05))


def test_the_jitter_is_drawn_anew_and_stays_below_its_bound() -> None:
    waker = Waker(RULES, lambda: START_US, 250_000, 1.0, random.Random(7))
    drawn = {waker.wake_us(START_US) - (START_US + 5 * SECOND_US) for _ in range(200)}
    assert len(drawn) > 100
    assert min(drawn) >= 0
    assert max(drawn) < 250_000
