"""When the leader looks again: the clock decides, never a sum of sleeps or the number of calls."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from barstream.model.time import SECOND_US
from barstream.rules.heartbeat_plan import HeartbeatRules


class Alarm:
    """Rings at minute boundary + grace (+ feed delay) + jitter, or earlier when asked to.

    A timer has it look at the clock every so often, and may drift, come late or come twice: an
    instant that is reached before it comes again is waited for exactly.

    Args:
        rules: when minutes are due.
        now_us: the clock; it may jump.
        jitter_us: it rings up to this much later, drawn anew for each instant.
    """

    def __init__(
        self,
        rules: HeartbeatRules,
        now_us: Callable[[], int],
        jitter_us: int,
        randomness: random.Random | None = None,
    ) -> None:
        self._rules = rules
        self._now_us = now_us
        self._jitter_us = jitter_us
        self._random = randomness or random.Random()  # noqa: S311  jitter is no secret
        self._rung = asyncio.Event()
        self._within_s = 0.0
        #: What was asked for, and the instant that is reached before the clock is looked at again.
        self._again: asyncio.TimerHandle | None = None
        self._soon: asyncio.TimerHandle | None = None
        self._looked_us = now_us()
        self._ring_us = self.ring_us(self._looked_us)

    def nudge(self) -> None:
        """Ring now."""
        self._rung.set()

    def again_in(self, seconds: float) -> None:
        """Ring after so long at the latest, whatever the clock says."""
        loop = asyncio.get_running_loop()
        if self._again is None or loop.time() + seconds < self._again.when():
            _cancel(self._again)
            self._again = loop.call_later(seconds, self.nudge)

    def begin(self) -> None:
        """A round begins: what was asked for before it is served by it.

        An instant that passes while it is under way is not: it rings again.
        """
        _cancel(self._again)
        self._again = None
        self._rung.clear()
        self._ring_us = self.ring_us(self._now_us())
        self.look(self._within_s)

    def ring_us(self, now_us: int) -> int:
        """The next instant to ring at, later than ``now_us``."""
        return self._rules.next_due_us(now_us) + int(self._random.random() * self._jitter_us)

    def look(self, within_s: float) -> None:
        """Look at the clock, as again within so long: ring when an instant is reached by then."""
        now_us = self._now_us()
        if now_us < self._looked_us:  # the clock was set back
            self._ring_us = self.ring_us(now_us)
        self._looked_us, self._within_s = now_us, within_s
        _cancel(self._soon)
        left_s = (self._ring_us - now_us) / SECOND_US
        if left_s <= 0:
            self.nudge()
        elif left_s <= within_s:
            self._soon = asyncio.get_running_loop().call_later(left_s, self.nudge)

    async def wait(self) -> None:
        """Return when it rings, or has rung since the last round began."""
        await self._rung.wait()


def _cancel(handle: asyncio.TimerHandle | None) -> None:
    if handle is not None:
        handle.cancel()
