"""The topics of a pipeline, and what of them belongs to no single bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from barstream.clock import system_clock_us
from barstream.codecs.topics.rules import RulesRow
from barstream.codecs.topics.withdrawal import WithdrawalRow
from barstream.config import Settings
from barstream.explain.sessions import bucket_of
from barstream.explain.tick_decoder import Spelling
from barstream.explain.window import Progress
from barstream.log.partition_log import PartitionLog
from barstream.log.rules import Regimes
from barstream.log.schedule import ScheduleRecord, schedule_index, schedule_records
from barstream.log.series import PartitionRows, series_seen
from barstream.log.snapshot import Clients
from barstream.market.schedule import AlwaysOpenIndex, ScheduleIndex
from barstream.market.universe import SeriesSeen
from barstream.model.period import Period


def _silent(_what: str, _done: int, _total: int) -> None:
    """No progress is shown."""


@dataclass
class Log:
    """The topics of a pipeline as they are; what belongs to no bucket is read once.

    Many small readings go faster inside ``async with log.cluster``.

    Attributes:
        settings: completed by the pipeline's declaration (`barstream.planner.plan_of`).
        progress: told how far each reading has come.
        clock: microseconds since the epoch.
    """

    settings: Settings
    progress: Progress = _silent
    clock: Callable[[], int] = system_clock_us
    _seen: dict[tuple[str, str], SeriesSeen] | None = None
    _records: list[ScheduleRecord] | None = None
    _schedules: dict[tuple[str, str], tuple[ScheduleIndex, list[ScheduleRecord]]] = field(
        default_factory=dict
    )
    _opened: dict[int, PartitionLog] = field(default_factory=dict)
    _regimes: dict[tuple[int, tuple[str, str]], Regimes[ScheduleIndex]] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        self.cluster = Clients(self.settings)

    async def seen(self) -> dict[tuple[str, str], SeriesSeen]:
        """All rows of ``series_seen``."""
        if self._seen is None:
            self._seen = await series_seen(self.cluster)
        return self._seen

    async def records(self) -> list[ScheduleRecord]:
        """What topic ``market_schedule`` holds; nothing where there is no schedule join."""
        if self._records is None:
            self._records = []
            if self.settings.bars.schedule:
                self._records = await schedule_records(self.cluster)
        return self._records

    async def schedule_of(
        self, broker: str, symbol: str
    ) -> tuple[ScheduleIndex, list[ScheduleRecord]]:
        """The schedule of one series alone, and the records that may be about it."""
        if (broker, symbol) not in self._schedules:
            records = [each for each in await self.records() if each.may_be_of(broker, symbol)]
            always = not self.settings.bars.schedule
            index = AlwaysOpenIndex() if always else schedule_index(records)
            self._schedules[broker, symbol] = index, records
        return self._schedules[broker, symbol]

    async def opened(self, partition: int) -> PartitionLog:
        """A partition, its rows read; what is read of it after that fits to them."""
        if partition not in self._opened:
            opened = await PartitionLog.opened(self.cluster, partition)
            self._opened[partition] = opened
        return self._opened[partition]

    async def rows(self, partition: int) -> PartitionRows:
        """What a partition remembers."""
        return (await self.opened(partition)).rows

    async def withdrawal(self, partition: int, series: tuple[str, str]) -> WithdrawalRow | None:
        """What of a series is withdrawn in a partition; None: it was not dropped there."""
        return (await self.rows(partition)).withdrawals.get(series)

    async def regimes(self, partition: int, series: tuple[str, str]) -> Regimes[ScheduleIndex]:
        """By which rules a series was judged in a partition, and from where on."""
        if (partition, series) not in self._regimes:
            records = await self.records()
            rules = (await self.rows(partition)).rules
            if not self.settings.bars.schedule and any(row.schedule for row in rules):
                records = await schedule_records(self.cluster)  # none is used any more
            now = RulesRow.of(self.settings)
            self._regimes[partition, series] = Regimes.of(rules, records, now, series)
        return self._regimes[partition, series]

    async def spellings(self, partitions: Iterable[int]) -> dict[int, Spelling]:
        """How names of ticks were spelled in some partitions."""
        now = self.settings.ticks.fold_case
        return {each: Spelling.of(await self.rows(each), now=now) for each in partitions}

    async def bucket(self, broker: str, symbol: str, period: Period, time_us: int) -> int:
        """Start of the bucket of a series that holds ``time_us``."""
        index, _ = await self.schedule_of(broker, symbol)
        return bucket_of(index.for_series(broker, symbol), period, time_us)
