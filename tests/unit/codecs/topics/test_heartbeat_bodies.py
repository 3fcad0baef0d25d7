"""Heartbeats and rows of the universe as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barstream.codecs.topics import heartbeat, series_seen
from barstream.market.universe import SeriesSeen, Universe
from barstream.model.key import bar_key, series_key
from barstream.partition.heartbeat_queue import QueuedHeartbeat

LONGS = st.integers(-(2**63), 2**63 - 1)
BEAT = heartbeat.HeartbeatRecord("DEMO", "EURUSD", 1_357_077_600_000_000, 17, 5, "planner")
SEEN = SeriesSeen("DEMO", "EURUSD", 3, 1_357_077_600_000_000, 15_706, True, -1)


@given(
    st.builds(
        heartbeat.HeartbeatRecord, st.text(), st.text(), LONGS, LONGS, LONGS, st.text()
    )
)  # fmt: skip
def test_a_heartbeat_survives_the_journey(record: heartbeat.HeartbeatRecord) -> None:
    assert heartbeat.decode(heartbeat.encode(record)) == record


@given(
    st.builds(
        SeriesSeen,
        st.text(), st.text(), st.integers(0, 2**31 - 1), LONGS,
        st.integers(-(2**31), 2**31 - 1), st.booleans(), LONGS,
    )
)  # fmt: skip
def test_a_row_of_the_universe_survives_the_journey(row: SeriesSeen) -> None:
    assert series_seen.decode(series_seen.encode(row)) == row


@given(st.binary(max_size=60))
def test_garbage_is_refused_with_one_kind_of_error(value: bytes) -> None:
    for decode in (heartbeat.decode, series_seen.decode):
        try:
            decode(value)
        except ValueError:
            continue


@given(st.integers(0, 40), st.binary(min_size=1, max_size=3))
def test_a_record_cut_short_or_with_bytes_left_over_is_refused(cut: int, more: bytes) -> None:
    value = heartbeat.encode(BEAT)
    for wrong in (value[: min(cut, len(value) - 1)], value + more):
        with pytest.raises(ValueError, match="heartbeat"):
            heartbeat.decode(wrong)


def test_the_key_of_a_heartbeat_is_that_of_its_bar() -> None:
    assert BEAT.key == bar_key("DEMO", "EURUSD", BEAT.bucket_start_us)


def test_rows_and_tombstones_make_the_universe() -> None:
    universe = Universe()
    key = series_key("DEMO", "EURUSD")
    series_seen.apply_row(universe, key, series_seen.encode(SEEN))
    before = universe.rows()
    assert before == (SEEN,)
    moved = SEEN._replace(live=False)
    series_seen.apply_row(universe, key, series_seen.encode(moved))
    assert universe.get("DEMO", "EURUSD") == moved
    assert before == (SEEN,)  # a snapshot stays what it was
    series_seen.apply_row(universe, key, None)
    assert (len(universe), universe.rows()) == (0, ())


def test_a_row_that_is_garbage_is_counted_and_ends_nothing() -> None:
    reading = series_seen.UniverseReading(Universe())
    reading(b"DEMO\0X", b"\xff\xff", 0, 0, 0)
    reading(b"no series key", None, 0, 1, 0)
    reading(series_key("DEMO", "EURUSD"), series_seen.encode(SEEN), 0, 2, 0)
    assert (reading.refused, reading.universe.rows()) == (2, (SEEN,))


def waiting(record: heartbeat.HeartbeatRecord, key: bytes | None) -> QueuedHeartbeat:
    return QueuedHeartbeat.decode(0, key, heartbeat.encode(record))


@pytest.mark.parametrize("barrier", [-1, 1 << 48, 2**63 - 1])
def test_a_heartbeat_with_a_barrier_no_partition_reaches_is_none(barrier: int) -> None:
    # heartbeats are released in order: waiting for it would hold up all behind it, for ever
    with pytest.raises(ValueError, match="cannot be the end"):
        waiting(BEAT._replace(barrier=barrier), BEAT.key)


@pytest.mark.parametrize("start_us", [-60_000_000, 253_402_300_800_000_000, 1])
def test_a_heartbeat_of_no_minute_is_none(start_us: int) -> None:
    with pytest.raises(ValueError, match="start of a minute"):
        waiting(BEAT._replace(bucket_start_us=start_us), BEAT.key)


@pytest.mark.parametrize("key", [None, b"", b"DEMO\0GBPUSD\x002013-01-01T22:00:00Z", BEAT.key[:-1]])
def test_a_heartbeat_that_is_not_what_its_key_says_is_none(key: bytes | None) -> None:
    with pytest.raises(ValueError, match="the key says"):
        waiting(BEAT, key)
    assert waiting(BEAT, BEAT.key).barrier == 17


@pytest.mark.parametrize(
    ("row", "key"),
    [
        (SEEN, b"DEMO\0GBPUSD"),
        (SEEN, None),
        (SEEN._replace(partition=-1), None),
        (SEEN._replace(partition=1 << 30), None),
        (SEEN._replace(symbol="EURUSD "), b"DEMO\0EURUSD "),
        (SEEN._replace(symbol=""), b"DEMO\0"),
        (SEEN._replace(last_trading_date=2**31 - 1), b"DEMO\0EURUSD"),
        (SEEN._replace(closed_until_us=2**62), b"DEMO\0EURUSD"),
        (SEEN._replace(first_tick_us=2**62), b"DEMO\0EURUSD"),
    ],
)
def test_a_row_of_the_universe_that_no_worker_writes_is_refused(
    row: SeriesSeen, key: bytes | None
) -> None:
    # taken, a wrong home would turn every tick of the series away
    reading = series_seen.UniverseReading(Universe())
    reading(key, series_seen.encode(row), 0, 1, 0)
    assert (reading.refused, len(reading.universe)) == (1, 0)
