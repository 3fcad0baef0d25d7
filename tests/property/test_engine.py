"""Laws of a partition's engine: chunks, barriers and crashes never change a bar."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barstream.errors import LostChunk
from barstream.model.rejection import Reason
from tests.examples import examples
from tests.plain_bar import in_plain
from tests.property.engine_cases import (
    Beat,
    Case,
    Store,
    cases,
    chunk,
    cuts,
    deliver,
    feed,
    finals_of,
)


def closing_offsets(case: Case) -> list[int]:
    """Where each heartbeat takes effect when it comes in time: none overtakes the one before."""
    found, at = [], 0
    for beat in case.beats:
        if case.waits(beat):
            at = max(at, beat.barrier)
        found.append(at)
    return found


@pytest.mark.law("L6")
@settings(max_examples=examples(200), deadline=None)
@given(st.data(), cases())
def test_any_cut_and_any_delivery_before_the_barrier_gives_the_bars_closed_at_the_barrier(
    data: st.DataObject, case: Case
) -> None:
    # ticks  |--- chunk ---|------ chunk ------|---|
    # hb     ^ or ^ or ^   ^ but not after this one, which holds its barrier
    engine = case.engine()
    parts = cuts(data.draw, 0, case.end)
    effective = closing_offsets(case)
    given_out = 0
    for start, end in parts:
        must = sum(at <= end for at in effective)
        upto = max(given_out, data.draw(st.integers(must, len(case.beats))))
        deliver(engine, case.beats[given_out:upto])
        given_out = upto
        feed(engine, case.ticks, start, end)
    deliver(engine, case.beats[given_out:])
    plain = case.plain()
    counts = engine.take_counts()
    assert len(engine.waiting) == sum(
        case.waits(beat) and at > case.end for beat, at in zip(case.beats, effective, strict=True)
    )
    found = finals_of(engine)
    for name, series in plain.items():
        assert [in_plain(bar) for bar in found.get(name, [])] == series.finals
    assert counts.early_heartbeats == sum(
        not case.waits(beat) or (at <= case.end and not case.legal(beat))
        for beat, at in zip(case.beats, effective, strict=True)
    )
    assert counts.rejected.get(Reason.INVALID, 0) == sum(t.price is None for t in case.ticks)
    for reason in (Reason.LATE, Reason.OFF_SESSION):
        expected = sum(why == reason for s in plain.values() for _, why in s.rejected)
        assert counts.rejected.get(reason, 0) == expected


@settings(max_examples=examples(150), deadline=None)
@given(st.data(), cases())
def test_a_heartbeat_later_than_its_barrier_closes_at_the_position_reached(
    data: st.DataObject, case: Case
) -> None:
    # barrier at 4, chunk [0, 9) applied, then the heartbeat: close_offset 9
    engine = case.engine()
    positions: list[int] = []
    for start, end in cuts(data.draw, 0, case.end):
        upto = data.draw(st.integers(len(positions), len(case.beats)))
        deliver(engine, case.beats[len(positions) : upto])
        positions += [start] * (upto - len(positions))
        feed(engine, case.ticks, start, end)
    deliver(engine, case.beats[len(positions) :])
    positions += [case.end] * (len(case.beats) - len(positions))
    found = finals_of(engine)
    for name, series in case.plain(positions).items():
        assert [in_plain(bar) for bar in found.get(name, [])] == series.finals


@pytest.mark.law("L7")
@settings(max_examples=examples(200), deadline=None)
@given(cases())
def test_an_early_heartbeat_closes_nothing_and_is_counted(case: Case) -> None:
    early = [
        Beat(b.offset, b.symbol, b.minute_us, 0, b.minute_us) for b in case.beats
    ]  # appended before their minute was over
    engine = case.engine()
    deliver(engine, early)
    feed(engine, case.ticks, 0, case.end)
    assert engine.take_counts().early_heartbeats == len(early)
    assert not len(engine.waiting)
    found = finals_of(engine)
    silent = Case(case.rows, case.rules, case.ticks, [], case.end)
    for name, series in silent.plain().items():
        assert [in_plain(bar) for bar in found.get(name, [])] == series.finals


def run(case: Case, parts: list[tuple[int, int]]) -> Store:
    """The log without a crash, heartbeats as early as can be, flushed after each chunk."""
    engine, store = case.engine(), Store()
    deliver(engine, case.beats)
    for start, end in parts:
        feed(engine, case.ticks, start, end)
        store.flush(engine)
    return store


@pytest.mark.law("L15")
@settings(max_examples=examples(200), deadline=None)
@given(st.data(), cases())
def test_after_a_crash_at_any_point_the_finals_are_the_same_bytes(
    data: st.DataObject, case: Case
) -> None:
    # flush | chunks not flushed | crash -> rows of the last flush, everything after it again
    engine, store = case.engine(), Store()
    store.flush(engine)
    seen_beats = 0
    for start, end in cuts(data.draw, 0, case.end):
        must = sum(at <= end for at in closing_offsets(case))
        upto = max(seen_beats, data.draw(st.integers(must, len(case.beats))))
        deliver(engine, case.beats[seen_beats:upto])
        seen_beats = upto
        feed(engine, case.ticks, start, end)
        if data.draw(st.booleans()):
            store.flush(engine)
        if data.draw(st.integers(0, 3)) == 0:
            break
    engine, position, beat_position = store.restored(
        case.rules, case.provider, lambda _broker, _symbol: None
    )
    deliver(engine, (beat for beat in case.beats if beat.offset >= beat_position))
    # what comes again may begin below the position: a group commit is only a hint
    again = max(0, position - data.draw(st.integers(0, 6)))
    for start, end in cuts(data.draw, again, case.end) if again < case.end else []:
        feed(engine, case.ticks, start, end)
        if data.draw(st.booleans()):
            store.flush(engine)
    store.flush(engine)
    expected = run(case, [(0, case.end)])
    assert sorted(store.finals, key=str) == sorted(expected.finals, key=str)
    assert sorted(store.rejected, key=str) == sorted(expected.rejected, key=str)
    assert store.series == expected.series


@settings(max_examples=examples(150), deadline=None)
@given(cases())
def test_a_series_comes_back_from_its_row_as_it_was(case: Case) -> None:
    engine, store = case.engine(), Store()
    deliver(engine, case.beats)
    feed(engine, case.ticks, 0, case.end)
    store.flush(engine)
    again, _, _ = store.restored(case.rules, case.provider, lambda _broker, _symbol: None)
    kept = [series for series in engine.state if series.key in store.series]
    assert len(again.state) == len(kept)
    for before in kept:
        after = again.state.get(before.broker, before.symbol)
        assert after is not None
        # open bars with their exact volume, and everything else but slot and looked-up session
        for name in (
            "open_bars", "previous_close", "filled_date", "first_tick_us", "last_trading_date",
            "asleep_us",
        ):  # fmt: skip
            assert getattr(after, name) == getattr(before, name), name
        for name in ("closed_until_us", "watermark_us", "since_timely"):
            column, old = getattr(again.state, name), getattr(engine.state, name)
            assert column[after.slot] == old[before.slot], name


@settings(max_examples=examples(150), deadline=None)
@given(st.data(), cases(), st.integers(1, 6))
def test_what_is_applied_in_pieces_for_want_of_room_gives_the_same_bars(
    data: st.DataObject, case: Case, room: int
) -> None:
    # room for a few rows: apply, write, apply the rest of the same chunk, write...
    engine, store = case.engine(), Store()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("barstream.partition.machine.FULL_BACKLOG", room)
        patch.setattr("barstream.partition.outbox.FULL_BACKLOG", room)
        deliver(engine, case.beats)
        for start, end in cuts(data.draw, 0, case.end):
            whole = False
            while not whole:
                whole = engine.apply_ticks(*chunk(case.ticks, start, end), 0, at_end=False)
                store.flush(engine)
                engine.release()
        while engine.outbox.dirty:
            store.flush(engine)
            engine.release()
    expected = run(case, [(0, case.end)])
    assert sorted(store.finals, key=str) == sorted(expected.finals, key=str)
    assert sorted(store.rejected, key=str) == sorted(expected.rejected, key=str)
    assert store.series == expected.series


@pytest.mark.law("L20")
@settings(max_examples=examples(100), deadline=None)
@given(st.data(), cases())
def test_a_chunk_below_the_position_changes_nothing_and_one_above_is_a_lost_chunk(
    data: st.DataObject, case: Case
) -> None:
    middle = data.draw(st.integers(1, case.end))
    engine = case.engine()
    feed(engine, case.ticks, 0, middle)
    engine.take()
    engine.take_counts()
    feed(engine, case.ticks, 0, data.draw(st.integers(0, middle)))
    assert engine.position == middle
    assert not engine.outbox.has_rows
    assert not engine.take_counts().rejected
    with pytest.raises(LostChunk, match=str(middle)):
        engine.apply_ticks(*chunk(case.ticks, middle + 1, case.end + 2), 0, at_end=False)
    assert engine.position == middle


@pytest.mark.law("L19")
@settings(max_examples=examples(150), deadline=None)
@given(st.data(), cases())
def test_no_live_row_of_a_closed_bucket_and_none_twice_with_the_same_ticks(
    data: st.DataObject, case: Case
) -> None:
    engine, store = case.engine(), Store()
    deliver(engine, case.beats)
    for start, end in cuts(data.draw, 0, case.end):
        feed(engine, case.ticks, start, end)
        store.flush(engine)
    finals = dict(store.finals)
    assert len(finals) == len(store.finals)
    last = dict(store.live)
    for key, value in finals.items():
        # the final is the last word on its bucket, in both topics
        assert last[key] == value
        assert store.live.count((key, value)) == 1
    assert len(store.live) == len(set(store.live))
