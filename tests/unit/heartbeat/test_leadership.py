"""The flag that says whether this worker may send heartbeats."""

from __future__ import annotations

import pytest

from barstream.heartbeat.leadership import LeadershipFlag


def test_listeners_hear_every_change_once_and_at_once() -> None:
    flag = LeadershipFlag()
    heard: list[bool] = []
    flag.listen(lambda changed: heard.append(changed.on))
    flag.clear()
    flag.set()
    flag.set()
    flag.clear()
    assert heard == [True, False]
    assert not flag.on


def test_a_fenced_leader_comes_back_only_while_its_assignment_stands() -> None:
    flag = LeadershipFlag()
    flag.set()
    flag.depose()
    assert (flag.on, flag.held) == (False, True)
    assert flag.reclaim()
    assert flag.on

    flag.depose()
    flag.clear()
    assert not flag.reclaim()
    assert not flag.on


@pytest.mark.law("L14")
def test_a_new_assignment_makes_a_fenced_leader_lead_again() -> None:
    flag = LeadershipFlag()
    flag.set()
    flag.depose()
    flag.set()
    assert flag.on
