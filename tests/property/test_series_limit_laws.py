"""A partition that takes so many series: which they are follows from its log alone.

::

    ticks       A A B A C B C ... | worker after worker, each with a limit of its own, and drops
    taken       A     B           | those that came first; the log says from where on it was full
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barstream.model.rejection import Reason
from barstream.partition.machine import MachineOptions, PartitionMachine
from tests.examples import examples
from tests.property.engine_cases import Case, Store, cases, cuts, deliver, feed
from tests.property.rules_cases import Life, Workers, differences, judged, lives, standing
from tests.property.test_rules_laws import replayed
from tests.property.test_withdrawal_laws import PERIODS, DroppedLife, dropped_lives, withdraw
from tests.reference.series import PlainSeries

BEYOND = Reason.TOO_MANY_SERIES.value.encode()


def run(case: Case, limit: int | None, draw: Callable[..., object]) -> Store:
    """One worker, its ticks in any chunks."""
    engine = PartitionMachine(
        0,
        case.rules,
        case.provider,
        lambda _broker, _symbol: None,
        MachineOptions(max_series=limit),
    )
    store = Store()
    deliver(engine, case.beats)
    for start, end in cuts(draw, 0, case.end):
        feed(engine, case.ticks, start, end)
        store.flush(engine)
    return store


def first_come(case: Case, limit: int) -> set[str]:
    """The definition: a series is taken at its first tick in session, while there is room."""
    taken: set[str] = set()
    for tick in case.ticks:
        series = PlainSeries(case.rows[tick.symbol], 0, 0)
        is_accepted = tick.price is not None and series.session(tick.time_us) is not None
        if is_accepted and len(taken) < limit:
            taken.add(tick.symbol)
    return taken


@pytest.mark.law("L22")
@settings(max_examples=examples(50), deadline=None)
@given(st.data(), cases(), st.integers(1, 3))
def test_those_that_came_first_are_taken_however_the_log_is_cut(
    data: st.DataObject, case: Case, limit: int
) -> None:
    store, taken = run(case, limit, data.draw), first_come(case, limit)
    others = {tick.offset for tick in case.ticks if tick.symbol not in taken}
    beyond = {int(said["offset"]) for _, _, said in store.rejected if said["reason"] == BEYOND}
    assert beyond <= others
    alone = replace(case, ticks=[tick for tick in case.ticks if tick.symbol in taken])
    assert standing(store.finals) == standing(run(alone, None, data.draw).finals)
    accepted = {tick.offset for tick in case.ticks if tick.symbol in taken}
    unlimited = run(case, None, data.draw)
    refused = {int(said["offset"]) for _, _, said in unlimited.rejected}
    assert {int(said["offset"]) for _, _, said in store.rejected} & accepted == refused & accepted


@dataclass
class WorkersOfFewSeries(Workers):
    """Each takes another number of series than the one before it."""

    started_so_far: int = 0
    limits: ClassVar[tuple[int, ...]] = (1, 2, 1)

    def started(self, *, starts_over: bool) -> PartitionMachine:
        self.max_series = self.limits[self.started_so_far % len(self.limits)]
        self.started_so_far += 1
        return super().started(starts_over=starts_over)


@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), lives(workers=WorkersOfFewSeries))
def test_where_the_limit_changes_nothing_right_is_accused(data: st.DataObject, life: Life) -> None:
    assert differences(judged(life, cuts(data.draw, 0, life.case.end))) == []


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lives(("reject",), workers=WorkersOfFewSeries))
def test_a_replay_gives_the_published_bytes_whatever_the_limit_was(life: Life) -> None:
    published = {key or b"": value or b"" for key, value in life.store.finals}
    assert replayed(life) == published


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(dropped_lives())
def test_the_place_of_a_dropped_series_is_free_again(one: DroppedLife) -> None:
    meanwhile = one.turn, partial(withdraw, drop=one.drop)
    life = one.script.play(one.case, PERIODS, WorkersOfFewSeries, meanwhile)
    assert differences(judged(life)) == []


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), lives(workers=WorkersOfFewSeries))
def test_what_a_worker_was_to_reject_and_did_not_is_named(data: st.DataObject, life: Life) -> None:
    rows = [row for row in life.store.rejected if row[2]["reason"] == BEYOND]
    if not rows:
        return
    lost = data.draw(st.sampled_from(rows))
    rejected = [row for row in life.store.rejected if row is not lost]
    found = judged(replace(life, store=replace(life.store, rejected=rejected)))
    named = [one.offset for one in found.findings.kept if one.kind == "difference"]
    assert int(lost[2]["offset"]) in named
