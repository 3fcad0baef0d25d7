"""Switching over: the bars in which a replay differs, written into the published topics.

Each partition in one transaction of its own transactional id, the one its worker writes with: so it
is switched or it is not, and a worker that comes up meanwhile is fenced.  Doing it again finds what
is left to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from barstream.codecs.avro.body import encode
from barstream.codecs.topics.rules import encode_rules
from barstream.codecs.topics.series_seen import encode as encode_seen
from barstream.codecs.topics.state import POSITION_KEY, encode_position
from barstream.kafka.clients import TopicPartition
from barstream.kafka.cluster import Cluster
from barstream.kafka.fence import fenced_partitions
from barstream.kafka.flush import Flush, Row
from barstream.kafka.offsets import ends_of
from barstream.kafka.topics import TopicNames
from barstream.log.partition_log import PartitionLog
from barstream.log.schedule import current_index
from barstream.log.series import PartitionRows
from barstream.log.snapshot import held, records
from barstream.market.schedule import ScheduleIndex, Series
from barstream.market.universe import SeriesSeen
from barstream.model.key import bar_key, series_key, split_bar_key
from barstream.model.period import MINUTE
from barstream.model.time import iso_from_us
from barstream.replay.compare import bar_or_none
from barstream.replay.corrections import Mend, Mending
from barstream.replay.diff import Compare, Kept, diff
from barstream.replay.errors import SwitchRefused
from barstream.replay.finals_after_cutover import Merged
from barstream.replay.series import SeriesNow, series_of
from barstream.replay.shadow_topics import ShadowTopics
from barstream.rules.series import LIVENESS_TICKS
from barstream.runtime.flush import bar_rows


@dataclass(frozen=True, slots=True)
class Switched:
    """What was, or would be, written for one partition.

    Attributes:
        written: bars of all periods that are changed or added.
        withdrawn: bars that are taken back.
        rejected: ticks that are rejected now, and were not.
        left: differing bars that stay: production has not made them yet or has made them of ticks
            after the end of the replay, or retention took a part of what they are made of.
    """

    partition: int
    written: int
    withdrawn: int
    rejected: int
    left: int


async def switch(jobs: Sequence[Compare], report: Callable[[Switched], None]) -> None:
    """Switch every partition over, one after the other.

    Args:
        jobs: see `barstream.replay.diff.replayed_partitions`.
        report: told of each partition once it is committed.

    Raises:
        WorkersRunning: they would not know of it; partitions reported before are switched.
        SwitchRefused: bars after the range would be left wrong, or a worker or Kafka came in
            between; likewise.
        BarstreamError: a partition cannot be compared or written.
    """
    cluster = Cluster(jobs[0].settings)
    names, index = cluster.names, await current_index(cluster)
    topics = names.final_1m, *names.rollups.values(), names.series, names.ticks_rejected
    for job in jobs:
        async with fenced_partitions(
            cluster, [job.partition], topics, SwitchRefused, "switched"
        ) as producers:
            plan = await plan_of(job, cluster, index)
            if len(plan.flush):
                await producers[job.partition].write(plan.flush.rows)
        report(plan.switched)


async def outlook(jobs: Sequence[Compare], report: Callable[[Switched], None]) -> None:
    """What `switch` would do; nothing is written, nobody is fenced.

    Raises:
        SwitchRefused: bars after the range would be left wrong.
        BarstreamError: a partition cannot be compared.
    """
    cluster = Cluster(jobs[0].settings)
    index = await current_index(cluster)
    for job in jobs:
        report((await plan_of(job, cluster, index)).switched)


@dataclass(frozen=True, slots=True)
class CutoverPlan:
    """What is written for one partition."""

    switched: Switched
    flush: Flush


async def plan_of(job: Compare, cluster: Cluster, index: ScheduleIndex) -> CutoverPlan:
    """Work out what a switch-over of one partition writes; nothing is written.

    Raises:
        SwitchRefused: bars after the range would be left wrong.
        BarstreamError: the partition cannot be compared.
    """
    names = cluster.names
    kept: Kept = {}
    found = await diff(job, lambda _: None, kept)
    rows, position = await series_of(job, cluster, found.scope)
    touched = {split_bar_key(each.key)[:2] for each in found.differences}
    first_tick_us = {name: row.first_tick_us for name, row in rows.items()}
    # what retention took shows only against production's own first tick: the replay may have taken
    # in an earlier one
    known_us = {name: row.before["first_tick"] for name, row in rows.items() if row.before}
    finals = Merged(_cut(kept[MINUTE], known_us, touched))
    for period, values in kept.items():
        some = [bar_or_none(v) for key, v in values.items() if _series(key) in touched]
        finals.load(period, (bar for bar in some if bar is not None))
    closed_us = {name: row.closed_us for name, row in rows.items()}
    unseen = range(found.scope.derived.end + 1, position + 1)
    mending = Mending(finals, closed_us, first_tick_us, index, names.rollups, unseen)
    mend = mending.of(found.differences)
    if mend.stale:
        (broker, symbol), bucket_us = mend.stale[0]
        raise SwitchRefused(
            f"a bar without ticks must have the close before it, but {broker} {symbol} "
            f"{iso_from_us(bucket_us)} comes after the replay and would keep an old price "
            f"({len(mend.stale)} such bars in partition {job.partition}): replay with a later "
            "end, or without one"
        )
    flush = rows_of(names, job.partition, mend)
    for name, close in sorted(mend.closes.items()):
        date = mend.filled_dates[name]
        if date is None and close is not None:
            date = rows[name].state["filled_date"]  # only flat bars are kept
        _add_series(flush, names, job.partition, rows[name], close, date)
    written = sum(map(len, mend.bars.values()))
    added = await _add_rejected(flush, job, cluster)
    told = (await PartitionLog.opened(cluster, job.partition)).rows
    if len(flush):
        _add_rules(flush, job, names, told)
    await _add_position(flush, job.partition, cluster, told)
    return CutoverPlan(
        Switched(job.partition, written, len(mend) - written, added, mend.left), flush
    )


def _add_series(
    flush: Flush,
    names: TopicNames,
    partition: int,
    row: SeriesNow,
    close: float | None,
    filled_date: int | None,
) -> None:
    """The state of a series, if that changes: with what, and how far, later minutes are filled."""
    key = series_key(row.state["broker"], row.state["symbol"])
    state = {**row.state, "previous_close": close, "filled_date": filled_date}
    if row.is_new or state != row.before:
        flush.add(names.series, partition, [Row(key, encode("series_state", state))])
    if row.is_new and state["last_trading_date"] is not None:
        seen = SeriesSeen(
            state["broker"],
            state["symbol"],
            partition,
            state["first_tick"],
            state["last_trading_date"],
            state["since_timely"] < LIVENESS_TICKS,
            state["closed_until"],
        )
        flush.add(names.series_seen, 0, [Row(key, encode_seen(seen))])


def _add_rules(flush: Flush, job: Compare, names: TopicNames, rows: PartitionRows) -> None:
    """From here on the rows that say by which rules was judged say nothing of what came before."""
    if rows.rules and rows.position is not None:
        last = rows.rules[-1]
        row = replace(
            last, from_offset=rows.position.next_offset,
            heartbeat_offset=rows.position.heartbeat_offset, rewritten=True,
        ).behind(last)  # fmt: skip
        flush.add(names.series, job.partition, [Row(row.key, encode_rules(row))])


async def _add_position(
    flush: Flush, partition: int, cluster: Cluster, rows: PartitionRows
) -> None:
    """Where Kafka lost finals: from here on what is there is what must be there."""
    names, position = cluster.names, rows.position
    if position is None or not position.written:
        return
    finals = [
        TopicPartition(topic, partition) for topic in (names.final_1m, *names.rollups.values())
    ]
    ends = await ends_of(cluster, finals)
    known = {tp: upto for tp in finals if (upto := position.written.get(tp.topic))}
    if any(ends[tp] <= upto.offset for tp, upto in known.items()):
        row = Row(POSITION_KEY, encode_position(replace(position, written=None)))
        flush.add(names.series, partition, [row])


async def _add_rejected(flush: Flush, job: Compare, cluster: Cluster) -> int:
    """Ticks that the replay rejects and production did not: none is dropped in silence."""
    names, partition = cluster.names, job.partition
    shadow = ShadowTopics(names, job.suffix).of(names.ticks_rejected)
    known: set[bytes | None] = set()
    async for record in records(
        cluster, names.ticks_rejected, await held(cluster, names.ticks_rejected, [partition])
    ):
        known.add(dict(record.headers).get("offset"))
    rows = [
        Row(record.key, record.value, list(record.headers))
        async for record in records(cluster, shadow, await held(cluster, shadow, [partition]))
        if dict(record.headers).get("offset") not in known
    ]
    flush.add(names.ticks_rejected, partition, rows)
    return len(rows)


def _series(key: bytes) -> Series | None:
    """The series of a bar's key; None: it is none."""
    try:
        return split_bar_key(key)[:2]
    except ValueError:
        return None


def _cut(
    minutes: Mapping[bytes, bytes], first_tick_us: Mapping[Series, int], touched: set[Series]
) -> dict[Series, int]:
    """By series the first minute that is left, where it had ticks before."""
    first: dict[Series, int] = {}
    for key in minutes:
        if _series(key) in touched:
            broker, symbol, bucket_us = split_bar_key(key)
            first[broker, symbol] = min(bucket_us, first.get((broker, symbol), bucket_us))
    return {name: us for name, us in first.items() if first_tick_us.get(name, us) < us}


def rows_of(names: TopicNames, partition: int, mend: Mend) -> Flush:
    """Bars and withdrawals, for the topics of finals and, after them, those of live bars."""
    flush = Flush()
    for period in (MINUTE, *names.rollups):
        rows = bar_rows(mend.bars.get(period, []))
        rows += [Row(bar_key(*name, us), None) for name, us in mend.withdrawn.get(period, [])]
        flush.add(names.finals(period), partition, rows)
        live = names.live_1m if period == MINUTE else names.live_rollups.get(period)
        if live is not None:
            flush.add(live, partition, rows)
    return flush
