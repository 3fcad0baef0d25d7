"""Whatever rules and sessions held when: what was judged by them is right, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, nan, nextafter
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barstream.codecs.avro.body import decode, encode
from barstream.codecs.topics.bar import decode_bar
from barstream.codecs.topics.row_version import ROW_VERSION
from barstream.codecs.topics.rules import RulesRow
from barstream.log.rules import Regime, Regimes
from barstream.log.selection import Selection
from barstream.market.schedule import ScheduleIndex, Session
from barstream.model.period import Period
from barstream.model.time import DAY_US, MINUTE_US
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.replay.close_record import recorded_closes
from barstream.replay.heartbeats import Beats, from_finals
from barstream.replay.rules import RulesInTurn
from barstream.replay.tick_block import without_rejected
from barstream.rules.series import FOREVER_US
from barstream.verify.findings import Finding
from tests.examples import examples
from tests.property.engine_cases import Store, cuts
from tests.property.rules_cases import (
    Life,
    Topics,
    WorkersByClock,
    differences,
    judged,
    lives,
)
from tests.property.verify_cases import Row, beats_of, series_rows, versions

#: The version of the layout before open bars had a turnover.
BEFORE_TURNOVER = b"\1\2"
PERIODS = tuple(map(Period.parse, ("5m", "1h", "1d", "1wk")))
#: Of a row of rules: where it stands, and what it says of the schedule as a whole.
_OF_OTHERS: dict[str, Any] = {
    "from_offset": 0, "heartbeat_offset": 0, "schedule": {}, "sessions": 0, "kept": {},
    "turn": 0,
}  # fmt: skip


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
    engine = PartitionMachine(
        0, in_turn.rules, in_turn.provider, lambda _broker, _symbol: None,
        MachineOptions(publish_off_session=in_turn.row.publish_off_session),
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
            columns = without_rejected(columns, part, said_of(life, "too_many_series"))
            if not part.append_time:
                columns = without_rejected(columns, part, said_of(life, "future"))
            engine.apply_ticks(part, columns, 0, at_end=False)
        anew.flush(engine)
    for _ in in_turn.reach(end, engine, beats):
        anew.flush(engine)
    beats.give(engine, end, in_turn.number)
    engine.release()
    anew.flush(engine)
    return {key or b"": value or b"" for key, value in anew.finals}


def said_of(life: Life, reason: str) -> pl.DataFrame:
    """Ticks that stand in ``ticks_rejected`` for a reason."""
    rows = [
        (int(said["offset"]), said["reason"].decode())
        for _, _, said in life.store.rejected
        if said["reason"] == reason.encode()
    ]
    return pl.DataFrame(rows, {"tick_offset": pl.Int64, "reason": pl.String}, orient="row")


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), lives())
def test_the_regimes_of_one_series_say_of_it_what_those_of_all_say(
    data: st.DataObject, life: Life
) -> None:
    """Where rows of others changed, too: a regime that begins says what came after what."""
    rules, records = series_rows(life.store.series).rules, life.schedule.records
    # compaction may have taken some
    kept = data.draw(st.lists(st.booleans(), min_size=len(records), max_size=len(records)))
    records = [each for each, is_kept in zip(records, kept, strict=True) if is_kept]
    every = Regimes.of(rules, records, life.rules)
    for symbol in life.case.rows:
        name = "B", symbol
        one = Regimes.of(rules, records, life.rules, name)
        assert {each.place for each in every.all} <= {each.place for each in one.all}
        assert one.told_from == every.told_from
        for offset in range(life.case.end + 1):
            here, there = one.at(offset), every.at(offset)
            assert replace(here.rules, **_OF_OTHERS) == replace(there.rules, **_OF_OTHERS)
            assert _sessions(here, name) == _sessions(there, name)
            dates = {each.trading_date for each in life.case.rows[symbol]}
            for day_us in (date * DAY_US for date in dates):
                lost = every.may_have_lost(name, day_us, offset)
                assert one.may_have_lost(name, day_us, offset) == lost


def _sessions(regime: Regime[ScheduleIndex], name: tuple[str, str]) -> list[Session]:
    schedule = regime.index.for_series(*name)
    return [] if schedule is None else list(schedule.sessions_between(0, FOREVER_US))


@pytest.mark.law("L18")
@settings(max_examples=examples(120), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), lives(("reject",)))
def test_where_rules_change_nothing_right_is_accused(data: st.DataObject, life: Life) -> None:
    assert differences(judged(life, cuts(data.draw, 0, life.case.end))) == []


@settings(max_examples=examples(120), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lives())
def test_where_the_policy_changes_too_nothing_right_is_accused(life: Life) -> None:
    assert differences(judged(life)) == []


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lives(periods=PERIODS))
def test_where_rules_change_no_upper_bar_is_accused(life: Life) -> None:
    assert differences(judged(life)) == []


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), lives())
def test_where_rules_change_no_range_of_time_is_accused(data: st.DataObject, life: Life) -> None:
    if not life.case.ticks:
        return
    ticks, skews_us = life.case.ticks, [row.max_future_skew_us for row in rules_of(life)]
    from_us = data.draw(st.sampled_from(ticks)).time_us // MINUTE_US * MINUTE_US
    # ticks of the range were not appended before; see `Verification._from`
    since_us = from_us - max(skews_us) - MINUTE_US
    first = next(
        (tick.offset for tick in ticks if (tick.appended_us or 0) >= since_us), life.case.end
    )
    to_us = data.draw(st.sampled_from([None, from_us + 10 * MINUTE_US]))
    wanted = Selection(None, None, from_us, to_us)
    assert differences(judged(life, [(first, life.case.end)], wanted)) == []


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lives(periods=PERIODS))
def test_where_no_schedule_is_used_any_more_nothing_right_is_accused(life: Life) -> None:
    assert differences(judged(replace(life, rules=replace(life.rules, schedule=None)))) == []


def rules_of(life: Life) -> list[RulesRow]:
    """All that the log says of them, and those of now."""
    return [*series_rows(life.store.series).rules, life.rules]


def newest(rows: Sequence[Row]) -> dict[int, dict[str, Any]]:
    """The newest version of each bar, by its place."""
    places = {key: at for at, (key, _) in enumerate(rows)}
    return {at: decode("bar", rows[at][1] or b"") for at in sorted(places.values())}


@dataclass(frozen=True)
class Lie:
    """What was published, with one thing changed, and what verifying has to name."""

    life: Life
    rule: str | None = None
    field: str | None = None
    timeframe: str = "1m"
    bucket_us: int | None = None
    offset: int | None = None

    def is_named(self, found: Finding) -> bool:
        """Whether a finding is about it."""
        asked = {
            "rule": self.rule, "field": self.field, "bucket_us": self.bucket_us,
            "offset": self.offset,
        }  # fmt: skip
        return (found.kind, found.timeframe) == ("difference", self.timeframe) and all(
            value is None or getattr(found, name) == value for name, value in asked.items()
        )


Draw = Callable[[Any], Any]
Plant = Callable[[Life, Draw], Lie | None]


def changed(
    change: Callable[[Life, dict[str, Any]], dict[str, Any]],
    *,
    rule: str | None = None,
    field: str | None = None,
    of: Callable[[dict[str, Any]], bool] = lambda _: True,
) -> Plant:
    """A minute in which fields are others."""

    def plant(life: Life, draw: Draw) -> Lie | None:
        bars = {at: row for at, row in newest(life.store.finals).items() if of(row)}
        if not bars:
            return None
        at = draw(st.sampled_from(sorted(bars)))
        finals, row = list(life.store.finals), bars[at]
        finals[at] = finals[at][0], encode("bar", row | change(life, row))
        told = replace(life, store=replace(life.store, finals=finals))
        return Lie(told, rule, field, bucket_us=row["bucket_start"])

    return plant


def tombstone(life: Life, draw: Draw) -> Lie | None:
    bars = newest(life.store.finals)
    if not bars:
        return None
    row = bars[at := draw(st.sampled_from(sorted(bars)))]
    finals = [*life.store.finals, (life.store.finals[at][0], None)]
    told = replace(life, store=replace(life.store, finals=finals))
    return Lie(told, "missing", bucket_us=row["bucket_start"])


def low_of_five_minutes(life: Life, draw: Draw) -> Lie | None:
    period = PERIODS[0]
    rows = list(life.store.uppers.get(period, ()))
    bars = newest(rows)
    if not bars:
        return None
    row = bars[at := draw(st.sampled_from(sorted(bars)))]
    rows[at] = rows[at][0], encode("bar", row | {"low": row["low"] - 1})
    uppers = life.store.uppers | {period: rows}
    told = replace(life, store=replace(life.store, uppers=uppers))
    return Lie(told, "field", "low", "5m", row["bucket_start"])


def rejected_tick_in_a_bar(life: Life, draw: Draw) -> Lie | None:
    rows = [row for row in newest(life.store.finals).values() if row["tick_count"]]
    if not rows:
        return None
    offset = draw(st.sampled_from([row["last_offset"] for row in rows]))
    reason = draw(st.sampled_from(["late", "off_session", "future"]))
    said = {"offset": b"%d" % offset, "reason": reason.encode(), "partition": b"0"}
    rejected = [*life.store.rejected, (b"", b"", said)]
    told = replace(life, store=replace(life.store, rejected=rejected))
    return Lie(told, "rejected", offset=offset)


def tick_rejected_twice(life: Life, draw: Draw) -> Lie | None:
    if not life.store.rejected:
        return None
    twice = draw(st.sampled_from(life.store.rejected))
    told = replace(life, store=replace(life.store, rejected=[*life.store.rejected, twice]))
    return Lie(told, "rejected", offset=int(twice[2]["offset"]))


def beyond(life: Life, _: dict[str, Any]) -> dict[str, Any]:
    """A close above all that was applied."""
    position = series_rows(life.store.series).position
    assert position is not None
    return {"close_offset": position.next_offset + 1}


#: As a bar of a version that did not add it up is read.
NO_TURNOVER: dict[str, Any] = {"turnover": None, "vwap": None, "turnover_exact": None}
LIES: dict[str, Plant] = {
    "high": changed(lambda _, row: {"high": row["high"] + 1}, field="high"),
    "open": changed(lambda _, row: {"open": row["open"] + 1}, field="open"),
    "close": changed(lambda _, row: {"close": row["close"] + 1}, field="close"),
    "volume by one ulp": changed(
        lambda _, row: {"volume": nextafter(row["volume"], inf)}, field="volume"
    ),
    "turnover by one ulp": changed(
        lambda _, row: {"turnover": nextafter(row["turnover"], inf)}, field="turnover"
    ),
    "vwap by one ulp": changed(
        lambda _, row: {"vwap": nextafter(row["vwap"], inf)}, field="vwap",
        of=lambda row: row["vwap"] is not None,
    ),
    "a vwap of nothing": changed(
        lambda _, row: {"vwap": nan}, field="vwap", of=lambda row: row["vwap"] is None
    ),
    "no turnover": changed(lambda _, row: NO_TURNOVER, field="turnover"),
    "open time": changed(
        lambda _, row: {"open_time": row["open_time"] + 1}, field="open_time",
        of=lambda row: row["tick_count"] > 0,
    ),
    "trading date": changed(
        lambda _, row: {"trading_date": row["trading_date"] + 100}, field="trading_date"
    ),
    "close offset": changed(beyond, rule="close"),
    "close offset below its ticks": changed(
        lambda _, row: {"close_offset": row["last_offset"]}, of=lambda row: row["tick_count"] > 0
    ),
    "a tick of another bar": changed(
        lambda _, row: {"tick_count": row["tick_count"] + 1}, field="tick_count"
    ),
    "a live record": changed(lambda _, row: {"close_offset": None}),
    "a tombstone": tombstone,
    "low of 5m": low_of_five_minutes,
    "a rejected tick in a bar": rejected_tick_in_a_bar,
    "a tick rejected twice": tick_rejected_twice,
}  # fmt: skip


@pytest.mark.law("L18")
@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), lives(periods=PERIODS[:1]))
def test_where_rules_change_every_lie_is_named(data: st.DataObject, life: Life) -> None:
    for name, plant in LIES.items():
        lie = plant(life, data.draw)
        if lie is not None:
            found = judged(lie.life).findings.kept
            assert any(map(lie.is_named, found)), (name, lie, found)


def of_two_versions(store: Topics, since: int) -> Topics:
    """What it would be if a version without turnover had judged what is below ``since``."""
    series = dict(store.series)
    for rules in series_rows(store.series).rules:
        if rules.from_offset < since:
            series[rules.key] = BEFORE_TURNOVER + series[rules.key].removeprefix(ROW_VERSION)
    finals = list(store.finals)
    for at, (key, value) in enumerate(finals):
        if value is None:
            continue
        row = decode("bar", value)
        first, close = row["first_offset"], row["close_offset"]
        if close <= since if row["synthetic"] else first < since:
            finals[at] = key, encode("bar", row | NO_TURNOVER)[:-3]
    return replace(store, finals=finals, series=series)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), lives())
def test_bars_of_a_version_without_turnover_are_told_and_not_accused(
    data: st.DataObject, life: Life
) -> None:
    """Old version | new version: an open bar goes on without, the next one has it."""
    rows = series_rows(life.store.series).rules
    if not rows:
        return
    since = data.draw(st.sampled_from([row.from_offset for row in rows]))
    store = of_two_versions(life.store, since)
    outcome = judged(replace(life, store=store))
    assert differences(outcome) == []
    newest_rows = {key: value for key, value in store.finals if value is not None}
    count = sum(decode_bar(value).turnover is None for value in newest_rows.values())
    told = [note for note in outcome.notes if f"{count:,} finals have no turnover" in note]
    assert bool(told) == bool(count), outcome.notes


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lives(workers=WorkersByClock))
def test_where_a_clock_said_what_was_future_nothing_right_is_accused(life: Life) -> None:
    assert differences(judged(life)) == []


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lives(("reject",), workers=WorkersByClock))
def test_a_replay_takes_the_log_s_word_for_what_a_clock_refused(life: Life) -> None:
    published = {key or b"": value or b"" for key, value in life.store.finals}
    assert replayed(life) == published


@pytest.mark.law("L23")
@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lives(("reject",)))
def test_a_replay_by_the_rules_of_the_log_gives_the_published_bytes(life: Life) -> None:
    published = {key or b"": value or b"" for key, value in life.store.finals}
    assert replayed(life) == published
