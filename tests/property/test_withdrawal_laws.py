"""A series that was dropped: as if its ticks and heartbeats of before had never been there.

::

    ticks   0 ........ p ..... n ........ end      p: applied when it was dropped
            |  applied  | not   | come since       n: ticks of the series below are withdrawn
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barstream.codecs.avro.body import decode
from barstream.codecs.topics.withdrawal import (
    WithdrawalRow,
    WithdrawnEnd,
    encode_withdrawal,
)
from barstream.log.rules import Regimes
from barstream.model.key import NameRule, series_key, split_bar_key
from barstream.model.period import Period
from tests.examples import examples
from tests.property.engine_cases import Beat, Case, Store, cases, cuts, deliver, feed
from tests.property.rules_cases import (
    Life,
    Script,
    Topics,
    differences,
    judged,
    logs,
    scripts,
    standing,
)
from tests.property.verify_cases import series_rows, verdict

PERIODS = (Period.parse("5m"),)


class Drop(NamedTuple):
    """Which series was dropped, and where."""

    symbol: str
    applied: int
    end: WithdrawnEnd


def in_turn(beats: Sequence[Beat]) -> list[Beat]:
    """Each sent after the one before it, so that none holds another back."""
    barriers = accumulate((beat.barrier for beat in beats), max)
    return [beat._replace(barrier=at) for beat, at in zip(beats, barriers, strict=True)]


@st.composite
def dropped_cases(draw: st.DrawFn) -> tuple[Case, Drop]:
    case = draw(cases())
    beats = in_turn(case.beats)
    applied = draw(st.integers(1, case.end))
    last = beats[-1].offset + 1 if beats else 0
    end = WithdrawnEnd(draw(st.integers(applied, case.end)), draw(st.integers(0, last)))
    return replace(case, beats=beats), Drop(draw(st.sampled_from(sorted(case.rows))), applied, end)


def without(case: Case, drop: Drop) -> Case:
    """The log that never had them."""
    ticks = [
        tick
        for tick in case.ticks
        if tick.price is None or tick.symbol != drop.symbol or tick.offset >= drop.end.ticks
    ]
    beats = [
        beat
        for beat in case.beats
        if beat.symbol != drop.symbol or beat.offset >= drop.end.heartbeats
    ]
    return replace(case, ticks=ticks, beats=beats)


def run(
    case: Case, drop: Drop, data: st.DataObject, *, is_dropped: bool, is_late: bool = False
) -> Store:
    """A worker up to where it is dropped, and one that goes on from there.

    Args:
        is_late: whether the latter is given its heartbeats after the ticks.
    """
    store, first = Store(), case.engine()
    deliver(first, [beat for beat in case.beats if beat.offset < drop.end.heartbeats])
    for start, end in cuts(data.draw, 0, drop.applied):
        feed(first, case.ticks, start, end)
        store.flush(first)
    if is_dropped:
        withdraw(store, drop)
    engine, begin, beats_from = store.restored(case.rules, case.provider, lambda *_: None)
    assert begin == drop.applied
    beats = [beat for beat in case.beats if beat.offset >= beats_from]
    if not is_late:
        deliver(engine, beats)
    if begin < case.end:
        for start, end in cuts(data.draw, begin, case.end):
            feed(engine, case.ticks, start, end)
            store.flush(engine)
    if is_late:  # they close at the position reached, whoever's they are
        deliver(engine, beats)
    store.flush(engine)
    return store


def withdraw(store: Store, drop: Drop) -> None:
    """What `barstream series drop` leaves of a partition."""
    for rows in (store.finals, *(store.uppers.values() if isinstance(store, Topics) else ())):
        rows += [(key, None) for key in standing(rows) if is_of(key, drop.symbol)]
    store.series.pop(series_key("B", drop.symbol), None)
    row = WithdrawalRow("B", drop.symbol, 1, {0: drop.end})
    store.series[row.key] = encode_withdrawal(row)


def withdrawn(store: Store) -> list[tuple[bytes, bytes]]:
    """The bars that do not stand any more."""
    stands = standing(store.finals)
    return [
        (key, value)
        for key, value in store.finals
        if key is not None and value is not None and key not in stands
    ]


def is_of(key: bytes, symbol: str) -> bool:
    return split_bar_key(key)[1] == symbol


@pytest.mark.law("L21")
@settings(max_examples=examples(60), deadline=None)
@given(st.data(), dropped_cases())
def test_what_stands_is_as_if_they_had_never_been_there(
    data: st.DataObject, both: tuple[Case, Drop]
) -> None:
    case, drop = both
    is_late = data.draw(st.booleans())
    store = run(case, drop, data, is_dropped=True, is_late=is_late)
    never = run(without(case, drop), drop, data, is_dropped=False, is_late=is_late)
    assert standing(store.finals) == standing(never.finals)


@settings(max_examples=examples(60), deadline=None)
@given(st.data(), dropped_cases())
def test_series_that_share_the_partition_are_not_touched(
    data: st.DataObject, both: tuple[Case, Drop]
) -> None:
    case, drop = both
    is_late = data.draw(st.booleans())
    found, undisturbed = (
        run(case, drop, data, is_dropped=is_dropped, is_late=is_late)
        for is_dropped in (True, False)
    )
    others = [
        {key: value for key, value in standing(store.finals).items() if not is_of(key, drop.symbol)}
        for store in (found, undisturbed)
    ]
    assert others[0] == others[1]


@pytest.mark.law("L21")
@settings(max_examples=examples(60), deadline=None)
@given(st.data(), dropped_cases())
def test_it_verifies_before_and_after_it_is_loaded_again(
    data: st.DataObject, both: tuple[Case, Drop]
) -> None:
    case, drop = both
    store = run(case, drop, data, is_dropped=True, is_late=data.draw(st.booleans()))
    parts = cuts(data.draw, 0, case.end)
    outcome = verdict(case, store.finals, store.rejected, store.series, parts)
    assert outcome.findings.kept == []
    ticks = outcome.accounts
    assert ticks.ticks == ticks.in_bars + ticks.open + ticks.late + ticks.refused + (
        ticks.off_session + ticks.withdrawn
    )


@settings(max_examples=examples(60), deadline=None)
@given(st.data(), dropped_cases())
def test_a_bar_that_was_not_withdrawn_is_named(
    data: st.DataObject, both: tuple[Case, Drop]
) -> None:
    case, drop = both
    store = run(case, drop, data, is_dropped=True)
    left = withdrawn(store)
    if not left:
        return
    key, value = data.draw(st.sampled_from(left))
    store.finals.append((key, value))
    outcome = verdict(case, store.finals, store.rejected, store.series, [(0, case.end)])
    assert outcome.findings.number("difference")
    if not decode("bar", value)["synthetic"]:
        assert outcome.findings.counts["difference", "withdrawn"] == 1


# -- where rules and sessions change ------------------------------------------------------------


@dataclass(frozen=True)
class DroppedLife:
    """Workers that come and go by rules that change; while none runs a series is dropped.

    Attributes:
        case: the log.
        script: how it is applied.
        turn: before which the series is dropped.
        drop: which, and where.
    """

    case: Case
    script: Script
    turn: int
    drop: Drop

    def lived(self, *, is_dropped: bool = True) -> Life:
        """What became of it."""
        meanwhile = self.turn, partial(withdraw, drop=self.drop) if is_dropped else _nothing
        return self.script.play(self.case, PERIODS, meanwhile=meanwhile)

    def without(self, life: Life) -> DroppedLife:
        """The log that never had them; of which series a tick is, the rules of ``life`` say."""
        drop, rows = self.drop, series_rows(life.store.series).rules
        regimes = Regimes.of(rows, life.schedule.records, life.rules)
        ticks = []
        for tick in self.case.ticks:
            rule = NameRule(regimes.at(tick.offset).rules.fold_case is True)
            is_dropped = rule.normalise(tick.symbol) == drop.symbol
            if tick.is_garbage or not is_dropped or tick.offset >= drop.end.ticks:
                ticks.append(tick)
        beats = without(self.case, drop).beats
        return replace(self, case=replace(self.case, ticks=ticks, beats=beats))


def _nothing(_: Topics) -> None:
    pass


@st.composite
def dropped_lives(draw: st.DrawFn) -> DroppedLife:
    case = draw(logs())
    case = replace(case, beats=in_turn(case.beats))
    script = draw(scripts(case))
    turn = draw(st.integers(0, len(script.turns) - 1))
    applied = script.turns[turn - 1].end if turn else 0
    used = max((b.offset + 1 for b in case.beats if b.barrier <= applied), default=0)
    last = case.beats[-1].offset + 1 if case.beats else 0
    end = WithdrawnEnd(
        draw(st.integers(applied, case.end)), draw(st.integers(used, max(used, last)))
    )
    return DroppedLife(
        case, script, turn, Drop(draw(st.sampled_from(sorted(case.rows))), applied, end)
    )


def stands(life: Life) -> list[dict[bytes, bytes]]:
    """The minutes and the upper bars that stand."""
    return [standing(life.store.finals), *map(standing, life.store.uppers.values())]


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(dropped_lives())
def test_where_rules_change_what_stands_is_as_if_they_had_never_been_there(
    one: DroppedLife,
) -> None:
    life = one.lived()
    assert stands(life) == stands(one.without(life).lived(is_dropped=False))


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), dropped_lives())
def test_where_rules_change_it_verifies_before_and_after(
    data: st.DataObject, one: DroppedLife
) -> None:
    life = one.lived()
    outcome = judged(life, cuts(data.draw, 0, life.case.end))
    assert differences(outcome) == []
    ticks = outcome.accounts
    assert ticks.ticks == ticks.in_bars + ticks.open + ticks.late + ticks.refused + (
        ticks.off_session + ticks.withdrawn
    )
    left = withdrawn(life.store)
    if left:
        life.store.finals.append(data.draw(st.sampled_from(left)))
        assert judged(life).findings.number("difference")
