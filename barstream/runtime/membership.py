"""Whether this worker can still be sure of its partitions.

A worker that was frozen or cut off wakes up and believes that it holds what another one has
taken over meanwhile.  The group's coordinator gives partitions away at the earliest one session
timeout after it last heard from their owner; so an owner is sure of them until one session
timeout after it *sent* what the coordinator has answered last, by its own clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from aiokafka.protocol.group import HeartbeatRequest, SyncGroupRequest

_SIGNS: Final = (HeartbeatRequest, SyncGroupRequest)


def uptime_s() -> float:
    """Seconds that go on while the process is stopped, and the machine too where it can tell."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class Membership:
    """When the coordinator last heard from this worker.

    Args:
        session_timeout_s: of the consumer group.
        clock: seconds, never going back.
    """

    def __init__(self, session_timeout_s: float, clock: Callable[[], float] = uptime_s) -> None:
        self.session_timeout_s = session_timeout_s
        self._clock = clock
        self._heard_s: float | None = None

    def watch(self, coordinator: Any) -> None:
        """Note every sign of life that ``coordinator`` of aiokafka sends and gets answered."""
        send = coordinator._send_req

        async def sent(request: Any) -> Any:
            sent_s = self._clock()
            response = await send(request)
            if isinstance(request, _SIGNS) and response.error_code == 0:
                self.heard(sent_s)
            return response

        coordinator._send_req = sent

    def heard(self, sent_s: float) -> None:
        """The coordinator has answered what was sent at ``sent_s``."""
        self._heard_s = sent_s

    @property
    def silent_s(self) -> float | None:
        """Seconds since then; None when it never answered."""
        return None if self._heard_s is None else self._clock() - self._heard_s

    @property
    def sure(self) -> bool:
        """Whether no other worker can have been given the partitions of this one."""
        silent_s = self.silent_s
        return silent_s is not None and silent_s < self.session_timeout_s
