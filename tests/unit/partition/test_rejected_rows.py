"""What a rejected tick looks like in its topic."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from barstream.kafka.flush import Row
from barstream.kafka.topics.outputs import OutputTopics
from barstream.model.rejection import Reason
from barstream.partition.outbox import Emission, Outbox, RejectedTick
from barstream.rules.series import PartitionState, Rules
from barstream.runtime.flush import build_flush

TOPICS = OutputTopics("ticks", "finals", "live", "rejected", "series", "seen")


def row_of(key: bytes | None, value: bytes | None, detail: str = "why") -> Row:
    emitted = Emission(9, 0, rejected=[RejectedTick(7, key, value, Reason.UNDECODABLE, detail)])
    rows = build_flush(emitted, PartitionState(Rules()), 3, TOPICS, None).rows
    (row,) = rows["rejected", 3]
    return row


def test_a_rejected_tick_keeps_key_and_value_and_says_where_it_stood() -> None:
    row = row_of(b"k", b"\x00\xff")
    assert (row.key, row.value) == (b"k", b"\x00\xff")
    assert dict(row.headers) == {
        "reason": b"undecodable", "detail": b"why", "topic": b"ticks", "partition": b"3",
        "offset": b"7",
    }  # fmt: skip


def test_a_record_without_key_and_value_becomes_an_empty_one() -> None:
    # a broker takes neither-nor, but compaction tools and some clients do not
    assert row_of(None, None).value == b""
    assert row_of(b"k", None).value is None


@pytest.mark.parametrize(
    ("key", "value"), [(2, 1 << 20), (1 << 20, 1 << 20), (1 << 20, 0), (90_000, 880_000)]
)
def test_what_a_broker_would_not_take_is_cut_and_the_detail_says_so(key: int, value: int) -> None:
    row = row_of(b"k" * key, b"v" * value, "x" * 5_000)
    assert len(row.key or b"") + len(row.value or b"") <= 900_000
    whole = len(row.key or b"") == key and len(row.value or b"") == value
    assert not whole
    assert len(dict(row.headers)["detail"]) <= 2_000


def test_a_detail_names_what_was_cut() -> None:
    detail = dict(row_of(b"k", b"v" * 1_000_000).headers)["detail"]
    assert detail == b"why (the value is cut from 1000000 bytes)"


def is_full(outbox: Outbox) -> bool:
    return outbox.is_full  # asked anew: what was said before is not remembered


def test_rejected_ticks_wait_by_their_bytes() -> None:
    # far from 20,000 rows, they would be gigabytes
    outbox = Outbox(PartitionState(Rules()))
    large = RejectedTick(7, b"k", b"v" * (1 << 20), Reason.UNDECODABLE, "why")
    for _ in range(15):
        outbox.reject(large)
    assert not is_full(outbox)
    outbox.reject(large)
    assert is_full(outbox)
    outbox.take(8, 0, live=True)
    outbox.reject(large)
    assert outbox.backlog == 1
    assert not is_full(outbox)


@pytest.mark.parametrize("key", [1, 300_000])
def test_a_rejected_tick_fits_what_its_topic_takes(key: int) -> None:
    # 200,000 bytes a batch, everything in it counted
    topics = replace(TOPICS, largest_rejected=200_000)
    tick = RejectedTick(7, b"k" * key, b"v" * 300_000, Reason.UNDECODABLE, "\U0001f600" * 3_000)
    emitted = Emission(9, 0, rejected=[tick])
    (row,) = build_flush(emitted, PartitionState(Rules()), 3, topics, None).rows["rejected", 3]
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=1, producer_id=1, producer_epoch=1,
        base_sequence=1, batch_size=1 << 20,
    )  # fmt: skip
    builder.append(0, timestamp=1, key=row.key, value=row.value, headers=row.headers)
    assert 180_000 < len(builder.build()) <= 200_000
