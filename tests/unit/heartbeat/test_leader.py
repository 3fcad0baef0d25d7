"""The states of a leader: nothing leads from one to another but what the table names."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barstream.heartbeat.leader import (
    SENDING,
    TRANSITIONS,
    HeartbeatTopics,
    Leader,
    LeaderEvent,
    LeaderState,
    PlanSources,
)
from barstream.market.schedule import MarketScheduleProvider
from barstream.market.universe import Universe
from barstream.model.time import SECOND_US
from barstream.rules.heartbeat_plan import HeartbeatRules
from tests.cluster import cluster_at

S, E = LeaderState, LeaderEvent


def new_leader() -> Leader:
    """Of a group that is rebalancing, so that it asks no broker for anything."""
    sources = PlanSources(
        HeartbeatRules(5 * SECOND_US, 5), MarketScheduleProvider.always_open(), Universe()
    )
    topics = HeartbeatTopics(cluster_at(), "ticks", "hb_1m", "app-heartbeats")
    return Leader(sources, topics, rebalancing=lambda: True)


def in_state(state: LeaderState) -> Leader:
    leader = new_leader()
    leader.state = state
    return leader


def one_round(leader: Leader) -> LeaderState:
    asyncio.run(leader._round())
    return leader.state


def reached(start: LeaderState, without: Iterable[LeaderEvent] = ()) -> set[LeaderState]:
    """States that some way of events leads to from ``start``."""
    found, left, without = {start}, [start], set(without)
    while left:
        for event, after in TRANSITIONS[left.pop()].items():
            if event not in without and after not in found:
                found.add(after)
                left.append(after)
    return found


@pytest.mark.parametrize(("state", "event"), list(product(S, E)), ids=lambda part: part.name)
def test_what_the_table_does_not_name_cannot_happen(state: LeaderState, event: LeaderEvent) -> None:
    leader = in_state(state)
    after = TRANSITIONS[state].get(event)
    if after is None:
        with pytest.raises(RuntimeError, match=f"{state.value} is not to hear"):
            leader._to(event)
        after = state
    else:
        leader._to(event)
    assert leader.state is after


def test_every_state_is_reached_from_every_other() -> None:
    assert TRANSITIONS.keys() == set(S)
    for state in S:
        assert reached(state) == set(S)


def test_who_sends_has_fenced_the_leader_before() -> None:
    for state, ways in TRANSITIONS.items():
        entered = {event for event, after in ways.items() if after in SENDING}
        assert state in SENDING or entered <= {E.TOOK_OVER}
    assert not reached(S.FOLLOWING, {E.TOOK_OVER}) & SENDING


def test_in_no_state_a_revoke_is_survived_and_an_assignment_is_lost() -> None:
    for ways in TRANSITIONS.values():
        assert ways[E.REVOKED] is S.FOLLOWING
        assert ways[E.ASSIGNED] not in {S.FOLLOWING, S.DEPOSED}


@pytest.mark.law("L14")
@pytest.mark.parametrize(
    "state", [each for each in S if each is not S.FOLLOWING], ids=lambda state: state.name
)
def test_what_is_taken_away_is_not_led_from_the_same_instant_on(state: LeaderState) -> None:
    leader = in_state(state)
    leader.assigned()
    leader.revoked()
    assert not leader.leads
    assert not leader._may_send()
    assert one_round(leader) is S.FOLLOWING


def test_a_fenced_leader_comes_back_only_while_its_assignment_stands() -> None:
    leader = in_state(S.DEPOSED)
    leader.assigned()
    leader._said.clear()  # of a round before
    assert (one_round(leader), leader.leads) == (S.DEPOSED, False), "not before its time"
    leader._reclaim_at_s = 0.0
    assert (one_round(leader), leader.leads) == (S.WAITING, True)

    leader.state = S.DEPOSED
    leader.revoked()
    assert (one_round(leader), leader.leads) == (S.FOLLOWING, False)


@pytest.mark.law("L14")
def test_a_new_assignment_makes_a_fenced_leader_lead_again() -> None:
    leader = in_state(S.DEPOSED)
    leader.revoked()
    leader.assigned()
    assert one_round(leader) is S.WAITING
    assert leader.leads


@given(st.lists(st.sampled_from(["assigned", "revoked", "round"])))
def test_however_often_it_comes_and_goes_a_round_follows_what_was_said_last(
    said: list[str],
) -> None:
    leader, held = new_leader(), False
    for word in said:
        if word == "round":
            one_round(leader)
        else:
            getattr(leader, word)()
            held = word == "assigned"
            assert len(leader._said) <= 2
        assert leader.leads is held
    assert one_round(leader) is (S.WAITING if held else S.FOLLOWING)
