"""Rows of our own changelogs: a worker goes on from what is sound, or says what is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any, Final, NamedTuple, cast

from barstream.codecs.avro.body import load_schema
from barstream.codecs.avro.schema import Node, parse_wire
from barstream.codecs.topics.bar import decode_bar
from barstream.codecs.topics.row_version import RowTooNew
from barstream.codecs.topics.rules import RulesRow, is_rules_key
from barstream.codecs.topics.state import POSITION_KEY
from barstream.codecs.topics.withdrawal import (
    WithdrawalRow,
    WithdrawnEnd,
    encode_withdrawal,
    is_withdrawal_key,
)
from barstream.errors import StateUnusable, TicksGone
from barstream.kafka.flush import Flush, Row
from barstream.kafka.offsets import Extent
from barstream.kafka.topics.outputs import OutputTopics
from barstream.market.schedule import MarketScheduleProvider
from barstream.model.period import MINUTE
from barstream.partition.finals_view import FinalsView
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.rules.series import NEVER_US, Rules
from barstream.runtime.flush import build_flush
from barstream.runtime.restored_state import restore_engine
from barstream.store.finals import FinalsPartition
from barstream.store.rocksdb import LocalPartition
from tests.fuzz.avro_mutants import Value, mutant
from tests.fuzz.mutate import LONGS, damaged
from tests.fuzz.surface import BrokenRuleError, Surface
from tests.property.engine_cases import Beat, Tick, chunk, deliver

_MINUTE_US: Final = 60_000_000
_START_US: Final = 1_700_000_040_000_000
_TOPICS: Final = OutputTopics("ticks", "finals", "live", "rejected", "series", "seen")
_RULES: Final = Rules(5_000_000)
#: Sound tables that mutations begin with.
_POOL: Final = 64


class Rows(NamedTuple):
    """The series table, as a changelog gives it, and what was done to it."""

    rows: dict[bytes, bytes]
    touched: bytes


def _engine() -> PartitionMachine:
    return PartitionMachine(
        0, _RULES, MarketScheduleProvider.always_open(), lambda _broker, _symbol: None,
        MachineOptions(judged_by=RulesRow(5_000_000, 5_000_000, "reject", 5, False, "fuzz", None)),
    )  # fmt: skip


def _ticks(chance: Random, start: int, count: int) -> list[Tick]:
    return [
        Tick(
            start + at, chance.choice("XYZ"),
            _START_US + (start + at) * 7_000_000 - chance.randrange(4_000_000),
            chance.randrange(800, 999) / 8, chance.choice((0.0, 1.0, 0.1, 1e17, 3e-9)),
        )
        for at in range(count)
    ]  # fmt: skip


def _sound(chance: Random) -> dict[bytes, bytes]:
    return dict(_some_rows(chance.randrange(_POOL)))


@cache
def _some_rows(number: int) -> dict[bytes, bytes]:
    made, chance = _engine(), Random(number)
    count = chance.randrange(1, 40)
    made.apply_ticks(*chunk(_ticks(chance, 0, count), 0, count), 0, at_end=False)
    flush = build_flush(made.take(), made.state, 0, _TOPICS, None)
    rows = {row.key or b"": row.value or b"" for row in flush.rows["series", 0]}
    if number % 2:  # one of the series was dropped once
        ends = {0: WithdrawnEnd(chance.randrange(60), chance.randrange(3))}
        dropped = WithdrawalRow("B", chance.choice("XYZ"), _START_US, ends)
        rows[dropped.key] = encode_withdrawal(dropped)
    return rows


def _time(*some: int) -> Value:
    ends = (NEVER_US, NEVER_US - 1, -1, 253_402_300_800_000_000, _START_US + 1, *LONGS)
    return lambda chance: chance.choice(some if chance.random() < 0.8 else ends)


def _of(*some: Any) -> Value:
    return lambda chance: chance.choice(some)


_AT: Final = _START_US - _START_US % _MINUTE_US
_SERIES_VALUES: Final[dict[str, Value]] = {
    "broker": _of(b"B", b"B", b"B", b"b"), "symbol": _of(b"X", b"X", b"X", b"Y", b"x "),
    "closed_until": _time(_AT, NEVER_US), "watermark": _time(_AT + 50_000_000, NEVER_US),
    "previous_close": _of(1.5, None, 100.0, math.nan, math.inf),
    "filled_date": _of(19_675, None, -5),
    "first_tick": _time(_AT + 1, _AT - 5), "last_trading_date": _of(19_675, None, -5, 2**31 - 1),
    "since_timely": _time(0, 16, 3), "open_bars.bucket_start": _time(_AT, _AT + _MINUTE_US),
    "open_bars.trading_date": _of(19_675, -9), "open_bars.session": _of(0, -1),
    "open_bars.open": _of(2.0, 2.0, math.nan), "open_bars.high": _of(3.0, 3.0, 1.0, math.inf),
    "open_bars.low": _of(1.0, 1.0, 5.0), "open_bars.close": _of(2.5, 2.5, -math.inf),
    "open_bars.open_time": _time(_AT + 10, _AT + 10, _AT - 1),
    "open_bars.close_time": _time(_AT + 20, _AT + 20, _AT + _MINUTE_US),
    "open_bars.open_offset": _time(5, 5, 500), "open_bars.last_tick_offset": _time(6),
    "open_bars.volume": _of(b"", b"\x04\x32\x01", b"\x04\x32\x02", b"\x04", b"\xff\xff\x01",
    b"\0" * 9),
    "open_bars.turnover": _of(None, b"", b"\x04\x32\x01", b"\x84\x32\x01", b"\x84\x32\x02", b"\x80",
    b"\xff\xff\x01"),
    "open_bars.tick_count": _time(2, 2, 0), "open_bars.first_offset": _time(5, 5),
    "open_bars.last_offset": _time(9, 9, 4),
}  # fmt: skip
_POSITION_VALUES: Final[dict[str, Value]] = {
    "next_offset": _time(30, 40, 0), "heartbeat_offset": _time(0, 7),
    "topic_id": _of(None, None, b"other"), "periods": _of(None, b"5m 1h", b"", b"5m 5x", b"7m",
    b"\0"),
}  # fmt: skip
_RULES_VALUES: Final[dict[str, Value]] = {
    "from_offset": _time(0, 7, -1), "heartbeat_offset": _time(0, 3),
    "grace": _time(5_000_000, -1), "late_policy": _of(b"reject", b"revise", b"forget"),
}  # fmt: skip
_WITHDRAWAL_VALUES: Final[dict[str, Value]] = {
    "broker": _of(b"B", b"B", b"B", b"b"), "symbol": _of(b"X", b"Y", b"Z", b"", b"x "),
    "withdrawn_at": _time(_START_US, -1), "ends.partition": _of(0, 0, 1, -1),
    "ends.ticks": _time(0, 30, -1), "ends.heartbeats": _time(0, 2, -1),
}  # fmt: skip
_WITHDRAWAL: Final[Node] = parse_wire(load_schema("withdrawal"))
_RULES_ROW: Final[Node] = parse_wire(load_schema("rules"))
_SERIES: Final[Node] = parse_wire(load_schema("series_state"))
_POSITION: Final[Node] = parse_wire(load_schema("position"))


def _case(chance: Random) -> Rows:
    rows = _sound(chance)
    key = chance.choice(sorted(rows))
    match chance.randrange(4):
        case 0:
            rows[key] = damaged(chance, rows[key])
        case 1:
            value = rows.pop(key)
            key = damaged(chance, key)
            rows[key] = value
        case 2 if key == POSITION_KEY:
            rows[key] = mutant(chance, _POSITION, _POSITION_VALUES)
        case 2:
            other = chance.choice(sorted(rows))
            rows[key] = rows[other]
        case _ if is_rules_key(key):
            rows[key] = mutant(chance, _RULES_ROW, _RULES_VALUES)
        case _ if is_withdrawal_key(key):
            rows[key] = mutant(chance, _WITHDRAWAL, _WITHDRAWAL_VALUES)
        case _:
            node, values = (
                (_POSITION, _POSITION_VALUES) if key == POSITION_KEY else (_SERIES, _SERIES_VALUES)
            )
            rows[key] = mutant(chance, node, values)
    return Rows(rows, key)


def _judge(cases: Sequence[Rows], chance: Random) -> list[str]:
    return [_judged(case, chance) for case in cases]


def _judged(case: Rows, chance: Random) -> str:
    made = _engine()
    made.state.use_schedule(made._provider.index)
    rows = cast("LocalPartition", case.rows)  # what is asked of it, a dict has
    try:
        start = restore_engine(made, rows, "ticks", "id", Extent(0, 1_000), Extent(0, 1_000))
    except RowTooNew:
        return "of a later release"
    except StateUnusable as error:
        if "data directory" not in str(error):
            raise BrokenRuleError(f"it does not say what to do: {error}") from error
        return "unusable"
    except TicksGone:
        return "another topic, or shorter"
    # it goes on, and whatever it writes then is a row that can be read again
    ticks = _ticks(chance, start.ticks, 30)
    made.apply_ticks(*chunk(ticks, start.ticks, start.ticks + 30), 0, at_end=False)
    minute_us = _AT + 5 * _MINUTE_US
    beats = [Beat(at, name, minute_us, start.ticks, 1 << 59) for at, name in enumerate("XYZ")]
    deliver(made, beats)
    flush = build_flush(made.take(), made.state, 0, _TOPICS, None)
    _check_bars(flush)
    again = _engine()
    again.state.use_schedule(made._provider.index)
    written = {row.key or b"": row.value or b"" for row in flush.rows["series", 0]}
    restore_engine(
        again, cast("LocalPartition", case.rows | written), "ticks", "id", Extent(0, 2_000),
            Extent(0, 1_000)
    )  # fmt: skip
    return "usable"


def _check_bars(flush: Flush) -> None:
    rows: list[Row] = flush.rows.get(("finals", 0), [])
    for row in rows:
        bar = decode_bar(row.value or b"")
        prices = (bar.low, bar.open, bar.close, bar.high)
        sound = (
            all(map(math.isfinite, prices)) and min(prices) == bar.low and max(prices) == bar.high
        )
        sound &= all(each is None or math.isfinite(each) for each in (bar.turnover, bar.vwap))
        if not sound or not math.isfinite(bar.volume) or bar.volume < 0 or bar.tick_count < 0:
            raise BrokenRuleError(f"a bar that no ticks make: {bar}")


# --- finals --------------------------------------------------------------------------------------


class _Memory(FinalsPartition):
    """Finals without a disk."""

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self.kept = rows

    def get(self, key: bytes) -> bytes | None:
        return self.kept.get(key)

    def range(self, first: bytes, end: bytes) -> Any:
        return [(key, self.kept[key]) for key in sorted(self.kept) if first <= key < end]


def _finals(chance: Random) -> dict[bytes, bytes]:
    return dict(_some_finals(chance.randrange(_POOL)))


@cache
def _some_finals(number: int) -> dict[bytes, bytes]:
    made, chance = _engine(), Random(number)
    count = chance.randrange(30, 250)
    made.apply_ticks(*chunk(_ticks(chance, 0, count), 0, count), 0, at_end=False)
    flush = build_flush(made.take(), made.state, 0, _TOPICS, None)
    return {row.key or b"": row.value or b"" for row in flush.rows.get(("finals", 0), [])}


_BAR: Final[Node] = parse_wire(load_schema("bar"))
_BAR_VALUES: Final[dict[str, Value]] = {
    "broker": _of(b"B"), "symbol": _of(b"X", b"Y"), "bucket_start": _time(_AT, _AT + _MINUTE_US),
    "volume_exact": _of(None, None, b"1.5", b"", b"x", b"1." + b"9" * 6_000, b"-1", b"\xc2\xb2"),
    "turnover": _of(None, 1.5, -1.5), "vwap": _of(None, 1.5),
    "turnover_exact": _of(None, None, b"-1.5", b"", b"-", b"-1." + b"9" * 6_000, b"--1"),
}  # fmt: skip


def _finals_case(chance: Random) -> Rows:
    rows = _finals(chance)
    if not rows:
        return Rows(rows, b"")
    key = chance.choice(sorted(rows))
    match chance.randrange(3):
        case 0:
            rows[key] = damaged(chance, rows[key])
        case 1:
            rows[key] = rows[chance.choice(sorted(rows))]
        case _:
            rows[key] = mutant(chance, _BAR, _BAR_VALUES)
    return Rows(rows, key)


def _judge_finals(cases: Sequence[Rows], _: Random) -> list[str]:
    return [_finals_judged(case) for case in cases]


def _finals_judged(case: Rows) -> str:
    book = FinalsView({MINUTE: _Memory(case.rows)})
    unusable = False
    for symbol in "XYZ":
        try:
            bars = book.between(MINUTE, "B", symbol, 0, _START_US + (1 << 40))
        except StateUnusable:
            unusable = True
            continue
        if any((bar.broker, bar.symbol) != ("B", symbol) for bar in bars):
            raise BrokenRuleError("a bar of another series")
        for bar in bars:
            try:
                one = book.get(MINUTE, "B", symbol, bar.bucket_start_us)
            except StateUnusable:
                continue
            if one is not None and one.bucket_start_us != bar.bucket_start_us:
                raise BrokenRuleError("a bar of another minute")
    return "unusable" if unusable else "usable"


def surfaces() -> list[Surface]:
    """The series table and the finals."""
    return [
        Surface("changelog-series", _case, _judge, at_once=16, weight=0.2),
        Surface("changelog-finals", _finals_case, _judge_finals, at_once=16, weight=0.1),
    ]
