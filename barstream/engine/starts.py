"""Where a partition that was taken over goes on."""

from __future__ import annotations

from typing import NamedTuple

from barstream.codecs.state import POSITION_KEY, decode_position, restore_series
from barstream.engine.local import LocalPartition
from barstream.engine.offsets import Extent, check_identity, check_position
from barstream.engine.partition import PartitionEngine


class Start(NamedTuple):
    """The first offsets to read."""

    ticks: int
    heartbeats: int


def restore_engine(
    engine: PartitionEngine,
    rows: LocalPartition,
    topic: str,
    identity: str | None,
    ticks: Extent,
    beats: Extent,
) -> Start:
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
    """
    for key, row in rows.items():
        if key != POSITION_KEY:
            engine.rollups.restore(restore_series(engine.state, row))
    engine.outbox.all_shown()
    value = rows.get(POSITION_KEY)
    engine.restored(() if value is None else decode_position(value).periods)
    start = Start(ticks.begin, beats.begin)
    if value is not None:
        found = decode_position(value)
        check_identity(topic, found.topic_id, identity)
        check_position(topic, engine.partition, found.next_offset, ticks)
        # heartbeats that retention has deleted are of minutes long closed
        known = beats.begin <= found.heartbeat_offset <= beats.end
        start = Start(found.next_offset, found.heartbeat_offset if known else beats.begin)
    # known also before the first chunk: one that starts above would be lost in silence, and a
    # flush of heartbeats alone writes where the ticks begin
    engine.position = start.ticks
    engine.waiting.next_offset = start.heartbeats
    return start
