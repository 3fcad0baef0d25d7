"""A worker starts from rows that a worker wrote, or says which one is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from barstream.codecs.avro.body import decode, encode
from barstream.codecs.topics.row_version import VERSION, RowTooNew
from barstream.codecs.topics.state import POSITION_KEY
from barstream.errors import StateUnusable
from barstream.market.schedule import MarketScheduleProvider
from barstream.model.period import MINUTE
from barstream.partition.finals_view import FinalsView
from barstream.partition.machine import PartitionMachine
from barstream.rules.series import LIVENESS_TICKS, Rules
from barstream.store.finals import FinalsPartition
from tests.property.engine_cases import Store, Tick, feed

MINUTE_US = 60_000_000
START_US = 1_700_000_040_000_000
KEY = b"B\0X"
Change = Callable[[dict[str, Any]], object]


def started() -> PartitionMachine:
    return PartitionMachine(
        0, Rules(), MarketScheduleProvider.always_open(), lambda _broker, _symbol: None
    )


def written() -> Store:
    made, store = started(), Store()
    feed(made, [Tick(at, "X", START_US + at * 10_000_000, 1.5 + at) for at in range(16)], 0, 16)
    store.flush(made)
    return store


def restore(store: Store) -> PartitionMachine:
    always_open = MarketScheduleProvider.always_open()
    return store.restored(Rules(), always_open, lambda _broker, _symbol: None)[0]


def test_rows_a_worker_wrote_are_taken() -> None:
    store = written()
    assert decode("series_state", store.series[KEY])["open_bars"]
    restore(store)


def test_a_backlog_in_one_fetch_behind_a_timely_tick_is_taken_from_its_row() -> None:
    made, store = started(), Store()
    late_us = START_US + MINUTE_US
    ticks = [
        Tick(at, "X", START_US, 1.5, appended_us=late_us if at else START_US) for at in range(40)
    ]
    feed(made, ticks, 0, 40)
    store.flush(made)
    restore(store)


def test_a_row_of_before_liveness_was_bounded_is_taken() -> None:
    store = written()
    row = decode("series_state", store.series[KEY]) | {"since_timely": 439}
    store.series[KEY] = encode("series_state", row)
    engine = restore(store)
    assert engine.state.since_timely[0] == LIVENESS_TICKS


@pytest.mark.parametrize("key", [KEY, POSITION_KEY])
def test_a_row_of_a_later_release_stops_the_start_and_is_named(key: bytes) -> None:
    store = written()
    store.series[key] = bytes([1, VERSION + 1]) + store.series[key][2:]
    with pytest.raises(RowTooNew) as found:
        restore(store)
    assert f"version {VERSION + 1} in row {key!r} of partition 0" in str(found.value)


def set_bar(**values: Any) -> Change:
    return lambda row: row["open_bars"][0].update(values)


def set_row(**values: Any) -> Change:
    return lambda row: row.update(values)


@pytest.mark.parametrize(
    "change",
    [
        set_row(symbol="Y"),
        set_row(watermark=START_US - 1),
        set_row(watermark=2**62),
        set_bar(close_time=START_US + 7_200_000_000),
        set_row(closed_until=START_US + 1),
        set_row(closed_until=START_US + 600_000_000),
        set_row(previous_close=float("nan")),
        set_row(since_timely=-1),
        set_row(last_trading_date=2**31 - 1),
        set_bar(low=1e9),
        set_bar(high=float("inf")),
        set_bar(close=float("nan")),
        set_bar(tick_count=0),
        set_bar(tick_count=1_000),
        set_bar(open_time=0),
        set_bar(first_offset=-1),
        set_bar(last_offset=0),
        set_bar(volume=b"\xff\xff\x01"),
        set_bar(volume=b"\x00\x04\x02"),
        set_bar(session=-1),
        lambda row: row["open_bars"].reverse(),
    ],
)
def test_a_row_of_a_series_that_no_worker_writes_stops_the_start(change: Change) -> None:
    # taken, it would become a wrong bar without a word
    store, row = written(), two_open_bars()
    store.series[KEY] = encode("series_state", row)
    restore(store)
    change(row)
    store.series[KEY] = encode("series_state", row)
    with pytest.raises(StateUnusable, match="data directory"):
        restore(store)


def two_open_bars() -> dict[str, Any]:
    row = decode("series_state", written().series[KEY])
    times = ("bucket_start", "open_time", "close_time")
    later = {name: row["open_bars"][0][name] + MINUTE_US for name in times}
    row["open_bars"].append(row["open_bars"][0] | later)
    row["watermark"] += MINUTE_US
    return row


@pytest.mark.parametrize(
    "value", [b"", b"\x01", b"\x01\0\0", b"\x18\0\0\x02\x045x", b"\x18\0\0\x02\x04"]
)
def test_a_broken_position_stops_the_start(value: bytes) -> None:
    store = written()
    store.series[POSITION_KEY] = value
    with pytest.raises(StateUnusable, match="position"):
        restore(store)


class Kept(FinalsPartition):
    """Finals without a disk."""

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self.rows = rows

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def range(self, first: bytes, end: bytes) -> Any:
        return [(key, self.rows[key]) for key in sorted(self.rows) if first <= key < end]


def test_a_final_that_is_not_the_bar_of_its_key_is_not_folded() -> None:
    finals = cast("list[tuple[bytes, bytes]]", written().finals)
    (first, value), (_, other) = finals[:2]
    read = FinalsView({MINUTE: Kept({first: value})}).between(MINUTE, "B", "X", 0, 1 << 60)
    assert len(read) == 1
    broken = FinalsView({MINUTE: Kept({first: value[:-2]})})
    with pytest.raises(StateUnusable, match="must be a bar"):
        broken.between(MINUTE, "B", "X", 0, 1 << 60)
    swapped = FinalsView({MINUTE: Kept({first: other})})
    with pytest.raises(StateUnusable, match="its key says"):
        swapped.get(MINUTE, "B", "X", read[0].bucket_start_us)
