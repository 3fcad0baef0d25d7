"""Who wrote each batch of a topic: producer id and epoch, as the broker has them in the log.

Every owner of a partition, and every leader of the heartbeats, begins with a new epoch of the
same transactional id.  So the epochs of a log never fall, and a batch of an older epoch after
one of a newer would be a write of somebody who had lost what he wrote to.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple
from unittest.mock import patch

from aiokafka.consumer import fetcher

from tests.pipeline import Pipeline, read_topic

# base offset, length, leader epoch, magic, crc, attributes, last offset delta,
# base timestamp, max timestamp, producer id, producer epoch
_HEADER = struct.Struct(">qiibIhiqqqh")
_CONTROL = 0x20


class Batch(NamedTuple):
    """One batch in the log."""

    partition: int
    offset: int
    producer_id: int
    epoch: int
    is_control: bool
    appended_ms: int


def batches_of(made: Pipeline, topic: str) -> list[Batch]:
    """Every batch of a topic, aborted ones too, by partition and offset."""
    found: dict[tuple[int, int], Batch] = {}
    raw_of: dict[int, tuple[Any, bytes]] = {}
    plain = fetcher.MemoryRecords

    def keep(raw: bytes) -> Any:
        records = plain(raw)
        raw_of[id(records)] = records, bytes(raw)
        return records

    class Recording(fetcher.PartitionRecords):  # type: ignore[misc]
        def __init__(self, tp: Any, records: Any, *rest: Any) -> None:
            super().__init__(tp, records, *rest)
            for batch in _parse(tp.partition, raw_of.pop(id(records))[1]):
                found[batch.partition, batch.offset] = batch

    with (
        patch.object(fetcher, "MemoryRecords", keep),
        patch.object(fetcher, "PartitionRecords", Recording),
    ):
        asyncio.run(read_topic(made.bootstrap, topic))
    return [found[place] for place in sorted(found)]


def _parse(partition: int, raw: bytes) -> Iterator[Batch]:
    at = 0
    while at + _HEADER.size <= len(raw):
        base, length, _, _, _, attributes, _, _, newest, producer, epoch = _HEADER.unpack_from(
            raw, at
        )
        if at + 12 + length > len(raw):
            return
        yield Batch(partition, base, producer, epoch, bool(attributes & _CONTROL), newest)
        at += 12 + length


def late_writers(batches: list[Batch]) -> list[str]:
    """Batches of an older epoch that stand after one of a newer, by partition and producer."""
    rows: dict[tuple[int, int], list[Batch]] = {}
    for batch in batches:
        if batch.epoch >= 0 and not batch.is_control:
            rows.setdefault((batch.partition, batch.producer_id), []).append(batch)
    return [
        f"{later} follows {earlier}"
        for row in rows.values()
        for earlier, later in pairwise(row)
        if later.epoch < earlier.epoch
    ]
