"""Rows of the small topics: heartbeats, the schedule, the universe. Readers refuse, or go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from random import Random
from typing import Any, Final, NamedTuple

import orjson

from barstream.codecs.avro.body import load_schema
from barstream.codecs.avro.schema import Node, parse_wire
from barstream.codecs.topics.heartbeat import HeartbeatRecord
from barstream.codecs.topics.heartbeat import encode as encode_heartbeat
from barstream.codecs.topics.load_position import decode as decode_load_position
from barstream.codecs.topics.schedule_rows import ScheduleRows
from barstream.codecs.topics.series_seen import UniverseReading
from barstream.codecs.topics.series_seen import encode as encode_seen
from barstream.codecs.topics.session import LONGEST_SESSION_US, encode_session, session_key
from barstream.heartbeat.recovery import Recovered
from barstream.market.schedule import ScheduleIndex
from barstream.market.session import SessionRow
from barstream.market.universe import SeriesSeen, Universe
from barstream.model.key import series_key
from barstream.model.time import DAY_US, MINUTE_US
from barstream.partition.heartbeat_queue import QueuedHeartbeat
from barstream.rules.heartbeat_plan import HeartbeatRules, plan, recovery_windows
from tests.fuzz.avro_mutants import Value, mutant
from tests.fuzz.mutate import LONGS, damaged
from tests.fuzz.surface import BrokenRuleError, Surface

NOW_US: Final = 1_700_000_040_000_000
_DAY: Final = NOW_US // DAY_US
_RULES: Final = HeartbeatRules(grace_us=5_000_000, inactive_after=5)


class Record(NamedTuple):
    """Key and value."""

    key: bytes | None
    value: bytes | None


@cache
def _node(name: str) -> Node:
    return parse_wire(load_schema(name))


def _number(*some: int) -> Value:
    return lambda chance: chance.choice(some if chance.random() < 0.7 else LONGS)


def _int32(*some: int) -> Value:
    ends = (-1, 0, 2**31 - 1, -(2**31), 2_932_896, 2_932_897)
    return lambda chance: chance.choice(some if chance.random() < 0.7 else ends)


_NAMES: Final[dict[str, Value]] = {
    "broker": lambda chance: chance.choice((b"B", b"B", b"b ", b"", b"B\0")),
    "symbol": lambda chance: chance.choice((b"X", b"X", b"Y", b"x", b"Z" * 201)),
}


def _records(
    name: str, values: Mapping[str, Value], keys: Callable[[Random], bytes | None]
) -> Callable[[Random], Record]:
    def make(chance: Random) -> Record:
        key = keys(chance)
        if chance.random() < 0.1:
            key = None if key is None or chance.random() < 0.2 else damaged(chance, key)
        if chance.random() < 0.03:
            return Record(key, None)
        return Record(key, mutant(chance, _node(name), values))

    return make


# --- heartbeats ----------------------------------------------------------------------------------

_MINUTES: Final = (
    NOW_US - MINUTE_US,
    NOW_US,
    NOW_US + 30_000_000,
    -MINUTE_US,
    253_402_300_800_000_000,
)
_BEAT_VALUES: Final[dict[str, Value]] = {
    **_NAMES, "bucket_start": _number(*_MINUTES), "barrier": _number(0, 17, 1 << 48),
    "sent_at": _number(NOW_US), "source": lambda _: b"planner",
}  # fmt: skip
_BEAT: Final = HeartbeatRecord("B", "X", NOW_US - MINUTE_US, 17, NOW_US, "planner")


def _judge_beats(records: Sequence[Record], _: Random) -> list[str]:
    outcome, recovered = [], Recovered()
    for at, (key, value) in enumerate(records):
        if key is not None and value is not None:
            recovered.take(key, NOW_US, _RULES, ScheduleIndex())
        if value is None:
            outcome.append("tombstone")
            continue
        try:
            beat = QueuedHeartbeat.decode(at, key, value, NOW_US)
        except ValueError:
            outcome.append("refused")
            continue
        if beat.minute_us % MINUTE_US or beat.minute_us < 0 or not 0 <= beat.barrier < 1 << 48:
            raise BrokenRuleError(f"{beat} closes what is no minute, or waits for ever")
        outcome.append("heartbeat")
    if any(mark + MINUTE_US + _RULES.grace_us > NOW_US for mark in recovered.marks.values()):
        raise BrokenRuleError("a mark lies in the future: its series would get no heartbeat")
    return outcome


# --- the schedule --------------------------------------------------------------------------------

_OPEN: Final = _DAY * DAY_US
_SESSION_VALUES: Final[dict[str, Value]] = {
    **_NAMES,
    "trading_date": _int32(_DAY, _DAY + 1, _DAY - 1),
    "session": _int32(0, 1, 2),
    "open": _number(_OPEN, _OPEN + 1, _OPEN + DAY_US, _OPEN - 3_600_000_000),
    "close": _number(_OPEN + DAY_US, _OPEN + 3_600_000_000, _OPEN, 253_402_300_799_999_999),
}
_GOOD_SESSION: Final = SessionRow("GOOD", "SERIES", _DAY, 0, _OPEN, _OPEN + DAY_US)
_SESSION_JSON: Final = (
    b'"2023-11-14"', b'"2023-11-14T00:00:00"', b'"2023-11-14T22:00:00+14:00"',
    b'"9999-12-31T23:59:59-12:00"',
    b"null", b"true", b"1e30", b"1700000000000", b"1700000000000000", b"-1", b'"1"', b'" 1 "',
    b"[]", b"{}",
    b'"' + b"9" * 5_000 + b'"', b'"\xd9\xa1"', b"1.5", b'"x"', b'""', b"[" * 900 + b"]" * 900,
    b'"0001-01-01"',
)  # fmt: skip


def _session_record(chance: Random) -> Record:
    if chance.random() < 0.5:
        return _records("session", _SESSION_VALUES, _session_key)(chance)
    fields = {
        b"broker": b'"B"', b"symbol": b'"X"', b"trading_date": b'"2023-11-14"', b"session": b"0",
        b"open": b'"2023-11-14T00:00:00"', b"close": b'"2023-11-14T23:00:00"',
    }  # fmt: skip
    for _ in range(chance.choice((1, 1, 2))):
        fields[chance.choice(list(fields))] = chance.choice(_SESSION_JSON)
    value = b"{" + b",".join(b'"%s":%s' % pair for pair in fields.items()) + b"}"
    if chance.random() < 0.2:
        value = damaged(chance, value)
    return Record(_session_key(chance), value)


def _session_key(chance: Random) -> bytes:
    row = SessionRow("B", chance.choice("XY"), _DAY, chance.randrange(3), 0, 1)
    return session_key(row)


def _judge_sessions(records: Sequence[Record], chance: Random) -> list[str]:
    rows, outcome = ScheduleRows(), []
    rows.apply(session_key(_GOOD_SESSION), encode_session(_GOOD_SESSION), 0, 0, 0)
    for at, (key, value) in enumerate(records, 1):
        before = len(rows.refused)
        rows.apply(key, value, chance.randrange(2), at, at)
        outcome.append("refused" if len(rows.refused) > before else "taken")
    index = ScheduleIndex().updated({name: rows.rows_of(name) for name in rows.series()})
    for conflicts in index.problems.values():
        for conflict in conflicts:
            str(conflict).encode()
    for found in rows.refused.values():
        found.encode()
    _judge_index(index)
    return outcome


def _judge_index(index: ScheduleIndex) -> None:
    if index.for_series("GOOD", "SERIES") is None:
        raise BrokenRuleError("a good series lost its schedule to the rows of others")
    live = [SeriesSeen(*name, 0, NOW_US - 3_600_000_000, _DAY, True, -1) for name in index.series()]
    due = plan(NOW_US, live, index, {}, _RULES)
    if not any(row.symbol == "SERIES" for row, _ in due):
        raise BrokenRuleError("a good series gets no heartbeat")
    recovery_windows(NOW_US, live, index, _RULES, 2 * MINUTE_US)
    for name in index.series():
        schedule = index.for_series(*name)
        assert schedule is not None
        for session in schedule.sessions_between(0, NOW_US + 400 * DAY_US):
            if not 0 < session.close_us - session.open_us <= LONGEST_SESSION_US:
                raise BrokenRuleError(f"{session} would be filled for ages")


# --- the universe --------------------------------------------------------------------------------

_SEEN_VALUES: Final[dict[str, Value]] = {
    **_NAMES, "partition": _int32(0, 1, 3, 99_999, 100_000), "first_tick": _number(NOW_US - DAY_US),
    "last_trading_date": _int32(_DAY, _DAY - 3), "closed_until": _number(NOW_US - MINUTE_US, -1),
}  # fmt: skip
_GOOD_SEEN: Final = SeriesSeen(
    "GOOD", "SERIES", 2, NOW_US - DAY_US, _DAY, True, NOW_US - 10 * MINUTE_US
)


def _judge_seen(records: Sequence[Record], _: Random) -> list[str]:
    reading, outcome = UniverseReading(Universe()), []
    reading(series_key("GOOD", "SERIES"), encode_seen(_GOOD_SEEN), 0, 0, 0)
    for at, (key, value) in enumerate(records, 1):
        before = reading.refused
        reading(key, value, 0, at, 0)
        outcome.append("refused" if reading.refused > before else "taken")
    universe, index = reading.universe, _always("X", "Y")
    if universe.get("GOOD", "SERIES") != _GOOD_SEEN:
        raise BrokenRuleError("a good row was changed by the rows of others")
    due = plan(NOW_US, universe.rows(), index, {}, _RULES)
    if not any(row.symbol == "SERIES" for row, _ in due):
        raise BrokenRuleError("a good series gets no heartbeat")
    recovery_windows(NOW_US, universe.rows(), index, _RULES, 2 * MINUTE_US)
    for row in universe.rows():
        if not 0 <= row.partition < 100_000 or row.symbol != row.symbol.strip().upper():
            raise BrokenRuleError(f"{row} is no home of a series")
        orjson.dumps([row.partition, row.first_tick_us, row.closed_until_us])
    return outcome


@cache
def _always(*symbols: str) -> ScheduleIndex:
    names = [("GOOD", "SERIES"), *(("B", symbol) for symbol in symbols)]
    return ScheduleIndex.build(
        SessionRow(*name, day, 0, day * DAY_US, (day + 1) * DAY_US)
        for name in names
        for day in range(_DAY - 3, _DAY + 2)
    )


# --- positions of loads --------------------------------------------------------------------------

_LOAD_VALUES: Final[dict[str, Value]] = {
    "load_id": lambda _: b"ab" * 16, "file": lambda _: b"f.csv", "ticks_topic": lambda _: b"ticks",
    "rows": _number(5), "total": _number(9), "last_ticks.partition": _int32(0),
    "last_ticks.offset": _number(4), "last_ticks.crc32": _number(1), "updated_at": _number(NOW_US),
}  # fmt: skip


def _judge_loads(records: Sequence[Record], _: Random) -> list[str]:
    outcome = []
    for record in records:
        try:
            decode_load_position(record.value or b"")
        except ValueError:
            outcome.append("refused")
        else:
            outcome.append("position")
    return outcome


def surfaces() -> list[Surface]:
    """Heartbeats, sessions, rows of the universe, positions of loads."""
    good_beat = Record(_BEAT.key, encode_heartbeat(_BEAT))

    def any_key(*keys: bytes) -> Callable[[Random], Any]:
        return lambda chance: chance.choice(keys)

    beats = any_key(_BEAT.key, _BEAT._replace(bucket_start_us=NOW_US).key)
    return [
        Surface(
            "heartbeats",
            _records("heartbeat", _BEAT_VALUES, beats),
            _judge_beats,
            good=lambda _: good_beat,
        ),
        Surface("schedule", _session_record, _judge_sessions, at_once=12),
        Surface(
            "series-seen",
            _records("series_seen", _SEEN_VALUES, any_key(b"B\0X", b"B\0Y", b"b \0X")),
            _judge_seen,
        ),
        Surface(
            "load-positions", _records("load_position", _LOAD_VALUES, any_key(b"k")), _judge_loads
        ),
    ]
