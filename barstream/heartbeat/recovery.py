"""Where the last leader stopped: the newest heartbeat of each series, read from ``hb_1m``.

Not days of it are read but its recent end, found by timestamp, and the few spans in which
series that are out of session had their last one (``core.heartbeats.recovery_windows``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from barstream.kafka.clients import KafkaConsumer, TopicPartition, make_consumer
from barstream.kafka.cluster import Cluster
from barstream.market.universe import SeriesName
from barstream.model.key import split_bar_key
from barstream.model.time import MINUTE_US
from barstream.rules.heartbeat_plan import HeartbeatRules, Index

RECENT_US: Final = 5 * MINUTE_US
"""Each round sends the oldest minutes first, so this much of the end holds every series."""
_READ_AT_ONCE: Final = 2_000


@dataclass(slots=True)
class Recovered:
    """What the log says was emitted."""

    marks: dict[SeriesName, int] = field(default_factory=dict)
    """Newest minute per series, by any source, that can close anything."""
    newest_us: int | None = None
    """Append time of the newest heartbeat; None: there is none."""

    def take(self, key: bytes, appended_us: int, rules: HeartbeatRules, schedule: Index) -> None:
        """Take one record in; a key that is no heartbeat's is passed over."""
        self.newest_us = max(appended_us, self.newest_us or appended_us)
        try:
            broker, symbol, minute_us = split_bar_key(key)
        except ValueError:
            return
        # One that was appended before its minute was over closes nothing: it is still due.
        if appended_us >= rules.closes_at(minute_us, schedule.for_series(broker, symbol)):
            name = broker, symbol
            self.marks[name] = max(minute_us, self.marks.get(name, minute_us))

    def withdraw(self, key: bytes) -> None:
        """Take a tombstone in: of a series that was dropped each of its heartbeats has one."""
        try:
            broker, symbol, minute_us = split_bar_key(key)
        except ValueError:
            return
        if self.marks.get((broker, symbol)) == minute_us:
            del self.marks[broker, symbol]


async def recover(
    cluster: Cluster,
    topic: str,
    now_us: int,
    windows: Sequence[tuple[int, int]],
    rules: HeartbeatRules,
    schedule: Index,
) -> Recovered:
    """Read the recent end of ``topic`` and ``windows`` of it, committed records only.

    Raises:
        KafkaError: a broker did not answer.
    """
    consumer = make_consumer(cluster, auto_offset_reset="earliest", fetch_max_wait_ms=100)
    recovered = Recovered()
    try:
        await consumer.start()
        # Knowing partition 0 makes the client learn the others.
        await consumer.end_offsets([TopicPartition(topic, 0)])
        partitions = [
            TopicPartition(topic, number)
            for number in sorted(consumer.partitions_for_topic(topic) or ())
        ]
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        begins: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
        filled = [tp for tp in partitions if begins[tp] < ends[tp]]
        newest = await _newest_times(consumer, filled, now_us)
        spans = await _spans(consumer, filled, windows, ends)
        for tp in filled:
            consumer.assign([tp])
            end, back_us, found = ends[tp], RECENT_US, 0
            # A leader with a wrong clock leaves nothing but aborted records: look further back.
            while not found and end > begins[tp]:
                starts = await _offsets_at(consumer, {tp: newest.get(tp, 0) - back_us}, ends)
                start = min(starts[tp], end)
                found = await _read(consumer, tp, start, end, recovered, rules, schedule)
                end, back_us = start, 4 * back_us
            for start, end in spans[tp]:
                await _read(consumer, tp, start, end, recovered, rules, schedule)
    finally:
        await consumer.stop()
    return recovered


async def _spans(
    consumer: KafkaConsumer,
    partitions: Sequence[TopicPartition],
    windows: Sequence[tuple[int, int]],
    ends: Mapping[TopicPartition, int],
) -> dict[TopicPartition, list[tuple[int, int]]]:
    """Offset ranges, half-open, of the spans of time in ``windows``."""
    found: dict[TopicPartition, list[tuple[int, int]]] = {tp: [] for tp in partitions}
    for from_us, to_us in windows:
        starts = await _offsets_at(consumer, dict.fromkeys(partitions, from_us), ends)
        stops = await _offsets_at(consumer, dict.fromkeys(partitions, to_us), ends)
        for tp in partitions:
            if starts[tp] < stops[tp]:
                found[tp].append((starts[tp], stops[tp]))
    return found


async def _newest_times(
    consumer: KafkaConsumer, partitions: Iterable[TopicPartition], now_us: int
) -> dict[TopicPartition, int]:
    """About when (to a minute) the newest record of each partition was appended.

    Kafka answers "the first record at or after a time": widening steps back from now until
    there is one, then bisection.  A partition with nothing in reach is absent.
    """
    low: dict[TopicPartition, int] = {}
    high = dict.fromkeys(partitions, now_us)
    step_us = RECENT_US
    while missing := [tp for tp in high if tp not in low]:
        at_us = max(0, now_us - step_us)
        answers = await consumer.offsets_for_times(dict.fromkeys(missing, at_us // 1000))
        for tp in missing:
            if answers.get(tp) is not None:
                low[tp] = at_us
            else:
                high[tp] = at_us
        if at_us == 0:
            break
        step_us *= 4
    while wide := [tp for tp in low if high[tp] - low[tp] > MINUTE_US]:
        middle = {tp: (low[tp] + high[tp]) // 2 for tp in wide}
        answers = await consumer.offsets_for_times({tp: us // 1000 for tp, us in middle.items()})
        for tp, us in middle.items():
            (low if answers.get(tp) is not None else high)[tp] = us
    return low


async def _offsets_at(
    consumer: KafkaConsumer,
    times_us: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
) -> dict[TopicPartition, int]:
    """Offset of the first record at or after a time, else the end offset."""
    asked = {tp: max(0, us) // 1000 for tp, us in times_us.items()}
    answers = await consumer.offsets_for_times(asked) if asked else {}
    return {
        tp: ends[tp] if answers.get(tp) is None else min(answers[tp].offset, ends[tp])
        for tp in times_us
    }


async def _read(
    consumer: KafkaConsumer,
    tp: TopicPartition,
    start: int,
    end: int,
    into: Recovered,
    rules: HeartbeatRules,
    schedule: Index,
) -> int:
    """Read ``[start, end)``; how many committed records were there."""
    count = 0
    consumer.seek(tp, start)
    # By position: the last records of a range may be commit markers or aborted ones.
    while await consumer.position(tp) < end:
        batches = await consumer.getmany(tp, timeout_ms=100, max_records=_READ_AT_ONCE)
        for record in batches.get(tp, ()):
            if record.offset >= end:
                break
            count += 1
            if record.key is None:
                continue
            if record.value is None:
                into.withdraw(record.key)
            else:
                into.take(record.key, record.timestamp * 1000, rules, schedule)
        await asyncio.sleep(0)
    return count
