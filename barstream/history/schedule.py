"""The market schedule as its topic has it, with the times at which its rows were appended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from barstream.config import Settings
from barstream.core.schedule import AlwaysOpenIndex, ScheduleIndex, Series, SessionRow
from barstream.history.reading import Options, chunks, held
from tables.schedule import ScheduleRows


@dataclass(frozen=True, slots=True)
class ScheduleRecord:
    """One record of topic ``market_schedule``; ``value`` None withdraws the session."""

    partition: int
    offset: int
    appended_us: int
    key: bytes
    value: bytes | None


async def schedule_records(options: Options, topic: str) -> list[ScheduleRecord]:
    """Every record the topic still holds, in the order they were appended.

    Raises:
        TopicMissingError: there is no such topic.
    """
    found: list[ScheduleRecord] = []
    async for chunk in chunks(options, topic, await held(options, topic)):
        stamps, offsets = chunk.timestamps_us.tolist(), chunk.offsets.tolist()
        found += [
            ScheduleRecord(chunk.partition, offset, stamp, key or b"", value)
            for key, value, offset, stamp in zip(
                chunk.keys, chunk.values, offsets, stamps, strict=True
            )
        ]
    return sorted(found, key=lambda each: (each.appended_us, each.partition, each.offset))


def schedule_index(records: Iterable[ScheduleRecord], until_us: int | None = None) -> ScheduleIndex:
    """The index that a worker makes of ``records``.

    Args:
        records: as `schedule_records` gives them.
        until_us: only those appended before it, as far as compaction has left them; None: all.
    """
    return ScheduleIndex.build(
        [row for series_rows in _rows_by_series(records, until_us).values() for row in series_rows]
    )


def changed_us(records: Iterable[ScheduleRecord]) -> dict[Series, int]:
    """By series when the newest of its rows was appended."""
    newest: dict[Series, int] = {}
    rows = ScheduleRows()
    for record in records:
        rows.apply(record.key, record.value, record.partition, record.offset, record.appended_us)
        for series in rows.take_dirty():
            newest[series] = record.appended_us
    return newest


async def current_index(settings: Settings, options: Options, topic: str) -> ScheduleIndex:
    """The schedule in force; without a schedule join that of a market that never closes.

    Raises:
        TopicMissingError: there is a schedule join, and no topic.
    """
    if not settings.bars.schedule:
        return AlwaysOpenIndex()
    return schedule_index(await schedule_records(options, topic))


def _rows_by_series(
    records: Iterable[ScheduleRecord], until_us: int | None
) -> dict[Series, list[SessionRow]]:
    rows = ScheduleRows()
    for record in records:
        if until_us is None or record.appended_us < until_us:
            rows.apply(
                record.key, record.value, record.partition, record.offset, record.appended_us
            )
    return {series: rows.rows_of(series) for series in rows.series()}
