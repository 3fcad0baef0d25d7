"""What a trace tells of a series is what the definition of a bar does, minute by minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barstream.market.schedule import SessionRow
from barstream.model.key import series_key
from barstream.model.time import MINUTE_US
from barstream.partition.machine import PartitionMachine
from barstream.partition.trace import (
    Acceptance,
    Cause,
    Closure,
    Event,
    Fate,
    HeartbeatNote,
    Refusal,
    Rewrite,
    Trace,
)
from barstream.rules.series import Rules
from tests.examples import examples
from tests.plain_bar import in_plain
from tests.property.engine_cases import (
    Beat,
    Case,
    Tick,
    cases,
    chunk,
    cuts,
    deliver,
    feed,
    finals_of,
)
from tests.reference.log import LoggedTick
from tests.reference.series import MINUTE, PlainSeries

#: One session of an hour.
HOURS = {"ALPHA": [SessionRow("B", "ALPHA", 0, 0, 0, 60 * MINUTE)]}


@dataclass
class Account:
    """What becomes of each thing that is of one series.

    Attributes:
        ticks: minute of each that is in a bar, and whether that was closed; why it is in none.
        closed: what closed each minute, and where that stands.
        finals: of those that have a bar, its close offset.
        passed: why others that were in session have none.
        made: minutes that late ticks have made bars of, and by which.
        revised: minutes.
        beats: what became of each heartbeat that was waited for.
    """

    ticks: dict[int, tuple[int, bool] | str] = field(default_factory=dict)
    closed: dict[int, tuple[str, int]] = field(default_factory=dict)
    finals: dict[int, int] = field(default_factory=dict)
    passed: dict[int, str] = field(default_factory=dict)
    made: dict[int, int] = field(default_factory=dict)
    revised: set[int] = field(default_factory=set)
    beats: dict[int, Fate] = field(default_factory=dict)


def by_definition(case: Case, name: str, delivered_at: Sequence[int]) -> Account:
    """The account of the reference: one event after the other, and what it changes."""
    account, series = Account(), case.series(name)
    for tick in case.ticks:
        if tick.symbol == name and tick.price is None:
            account.ticks[tick.offset] = "invalid"
    for at, _, event in case.log(delivered_at):
        if event.symbol != name:
            continue
        before = replace(series, bars=dict(series.bars), finals=list(series.finals))
        if isinstance(event, LoggedTick):
            refused = len(series.rejected)
            series.tick(event.offset, event.time_us, event.price, event.size)
            why = series.rejected[-1][1] if len(series.rejected) > refused else None
            _account_tick(account, before, series, event, why)
        else:
            series.heartbeat(event.minute_us, at)
            fate = Fate.PASSED if series.closed_until == before.closed_until else Fate.CLOSED
            account.beats[event.offset] = Fate.UNPRICED if before.watermark is None else fate
        cause = "watermark" if isinstance(event, LoggedTick) else "heartbeat"
        _account_closed(account, before, series, (cause, event.offset))
    return account


def _account_tick(
    account: Account, before: PlainSeries, after: PlainSeries, tick: LoggedTick, why: str | None
) -> None:
    minute, closed_until = after.minute_of(tick.time_us), before.closed_until
    is_late = closed_until is not None and minute < closed_until
    account.ticks[tick.offset] = (minute, is_late) if why is None else why
    if is_late:
        account.made |= dict.fromkeys(after.bars.keys() - before.bars.keys(), tick.offset)
        account.revised |= {m for m, bar in before.bars.items() if bar is not after.bars[m]}


def _account_closed(
    account: Account, before: PlainSeries, after: PlainSeries, cause: tuple[str, int]
) -> None:
    finals = after.finals[len(before.finals) :]
    new = {bar["bucket"]: bar["offsets"][-1] for bar in finals}
    account.finals |= new
    start = after.first_bucket if before.closed_until is None else before.closed_until
    for minute in range(start or 0, after.closed_until or 0, MINUTE):
        account.closed[minute] = cause
        if minute not in new and after.session_of_minute(minute) is not None:
            has_price = before.last_close is not None or any(each < minute for each in new)
            account.passed[minute] = "asleep" if has_price else "no_price"


def by_trace(trace: Trace) -> Account:
    """The account of a trace, with what holds of any order and number of its events."""
    account, causes, last_offset = Account(), set[tuple[Cause, int]](), -1
    for event in trace:
        match event:
            case Acceptance() | Refusal():
                assert event.offset > last_offset
                last_offset = event.offset
                account.ticks[last_offset] = (
                    str(event.reason)
                    if isinstance(event, Refusal)
                    else (event.minute_us, event.is_late)
                )
            case HeartbeatNote(offset, _, fate, _):
                assert account.beats.get(offset, Fate.WAITING) is Fate.WAITING
                account.beats[offset] = fate
            case Closure():
                assert (event.cause, event.offset) in causes
                _take_closure(account, event)
            case Rewrite(offset, made, revised):
                assert (Cause.LATE_TICK, offset) in causes
                assert not dict(made).keys() & (account.made.keys() | account.finals.keys())
                account.made |= dict(made)
                account.revised |= set(revised)
        causes |= _causes(event)
    return account


def _take_closure(account: Account, closure: Closure) -> None:
    """One of each minute, and with a bar or in a gap."""
    gaps = {start: gap.why for gap in closure.gaps for start in gap.minutes}
    finals = dict.fromkeys(closure.finals, closure.close_offset)
    assert not finals.keys() & (account.finals.keys() | account.passed.keys() | gaps.keys())
    account.finals |= finals
    account.passed |= gaps


def _causes(event: Event) -> set[tuple[Cause, int]]:
    """What may be caused by it."""
    match event:
        case Acceptance(offset, _, is_late):
            return {(Cause.LATE_TICK if is_late else Cause.WATERMARK, offset)}
        case HeartbeatNote(offset):
            return {(Cause.HEARTBEAT, offset)}
        case _:
            return set()


def run(draw: Callable[..., Any], case: Case, trace: Trace) -> tuple[PartitionMachine, list[int]]:
    """A log through a machine, cut and delivered anyhow; where it was when each heartbeat came."""
    engine, positions = case.engine(), list[int]()
    engine.trace = trace
    for start, end in cuts(draw, 0, case.end):
        upto = draw(st.integers(len(positions), len(case.beats)))
        deliver(engine, case.beats[len(positions) : upto])
        positions += [start] * (upto - len(positions))
        records, columns = chunk(case.ticks, start, end)
        keys: list[bytes | None] = [series_key("B", (key or b"").decode()) for key in records.keys]
        engine.apply_ticks(replace(records, keys=keys), columns, 0, at_end=False)
    deliver(engine, case.beats[len(positions) :])
    return engine, positions + [case.end] * (len(case.beats) - len(positions))


@pytest.mark.law("L4")
@settings(max_examples=examples(300), deadline=None)
@given(st.data(), cases(), st.sampled_from(["reject", "revise"]))
def test_a_trace_tells_of_each_minute_what_the_definition_does(
    data: st.DataObject, case: Case, policy: Literal["reject", "revise"]
) -> None:
    # every tick in one minute or refused for a reason, every final by one cause that precedes it
    case = replace(case, rules=replace(case.rules, late_policy=policy))
    name = data.draw(st.sampled_from(sorted(case.rows)))
    trace = Trace("B", name)
    engine, positions = run(data.draw, case, trace)
    plain, told = by_definition(case, name, positions), by_trace(trace)
    assert told.ticks == plain.ticks
    assert told.finals == plain.finals
    assert told.passed == plain.passed
    assert told.made == plain.made
    # what is made and revised at once is made
    assert told.revised <= plain.revised
    assert plain.revised - told.revised <= told.made.keys()
    for minute, (cause, offset) in plain.closed.items():
        closure = trace.closure_of(minute)
        assert closure is not None
        assert (closure.cause, closure.offset) == (cause, offset)
    _beats_hold(case, name, engine, plain, told)
    series = case.plain(positions)[name]
    if policy == "reject":
        assert [in_plain(bar) for bar in finals_of(engine).get(name, [])] == series.finals
    assert sum(why == "no_price" for why in told.passed.values()) == series.unpriced


def _beats_hold(
    case: Case, name: str, engine: PartitionMachine, plain: Account, told: Account
) -> None:
    mine = [beat for beat in case.beats if beat.symbol == name]
    assert told.beats.keys() == {beat.offset for beat in mine}
    waiting = {at for at, fate in told.beats.items() if fate is Fate.WAITING}
    early = {beat.offset for beat in mine if not case.legal(beat)} - waiting
    assert waiting == {beat.offset for beat in engine.waiting.release(1 << 60)} & told.beats.keys()
    assert {at for at, fate in told.beats.items() if fate is Fate.EARLY} == early
    used = {at: fate for at, fate in told.beats.items() if at not in waiting | early}
    assert used == plain.beats


def ticks_at(*minutes: float) -> list[Tick]:
    return [
        Tick(at, "ALPHA", round(minute * MINUTE_US), 1.0 + at) for at, minute in enumerate(minutes)
    ]


def traced(case: Case, *rules: Rules) -> Trace:
    """One record at a time; every further rules are changed to when a third is applied."""
    trace = Trace("B", "ALPHA")
    engine = case.engine()
    engine.trace = trace
    deliver(engine, case.beats)
    turns = {case.end * number // (len(rules) + 1): each for number, each in enumerate(rules, 1)}
    for offset in range(case.end):
        if offset in turns:
            engine.change_rules(turns[offset], publish_off_session=False)
        feed(engine, case.ticks, offset, offset + 1)
    return trace


def test_a_shorter_grace_is_told_as_the_cause_where_it_begins() -> None:
    # grace 5 min: ticks in 1 and 4 close nothing | grace 0 from offset 2 on: 1 to 3 are over
    case = Case(HOURS, Rules(300_000_000), ticks_at(1.5, 4.5, 4.6, 4.7), [], 4)
    closures = [each for each in traced(case, Rules(0)) if isinstance(each, Closure)]
    ((cause, offset, finals),) = [(one.cause, one.offset, one.finals) for one in closures[-1:]]
    assert (cause, offset) == (Cause.GRACE, 2)
    assert finals == (MINUTE_US, 2 * MINUTE_US, 3 * MINUTE_US)


def test_what_wakes_a_series_is_its_next_tick_in_time() -> None:
    # revise: a heartbeat closes 1 to 8; a late tick in 6 wakes nothing, the one in 10 does
    beats = [Beat(0, "ALPHA", 8 * MINUTE, 1, 1 << 50)]
    rules = Rules(0, late_policy="revise")
    trace = traced(Case(HOURS, rules, ticks_at(1.5, 6.5, 10.5), beats, 3))
    assert [trace.woken_by(minute * MINUTE) for minute in (0, 5, 10)] == [0, 2, None]


def test_a_series_that_nobody_asks_for_is_not_told() -> None:
    case = Case(HOURS, Rules(0), ticks_at(1.5, 10.5), [Beat(1, "ALPHA", MINUTE_US, 0, 1 << 50)], 2)
    trace, engine = Trace("B", "BETA"), case.engine()
    engine.trace = trace
    deliver(engine, case.beats)
    feed(engine, case.ticks, 0, case.end)
    assert Counter(type(event).__name__ for event in trace) == {}
