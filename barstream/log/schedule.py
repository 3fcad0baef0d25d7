"""The market schedule as its topic has it, with the times at which its rows were appended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from barstream.codecs.topics.schedule_rows import ScheduleRows
from barstream.codecs.topics.session import NO_REGISTRY, Identity, read_session
from barstream.codecs.topics.session_schemas import SessionSchemas, is_framed
from barstream.kafka.cluster import Cluster
from barstream.log.snapshot import chunks, held
from barstream.market.schedule import AlwaysOpenIndex, ScheduleIndex, Series, SessionRow


@dataclass(frozen=True, slots=True)
class ScheduleRecord:
    """One record of topic ``market_schedule``; ``value`` None withdraws the session."""

    partition: int
    offset: int
    appended_us: int
    key: bytes
    value: bytes | None
    schemas: SessionSchemas = NO_REGISTRY

    def may_be_of(self, broker: str, symbol: str) -> bool:
        """Whether it may be about a series, by its normalised names; cheap, and never wrongly no.

        Workers take a plain row only where it says what its key says; of other producers' rows the
        key says nothing.
        """
        value = self.value
        if value is not None and (value.startswith(b"{") or is_framed(value)):
            return True
        named = [part.strip().upper() for part in self.key.decode(errors="replace").split("\0")]
        return named[:2] == [broker.upper(), symbol.upper()]

    def read(self) -> tuple[Identity, SessionRow | None]:
        """The session it is about, and its row; None where it is withdrawn.

        Raises:
            ValueError: it is no row; workers refuse it as well.
        """
        return read_session(self.key, self.value, self.schemas)


async def schedule_records(cluster: Cluster) -> list[ScheduleRecord]:
    """Every record the topic still holds, in the order they were appended.

    Args:
        cluster: where the topic is, and by its settings how brokers and symbols are spelled.

    Raises:
        TopicMissingError: there is no such topic.
        RegistryError: a row names a schema and the registry does not answer.
    """
    found: list[ScheduleRecord] = []
    topic, ticks = cluster.names.market_schedule, cluster.settings.ticks
    schemas = SessionSchemas.of(ticks.registry_url, ticks.name_rule)
    async for chunk in chunks(cluster, topic, await held(cluster, topic)):
        stamps, offsets = chunk.timestamps_us.tolist(), chunk.offsets.tolist()
        found += [
            ScheduleRecord(chunk.partition, offset, stamp, key or b"", value, schemas)
            for key, value, offset, stamp in zip(
                chunk.keys, chunk.values, offsets, stamps, strict=True
            )
        ]
    await schemas.fetch(schemas.missing(each.value for each in found))
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


async def current_index(cluster: Cluster) -> ScheduleIndex:
    """The schedule in force; without a schedule join that of a market that never closes.

    Raises:
        TopicMissingError: there is a schedule join, and no topic.
    """
    if not cluster.settings.bars.schedule:
        return AlwaysOpenIndex()
    return schedule_index(await schedule_records(cluster))


def _rows_by_series(
    records: Iterable[ScheduleRecord], until_us: int | None
) -> dict[Series, list[SessionRow]]:
    chosen = [each for each in records if until_us is None or each.appended_us < until_us]
    rows = ScheduleRows(chosen[0].schemas if chosen else NO_REGISTRY)
    for each in chosen:
        rows.apply(each.key, each.value, each.partition, each.offset, each.appended_us)
    return {series: rows.rows_of(series) for series in rows.series()}
