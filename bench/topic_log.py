"""A topic as the files of our own broker have it: what was committed, and when it could be read.

Reading the files takes nothing from the broker, and they have what no consumer is told: the
markers that end transactions.  A record can be read (by who reads what is committed) from the
moment on at which no transaction that began before it is open any more; that moment is the append
time of the latest of their markers.  So each record has the time the broker itself gave it, commit
included, and programs with and without transactions are compared by the same clock.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiokafka.record.memory_records import MemoryRecords

# base offset, length, leader epoch, magic, crc, attributes, last offset delta,
# base timestamp, max timestamp, producer id
_HEADER: Final = struct.Struct(">qiibIhiqqq")
_LENGTH: Final = 12
#: Read at once; longer than any batch.
_CHUNK: Final = 32 << 20
_TRANSACTIONAL, _CONTROL = 0x10, 0x20
#: Key of a control record: version, type.
_MARKER: Final = struct.Struct(">hh")
_COMMIT: Final = 1


class Record(NamedTuple):
    """One committed record; ``readable_ms``: since when it can be read."""

    partition: int
    offset: int
    readable_ms: int
    key: bytes | None
    value: bytes | None


@dataclass
class _Part:
    """A partition: how far its files were read, and what waits for the end of a transaction."""

    position: dict[str, int] = field(default_factory=dict)
    #: In the order of the log: the producer (-1: none), its append time, the records.
    waiting: list[tuple[int, int, list[Any]]] = field(default_factory=list)
    #: Producers with an open transaction.
    open: set[int] = field(default_factory=set)
    readable_ms: int = 0


class TopicLog:
    """Reads on in a topic whenever it is asked.

    Args:
        data: the broker's ``log.dirs``.
        topic: name.
    """

    def __init__(self, data: Path, topic: str) -> None:
        self._data = data
        self._topic = topic
        self._parts: dict[int, _Part] = defaultdict(_Part)

    def bytes_written(self) -> int:
        """Of all its partitions, as they stand in the log."""
        return log_bytes(self._data, self._topic)

    def read(self) -> Iterator[Record]:
        """What can be read since the last time, by partition and offset."""
        for directory in sorted(self._data.glob(f"{self._topic}-*")):
            topic, _, number = directory.name.rpartition("-")
            if topic == self._topic and number.isdigit():
                yield from self._read_on(directory, int(number))

    def _read_on(self, directory: Path, partition: int) -> Iterator[Record]:
        part = self._parts[partition]
        for path in sorted(directory.glob("*.log")):
            taken = -1
            while taken:
                position = part.position.get(path.name, 0)
                with path.open("rb") as file:
                    file.seek(position)
                    taken = self._take(part, file.read(_CHUNK))
                part.position[path.name] = position + taken
                yield from self._committed(part, partition)

    def _take(self, part: _Part, raw: bytes) -> int:
        at = 0
        while at + _HEADER.size <= len(raw):
            _, length, _, _, _, attributes, _, _, appended_ms, producer = _HEADER.unpack_from(
                raw, at
            )
            end = at + _LENGTH + length
            if end > len(raw):
                break
            records = list(MemoryRecords(raw[at:end]).next_batch())
            if attributes & _CONTROL:
                _, kind = _MARKER.unpack(records[0].key[: _MARKER.size])
                self._end(part, producer, appended_ms, is_commit=kind == _COMMIT)
            elif attributes & _TRANSACTIONAL:
                part.open.add(producer)
                part.waiting.append((producer, appended_ms, records))
            else:
                part.waiting.append((-1, appended_ms, records))
            at = end
        return at

    @staticmethod
    def _end(part: _Part, producer: int, appended_ms: int, *, is_commit: bool) -> None:
        part.open.discard(producer)
        part.waiting = [
            (-1, appended_ms, records) if owner == producer else (owner, ms, records)
            for owner, ms, records in part.waiting
            if owner != producer or is_commit
        ]

    @staticmethod
    def _committed(part: _Part, partition: int) -> Iterator[Record]:
        done = 0
        for producer, readable_ms, records in part.waiting:
            if producer in part.open:
                break
            # what stands before it had to become readable first
            part.readable_ms = max(part.readable_ms, readable_ms)
            for each in records:
                yield Record(partition, each.offset, part.readable_ms, each.key, each.value)
            done += 1
        del part.waiting[:done]


def log_bytes(data: Path, part_of_name: str) -> int:
    """Bytes in the logs of all topics with ``part_of_name`` in their names."""
    return sum(
        path.stat().st_size
        for directory in data.glob(f"*{part_of_name}*")
        for path in directory.glob("*.log")
    )


def directory_bytes(directory: Path) -> int:
    """Bytes of all files below a directory."""
    found = 0
    for path in directory.rglob("*"):
        try:
            found += path.stat().st_size if path.is_file() else 0
        except OSError:  # a database deletes files at any time
            continue
    return found
