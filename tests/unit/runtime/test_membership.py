"""How long a worker may believe that its partitions are its own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka.protocol.group import HeartbeatRequest, LeaveGroupRequest, SyncGroupRequest

from barstream.runtime.membership import Membership, uptime_s


@dataclass
class Answered:
    error_code: int


@dataclass
class Coordinator:
    """Answers after ``takes_s``, with ``error_code``."""

    now_s: list[float]
    takes_s: float = 0.0
    error_code: int = 0
    asked: list[Any] = field(default_factory=list)

    async def _send_req(self, request: Any) -> Answered:
        self.asked.append(request)
        self.now_s[0] += self.takes_s
        return Answered(self.error_code)


def watched(**options: Any) -> tuple[Membership, Coordinator]:
    now_s = [100.0]
    membership, coordinator = Membership(6.0, lambda: now_s[0]), Coordinator(now_s, **options)
    membership.watch(coordinator)
    return membership, coordinator


def is_sure(membership: Membership) -> bool:
    """Asked anew each time: it changes with the clock."""
    return membership.sure


def heartbeat() -> HeartbeatRequest:
    return HeartbeatRequest("group", 1, "member")


@pytest.mark.parametrize(
    "request_", [heartbeat(), SyncGroupRequest("group", 1, "member", None, [])]
)
def test_it_is_sure_until_one_session_timeout_after_what_was_answered(request_: Any) -> None:
    membership, coordinator = watched()
    assert not is_sure(membership)
    assert membership.silent_s is None
    response = asyncio.run(coordinator._send_req(request_))
    assert response == Answered(0)
    assert coordinator.asked == [request_]
    assert is_sure(membership)
    coordinator.now_s[0] += 5.9
    assert is_sure(membership)
    coordinator.now_s[0] += 0.1
    assert not is_sure(membership)


def test_the_time_counts_from_sending_because_the_answer_may_have_waited_to_be_read() -> None:
    """The coordinator counts from when it got the heartbeat, however late its answer is read.

    ::

        sent                             answer read
        0 s                              7 s
        |-- timeout 6 s: given away --|
    """
    membership, coordinator = watched(takes_s=7.0)
    asyncio.run(coordinator._send_req(heartbeat()))
    assert membership.silent_s == 7.0
    assert not is_sure(membership)


@pytest.mark.parametrize("error_code", [22, 25, 27])
def test_a_heartbeat_that_is_refused_proves_nothing(error_code: int) -> None:
    membership, coordinator = watched(error_code=error_code)
    asyncio.run(coordinator._send_req(heartbeat()))
    assert not is_sure(membership)


def test_other_requests_prove_nothing() -> None:
    membership, coordinator = watched()
    asyncio.run(coordinator._send_req(LeaveGroupRequest("group", "member")))
    assert not is_sure(membership)


def test_the_clock_goes_on_while_the_process_is_stopped() -> None:
    """What it is for: a clock that stood still with the process would notice nothing."""
    script = (
        "from barstream.runtime.membership import uptime_s; import sys\n"
        "for _ in sys.stdin: print(uptime_s(), flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        def ask() -> float:
            print(file=child.stdin, flush=True)
            return float(child.stdout.readline())  # type: ignore[union-attr]

        before_s = ask()
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        began = time.monotonic()
        while time.monotonic() < began + 0.3:
            time.sleep(0.05)
        child.send_signal(signal.SIGCONT)
        assert ask() - before_s >= 0.3
        child.stdin.close()
    assert uptime_s() > 0
