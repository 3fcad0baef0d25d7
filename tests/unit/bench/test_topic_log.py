from __future__ import annotations

import struct
from pathlib import Path

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from bench.topic_log import Record, TopicLog, directory_bytes, log_bytes

COMMIT, ABORT = 1, 0
#: Where a batch has its attributes, its greatest timestamp and what follows the checksum.
ATTRIBUTES, GREATEST = 21, 35
CONTROL = 0x20


class Log:
    """A partition as a broker writes it: each batch has the time at which it was appended."""

    def __init__(self, data: Path, topic: str = "bars", partition: int = 0) -> None:
        self.path = data / f"{topic}-{partition}" / "00000000000000000000.log"
        self.path.parent.mkdir(parents=True)
        self._next = 0

    def append(self, at_ms: int, *values: bytes, producer: int = -1) -> None:
        self._write(at_ms, [(b"k", value) for value in values], producer, 0)

    def end(self, at_ms: int, producer: int, kind: int) -> None:
        self._write(at_ms, [(struct.pack(">hh", 0, kind), b"\0" * 6)], producer, CONTROL)

    def _write(self, at_ms: int, rows: list[tuple[bytes, bytes]], producer: int, more: int) -> None:
        builder = DefaultRecordBatchBuilder(2, 0, producer >= 0, producer, 0, 0, 1 << 20)
        for number, (key, value) in enumerate(rows):
            builder.append(number, at_ms, key, value, [])
        raw = bytearray(builder.build())
        raw[:8] = struct.pack(">q", self._next)
        attributes = struct.unpack_from(">h", raw, ATTRIBUTES)[0]
        struct.pack_into(">h", raw, ATTRIBUTES, attributes | more)
        self._next += len(rows)
        with self.path.open("ab") as out:
            out.write(raw)


def seen(records: list[Record]) -> list[tuple[bytes | None, int]]:
    return [(record.value, record.readable_ms) for record in records]


def test_a_record_without_a_transaction_can_be_read_when_it_is_appended(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.append(10, b"a", b"b")
    log.append(20, b"c")
    found = list(TopicLog(tmp_path, "bars").read())
    assert seen(found) == [(b"a", 10), (b"b", 10), (b"c", 20)]
    assert [record.offset for record in found] == [0, 1, 2]


def test_one_in_a_transaction_can_be_read_when_that_is_committed(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.append(10, b"a", producer=1)
    log.append(12, b"b", producer=1)
    log.end(30, 1, COMMIT)
    assert seen(list(TopicLog(tmp_path, "bars").read())) == [(b"a", 30), (b"b", 30)]


def test_what_was_aborted_is_never_read(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.append(10, b"a", producer=1)
    log.end(20, 1, ABORT)
    log.append(30, b"b", producer=1)
    log.end(40, 1, COMMIT)
    assert seen(list(TopicLog(tmp_path, "bars").read())) == [(b"b", 40)]


def test_a_transaction_that_is_open_holds_up_what_stands_behind_it(tmp_path: Path) -> None:
    log, topic = Log(tmp_path), TopicLog(tmp_path, "bars")
    log.append(10, b"a")
    log.append(11, b"b", producer=1)
    log.append(12, b"c", producer=2)
    log.end(13, 2, COMMIT)
    log.append(14, b"d")
    assert seen(list(topic.read())) == [(b"a", 10)]
    log.end(50, 1, COMMIT)
    assert seen(list(topic.read())) == [(b"b", 50), (b"c", 50), (b"d", 50)]


def test_it_reads_on_where_it_was_also_when_a_batch_is_half_written(tmp_path: Path) -> None:
    log, topic = Log(tmp_path), TopicLog(tmp_path, "bars")
    log.append(10, b"a")
    log.append(20, b"b")
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:-3])
    assert seen(list(topic.read())) == [(b"a", 10)]
    log.path.write_bytes(whole)
    assert seen(list(topic.read())) == [(b"b", 20)]
    assert list(topic.read()) == []


def test_bytes_are_those_of_the_topics_with_a_name(tmp_path: Path) -> None:
    mine, other = Log(tmp_path, "run1-bars"), Log(tmp_path, "run2-bars")
    mine.append(10, b"a" * 100)
    other.append(10, b"b")
    assert log_bytes(tmp_path, "run1") == mine.path.stat().st_size > 100
    assert directory_bytes(tmp_path) == sum(each.path.stat().st_size for each in (mine, other))
