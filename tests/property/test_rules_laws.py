"""Whatever rules and sessions held when: what was judged by them is right, and nothing else is."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barstream.codecs.avro import decode, encode
from barstream.core.period import Period
from barstream.engine.partition import PartitionEngine
from barstream.history.regimes import Regimes
from barstream.replay.beats import Beats, from_finals
from barstream.replay.recorded import recorded_closes
from barstream.replay.rules import RulesInTurn
from barstream.verify.task import Outcome
from tests.property.engine_cases import Store, cuts
from tests.property.rules_cases import Life, lives
from tests.property.verify_cases import beats_of, series_rows, verdict, versions

PERIODS = tuple(map(Period.parse, ("5m", "1h", "1d", "1wk")))


def judged(life: Life, parts: list[tuple[int, int]] | None = None) -> Outcome:
    """What verifying says of a life."""
    store = life.store
    return verdict(
        life.case, store.finals, store.rejected, store.series, parts or [(0, life.case.end)],
        {period: store.uppers[period] for period in store.periods if period in store.uppers},
        told=life.told,
    )  # fmt: skip


def replayed(life: Life) -> dict[bytes, bytes]:
    """Finals by key, derived anew by the closes and the rules that the log says."""
    case, store = life.case, life.store
    rows = series_rows(store.series)
    regimes = Regimes.of(rows.rules, life.schedule.records, life.rules)
    end = 0 if rows.position is None else rows.position.next_offset
    closes, _ = recorded_closes(versions(store.finals), revises=regimes.revises)
    used = [
        beat for beat in case.beats
        if rows.position is not None and beat.offset < rows.position.heartbeat_offset
    ]  # fmt: skip
    beats = Beats(from_finals(closes, beats_of(used), regimes))
    in_turn = RulesInTurn(regimes, 0, {})
    engine = PartitionEngine(
        0, in_turn.rules, in_turn.provider, lambda _broker, _symbol: None,
        publish_off_session=in_turn.row.publish_off_session,
    )  # fmt: skip
    engine.state.use_schedule(in_turn.provider.index)
    engine.position, anew = 0, Store()
    borders = sorted({0, end, *(at for at in regimes.begin.tolist() if at < end)})
    for begin, stop in pairwise(borders):
        for _ in in_turn.reach(begin, engine, beats):
            anew.flush(engine)
        beats.give(engine, stop, in_turn.number)
        engine.release()
        for part, columns in life.told.decoded(regimes, begin, stop):
            engine.apply_ticks(part, columns, 0, at_end=False)
        anew.flush(engine)
    for _ in in_turn.reach(end, engine, beats):
        anew.flush(engine)
    beats.give(engine, end, in_turn.number)
    engine.release()
    anew.flush(engine)
    return {key or b"": value or b"" for key, value in anew.finals}


def differences(outcome: Outcome) -> list[object]:
    return [each for each in outcome.findings.kept if each.kind == "difference"]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), lives(("reject",)))
def test_where_rules_change_nothing_right_is_accused(data: st.DataObject, life: Life) -> None:
    assert differences(judged(life, cuts(data.draw, 0, life.case.end))) == []


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lives())
def test_where_the_policy_changes_too_nothing_right_is_accused(life: Life) -> None:
    assert differences(judged(life)) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lives(periods=PERIODS))
def test_where_rules_change_no_upper_bar_is_accused(life: Life) -> None:
    assert differences(judged(life)) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), lives())
def test_where_rules_change_a_changed_bar_is_found(data: st.DataObject, life: Life) -> None:
    finals = life.store.finals
    newest = {key: at for at, (key, _) in enumerate(finals)}
    if not newest:
        return
    at = data.draw(st.sampled_from(sorted(newest.values())))
    key, value = finals[at]
    row = decode("bar", value or b"")
    name = data.draw(st.sampled_from(["open", "high", "low", "close", "tick_count"]))
    finals[at] = key, encode("bar", row | {name: row[name] + 1})
    found = differences(judged(life))
    assert found


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lives(("reject",)))
def test_a_replay_by_the_rules_of_the_log_gives_the_published_bytes(life: Life) -> None:
    published = {key or b"": value or b"" for key, value in life.store.finals}
    assert replayed(life) == published


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), lives())
def test_a_tick_of_a_bar_that_is_also_rejected_is_found(data: st.DataObject, life: Life) -> None:
    newest = {key: decode("bar", value or b"") for key, value in life.store.finals}
    offsets = [row["last_offset"] for row in newest.values() if row["last_offset"] is not None]
    if not offsets:
        return
    offset = data.draw(st.sampled_from(offsets))
    reason = data.draw(st.sampled_from(["late", "off_session", "future"]))
    said = {"offset": b"%d" % offset, "reason": reason.encode(), "partition": b"0"}
    life.store.rejected.append((b"", b"", said))
    found = [each for each in judged(life).findings.kept if each.kind == "difference"]
    assert ("rejected", offset) in {(each.rule, each.offset) for each in found}
