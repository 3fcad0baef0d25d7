"""Losing the tail of a partition for real: the files of a broker that is down end earlier.

As after a power failure without a second replica: what was acknowledged and had not reached the
disk is gone, the rest is sound, and the broker goes on from there as if nothing had been behind it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.kafka_cluster import KafkaCluster

#: Base offset, and how many bytes follow.
_FRAME: Final = struct.Struct(">qi")
#: From the start of a batch: how much its last offset lies behind its first.
_LAST_DELTA: Final = struct.Struct(">i")
_LAST_DELTA_AT: Final = 23
#: What a broker believes without looking, and what it makes anew of the log.
_BELIEVED: Final = (".kafka_cleanshutdown", "recovery-point-offset-checkpoint")
_DERIVED: Final = ("*.index", "*.timeindex", "*.txnindex", "*.snapshot")


class Batch(NamedTuple):
    """Where a record batch lies in its file, and its offsets: [``base``, ``next_offset``)."""

    position: int
    base: int
    next_offset: int


def batches(file: Path) -> Iterator[Batch]:
    """The batches of a segment, in order."""
    data = file.read_bytes()
    at = 0
    while at + _FRAME.size <= len(data):
        base, length = _FRAME.unpack_from(data, at)
        if length <= 0 or at + _FRAME.size + length > len(data):
            return
        (delta,) = _LAST_DELTA.unpack_from(data, at + _LAST_DELTA_AT)
        yield Batch(at, base, base + delta + 1)
        at += _FRAME.size + length


def lose(cluster: KafkaCluster, topic: str, partition: int, from_offset: int) -> int:
    """Cut what lies from ``from_offset`` on; every node must be down.

    Returns:
        The first offset that is gone: where the batch begins that holds ``from_offset``.
    """
    lost: set[int] = set()
    for node in cluster.nodes:
        assert not node.running, "a broker that runs writes its files back"
        data = node.directory / "data"
        place = data / f"{topic}-{partition}"
        if place.is_dir():
            lost.add(_cut(place, from_offset))
            for name in _BELIEVED:
                (data / name).unlink(missing_ok=True)
    (first,) = lost
    return first


def _cut(place: Path, from_offset: int) -> int:
    first: int | None = None
    for file in sorted(place.glob("*.log")):
        if first is not None:
            file.unlink()
            continue
        for batch in batches(file):
            if batch.next_offset > from_offset:
                first = batch.base
                os.truncate(file, batch.position)
                break
    assert first is not None, f"{place} must hold offset {from_offset}"
    for pattern in _DERIVED:
        for file in place.glob(pattern):
            file.unlink()
    return first
