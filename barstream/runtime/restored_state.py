"""Where a partition that was taken over goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from barstream.codecs.topics.row_version import RowTooNew
from barstream.codecs.topics.rules import RulesRow, decode_rules, is_rules_key
from barstream.codecs.topics.state import (
    POSITION_KEY,
    Position,
    WrittenUpTo,
    decode_position,
    restore_series,
)
from barstream.codecs.topics.withdrawal import (
    WithdrawalRow,
    Withdrawn,
    decode_withdrawal,
    is_withdrawal_key,
)
from barstream.errors import StateUnusable
from barstream.kafka.offsets import Extent, check_identity, check_position
from barstream.partition.machine import PartitionMachine
from barstream.store.rocksdb import LocalPartition


class RestoredPosition(NamedTuple):
    """The first offsets to read.

    Attributes:
        written: by topic of finals what it must hold.
    """

    ticks: int
    heartbeats: int
    written: Mapping[str, WrittenUpTo] = {}


def restore_engine(
    engine: PartitionMachine,
    rows: LocalPartition,
    topic: str,
    identity: str | None,
    ticks: Extent,
    beats: Extent,
) -> RestoredPosition:
    """Put the state of a partition back from its rows.

    Args:
        engine: new, its schedule in force.
        rows: the partition of the series table.
        topic: name of the tick topic, for messages.
        identity: of the tick topic, where brokers give one.
        ticks: what its partition holds.
        beats: what the partition of ``hb_1m`` holds.

    Raises:
        TicksGone: the tick topic does not hold what comes next.
        StateUnusable: a row is none that a worker writes, or there is no position.
        RowTooNew: a later release has written one.
    """
    told: RulesRow | None = None
    withdrawals: list[WithdrawalRow] = []
    for key, row in rows.items():
        if key == POSITION_KEY:
            continue
        with _readable(engine.partition, key):
            if is_rules_key(key):
                rules = decode_rules(key, row)
                told = rules if told is None or told.key < key else told
                continue
            if is_withdrawal_key(key):
                withdrawals.append(decode_withdrawal(key, row))
                continue
            series = restore_series(engine.state, key, row)
        engine.rollups.restore(series)
    engine.withdrawn = Withdrawn.of(withdrawals, engine.partition)
    engine.outbox.all_shown()
    found: Position | None = None
    with _readable(engine.partition, POSITION_KEY):
        value = rows.get(POSITION_KEY)
        if value is not None:
            found = decode_position(value)
        engine.restored(() if found is None else found.periods)
    if found is None and len(engine.state):
        raise StateUnusable(
            f"the rows of partition {engine.partition} must hold its position, which is written "
            f"with every one of them, but there are {len(engine.state)} series and no position: "
            "the topic of the series was cut, or written by another program. Start over under "
            "another BARSTREAM_APP_ID and data directory; the bars that are published stand"
        )
    start = RestoredPosition(ticks.begin, beats.begin)
    if found is not None:
        check_identity(topic, found.topic_id, identity)
        check_position(topic, engine.partition, found.next_offset, ticks)
        # heartbeats that retention has deleted are of minutes long closed
        known = beats.begin <= found.heartbeat_offset <= beats.end
        start = RestoredPosition(
            found.next_offset,
            found.heartbeat_offset if known else beats.begin,
            found.written or {},
        )
        engine.last_batch = found.last_batch
    # known also before the first chunk: one that starts above would be lost in silence, and a
    # flush of heartbeats alone writes where the ticks begin
    engine.position = start.ticks
    engine.waiting.next_offset = start.heartbeats
    engine.took_over(told)
    return start


def check_written(
    written: Mapping[str, WrittenUpTo],
    tables: Mapping[str, LocalPartition],
    ids: Mapping[str, str],
) -> None:
    """Refuse to go on where finals are gone that were committed with the position.

    Args:
        written: by topic what it must hold.
        tables: restored up to the end of their topics.
        ids: identities of the topics, where known; offsets of a topic made again say nothing.

    Raises:
        StateUnusable: one ends before.
    """
    for topic, (offset, topic_id) in written.items():
        table = tables.get(topic)
        if table is None or topic_id != ids.get(topic, topic_id):
            continue  # of a timeframe that is made no more, or made again by somebody who knows
        end = -1 if (at := table.offset()) is None else at
        if end < offset:
            raise StateUnusable(
                f"{topic}[{table.partition}] must hold offset {offset}, which was written with the "
                f"position of its ticks, but its last one is {end}: Kafka has lost bars that were "
                "committed (an unclean leader election, or a power failure without a second "
                "replica). To make them again of the ticks that are kept: stop all workers, move "
                "their data directories away, run `barstream replay --suffix mend --partition "
                f"{table.partition}` and `barstream replay switch --suffix mend --yes`, then start "
                "the workers"
            )


@contextmanager
def _readable(partition: int, key: bytes) -> Iterator[None]:
    try:
        yield
    except RowTooNew as error:
        raise RowTooNew(error.version, f"row {key!r} of partition {partition}") from error
    except ValueError as error:
        raise StateUnusable(
            f"the rows of the series table must be those a worker wrote, found {key!r} in "
            f"partition {partition} broken: {error}. Stop the worker, move its data directory away "
            "and start it again: the table is restored from Kafka. If it says so again, the "
            "changelog itself was written by another program: start over under another app_id "
            "and topics.base"
        ) from error
