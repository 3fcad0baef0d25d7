"""Replacing sessions in topic ``market_schedule``: difference first, then all or nothing.

A load owns its series within its dates: what it does not contain there is withdrawn.  The
records go out in one transaction, so a load that is interrupted has changed nothing and a
worker never judges by half of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from barstream.codecs.topics.schedule_rows import ScheduleRows
from barstream.codecs.topics.session import (
    encode_session,
    identity_of,
    session_key,
    split_session_key,
)
from barstream.codecs.topics.session_schemas import SessionSchemas
from barstream.config import Settings
from barstream.errors import BarstreamError
from barstream.kafka.clients import KafkaError
from barstream.kafka.cluster import Cluster
from barstream.kafka.connection import reaching
from barstream.kafka.flush import Row
from barstream.kafka.partitioner import default_partition
from barstream.kafka.topic_follower import TopicFollower
from barstream.kafka.topics.batch_size import SMALL_BATCH_BYTES
from barstream.kafka.writer import BatchWriter
from barstream.market.schedule import Series, SessionRow, find_conflicts
from barstream.model.key import NameRule

Dates = tuple[int, int]
"""First and last trading date in days since 1970-01-01, both included."""

TRANSACTION_TIMEOUT_MS: Final = 600_000
CONNECT_TIMEOUT_S: Final = 20.0
ABORT_TIMEOUT_S: Final = 15.0
SLOWEST_ROWS_A_SECOND: Final = 500
PROBLEMS_SHOWN: Final = 20


class ScheduleConflictError(BarstreamError):
    """The rows do not fit those that stay: mend them, or load a range that covers both."""


class ScheduleNotLoadedError(BarstreamError):
    """The cluster did not take the rows, and none of them counts: see the reason, load again."""


@dataclass(frozen=True, slots=True)
class ScheduleDifference:
    """What a load changes, each list in order of series, trading date and session."""

    added: list[SessionRow] = field(default_factory=list)
    changed: list[tuple[SessionRow, SessionRow]] = field(default_factory=list)
    withdrawn: list[SessionRow] = field(default_factory=list)
    unchanged: int = 0

    def __len__(self) -> int:
        return len(self.added) + len(self.changed) + len(self.withdrawn)


@dataclass(frozen=True, slots=True)
class CurrentSchedule:
    """The topic as it stands: its rows, and how many partitions it has."""

    rows: ScheduleRows
    partitions: int


def schedule_topic(settings: Settings) -> str:
    """The name of topic ``market_schedule`` in this configuration."""
    topics = settings.topics
    return topics.overrides.get("market_schedule", topics.market_schedule)


async def read_current(settings: Settings) -> CurrentSchedule:
    """Read the whole topic.

    Raises:
        BarstreamError: no broker answers, the topic does not exist, or a row names a schema and
            the registry does not answer.
    """
    rows = ScheduleRows(SessionSchemas.of(settings.ticks.registry_url, settings.ticks.name_rule))
    reader = TopicFollower(
        schedule_topic(settings),
        rows.apply,
        cluster=Cluster(settings),
        connect_timeout_s=CONNECT_TIMEOUT_S,
    )
    async with reaching(settings), reader:
        await reader.caught_up()
        await rows.fetch_schemas()
        return CurrentSchedule(rows, len(reader.end_offsets))


def dates_of(
    rows: Iterable[SessionRow], first: int | None = None, last: int | None = None
) -> dict[Series, Dates]:
    """The dates a load owns, by series: from its first row to its last, or as given."""
    dates: dict[Series, Dates] = {}
    for row in rows:
        day, series = row.trading_date, (row.broker, row.symbol)
        begin, end = dates.get(series, (day, day))
        dates[series] = min(begin, day), max(end, day)
    return {
        series: (begin if first is None else first, end if last is None else last)
        for series, (begin, end) in dates.items()
    }


def difference(
    current: ScheduleRows, wanted: Sequence[SessionRow], dates: Mapping[Series, Dates]
) -> ScheduleDifference:
    """What must change so that within ``dates`` exactly ``wanted`` is in force.

    Raises:
        ScheduleConflictError: a row wanted lies outside its dates, or the outcome would hold
            sessions that overlap, share a minute, or go back in trading date.
    """
    found = ScheduleDifference()
    unchanged, problems = 0, []
    by_series: dict[Series, list[SessionRow]] = {series: [] for series in dates}
    for row in wanted:
        by_series[row.broker, row.symbol].append(row)
    for series in sorted(by_series):
        first, last = dates[series]
        rows = sorted(by_series[series], key=_identity)
        problems += [f"outside the dates to load: {r}" for r in rows if not _within(r, first, last)]
        in_force = current.rows_of(series)
        replaced = {_identity(row): row for row in in_force if _within(row, first, last)}
        kept = [row for row in in_force if not _within(row, first, last)]
        problems += [str(conflict) for conflict in find_conflicts([*kept, *rows])]
        for row in rows:
            old = replaced.pop(_identity(row), None)
            if old is None:
                found.added.append(row)
            elif old != row:
                found.changed.append((old, row))
            else:
                unchanged += 1
        found.withdrawn.extend(sorted(replaced.values(), key=_identity))
    if problems:
        shown = problems[:PROBLEMS_SHOWN]
        if len(problems) > PROBLEMS_SHOWN:
            shown.append(f"... and {len(problems) - PROBLEMS_SHOWN} more")
        raise ScheduleConflictError(
            "the schedule after this load must hold together, so nothing was loaded:\n  "
            + "\n  ".join(shown)
        )
    return ScheduleDifference(found.added, found.changed, found.withdrawn, unchanged)


async def publish(
    settings: Settings,
    current: CurrentSchedule,
    changes: ScheduleDifference,
    on_progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write ``changes`` in one transaction, acknowledged by all replicas.

    Args:
        settings: where the cluster is.
        current: what the changes were made against; a session is replaced where it lies.
        changes: what to write.
        on_progress: called with the number of records newly acknowledged.

    Raises:
        ScheduleNotLoadedError: nothing of it counts.
    """
    by_partition = records_of_changes(current, changes)
    total = sum(len(records) for records in by_partition.values())
    if not total:
        return
    writer = BatchWriter(
        Cluster(settings),
        SMALL_BATCH_BYTES,
        transactional_id=f"{settings.app_id}-schedule-load",
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
    )
    try:
        allowed_s = CONNECT_TIMEOUT_S + total / SLOWEST_ROWS_A_SECOND
        # To abort asks the brokers too: the outer limit ends that when they are all gone.
        async with asyncio.timeout(allowed_s + ABORT_TIMEOUT_S):
            await writer.start()
            try:
                async with writer.transaction(), asyncio.timeout(allowed_s):
                    await _send(writer, schedule_topic(settings), by_partition, on_progress)
            finally:
                await writer.stop(within_s=None)
    except (KafkaError, TimeoutError) as error:
        raise ScheduleNotLoadedError(
            f"{total} records had to be acknowledged by {settings.bootstrap}, found {error!r}; "
            "the transaction was not committed, the schedule is as before: load again"
        ) from error


