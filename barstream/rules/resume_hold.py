"""When catching up may begin after an interval without the broker's acknowledgement.

Feed handlers buffer while the broker is away.  Were the missed minutes closed the moment
it is back, all they buffered would be late; so the leader waits ``hold`` first.  Two
things tell of such an interval: sends that fail, and minutes long overdue although nobody
has sent for as long (a leader that was frozen, or no leader at all).

Spans are measured with a monotonic clock (``at_s``); only the age of the newest heartbeat,
which may be another machine's, by the wall clock.  Both are handed in.
"""

from __future__ import annotations

from typing import Final

from barstream.model.time import MINUTE_US

FAILING_S: Final = 5.0
"""Failures for longer than this are an outage; shorter ones are a retry."""
OVERDUE_US: Final = 2 * MINUTE_US
"""Overdue by this, and nothing acknowledged for as long: there was an outage."""


class ResumeRule:
    """Decides whether the leader holds back; one per leader."""

    def __init__(self, hold_s: float) -> None:
        self._hold_s = hold_s
        self._newest_us: int | None = None
        self._failing_since_s: float | None = None
        self._resume_at_s: float | None = None

    @property
    def failing(self) -> bool:
        """The last attempt failed."""
        return self._failing_since_s is not None

    def failed(self, at_s: float) -> None:
        """An attempt failed: nothing is known of what the broker has."""
        if self._failing_since_s is None:
            self._failing_since_s = at_s

    def took_over(self, newest_us: int | None, at_s: float) -> None:
        """The broker answers; the newest heartbeat it has was appended at ``newest_us``."""
        since_s, self._failing_since_s = self._failing_since_s, None
        self._newest_us = newest_us
        if since_s is not None and at_s - since_s > FAILING_S:
            self._resume_at_s = at_s + self._hold_s

    def acknowledged(self, now_us: int) -> None:
        """A round was committed."""
        self._newest_us = now_us

    def hold_s(self, overdue_us: int, now_us: int, at_s: float) -> float:
        """Seconds to hold back still, 0: go on; the oldest minute is ``overdue_us`` late."""
        if self._resume_at_s is None and self._newest_us is not None:
            unacknowledged_us = now_us - self._newest_us
            if min(overdue_us, unacknowledged_us) > OVERDUE_US:
                self._resume_at_s = at_s + self._hold_s
        if self._resume_at_s is None:
            return 0.0
        if at_s < self._resume_at_s:
            return self._resume_at_s - at_s
        # Served: the minutes are as overdue as before, and must not start another hold.
        self._resume_at_s, self._newest_us = None, now_us
        return 0.0
