"""Bars on disk go when Kafka has deleted them, and not before."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rocksdict import Options, Rdict

from barstream.model.key import bar_key
from barstream.store.finals import FinalsPartition
from tests.examples import examples

MINUTE = 60_000_000
DAY = 1440 * MINUTE


class Store:
    """The RocksDB store of a Faust table, as far as it is used."""

    offset_key = b"__faust\0offset__"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = Rdict(str(path), Options(raw_mode=True))

    def _db_for_partition(self, _partition: int) -> Rdict:
        return self.db

    def reopened(self) -> Store:
        self.db.close()
        return Store(self.path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "db")


def key(minute: int, symbol: str = "X") -> bytes:
    return bar_key("B", symbol, minute * MINUTE)


def put(finals: FinalsPartition, keys: Iterable[bytes]) -> None:
    """Keys written in one flush, with a commit marker after them."""
    rows: list[tuple[bytes, bytes | None]] = [(each, b"bar") for each in keys]
    before = finals.offset()
    finals.write(rows, (-1 if before is None else before + 1) + len(rows))


def minutes(finals: FinalsPartition, symbol: str = "X") -> list[int]:
    return [
        minute for minute in range(100) if finals.get(key(minute, symbol)) is not None
    ]  # fmt: skip


def expire(finals: FinalsPartition, begin: int) -> None:
    for _ in finals.expire(begin):
        pass


def test_bars_go_with_the_window_they_were_written_in(store: Store) -> None:
    #  offsets   0 .. 4          5 .. 9           10 ..
    #  minutes   0 .. 4          10 .. 14         20 .. 24
    finals = FinalsPartition(store, 0)
    for n in range(3):
        finals.begin_window((n + 1) * DAY)
        put(finals, [key(10 * n + m) for m in range(5)])
    second = finals._windows()[1]
    expire(finals, second - 1)  # Kafka has one record of the first window: all of it stays
    assert minutes(finals)[0] == 0
    assert finals.retained_from_us("B", "X") is None
    expire(finals, second)
    assert minutes(finals) == [*range(10, 15), *range(20, 25)]
    assert finals.retained_from_us("B", "X") == 5 * MINUTE
    assert finals.offset() == 16


def test_history_loaded_today_stays_though_it_is_of_2013(store: Store) -> None:
    finals = FinalsPartition(store, 0)
    put(finals, [key(90)])
    finals.begin_window(DAY)
    put(finals, [key(1), key(2)])
    expire(finals, 1)
    assert minutes(finals) == [1, 2, 90]  # 90 is kept longer: nothing says it was not rewritten
    finals.begin_window(2 * DAY)
    put(finals, [key(91)])
    expire(finals, (finals.offset() or 0))
    assert minutes(finals) == [91]


def test_a_series_without_any_record_left_goes_whole_and_its_neighbour_stays(store: Store) -> None:
    finals = FinalsPartition(store, 0)
    put(finals, [key(1, "S"), key(1, "S2"), key(2, "S")])
    finals.begin_window(DAY)
    put(finals, [key(3, "S2")])
    expire(finals, finals.offset() or 0)
    assert (minutes(finals, "S"), minutes(finals, "S2")) == ([], [3])
    assert finals.retained_from_us("B", "S") == 3 * MINUTE


def test_windows_are_known_after_a_start_and_last_a_day(store: Store) -> None:
    finals = FinalsPartition(store, 0)
    put(finals, [key(1)])
    assert finals.begin_window(DAY)
    put(finals, [key(5)])
    again = FinalsPartition(store.reopened(), 0)
    assert not again.begin_window(DAY + DAY - 1)
    put(again, [key(4)])
    expire(again, again._windows()[1])
    assert minutes(again) == [4, 5]


def test_rows_from_before_windows_were_kept_go_with_the_first_of_them(store: Store) -> None:
    store.db[key(1)] = b"bar"
    store.db[store.offset_key] = b"7"
    finals = FinalsPartition(store, 0)
    put(finals, [key(5)])
    finals.begin_window(DAY)
    put(finals, [key(6)])
    expire(finals, finals._windows()[1])
    assert minutes(finals) == [6]


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 60), min_size=1, max_size=8), st.booleans()),
        min_size=1,
        max_size=12,
    ),
    st.data(),
)
def test_nothing_that_kafka_still_has_is_ever_deleted(
    tmp_path_factory: pytest.TempPathFactory,
    flushes: list[tuple[list[int], bool]],
    data: st.DataObject,
) -> None:
    """Whatever the order in which bars are written and written again, and wherever it begins."""
    store = Store(tmp_path_factory.mktemp("finals") / "db")
    finals = FinalsPartition(store, 0)
    newest: dict[int, int] = {}
    now_us = DAY
    for written, roll in flushes:
        first = (-1 if (before := finals.offset()) is None else before + 1) + 1
        newest.update({minute: first + at for at, minute in enumerate(written)})
        put(finals, [key(minute) for minute in written])
        if roll:
            now_us += DAY
            finals.begin_window(now_us)
        if data.draw(st.booleans()):
            begin = data.draw(st.integers(0, (finals.offset() or 0) + 2))
            expire(finals, begin)
            in_kafka = {minute for minute, offset in newest.items() if offset >= begin}
            assert in_kafka <= set(minutes(finals))
            newest = {m: at for m, at in newest.items() if at >= begin}
    store.db.close()