async def load_schedule(
    settings: Settings,
    rows: Sequence[SessionRow],
    *,
    first: int | None = None,
    last: int | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> ScheduleDifference:
    """Read the topic, replace the sessions of the series of ``rows``; returns what changed.

    Args:
        settings: where the cluster is.
        rows: the sessions wanted.
        first: first trading date that is replaced, in days; that of each series' rows by default.
        last: last trading date that is replaced.
        on_progress: called with the number of records newly acknowledged.

    Raises:
        BarstreamError: any of the above; then nothing was changed.
    """
    current = await read_current(settings)
    changes = difference(current.rows, rows, dates_of(rows, first, last))
    await publish(settings, current, changes, on_progress)
    return changes


def _identity(row: SessionRow) -> tuple[int, int]:
    return row.trading_date, row.session


def _within(row: SessionRow, first: int, last: int) -> bool:
    return first <= row.trading_date <= last


def records_of_changes(
    current: CurrentSchedule, changes: ScheduleDifference
) -> dict[int, list[tuple[bytes, bytes | None]]]:
    """Keys and values to write, by partition; a withdrawn session's value is None."""
    records: dict[int, list[tuple[bytes, bytes | None]]] = {}
    name_rule = current.rows.name_rule

    def write(row: SessionRow) -> None:
        key = session_key(row)
        partition = current.rows.partition_of(key, current.partitions)
        if partition is None:
            partition = default_partition(key, current.partitions)
        records.setdefault(partition, []).append((key, encode_session(row)))

    for row in changes.added:
        write(row)
    # Compaction works on key and partition: a session of another producer changes in its place.
    for old, new in changes.changed:
        places = current.rows.records_of(old)
        for partition, key in places:
            value = encode_session(new) if _names(key, new, name_rule) else None
            records.setdefault(partition, []).append((key, value))
        if not any(_names(key, new, name_rule) for _, key in places):
            write(new)
    for row in changes.withdrawn:
        for partition, key in current.rows.records_of(row):
            records.setdefault(partition, []).append((key, None))
    return records


def _names(key: bytes, row: SessionRow, name_rule: NameRule) -> bool:
    """Whether ``row`` may stand under ``key``: a plain body is only believed under its own."""
    try:
        return split_session_key(key, name_rule) == identity_of(row)
    except ValueError:
        return False


async def _send(
    writer: BatchWriter,
    topic: str,
    by_partition: Mapping[int, Sequence[tuple[bytes, bytes | None]]],
    on_progress: Callable[[int], None],
) -> None:
    for partition, records in by_partition.items():
        rows = (Row(*record) for record in records)
        for batch in writer.batches(topic, partition, rows):
            await (await writer.submit(batch, topic, partition)).answer
            on_progress(batch.record_count())
