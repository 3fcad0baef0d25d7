"""By which rules a partition was judged: rows of the series changelog, one for every change."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import pytest

from barstream.codecs.topics.row_version import ROW_VERSION, VERSION
from barstream.codecs.topics.rules import (
    RulesRow,
    changes_of,
    decode_rules,
    encode_rules,
    is_rules_key,
)
from barstream.config import Settings
from barstream.config.sections import BarSettings, TickSettings
from barstream.kafka.offsets import Extent
from barstream.log.rules import Regimes
from barstream.market.schedule import SessionRow
from barstream.model.time import MINUTE_US, SECOND_US
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.rules.series import Rules
from barstream.runtime.restored_state import restore_engine
from barstream.store.rocksdb import LocalPartition
from barstream.verify.turnover import NOWHERE, turnover_from
from tests.property.engine_cases import Store, Tick, feed
from tests.property.rules_cases import ScheduleTopic
from tests.property.verify_cases import rules_row, series_rows

SCHEMA = Path(__file__).parents[3] / "barstream/schemas/tick.avsc"
RULES = Rules(5 * SECOND_US)
DAY = [SessionRow("B", "X", 0, 0, 0, 240 * MINUTE_US)]


def started(store: Store, schedule: ScheduleTopic, rules: Rules = RULES) -> PartitionMachine:
    """A worker that takes the partition over."""
    engine = PartitionMachine(
        0,
        rules,
        schedule.provider,
        lambda _broker, _symbol: None,
        MachineOptions(judged_by=rules_row(rules)),
    )
    engine.state.use_schedule(schedule.provider.index)
    everything = Extent(0, 1 << 40)
    rows = cast("LocalPartition", store.series)  # what is asked of it, a dict has
    restore_engine(engine, rows, "ticks", None, everything, everything)
    return engine


def loaded() -> ScheduleTopic:
    schedule = ScheduleTopic()
    schedule.load({"X": DAY})
    schedule.read()
    return schedule


def told(store: Store) -> list[RulesRow]:
    return series_rows(store.series).rules


def test_who_takes_over_by_the_rules_there_were_writes_none() -> None:
    store, schedule = Store(), loaded()
    for _ in range(3):
        store.flush(started(store, schedule))
    assert [(row.from_offset, row.schedule) for row in told(store)] == [(0, {0: 1})]


def test_the_first_worker_of_a_version_says_from_where_on_its_bars_are() -> None:
    """The rules are the same, and nobody is alarmed; who verifies knows what bars must have."""
    store, schedule = Store(), loaded()
    engine = started(store, schedule)
    feed(engine, [Tick(at, "X", at * SECOND_US, 1.0) for at in range(3)], 0, 3)
    store.flush(engine)
    for key in [key for key in store.series if is_rules_key(key)]:
        store.series[key] = b"\1\2" + store.series[key].removeprefix(ROW_VERSION)
    assert [row.version for row in told(store)] == [2]
    assert turnover_from(told(store)) == NOWHERE
    for _ in range(2):
        engine = started(store, schedule)
        assert engine.rules_changed == []
        store.flush(engine)
    assert [(row.from_offset, row.version) for row in told(store)] == [(0, 2), (3, VERSION)]
    assert turnover_from(told(store)) == 3
    assert len(Regimes.of(told(store), schedule.records, rules_row(RULES))) == 1


def test_a_reload_that_finds_the_same_writes_none() -> None:
    store, schedule = Store(), loaded()
    engine = started(store, schedule)
    schedule.read()
    engine.schedule_changed()
    store.flush(engine)
    assert len(told(store)) == 1


def test_a_change_of_sessions_holds_from_the_offset_reached() -> None:
    # offset   0 1 2 | 3        the rows come when 3 is the next to be applied
    store, schedule = Store(), loaded()
    engine = started(store, schedule)
    feed(engine, [Tick(at, "X", at * SECOND_US, 1.0) for at in range(3)], 0, 3)
    schedule.load({"X": [replace(DAY[0], close_us=120 * MINUTE_US)]})
    schedule.read()
    engine.schedule_changed()
    feed(engine, [Tick(3, "X", 3 * SECOND_US, 1.0)], 3, 4)
    store.flush(engine)
    assert [(row.from_offset, row.schedule) for row in told(store)] == [(0, {0: 1}), (3, {0: 2})]


def test_a_shorter_grace_closes_at_once_what_it_has_passed() -> None:
    # ticks    0:10   1:30        by a minute of grace minute 0 is open, by five seconds over
    # offset   0      1     | 2   a tick of it that comes now is late, and not in its bar
    store, schedule = Store(), loaded()
    engine = started(store, schedule, Rules(60 * SECOND_US))
    feed(engine, [Tick(0, "X", 10 * SECOND_US, 1.0), Tick(1, "X", 90 * SECOND_US, 2.0)], 0, 2)
    store.flush(engine)
    assert store.finals == []
    engine = started(store, schedule)
    assert engine.rules_changed == ["grace_s 60.0 -> 5.0"]
    feed(engine, [Tick(2, "X", 20 * SECOND_US, 9.0)], 2, 3)
    pending = engine.take()
    assert [(bar.close, bar.close_offset) for bar in pending.finals] == [(1.0, 2)]
    assert [(tick.offset, str(tick.reason)) for tick in pending.rejected] == [(2, "late")]


def test_a_row_comes_back_as_it_was_written_and_under_no_other_key() -> None:
    row = replace(
        RulesRow.of(Settings()), schedule={0: 7, 1: 0}, sessions=5, kept={("B", "X"): {0: 3}},
        from_offset=12, heartbeat_offset=3,
    )  # fmt: skip
    second = row.behind(row)
    for each in (row, second):
        assert decode_rules(each.key, encode_rules(each)) == each
    assert row.key < second.key < replace(row, heartbeat_offset=4).key
    with pytest.raises(ValueError, match="no worker writes"):
        decode_rules(replace(row, from_offset=13).key, encode_rules(row))


def test_a_row_of_before_there_was_fold_case_is_read_and_says_nothing_of_it() -> None:
    row = RulesRow.of(Settings())
    before = replace(row, fold_case=None)
    # nor had rows a version then
    body = encode_rules(before).removeprefix(ROW_VERSION)
    assert decode_rules(row.key, body[:-2]) == before, "its body ended there"
    assert changes_of(before, row) == [], "what is not known has not changed"
    assert not row.says_same(before), "the log is to say it from now on"
    with pytest.raises(ValueError, match="cut short"):
        decode_rules(row.key, encode_rules(row).removeprefix(ROW_VERSION)[:-2])
    with pytest.raises(ValueError, match="no body"):
        decode_rules(row.key, encode_rules(row)[:-1])


def test_a_row_of_before_there_was_a_limit_of_series_is_of_a_partition_that_was_not_full() -> None:
    row = RulesRow.of(Settings())
    body = encode_rules(row).removeprefix(ROW_VERSION)
    assert decode_rules(row.key, body[:-1]) == row
    full = replace(row, is_full=True)
    assert decode_rules(full.key, encode_rules(full)) == full
    assert not full.says_same(row), "the log is to say it"
    assert changes_of(row, full) == [], "workers of one setting come to it"


def test_of_workers_that_come_and_go_at_one_place_each_has_a_row_and_the_last_one_judges() -> None:
    # ticks    0:10   1:30        | five seconds of grace close minute 0 | a minute of it again
    # offset   0      1           2                                      2      the next tick: 2
    store, schedule = Store(), loaded()
    long, short = Rules(60 * SECOND_US), Rules(5 * SECOND_US)
    engine = started(store, schedule, long)
    feed(engine, [Tick(0, "X", 10 * SECOND_US, 1.0), Tick(1, "X", 90 * SECOND_US, 2.0)], 0, 2)
    store.flush(engine)
    for rules in (short, long):
        store.flush(started(store, schedule, rules))
    assert len(store.finals) == 1
    rows = [(row.from_offset, row.turn, row.grace_us) for row in told(store)]
    assert rows == [(0, 0, long.grace_us), (2, 0, short.grace_us), (2, 1, long.grace_us)]
    regimes = Regimes.of(told(store), schedule.records, rules_row(short))
    assert [each.rules.grace_us for each in regimes.all] == [grace for *_, grace in rows]
    assert regimes.at(2).rules.grace_us == long.grace_us


def test_a_row_behind_that_of_a_switch_over_leaves_it_what_it_says() -> None:
    # offset   0 1 2 |  switched over here, while no worker ran; the next one has other rules
    store, schedule = Store(), loaded()
    engine = started(store, schedule)
    feed(engine, [Tick(at, "X", at * SECOND_US, 1.0) for at in range(3)], 0, 3)
    store.flush(engine)
    last = told(store)[-1]
    switched = replace(last, from_offset=3, rewritten=True).behind(last)
    store.series[switched.key] = encode_rules(switched)
    engine = started(store, schedule, Rules(60 * SECOND_US))
    feed(engine, [Tick(3, "X", 3 * SECOND_US, 1.0)], 3, 4)
    schedule.load({"X": [replace(DAY[0], close_us=120 * MINUTE_US)]})
    schedule.read()
    engine.schedule_changed()
    store.flush(engine)
    assert [(row.from_offset, row.turn, row.rewritten) for row in told(store)] == [
        (0, 0, False), (3, 0, True), (3, 1, False), (4, 0, False),
    ]  # fmt: skip
    regimes = Regimes.of(told(store), schedule.records, rules_row(RULES))
    assert (regimes.told_from, regimes.at(3).rules.grace_us) == (3, 60 * SECOND_US)


def test_settings_that_came_with_a_release_do_not_change_what_records_mean() -> None:
    first = RulesRow.of(Settings())
    ticks = Settings().ticks.model_copy(update={"registry_url": "http://other"})
    assert RulesRow.of(Settings().model_copy(update={"ticks": ticks})).says_same(first)
    scaled = Settings().ticks.model_copy(update={"price_scale": 4})
    scaled.model_fields_set.add("price_scale")
    assert not RulesRow.of(Settings().model_copy(update={"ticks": scaled})).says_same(first)


#: Of what no setting decides.
PLACES = {
    "sessions", "kept", "from_offset", "heartbeat_offset", "rewritten", "is_full", "turn",
    "version",
}  # fmt: skip
#: A digest that is not the one of the defaults.
ANOTHER = object()
#: Of each setting that could be a rule: another value, and what the row says because of it.
#: One that is no rule changes nothing.
SAID: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bars.grace_s": ({"grace_s": 7.5}, {"grace_us": 7_500_000, "max_future_skew_us": 7_500_000}),
    "bars.max_future_skew_s": ({"max_future_skew_s": 2.5}, {"max_future_skew_us": 2_500_000}),
    "bars.late_policy": ({"late_policy": "revise"}, {"late_policy": "revise"}),
    "bars.inactive_after": ({"inactive_after": 9}, {"inactive_after": 9}),
    "bars.schedule": ({"schedule": False}, {"schedule": None}),
    "bars.publish_off_session": ({"publish_off_session": True}, {"publish_off_session": True}),
    # of what was judged the rows say whether the partition was full, whatever the limit was
    "bars.max_series": ({"max_series": 9}, {}),
    "bars.live_interval_ms": ({"live_interval_ms": 900}, {}),
    "bars.anchor": ({"anchor": "session"}, {}),
    "bars.timeframes": ({"timeframes": ["5m"]}, {}),
    "bars.live_timeframes": ({"live_timeframes": ["5m"]}, {}),
    "ticks.fold_case": ({"fold_case": False}, {"fold_case": False}),
    "ticks.registry_url": ({"registry_url": "http://registry:8081"}, {}),
    "ticks.format": ({"format": "json"}, {"decoding": ANOTHER}),
    "ticks.schema_file": ({"schema_file": SCHEMA}, {"decoding": ANOTHER}),
    "ticks.broker": ({"broker": "venue"}, {"decoding": ANOTHER}),
    "ticks.broker_constant": ({"broker_constant": "B"}, {"decoding": ANOTHER}),
    "ticks.symbol": ({"symbol": "ticker"}, {"decoding": ANOTHER}),
    "ticks.time": ({"time": "at"}, {"decoding": ANOTHER}),
    "ticks.time_unit": ({"time_unit": "ms"}, {"decoding": ANOTHER}),
    "ticks.price": ({"price": "last"}, {"decoding": ANOTHER}),
    "ticks.bid": ({"bid": "b", "ask": "a"}, {"decoding": ANOTHER}),
    "ticks.ask": ({"bid": "b", "ask": "a2"}, {"decoding": ANOTHER}),
    "ticks.size": ({"size": None}, {"decoding": ANOTHER}),
    "ticks.price_scale": ({"price_scale": 4}, {"decoding": ANOTHER}),
    "ticks.max_batch_mib": ({"max_batch_mib": 8}, {"decoding": ANOTHER}),
}


@pytest.mark.parametrize("setting", SAID)
def test_a_row_says_each_rule_of_the_settings_and_nothing_else(setting: str) -> None:
    values, said = SAID[setting]
    first = RulesRow.of(Settings())
    row = RulesRow.of(Settings.model_validate({setting.partition(".")[0]: values}))
    changed = {
        each.name: getattr(row, each.name)
        for each in fields(row)
        if getattr(row, each.name) != getattr(first, each.name)
    }
    assert changed == {
        name: changed.get(name) if said[name] is ANOTHER else said[name] for name in said
    }


def test_no_setting_of_bars_and_ticks_and_no_rule_of_a_row_is_forgotten() -> None:
    known = {f"bars.{name}" for name in BarSettings.model_fields}
    known |= {f"ticks.{name}" for name in TickSettings.model_fields}
    assert SAID.keys() == known
    told = {name for _, said in SAID.values() for name in said}
    assert told == {each.name for each in fields(RulesRow)} - PLACES
