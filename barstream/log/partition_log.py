"""One partition of the pipeline's topics, read so that it fits together while workers write.

A flush writes finals, live bars, rejected ticks, rows of the series and the position in one
transaction, and when it does, the ticks and heartbeats that it goes by stand in the log.  So what
follows from something is read after it, each topic up to an end that is asked for at its turn::

    1  rows       the position, and the rules: whoever has a `PartitionLog` has read them
    2  finals     every one that was closed below that position, and what came meanwhile
    3  the rest   of each of these finals its live record, and the heartbeat that closed it
    4  rows_now   a position that none of the finals is beyond
    5  ticks      all below it
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from barstream.codecs.topics.withdrawal import Withdrawn
from barstream.config import Settings
from barstream.kafka.cluster import Cluster
from barstream.kafka.topics import TopicNames
from barstream.log.schedule import ScheduleRecord, schedule_records
from barstream.log.series import PartitionRows, series_rows
from barstream.log.snapshot import Span, held


@dataclass(frozen=True, slots=True)
class PartitionLog:
    """The topics of one partition, after its rows were read.

    Attributes:
        rows: what the partition had said of itself then.
        rows_end: up to where its topic was read for that.
    """

    cluster: Cluster
    partition: int
    rows: PartitionRows
    rows_end: int

    @classmethod
    async def opened(cls, cluster: Cluster, partition: int) -> Self:
        """A partition whose rows have just been read.

        Raises:
            TopicMissingError: there is no topic of rows.
            HistoryGone, ReadingStalled, HistoryUnreadable, RowTooNew: see `series_rows`.
        """
        spans = await held(cluster, cluster.names.series, [partition])
        rows = await series_rows(cluster, cluster.names.series, spans)
        return cls(cluster, partition, rows[partition], spans[partition].end)

    @property
    def names(self) -> TopicNames:
        """Of all topics."""
        return self.cluster.names

    @property
    def withdrawn(self) -> Withdrawn:
        """Which ticks and heartbeats are as if they were not there."""
        return self.rows.withdrawn(self.partition)

    async def span(self, topic: str) -> Span:
        """What the partition of a topic holds now, and so after the rows were read."""
        return (await held(self.cluster, topic, [self.partition]))[self.partition]

    async def rows_now(self) -> PartitionRows:
        """The rows written since: every final that was read belongs to their position.

        Raises:
            HistoryGone, ReadingStalled, HistoryUnreadable, RowTooNew: see `series_rows`.
        """
        topic = self.names.series
        now = await self.span(topic)
        tail = {self.partition: Span(max(self.rows_end, now.begin), now.end)}
        return (await series_rows(self.cluster, topic, tail))[self.partition]

    async def schedule_records(self, settings: Settings) -> list[ScheduleRecord]:
        """Rows of the schedule, where a rule that held or holds goes by them; else none.

        Raises:
            TopicMissingError: there is no topic of them.
            RegistryError: a row names a schema and the registry does not answer.
        """
        if not settings.bars.schedule and not any(row.schedule for row in self.rows.rules):
            return []
        return await schedule_records(self.cluster)
