"""The rows of the topic in memory: the newest record of a session counts."""

from __future__ import annotations

from barstream.codecs.topics.schedule_rows import ScheduleRows
from barstream.codecs.topics.session import encode_session, session_key, split_session_key
from barstream.market.schedule import SessionRow

HOUR_US = 3_600_000_000
SERIES = ("B", "S")


def row(day: int = 20_000, session: int = 0, hours: int = 8) -> SessionRow:
    open_us = day * 24 * HOUR_US + session * 12 * HOUR_US
    return SessionRow("B", "S", day, session, open_us, open_us + hours * HOUR_US)


class Topic:
    """Feeds records to the rows, one millisecond apart."""

    def __init__(self, rows: ScheduleRows) -> None:
        self.rows, self.offset = rows, 0

    def put(self, key: bytes, value: bytes | None, partition: int = 0) -> None:
        self.offset += 1
        self.rows.apply(key, value, partition, self.offset, self.offset * 1000)


def test_sessions_of_a_day_do_not_overwrite_each_other() -> None:
    topic = Topic(rows := ScheduleRows())
    for each in (row(session=0), row(session=1)):
        topic.put(session_key(each), encode_session(each))

    assert sorted(r.session for r in rows.rows_of(SERIES)) == [0, 1]


def test_a_later_record_replaces_and_a_tombstone_withdraws() -> None:
    topic = Topic(rows := ScheduleRows())
    topic.put(session_key(row()), encode_session(row()))
    topic.put(session_key(row()), encode_session(row(hours=4)))
    assert rows.rows_of(SERIES) == [row(hours=4)]
    assert rows.take_dirty() == {SERIES}

    topic.put(session_key(row()), None)

    assert rows.rows_of(SERIES) == []
    assert len(rows) == 0
    assert rows.take_dirty() == {SERIES}, "the series is to be judged again without its row"
    assert not rows.is_dirty


def test_a_session_in_two_partitions_counts_as_produced_last_in_either_order_of_reading() -> None:
    older, newer = row(hours=4), row(hours=6)
    for order in ((0, 1), (1, 0)):
        rows = ScheduleRows()
        records = [
            (session_key(older), encode_session(older), 0, 7, 1_000),
            (session_key(newer), encode_session(newer), 1, 3, 2_000),
        ]
        for which in order:
            rows.apply(*records[which])

        assert rows.rows_of(SERIES) == [newer]
        assert sorted(partition for partition, _ in rows.records_of(newer)) == [0, 1]


def test_a_tombstone_from_another_partition_withdraws_what_is_older() -> None:
    for first in (0, 1):
        rows = ScheduleRows()
        records = [
            (session_key(row()), encode_session(row()), 0, 7, 1_000),
            (session_key(row()), None, 1, 3, 2_000),
        ]
        rows.apply(*records[first])
        rows.apply(*records[1 - first])

        assert rows.rows_of(SERIES) == []


def test_a_record_that_is_no_row_is_reported_and_disturbs_no_other() -> None:
    topic = Topic(rows := ScheduleRows())
    topic.put(session_key(row()), encode_session(row()))
    topic.put(b"junk", b"\xff\xff")
    topic.put(b"more junk", None)

    assert rows.rows_of(SERIES) == [row()]
    (reason,) = rows.refused.values()
    assert "junk" in reason

    topic.put(b"junk", None)
    assert not rows.refused


def test_a_key_of_another_spelling_is_the_same_session() -> None:
    topic = Topic(rows := ScheduleRows())
    theirs = session_key(row()).lower()
    assert split_session_key(theirs) == split_session_key(session_key(row()))
    topic.put(theirs, encode_session(row(hours=2)))
    topic.put(session_key(row()), encode_session(row(hours=3)))

    assert rows.rows_of(SERIES) == [row(hours=3)]
    topic.put(theirs, None)
    assert rows.rows_of(SERIES) == []
