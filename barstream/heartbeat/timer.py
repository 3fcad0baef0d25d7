"""Waiting for the next minute to come due: the clock decides, never a sum of sleeps."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from barstream.model.time import SECOND_US
from barstream.rules.heartbeat_plan import HeartbeatRules


class Waker:
    """Wakes at minute boundary + grace (+ feed delay) + jitter, or earlier when asked to.

    Args:
        rules: when minutes are due.
        now_us: the clock, looked at again at least every ``nap_s``; it may jump.
        jitter_us: woken up to this much later, drawn anew for each wait.
    """

    def __init__(
        self,
        rules: HeartbeatRules,
        now_us: Callable[[], int],
        jitter_us: int,
        nap_s: float,
        randomness: random.Random | None = None,
    ) -> None:
        self._rules = rules
        self._now_us = now_us
        self._jitter_us = jitter_us
        self._nap_s = nap_s
        self._random = randomness or random.Random()  # noqa: S311  jitter is no secret
        self._again_at_s: float | None = None
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """End the wait, this one or the next."""
        self._nudged.set()

    def again_in(self, seconds: float) -> None:
        """Wake after so long at the latest, whatever the clock says."""
        at_s = time.monotonic() + seconds
        self._again_at_s = at_s if self._again_at_s is None else min(at_s, self._again_at_s)

    def begin(self) -> None:
        """A round begins: what was asked for before it is served by it."""
        self._again_at_s = None
        self._nudged.clear()

    def wake_us(self, now_us: int) -> int:
        """The next instant to wake at, later than ``now_us``."""
        return self._rules.next_due_us(now_us) + int(self._random.random() * self._jitter_us)

    async def wait(self, stopped: Callable[[], bool]) -> None:
        """Return at the next due instant, when nudged, asked back, or ``stopped()``."""
        before_us = self._now_us()
        wake_us = self.wake_us(before_us)
        while not stopped() and not self._nudged.is_set():
            now_us = self._now_us()
            if now_us < before_us:  # the clock was set back
                wake_us = self.wake_us(now_us)
            before_us = now_us
            left_s = (wake_us - now_us) / SECOND_US
            if self._again_at_s is not None:
                left_s = min(left_s, self._again_at_s - time.monotonic())
            if left_s <= 0:
                return
            try:
                async with asyncio.timeout(min(left_s, self._nap_s)):
                    await self._nudged.wait()
            except TimeoutError:
                continue
