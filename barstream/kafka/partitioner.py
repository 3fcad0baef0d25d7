"""Where Kafka's default partitioner puts a key: the place of a series that nobody has seen yet."""

from __future__ import annotations

from aiokafka.partitioner import murmur2


def default_partition(key: bytes, partitions: int) -> int:
    """The partition of ``key``, of so many."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions
