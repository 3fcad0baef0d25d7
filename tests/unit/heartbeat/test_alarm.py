"""The alarm of a leader, by a fake clock that the test moves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from barstream.heartbeat.alarm import Alarm
from barstream.model.time import MINUTE_US, SECOND_US
from barstream.rules.heartbeat_plan import HeartbeatRules

START_US = 28_000_000 * MINUTE_US
RULES = HeartbeatRules(5 * SECOND_US, 5)


class FakeClock:
    def __init__(self, now_us: int) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us


LOOKED_AT_EVERY_S = 0.01


def rung(move: Callable[[FakeClock, Alarm], None]) -> bool:
    """Whether one that was set at 00 s rings within 0.2 s of what ``move`` did."""

    async def looked_at(alarm: Alarm) -> None:
        while True:
            await asyncio.sleep(LOOKED_AT_EVERY_S)
            alarm.look(LOOKED_AT_EVERY_S)

    async def scene() -> bool:
        clock = FakeClock(START_US)
        alarm = Alarm(RULES, clock, 0)
        timer = asyncio.create_task(looked_at(alarm))
        waiting = asyncio.create_task(alarm.wait())
        await asyncio.sleep(0.03)
        assert not waiting.done()
        move(clock, alarm)
        done, _ = await asyncio.wait({waiting}, timeout=0.2)
        waiting.cancel()
        timer.cancel()
        return bool(done)

    return asyncio.run(scene())


def set_to(seconds: float) -> Callable[[FakeClock, Alarm], None]:
    def move(clock: FakeClock, alarm: Alarm) -> None:
        clock.now_us = START_US + round(seconds * SECOND_US)

    return move


def test_it_rings_when_the_clock_has_reached_the_due_instant_and_not_before() -> None:
    assert not rung(set_to(4.9))
    assert rung(set_to(5.0))


def test_a_clock_that_jumps_ahead_by_hours_rings_at_once() -> None:
    assert rung(set_to(10_000))


def test_a_clock_that_is_set_back_is_followed() -> None:
    # Set back an hour: the next due instant is five seconds past a minute an hour ago.
    def move(clock: FakeClock, alarm: Alarm) -> None:
        clock.now_us = START_US - 60 * MINUTE_US
        asyncio.get_running_loop().call_later(
            0.05, setattr, clock, "now_us", START_US - 60 * MINUTE_US + 5 * SECOND_US
        )

    assert rung(move)


def test_a_nudge_and_being_asked_back_ring_whatever_the_clock_says() -> None:
    assert rung(lambda _clock, alarm: alarm.nudge())
    assert rung(lambda _clock, alarm: alarm.again_in(0.05))


def test_the_jitter_is_drawn_anew_and_stays_below_its_bound() -> None:
    alarm = Alarm(RULES, lambda: START_US, 250_000, random.Random(7))
    drawn = {alarm.ring_us(START_US) - (START_US + 5 * SECOND_US) for _ in range(200)}
    assert len(drawn) > 100
    assert min(drawn) >= 0
    assert max(drawn) < 250_000


def test_an_instant_that_is_near_is_waited_for_exactly_however_seldom_it_is_looked_at() -> None:
    """The phase of a timer makes no minute final later."""

    async def scene() -> float:
        clock = FakeClock(START_US + 4_950_000)
        alarm = Alarm(RULES, clock, 0)
        alarm.look(0.04)  # 50 ms are left
        assert not alarm._rung.is_set()
        alarm.look(10.0)
        before_s = asyncio.get_running_loop().time()
        async with asyncio.timeout(5):
            await alarm.wait()
        return asyncio.get_running_loop().time() - before_s

    assert 0.045 <= asyncio.run(scene()) < 1.0


def test_a_minute_that_comes_due_in_a_round_rings_after_it() -> None:
    """It was planned before, so what is due now has to be looked for once more."""

    async def scene() -> None:
        clock = FakeClock(START_US + 4_900_000)
        alarm = Alarm(RULES, clock, 0)
        alarm.begin()
        clock.now_us = START_US + 5_100_000
        alarm.look(0.1)
        async with asyncio.timeout(5):
            await alarm.wait()

    asyncio.run(scene())


def test_what_was_asked_for_before_a_round_is_served_by_it() -> None:
    async def scene() -> None:
        alarm = Alarm(RULES, FakeClock(START_US), 0)
        alarm.again_in(0.01)
        alarm.look(0.1)
        alarm.nudge()
        alarm.begin()
        await asyncio.sleep(0.05)
        alarm.look(0.1)
        assert not alarm._rung.is_set()

    asyncio.run(scene())


def test_a_round_that_begins_between_two_looks_misses_no_instant_before_the_second() -> None:
    async def scene() -> float:
        clock = FakeClock(START_US + 4_800_000)
        alarm = Alarm(RULES, clock, 0)
        alarm.look(0.15)  # 200 ms are left
        clock.now_us += 100_000
        alarm.begin()
        before_s = asyncio.get_running_loop().time()
        async with asyncio.timeout(5):
            await alarm.wait()
        return asyncio.get_running_loop().time() - before_s

    assert 0.095 <= asyncio.run(scene()) < 1.0


def test_of_two_that_asked_to_look_again_the_sooner_is_heard() -> None:
    async def scene(first_s: float, second_s: float) -> None:
        alarm = Alarm(RULES, FakeClock(START_US), 0)
        alarm.again_in(first_s)
        alarm.again_in(second_s)
        async with asyncio.timeout(5):
            await alarm.wait()

    asyncio.run(scene(0.01, 60.0))
    asyncio.run(scene(60.0, 0.01))
